package httpx

import (
	"context"
	"errors"
	"io"
	"net"
)

// Error is the one error of this package's calls. Its text never holds a query, header or body of either side.
type Error struct {
	Target string
	Sent   bool // a byte may have reached the other side and had its effect: ask, do not repeat
	Err    error
}

func (e *Error) Error() string {
	if e.Sent {
		return e.Target + ": sent, outcome unknown: " + e.Err.Error()
	}
	return e.Target + ": not sent: " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// NotSent reports whether err proves that nothing reached the other side. It is false for errors of other origin.
func NotSent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && !e.Sent
}

var (
	errBase       = errors.New("the base URL must be https://host[:port]; http only for a private or loopback network")
	errNoDeadline = errors.New("the context carries no deadline; give it one")
	errMalformed  = errors.New("the request is malformed; check method, path, query and headers")
	errRefused    = errors.New("address refused; check the target's network setting")
	errTooLarge   = errors.New("the answer is larger than 1 MiB")
	errUnreadable = errors.New("no readable HTTP answer")
)

// dialError is from before a request's first byte; its text holds addresses and certificates only.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// reason reduces err to what may be printed: errors of net/http quote bytes of the answer and names of headers.
func reason(err error, sent bool) error {
	if d, ok := errors.AsType[dialError](err); ok {
		return d
	}
	if n, ok := errors.AsType[net.Error](err); ok {
		return n
	}
	for _, known := range []error{errTooLarge, context.Canceled, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	if sent {
		return errUnreadable
	}
	return errMalformed
}
