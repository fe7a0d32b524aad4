package sqlstore_test

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"pay.taipei/gateway/orders/storetest"
)

// TestMain keeps the number of lives of TestMachine in hand: each is some hundred transactions on two real databases. MACHINE
// sets it for the long proof; whatever rapid is told for other packages is too much here.
func TestMain(m *testing.M) {
	flag.Parse()
	lives := "15"
	if n, err := strconv.Atoi(os.Getenv("MACHINE")); err == nil {
		lives = strconv.Itoa(n)
	}
	if err := flag.Set("rapid.checks", lives); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// life lets rapid see how a life ends, so that it finds a short one that ends so.
type life struct {
	testing.TB
	r *rapid.T
}

func (l life) Helper()                      { l.r.Helper() }
func (l life) Fatal(args ...any)            { l.r.Fatal(args...) }
func (l life) Fatalf(f string, a ...any)    { l.r.Fatalf(f, a...) }
func (l life) Error(args ...any)            { l.r.Error(args...) }
func (l life) Errorf(f string, a ...any)    { l.r.Errorf(f, a...) }
func (l life) FailNow()                     { l.r.FailNow() }
func (l life) Logf(format string, a ...any) { l.r.Logf(format, a...) }

// Orders that compete for the same bills, whatever happens to them: each bill is paid once, and our books are the bank's.
func TestMachine(t *testing.T) {
	t.Parallel()
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			live := storetest.Machine(t, harness(t, name, dsn))
			rapid.Check(t, func(r *rapid.T) {
				live(life{t, r}, func(what string, n int) int { return rapid.IntRange(0, n-1).Draw(r, what) })
			})
		})
	}
}
