package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

var applying = map[string]func(*world){
	"paid": func(w *world) {
		o := w.place(w.placement(bill1, bill2))
		applied := w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		if applied.Verdict != orders.VerdictApplied || !applied.Moved || applied.Repeat || !slices.Equal(applied.Events, []orders.EventType{orders.EventPaid}) {
			w.Errorf("applied %+v", applied)
		}
		b := w.book(o.No)
		w.same(b.Order, applied.Order)
		a := b.Order.Attempts[0]
		if b.Order.State != orders.OrderPaid || b.Order.Late || a.State != orders.AttemptPaid || !a.PaidAt.Equal(inTime) ||
			a.ProviderTradeNo != "T"+string(a.No) || a.Method != "deposit_account" || a.Refs["s"] != "paid" || a.Refs["k"] != "v" {
			w.Errorf("order %s, late %v, attempt %+v", b.Order.State, b.Order.Late, a)
		}
		if b.Bills[bill1].Paid != o.No || b.Bills[bill2].Paid != o.No {
			w.Errorf("bills %v", b.Bills)
		}
		w.told(o.No, orders.EventCreated, orders.EventPaid)
	},
	"a repeat moves nothing": func(w *world) {
		o := w.place(w.placement(bill1))
		e := said(&o, 1, orders.AttemptPaid, inTime)
		e.Nonce = "n-1"
		first := w.apply(e)
		for _, nonce := range []string{"n-1", "n-2", ""} {
			e.Nonce, e.ReceivedAt, e.Raw.Body = nonce, tooLate, []byte("other bytes")
			again := w.apply(e)
			if !again.Repeat || again.Moved || len(again.Events) != 0 || !again.Verdict.Applied() {
				w.Errorf("nonce %q: %+v", nonce, again)
			}
			w.same(again.Order, first.Order)
		}
		w.told(o.No, orders.EventCreated, orders.EventPaid)
	},
	"200 copies at once": func(w *world) {
		o := w.place(w.placement(bill1, bill2))
		moves, repeats := make([]bool, 200), make([]bool, 200)
		for _, err := range parallel(len(moves), func(i int) error {
			e := said(&o, 1, orders.AttemptPaid, inTime.Add(time.Duration(i)*time.Millisecond))
			e.Nonce = fmt.Sprintf("n-%d", i%150) // some deliveries are themselves repeated
			applied, err := w.store(i).Apply(w.ctx, e)
			moves[i], repeats[i] = applied.Moved, applied.Repeat
			if err == nil && applied.Order.State != orders.OrderPaid {
				err = fmt.Errorf("copy %d was acknowledged with the order %s", i, applied.Order.State)
			}
			return err
		}) {
			w.ok(err)
		}
		moved := 0
		for i := range moves {
			if moves[i] {
				moved++
			}
			if moves[i] == repeats[i] {
				w.Errorf("copy %d: moved %v, repeat %v", i, moves[i], repeats[i])
			}
		}
		if moved != 1 {
			w.Errorf("%d copies moved the order", moved)
		}
		w.told(o.No, orders.EventCreated, orders.EventPaid)
	},
	"different evidence at once": func(w *world) {
		o := w.place(w.placement(bill1, bill2))
		states := []orders.AttemptState{orders.AttemptPending, orders.AttemptCancelled, orders.AttemptExpired, orders.AttemptFailed, orders.AttemptPaid}
		for _, err := range parallel(40, func(i int) error {
			e := said(&o, 1, states[i%len(states)], inTime)
			e.Fact.Refs = map[string]string{"copy": fmt.Sprint(i)}
			_, err := w.store(i).Apply(w.ctx, e)
			return err
		}) {
			w.ok(err)
		}
		got := w.book(o.No)
		if got.Order.State != orders.OrderPaid || got.Order.Attempts[0].State != orders.AttemptPaid || len(got.Order.Surplus) != 0 || got.Bills[bill1].Paid != o.No {
			w.Errorf("book %+v", got)
		}
		if events := w.events(&got.Order); got.Order.Version != int64(len(events)) {
			w.Errorf("version %d after %v", got.Order.Version, events)
		}
	},
	"a nonce means one thing": func(w *world) {
		o := w.place(w.placement(bill1))
		pending := said(&o, 1, orders.AttemptPending, inTime)
		pending.Nonce = "n-1"
		w.apply(pending)
		paid := said(&o, 1, orders.AttemptPaid, inTime)
		paid.Nonce = "n-1"
		_, err := w.stores[1].Apply(w.ctx, paid)
		w.is(err, orders.ErrNonceReused)
		if got := w.order(o.No); got.State != orders.OrderOpen || got.Version != 1 {
			w.Errorf("a reused nonce moved the order: %+v", got)
		}
		pending.Nonce = "n-2"
		w.apply(pending)
		paid.Nonce = "n-2" // a nonce of a repeat is spent as well
		_, err = w.stores[1].Apply(w.ctx, paid)
		w.is(err, orders.ErrNonceReused)
		paid.Nonce = "n-3"
		if applied := w.apply(paid); !applied.Moved || applied.Repeat {
			w.Errorf("the refused evidence left a trace: %+v", applied)
		}
	},
	"nonces are the account's own": func(w *world) {
		o := w.place(w.placement(bill1))
		e := said(&o, 1, orders.AttemptPending, inTime)
		e.Nonce = "n-1"
		w.apply(e)
		e = said(&o, 1, orders.AttemptFailed, inTime)
		e.Account, e.Nonce = "bravobank-spare", "n-1"
		if applied := w.apply(e); applied.Verdict != orders.VerdictReview {
			w.Errorf("verdict %s", applied.Verdict)
		}
	},
	"one nonce for two meanings at once": func(w *world) {
		for round := range 20 {
			o := w.place(w.placement(fmt.Sprintf("H2222222%04d", round)))
			errs := parallel(2, func(i int) error {
				e := said(&o, 1, []orders.AttemptState{orders.AttemptFailed, orders.AttemptPaid}[i], inTime)
				e.Nonce = string(o.No)
				_, err := w.store(i).Apply(w.ctx, e)
				return err
			})
			if refused := errors.Is(errs[0], orders.ErrNonceReused); refused == errors.Is(errs[1], orders.ErrNonceReused) || errs[0] != nil && errs[1] != nil {
				w.Fatalf("errors %v, want exactly one %v", errs, orders.ErrNonceReused)
			}
		}
	},
	"a contradiction freezes": func(w *world) {
		o := w.place(w.placement(bill1))
		e := wrong(&o, inTime)
		applied := w.apply(e)
		if applied.Verdict != orders.VerdictReview || applied.Why != "amount" || applied.Moved {
			w.Errorf("applied %+v", applied)
		}
		again := w.apply(e)
		if !again.Repeat || again.Verdict != orders.VerdictReview || len(again.Events) != 0 {
			w.Errorf("again %+v", again)
		}
		w.told(o.No, orders.EventCreated, orders.EventReview)
		if b := w.book(o.No); !b.Order.Review || b.Payable(inTime) || b.Order.State != orders.OrderOpen || b.Bills[bill1].Paid != "" {
			w.Errorf("book %+v", b)
		}
		_, err := w.stores[0].Hand(w.ctx, orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: true, Now: inTime})
		w.is(err, orders.ErrNotPayable)
		_, err = w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
		w.is(err, orders.ErrNotPayable)
		w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		if got := w.order(o.No); got.State != orders.OrderPaid || !got.Review {
			w.Errorf("the genuine payment left the order %s, review %v", got.State, got.Review)
		}
	},
	"another merchant, environment, currency": func(w *world) {
		for i, change := range []func(*orders.Fact){
			func(f *orders.Fact) { f.PayeeMemberID = "1136548" },
			func(f *orders.Fact) { f.Environment = "demo" },
			func(f *orders.Fact) { a := money.Zero("USD"); f.Amount = &a },
		} {
			o := w.place(w.placement(fmt.Sprintf("H3333333%04d", i)))
			e := said(&o, 1, orders.AttemptPaid, inTime)
			change(e.Fact)
			if applied := w.apply(e); applied.Verdict != orders.VerdictReview || w.order(o.No).State != orders.OrderOpen {
				w.Errorf("%+v: %s", *e.Fact, applied.Verdict)
			}
		}
	},
	"waits for a query": func(w *world) {
		o := w.place(w.placement(bill1, bill2))
		e := said(&o, 1, orders.AttemptPaid, inTime)
		e.NeedsQuery = true
		if applied := w.apply(e); applied.Verdict != orders.VerdictNeedsQuery || applied.Moved || applied.Order.State != orders.OrderOpen {
			w.Fatalf("applied %+v", applied)
		}
		asked := said(&o, 1, orders.AttemptPaid, inTime)
		asked.Source, asked.Purpose = orders.SourceQuery, orders.PurposeBeforePaid("1")
		if applied := w.apply(asked); !applied.Moved || applied.Repeat {
			w.Errorf("the answer: %+v", applied)
		}
		if again := w.apply(e); again.Moved || !again.Verdict.Applied() {
			w.Errorf("the notice again: %+v", again)
		}
		w.told(o.No, orders.EventCreated, orders.EventPaid)
	},
	"what was not applied is folded again": func(w *world) {
		o := w.place(w.placement(bill1))
		e := said(&o, 1, orders.AttemptPaid, inTime)
		e.NeedsQuery = true
		w.apply(e)
		e.NeedsQuery = false // the account's rule has changed
		if applied := w.apply(e); !applied.Repeat || !applied.Moved || applied.Verdict != orders.VerdictApplied {
			w.Errorf("applied %+v", applied)
		}
		if applied := w.apply(e); !applied.Repeat || applied.Moved {
			w.Errorf("and once more: %+v", applied)
		}
		w.told(o.No, orders.EventCreated, orders.EventPaid)
	},
	"a hint is kept and believed nothing": func(w *world) {
		o := w.place(w.placement(bill1))
		e := said(&o, 1, orders.AttemptPaid, inTime)
		e.Source, e.Fact = orders.SourceReturn, nil
		if applied := w.apply(e); applied.Verdict != orders.VerdictHint || applied.Moved || applied.Order.No != o.No {
			w.Errorf("applied %+v", applied)
		}
		o.Attempts[0].QueryAt = inTime // but the provider is asked
		w.same(w.order(o.No), o)
	},
	"the newest pointer is kept": func(w *world) {
		o := w.place(w.placement(bill1))
		refs := maps.Clone(o.Attempts[0].Refs)
		e := said(&o, 1, orders.AttemptPaid, inTime)
		e.Fact = nil
		for _, p := range []struct {
			pointer   string
			guessable bool
			want      string
		}{{"T1", false, "T1"}, {"T2", false, "T2"}, {"T2", false, "T2"}, {"", false, "T2"}, {"T3", true, "T2"}, {"T1\x00", false, "T1\uFFFD"}} {
			e.Pointer, e.Guessable = p.pointer, p.guessable
			w.apply(e)
			got := w.order(o.No).Attempts[0]
			want := maps.Clone(refs)
			if want == nil {
				want = make(map[string]string)
			}
			want[orders.PointerRef] = p.want
			if !maps.Equal(got.Refs, want) || got.State != orders.AttemptPending {
				w.Errorf("after %q: %v, %s", p.pointer, got.Refs, got.State)
			}
		}
		w.told(o.No, orders.EventCreated)
	},
	"late": func(w *world) {
		o := w.place(w.placement(bill1))
		w.apply(said(&o, 1, orders.AttemptFailed, inTime))
		_, err := w.stores[0].SettleNext(w.ctx, tooLate)
		w.ok(err)
		applied := w.apply(said(&o, 1, orders.AttemptPaid, tooLate))
		if !applied.Order.Late || applied.Order.State != orders.OrderPaid {
			w.Errorf("order %+v", applied.Order)
		}
		w.same(w.order(o.No), applied.Order)
		w.told(o.No, orders.EventCreated, orders.EventFailed, orders.EventExpired, orders.EventPaid)
		_, err = w.stores[1].Place(w.ctx, shift(w.placement(bill1), 2*time.Hour))
		w.billError(err, bill1, true)
	},
	"surplus over two orders": func(w *world) {
		first := w.place(w.placement(bill1, bill2))
		second := w.place(shift(w.placement(bill2, bill3), 20*time.Minute))
		if late := w.apply(said(&first, 1, orders.AttemptPaid, tooLate)); !late.Order.Late || len(late.Order.Surplus) != 0 {
			w.Fatalf("the first order %+v", late.Order)
		}
		now := second.CreatedAt.Add(time.Minute)
		if b := w.book(second.No); b.Payable(now) || b.Bills[bill2].Holder != second.No || b.Bills[bill2].Paid != first.No {
			w.Errorf("the second order's bills %v", b.Bills)
		}
		_, err := w.stores[1].Hand(w.ctx, orders.Handing{Order: second.No, Attempt: second.Attempts[0].No, Again: true, Now: now})
		w.is(err, orders.ErrNotPayable)
		_, err = w.stores[1].ClaimConfirm(w.ctx, second.Attempts[0].No, now)
		w.is(err, orders.ErrNotPayable)
		paid := w.apply(said(&second, 1, orders.AttemptPaid, now))
		if !slices.Equal(paid.Events, []orders.EventType{orders.EventPaid, orders.EventSurplus}) {
			w.Errorf("events %v", paid.Events)
		}
		b := w.book(second.No)
		w.same(b.Order, paid.Order)
		want := orders.Surplus{Attempt: second.Attempts[0].No, BillNo: bill2, Amount: twd(20), Refunded: twd(0)}
		if len(b.Order.Surplus) != 1 || b.Order.Surplus[0] != want || b.Bills[bill2].Paid != first.No || b.Bills[bill3].Paid != second.No {
			w.Errorf("surplus %+v, bills %v", b.Order.Surplus, b.Bills)
		}
		w.told(second.No, orders.EventCreated, orders.EventPaid, orders.EventSurplus)
		g, err := w.stores[1].Gauges(w.ctx, nil)
		if w.ok(err); g.SurplusOpen != 1 {
			w.Errorf("%d surplus rows open", g.SurplusOpen)
		}
	},
	"two orders paid at once for one bill": func(w *world) {
		for round := range 20 {
			bill := fmt.Sprintf("H4444444%04d", round)
			pair := [2]orders.Order{w.place(w.placement(bill, bill+"1")), w.place(shift(w.placement(bill, bill+"2"), time.Hour))}
			for _, err := range parallel(2, func(i int) error {
				_, err := w.store(i+round).Apply(w.ctx, said(&pair[i], 1, orders.AttemptPaid, tooLate))
				return err
			}) {
				w.ok(err)
			}
			first, second := w.book(pair[0].No), w.book(pair[1].No)
			if first.Order.State != orders.OrderPaid || second.Order.State != orders.OrderPaid || len(first.Order.Surplus)+len(second.Order.Surplus) != 1 {
				w.Fatalf("%+v\n%+v", first, second)
			}
			if payer := first.Bills[bill].Paid; payer != pair[0].No && payer != pair[1].No || payer != second.Bills[bill].Paid {
				w.Fatalf("the bill is paid by %q", payer)
			}
		}
	},
	"the first 20 refusals of a minute and the rest": func(w *world) {
		o := w.place(w.placement(bill1))
		for i := range 25 {
			w.ok(w.store(i).Refuse(w.ctx, orders.Refusal{
				Account: account, Reason: "signature", ReceivedAt: inTime.Add(time.Duration(i) * time.Second),
				Raw: orders.Raw{Line: "POST /callbacks/bravobank-main", Body: []byte("\x00\xff not UTF-8")},
			}))
		}
		w.ok(w.stores[0].Refuse(w.ctx, orders.Refusal{ReceivedAt: inTime}))
		w.same(w.order(o.No), o)
	},
	"refusals at once": func(w *world) {
		for _, err := range parallel(60, func(i int) error {
			return w.store(i).Refuse(w.ctx, orders.Refusal{Account: account, Reason: "signature", ReceivedAt: inTime})
		}) {
			w.ok(err)
		}
	},
}

var orphans = map[string]func(*world){
	"of a foreign currency holds up nobody": func(w *world) {
		o := w.place(w.placement(bill1))
		foreign := said(&o, 1, orders.AttemptPaid, inTime)
		foreign.AttemptNo, foreign.Fact.Amount = "201706139999999901", &money.Amount{}
		w.apply(foreign)
		found, err := w.stores[0].ClaimOrphan(w.ctx, inTime, placedAt)
		w.ok(err)
		if found.Fact == nil || found.Fact.Amount == nil || *found.Fact.Amount != (money.Amount{}) || found.Digest() != foreign.Digest() {
			w.Errorf("found %+v", found)
		}
	},
	"placed, then found": func(w *world) {
		p := w.placement(bill1)
		e := said(&p.Order, 1, orders.AttemptPaid, inTime)
		e.Nonce = "n-1"
		applied := w.apply(e)
		if applied.Verdict != orders.VerdictOrphan || applied.Moved || applied.Order.No != "" {
			w.Fatalf("applied %+v", applied)
		}
		w.orphans(1)
		w.place(p)
		found, err := w.stores[1].ClaimOrphan(w.ctx, inTime.Add(time.Minute), inTime.Add(-time.Hour))
		w.ok(err)
		if found.Digest() != e.Digest() || found.Nonce != e.Nonce || !found.ReceivedAt.Equal(e.ReceivedAt) || found.Raw.Line != e.Raw.Line ||
			found.Raw.Header != e.Raw.Header || !bytes.Equal(found.Raw.Body, e.Raw.Body) {
			w.Errorf("found %+v, want %+v", found, e)
		}
		if applied := w.apply(found); !applied.Moved || applied.Order.State != orders.OrderPaid {
			w.Errorf("applied %+v", applied)
		}
		w.orphans(0)
		_, err = w.stores[1].ClaimOrphan(w.ctx, tooLate, inTime.Add(-time.Hour))
		w.is(err, orders.ErrNothing)
		w.told(p.Order.No, orders.EventCreated, orders.EventPaid)
	},
	"placed, then delivered again": func(w *world) {
		p := w.placement(bill1)
		e := said(&p.Order, 1, orders.AttemptPaid, inTime)
		w.apply(e)
		w.place(p)
		if applied := w.apply(e); !applied.Repeat || !applied.Moved || applied.Order.State != orders.OrderPaid {
			w.Errorf("applied %+v", applied)
		}
		w.orphans(0)
	},
	"once a minute, for as long as asked": func(w *world) {
		p := w.placement(bill1)
		w.apply(said(&p.Order, 1, orders.AttemptPaid, inTime))
		at := inTime.Add(time.Minute)
		claim := func(at time.Time) error {
			e, err := w.stores[1].ClaimOrphan(w.ctx, at, inTime.Add(-time.Second))
			if err == nil {
				w.apply(e) // still nobody's
			}
			return err
		}
		w.ok(claim(at))
		w.is(claim(at.Add(59*time.Second)), orders.ErrNothing)
		w.ok(claim(at.Add(time.Minute)))
		_, err := w.stores[1].ClaimOrphan(w.ctx, tooLate, inTime.Add(time.Second))
		w.is(err, orders.ErrNothing)
		w.orphans(0) // it has retired, and is kept
	},
	"of no number at all": func(w *world) {
		p := w.placement(bill1)
		e := said(&p.Order, 1, orders.AttemptPaid, inTime)
		for i, no := range []orders.AttemptNo{"", "x", orders.AttemptNo(p.Order.No), "20991231000000000001"} {
			e.AttemptNo = no
			if applied := w.apply(e); applied.Verdict != orders.VerdictOrphan {
				w.Errorf("%q: %+v", no, applied)
			}
			w.orphans(int64(i + 1))
		}
	},
	"of an attempt that was not made": func(w *world) {
		o := w.place(w.placement(bill1))
		e := said(&o, 1, orders.AttemptPaid, inTime)
		e.AttemptNo = w.attempt(&o, 2).No
		if applied := w.apply(e); applied.Verdict != orders.VerdictOrphan {
			w.Errorf("applied %+v", applied)
		}
		w.same(w.order(o.No), o)
	},
}

// orphans ends the case when the store does not count n orphans.
func (w *world) orphans(n int64) {
	w.Helper()
	g, err := w.stores[1].Gauges(w.ctx, nil)
	if w.ok(err); g.Orphans != n {
		w.Fatalf("%d orphans, want %d", g.Orphans, n)
	}
}

var handing = map[string]func(*world){
	"first and repeated": func(w *world) {
		placed := w.place(clicked(w.placement(bill1)))
		o, err := w.stores[0].Hand(w.ctx, orders.Handing{Order: placed.No, Attempt: placed.Attempts[0].No, Again: true, Now: inTime})
		w.ok(err)
		w.same(w.order(o.No), o)
		if a := o.Attempts[0]; a.State != orders.AttemptPending || !a.HandedAt.Equal(inTime) {
			w.Errorf("attempt %+v", a)
		}
		repeat, err := w.stores[1].Hand(w.ctx, orders.Handing{Order: placed.No, Attempt: placed.Attempts[0].No, Again: true, Now: inTime.Add(time.Minute)})
		w.ok(err)
		w.same(repeat, o)
		w.told(o.No, orders.EventCreated, orders.EventPending)
	},
	"many at once": func(w *world) {
		o := w.place(clicked(w.placement(bill1)))
		for _, err := range parallel(24, func(i int) error {
			_, err := w.store(i).Hand(w.ctx, orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: true, Now: inTime})
			return err
		}) {
			w.ok(err)
		}
		w.told(o.No, orders.EventCreated, orders.EventPending)
	},
	"not payable": func(w *world) {
		for name, c := range map[string]struct {
			before func(o *orders.Order)
			now    time.Time
		}{
			"at its end": {func(*orders.Order) {}, expiresAt},
			"paid":       {func(o *orders.Order) { w.apply(said(o, 1, orders.AttemptPaid, inTime)) }, inTime},
			"frozen":     {func(o *orders.Order) { w.apply(wrong(o, inTime)) }, inTime},
			"its bill taken": {func(o *orders.Order) {
				w.place(shift(w.placement(o.Lines[0].BillNo), time.Hour))
			}, inTime},
			"its bill paid by the taker": {func(o *orders.Order) {
				taker := w.place(shift(w.placement(o.Lines[0].BillNo), time.Hour))
				w.apply(said(&taker, 1, orders.AttemptPaid, tooLate))
			}, inTime},
			"its bill paid by the order it was taken from": {func(o *orders.Order) {
				*o = w.place(clicked(shift(w.placement(o.Lines[0].BillNo), time.Hour)))
				first, err := w.stores[0].OrderByReference(w.ctx, client, "first "+o.Lines[0].BillNo)
				w.ok(err)
				w.apply(said(&first, 1, orders.AttemptPaid, tooLate))
			}, tooLate},
		} {
			bill := fmt.Sprintf("H5555555%04d", w.drawn.Load())
			p := clicked(w.placement(bill))
			p.Order.ClientReference = "first " + bill
			o := w.place(p)
			c.before(&o)
			want := w.order(o.No)
			if _, err := w.stores[1].Hand(w.ctx, orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: true, Now: c.now}); !errors.Is(err, orders.ErrNotPayable) {
				w.Errorf("%s: %v", name, err)
			}
			w.same(w.order(o.No), want)
		}
	},
	"a number for one visit": func(w *world) {
		o := w.place(clicked(w.placement(bill1)))
		won := 0
		for _, err := range parallel(8, func(i int) error {
			_, err := w.store(i).Hand(w.ctx, orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: false, Now: inTime})
			return err
		}) {
			if err == nil {
				won++
				continue
			}
			w.is(err, orders.ErrNotPayable)
		}
		if won != 1 {
			w.Errorf("it left us %d times", won)
		}
	},
	"not while another confirm is in doubt": func(w *world) {
		p := created(w.placement(bill1))
		w.place(p)
		o, fence, err := w.resume(p, p.LeaseUntil)
		w.ok(err)
		_, err = w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
		w.ok(err)
		_, err = w.stores[1].ClaimConfirm(w.ctx, o.Attempts[1].No, inTime)
		w.is(err, orders.ErrNotPayable)
		f := finishing(p, &o, fence, orders.OutcomeDone)
		f.Attempt = o.Attempts[1].No
		if o, err = w.stores[0].FinishCreate(w.ctx, f); err != nil || o.Attempts[1].Redirect != nil {
			w.Errorf("%+v, %v: a redirect leaves while money may have moved", o.Attempts[1], err)
		}
		_, err = w.stores[0].Hand(w.ctx, orders.Handing{Order: o.No, Attempt: o.Attempts[1].No, Again: true, Now: inTime})
		w.is(err, orders.ErrNotPayable)
	},
	"nobody's": func(w *world) {
		o := w.place(clicked(w.placement(bill1)))
		_, err := w.stores[0].Hand(w.ctx, orders.Handing{Order: "2017061399999999", Attempt: o.Attempts[0].No, Again: true, Now: inTime})
		w.is(err, orders.ErrNotFound)
		_, err = w.stores[0].Hand(w.ctx, orders.Handing{Order: o.No, Attempt: w.attempt(&o, 2).No, Again: true, Now: inTime})
		w.is(err, orders.ErrNotFound)
	},
}

var calling = map[string]func(*world){
	"claimed before it is sent": func(w *world) {
		o := w.place(w.placement(bill1))
		call, err := w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
		w.ok(err)
		if call.Attempt != o.Attempts[0].No || call.Op != orders.OpConfirm || call.Ordinal != 1 || !call.SentAt.Equal(inTime) || call.Outcome != orders.OutcomeOpen {
			w.Errorf("call %+v", call)
		}
		got := w.order(o.No)
		if len(got.Calls) != 1 || got.Calls[0].Op != orders.OpConfirm || !got.Doubt() {
			w.Errorf("calls %+v, doubt %v", got.Calls, got.Doubt())
		}
		g, err := w.stores[1].Gauges(w.ctx, nil)
		if w.ok(err); g.Doubts != 1 {
			w.Errorf("%d doubts", g.Doubts)
		}
		w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		g, err = w.stores[1].Gauges(w.ctx, nil)
		w.ok(err)
		if got = w.order(o.No); g.Doubts != 0 || got.Doubt() {
			w.Errorf("%d doubts after the payment, of the order %v", g.Doubts, got.Doubt())
		}
	},
	"only a proven not-sent frees the next": func(w *world) {
		for i, c := range []struct {
			outcome orders.Outcome
			free    bool
		}{
			{orders.OutcomeOpen, false}, {orders.OutcomeUnknown, false}, {orders.OutcomeDone, false},
			{orders.OutcomeRefused, false}, {orders.OutcomeNotSent, true},
		} {
			o := w.place(w.placement(fmt.Sprintf("H6666666%04d", i)))
			call, err := w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
			w.ok(err)
			if c.outcome != orders.OutcomeOpen {
				call.Outcome, call.EndedAt = c.outcome, inTime.Add(time.Second)
				w.ok(w.stores[0].FinishCall(w.ctx, call))
			}
			next, err := w.stores[1].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime.Add(time.Minute))
			if c.free {
				if w.ok(err); next.Ordinal != 2 {
					w.Errorf("ordinal %d", next.Ordinal)
				}
			} else if !errors.Is(err, orders.ErrCallExists) {
				w.Errorf("after %q: %v, want %v", c.outcome, err, orders.ErrCallExists)
			}
		}
	},
	"one of many": func(w *world) {
		o := w.place(w.placement(bill1))
		won := 0
		for _, err := range parallel(24, func(i int) error {
			_, err := w.store(i).ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
			return err
		}) {
			if err == nil {
				won++
				continue
			}
			w.is(err, orders.ErrCallExists)
		}
		if won != 1 || len(w.order(o.No).Calls) != 1 {
			w.Errorf("%d workers may send, calls %+v", won, w.order(o.No).Calls)
		}
	},
	"a confirm only while payable": func(w *world) {
		o := w.place(w.placement(bill1))
		_, err := w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, expiresAt)
		w.is(err, orders.ErrNotPayable)
		w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		_, err = w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
		w.is(err, orders.ErrNotPayable)
		if got := w.order(o.No); len(got.Calls) != 0 {
			w.Errorf("calls %+v", got.Calls)
		}
	},
	"not of what has ended": func(w *world) {
		for i, s := range []orders.AttemptState{orders.AttemptCancelled, orders.AttemptExpired, orders.AttemptFailed} {
			o := w.place(w.placement(fmt.Sprintf("H6666666%04d", i)))
			w.apply(said(&o, 1, s, inTime))
			_, err := w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
			w.is(err, orders.ErrNotPayable)
		}
	},
	"of nobody": func(w *world) {
		_, err := w.stores[0].ClaimConfirm(w.ctx, "201706139999999901", inTime)
		w.is(err, orders.ErrNotFound)
	},
	"an outcome once known stays": func(w *world) {
		outcomes := []orders.Outcome{orders.OutcomeUnknown, orders.OutcomeDone, orders.OutcomeRefused, orders.OutcomeNotSent}
		for i, first := range outcomes {
			for j, second := range outcomes {
				o := w.place(w.placement(fmt.Sprintf("H777777%d%04d", i, j)))
				call, err := w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
				w.ok(err)
				for k, outcome := range []orders.Outcome{first, second} {
					call.Outcome, call.EndedAt = outcome, inTime.Add(time.Duration(k+1)*time.Second)
					if err := w.store(k).FinishCall(w.ctx, call); err != nil && k == 0 {
						w.ok(err)
					}
				}
				want := first
				if first == orders.OutcomeUnknown && second != orders.OutcomeNotSent { // what may have been sent is never proven unsent later
					want = second
				}
				if got := w.order(o.No).Calls[0].Outcome; got != want {
					w.Errorf("%s, then %s: %s, want %s", first, second, got, want)
				}
			}
		}
	},
}
