package sqlstore

import (
	"context"
	"fmt"
	"maps"
	"time"

	"pay.taipei/gateway/orders"
)

// Hand is documented in orders.Folder.
func (s *Store) Hand(ctx context.Context, h orders.Handing) (orders.Order, error) {
	return write(ctx, s, func(u unit) (orders.Order, error) { return u.hand(h) })
}

func (u unit) hand(h orders.Handing) (orders.Order, error) {
	b, err := u.lock(h.Order)
	if err != nil {
		return b.Order, err
	}
	c := changing(b)
	a := c.Book.Order.Attempt(h.Attempt)
	if a == nil {
		return b.Order, fmt.Errorf("%w: attempt %s of order %s", orders.ErrNotFound, h.Attempt, h.Order)
	}
	if !b.Openable(h.Now) || a.No != b.Order.Current().No || (!h.Again && !a.HandedAt.IsZero()) {
		return b.Order, orders.ErrNotPayable
	}
	first := a.HandedAt.IsZero()
	hand(c, a, h.Now)
	if err := u.save(c, h.Now); err != nil || !first {
		return c.Book.Order, err
	}
	return c.Book.Order, u.firstQuery(a, h.QueryAt)
}

const sqlFirstQuery = `UPDATE attempts SET query_ms = $2
	WHERE attempt_no = $1 AND NOT query_claimed AND (query_ms IS NULL OR query_ms > $2) AND state_rank < 30`

// firstQuery brings the first query of an attempt forward: from now on the citizen may be paying.
func (u unit) firstQuery(a *orders.Attempt, at time.Time) error {
	if at.IsZero() {
		return nil
	}
	n, err := u.exec(sqlFirstQuery, a.No, at.UnixMilli())
	if n > 0 {
		a.QueryAt = stored(at)
	}
	return err
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
