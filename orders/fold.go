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
		if e.Pointer != "" && !e.Guessable {
			a.point(e.Pointer)
		}
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
			if a := &o.Attempts[i]; !a.State.Ended() && !o.MayHaveLeft(a) {
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

// MayHaveLeft says whether a signed byte of an attempt may have left us: such an
// attempt ends by the provider's word only, and only such an attempt is asked about.
func (o *Order) MayHaveLeft(a *Attempt) bool {
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
	if fact.State > a.State {
		f.rise(a, e)
	}
	f.refunds(a, e)
}

// rise moves an attempt to the state of a fact.
func (f *Fate) rise(a *Attempt, e *Evidence) {
	f.Verdict = VerdictApplied
	before := a.State
	a.State = e.Fact.State
	f.closeCase(a.No, e.ReceivedAt)
	switch a.State {
	case AttemptPaid:
		f.paid(a, before, e.ReceivedAt)
	case AttemptFailed, AttemptCancelled:
		f.event(EventFailed)
	case AttemptPending:
		f.event(EventPending)
	case AttemptIntent, AttemptExpired:
	}
}

// PointerRef is the name of the newest pointer among an attempt's references.
const PointerRef = "pointer"

// point keeps a pointer in place of the one before. A wrong one costs a question: it decides nothing.
func (a *Attempt) point(to string) {
	refs := maps.Clone(a.Refs)
	if refs == nil {
		refs = make(map[string]string)
	}
	refs[PointerRef] = to
	a.Refs = refs
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

// end ends an open order that its client wants cancelled, or whose time is over and whose attempts have all ended, and
// lets go of its bills. Frozen and doubtful orders wait.
func (f *Fate) end(now time.Time) {
	o := &f.Book.Order
	if o.State != OrderOpen || o.Review || o.Doubt() {
		return
	}
	switch {
	case !o.CancelAsked.IsZero():
		f.cancel()
	case now.Before(o.ExpiresAt) || slices.ContainsFunc(o.Attempts, func(a Attempt) bool { return !a.State.Ended() }):
	default:
		o.State = OrderExpired
		f.release()
		f.event(EventExpired)
	}
}

// cancel ends an order. What of it has left us is watched on.
func (f *Fate) cancel() {
	o := &f.Book.Order
	for i := range o.Attempts {
		a := &o.Attempts[i]
		switch {
		case a.State.Ended():
		case o.MayHaveLeft(a):
			a.Abandoned = true
		default:
			a.State = AttemptCancelled
		}
	}
	o.State = OrderCancelled
	f.release()
	f.event(EventCancelled)
}

// Cancel cancels an open order; while a money call of it is in doubt it only notes the wish, which Fold carries out when
// the doubt ends without a payment. Cancelling again changes nothing. ErrNotPayable for an order that has ended otherwise
// or is frozen.
func Cancel(b Book, now time.Time) (Fate, error) {
	f := Fate{Book: b.clone(), Verdict: VerdictNoChange}
	o := &f.Book.Order
	switch {
	case o.State == OrderCancelled || (o.State == OrderOpen && !o.CancelAsked.IsZero()):
		return f, nil
	case o.State != OrderOpen || o.Review || !now.Before(o.ExpiresAt):
		return f, ErrNotPayable
	}
	o.CancelAsked, f.Verdict = now, VerdictApplied
	f.end(now)
	return f, nil
}

// Lose cancels an open order whose bills went to another, whatever its clock says.
func Lose(b Book) Fate {
	f := Fate{Book: b.clone(), Verdict: VerdictApplied}
	f.cancel()
	return f
}

// CallEnded folds that the outcome of a money call of an attempt is known: a cancel that waited for it is carried out.
func CallEnded(b Book, attempt AttemptNo, now time.Time) Fate {
	f := Fate{Book: b.clone(), Verdict: VerdictNoChange}
	f.closeCase(attempt, now)
	f.end(now)
	if len(f.Events) > 0 {
		f.Verdict = VerdictApplied
	}
	return f
}

// openCase opens a case, unless one of its kind is open.
func (f *Fate) openCase(attempt AttemptNo, kind CaseKind, detail string, at time.Time) {
	o := &f.Book.Order
	if o.OpenCase(attempt, kind) != nil {
		return
	}
	o.Cases = append(o.Cases, Case{Number: len(o.Cases) + 1, Attempt: attempt, Kind: kind, Detail: detail, OpenedAt: at})
	f.Verdict = VerdictApplied
	f.event(EventCase)
}

// closeCase closes the case about an attempt that nobody knew the end of, once it is known.
func (f *Fate) closeCase(attempt AttemptNo, at time.Time) {
	o := &f.Book.Order
	if c := o.OpenCase(attempt, CaseUnresolved); c != nil && !o.unresolved(o.Attempt(attempt)) {
		c.ClosedAt, c.ClosedBy = at, ByEvidence
		f.Verdict = VerdictApplied
	}
}

// unresolved says whether something of an attempt is still to be known.
func (o *Order) unresolved(a *Attempt) bool {
	return !a.State.Ended() || o.DoubtAbout(a.No) != nil || o.UndecidedRefund(a.No) != nil
}

// Unproven opens a case for an attempt that is said to be paid while nothing proves it.
func Unproven(b Book, attempt AttemptNo, detail string, now time.Time) Fate {
	f := Fate{Book: b.clone(), Verdict: VerdictNoChange}
	f.openCase(attempt, CaseUnresolved, detail, now)
	return f
}

// Unresolved opens a case for an attempt that the provider was asked about as long as it is patient, unless its end is
// known by now.
func Unresolved(b Book, attempt AttemptNo, detail string, now time.Time) Fate {
	f := Fate{Book: b.clone(), Verdict: VerdictNoChange}
	o := &f.Book.Order
	if a := o.Attempt(attempt); a != nil && o.unresolved(a) {
		f.openCase(attempt, CaseUnresolved, detail, now)
	}
	return f
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
	c.Order.Refunds = slices.Clone(b.Order.Refunds)
	c.Order.Cases = slices.Clone(b.Order.Cases)
	if c.Bills == nil {
		c.Bills = map[string]Bill{}
	}
	return c
}
