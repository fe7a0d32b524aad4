package router

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"pay.taipei/gateway/providers"
)

// CallResult is what a call tells of its provider's health. The zero value is nothing.
type CallResult int

// The results of a call.
const (
	CallExcluded CallResult = iota // given up by the caller, or not made
	CallAnswered                   // a well-formed answer, also a no
	CallFault                      // the provider's side failed
)

// Gates admit calls to providers: one breaker and one bulkhead per account and operation. They count nothing but what
// done is told.
type Gates interface {
	// Enter admits a call, or refuses it before anything is sent. done must be called.
	Enter(ctx context.Context, account, op string) (done func(CallResult), err error)
	// Shut says whether calls are refused now, by which rule, and until when; the zero time: not known.
	Shut(account, op string) (why string, until time.Time)
}

// Deadlines of calls whose provider asks for none.
const (
	createDeadline  = 4 * time.Second  // short: another account may be tried, and no money has moved
	queryDeadline   = 10 * time.Second // of one query
	confirmDeadline = 45 * time.Second // LINE Pay asks for a read time-out of at least 40 s
)

func createLimit(d providers.Descriptor) time.Duration { return or(d.Patience.Create, createDeadline) }
func queryLimit(d providers.Descriptor) time.Duration  { return or(d.Patience.Deadline, queryDeadline) }

// or is a setting, or what stands for its zero value.
func or(d, fallback time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return fallback
}

// call makes one call under policy: through its gate, under a deadline, timed and counted. A call that its gate refuses was
// certainly not sent.
func call[T any](ctx context.Context, r *Router, account string, op providers.Op, limit time.Duration, send func(context.Context) (T, error)) (T, error) {
	var result T
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done, err := r.d.Gates.Enter(ctx, account, string(op))
	if err != nil {
		return result, &providers.Error{Provider: account, Op: op, Kind: providers.Unavailable, Err: err}
	}
	told := CallFault // a panic is one
	defer func() { done(told) }()
	start := r.d.Now()
	result, err = send(ctx)
	told = health(outer, err)
	if told == CallAnswered {
		r.probes.note(account, r.d.Now())
	}
	kind := "ok"
	if err != nil {
		kind = providers.KindOf(err).String()
		level := slog.LevelWarn
		if told == CallAnswered {
			level = slog.LevelInfo // a no is an answer: who has not opened the page yet is not found
		}
		r.d.Log.Log(ctx, level, "provider call", "account", account, "op", string(op), "kind", kind, "err", err)
	}
	r.d.Meter.ProviderCall(account, string(op), kind, r.d.Now().Sub(start))
	r.heed(outer, account, err)
	return result, err
}

// health says what the end of a call tells of the provider. Whoever hangs up tells nothing; a no is an answer.
func health(ctx context.Context, err error) CallResult {
	if err == nil {
		return CallAnswered
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return CallExcluded
	}
	switch providers.KindOf(err) {
	case providers.Invalid, providers.Declined, providers.Duplicate, providers.NotFound, providers.RateLimited:
		return CallAnswered
	case providers.OutcomeUnknown, providers.Unavailable, providers.Auth, providers.Untrusted:
		return CallFault
	}
	return CallFault
}
