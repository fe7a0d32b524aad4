package orders

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/money"
)

// Refund is money of a paid attempt that goes back to the payer.
type Refund struct {
	Attempt          AttemptNo
	Ordinal          int          // within the attempt, from 1; its call has the same
	BillNo           string       // of the surplus that it pays back; empty: it pays back a part of the order
	Amount           money.Amount // more than nothing
	Reason           string       // the client's
	State            RefundState
	Why              string // of a failed one: the provider's code, or a rule
	ProviderRefundNo string
	AskedAt          time.Time
	DecidedAt        time.Time // zero while undecided
}

// RefundState is how far a refund is.
type RefundState string

// The states of a refund.
const (
	RefundUndecided RefundState = "undecided" // to be sent, on its way, at work at the provider, or nobody knows
	RefundDone      RefundState = "done"
	RefundFailed    RefundState = "failed" // proven: not carried out
)

// maxRefunds is how many refunds one attempt may have: their numbers have two digits.
const maxRefunds = 99

// ID is our number of the refund, unique for ever: the provider's key against duplicates.
func (r *Refund) ID() string { return fmt.Sprintf("%sR%02d", r.Attempt, r.Ordinal) }

// Document is a refund as clients see it.
func (r *Refund) Document() RefundDocument {
	d := RefundDocument{
		ID: r.ID(), AttemptNo: r.Attempt, Amount: r.Amount.Value(), Status: r.State, Why: some(r.Why), Reason: r.Reason,
		ProviderRefundNo: some(r.ProviderRefundNo), CreatedAt: stamp(r.AskedAt),
	}
	if r.BillNo != "" {
		d.SurplusID = some((&Surplus{Attempt: r.Attempt, BillNo: r.BillNo}).ID())
	}
	if !r.DecidedAt.IsZero() {
		d.DecidedAt = some(stamp(r.DecidedAt))
	}
	return d
}

// Errors of asking for a refund.
var (
	ErrNotRefundable   = errors.New("orders: nothing to refund")
	ErrRefundUndecided = errors.New("orders: another refund of this attempt is undecided, or does not agree with the provider")
	ErrRefundExceeds   = errors.New("orders: more than what is left to refund")
)

// RefundByID finds a refund by its number, or nil.
func (o *Order) RefundByID(id string) *Refund {
	for i := range o.Refunds {
		if o.Refunds[i].ID() == id {
			return &o.Refunds[i]
		}
	}
	return nil
}

func (o *Order) refund(attempt AttemptNo, ordinal int) *Refund {
	for i := range o.Refunds {
		if r := &o.Refunds[i]; r.Attempt == attempt && r.Ordinal == ordinal {
			return r
		}
	}
	return nil
}

// UndecidedRefund is the refund of an attempt that is not decided yet, or nil. There is at most one.
func (o *Order) UndecidedRefund(attempt AttemptNo) *Refund {
	for i := range o.Refunds {
		if r := &o.Refunds[i]; r.Attempt == attempt && r.State == RefundUndecided {
			return r
		}
	}
	return nil
}

// Refundable is what of a paid attempt may still be paid back, undecided refunds counted as paid back: of its surplus
// for a bill, or with no bill of what the order itself needed. Nothing for an attempt that is not paid.
func (o *Order) Refundable(attempt AttemptNo, billNo string) money.Amount {
	none := o.Total.Nothing()
	a := o.Attempt(attempt)
	if a == nil || a.State != AttemptPaid {
		return none
	}
	left := none
	if billNo == "" {
		left = o.Total
	}
	for _, s := range o.Surplus {
		switch {
		case s.Attempt != attempt:
		case billNo == "":
			left = minus(left, s.Amount)
		case s.BillNo == billNo:
			left = s.Amount
		}
	}
	for i := range o.Refunds {
		if r := &o.Refunds[i]; r.Attempt == attempt && r.BillNo == billNo && r.State != RefundFailed {
			left = minus(left, r.Amount)
		}
	}
	return left
}

// Paying is the attempt whose money settled bills of the order, or nil: a second paid attempt is surplus as a whole.
func (o *Order) Paying() *Attempt {
	for i := range o.Attempts {
		a, surplus := &o.Attempts[i], 0
		for _, s := range o.Surplus {
			if s.Attempt == a.No {
				surplus++
			}
		}
		if a.State == AttemptPaid && surplus < len(o.Lines) {
			return a
		}
	}
	return nil
}

// RefundAsk asks to pay back.
type RefundAsk struct {
	Attempt AttemptNo
	BillNo  string       // of a surplus; empty: of the order
	Amount  money.Amount // the zero value: all that is left
	Reason  string
}

// SurplusByID is the surplus of an id, or nil.
func (o *Order) SurplusByID(id string) *Surplus {
	for i := range o.Surplus {
		if o.Surplus[i].ID() == id {
			return &o.Surplus[i]
		}
	}
	return nil
}

// NewRefund is the rule by which a refund may be asked for: of a paid attempt, with no other refund of it undecided, no
// more than what is left. It is pure, and adds nothing to the order. Not checked: what the provider allows.
func (o *Order) NewRefund(ask RefundAsk, now time.Time) (Refund, error) {
	left := o.Refundable(ask.Attempt, ask.BillNo)
	if o.UndecidedRefund(ask.Attempt) != nil || o.OpenCase(ask.Attempt, CaseRefundMismatch) != nil {
		return Refund{}, ErrRefundUndecided // a person finds out first what went back
	}
	ordinal := 1
	for i := range o.Refunds {
		if o.Refunds[i].Attempt == ask.Attempt {
			ordinal = max(ordinal, o.Refunds[i].Ordinal+1)
		}
	}
	if left.IsZero() || ordinal > maxRefunds {
		return Refund{}, ErrNotRefundable
	}
	amount := ask.Amount
	if amount == (money.Amount{}) {
		amount = left
	}
	if amount.Currency() != left.Currency() || amount.IsZero() || amount.Units() > left.Units() {
		return Refund{}, ErrRefundExceeds
	}
	return Refund{
		Attempt: ask.Attempt, Ordinal: ordinal, BillNo: ask.BillNo, Amount: amount, Reason: ask.Reason,
		State: RefundUndecided, AskedAt: now,
	}, nil
}

// RefundFact is what a provider says of one refund.
type RefundFact struct {
	ID               string // ours; empty where the provider does not carry it
	ProviderRefundNo string
	Amount           money.Amount
	State            RefundState // a pending one is undecided
}

// refunds folds what a provider says of the refunds of a paid attempt.
func (f *Fate) refunds(a *Attempt, e *Evidence) {
	fact := e.Fact
	if a.State != AttemptPaid || (len(fact.Refunds) == 0 && !fact.RefundsComplete) {
		return
	}
	o := &f.Book.Order
	if r := o.UndecidedRefund(a.No); r != nil && o.RefundCall(r) != nil { // what was not sent is not at the provider
		f.decide(r, e)
	}
	var known int64
	for i := range o.Refunds {
		if r := &o.Refunds[i]; r.Attempt == a.No && r.State != RefundFailed {
			known += r.Amount.Units()
		}
	}
	if told := fact.refunded(); told > known {
		f.mismatch(a.No, fmt.Sprintf("the provider has paid back %d units more than we asked for", told-known), e.ReceivedAt)
	}
}

// mismatch opens a case about what the provider paid back, once: what a person has decided is not asked again.
func (f *Fate) mismatch(attempt AttemptNo, detail string, at time.Time) {
	if !slices.ContainsFunc(f.Book.Order.Cases, func(c Case) bool { return c.Attempt == attempt && c.Detail == detail }) {
		f.openCase(attempt, CaseRefundMismatch, detail, at)
	}
}

// RefundCall is the call of a refund, or nil: it was not sent, or that is proven of its last send.
func (o *Order) RefundCall(r *Refund) *Call {
	for i := range o.Calls {
		if c := &o.Calls[i]; c.Op == OpRefund && c.Attempt == r.Attempt && c.Ordinal == r.Ordinal && c.Outcome != OutcomeNotSent {
			return c
		}
	}
	return nil
}

// refunded is the sum of the refunds that a provider says were carried out, in smallest units: there are few, and each has
// twelve digits at most.
func (f *Fact) refunded() (units int64) {
	for _, r := range f.Refunds {
		if r.State == RefundDone {
			units += r.Amount.Units()
		}
	}
	return units
}

// decide tells from what a provider says of its refunds what became of an undecided one: by our own number, else by the
// change of the total. One that is missing has failed only if it cannot be still on its way, and only by the answer to a
// question about this send: another question may have been asked before it. One that the provider has said it took is never
// failed by its absence: the list may lag by days.
func (f *Fate) decide(r *Refund, e *Evidence) {
	numbered, working := false, false
	for _, fact := range e.Fact.Refunds {
		numbered = numbered || fact.ID != ""
		working = working || fact.ID == "" && fact.State == RefundUndecided
		if fact.ID != r.ID() {
			continue
		}
		if fact.Amount == r.Amount {
			f.refunded(r, fact.State, fact.ProviderRefundNo, "refused_by_provider", e.ReceivedAt)
		} else {
			f.mismatch(r.Attempt, fmt.Sprintf("refund %s is of %s at the provider, we asked for %s", r.ID(), fact.Amount, r.Amount), e.ReceivedAt)
		}
		return
	}
	if !e.Fact.RefundsComplete {
		return
	}
	var before int64
	for i := range f.Book.Order.Refunds {
		if done := &f.Book.Order.Refunds[i]; done.Attempt == r.Attempt && done.State == RefundDone {
			before += done.Amount.Units()
		}
	}
	call := f.Book.Order.RefundCall(r)
	gone := call.Outcome != OutcomeDone && call.SentAt.Equal(e.Settled) && (e.Purpose == PurposeRefund(r) || e.Purpose == PurposeDoubt(call))
	switch told := e.Fact.refunded(); {
	case !numbered && told == before+r.Amount.Units():
		f.refunded(r, RefundDone, "", "", e.ReceivedAt)
	case gone && !working && told >= before && (numbered || told == before):
		f.refunded(r, RefundFailed, "", "not_carried_out", e.ReceivedAt)
	}
}

// refunded ends an undecided refund. Nothing but done and failed is an end.
func (f *Fate) refunded(r *Refund, state RefundState, no, why string, at time.Time) {
	if no != "" && r.ProviderRefundNo == "" {
		r.ProviderRefundNo = no
		f.Verdict = VerdictApplied
	}
	if r.State == RefundFailed && state == RefundDone {
		f.mismatch(r.Attempt, fmt.Sprintf("refund %s was carried out after all, though we took it for failed (%s)", r.ID(), r.Why), at)
	}
	if r.State != RefundUndecided || state != RefundDone && state != RefundFailed {
		return
	}
	o := &f.Book.Order
	r.State, r.DecidedAt = state, at
	f.Verdict = VerdictApplied
	f.closeCase(r.Attempt, at)
	if state == RefundFailed {
		r.Why = why
		f.event(EventRefundFailed)
		return
	}
	if r.BillNo != "" {
		for i := range o.Surplus {
			if s := &o.Surplus[i]; s.Attempt == r.Attempt && s.BillNo == r.BillNo {
				s.Refunded = minus(s.Amount, o.Refundable(r.Attempt, r.BillNo)) // no other refund of the attempt is undecided
			}
		}
	} else {
		o.State = max(o.State, OrderPartiallyRefunded)
		if o.Refundable(r.Attempt, "").IsZero() && o.UndecidedRefund(r.Attempt) == nil {
			o.State = OrderRefunded
		}
	}
	f.event(EventRefunded)
}

// EndRefund folds the answer to the one send of a refund. Outcomes: done with a state, refused and not sent with why.
// An unknown outcome decides nothing.
func EndRefund(b Book, attempt AttemptNo, ordinal int, state RefundState, no, why string, now time.Time) Fate {
	f := Fate{Book: b.clone(), Verdict: VerdictNoChange}
	if r := f.Book.Order.refund(attempt, ordinal); r != nil {
		f.refunded(r, state, no, why, now)
	}
	return f
}

// minus is a - b, and nothing where b is more: amounts here are parts of one order's total.
func minus(a, b money.Amount) money.Amount {
	left, err := a.Sub(b)
	if err != nil {
		return a.Nothing()
	}
	return left
}
