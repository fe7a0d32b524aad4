package storetest

import (
	"time"

	"pay.taipei/gateway/orders"
)

// cancellation asks to cancel an order under a key.
func (w *world) cancellation(no orders.OrderNo, now time.Time, key string) orders.Cancellation {
	return orders.Cancellation{Order: no, Now: now, Key: w.key(key), Answer: answer}
}

func (w *world) cancel(c orders.Cancellation) orders.Order {
	w.Helper()
	o, err := w.stores[0].Cancel(w.ctx, c)
	w.ok(err)
	return o
}

// askedToCancel is an order with a confirm in doubt that is to be cancelled.
func (w *world) askedToCancel(bill string) (orders.Order, orders.Call) {
	w.Helper()
	placed := w.place(w.placement(bill))
	call, err := w.stores[0].ClaimConfirm(w.ctx, placed.Attempts[0].No, inTime)
	w.ok(err)
	c := w.cancellation(placed.No, inTime, "doubt about "+bill)
	o := w.cancel(c)
	w.same(w.order(o.No), o)
	w.answered(c.Key, &o)
	if o.State != orders.OrderOpen || !o.CancelAsked.Equal(inTime) {
		w.Fatalf("order %s, asked at %v", o.State, o.CancelAsked)
	}
	w.told(o.No, orders.EventCreated)
	return o, call
}

var cancelling = map[string]func(*world){
	"lets go of its bills": func(w *world) {
		placed := w.place(w.placement(bill1, bill2))
		c := w.cancellation(placed.No, inTime.Add(123456*time.Nanosecond).In(orders.Taipei), "cancel")
		o := w.cancel(c)
		w.same(w.order(o.No), o)
		w.answered(c.Key, &o)
		if o.State != orders.OrderCancelled || !o.Attempts[0].Abandoned || o.Attempts[0].State != orders.AttemptPending || !o.CancelAsked.Equal(inTime) {
			w.Errorf("order %+v", o)
		}
		w.told(o.No, orders.EventCreated, orders.EventCancelled)
		next := w.place(w.placement(bill2, bill1))
		w.is(w.claims(tooLate, o.Attempts[0].No, next.Attempts[0].No), orders.ErrNothing) // still watched
		late := w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		if late.Order.State != orders.OrderPaid || !late.Order.Late || len(late.Order.Surplus) != 0 {
			w.Errorf("money after the cancel: %+v", late.Order)
		}
		if b := w.book(next.No); b.Payable(inTime) {
			w.Error("the next order may still be paid")
		}
	},
	"what never left us is not watched": func(w *world) {
		o := w.cancel(w.cancellation(w.place(clicked(w.placement(bill1))).No, inTime, "unclicked"))
		w.same(w.order(o.No), o)
		if o.Attempts[0].State != orders.AttemptCancelled || !o.Attempts[0].QueryAt.IsZero() {
			w.Errorf("attempt %+v", o.Attempts[0])
		}
		if accounts, err := w.stores[1].QueryAccounts(w.ctx); err != nil || len(accounts) > 0 {
			w.Errorf("queries wait at %v, %v", accounts, err)
		}
		next, err := w.stores[1].NextDue(w.ctx)
		if w.ok(err); !next.IsZero() {
			w.Errorf("due at %v", next)
		}
	},
	"a doubt that ends unpaid": func(w *world) {
		o, _ := w.askedToCancel(bill1)
		if w.book(o.No).Payable(inTime) {
			w.Error("it may be paid with a new page")
		}
		_, err := w.stores[1].Place(w.ctx, shift(w.placement(bill1), time.Hour))
		w.billError(err, bill1, false)
		a := w.apply(said(&o, 1, orders.AttemptFailed, inTime))
		if b := w.book(o.No); b.Order.State != orders.OrderCancelled || b.Bills[bill1].Holder != "" || a.Order.State != orders.OrderCancelled {
			w.Errorf("book %+v", b)
		}
		w.told(o.No, orders.EventCreated, orders.EventFailed, orders.EventCancelled)
	},
	"a doubt that ends paid": func(w *world) {
		o, _ := w.askedToCancel(bill1)
		w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		if o = w.order(o.No); o.State != orders.OrderPaid || o.Late {
			w.Errorf("order %s, late %v", o.State, o.Late)
		}
		w.told(o.No, orders.EventCreated, orders.EventPaid)
	},
	"a confirm that was not sent after all": func(w *world) {
		o, call := w.askedToCancel(bill1)
		call.Outcome, call.EndedAt = orders.OutcomeNotSent, inTime.Add(time.Second)
		w.ok(w.stores[1].FinishCall(w.ctx, call))
		if b := w.book(o.No); b.Order.State != orders.OrderCancelled || b.Bills[bill1].Holder != "" {
			w.Errorf("book %+v", b)
		}
		w.told(o.No, orders.EventCreated, orders.EventCancelled)
		_, err := w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
		w.is(err, orders.ErrNotPayable)
	},
	"not what has ended otherwise": func(w *world) {
		for name, c := range map[string]struct {
			bill   string
			before func(*orders.Order)
			now    time.Time
		}{
			"its time is over": {bill1, func(*orders.Order) {}, expiresAt},
			"paid":             {bill2, func(o *orders.Order) { w.apply(said(o, 1, orders.AttemptPaid, inTime)) }, inTime},
			"frozen":           {bill3, func(o *orders.Order) { w.apply(wrong(o, inTime)) }, inTime},
		} {
			o := w.place(w.placement(c.bill))
			c.before(&o)
			before := w.order(o.No)
			cancel := w.cancellation(o.No, c.now, name)
			_, err := w.stores[1].Cancel(w.ctx, cancel)
			w.is(err, orders.ErrNotPayable)
			w.same(w.order(o.No), before)
			w.unused(cancel.Key)
		}
	},
	"again": func(w *world) {
		placed := w.place(w.placement(bill1))
		first := w.cancel(w.cancellation(placed.No, inTime, "first"))
		second := w.cancellation(placed.No, tooLate, "second")
		w.same(w.cancel(second), first)
		w.answered(second.Key, &first)
		_, err := w.stores[1].Cancel(w.ctx, second)
		w.is(err, orders.ErrKeyTaken)
		unkeyed := w.cancel(orders.Cancellation{Order: placed.No, Now: tooLate})
		w.same(unkeyed, first)
		w.told(placed.No, orders.EventCreated, orders.EventCancelled)
	},
	"many at once": func(w *world) {
		o := w.place(w.placement(bill1, bill2))
		c := w.cancellation(o.No, inTime, "one")
		won := 0
		for _, err := range parallel(8, func(i int) error {
			_, err := w.store(i).Cancel(w.ctx, c)
			return err
		}) {
			if err == nil {
				won++
				continue
			}
			w.is(err, orders.ErrKeyTaken)
		}
		if won != 1 {
			w.Errorf("%d won", won)
		}
		w.told(o.No, orders.EventCreated, orders.EventCancelled)
	},
	"while its create is under way": func(w *world) {
		p := created(w.placement(bill1))
		placed := w.place(p)
		w.cancel(w.cancellation(placed.No, inTime, "impatient"))
		o := w.finish(p, &placed, 0, orders.OutcomeDone)
		w.same(w.order(o.No), o)
		if a := o.Attempts[0]; a.Redirect != nil || !a.Abandoned || a.State != orders.AttemptIntent || o.State != orders.OrderCancelled {
			w.Errorf("order %s, attempt %+v", o.State, a)
		}
		w.told(o.No, orders.EventCreated, orders.EventCancelled)
		w.ask(tooLate)
	},
	"of nobody": func(w *world) {
		c := w.cancellation("2017061399999999", inTime, "nobody")
		_, err := w.stores[0].Cancel(w.ctx, c)
		w.is(err, orders.ErrNotFound)
		w.unused(c.Key)
	},
}
