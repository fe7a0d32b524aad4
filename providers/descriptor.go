package providers

import (
	"time"

	"pay.taipei/gateway/money"
)

// Descriptor is what a provider is, as a value: read by the router, the
// directory, the pay page and the conformance kit. The kit alone reads AmountUnit,
// PayeeField, PayerField and Docs: they make an author look these up.
type Descriptor struct {
	Name     string // the adapter's package, config key, URL segment and metric label
	NameZH   string
	NameEN   string
	Methods  []Method
	Currency money.Currency
	Min, Max money.Amount // of one order; the zero value is no limit

	// Number is what the provider takes as merchant order number.
	Number NumberRule
	// AmountUnit says in words what the provider's wire carries, with its source.
	AmountUnit string

	// PayeeField and PayerField say where the merchant's and the payer's member ids
	// ride inside the signed bytes; "not carried" when they do not.
	PayeeField, PayerField string

	// ServerCreate says that Create calls the provider instead of only signing.
	ServerCreate bool
	// RedirectLife is how long a signed redirect may be used; zero: as long as the order. With any other value it is signed
	// when the payer clicks, also where a form has no end but its number is good for one visit.
	RedirectLife time.Duration
	// PageLife is how long after it was opened the provider's page may still take the money; zero: as long as the order.
	PageLife time.Duration
	// Refunds are the provider's rules for paying back; they mean nothing for an adapter that is no Refunder.
	Refunds RefundRules
	// Reopen says whether the same number may be sent to the provider again.
	Reopen Reopen
	// FormOrigins are the origins (scheme://host:port) a form is posted to, for the pay page's CSP.
	FormOrigins []string
	// AnswerAuth says by what an answer to Query is authenticated.
	AnswerAuth AnswerAuth

	// Outcomes are what a payer is told of each way in which a payment can end.
	Outcomes Outcomes
	Patience Patience
	Docs     []DocLink
}

// Outcomes are texts for payers, by the state of a payment.
type Outcomes struct{ Paid, Failed, Cancelled, Expired Text }

// Text is one thing said in both languages of the city.
type Text struct{ ZH, EN string }

// Method is a way to pay that ends at once.
type Method struct{ Code, NameZH, NameEN string }

// NumberRule limits the attempt number.
type NumberRule struct {
	MaxLength int
	Alphabet  string // for people, such as "0-9A-Z"
}

// Reopen says what a second click may do. The zero value is the cautious one.
type Reopen int

// The ways to reopen.
const (
	ReopenNewAttempt Reopen = iota // a number is good for one visit
	ReopenReuse                    // the same number may be signed and sent anew while pending
)

// AnswerAuth says what makes an answer believable. The zero value is nothing: such
// an answer can never make an attempt paid.
type AnswerAuth int

// What authenticates an answer.
const (
	AnswerUnauthenticated AnswerAuth = iota
	AnswerMAC                        // signed by the provider
	AnswerTLS                        // unsigned, from the provider's host over TLS
)

// Patience is how and when the provider likes to be asked.
type Patience struct {
	FirstQuery time.Duration // after the redirect was handed out
	Spacing    time.Duration // between two queries of one attempt
	Grace      time.Duration // after the order's end, before "unpaid" is final
	// NotFoundFinal says that NotFound after the grace means: never paid. When false
	// only an explicit answer ends the attempt.
	NotFoundFinal bool
	Deadline      time.Duration // of one query; zero: 10 s
	Create        time.Duration // deadline of one create call; zero: 4 s
	// Gap is the least time between any two queries of one account, on all replicas together; zero: none.
	Gap time.Duration
	// Penalty is for how long to leave the account alone after an answer that it was asked too much, where the answer does not
	// say; zero: a minute.
	Penalty time.Duration
	// End is how long after the provider-side end we go on asking before a person must decide; zero: 72 h.
	End time.Duration
	// Callback is the usual delay of a callback after the payment; zero: a minute.
	Callback time.Duration
}

// RefundRules are what a provider allows. The zero value allows everything.
type RefundRules struct {
	Window time.Duration // after the payment; zero: no end
	Min    money.Amount  // of one refund; the zero value: one unit
	Whole  bool          // only all that was paid, at once
	// CutOff is the time of day in Taipei at which the provider closes its books. Until the first one after a payment it
	// can only be paid back whole. Zero: there is none.
	CutOff time.Duration
}

// DocLink is a document the adapter was written from.
type DocLink struct{ Title, URL, Read string }

// Listing is a provider in the directory that citizens choose from.
type Listing struct {
	Descriptor Descriptor
	Available  bool
	Why        string    // when not available: the code of a rule, such as "merchant_not_configured" or "maintenance"
	Until      time.Time // when it becomes available again; zero: not known
	Fee        money.Amount
}
