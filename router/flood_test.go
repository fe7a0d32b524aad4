package router_test

import (
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// Ten thousand forged callbacks of one minute cost the store as much as twenty, and all are counted.
func TestForgedFlood(t *testing.T) {
	const flood = 10_000
	w := newWorld(t)
	w.store.since()
	for range flood {
		if err := w.Refuse(t.Context(), "form-a", "forged", w.raw("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(w.store.since()); got != orders.KeptRefusals {
		t.Errorf("%d writes", got)
	}
	for range 2 { // the second finds nothing
		if _, err := w.FloodStep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(w.store.since()); got != 1 {
		t.Errorf("%d writes for the rest", got)
	}
	if got := w.number("SELECT SUM(count) FROM refusal_counts"); got != flood {
		t.Errorf("%d counted", got)
	}
	if got := w.number("SELECT COUNT(*) FROM refusals"); got != orders.KeptRefusals {
		t.Errorf("%d kept whole", got)
	}
	w.clock.Advance(time.Minute)
	if err := w.Refuse(t.Context(), "form-a", "forged", w.raw("x")); err != nil {
		t.Fatal(err)
	}
	if got := w.number("SELECT COUNT(*) FROM refusals"); got != orders.KeptRefusals+1 {
		t.Errorf("the next minute begins anew: %d kept", got)
	}
}

// Ten thousand hints about one attempt, by its token, by its number or by the browser, cost the store as much as a few; the query
// that they ask for is asked, and once more for those that came after it.
func TestHintFlood(t *testing.T) {
	const flood = 10_000
	w := newWorld(t)
	w.form.query = always(providers.Snapshot{State: providers.Pending}, nil)
	o := w.placed("form")
	hint := func() {
		t.Helper()
		if v, err := w.notice(o.Current(), "", nil); v != providers.Accepted || err != nil {
			t.Fatalf("verdict %v, %v", v, err)
		}
	}
	w.store.since()
	for range flood {
		hint()
	}
	if _, to, err := w.Return(t.Context(), o.Current().Token, w.raw("")); err != nil || to == "" {
		t.Fatalf("the browser is sent to %q, %v", to, err)
	}
	if got := w.store.since(); len(got) > 5 {
		t.Errorf("%d writes", len(got))
	}
	w.work(w.QueryStep)
	if len(w.form.queries) != 1 {
		t.Fatalf("asked %d times", len(w.form.queries))
	}
	hint() // after the answer, and over the share
	w.clock.Advance(time.Second)
	if _, err := w.FloodStep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(orders.HintSpacing - 2*time.Second)
	if w.work(w.QueryStep); len(w.form.queries) != 1 {
		t.Errorf("asked %d times within a minute", len(w.form.queries))
	}
	w.clock.Advance(time.Second)
	if w.work(w.QueryStep); len(w.form.queries) != 2 {
		t.Errorf("asked %d times after it", len(w.form.queries))
	}
	other := w.placed("form") // its share is its own
	if v, err := w.notice(other.Current(), "", nil); v != providers.Accepted || err != nil {
		t.Fatal(err)
	}
	if w.work(w.QueryStep); len(w.form.queries) != 3 {
		t.Errorf("another attempt's hint: asked %d times", len(w.form.queries))
	}
}
