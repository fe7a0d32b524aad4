package providers

import (
	"errors"
	"fmt"
	"time"
)

// Kind answers "what may be done next?". The zero value is the cautious one.
type Kind int

// The kinds of an adapter's error.
const (
	// OutcomeUnknown may have been carried out: a timeout or reset after sending, a
	// 5xx, an unreadable or unverifiable answer. Never send the same money call
	// again: query. A create may be tried at another account as a new attempt.
	OutcomeUnknown Kind = iota
	// Unavailable was certainly not carried out: dial or TLS failed, a breaker or
	// bulkhead refused, or the provider documents "not accepted". Send again, or try
	// another account.
	Unavailable
	// RateLimited was refused before processing. Send again after RetryAfter, or try
	// another account.
	RateLimited
	// Auth means that our credentials were refused. Page someone; another account may do.
	Auth
	// Invalid is our own mistake. Neither again nor elsewhere.
	Invalid
	// Declined is a clear no from payer or issuer.
	Declined
	// Duplicate means that the provider has this attempt already: query.
	Duplicate
	// NotFound means that the provider has no such payment.
	NotFound
	// Untrusted means that signature, merchant or amount of an answer or a callback was wrong.
	Untrusted
)

// String is the kind's word in metrics and logs.
func (k Kind) String() string {
	switch k {
	case OutcomeUnknown:
		return "outcome_unknown"
	case Unavailable:
		return "unavailable"
	case RateLimited:
		return "rate_limited"
	case Auth:
		return "auth"
	case Invalid:
		return "invalid"
	case Declined:
		return "declined"
	case Duplicate:
		return "duplicate"
	case NotFound:
		return "not_found"
	case Untrusted:
		return "untrusted"
	}
	return "outcome_unknown"
}

// Error makes a Kind matchable: errors.Is(err, providers.Declined).
func (k Kind) Error() string { return k.String() }

// Op names an operation of the contract, for errors and metrics.
type Op string

// The operations.
const (
	OpCreate   Op = "create"
	OpQuery    Op = "query"
	OpConfirm  Op = "confirm"
	OpRefund   Op = "refund"
	OpCallback Op = "callback"
)

// Error is the one error type that leaves an adapter. Its text never holds a
// secret, a body, or a query string.
type Error struct {
	Provider   string
	Op         Op
	Kind       Kind
	Code       string        // the provider's own code; empty when there was no readable answer
	RetryAfter time.Duration // with RateLimited; zero: unknown
	Err        error         // the cause; may be nil
}

// Error tells provider, operation, kind, code and cause.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s: %s", e.Provider, e.Op, e.Kind)
	if e.Code != "" {
		s += fmt.Sprintf(" (code %q)", e.Code)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives both the Kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// KindOf is the kind of any error from an adapter; OutcomeUnknown when the error
// is none of ours. The outermost *Error decides: what it wraps is only its cause, and must
// not turn an unknown outcome into one that may be sent again.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		err = e.Kind
	}
	for _, k := range []Kind{Unavailable, RateLimited, Auth, Invalid, Declined, Duplicate, NotFound, Untrusted} {
		if errors.Is(err, k) {
			return k
		}
	}
	return OutcomeUnknown
}
