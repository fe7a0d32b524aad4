// Package providers is the contract between the gateway and its adapters.
//
// An adapter speaks one provider's documents: it builds and signs, sends once,
// verifies and reads answers. It knows nothing of orders, storage, retries or
// time: what it needs comes in with the call, and what it learnt goes out as a
// Snapshot, a Notice or an *Error whose Kind says what may be done next.
//
// A capability is an interface. Provider is required; CallbackDecoder, Confirmer
// and Refunder are offered by implementing them, and the router alone asks.
// The kit in providers/providertest proves an implementation.
package providers

import (
	"context"
	"net/http"
	"time"

	"pay.taipei/gateway/money"
)

// Provider is what every adapter does. Implementations are safe for concurrent use.
type Provider interface {
	// Describe tells the provider's facts. It is constant for the life of the value.
	Describe() Descriptor

	// Create makes the redirect that takes the citizen to the provider. For a
	// form-post provider it only signs, sends nothing and is repeatable; for a
	// server-create provider it makes exactly one call. No money moves.
	Create(ctx context.Context, req CreateRequest) (Created, error)

	// Query asks the provider what became of an attempt. It may be repeated.
	// NotFound means that the provider knows no such payment now.
	Query(ctx context.Context, ref AttemptRef) (Snapshot, error)
}

// CallbackDecoder is offered by providers that call us or sign the browser's return.
type CallbackDecoder interface {
	// DecodeCallback verifies first and parses then, over raw.Body or one strict
	// parse of it. It does no I/O; raw.ReceivedAt is the time against which stamps
	// and keys are judged. An error means: not authentic or not readable; nothing of
	// it may be believed. It does not check amount, merchant or replay: the router does.
	DecodeCallback(raw RawCallback) (Notice, error)

	// Ack is the answer in the provider's exact bytes.
	Ack(v Verdict) Ack
}

// Confirmer is offered by providers at which money moves only when we confirm.
type Confirmer interface {
	// Confirm moves the money. It makes exactly one send. After OutcomeUnknown only
	// Query may follow, never a second Confirm.
	Confirm(ctx context.Context, req ConfirmRequest) (Snapshot, error)
}

// Refunder is offered by providers that can pay back through their API.
type Refunder interface {
	// Refund pays back. It makes exactly one send. After OutcomeUnknown only Query
	// may follow, never a second Refund.
	Refund(ctx context.Context, req RefundRequest) (RefundResult, error)
}

// Environment separates real money from play money. The zero value is invalid.
type Environment string

// The environments of an account and of a notice.
const (
	Demo       Environment = "demo"
	Sandbox    Environment = "sandbox"
	Production Environment = "production"
)

// Settlement says when the payee gets the money. Only immediate transfer exists so far.
type Settlement string

// Immediate moves the money to the payee when the payment completes (款項撥至商家時間 立即).
const Immediate Settlement = "immediate"

// Merchant is the city agency that is paid, as a provider must see it.
type Merchant struct {
	Code          string // ours, such as "pma"
	Name          string // zh-Hant, shown to the payer
	PayeeMemberID string // the agency's member id at this account
}

// BillLine is one bill in an order.
type BillLine struct {
	BillNo    string
	Name      string
	Quantity  int64
	UnitPrice money.Amount
	Subtotal  money.Amount
}

// CreateRequest is everything an adapter may put into a redirect.
type CreateRequest struct {
	OrderNo       string // shown to the payer
	AttemptNo     string // the provider's merchant order number: never regenerated
	Merchant      Merchant
	PayerMemberID string // opaque
	Lines         []BillLine
	Total         money.Amount // amount + fee: what the provider is asked for and bound to
	Methods       []string     // wished by the client, a subset of the descriptor's; never empty
	Settlement    Settlement
	CreatedAt     time.Time
	ExpiresAt     time.Time
	ReturnURL     string // ours: where the provider sends the browser
	CallbackURL   string // ours: where the provider's server reports
}

// Created is a redirect and what must be remembered with the attempt.
type Created struct {
	Redirect   Redirect
	Refs       map[string]string
	ValidUntil time.Time // zero: as long as the order; only tests read it, the router goes by Descriptor.RedirectLife
}

// Redirect sends a browser to the provider.
type Redirect struct {
	Method string            // "GET" or "POST"
	URL    string            // absolute
	Fields map[string]string // form fields of a POST; empty for GET
}

// AttemptRef names an attempt to a provider.
type AttemptRef struct {
	AttemptNo     string
	Account       string
	Amount        money.Amount // the total that was asked for
	PayeeMemberID string
	Refs          map[string]string
	CreatedAt     time.Time
	HandedAt      time.Time // zero: the redirect never left us
	Pointer       string    // of the newest unauthenticated notice, as it came, until the attempt is paid; may be empty and may be wrong
}

// ConfirmRequest asks to move the money of an authorised attempt.
type ConfirmRequest struct{ Attempt AttemptRef }

// RefundRequest asks to pay back all or part of a paid attempt.
type RefundRequest struct {
	Attempt  AttemptRef
	RefundID string // ours, unique for ever
	Amount   money.Amount
	Reason   string
}

// RefundResult is a definite answer to a refund.
type RefundResult struct {
	ProviderRefundNo string
	State            RefundState
}

// RefundState is the state of one refund at the provider. The zero value is undecided.
type RefundState int

// The states of a refund.
const (
	RefundPending RefundState = iota
	RefundDone
	RefundFailed
)

// RefundFact is what a provider says of one refund.
type RefundFact struct {
	RefundID         string // ours; empty when the provider does not carry it
	ProviderRefundNo string
	Amount           money.Amount
	State            RefundState
}

// State is what a provider says of a payment. The zero value is pending: what an
// adapter does not know is never paid and never failed.
type State int

// The states of a payment at a provider.
const (
	Pending State = iota
	Cancelled
	Expired
	Failed
	Paid
)

// String is the state's word in logs and in the API.
func (s State) String() string {
	switch s {
	case Cancelled:
		return "cancelled"
	case Expired:
		return "expired"
	case Failed:
		return "failed"
	case Paid:
		return "paid"
	case Pending:
		return "pending"
	}
	return "pending"
}

// NextStep is what the provider waits for from us. The zero value is nothing.
type NextStep int

// The steps a provider can wait for.
const (
	NextNothing NextStep = iota
	NextConfirm          // the payer has authorised: money moves when we confirm
)

// Snapshot is what an authenticated message or answer says of a payment.
type Snapshot struct {
	State           State
	Amount          *money.Amount // nil when the message carries none: then it cannot make anything paid
	MerchantRef     string        // payee member id echoed by the provider; empty when not carried
	Environment     Environment   // empty when not carried
	Method          string
	PaidAt          time.Time // zero unless paid
	ProviderTradeNo string    // the transaction number shown to citizens
	Next            NextStep
	Unmapped        string       // a provider code this adapter does not know; counted, never believed
	Refunds         []RefundFact // read by adapters' tests only, as long as the router makes no refunds
	RefundsComplete bool         // Refunds lists every refund of this attempt
	Refs            map[string]string
	Raw             []byte // of an answer to our question, as it came: kept for audit. Empty in notices, which are kept whole
}

// Notice is a message from the provider's side: a fact when Snapshot is set, a
// hint that only causes a query when it is nil.
//
// The router reads AttemptNo, Nonce, Pointer, Refs and Snapshot. Nothing reads IssuedAt and KeyID but adapters' tests and
// the doctor: the raw message is kept, and it has them all.
type Notice struct {
	AttemptNo string
	Nonce     string    // unique per delivery where the scheme has one
	IssuedAt  time.Time // the stamp that the adapter judged; zero where the scheme has none
	KeyID     string    // the key that verified it
	Pointer   string    // goes back into Query as AttemptRef.Pointer, as it came
	Refs      map[string]string
	Snapshot  *Snapshot
}

// Channel says who brought a callback.
type Channel int

// The channels of a callback.
const (
	ChannelServer Channel = iota
	ChannelBrowser
)

// RawCallback is a callback exactly as it was received.
type RawCallback struct {
	Channel    Channel
	Method     string
	Path       string // as requested, still escaped
	RawQuery   string
	Header     http.Header
	Body       []byte
	Token      string // of the attempt, from our own URL; empty without one
	ReceivedAt time.Time
}

// Verdict is what became of a callback, for the provider's acknowledgement. The
// zero value asks for another delivery: nothing is acknowledged by omission.
type Verdict int

// The verdicts on a callback.
const (
	RetryLater Verdict = iota
	Accepted
	Refused
)

// Ack is a whole HTTP answer.
type Ack struct {
	Status      int
	ContentType string
	Body        []byte
}
