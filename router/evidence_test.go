package router_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router"
)

func TestNoticeStates(t *testing.T) {
	for name, test := range map[string]struct {
		said   providers.Snapshot
		states string
		events string
	}{
		"paid":           {paidSnapshot(twd(40)), "paid paid", "created paid"},
		"failed":         {providers.Snapshot{State: providers.Failed}, "open failed", "created failed"},
		"cancelled":      {providers.Snapshot{State: providers.Cancelled}, "open cancelled", "created failed"},
		"expired":        {providers.Snapshot{State: providers.Expired}, "open expired", "created"},
		"unmapped":       {providers.Snapshot{Unmapped: "E77"}, "open pending", "created"},
		"unknown state":  {providers.Snapshot{State: 99}, "open pending", "created"},
		"no amount":      {providers.Snapshot{State: providers.Paid}, "open pending", "created"},
		"other amount":   {paidSnapshot(twd(41)), "open pending review", "created review"},
		"other merchant": {providers.Snapshot{State: providers.Paid, MerchantRef: "99"}, "open pending review", "created review"},
		"other world":    {providers.Snapshot{State: providers.Paid, Environment: providers.Production}, "open pending review", "created review"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.placed("form")
			if v, err := w.notice(o.Current(), "n1", &test.said); v != providers.Accepted || err != nil {
				t.Fatalf("verdict %d, %v", v, err)
			}
			w.wantStates(o.No, test.states)
			if got := w.events(o.No); got != test.events {
				t.Errorf("events %s, want %s", got, test.events)
			}
			if (w.meter.of("unmapped form-a") == 1) != (test.said.Unmapped != "") || w.meter.of("to "+strings.TrimPrefix(test.events, "created ")) > 1 {
				t.Errorf("counts %v", w.meter.count)
			}
			if !strings.Contains(test.states, "review") {
				return
			}
			// Frozen: no page, no end, until a person decides.
			if c, err := w.Checkout(t.Context(), o.PayToken); err != nil || c.Redirect != nil {
				t.Errorf("a frozen order has a page: %+v, %v", c, err)
			}
			w.at(life + time.Minute)
			w.work(w.SettleStep)
			w.wantStates(o.No, test.states)
		})
	}
}

// The provider is told "accepted" only when what it said is on disk.
func TestNoticeIsAcceptedAfterTheCommit(t *testing.T) {
	paid := paidSnapshot(twd(40))
	for name, test := range map[string]struct {
		verb string
		said *providers.Snapshot
		rule router.QueryRule
	}{
		"evidence not written": {"Apply", &paid, router.QueryRule{Never: true}},
		"order not read":       {"Order", &paid, router.QueryRule{}},
		"hint not written":     {"Apply", nil, router.QueryRule{Never: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, rule(test.rule))
			o := w.placed("form")
			w.store.failing(test.verb)
			v, err := w.notice(o.Current(), "n1", test.said)
			wantErr(t, err, orders.ErrUnavailable)
			if v != providers.RetryLater {
				t.Errorf("verdict %d, want later", v)
			}
			w.wantStates(o.No, "open pending")
			w.store.healed()
			if v, err := w.notice(o.Current(), "n1", test.said); v != providers.Accepted || err != nil {
				t.Errorf("sent again: verdict %d, %v", v, err)
			}
		})
	}
	t.Run("commit not known", func(t *testing.T) {
		w := newWorld(t)
		o := w.placed("form")
		w.store.after = func(string) error { return orders.ErrUnavailable }
		if v, err := w.notice(o.Current(), "n1", &paid); v != providers.RetryLater || err == nil {
			t.Errorf("verdict %d, %v, want later", v, err)
		}
		w.store.healed()
		w.paidNotice(&o, "n1")
		if got := w.events(o.No); got != "created paid" {
			t.Errorf("events %s", got)
		}
	})
}

func TestNonceReused(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	failed := providers.Snapshot{State: providers.Failed}
	if v, err := w.notice(o.Current(), "n1", &failed); v != providers.Accepted || err != nil {
		t.Fatalf("verdict %d, %v", v, err)
	}
	paid := paidSnapshot(o.Total)
	if v, err := w.notice(o.Current(), "n1", &paid); v != providers.Refused || err != nil {
		t.Errorf("another meaning: verdict %d, %v, want refused", v, err)
	}
	w.wantStates(o.No, "open failed")
	var reason, line, header, body string
	if err := w.db.Read(t.Context(), func(tx *sqldb.Tx) error {
		return tx.QueryRow(t.Context(), "SELECT reason, raw_line, raw_header, raw_body FROM refusals").Scan(&reason, &line, &header, &body)
	}); err != nil {
		t.Fatal(err)
	}
	if reason != "nonce reused with another meaning" || line != "POST /callbacks/x?a=1" || header != "Sig: s\n" || body != "cb" {
		t.Errorf("audited %q %q %q %q", reason, line, header, body)
	}
	w.store.failing("Refuse")
	if v, err := w.notice(o.Current(), "n1", &paid); v != providers.RetryLater || err == nil {
		t.Errorf("not audited: verdict %d, %v, want later", v, err)
	}
	w.store.healed()
	if v, err := w.notice(o.Current(), "n1", &failed); v != providers.Accepted || err != nil {
		t.Errorf("the same again: verdict %d, %v", v, err)
	}
}

// Fifty deliveries of one payment make one paid event.
func TestParallelCopies(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	said := paidSnapshot(o.Total)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if v, err := w.notice(o.Current(), fmt.Sprintf("n%d", i), &said); v != providers.Accepted || err != nil {
				t.Errorf("verdict %d, %v", v, err)
			}
		})
	}
	all.Wait()
	if got := w.events(o.No); got != "created paid" || w.meter.of("to paid") != 1 {
		t.Errorf("events %s, %d moves", got, w.meter.of("to paid"))
	}
	w.wantStates(o.No, "paid paid")
}

// A message about an attempt that we do not know yet is kept, and applied when we do.
func TestOrphan(t *testing.T) {
	paidSaid, pending := paidSnapshot(twd(40)), providers.Snapshot{Next: providers.NextConfirm}
	for name, test := range map[string]struct {
		said   *providers.Snapshot
		rule   router.QueryRule
		states string // after the orphan is matched
		asks   bool
	}{
		"fact":             {&paidSaid, router.QueryRule{Never: true}, "paid paid", false},
		"fact to be asked": {&paidSaid, router.QueryRule{}, "open pending", true},
		"awaits confirm":   {&pending, router.QueryRule{Never: true}, "open pending", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, rule(test.rule))
			before := w.placed("form")
			no := before.No[:15] + "1" // the next number; the first of the day ends in 0
			early := orders.Attempt{No: orders.AttemptNo(no + "01"), Account: "form-a"}
			if v, err := w.notice(&early, "n1", test.said); v != providers.Accepted || err != nil {
				t.Fatalf("orphan: verdict %d, %v", v, err)
			}
			for range 3 {
				w.work(w.OrphanStep)
				w.clock.Advance(time.Minute)
			}
			if o := w.placed("form"); o.No != no {
				t.Fatalf("order %s, expected %s", o.No, no)
			}
			w.work(w.OrphanStep)
			w.wantStates(no, test.states)
			w.work(w.QueryStep)
			if asked := len(w.form.queries) == 1; asked != test.asks {
				t.Errorf("%d queries", len(w.form.queries))
			}
			if w.number("SELECT COUNT(*) FROM evidence WHERE verdict = 'orphan'") != 0 {
				t.Error("still an orphan")
			}
		})
	}
	t.Run("of nobody", func(t *testing.T) {
		w := newWorld(t)
		if v, err := w.notice(&orders.Attempt{No: "??", Account: "form-a"}, "n1", &paidSaid); v != providers.Accepted || err != nil {
			t.Errorf("verdict %d, %v", v, err)
		}
		for range 8 {
			w.work(w.OrphanStep)
			w.clock.Advance(24 * time.Hour)
		}
		if next, err := w.store.NextDue(t.Context()); !next.IsZero() || err != nil {
			t.Errorf("after a week it is looked at again at %v, %v", next, err)
		}
	})
}

// A hint proves nothing; it makes us ask, at most once a minute per attempt.
func TestHintsAsk(t *testing.T) {
	w := newWorld(t)
	first, second := w.placed("form"), w.placed("form")
	hint := func(o *orders.Order) {
		t.Helper()
		if v, err := w.notice(o.Current(), "", nil); v != providers.Accepted || err != nil {
			t.Fatalf("verdict %d, %v", v, err)
		}
	}
	asks := func(want int) {
		t.Helper()
		w.work(w.QueryStep)
		if len(w.form.queries) != want {
			t.Errorf("%v after morning: %d queries, want %d", w.clock.Now().Sub(morning), len(w.form.queries), want)
		}
	}
	asks(0) // nothing is due
	wakes := w.wakes.Load()
	hint(&first)
	hint(&first)
	if w.wakes.Load() == wakes {
		t.Error("nobody was woken")
	}
	asks(1)
	if got := w.form.queries[0]; got.AttemptNo != string(first.Current().No) || got.Account != "form-a" || got.Amount != twd(40) ||
		got.PayeeMemberID != "77" || got.HandedAt.IsZero() || got.Refs["token"] != "T"+got.AttemptNo {
		t.Errorf("asked about %+v", got)
	}
	w.clock.Advance(20 * time.Second)
	hint(&first)
	hint(&second)
	asks(2)
	w.clock.Advance(39 * time.Second)
	hint(&first)
	asks(2)
	w.clock.Advance(time.Second)
	asks(3) // postponed, not dropped
	w.clock.Advance(5 * time.Minute)
	asks(3)
	w.wantStates(first.No, "open pending")
}

func TestQueryBeforePaid(t *testing.T) {
	for name, test := range map[string]struct {
		rule router.QueryRule
		asks bool
	}{
		"always":          {router.QueryRule{}, true},
		"above the total": {router.QueryRule{Above: 40}, false},
		"below the total": {router.QueryRule{Above: 39}, true},
		"never":           {router.QueryRule{Never: true}, false},
		"never, whatever": {router.QueryRule{Never: true, Above: 1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, rule(test.rule))
			o := w.placed("form")
			w.paidNotice(&o, "n1")
			if test.asks {
				w.wantStates(o.No, "open pending")
			} else {
				w.wantStates(o.No, "paid paid")
			}
			w.form.query = paid
			w.work(w.QueryStep)
			w.wantStates(o.No, "paid paid")
			if asked := len(w.form.queries) == 1; asked != test.asks {
				t.Errorf("%d queries", len(w.form.queries))
			}
			if got := w.events(o.No); got != "created paid" {
				t.Errorf("events %s", got)
			}
		})
	}
	t.Run("query says no", func(t *testing.T) {
		w := newWorld(t, rule(router.QueryRule{}))
		o := w.placed("form")
		w.paidNotice(&o, "n1")
		w.form.query = always(providers.Snapshot{State: providers.Failed}, nil)
		w.work(w.QueryStep)
		w.wantStates(o.No, "open failed")
	})
	t.Run("committed meanwhile", func(t *testing.T) {
		w := newWorld(t, rule(router.QueryRule{}))
		o := w.placed("form")
		w.store.before = func(verb string) error {
			if verb == "Order" {
				return orders.ErrNotFound
			}
			return nil
		}
		w.paidNotice(&o, "n1")
		w.store.healed()
		w.wantStates(o.No, "open pending")
		w.form.query = paid
		w.work(w.QueryStep)
		w.wantStates(o.No, "paid paid")
	})
}

// A provider that has said paid is asked until it repeats that, in whatever the meantime it answers.
func TestUnprovenIsAskedAbout(t *testing.T) {
	for name, answer := range map[string]func(int, providers.AttemptRef) (providers.Snapshot, error){
		"pending":   always(providers.Snapshot{}, nil),
		"not found": always(providers.Snapshot{}, kindError(providers.NotFound)),
		"expired":   always(providers.Snapshot{State: providers.Expired}, nil),
		"no answer": always(providers.Snapshot{}, kindError(providers.Unavailable)),
	} {
		for when, at := range map[string]time.Duration{"in life": 0, "after the end": life + grace + time.Minute} {
			t.Run(name+" "+when, func(t *testing.T) {
				w := newWorld(t, rule(router.QueryRule{}))
				o := w.placed("form")
				w.at(at)
				w.form.query = func(n int, ref providers.AttemptRef) (providers.Snapshot, error) {
					if n > 3 {
						return paid(n, ref)
					}
					return answer(n, ref)
				}
				w.paidNotice(&o, "n1")
				want := []time.Duration{at, at + spacing, at + 3*spacing, at + 7*spacing}
				if got := w.asks(w.form, 4); !slices.Equal(got, want) {
					t.Errorf("asked at %v, want %v", got, want)
				}
				if now := w.read(o.No); now.State != orders.OrderPaid {
					t.Errorf("order %s", w.states(o.No))
				}
				if n := w.number("SELECT COUNT(*) FROM evidence WHERE applied_ms IS NULL"); n != 0 {
					t.Errorf("%d pieces of evidence wait", n)
				}
				w.quiet(w.form)
			})
		}
	}
}

// A hint may name no attempt; its callback URL does. About nobody it moves nothing and leaves no orphan.
func TestHintByToken(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	for token, asks := range map[string]int{o.Current().Token: 1, "nobody's": 0, "": 0} {
		before := len(w.form.queries)
		raw := w.raw("?")
		raw.Token = token
		if v, err := w.Notice(t.Context(), "form-a", providers.Notice{}, raw); v != providers.Accepted || err != nil {
			t.Errorf("token %q: verdict %d, %v", token, v, err)
		}
		w.work(w.QueryStep)
		if got := len(w.form.queries) - before; got != asks {
			t.Errorf("token %q: %d queries", token, got)
		}
	}
	for _, no := range []string{"201706139999999901", "??"} {
		if v, err := w.Notice(t.Context(), "form-a", providers.Notice{AttemptNo: no}, w.raw("?")); v != providers.Accepted || err != nil {
			t.Errorf("%s: verdict %d, %v", no, v, err)
		}
	}
	if orphans, audited := w.number("SELECT COUNT(*) FROM evidence WHERE verdict = 'orphan'"), w.number("SELECT COUNT(*) FROM refusals"); orphans != 0 || audited != 4 {
		t.Errorf("%d orphans, %d kept for audit", orphans, audited)
	}
}

// The provider's own name for a payment goes back into the query, from its server and from the browser, until it is paid.
func TestPointers(t *testing.T) {
	w := newWorld(t)
	o := w.placed("form")
	asked := func(want string) {
		t.Helper()
		w.work(w.QueryStep)
		if n := len(w.form.queries); n == 0 || w.form.queries[n-1].Pointer != want {
			t.Errorf("asked %+v, want pointer %q", w.form.queries, want)
		}
	}
	raw := w.raw("?")
	raw.Token = o.Current().Token
	if v, err := w.Notice(t.Context(), "form-a", providers.Notice{Pointer: "T1"}, raw); v != providers.Accepted || err != nil {
		t.Fatal(v, err)
	}
	asked("T1")
	w.clock.Advance(time.Hour)
	w.form.decode = func(providers.RawCallback) (providers.Notice, error) { return providers.Notice{Pointer: "T2"}, nil }
	if _, _, err := w.Return(t.Context(), o.Current().Token, raw); err != nil {
		t.Fatal(err)
	}
	asked("T2")
}

// A hint that names an attempt without its token may be a guess: of an account one in a minute is asked about, the others later.
func TestGuessesAskOncePerAccount(t *testing.T) {
	w := newWorld(t)
	var list []orders.Order
	for range 3 {
		list = append(list, w.placed("form"))
	}
	for _, o := range list {
		raw := w.raw("?")
		if raw.Token = list[1].Current().Token; o.No == list[1].No { // of another attempt
			raw.Token = ""
		}
		if v, err := w.Notice(t.Context(), "form-a", providers.Notice{AttemptNo: string(o.Current().No)}, raw); v != providers.Accepted || err != nil {
			t.Fatalf("verdict %d, %v", v, err)
		}
	}
	for n := 1; n <= 3; n++ {
		if w.work(w.QueryStep); len(w.form.queries) != n {
			t.Fatalf("asked %d times after %d minutes", len(w.form.queries), n-1)
		}
		w.clock.Advance(time.Minute)
	}
}

// A message that comes again and again asks no more often than a hint.
func TestRepeatsAskAsHints(t *testing.T) {
	w := newWorld(t)
	o := w.placed("server")
	n := providers.Notice{AttemptNo: string(o.Current().No), Nonce: "n1", Snapshot: &providers.Snapshot{Next: providers.NextConfirm}}
	w.server.decode = func(providers.RawCallback) (providers.Notice, error) { return n, nil }
	for range 10 {
		if _, _, err := w.Return(t.Context(), o.Current().Token, w.raw("")); err != nil {
			t.Fatal(err)
		}
		w.work(w.QueryStep)
		w.clock.Advance(time.Second)
	}
	if len(w.server.queries) != 1 {
		t.Errorf("%d queries in ten seconds", len(w.server.queries))
	}
}

// A fact is not throttled as hints are: a payer who has authorised waits for us.
func TestAuthorisedIsAskedAtOnce(t *testing.T) {
	w := newWorld(t)
	o := w.placed("server")
	if _, _, err := w.Return(t.Context(), o.Current().Token, w.raw("")); err != nil {
		t.Fatal(err)
	}
	w.work(w.QueryStep)
	w.clock.Advance(time.Second)
	w.server.query = always(providers.Snapshot{Next: providers.NextConfirm, Refs: map[string]string{"tx": "9"}}, nil)
	w.server.confirm = func(_ int, ref providers.AttemptRef) (providers.Snapshot, error) {
		if ref.Refs["tx"] != "9" || ref.Refs["beside"] != "1" || ref.Refs["token"] == "" {
			t.Errorf("confirmed with %v", ref.Refs)
		}
		return paidSnapshot(twd(40)), nil
	}
	n := providers.Notice{AttemptNo: string(o.Current().No), Nonce: "n1", Refs: map[string]string{"beside": "1"}, Snapshot: &providers.Snapshot{Next: providers.NextConfirm}}
	if v, err := w.Notice(t.Context(), "server-a", n, w.raw("cb")); v != providers.Accepted || err != nil {
		t.Fatalf("verdict %d, %v", v, err)
	}
	w.work(w.QueryStep)
	w.wantStates(o.No, "paid paid")
}

// What a browser brings moves nothing unless the provider signed it.
func TestReturn(t *testing.T) {
	for name, test := range map[string]struct {
		decode func(string) (providers.Notice, error)
		states string
		asks   bool
	}{
		"unsigned": {nil, "open pending", true},
		"signed": {func(no string) (providers.Notice, error) {
			s := paidSnapshot(twd(40))
			return providers.Notice{AttemptNo: no, Nonce: "r1", Snapshot: &s}, nil
		}, "paid paid", false},
		"only a hint": {func(no string) (providers.Notice, error) { return providers.Notice{AttemptNo: no, Nonce: "r1"}, nil }, "open pending", true},
		"signed badly": {func(no string) (providers.Notice, error) {
			s := paidSnapshot(twd(40))
			return providers.Notice{AttemptNo: no, Snapshot: &s}, kindError(providers.Untrusted)
		}, "open pending", true},
		"nonce seen": {func(no string) (providers.Notice, error) {
			s := paidSnapshot(twd(40))
			return providers.Notice{AttemptNo: no, Nonce: "seen", Snapshot: &s}, nil
		}, "open pending", true},
		"signed, and its payer waits": {func(no string) (providers.Notice, error) {
			return providers.Notice{AttemptNo: no, Nonce: "r1", Snapshot: &providers.Snapshot{Next: providers.NextConfirm}}, nil
		}, "open pending", true},
		"signed about another": {func(string) (providers.Notice, error) {
			s := paidSnapshot(twd(40))
			return providers.Notice{AttemptNo: "201706130000009901", Nonce: "r1", Snapshot: &s}, nil
		}, "open pending", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.placed("form")
			for nonce, s := range map[string]*providers.Snapshot{"": nil, "seen": {}} {
				if _, err := w.notice(o.Current(), nonce, s); err != nil {
					t.Fatal(err)
				}
			}
			w.work(w.QueryStep)
			w.clock.Advance(time.Minute)
			if test.decode != nil {
				w.form.decode = func(providers.RawCallback) (providers.Notice, error) { return test.decode(string(o.Current().No)) }
			}
			for range 2 { // people press reload
				no, to, err := w.Return(t.Context(), o.Current().Token, w.raw("status=paid"))
				if want := "https://core.example/result?lang=zh&order_no=" + string(o.No); err != nil || to != want || no != o.No {
					t.Errorf("%s goes to %q, %v, want %q", no, to, err, want)
				}
			}
			w.wantStates(o.No, test.states)
			w.work(w.QueryStep)
			if asked := len(w.form.queries) == 2; asked != test.asks {
				t.Errorf("%d queries", len(w.form.queries))
			}
		})
	}
	t.Run("errors", func(t *testing.T) {
		w := newWorld(t)
		o := w.placed("form")
		for token, verb := range map[string]string{"nobody's": "", o.Current().Token: "Apply", o.Current().Token + "x": ""} {
			w.store.failing(verb)
			if _, _, err := w.Return(t.Context(), token, w.raw("")); !errors.Is(err, orders.ErrNotFound) && !errors.Is(err, orders.ErrUnavailable) {
				t.Errorf("token %q: %v", token, err)
			}
		}
		for _, verb := range []string{"Order", "Apply"} {
			w.store.failing(verb)
			_, _, err := w.Return(t.Context(), o.Current().Token, w.raw(""))
			wantErr(t, err, orders.ErrUnavailable)
		}
	})
}
