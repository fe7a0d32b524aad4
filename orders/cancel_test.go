package orders_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
)

func TestCancel(t *testing.T) {
	unhanded := func(b *orders.Book) {
		b.Order.Attempts[0].State, b.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
	}
	inState := func(s orders.OrderState) func(*orders.Book) { return func(b *orders.Book) { b.Order.State = s } }
	for _, c := range []struct {
		name      string
		change    func(*orders.Book)
		now       time.Time
		err       error
		state     orders.OrderState
		attempt   orders.AttemptState
		abandoned bool
		asked     bool
		holder    orders.OrderNo
		events    []orders.EventType
	}{
		{name: "open: what has left us is watched on", now: inTime, state: orders.OrderCancelled, attempt: pending, abandoned: true, asked: true, events: []orders.EventType{orders.EventCancelled}},
		{name: "what never left us ends", change: unhanded, now: inTime, state: orders.OrderCancelled, attempt: cancelled, asked: true, events: []orders.EventType{orders.EventCancelled}},
		{name: "a create call may have left us", change: func(b *orders.Book) {
			unhanded(b)
			b.Order.Calls = []orders.Call{{Attempt: number(orderNo, 1), Op: orders.OpCreate, Ordinal: 1}}
		}, now: inTime, state: orders.OrderCancelled, attempt: orders.AttemptIntent, abandoned: true, asked: true, events: []orders.EventType{orders.EventCancelled}},
		{name: "an attempt that has failed stays so", change: func(b *orders.Book) { b.Order.Attempts[0].State = failed }, now: inTime,
			state: orders.OrderCancelled, attempt: failed, asked: true, events: []orders.EventType{orders.EventCancelled}},
		{name: "a millisecond before the end", now: expiresAt.Add(-time.Millisecond), state: orders.OrderCancelled, attempt: pending, abandoned: true, asked: true, events: []orders.EventType{orders.EventCancelled}},
		{name: "at the end", now: expiresAt, err: orders.ErrNotPayable, attempt: pending, holder: orderNo},
		{name: "in doubt: it waits", change: confirming(orders.OutcomeUnknown), now: inTime, attempt: pending, asked: true, holder: orderNo},
		{name: "an open confirm is a doubt too", change: confirming(orders.OutcomeOpen), now: inTime, attempt: pending, asked: true, holder: orderNo},
		{name: "frozen", change: func(b *orders.Book) { b.Order.Review = true }, now: inTime, err: orders.ErrNotPayable, attempt: pending, holder: orderNo},
		{name: "expired", change: inState(orders.OrderExpired), now: inTime, err: orders.ErrNotPayable, state: orders.OrderExpired, attempt: pending, holder: orderNo},
		{name: "paid", change: inState(orders.OrderPaid), now: inTime, err: orders.ErrNotPayable, state: orders.OrderPaid, attempt: pending, holder: orderNo},
		{name: "refunded", change: inState(orders.OrderRefunded), now: inTime, err: orders.ErrNotPayable, state: orders.OrderRefunded, attempt: pending, holder: orderNo},
		{name: "cancelled already", change: inState(orders.OrderCancelled), now: tooLate, state: orders.OrderCancelled, attempt: pending, holder: orderNo},
		{name: "asked already, however late", change: func(b *orders.Book) { confirming(orders.OutcomeUnknown)(b); b.Order.CancelAsked = inTime }, now: tooLate,
			attempt: pending, asked: true, holder: orderNo},
		{name: "another order's holds stay", change: func(b *orders.Book) { b.Bills[bill1] = orders.Bill{Holder: other} }, now: inTime,
			state: orders.OrderCancelled, attempt: pending, abandoned: true, asked: true, holder: other, events: []orders.EventType{orders.EventCancelled}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBook(orderNo, 1)
			if c.change != nil {
				c.change(&b)
			}
			before := deepCopy(b)
			f, err := orders.Cancel(b, c.now)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			o := f.Book.Order
			if o.State != c.state || o.Attempts[0].State != c.attempt || o.Attempts[0].Abandoned != c.abandoned || o.CancelAsked.IsZero() == c.asked ||
				f.Book.Bills[bill1].Holder != c.holder || !slices.Equal(f.Events, c.events) {
				t.Errorf("state %s, attempt %+v, asked at %v, holder %q, events %v", o.State, o.Attempts[0], o.CancelAsked, f.Book.Bills[bill1].Holder, f.Events)
			}
			if moved := !reflect.DeepEqual(f.Book, before); moved != (f.Verdict == orders.VerdictApplied) {
				t.Errorf("verdict %s, moved %v", f.Verdict, moved)
			}
			if !reflect.DeepEqual(b, before) {
				t.Error("the book that was given has changed")
			}
		})
	}
}

// asked is a book whose cancel waits for a confirm that is in doubt.
func asked(t *testing.T) orders.Book {
	t.Helper()
	b := newBook(orderNo, 1)
	confirming(orders.OutcomeUnknown)(&b)
	f, err := orders.Cancel(b, inTime)
	if err != nil {
		t.Fatal(err)
	}
	if f.Book.Payable(inTime) || orders.Takeable(&f.Book.Order, time.Time{}, tooLate) {
		t.Error("an order that is to be cancelled opens pages, or loses its bills while money may have moved")
	}
	return f.Book
}

func TestCancelThatWaits(t *testing.T) {
	outcome := func(of orders.Outcome) step {
		return func(b orders.Book) orders.Fate {
			b = deepCopy(b)
			b.Order.Calls[0].Outcome = of
			return orders.CallEnded(b, number(orderNo, 1), inTime)
		}
	}
	for _, c := range []struct {
		name   string
		step   step
		state  orders.OrderState
		late   bool
		events []orders.EventType
	}{
		{"the doubt ends unpaid", tell(1, failed, inTime), orders.OrderCancelled, false, []orders.EventType{orders.EventFailed, orders.EventCancelled}},
		{"the doubt ends with the provider's expiry", tell(1, expired, tooLate), orders.OrderCancelled, false, []orders.EventType{orders.EventCancelled}},
		{"the doubt ends paid", tell(1, paid, inTime), orders.OrderPaid, false, []orders.EventType{orders.EventPaid}},
		{"the doubt ends paid, too late", tell(1, paid, tooLate), orders.OrderPaid, true, []orders.EventType{orders.EventPaid}},
		{"that the payer cancelled ends no doubt", tell(1, cancelled, inTime), orders.OrderOpen, false, []orders.EventType{orders.EventFailed}},
		{"neither does time", wait(tooLate), orders.OrderOpen, false, nil},
		{"nor a hint", but(func(e *orders.Evidence) { e.Fact = nil }), orders.OrderOpen, false, nil},
		{"the call was refused", outcome(orders.OutcomeRefused), orders.OrderCancelled, false, []orders.EventType{orders.EventCancelled}},
		{"the call was not sent", outcome(orders.OutcomeNotSent), orders.OrderCancelled, false, []orders.EventType{orders.EventCancelled}},
		{"nobody knows", outcome(orders.OutcomeUnknown), orders.OrderOpen, false, nil},
		{"a contradiction", but(amount(41)), orders.OrderOpen, false, []orders.EventType{orders.EventReview}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := c.step(asked(t))
			o := f.Book.Order
			if o.State != c.state || o.Late != c.late || !slices.Equal(f.Events, c.events) {
				t.Errorf("state %s, late %v, events %v", o.State, o.Late, f.Events)
			}
			if holds := f.Book.Bills[bill1].Holder == orderNo; holds == (c.state == orders.OrderCancelled) {
				t.Errorf("bills %v", f.Book.Bills)
			}
		})
	}
}

// Money that comes after a cancel is late, and a second time surplus.
func TestPaidAfterCancel(t *testing.T) {
	f, err := orders.Cancel(newBook(orderNo, 2), inTime)
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Book.Order.Attempts {
		if !f.Book.Order.Attempts[i].Abandoned {
			t.Errorf("attempt %d is still offered", i+1)
		}
	}
	f = fold(f.Book, said(orderNo, 1, paid, inTime))
	if o := f.Book.Order; o.State != orders.OrderPaid || !o.Late || !slices.Equal(f.Events, []orders.EventType{orders.EventPaid}) {
		t.Errorf("state %s, late %v, events %v", o.State, o.Late, f.Events)
	}
	f = fold(f.Book, said(orderNo, 2, paid, inTime))
	if o := f.Book.Order; len(o.Surplus) != 2 || !slices.Equal(f.Events, []orders.EventType{orders.EventSurplus}) {
		t.Errorf("surplus %v, events %v", o.Surplus, f.Events)
	}
	_, err = orders.Cancel(f.Book, inTime)
	if !errors.Is(err, orders.ErrNotPayable) {
		t.Errorf("a paid order is cancelled: %v", err)
	}
}

func TestPayableWithACancelAsked(t *testing.T) {
	b := newBook(orderNo, 1)
	b.Order.CancelAsked = inTime
	if b.Payable(inTime) || b.Openable(inTime) {
		t.Error("an order that is to be cancelled may be paid with a new page")
	}
}

func TestLose(t *testing.T) {
	b := newBook(orderNo, 2)
	b.Order.Attempts[1].State, b.Order.Attempts[1].HandedAt = orders.AttemptIntent, time.Time{}
	f := orders.Lose(b)
	o := f.Book.Order
	if o.State != orders.OrderCancelled || !o.Attempts[0].Abandoned || o.Attempts[1].State != cancelled || !slices.Equal(f.Events, []orders.EventType{orders.EventCancelled}) || !o.CancelAsked.IsZero() {
		t.Errorf("order %+v, events %v", o, f.Events)
	}
}

func TestUnresolved(t *testing.T) {
	r := refund(1, 1, "", 10)
	for _, c := range []struct {
		name string
		book func() orders.Book
		open bool
		// What ends it, and whether that closes the case. Nil: not asked.
		end    step
		closed bool
	}{
		{"pending", func() orders.Book { return newBook(orderNo, 1) }, true, tell(1, paid, tooLate), true},
		{"pending, then failed", func() orders.Book { return newBook(orderNo, 1) }, true, tell(1, failed, tooLate), true},
		{"pending, then cancelled", func() orders.Book { return newBook(orderNo, 1) }, true, tell(1, cancelled, tooLate), true},
		{"pending, and a hint", func() orders.Book { return newBook(orderNo, 1) }, true, but(func(e *orders.Evidence) { e.Fact = nil }), false},
		{"in doubt, then cancelled", func() orders.Book { b := newBook(orderNo, 1); confirming(orders.OutcomeUnknown)(&b); return b }, true, tell(1, cancelled, tooLate), false},
		{"in doubt, then failed", func() orders.Book { b := newBook(orderNo, 1); confirming(orders.OutcomeUnknown)(&b); return b }, true, tell(1, failed, tooLate), true},
		{"cancelled and in doubt, then refused", func() orders.Book {
			b := newBook(orderNo, 1)
			confirming(orders.OutcomeUnknown)(&b)
			b.Order.Attempts[0].State = cancelled
			return b
		}, true, func(b orders.Book) orders.Fate {
			b = deepCopy(b)
			b.Order.Calls[0].Outcome = orders.OutcomeRefused
			return orders.CallEnded(b, number(orderNo, 1), tooLate)
		}, true},
		{"a refund, then done", func() orders.Book { return with(paidBook(1), r) }, true, telling(told(r, false, true, listed(r, 10, orders.RefundDone))), true},
		{"a refund, then pending", func() orders.Book { return with(paidBook(1), r) }, true, telling(told(r, false, true, listed(r, 10, orders.RefundUndecided))), false},
		{"a refund, then its answer", func() orders.Book { return with(paidBook(1), r) }, true, func(b orders.Book) orders.Fate {
			return orders.EndRefund(b, r.Attempt, 1, orders.RefundFailed, "", "E1", tooLate)
		}, true},
		{"paid", func() orders.Book { return paidBook(1) }, false, nil, false},
		{"failed", func() orders.Book { return fold(newBook(orderNo, 1), said(orderNo, 1, failed, inTime)).Book }, false, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := c.book()
			before := deepCopy(b)
			f := orders.Unresolved(b, number(orderNo, 1), "asked for three days", tooLate)
			if !reflect.DeepEqual(b, before) {
				t.Fatal("the book that was given has changed")
			}
			if !c.open {
				if len(f.Events) > 0 || f.Verdict != orders.VerdictNoChange || !reflect.DeepEqual(f.Book, before) {
					t.Errorf("fate %+v", f)
				}
				return
			}
			want := orders.Case{Number: 1, Attempt: number(orderNo, 1), Kind: orders.CaseUnresolved, Detail: "asked for three days", OpenedAt: tooLate}
			if !reflect.DeepEqual(f.Book.Order.Cases, []orders.Case{want}) || !slices.Equal(f.Events, []orders.EventType{orders.EventCase}) || f.Verdict != orders.VerdictApplied {
				t.Fatalf("cases %+v, events %v, verdict %s", f.Book.Order.Cases, f.Events, f.Verdict)
			}
			if f.Book.Order.State != before.Order.State {
				t.Errorf("a case moved the order to %s", f.Book.Order.State)
			}
			if again := orders.Unresolved(f.Book, number(orderNo, 1), "asked again", tooLate); len(again.Events) > 0 || len(again.Book.Order.Cases) != 1 {
				t.Errorf("a second case beside the first: %+v", again.Book.Order.Cases)
			}
			given := deepCopy(f.Book)
			end := c.end(f.Book)
			if !reflect.DeepEqual(f.Book, given) {
				t.Error("the book that was given has changed")
			}
			got := end.Book.Order.Cases[0]
			if c.closed != (got.ClosedBy == orders.ByEvidence) || c.closed == got.ClosedAt.IsZero() {
				t.Errorf("case %+v", got)
			}
			if c.closed && end.Verdict != orders.VerdictApplied {
				t.Errorf("verdict %s: nobody writes it down", end.Verdict)
			}
		})
	}
	if f := orders.Unresolved(newBook(orderNo, 1), number(orderNo, 2), "", tooLate); len(f.Events) > 0 {
		t.Error("a case about no attempt")
	}
}

// A case that a person closed may be opened anew, and has another number.
func TestCaseAgain(t *testing.T) {
	b := orders.Unresolved(newBook(orderNo, 1), number(orderNo, 1), "asked", tooLate).Book
	b.Order.Cases[0].ClosedAt, b.Order.Cases[0].ClosedBy = tooLate, "ops"
	f := orders.Unresolved(b, number(orderNo, 1), "asked", tooLate)
	if len(f.Book.Order.Cases) != 2 || f.Book.Order.Cases[1].ID(orderNo) != "2017061300000016-c2" {
		t.Errorf("cases %+v", f.Book.Order.Cases)
	}
}
