package router_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router"
)

// asks tells after how long from morning each of the next n queries is made, when
// somebody comes exactly when the step says.
func (w *world) asks(f *fake, n int) []time.Duration {
	w.t.Helper()
	var at []time.Duration
	for steps := 0; len(at) < n; steps++ {
		before := len(f.queries)
		next := w.work(w.QueryStep)
		w.work(w.SettleStep)
		for range len(f.queries) - before {
			at = append(at, w.clock.Now().Sub(morning))
		}
		if steps > 500 {
			w.t.Fatalf("only %d queries, at %v", len(at), at)
		}
		if len(at) < n {
			w.clock.Advance(next.Sub(w.clock.Now()))
		}
	}
	return at
}

// quiet checks that nobody is asked for a day.
func (w *world) quiet(f *fake) {
	w.t.Helper()
	before := len(f.queries)
	for range 24 * 6 {
		w.clock.Advance(10 * time.Minute)
		w.work(w.QueryStep)
	}
	if n := len(f.queries) - before; n != 0 {
		w.t.Errorf("%d more queries", n)
	}
}

func TestQueryAfterTheEnd(t *testing.T) {
	const end = life + grace
	notFound := always(providers.Snapshot{}, kindError(providers.NotFound))
	slower := []time.Duration{ // the spacing doubles, up to ten minutes
		end, end + 30*time.Second, end + 90*time.Second, end + 210*time.Second, end + 450*time.Second,
		end + 930*time.Second, end + 1530*time.Second, end + 2130*time.Second,
	}
	for name, test := range map[string]struct {
		provider string
		auth     providers.AnswerAuth
		query    func(int, providers.AttemptRef) (providers.Snapshot, error)
		asks     []time.Duration
		states   string
		more     bool
	}{
		"paid, the callback was lost": {"form", providers.AnswerMAC, paid, slower[:1], "paid paid late", false},
		"paid, by TLS":                {"server", providers.AnswerTLS, paid, slower[:1], "paid paid late", false},
		"expired":                     {"form", providers.AnswerMAC, always(providers.Snapshot{State: providers.Expired}, nil), slower[:1], "expired expired", false},
		"failed":                      {"form", providers.AnswerMAC, always(providers.Snapshot{State: providers.Failed}, nil), slower[:1], "expired failed", false},
		"not found is final":          {"form", providers.AnswerMAC, notFound, slower[:1], "expired expired", false},
		"not found is not":            {"server", providers.AnswerTLS, notFound, slower, "open pending", true},
		"pending":                     {"form", providers.AnswerMAC, always(providers.Snapshot{}, nil), slower, "open pending", true},
		"no answer":                   {"form", providers.AnswerMAC, always(providers.Snapshot{}, errors.New("boom")), slower, "open pending", true},
		"paid, but nobody signed it":  {"form", providers.AnswerUnauthenticated, paid, slower, "open pending", true},
		"no amount":                   {"form", providers.AnswerMAC, always(providers.Snapshot{State: providers.Paid}, nil), slower[:3], "open pending", true},
		"other amount":                {"form", providers.AnswerMAC, always(paidSnapshot(twd(39)), nil), slower[:3], "open pending review", true},
		"pending, then paid": {"form", providers.AnswerMAC, func(n int, ref providers.AttemptRef) (providers.Snapshot, error) {
			if n < 3 {
				return providers.Snapshot{}, nil
			}
			return paid(n, ref)
		}, slower[:3], "paid paid late", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			f := map[string]*fake{"form": w.form, "server": w.server}[test.provider]
			f.query, f.d.AnswerAuth = test.query, test.auth
			o := w.placed(test.provider)
			if got := w.asks(f, len(test.asks)); !slices.Equal(got, test.asks) {
				t.Errorf("asked at %v, want %v", got, test.asks)
			}
			w.wantStates(o.No, test.states)
			if !test.more {
				w.quiet(f)
			}
		})
	}
}

func TestQueryDuringLife(t *testing.T) {
	const end = life + grace
	asked := func(first ...time.Duration) []time.Duration { return append(first, end) }
	for name, test := range map[string]struct {
		query  func(int, providers.AttemptRef) (providers.Snapshot, error)
		asks   []time.Duration // the first by a hint
		early  string          // the states after the first
		states string
	}{
		"pending: again at the end":    {always(providers.Snapshot{}, nil), asked(0), "open pending", "open pending"},
		"not found: not yet":           {always(providers.Snapshot{}, kindError(providers.NotFound)), asked(0), "open pending", "expired expired"},
		"failed: once more at the end": {always(providers.Snapshot{State: providers.Failed}, nil), asked(0), "open failed", "expired failed"},
		"no answer: again soon": {func(n int, ref providers.AttemptRef) (providers.Snapshot, error) {
			if n == 1 {
				return providers.Snapshot{}, kindError(providers.Unavailable)
			}
			return paid(n, ref)
		}, []time.Duration{0, spacing}, "open pending", "paid paid"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.form.query = test.query
			o := w.placed("form")
			if _, err := w.notice(o.Current(), "", nil); err != nil {
				t.Fatal(err)
			}
			w.work(w.QueryStep)
			w.wantStates(o.No, test.early)
			if got := append([]time.Duration{0}, w.asks(w.form, len(test.asks)-1)...); !slices.Equal(got, test.asks) {
				t.Errorf("asked at %v, want %v", got, test.asks)
			}
			w.wantStates(o.No, test.states)
		})
	}
}

func TestQueryOfALostAccount(t *testing.T) {
	w := newWorld(t)
	w.form.query = paid
	o := w.placed("form")
	accounts := w.config.Accounts
	w.restart(without("form-a"))
	w.at(life + grace)
	w.work(w.QueryStep)
	w.wantStates(o.No, "open pending")
	w.restart(func(c *router.Config, _ *router.Deps) { c.Accounts = accounts })
	if got := w.asks(w.form, 1); got[0] != life+grace {
		t.Errorf("asked at %v", got)
	}
	w.wantStates(o.No, "paid paid late")
}

func TestQueryWhenTheStoreFails(t *testing.T) {
	for _, verb := range []string{"ClaimQuery", "Apply", "NextQuery", "FinishQuery"} {
		t.Run(verb, func(t *testing.T) {
			w := newWorld(t)
			w.form.query = paid
			o := w.placed("form")
			if verb != "NextQuery" {
				w.at(life + grace)
			}
			w.store.failing(verb)
			next, err := w.QueryStep(t.Context())
			wantErr(t, err, orders.ErrUnavailable)
			if !next.After(w.clock.Now()) {
				t.Error("no rest after an error")
			}
			w.store.healed()
			w.at(life + grace + 2*time.Minute) // a claim was left behind
			w.work(w.QueryStep)
			w.wantStates(o.No, "paid paid late")
		})
	}
}

// A provider says how long it wants to be left alone.
func TestQueryAfterRetryAfter(t *testing.T) {
	w := newWorld(t)
	w.form.query = func(n int, ref providers.AttemptRef) (providers.Snapshot, error) {
		if n == 1 {
			return providers.Snapshot{}, &providers.Error{Kind: providers.RateLimited, RetryAfter: 30 * time.Minute}
		}
		return paid(n, ref)
	}
	o := w.placed("form")
	if got, want := w.asks(w.form, 2), []time.Duration{life + grace, life + grace + 30*time.Minute}; !slices.Equal(got, want) {
		t.Errorf("asked at %v, want %v", got, want)
	}
	w.wantStates(o.No, "paid paid late")
}

// So does one that would not look at our confirm.
func TestConfirmAfterRetryAfter(t *testing.T) {
	w, o := confirms(t)
	w.server.confirm = always(providers.Snapshot{}, &providers.Error{Kind: providers.RateLimited, RetryAfter: 5 * time.Minute})
	w.work(w.QueryStep)
	if _, _, err := w.Return(t.Context(), o.Current().Token, w.raw("")); err != nil { // the citizen is impatient
		t.Fatal(err)
	}
	for range 4 {
		w.clock.Advance(time.Minute)
		w.work(w.QueryStep)
	}
	if len(w.server.confirms) != 1 {
		t.Errorf("%d confirms", len(w.server.confirms))
	}
	w.server.confirm = always(paidSnapshot(twd(40)), nil)
	w.clock.Advance(time.Minute)
	w.work(w.QueryStep)
	w.wantStates(o.No, "paid paid")
}

// A query that our own end cuts is made by the next process, at once.
func TestQueryCutByOurEnd(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	w.at(life + grace)
	ctx, end := context.WithCancel(t.Context())
	w.form.query = func(int, providers.AttemptRef) (providers.Snapshot, error) {
		end()
		return providers.Snapshot{}, kindError(providers.OutcomeUnknown)
	}
	if _, err := w.QueryStep(ctx); err != nil {
		t.Fatal(err)
	}
	w.restart()
	w.form.query = paid
	w.work(w.QueryStep)
	w.wantStates(o.No, "paid paid late")
}

// What a query answered is kept as it came.
func TestAnswersAreKept(t *testing.T) {
	w, _ := confirms(t)
	w.server.query = always(providers.Snapshot{Next: providers.NextConfirm, Raw: []byte("query's answer")}, nil)
	said := paidSnapshot(twd(40))
	said.Raw = []byte("confirm's answer")
	w.server.confirm = always(said, nil)
	w.work(w.QueryStep)
	for _, body := range []string{"query's answer", "confirm's answer"} {
		if n := w.number("SELECT COUNT(*) FROM evidence WHERE raw_body = CAST($1 AS BLOB)", body); n != 1 {
			t.Errorf("%q is kept %d times", body, n)
		}
	}
}

// confirms is a world in which an order's payer has authorised: the provider waits for us.
func confirms(t *testing.T) (*world, orders.Order) {
	w := newWorld(t)
	w.server.query = func(int, providers.AttemptRef) (providers.Snapshot, error) {
		return providers.Snapshot{Next: providers.NextConfirm}, nil
	}
	o := w.placed("server")
	if v, err := w.notice(o.Current(), "n1", &providers.Snapshot{Next: providers.NextConfirm}); v != providers.Accepted || err != nil {
		t.Fatalf("verdict %d, %v", v, err)
	}
	return w, o
}

func (w *world) confirmCalls(no orders.OrderNo) string {
	o := w.read(no)
	s := ""
	for _, c := range o.Calls {
		if c.Op == orders.OpConfirm {
			s += "[" + string(c.Outcome) + "]"
		}
	}
	return s
}

// One confirm leaves per attempt, whatever its answer; only a proven "not sent" allows another.
func TestConfirm(t *testing.T) {
	partly := paidSnapshot(twd(39))
	for name, test := range map[string]struct {
		auth     providers.AnswerAuth
		answer   providers.Snapshot
		err      error
		calls    string
		states   string
		confirms int // after half an hour of looking
	}{
		"paid":           {providers.AnswerTLS, paidSnapshot(twd(40)), nil, "[done]", "paid paid", 1},
		"declined":       {providers.AnswerTLS, providers.Snapshot{}, kindError(providers.Declined), "[refused]", "open failed", 1},
		"unknown":        {providers.AnswerTLS, providers.Snapshot{}, kindError(providers.OutcomeUnknown), "[unknown]", "open pending doubt", 1},
		"auth":           {providers.AnswerTLS, providers.Snapshot{}, kindError(providers.Auth), "[unknown]", "open pending doubt", 1},
		"duplicate":      {providers.AnswerTLS, providers.Snapshot{}, kindError(providers.Duplicate), "[unknown]", "open pending doubt", 1},
		"not found":      {providers.AnswerTLS, providers.Snapshot{}, kindError(providers.NotFound), "[unknown]", "open pending doubt", 1},
		"foreign error":  {providers.AnswerTLS, providers.Snapshot{}, context.DeadlineExceeded, "[unknown]", "open pending doubt", 1},
		"unmapped":       {providers.AnswerTLS, providers.Snapshot{Unmapped: "E9"}, nil, "[unknown]", "open pending doubt", 1},
		"no amount":      {providers.AnswerTLS, providers.Snapshot{State: providers.Paid}, nil, "[unknown]", "open pending doubt", 1},
		"nobody's no":    {providers.AnswerUnauthenticated, providers.Snapshot{}, kindError(providers.Declined), "[unknown]", "open pending doubt", 1},
		"nobody's word":  {providers.AnswerUnauthenticated, paidSnapshot(twd(40)), nil, "[unknown]", "open pending doubt", 1},
		"not sent":       {providers.AnswerTLS, providers.Snapshot{}, kindError(providers.Unavailable), "[not_sent]", "open pending", 5},
		"rate limited":   {providers.AnswerTLS, providers.Snapshot{}, kindError(providers.RateLimited), "[not_sent]", "open pending", 5},
		"answers failed": {providers.AnswerTLS, providers.Snapshot{State: providers.Failed}, nil, "[unknown]", "open failed", 1},
		"other amount":   {providers.AnswerTLS, partly, nil, "[unknown]", "open pending review doubt", 1},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := confirms(t)
			w.server.confirm = func(n int, ref providers.AttemptRef) (providers.Snapshot, error) {
				w.server.d.AnswerAuth = test.auth
				if open := w.confirmCalls(o.No); open[len(open)-2:] != "[]" {
					t.Errorf("the call left before its row was committed: %s", open)
				}
				if ref.AttemptNo != string(o.Current().No) || ref.Amount != twd(40) || ref.PayeeMemberID != "78" || ref.Refs["token"] == "" {
					t.Errorf("confirms %+v", ref)
				}
				return test.answer, test.err
			}
			w.work(w.QueryStep)
			if got := w.confirmCalls(o.No); got != test.calls || len(w.server.confirms) != 1 {
				t.Errorf("calls %s after %d confirms, want %s", got, len(w.server.confirms), test.calls)
			}
			if test.states == "open pending review doubt" {
				if now := w.read(o.No); !now.Review || !now.Doubt() || now.State != orders.OrderOpen {
					t.Errorf("order %+v", now)
				}
			} else {
				w.wantStates(o.No, test.states)
			}
			for range 60 {
				w.clock.Advance(spacing)
				w.work(w.QueryStep)
				w.work(w.SettleStep)
			}
			if got := len(w.server.confirms); got != test.confirms {
				t.Errorf("%d confirms in all, want %d", got, test.confirms)
			}
		})
	}
}

// A doubt is asked about soon and for as long as it takes, and ends by the provider's word.
func TestDoubtEnds(t *testing.T) {
	doubtful := []time.Duration{0, spacing, 3 * spacing, 7 * spacing, 15 * spacing, 31 * spacing, 31*spacing + slowest, 31*spacing + 2*slowest}
	for name, test := range map[string]struct {
		answer func(int, providers.AttemptRef) (providers.Snapshot, error)
		states string
		asks   []time.Duration // the first led to the confirm
	}{
		"paid":   {paid, "paid paid", []time.Duration{0, spacing}},
		"failed": {always(providers.Snapshot{State: providers.Failed}, nil), "open failed", []time.Duration{0, spacing}},
		"open":   {always(providers.Snapshot{}, nil), "open pending doubt", []time.Duration{0, spacing, 3 * spacing, 7 * spacing}},
		// That the provider does not know it says nothing of the money, and a payer may cancel after it moved.
		"not found": {always(providers.Snapshot{}, kindError(providers.NotFound)), "open pending doubt", doubtful},
		"cancelled": {always(providers.Snapshot{State: providers.Cancelled}, nil), "open cancelled doubt", doubtful},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := confirms(t)
			w.server.d.Patience.NotFoundFinal = true
			w.server.confirm = func(int, providers.AttemptRef) (providers.Snapshot, error) {
				w.server.query = test.answer
				return providers.Snapshot{}, kindError(providers.OutcomeUnknown)
			}
			if got := w.asks(w.server, len(test.asks)); !slices.Equal(got, test.asks) {
				t.Errorf("asked at %v, want %v", got, test.asks)
			}
			w.wantStates(o.No, test.states)
			if len(w.server.confirms) != 1 {
				t.Errorf("%d confirms", len(w.server.confirms))
			}
		})
	}
}

// Wherever the process ends, no second confirm leaves, and the doubt shows until a query ends it.
func TestConfirmOverCrashes(t *testing.T) {
	answered := func(n int, ref providers.AttemptRef) (providers.Snapshot, error) { return paid(n, ref) }
	for name, test := range map[string]struct {
		confirm func(int, providers.AttemptRef) (providers.Snapshot, error)
		fails   string // a verb of the store
		sent    int
		states  string
	}{
		"before the claim":      {answered, "ClaimConfirm", 0, "open pending"},
		"while sending":         {func(int, providers.AttemptRef) (providers.Snapshot, error) { panic(errCrash) }, "", 1, "open pending doubt"},
		"answer not written":    {answered, "Apply", 1, "open pending doubt"},
		"outcome not written":   {answered, "FinishCall", 1, "paid paid"},
		"unknown, not written":  {always(providers.Snapshot{}, kindError(providers.OutcomeUnknown)), "FinishCall", 1, "open pending doubt"},
		"not sent, not written": {always(providers.Snapshot{}, kindError(providers.Unavailable)), "FinishCall", 1, "open pending doubt"},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := confirms(t)
			w.server.confirm = func(n int, ref providers.AttemptRef) (providers.Snapshot, error) {
				w.store.failing(test.fails)
				return test.confirm(n, ref)
			}
			if test.fails == "ClaimConfirm" {
				w.store.failing("ClaimConfirm")
			}
			if test.fails == "" {
				w.dies(func() { _, _ = w.QueryStep(t.Context()) })
			} else if next, err := w.QueryStep(t.Context()); err == nil || !next.After(w.clock.Now()) {
				t.Errorf("next %v, %v", next, err)
			}
			w.store.healed()
			w.restart()
			w.wantStates(o.No, test.states)
			if len(w.server.confirms) != test.sent {
				t.Errorf("%d confirms", len(w.server.confirms))
			}
			w.server.confirm = answered
			w.clock.Advance(2 * time.Minute)
			w.work(w.QueryStep)
			if test.sent == 1 {
				w.wantStates(o.No, test.states) // "waiting for confirm" ends no doubt
			}
			w.server.query = paid
			for range 3 {
				w.clock.Advance(2 * time.Minute)
				w.work(w.QueryStep)
			}
			w.wantStates(o.No, "paid paid")
			if len(w.server.confirms) != 1 || w.events(o.No) != "created pending paid" {
				t.Errorf("%d confirms, events %s", len(w.server.confirms), w.events(o.No))
			}
		})
	}
}

func TestConfirmOnlyWhatIsPayable(t *testing.T) {
	for name, spoil := range map[string]func(w *world, o *orders.Order){
		"order over": func(w *world, _ *orders.Order) { w.at(life) },
		"frozen": func(w *world, o *orders.Order) {
			other := paidSnapshot(twd(39))
			_, _ = w.notice(o.Current(), "n2", &other)
		},
		"adapter cannot": func(w *world, _ *orders.Order) {
			w.restart(func(c *router.Config, _ *router.Deps) { c.Accounts[2].Provider = w.server })
		},
		"bill paid by another": func(w *world, o *orders.Order) {
			// The order's time was over, another took its bills and paid; the clock of this process is late.
			w.at(life)
			rival := w.command("form")
			rival.Lines = o.Lines
			a, err := w.place(rival)
			if err != nil {
				w.t.Fatal(err)
			}
			other := w.order(a)
			w.paidNotice(&other, "n2")
			w.at(life - time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, o := confirms(t)
			spoil(w, &o)
			w.work(w.QueryStep)
			if len(w.server.queries) != 1 || len(w.server.confirms) != 0 || w.confirmCalls(o.No) != "" {
				t.Errorf("%d queries, %d confirms, calls %s", len(w.server.queries), len(w.server.confirms), w.confirmCalls(o.No))
			}
		})
	}
}

func TestSettle(t *testing.T) {
	w := newWorld(t)
	never, handed, failed := w.placed("click"), w.placed("form"), w.placed("form")
	if _, err := w.notice(failed.Current(), "n1", &providers.Snapshot{State: providers.Cancelled}); err != nil {
		t.Fatal(err)
	}
	w.at(life - time.Millisecond)
	if next := w.work(w.SettleStep); !next.Equal(morning.Add(life)) {
		t.Errorf("comes again at %v", next)
	}
	w.wantStates(never.No, "open intent")
	w.at(life)
	wakes := w.wakes.Load()
	w.work(w.SettleStep)
	w.wantStates(never.No, "expired expired")
	w.wantStates(failed.No, "expired cancelled")
	w.wantStates(handed.No, "open pending") // by its provider's word only
	if w.meter.of("to expired") != 2 || w.wakes.Load() == wakes {
		t.Errorf("%d moves, %d wakes", w.meter.of("to expired"), w.wakes.Load()-wakes)
	}
	w.at(life + grace)
	w.work(w.QueryStep)
	if len(w.click.queries) != 0 || len(w.form.queries) != 2 {
		t.Errorf("asked about what never left us %d times, about the others %d times", len(w.click.queries), len(w.form.queries))
	}
}

// Every step rests when there is nothing to do, at most a minute, and after every error.
func TestStepsRest(t *testing.T) {
	w := newWorld(t)
	steps := map[string]func(context.Context) (time.Time, error){"ClaimQuery": w.QueryStep, "SettleNext": w.SettleStep, "ClaimOrphan": w.OrphanStep}
	for verb, step := range steps {
		if next, err := step(t.Context()); err != nil || !next.Equal(morning.Add(time.Minute)) {
			t.Errorf("%s, empty store: %v, %v", verb, next, err)
		}
		for _, fails := range []string{verb, map[bool]string{true: "NextQuery", false: "NextDue"}[verb == "ClaimQuery"]} {
			w.store.failing(fails)
			if next, err := step(t.Context()); !errors.Is(err, orders.ErrUnavailable) || !next.Equal(morning.Add(time.Second)) {
				t.Errorf("%s, %s fails: %v, %v", verb, fails, next, err)
			}
		}
		w.store.healed()
	}
	// What another worker holds is due by its lease; what only another step may do is due now.
	o := w.placed("form")
	if _, err := w.notice(o.Current(), "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.ClaimQuery(t.Context(), "form-a", morning, 20*time.Second, 0); err != nil {
		t.Fatal(err)
	}
	if next, err := w.QueryStep(t.Context()); err != nil || !next.Equal(morning.Add(20*time.Second)) {
		t.Errorf("held by another: %v, %v", next, err)
	}
}
