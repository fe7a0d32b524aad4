package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pay.taipei/gateway/orders"
)

var numbers = map[string]func(*world){
	"of the day, from the second on": func(w *world) {
		for _, at := range []time.Time{placedAt, placedAt.Add(15*time.Hour - time.Millisecond), placedAt.Add(15 * time.Hour)} {
			no, err := w.open().DrawOrderNo(w.ctx, at) // a process that starts then
			w.ok(err)
			first, err := orders.NewOrderNo(orders.Day(at), orders.FirstSerial(at))
			w.ok(err)
			if no < first || string(no[:8]) != orders.Day(at) {
				w.Errorf("at %v: %s, want %s or more", at, no, first)
			}
		}
	},
	"unique over processes, around midnight": func(w *world) {
		midnight := placedAt.Add(15 * time.Hour)
		var seen sync.Map
		for _, err := range parallel(8, func(i int) error {
			s := w.store(i)
			if i >= 6 {
				s = w.open() // a process that comes later
			}
			for j := range 100 {
				at := midnight.Add(time.Duration((j+i)%3-1) * time.Second)
				no, err := s.DrawOrderNo(w.ctx, at)
				if err != nil {
					return err
				}
				if _, twice := seen.LoadOrStore(no, true); twice {
					return fmt.Errorf("%s was drawn twice", no)
				}
				if string(no[:8]) != orders.Day(at) {
					return fmt.Errorf("%s was drawn at %v", no, at)
				}
			}
			return nil
		}) {
			w.ok(err)
		}
	},
	"never again after a lost database": func(w *world) {
		lost := map[orders.OrderNo]bool{}
		for range 500 {
			no, err := w.stores[0].DrawOrderNo(w.ctx, placedAt)
			w.ok(err)
			lost[no] = true
		}
		second, err := orders.NewOrderNo(orders.Day(placedAt), orders.FirstSerial(placedAt.Add(time.Second)))
		w.ok(err)
		for no := range lost {
			if no >= second {
				w.Fatalf("%s reaches into the next second, which begins at %s", no, second)
			}
		}
	},
}

var placing = map[string]func(*world){
	"reads back everything": func(w *world) {
		p := w.placement(bill1, bill2)
		o := w.place(p)
		want := p.Order
		want.Version = 1
		w.same(o, want)
		w.same(w.order(o.No), want)
		byReference, err := w.stores[1].OrderByReference(w.ctx, client, p.Order.ClientReference)
		w.ok(err)
		w.same(byReference, want)
		b := w.book(o.No)
		w.same(b.Order, want)
		if len(b.Bills) != 2 || b.Bills[bill1] != (orders.Bill{Holder: o.No}) || b.Bills[bill2] != (orders.Bill{Holder: o.No}) {
			w.Errorf("bills %v", b.Bills)
		}
		no, err := w.stores[1].OrderByPayToken(w.ctx, p.Order.PayToken)
		if w.ok(err); no != o.No {
			w.Errorf("the pay token is of %s", no)
		}
		attempt, err := w.stores[1].AttemptByToken(w.ctx, p.Order.Attempts[0].Token)
		if w.ok(err); attempt != o.Attempts[0].No {
			w.Errorf("the attempt token is of %s", attempt)
		}
		w.told(o.No, orders.EventCreated)
	},
	"keeps times to the millisecond": func(w *world) {
		p := w.placement(bill1)
		p.Order.CreatedAt = placedAt.Add(123_456_789).In(orders.Taipei)
		o := w.place(p)
		for _, got := range []orders.Order{o, w.order(o.No)} {
			if want := placedAt.Add(123 * time.Millisecond); !got.CreatedAt.Equal(want) {
				w.Errorf("created at %v, want %v", got.CreatedAt, want)
			}
		}
	},
	"sets what is the store's to set": func(w *world) {
		p := w.placement(bill1)
		p.Order.State, p.Order.Version, p.Order.Late, p.Order.Review = orders.OrderPaid, 7, true, true
		p.Order.Surplus = []orders.Surplus{{Attempt: p.Order.Attempts[0].No, BillNo: bill1, Amount: twd(20), Refunded: twd(0)}}
		p.Order.Calls = []orders.Call{{Attempt: p.Order.Attempts[0].No, Op: orders.OpConfirm, Ordinal: 1}}
		o := w.order(w.place(p).No)
		if o.State != orders.OrderOpen || o.Version != 1 || o.Late || o.Review || len(o.Surplus) != 0 || len(o.Calls) != 0 {
			w.Errorf("order %+v", o)
		}
	},
	"keeps the answer's bytes": func(w *world) {
		p := w.placement(bill1)
		o := w.place(p)
		k, err := w.stores[1].LookKey(w.ctx, p.Key)
		w.ok(err)
		_, body, _ := answer(&o)
		if !k.Done || k.Status != 201 || string(k.Answer) != string(body) || k.OrderNo != o.No || k.Fingerprint != p.Fingerprint || k.Fence != 0 {
			w.Errorf("key %+v, want the answer %q", k, body)
		}
	},
	"commits nothing when the answer cannot be worded": func(w *world) {
		p := w.placement(bill1)
		broken := errors.New("broken")
		p.Answer = func(*orders.Order) (int, []byte, error) { return 0, nil, broken }
		_, err := w.stores[0].Place(w.ctx, p)
		w.is(err, broken)
		w.nothingOf(p)
		p.Answer = answer
		w.place(p)
	},
	"commits nothing when the caller is gone": func(w *world) {
		p := w.placement(bill1)
		gone, cancel := context.WithCancel(w.ctx)
		cancel()
		_, err := w.stores[0].Place(gone, p)
		w.is(err, orders.ErrUnavailable)
		w.nothingOf(p)
	},
	"leaves the key running before a create call": func(w *world) {
		p := created(w.placement(bill1))
		o := w.place(p)
		k, err := w.stores[1].LookKey(w.ctx, p.Key)
		w.ok(err)
		if k.Done || !k.LeaseUntil.Equal(p.LeaseUntil) || k.Fence != 0 || k.OrderNo != o.No {
			w.Errorf("key %+v", k)
		}
		for _, got := range []orders.Order{o, w.order(o.No)} {
			if len(got.Calls) != 1 {
				w.Fatalf("calls %+v", got.Calls)
			}
			if c := got.Calls[0]; c.Attempt != o.Attempts[0].No || c.Op != orders.OpCreate || c.Ordinal != 1 || c.Outcome != orders.OutcomeOpen || c.SentAt.IsZero() {
				w.Errorf("call %+v", c)
			}
			if got.Doubt() || got.Attempts[0].State != orders.AttemptIntent {
				w.Errorf("a create is no money call: %+v", got)
			}
		}
	},
	"key taken comes before every other conflict": func(w *world) {
		p := w.placement(bill1)
		o := w.place(p)
		repeat := w.placement(bill1)
		repeat.Key, repeat.Order.ClientReference = p.Key, p.Order.ClientReference
		_, err := w.stores[1].Place(w.ctx, repeat)
		w.is(err, orders.ErrKeyTaken)
		w.nothingOf(orders.Placement{Key: orders.KeyRef{ClientID: "nobody"}, Order: repeat.Order})
		w.told(o.No, orders.EventCreated)
	},
	"the same key of another client or route is another key": func(w *world) {
		p := w.placement(bill1)
		w.place(p)
		q := w.placement(bill2)
		q.Key = orders.KeyRef{ClientID: client, Route: "POST /v1/other", Key: p.Key.Key}
		w.place(q)
		r := w.placement(bill3)
		r.Key, r.Order.ClientID = orders.KeyRef{ClientID: "other", Route: route, Key: p.Key.Key}, "other"
		w.place(r)
	},
	"one key, many requests at once": func(w *world) {
		const n = 24
		placements := make([]orders.Placement, n)
		for i := range placements {
			placements[i] = w.placement(bill1, bill2)
			placements[i].Key, placements[i].Order.ClientReference = placements[0].Key, placements[0].Order.ClientReference
		}
		won := 0
		for _, err := range parallel(n, func(i int) error {
			_, err := w.store(i).Place(w.ctx, placements[i])
			return err
		}) {
			if err == nil {
				won++
				continue
			}
			w.is(err, orders.ErrKeyTaken)
		}
		if won != 1 {
			w.Fatalf("%d requests placed an order", won)
		}
		if k, err := w.stores[0].LookKey(w.ctx, placements[0].Key); err != nil || !k.Done {
			w.Errorf("key %+v, %v", k, err)
		}
		if feed := w.feed(client); len(feed) != 1 {
			w.Errorf("%d events", len(feed))
		}
	},
	"reference used": func(w *world) {
		p := w.placement(bill1)
		w.place(p)
		q := w.placement(bill2)
		q.Order.ClientReference = p.Order.ClientReference
		_, err := w.stores[1].Place(w.ctx, q)
		w.is(err, orders.ErrReferenceUsed)
		w.nothingOf(q)
		w.place(w.placement(bill2)) // the bill was not held
		r := w.placement(bill3)
		r.Order.ClientReference, r.Order.ClientID, r.Key.ClientID = p.Order.ClientReference, "other", "other"
		w.place(r)
	},
}

// nothingOf ends the case when anything of a placement is in the store.
func (w *world) nothingOf(p orders.Placement) {
	w.Helper()
	_, err := w.stores[1].Order(w.ctx, p.Order.No)
	w.is(err, orders.ErrNotFound)
	_, err = w.stores[1].LookKey(w.ctx, p.Key)
	w.is(err, orders.ErrNotFound)
	_, err = w.stores[1].AttemptByToken(w.ctx, p.Order.Attempts[0].Token)
	w.is(err, orders.ErrNotFound)
}

var bills = map[string]func(*world){
	"in progress": func(w *world) {
		holder := w.place(w.placement(bill1, bill2))
		p := w.placement(bill3, bill2)
		_, err := w.stores[1].Place(w.ctx, p)
		if b := w.billError(err, bill2, false); b.Holder != holder.No || b.Client != client {
			w.Errorf("holder %s of %s", b.Holder, b.Client)
		}
		w.nothingOf(p)
		w.place(w.placement(bill3)) // nobody holds it
	},
	"another merchant's bill of the same number": func(w *world) {
		w.place(w.placement(bill1))
		p := w.placement(bill1)
		p.Order.Merchant = "twd"
		w.place(p)
	},
	"paid": func(w *world) {
		o := w.place(w.placement(bill1, bill2))
		w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		for _, at := range []time.Duration{0, time.Hour, 1000 * time.Hour} {
			_, err := w.stores[1].Place(w.ctx, shift(w.placement(bill3, bill2), at))
			w.billError(err, bill2, true)
		}
	},
	"takeable when the holder's time is over": func(w *world) {
		first := w.place(w.placement(bill1, bill2))
		_, err := w.stores[1].Place(w.ctx, shift(w.placement(bill2), 10*time.Minute-time.Millisecond))
		w.billError(err, bill2, false)
		second := w.place(shift(w.placement(bill2), 10*time.Minute))
		b := w.book(first.No)
		if b.Bills[bill1].Holder != first.No || b.Bills[bill2].Holder != second.No || b.Order.State != orders.OrderOpen {
			w.Errorf("the first order is %s, its bills are %v", b.Order.State, b.Bills)
		}
		if b.Payable(inTime) {
			w.Error("an order that lost a bill is payable")
		}
	},
	"takeable when the holder expired": func(w *world) {
		first := w.place(w.placement(bill1))
		w.apply(said(&first, 1, orders.AttemptExpired, tooLate))
		if got := w.book(first.No); got.Order.State != orders.OrderExpired || got.Bills[bill1].Holder != "" {
			w.Fatalf("order %s, bill %v", got.Order.State, got.Bills[bill1])
		}
		w.place(shift(w.placement(bill1), time.Hour))
	},
	"not takeable while a confirm is in doubt": func(w *world) {
		first := w.place(w.placement(bill1))
		call, err := w.stores[0].ClaimConfirm(w.ctx, first.Attempts[0].No, inTime)
		w.ok(err)
		take := func() error {
			_, err := w.stores[1].Place(w.ctx, shift(w.placement(bill1), 2*time.Hour))
			return err
		}
		w.billError(take(), bill1, false)
		call.Outcome, call.EndedAt = orders.OutcomeUnknown, inTime.Add(time.Second)
		w.ok(w.stores[0].FinishCall(w.ctx, call))
		w.billError(take(), bill1, false)
		w.apply(said(&first, 1, orders.AttemptFailed, inTime))
		w.ok(take())
	},
	"not takeable while frozen": func(w *world) {
		first := w.place(w.placement(bill1))
		w.apply(wrong(&first, inTime))
		_, err := w.stores[1].Place(w.ctx, shift(w.placement(bill1), 2*time.Hour))
		w.billError(err, bill1, false)
	},
	"takeable when the holder's first answer never went out": func(w *world) {
		first := w.place(created(w.placement(bill1)))
		take := func(at time.Duration) error {
			_, err := w.stores[1].Place(w.ctx, shift(w.placement(bill1), at))
			return err
		}
		w.billError(take(lease+time.Minute), bill1, false)
		w.ok(take(lease + time.Minute + time.Millisecond))
		if w.book(first.No).Payable(inTime) {
			w.Error("an order that lost its bill is payable")
		}
	},
	"not so when it went out": func(w *world) {
		p := created(w.placement(bill1))
		o := w.place(p)
		w.finish(p, &o, 0, orders.OutcomeDone)
		_, err := w.stores[1].Place(w.ctx, shift(w.placement(bill1), 5*time.Minute))
		w.billError(err, bill1, false)
	},
	"a request that lost its bills can finish nothing": func(w *world) {
		p := created(w.placement(bill1))
		o := w.place(p)
		w.place(shift(w.placement(bill1), 2*time.Minute))
		_, err := w.stores[0].FinishCreate(w.ctx, finishing(p, &o, 0, orders.OutcomeDone))
		w.is(err, orders.ErrFenced)
		w.same(w.order(o.No), o)
	},
	"64 orders at once for one bill": func(w *world) {
		const n = 64
		placements := make([]orders.Placement, n)
		for i := range placements {
			own := fmt.Sprintf("H0000000%04d", i)
			placements[i] = w.placement([][]string{{bill1, own, bill2}, {own, bill2, bill1}}[i%2]...)
		}
		won := 0
		for i, err := range parallel(n, func(i int) error {
			_, err := w.store(i).Place(w.ctx, placements[i])
			return err
		}) {
			var b *orders.BillError
			switch {
			case err == nil:
				won++
			case !errors.As(err, &b) || b.Paid || b.BillNo != bill1 && b.BillNo != bill2:
				w.Fatalf("order %d: %v", i, err)
			}
		}
		if won != 1 {
			w.Fatalf("%d orders hold the bill", won)
		}
	},
	"64 requests of two clients for one bill": func(w *world) {
		const n = 64
		clients := [2]string{client, "ferry"}
		request := func(i int) orders.Placement {
			p := w.placement(bill1)
			p.Key.ClientID, p.Order.ClientID = clients[i%2], clients[i%2]
			return p
		}
		placements := make([]orders.Placement, n)
		for i := range placements {
			placements[i] = request(i)
		}
		var won orders.Order
		errs := parallel(n, func(i int) error {
			_, err := w.store(i/2).Place(w.ctx, placements[i])
			return err
		})
		for i, err := range errs {
			if err != nil {
				continue
			}
			if won.No != "" {
				w.Fatalf("both %s and %s hold the bill", won.No, placements[i].Order.No)
			}
			won = w.order(placements[i].Order.No)
		}
		if won.No == "" {
			w.Fatal("nobody got the bill")
		}
		for _, err := range errs {
			if err == nil {
				continue
			}
			if b := w.billError(err, bill1, false); b.Client != won.ClientID || b.Holder != won.No {
				w.Errorf("held by %s of %s, want %s of %s", b.Holder, b.Client, won.No, won.ClientID)
			}
		}
		w.apply(said(&won, 1, orders.AttemptPaid, inTime))
		for i := range clients {
			_, err := w.store(i).Place(w.ctx, request(i))
			w.billError(err, bill1, true)
		}
	},
	"confirm and take-over never both win": func(w *world) {
		wins := [2]int{}
		for round := range 200 {
			bill := fmt.Sprintf("H1111111%04d", round)
			first := w.place(w.placement(bill))
			second := shift(w.placement(bill), 10*time.Minute)
			errs := parallel(2, func(i int) error {
				if i == round%2 { // their processes' clocks differ by a little
					_, err := w.store(i).ClaimConfirm(w.ctx, first.Attempts[0].No, expiresAt.Add(-time.Millisecond))
					return err
				}
				_, err := w.store(i).Place(w.ctx, second)
				return err
			})
			claim, take := errs[round%2], errs[1-round%2]
			switch {
			case claim == nil:
				w.billError(take, bill, false)
				wins[0]++
			case take == nil:
				w.is(claim, orders.ErrNotPayable)
				wins[1]++
			default:
				w.Fatalf("neither won: %v, %v", claim, take)
			}
		}
		w.Logf("confirm won %d times, take-over %d times", wins[0], wins[1])
	},
}

// finishing is the outcome of the create call of an order's newest attempt.
func finishing(p orders.Placement, o *orders.Order, fence int64, outcome orders.Outcome) orders.CreateFinish {
	f := orders.CreateFinish{Key: &p.Key, Fence: fence, Attempt: o.Current().No, Now: placedAt.Add(time.Second), Outcome: outcome, Answer: answer}
	if outcome == orders.OutcomeDone {
		f.Redirect = &orders.Redirect{Method: "GET", URL: "https://wallet.example/pay?id=1"}
		f.Refs = map[string]string{"transactionId": "1"}
	}
	return f
}

func (w *world) finish(p orders.Placement, o *orders.Order, fence int64, outcome orders.Outcome) orders.Order {
	w.Helper()
	done, err := w.stores[0].FinishCreate(w.ctx, finishing(p, o, fence, outcome))
	w.ok(err)
	return done
}

var creating = map[string]func(*world){
	"done": func(w *world) {
		p := created(w.placement(bill1))
		placed := w.place(p)
		o := w.finish(p, &placed, 0, orders.OutcomeDone)
		w.same(w.order(o.No), o)
		a := o.Attempts[0]
		if a.State != orders.AttemptPending || !a.HandedAt.Equal(placedAt.Add(time.Second)) || a.Redirect == nil || a.Redirect.URL != "https://wallet.example/pay?id=1" || a.Refs["transactionId"] != "1" {
			w.Errorf("attempt %+v", a)
		}
		if c := o.Calls[0]; c.Outcome != orders.OutcomeDone || c.EndedAt.IsZero() {
			w.Errorf("call %+v", c)
		}
		w.told(o.No, orders.EventCreated, orders.EventPending)
		_, body, _ := answer(&o)
		if k, err := w.stores[1].LookKey(w.ctx, p.Key); err != nil || !k.Done || k.Status != 201 || string(k.Answer) != string(body) {
			w.Errorf("key %+v, %v; want the answer %q", k, err, body)
		}
		_, err := w.stores[0].FinishCreate(w.ctx, finishing(p, &placed, 0, orders.OutcomeDone))
		w.is(err, orders.ErrFenced)
	},
	"unknown: abandoned but watched": func(w *world) {
		p := created(w.placement(bill1))
		placed := w.place(p)
		w.finish(p, &placed, 0, orders.OutcomeUnknown)
		o := w.order(placed.No)
		if a := o.Attempts[0]; !a.Abandoned || a.State.Ended() || o.Calls[0].Outcome != orders.OutcomeUnknown || o.Doubt() {
			w.Errorf("attempt %+v, calls %+v, doubt %v", a, o.Calls, o.Doubt())
		}
		work, err := w.stores[0].ClaimQuery(w.ctx, account, tooLate, lease, 0)
		if w.ok(err); work.Attempt != o.Attempts[0].No {
			w.Errorf("the query is for %s", work.Attempt)
		}
		if applied := w.apply(said(&o, 1, orders.AttemptPaid, inTime)); applied.Order.State != orders.OrderPaid {
			w.Errorf("a late payment left the order %s", applied.Order.State)
		}
	},
	"without an answer the lease ends at once": func(w *world) {
		p := created(w.placement(bill1))
		placed := w.place(p)
		f := finishing(p, &placed, 0, orders.OutcomeNotSent)
		f.Answer = nil
		_, err := w.stores[0].FinishCreate(w.ctx, f)
		w.ok(err)
		k, err := w.stores[1].LookKey(w.ctx, p.Key)
		if w.ok(err); k.Done || k.LeaseUntil.After(f.Now) {
			w.Errorf("key %+v", k)
		}
		if o := w.order(placed.No); o.Calls[0].Outcome != orders.OutcomeNotSent || !o.Attempts[0].HandedAt.IsZero() {
			w.Errorf("order %+v", o)
		}
		o, fence, err := w.resume(p, f.Now)
		if w.ok(err); fence != 1 || len(o.Attempts) != 1 || len(o.Calls) != 2 || o.Calls[1].Ordinal != 2 || o.Calls[1].Outcome != orders.OutcomeOpen {
			w.Errorf("fence %d, %d attempts, calls %+v: a number of which no byte has left us is used again", fence, len(o.Attempts), o.Calls)
		}
		w.same(w.order(o.No), o)
		if o = w.finish(p, &o, fence, orders.OutcomeDone); o.Calls[1].Outcome != orders.OutcomeDone || o.Attempts[0].HandedAt.IsZero() {
			w.Errorf("order %+v", o)
		}
	},
	"a bill that is paid meanwhile gets no redirect": func(w *world) {
		former := w.place(w.placement(bill1))
		p := created(shift(w.placement(bill1), 10*time.Minute))
		placed := w.place(p)
		w.apply(said(&former, 1, orders.AttemptPaid, expiresAt.Add(time.Second)))
		f := finishing(p, &placed, 0, orders.OutcomeDone)
		o, err := w.stores[0].FinishCreate(w.ctx, f)
		w.ok(err)
		if a := o.Attempts[0]; a.Redirect != nil || !a.HandedAt.IsZero() || !a.Abandoned || a.State != orders.AttemptIntent {
			w.Errorf("attempt %+v", a)
		}
		if k, err := w.stores[1].LookKey(w.ctx, p.Key); err != nil || !k.Done {
			w.Errorf("key %+v, %v", k, err)
		}
		if work := w.ask(tooLate); work.Attempt != placed.Attempts[0].No {
			w.Errorf("%s is watched", work.Attempt)
		}
	},
	"a callback that comes first stays": func(w *world) {
		p := created(w.placement(bill1))
		placed := w.place(p)
		w.apply(said(&placed, 1, orders.AttemptPaid, placedAt.Add(time.Millisecond)))
		o := w.finish(p, &placed, 0, orders.OutcomeDone)
		w.same(w.order(o.No), o)
		a := o.Attempts[0]
		if o.State != orders.OrderPaid || o.Late || a.State != orders.AttemptPaid || a.ProviderTradeNo != "T"+string(a.No) {
			w.Errorf("order %s, late %v, attempt %+v", o.State, o.Late, a)
		}
		if a.Refs["transactionId"] != "1" || a.Refs["s"] != "paid" {
			w.Errorf("refs %v", a.Refs)
		}
		w.told(o.No, orders.EventCreated, orders.EventPaid)
	},
}

// resume takes over the order of a placement whose request died, and goes on with the next attempt unless the create call of
// the newest was opened again.
func (w *world) resume(p orders.Placement, now time.Time) (orders.Order, int64, error) {
	r, err := w.stores[1].Resume(w.ctx, w.resumption(p, now))
	if err != nil || r.Opened {
		return r.Order, r.Fence, err
	}
	o, err := w.stores[1].AddAttempt(w.ctx, w.leased(&r.Order, p, r.Fence, now))
	return o, r.Fence, err
}

// leased is the next attempt of the request that holds the key of a placement.
func (w *world) leased(o *orders.Order, p orders.Placement, fence int64, now time.Time) orders.Addition {
	return orders.Addition{
		Order: o.No, Now: now, Lease: &orders.Lease{Key: p.Key, Fence: fence, Until: now.Add(lease)}, Create: true,
		Next: func(o *orders.Order) (orders.Attempt, error) { return w.attempt(o, o.Current().Ordinal+1), nil },
	}
}

func (w *world) resumption(p orders.Placement, now time.Time) orders.Resumption {
	return orders.Resumption{
		Key: p.Key, Fingerprint: p.Fingerprint, Now: now, LeaseUntil: now.Add(lease),
		Conflict: func(o *orders.Order, b *orders.BillError) (int, []byte, error) {
			return 409, fmt.Appendf(nil, "%s is %s, %s paid %v", o.No, o.State, b.BillNo, b.Paid), nil
		},
	}
}

var resuming = map[string]func(*world){
	"a dead lease": func(w *world) {
		p := created(w.placement(bill1, bill2))
		placed := w.place(p)
		now := p.LeaseUntil
		o, fence, err := w.resume(p, now)
		w.ok(err)
		w.same(w.order(o.No), o)
		if fence != 1 || len(o.Attempts) != 2 || !o.Attempts[0].Abandoned || o.Attempts[1].Abandoned || o.State != orders.OrderOpen {
			w.Fatalf("fence %d, order %+v", fence, o)
		}
		if want := w.attempt(&placed, 2); o.Current().No != want.No || o.Current().Token != want.Token {
			w.Errorf("attempt %+v", o.Current())
		}
		if c := o.Calls; len(c) != 2 || c[1].Attempt != o.Current().No || c[1].Op != orders.OpCreate || c[1].Outcome != orders.OutcomeOpen {
			w.Errorf("calls %+v", c)
		}
		if k, err := w.stores[0].LookKey(w.ctx, p.Key); err != nil || k.Done || k.Fence != 1 || !k.LeaseUntil.Equal(now.Add(lease)) {
			w.Errorf("key %+v, %v", k, err)
		}
		zombie := finishing(p, &placed, 0, orders.OutcomeDone)
		_, err = w.stores[0].FinishCreate(w.ctx, zombie)
		w.is(err, orders.ErrFenced)
		_, err = w.stores[0].AddAttempt(w.ctx, w.leased(&placed, p, 0, inTime))
		w.is(err, orders.ErrFenced)
		w.same(w.order(o.No), o)
		done := w.finish(p, &o, 1, orders.OutcomeDone)
		if done.Attempts[0].State != orders.AttemptIntent || done.Attempts[1].State != orders.AttemptPending || !w.book(o.No).Payable(inTime) {
			w.Errorf("order %+v", done)
		}
	},
	"the abandoned attempt is still paid": func(w *world) {
		p := created(w.placement(bill1))
		w.place(p)
		o, _, err := w.resume(p, p.LeaseUntil)
		w.ok(err)
		w.apply(said(&o, 2, orders.AttemptPaid, inTime))
		applied := w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		if len(applied.Order.Surplus) != 1 || !slices.Equal(applied.Events, []orders.EventType{orders.EventSurplus}) {
			w.Errorf("surplus %+v, events %v", applied.Order.Surplus, applied.Events)
		}
	},
	"not a live lease, another command, or a finished key": func(w *world) {
		p := created(w.placement(bill1))
		placed := w.place(p)
		_, _, err := w.resume(p, p.LeaseUntil.Add(-time.Millisecond))
		w.is(err, orders.ErrKeyTaken)
		other := p
		other.Fingerprint[0]++
		_, _, err = w.resume(other, tooLate)
		w.is(err, orders.ErrKeyTaken)
		w.same(w.order(placed.No), placed)
		w.finish(p, &placed, 0, orders.OutcomeDone)
		_, _, err = w.resume(p, inTime)
		w.is(err, orders.ErrKeyTaken)
	},
	"one of many": func(w *world) {
		p := created(w.placement(bill1))
		w.place(p)
		won := 0
		for _, err := range parallel(16, func(i int) error {
			_, err := w.store(i).Resume(w.ctx, w.resumption(p, p.LeaseUntil))
			return err
		}) {
			if err == nil {
				won++
				continue
			}
			w.is(err, orders.ErrKeyTaken)
		}
		if won != 1 {
			w.Errorf("%d requests took over", won)
		}
	},
	"its bill was taken": func(w *world) {
		p := created(w.placement(bill1, bill2))
		o := w.place(p)
		taker := w.place(shift(w.placement(bill2), 2*time.Minute))
		w.cancelled(p, o.No, bill2, false)
		if b := w.book(taker.No); b.Bills[bill2].Holder != taker.No {
			w.Errorf("the taker's bill is %v", b.Bills[bill2])
		}
		w.place(w.placement(bill1)) // let go of
	},
	"its bill was paid": func(w *world) {
		p := created(w.placement(bill1, bill2))
		o := w.place(p)
		taker := w.place(shift(w.placement(bill2), 2*time.Minute))
		w.apply(said(&taker, 1, orders.AttemptPaid, placedAt.Add(3*time.Minute)))
		w.cancelled(p, o.No, bill2, true)
		late := w.apply(said(&o, 1, orders.AttemptPaid, placedAt.Add(5*time.Minute)))
		if late.Order.State != orders.OrderPaid || !late.Order.Late || len(late.Order.Surplus) != 1 {
			w.Errorf("a payment of the cancelled order: %+v", late.Order)
		}
	},
	"its abandoned attempt was paid": func(w *world) {
		p := created(w.placement(bill1))
		o := w.place(p)
		w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		if _, _, err := w.resume(p, inTime); err == nil {
			w.Error("a paid order got a new attempt")
		}
		if got := w.order(o.No); len(got.Attempts) != 1 || got.State != orders.OrderPaid {
			w.Errorf("order %+v", got)
		}
	},
}

// cancelled resumes an order that lost a bill, and ends the case unless it is cancelled
// and its key answered.
func (w *world) cancelled(p orders.Placement, no orders.OrderNo, bill string, paid bool) {
	w.Helper()
	_, _, err := w.resume(p, placedAt.Add(4*time.Minute))
	w.billError(err, bill, paid)
	b := w.book(no)
	if b.Order.State != orders.OrderCancelled || len(b.Order.Attempts) != 1 {
		w.Errorf("order %+v", b.Order)
	}
	for _, l := range b.Order.Lines {
		if b.Bills[l.BillNo].Holder == no {
			w.Errorf("the cancelled order holds %s", l.BillNo)
		}
	}
	w.told(no, orders.EventCreated, orders.EventCancelled)
	k, err := w.stores[0].LookKey(w.ctx, p.Key)
	w.ok(err)
	if want := fmt.Sprintf("%s is cancelled, %s paid %v", no, bill, paid); !k.Done || k.Status != 409 || string(k.Answer) != want {
		w.Errorf("key %+v, want %q", k, want)
	}
}
