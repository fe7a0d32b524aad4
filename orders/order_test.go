package orders_test

import (
	"testing"
	"time"

	"pay.taipei/gateway/orders"
)

func TestDoubt(t *testing.T) {
	outcomes := []orders.Outcome{orders.OutcomeOpen, orders.OutcomeDone, orders.OutcomeRefused, orders.OutcomeNotSent, orders.OutcomeUnknown}
	for _, op := range []orders.Op{orders.OpCreate, orders.OpConfirm} {
		for _, outcome := range outcomes {
			for state, closes := range map[orders.AttemptState]bool{
				orders.AttemptIntent: false, orders.AttemptPending: false, orders.AttemptCancelled: false,
				orders.AttemptExpired: true, orders.AttemptFailed: true, orders.AttemptPaid: true,
			} {
				b := newBook(orderNo, 2)
				b.Order.Attempts[0].State = state
				b.Order.Calls = []orders.Call{{Attempt: number(orderNo, 1), Op: op, Ordinal: 1, SentAt: inTime, Outcome: outcome}}
				undecided := outcome == orders.OutcomeOpen || outcome == orders.OutcomeUnknown
				want := op != orders.OpCreate && undecided && !closes
				if got := b.Order.Doubt(); got != want {
					t.Errorf("%s %q with the attempt %s: doubt %v, want %v", op, outcome, state, got, want)
				}
			}
		}
	}
	for state, want := range map[orders.RefundState]bool{orders.RefundUndecided: true, orders.RefundDone: false, orders.RefundFailed: false} {
		for _, outcome := range outcomes {
			b := newBook(orderNo, 2)
			b.Order.Attempts[0].State = orders.AttemptPaid
			b.Order.Refunds = []orders.Refund{{Attempt: number(orderNo, 1), Ordinal: 2, State: state}}
			b.Order.Calls = []orders.Call{{Attempt: number(orderNo, 1), Op: orders.OpRefund, Ordinal: 2, SentAt: inTime, Outcome: outcome}}
			undecided := outcome == orders.OutcomeOpen || outcome == orders.OutcomeUnknown
			if got := b.Order.Doubt(); got != (want && undecided) {
				t.Errorf("a %s refund, sent with %q: doubt %v", state, outcome, got)
			}
		}
	}
	t.Run("a decided call does not hide an open one", func(t *testing.T) {
		b := newBook(orderNo, 1)
		b.Order.Calls = []orders.Call{
			{Attempt: number(orderNo, 1), Op: orders.OpConfirm, Ordinal: 1, Outcome: orders.OutcomeNotSent},
			{Attempt: number(orderNo, 1), Op: orders.OpConfirm, Ordinal: 2, Outcome: orders.OutcomeUnknown},
		}
		if !b.Order.Doubt() {
			t.Error("no doubt")
		}
	})
	t.Run("another attempt's end does not close it", func(t *testing.T) {
		b := newBook(orderNo, 2)
		b.Order.Attempts[1].State = orders.AttemptPaid
		b.Order.Calls = []orders.Call{{Attempt: number(orderNo, 1), Op: orders.OpConfirm, Ordinal: 1}}
		if !b.Order.Doubt() {
			t.Error("no doubt")
		}
	})
}

func TestPayable(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*orders.Book)
		now    time.Time
		want   bool
	}{
		"as placed":                 {func(*orders.Book) {}, inTime, true},
		"a millisecond before end":  {func(*orders.Book) {}, expiresAt.Add(-time.Millisecond), true},
		"at its end":                {func(*orders.Book) {}, expiresAt, false},
		"after its end":             {func(*orders.Book) {}, tooLate, false},
		"all attempts failed":       {func(b *orders.Book) { b.Order.Attempts[0].State = orders.AttemptFailed }, inTime, true},
		"paid":                      {func(b *orders.Book) { b.Order.State = orders.OrderPaid }, inTime, false},
		"expired":                   {func(b *orders.Book) { b.Order.State = orders.OrderExpired }, inTime, false},
		"cancelled":                 {func(b *orders.Book) { b.Order.State = orders.OrderCancelled }, inTime, false},
		"refunded":                  {func(b *orders.Book) { b.Order.State = orders.OrderRefunded }, inTime, false},
		"frozen":                    {func(b *orders.Book) { b.Order.Review = true }, inTime, false},
		"a bill held by another":    {func(b *orders.Book) { b.Bills[bill2] = orders.Bill{Holder: other} }, inTime, false},
		"a bill held by nobody":     {func(b *orders.Book) { b.Bills[bill1] = orders.Bill{} }, inTime, false},
		"a bill that has no row":    {func(b *orders.Book) { delete(b.Bills, bill1) }, inTime, false},
		"no bills read":             {func(b *orders.Book) { b.Bills = nil }, inTime, false},
		"held but paid by another":  {func(b *orders.Book) { b.Bills[bill2] = orders.Bill{Holder: orderNo, Paid: other} }, inTime, false},
		"held and paid by this one": {func(b *orders.Book) { b.Bills[bill2] = orders.Bill{Holder: orderNo, Paid: orderNo} }, inTime, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(orderNo, 1)
			c.change(&b)
			if got := b.Payable(c.now); got != c.want {
				t.Errorf("payable %v, want %v", got, c.want)
			}
		})
	}
}

func TestTakeable(t *testing.T) {
	lease := inTime
	doubt := func(o *orders.Order) {
		o.Calls = []orders.Call{{Attempt: number(orderNo, 1), Op: orders.OpConfirm, Ordinal: 1, Outcome: orders.OutcomeUnknown}}
	}
	for name, c := range map[string]struct {
		change func(*orders.Order)
		lease  time.Time
		now    time.Time
		want   bool
	}{
		"open":                               {nil, time.Time{}, inTime, false},
		"open, a millisecond before its end": {nil, time.Time{}, expiresAt.Add(-time.Millisecond), false},
		"open, at its end":                   {nil, time.Time{}, expiresAt, true},
		"failed attempts, before its end":    {func(o *orders.Order) { o.Attempts[0].State = orders.AttemptFailed }, time.Time{}, inTime, false},
		"expired":                            {func(o *orders.Order) { o.State = orders.OrderExpired }, time.Time{}, tooLate, true},
		"cancelled":                          {func(o *orders.Order) { o.State = orders.OrderCancelled }, time.Time{}, inTime, true},
		"in doubt, after its end":            {doubt, time.Time{}, tooLate, false},
		"in doubt, unanswered":               {doubt, lease, lease.Add(time.Hour), false},
		"frozen, after its end":              {func(o *orders.Order) { o.Review = true }, time.Time{}, tooLate, false},
		"frozen and expired":                 {func(o *orders.Order) { o.Review, o.State = true, orders.OrderExpired }, time.Time{}, tooLate, false},
		"frozen, unanswered":                 {func(o *orders.Order) { o.Review = true }, lease, tooLate, false},
		"unanswered, lease alive":            {nil, lease, lease.Add(-time.Second), false},
		"unanswered, lease dead for 60 s":    {nil, lease, lease.Add(60 * time.Second), false},
		"unanswered, lease dead for longer":  {nil, lease, lease.Add(60*time.Second + time.Millisecond), true},
		"answered long ago":                  {nil, time.Time{}, inTime.Add(5 * time.Minute), false},
	} {
		t.Run(name, func(t *testing.T) {
			o := newBook(orderNo, 1).Order
			if c.change != nil {
				c.change(&o)
			}
			if got := orders.Takeable(&o, c.lease, c.now); got != c.want {
				t.Errorf("takeable %v, want %v", got, c.want)
			}
		})
	}
}

func TestAttemptLookup(t *testing.T) {
	o := newBook(orderNo, 3).Order
	if o.Current().Ordinal != 3 {
		t.Errorf("the newest attempt is %d", o.Current().Ordinal)
	}
	if a := o.Attempt(number(orderNo, 2)); a == nil || a.Ordinal != 2 {
		t.Errorf("attempt 2 is %+v", a)
	}
	if a := o.Attempt(number(other, 2)); a != nil {
		t.Errorf("another order's attempt is %+v", a)
	}
	if id := (orders.Surplus{Attempt: number(orderNo, 2), BillNo: bill1}).ID(); id != "201706130000001602-"+bill1 {
		t.Errorf("surplus id %q", id)
	}
}
