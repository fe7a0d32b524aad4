package orders_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// A step of a scenario: evidence, or the passing of time.
type step func(orders.Book) orders.Fate

func tell(ordinal int, s orders.AttemptState, at time.Time) step {
	return telling(said(orderNo, ordinal, s, at))
}

func telling(e orders.Evidence) step {
	return func(b orders.Book) orders.Fate { return orders.Fold(b, e) }
}

// but is authentic evidence of a payment that is wrong in one thing.
func but(change func(*orders.Evidence)) step {
	e := said(orderNo, 1, orders.AttemptPaid, inTime)
	change(&e)
	return telling(e)
}

func wait(until time.Time) step {
	return func(b orders.Book) orders.Fate { return orders.Settle(b, until) }
}

func confirming(outcome orders.Outcome) func(*orders.Book) {
	return func(b *orders.Book) {
		b.Order.Calls = []orders.Call{{Attempt: number(orderNo, 1), Op: orders.OpConfirm, Ordinal: 1, SentAt: inTime, Outcome: outcome}}
	}
}

func amount(units int64) func(*orders.Evidence) {
	return func(e *orders.Evidence) { a := twd(units); e.Fact.Amount = &a }
}

const (
	pending   = orders.AttemptPending
	cancelled = orders.AttemptCancelled
	expired   = orders.AttemptExpired
	failed    = orders.AttemptFailed
	paid      = orders.AttemptPaid
)

// Every rule by which evidence and time move an order. The last step is judged.
func TestFoldRules(t *testing.T) {
	type end struct {
		verdict  orders.Verdict
		attempts []orders.AttemptState
		state    orders.OrderState
		late     bool
		review   bool
		events   []orders.EventType // of the last step
		holder   orders.OrderNo     // of the first bill
		payer    orders.OrderNo     // of the first bill
		surplus  int
	}
	one := func(s orders.AttemptState) []orders.AttemptState { return []orders.AttemptState{s} }
	types := func(t ...orders.EventType) []orders.EventType { return t }
	for _, c := range []struct {
		name   string
		n      int // attempts; 0 means 1
		change func(*orders.Book)
		steps  []step
		want   end
	}{
		{name: "paid", steps: []step{tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},
		{name: "pending when the citizen arrives", change: func(b *orders.Book) { b.Order.Attempts[0].State = orders.AttemptIntent },
			steps: []step{tell(1, pending, inTime)}, want: end{
				verdict: orders.VerdictApplied, attempts: one(pending), events: types(orders.EventPending), holder: orderNo,
			}},
		{name: "pending already known", steps: []step{tell(1, pending, inTime)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(pending), holder: orderNo,
		}},
		{name: "failed leaves the order open", steps: []step{tell(1, failed, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(failed), events: types(orders.EventFailed), holder: orderNo,
		}},
		{name: "cancelled at the provider leaves the order open", steps: []step{tell(1, cancelled, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(cancelled), events: types(orders.EventFailed), holder: orderNo,
		}},
		{name: "expired at the provider before our end leaves the order open", steps: []step{tell(1, expired, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(expired), holder: orderNo,
		}},
		{name: "paid again", steps: []step{tell(1, paid, inTime), tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(paid), state: orders.OrderPaid, holder: orderNo, payer: orderNo,
		}},
		{name: "failed after paid", steps: []step{tell(1, paid, inTime), tell(1, failed, inTime)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(paid), state: orders.OrderPaid, holder: orderNo, payer: orderNo,
		}},
		{name: "cancelled after failed", steps: []step{tell(1, failed, inTime), tell(1, cancelled, inTime)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(failed), holder: orderNo,
		}},
		{name: "paid after failed", steps: []step{tell(1, failed, inTime), tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, late: true, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},
		{name: "paid after cancelled", steps: []step{tell(1, cancelled, inTime), tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, late: true, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},
		{name: "paid after expired", steps: []step{tell(1, expired, inTime), tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, late: true, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},
		{name: "paid a millisecond before the end", steps: []step{tell(1, paid, expiresAt.Add(-time.Millisecond))}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},
		{name: "paid at the end", steps: []step{tell(1, paid, expiresAt)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, late: true, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},
		{name: "paid after the order expired", steps: []step{tell(1, failed, inTime), wait(tooLate), tell(1, paid, tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, late: true, events: types(orders.EventPaid), payer: orderNo,
		}},
		{name: "paid after we cancelled", change: func(b *orders.Book) { b.Order.State = orders.OrderCancelled }, steps: []step{tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, late: true, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},
		{name: "the second attempt is paid too", n: 2, steps: []step{tell(1, paid, inTime), tell(2, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: []orders.AttemptState{paid, paid}, state: orders.OrderPaid, events: types(orders.EventSurplus), holder: orderNo, payer: orderNo, surplus: 2,
		}},
		{name: "late is not set by the surplus of a paid order", n: 2, steps: []step{tell(1, paid, inTime), tell(2, paid, tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: []orders.AttemptState{paid, paid}, state: orders.OrderPaid, events: types(orders.EventSurplus), holder: orderNo, payer: orderNo, surplus: 2,
		}},
		{name: "late stays when the surplus was in time", n: 2, steps: []step{tell(2, paid, tooLate), tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: []orders.AttemptState{paid, paid}, state: orders.OrderPaid, late: true, events: types(orders.EventSurplus), holder: orderNo, payer: orderNo, surplus: 2,
		}},
		{name: "the second attempt of a refunded order is paid too", n: 2, change: func(b *orders.Book) {
			b.Order.State, b.Order.Attempts[0].State = orders.OrderRefunded, paid
			b.Bills[bill1], b.Bills[bill2] = orders.Bill{Paid: orderNo}, orders.Bill{Paid: orderNo}
		}, steps: []step{tell(2, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: []orders.AttemptState{paid, paid}, state: orders.OrderRefunded, events: types(orders.EventSurplus), payer: orderNo, surplus: 2,
		}},
		{name: "one attempt fails beside a paid one", n: 2, steps: []step{tell(1, paid, inTime), tell(2, failed, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: []orders.AttemptState{paid, failed}, state: orders.OrderPaid, events: types(orders.EventFailed), holder: orderNo, payer: orderNo,
		}},
		{name: "paid when another order paid the first bill", change: func(b *orders.Book) { b.Bills[bill1] = orders.Bill{Holder: orderNo, Paid: other} },
			steps: []step{tell(1, paid, inTime)}, want: end{
				verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, events: types(orders.EventPaid, orders.EventSurplus), holder: orderNo, payer: other, surplus: 1,
			}},
		{name: "paid when another order paid both bills", change: func(b *orders.Book) {
			b.Bills = map[string]orders.Bill{bill1: {Holder: other, Paid: other}, bill2: {Holder: other, Paid: other}}
		}, steps: []step{tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, events: types(orders.EventPaid, orders.EventSurplus), holder: other, payer: other, surplus: 2,
		}},
		{name: "paid when another order holds the bill", change: func(b *orders.Book) { b.Bills[bill1] = orders.Bill{Holder: other} },
			steps: []step{tell(1, paid, tooLate)}, want: end{
				verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, late: true, events: types(orders.EventPaid), holder: other, payer: orderNo,
			}},

		{name: "a hint moves nothing", steps: []step{but(func(e *orders.Evidence) { e.Fact = nil })}, want: end{
			verdict: orders.VerdictHint, attempts: one(pending), holder: orderNo,
		}},
		{name: "a hint at another account moves nothing", steps: []step{but(func(e *orders.Evidence) { e.Fact, e.Account = nil, "other" })}, want: end{
			verdict: orders.VerdictHint, attempts: one(pending), holder: orderNo,
		}},
		{name: "paid that may not stand alone", steps: []step{but(func(e *orders.Evidence) { e.NeedsQuery = true })}, want: end{
			verdict: orders.VerdictNeedsQuery, attempts: one(pending), holder: orderNo,
		}},
		{name: "paid without an amount", steps: []step{but(func(e *orders.Evidence) { e.Fact.Amount = nil })}, want: end{
			verdict: orders.VerdictNeedsQuery, attempts: one(pending), holder: orderNo,
		}},
		{name: "the query answers paid", steps: []step{but(func(e *orders.Evidence) { e.NeedsQuery = true }), but(func(e *orders.Evidence) {
			e.Source, e.Purpose = orders.SourceQuery, orders.PurposeBeforePaid("1")
		})}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},
		{name: "what is older teaches no trade number", steps: []step{
			but(func(e *orders.Evidence) { e.Fact.ProviderTradeNo = "" }),
			but(func(e *orders.Evidence) { e.Fact.State, e.Fact.ProviderTradeNo = failed, "of an earlier try" }),
			but(func(e *orders.Evidence) { e.Source = orders.SourceQuery }),
		}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(paid), state: orders.OrderPaid, holder: orderNo, payer: orderNo,
		}},
		{name: "once paid, such a notice is only known", steps: []step{tell(1, paid, inTime), but(func(e *orders.Evidence) { e.NeedsQuery = true })}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(paid), state: orders.OrderPaid, holder: orderNo, payer: orderNo,
		}},
		{name: "once paid, no amount is only known", steps: []step{tell(1, paid, inTime), but(func(e *orders.Evidence) { e.Fact.Amount = nil })}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(paid), state: orders.OrderPaid, holder: orderNo, payer: orderNo,
		}},
		{name: "failed needs no amount", steps: []step{telling(orders.Evidence{
			Account: account, AttemptNo: number(orderNo, 1), ReceivedAt: inTime, NeedsQuery: true, Fact: &orders.Fact{State: failed},
		})}, want: end{
			verdict: orders.VerdictApplied, attempts: one(failed), events: types(orders.EventFailed), holder: orderNo,
		}},
		{name: "of another order", steps: []step{but(func(e *orders.Evidence) { e.AttemptNo = number(other, 1) })}, want: end{
			verdict: orders.VerdictOrphan, attempts: one(pending), holder: orderNo,
		}},
		{name: "of an attempt not made", steps: []step{tell(2, paid, inTime)}, want: end{
			verdict: orders.VerdictOrphan, attempts: one(pending), holder: orderNo,
		}},

		{name: "failed, and then our end", steps: []step{tell(1, failed, inTime), wait(tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(failed), state: orders.OrderExpired, events: types(orders.EventExpired),
		}},
		{name: "failed at our end", steps: []step{tell(1, failed, expiresAt)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(failed), state: orders.OrderExpired, events: types(orders.EventFailed, orders.EventExpired),
		}},
		{name: "expired at the provider after our end", steps: []step{tell(1, expired, tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(expired), state: orders.OrderExpired, events: types(orders.EventExpired),
		}},
		{name: "a millisecond before our end", steps: []step{tell(1, failed, inTime), wait(expiresAt.Add(-time.Millisecond))}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(failed), holder: orderNo,
		}},
		{name: "a handed attempt outlives our end", steps: []step{wait(tooLate)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(pending), holder: orderNo,
		}},
		{name: "one of two attempts outlives our end", n: 2, steps: []step{tell(1, failed, inTime), wait(tooLate)}, want: end{
			verdict: orders.VerdictNoChange, attempts: []orders.AttemptState{failed, pending}, holder: orderNo,
		}},
		{name: "an attempt that never left us ends by our clock", change: func(b *orders.Book) {
			b.Order.Attempts[0].State, b.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
		}, steps: []step{wait(tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(expired), state: orders.OrderExpired, events: types(orders.EventExpired),
		}},
		{name: "but not before", change: func(b *orders.Book) {
			b.Order.Attempts[0].State, b.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
		}, steps: []step{wait(expiresAt.Add(-time.Millisecond))}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(orders.AttemptIntent), holder: orderNo,
		}},
		{name: "a create call that may have left us outlives our end", change: func(b *orders.Book) {
			b.Order.Attempts[0].State, b.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
			b.Order.Calls = []orders.Call{{Attempt: number(orderNo, 1), Op: orders.OpCreate, Ordinal: 1, Outcome: orders.OutcomeUnknown}}
		}, steps: []step{wait(tooLate)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(orders.AttemptIntent), holder: orderNo,
		}},
		{name: "a create call that provably did not leave us ends by our clock", change: func(b *orders.Book) {
			b.Order.Attempts[0].State, b.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
			b.Order.Calls = []orders.Call{{Attempt: number(orderNo, 1), Op: orders.OpCreate, Ordinal: 1, Outcome: orders.OutcomeNotSent}}
		}, steps: []step{wait(tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(expired), state: orders.OrderExpired, events: types(orders.EventExpired),
		}},
		{name: "an expired order takes only its own holds along", change: func(b *orders.Book) {
			b.Order.Attempts[0].State, b.Bills[bill1] = failed, orders.Bill{Holder: other}
		}, steps: []step{wait(tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(failed), state: orders.OrderExpired, events: types(orders.EventExpired), holder: other,
		}},
		{name: "an expired order does not expire again", steps: []step{tell(1, failed, tooLate), wait(tooLate)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(failed), state: orders.OrderExpired,
		}},
		{name: "a paid order does not expire", steps: []step{tell(1, paid, inTime), wait(tooLate)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(paid), state: orders.OrderPaid, holder: orderNo, payer: orderNo,
		}},
		{name: "a cancelled order does not expire", change: func(b *orders.Book) { b.Order.State = orders.OrderCancelled },
			steps: []step{tell(1, failed, inTime), wait(tooLate)}, want: end{
				verdict: orders.VerdictNoChange, attempts: one(failed), state: orders.OrderCancelled, holder: orderNo,
			}},

		{name: "a doubtful order does not expire", change: confirming(orders.OutcomeUnknown), steps: []step{tell(1, cancelled, tooLate), wait(tooLate)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(cancelled), holder: orderNo,
		}},
		{name: "an open confirm is a doubt too", change: confirming(orders.OutcomeOpen), steps: []step{tell(1, cancelled, tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(cancelled), events: types(orders.EventFailed), holder: orderNo,
		}},
		{name: "failed closes the doubt", change: confirming(orders.OutcomeUnknown), steps: []step{tell(1, failed, tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(failed), state: orders.OrderExpired, events: types(orders.EventFailed, orders.EventExpired),
		}},
		{name: "the provider's own expiry closes the doubt", change: confirming(orders.OutcomeUnknown), steps: []step{tell(1, expired, tooLate)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(expired), state: orders.OrderExpired, events: types(orders.EventExpired),
		}},
		{name: "paid closes the doubt", change: confirming(orders.OutcomeUnknown), steps: []step{tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},

		{name: "a frozen order does not expire", steps: []step{but(amount(41)), tell(1, failed, inTime), wait(tooLate)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(failed), review: true, holder: orderNo,
		}},
		{name: "a frozen order ends no attempt by our clock", change: func(b *orders.Book) {
			b.Order.Review = true
			b.Order.Attempts[0].State, b.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
		}, steps: []step{wait(tooLate)}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(orders.AttemptIntent), review: true, holder: orderNo,
		}},
		{name: "a genuine payment lands in a frozen order", steps: []step{but(amount(41)), tell(1, paid, inTime)}, want: end{
			verdict: orders.VerdictApplied, attempts: one(paid), state: orders.OrderPaid, review: true, events: types(orders.EventPaid), holder: orderNo, payer: orderNo,
		}},
		{name: "a second contradiction says nothing new", steps: []step{but(amount(41)), but(amount(39))}, want: end{
			verdict: orders.VerdictReview, attempts: one(pending), review: true, holder: orderNo,
		}},
		{name: "a paid order is frozen by a contradiction, and stays paid", steps: []step{tell(1, paid, inTime), but(amount(39))}, want: end{
			verdict: orders.VerdictReview, attempts: one(paid), state: orders.OrderPaid, review: true, events: types(orders.EventReview), holder: orderNo, payer: orderNo,
		}},
		{name: "paid under another transaction number", steps: []step{tell(1, paid, inTime), but(func(e *orders.Evidence) { e.Fact.ProviderTradeNo = "T-other" })}, want: end{
			verdict: orders.VerdictReview, attempts: one(paid), state: orders.OrderPaid, review: true, events: types(orders.EventReview), holder: orderNo, payer: orderNo,
		}},
		{name: "paid again without a transaction number", steps: []step{tell(1, paid, inTime), but(func(e *orders.Evidence) { e.Fact.ProviderTradeNo = "" })}, want: end{
			verdict: orders.VerdictNoChange, attempts: one(paid), state: orders.OrderPaid, holder: orderNo, payer: orderNo,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBook(orderNo, max(c.n, 1))
			if c.change != nil {
				c.change(&b)
			}
			var f orders.Fate
			version := b.Order.Version
			for _, s := range c.steps {
				f = s(b)
				b = f.Book
				version += int64(len(f.Events))
			}
			o := f.Book.Order
			got := end{
				verdict: f.Verdict, state: o.State, late: o.Late, review: o.Review, events: f.Events,
				holder: f.Book.Bills[bill1].Holder, payer: f.Book.Bills[bill1].Paid, surplus: len(o.Surplus),
			}
			for _, a := range o.Attempts {
				got.attempts = append(got.attempts, a.State)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if o.Version != version {
				t.Errorf("version %d after %d events", o.Version, version-1)
			}
		})
	}
}

// A message that contradicts our record is kept and freezes the order: it is never
// believed, whatever state it reports.
func TestFoldFreezesOnContradiction(t *testing.T) {
	for _, c := range []struct {
		name, why string
		change    func(*orders.Evidence)
	}{
		{"one dollar more", "amount", amount(41)},
		{"one dollar less", "amount", amount(39)},
		{"a hundred times", "amount", amount(4000)},
		{"nothing", "amount", amount(0)},
		{"other currency", "currency", func(e *orders.Evidence) { a := money.Zero("USD"); e.Fact.Amount = &a }},
		{"no currency", "currency", func(e *orders.Evidence) { e.Fact.Amount = &money.Amount{} }},
		{"other merchant", "merchant", func(e *orders.Evidence) { e.Fact.PayeeMemberID = "1136548" }},
		{"other account", "account", func(e *orders.Evidence) { e.Account = "bravobank-spare" }},
		{"play money for real money", "environment", func(e *orders.Evidence) { e.Fact.Environment = "demo" }},
		{"everything", "account, merchant, environment, amount", func(e *orders.Evidence) {
			e.Account, e.Fact.PayeeMemberID, e.Fact.Environment = "bravobank-spare", "1136548", "demo"
			amount(1)(e)
		}},
	} {
		for _, needsQuery := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				e := said(orderNo, 1, paid, inTime)
				e.NeedsQuery = needsQuery
				c.change(&e)
				f := orders.Fold(newBook(orderNo, 1), e)
				o := f.Book.Order
				if f.Verdict != orders.VerdictReview || f.Why != c.why {
					t.Errorf("verdict %s because of %q, want review because of %q", f.Verdict, f.Why, c.why)
				}
				if !o.Review || !slices.Equal(f.Events, []orders.EventType{orders.EventReview}) {
					t.Errorf("review %v, events %v", o.Review, f.Events)
				}
				if o.State != orders.OrderOpen || o.Attempts[0].State != pending || o.Attempts[0].ProviderTradeNo != "" || f.Book.Bills[bill1].Paid != "" {
					t.Errorf("a contradiction moved the order: %+v", o)
				}
				if f.Book.Payable(inTime) || orders.Takeable(&o, time.Time{}, tooLate) {
					t.Error("a frozen order opens pages or loses its bills")
				}
				after := orders.Settle(f.Book, tooLate)
				if after.Book.Bills[bill1].Holder != orderNo || after.Book.Order.State != orders.OrderOpen {
					t.Error("a frozen order expired")
				}
			})
		}
	}
}

// What a message does not carry contradicts nothing.
func TestFoldBindsToWhatIsCarried(t *testing.T) {
	e := said(orderNo, 1, paid, inTime)
	e.Fact.PayeeMemberID, e.Fact.Environment, e.Fact.ProviderTradeNo, e.Fact.Refs = "", "", "", nil
	if f := orders.Fold(newBook(orderNo, 1), e); f.Verdict != orders.VerdictApplied || f.Book.Order.State != orders.OrderPaid {
		t.Errorf("verdict %s, %q", f.Verdict, f.Why)
	}
}

func TestFoldBindsToTheTotal(t *testing.T) {
	b := newBook(orderNo, 1)
	b.Order.Fee, b.Order.Total = twd(5), twd(45)
	if f := orders.Fold(b, said(orderNo, 1, paid, inTime)); f.Verdict != orders.VerdictReview {
		t.Errorf("the amount without the fee: %s", f.Verdict)
	}
	e := said(orderNo, 1, paid, inTime)
	amount(45)(&e)
	if f := orders.Fold(b, e); f.Verdict != orders.VerdictApplied {
		t.Errorf("the total: %s, %q", f.Verdict, f.Why)
	}
}

func TestFoldLearns(t *testing.T) {
	b := newBook(orderNo, 1)
	b.Order.Attempts[0].Refs = map[string]string{"transactionId": "1", "k": "old"}
	before := deepCopy(b)
	f := orders.Fold(b, said(orderNo, 1, paid, inTime))
	a := f.Book.Order.Attempts[0]
	if a.ProviderTradeNo != "T201706130000001601" || a.Method != "deposit_account" || !a.PaidAt.Equal(inTime) {
		t.Errorf("learned %+v", a)
	}
	if !reflect.DeepEqual(a.Refs, map[string]string{"transactionId": "1", "k": "paid"}) {
		t.Errorf("refs %v", a.Refs)
	}
	if !reflect.DeepEqual(b, before) {
		t.Error("Fold wrote into the book it was given")
	}
	e := said(orderNo, 1, failed, inTime)
	e.Fact.PaidAt = inTime
	if a := orders.Fold(newBook(orderNo, 1), e).Book.Order.Attempts[0]; !a.PaidAt.IsZero() {
		t.Errorf("a failed attempt was paid at %v", a.PaidAt)
	}
}

func TestFoldIsPure(t *testing.T) {
	given := newBook(orderNo, 2)
	given.Bills[bill2] = orders.Bill{Holder: orderNo, Paid: other}
	given.Order.Surplus, given.Order.Refunds, given.Order.Cases = slices.Grow(given.Order.Surplus, 8), slices.Grow(given.Order.Refunds, 8), slices.Grow(given.Order.Cases, 8)
	withCase := func(b orders.Book) orders.Fate { return orders.Unresolved(b, number(orderNo, 1), "asked", tooLate) }
	cancel := func(b orders.Book) orders.Fate { f, _ := orders.Cancel(b, inTime); return f }
	lose := func(b orders.Book) orders.Fate { return orders.Lose(b) }
	for _, s := range []step{
		tell(1, paid, inTime), tell(1, failed, tooLate), tell(2, expired, tooLate), but(amount(1)), wait(tooLate), withCase, cancel, lose,
	} {
		before := deepCopy(given)
		first := s(given)
		if !reflect.DeepEqual(given, before) {
			t.Fatal("the book that was given has changed")
		}
		if second := s(given); !reflect.DeepEqual(first, second) {
			t.Fatalf("two answers to one question:\n%+v\n%+v", first, second)
		}
	}
}

func TestSurplusRows(t *testing.T) {
	f := fold(newBook(orderNo, 2), said(orderNo, 2, paid, inTime), said(orderNo, 1, paid, inTime))
	want := []orders.Surplus{
		{Attempt: number(orderNo, 1), BillNo: bill1, Amount: twd(20), Refunded: twd(0)},
		{Attempt: number(orderNo, 1), BillNo: bill2, Amount: twd(20), Refunded: twd(0)},
	}
	if !reflect.DeepEqual(f.Book.Order.Surplus, want) {
		t.Errorf("surplus %+v", f.Book.Order.Surplus)
	}
}
