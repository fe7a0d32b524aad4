package sqlstore_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/orders/sqlstore"
)

// checkFeed checks a whole feed's numbers and chain, and returns its length.
func checkFeed(t *testing.T, s *sqlstore.Store, client string) int {
	t.Helper()
	feed := must[[]orders.FeedEvent](t)(s.Feed(t.Context(), client, 0, 1000))
	var previous [32]byte
	for i, e := range feed {
		if want := sha256.Sum256(append(previous[:], e.Body...)); e.Seq != int64(i+1) || e.Hash != want {
			t.Fatalf("event %d of %s has number %d, hash %x, want %x", i+1, client, e.Seq, e.Hash, want)
		}
		previous = e.Hash
	}
	return len(feed)
}

var core = []string{"core", "other"}

func TestDeliveryKeepsTheOrderOfAnOrder(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "AAAAAAAAA"))
		applied(t, s, said(&o, 1, orders.AttemptPaid, after(time.Minute)))
		second := placement(2, "BBBBBBBBB")
		second.Order.CreatedAt = after(2 * time.Minute)
		placed(t, s, second)
		claim := func(at time.Time) (orders.Delivery, error) {
			return s.ClaimDelivery(t.Context(), core, at, time.Minute)
		}
		now := after(3 * time.Minute)

		first := must[orders.Delivery](t)(claim(now))
		if first.Event.OrderNo != o.No || first.Event.Version != 1 || first.Attempts != 0 || first.Event.Type != orders.EventCreated {
			t.Fatalf("claimed %+v", first)
		}
		if other := must[orders.Delivery](t)(claim(now)); other.Event.OrderNo != second.Order.No {
			t.Errorf("version %d of order %s overtakes", other.Event.Version, other.Event.OrderNo)
		}
		_, err := claim(now)
		wantErr(t, err, orders.ErrNothing)
		if next := must[time.Time](t)(s.NextDelivery(t.Context(), core)); !next.Equal(now.Add(time.Minute)) {
			t.Errorf("next delivery at %v", next)
		}

		again := must[orders.Delivery](t)(claim(now.Add(time.Minute))) // the lease has passed
		if again.Event.Version != 1 || again.Attempts != 1 {
			t.Fatalf("claimed again %+v", again)
		}
		wantErr(t, s.FinishDelivery(t.Context(), first, orders.DeliveryDone, now, time.Time{}, ""), orders.ErrFenced)
		if err := s.FinishDelivery(t.Context(), again, orders.DeliveryDone, now, time.Time{}, ""); err != nil {
			t.Fatal(err)
		}
		paid := must[orders.Delivery](t)(claim(now))
		if paid.Event.OrderNo != o.No || paid.Event.Version != 2 {
			t.Fatalf("claimed %+v", paid)
		}
		if err := s.FinishDelivery(t.Context(), paid, orders.DeliveryHeld, now, time.Time{}, "410 Gone"); err != nil {
			t.Fatal(err)
		}
		applied(t, s, said(&o, 1, orders.AttemptFailed, now)) // no event
		wrong := said(&o, 1, orders.AttemptPaid, now)
		wrong.Account = "another"
		applied(t, s, wrong) // order.review, behind the held one
		if got, err := claim(now); err == nil && got.Event.OrderNo == o.No {
			t.Errorf("version %d overtakes a held one", got.Event.Version)
		}
		g := must[orders.Gauges](t)(s.Gauges(t.Context(), core))
		if g.OutboxDepth[orders.DeliveryHeld] != 1 || g.OutboxDepth[orders.DeliveryReady] != 2 || g.ReviewsOpen != 1 {
			t.Errorf("gauges %+v", g)
		}
	})
}

func TestDeliveryIsForTheGivenClients(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		placed(t, s, placement(1, "AAAAAAAAA"))
		for _, clients := range [][]string{nil, {"other"}} {
			_, err := s.ClaimDelivery(t.Context(), clients, morning, time.Minute)
			wantErr(t, err, orders.ErrNothing)
			if next := must[time.Time](t)(s.NextDelivery(t.Context(), clients)); !next.IsZero() {
				t.Errorf("next delivery at %v for %v", next, clients)
			}
		}
		if _, err := s.ClaimDelivery(t.Context(), core, morning, time.Minute); err != nil {
			t.Error(err)
		}
	})
}

func TestDeliveryRetry(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "AAAAAAAAA"))
		first := must[orders.Delivery](t)(s.ClaimDelivery(t.Context(), core, morning, time.Minute))
		due := after(5 * time.Second)
		if err := s.FinishDelivery(t.Context(), first, orders.DeliveryReady, morning, due, "500\x00"); err != nil {
			t.Fatal(err)
		}
		_, err := s.ClaimDelivery(t.Context(), core, due.Add(-time.Millisecond), time.Minute)
		wantErr(t, err, orders.ErrNothing)
		second := must[orders.Delivery](t)(s.ClaimDelivery(t.Context(), core, due, time.Minute))
		if second.Attempts != 1 || second.Fence == first.Fence {
			t.Errorf("claimed %+v after %+v", second, first)
		}
		rows := must[[]orders.TimelineRow](t)(s.Timeline(t.Context(), o.No))
		if len(rows) != 3 || rows[1].What != "delivery" || rows[2].What != "waiting" {
			t.Errorf("timeline %+v", rows)
		}
	})
}
