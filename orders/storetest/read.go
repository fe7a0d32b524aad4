package storetest

import (
	"strings"
	"time"

	"pay.taipei/gateway/orders"
)

var reading = map[string]func(*world){
	"not found": func(w *world) {
		s := w.stores[0]
		_, err := s.Order(w.ctx, "2017061399999999")
		w.is(err, orders.ErrNotFound)
		_, err = s.Book(w.ctx, "2017061399999999")
		w.is(err, orders.ErrNotFound)
		_, err = s.Timeline(w.ctx, "2017061399999999")
		w.is(err, orders.ErrNotFound)
		_, err = s.OrderByReference(w.ctx, client, "none")
		w.is(err, orders.ErrNotFound)
		_, err = s.OrderByPayToken(w.ctx, "")
		w.is(err, orders.ErrNotFound)
		_, err = s.AttemptByToken(w.ctx, "")
		w.is(err, orders.ErrNotFound)
		_, err = s.LookKey(w.ctx, orders.KeyRef{})
		w.is(err, orders.ErrNotFound)
	},
	"a reference is its client's own": func(w *world) {
		o := w.place(w.placement(bill1))
		_, err := w.stores[0].OrderByReference(w.ctx, "other", o.ClientReference)
		w.is(err, orders.ErrNotFound)
	},
	"tokens are not of one kind": func(w *world) {
		o := w.place(w.placement(bill1))
		_, err := w.stores[0].OrderByPayToken(w.ctx, o.Attempts[0].Token)
		w.is(err, orders.ErrNotFound)
		_, err = w.stores[0].AttemptByToken(w.ctx, o.PayToken)
		w.is(err, orders.ErrNotFound)
	},
	"what is quoted stays what it is": func(w *world) {
		p := w.placement(bill1)
		const odd = `'; DROP TABLE orders; -- \ " % _ 停車費 🅿`
		p.Order.Lines[0].Name, p.Order.ClientReference, p.Order.PayerMemberID, p.Key.Key = odd, odd, odd, odd
		want := w.place(p)
		w.same(w.order(want.No), want)
		byReference, err := w.stores[0].OrderByReference(w.ctx, client, odd)
		if w.ok(err); byReference.Lines[0].Name != odd {
			w.Errorf("line %+v", byReference.Lines[0])
		}
		_, err = w.stores[0].OrderByReference(w.ctx, client, strings.ToUpper(odd))
		w.is(err, orders.ErrNotFound)
	},
	"the timeline cites its evidence": func(w *world) {
		o := w.place(w.placement(bill1))
		no := o.Attempts[0].No
		_, err := w.stores[0].ClaimConfirm(w.ctx, no, inTime)
		w.ok(err)
		w.apply(said(&o, 1, orders.AttemptFailed, inTime.Add(time.Second)))
		w.apply(said(&o, 1, orders.AttemptPaid, inTime.Add(2*time.Second)))
		w.delivered(w.deliverable(inTime.Add(3*time.Second), o.No)[o.No], orders.DeliveryDone)
		other := w.place(w.placement(bill2))
		w.apply(said(&other, 1, orders.AttemptPaid, inTime))
		rows, err := w.stores[1].Timeline(w.ctx, o.No)
		w.ok(err)
		count := map[string]int{}
		cited := map[string]bool{}
		for i, r := range rows {
			count[r.What]++
			if i > 0 && r.At.Before(rows[i-1].At) {
				w.Errorf("row %d is earlier than the one before it", i)
			}
			if r.AttemptNo != "" && r.AttemptNo != no {
				w.Errorf("a row of %s", r.AttemptNo)
			}
			if strings.Contains(r.Detail, "raw") {
				w.Errorf("detail %q shows raw bytes", r.Detail)
			}
			if r.What == "evidence" {
				if r.Evidence == "" || r.AttemptNo != no || cited[r.Evidence] {
					w.Errorf("evidence row %+v", r)
				}
				cited[r.Evidence] = true
			}
		}
		for what, n := range map[string]int{"order.created": 1, "order.failed": 1, "order.paid": 1, "evidence": 2, "call": 1, "delivery": 1} {
			if count[what] < n {
				w.Errorf("%d rows of %s, want %d; rows %+v", count[what], what, n, rows)
			}
		}
	},
	"what is delivered again": func(w *world) {
		o := w.place(w.placement(bill1))
		d := w.deliverable(inTime, o.No)[o.No]
		waiting := func() (found []orders.TimelineRow) {
			rows, err := w.stores[1].Timeline(w.ctx, o.No)
			w.ok(err)
			for _, r := range rows {
				if r.What == "waiting" {
					found = append(found, r)
				}
			}
			return found
		}
		if rows := waiting(); len(rows) > 0 { // it was not tried yet: its client may have no webhook at all
			w.Errorf("rows %+v", rows)
		}
		w.ok(w.stores[0].FinishDelivery(w.ctx, d, orders.DeliveryReady, inTime, inTime.Add(time.Minute), "status 503"))
		want := orders.TimelineRow{At: inTime.Add(time.Minute), What: "waiting", Detail: "delivery of version 1: tried 1 times, without an end; last: status 503"}
		if rows := waiting(); len(rows) != 1 || rows[0] != want {
			w.Errorf("rows %+v, want %+v", rows, want)
		}
		w.delivered(w.deliverable(inTime.Add(time.Minute), o.No)[o.No], orders.DeliveryDone)
		if rows := waiting(); len(rows) > 0 {
			w.Errorf("rows %+v", rows)
		}
	},
	"what is asked again": func(w *world) {
		o := w.place(w.placement(bill1))
		no := o.Attempts[0].No
		waiting := func() orders.QueryWork {
			got, err := w.stores[1].Waiting(w.ctx, o.No)
			if w.ok(err); len(got.Queries) != 1 || len(got.Refunds) != 0 {
				w.Fatalf("waiting %+v", got)
			}
			w.same(got.Queries[0].Order, w.order(o.No))
			got.Queries[0].Order = orders.Order{}
			return got.Queries[0]
		}
		if q := waiting(); q.Attempt != no || q.Asked != 0 || !q.Due.Equal(o.Attempts[0].QueryAt) || q.Last != "" {
			w.Errorf("before: %+v", q)
		}
		w.hint(&o, inTime)
		work := w.ask(inTime)
		if q := waiting(); !q.Due.IsZero() || q.Asked != 1 {
			w.Errorf("on its way: %+v", q)
		}
		work.Last = "unavailable\x00"
		w.ok(w.stores[0].FinishQuery(w.ctx, work, inTime, inTime.Add(time.Minute)))
		if q := waiting(); q.Asked != 1 || !q.Due.Equal(inTime.Add(time.Minute)) || q.Last != "unavailable\uFFFD" {
			w.Errorf("after: %+v", q)
		}
		if again := w.ask(inTime.Add(time.Minute)); again.Last != "unavailable\uFFFD" {
			w.Errorf("work %+v", again)
		}
		w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		if got, err := w.stores[1].Waiting(w.ctx, o.No); err != nil || len(got.Queries) != 0 {
			w.Errorf("paid: %+v, %v", got, err)
		}
		_, err := w.stores[1].Waiting(w.ctx, "2017061399999999")
		w.is(err, orders.ErrNotFound)
	},
	"the attempt that was handed out last": func(w *world) {
		_, _, err := w.stores[1].LastHanded(w.ctx, account, tooLate)
		w.is(err, orders.ErrNotFound)
		w.place(clicked(w.placement(bill1)))
		_, _, err = w.stores[1].LastHanded(w.ctx, account, tooLate)
		w.is(err, orders.ErrNotFound)
		first := w.place(w.placement(bill2))
		second := w.add(w.addition(first.No, inTime))
		w.place(w.placement(bill3)) // handed out before that
		o, no, err := w.stores[1].LastHanded(w.ctx, account, tooLate)
		w.ok(err)
		if w.same(o, w.order(first.No)); no != second.Attempts[1].No {
			w.Errorf("it is %s", no)
		}
		_, _, err = w.stores[1].LastHanded(w.ctx, "another", tooLate)
		w.is(err, orders.ErrNotFound)
	},
	"gauges": func(w *world) {
		g, err := w.stores[0].Gauges(w.ctx, []string{client})
		w.ok(err)
		if g.Doubts+g.SurplusOpen+g.ReviewsOpen+g.Orphans+g.OutboxDepth[orders.DeliveryReady] != 0 || !g.OutboxOldest.IsZero() {
			w.Errorf("of nothing: %+v", g)
		}
		frozen := w.place(w.placement(bill1))
		w.apply(wrong(&frozen, inTime))
		doubtful := w.place(w.placement(bill2))
		_, err = w.stores[0].ClaimConfirm(w.ctx, doubtful.Attempts[0].No, inTime)
		w.ok(err)
		unplaced := w.placement(bill3)
		w.apply(said(&unplaced.Order, 1, orders.AttemptPaid, inTime))
		g, err = w.stores[1].Gauges(w.ctx, []string{client})
		w.ok(err)
		if g.Doubts != 1 || g.ReviewsOpen != 1 || g.Orphans != 1 || g.SurplusOpen != 0 || g.OutboxDepth[orders.DeliveryReady] != 3 || !g.OutboxOldest.Equal(placedAt) {
			w.Errorf("gauges %+v", g)
		}
	},
}
