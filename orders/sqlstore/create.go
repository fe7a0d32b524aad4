package sqlstore

import (
	"context"
	"errors"
	"time"

	"pay.taipei/gateway/orders"
)

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

// goOn tries the newest attempt again if no byte of it has left us, and else adds the next one; both with an
// open create call.
func (u unit) goOn(o *orders.Order, r orders.Resumption) error {
	if a := o.Current(); a.State == orders.AttemptIntent && !a.Abandoned && lastCreate(o, a.No).Outcome == orders.OutcomeNotSent {
		return u.openCreate(o, r.Now)
	}
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
	b, err := u.lock(no)
	if err != nil {
		return b.Order, err
	}
	call := lastCreate(&b.Order, f.Attempt)
	call.Outcome, call.EndedAt = f.Outcome, f.Now
	if err := u.finishCall(&b.Order, call); err != nil {
		return b.Order, err
	}
	c := changing(b)
	created(c, &f)
	if err := u.save(c, f.Now); err != nil {
		return b.Order, err
	}
	return c.Book.Order, u.answer(f.Key, f.Answer, &c.Book.Order)
}

// lastCreate is the newest create call of an attempt; the zero Call when there is none.
func lastCreate(o *orders.Order, attempt orders.AttemptNo) orders.Call {
	var last orders.Call
	for _, c := range o.Calls { // by ordinal
		if c.Attempt == attempt && c.Op == orders.OpCreate {
			last = c
		}
	}
	return last
}

// created does to the attempt what the outcome of its create call means. Evidence may have
// moved the attempt further already, and what it said stays.
func created(c *change, f *orders.CreateFinish) {
	a := c.Book.Order.Attempt(f.Attempt)
	switch f.Outcome {
	case orders.OutcomeDone:
		a.Refs = merged(f.Refs, a.Refs)
		if !c.Book.Payable(f.Now) || a.State.Ended() { // paid or frozen meanwhile: nobody is sent there
			a.Abandoned = !a.State.Ended()
			return
		}
		a.Redirect = f.Redirect
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
