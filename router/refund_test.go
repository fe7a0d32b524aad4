package router_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// refunding asks for a refund of a paid order; what is zero is left out.
func (w *world) refunding(o *orders.Order, amount int64, surplus string) (orders.Answer, error) {
	w.serial++
	cmd := orders.RefundCommand{
		Key:   orders.KeyRef{ClientID: "core", Route: "POST refunds " + string(o.No), Key: fmt.Sprintf("refund-%d", w.serial)},
		Order: o.No, SurplusID: surplus, Reason: "double",
	}
	if amount > 0 {
		cmd.Amount = twd(amount)
	}
	return w.Refund(w.t.Context(), cmd, wording{})
}

func (w *world) refundStep() {
	w.t.Helper()
	for _, a := range w.config.Accounts {
		if _, err := w.RefundStep(w.t.Context(), a.Name); err != nil {
			w.t.Fatal(err)
		}
	}
}

// refunds tells an order's state and its refunds.
func (w *world) refunds(no orders.OrderNo) string {
	w.t.Helper()
	o := w.read(no)
	s := o.State.String()
	for _, r := range o.Refunds {
		s += fmt.Sprintf(" %d:%s", r.Amount.Units(), r.State)
		if r.Why != "" {
			s += "(" + r.Why + ")"
		}
	}
	if o.Doubt() {
		s += " doubt"
	}
	return s
}

func (w *world) wantRefunds(no orders.OrderNo, want string) {
	w.t.Helper()
	if got := w.refunds(no); got != want {
		w.t.Errorf("refunds: %s, want %s", got, want)
	}
}

func (w *world) paidOrder() orders.Order {
	w.t.Helper()
	o := w.placed("form")
	w.paidNotice(&o, "paid "+string(o.No))
	return w.read(o.No)
}

func TestRefund(t *testing.T) {
	w := newWorld(t)
	o := w.paidOrder()
	a, err := w.refunding(&o, 15, "")
	if want := string(o.Current().No) + "R01 TWD 15"; err != nil || a.Status != 202 || string(a.Body) != want {
		t.Fatalf("%+v, %v, want %s", a, err, want)
	}
	w.wantRefunds(o.No, "paid 15:undecided")
	_, err = w.refunding(&o, 5, "")
	wantErr(t, err, orders.ErrRefundUndecided)
	w.refundStep()
	w.wantRefunds(o.No, "partially_refunded 15:done")
	if r := w.form.refunds[0]; r.RefundID != string(o.Current().No)+"R01" || r.Amount != twd(15) || r.Reason != "double" || r.Attempt.AttemptNo != string(o.Current().No) {
		t.Errorf("sent %+v", r)
	}
	_, err = w.refunding(&o, 26, "")
	wantErr(t, err, orders.ErrRefundExceeds)
	if _, err = w.refunding(&o, 0, ""); err != nil { // all that is left
		t.Fatal(err)
	}
	w.refundStep()
	w.wantRefunds(o.No, "refunded 15:done 25:done")
	_, err = w.refunding(&o, 1, "")
	wantErr(t, err, orders.ErrNotRefundable)
	if w.refundStep(); len(w.form.refunds) != 2 || w.events(o.No) != "created paid refunded refunded" {
		t.Errorf("%d sends, events %s", len(w.form.refunds), w.events(o.No))
	}
	open := w.placed("form")
	_, err = w.refunding(&open, 1, "")
	wantErr(t, err, orders.ErrNotRefundable)
}

func TestRefundIsRepeatedByItsKeyOnly(t *testing.T) {
	w := newWorld(t)
	o := w.paidOrder()
	cmd := orders.RefundCommand{Key: orders.KeyRef{ClientID: "core", Route: "r", Key: "k"}, Order: o.No, Amount: twd(15), Reason: "x"}
	first, err := w.Refund(t.Context(), cmd, wording{})
	if err != nil {
		t.Fatal(err)
	}
	w.refundStep()
	again, err := w.Refund(t.Context(), cmd, wording{})
	if err != nil || !again.Replayed || string(again.Body) != string(first.Body) {
		t.Errorf("%+v, %v", again, err)
	}
	cmd.Amount = twd(16)
	_, err = w.Refund(t.Context(), cmd, wording{})
	wantErr(t, err, orders.ErrKeyReused)
	w.wantRefunds(o.No, "partially_refunded 15:done")
}

// One send, whatever its answer; only the provider's own list tells what became of one without an answer.
func TestRefundOutcomes(t *testing.T) {
	listed := func(state providers.RefundState) func(w *world) providers.Snapshot {
		return func(w *world) providers.Snapshot {
			s := paidSnapshot(twd(40))
			s.RefundsComplete = true
			s.Refunds = []providers.RefundFact{{RefundID: w.form.refunds[0].RefundID, ProviderRefundNo: "N1", Amount: w.form.refunds[0].Amount, State: state}}
			return s
		}
	}
	missing := func(*world) providers.Snapshot {
		s := paidSnapshot(twd(40))
		s.RefundsComplete = true
		return s
	}
	incomplete := func(*world) providers.Snapshot { return paidSnapshot(twd(40)) }
	for name, test := range map[string]struct {
		state providers.RefundState
		err   error
		after string // the send
		said  func(*world) providers.Snapshot
		soon  string // after the first query
		later string // after ten minutes of queries
	}{
		"done":                     {providers.RefundDone, nil, "partially_refunded 10:done", nil, "", ""},
		"refused":                  {0, &providers.Error{Kind: providers.Declined, Code: "closed"}, "paid 10:failed(closed)", nil, "", ""},
		"failed":                   {providers.RefundFailed, nil, "paid 10:failed(refused_by_provider)", nil, "", ""},
		"at work, then done":       {providers.RefundPending, nil, "paid 10:undecided", listed(providers.RefundDone), "partially_refunded 10:done", "partially_refunded 10:done"},
		"at work, then failed":     {providers.RefundPending, nil, "paid 10:undecided", listed(providers.RefundFailed), "paid 10:failed(refused_by_provider)", "paid 10:failed(refused_by_provider)"},
		"unknown, then done":       {0, kindError(providers.OutcomeUnknown), "paid 10:undecided doubt", listed(providers.RefundDone), "partially_refunded 10:done", "partially_refunded 10:done"},
		"unknown, then at work":    {0, kindError(providers.OutcomeUnknown), "paid 10:undecided doubt", listed(providers.RefundPending), "paid 10:undecided doubt", "paid 10:undecided doubt"},
		"unknown, then missing":    {0, kindError(providers.OutcomeUnknown), "paid 10:undecided doubt", missing, "paid 10:undecided doubt", "paid 10:failed(not_carried_out)"},
		"unknown, never told":      {0, kindError(providers.OutcomeUnknown), "paid 10:undecided doubt", incomplete, "paid 10:undecided doubt", "paid 10:undecided doubt"},
		"unknown is not our error": {0, kindError(providers.Invalid), "paid 10:undecided doubt", listed(providers.RefundDone), "partially_refunded 10:done", "partially_refunded 10:done"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.paidOrder()
			if _, err := w.refunding(&o, 10, ""); err != nil {
				t.Fatal(err)
			}
			w.form.refund = func(int, providers.RefundRequest) (providers.RefundResult, error) {
				return providers.RefundResult{ProviderRefundNo: "N1", State: test.state}, test.err
			}
			w.refundStep()
			w.wantRefunds(o.No, test.after)
			w.form.query = func(int, providers.AttemptRef) (providers.Snapshot, error) { return test.said(w), nil }
			for _, c := range []struct {
				wait time.Duration
				want string
			}{{spacing, test.soon}, {10 * time.Minute, test.later}} {
				if test.said == nil {
					break
				}
				for end := w.clock.Now().Add(c.wait); w.clock.Now().Before(end); w.clock.Advance(spacing) {
					w.work(w.QueryStep)
					w.refundStep()
				}
				w.work(w.QueryStep)
				w.wantRefunds(o.No, c.want)
			}
			if len(w.form.refunds) != 1 {
				t.Errorf("sent %d times", len(w.form.refunds))
			}
			if test.said == nil && len(w.form.queries) > 0 {
				t.Error("asked about a decided refund")
			}
		})
	}
}

// A refund waits while its account cannot be called: nothing is claimed and nothing fails.
func TestRefundWaitsForItsAccount(t *testing.T) {
	w := newWorld(t)
	o := w.paidOrder()
	if _, err := w.refunding(&o, 10, ""); err != nil {
		t.Fatal(err)
	}
	w.gates.close(time.Time{}, "form-a/refund")
	w.refundStep()
	w.wantRefunds(o.No, "paid 10:undecided")
	w.gates.close(time.Time{})
	w.refundStep()
	w.wantRefunds(o.No, "partially_refunded 10:done")
}

func TestProviderRefundRules(t *testing.T) {
	for name, test := range map[string]struct {
		rules  providers.RefundRules
		amount int64
		after  time.Duration
		want   string // the rule that forbids; empty: allowed
	}{
		"in time":           {providers.RefundRules{Window: time.Hour}, 10, time.Hour - time.Second, ""},
		"too late":          {providers.RefundRules{Window: time.Hour}, 10, time.Hour, "refund_window_over"},
		"least":             {providers.RefundRules{Min: twd(10)}, 10, 0, ""},
		"less than least":   {providers.RefundRules{Min: twd(10)}, 9, 0, "below_minimum"},
		"whole":             {providers.RefundRules{Whole: true}, 40, 0, ""},
		"all":               {providers.RefundRules{Whole: true}, 0, 0, ""},
		"part":              {providers.RefundRules{Whole: true}, 39, 0, "partial_not_offered"},
		"part today":        {providers.RefundRules{CutOff: 20 * time.Hour}, 39, 11*time.Hour - time.Second, "partial_after_cut_off"},
		"whole today":       {providers.RefundRules{CutOff: 20 * time.Hour}, 40, 0, ""},
		"part tonight":      {providers.RefundRules{CutOff: 20 * time.Hour}, 39, 11 * time.Hour, ""},
		"cut-off of the am": {providers.RefundRules{CutOff: 8 * time.Hour}, 39, 22 * time.Hour, "partial_after_cut_off"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.form.d.Refunds = test.rules
			o := w.paidOrder()
			w.at(test.after)
			_, err := w.refunding(&o, test.amount, "")
			refused, _ := errors.AsType[*orders.RefusedError](err)
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (refused == nil || refused.Code != test.want):
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

// Two attempts are paid: the order is paid once, the other money is surplus and goes back on its own.
func TestSurplusIsRefunded(t *testing.T) {
	w := newWorld(t)
	o := w.placed("click")
	if _, err := w.Checkout(t.Context(), o.PayToken); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Checkout(t.Context(), o.PayToken); err != nil { // the citizen goes back: another number
		t.Fatal(err)
	}
	o = w.read(o.No)
	for i := range o.Attempts {
		s := paidSnapshot(o.Total)
		s.ProviderTradeNo += fmt.Sprint(i)
		if _, err := w.notice(&o.Attempts[i], fmt.Sprint(i), &s); err != nil {
			t.Fatal(err)
		}
	}
	o = w.read(o.No)
	w.wantStates(o.No, "paid paid(abandoned) paid")
	if len(o.Surplus) != 2 || o.Paying().Ordinal != 1 {
		t.Fatalf("surplus %+v", o.Surplus)
	}
	for _, s := range o.Surplus {
		if _, err := w.refunding(&o, 0, s.ID()); err != nil {
			t.Fatal(err)
		}
		w.refundStep()
	}
	o = w.read(o.No)
	if w.refunds(o.No) != "paid 20:done 20:done" || o.Surplus[0].Refunded != twd(20) || o.Surplus[1].Refunded != twd(20) {
		t.Errorf("%s, surplus %+v", w.refunds(o.No), o.Surplus)
	}
	_, err := w.refunding(&o, 0, o.Surplus[0].ID())
	wantErr(t, err, orders.ErrNotRefundable)
	_, err = w.refunding(&o, 0, "201706133240000001-H999999999")
	if f, ok := errors.AsType[*orders.FieldError](err); !ok || f.Field != "/surplus_id" {
		t.Errorf("unknown surplus: %v", err)
	}
	if g, err := w.store.Gauges(t.Context(), nil); err != nil || g.SurplusOpen != 0 {
		t.Errorf("gauges %+v, %v", g, err)
	}
}

func TestActions(t *testing.T) {
	w := newWorld(t)
	look := func(no orders.OrderNo) string {
		list, err := w.Actions(t.Context(), no)
		if err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, a := range list {
			what := a.Why
			if a.Possible {
				what = "yes"
			}
			if a.Max != (money.Amount{}) {
				what += " " + a.Max.Value()
			}
			s += a.Name + " " + what + "; "
		}
		return s
	}
	o := w.placed("form")
	if got := look(o.No); got != "attempt yes; cancel yes; refund not_paid; " {
		t.Error(got)
	}
	w.gates.close(time.Time{}, "form-a/query")
	if got := look(o.No); got != "attempt breaker_open; cancel yes; refund not_paid; " {
		t.Error(got)
	}
	w.gates.close(time.Time{})
	w.paidNotice(&o, "n")
	if got := look(o.No); got != "attempt paid; cancel paid; refund yes 40; " {
		t.Error(got)
	}
	if _, err := w.refunding(&o, 10, ""); err != nil {
		t.Fatal(err)
	}
	if got := look(o.No); got != "attempt paid; cancel paid; refund refund_undecided 30; " {
		t.Error(got)
	}
	w.refundStep()
	if got := look(o.No); got != "attempt partially_refunded; cancel partially_refunded; refund yes 30; " {
		t.Error(got)
	}
}

// The process ends after a refund was claimed, before or after it was sent: nobody sends it again, and the provider's list
// tells what became of it.
func TestRefundAfterCrash(t *testing.T) {
	for sent, want := range map[bool]string{true: "partially_refunded 10:done", false: "paid 10:failed(not_carried_out)"} {
		w := newWorld(t)
		o := w.paidOrder()
		if _, err := w.refunding(&o, 10, ""); err != nil {
			t.Fatal(err)
		}
		w.form.refund = func(int, providers.RefundRequest) (providers.RefundResult, error) { panic(errCrash) }
		w.dies(w.refundStep)
		w.restart()
		w.form.refund = nil
		w.form.query = listsRefunds(func(ref providers.AttemptRef) (list []providers.RefundFact) {
			if sent {
				list = append(list, providers.RefundFact{RefundID: ref.AttemptNo + "R01", ProviderRefundNo: "N", Amount: twd(10), State: providers.RefundDone})
			}
			return list
		})
		w.refundStep()
		w.wantRefunds(o.No, "paid 10:undecided doubt")
		for range 20 {
			w.clock.Advance(time.Minute)
			w.work(w.QueryStep)
			w.refundStep()
		}
		w.wantRefunds(o.No, want)
		if len(w.form.refunds) != 1 {
			t.Errorf("sent %d times", len(w.form.refunds))
		}
	}
}
