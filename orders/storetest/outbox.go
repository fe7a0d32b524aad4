package storetest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pay.taipei/gateway/orders"
)

// eventBody is what this suite reads of an event.
type eventBody struct {
	Type    orders.EventType `json:"type"`
	ID      string           `json:"id"`
	OrderNo orders.OrderNo   `json:"order_no"`
	Version int64            `json:"version"`
	Data    struct {
		Order struct {
			Status  string `json:"status"`
			Version int64  `json:"version"`
		} `json:"order"`
	} `json:"data"`
}

func (w *world) body(raw []byte) eventBody {
	w.Helper()
	var b eventBody
	w.ok(json.Unmarshal(raw, &b))
	return b
}

// feed brings a client's feed up to date and reads it whole, in pages, checking that
// its numbers have no gap and that its hashes are a chain.
func (w *world) feed(clientID string) []orders.FeedEvent {
	w.Helper()
	for {
		n, err := w.stores[1].Sequence(w.ctx, 50)
		if w.ok(err); n == 0 {
			break
		}
	}
	var all []orders.FeedEvent
	var hash [32]byte
	for after := int64(0); ; after = int64(len(all)) {
		page, err := w.stores[0].Feed(w.ctx, clientID, after, 7)
		w.ok(err)
		if len(page) > 7 {
			w.Fatalf("a page of %d", len(page))
		}
		for _, e := range page {
			all = append(all, e)
			hash = sha256.Sum256(append(hash[:], e.Body...))
			if e.Seq != int64(len(all)) || e.Hash != hash {
				w.Fatalf("event %d has number %d and hash %x, want %x", len(all), e.Seq, e.Hash, hash)
			}
		}
		if len(page) == 0 {
			return all
		}
	}
}

var delivering = map[string]func(*world){
	"in order within an order": func(w *world) {
		a := w.place(w.placement(bill1))
		b := w.place(w.placement(bill2))
		w.apply(said(&a, 1, orders.AttemptPaid, inTime))
		first := w.deliverable(tooLate, a.No, b.No)
		w.undeliverable(tooLate)
		w.delivered(first[a.No], orders.DeliveryDone)
		second := w.deliverable(tooLate, a.No)[a.No]
		if first[a.No].Event.Version != 1 || second.Event.Version != 2 || second.Event.Type != orders.EventPaid {
			w.Errorf("versions %d and %d", first[a.No].Event.Version, second.Event.Version)
		}
		w.delivered(second, orders.DeliveryDone)
		w.delivered(first[b.No], orders.DeliveryDone)
		w.undeliverable(tooLate.Add(1000 * time.Hour))
		next, err := w.stores[1].NextDelivery(w.ctx, []string{client})
		if w.ok(err); !next.IsZero() {
			w.Errorf("due at %v, and all is delivered", next)
		}
	},
	"the stored bytes": func(w *world) {
		o := w.place(w.placement(bill1))
		d := w.deliverable(inTime, o.No)[o.No]
		e := d.Event
		if e.OrderNo != o.No || e.ClientID != client || e.Type != orders.EventCreated || e.Version != 1 || !e.OccurredAt.Equal(placedAt) || d.Attempts != 0 {
			w.Errorf("delivery %+v", d)
		}
		want, err := orders.RenderEvents(&o, []orders.EventType{orders.EventCreated}, placedAt)
		w.ok(err)
		if string(e.Body) != string(want[0].Body) {
			w.Errorf("body %s\nwant %s", e.Body, want[0].Body)
		}
		if feed := w.feed(client); len(feed) != 1 || string(feed[0].Body) != string(e.Body) {
			w.Errorf("the feed has other bytes")
		}
	},
	"rendered with the final state": func(w *world) {
		w.place(w.placement(bill1))
		o := w.place(shift(w.placement(bill1), time.Hour))
		first, err := w.stores[0].OrderByReference(w.ctx, client, "reference-1")
		w.ok(err)
		w.apply(said(&first, 1, orders.AttemptPaid, tooLate))
		w.apply(said(&o, 1, orders.AttemptPaid, tooLate))
		for _, e := range w.feed(client) {
			b := w.body(e.Body)
			if b.OrderNo == o.No && b.Version > 1 && (b.Data.Order.Status != "paid" || b.Data.Order.Version != 3) {
				w.Errorf("%s %+v", b.ID, b.Data.Order)
			}
			if want := fmt.Sprintf("evt_%s_%d", b.OrderNo, b.Version); b.ID != want {
				w.Errorf("id %s, want %s", b.ID, want)
			}
		}
	},
	"held: its order waits, no other": func(w *world) {
		a := w.place(w.placement(bill1))
		b := w.place(w.placement(bill2))
		w.apply(said(&a, 1, orders.AttemptPaid, inTime))
		first := w.deliverable(tooLate, a.No, b.No)
		w.delivered(first[a.No], orders.DeliveryHeld)
		w.delivered(first[b.No], orders.DeliveryDone)
		w.undeliverable(tooLate.Add(1000 * time.Hour))
		w.apply(said(&b, 1, orders.AttemptPaid, inTime))
		w.delivered(w.deliverable(tooLate, b.No)[b.No], orders.DeliveryDone)
		g, err := w.stores[1].Gauges(w.ctx, []string{client})
		w.ok(err)
		if g.OutboxDepth[orders.DeliveryHeld] != 1 || g.OutboxDepth[orders.DeliveryReady] != 1 || !g.OutboxOldest.IsZero() {
			w.Errorf("depth %v, oldest %v: nothing is to be delivered", g.OutboxDepth, g.OutboxOldest)
		}
		w.apply(said(&b, 1, orders.AttemptPaid, inTime))
		c := w.place(shift(w.placement(bill3), time.Hour))
		if g, err = w.stores[1].Gauges(w.ctx, []string{client}); err != nil || !g.OutboxOldest.Equal(c.CreatedAt) {
			w.Errorf("oldest %v, %v", g.OutboxOldest, err)
		}
	},
	"again at its time": func(w *world) {
		o := w.place(w.placement(bill1))
		d := w.deliverable(inTime, o.No)[o.No]
		due := inTime.Add(time.Minute)
		w.ok(w.stores[0].FinishDelivery(w.ctx, d, orders.DeliveryReady, inTime, due, "HTTP 500"))
		w.undeliverable(due.Add(-time.Millisecond))
		next, err := w.stores[1].NextDelivery(w.ctx, []string{client})
		if w.ok(err); !next.Equal(due) {
			w.Errorf("due at %v, want %v", next, due)
		}
		again := w.deliverable(due, o.No)[o.No]
		if again.Attempts != 1 || again.Event.Version != d.Event.Version || string(again.Event.Body) != string(d.Event.Body) {
			w.Errorf("again %+v", again)
		}
	},
	"held for a lease": func(w *world) {
		o := w.place(w.placement(bill1))
		first := w.deliverable(inTime, o.No)[o.No]
		w.undeliverable(inTime.Add(lease - time.Millisecond))
		second := w.deliverable(inTime.Add(lease), o.No)[o.No]
		if second.Fence == first.Fence {
			w.Errorf("both claims have fence %d", first.Fence)
		}
		for _, state := range []orders.DeliveryState{orders.DeliveryDone, orders.DeliveryHeld, orders.DeliveryReady} {
			w.is(w.stores[0].FinishDelivery(w.ctx, first, state, tooLate, tooLate, ""), orders.ErrFenced)
		}
		w.delivered(second, orders.DeliveryDone)
		w.is(w.stores[0].FinishDelivery(w.ctx, first, orders.DeliveryReady, tooLate, tooLate, ""), orders.ErrFenced)
		w.undeliverable(tooLate)
	},
	"only of clients with a webhook": func(w *world) {
		w.place(w.placement(bill1))
		for _, clients := range [][]string{nil, {"other"}} {
			_, err := w.stores[0].ClaimDelivery(w.ctx, clients, tooLate, lease)
			w.is(err, orders.ErrNothing)
			if next, err := w.stores[0].NextDelivery(w.ctx, clients); err != nil || !next.IsZero() {
				w.Errorf("%v: due at %v, %v", clients, next, err)
			}
			g, err := w.stores[0].Gauges(w.ctx, clients)
			if w.ok(err); g.OutboxDepth[orders.DeliveryReady] != 0 || !g.OutboxOldest.IsZero() {
				w.Errorf("%v: gauges %+v", clients, g)
			}
		}
		_, err := w.stores[0].ClaimDelivery(w.ctx, []string{"other", client, "third"}, tooLate, lease)
		w.ok(err)
	},
	"each once, in order, by many workers": func(w *world) {
		const n = 12
		for i := range n {
			o := w.place(w.placement(fmt.Sprintf("H1212121%04d", i)))
			w.apply(said(&o, 1, orders.AttemptFailed, inTime))
			w.apply(said(&o, 1, orders.AttemptPaid, inTime))
		}
		var mu sync.Mutex
		last := map[orders.OrderNo]int64{}
		var total atomic.Int64
		for _, err := range parallel(4, func(i int) error {
			for total.Load() < 3*n {
				d, err := w.store(i).ClaimDelivery(w.ctx, []string{client}, tooLate, time.Hour)
				if errors.Is(err, orders.ErrNothing) {
					continue // another worker holds what comes before
				}
				if err != nil {
					return err
				}
				mu.Lock()
				before := last[d.Event.OrderNo]
				last[d.Event.OrderNo] = d.Event.Version
				mu.Unlock()
				if d.Event.Version != before+1 {
					return fmt.Errorf("order %s: version %d after %d", d.Event.OrderNo, d.Event.Version, before)
				}
				if err := again(func() error {
					return w.store(i).FinishDelivery(w.ctx, d, orders.DeliveryDone, tooLate, tooLate, "")
				}); err != nil {
					return err
				}
				total.Add(1)
			}
			return nil
		}) {
			w.ok(err)
		}
		w.undeliverable(tooLate.Add(1000 * time.Hour))
	},
}

// deliverable claims one event of each of these orders, whatever their turn.
func (w *world) deliverable(now time.Time, nos ...orders.OrderNo) map[orders.OrderNo]orders.Delivery {
	w.Helper()
	claimed := map[orders.OrderNo]orders.Delivery{}
	for range nos {
		d, err := w.stores[0].ClaimDelivery(w.ctx, []string{client}, now, lease)
		w.ok(err)
		claimed[d.Event.OrderNo] = d
	}
	for _, no := range nos {
		if _, ok := claimed[no]; !ok {
			w.Fatalf("no event of %s to deliver: %v", no, claimed)
		}
	}
	return claimed
}

func (w *world) undeliverable(now time.Time) {
	w.Helper()
	d, err := w.stores[1].ClaimDelivery(w.ctx, []string{client}, now, lease)
	if !errors.Is(err, orders.ErrNothing) {
		w.Fatalf("claimed version %d of %s, %v; want %v", d.Event.Version, d.Event.OrderNo, err, orders.ErrNothing)
	}
}

func (w *world) delivered(d orders.Delivery, state orders.DeliveryState) {
	w.Helper()
	w.ok(w.stores[0].FinishDelivery(w.ctx, d, state, tooLate, tooLate, ""))
}

var feeding = map[string]func(*world){
	"without gaps, though all write at once": func(w *world) {
		const placers, each = 8, 10
		clients := []string{client, "other"}
		placements := make([][]orders.Placement, placers)
		for i := range placements {
			for j := range each {
				p := w.placement(fmt.Sprintf("H%04d%08d", i, j))
				p.Order.ClientID = clients[i%2]
				p.Key.ClientID = p.Order.ClientID
				placements[i] = append(placements[i], p)
			}
		}
		var placing atomic.Int64
		placing.Store(placers)
		var counted atomic.Int64
		for _, err := range parallel(placers+3, func(i int) error {
			if i >= placers {
				for {
					over := placing.Load() <= 0
					n, err := w.store(i).Sequence(w.ctx, 5)
					if err != nil && !errors.Is(err, orders.ErrUnavailable) {
						return err
					}
					counted.Add(int64(n))
					if over && n == 0 {
						return nil
					}
				}
			}
			defer placing.Add(-1)
			for _, p := range placements[i] {
				if err := again(func() error {
					_, err := w.store(i).Place(w.ctx, p)
					return err
				}); err != nil {
					return err
				}
				if err := again(func() error {
					_, err := w.store(i+1).Apply(w.ctx, said(&p.Order, 1, orders.AttemptPaid, inTime))
					return err
				}); err != nil {
					return err
				}
			}
			return nil
		}) {
			w.ok(err)
		}
		for _, c := range clients {
			versions := map[orders.OrderNo]int64{}
			feed := w.feed(c)
			for _, e := range feed {
				b := w.body(e.Body)
				if versions[b.OrderNo]++; b.Version != versions[b.OrderNo] {
					w.Fatalf("order %s: version %d is number %d of its events", b.OrderNo, b.Version, versions[b.OrderNo])
				}
			}
			if want := placers / 2 * each * 2; len(feed) != want {
				w.Errorf("client %s: %d events, want %d", c, len(feed), want)
			}
		}
		if counted.Load() > placers*each*2 {
			w.Errorf("%d events counted as sequenced", counted.Load())
		}
	},
	"pages": func(w *world) {
		for i := range 5 {
			w.place(w.placement(fmt.Sprintf("H1313131%04d", i)))
		}
		if before, err := w.stores[0].Feed(w.ctx, client, 0, 10); err != nil || len(before) != 0 {
			w.Errorf("%d events before they have a place, %v", len(before), err)
		}
		total := 0
		for {
			n, err := w.stores[0].Sequence(w.ctx, 2)
			w.ok(err)
			if n > 2 {
				w.Fatalf("%d events at once", n)
			}
			if n == 0 {
				break
			}
			total += n
		}
		if total != 5 {
			w.Errorf("%d events sequenced", total)
		}
		for _, c := range []struct {
			after int64
			limit int
			want  []int64
		}{{0, 2, []int64{1, 2}}, {2, 2, []int64{3, 4}}, {4, 2, []int64{5}}, {5, 2, nil}, {99, 2, nil}, {0, 100, []int64{1, 2, 3, 4, 5}}} {
			page, err := w.stores[1].Feed(w.ctx, client, c.after, c.limit)
			w.ok(err)
			var got []int64
			for _, e := range page {
				got = append(got, e.Seq)
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				w.Errorf("after %d, at most %d: %v, want %v", c.after, c.limit, got, c.want)
			}
		}
		if page, err := w.stores[1].Feed(w.ctx, "other", 0, 10); err != nil || len(page) != 0 {
			w.Errorf("another client reads %d events, %v", len(page), err)
		}
	},
	"goes on after a restart": func(w *world) {
		w.place(w.placement(bill1))
		w.feed(client)
		w.stores[1] = w.open()
		w.place(w.placement(bill2))
		if feed := w.feed(client); len(feed) != 2 {
			w.Errorf("%d events", len(feed))
		}
	},
}
