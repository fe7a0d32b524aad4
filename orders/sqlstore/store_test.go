package sqlstore_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/orders/sqlstore"
)

// account is where the tests' attempts are made.
const account = "bravobank-main"

// morning is when the tests' orders are made; they end ten minutes later.
var morning = time.Date(2017, 6, 13, 9, 0, 0, 0, orders.Taipei)

func after(d time.Duration) time.Time { return morning.Add(d) }

// database is a migrated database of one engine; open makes another store on it, as
// another process would.
type database struct {
	name string
	dsn  string
	open func(t testing.TB) *sqlstore.Store
}

// onBoth runs a test on both engines.
func onBoth(t *testing.T, test func(t *testing.T, d database)) {
	for name, dsn := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "orders.db") },
		"postgres": func(t *testing.T) string { return testkit.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newDatabase(t, name, dsn(t)))
		})
	}
}

func newDatabase(t testing.TB, name, dsn string) database {
	t.Helper()
	files, err := sqlstore.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	if err := connect(t, dsn).Migrate(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	return database{name: name, dsn: dsn, open: func(t testing.TB) *sqlstore.Store {
		t.Helper()
		s, err := sqlstore.Open(connect(t, dsn), sqlstore.Deps{Timeout: time.Minute}) // a busy machine must not fail a test
		if err != nil {
			t.Fatal(err)
		}
		return s
	}}
}

func connect(t testing.TB, dsn string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// raw is the database without a store before it.
func (d database) raw(t testing.TB) *sql.DB {
	t.Helper()
	driver, dsn := "pgx", d.dsn
	if d.name == "sqlite" {
		driver, dsn = "sqlite", "file:"+strings.TrimPrefix(d.dsn, "sqlite:")+"?_busy_timeout=10000"
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func count(t *testing.T, d database, query string, args ...any) int64 {
	t.Helper()
	var n int64
	if err := d.raw(t).QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func dollars(n int64) money.Amount {
	a, err := money.FromUnits(n, money.TWD)
	if err != nil {
		panic(err)
	}
	return a
}

// placement is a form-post order of a serial over the given bills, 20 dollars each.
func placement(serial int, bills ...string) orders.Placement {
	no, err := orders.NewOrderNo("20170613", int64(serial))
	if err != nil {
		panic(err)
	}
	total := dollars(int64(20 * len(bills)))
	o := orders.Order{
		No: no, ClientID: "core", ClientReference: fmt.Sprintf("ref-%d", serial), Merchant: "pma", PayerMemberID: "1361049",
		Provider: "bravobank", Methods: []string{"credit_card"}, Settlement: "immediate", Amount: total, Fee: total.Nothing(), Total: total,
		ReturnURL: "https://pay.taipei/result", PayToken: fmt.Sprintf("pay-%d", serial), CreatedAt: morning, ExpiresAt: after(10 * time.Minute),
		Attempts: []orders.Attempt{attempt(no, 1)},
	}
	for _, b := range bills {
		o.Lines = append(o.Lines, orders.BillLine{BillNo: b, Name: "停車費", Quantity: 1, UnitPrice: dollars(20), Subtotal: dollars(20)})
	}
	o.Attempts[0].State, o.Attempts[0].HandedAt = orders.AttemptPending, morning
	o.Attempts[0].Redirect = &orders.Redirect{Method: "POST", URL: "https://bank.example/", Fields: map[string]string{"sig": "x"}}
	return orders.Placement{
		Key: orders.KeyRef{ClientID: "core", Route: "POST /v1/orders", Key: fmt.Sprintf("key-%d", serial)}, Fingerprint: [32]byte{byte(serial)},
		Order: o, Answer: answer(201),
	}
}

// serverCreate turns a placement into one whose create call comes after the commit.
func serverCreate(p orders.Placement) orders.Placement {
	p.Answer, p.LeaseUntil = nil, after(30*time.Second)
	a := p.Order.Current()
	a.State, a.HandedAt, a.Redirect = orders.AttemptIntent, time.Time{}, nil
	return p
}

func attempt(no orders.OrderNo, ordinal int) orders.Attempt {
	n, err := orders.NewAttemptNo("", no, ordinal)
	if err != nil {
		panic(err)
	}
	return orders.Attempt{
		No: n, Ordinal: ordinal, Account: account, Provider: "bravobank", Environment: "demo", PayeeMemberID: "1136549",
		Token: "t" + string(n), CreatedAt: morning, QueryAt: after(12 * time.Minute),
	}
}

func answer(status int) func(*orders.Order) (int, []byte, error) {
	return func(o *orders.Order) (int, []byte, error) {
		return status, fmt.Appendf(nil, "%s %s v%d", o.No, o.State, o.Version), nil
	}
}

// said is evidence of a fact about an attempt; paid facts carry the order's total.
func said(o *orders.Order, ordinal int, state orders.AttemptState, at time.Time) orders.Evidence {
	f := orders.Fact{State: state, PayeeMemberID: "1136549", Environment: "demo", ProviderTradeNo: fmt.Sprintf("trade-%s-%d", o.No, ordinal)}
	if state == orders.AttemptPaid {
		f.Amount, f.PaidAt, f.Method = &o.Total, at, "credit_card"
	}
	return orders.Evidence{
		Source: orders.SourceCallback, Account: account, AttemptNo: o.Attempts[ordinal-1].No, Fact: &f, ReceivedAt: at,
		Raw: orders.Raw{Line: "POST /callbacks/bravobank-main", Header: "Bravo-Kid: 1\n", Body: []byte(state.String())},
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func placed(t *testing.T, s *sqlstore.Store, p orders.Placement) orders.Order {
	t.Helper()
	o, err := s.Place(t.Context(), p)
	if err != nil {
		t.Fatalf("place %s: %v", p.Order.No, err)
	}
	return o
}

func applied(t *testing.T, s *sqlstore.Store, e orders.Evidence) orders.Applied {
	t.Helper()
	a, err := s.Apply(t.Context(), e)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return a
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("error is %v, want %v", got, want)
	}
}

// golden are the SHA-256 of the migrations. A migration that was released is never edited:
// add another one.
var golden = map[string]string{
	"0001_orders.sql":  "fdd04cc6ab9bfc67fe068365ad0e37718a1670e3ba7fb693e085201fae4c0696",
	"0002_queries.sql": "f372a48fd82add5b14ee9316bd2b66c369ae264ec8453006f49171e1f4061dfc",
	"0003_router.sql":  "024258a823f4f64e837cb7596f781618aca053f2209d1144c0a4e75a57ce2548",
	"0004_waiting.sql": "979a7716997ecc349c5b191dc35864d390a62666ccf361ffd201b9576082cdd2",
}

func TestMigrationsAreNotEdited(t *testing.T) {
	t.Parallel()
	files, err := sqlstore.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	names, err := fs.Glob(files, "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		got[name] = hex.EncodeToString(sum[:])
	}
	if !maps.Equal(got, golden) {
		t.Errorf("migrations are %v, want %v", got, golden)
	}
}

// statements are the package's SQL constants, by name.
func statements(t *testing.T) map[string]string {
	t.Helper()
	set := token.NewFileSet()
	var files []*ast.File
	names := must[[]string](t)(filepath.Glob("*.go"))
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			files = append(files, must[*ast.File](t)(parser.ParseFile(set, name, nil, 0)))
		}
	}
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok {
				ast.Inspect(fn, func(n ast.Node) bool {
					if lit, ok := n.(*ast.BasicLit); ok && regexp.MustCompile(`\b(SELECT|INSERT|UPDATE|DELETE) `).MatchString(lit.Value) {
						t.Errorf("%s: SQL inside a function escapes this test; make it a constant", set.Position(lit.Pos()))
					}
					return true
				})
			}
		}
	}
	// Imports stay unresolved: constants of text need none.
	conf := types.Config{Error: func(error) {}, Importer: nothing{}}
	pkg, _ := conf.Check("sqlstore", set, files, nil)
	found := map[string]string{}
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && strings.HasPrefix(name, "sql") {
			found[name] = constant.StringVal(c.Val())
		}
	}
	if len(found) < 40 {
		t.Fatalf("only %d statements found", len(found))
	}
	return found
}

type nothing struct{}

func (nothing) Import(string) (*types.Package, error) { return nil, os.ErrNotExist }

// spliced fills in the fragments, for two clients.
func spliced(d database, name, query string) string {
	skip := ""
	if d.name == "postgres" {
		skip = "FOR UPDATE SKIP LOCKED"
	}
	clients := "$1, $2"
	if name == "sqlClaimDelivery" {
		clients = "$3, $4"
	}
	return strings.NewReplacer("/*skip locked*/", skip, "/*clients*/", clients).Replace(query)
}

var parameter = regexp.MustCompile(`\$[0-9]+`)

func TestEveryStatementPrepares(t *testing.T) {
	t.Parallel()
	all := statements(t)
	onBoth(t, func(t *testing.T, d database) {
		db := d.raw(t)
		for name, query := range all {
			query = spliced(d, name, query)
			if d.name == "postgres" {
				if _, err := db.Exec("PREPARE looked_at AS " + query + "; DEALLOCATE looked_at"); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			explain(t, db, name, "EXPLAIN "+query)
		}
	})
}

// explain runs an EXPLAIN with null for every parameter and returns what it tells.
func explain(t *testing.T, db *sql.DB, name, query string) []string {
	t.Helper()
	numbers := parameter.FindAllString(query, -1)
	slices.Sort(numbers)
	rows, err := db.Query(query, make([]any, len(slices.Compact(numbers)))...)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	defer func() { _ = rows.Close() }()
	columns := must[[]string](t)(rows.Columns())
	var told []string
	for rows.Next() {
		row := make([]any, len(columns))
		for i := range row {
			row[i] = new(sql.NullString)
		}
		if err := rows.Scan(row...); err != nil {
			t.Fatal(err)
		}
		told = append(told, row[len(row)-1].(*sql.NullString).String)
	}
	if err := rows.Err(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return told
}

// A claim that scans its table gets slower with every order ever made.
func TestSweepsUseTheirIndex(t *testing.T) {
	t.Parallel()
	all := statements(t)
	d := newDatabase(t, "sqlite", "sqlite:"+filepath.Join(t.TempDir(), "orders.db"))
	db := d.raw(t)
	all["sqlClaimQuery, not urgent"] = strings.Replace(all["sqlClaimQuery"], "/*urgent*/", "AND NOT query_urgent", 1)
	all["sqlClaimQuery, urgent"] = strings.Replace(all["sqlClaimQuery"], "/*urgent*/", "AND query_urgent", 1)
	for name, index := range map[string]string{
		"sqlClaimQuery": "attempts_query_account", "sqlClaimQuery, urgent": "attempts_query_urgent", "sqlClaimRefund": "refunds_send", "sqlNextRefund": "refunds_send", "sqlClaimQuery, not urgent": "attempts_query_account", "sqlOutboxOldest": "events_due",
		"sqlLastHanded": "attempts_handed", "sqlOpenCases": "cases_open", "sqlCasesOpen": "cases_open", "sqlRunning": "keys_running", "sqlRefunds": "refunds_order", "sqlUnproven": "evidence_unproven", "sqlClaimSettle": "orders_settle", "sqlClaimOrphan": "evidence_next",
		"sqlClaimDelivery": "events_due", "sqlNextDelivery": "events_due", "sqlUnsequenced": "events_unsequenced", "sqlNextInFeed": "events_unsequenced",
		"sqlNextQuery": "attempts_query_account", "sqlFeed": "events_seq", "sqlRunningKey": "keys_running", "sqlOutboxGauge": "events_undelivered", "sqlCounts": "calls_doubt",
	} {
		plan := explain(t, db, name, "EXPLAIN QUERY PLAN "+spliced(d, name, all[name]))
		if !slices.ContainsFunc(plan, func(s string) bool { return strings.Contains(s, index) }) {
			t.Errorf("%s does not use %s: %q", name, index, plan)
		}
		for _, step := range plan {
			if strings.HasPrefix(step, "SCAN") && !strings.Contains(step, "INDEX") && !strings.Contains(step, "CONSTANT") && !strings.Contains(step, "due") && !strings.Contains(step, "(subquery") {
				t.Errorf("%s scans a table: %q", name, plan)
			}
		}
	}
}

func TestMoneyColumnsRefuseFractionsAndText(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		o := placed(t, d.open(t), placement(1, "H60983881309263"))
		db := d.raw(t)
		for _, set := range []string{"total = total + 1", "amount = -1", "version = 0", "state_rank = 5"} {
			if _, err := db.Exec("UPDATE orders SET "+set+" WHERE order_no = $1", string(o.No)); err == nil {
				t.Errorf("orders took %s", set)
			}
		}
		if d.name == "sqlite" { // Postgres' type does this
			for _, set := range []string{"fee = 'xyz'", "fee = 0.5, total = amount + 0.5"} {
				if _, err := db.Exec("UPDATE orders SET " + set); err == nil {
					t.Errorf("orders took %s", set)
				}
			}
		}
		if _, err := db.Exec("INSERT INTO surplus (attempt_no, bill_no, order_no, amount, refunded) VALUES ($1, 'B', $2, 20, 21)",
			string(o.Attempts[0].No), string(o.No)); err == nil {
			t.Error("more was refunded than there is surplus")
		}
	})
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		db := connect(t, d.dsn)
		s, err := sqlstore.Open(db, sqlstore.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Order(t.Context(), "2017061300000001")
		wantErr(t, err, orders.ErrNotFound)
		if errors.Is(err, orders.ErrUnavailable) {
			t.Error("not found counts as unavailable")
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = s.Place(ended, placement(1, "H60983881309263"))
		wantErr(t, err, orders.ErrUnavailable)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = s.Place(t.Context(), placement(1, "H60983881309263"))
		wantErr(t, err, orders.ErrUnavailable)
		_, err = s.Order(t.Context(), "2017061300000001")
		wantErr(t, err, orders.ErrUnavailable)
		_, err = s.DrawOrderNo(t.Context(), morning)
		wantErr(t, err, orders.ErrUnavailable)
	})
}
