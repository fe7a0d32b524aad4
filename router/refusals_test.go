package router_test

import (
	"testing"
	"time"

	"pay.taipei/gateway/orders"
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
		if _, err := w.RefusalsStep(t.Context()); err != nil {
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
