package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/orders/sqlstore"
)

// parallel runs f n times at once.
func parallel(n int, f func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}

func TestManyOrdersForOneBill(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		errs := make([]error, 64)
		parallel(len(errs), func(i int) {
			_, errs[i] = s.Place(t.Context(), placement(i, "H60983881309263", fmt.Sprintf("B%08d", i)))
		})
		won := 0
		for _, err := range errs {
			var b *orders.BillError
			switch {
			case err == nil:
				won++
			case !errors.As(err, &b) || b.Paid || b.Client != "core" || b.Holder == "":
				t.Errorf("a loser got %v", err)
			}
		}
		if n := count(t, d, "SELECT COUNT(*) FROM orders"); won != 1 || n != 1 {
			t.Errorf("%d won, %d orders are stored", won, n)
		}
		if n := count(t, d, "SELECT COUNT(*) FROM keys"); n != 1 {
			t.Errorf("%d keys are stored", n)
		}
	})
}

func TestOneKeyManyTimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		errs := make([]error, 32)
		parallel(len(errs), func(i int) {
			p := placement(i, "H60983881309263")
			p.Key.Key = "one"
			_, errs[i] = s.Place(t.Context(), p)
		})
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, orders.ErrKeyTaken) {
				t.Errorf("a loser got %v", err)
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
	})
}

func TestSameEvidenceManyTimes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "H60983881309263", "H61283631217536"))
		results := make([]orders.Applied, 200)
		errs := make([]error, len(results))
		parallel(len(results), func(i int) {
			e := said(&o, 1, orders.AttemptPaid, after(time.Minute))
			e.Nonce = fmt.Sprint(i)
			results[i], errs[i] = s.Apply(t.Context(), e)
		})
		moved := 0
		for i, r := range results {
			if errs[i] != nil || r.Verdict != orders.VerdictApplied || r.Order.State != orders.OrderPaid {
				t.Fatalf("copy %d: %+v, %v", i, r, errs[i])
			}
			if r.Moved {
				moved++
			}
			if r.Moved == r.Repeat {
				t.Errorf("copy %d moved %v, repeat %v", i, r.Moved, r.Repeat)
			}
		}
		if events := count(t, d, "SELECT COUNT(*) FROM events WHERE type = 'order.paid'"); moved != 1 || events != 1 {
			t.Errorf("%d moves, %d events", moved, events)
		}
		if seen := count(t, d, "SELECT seen FROM evidence"); seen != 200 {
			t.Errorf("seen %d times", seen)
		}
	})
}

// Crossing pairs of bills and evidence of both orders: whoever waits for whom, nothing is
// lost and nobody is told of a deadlock.
func TestCrossingBillsAndEvidence(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		a := placed(t, s, placement(1, "AAAAAAAAA", "BBBBBBBBB"))
		late := placement(2, "BBBBBBBBB", "AAAAAAAAA") // takes both after the end of the first
		late.Order.CreatedAt, late.Order.ExpiresAt = after(11*time.Minute), after(20*time.Minute)
		b := placed(t, s, late)
		parallel(40, func(i int) {
			o := &a
			if i%2 == 1 {
				o = &b
			}
			state := []orders.AttemptState{orders.AttemptFailed, orders.AttemptExpired, orders.AttemptPaid, orders.AttemptCancelled}[i/2%4]
			if _, err := s.Apply(t.Context(), said(o, 1, state, after(time.Duration(i)*time.Minute))); err != nil {
				t.Error(err)
			}
		})
		for _, o := range []orders.Order{a, b} {
			if got := must[orders.Order](t)(s.Order(t.Context(), o.No)); got.State != orders.OrderPaid {
				t.Errorf("order %s is %s", o.No, got.State)
			}
		}
		if n := count(t, d, "SELECT COUNT(*) FROM surplus"); n != 2 {
			t.Errorf("%d surplus rows, want 2", n)
		}
	})
}

// contest runs first up to its commit, then second until it waits for a lock, lets first
// commit, and returns what second got.
func contest(t *testing.T, d database, first func(context.Context, *sqlstore.Hold) error, second func(context.Context) error) error {
	t.Helper()
	h := sqlstore.NewHold()
	firstEnded, secondEnded := make(chan error, 1), make(chan error, 1)
	go func() { firstEnded <- first(t.Context(), h) }()
	select {
	case <-h.Ran():
	case err := <-firstEnded:
		t.Fatalf("the first ended early: %v", err)
	}
	go func() { secondEnded <- second(t.Context()) }()
	if d.name == "postgres" {
		awaitLockWait(t, d, secondEnded)
	} // SQLite has one writer: the second cannot even begin
	h.Release()
	if err := <-firstEnded; err != nil {
		t.Fatalf("the first lost: %v", err)
	}
	return <-secondEnded
}

// awaitLockWait returns when a session of the database waits for a lock.
func awaitLockWait(t *testing.T, d database, ended <-chan error) {
	t.Helper()
	db := d.raw(t)
	for waiting := 0; waiting == 0; {
		select {
		case err := <-ended:
			t.Fatalf("the second did not wait for the first: %v", err)
		default:
		}
		if err := db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
}

// An order that waits for its lower bill must not hold the higher one meanwhile: two orders
// over the same bills could wait for each other for ever.
func TestBillsAreLockedInOrder(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, "postgres", testkit.Postgres(t))
	s := d.open(t)
	o := placed(t, s, placement(1, "BBBBBBBBB", "AAAAAAAAA"))
	db := d.raw(t)
	lower := must[*sql.Tx](t)(db.Begin())
	if _, err := lower.Exec("UPDATE bills SET locked = 0 WHERE bill_no = 'AAAAAAAAA'"); err != nil {
		t.Fatal(err)
	}
	for name, verb := range map[string]func() error{
		"hand": func() error {
			_, err := s.Hand(t.Context(), orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: true, Now: morning})
			return err
		},
		"place": func() error { _, err := s.Place(t.Context(), placement(2, "BBBBBBBBB", "AAAAAAAAA")); return err },
	} {
		ended := make(chan error, 1)
		go func() { ended <- verb() }()
		awaitLockWait(t, d, ended)
		if _, err := db.Exec("SELECT 1 FROM bills WHERE bill_no = 'BBBBBBBBB' FOR UPDATE NOWAIT"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := lower.Rollback(); err != nil {
			t.Fatal(err)
		}
		var b *orders.BillError
		if err := <-ended; err != nil && !errors.As(err, &b) {
			t.Errorf("%s: %v", name, err)
		}
		lower = must[*sql.Tx](t)(db.Begin())
		if _, err := lower.Exec("UPDATE bills SET locked = 0 WHERE bill_no = 'AAAAAAAAA'"); err != nil {
			t.Fatal(err)
		}
	}
	if err := lower.Rollback(); err != nil {
		t.Fatal(err)
	}
}

// The first order's time is over for one process and not for the other, as between two
// clocks: exactly one of them may have the bill.
func TestTakeOverAgainstTheHolder(t *testing.T) {
	t.Parallel()
	const bill = "H60983881309263"
	newOrder := func() orders.Placement {
		p := placement(2, bill)
		p.Order.CreatedAt, p.Order.ExpiresAt = after(10*time.Minute), after(20*time.Minute)
		return p
	}
	still := after(10*time.Minute - time.Millisecond)
	onBoth(t, func(t *testing.T, d database) {
		fresh := func(t *testing.T) (database, *sqlstore.Store, *sqlstore.Store, orders.Order) {
			for _, table := range []string{"events", "calls", "attempts", "order_lines", "keys", "orders", "bills"} {
				if _, err := d.raw(t).Exec("DELETE FROM " + table); err != nil {
					t.Fatal(err)
				}
			}
			s := d.open(t)
			p := placement(1, bill)
			p.Order.Attempts[0].State, p.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
			return d, s, d.open(t), placed(t, s, p)
		}
		t.Run("confirm first", func(t *testing.T) {
			d, one, two, o := fresh(t)
			err := contest(t, d, func(ctx context.Context, h *sqlstore.Hold) error {
				return one.ClaimConfirmHeld(ctx, o.Attempts[0].No, still, h)
			}, func(ctx context.Context) error {
				_, err := two.Place(ctx, newOrder())
				return err
			})
			var b *orders.BillError
			if !errors.As(err, &b) || b.Holder != o.No {
				t.Errorf("the new order got %v", err)
			}
		})
		t.Run("take-over before confirm", func(t *testing.T) {
			d, one, two, o := fresh(t)
			err := contest(t, d, func(ctx context.Context, h *sqlstore.Hold) error {
				return one.PlaceHeld(ctx, newOrder(), h)
			}, func(ctx context.Context) error {
				_, err := two.ClaimConfirm(ctx, o.Attempts[0].No, still)
				return err
			})
			wantErr(t, err, orders.ErrNotPayable)
		})
		t.Run("take-over before hand", func(t *testing.T) {
			d, one, two, o := fresh(t)
			err := contest(t, d, func(ctx context.Context, h *sqlstore.Hold) error {
				return one.PlaceHeld(ctx, newOrder(), h)
			}, func(ctx context.Context) error {
				_, err := two.Hand(ctx, orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: true, Now: still})
				return err
			})
			wantErr(t, err, orders.ErrNotPayable)
		})
		t.Run("hand first", func(t *testing.T) {
			d, one, two, o := fresh(t)
			err := contest(t, d, func(ctx context.Context, h *sqlstore.Hold) error {
				return one.HandHeld(ctx, o.No, o.Attempts[0].No, still, h)
			}, func(ctx context.Context) error {
				_, err := two.Place(ctx, newOrder())
				return err
			})
			if err != nil { // it left us while the first held the bill; afterwards the bill is free
				t.Error(err)
			}
			_, err = one.Hand(t.Context(), orders.Handing{Order: o.No, Attempt: o.Attempts[0].No, Again: true, Now: still})
			wantErr(t, err, orders.ErrNotPayable)
		})
	})
}

// A request comes back to life just as its bill is taken: one of them gets it.
func TestTakeOverAgainstResume(t *testing.T) {
	t.Parallel()
	const bill = "H60983881309263"
	at := after(2 * time.Minute)
	newOrder := placement(2, bill)
	newOrder.Order.CreatedAt = at
	onBoth(t, func(t *testing.T, d database) {
		s, other := d.open(t), d.open(t)
		p := serverCreate(placement(1, bill))
		o := placed(t, s, p)
		err := contest(t, d, func(ctx context.Context, h *sqlstore.Hold) error {
			return s.ResumeHeld(ctx, resumption(p, at), h)
		}, func(ctx context.Context) error {
			_, err := other.Place(ctx, newOrder)
			return err
		})
		var b *orders.BillError
		if !errors.As(err, &b) || b.Holder != o.No {
			t.Errorf("the new order got %v", err)
		}
	})
	onBoth(t, func(t *testing.T, d database) {
		s, other := d.open(t), d.open(t)
		p := serverCreate(placement(1, bill))
		placed(t, s, p)
		err := contest(t, d, func(ctx context.Context, h *sqlstore.Hold) error {
			return s.PlaceHeld(ctx, newOrder, h)
		}, func(ctx context.Context) error {
			_, err := other.Resume(ctx, resumption(p, at))
			return err
		})
		var b *orders.BillError
		if !errors.As(err, &b) || b.Holder != newOrder.Order.No {
			t.Errorf("the resumed request got %v", err)
		}
	})
}

// resumption takes over a placement at a time.
func resumption(p orders.Placement, at time.Time) orders.Resumption {
	return orders.Resumption{
		Key: p.Key, Fingerprint: p.Fingerprint, Now: at, LeaseUntil: at.Add(30 * time.Second),
		Conflict: func(o *orders.Order, b *orders.BillError) (int, []byte, error) {
			return 409, fmt.Appendf(nil, "%s lost %s", o.State, b.BillNo), nil
		},
	}
}

// leased is the next attempt of the request that holds a placement's key.
func leased(p orders.Placement, fence int64, at time.Time) orders.Addition {
	return orders.Addition{
		Order: p.Order.No, Now: at, Lease: &orders.Lease{Key: p.Key, Fence: fence, Until: at.Add(30 * time.Second)}, Create: true,
		Next: func(o *orders.Order) (orders.Attempt, error) { return attempt(o.No, o.Current().Ordinal+1), nil },
	}
}

// Two sequencers and two writers: a client's feed has no gap and one chain.
func TestSequenceIsGapFree(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		const n = 60
		parallel(4, func(worker int) {
			if worker < 2 {
				for i := range n / 2 {
					p := placement(worker*n+i, fmt.Sprintf("B%08d", worker*n+i))
					if i%3 == 0 {
						p.Order.ClientID, p.Key.ClientID = "other", "other"
					}
					if _, err := s.Place(t.Context(), p); err != nil {
						t.Error(err)
					}
				}
				return
			}
			for range n / 2 {
				if _, err := s.Sequence(t.Context(), 7); err != nil {
					t.Error(err)
				}
			}
		})
		for more := true; more; {
			more = must[int](t)(s.Sequence(t.Context(), 7)) > 0
		}
		total := checkFeed(t, s, "core") + checkFeed(t, s, "other")
		if total != n {
			t.Errorf("%d events are in the feeds, want %d", total, n)
		}
	})
}
