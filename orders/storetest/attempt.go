package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/orders"
)

// addition is a further attempt of an order, whose redirect leaves with the answer.
func (w *world) addition(no orders.OrderNo, now time.Time) orders.Addition {
	return orders.Addition{Order: no, Now: now, Answer: answer, Next: func(o *orders.Order) (orders.Attempt, error) {
		a := w.attempt(o, o.Current().Ordinal+1)
		a.CreatedAt, a.HandedAt, a.QueryAt = now, now, now.Add(5*time.Minute)
		a.Redirect = &orders.Redirect{Method: "POST", URL: "https://second.example/pay", Fields: map[string]string{"sig": "2"}}
		a.Wishes = orders.Wishes{Providers: []string{"harborpay", "bravobank"}, Methods: []string{"credit_card"}}
		a.Receipt = `{"ranked":["second"]}`
		return a, nil
	}}
}

// sending is a further attempt whose create call follows.
func (w *world) sending(no orders.OrderNo, now time.Time, key *orders.NewKey) orders.Addition {
	a := w.addition(no, now)
	a.Key, a.Answer, a.Create = key, nil, true
	a.Next = func(o *orders.Order) (orders.Attempt, error) { return w.attempt(o, o.Current().Ordinal+1), nil }
	return a
}

// add commits a further attempt.
func (w *world) add(a orders.Addition) orders.Order {
	w.Helper()
	o, err := w.stores[0].AddAttempt(w.ctx, a)
	w.ok(err)
	return o
}

// unchanged ends the case unless a further attempt is refused with an error and leaves nothing behind.
func (w *world) unchanged(a orders.Addition, want error) {
	w.Helper()
	before := w.order(a.Order)
	_, err := w.stores[0].AddAttempt(w.ctx, a)
	w.is(err, want)
	w.same(w.order(a.Order), before)
}

var adding = map[string]func(*world){
	"leaves with its answer": func(w *world) {
		placed := w.place(w.placement(bill1))
		a := w.addition(placed.No, inTime)
		a.Key = w.key("another wallet")
		o := w.add(a)
		w.same(w.order(o.No), o)
		w.answered(a.Key, &o)
		first, second := o.Attempts[0], o.Attempts[1]
		if len(o.Attempts) != 2 || !first.Abandoned || first.State != orders.AttemptPending || second.Abandoned || second.State != orders.AttemptPending || !second.HandedAt.Equal(inTime) {
			w.Errorf("attempts %+v", o.Attempts)
		}
		if !slices.Equal(second.Wishes.Providers, []string{"harborpay", "bravobank"}) || !slices.Equal(second.Wishes.Methods, []string{"credit_card"}) || second.Receipt != `{"ranked":["second"]}` {
			w.Errorf("wishes %+v, receipt %q", second.Wishes, second.Receipt)
		}
		w.told(o.No, orders.EventCreated, orders.EventPending)
		w.is(w.claims(tooLate, second.No, first.No), orders.ErrNothing) // both are watched
		if _, err := w.stores[0].Hand(w.ctx, orders.Handing{Order: o.No, Attempt: first.No, Again: true, Now: inTime}); !errors.Is(err, orders.ErrNotPayable) {
			w.Errorf("the abandoned attempt left us again: %v", err)
		}
		rows, err := w.stores[1].Timeline(w.ctx, o.No)
		w.ok(err)
		if !slices.ContainsFunc(rows, func(r orders.TimelineRow) bool {
			return r.What == "routing" && r.AttemptNo == second.No && r.Detail == second.Receipt
		}) {
			w.Errorf("the receipt is not in the timeline: %+v", rows)
		}
	},
	"waits for the click": func(w *world) {
		o := w.place(w.placement(bill1))
		a := w.addition(o.No, inTime)
		next := a.Next
		a.Next = func(o *orders.Order) (orders.Attempt, error) {
			n, err := next(o)
			n.HandedAt = time.Time{}
			return n, err
		}
		o = w.add(a)
		w.same(w.order(o.No), o)
		if o.Attempts[1].State != orders.AttemptIntent {
			w.Errorf("attempt %+v", o.Attempts[1])
		}
		w.told(o.No, orders.EventCreated)
	},
	"its create call is open before it is sent": func(w *world) {
		placed := w.place(w.placement(bill1))
		k := w.key("by a call")
		o := w.add(w.sending(placed.No, inTime, k))
		w.same(w.order(o.No), o)
		if c := o.Calls; len(c) != 1 || c[0].Attempt != o.Attempts[1].No || c[0].Op != orders.OpCreate || c[0].Outcome != orders.OutcomeOpen || !c[0].SentAt.Equal(inTime) {
			w.Errorf("calls %+v", c)
		}
		row, err := w.stores[1].LookKey(w.ctx, k.Ref)
		if w.ok(err); row.Done || !row.LeaseUntil.Equal(k.LeaseUntil) || row.Fence != 0 || row.OrderNo != o.No || row.Fingerprint != k.Fingerprint {
			w.Errorf("key %+v", row)
		}
		f := finishing(orders.Placement{Key: k.Ref}, &o, 0, orders.OutcomeDone)
		f.QueryAt = inTime.Add(10 * time.Second)
		done, err := w.stores[0].FinishCreate(w.ctx, f)
		w.ok(err)
		w.same(w.order(o.No), done)
		w.answered(k, &done)
		if a := done.Attempts[1]; a.State != orders.AttemptPending || a.Redirect == nil || !a.QueryAt.Equal(f.QueryAt) {
			w.Errorf("attempt %+v", a)
		}
		w.told(o.No, orders.EventCreated, orders.EventPending)
	},
	"after a create that came to nothing": func(w *world) {
		for i, c := range []struct {
			ended  orders.Outcome
			state  orders.AttemptState
			events []orders.EventType
		}{
			{orders.OutcomeUnknown, orders.AttemptIntent, []orders.EventType{orders.EventCreated}},
			{orders.OutcomeNotSent, orders.AttemptIntent, []orders.EventType{orders.EventCreated}},
			{orders.OutcomeRefused, orders.AttemptFailed, []orders.EventType{orders.EventCreated, orders.EventFailed}},
		} {
			p := created(w.placement(fmt.Sprintf("H1212121%04d", i)))
			placed := w.place(p)
			a := w.leased(&placed, p, 0, inTime)
			a.Ended = c.ended
			o := w.add(a)
			w.same(w.order(o.No), o)
			if first := o.Attempts[0]; first.State != c.state || first.Abandoned == first.State.Ended() || o.Calls[0].Outcome != c.ended || !o.Calls[0].EndedAt.Equal(inTime) {
				w.Errorf("%s: attempt %+v, calls %+v", c.ended, first, o.Calls)
			}
			if len(o.Calls) != 2 || o.Calls[1].Outcome != orders.OutcomeOpen || o.Calls[1].Attempt != o.Attempts[1].No {
				w.Errorf("%s: calls %+v", c.ended, o.Calls)
			}
			if k, err := w.stores[1].LookKey(w.ctx, p.Key); err != nil || k.Done || k.Fence != 0 || !k.LeaseUntil.Equal(inTime.Add(lease)) {
				w.Errorf("%s: key %+v, %v", c.ended, k, err)
			}
			w.told(o.No, c.events...)
			w.finish(p, &o, 0, orders.OutcomeDone)
		}
	},
	"of a provider without a call, it answers the request": func(w *world) {
		p := created(w.placement(bill1))
		placed := w.place(p)
		a := w.addition(placed.No, inTime)
		a.Lease, a.Ended = &orders.Lease{Key: p.Key, Until: inTime.Add(lease)}, orders.OutcomeUnknown
		o := w.add(a)
		w.answered(&orders.NewKey{Ref: p.Key, Fingerprint: p.Fingerprint}, &o)
		w.told(o.No, orders.EventCreated, orders.EventPending)
		w.unchanged(a, orders.ErrFenced)
	},
	"fenced": func(w *world) {
		p := created(w.placement(bill1))
		o := w.place(p)
		w.unchanged(w.leased(&o, p, 1, inTime), orders.ErrFenced)
		foreign := w.place(w.placement(bill2))
		w.unchanged(w.leased(&foreign, p, 0, inTime), orders.ErrFenced)
		if k, err := w.stores[1].LookKey(w.ctx, p.Key); err != nil || !k.LeaseUntil.Equal(p.LeaseUntil) {
			w.Errorf("key %+v, %v: it was renewed", k, err)
		}
		done := w.finish(p, &o, 0, orders.OutcomeDone)
		w.unchanged(w.leased(&done, p, 0, inTime), orders.ErrFenced)
	},
	"not when another wrote the outcome": func(w *world) {
		p := created(w.placement(bill1))
		o := w.place(p)
		f := finishing(p, &o, 0, orders.OutcomeNotSent)
		f.Answer = nil
		_, err := w.stores[1].FinishCreate(w.ctx, f)
		w.ok(err)
		a := w.leased(&o, p, 0, inTime)
		a.Ended = orders.OutcomeUnknown
		w.unchanged(a, orders.ErrFenced)
	},
	"key taken": func(w *world) {
		o := w.place(w.placement(bill1))
		a := w.addition(o.No, inTime)
		a.Key = w.key("one")
		won := 0
		for _, err := range parallel(8, func(i int) error {
			_, err := w.store(i).AddAttempt(w.ctx, a)
			return err
		}) {
			if err == nil {
				won++
				continue
			}
			w.is(err, orders.ErrKeyTaken)
		}
		if o = w.order(o.No); won != 1 || len(o.Attempts) != 2 {
			w.Errorf("%d won, %d attempts", won, len(o.Attempts))
		}
		w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		w.unchanged(a, orders.ErrKeyTaken) // before every other conflict: the stored answer is the answer
	},
	"not beside a request under way": func(w *world) {
		placed := w.place(w.placement(bill1))
		k := w.key("first")
		o := w.add(w.sending(placed.No, inTime, k))
		second := w.addition(o.No, k.LeaseUntil.Add(-time.Millisecond))
		second.Key = w.key("second")
		w.unchanged(second, orders.ErrInFlight)
		w.unused(second.Key)
		second.Now = k.LeaseUntil // it died
		next := w.add(second)
		if len(next.Attempts) != 3 || !next.Attempts[1].Abandoned {
			w.Errorf("attempts %+v", next.Attempts)
		}
		w.unused(k)
		_, err := w.stores[0].FinishCreate(w.ctx, finishing(orders.Placement{Key: k.Ref}, &o, 0, orders.OutcomeDone))
		w.is(err, orders.ErrFenced)
		w.same(w.order(o.No), next)
	},
	"again after its own request died": func(w *world) {
		placed := w.place(w.placement(bill1))
		k := w.key("dying")
		w.add(w.sending(placed.No, inTime, k))
		w.unchanged(w.sending(placed.No, k.LeaseUntil.Add(-time.Millisecond), k), orders.ErrKeyTaken)
		foreign := *k
		foreign.Fingerprint[0]++
		w.unchanged(w.sending(placed.No, k.LeaseUntil, &foreign), orders.ErrKeyTaken)
		o := w.add(w.sending(placed.No, k.LeaseUntil, k))
		if len(o.Attempts) != 3 {
			w.Errorf("attempts %+v", o.Attempts)
		}
	},
	"not beside the request that places the order": func(w *world) {
		p := created(w.placement(bill1))
		o := w.place(p)
		a := w.addition(o.No, inTime)
		a.Key = w.key("impatient")
		w.unchanged(a, orders.ErrInFlight)
		a.Now = p.LeaseUntil.Add(2 * time.Minute) // whoever repeats it resumes it
		w.unchanged(a, orders.ErrInFlight)
		w.unused(a.Key)
	},
	"not beside a click's create call": func(w *world) {
		placed := w.place(w.placement(bill1))
		o := w.add(w.sending(placed.No, inTime, nil))
		late := inTime.Add(orders.CreateLife)
		w.unchanged(w.sending(placed.No, late.Add(-time.Millisecond), nil), orders.ErrInFlight)
		next := w.add(w.sending(placed.No, late, nil))
		f := finishing(orders.Placement{}, &o, 0, orders.OutcomeDone)
		f.Key, f.Answer = nil, nil
		done, err := w.stores[0].FinishCreate(w.ctx, f)
		w.ok(err)
		if a := done.Attempts[1]; a.Redirect != nil || !a.Abandoned || a.Refs["transactionId"] != "1" {
			w.Errorf("an overtaken attempt %+v", a)
		}
		f.Attempt = next.Current().No
		done, err = w.stores[0].FinishCreate(w.ctx, f)
		w.ok(err)
		if a := done.Attempts[2]; a.Redirect == nil || a.Abandoned || a.State != orders.AttemptPending {
			w.Errorf("attempt %+v", a)
		}
	},
	"no more than 99": func(w *world) {
		o := w.place(w.placement(bill1))
		for range orders.MaxAttempts - 1 {
			o = w.add(w.addition(o.No, inTime))
		}
		a := w.addition(o.No, inTime)
		a.Key = w.key("one too many")
		w.unchanged(a, orders.ErrTooManyAttempts)
		w.unused(a.Key)
		if o = w.order(o.No); len(o.Attempts) != 99 || o.Current().Ordinal != 99 {
			w.Errorf("%d attempts", len(o.Attempts))
		}
	},
	"many at once": func(w *world) {
		o := w.place(w.placement(bill1))
		for _, err := range parallel(12, func(i int) error {
			a := w.addition(o.No, inTime)
			a.Key = w.key(fmt.Sprint(i))
			_, err := w.store(i).AddAttempt(w.ctx, a)
			return err
		}) {
			w.ok(err)
		}
		o = w.order(o.No)
		for i, a := range o.Attempts {
			if a.Ordinal != i+1 || a.Abandoned != (i < 12) {
				w.Errorf("attempt %+v", a)
			}
		}
		if len(o.Attempts) != 13 || o.Version != 13 {
			w.Errorf("%d attempts, version %d", len(o.Attempts), o.Version)
		}
	},
	"only of an order that may be paid": func(w *world) {
		for name, c := range map[string]struct {
			before func(*orders.Order)
			now    time.Time
		}{
			"expired": {func(*orders.Order) {}, expiresAt},
			"paid":    {func(o *orders.Order) { w.apply(said(o, 1, orders.AttemptPaid, inTime)) }, inTime},
			"frozen":  {func(o *orders.Order) { w.apply(wrong(o, inTime)) }, inTime},
			"in doubt": {func(o *orders.Order) {
				_, err := w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
				w.ok(err)
			}, inTime},
			"cancelled": {func(o *orders.Order) {
				_, err := w.stores[0].Cancel(w.ctx, orders.Cancellation{Order: o.No, Now: inTime})
				w.ok(err)
			}, inTime},
			"to be cancelled": {func(o *orders.Order) {
				_, err := w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
				w.ok(err)
				_, err = w.stores[0].Cancel(w.ctx, orders.Cancellation{Order: o.No, Now: inTime})
				w.ok(err)
				w.ok(w.stores[0].FinishCall(w.ctx, orders.Call{Attempt: o.Attempts[0].No, Op: orders.OpConfirm, Ordinal: 1, Outcome: orders.OutcomeUnknown, EndedAt: inTime}))
			}, inTime},
			"its bill is taken": {func(o *orders.Order) { w.place(shift(w.placement(o.Lines[0].BillNo), 10*time.Minute)) }, inTime},
		} {
			o := w.place(w.placement(fmt.Sprintf("H5656565%04d", w.drawn.Load())))
			c.before(&o)
			a := w.addition(o.No, c.now)
			a.Key = w.key(name)
			before := w.order(o.No)
			if _, err := w.stores[1].AddAttempt(w.ctx, a); !errors.Is(err, orders.ErrNotPayable) {
				w.Errorf("%s: %v", name, err)
			}
			w.same(w.order(o.No), before)
			w.unused(a.Key)
		}
	},
	"commits nothing when the attempt cannot be made": func(w *world) {
		o := w.place(w.placement(bill1))
		broken := errors.New("broken")
		a := w.addition(o.No, inTime)
		a.Key = w.key("broken")
		a.Next = func(o *orders.Order) (orders.Attempt, error) {
			if !o.Attempts[0].Abandoned || len(o.Attempts) != 1 {
				w.Errorf("it is made from %+v", o.Attempts)
			}
			return orders.Attempt{}, broken
		}
		w.unchanged(a, broken)
		a = w.addition(o.No, inTime)
		a.Key = w.key("broken")
		a.Answer = func(*orders.Order) (int, []byte, error) { return 0, nil, broken }
		w.unchanged(a, broken)
		w.unused(a.Key)
	},
	"of nobody": func(w *world) {
		_, err := w.stores[0].AddAttempt(w.ctx, w.addition("2017061399999999", inTime))
		w.is(err, orders.ErrNotFound)
	},
}
