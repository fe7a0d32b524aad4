package sqlstore

import (
	"context"
	"crypto/sha256"
	"time"

	"pay.taipei/gateway/orders"
)

// ready is an event that may be delivered: every older one of its order is done.
const ready = `FROM events e WHERE e.state = 'ready' AND e.client_id IN (/*clients*/)
	AND NOT EXISTS (SELECT 1 FROM events p WHERE p.order_no = e.order_no AND p.version < e.version AND p.state <> 'done')`

const (
	// The end of the lease is the next time at which the event is due.
	sqlClaimDelivery = `UPDATE events SET due_ms = $2, fence = fence + 1, attempts = attempts + 1
		WHERE (order_no, version) = (SELECT e.order_no, e.version ` + ready + ` AND e.due_ms <= $1
			ORDER BY e.due_ms, e.order_no, e.version LIMIT 1 /*skip locked*/)
		RETURNING order_no, version, client_id, type, occurred_ms, body, attempts, fence`
	sqlFinishDelivery = `UPDATE events SET state = $4, due_ms = COALESCE($5, due_ms), ended_ms = $6, last_error = $7
		WHERE order_no = $1 AND version = $2 AND fence = $3 AND state = 'ready'`
	sqlNextDelivery = `SELECT MIN(e.due_ms) ` + ready
)

// ClaimDelivery is documented in orders.Outbox.
func (s *Store) ClaimDelivery(ctx context.Context, clients []string, now time.Time, lease time.Duration) (orders.Delivery, error) {
	if len(clients) == 0 {
		return orders.Delivery{}, orders.ErrNothing
	}
	query := withClients(sqlClaimDelivery, 3, len(clients))
	args := append([]any{now.UnixMilli(), now.Add(lease).UnixMilli()}, anys(clients)...)
	return write(ctx, s, func(u unit) (orders.Delivery, error) {
		var d orders.Delivery
		e := &d.Event
		found, err := u.one(query, args, &e.OrderNo, &e.Version, &e.ClientID, &e.Type, moment{&e.OccurredAt}, &e.Body, &d.Attempts, &d.Fence)
		if err == nil && !found {
			err = orders.ErrNothing
		}
		d.Attempts-- // not counting this one
		return d, err
	})
}

func anys(texts []string) []any {
	args := make([]any, len(texts))
	for i, t := range texts {
		args[i] = t
	}
	return args
}

// FinishDelivery is documented in orders.Outbox.
func (s *Store) FinishDelivery(ctx context.Context, d orders.Delivery, state orders.DeliveryState, now, due time.Time, lastError string) error {
	_, err := write(ctx, s, func(u unit) (int64, error) {
		return u.fenced(sqlFinishDelivery, d.Event.OrderNo, d.Event.Version, d.Fence, string(state), millis(due), now.UnixMilli(), note(lastError))
	})
	return err
}

// NextDelivery is documented in orders.Outbox.
func (s *Store) NextDelivery(ctx context.Context, clients []string) (time.Time, error) {
	if len(clients) == 0 {
		return time.Time{}, nil
	}
	return read(ctx, s, func(u unit) (at time.Time, err error) {
		_, err = u.one(withClients(sqlNextDelivery, 1, len(clients)), anys(clients), moment{&at})
		return at, err
	})
}

const (
	sqlUnsequenced = `SELECT client_id FROM events WHERE seq IS NULL ORDER BY occurred_ms, client_id LIMIT 1`
	sqlLockHead    = `INSERT INTO feed_heads (client_id, seq, hash) VALUES ($1, 0, $2)
		ON CONFLICT (client_id) DO UPDATE SET seq = feed_heads.seq RETURNING seq, hash`
	sqlNextInFeed = `SELECT order_no, version, body FROM events WHERE client_id = $1 AND seq IS NULL
		ORDER BY order_no, version LIMIT $2`
	sqlSequence = `UPDATE events SET seq = $3, hash = $4 WHERE order_no = $1 AND version = $2 AND seq IS NULL`
	sqlMoveHead = `UPDATE feed_heads SET seq = $2, hash = $3 WHERE client_id = $1`
)

// Sequence is documented in orders.Outbox. The lock on the client's head row lets one
// process at a time write a client's feed.
func (s *Store) Sequence(ctx context.Context, limit int) (int, error) {
	for {
		b, err := write(ctx, s, func(u unit) (batch, error) { return u.sequence(limit) })
		if err != nil || b.events > 0 || !b.waited {
			return b.events, err
		}
	}
}

// batch is what one transaction sequenced; waited says that there was something to
// sequence before it got the lock.
type batch struct {
	events int
	waited bool
}

func (u unit) sequence(limit int) (batch, error) {
	var client string
	waited, err := u.one(sqlUnsequenced, nil, &client)
	if err != nil || !waited || limit < 1 {
		return batch{}, err
	}
	var seq int64
	var hash []byte
	if _, err := u.one(sqlLockHead, []any{client, make([]byte, sha256.Size)}, &seq, &hash); err != nil {
		return batch{}, err
	}
	var events []orders.Event
	err = u.each(sqlNextInFeed, []any{client, limit}, func(row scan) error {
		var e orders.Event
		err := row(&e.OrderNo, &e.Version, &e.Body)
		events = append(events, e)
		return err
	})
	if err != nil || len(events) == 0 {
		return batch{waited: true}, err
	}
	for _, e := range events {
		seq++
		sum := sha256.Sum256(append(hash, e.Body...))
		hash = sum[:]
		if err := u.exec1(sqlSequence, e.OrderNo, e.Version, seq, hash); err != nil {
			return batch{}, err
		}
	}
	return batch{events: len(events)}, u.exec1(sqlMoveHead, client, seq, hash)
}

const sqlFeed = `SELECT seq, hash, body FROM events WHERE client_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`

// Feed is documented in orders.Reader.
func (s *Store) Feed(ctx context.Context, clientID string, after int64, limit int) ([]orders.FeedEvent, error) {
	return read(ctx, s, func(u unit) ([]orders.FeedEvent, error) {
		var feed []orders.FeedEvent
		err := u.each(sqlFeed, []any{clientID, after, limit}, func(row scan) error {
			var e orders.FeedEvent
			var hash []byte
			err := row(&e.Seq, &hash, &e.Body)
			copy(e.Hash[:], hash)
			feed = append(feed, e)
			return err
		})
		return feed, err
	})
}
