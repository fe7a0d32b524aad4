package sqlstore

import (
	"context"
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

const sqlAddKey = `INSERT INTO keys (client_id, route, idem_key, fingerprint, order_no, done, status, answer, fence, lease_ms, created_ms, placed)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
	ON CONFLICT (client_id, route, idem_key) DO NOTHING`

func (u unit) place(p orders.Placement) (orders.Order, error) {
	o := p.Order
	o.State, o.Version, o.Late, o.Review, o.CancelAsked = orders.OrderOpen, 1, false, false, time.Time{}
	o.Calls, o.Surplus, o.Refunds, o.Cases = nil, nil, nil, nil
	o.Attempts = slices.Clone(o.Attempts)
	asStored(&o)
	if len(o.Attempts) != 1 {
		return o, fmt.Errorf("sqlstore: a new order has one attempt, not %d", len(o.Attempts))
	}
	if err := u.addKey(&p, &o); err != nil {
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

// addKey claims the idempotency key under which an order is placed, with the answer when it is known: every field that an
// answer shows is set by now.
func (u unit) addKey(p *orders.Placement, o *orders.Order) error {
	status, body, lease := 0, []byte{}, p.LeaseUntil
	if p.Answer != nil {
		var err error
		if status, body, err = p.Answer(o); err != nil {
			return err
		}
		lease = o.CreatedAt
	}
	return u.claimKey(refArgs(p.Key, p.Fingerprint[:], o.No, p.Answer != nil, status, bytesOf(body), 0, lease.UnixMilli(), millis(o.CreatedAt), true))
}

func (u unit) claimKey(row []any) error {
	n, err := u.exec(sqlAddKey, row...)
	if err == nil && n == 0 {
		err = orders.ErrKeyTaken
	}
	return err
}

const (
	// Whoever repeats a request that died takes its key, for the same command.
	sqlDropDeadKey = `DELETE FROM keys WHERE client_id = $1 AND route = $2 AND idem_key = $3 AND fingerprint = $4
		AND NOT done AND NOT placed AND lease_ms <= $5`
	sqlKeepAnswer = `UPDATE keys SET done = $4, status = $5, answer = $6, lease_ms = $7
		WHERE client_id = $1 AND route = $2 AND idem_key = $3`
)

// takeKey claims the key of a request about an order, before anything is judged: whoever loses a race for the key gets the
// winner's answer and no conflict that the winner made. keepAnswer ends it.
func (u unit) takeKey(key *orders.NewKey, no orders.OrderNo, now time.Time) error {
	if _, err := u.exec(sqlDropDeadKey, refArgs(key.Ref, key.Fingerprint[:], now.UnixMilli())...); err != nil {
		return err
	}
	return u.claimKey(refArgs(key.Ref, key.Fingerprint[:], no, true, 0, []byte{}, key.Fence, now.UnixMilli(), now.UnixMilli(), false))
}

// keepAnswer stores the answer to a request under its key, which runs on when there is none yet.
func (u unit) keepAnswer(key *orders.NewKey, answer orders.Render, o *orders.Order, now time.Time) error {
	if answer == nil {
		return u.exec1(sqlKeepAnswer, refArgs(key.Ref, false, 0, []byte{}, key.LeaseUntil.UnixMilli())...)
	}
	status, body, err := answer(o)
	if err != nil {
		return err
	}
	return u.exec1(sqlKeepAnswer, refArgs(key.Ref, true, status, bytesOf(body), now.UnixMilli())...)
}

const (
	sqlAddOrder = `INSERT INTO orders (` + orderColumns + `, settle_ms)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, NULL, 0, $20)
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
	no := o.Current().No
	c := orders.Call{Attempt: no, Op: orders.OpCreate, Ordinal: lastCreate(o, no).Ordinal + 1, SentAt: stored(at)}
	o.Calls = append(o.Calls, c)
	return u.addCall(c)
}

const sqlAnswerKey = `UPDATE keys SET done = TRUE, status = $4, answer = $5
	WHERE client_id = $1 AND route = $2 AND idem_key = $3 AND NOT done`

// answer stores the answer under the key, whose row this transaction has locked. Nil: none yet.
func (u unit) answer(ref *orders.KeyRef, render orders.Render, o *orders.Order) error {
	if render == nil || ref == nil {
		return nil
	}
	status, body, err := render(o)
	if err != nil {
		return err
	}
	return u.exec1(sqlAnswerKey, refArgs(*ref, status, bytesOf(body))...)
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
	sqlRunningKey = `SELECT lease_ms FROM keys WHERE order_no = $1 AND NOT done AND placed`
	sqlFenceKey   = `UPDATE keys SET fence = fence + 1 WHERE order_no = $1 AND NOT done AND placed AND lease_ms = $2`
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
