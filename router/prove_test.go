package router_test

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router"
)

// many is how many payments a proof runs: a few in every test run, and as many as the environment says for the long one.
func many(t *testing.T, variable string, few int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// drain runs queries and settlements until nothing is due now.
func (w *world) drain() {
	w.t.Helper()
	for _, step := range []func(context.Context) (time.Time, error){w.QueryStep, w.SettleStep} {
		for next := w.clock.Now(); !next.After(w.clock.Now()); {
			var err error
			if next, err = step(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// Confirms whose answers are lost, carried out or not, with a second healthy account beside: none is sent twice, none goes to
// another account, nothing reads failed or expired while nobody knows, and queries resolve them all.
func TestConfirmsWithoutAnswers(t *testing.T) {
	n := many(t, "DROPPED", 24)
	w := newWorld(t, second)
	moved := map[string]bool{} // what the provider did, by attempt
	sent := map[string]int{}
	quiet := true // the provider does not say yet what it did
	w.server.query = func(_ int, ref providers.AttemptRef) (providers.Snapshot, error) {
		done, asked := moved[ref.AttemptNo]
		switch {
		case asked && quiet:
			return providers.Snapshot{}, kindError(providers.OutcomeUnknown)
		case done:
			s := paidSnapshot(ref.Amount)
			s.ProviderTradeNo = ref.AttemptNo
			return s, nil
		case asked:
			return providers.Snapshot{State: providers.Failed}, nil
		}
		return providers.Snapshot{Next: providers.NextConfirm}, nil
	}
	w.server.confirm = func(i int, ref providers.AttemptRef) (providers.Snapshot, error) {
		sent[ref.AttemptNo]++
		moved[ref.AttemptNo] = i%2 == 0
		return providers.Snapshot{}, kindError(providers.OutcomeUnknown)
	}
	var list []orders.Order
	for range n {
		o := w.placed("server")
		if _, err := w.notice(o.Current(), "", nil); err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
	w.drain()
	creates := len(w.server.creates)
	for _, o := range list {
		w.wantStates(o.No, "open pending doubt")
	}
	w.at(life + grace) // also after the order's time
	w.drain()
	for _, o := range list {
		w.wantStates(o.No, "open pending doubt")
	}
	quiet = false
	for range 4 {
		w.clock.Advance(slowest)
		w.drain()
	}
	for _, o := range list {
		want := "expired failed"
		if moved[string(o.Current().No)] {
			want = "paid paid late"
		}
		w.wantStates(o.No, want)
		if got := sent[string(o.Current().No)]; got != 1 {
			t.Errorf("attempt %s was confirmed %d times", o.Current().No, got)
		}
	}
	if len(w.server.creates) != creates || len(w.form.creates) != 0 {
		t.Errorf("%d attempts after the doubt", len(w.server.creates)-creates)
	}
	t.Logf("%d confirms without an answer, %d sends, all resolved", n, len(w.server.confirms))
}

// Refunds whose answers are lost: none is sent twice, none reads failed while it may have been carried out, all are resolved.
func TestRefundsWithoutAnswers(t *testing.T) {
	n := many(t, "DROPPED", 24)
	w := newWorld(t)
	done := map[string]providers.RefundFact{}
	sent := map[string]int{}
	w.form.refund = func(i int, req providers.RefundRequest) (providers.RefundResult, error) {
		sent[req.RefundID]++
		if i%2 == 0 {
			done[req.Attempt.AttemptNo] = providers.RefundFact{RefundID: req.RefundID, ProviderRefundNo: "N", Amount: req.Amount, State: providers.RefundDone}
		}
		return providers.RefundResult{}, kindError(providers.OutcomeUnknown)
	}
	w.form.query = listsRefunds(func(ref providers.AttemptRef) (list []providers.RefundFact) {
		if f, ok := done[ref.AttemptNo]; ok {
			list = append(list, f)
		}
		return list
	})
	var list []orders.Order
	for range n {
		o := w.paidOrder()
		if _, err := w.refunding(&o, 10, ""); err != nil {
			t.Fatal(err)
		}
		list = append(list, o)
	}
	for range n {
		w.refundStep()
	}
	for _, o := range list {
		w.wantRefunds(o.No, "paid 10:undecided doubt")
	}
	for range 12 {
		w.clock.Advance(spacing)
		w.drain()
		for _, o := range list {
			_, carried := done[string(o.Current().No)]
			if got := w.refunds(o.No); carried && got == "paid 10:failed(not_carried_out)" {
				t.Fatalf("order %s reads failed, and its refund was carried out", o.No)
			}
		}
		w.refundStep()
	}
	w.clock.Advance(slowest)
	w.drain()
	for _, o := range list {
		want := "paid 10:failed(not_carried_out)"
		if _, carried := done[string(o.Current().No)]; carried {
			want = "partially_refunded 10:done"
		}
		w.wantRefunds(o.No, want)
	}
	for id, times := range sent {
		if times != 1 {
			t.Errorf("refund %s was sent %d times", id, times)
		}
	}
	t.Logf("%d refunds without an answer, %d sends, all resolved", n, len(w.form.refunds))
}

// bans is a provider that punishes whoever asks too fast, as ECPay does: then it is silent for half an hour.
type bans struct {
	mu    sync.Mutex
	last  time.Time            // question
	of    map[string]time.Time // about an attempt
	until time.Time
	count int
}

func (b *bans) ask(no string, now time.Time, gap, between time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Before(b.until) || (!b.last.IsZero() && now.Sub(b.last) < gap) || (!b.of[no].IsZero() && now.Sub(b.of[no]) < between) {
		b.until = now.Add(30 * time.Minute)
		b.count++
		return &providers.Error{Kind: providers.RateLimited, Code: "403", RetryAfter: 30 * time.Minute}
	}
	b.last, b.of[no] = now, now
	return nil
}

// No callback ever comes: every paid order is found by the sweeper, by two replicas that share the work, and a provider that
// punishes fast questions never has to.
func TestAllCallbacksLost(t *testing.T) {
	n := many(t, "DROPPED", 40)
	const gap, first = time.Second, 20 * time.Second
	w := newWorld(t)
	w.form.d.Patience.FirstQuery, w.form.d.Patience.Gap = first, gap
	twin := bans{of: map[string]time.Time{}}
	w.form.query = func(_ int, ref providers.AttemptRef) (providers.Snapshot, error) {
		if err := twin.ask(ref.AttemptNo, w.clock.Now(), gap, spacing); err != nil {
			return providers.Snapshot{}, err
		}
		s := paidSnapshot(ref.Amount)
		s.ProviderTradeNo = ref.AttemptNo
		return s, nil
	}
	var list []orders.Order
	for range n {
		list = append(list, w.placed("form"))
	}
	one := w.Router
	w.restart() // another replica on the same store
	two := w.Router
	for range n + int(first/gap) + 5 {
		for range 3 {
			for _, replica := range []*router.Router{one, two} {
				if _, err := replica.QueryStep(t.Context(), "form-a"); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.clock.Advance(gap)
	}
	for _, o := range list {
		if got := w.states(o.No); got != "paid paid" && (got != "paid paid late" || time.Duration(n)*gap+first < life) {
			t.Errorf("states: %s", got)
		}
		if w.events(o.No) != "created paid" {
			t.Errorf("events %s", w.events(o.No))
		}
	}
	if twin.count != 0 || len(w.form.queries) != n {
		t.Errorf("punished %d times, asked %d times about %d payments", twin.count, len(w.form.queries), n)
	}
	t.Logf("%d payments found without a callback, %d questions, punished %d times", n, len(w.form.queries), twin.count)
}
