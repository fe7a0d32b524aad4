package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"pay.taipei/gateway/orders"
)

var settling = map[string]func(*world){
	"never handed out: expired by our clock": func(w *world) {
		o := w.place(clicked(w.placement(bill1)))
		_, err := w.stores[0].SettleNext(w.ctx, expiresAt.Add(-time.Millisecond))
		w.is(err, orders.ErrNothing)
		due, err := w.stores[1].NextDue(w.ctx)
		if w.ok(err); due.IsZero() || due.After(expiresAt) {
			w.Errorf("due at %v, want %v or before", due, expiresAt)
		}
		settled, err := w.stores[0].SettleNext(w.ctx, expiresAt)
		w.ok(err)
		w.same(w.order(o.No), settled)
		if b := w.book(o.No); b.Order.State != orders.OrderExpired || b.Order.Attempts[0].State != orders.AttemptExpired || b.Bills[bill1].Holder != "" {
			w.Errorf("book %+v", b)
		}
		w.told(o.No, orders.EventCreated, orders.EventExpired)
		_, err = w.stores[1].SettleNext(w.ctx, tooLate)
		w.is(err, orders.ErrNothing)
	},
	"handed out: waits for evidence": func(w *world) {
		o := w.place(w.placement(bill1))
		for { // a look at it may count as a unit; it must not go on for ever
			got, err := w.stores[0].SettleNext(w.ctx, tooLate)
			if errors.Is(err, orders.ErrNothing) {
				break
			}
			w.ok(err)
			if got.State != orders.OrderOpen {
				w.Fatalf("order %s", got.State)
			}
		}
		w.told(o.No, orders.EventCreated)
		e := said(&o, 1, orders.AttemptExpired, tooLate)
		e.Source, e.Purpose = orders.SourceQuery, orders.PurposeAfterDeadline
		if applied := w.apply(e); applied.Order.State != orders.OrderExpired {
			w.Errorf("applied %+v", applied)
		}
		w.told(o.No, orders.EventCreated, orders.EventExpired)
		w.place(shift(w.placement(bill1), time.Hour))
	},
	"failed before the end: expired at the end": func(w *world) {
		o := w.place(w.placement(bill1, bill2))
		w.apply(said(&o, 1, orders.AttemptFailed, inTime))
		_, err := w.stores[0].SettleNext(w.ctx, inTime)
		w.is(err, orders.ErrNothing)
		_, err = w.stores[0].SettleNext(w.ctx, expiresAt)
		w.ok(err)
		if b := w.book(o.No); b.Order.State != orders.OrderExpired || b.Bills[bill1].Holder != "" || b.Bills[bill2].Holder != "" {
			w.Errorf("book %+v", b)
		}
		w.told(o.No, orders.EventCreated, orders.EventFailed, orders.EventExpired)
	},
	"lets go only of its own": func(w *world) {
		first := w.place(clicked(w.placement(bill1, bill2)))
		second := w.place(shift(w.placement(bill2), 10*time.Minute))
		_, err := w.stores[0].SettleNext(w.ctx, expiresAt)
		w.ok(err)
		if b := w.book(first.No); b.Order.State != orders.OrderExpired || b.Bills[bill1].Holder != "" || b.Bills[bill2].Holder != second.No {
			w.Errorf("book %+v", b)
		}
	},
	"frozen and doubtful orders wait": func(w *world) {
		frozen := w.place(w.placement(bill1))
		w.apply(wrong(&frozen, inTime))
		w.apply(said(&frozen, 1, orders.AttemptFailed, inTime))
		doubtful := w.place(w.placement(bill2))
		_, err := w.stores[0].ClaimConfirm(w.ctx, doubtful.Attempts[0].No, inTime)
		w.ok(err)
		w.apply(said(&doubtful, 1, orders.AttemptCancelled, inTime))
		w.settle(tooLate)
		if a, b := w.order(frozen.No), w.order(doubtful.No); a.State != orders.OrderOpen || b.State != orders.OrderOpen {
			w.Fatalf("frozen %s, doubtful %s", a.State, b.State)
		}
		w.apply(said(&doubtful, 1, orders.AttemptFailed, tooLate))
		w.settle(tooLate)
		if b := w.order(doubtful.No); b.State != orders.OrderExpired {
			w.Errorf("the doubt is closed, and the order is %s", b.State)
		}
	},
	"each once, by many workers": func(w *world) {
		const n = 12
		var all []orders.Order
		for i := range n {
			all = append(all, w.place(clicked(w.placement(fmt.Sprintf("H8888888%04d", i)))))
		}
		var settled atomic.Int64
		for _, err := range parallel(4, func(i int) error {
			for {
				o, err := w.store(i).SettleNext(w.ctx, tooLate)
				if errors.Is(err, orders.ErrNothing) {
					return nil
				}
				if err != nil {
					return err
				}
				if o.State == orders.OrderExpired {
					settled.Add(1)
				}
			}
		}) {
			w.ok(err)
		}
		w.settle(tooLate) // a worker may have passed over what another held
		for _, o := range all {
			w.told(o.No, orders.EventCreated, orders.EventExpired)
		}
		if settled.Load() > n {
			w.Errorf("%d orders expired %d times", n, settled.Load())
		}
	},
}

// settle does all that time alone may do.
func (w *world) settle(now time.Time) {
	w.Helper()
	for {
		_, err := w.stores[0].SettleNext(w.ctx, now)
		if errors.Is(err, orders.ErrNothing) {
			return
		}
		w.ok(err)
	}
}

var querying = map[string]func(*world){
	"the most due first": func(w *world) {
		var attempts []orders.AttemptNo
		for i, minutes := range []time.Duration{3, 1, 2} {
			p := w.placement(fmt.Sprintf("H9999999%04d", i))
			p.Order.Attempts[0].QueryAt = tooLate.Add(minutes * time.Minute)
			attempts = append(attempts, w.place(p).Attempts[0].No)
		}
		w.idle(tooLate.Add(time.Minute - time.Millisecond))
		w.is(w.claims(tooLate.Add(time.Minute), attempts[1]), orders.ErrNothing)
		w.is(w.claims(tooLate.Add(3*time.Minute), attempts[2], attempts[0]), orders.ErrNothing)
	},
	"held for a lease": func(w *world) {
		o := w.place(w.placement(bill1))
		first := w.ask(tooLate)
		if first.Attempt != o.Attempts[0].No || first.Order.No != o.No || first.Asked != 0 {
			w.Errorf("work %+v", first)
		}
		w.idle(tooLate.Add(lease - time.Millisecond))
		second := w.ask(tooLate.Add(lease))
		if second.Attempt != first.Attempt || second.Fence == first.Fence {
			w.Errorf("work %+v after %+v", second, first)
		}
		zombie := w.stores[0].FinishQuery(w.ctx, first, tooLate.Add(lease), time.Time{})
		if zombie != nil && !errors.Is(zombie, orders.ErrFenced) {
			w.ok(zombie)
		}
		w.idle(tooLate.Add(lease + time.Second))
		w.ok(w.stores[1].FinishQuery(w.ctx, second, tooLate.Add(lease+time.Second), tooLate.Add(time.Hour)))
		w.idle(tooLate.Add(time.Hour - time.Millisecond))
		if third := w.ask(tooLate.Add(time.Hour)); third.Asked < 1 {
			w.Errorf("asked %d times before", third.Asked)
		}
	},
	"never again": func(w *world) {
		w.place(w.placement(bill1))
		work := w.ask(tooLate)
		w.ok(w.stores[0].FinishQuery(w.ctx, work, tooLate, time.Time{}))
		w.idle(tooLate.Add(1000 * time.Hour))
	},
	"not what never left us": func(w *world) {
		w.place(clicked(w.placement(bill1)))
		w.idle(tooLate)
	},
	"what may have left us": func(w *world) {
		o := w.place(created(w.placement(bill1)))
		if work := w.ask(tooLate); work.Attempt != o.Attempts[0].No {
			w.Errorf("work %+v", work)
		}
	},
	"what has left us since": func(w *world) {
		o := w.place(clicked(w.placement(bill1)))
		_, err := w.stores[0].Hand(w.ctx, orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: true, Now: inTime})
		w.ok(err)
		if work := w.ask(tooLate); work.Attempt != o.Attempts[0].No {
			w.Errorf("work %+v", work)
		}
	},
	"sooner when asked for, never later": func(w *world) {
		o := w.place(w.placement(bill1))
		due := func(at time.Time) { w.hint(&o, at) }
		w.idle(inTime)
		due(inTime.Add(time.Second))
		due(tooLate)
		w.idle(inTime.Add(time.Second - time.Millisecond))
		next, err := w.stores[1].NextQuery(w.ctx, account)
		if w.ok(err); !next.Equal(inTime.Add(time.Second)) {
			w.Errorf("due at %v, want %v", next, inTime.Add(time.Second))
		}
		w.ask(inTime.Add(time.Second))
	},
	"spaced from the last": func(w *world) {
		o := w.place(w.placement(bill1))
		w.hint(&o, inTime)
		work := w.ask(inTime)
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime, tooLate))
		w.hint(&o, inTime.Add(10*time.Second))
		w.idle(inTime.Add(time.Minute - time.Millisecond))
		w.ask(inTime.Add(time.Minute))
	},
	"asked for during a query": func(w *world) {
		o := w.place(w.placement(bill1))
		work := w.ask(tooLate)
		w.hint(&o, tooLate.Add(time.Second))
		w.idle(tooLate.Add(2 * time.Second)) // still claimed
		w.ok(w.stores[0].FinishQuery(w.ctx, work, tooLate.Add(2*time.Second), time.Time{}))
		w.ask(tooLate.Add(2*time.Second + time.Minute))
	},
	"each by one of many workers": func(w *world) {
		const n = 12
		for i := range n {
			w.place(w.placement(fmt.Sprintf("H1010101%04d", i)))
		}
		claimed := make([]int, 4)
		for _, err := range parallel(len(claimed), func(i int) error {
			for {
				work, err := w.store(i).ClaimQuery(w.ctx, account, tooLate, time.Hour, 0)
				if errors.Is(err, orders.ErrNothing) {
					return nil
				}
				if err != nil {
					return err
				}
				claimed[i]++
				if err := w.store(i).FinishQuery(w.ctx, work, tooLate, time.Time{}); err != nil {
					return err
				}
			}
		}) {
			w.ok(err)
		}
		total := 0
		for _, c := range claimed {
			total += c
		}
		for {
			work, err := w.stores[0].ClaimQuery(w.ctx, account, tooLate, time.Hour, 0)
			if errors.Is(err, orders.ErrNothing) {
				break
			}
			w.ok(err)
			total++
			w.ok(w.stores[0].FinishQuery(w.ctx, work, tooLate, time.Time{}))
		}
		if total != n {
			w.Errorf("%d queries claimed %d times", n, total)
		}
	},
	"nothing waits": func(w *world) {
		next, err := w.stores[0].NextDue(w.ctx)
		if w.ok(err); !next.IsZero() {
			w.Errorf("due at %v", next)
		}
		if next, err = w.stores[0].NextQuery(w.ctx, account); err != nil || !next.IsZero() {
			w.Errorf("query due at %v, %v", next, err)
		}
		w.idle(tooLate)
	},
	"of its own account only": func(w *world) {
		w.place(w.placement(bill1))
		_, err := w.stores[0].ClaimQuery(w.ctx, "another", tooLate, lease, 0)
		w.is(err, orders.ErrNothing)
		if next, err := w.stores[0].NextQuery(w.ctx, "another"); err != nil || !next.IsZero() {
			w.Errorf("due at %v, %v", next, err)
		}
		if accounts, err := w.stores[1].QueryAccounts(w.ctx); err != nil || !slices.Equal(accounts, []string{account}) {
			w.Errorf("accounts %v, %v", accounts, err)
		}
		w.ask(tooLate)
	},
	"at once for a fact, spaced for a hint": func(w *world) {
		o := w.place(w.placement(bill1))
		w.hint(&o, inTime)
		w.ok(w.stores[0].FinishQuery(w.ctx, w.ask(inTime), inTime, tooLate))
		e := said(&o, 1, orders.AttemptPending, inTime.Add(time.Second))
		e.Ask = true
		w.apply(e)
		work := w.ask(inTime.Add(time.Second))
		if work.Asked != 0 || work.Unproven != "" {
			w.Errorf("work %+v", work)
		}
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime.Add(time.Second), tooLate))
		w.hint(&o, inTime.Add(2*time.Second))
		w.idle(inTime.Add(time.Minute))
		work = w.ask(inTime.Add(time.Second + orders.HintSpacing))
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime.Add(2*time.Minute), tooLate))
		e.ReceivedAt = inTime.Add(2*time.Minute + time.Second)
		w.apply(e) // a repeat proves no more than a hint
		w.idle(inTime.Add(3*time.Minute - time.Millisecond))
		w.ask(inTime.Add(3 * time.Minute))
	},
	"a payer who comes back in the last moments is asked about in time": func(w *world) {
		o := w.place(w.placement(bill1))
		end := o.ExpiresAt
		w.hint(&o, end.Add(-40*time.Second))
		w.ok(w.stores[0].FinishQuery(w.ctx, w.ask(end.Add(-40*time.Second)), end.Add(-40*time.Second), tooLate))
		w.hint(&o, end.Add(-30*time.Second)) // not for a minute, but before the end
		w.idle(end.Add(-orders.LastAsk - time.Millisecond))
		w.ok(w.stores[0].FinishQuery(w.ctx, w.ask(end.Add(-orders.LastAsk)), end.Add(-orders.LastAsk), tooLate))
		w.hint(&o, end.Add(-5*time.Second))
		w.ok(w.stores[0].FinishQuery(w.ctx, w.ask(end.Add(-5*time.Second)), end.Add(-5*time.Second), tooLate))
		w.hint(&o, end.Add(time.Second)) // afterwards there is nothing to confirm
		w.idle(end.Add(55*time.Second - time.Millisecond))
		w.ask(end.Add(55 * time.Second))
	},
	"not before the provider wants to be asked": func(w *world) {
		o := w.place(w.placement(bill1))
		w.hint(&o, inTime)
		work := w.ask(inTime)
		work.NotBefore = inTime.Add(30 * time.Minute)
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime, tooLate))
		e := said(&o, 1, orders.AttemptPending, inTime.Add(time.Second))
		e.Ask = true
		w.apply(e)
		w.hint(&o, inTime.Add(5*time.Minute))
		w.idle(inTime.Add(30*time.Minute - time.Millisecond))
		w.ask(inTime.Add(30 * time.Minute))
	},
	"what may not stand alone is asked about until it is proven": func(w *world) {
		o := w.place(clicked(w.placement(bill1))) // even if we believe that no byte has left us
		e := said(&o, 1, orders.AttemptPaid, inTime)
		e.NeedsQuery = true
		w.apply(e)
		work := w.ask(inTime)
		if work.Unproven == "" {
			w.Fatalf("work %+v", work)
		}
		if g, err := w.stores[1].Gauges(w.ctx, nil); err != nil || g.Unproven != 1 || !g.OldestUnproven.Equal(inTime) {
			w.Errorf("gauges %+v, %v", g, err)
		}
		w.settle(expiresAt)
		if b := w.order(o.No); b.State != orders.OrderExpired || b.Attempts[0].QueryAt.IsZero() {
			w.Errorf("order %+v: our clock ends what never left us, and the question stays", b)
		}
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime, tooLate))
		if work = w.ask(tooLate); work.Unproven == "" {
			w.Fatalf("work %+v", work)
		}
		proof := said(&o, 1, orders.AttemptPaid, tooLate)
		proof.Source, proof.Purpose = orders.SourceQuery, orders.PurposeBeforePaid(work.Unproven)
		w.apply(proof)
		w.ok(w.stores[0].FinishQuery(w.ctx, work, tooLate, time.Time{}))
		if g, err := w.stores[1].Gauges(w.ctx, nil); err != nil || g.Unproven != 0 || !g.OldestUnproven.IsZero() {
			w.Errorf("gauges %+v, %v", g, err)
		}
		w.idle(tooLate.Add(1000 * time.Hour))
		w.hint(&o, tooLate.Add(1001*time.Hour))
		w.idle(tooLate.Add(2000 * time.Hour))
	},
	"what is proven while a refund keeps it asked": func(w *world) {
		o := w.place(w.placement(bill1))
		e := said(&o, 1, orders.AttemptPaid, inTime)
		e.NeedsQuery = true
		w.apply(e)
		work := w.ask(inTime)
		proof := said(&o, 1, orders.AttemptPaid, inTime)
		proof.Source, proof.Purpose = orders.SourceQuery, orders.PurposeBeforePaid(work.Unproven)
		w.apply(proof)
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime, inTime.Add(time.Second)))
		w.refund(&o, 1, "", twd(5), "part")
		w.send(inTime)
		if work = w.ask(tooLate); work.Unproven != "" {
			w.Errorf("work %+v: the next question is about the refund", work)
		}
	},
	"what has to be known now before what is only looked after": func(w *world) {
		routine := w.due(3)
		o := w.place(w.placement(bill1))
		e := said(&o, 1, orders.AttemptPaid, tooLate)
		e.NeedsQuery = true
		w.apply(e)
		w.is(w.claims(tooLate, o.Attempts[0].No, routine[0], routine[1], routine[2]), orders.ErrNothing)
	},
	"one of four turns for what is only looked after": func(w *world) {
		routine := w.due(2)
		var urgent []orders.AttemptNo
		for i := range 6 {
			o := w.place(w.placement(fmt.Sprintf("H2424242%04d", i)))
			e := said(&o, 1, orders.AttemptPaid, inTime.Add(time.Duration(i)*time.Millisecond))
			e.NeedsQuery = true
			w.apply(e)
			urgent = append(urgent, o.Attempts[0].No)
		}
		want := []orders.AttemptNo{urgent[0], urgent[1], urgent[2], routine[0], urgent[3], urgent[4], urgent[5], routine[1]}
		for i, no := range want {
			work, err := w.store(i).ClaimQuery(w.ctx, account, tooLate.Add(time.Duration(i)*time.Second), time.Hour, time.Second)
			if w.ok(err); work.Attempt != no {
				w.Fatalf("turn %d is of %s, want %s", i+1, work.Attempt, no)
			}
		}
	},
	"for a guess: one of an account and minute, the others later": func(w *world) {
		guess := func(o *orders.Order, at time.Time) time.Time {
			w.Helper()
			w.apply(orders.Evidence{Source: orders.SourceCallback, Account: account, AttemptNo: o.Attempts[0].No, Guessable: true, ReceivedAt: at})
			waiting, err := w.stores[1].Waiting(w.ctx, o.No)
			w.ok(err)
			return waiting.Queries[0].Due
		}
		var three []orders.Order
		for i := range 3 {
			p := w.placement(fmt.Sprintf("H2525252%04d", i))
			p.Order.Attempts[0].QueryAt = tooLate
			three = append(three, w.place(p))
		}
		for range 5 { // again and again takes no other turn
			for i := range three {
				if got, want := guess(&three[i], inTime), inTime.Add(time.Duration(i)*orders.HintSpacing); !got.Equal(want) {
					w.Errorf("guess %d is asked about at %v, want %v", i, got, want)
				}
			}
		}
		soon := w.placement("H26262626001")
		soon.Order.Attempts[0].QueryAt = inTime.Add(time.Second)
		o := w.place(soon)
		if got := guess(&o, inTime); !got.Equal(inTime.Add(time.Second)) {
			w.Errorf("what is due soon is asked about at %v", got)
		}
		p := w.placement("H26262626002")
		p.Order.Attempts[0].QueryAt = tooLate
		o = w.place(p)
		if got, want := guess(&o, inTime), inTime.Add(3*orders.HintSpacing); !got.Equal(want) {
			w.Errorf("the next guess is asked about at %v, want %v", got, want)
		}
		p = w.placement("H26262626003")
		p.Order.Attempts[0].QueryAt = tooLate
		o = w.place(p)
		if got := guess(&o, inTime.Add(time.Hour)); !got.Equal(inTime.Add(time.Hour)) {
			w.Errorf("after a while it is asked about at %v", got)
		}
	},
	"urgent once": func(w *world) {
		o := w.place(w.placement(bill1))
		e := said(&o, 1, orders.AttemptPending, inTime)
		e.Ask = true
		w.apply(e)
		w.ok(w.stores[0].FinishQuery(w.ctx, w.ask(inTime), inTime, tooLate))
		routine := w.due(1)
		w.is(w.claims(tooLate, routine[0], o.Attempts[0].No), orders.ErrNothing)
	},
	"for somebody who wants to know now": func(w *world) {
		o := w.place(w.placement(bill1))
		no := o.Attempts[0].No
		claim := func(at time.Time, spacing time.Duration) (orders.QueryWork, error) {
			return w.stores[1].ClaimAttempt(w.ctx, no, at, lease, 0, spacing)
		}
		work, err := claim(inTime, time.Minute)
		if w.ok(err); work.Attempt != no || work.Order.No != o.No || work.Asked != 0 {
			w.Errorf("work %+v", work)
		}
		_, err = claim(inTime.Add(time.Second), 0) // is being asked
		w.is(err, orders.ErrNothing)
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime.Add(time.Second), time.Time{}))
		if next, err := w.stores[0].NextQuery(w.ctx, account); err != nil || !next.Equal(o.Attempts[0].QueryAt) {
			w.Errorf("what was due before is due at %v, %v", next, err)
		}
		_, err = claim(inTime.Add(time.Minute), time.Minute) // was asked
		w.is(err, orders.ErrNothing)
		work, err = claim(inTime.Add(time.Second+time.Minute), time.Minute)
		w.ok(err)
		again := w.ask(inTime.Add(time.Second + time.Minute + lease)) // its worker died
		if again.Fence == work.Fence {
			w.Errorf("work %+v after %+v", again, work)
		}
		w.is(w.stores[0].FinishQuery(w.ctx, work, tooLate, time.Time{}), orders.ErrFenced)
	},
	"what was due is answered": func(w *world) {
		o := w.place(w.placement(bill1))
		work, err := w.stores[0].ClaimAttempt(w.ctx, o.Attempts[0].No, tooLate, lease, 0, 0)
		w.ok(err)
		w.ok(w.stores[0].FinishQuery(w.ctx, work, tooLate, tooLate.Add(time.Hour)))
		w.idle(tooLate.Add(time.Hour - time.Millisecond))
		w.ask(tooLate.Add(time.Hour))
	},
	"not even then what nobody can know": func(w *world) {
		o := w.place(clicked(w.placement(bill1)))
		_, err := w.stores[0].ClaimAttempt(w.ctx, o.Attempts[0].No, tooLate, lease, 0, 0)
		w.is(err, orders.ErrNothing)
		settled := w.paid(1, bill2)
		_, err = w.stores[0].ClaimAttempt(w.ctx, settled.Attempts[0].No, tooLate, lease, 0, 0)
		w.is(err, orders.ErrNothing)
		_, err = w.stores[0].ClaimAttempt(w.ctx, "201706139999999901", tooLate, lease, 0, 0)
		w.is(err, orders.ErrNotFound)
	},
	"from the moment it leaves us": func(w *world) {
		o := w.place(clicked(w.placement(bill1)))
		hand := func(at, first time.Time) {
			w.Helper()
			_, err := w.stores[0].Hand(w.ctx, orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: true, Now: at, QueryAt: first})
			w.ok(err)
		}
		hand(inTime, inTime.Add(10*time.Second))
		got := w.order(o.No).Attempts[0].QueryAt
		if !got.Equal(inTime.Add(10 * time.Second)) {
			w.Errorf("asked first at %v", got)
		}
		hand(inTime.Add(time.Second), inTime.Add(5*time.Second)) // a repeat changes nothing
		w.idle(inTime.Add(10*time.Second - time.Millisecond))
		w.ask(inTime.Add(10 * time.Second))
	},
	"and no later than was planned": func(w *world) {
		o := w.place(clicked(w.placement(bill1)))
		for _, first := range []time.Time{tooLate.Add(time.Hour), {}} {
			_, err := w.stores[0].Hand(w.ctx, orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: true, Now: inTime, QueryAt: first})
			w.ok(err)
			if got := w.order(o.No).Attempts[0].QueryAt; !got.Equal(o.Attempts[0].QueryAt) {
				w.Errorf("asked first at %v", got)
			}
		}
	},
}

// hint says something about an order's first attempt that proves nothing.
func (w *world) hint(o *orders.Order, at time.Time) {
	w.Helper()
	w.apply(orders.Evidence{Source: orders.SourceReturn, Account: account, AttemptNo: o.Attempts[0].No, ReceivedAt: at})
}

// ask claims the query that is due.
func (w *world) ask(now time.Time) orders.QueryWork {
	w.Helper()
	work, err := w.stores[0].ClaimQuery(w.ctx, account, now, lease, 0)
	w.ok(err)
	return work
}

// idle ends the case when a query is due.
func (w *world) idle(now time.Time) {
	w.Helper()
	_, err := w.stores[1].ClaimQuery(w.ctx, account, now, lease, 0)
	w.is(err, orders.ErrNothing)
}

// claims claims these attempts in turn and returns the error after the last.
func (w *world) claims(now time.Time, attempts ...orders.AttemptNo) error {
	w.Helper()
	for i, no := range attempts {
		work, err := w.store(i).ClaimQuery(w.ctx, account, now, time.Hour, 0)
		if w.ok(err); work.Attempt != no {
			w.Fatalf("claim %d is of %s, want %s", i, work.Attempt, no)
		}
	}
	_, err := w.stores[0].ClaimQuery(w.ctx, account, now, time.Hour, 0)
	return err
}
