package orders

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pay.taipei/gateway/money"
)

// Command asks for a new order. The API has checked every field; nothing here is
// trusted to be free of conflicts with other orders.
type Command struct {
	Key             KeyRef
	ClientReference string
	Merchant        string // code; the client may order for it
	PayerMemberID   string
	Providers       []string // in order of wish; empty: routes decide
	Methods         []string // empty: all of the provider's
	Settlement      string
	Amount          money.Amount
	Lines           []BillLine
	ReturnURL       string
	ExpiresIn       time.Duration
	// Supersede takes the bills from an order of the same client that is in progress, if its provider says now that it is
	// not paid.
	Supersede bool
}

// AttemptCommand asks for another way to pay an order: the citizen went back.
type AttemptCommand struct {
	Key       KeyRef
	Order     OrderNo
	Providers []string // in order of wish; empty: as before
	Methods   []string // empty: as before
}

// CancelCommand asks to cancel an order.
type CancelCommand struct {
	Key   KeyRef
	Order OrderNo
}

// RefundCommand asks to pay back.
type RefundCommand struct {
	Key       KeyRef
	Order     OrderNo
	SurplusID string       // empty: a part of what the order needed
	Amount    money.Amount // the zero value: all that is left
	Reason    string
}

// Fingerprint identifies the meaning of the command, as that of Command does.
func (c *AttemptCommand) Fingerprint() ([32]byte, error) {
	return fingerprint(c.Order, append([]string{}, c.Providers...), append([]string{}, c.Methods...))
}

// Fingerprint identifies the meaning of the command, as that of Command does.
func (c *CancelCommand) Fingerprint() ([32]byte, error) { return fingerprint(c.Order) }

// Fingerprint identifies the meaning of the command, as that of Command does.
func (c *RefundCommand) Fingerprint() ([32]byte, error) {
	return fingerprint(c.Order, c.SurplusID, c.Amount.String(), c.Reason)
}

func fingerprint(parts ...any) ([32]byte, error) {
	text, err := json.Marshal(parts)
	if err != nil {
		return [32]byte{}, fmt.Errorf("orders: fingerprint: %w", err)
	}
	return sha256.Sum256(text), nil
}

// Action is something that may be asked for about an order, and whether it may be now.
type Action struct {
	Name      string // attempt, cancel, refund
	Possible  bool
	Why       string    // when it is not possible: a code, such as not_paid or below_minimum
	Until     time.Time // until when it is possible, or from when on it may be; zero: not known
	AttemptNo AttemptNo
	SurplusID string       // for a refund of surplus
	Max       money.Amount // of a refund; the zero value: no refund
	Min       money.Amount // of a refund at this provider; the zero value: none
}

// Fingerprint identifies the meaning of the command: two requests under one
// idempotency key must have the same. White space and the order of fields in the request do
// not matter; the key itself is not part of it.
func (c *Command) Fingerprint() ([32]byte, error) {
	canonical := *c
	canonical.Key = KeyRef{ClientID: c.Key.ClientID, Route: c.Key.Route}
	type line struct {
		BillNo, Name        string
		Quantity            int64
		UnitPrice, Subtotal string
	}
	canonical.Providers, canonical.Methods = append([]string{}, c.Providers...), append([]string{}, c.Methods...) // none is one thing
	lines := make([]line, len(c.Lines))
	for i, l := range c.Lines {
		lines[i] = line{l.BillNo, l.Name, l.Quantity, l.UnitPrice.String(), l.Subtotal.String()}
	}
	canonical.Lines = nil
	text, err := json.Marshal(struct {
		Command Command
		Amount  string
		Lines   []line
	}{canonical, c.Amount.String(), lines})
	if err != nil {
		return [32]byte{}, fmt.Errorf("orders: fingerprint: %w", err)
	}
	return sha256.Sum256(text), nil
}

// Answers words the answers that are stored under an idempotency key. The API
// implements it, so that a replay returns exactly the bytes that were first sent.
type Answers interface {
	Created(o *Order) (status int, body []byte, err error)
	// Unknown: every create ended without a known outcome.
	Unknown(o *Order) (status int, body []byte, err error)
	// Declined: a provider said a clear no to the create.
	Declined(o *Order) (status int, body []byte, err error)
	// Conflict: the order was cancelled because its bills went to another.
	Conflict(o *Order, b *BillError) (status int, body []byte, err error)
	// Cancelled: it is, or will be when a doubt is decided (CancelAsked).
	Cancelled(o *Order) (status int, body []byte, err error)
	// Refunding: a refund was asked for and is undecided.
	Refunding(o *Order, r *Refund) (status int, body []byte, err error)
}

// Answer is what a request gets, now and whenever it is repeated.
type Answer struct {
	Status   int
	Body     []byte
	Replayed bool
}

// Checkout is where a click on the checkout page leads.
type Checkout struct {
	OrderNo     OrderNo
	Redirect    *Redirect // nil: not payable any more, go to ReturnURL
	FormOrigins []string  // that the redirect's form may be posted to
	ReturnURL   string    // the client's, with order_no added
}

// Errors of placing an order, beside those of the Store.
var (
	ErrInFlight  = errors.New("orders: the same request is in flight")
	ErrKeyReused = errors.New("orders: idempotency key used for another command")
)

// NoAccountError says that no account could take the order, and that nothing was carried out.
type NoAccountError struct {
	Why        string // for people: which rule or failure
	RetryAfter time.Duration
}

// Error tells why.
func (e *NoAccountError) Error() string { return "orders: no account available: " + e.Why }

// RefusedError says that something cannot be asked for now, by a rule of the provider's.
type RefusedError struct {
	Code       string // such as refund_window_over, below_minimum, partial_not_offered
	RetryAfter time.Duration
}

// Error names the rule.
func (e *RefusedError) Error() string { return "orders: refused: " + e.Code }

// FieldError says that a field of the command cannot be served, such as an unknown provider.
type FieldError struct{ Field, Code, Detail string }

// Error names the field.
func (e *FieldError) Error() string { return fmt.Sprintf("orders: %s: %s", e.Field, e.Detail) }
