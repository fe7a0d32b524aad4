package sqlstore

import (
	"context"
	"encoding/json"
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
	sqlTimelineEvents = `SELECT version, type, occurred_ms, state, attempts, last_error, ended_ms, due_ms FROM events
		WHERE order_no = $1 ORDER BY version`
	sqlTimelineEvidence = `SELECT e.digest, e.attempt_no, e.source, e.purpose, e.verdict, e.why, e.seen, e.received_ms, e.fact
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
		rows = append(rows, receiptRows(&o)...)
		rows = append(rows, callRows(&o)...)
		rows = append(rows, refundRows(&o)...)
		rows = append(rows, caseRows(&o)...)
		err = u.each(sqlTimelineEvents, []any{no}, func(row scan) error {
			happened, err := eventRows(row)
			rows = append(rows, happened...)
			return err
		})
		slices.SortStableFunc(rows, func(a, b orders.TimelineRow) int { return a.At.Compare(b.At) })
		return rows, err
	})
}

const (
	sqlWaitingQueries = `SELECT attempt_no, asked, query_since_ms, query_last, CASE WHEN query_claimed THEN NULL ELSE query_ms END
		FROM attempts WHERE order_no = $1 AND query_ms IS NOT NULL AND ` + askable + ` ORDER BY ordinal`
	sqlWaitingRefunds = `SELECT attempt_no, ordinal, sends, send_last, send_ms FROM refunds
		WHERE order_no = $1 AND state = 'undecided' AND send_ms IS NOT NULL ORDER BY attempt_no`
)

// Waiting is documented in orders.Reader.
func (s *Store) Waiting(ctx context.Context, no orders.OrderNo) (orders.Waiting, error) {
	return read(ctx, s, func(u unit) (orders.Waiting, error) {
		var w orders.Waiting
		o, err := u.order(no)
		if err != nil {
			return w, err
		}
		if w.Queries, err = all(u, sqlWaitingQueries, no, func(row scan, q *orders.QueryWork) error {
			q.Order = o
			return row(&q.Attempt, &q.Asked, moment{&q.Since}, &q.Last, moment{&q.Due})
		}); err != nil {
			return w, err
		}
		for i := range w.Queries {
			q := &w.Queries[i]
			if _, err := u.one(sqlUnproven, []any{q.Attempt}, &q.Unproven, moment{&q.UnprovenAt}); err != nil {
				return w, err
			}
		}
		w.Refunds, err = all(u, sqlWaitingRefunds, no, func(row scan, r *orders.RefundWork) error {
			r.Order = o
			err := row(&r.Refund.Attempt, &r.Refund.Ordinal, &r.Sent, &r.Last, moment{&r.Due})
			if err == nil {
				r.Refund = *o.RefundByID(r.Refund.ID())
			}
			return err
		})
		return w, err
	})
}

func scanEvidenceRow(row scan, t *orders.TimelineRow) error {
	var source, purpose, verdict, why, told string
	var seen int64
	if err := row(&t.Evidence, &t.AttemptNo, &source, &purpose, &verdict, &why, &seen, moment{&t.At}, &told); err != nil {
		return err
	}
	t.What, t.Detail = "evidence", source
	if purpose != "" {
		t.Detail += " (" + purpose + ")"
	}
	var said *fact
	if err := json.Unmarshal([]byte(told), &said); err != nil {
		return fmt.Errorf("sqlstore: evidence %s: %w", t.Evidence, err)
	}
	t.Detail += ": "
	if said != nil {
		t.Detail += orders.AttemptState(said.State).String() + ", "
	}
	t.Detail += verdict
	if why != "" {
		t.Detail += ", differs in " + why
	}
	if seen > 1 {
		t.Detail += fmt.Sprintf(", received %d times", seen)
	}
	return nil
}

// receiptRows say why each attempt is at its account.
func receiptRows(o *orders.Order) []orders.TimelineRow {
	var rows []orders.TimelineRow
	for _, a := range o.Attempts {
		if a.Receipt != "" {
			rows = append(rows, orders.TimelineRow{At: a.CreatedAt, What: "routing", AttemptNo: a.No, Detail: a.Receipt})
		}
	}
	return rows
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

// refundRows say what was to go back, and what became of it.
func refundRows(o *orders.Order) []orders.TimelineRow {
	var rows []orders.TimelineRow
	for i := range o.Refunds {
		r := &o.Refunds[i]
		detail := fmt.Sprintf("%s of %s asked for", r.ID(), r.Amount)
		if r.BillNo != "" {
			detail += " from the surplus of bill " + r.BillNo
		}
		rows = append(rows, orders.TimelineRow{At: r.AskedAt, What: "refund", AttemptNo: r.Attempt, Detail: detail + ": " + r.Reason})
		if !r.DecidedAt.IsZero() {
			detail = r.ID() + ": " + string(r.State)
			if r.Why != "" {
				detail += ", " + r.Why
			}
			rows = append(rows, orders.TimelineRow{At: r.DecidedAt, What: "refund", AttemptNo: r.Attempt, Detail: detail})
		}
	}
	return rows
}

// caseRows say what a person has to decide or has decided, and that a cancel was asked for.
func caseRows(o *orders.Order) []orders.TimelineRow {
	var rows []orders.TimelineRow
	if !o.CancelAsked.IsZero() {
		rows = append(rows, orders.TimelineRow{At: o.CancelAsked, What: "cancel", Detail: "asked for"})
	}
	for i := range o.Cases {
		c := &o.Cases[i]
		rows = append(rows, orders.TimelineRow{At: c.OpenedAt, What: "case", AttemptNo: c.Attempt, Detail: fmt.Sprintf("%s opened (%s): %s", c.ID(o.No), c.Kind, c.Detail)})
		if !c.ClosedAt.IsZero() {
			detail := fmt.Sprintf("%s closed by %s", c.ID(o.No), c.ClosedBy)
			if c.Note != "" {
				detail += ": " + c.Note
			}
			rows = append(rows, orders.TimelineRow{At: c.ClosedAt, What: "case", AttemptNo: c.Attempt, Detail: detail})
		}
	}
	return rows
}

// eventRows are an event and how far its delivery is.
func eventRows(row scan) ([]orders.TimelineRow, error) {
	var version, attempts int64
	var what, state, lastError string
	var at, ended, due time.Time
	if err := row(&version, &what, moment{&at}, &state, &attempts, &lastError, moment{&ended}, moment{&due}); err != nil {
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
	rows = append(rows, orders.TimelineRow{At: ended, What: "delivery", Detail: detail})
	if state == string(orders.DeliveryReady) {
		rows = append(rows, orders.TimelineRow{At: due, What: "waiting", Detail: fmt.Sprintf("delivery of %s: tried %d times, without an end; last: %s", name, attempts, lastError)})
	}
	return rows, nil
}

// doubts is the rule of Order.DoubtAbout in SQL.
const doubts = `FROM calls c JOIN attempts a ON a.attempt_no = c.attempt_no
	WHERE c.op <> 'create' AND c.outcome IN ('', 'unknown') AND (c.op = 'confirm' AND a.state_rank IN (0, 10, 20)
		OR c.op = 'refund' AND EXISTS (SELECT 1 FROM refunds r WHERE r.attempt_no = c.attempt_no AND r.ordinal = c.ordinal AND r.state = 'undecided'))`

const (
	sqlOpenCases    = `SELECT kind, COUNT(*) FROM cases WHERE closed_ms IS NULL GROUP BY kind`
	sqlOutboxGauge  = `SELECT state, COUNT(*) FROM events WHERE state <> 'done' AND client_id IN (/*clients*/) GROUP BY state`
	sqlOutboxOldest = `SELECT MIN(e.occurred_ms) ` + ready
	sqlCounts       = `SELECT
		(SELECT COUNT(DISTINCT a.order_no) ` + doubts + `), (SELECT MIN(c.sent_ms) ` + doubts + `),
		(SELECT COUNT(*) FROM surplus WHERE refunded < amount),
		(SELECT MIN(a.paid_ms) FROM surplus s JOIN attempts a ON a.attempt_no = s.attempt_no WHERE s.refunded < s.amount),
		(SELECT COUNT(*) FROM refunds WHERE state = 'undecided'), (SELECT MIN(asked_ms) FROM refunds WHERE state = 'undecided'),
		(SELECT COUNT(*) FROM orders WHERE review),
		(SELECT COUNT(*) FROM evidence WHERE next_ms IS NOT NULL),
		(SELECT COUNT(*) FROM evidence WHERE verdict = 'needs_query' AND applied_ms IS NULL),
		(SELECT MIN(received_ms) FROM evidence WHERE verdict = 'needs_query' AND applied_ms IS NULL)`
)

// Gauges is documented in orders.Reader. Delivered events are not counted: they only grow.
func (s *Store) Gauges(ctx context.Context, clients []string) (orders.Gauges, error) {
	return read(ctx, s, func(u unit) (orders.Gauges, error) {
		g := orders.Gauges{OutboxDepth: map[orders.DeliveryState]int64{}, Cases: map[orders.CaseKind]int64{}}
		if _, err := u.one(sqlCounts, nil, &g.Doubts, moment{&g.OldestDoubt}, &g.SurplusOpen, moment{&g.OldestSurplus},
			&g.RefundsUndecided, moment{&g.OldestRefund}, &g.ReviewsOpen, &g.Orphans, &g.Unproven, moment{&g.OldestUnproven}); err != nil {
			return g, err
		}
		if err := u.each(sqlOpenCases, nil, func(row scan) error {
			var kind orders.CaseKind
			var n int64
			err := row(&kind, &n)
			g.Cases[kind] = n
			return err
		}); err != nil {
			return g, err
		}
		if len(clients) == 0 {
			return g, nil
		}
		if err := u.each(withClients(sqlOutboxGauge, 1, len(clients)), anys(clients), func(row scan) error {
			var state orders.DeliveryState
			var n int64
			err := row(&state, &n)
			g.OutboxDepth[state] = n
			return err
		}); err != nil {
			return g, err
		}
		_, err := u.one(withClients(sqlOutboxOldest, 1, len(clients)), anys(clients), moment{&g.OutboxOldest})
		return g, err
	})
}

const (
	sqlCasesOpen = `SELECT c.order_no, a.account, c.number, c.attempt_no, c.kind, c.detail, c.opened_ms FROM cases c
		JOIN attempts a ON a.attempt_no = c.attempt_no WHERE c.closed_ms IS NULL ORDER BY c.opened_ms, c.order_no, c.number LIMIT $1`
	sqlLastHanded = `SELECT order_no, attempt_no FROM attempts WHERE account = $1 AND handed_ms IS NOT NULL AND handed_ms <= $2
		AND (queried_ms IS NULL OR queried_ms <= $2) ORDER BY handed_ms DESC, attempt_no DESC LIMIT 1`
)

// Cases is documented in orders.Reader.
func (s *Store) Cases(ctx context.Context, limit int) ([]orders.CaseRow, error) {
	return read(ctx, s, func(u unit) (rows []orders.CaseRow, err error) {
		err = u.each(sqlCasesOpen, []any{limit}, func(row scan) error {
			var c orders.CaseRow
			err := row(&c.OrderNo, &c.Account, &c.Case.Number, &c.Case.Attempt, &c.Case.Kind, &c.Case.Detail, moment{&c.Case.OpenedAt})
			rows = append(rows, c)
			return err
		})
		return rows, err
	})
}

// LastHanded is documented in orders.Reader.
func (s *Store) LastHanded(ctx context.Context, account string, before time.Time) (orders.Order, orders.AttemptNo, error) {
	var attempt orders.AttemptNo
	o, err := read(ctx, s, func(u unit) (orders.Order, error) {
		var no orders.OrderNo
		found, err := u.one(sqlLastHanded, []any{account, before.UnixMilli()}, &no, &attempt)
		if err == nil && !found {
			err = fmt.Errorf("%w: no attempt was handed out at %s", orders.ErrNotFound, account)
		}
		if err != nil {
			return orders.Order{}, err
		}
		return u.order(no)
	})
	return o, attempt, err
}
