package orders_test

import (
	"testing"

	"pay.taipei/gateway/orders"
)

// Ranks and words are stored and sent: neither may change.
func TestAttemptStates(t *testing.T) {
	for _, c := range []struct {
		state orders.AttemptState
		rank  int
		word  string
		ended bool
	}{
		{orders.AttemptIntent, 0, "intent", false},
		{orders.AttemptPending, 10, "pending", false},
		{orders.AttemptCancelled, 20, "cancelled", true},
		{orders.AttemptExpired, 21, "expired", true},
		{orders.AttemptFailed, 22, "failed", true},
		{orders.AttemptPaid, 30, "paid", true},
	} {
		if int(c.state) != c.rank || c.state.String() != c.word || c.state.Ended() != c.ended {
			t.Errorf("%s is rank %d, ended %v; want %s, %d, %v", c.state, c.state, c.state.Ended(), c.word, c.rank, c.ended)
		}
	}
	if got := orders.AttemptState(7).String(); got != "attempt state 7" {
		t.Errorf("an unknown state reads %q", got)
	}
}

func TestOrderStates(t *testing.T) {
	for _, c := range []struct {
		state orders.OrderState
		rank  int
		word  string
	}{
		{orders.OrderOpen, 0, "open"},
		{orders.OrderExpired, 20, "expired"},
		{orders.OrderCancelled, 21, "cancelled"},
		{orders.OrderPaid, 30, "paid"},
		{orders.OrderPartiallyRefunded, 40, "partially_refunded"},
		{orders.OrderRefunded, 50, "refunded"},
	} {
		if int(c.state) != c.rank || c.state.String() != c.word {
			t.Errorf("%s is rank %d, want %s, %d", c.state, c.state, c.word, c.rank)
		}
	}
	if got := orders.OrderState(7).String(); got != "order state 7" {
		t.Errorf("an unknown state reads %q", got)
	}
}
