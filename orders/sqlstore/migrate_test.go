package sqlstore_test

import (
	"io/fs"
	"testing"
	"testing/fstest"

	"pay.taipei/gateway/orders/sqlstore"
)

// What was paid before refunds were known may be paid back, and is not asked about any more.
func TestMigrationKnowsWhatWasPaid(t *testing.T) {
	t.Parallel()
	all := must[fs.FS](t)(sqlstore.Migrations())
	before := fstest.MapFS{}
	for _, name := range []string{"0001_orders.sql", "0002_queries.sql"} {
		before[name] = &fstest.MapFile{Data: must[[]byte](t)(fs.ReadFile(all, name))}
	}
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := database{name: name, dsn: dsn(t)}
			if err := connect(t, d.dsn).Migrate(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			for _, query := range []string{
				`INSERT INTO orders VALUES ('2017061300000001', 'core', 'r', 'pma', 'p', 'bravobank', 'null', 'immediate', 'TWD', 40, 0, 40, 'u', 't', 30, 3, FALSE, FALSE, 1, 2, NULL, 0)`,
				`INSERT INTO order_lines VALUES ('2017061300000001', 'AAAAAAAAA', 0, 'n', 1, 20, 20), ('2017061300000001', 'BBBBBBBBB', 1, 'n', 1, 20, 20)`,
				`INSERT INTO attempts (attempt_no, order_no, ordinal, account, provider, environment, payee_member_id, token, state_rank, abandoned,
					created_ms, handed_ms, redirect, refs, provider_trade_no, method, paid_ms, query_ms) VALUES
					('201706130000000101', '2017061300000001', 1, 'bravobank-main', 'bravobank', 'demo', '1', 't1', 30, FALSE, 1, 1, 'null', 'null', '', '', 1, 5),
					('201706130000000102', '2017061300000001', 2, 'bravobank-main', 'bravobank', 'demo', '1', 't2', 30, FALSE, 1, 1, 'null', 'null', '', '', 1, NULL),
					('201706130000000103', '2017061300000001', 3, 'bravobank-main', 'bravobank', 'demo', '1', 't3', 10, FALSE, 1, 1, 'null', 'null', '', '', NULL, 5)`,
				`INSERT INTO bills VALUES ('pma', 'AAAAAAAAA', '', '2017061300000001', 0), ('pma', 'BBBBBBBBB', '', '2017061300000001', 0)`,
				`INSERT INTO surplus VALUES ('201706130000000102', 'AAAAAAAAA', '2017061300000001', 20, 0), ('201706130000000102', 'BBBBBBBBB', '2017061300000001', 20, 0)`,
			} {
				if _, err := d.raw(t).Exec(query); err != nil {
					t.Fatal(err)
				}
			}
			d = newDatabase(t, name, d.dsn)
			s := d.open(t)
			o, err := s.Order(t.Context(), "2017061300000001")
			if err != nil || o.Paying() == nil || o.Paying().Ordinal != 1 || !o.Attempts[0].QueryAt.IsZero() || o.Attempts[2].QueryAt.IsZero() || len(o.Surplus) != 2 {
				t.Fatalf("order %+v, %v", o, err)
			}
			for attempt, want := range map[string]int64{"201706130000000101": 40_000, "201706130000000102": 40_040, "201706130000000103": 0} {
				if n := count(t, d, "SELECT paid * 1000 + surplus FROM attempts WHERE attempt_no = $1", attempt); n != want {
					t.Errorf("paid and surplus of %s: %d, want %d", attempt, n, want)
				}
			}
			if _, err := s.AskRefund(t.Context(), refunding(&o, 40, "all")); err != nil {
				t.Error(err)
			}
		})
	}
}
