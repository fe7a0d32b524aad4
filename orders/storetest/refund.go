package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// paid is an order of two bills whose first attempts are paid in turn: what a second one pays is surplus.
func (w *world) paid(attempts int, billNos ...string) orders.Order {
	w.Helper()
	o := w.place(w.placement(billNos...))
	for range attempts - 1 {
		o = w.add(w.addition(o.No, inTime))
	}
	for i := range attempts {
		o = w.apply(said(&o, i+1, orders.AttemptPaid, inTime)).Order
	}
	return o
}

// request asks for a refund of an attempt; no amount is all that is left.
func (w *world) request(o *orders.Order, ordinal int, bill string, amount money.Amount, key string) orders.RefundRequest {
	ask := orders.RefundAsk{Attempt: o.Attempts[ordinal-1].No, BillNo: bill, Amount: amount, Reason: "double payment"}
	return orders.RefundRequest{
		Order: o.No, Now: inTime, Key: *w.key(key),
		Ask: func(*orders.Order) (orders.RefundAsk, error) { return ask, nil },
		Answer: func(o *orders.Order, r *orders.Refund) (int, []byte, error) {
			return 202, fmt.Appendf(nil, "%s of %s %s", r.ID(), r.Amount, o.State), nil
		},
	}
}

func (w *world) refund(o *orders.Order, ordinal int, bill string, amount money.Amount, key string) orders.Order {
	w.Helper()
	asked, err := w.stores[0].AskRefund(w.ctx, w.request(o, ordinal, bill, amount, key))
	w.ok(err)
	return asked
}

// send claims the refund that is due.
func (w *world) send(now time.Time) (orders.Order, orders.Refund) {
	w.Helper()
	work, err := w.stores[1].ClaimRefund(w.ctx, account, now)
	w.ok(err)
	return work.Order, work.Refund
}

// ends is the answer to a refund.
func ends(r orders.Refund, outcome orders.Outcome, s orders.RefundState) orders.RefundFinish {
	return orders.RefundFinish{
		Attempt: r.Attempt, Ordinal: r.Ordinal, Outcome: outcome, State: s, No: "P" + r.ID(), Why: "E1",
		Now: inTime.Add(5 * time.Second), QueryAt: inTime.Add(20 * time.Second),
	}
}

func (w *world) end(f orders.RefundFinish) orders.Applied {
	w.Helper()
	a, err := w.stores[0].FinishRefund(w.ctx, f)
	w.ok(err)
	return a
}

// refundsTold is what the provider says of its refunds when it is asked about one of ours.
func refundsTold(o *orders.Order, r orders.Refund, at time.Time, settled bool, list ...orders.RefundFact) orders.Evidence {
	e := said(o, o.Attempt(r.Attempt).Ordinal, orders.AttemptPaid, at)
	e.Source, e.Purpose = orders.SourceQuery, orders.PurposeRefund(&r)
	if settled {
		e.Settled = inTime // when the tests send
	}
	e.Fact.Refunds, e.Fact.RefundsComplete = list, true
	return e
}

// sentAt is when a refund was sent last; the zero time: it was not.
func sentAt(o *orders.Order, r *orders.Refund) time.Time {
	if call := o.RefundCall(r); call != nil {
		return call.SentAt
	}
	return time.Time{}
}

var refunding = map[string]func(*world){
	"asked for, sent, done": func(w *world) {
		placed := w.paid(1, bill1, bill2)
		o := w.refund(&placed, 1, "", twd(15), "part")
		w.same(w.order(o.No), o)
		want := orders.Refund{
			Attempt: o.Attempts[0].No, Ordinal: 1, Amount: twd(15), Reason: "double payment", State: orders.RefundUndecided, AskedAt: inTime,
		}
		if len(o.Refunds) != 1 || o.Refunds[0] != want || o.State != orders.OrderPaid || o.Doubt() {
			w.Errorf("refunds %+v, order %s, doubt %v", o.Refunds, o.State, o.Doubt())
		}
		if k, err := w.stores[1].LookKey(w.ctx, w.key("part").Ref); err != nil || !k.Done || k.Status != 202 || string(k.Answer) != want.ID()+" of TWD 15 paid" {
			w.Errorf("key %+v, %v", k, err)
		}
		if next, err := w.stores[1].NextRefund(w.ctx, account); err != nil || !next.Equal(inTime) {
			w.Errorf("due at %v, %v", next, err)
		}
		sent, r := w.send(inTime)
		w.same(w.order(o.No), sent)
		if r != want {
			w.Errorf("sent %+v, want %+v", r, want)
		}
		if c := sent.Calls; len(c) != 1 || c[0].Op != orders.OpRefund || c[0].Ordinal != 1 || c[0].Attempt != r.Attempt || !c[0].SentAt.Equal(inTime) || !sent.Doubt() {
			w.Errorf("calls %+v, doubt %v", c, sent.Doubt())
		}
		a := w.end(ends(r, orders.OutcomeDone, orders.RefundDone))
		if !a.Moved || !slices.Equal(a.Events, []orders.EventType{orders.EventRefunded}) {
			w.Errorf("applied %+v", a)
		}
		w.same(w.order(o.No), a.Order)
		if r := a.Order.Refunds[0]; a.Order.State != orders.OrderPartiallyRefunded || a.Order.Doubt() || r.State != orders.RefundDone || r.ProviderRefundNo != "P"+r.ID() || !r.DecidedAt.Equal(inTime.Add(5*time.Second)) || r.Why != "" {
			w.Errorf("order %+v", a.Order)
		}
		again := w.end(ends(r, orders.OutcomeDone, orders.RefundDone))
		if again.Moved || len(again.Events) > 0 {
			w.Errorf("its answer a second time: %+v", again)
		}
		w.refund(&placed, 1, "", money.Amount{}, "the rest")
		_, r = w.send(inTime)
		if r.Amount != twd(25) || r.Ordinal != 2 {
			w.Errorf("the rest is %+v", r)
		}
		if a = w.end(ends(r, orders.OutcomeDone, orders.RefundDone)); a.Order.State != orders.OrderRefunded {
			w.Errorf("order %s", a.Order.State)
		}
		w.told(o.No, orders.EventCreated, orders.EventPaid, orders.EventRefunded, orders.EventRefunded)
		w.idle(tooLate.Add(1000 * time.Hour))
	},
	"handed out once, and never again": func(w *world) {
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", money.Amount{}, "all")
		won := 0
		for _, err := range parallel(8, func(i int) error {
			_, err := w.store(i).ClaimRefund(w.ctx, account, inTime)
			return err
		}) {
			if err == nil {
				won++
				continue
			}
			w.is(err, orders.ErrNothing)
		}
		if won != 1 {
			w.Errorf("%d workers send it", won)
		}
		for _, at := range []time.Duration{0, time.Minute, time.Hour, 1000 * time.Hour} {
			_, err := w.stores[0].ClaimRefund(w.ctx, account, inTime.Add(at))
			w.is(err, orders.ErrNothing)
		}
		if next, err := w.stores[0].NextRefund(w.ctx, account); err != nil || !next.IsZero() {
			w.Errorf("due at %v, %v", next, err)
		}
	},
	"sent again when it was not sent": func(w *world) {
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", twd(5), "part")
		waits := func(sent int, last string, due time.Time) {
			w.Helper()
			waiting, err := w.stores[1].Waiting(w.ctx, o.No)
			w.ok(err)
			want := orders.RefundWork{Order: w.order(o.No), Refund: w.order(o.No).Refunds[0], Sent: sent, Last: last, Due: due}
			if len(waiting.Refunds) != 1 || len(waiting.Queries) != 0 || !reflect.DeepEqual(waiting.Refunds[0], want) {
				w.Errorf("waiting %+v, want %+v", waiting, want)
			}
		}
		waits(0, "", inTime)
		_, r := w.send(inTime)
		if waiting, err := w.stores[1].Waiting(w.ctx, o.No); err != nil || len(waiting.Refunds) != 0 || len(waiting.Queries) != 1 || !waiting.Queries[0].Due.Equal(inTime.Add(time.Minute)) {
			w.Errorf("on its way: %+v, %v", waiting, err)
		}
		asked := refundsTold(&o, r, inTime.Add(5*time.Second), true)
		f := ends(r, orders.OutcomeNotSent, "")
		f.SendAt = inTime.Add(time.Hour)
		a := w.end(f)
		if a.Moved || len(a.Events) > 0 || a.Order.Doubt() || a.Order.UndecidedRefund(r.Attempt) == nil || a.Order.RefundCall(&r) != nil {
			w.Errorf("applied %+v", a)
		}
		w.idle(tooLate.Add(1000 * time.Hour)) // what was not sent is not asked about
		waits(1, "E1", inTime.Add(time.Hour))
		if next, err := w.stores[1].NextRefund(w.ctx, account); err != nil || !next.Equal(inTime.Add(time.Hour)) {
			w.Errorf("due at %v, %v", next, err)
		}
		_, err := w.stores[1].ClaimRefund(w.ctx, account, inTime.Add(time.Hour-time.Millisecond))
		w.is(err, orders.ErrNothing)
		work, err := w.stores[1].ClaimRefund(w.ctx, account, inTime.Add(time.Hour))
		if w.ok(err); work.Sent != 1 || work.Last != "E1" || work.Refund != r {
			w.Errorf("work %+v", work)
		}
		if c := work.Order.Calls; len(c) != 1 || !c[0].SentAt.Equal(inTime.Add(time.Hour)) || c[0].Outcome != orders.OutcomeOpen || !c[0].EndedAt.IsZero() || !work.Order.Doubt() {
			w.Errorf("calls %+v", c)
		}
		if a := w.apply(asked); a.Moved { // the answer to a question about the send before
			w.Errorf("failed while it is on its way: %+v", a)
		}
		if a = w.end(ends(r, orders.OutcomeDone, orders.RefundDone)); a.Order.Refunds[0].State != orders.RefundDone {
			w.Errorf("applied %+v", a)
		}
		f.SendAt = tooLate
		w.end(f) // an outcome once known stays
		_, err = w.stores[1].ClaimRefund(w.ctx, account, tooLate.Add(time.Hour))
		w.is(err, orders.ErrNothing)
		w.told(o.No, orders.EventCreated, orders.EventPaid, orders.EventRefunded)
	},
	"of its own account, the first asked first": func(w *world) {
		a, b := w.paid(1, bill1), w.paid(1, bill2)
		later := w.request(&a, 1, "", money.Amount{}, "later")
		later.Now = inTime.Add(time.Second)
		_, err := w.stores[0].AskRefund(w.ctx, later)
		w.ok(err)
		w.refund(&b, 1, "", money.Amount{}, "sooner")
		_, err = w.stores[0].ClaimRefund(w.ctx, "another", tooLate)
		w.is(err, orders.ErrNothing)
		if next, err := w.stores[0].NextRefund(w.ctx, "another"); err != nil || !next.IsZero() {
			w.Errorf("due at %v, %v", next, err)
		}
		first, _ := w.send(inTime)
		_, err = w.stores[0].ClaimRefund(w.ctx, account, inTime)
		w.is(err, orders.ErrNothing)
		second, _ := w.send(inTime.Add(time.Second))
		if first.No != b.No || second.No != a.No {
			w.Errorf("sent %s, then %s", first.No, second.No)
		}
	},
	"what it may not": func(w *world) {
		o, open := w.paid(2, bill1), w.place(w.placement(bill2))
		broken := &orders.RefusedError{Code: "below_minimum"}
		refused := w.request(&o, 1, "", twd(1), "a rule")
		refused.Ask = func(*orders.Order) (orders.RefundAsk, error) { return orders.RefundAsk{}, broken }
		unworded := w.request(&o, 1, "", twd(1), "no words")
		unworded.Answer = func(*orders.Order, *orders.Refund) (int, []byte, error) { return 0, nil, broken }
		nobody := w.request(&o, 1, "", twd(1), "nobody")
		nobody.Order = "2017061399999999"
		for want, requests := range map[error][]orders.RefundRequest{
			orders.ErrRefundExceeds: {w.request(&o, 1, "", twd(21), "too much"), w.request(&o, 2, bill1, twd(21), "surplus"), w.request(&o, 1, "", twd(0), "nothing")},
			orders.ErrNotRefundable: {w.request(&open, 1, "", twd(1), "open"), w.request(&o, 2, "", twd(1), "all surplus"), w.request(&o, 1, bill1, twd(1), "no surplus")},
			broken:                  {refused, unworded},
			orders.ErrNotFound:      {nobody},
		} {
			for _, r := range requests {
				if _, err := w.stores[0].AskRefund(w.ctx, r); !errors.Is(err, want) {
					w.Errorf("%s: %v, want %v", r.Key.Ref.Key, err, want)
				}
				w.unused(&r.Key)
			}
		}
		w.same(w.order(o.No), o)
		_, err := w.stores[0].ClaimRefund(w.ctx, account, tooLate)
		w.is(err, orders.ErrNothing)
	},
	"one at a time": func(w *world) {
		o := w.paid(2, bill1, bill2)
		w.refund(&o, 2, bill1, twd(5), "first")
		second := w.request(&o, 2, bill2, twd(5), "second")
		_, err := w.stores[1].AskRefund(w.ctx, second)
		w.is(err, orders.ErrRefundUndecided)
		w.unused(&second.Key)
		w.refund(&o, 1, "", twd(5), "another attempt's")
		for range 2 {
			if _, r := w.send(inTime); r.BillNo != "" {
				w.end(ends(r, orders.OutcomeRefused, orders.RefundFailed))
			}
		}
		if got := w.refund(&o, 2, bill2, twd(5), "second"); got.Refunds[2].Ordinal != 2 || got.Refunds[1].Why != "E1" {
			w.Errorf("refunds %+v", got.Refunds)
		}
	},
	"a request that is repeated": func(w *world) {
		o := w.paid(1, bill1)
		r := w.request(&o, 1, "", twd(5), "one")
		won := 0
		for _, err := range parallel(8, func(i int) error {
			_, err := w.store(i).AskRefund(w.ctx, r)
			return err
		}) {
			if err == nil {
				won++
				continue
			}
			w.is(err, orders.ErrKeyTaken) // not that another refund is undecided: it is its own
		}
		if got := w.order(o.No); won != 1 || len(got.Refunds) != 1 {
			w.Errorf("%d won, refunds %+v", won, got.Refunds)
		}
	},
	"what each answer means": func(w *world) {
		for i, c := range []struct {
			outcome orders.Outcome
			state   orders.RefundState
			want    orders.RefundState
			doubt   bool
			event   orders.EventType
		}{
			{orders.OutcomeDone, orders.RefundDone, orders.RefundDone, false, orders.EventRefunded},
			{orders.OutcomeDone, orders.RefundUndecided, orders.RefundUndecided, false, ""},
			{orders.OutcomeDone, orders.RefundFailed, orders.RefundFailed, false, orders.EventRefundFailed},
			{orders.OutcomeRefused, "", orders.RefundFailed, false, orders.EventRefundFailed},
			{orders.OutcomeNotSent, "", orders.RefundFailed, false, orders.EventRefundFailed},
			{orders.OutcomeUnknown, orders.RefundDone, orders.RefundUndecided, true, ""},
		} {
			o := w.paid(1, fmt.Sprintf("H3434343%04d", i))
			w.refund(&o, 1, "", money.Amount{}, fmt.Sprint(i))
			_, r := w.send(inTime)
			a := w.end(ends(r, c.outcome, c.state))
			got := w.order(o.No)
			w.same(got, w.withQuery(a.Order, got))
			if got.Refunds[0].State != c.want || got.Doubt() != c.doubt || got.Calls[0].Outcome != c.outcome {
				w.Errorf("%s, %s: %+v, doubt %v, call %+v", c.outcome, c.state, got.Refunds[0], got.Doubt(), got.Calls[0])
			}
			want := []orders.EventType{orders.EventCreated, orders.EventPaid}
			if c.event != "" {
				want = append(want, c.event)
				w.idle(tooLate)
			} else { // it is asked about, and the answer decides
				w.idle(inTime.Add(20*time.Second - time.Millisecond))
				work := w.ask(inTime.Add(20 * time.Second))
				w.apply(refundsTold(&o, r, inTime.Add(21*time.Second), false, orders.RefundFact{ID: r.ID(), Amount: r.Amount, State: orders.RefundDone}))
				w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime.Add(21*time.Second), time.Time{}))
				want = append(want, orders.EventRefunded)
				w.idle(tooLate)
			}
			w.told(o.No, want...)
		}
	},
	"what may have been sent is never unsent": func(w *world) {
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", money.Amount{}, "all")
		_, r := w.send(inTime)
		w.end(ends(r, orders.OutcomeUnknown, ""))
		if a := w.end(ends(r, orders.OutcomeNotSent, "")); a.Moved || a.Order.Refunds[0].State != orders.RefundUndecided || !a.Order.Doubt() {
			w.Errorf("applied %+v", a)
		}
		if a := w.end(ends(r, orders.OutcomeRefused, "")); a.Order.Refunds[0].State != orders.RefundFailed {
			w.Errorf("applied %+v", a)
		}
	},
	"nobody answered": func(w *world) {
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", twd(5), "part")
		w.idle(tooLate) // what was not sent is not asked about
		_, r := w.send(inTime)
		w.idle(inTime.Add(time.Minute - time.Millisecond))
		work := w.ask(inTime.Add(time.Minute)) // the sender died
		if u := work.Order.UndecidedRefund(work.Attempt); u == nil || *u != r || work.Order.DoubtAbout(work.Attempt) == nil {
			w.Errorf("work %+v", work)
		}
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime.Add(time.Minute), inTime.Add(2*time.Minute)))
		work = w.ask(inTime.Add(2 * time.Minute))
		a := w.apply(refundsTold(&o, r, inTime.Add(2*time.Minute), true))
		if a.Order.Refunds[0].State != orders.RefundFailed || a.Order.Refunds[0].Why != "not_carried_out" || !slices.Equal(a.Events, []orders.EventType{orders.EventRefundFailed}) {
			w.Errorf("applied %+v", a)
		}
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime.Add(2*time.Minute), time.Time{}))
		w.idle(tooLate.Add(1000 * time.Hour))
	},
	"a callback that says something happened": func(w *world) {
		o := w.paid(1, bill1)
		w.hint(&o, inTime)
		w.idle(tooLate)
		w.refund(&o, 1, "", twd(5), "part")
		_, r := w.send(inTime)
		pending := ends(r, orders.OutcomeDone, orders.RefundUndecided)
		pending.QueryAt = inTime.Add(time.Hour)
		w.end(pending)
		w.hint(&o, inTime.Add(time.Minute))
		w.hint(&o, inTime.Add(10*time.Minute))
		w.idle(inTime.Add(time.Minute - time.Millisecond))
		w.ask(inTime.Add(time.Minute))
	},
	"not asked about before it is sent": func(w *world) {
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", twd(5), "part")
		w.hint(&o, inTime)
		w.idle(tooLate)
		if next, err := w.stores[1].NextQuery(w.ctx, account); err != nil || !next.IsZero() {
			w.Errorf("due at %v, %v", next, err)
		}
		w.send(inTime)
		w.ask(inTime)
	},
	"evidence first, the answer's number after": func(w *world) {
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", twd(5), "part")
		_, r := w.send(inTime)
		w.apply(refundsTold(&o, r, inTime, false, orders.RefundFact{ID: r.ID(), Amount: r.Amount, State: orders.RefundDone}))
		a := w.end(ends(r, orders.OutcomeDone, orders.RefundDone))
		if got := a.Order.Refunds[0]; got.State != orders.RefundDone || got.ProviderRefundNo != "P"+r.ID() || !got.DecidedAt.Equal(inTime) || len(a.Events) > 0 {
			w.Errorf("refund %+v, events %v", got, a.Events)
		}
		w.same(w.order(o.No), a.Order)
		w.told(o.No, orders.EventCreated, orders.EventPaid, orders.EventRefunded)
	},
	"not sent yet when the answer to an older question comes": func(w *world) {
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", twd(5), "first")
		_, r := w.send(inTime)
		w.end(ends(r, orders.OutcomeRefused, ""))
		w.refund(&o, 1, "", twd(5), "second")
		stale := refundsTold(&o, r, inTime.Add(time.Minute), true)
		if a := w.apply(stale); a.Moved {
			w.Errorf("applied %+v", a)
		}
		_, second := w.send(inTime)
		stale.ReceivedAt, stale.Fact.Method = inTime.Add(2*time.Minute), "in other words"
		if a := w.apply(stale); a.Moved || second.Ordinal != 2 {
			w.Errorf("applied %+v", a)
		}
	},
	"of a surplus": func(w *world) {
		o := w.paid(2, bill1, bill2)
		second := o.Attempts[1].No
		g, err := w.stores[1].Gauges(w.ctx, nil)
		if w.ok(err); g.SurplusOpen != 2 || !g.OldestSurplus.Equal(inTime) {
			w.Errorf("gauges %+v", g)
		}
		for i, units := range []int64{5, 15} {
			w.refund(&o, 2, bill2, twd(units), fmt.Sprint(units))
			_, r := w.send(inTime)
			a := w.end(ends(r, orders.OutcomeDone, orders.RefundDone))
			w.same(w.order(o.No), a.Order)
			want := []orders.Surplus{
				{Attempt: second, BillNo: bill1, Amount: twd(20), Refunded: twd(0)},
				{Attempt: second, BillNo: bill2, Amount: twd(20), Refunded: twd([]int64{5, 20}[i])},
			}
			if !slices.Equal(a.Order.Surplus, want) || a.Order.State != orders.OrderPaid {
				w.Errorf("order %s, surplus %+v", a.Order.State, a.Order.Surplus)
			}
		}
		if g, err = w.stores[1].Gauges(w.ctx, nil); err != nil || g.SurplusOpen != 1 {
			w.Errorf("gauges %+v, %v", g, err)
		}
		_, err = w.stores[0].AskRefund(w.ctx, w.request(&o, 2, bill2, twd(1), "a dollar more"))
		w.is(err, orders.ErrNotRefundable)
	},
	"a second payment beside a refund": func(w *world) {
		o := w.add(w.addition(w.place(w.placement(bill1)).No, inTime))
		o = w.apply(said(&o, 2, orders.AttemptPaid, inTime)).Order
		w.refund(&o, 2, "", money.Amount{}, "all")
		_, r := w.send(inTime)
		w.apply(said(&o, 1, orders.AttemptPaid, inTime)) // while it is under way
		a := w.end(ends(r, orders.OutcomeDone, orders.RefundDone))
		w.same(w.order(o.No), a.Order)
		if a.Order.State != orders.OrderRefunded || len(a.Order.Surplus) != 1 || a.Order.Surplus[0].Attempt != o.Attempts[0].No || !a.Order.Surplus[0].Refunded.IsZero() {
			w.Errorf("order %s, surplus %+v", a.Order.State, a.Order.Surplus)
		}
		w.refund(&o, 1, bill1, money.Amount{}, "surplus")
		_, r = w.send(inTime)
		if a = w.end(ends(r, orders.OutcomeDone, orders.RefundDone)); a.Order.State != orders.OrderRefunded || a.Order.Surplus[0].Refunded != twd(20) {
			w.Errorf("order %s, surplus %+v", a.Order.State, a.Order.Surplus)
		}
		w.told(o.No, orders.EventCreated, orders.EventPending, orders.EventPaid, orders.EventSurplus, orders.EventRefunded, orders.EventRefunded)
	},
	"text that no database can hold": func(w *world) {
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", twd(5), "part")
		_, r := w.send(inTime)
		f := ends(r, orders.OutcomeDone, orders.RefundUndecided)
		f.No, f.Why = "\x00\xff", strings.Repeat("\xff", 1000)
		a := w.end(f)
		w.same(w.order(o.No), w.withQuery(a.Order, w.order(o.No)))
		e := refundsTold(&o, r, inTime, false, orders.RefundFact{ID: "\x00\xff", ProviderRefundNo: strings.Repeat("n", 1000), Amount: twd(1), State: "\x00"})
		w.apply(e)
		if again := w.apply(e); !again.Repeat {
			w.Errorf("applied %+v", again)
		}
		f.State = orders.RefundFailed
		a = w.end(f)
		w.same(w.order(o.No), a.Order)
	},
	"gauges and timeline": func(w *world) {
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", twd(5), "part")
		g, err := w.stores[1].Gauges(w.ctx, nil)
		if w.ok(err); g.RefundsUndecided != 1 || !g.OldestRefund.Equal(inTime) || g.Doubts != 0 || !g.OldestDoubt.IsZero() {
			w.Errorf("gauges %+v", g)
		}
		_, r := w.send(inTime)
		if g, err = w.stores[1].Gauges(w.ctx, nil); err != nil || g.RefundsUndecided != 1 || g.Doubts != 1 || !g.OldestDoubt.Equal(inTime) {
			w.Errorf("gauges %+v, %v", g, err)
		}
		w.end(ends(r, orders.OutcomeRefused, ""))
		if g, err = w.stores[1].Gauges(w.ctx, nil); err != nil || g.RefundsUndecided != 0 || !g.OldestRefund.IsZero() || g.Doubts != 0 || !g.OldestDoubt.IsZero() {
			w.Errorf("gauges %+v, %v", g, err)
		}
		rows, err := w.stores[1].Timeline(w.ctx, o.No)
		w.ok(err)
		var told []string
		for _, row := range rows {
			if row.What == "refund" || row.What == "call" {
				told = append(told, row.Detail)
			}
		}
		want := []string{"refund 1 about to be sent", r.ID() + " of TWD 5 asked for: double payment", "refund 1: refused", r.ID() + ": failed, E1"}
		if !slices.Equal(told, want) {
			w.Errorf("timeline %q, want %q", told, want)
		}
	},
	"of nobody": func(w *world) {
		_, err := w.stores[0].ClaimRefund(w.ctx, account, tooLate)
		w.is(err, orders.ErrNothing)
		_, err = w.stores[0].FinishRefund(w.ctx, ends(orders.Refund{Attempt: "201706139999999901", Ordinal: 1}, orders.OutcomeDone, orders.RefundDone))
		w.is(err, orders.ErrNotFound)
		o := w.paid(1, bill1)
		w.refund(&o, 1, "", twd(5), "part")
		_, err = w.stores[0].FinishRefund(w.ctx, ends(orders.Refund{Attempt: o.Attempts[0].No, Ordinal: 1}, orders.OutcomeDone, orders.RefundDone))
		w.is(err, orders.ErrNotFound) // it was not claimed
	},
}

// withQuery is an order with the times of the next queries as another read them.
func (w *world) withQuery(o, read orders.Order) orders.Order {
	o.Attempts = slices.Clone(o.Attempts)
	for i := range o.Attempts {
		o.Attempts[i].QueryAt = read.Attempts[i].QueryAt
	}
	return o
}
