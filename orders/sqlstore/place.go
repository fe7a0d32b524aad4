package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/orders"
)

const sqlKey = `SELECT fingerprint, done, status, answer, order_no, fence, lease_ms FROM keys
	WHERE client_id = $1 AND route = $2 AND idem_key = $3`

// LookKey is documented in orders.Placer.
func (s *Store) LookKey(ctx context.Context, ref orders.KeyRef) (orders.KeyRow, error) {
	return read(ctx, s, func(u unit) (orders.KeyRow, error) {
		var k orders.KeyRow
		var fingerprint []byte
		found, err := u.one(sqlKey, refArgs(ref), &fingerprint, &k.Done, &k.Status, &k.Answer, &k.OrderNo, &k.Fence, moment{&k.LeaseUntil})
		if err == nil && !found {
			err = fmt.Errorf("%w: idempotency key", orders.ErrNotFound)
		}
		copy(k.Fingerprint[:], fingerprint)
		return k, err
	})
}

func refArgs(ref orders.KeyRef, more ...any) []any {
	return append([]any{ref.ClientID, ref.Route, ref.Key}, more...)
}

// Place is documented in orders.Placer. Holds that it takes from a request whose answer
// never went out fence that request off: it can finish nothing any more.
func (s *Store) Place(ctx context.Context, p orders.Placement) (orders.Order, error) {
	return write(ctx, s, func(u unit) (orders.Order, error) { return u.place(p) })
}

const sqlAddKey = `INSERT INTO keys (client_id, route, idem_key, fingerprint, order_no, done, status, answer, fence, lease_ms, created_ms)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10)
	ON CONFLICT (client_id, route, idem_key) DO NOTHING`

func (u unit) place(p orders.Placement) (orders.Order, error) {
	o := p.Order
	o.State, o.Version, o.Late, o.Review, o.Calls, o.Surplus = orders.OrderOpen, 1, false, false, nil, nil
	o.Attempts = slices.Clone(o.Attempts)
	asStored(&o)
	if len(o.Attempts) != 1 {
		return o, fmt.Errorf("sqlstore: a new order has one attempt, not %d", len(o.Attempts))
	}
	if err := u.addKey(p, &o); err != nil {
		return o, err
	}
	if err := u.addOrder(&o); err != nil {
		return o, err
	}
	if err := u.hold(&o, o.CreatedAt); err != nil {
		return o, err
	}
	if p.Answer == nil {
		if err := u.openCreate(&o, o.CreatedAt); err != nil {
			return o, err
		}
	}
	return o, u.addEvents(&o, []orders.EventType{orders.EventCreated}, o.CreatedAt)
}

// addKey claims the idempotency key, with the answer when it is known: every field that an
// answer shows is set by now.
func (u unit) addKey(p orders.Placement, o *orders.Order) error {
	status, body, lease := 0, []byte{}, p.LeaseUntil
	if p.Answer != nil {
		var err error
		if status, body, err = p.Answer(o); err != nil {
			return err
		}
		lease = o.CreatedAt
	}
	n, err := u.exec(sqlAddKey, refArgs(p.Key, p.Fingerprint[:], o.No, p.Answer != nil, status, bytesOf(body), lease.UnixMilli(), o.CreatedAt.UnixMilli())...)
	if err == nil && n == 0 {
		err = orders.ErrKeyTaken
	}
	return err
}

const (
	sqlAddOrder = `INSERT INTO orders (` + orderColumns + `, settle_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $20)
		ON CONFLICT (client_id, client_reference) DO NOTHING`
	sqlAddLine = `INSERT INTO order_lines (order_no, bill_no, pos, name, quantity, unit_price, subtotal)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`
)

// addOrder inserts the order with its lines and its attempt.
func (u unit) addOrder(o *orders.Order) error {
	n, err := u.exec(sqlAddOrder, o.No, o.ClientID, o.ClientReference, o.Merchant, o.PayerMemberID, o.Provider, asJSON{o.Methods},
		o.Settlement, string(o.Amount.Currency()), o.Amount.Units(), o.Fee.Units(), o.Total.Units(), o.ReturnURL, o.PayToken,
		int(o.State), o.Version, o.Late, o.Review, millis(o.CreatedAt), millis(o.ExpiresAt))
	if err != nil {
		return err
	}
	if n == 0 {
		return orders.ErrReferenceUsed
	}
	for i, l := range o.Lines {
		if err := u.exec1(sqlAddLine, o.No, l.BillNo, i, l.Name, l.Quantity, l.UnitPrice.Units(), l.Subtotal.Units()); err != nil {
			return err
		}
	}
	return u.addAttempt(o.No, o.Current())
}

// openCreate writes the open create call of the current attempt, before a byte leaves.
func (u unit) openCreate(o *orders.Order, at time.Time) error {
	c := orders.Call{Attempt: o.Current().No, Op: orders.OpCreate, Ordinal: 1, SentAt: stored(at)}
	o.Calls = append(o.Calls, c)
	return u.addCall(c)
}

const sqlAnswerKey = `UPDATE keys SET done = TRUE, status = $4, answer = $5
	WHERE client_id = $1 AND route = $2 AND idem_key = $3 AND NOT done`

// answer stores the answer under the key, whose row this transaction has locked. Nil: none yet.
func (u unit) answer(ref orders.KeyRef, render func(*orders.Order) (int, []byte, error), o *orders.Order) error {
	if render == nil {
		return nil
	}
	status, body, err := render(o)
	if err != nil {
		return err
	}
	return u.exec1(sqlAnswerKey, refArgs(ref, status, bytesOf(body))...)
}

// bytesOf keeps nil from becoming null.
func bytesOf(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

const (
	// A free bill is taken by the statement that locks it.
	sqlTakeBill = `INSERT INTO bills (merchant, bill_no, holder_order, paid_order) VALUES ($1, $2, $3, '')
		ON CONFLICT (merchant, bill_no) DO UPDATE SET locked = bills.locked + 1, holder_order =
			CASE WHEN bills.holder_order = '' AND bills.paid_order = '' THEN $3 ELSE bills.holder_order END
		RETURNING holder_order, paid_order`
	sqlTakeOver   = `UPDATE bills SET holder_order = $3 WHERE merchant = $1 AND bill_no = $2 AND paid_order = ''`
	sqlRunningKey = `SELECT lease_ms FROM keys WHERE order_no = $1 AND NOT done`
	sqlFenceKey   = `UPDATE keys SET fence = fence + 1 WHERE order_no = $1 AND NOT done AND lease_ms = $2`
)

// hold makes the order the holder of all of its bills, or returns a *BillError. All bills
// are locked before any of their holders is read, so that nothing that needs these bills
// happens to the holder meanwhile.
func (u unit) hold(o *orders.Order, now time.Time) error {
	bills := make(map[string]orders.Bill, len(o.Lines))
	numbers := billNumbers(o)
	for _, no := range numbers {
		var bill orders.Bill
		if _, err := u.one(sqlTakeBill, []any{o.Merchant, no, o.No}, &bill.Holder, &bill.Paid); err != nil {
			return err
		}
		bills[no] = bill
	}
	for _, no := range numbers {
		switch bill := bills[no]; {
		case bill.Paid != "":
			return u.refuseBill(no, true, bill.Paid)
		case bill.Holder == o.No:
			continue
		default:
			if err := u.takeOver(o, no, bill.Holder, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeOver takes a bill from an order that may lose it.
func (u unit) takeOver(o *orders.Order, bill string, from orders.OrderNo, now time.Time) error {
	holder, err := u.order(from)
	if err != nil {
		return err
	}
	var lease time.Time
	running, err := u.one(sqlRunningKey, []any{from}, moment{&lease})
	if err != nil {
		return err
	}
	if !orders.Takeable(&holder, lease, now) {
		return u.refuseBill(bill, false, from)
	}
	if running {
		n, err := u.exec(sqlFenceKey, from, millis(lease))
		if err != nil {
			return err
		}
		if n == 0 { // its request came alive, or was answered, this very moment
			return u.refuseBill(bill, false, from)
		}
	}
	return u.exec1(sqlTakeOver, o.Merchant, bill, o.No)
}

const sqlClientOf = `SELECT client_id FROM orders WHERE order_no = $1`

func (u unit) refuseBill(bill string, paid bool, holder orders.OrderNo) error {
	b := &orders.BillError{BillNo: bill, Paid: paid, Holder: holder}
	if _, err := u.one(sqlClientOf, []any{holder}, &b.Client); err != nil {
		return err
	}
	return b
}

const sqlRenewLease = `UPDATE keys SET lease_ms = $5
	WHERE client_id = $1 AND route = $2 AND idem_key = $3 AND fence = $4 AND NOT done RETURNING order_no`

// RenewLease is documented in orders.Placer.
func (s *Store) RenewLease(ctx context.Context, ref orders.KeyRef, fence int64, until time.Time) error {
	_, err := write(ctx, s, func(u unit) (orders.OrderNo, error) { return u.lease(ref, fence, until) })
	return err
}

// lease locks the key's row and sets the end of its lease, while it is ours.
func (u unit) lease(ref orders.KeyRef, fence int64, until time.Time) (no orders.OrderNo, err error) {
	found, err := u.one(sqlRenewLease, refArgs(ref, fence, until.UnixMilli()), &no)
	if err == nil && !found {
		err = orders.ErrFenced
	}
	return no, err
}

const sqlResumeKey = `UPDATE keys SET fence = fence + 1, lease_ms = $6
	WHERE client_id = $1 AND route = $2 AND idem_key = $3 AND fingerprint = $4 AND lease_ms <= $5 AND NOT done
	RETURNING order_no, fence`

// resumed is what Resume commits; lost is set when the bills were.
type resumed struct {
	order orders.Order
	fence int64
	lost  *orders.BillError
}

// Resume is documented in orders.Placer. An order that has ended, is frozen or is past its
// end with its bills still its own cannot go on: ErrNotPayable, and nothing is written.
func (s *Store) Resume(ctx context.Context, r orders.Resumption) (orders.Order, int64, error) {
	done, err := write(ctx, s, func(u unit) (resumed, error) { return u.resume(r) })
	if err == nil && done.lost != nil {
		err = done.lost
	}
	return done.order, done.fence, err
}

func (u unit) resume(r orders.Resumption) (resumed, error) {
	var d resumed
	var no orders.OrderNo
	found, err := u.one(sqlResumeKey, refArgs(r.Key, r.Fingerprint[:], millis(r.Now), millis(r.LeaseUntil)), &no, &d.fence)
	if err != nil {
		return d, err
	}
	if !found {
		return d, orders.ErrKeyTaken
	}
	if d.order, err = u.lockOrder(no); err != nil {
		return d, err
	}
	if d.order.State != orders.OrderOpen || d.order.Review || d.order.Doubt() {
		return d, orders.ErrNotPayable
	}
	err = u.hold(&d.order, r.Now)
	if errors.As(err, &d.lost) {
		return d, u.supersede(&d, r)
	}
	if err != nil {
		return d, err
	}
	if !r.Now.Before(d.order.ExpiresAt) {
		return d, orders.ErrNotPayable
	}
	return d, u.goOn(&d.order, r)
}

// abandon stops offering the attempts that have not ended: they may have left us.
func abandon(o *orders.Order) {
	for i := range o.Attempts {
		if a := &o.Attempts[i]; !a.State.Ended() {
			a.Abandoned = true
		}
	}
}

// goOn adds the next attempt, with an open create call.
func (u unit) goOn(o *orders.Order, r orders.Resumption) error {
	c := changing(orders.Book{Order: *o})
	abandon(&c.Book.Order)
	if err := u.save(c, r.Now); err != nil {
		return err
	}
	*o = c.Book.Order
	next, err := r.Next(o)
	if err != nil {
		return err
	}
	o.Attempts = append(o.Attempts, next)
	asStored(o)
	if err := u.addAttempt(o.No, o.Current()); err != nil {
		return err
	}
	return u.openCreate(o, r.Now)
}

const sqlReleaseBill = `UPDATE bills SET holder_order = '' WHERE merchant = $1 AND bill_no = $2 AND holder_order = $3`

// supersede cancels an order that lost a bill, lets go of the others, and answers its key.
func (u unit) supersede(d *resumed, r orders.Resumption) error {
	c := changing(orders.Book{Order: d.order})
	abandon(&c.Book.Order)
	c.Book.Order.State = orders.OrderCancelled
	c.event(orders.EventCancelled)
	if err := u.save(c, r.Now); err != nil {
		return err
	}
	d.order = c.Book.Order
	for _, no := range billNumbers(&d.order) {
		if _, err := u.exec(sqlReleaseBill, d.order.Merchant, no, d.order.No); err != nil {
			return err
		}
	}
	conflict := func(o *orders.Order) (int, []byte, error) { return r.Conflict(o, d.lost) }
	return u.answer(r.Key, conflict, &d.order)
}

// FinishCreate is documented in orders.Placer.
func (s *Store) FinishCreate(ctx context.Context, f orders.CreateFinish) (orders.Order, error) {
	return write(ctx, s, func(u unit) (orders.Order, error) { return u.finishCreate(f) })
}

func (u unit) finishCreate(f orders.CreateFinish) (orders.Order, error) {
	no, err := u.lease(f.Key, f.Fence, f.Now)
	if err != nil {
		return orders.Order{}, err
	}
	o, err := u.lockOrder(no)
	if err != nil {
		return o, err
	}
	call := orders.Call{Attempt: f.Attempt, Op: orders.OpCreate, Ordinal: 1, Outcome: f.Outcome, EndedAt: f.Now}
	if err := u.finishCall(&o, call); err != nil {
		return o, err
	}
	c := changing(orders.Book{Order: o})
	created(c, &f)
	if err := u.save(c, f.Now); err != nil {
		return o, err
	}
	return c.Book.Order, u.answer(f.Key, f.Answer, &c.Book.Order)
}

// created does to the attempt what the outcome of its create call means. Evidence may have
// moved the attempt further already, and what it said stays.
func created(c *change, f *orders.CreateFinish) {
	a := c.Book.Order.Attempt(f.Attempt)
	switch f.Outcome {
	case orders.OutcomeDone:
		a.Redirect = f.Redirect
		a.Refs = merged(f.Refs, a.Refs)
		hand(c, a, f.Now)
	case orders.OutcomeUnknown:
		a.Abandoned = true
	case orders.OutcomeRefused:
		if a.State < orders.AttemptFailed {
			a.State = orders.AttemptFailed
			c.event(orders.EventFailed)
		}
	case orders.OutcomeOpen, orders.OutcomeNotSent:
	}
}
