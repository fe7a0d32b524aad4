package sqlstore

import (
	"cmp"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

const orderColumns = `order_no, client_id, client_reference, merchant, payer_member_id, provider, methods, settlement,
	currency, amount, fee, total, return_url, pay_token, state_rank, version, late, review, created_ms, expires_ms, cancel_ms, cases`

const (
	sqlOrder     = `SELECT ` + orderColumns + ` FROM orders WHERE order_no = $1`
	sqlLockOrder = `UPDATE orders SET locked = locked + 1 WHERE order_no = $1 RETURNING ` + orderColumns
	sqlLines     = `SELECT bill_no, name, quantity, unit_price, subtotal FROM order_lines WHERE order_no = $1 ORDER BY pos`
	sqlAttempts  = `SELECT attempt_no, ordinal, account, provider, environment, payee_member_id, token, state_rank, abandoned, wishes, receipt,
		created_ms, handed_ms, redirect, refs, provider_trade_no, method, paid_ms, query_ms
		FROM attempts WHERE order_no = $1 ORDER BY ordinal`
	sqlSurplus = `SELECT attempt_no, bill_no, amount, refunded FROM surplus WHERE order_no = $1`
	sqlRefunds = `SELECT attempt_no, ordinal, bill_no, amount, reason, state, why, provider_refund_no, asked_ms, decided_ms
		FROM refunds WHERE order_no = $1`
	sqlCases = `SELECT number, attempt_no, kind, detail, opened_ms, closed_ms, closed_by, note FROM cases WHERE order_no = $1 ORDER BY number`
	sqlCalls = `SELECT c.attempt_no, c.op, c.ordinal, c.sent_ms, c.outcome, c.ended_ms
		FROM attempts a JOIN calls c ON c.attempt_no = a.attempt_no
		WHERE a.order_no = $1 ORDER BY a.ordinal, c.op, c.ordinal`
)

// order reads an order whole; ErrNotFound when there is none.
func (u unit) order(no orders.OrderNo) (orders.Order, error) { return u.load(sqlOrder, no) }

// lockOrder locks an order until the end of the transaction and reads it as last committed.
func (u unit) lockOrder(no orders.OrderNo) (orders.Order, error) { return u.load(sqlLockOrder, no) }

func (u unit) load(head string, no orders.OrderNo) (orders.Order, error) {
	var o orders.Order
	var c money.Currency
	var cases int
	found, err := u.one(head, []any{no}, &o.No, &o.ClientID, &o.ClientReference, &o.Merchant, &o.PayerMemberID, &o.Provider,
		asJSON{&o.Methods}, &o.Settlement, &c, units{&o.Amount, &c}, units{&o.Fee, &c}, units{&o.Total, &c}, &o.ReturnURL,
		&o.PayToken, &o.State, &o.Version, &o.Late, &o.Review, moment{&o.CreatedAt}, moment{&o.ExpiresAt},
		moment{&o.CancelAsked}, &cases)
	if err != nil {
		return o, err
	}
	if !found {
		return o, fmt.Errorf("%w: order %s", orders.ErrNotFound, no)
	}
	if o.Lines, err = all(u, sqlLines, no, func(row scan, l *orders.BillLine) error {
		return row(&l.BillNo, &l.Name, &l.Quantity, units{&l.UnitPrice, &c}, units{&l.Subtotal, &c})
	}); err != nil {
		return o, err
	}
	if o.Attempts, err = all(u, sqlAttempts, no, scanAttempt); err != nil {
		return o, err
	}
	if o.State >= orders.OrderPaid { // only paid money is surplus, or goes back
		if err := u.loadPaid(&o, c); err != nil {
			return o, err
		}
	}
	if cases > 0 {
		if o.Cases, err = all(u, sqlCases, no, func(row scan, c *orders.Case) error {
			return row(&c.Number, &c.Attempt, &c.Kind, &c.Detail, moment{&c.OpenedAt}, moment{&c.ClosedAt}, &c.ClosedBy, &c.Note)
		}); err != nil {
			return o, err
		}
	}
	o.Calls, err = all(u, sqlCalls, no, func(row scan, c *orders.Call) error {
		return row(&c.Attempt, &c.Op, &c.Ordinal, moment{&c.SentAt}, &c.Outcome, moment{&c.EndedAt})
	})
	return o, err
}

// loadPaid reads what only an order with paid attempts has.
func (u unit) loadPaid(o *orders.Order, c money.Currency) error {
	var err error
	if o.Surplus, err = all(u, sqlSurplus, o.No, func(row scan, s *orders.Surplus) error {
		return row(&s.Attempt, &s.BillNo, units{&s.Amount, &c}, units{&s.Refunded, &c})
	}); err != nil {
		return err
	}
	o.Refunds, err = all(u, sqlRefunds, o.No, func(row scan, r *orders.Refund) error {
		return row(&r.Attempt, &r.Ordinal, &r.BillNo, units{&r.Amount, &c}, &r.Reason, &r.State, &r.Why, &r.ProviderRefundNo,
			moment{&r.AskedAt}, moment{&r.DecidedAt})
	})
	sortBeside(o)
	return err
}

// sortBeside sorts here because databases differ in how they compare text.
func sortBeside(o *orders.Order) {
	slices.SortFunc(o.Refunds, func(a, b orders.Refund) int {
		return cmp.Or(cmp.Compare(a.Attempt, b.Attempt), cmp.Compare(a.Ordinal, b.Ordinal))
	})
	slices.SortFunc(o.Surplus, func(a, b orders.Surplus) int {
		return cmp.Or(cmp.Compare(a.Attempt, b.Attempt), cmp.Compare(a.BillNo, b.BillNo))
	})
}

func scanAttempt(row scan, a *orders.Attempt) error {
	return row(&a.No, &a.Ordinal, &a.Account, &a.Provider, &a.Environment, &a.PayeeMemberID, &a.Token, &a.State, &a.Abandoned,
		asJSON{&a.Wishes}, &a.Receipt, moment{&a.CreatedAt}, moment{&a.HandedAt}, asJSON{&a.Redirect}, asJSON{&a.Refs}, &a.ProviderTradeNo, &a.Method,
		moment{&a.PaidAt}, moment{&a.QueryAt})
}

// all reads the rows that belong to an order.
func all[T any](u unit, query string, no orders.OrderNo, read func(scan, *T) error) ([]T, error) {
	var rows []T
	err := u.each(query, []any{no}, func(row scan) error {
		var t T
		err := read(row, &t)
		rows = append(rows, t)
		return err
	})
	return rows, err
}

const (
	sqlBill     = `SELECT holder_order, paid_order FROM bills WHERE merchant = $1 AND bill_no = $2`
	sqlLockBill = `UPDATE bills SET locked = locked + 1 WHERE merchant = $1 AND bill_no = $2 RETURNING holder_order, paid_order`
)

// book reads an order's bills to it. With sqlLockBill they are locked, in sorted order, so
// that no two transactions wait for each other.
func (u unit) book(o orders.Order, perBill string) (orders.Book, error) {
	b := orders.Book{Order: o, Bills: make(map[string]orders.Bill, len(o.Lines))}
	for _, no := range billNumbers(&o) {
		var bill orders.Bill
		found, err := u.one(perBill, []any{o.Merchant, no}, &bill.Holder, &bill.Paid)
		if err != nil {
			return b, err
		}
		if !found {
			return b, fmt.Errorf("sqlstore: order %s: no row of bill %s", o.No, no)
		}
		b.Bills[no] = bill
	}
	return b, nil
}

// lock locks an order and its bills and reads them.
func (u unit) lock(no orders.OrderNo) (orders.Book, error) {
	o, err := u.lockOrder(no)
	if err != nil {
		return orders.Book{}, err
	}
	return u.book(o, sqlLockBill)
}

func billNumbers(o *orders.Order) []string {
	numbers := make([]string, len(o.Lines))
	for i, l := range o.Lines {
		numbers[i] = l.BillNo
	}
	slices.Sort(numbers)
	return numbers
}

const sqlAttemptOrder = `SELECT order_no FROM attempts WHERE attempt_no = $1`

// orderOf is the order of an attempt; ErrNotFound when there is none.
func (u unit) orderOf(attempt orders.AttemptNo) (orders.OrderNo, error) {
	var no orders.OrderNo
	found, err := u.one(sqlAttemptOrder, []any{attempt}, &no)
	if err == nil && !found {
		err = fmt.Errorf("%w: attempt %s", orders.ErrNotFound, attempt)
	}
	return no, err
}

// change is a book on its way to its next state.
type change struct {
	before orders.Book
	orders.Fate
}

// changing starts a change: what is done to the order does not show in before.
func changing(b orders.Book) *change {
	c := &change{before: b, Fate: orders.Fate{Book: b}}
	o := &c.Book.Order
	o.Attempts, o.Calls, o.Refunds = slices.Clone(o.Attempts), slices.Clone(o.Calls), slices.Clone(o.Refunds)
	return c
}

// event adds an event to the change.
func (c *change) event(t orders.EventType) {
	c.Book.Order.Version++
	c.Events = append(c.Events, t)
}

// The guards repeat what the locks ensure: states only rise, versions have no gaps.
const (
	sqlMoveOrder = `UPDATE orders SET state_rank = $2, version = $3, late = $4, review = $5, settle_ms = $6, cancel_ms = $8, cases = $9
		WHERE order_no = $1 AND state_rank <= $2 AND version = $7`
	sqlMoveAttempt = `UPDATE attempts SET state_rank = $2, abandoned = $3, handed_ms = $4, redirect = $5, refs = $6,
		provider_trade_no = $7, method = $8, paid_ms = $9, paid = $10, surplus = $11, refunds = $12
		WHERE attempt_no = $1 AND state_rank <= $2`
	sqlMoveBill = `UPDATE bills SET holder_order = $3, paid_order = $4
		WHERE merchant = $1 AND bill_no = $2 AND (paid_order = '' OR paid_order = $4)`
	sqlMoveSurplus = `UPDATE surplus SET refunded = $3, refunding = $4 WHERE attempt_no = $1 AND bill_no = $2`
	sqlAddRefund   = `INSERT INTO refunds (attempt_no, ordinal, order_no, account, bill_no, amount, reason, state, why, provider_refund_no, asked_ms, send_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '', '', $9, $9)`
	// The provider's number may be told after the end.
	sqlMoveRefund = `UPDATE refunds SET state = $3, why = $4, provider_refund_no = $5, decided_ms = $6
		WHERE attempt_no = $1 AND ordinal = $2 AND state IN ('undecided', $3)`
	sqlAddCase = `INSERT INTO cases (order_no, number, attempt_no, kind, detail, opened_ms, closed_by, note)
		VALUES ($1, $2, $3, $4, $5, $6, '', '')`
	sqlMoveCase   = `UPDATE cases SET closed_ms = $3, closed_by = $4, note = $5 WHERE order_no = $1 AND number = $2 AND closed_ms IS NULL`
	sqlAddSurplus = `INSERT INTO surplus (attempt_no, bill_no, order_no, amount, refunded) VALUES ($1, $2, $3, $4, $5)`
)

// save writes what a change changed, with its events.
func (u unit) save(c *change, at time.Time) error {
	before, after := &c.before.Order, &c.Book.Order
	asStored(after)
	err := u.exec1(sqlMoveOrder, after.No, int(after.State), after.Version, after.Late, after.Review, settleAt(after), before.Version,
		millis(after.CancelAsked), len(after.Cases))
	if err != nil {
		return err
	}
	for i := range before.Attempts {
		a, paid := &after.Attempts[i], figuresOf(after, after.Attempts[i].No)
		if reflect.DeepEqual(before.Attempts[i], *a) && paid == figuresOf(before, a.No) {
			continue
		}
		if err := u.exec1(sqlMoveAttempt, a.No, int(a.State), a.Abandoned, millis(a.HandedAt), asJSON{a.Redirect}, asJSON{a.Refs},
			a.ProviderTradeNo, a.Method, millis(a.PaidAt), paid.paid, paid.surplus, paid.refunds); err != nil {
			return err
		}
	}
	for no, bill := range c.Book.Bills {
		if bill == c.before.Bills[no] {
			continue
		}
		if err := u.exec1(sqlMoveBill, after.Merchant, no, bill.Holder, bill.Paid); err != nil {
			return err
		}
	}
	if err := u.saveBeside(before, after); err != nil {
		return err
	}
	for i := range after.Attempts {
		if err := u.forgetQuery(after, &after.Attempts[i]); err != nil {
			return err
		}
	}
	sortBeside(after)
	return u.addEvents(after, c.Events, at)
}

// Where the provider says that an attempt is paid, it is asked until it proves that. A claimed query ends by itself.
const sqlForgetQuery = `UPDATE attempts SET query_ms = NULL WHERE attempt_no = $1 AND NOT query_claimed AND NOT ` + unproven

// forgetQuery takes back the query of an attempt that is never asked about as things are: it is paid and no refund of it is
// undecided, or it has ended, by itself or with its order, and never left us.
func (u unit) forgetQuery(o *orders.Order, a *orders.Attempt) error {
	over := a.State.Ended() || o.State != orders.OrderOpen
	if a.State == orders.AttemptPaid {
		over = o.UndecidedRefund(a.No) == nil
	} else if o.MayHaveLeft(a) {
		over = false
	}
	if !over || a.QueryAt.IsZero() {
		return nil
	}
	n, err := u.exec(sqlForgetQuery, a.No)
	if n > 0 {
		a.QueryAt = time.Time{}
	}
	return err
}

// saveBeside writes what changed in the rows beside the states: surplus, refunds and cases. New ones are at the ends.
func (u unit) saveBeside(before, after *orders.Order) error {
	for i := range after.Surplus {
		s, underway := &after.Surplus[i], refunding(after, &after.Surplus[i])
		switch {
		case i >= len(before.Surplus):
			if err := u.exec1(sqlAddSurplus, s.Attempt, s.BillNo, after.No, s.Amount.Units(), s.Refunded.Units()); err != nil {
				return err
			}
		case *s != before.Surplus[i] || underway != refunding(before, s):
			if err := u.exec1(sqlMoveSurplus, s.Attempt, s.BillNo, s.Refunded.Units(), underway); err != nil {
				return err
			}
		}
	}
	for i := range after.Refunds {
		r := &after.Refunds[i]
		var err error
		switch known := refundIn(before, r); {
		case known == nil:
			err = u.exec1(sqlAddRefund, r.Attempt, r.Ordinal, after.No, after.Attempt(r.Attempt).Account, r.BillNo, r.Amount.Units(), r.Reason,
				string(r.State), millis(r.AskedAt))
		case *known != *r:
			err = u.exec1(sqlMoveRefund, r.Attempt, r.Ordinal, string(r.State), note(r.Why), text(r.ProviderRefundNo), millis(r.DecidedAt))
		}
		if err != nil {
			return err
		}
	}
	for i := range after.Cases {
		c := &after.Cases[i]
		var err error
		switch {
		case i >= len(before.Cases):
			err = u.exec1(sqlAddCase, after.No, c.Number, c.Attempt, string(c.Kind), note(c.Detail), millis(c.OpenedAt))
		case *c != before.Cases[i]:
			err = u.exec1(sqlMoveCase, after.No, c.Number, millis(c.ClosedAt), note(c.ClosedBy), note(c.Note))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func refundIn(o *orders.Order, r *orders.Refund) *orders.Refund { return o.RefundByID(r.ID()) }

// refunding is what of a surplus is on its way back, undecided, in smallest units.
func refunding(o *orders.Order, s *orders.Surplus) (units int64) {
	for i := range o.Refunds {
		if r := &o.Refunds[i]; r.Attempt == s.Attempt && r.BillNo == s.BillNo && r.State == orders.RefundUndecided {
			units += r.Amount.Units()
		}
	}
	return units
}

// figures are the sums by which the database holds the invariant of an attempt's refunds, in smallest units.
type figures struct{ paid, surplus, refunds int64 }

func figuresOf(o *orders.Order, attempt orders.AttemptNo) (f figures) {
	if a := o.Attempt(attempt); a == nil || a.State != orders.AttemptPaid {
		return f
	}
	f.paid = o.Total.Units()
	for _, s := range o.Surplus {
		if s.Attempt == attempt {
			f.surplus += s.Amount.Units()
		}
	}
	for i := range o.Refunds {
		if r := &o.Refunds[i]; r.Attempt == attempt && r.BillNo == "" && r.State != orders.RefundFailed {
			f.refunds += r.Amount.Units()
		}
	}
	return f
}

// settleAt is when time alone may end the order: never for one that has ended, or that
// waits for a person.
func settleAt(o *orders.Order) any {
	if o.State != orders.OrderOpen || o.Review {
		return nil
	}
	return millis(o.ExpiresAt)
}

const sqlAddEvent = `INSERT INTO events (order_no, version, client_id, type, occurred_ms, body, state, due_ms)
	VALUES ($1, $2, $3, $4, $5, $6, 'ready', $5)`

func (u unit) addEvents(o *orders.Order, types []orders.EventType, at time.Time) error {
	events, err := orders.RenderEvents(o, types, at)
	if err != nil {
		return err
	}
	for _, e := range events {
		if err := u.exec1(sqlAddEvent, e.OrderNo, e.Version, e.ClientID, e.Type, millis(e.OccurredAt), e.Body); err != nil {
			return err
		}
	}
	return nil
}

const (
	sqlAddAttempt = `INSERT INTO attempts (attempt_no, order_no, ordinal, account, provider, environment, payee_member_id, token,
		state_rank, abandoned, wishes, receipt, created_ms, handed_ms, redirect, refs, provider_trade_no, method, paid_ms, query_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`
	sqlAddCall = `INSERT INTO calls (attempt_no, op, ordinal, sent_ms, outcome) VALUES ($1, $2, $3, $4, '')`
)

func (u unit) addAttempt(no orders.OrderNo, a *orders.Attempt) error {
	return u.exec1(sqlAddAttempt, a.No, no, a.Ordinal, a.Account, a.Provider, a.Environment, a.PayeeMemberID, a.Token,
		int(a.State), a.Abandoned, asJSON{a.Wishes}, a.Receipt, millis(a.CreatedAt), millis(a.HandedAt), asJSON{a.Redirect}, asJSON{a.Refs},
		a.ProviderTradeNo, a.Method, millis(a.PaidAt), millis(a.QueryAt))
}

func (u unit) addCall(c orders.Call) error {
	return u.exec1(sqlAddCall, c.Attempt, c.Op, c.Ordinal, millis(c.SentAt))
}

// asStored gives an order's times the form in which they will be read again.
func asStored(o *orders.Order) {
	times := []*time.Time{&o.CreatedAt, &o.ExpiresAt, &o.CancelAsked}
	for i := range o.Attempts {
		a := &o.Attempts[i]
		times = append(times, &a.CreatedAt, &a.HandedAt, &a.PaidAt, &a.QueryAt)
	}
	for i := range o.Refunds {
		times = append(times, &o.Refunds[i].AskedAt, &o.Refunds[i].DecidedAt)
	}
	for i := range o.Cases {
		times = append(times, &o.Cases[i].OpenedAt, &o.Cases[i].ClosedAt)
	}
	for _, t := range times {
		*t = stored(*t)
	}
}

// units reads an amount whose currency was read before it.
type units struct {
	into     *money.Amount
	currency *money.Currency
}

// Scan is for database/sql.
func (n units) Scan(stored any) error {
	v, ok := stored.(int64)
	if !ok {
		return fmt.Errorf("sqlstore: amount of type %T", stored)
	}
	var err error
	*n.into, err = money.FromUnits(v, *n.currency)
	return err
}

// asJSON stores a value as JSON text, and reads it into a pointer.
type asJSON struct{ v any }

// Value is for database/sql.
func (j asJSON) Value() (driver.Value, error) {
	text, err := json.Marshal(j.v)
	return string(text), err
}

// Scan is for database/sql.
func (j asJSON) Scan(stored any) error {
	text, ok := stored.(string)
	if !ok {
		return fmt.Errorf("sqlstore: JSON of type %T", stored)
	}
	return json.Unmarshal([]byte(text), j.v)
}
