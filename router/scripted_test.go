package router_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/orders/sqlstore"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/providertest"
	"pay.taipei/gateway/router"
)

var wireFaults = map[string]providertest.Answer{
	"answered": providertest.Ok, "declined": providertest.Decline, "not found": providertest.Missing, "rate limited": providertest.Limited,
	"dropped": providertest.Drop, "hanging": providertest.Hang, "status 500": providertest.Status500, "garbage": providertest.Garbage,
	"forged": providertest.Forged,
}

// Whatever happens to a create, a query or a confirm on the wire, and whether or not the provider carried it out: the
// money moves once at most, the order ends as the provider's books do, and no doubt is left when the provider has
// spoken. On both stores, over a real connection.
func TestWireFaults(t *testing.T) {
	t.Parallel()
	for engine, dsn := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "orders.db") },
		"postgres": func(t *testing.T) string { return testkit.Postgres(t) },
	} {
		for _, op := range []providers.Op{providers.OpCreate, providers.OpQuery, providers.OpConfirm} {
			for fault, answer := range wireFaults {
				for carried, do := range map[string]bool{"carried out": true, "not carried out": false} {
					if op == providers.OpConfirm && answer == providertest.Limited && do {
						continue // it says that it refused before it looked: the contract takes its word
					}
					t.Run(fmt.Sprintf("%s/%s/%s, %s", engine, op, fault, carried), func(t *testing.T) {
						t.Parallel()
						p := newPayment(t, dsn(t))
						p.twin.Script(op, providertest.Step{Do: do, Answer: answer})
						if op == providers.OpConfirm { // what the provider tells lags behind what it did
							p.twin.Script(providers.OpQuery, providertest.Step{Do: true}, providertest.Step{Do: true, Change: func(m *providertest.Message) {
								m.State, m.PaidAt = providertest.StateAuthorised, ""
							}})
						}
						p.pay()
						p.compare(pays(op, answer, do))
					})
				}
			}
		}
	}
}

// pays says whether a payment comes to its end through a fault. A create whose answer tells of no payment is not shown to
// the payer; a confirm that was not carried out is not sent again, unless the provider says that it refused to look at it. A
// provider that does not know the payment is taken at its word: the citizen has not arrived, and it is asked at the end.
func pays(op providers.Op, answer providertest.Answer, carried bool) bool {
	switch {
	case answer == providertest.Limited:
		return true
	case op == providers.OpQuery: // it is asked again
		return true
	case op == providers.OpCreate:
		return carried && answer == providertest.Ok
	}
	return carried
}

// A notice that overtakes the answer to our own create or confirm ends paid, once.
func TestNoticeOvertakesTheAnswer(t *testing.T) {
	t.Parallel()
	for _, op := range []providers.Op{providers.OpCreate, providers.OpConfirm} {
		t.Run(string(op), func(t *testing.T) {
			p := newPayment(t, "sqlite:"+filepath.Join(t.TempDir(), "orders.db"))
			p.twin.Script(op, providertest.Step{Do: true, Before: func(no string) {
				p.twin.Set(no, providertest.StatePaid)
				p.notify(no)
			}})
			p.pay()
			p.compare(true)
			if p.order().Late {
				t.Error("late")
			}
		})
	}
}

// payment is one order at a provider that is called for everything.
type payment struct {
	*router.Router
	*testing.T
	clock *testkit.Clock
	twin  *providertest.Twin
	store *sqlstore.Store
	no    orders.OrderNo
}

func newPayment(t *testing.T, dsn string) *payment {
	t.Helper()
	clock := testkit.NewClock(morning)
	twin := providertest.StartTwin(t, providertest.TwinConfig{Now: clock.Now, Environment: providers.Sandbox})
	adapter, err := twin.Adapter(providertest.Config{}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	files, err := sqlstore.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	store, err := sqlstore.Open(db, sqlstore.Deps{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	r, err := router.New(router.Config{
		Accounts:  []router.Account{{Name: "scripted-a", Provider: adapter, Environment: providers.Sandbox}},
		Merchants: []router.Merchant{{Code: "pma", Name: "停車管理工程處", Payees: map[string]string{"scripted-a": "77"}}},
	}, router.Deps{
		Store: store, Links: links{}, Now: clock.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
		Meter: &meter{count: map[string]int{}}, Wake: func() {},
		Gates: &gates{}, SetForced: func([]router.Force) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &payment{Router: r, T: t, clock: clock, twin: twin, store: store}
}

func (p *payment) order() orders.Order {
	p.Helper()
	o, err := p.store.Order(p.Context(), p.no)
	if err != nil {
		p.Fatal(err)
	}
	return o
}

// pay orders until there is an answer, authorises every payment that can be seen, and lets time pass.
func (p *payment) pay() {
	p.Helper()
	cmd := (&world{t: p.T}).command(providertest.ScriptedName)
	for {
		_, err := p.Place(p.Context(), cmd, wording{})
		var none *orders.NoAccountError
		if errors.As(err, &none) {
			p.clock.Advance(none.RetryAfter)
			continue
		}
		if err != nil {
			p.Fatal(err)
		}
		break
	}
	o, err := p.store.OrderByReference(p.Context(), "core", cmd.ClientReference)
	if err != nil {
		p.Fatal(err)
	}
	p.no = o.No
	if r := o.Current().Redirect; r != nil && o.State == orders.OrderOpen {
		if err := p.twin.Visit(providers.Redirect{Method: r.Method, URL: r.URL}, providertest.StateAuthorised); err == nil { // else it never heard of it
			p.notify(string(o.Current().No))
		}
	}
	p.pass(20 * time.Minute)
	for no, b := range p.twin.Books() { // what nobody paid ends there too
		if b.State != providertest.StatePaid {
			p.twin.Set(no, providertest.StateExpired)
		}
	}
	p.pass(20 * time.Minute)
}

func (p *payment) notify(no string) {
	raw, err := p.twin.Callback(no)
	if err != nil {
		p.Error(err)
		return
	}
	raw.Token = raw.Path[strings.LastIndex(raw.Path, "/")+1:]
	d, _ := p.Decoder("scripted-a")
	n, err := d.DecodeCallback(raw)
	if err != nil {
		p.Error(err)
		return
	}
	if v, err := p.Notice(p.Context(), "scripted-a", n, raw); v != providers.Accepted || err != nil {
		p.Errorf("notice: verdict %d, %v", v, err)
	}
}

// pass lets time pass, with every step at work each minute.
func (p *payment) pass(d time.Duration) {
	p.Helper()
	for end := p.clock.Now().Add(d); p.clock.Now().Before(end); p.clock.Advance(time.Minute) {
		for now := p.clock.Now(); ; {
			next, err := p.QueryStep(p.Context(), "scripted-a")
			if err != nil {
				p.Fatal(err)
			}
			if next.After(now) {
				break
			}
		}
		if _, err := p.SettleStep(p.Context()); err != nil {
			p.Fatal(err)
		}
	}
}

// compare holds the order and the provider's books against what is expected.
func (p *payment) compare(paid bool) {
	p.Helper()
	charged := 0
	for no, b := range p.twin.Books() {
		if b.State == providertest.StatePaid {
			charged++
		}
		if n := p.twin.Effects(providers.OpConfirm, no); n > 1 {
			p.Errorf("%s was confirmed %d times", no, n)
		}
	}
	o, want := p.order(), map[bool]orders.OrderState{false: orders.OrderExpired, true: orders.OrderPaid}[paid]
	if (charged == 1) != paid || charged > 1 || o.State != want || o.Doubt() || len(o.Surplus) > 0 {
		p.Errorf("charged %d times; order %s, doubt %t, surplus %v, attempts %+v, calls %+v", charged, o.State, o.Doubt(), o.Surplus, o.Attempts, o.Calls)
	}
}
