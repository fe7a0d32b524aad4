package sqlstore_test

import (
	"path/filepath"
	"testing"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/orders/storetest"
)

func TestStoreContract(t *testing.T) {
	t.Parallel()
	for name, dsn := range map[string]func(testing.TB) string{
		"sqlite":   func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "orders.db") },
		"postgres": func(t testing.TB) string { return testkit.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t testing.TB) func() orders.Store {
				d := newDatabase(t, name, dsn(t))
				return func() orders.Store { return d.open(t) }
			})
		})
	}
}
