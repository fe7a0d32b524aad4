package orders

import (
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/money"
)

// Order is one checkout with everything that is known of it.
type Order struct {
	No              OrderNo
	ClientID        string
	ClientReference string // the client's own, unique per client
	Merchant        string // code
	PayerMemberID   string // opaque
	Provider        string // the adapter of the first attempt
	Methods         []string
	Settlement      string
	Amount          money.Amount // sum of the lines
	Fee             money.Amount // charged to the payer
	Total           money.Amount // amount + fee: what a provider is asked for and bound to
	Lines           []BillLine
	ReturnURL       string
	PayToken        string // of the checkout page; unrelated to any attempt's token

	State   OrderState
	Version int64 // of the newest event; gap-free from 1
	Late    bool  // paid after its end or after a soft end
	Review  bool  // frozen until a person decides

	CreatedAt   time.Time
	ExpiresAt   time.Time
	CancelAsked time.Time // by the client; it waits for a doubt to be decided. Zero: not asked

	Attempts []Attempt // by ordinal; at least one
	Surplus  []Surplus // by attempt and bill
	Calls    []Call    // by attempt, operation and ordinal
	Refunds  []Refund  // by attempt and ordinal
	Cases    []Case    // by number
}

// BillLine is one bill in an order.
type BillLine struct {
	BillNo    string
	Name      string
	Quantity  int64
	UnitPrice money.Amount
	Subtotal  money.Amount
}

// Attempt is one try to pay an order at one account.
type Attempt struct {
	No              AttemptNo
	Ordinal         int
	Account         string
	Provider        string // the account's adapter
	Environment     string // of the account
	PayeeMemberID   string // the merchant's, at this account
	Token           string // in our callback and return URLs
	State           AttemptState
	Abandoned       bool // no longer offered to the citizen, still watched
	Wishes          Wishes
	Receipt         string // why this account, as the router wrote it; empty: not written down
	CreatedAt       time.Time
	HandedAt        time.Time // zero: no redirect has left us
	Redirect        *Redirect // as first signed; nil until known
	Refs            map[string]string
	ProviderTradeNo string
	Method          string
	PaidAt          time.Time // as the provider says; zero unless paid
	QueryAt         time.Time // when the provider is asked next, as last read; zero: never
}

// Wishes are what the citizen asked for when an attempt was made.
type Wishes struct {
	Providers []string `json:"providers,omitempty"` // in order of wish; empty: routes decide
	Methods   []string `json:"methods,omitempty"`   // empty: all that the provider offers
}

// Redirect is a signed redirect as it was made, so that it can be shown again.
type Redirect struct {
	Method string            `json:"method"`
	URL    string            `json:"url"`
	Fields map[string]string `json:"fields,omitempty"`
}

// Surplus is money of one attempt that one bill did not need.
type Surplus struct {
	Attempt  AttemptNo
	BillNo   string
	Amount   money.Amount
	Refunded money.Amount
}

// ID names the surplus row; attempt and bill make it unique.
func (s Surplus) ID() string { return string(s.Attempt) + "-" + s.BillNo }

// Op is a kind of request to a provider.
type Op string

// The operations that have call rows. A create moves no money.
const (
	OpCreate  Op = "create"
	OpConfirm Op = "confirm"
	OpRefund  Op = "refund"
)

// Outcome is what we know of a call. The zero value is open: sent, or about to be.
type Outcome string

// The outcomes of a call.
const (
	OutcomeOpen    Outcome = ""
	OutcomeDone    Outcome = "done"     // carried out
	OutcomeRefused Outcome = "refused"  // a clear no
	OutcomeNotSent Outcome = "not_sent" // proven: not a byte arrived, or refused before it was looked at
	OutcomeUnknown Outcome = "unknown"  // may have been carried out
)

// Call is one request to a provider, committed before a byte leaves.
type Call struct {
	Attempt AttemptNo
	Op      Op
	Ordinal int
	SentAt  time.Time
	Outcome Outcome
	EndedAt time.Time // zero while open
}

// Bill is who holds and who paid one bill of a merchant.
type Bill struct {
	Holder OrderNo // may open pages; empty: nobody
	Paid   OrderNo // paid it first; empty: unpaid
}

// Book is an order together with its bills, as one transaction sees them.
type Book struct {
	Order Order
	Bills map[string]Bill // by bill number, for every line of the order
}

// Case is a question that only a person can answer: what evidence could tell, it did not tell in time. It is a row
// beside the states, and changes none of them.
type Case struct {
	Number   int // within the order, from 1
	Attempt  AttemptNo
	Kind     CaseKind
	Detail   string // for people
	OpenedAt time.Time
	ClosedAt time.Time // zero: open
	ClosedBy string    // a person, or ByEvidence
	Note     string    // what the person decided and why
}

// CaseKind says what a case is about.
type CaseKind string

// The kinds of cases.
const (
	CaseUnresolved     CaseKind = "unresolved"      // the provider was asked as long as it is patient, and nobody knows
	CaseRefundMismatch CaseKind = "refund_mismatch" // the provider paid back what we did not ask for
)

// ByEvidence closes a case that evidence has answered after all.
const ByEvidence = "evidence"

// Current is the newest attempt.
func (o *Order) Current() *Attempt { return &o.Attempts[len(o.Attempts)-1] }

// Attempt finds an attempt of the order by its number, or nil.
func (o *Order) Attempt(no AttemptNo) *Attempt {
	for i := range o.Attempts {
		if o.Attempts[i].No == no {
			return &o.Attempts[i]
		}
	}
	return nil
}

// Doubt says whether a money call has no outcome yet: nobody knows whether the money
// moved.
func (o Order) Doubt() bool {
	return slices.ContainsFunc(o.Attempts, func(a Attempt) bool { return o.DoubtAbout(a.No) != nil })
}

// DoubtAbout is the money call of an attempt that has no outcome, or nil. Evidence on the
// attempt closes a confirm: paid, failed, or the provider's own expiry. That the payer
// cancelled does not: the money may have moved before. A refund is closed by what the
// provider says of its refunds.
func (o *Order) DoubtAbout(no AttemptNo) *Call {
	for i := range o.Calls {
		c := &o.Calls[i]
		if c.Attempt == no && (c.Outcome == OutcomeOpen || c.Outcome == OutcomeUnknown) && !o.answered(c) {
			return c
		}
	}
	return nil
}

// answered says whether evidence tells what became of a call.
func (o *Order) answered(c *Call) bool {
	switch c.Op {
	case OpConfirm:
		a := o.Attempt(c.Attempt)
		return a.State == AttemptPaid || a.State == AttemptFailed || a.State == AttemptExpired
	case OpRefund:
		r := o.refund(c.Attempt, c.Ordinal)
		return r == nil || r.State != RefundUndecided
	case OpCreate: // moves no money
	}
	return true
}

// Openable says whether the newest attempt may take the citizen to its provider now. Not checked:
// whether the provider takes the same number again.
func (b Book) Openable(now time.Time) bool {
	a := b.Order.Current()
	unmade := a.Redirect == nil && slices.ContainsFunc(b.Order.Calls, func(c Call) bool { return c.Attempt == a.No && c.Op == OpCreate })
	return b.Payable(now) && !a.Abandoned && !a.State.Ended() && !unmade
}

// Payable says whether the order may be paid with a new page, confirm or attempt now: open,
// not frozen, not to be cancelled, in no doubt, unexpired, and holding all of its bills, none of them paid.
func (b Book) Payable(now time.Time) bool {
	o := &b.Order
	if o.State != OrderOpen || o.Review || o.Doubt() || !o.CancelAsked.IsZero() || !now.Before(o.ExpiresAt) {
		return false
	}
	for _, l := range o.Lines {
		if bill := b.Bills[l.BillNo]; bill.Holder != o.No || bill.Paid != "" {
			return false
		}
	}
	return true
}

// unansweredGrace is how long the holds of an order whose first answer never went
// out survive the lease of the request that placed it.
const unansweredGrace = time.Minute

// CreateLife is how long a create call may be under way: longer than any of its deadlines. Until then it is not known
// whether its request died.
const CreateLife = 30 * time.Second

// MaxAttempts is how many attempts an order may have: their numbers have two digits.
const MaxAttempts = 99

// Takeable says whether a new order may take the bills that holder holds. keyLease is
// the end of the lease of the request that placed holder while that request has no
// answer yet; zero once it has.
func Takeable(holder *Order, keyLease, now time.Time) bool {
	if holder.Review || holder.Doubt() {
		return false
	}
	if holder.State != OrderOpen {
		return true
	}
	if !keyLease.IsZero() && now.After(keyLease.Add(unansweredGrace)) {
		return true
	}
	return !now.Before(holder.ExpiresAt)
}

// ID names a case of an order.
func (c *Case) ID(order OrderNo) string { return fmt.Sprintf("%s-c%d", order, c.Number) }

// OpenCase is the open case of a kind about an attempt, or nil.
func (o *Order) OpenCase(attempt AttemptNo, kind CaseKind) *Case {
	for i := range o.Cases {
		if c := &o.Cases[i]; c.Attempt == attempt && c.Kind == kind && c.ClosedAt.IsZero() {
			return c
		}
	}
	return nil
}
