package router_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router"
)

func (w *world) another(o *orders.Order, wish ...string) (orders.Answer, error) {
	w.serial++
	return w.Attempt(w.t.Context(), orders.AttemptCommand{
		Key: orders.KeyRef{ClientID: "core", Route: "POST attempts " + string(o.No), Key: fmt.Sprintf("attempt-%d", w.serial)}, Order: o.No, Providers: wish,
	}, wording{})
}

func (w *world) cancel(o *orders.Order) (orders.Answer, error) {
	w.serial++
	return w.Cancel(w.t.Context(), orders.CancelCommand{
		Key: orders.KeyRef{ClientID: "core", Route: "POST cancel " + string(o.No), Key: fmt.Sprintf("cancel-%d", w.serial)}, Order: o.No,
	}, wording{})
}

// The citizen goes back and picks another provider: the earlier attempts are watched on, and may still be paid.
func TestAnotherAttempt(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	a, err := w.another(&o, "server")
	if err != nil || a.Status != 201 {
		t.Fatalf("%+v, %v", a, err)
	}
	w.wantStates(o.No, "open pending(abandoned) pending")
	if now := w.read(o.No); now.Current().Account != "server-a" || now.Current().No != orders.AttemptNo("S1"+string(o.No)+"02") {
		t.Errorf("attempt %+v", now.Current())
	}
	if a, err = w.another(&o, "click"); err != nil || a.Status != 201 {
		t.Fatalf("%+v, %v", a, err)
	}
	w.wantStates(o.No, "open pending(abandoned) pending(abandoned) intent")
	c, err := w.Checkout(t.Context(), o.PayToken)
	if err != nil || c.Redirect == nil || c.Redirect.URL != "https://pay.example/click" {
		t.Fatalf("%+v, %v", c, err)
	}
	w.paidNotice(&o, "n1") // the first one after all
	w.wantStates(o.No, "paid paid(abandoned) pending(abandoned) pending")
	_, err = w.another(&o, "form")
	wantErr(t, err, orders.ErrNotPayable)
	_, err = w.another(&orders.Order{No: "2017061399999999"}, "form")
	wantErr(t, err, orders.ErrNotFound)
}

func TestAnotherAttemptKeepsTheWish(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	if _, err := w.another(&o); err != nil {
		t.Fatal(err)
	}
	if now := w.read(o.No); now.Current().Account != "form-a" || now.Current().Wishes.Providers[0] != "form" {
		t.Errorf("attempt %+v", now.Current())
	}
	_, err := w.another(&o, "nobody")
	if f, ok := errors.AsType[*orders.FieldError](err); !ok || f.Field != "/provider" {
		t.Errorf("error %v", err)
	}
}

// A request for an attempt that died is no obstacle: whoever repeats it makes one of its own.
func TestAnotherAttemptAfterCrash(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	w.server.create = func(int, providers.CreateRequest) (providers.Created, error) { panic(errCrash) }
	cmd := orders.AttemptCommand{Key: orders.KeyRef{ClientID: "core", Route: "a", Key: "k"}, Order: o.No, Providers: []string{"server"}}
	w.dies(func() { _, _ = w.Attempt(t.Context(), cmd, wording{}) })
	w.server.create = nil
	w.restart()
	_, err := w.Attempt(t.Context(), cmd, wording{})
	wantErr(t, err, orders.ErrInFlight)
	_, err = w.another(&o, "server") // its process may be alive
	wantErr(t, err, orders.ErrInFlight)
	w.clock.Advance(lease)
	a, err := w.Attempt(t.Context(), cmd, wording{})
	if err != nil || a.Status != 201 {
		t.Fatalf("%+v, %v", a, err)
	}
	w.wantStates(o.No, "open pending(abandoned) intent(abandoned) pending")
	if again, err := w.Attempt(t.Context(), cmd, wording{}); err != nil || !again.Replayed || string(again.Body) != string(a.Body) {
		t.Errorf("replay %+v, %v", again, err)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	if a, err := w.cancel(&o); err != nil || a.Status != 200 {
		t.Fatalf("%+v, %v", a, err)
	}
	w.wantStates(o.No, "cancelled pending(abandoned)")
	if a, err := w.cancel(&o); err != nil || a.Status != 200 {
		t.Errorf("again: %+v, %v", a, err)
	}
	again := w.command("form") // its bills are free
	again.Lines = o.Lines
	if _, err := w.place(again); err != nil {
		t.Error(err)
	}
	w.paidNotice(&o, "n1") // the page that was open is paid all the same: the other order is not
	w.wantStates(o.No, "paid paid(abandoned) late")
	_, err := w.cancel(&o)
	wantErr(t, err, orders.ErrNotPayable)
	late := w.placed("form")
	w.at(life)
	_, err = w.cancel(&late)
	wantErr(t, err, orders.ErrNotPayable)
}

// A cancel waits while nobody knows whether the money moved, and what the provider says decides.
func TestCancelWaitsForDoubt(t *testing.T) {
	for name, test := range map[string]struct {
		said   providers.Snapshot
		states string
	}{
		"paid":   {paidSnapshot(twd(40)), "paid paid"},
		"failed": {providers.Snapshot{State: providers.Failed}, "cancelled failed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.placed("server")
			w.server.query = always(providers.Snapshot{Next: providers.NextConfirm}, nil)
			w.server.confirm = always(providers.Snapshot{}, kindError(providers.OutcomeUnknown))
			if _, err := w.notice(o.Current(), "", nil); err != nil {
				t.Fatal(err)
			}
			w.work(w.QueryStep)
			w.wantStates(o.No, "open pending doubt")
			if a, err := w.cancel(&o); err != nil || a.Status != 202 {
				t.Fatalf("%+v, %v", a, err)
			}
			if _, err := w.another(&o, "form"); !errors.Is(err, orders.ErrNotPayable) {
				t.Errorf("another attempt in doubt: %v", err)
			}
			w.server.query = always(test.said, nil)
			w.clock.Advance(5 * time.Minute)
			w.work(w.QueryStep)
			w.wantStates(o.No, test.states)
			if len(w.server.confirms) != 1 {
				t.Errorf("%d confirms", len(w.server.confirms))
			}
		})
	}
}

// A client takes its own bills back, if the provider says now that they are not paid.
func TestSupersede(t *testing.T) {
	for name, test := range map[string]struct {
		query  func(int, providers.AttemptRef) (providers.Snapshot, error)
		client string
		first  time.Duration // of the provider's patience
		states string        // of the order that held the bills
		taken  bool
	}{
		"not paid":       {always(providers.Snapshot{}, nil), "core", 0, "cancelled pending(abandoned)", true},
		"never arrived":  {always(providers.Snapshot{}, kindError(providers.NotFound)), "core", 0, "cancelled pending(abandoned)", true},
		"paid":           {paid, "core", 0, "paid paid", false},
		"no answer":      {always(providers.Snapshot{}, kindError(providers.OutcomeUnknown)), "core", 0, "open pending", false},
		"authorised":     {always(providers.Snapshot{Next: providers.NextConfirm}, nil), "core", 0, "open pending", false},
		"too early":      {always(providers.Snapshot{}, nil), "core", time.Minute, "open pending", false},
		"another client": {always(providers.Snapshot{}, nil), "other", 0, "open pending", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.form.d.Patience.FirstQuery = test.first
			w.form.query = test.query
			o := w.placed("form")
			cmd := w.command("form")
			cmd.Lines, cmd.Supersede, cmd.Key.ClientID = o.Lines, true, test.client
			a, err := w.place(cmd)
			w.wantStates(o.No, test.states)
			held, isHeld := errors.AsType[*orders.BillError](err)
			if (err == nil && a.Status == 201) != test.taken || (err != nil && !isHeld) {
				t.Fatalf("%+v, %v", a, err)
			}
			if isHeld && !held.Paid && test.client == "core" && held.RetryAfter <= 0 {
				t.Error("no word on when to ask again")
			}
			if test.first > 0 && held.RetryAfter != test.first {
				t.Errorf("again after %v", held.RetryAfter)
			}
			if test.client != "core" && len(w.form.queries) > 0 {
				t.Error("asked for another client")
			}
		})
	}
}

// The provider is asked by its patience while the order lives, so that a lost callback costs little time.
func TestFirstQuery(t *testing.T) {
	w := newWorld(t, func(c *router.Config, _ *router.Deps) {})
	w.form.d.Patience.FirstQuery = 20 * time.Second
	w.click.d.Patience.FirstQuery = 20 * time.Second
	o := w.placed("form")
	unclicked := w.placed("click")
	var asked []time.Duration
	w.form.query = func(int, providers.AttemptRef) (providers.Snapshot, error) {
		asked = append(asked, w.clock.Now().Sub(morning))
		if len(asked) == 3 {
			return paidSnapshot(o.Total), nil
		}
		return providers.Snapshot{}, nil
	}
	for w.clock.Now().Before(morning.Add(life)) {
		w.work(w.QueryStep)
		w.clock.Advance(10 * time.Second)
	}
	if fmt.Sprint(asked) != "[20s 50s 1m50s]" {
		t.Errorf("asked at %v", asked)
	}
	w.wantStates(o.No, "paid paid")
	if len(w.click.queries) != 0 {
		t.Errorf("asked about %s, which never left", unclicked.No)
	}
	if w.meter.of("missing form-a") != 1 || w.meter.of("paid form-a query") != 1 {
		t.Errorf("meter %v", w.meter.count)
	}
}

// What the provider does not tell in all the time that it is asked becomes a person's, loudly and once.
func TestPlanEnds(t *testing.T) {
	w := newWorld(t)
	w.form.d.Patience.End = time.Hour
	o := w.placed("form")
	w.form.query = always(providers.Snapshot{}, kindError(providers.OutcomeUnknown))
	for w.clock.Now().Before(morning.Add(3 * time.Hour)) {
		w.work(w.QueryStep)
		w.clock.Advance(time.Minute)
	}
	asked := len(w.form.queries)
	got := w.read(o.No)
	if len(got.Cases) != 1 || got.Cases[0].Kind != orders.CaseUnresolved || w.events(o.No) != "created case" {
		t.Fatalf("cases %+v, events %s", got.Cases, w.events(o.No))
	}
	if opened := got.Cases[0].OpenedAt.Sub(morning); opened < life+grace+time.Hour || opened > life+grace+time.Hour+slowest+time.Minute {
		t.Errorf("opened after %v", opened)
	}
	w.wantStates(o.No, "open pending")
	w.at(20 * time.Hour)
	w.work(w.QueryStep)
	if len(w.form.queries) != asked {
		t.Error("asked on after the plan's end")
	}
	// A person wants to know: the plan begins anew, and the answer closes the case.
	w.form.query = paid
	if err := w.store.AskNow(t.Context(), o.Current().No, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.work(w.QueryStep)
	w.wantStates(o.No, "paid paid late")
	if c := w.read(o.No).Cases[0]; c.ClosedBy != orders.ByEvidence || c.ClosedAt.IsZero() {
		t.Errorf("case %+v", c)
	}
}
