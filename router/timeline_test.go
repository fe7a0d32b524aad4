package router_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// waits are the rows of the timeline that wait, each with the time until its next try.
func (w *world) waits(no orders.OrderNo) string {
	w.t.Helper()
	rows, err := w.Timeline(w.t.Context(), no)
	if err != nil {
		w.t.Fatal(err)
	}
	var told []string
	for i, row := range rows {
		if i > 0 && row.At.Before(rows[i-1].At) {
			w.t.Errorf("row %+v is earlier than the one before it", row)
		}
		if row.What == "waiting" {
			told = append(told, fmt.Sprintf("%v %s", row.At.Sub(w.clock.Now()), row.Detail))
		}
	}
	return strings.Join(told, " | ")
}

func (w *world) wantWaits(no orders.OrderNo, want string) {
	w.t.Helper()
	if got := w.waits(no); got != want {
		w.t.Errorf("waiting: %s\nwant     %s", got, want)
	}
}

// until lets time pass, from one thing due to the next, until something is so.
func (w *world) until(done func() bool) {
	w.t.Helper()
	for end := w.clock.Now().Add(100 * time.Hour); !done(); {
		if w.clock.Now().After(end) {
			w.t.Fatal("it never is")
		}
		next := w.work(w.QueryStep)
		for _, at := range []time.Time{w.work(w.SettleStep), w.work(func(ctx context.Context) (time.Time, error) { return w.RefundStep(ctx, "form-a") })} {
			if at.Before(next) {
				next = at
			}
		}
		if !done() {
			w.clock.Advance(next.Sub(w.clock.Now()))
		}
	}
}

// The timeline says what an order waits for, which try of how many comes when, and what came of the last one; there are as many
// as it says.
func TestTimelineTellsWhatWaits(t *testing.T) {
	w := newWorld(t)
	w.form.d.Patience.End = time.Hour
	w.form.query = func(n int, _ providers.AttemptRef) (providers.Snapshot, error) {
		if n == 1 {
			return providers.Snapshot{}, &providers.Error{Kind: providers.OutcomeUnknown, Code: "E7", Err: fmt.Errorf("dial 10.0.0.1: %w", errCrash)}
		}
		return providers.Snapshot{State: providers.Pending}, nil
	}
	o := w.placed("form")
	w.wantWaits(o.No, "12m0s query (life): try 1 of 11")
	w.gates.close(w.clock.Now().Add(time.Hour), "form-a/query")
	w.wantWaits(o.No, "1h0m0s query (life): try 1 of 6; held up by: breaker_open")
	w.gates.close(time.Time{})
	w.until(func() bool { return len(w.form.queries) == 1 })
	w.wantWaits(o.No, "30s query (after_deadline): try 2 of 11; last: outcome_unknown (E7)")
	w.until(func() bool { return len(w.form.queries) == 2 })
	w.wantWaits(o.No, "1m0s query (after_deadline): try 3 of 11; last: pending")
	w.until(func() bool { return len(w.read(o.No).Cases) > 0 })
	if len(w.form.queries) != 11 {
		t.Errorf("asked %d times", len(w.form.queries))
	}
	w.wantWaits(o.No, "")
	w.restart(without("form-a"))
	if err := w.store.AskNow(t.Context(), o.Current().No, w.clock.Now()); err != nil {
		t.Fatal(err)
	}
	w.wantWaits(o.No, "0s query at form-a: router: the account is not configured any more")
}

// A refund that is proven not to have been sent is sent again, ever more slowly, and has failed when that did not help for a day.
func TestRefundIsSentAgain(t *testing.T) {
	w := newWorld(t)
	o := w.paidOrder()
	w.form.refund = func(int, providers.RefundRequest) (providers.RefundResult, error) {
		return providers.RefundResult{}, kindError(providers.Unavailable)
	}
	w.form.query = listsRefunds(func(providers.AttemptRef) []providers.RefundFact { return nil })
	if _, err := w.refunding(&o, 10, ""); err != nil {
		t.Fatal(err)
	}
	id := string(o.Current().No) + "R01"
	w.wantWaits(o.No, "0s sending refund "+id+": try 1 of 149")
	w.refundStep()
	w.wantRefunds(o.No, "paid 10:undecided")
	w.wantWaits(o.No, "30s sending refund "+id+": try 2 of 149; last: unavailable")
	w.until(func() bool { return len(w.form.refunds) == 3 })
	w.wantRefunds(o.No, "paid 10:undecided")
	w.until(func() bool { return w.read(o.No).Refunds[0].State != orders.RefundUndecided })
	w.wantRefunds(o.No, "paid 10:failed(unavailable)")
	if len(w.form.refunds) != 149 || len(w.form.queries) > 0 {
		t.Errorf("sent %d times, asked %d times", len(w.form.refunds), len(w.form.queries))
	}
	w.wantWaits(o.No, "")

	second := w.paidOrder()
	if _, err := w.refunding(&second, 10, ""); err != nil {
		t.Fatal(err)
	}
	w.refundStep()
	w.form.refund = nil
	w.clock.Advance(30 * time.Second)
	w.refundStep()
	w.wantRefunds(second.No, "partially_refunded 10:done")
	sent := w.form.refunds[len(w.form.refunds)-2:]
	if sent[0].RefundID != sent[1].RefundID {
		t.Errorf("sent as %s, then as %s", sent[0].RefundID, sent[1].RefundID)
	}
}

// The cancel of an order in doubt says what it waits for.
func TestTimelineOfAWaitingCancel(t *testing.T) {
	w, o := confirms(t)
	w.server.confirm = func(int, providers.AttemptRef) (providers.Snapshot, error) {
		return providers.Snapshot{}, kindError(providers.OutcomeUnknown)
	}
	w.work(w.QueryStep)
	if _, err := w.Cancel(t.Context(), orders.CancelCommand{Key: orders.KeyRef{ClientID: "core", Route: "r", Key: "k"}, Order: o.No}, wording{}); err != nil {
		t.Fatal(err)
	}
	if got := w.waits(o.No); !strings.Contains(got, "query (doubt confirm 1): try 2 of ") || !strings.HasSuffix(got, "; last: pending; the cancel waits for it") {
		t.Error(got)
	}
}
