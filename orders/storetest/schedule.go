package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// Refunds runs n random schedules: several workers ask for partial refunds of an order and of its surplus at once, send them,
// lose their answers and ask the bank, while the second payment comes in. Whatever the bank is told to pay back is never more
// than what the attempt was paid, nothing arrives there twice, and in the end the books agree. random makes the schedules.
func Refunds(t testing.TB, fresh Harness, n int, random Random) {
	t.Helper()
	w := newWorld(t, fresh)
	for i := range n {
		w.schedule(i, random)
	}
}

// rush is one schedule. The bank is behind a lock, as banks are.
type rush struct {
	*world
	no   orders.OrderNo
	lock sync.Mutex
	bank *bank
}

// turn is what one worker does next; the numbers are drawn beforehand.
type turn struct {
	kind, attempt, of, fate int
	amount                  int64
	key                     string
}

// The kinds of turns.
const (
	turnAsk = iota
	turnAskToo
	turnSend
	turnSendToo
	turnQuestion
	turnPayment
	turnKinds
)

func (w *world) schedule(i int, random Random) {
	w.Helper()
	bills := []string{fmt.Sprintf("R1%08d", i), fmt.Sprintf("R2%08d", i)}
	o := w.add(w.addition(w.place(w.placement(bills...)).No, inTime))
	first := 1 + random.IntN(2)
	o = w.apply(said(&o, first, orders.AttemptPaid, inTime)).Order
	r := rush{world: w, no: o.No, bank: newBank(random.IntN(2) == 0)}
	workers := make([][]turn, 2+random.IntN(4))
	for j := range workers {
		for k := range 1 + random.IntN(5) {
			workers[j] = append(workers[j], turn{
				kind: random.IntN(turnKinds), attempt: random.IntN(2), of: random.IntN(3), fate: random.IntN(7),
				amount: []int64{0, 1, 9, 20, 31, 40}[random.IntN(6)], key: fmt.Sprintf("schedule %d, %d, %d", i, j, k),
			})
		}
	}
	for _, err := range parallel(len(workers), func(j int) error {
		for len(workers[j]) > 0 { // a turn that may be repeated is
			if err := r.take(w.store(j), &workers[j][0]); err != nil {
				return err
			}
			workers[j] = workers[j][1:]
		}
		return nil
	}) {
		w.ok(err)
	}
	r.end()
}

// take takes one turn.
func (r *rush) take(s orders.Store, t *turn) error {
	o, err := s.Order(r.ctx, r.no)
	if err != nil {
		return err
	}
	a := &o.Attempts[t.attempt]
	switch t.kind {
	case turnAsk, turnAskToo:
		return r.ask(s, &o, a, t)
	case turnSend, turnSendToo:
		return r.send(s, t.fate)
	case turnPayment:
		_, err = s.Apply(r.ctx, said(&o, a.Ordinal, orders.AttemptPaid, inTime))
	default:
		_, err = s.Apply(r.ctx, r.answer(&o, a))
	}
	return err
}

func (r *rush) ask(s orders.Store, o *orders.Order, a *orders.Attempt, t *turn) error {
	amount, bill := money.Amount{}, ""
	if t.amount > 0 {
		amount = twd(t.amount)
	}
	if t.of > 0 {
		bill = o.Lines[t.of-1].BillNo
	}
	_, err := s.AskRefund(r.ctx, r.request(o, a.Ordinal, bill, amount, t.key))
	for _, allowed := range []error{orders.ErrNotRefundable, orders.ErrRefundExceeds, orders.ErrRefundUndecided, orders.ErrKeyTaken} {
		if errors.Is(err, allowed) {
			return nil
		}
	}
	return err
}

// send sends what is due, once: what comes of it is not repeated when its answer cannot be stored.
func (r *rush) send(s orders.Store, fate int) error {
	work, err := s.ClaimRefund(r.ctx, account, inTime)
	if errors.Is(err, orders.ErrNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	f := ends(work.Refund, orders.OutcomeUnknown, "")
	state := orders.RefundDone
	switch fate {
	case 0, 1:
		f.Outcome, f.State = orders.OutcomeDone, orders.RefundDone
	case 2:
		f.Outcome, state = orders.OutcomeRefused, orders.RefundFailed
	case 3: // lost on its way back
	case 4: // lost on its way there
		state = ""
	case 5: // its sender dies
		f.Outcome = orders.OutcomeOpen
	case 6: // it never left, and is sent again
		f.Outcome, f.SendAt, state = orders.OutcomeNotSent, inTime, ""
	}
	if err := r.arrives(work.Refund, state); err != nil || f.Outcome == orders.OutcomeOpen {
		return err
	}
	return again(func() error { _, err := s.FinishRefund(r.ctx, f); return err })
}

// arrives is the bank's part of a refund.
func (r *rush) arrives(refund orders.Refund, s orders.RefundState) error {
	r.lock.Lock()
	defer r.lock.Unlock()
	if s != "" {
		if slices.ContainsFunc(r.bank.refunds, func(k *bankRefund) bool { return k.ID() == refund.ID() }) {
			return fmt.Errorf("refund %s arrives a second time", refund.ID())
		}
		r.bank.refunds = append(r.bank.refunds, &bankRefund{refund, s})
	}
	if back := r.bank.back(refund.Attempt); back > 40 {
		return fmt.Errorf("attempt %s was paid 40, and %d go back", refund.Attempt, back)
	}
	return nil
}

// answer is what the bank says when it is asked about an attempt, as one asks who has just read the order. What it does not
// list may still be on its way.
func (r *rush) answer(o *orders.Order, a *orders.Attempt) orders.Evidence {
	r.lock.Lock()
	defer r.lock.Unlock()
	e := said(o, a.Ordinal, orders.AttemptPending, inTime)
	e.Source, e.Purpose = orders.SourceQuery, orders.PurposeLife
	if refund := o.UndecidedRefund(a.No); refund != nil {
		e.Purpose = orders.PurposeRefund(refund)
	}
	e.Fact.Refunds, e.Fact.RefundsComplete = r.bank.list(a.No), true
	return e
}

// end sends what is left, asks until all is known, and compares the books.
func (r *rush) end() {
	r.Helper()
	for {
		work, err := r.stores[0].ClaimRefund(r.ctx, account, inTime)
		if errors.Is(err, orders.ErrNothing) {
			break
		}
		r.ok(err)
		r.ok(r.arrives(work.Refund, orders.RefundDone))
	}
	o := r.order(r.no)
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if o.UndecidedRefund(a.No) == nil {
			continue
		}
		e := r.answer(&o, a)
		e.Settled, e.ReceivedAt = sentAt(&o, o.UndecidedRefund(a.No)), inTime.Add(time.Hour)
		r.apply(e)
	}
	o = r.order(r.no)
	r.sound(&o)
	for i := range o.Refunds {
		refund := &o.Refunds[i]
		if truth := r.bank.became(refund.ID()); refund.State != truth {
			r.Fatalf("refund %s is %s, and at the bank %s", refund.ID(), refund.State, truth)
		}
	}
	if len(o.Cases) > 0 {
		r.Fatalf("cases %+v", o.Cases)
	}
}
