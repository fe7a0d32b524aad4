package sqlstore_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
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

func harness(t *testing.T, name string, dsn func(testing.TB) string) storetest.Harness {
	t.Helper()
	return func(t testing.TB) func() orders.Store {
		d := newDatabase(t, name, dsn(t))
		return func() orders.Store { return d.open(t) }
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
