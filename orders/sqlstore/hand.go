package sqlstore

import (
	"context"
	"fmt"
	"maps"
	"time"

	"pay.taipei/gateway/orders"
)

// Hand is documented in orders.Folder.
func (s *Store) Hand(ctx context.Context, no orders.OrderNo, attempt orders.AttemptNo, again bool, now time.Time) (orders.Order, error) {
	return write(ctx, s, func(u unit) (orders.Order, error) { return u.hand(no, attempt, again, now) })
}

func (u unit) hand(no orders.OrderNo, attempt orders.AttemptNo, again bool, now time.Time) (orders.Order, error) {
	b, err := u.lock(no)
	if err != nil {
		return b.Order, err
	}
	c := changing(b)
	a := c.Book.Order.Attempt(attempt)
	if a == nil {
		return b.Order, fmt.Errorf("%w: attempt %s of order %s", orders.ErrNotFound, attempt, no)
	}
	if !b.Openable(now) || a.No != b.Order.Current().No || (!again && !a.HandedAt.IsZero()) {
		return b.Order, orders.ErrNotPayable
	}
	hand(c, a, now)
	err = u.save(c, now)
	return c.Book.Order, err
}

// hand notes that the attempt's redirect leaves us now: the citizen may be paying.
func hand(c *change, a *orders.Attempt, now time.Time) {
	if a.HandedAt.IsZero() {
		a.HandedAt = now
	}
	if a.State == orders.AttemptIntent {
		a.State = orders.AttemptPending
		c.event(orders.EventPending)
	}
}

// merged is the union of two sets of references; the second wins.
func merged(first, second map[string]string) map[string]string {
	if len(first) == 0 {
		return second
	}
	both := maps.Clone(first)
	maps.Copy(both, second)
	return both
}
