package orders

import (
	"maps"
	"slices"
	"time"
)

// Fate is what a piece of evidence, or the passing of time, makes of a book.
type Fate struct {
	Book    Book
	Verdict Verdict
	Events  []EventType // in the order of their versions; Book.Order.Version counts them
	Why     string      // for VerdictReview: which fields differ
}

// Fold applies one piece of evidence to a book: the rule by which states move. It is
// pure; b is not changed. The evidence must name an attempt of the order, else the
// verdict is VerdictOrphan.
//
// Folding any set of evidence, in any order and with repetitions, gives the same
// states, and the same paid and surplus sums per bill.
func Fold(b Book, e Evidence) Fate {
	f := Fate{Book: b.clone()}
	o := &f.Book.Order
	a := o.Attempt(e.AttemptNo)
	switch {
	case a == nil:
		f.Verdict = VerdictOrphan
	case e.Fact == nil:
		f.Verdict = VerdictHint
	default:
		f.fact(a, &e)
	}
	f.end(e.ReceivedAt)
	return f
}

// Settle ends what time alone may end: attempts that never left us, and an order past
// its end whose attempts have all ended.
func Settle(b Book, now time.Time) Fate {
	f := Fate{Book: b.clone(), Verdict: VerdictNoChange}
	o := &f.Book.Order
	if !now.Before(o.ExpiresAt) && !o.Review {
		for i := range o.Attempts {
			if a := &o.Attempts[i]; !a.State.Ended() && !o.mayHaveLeft(a) {
				a.State = AttemptExpired
				f.Verdict = VerdictApplied
			}
		}
	}
	f.end(now)
	if len(f.Events) > 0 {
		f.Verdict = VerdictApplied
	}
	return f
}

// mayHaveLeft says whether a signed byte of an attempt may have left us: such an
// attempt ends by the provider's word only, and only such an attempt is asked about.
func (o *Order) mayHaveLeft(a *Attempt) bool {
	if !a.HandedAt.IsZero() {
		return true
	}
	return slices.ContainsFunc(o.Calls, func(c Call) bool {
		return c.Attempt == a.No && c.Outcome != OutcomeNotSent
	})
}

// fact folds an authenticated message into its attempt.
func (f *Fate) fact(a *Attempt, e *Evidence) {
	o, fact := &f.Book.Order, e.Fact
	if f.Why = differs(o, a, e); f.Why != "" {
		f.Verdict = VerdictReview
		if !o.Review {
			o.Review = true
			f.event(EventReview)
		}
		return
	}
	if fact.State == AttemptPaid && a.State < AttemptPaid && (fact.Amount == nil || e.NeedsQuery) {
		f.Verdict = VerdictNeedsQuery
		return
	}
	f.Verdict = VerdictNoChange
	a.learn(fact)
	if fact.State <= a.State {
		return
	}
	f.Verdict = VerdictApplied
	before := a.State
	a.State = fact.State
	switch fact.State {
	case AttemptPaid:
		f.paid(a, before, e.ReceivedAt)
	case AttemptFailed, AttemptCancelled:
		f.event(EventFailed)
	case AttemptPending:
		f.event(EventPending)
	case AttemptIntent, AttemptExpired:
	}
}

// learn keeps what a fact tells beside the state: all of a newer state's, what one of the same state
// adds to what is known, and of an older one's the references, which later calls to the provider need.
func (a *Attempt) learn(fact *Fact) {
	newer := fact.State > a.State
	if len(fact.Refs) > 0 {
		refs := map[string]string{}
		first, second := fact.Refs, a.Refs
		if newer {
			first, second = second, first
		}
		maps.Copy(refs, first)
		maps.Copy(refs, second)
		a.Refs = refs
	}
	if fact.State < a.State { // its trade number may be that of an earlier try
		return
	}
	if fact.ProviderTradeNo != "" && (newer || a.ProviderTradeNo == "") {
		a.ProviderTradeNo = fact.ProviderTradeNo
	}
	if fact.Method != "" && (newer || a.Method == "") {
		a.Method = fact.Method
	}
	if fact.State == AttemptPaid && a.PaidAt.IsZero() {
		a.PaidAt = fact.PaidAt
	}
}

// differs names the fields in which a message contradicts our record; empty when it
// does not. Our record decides what was to be paid, to whom and where: an authentic
// message about something else is not about this attempt.
func differs(o *Order, a *Attempt, e *Evidence) string {
	fact, why := e.Fact, ""
	add := func(differ bool, field string) {
		if differ {
			if why != "" {
				why += ", "
			}
			why += field
		}
	}
	add(e.Account != a.Account, "account")
	add(fact.PayeeMemberID != "" && fact.PayeeMemberID != a.PayeeMemberID, "merchant")
	add(fact.Environment != "" && fact.Environment != a.Environment, "environment")
	if fact.Amount != nil {
		add(fact.Amount.Currency() != o.Total.Currency(), "currency")
		add(fact.Amount.Currency() == o.Total.Currency() && *fact.Amount != o.Total, "amount")
	}
	add(a.State == AttemptPaid && fact.State == AttemptPaid &&
		fact.ProviderTradeNo != "" && a.ProviderTradeNo != "" && fact.ProviderTradeNo != a.ProviderTradeNo, "provider_trade_no")
	return why
}

// paid settles the order's bills with the money of an attempt. A paid fact always
// lands: what a bill does not need any more becomes a surplus row.
func (f *Fate) paid(a *Attempt, before AttemptState, at time.Time) {
	o := &f.Book.Order
	if o.State < OrderPaid {
		o.Late = !at.Before(o.ExpiresAt) || o.State != OrderOpen || before.softEnd()
		o.State = OrderPaid
		f.event(EventPaid)
	}
	surplus := false
	for _, l := range o.Lines {
		bill := f.Book.Bills[l.BillNo]
		if bill.Paid == "" {
			bill.Paid = o.No
			f.Book.Bills[l.BillNo] = bill
			continue
		}
		o.Surplus = append(o.Surplus, Surplus{Attempt: a.No, BillNo: l.BillNo, Amount: l.Subtotal, Refunded: l.Subtotal.Nothing()})
		surplus = true
	}
	if surplus {
		f.event(EventSurplus)
	}
}

// end expires an order whose time is over and whose attempts have all ended, and lets
// go of its bills. Frozen and doubtful orders wait.
func (f *Fate) end(now time.Time) {
	o := &f.Book.Order
	if o.State != OrderOpen || o.Review || o.Doubt() || now.Before(o.ExpiresAt) {
		return
	}
	if slices.ContainsFunc(o.Attempts, func(a Attempt) bool { return !a.State.Ended() }) {
		return
	}
	o.State = OrderExpired
	f.release()
	f.event(EventExpired)
}

// release lets go of the bills that the order holds.
func (f *Fate) release() {
	for no, bill := range f.Book.Bills {
		if bill.Holder == f.Book.Order.No {
			bill.Holder = ""
			f.Book.Bills[no] = bill
		}
	}
}

func (f *Fate) event(t EventType) {
	f.Book.Order.Version++
	f.Events = append(f.Events, t)
}

// clone copies what a fold may change.
func (b *Book) clone() Book {
	c := Book{Order: b.Order, Bills: maps.Clone(b.Bills)}
	c.Order.Attempts = slices.Clone(b.Order.Attempts)
	c.Order.Surplus = slices.Clone(b.Order.Surplus)
	c.Order.Calls = slices.Clone(b.Order.Calls)
	if c.Bills == nil {
		c.Bills = map[string]Bill{}
	}
	return c
}
