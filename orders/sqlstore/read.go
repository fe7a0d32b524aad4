package sqlstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/orders"
)

// Order is documented in orders.Reader.
func (s *Store) Order(ctx context.Context, no orders.OrderNo) (orders.Order, error) {
	return read(ctx, s, func(u unit) (orders.Order, error) { return u.order(no) })
}

// Book is documented in orders.Reader.
func (s *Store) Book(ctx context.Context, no orders.OrderNo) (orders.Book, error) {
	return read(ctx, s, func(u unit) (orders.Book, error) {
		o, err := u.order(no)
		if err != nil {
			return orders.Book{}, err
		}
		return u.book(o, sqlBill)
	})
}

const (
	sqlByReference = `SELECT order_no FROM orders WHERE client_id = $1 AND client_reference = $2`
	sqlByPayToken  = `SELECT order_no FROM orders WHERE pay_token = $1`
	sqlByToken     = `SELECT attempt_no FROM attempts WHERE token = $1`
)

// OrderByReference is documented in orders.Reader.
func (s *Store) OrderByReference(ctx context.Context, clientID, reference string) (orders.Order, error) {
	return read(ctx, s, func(u unit) (orders.Order, error) {
		no, err := lookUp[orders.OrderNo](u, sqlByReference, clientID, reference)
		if err != nil {
			return orders.Order{}, err
		}
		return u.order(no)
	})
}

// OrderByPayToken is documented in orders.Reader.
func (s *Store) OrderByPayToken(ctx context.Context, token string) (orders.OrderNo, error) {
	return read(ctx, s, func(u unit) (orders.OrderNo, error) { return lookUp[orders.OrderNo](u, sqlByPayToken, token) })
}

// AttemptByToken is documented in orders.Reader.
func (s *Store) AttemptByToken(ctx context.Context, token string) (orders.AttemptNo, error) {
	return read(ctx, s, func(u unit) (orders.AttemptNo, error) { return lookUp[orders.AttemptNo](u, sqlByToken, token) })
}

// lookUp finds a number by something else. What it looks for may be any text that an
// outsider sent, and stays out of the error.
func lookUp[T orders.OrderNo | orders.AttemptNo](u unit, query string, by ...string) (T, error) {
	args := make([]any, len(by))
	for i := range by {
		args[i] = text(by[i])
	}
	var no T
	found, err := u.one(query, args, &no)
	if err == nil && !found {
		err = orders.ErrNotFound
	}
	return no, err
}

const (
	sqlTimelineEvents = `SELECT version, type, occurred_ms, state, attempts, last_error, ended_ms FROM events
		WHERE order_no = $1 ORDER BY version`
	sqlTimelineEvidence = `SELECT e.digest, e.attempt_no, e.source, e.purpose, e.verdict, e.why, e.seen, e.received_ms
		FROM attempts a JOIN evidence e ON e.attempt_no = a.attempt_no WHERE a.order_no = $1 ORDER BY e.received_ms, e.digest`
)

// Timeline is documented in orders.Reader. Rows are in the order of their times; at the
// same time evidence and calls come before the events that they caused.
func (s *Store) Timeline(ctx context.Context, no orders.OrderNo) ([]orders.TimelineRow, error) {
	return read(ctx, s, func(u unit) ([]orders.TimelineRow, error) {
		o, err := u.order(no)
		if err != nil {
			return nil, err
		}
		rows, err := all(u, sqlTimelineEvidence, no, scanEvidenceRow)
		if err != nil {
			return nil, err
		}
		rows = append(rows, callRows(&o)...)
		err = u.each(sqlTimelineEvents, []any{no}, func(row scan) error {
			happened, err := eventRows(row)
			rows = append(rows, happened...)
			return err
		})
		slices.SortStableFunc(rows, func(a, b orders.TimelineRow) int { return a.At.Compare(b.At) })
		return rows, err
	})
}

func scanEvidenceRow(row scan, t *orders.TimelineRow) error {
	var source, purpose, verdict, why string
	var seen int64
	if err := row(&t.Evidence, &t.AttemptNo, &source, &purpose, &verdict, &why, &seen, moment{&t.At}); err != nil {
		return err
	}
	t.What, t.Detail = "evidence", source
	if purpose != "" {
		t.Detail += " (" + purpose + ")"
	}
	t.Detail += ": " + verdict
	if why != "" {
		t.Detail += ", differs in " + why
	}
	if seen > 1 {
		t.Detail += fmt.Sprintf(", received %d times", seen)
	}
	return nil
}

func callRows(o *orders.Order) []orders.TimelineRow {
	var rows []orders.TimelineRow
	for _, c := range o.Calls {
		name := fmt.Sprintf("%s %d", c.Op, c.Ordinal)
		rows = append(rows, orders.TimelineRow{At: c.SentAt, What: "call", AttemptNo: c.Attempt, Detail: name + " about to be sent"})
		if c.Outcome != orders.OutcomeOpen {
			rows = append(rows, orders.TimelineRow{At: c.EndedAt, What: "call", AttemptNo: c.Attempt, Detail: name + ": " + string(c.Outcome)})
		}
	}
	return rows
}

// eventRows are an event and how far its delivery is.
func eventRows(row scan) ([]orders.TimelineRow, error) {
	var version, attempts int64
	var what, state, lastError string
	var at, ended time.Time
	if err := row(&version, &what, moment{&at}, &state, &attempts, &lastError, moment{&ended}); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("version %d", version)
	rows := []orders.TimelineRow{{At: at, What: what, Detail: name}}
	if ended.IsZero() {
		return rows, nil
	}
	detail := fmt.Sprintf("%s: %s, tried %d times", name, state, attempts)
	if lastError != "" {
		detail += ", last error: " + lastError
	}
	return append(rows, orders.TimelineRow{At: ended, What: "delivery", Detail: detail}), nil
}

const (
	sqlOutboxGauge = `SELECT state, COUNT(*), MIN(occurred_ms) FROM events
		WHERE state <> 'done' AND client_id IN (/*clients*/) GROUP BY state`
	sqlCounts = `SELECT
		(SELECT COUNT(DISTINCT a.order_no) FROM calls c JOIN attempts a ON a.attempt_no = c.attempt_no
			WHERE c.op <> 'create' AND c.outcome IN ('', 'unknown') AND a.state_rank IN (0, 10, 20)),
		(SELECT COUNT(*) FROM surplus WHERE refunded < amount),
		(SELECT COUNT(*) FROM orders WHERE review),
		(SELECT COUNT(*) FROM evidence WHERE verdict = 'orphan'),
		(SELECT COUNT(*) FROM evidence WHERE verdict = 'needs_query' AND applied_ms IS NULL)`
)

// Gauges is documented in orders.Reader. Delivered events are not counted: they only grow.
func (s *Store) Gauges(ctx context.Context, clients []string) (orders.Gauges, error) {
	return read(ctx, s, func(u unit) (orders.Gauges, error) {
		g := orders.Gauges{OutboxDepth: map[orders.DeliveryState]int64{}}
		if _, err := u.one(sqlCounts, nil, &g.Doubts, &g.SurplusOpen, &g.ReviewsOpen, &g.Orphans, &g.Unproven); err != nil {
			return g, err
		}
		if len(clients) == 0 {
			return g, nil
		}
		err := u.each(withClients(sqlOutboxGauge, 1, len(clients)), anys(clients), func(row scan) error {
			var state orders.DeliveryState
			var n int64
			var oldest time.Time
			err := row(&state, &n, moment{&oldest})
			g.OutboxDepth[state], g.OutboxOldest = n, earlier(g.OutboxOldest, oldest)
			return err
		})
		return g, err
	})
}
