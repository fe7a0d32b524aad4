package sqlstore

import (
	"cmp"
	"context"
	"errors"
	"time"

	"pay.taipei/gateway/orders"
)

const sqlRenewLease = `UPDATE keys SET lease_ms = $5
	WHERE client_id = $1 AND route = $2 AND idem_key = $3 AND fence = $4 AND NOT done RETURNING order_no`

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
	orders.Resumed
	lost *orders.BillError
}

// Resume is documented in orders.Placer. An order that has ended, is frozen or is past its
// end with its bills still its own cannot go on: ErrNotPayable, and nothing is written.
func (s *Store) Resume(ctx context.Context, r orders.Resumption) (orders.Resumed, error) {
	done, err := write(ctx, s, func(u unit) (resumed, error) { return u.resume(r) })
	if err == nil && done.lost != nil {
		err = done.lost
	}
	return done.Resumed, err
}

func (u unit) resume(r orders.Resumption) (resumed, error) {
	var d resumed
	var no orders.OrderNo
	found, err := u.one(sqlResumeKey, refArgs(r.Key, r.Fingerprint[:], millis(r.Now), millis(r.LeaseUntil)), &no, &d.Fence)
	if err != nil {
		return d, err
	}
	if !found {
		return d, orders.ErrKeyTaken
	}
	if d.Order, err = u.lockOrder(no); err != nil {
		return d, err
	}
	if d.Order.State != orders.OrderOpen || d.Order.Review || d.Order.Doubt() {
		return d, orders.ErrNotPayable
	}
	err = u.hold(&d.Order, r.Now)
	if errors.As(err, &d.lost) {
		return d, u.lose(&d, r)
	}
	if err != nil {
		return d, err
	}
	if !r.Now.Before(d.Order.ExpiresAt) {
		return d, orders.ErrNotPayable
	}
	if a := d.Order.Current(); a.State == orders.AttemptIntent && !a.Abandoned && lastCreate(&d.Order, a.No).Outcome == orders.OutcomeNotSent {
		d.Opened = true
		return d, u.openCreate(&d.Order, r.Now)
	}
	return d, nil
}

// abandon stops offering the attempts that have not ended: they may have left us.
func abandon(o *orders.Order) {
	for i := range o.Attempts {
		if a := &o.Attempts[i]; !a.State.Ended() {
			a.Abandoned = true
		}
	}
}

const (
	sqlRunning = `SELECT lease_ms, placed, client_id, route, idem_key FROM keys WHERE order_no = $1 AND NOT done`
	sqlDropKey = `DELETE FROM keys WHERE client_id = $1 AND route = $2 AND idem_key = $3 AND NOT done AND NOT placed`
)

// making refuses to add an attempt beside another request that is making one. A key of such a request whose lease is dead
// is dropped: whoever repeats that request makes an attempt of its own. So is no key that placed the order: it is resumed.
func (u unit) making(o *orders.Order, a *orders.Addition) error {
	if a.Lease != nil {
		return nil
	}
	var lease time.Time
	var placed bool
	var ref orders.KeyRef
	running, err := u.one(sqlRunning, []any{o.No}, moment{&lease}, &placed, &ref.ClientID, &ref.Route, &ref.Key)
	switch {
	case err != nil:
		return err
	case running && (placed || a.Now.Before(lease)):
		return orders.ErrInFlight
	case running:
		if _, err := u.exec(sqlDropKey, refArgs(ref)...); err != nil {
			return err
		}
	}
	if last := lastCreate(o, o.Current().No); a.Ended == orders.OutcomeOpen && last.Ordinal > 0 && last.Outcome == orders.OutcomeOpen && a.Now.Before(last.SentAt.Add(orders.CreateLife)) {
		return orders.ErrInFlight
	}
	return nil
}

// AddAttempt is documented in orders.Placer.
func (s *Store) AddAttempt(ctx context.Context, a orders.Addition) (orders.Order, error) {
	return write(ctx, s, func(u unit) (orders.Order, error) { return u.addNext(a) })
}

func (u unit) addNext(a orders.Addition) (orders.Order, error) {
	if a.Lease != nil {
		no, err := u.lease(a.Lease.Key, a.Lease.Fence, a.Lease.Until)
		if err != nil || no != a.Order {
			return orders.Order{}, cmp.Or(err, orders.ErrFenced)
		}
	}
	if a.Key != nil {
		if err := u.takeKey(a.Key, a.Order, a.Now); err != nil {
			return orders.Order{}, err
		}
	}
	b, err := u.lock(a.Order)
	if err != nil {
		return b.Order, err
	}
	if err := u.making(&b.Order, &a); err != nil {
		return b.Order, err
	}
	c := changing(b)
	if a.Ended != orders.OutcomeOpen {
		if err := u.endCreate(c, &orders.CreateFinish{Attempt: b.Order.Current().No, Outcome: a.Ended, Now: a.Now}); err != nil {
			return b.Order, err
		}
	}
	switch {
	case !c.Book.Payable(a.Now):
		return b.Order, orders.ErrNotPayable
	case b.Order.Current().Ordinal >= orders.MaxAttempts:
		return b.Order, orders.ErrTooManyAttempts
	}
	abandon(&c.Book.Order)
	next, err := a.Next(&c.Book.Order)
	if err != nil {
		return b.Order, err
	}
	if !next.HandedAt.IsZero() {
		next.State = orders.AttemptPending
		c.event(orders.EventPending)
	}
	o := &c.Book.Order
	o.Attempts = append(o.Attempts, next)
	asStored(o)
	if err := u.addAttempt(o.No, o.Current()); err != nil {
		return *o, err
	}
	if err := u.save(c, a.Now); err != nil {
		return *o, err
	}
	if a.Create {
		if err := u.openCreate(o, a.Now); err != nil {
			return *o, err
		}
	}
	switch {
	case a.Key != nil:
		err = u.keepAnswer(a.Key, a.Answer, o, a.Now)
	case a.Lease != nil:
		err = u.answer(&a.Lease.Key, a.Answer, o)
	}
	return *o, err
}

// Cancel is documented in orders.Placer.
func (s *Store) Cancel(ctx context.Context, c orders.Cancellation) (orders.Order, error) {
	return write(ctx, s, func(u unit) (orders.Order, error) { return u.cancel(c) })
}

func (u unit) cancel(c orders.Cancellation) (orders.Order, error) {
	if c.Key != nil {
		if err := u.takeKey(c.Key, c.Order, c.Now); err != nil {
			return orders.Order{}, err
		}
	}
	b, err := u.lock(c.Order)
	if err != nil {
		return b.Order, err
	}
	f, err := orders.Cancel(b, c.Now)
	if err != nil {
		return b.Order, err
	}
	next := change{b, f}
	if f.Verdict == orders.VerdictApplied {
		if err := u.save(&next, c.Now); err != nil {
			return b.Order, err
		}
	}
	if c.Key != nil {
		err = u.keepAnswer(c.Key, c.Answer, &next.Book.Order, c.Now)
	}
	return next.Book.Order, err
}

const sqlReleaseBill = `UPDATE bills SET holder_order = '' WHERE merchant = $1 AND bill_no = $2 AND holder_order = $3`

// lose cancels an order that lost a bill, lets go of the others, and answers its key.
func (u unit) lose(d *resumed, r orders.Resumption) error {
	before := orders.Book{Order: d.Order}
	c := change{before, orders.Lose(before)}
	if err := u.save(&c, r.Now); err != nil {
		return err
	}
	d.Order = c.Book.Order
	for _, no := range billNumbers(&d.Order) {
		if _, err := u.exec(sqlReleaseBill, d.Order.Merchant, no, d.Order.No); err != nil {
			return err
		}
	}
	conflict := func(o *orders.Order) (int, []byte, error) { return r.Conflict(o, d.lost) }
	return u.answer(&r.Key, conflict, &d.Order)
}

// FinishCreate is documented in orders.Placer.
func (s *Store) FinishCreate(ctx context.Context, f orders.CreateFinish) (orders.Order, error) {
	return write(ctx, s, func(u unit) (orders.Order, error) { return u.finishCreate(f) })
}

func (u unit) finishCreate(f orders.CreateFinish) (orders.Order, error) {
	var no orders.OrderNo
	var err error
	if f.Key != nil {
		no, err = u.lease(*f.Key, f.Fence, f.Now)
	} else {
		no, err = u.orderOf(f.Attempt)
	}
	if err != nil {
		return orders.Order{}, err
	}
	b, err := u.lock(no)
	if err != nil {
		return b.Order, err
	}
	c := changing(b)
	if err := u.endCreate(c, &f); err != nil {
		return b.Order, err
	}
	if err := u.save(c, f.Now); err != nil {
		return b.Order, err
	}
	if a := c.Book.Order.Attempt(f.Attempt); !a.HandedAt.IsZero() {
		if err := u.firstQuery(a, f.QueryAt); err != nil {
			return b.Order, err
		}
	}
	return c.Book.Order, u.answer(f.Key, f.Answer, &c.Book.Order)
}

// endCreate writes the outcome of a create call and does to its attempt what that means. ErrFenced when another has
// written one.
func (u unit) endCreate(c *change, f *orders.CreateFinish) error {
	call := lastCreate(&c.Book.Order, f.Attempt)
	if call.Outcome != orders.OutcomeOpen {
		return orders.ErrFenced
	}
	call.Outcome, call.EndedAt = f.Outcome, f.Now
	if _, err := u.finishCall(&c.Book.Order, call); err != nil {
		return err
	}
	created(c, f)
	return nil
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
		if !c.Book.Payable(f.Now) || a.State.Ended() || a.No != c.Book.Order.Current().No { // paid, frozen or overtaken meanwhile
			a.Abandoned = !a.State.Ended() // nobody is sent there
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
