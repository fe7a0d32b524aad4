package sqlstore_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/orders/storetest"
)

func engines() map[string]func(testing.TB) string {
	return map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "orders.db") },
		"postgres": func(t testing.TB) string { return testkit.Postgres(t) },
	}
}

// harness makes one database, and empties it for each case: they run one after the other, and a migration takes longer than
// most of them.
func harness(t *testing.T, name string, dsn func(testing.TB) string) storetest.Harness {
	t.Helper()
	d := newDatabase(t, name, dsn(t))
	return func(t testing.TB) func() orders.Store {
		d.empty(t)
		return func() orders.Store { return d.open(t) }
	}
}

// empty takes every row out of every table of ours.
func (d database) empty(t testing.TB) {
	t.Helper()
	tables := "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%'"
	if d.name == "sqlite" {
		tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%'"
	}
	db := d.raw(t)
	rows, err := db.Query(tables)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil || len(names) < 10 {
		t.Fatalf("tables %v, %v", names, err)
	}
	query := "TRUNCATE " + strings.Join(names, ", ")
	if d.name == "sqlite" { // this connection does not look at foreign keys
		query = "DELETE FROM " + strings.Join(names, "; DELETE FROM ")
	}
	if _, err := db.Exec(query); err != nil {
		t.Fatal(err)
	}
}

func TestStoreContract(t *testing.T) {
	t.Parallel()
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, harness(t, name, dsn))
		})
	}
}

// Whatever the order or repetition of evidence, the end is one. CONVERGE sets how many permutations and multisets are
// replayed, for the long proof.
func TestStoreConverges(t *testing.T) {
	t.Parallel()
	n, err := strconv.Atoi(os.Getenv("CONVERGE"))
	if err != nil {
		n = 60
	}
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Converge(t, harness(t, name, dsn), n, rand.New(rand.NewPCG(2017, 613)))
		})
	}
}

// Refunds that are asked for, sent and lost at once. REFUNDS sets how many schedules are run, for the long proof.
func TestRefundSchedules(t *testing.T) {
	t.Parallel()
	n, err := strconv.Atoi(os.Getenv("REFUNDS"))
	if err != nil {
		n = 40
	}
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Refunds(t, harness(t, name, dsn), n, rand.New(rand.NewPCG(2017, 614)))
		})
	}
}
