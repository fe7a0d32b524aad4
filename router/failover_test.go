package router_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router"
	"pay.taipei/gateway/router/policy"
)

// second adds another account of the server-create provider, with a prefix that tells its attempts apart.
func second(c *router.Config, _ *router.Deps) {
	b := c.Accounts[2]
	b.Name, b.NumberPrefix = "server-b", "S2"
	c.Accounts = append(c.Accounts[:3:3], append([]router.Account{b}, c.Accounts[3:]...)...)
	c.Merchants[0].Payees["server-b"] = "80"
}

// answers scripts creates by account: what the first and the second account say.
func (w *world) answers(a, b error) {
	w.server.create = func(_ int, req providers.CreateRequest) (providers.Created, error) {
		err := a
		if strings.HasPrefix(req.AttemptNo, "S2") {
			err = b
		}
		return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://pay.example/" + req.AttemptNo}}, err
	}
}

// A create moves no money: after an unknown outcome, and after the proof that nothing was carried out, the next account is
// tried in the same request. A clear no is an answer.
func TestFailover(t *testing.T) {
	unknown, down, no := kindError(providers.OutcomeUnknown), kindError(providers.Unavailable), kindError(providers.Declined)
	for name, test := range map[string]struct {
		a, b    error
		status  int // 0: no account
		creates int
		states  string
	}{
		"first":                  {nil, nil, 201, 1, "open pending"},
		"unknown, then well":     {unknown, nil, 201, 2, "open intent(abandoned) pending"},
		"unavailable, then well": {down, nil, 201, 2, "open intent(abandoned) pending"},
		"our keys refused":       {kindError(providers.Auth), nil, 201, 2, "open intent(abandoned) pending"},
		"declined":               {no, nil, 422, 1, "open failed"},
		"unknown, then declined": {unknown, no, 422, 2, "open intent(abandoned) failed"},
		"unknown twice":          {unknown, unknown, 202, 2, "open intent(abandoned) intent(abandoned)"},
		"unknown, unavailable":   {unknown, down, 0, 2, "open intent(abandoned) intent"},
		"unavailable, unknown":   {down, unknown, 0, 2, "open intent(abandoned) intent(abandoned)"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, second)
			w.answers(test.a, test.b)
			cmd := w.command("server")
			answer, err := w.place(cmd)
			none, failed := errors.AsType[*orders.NoAccountError](err)
			if answer.Status != test.status || failed != (test.status == 0) || (err != nil && !failed) {
				t.Fatalf("answer %+v, %v", answer, err)
			}
			if len(w.server.creates) != test.creates {
				t.Errorf("%d creates", len(w.server.creates))
			}
			no := orders.OrderNo(w.server.creates[0].OrderNo)
			w.wantStates(no, test.states)
			if failed {
				if none.RetryAfter <= 0 {
					t.Error("no word on when to ask again")
				}
				w.answers(nil, nil)
				if again, err := w.place(cmd); err != nil || again.Status != 201 || w.order(again).No != no {
					t.Errorf("the same request again: %+v, %v", again, err)
				}
				return
			}
			again, err := w.place(cmd)
			if err != nil || !again.Replayed || string(again.Body) != string(answer.Body) || len(w.server.creates) != test.creates {
				t.Errorf("replay %+v, %v", again, err)
			}
		})
	}
}

// The lease lives on while the request tries another account, so that nobody takes the order over meanwhile.
func TestFailoverRenewsItsLease(t *testing.T) {
	w := newWorld(t, second)
	cmd := w.command("server")
	w.server.create = func(n int, req providers.CreateRequest) (providers.Created, error) {
		w.clock.Advance(15 * time.Second)
		if n == 1 {
			return providers.Created{}, kindError(providers.OutcomeUnknown)
		}
		if _, err := w.place(cmd); !errors.Is(err, orders.ErrInFlight) {
			t.Errorf("a second request during the second try: %v", err)
		}
		return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://pay.example/"}}, nil
	}
	if a, err := w.place(cmd); err != nil || a.Status != 201 {
		t.Fatalf("%+v, %v", a, err)
	}
}

// A request whose order was paid while its create hung makes no further attempt.
func TestNoFailoverOncePaid(t *testing.T) {
	w := newWorld(t, second)
	w.server.create = func(_ int, req providers.CreateRequest) (providers.Created, error) {
		o := w.read(orders.OrderNo(req.OrderNo))
		w.paidNotice(&o, "n1")
		return providers.Created{}, kindError(providers.OutcomeUnknown)
	}
	a, err := w.place(w.command("server"))
	if err != nil || a.Status != 202 || len(w.server.creates) != 1 {
		t.Fatalf("%+v, %v after %d creates", a, err, len(w.server.creates))
	}
	w.wantStates(w.order(a).No, "paid paid(abandoned)")
}

// Without a named provider the route decides, also from one that is called to one that only signs.
func TestRoutes(t *testing.T) {
	routes := func(c *router.Config, _ *router.Deps) {
		c.Rules.Routes = []policy.Route{{Name: "parking", Merchants: []string{"pma"}, Accounts: []string{"server-a", "form-a"}}}
	}
	w := newWorld(t, routes)
	w.answers(kindError(providers.OutcomeUnknown), nil)
	a, err := w.place(w.command())
	if err != nil || a.Status != 201 {
		t.Fatalf("%+v, %v", a, err)
	}
	o := w.order(a)
	w.wantStates(o.No, "open intent(abandoned) pending")
	if o.Current().Account != "form-a" || o.Current().Redirect == nil || o.Current().HandedAt.IsZero() {
		t.Errorf("attempt %+v", o.Current())
	}
	rows, err := w.Timeline(t.Context(), o.No)
	if err != nil {
		t.Fatal(err)
	}
	var why []string
	for _, r := range rows {
		if r.What == "routing" {
			why = append(why, r.Detail)
		}
	}
	want := []string{
		"by route parking: 1. server-a; 2. form-a; not form-b (not_in_route); not click-a (not_in_route)",
		"by route parking: 1. form-a; not form-b (not_in_route); not server-a (tried); not click-a (not_in_route)",
	}
	if strings.Join(why, "\n") != strings.Join(want, "\n") {
		t.Errorf("receipts:\n%s", strings.Join(why, "\n"))
	}
	// The citizen's wish stands above the route.
	if o := w.placed("click"); o.Current().Account != "click-a" {
		t.Errorf("wished click: %+v", o.Current())
	}
}

// An account that cannot serve now is not chosen; where none can, the answer says when to come again.
func TestUnhealthyAccounts(t *testing.T) {
	w := newWorld(t, second)
	until := morning.Add(time.Minute)
	w.gates.close(until, "server-a/create")
	if o := w.placed("server"); o.Current().Account != "server-b" {
		t.Errorf("attempt %+v", o.Current())
	}
	w.gates.close(until, "server-a/create", "server-b/create")
	_, err := w.place(w.command("server"))
	wantErr(t, err, &orders.NoAccountError{Why: "server-a: breaker_open", RetryAfter: time.Minute})
	// Where the adapter only signs, nobody is sent where queries find nobody.
	w.gates.close(until, "form-a/query")
	if _, err := w.place(w.command("form")); err == nil {
		t.Error("sent to a provider that does not answer")
	}
	for _, l := range w.Providers("pma", nil, morning) {
		if want := l.Descriptor.Name != "form"; l.Available != want || (!want && (l.Why != policy.BreakerOpen || !l.Until.Equal(until))) {
			t.Errorf("directory: %s %v %s %v", l.Descriptor.Name, l.Available, l.Why, l.Until)
		}
	}
	// A query is not stopped by a create that fails.
	w.gates.close(until, "server-a/create")
	o := w.placed("server")
	w.server.query = paid
	w.at(life + grace)
	w.work(w.QueryStep)
	w.wantStates(o.No, "paid paid late")
}

// Nobody is sent to a window, and the directory says until when it lasts.
func TestMaintenance(t *testing.T) {
	night := policy.Window{ID: "w1", Scope: policy.ScopeProvider, Name: "form", Start: morning.Add(5 * time.Minute), End: morning.Add(time.Hour)}
	w := newWorld(t)
	text, err := night.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.store.SetControl(t.Context(), orders.Control{Kind: orders.ControlWindow, Name: "w1", Spec: string(text), By: "ops", SetAt: morning}); err != nil {
		t.Fatal(err)
	}
	o := w.placed("form") // before it was known
	if _, err := w.ControlsStep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = w.place(w.command("form")) // its redirect would live into the window
	wantErr(t, err, &orders.NoAccountError{Why: "form-a: maintenance", RetryAfter: time.Hour})
	if c, err := w.Checkout(t.Context(), o.PayToken); err != nil || c.Redirect != nil {
		t.Errorf("a click leads into the window: %+v, %v", c, err)
	}
	l := w.Providers("pma", nil, morning)[0]
	if l.Available || l.Why != policy.Maintenance || !l.Until.Equal(night.End) {
		t.Errorf("directory %+v", l)
	}
	if c := w.Conditions()[0]; c.Maintenance {
		t.Error("its alerts are muted before it begins")
	}
	w.at(5 * time.Minute)
	if c := w.Conditions()[0]; !c.Maintenance {
		t.Error("its alerts are not muted")
	}
	w.at(time.Hour)
	if _, err := w.place(w.command("form")); err != nil {
		t.Errorf("after its end: %v", err)
	}
}

// A provider that asks to be left alone is left alone, by every replica and after a restart, and its customers go elsewhere.
func TestLeftAlone(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	w.form.query = always(providers.Snapshot{}, &providers.Error{Kind: providers.RateLimited, Code: "403", RetryAfter: 30 * time.Minute})
	if _, err := w.notice(o.Current(), "", nil); err != nil {
		t.Fatal(err)
	}
	w.work(w.QueryStep)
	asked := len(w.form.queries)
	if asked != 1 {
		t.Fatalf("%d queries", asked)
	}
	for range 2 { // this process, and another one that has read the controls
		other := w.placed("server")
		w.server.query = nil
		if _, err := w.place(w.command("form")); err == nil {
			t.Error("sent to a provider that wants to be left alone")
		}
		w.paidNotice(&other, "n"+string(other.No))
		w.clock.Advance(10 * time.Minute)
		if _, err := w.notice(o.Current(), "", nil); err != nil {
			t.Fatal(err)
		}
		w.work(w.QueryStep)
		if len(w.form.queries) != asked {
			t.Fatalf("asked %d times", len(w.form.queries))
		}
		w.restart()
		if _, err := w.ControlsStep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if c := w.Conditions()[0]; !c.QuietUntil.Equal(morning.Add(30 * time.Minute)) {
		t.Errorf("quiet until %v", c.QuietUntil)
	}
	w.at(30 * time.Minute)
	w.form.query = paid
	w.work(w.QueryStep)
	w.wantStates(o.No, "paid paid late")
}

func TestControlsStepForces(t *testing.T) {
	w := newWorld(t)
	for name, spec := range map[string]string{"form-a": "open", "server-a/create": "closed"} {
		if err := w.store.SetControl(t.Context(), orders.Control{Kind: orders.ControlForce, Name: name, Spec: spec, By: "ops", SetAt: morning, Until: morning.Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	next, err := w.ControlsStep(t.Context())
	if err != nil || !next.Equal(morning.Add(time.Second)) {
		t.Fatalf("next %v, %v", next, err)
	}
	until := morning.Add(time.Hour)
	want := []router.Force{{Account: "form-a", Open: true, Until: until}, {Account: "server-a", Op: "create", Until: until}}
	if len(w.gates.forced) != 2 || !w.gates.forced[0].Until.Equal(until) || w.gates.forced[0].Account != want[0].Account || !w.gates.forced[0].Open || w.gates.forced[1].Op != "create" || w.gates.forced[1].Open {
		t.Errorf("forced %+v", w.gates.forced)
	}
}

// An account without traffic is probed about a payment that it knows, and only then.
func TestProbe(t *testing.T) {
	w := newWorld(t)
	probe := func() time.Time {
		next, err := w.ProbeStep(t.Context(), "form-a")
		if err != nil {
			t.Fatal(err)
		}
		return next.Round(0)
	}
	probe()
	if len(w.form.queries) != 0 {
		t.Fatal("asked about nothing")
	}
	o := w.placed("form")
	w.paidNotice(&o, "n1")
	w.form.query = paid
	if probe(); len(w.form.queries) != 0 {
		t.Fatal("asked sooner than its provider likes")
	}
	w.at(spacing)
	if next := probe(); len(w.form.queries) != 1 || !next.Equal(morning.Add(2*spacing)) {
		t.Fatalf("%d queries, next %v", len(w.form.queries), next)
	}
	if probe(); len(w.form.queries) != 1 {
		t.Error("probed though it was just heard of")
	}
	w.at(2 * spacing)
	w.form.query = always(providers.Snapshot{}, kindError(providers.Unavailable))
	if next := probe(); len(w.form.queries) != 2 || !next.Equal(morning.Add(2*spacing+time.Second)) {
		t.Errorf("%d queries, next %v: a probe that never arrived costs nothing", len(w.form.queries), next)
	}
	w.gates.close(morning.Add(time.Hour), "form-a/query")
	if probe(); len(w.form.queries) != 2 {
		t.Error("probed while the breaker is open")
	}
	w.wantStates(o.No, "paid paid")
}

// What a call tells of its provider's health.
func TestCallResults(t *testing.T) {
	for kind, want := range map[error]router.CallResult{
		nil: router.CallAnswered, kindError(providers.Declined): router.CallAnswered, kindError(providers.NotFound): router.CallAnswered,
		kindError(providers.RateLimited): router.CallAnswered, kindError(providers.OutcomeUnknown): router.CallFault,
		kindError(providers.Unavailable): router.CallFault, kindError(providers.Untrusted): router.CallFault, kindError(providers.Auth): router.CallFault,
	} {
		w := newWorld(t)
		w.server.create = func(int, providers.CreateRequest) (providers.Created, error) {
			return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://pay.example/"}}, kind
		}
		_, _ = w.place(w.command("server"))
		if got := w.gates.results; len(got) != 1 || got[0] != "server-a/create "+string(rune('0'+want)) {
			t.Errorf("%v: %v", kind, got)
		}
	}
}

// A probe asks about a payment for the account's sake. The payer who comes back just after it is not put off because of that.
func TestProbesDoNotDelayPayers(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	w.clock.Advance(2 * time.Minute)
	before := len(w.form.queries)
	if _, err := w.ProbeStep(t.Context(), "form-a"); err != nil || len(w.form.queries) != before+1 {
		t.Fatalf("%d probes, %v", len(w.form.queries)-before, err)
	}
	raw := w.raw("?")
	raw.Token = o.Current().Token
	if _, err := w.Notice(t.Context(), "form-a", providers.Notice{}, raw); err != nil {
		t.Fatal(err)
	}
	w.work(w.QueryStep)
	if got := len(w.form.queries) - before; got != 2 {
		t.Errorf("%d questions, want the probe and one for the payer", got)
	}
}
