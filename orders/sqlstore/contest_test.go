package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/orders/sqlstore"
)

// still is a moment before the end of the tests' orders by one process's clock, over one at their end by another's.
var (
	still = after(10*time.Minute - time.Millisecond)
	over  = after(10 * time.Minute)
)

// rival is an order for a bill that is placed when the time of the holder is over.
func rival(serial int, bills ...string) orders.Placement {
	p := placement(serial, bills...)
	p.Order.CreatedAt, p.Order.ExpiresAt = over, after(20*time.Minute)
	p.Order.Attempts[0].HandedAt = over
	return p
}

// further is another attempt of an order, which leaves at once.
func further(no orders.OrderNo, now time.Time) orders.Addition {
	return orders.Addition{
		Order: no, Now: now, Answer: answer(201), Key: &orders.NewKey{Ref: orders.KeyRef{ClientID: "core", Route: "attempts", Key: string(no)}},
		Next: func(o *orders.Order) (orders.Attempt, error) {
			a := attempt(o.No, o.Current().Ordinal+1)
			a.HandedAt = now
			return a, nil
		},
	}
}

// Two transactions that want the same bills or the same order, the first held open until the second waits: the second sees
// all of the first, or nothing of it had been.
func TestContests(t *testing.T) {
	t.Parallel()
	type (
		verb func(ctx context.Context, s *sqlstore.Store) error
		held func(ctx context.Context, s *sqlstore.Store, h *sqlstore.Hold) error
	)
	const bill, spare = "H60983881309263", "H61283631217536"
	o := placement(1, bill, spare).Order
	one := o.Attempts[0].No
	place := func(ctx context.Context, s *sqlstore.Store) error { _, err := s.Place(ctx, rival(2, bill)); return err }
	placeHeld := func(ctx context.Context, s *sqlstore.Store, h *sqlstore.Hold) error {
		return s.PlaceHeld(ctx, rival(2, bill), h)
	}
	add := func(ctx context.Context, s *sqlstore.Store) error {
		_, err := s.AddAttempt(ctx, further(o.No, still))
		return err
	}
	addHeld := func(ctx context.Context, s *sqlstore.Store, h *sqlstore.Hold) error {
		return s.AddAttemptHeld(ctx, further(o.No, still), h)
	}
	cancel := func(ctx context.Context, s *sqlstore.Store) error {
		_, err := s.Cancel(ctx, orders.Cancellation{Order: o.No, Now: still})
		return err
	}
	cancelHeld := func(ctx context.Context, s *sqlstore.Store, h *sqlstore.Hold) error {
		return s.CancelHeld(ctx, orders.Cancellation{Order: o.No, Now: still}, h)
	}
	confirm := func(ctx context.Context, s *sqlstore.Store) error {
		_, err := s.ClaimConfirm(ctx, one, still)
		return err
	}
	confirmHeld := func(ctx context.Context, s *sqlstore.Store, h *sqlstore.Hold) error {
		return s.ClaimConfirmHeld(ctx, one, still, h)
	}
	pay := func(ctx context.Context, s *sqlstore.Store) error {
		_, err := s.Apply(ctx, said(&o, 1, orders.AttemptPaid, still))
		return err
	}
	payHeld := func(ctx context.Context, s *sqlstore.Store, h *sqlstore.Hold) error {
		return s.ApplyHeld(ctx, said(&o, 1, orders.AttemptPaid, still), h)
	}
	for _, c := range []struct {
		name   string
		first  held
		second verb
		err    error // of the second
		check  func(b orders.Book) bool
	}{
		{"another attempt, then a take-over", addHeld, place, nil, // it left us while the bill was held, and is watched
			func(b orders.Book) bool {
				return len(b.Order.Attempts) == 2 && b.Bills[bill].Holder == "2017061300000002" && !b.Payable(still)
			}},
		{"a take-over, then another attempt", placeHeld, add, orders.ErrNotPayable,
			func(b orders.Book) bool {
				return len(b.Order.Attempts) == 1 && b.Bills[bill].Holder == "2017061300000002"
			}},
		{"another attempt, then the payment", addHeld, pay, nil,
			func(b orders.Book) bool {
				return len(b.Order.Attempts) == 2 && b.Order.State == orders.OrderPaid && b.Order.Paying().No == one
			}},
		{"the payment, then another attempt", payHeld, add, orders.ErrNotPayable,
			func(b orders.Book) bool { return len(b.Order.Attempts) == 1 && b.Order.State == orders.OrderPaid }},
		{"a cancel, then an order for its bill", cancelHeld, place, nil,
			func(b orders.Book) bool {
				return b.Order.State == orders.OrderCancelled && b.Bills[bill].Holder == "2017061300000002" && b.Bills[spare].Holder == ""
			}},
		{"an order for its bill, then the cancel", placeHeld, cancel, nil,
			func(b orders.Book) bool {
				return b.Order.State == orders.OrderCancelled && b.Bills[bill].Holder == "2017061300000002" && b.Bills[spare].Holder == ""
			}},
		{"a confirm, then the cancel", confirmHeld, cancel, nil,
			func(b orders.Book) bool {
				return b.Order.State == orders.OrderOpen && !b.Order.CancelAsked.IsZero() && b.Order.Doubt() && b.Bills[bill].Holder == o.No
			}},
		{"the cancel, then a confirm", cancelHeld, confirm, orders.ErrNotPayable,
			func(b orders.Book) bool { return b.Order.State == orders.OrderCancelled && len(b.Order.Calls) == 0 }},
		{"a confirm, then another attempt", confirmHeld, add, orders.ErrNotPayable,
			func(b orders.Book) bool { return len(b.Order.Attempts) == 1 && b.Order.Doubt() }},
		{"another attempt, then a confirm of the first", addHeld, confirm, nil, // its authorisation may still be taken
			func(b orders.Book) bool { return len(b.Order.Attempts) == 2 && b.Order.Doubt() && !b.Payable(still) }},
		{"the payment, then the cancel", payHeld, cancel, orders.ErrNotPayable,
			func(b orders.Book) bool { return b.Order.State == orders.OrderPaid && !b.Order.Late }},
		{"the cancel, then the payment", cancelHeld, pay, nil,
			func(b orders.Book) bool {
				return b.Order.State == orders.OrderPaid && b.Order.Late && b.Bills[bill].Paid == o.No
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, d database) {
				first, second := d.open(t), d.open(t)
				placed(t, first, placement(1, bill, spare))
				err := contest(t, d, func(ctx context.Context, h *sqlstore.Hold) error { return c.first(ctx, first, h) },
					func(ctx context.Context) error { return c.second(ctx, second) })
				if !errors.Is(err, c.err) {
					t.Errorf("the second got %v, want %v", err, c.err)
				}
				if book := must[orders.Book](t)(first.Book(t.Context(), o.No)); !c.check(book) {
					t.Errorf("the book is %+v", book)
				}
			})
		})
	}
}

// Two requests for a refund of one attempt, the first held open.
func TestContestForARefund(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		first, second := d.open(t), d.open(t)
		o := placed(t, first, placement(1, "H60983881309263"))
		applied(t, first, said(&o, 1, orders.AttemptPaid, after(time.Minute)))
		err := contest(t, d, func(ctx context.Context, h *sqlstore.Hold) error {
			return first.AskRefundHeld(ctx, refunding(&o, 20, "first"), h)
		}, func(ctx context.Context) error {
			_, err := second.AskRefund(ctx, refunding(&o, 20, "second"))
			return err
		})
		wantErr(t, err, orders.ErrRefundUndecided)
	})
}

// refunding asks for a refund of an order's first attempt.
func refunding(o *orders.Order, units int64, key string) orders.RefundRequest {
	ask := orders.RefundAsk{Attempt: o.Attempts[0].No, Amount: dollars(units), Reason: "double payment"}
	return orders.RefundRequest{
		Order: o.No, Now: after(2 * time.Minute), Key: orders.NewKey{Ref: orders.KeyRef{ClientID: "core", Route: "refunds", Key: key}},
		Ask:    func(*orders.Order) (orders.RefundAsk, error) { return ask, nil },
		Answer: func(*orders.Order, *orders.Refund) (int, []byte, error) { return 202, nil, nil },
	}
}

// A request that was thought dead goes on just as its bill is taken, or as another adds an attempt in its place. Here the
// locks cross, and Postgres may have to break a deadlock: one of the two goes on, and nobody is told of it.
func TestZombies(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		one, two := d.open(t), d.open(t)
		at := after(2 * time.Minute)
		for i := range 12 {
			bill := fmt.Sprintf("AAAAAA%03d", i)
			p := serverCreate(placement(2*i+1, bill))
			placed(t, one, p)
			q := placement(2*i+2, bill)
			q.Order.CreatedAt = at
			errs := make([]error, 2)
			parallel(2, func(j int) {
				if j == i%2 {
					_, errs[0] = one.AddAttempt(t.Context(), leased(p, 0, at))
				} else {
					_, errs[1] = two.Place(t.Context(), q)
				}
			})
			var b *orders.BillError
			switch {
			case errs[0] == nil && errors.As(errs[1], &b) && b.Holder == p.Order.No:
			case errs[1] == nil && errors.Is(errs[0], orders.ErrFenced):
			default:
				t.Errorf("take-over %d: the zombie got %v, the taker %v", i, errs[0], errs[1])
			}
		}
		for i := range 12 {
			o := placed(t, one, placement(100+i, fmt.Sprintf("BBBBBB%03d", i)))
			dying := further(o.No, after(time.Minute))
			dying.Key.Ref.Key, dying.Key.LeaseUntil, dying.Answer, dying.Create = "dying "+string(o.No), at, nil, true
			next := dying.Next
			dying.Next = func(o *orders.Order) (orders.Attempt, error) {
				a, err := next(o)
				a.HandedAt = time.Time{}
				return a, err
			}
			o = must[orders.Order](t)(one.AddAttempt(t.Context(), dying))
			finish := orders.CreateFinish{Key: &dying.Key.Ref, Attempt: o.Current().No, Now: at, Outcome: orders.OutcomeDone, Redirect: &orders.Redirect{}, Answer: answer(201)}
			errs := make([]error, 2)
			parallel(2, func(j int) {
				if j == i%2 {
					_, errs[0] = one.FinishCreate(t.Context(), finish)
				} else {
					_, errs[1] = two.AddAttempt(t.Context(), further(o.No, at))
				}
			})
			_, err := one.LookKey(t.Context(), dying.Key.Ref)
			switch {
			case errs[1] != nil:
				t.Errorf("attempt %d: %v", i, errs[1])
			case errs[0] == nil && err == nil:
			case errors.Is(errs[0], orders.ErrFenced) && errors.Is(err, orders.ErrNotFound):
			default:
				t.Errorf("attempt %d: the zombie got %v, its key %v", i, errs[0], err)
			}
		}
	})
}

// The database itself refuses to pay back more than was paid, whatever the code believes.
func TestTheDatabaseRefusesMoreThanWasPaid(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "AAAAAAAAA", "BBBBBBBBB"))
		o = must[orders.Order](t)(s.AddAttempt(t.Context(), further(o.No, after(time.Minute))))
		for i := range o.Attempts {
			applied(t, s, said(&o, i+1, orders.AttemptPaid, after(time.Minute)))
		}
		open := placed(t, s, placement(2, "CCCCCCCCC"))
		must[orders.Order](t)(s.AskRefund(t.Context(), refunding(&o, 30, "part")))
		first, second := string(o.Attempts[0].No), string(o.Attempts[1].No)
		if n := count(t, d, "SELECT paid * 1000000 + surplus * 1000 + refunds FROM attempts WHERE attempt_no = $1", first); n != 40_000_030 {
			t.Errorf("paid, surplus and refunds of the first attempt: %d", n)
		}
		if n := count(t, d, "SELECT paid * 1000000 + surplus * 1000 + refunds FROM attempts WHERE attempt_no = $1", second); n != 40_040_000 {
			t.Errorf("paid, surplus and refunds of the second attempt: %d", n)
		}
		db := d.raw(t)
		for name, c := range map[string]struct{ query, of string }{
			"more than was paid":                     {"UPDATE attempts SET refunds = 41 WHERE attempt_no = $1", first},
			"less than nothing":                      {"UPDATE attempts SET refunds = -1 WHERE attempt_no = $1", first},
			"the surplus as if it were the order's":  {"UPDATE attempts SET refunds = 1 WHERE attempt_no = $1", second},
			"surplus above what was paid":            {"UPDATE attempts SET surplus = 41 WHERE attempt_no = $1", second},
			"money of an attempt that is not paid":   {"UPDATE attempts SET paid = 20 WHERE attempt_no = $1", string(open.Attempts[0].No)},
			"more than the surplus, done":            {"UPDATE surplus SET refunded = 21 WHERE attempt_no = $1", second},
			"more than the surplus, undecided":       {"UPDATE surplus SET refunding = 21 WHERE attempt_no = $1", second},
			"more than the surplus, done and not":    {"UPDATE surplus SET refunding = 11, refunded = 10 WHERE attempt_no = $1", second},
			"a second undecided refund":              {"INSERT INTO refunds SELECT attempt_no, 2, order_no, account, bill_no, 1, reason, state, why, provider_refund_no, asked_ms, decided_ms, send_ms FROM refunds WHERE attempt_no = $1", first},
			"a refund of nothing":                    {"UPDATE refunds SET amount = 0 WHERE attempt_no = $1", first},
			"a state that is none":                   {"UPDATE refunds SET state = 'paid' WHERE attempt_no = $1", first},
			"a hundredth refund":                     {"UPDATE refunds SET ordinal = 100 WHERE attempt_no = $1", first},
			"paid back, and then the payment is not": {"UPDATE attempts SET state_rank = 22, paid_ms = NULL WHERE attempt_no = $1", first},
		} {
			if _, err := db.Exec(c.query, c.of); err == nil {
				t.Errorf("the database takes %s", name)
			}
		}
		applied(t, s, said(&o, 1, orders.AttemptFailed, after(time.Hour))) // nothing of this was left behind
		must[orders.Order](t)(s.AskRefund(t.Context(), func() orders.RefundRequest {
			r := refunding(&o, 20, "surplus")
			r.Ask = func(*orders.Order) (orders.RefundAsk, error) {
				return orders.RefundAsk{Attempt: o.Attempts[1].No, BillNo: "BBBBBBBBB"}, nil
			}
			return r
		}()))
		if n := count(t, d, "SELECT refunding FROM surplus WHERE bill_no = 'BBBBBBBBB'"); n != 20 {
			t.Errorf("%d of the surplus are on their way", n)
		}
	})
}
