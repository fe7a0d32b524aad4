// Package outbox hands events to clients as Standard Webhooks (https://www.standardwebhooks.com, version 1.0.0).
//
// Delivery is at least once: a client dedupes on the webhook-id, which is the event's id, or on order number and version.
// The store keeps an order's events in order. An event is never dropped: it is tried for ever, or, when the client refuses
// it for good, held together with the later events of its order until a person decides.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/signing"
)

// Store is the part of orders.Outbox that deliveries need.
type Store interface {
	ClaimDelivery(ctx context.Context, clients []string, now time.Time, lease time.Duration) (orders.Delivery, error)
	FinishDelivery(ctx context.Context, d orders.Delivery, state orders.DeliveryState, now, due time.Time, lastError string) error
	NextDelivery(ctx context.Context, clients []string) (time.Time, error)
}

// Sender sends exactly once and follows no redirect, as httpx.Client does.
type Sender interface {
	Send(ctx context.Context, r httpx.Request) (*httpx.Response, error)
}

// Target is a client's webhook.
type Target struct {
	Client         string
	HTTP           Sender
	Path, RawQuery string                   // escaped
	Signers        []*signing.WebhookSigner // newest first; at least one
}

// Config says where to deliver and how patiently.
type Config struct {
	Targets []Target      // one per client; clients without one read their feed
	Timeout time.Duration // of one send; zero: 15 s
	Lease   time.Duration // of one claim, at least 10 s more than Timeout; zero: Timeout + 15 s
}

// Deps are a deliverer's collaborators. All are required but Observe, and safe for concurrent use.
type Deps struct {
	Store   Store
	Now     func() time.Time
	Rand    func() uint64 // jitter
	Log     *slog.Logger
	Observe func(Observation) // called after each send; nil: nobody listens
}

// Observation is what may be counted of one send.
type Observation struct {
	Client   string
	Status   int                  // 0: no answer
	State    orders.DeliveryState // what became of the event; ready: to be sent again
	Duration time.Duration
	Stuck    bool // still not delivered an hour after it happened: someone must look
}

const (
	finishDeadline = 5 * time.Second // for telling the store, also while shutting down
	stuckAfter     = time.Hour
	maxDelay       = 5 * time.Minute // between two sends, whatever the client asks for
	maxIdle        = time.Minute     // between two looks at the store
	minIdle        = 50 * time.Millisecond
)

// Deliverer sends events to the clients that have a webhook. It is safe for concurrent use.
type Deliverer struct {
	config  Config
	deps    Deps
	clients []string
	targets map[string]Target
}

// New checks its arguments and sends nothing.
func New(config Config, deps Deps) (*Deliverer, error) {
	if deps.Store == nil || deps.Now == nil || deps.Rand == nil || deps.Log == nil {
		return nil, errors.New("outbox: a deliverer needs a store, a clock, jitter and a log")
	}
	if config.Timeout == 0 {
		config.Timeout = 15 * time.Second
	}
	if config.Lease == 0 {
		config.Lease = config.Timeout + 15*time.Second
	}
	if config.Timeout < 0 || config.Lease < config.Timeout+2*finishDeadline {
		return nil, fmt.Errorf("outbox: a lease of %s ends before a send of %s has; make it at least %s longer", config.Lease, config.Timeout, 2*finishDeadline)
	}
	d := &Deliverer{config: config, deps: deps, targets: map[string]Target{}}
	for _, t := range config.Targets {
		if _, twice := d.targets[t.Client]; twice || t.Client == "" || t.HTTP == nil || !strings.HasPrefix(t.Path, "/") || len(t.Signers) == 0 {
			return nil, fmt.Errorf("outbox: the webhook of client %q needs a sender, a path that begins with /, a signing key, and no second webhook", t.Client)
		}
		d.targets[t.Client] = t
		d.clients = append(d.clients, t.Client)
	}
	return d, nil
}

// Step sends at most one event and says when to step again: at once after work, else when the next event is due, within
// a minute. A context that ends cuts the send; the event then stays ready, and the next process sends it at once.
func (d *Deliverer) Step(ctx context.Context) (next time.Time, err error) {
	now := d.deps.Now()
	if len(d.clients) == 0 {
		return now.Add(maxIdle), nil
	}
	claimed, err := d.deps.Store.ClaimDelivery(ctx, d.clients, now, d.config.Lease)
	if errors.Is(err, orders.ErrNothing) {
		return d.idle(ctx, now)
	}
	if err != nil {
		return now.Add(time.Second), fmt.Errorf("outbox: claim: %w", err)
	}
	target, ok := d.targets[claimed.Event.ClientID]
	if !ok {
		return now.Add(time.Second), fmt.Errorf("outbox: the store handed out event %s of client %q, which has no webhook", claimed.Event.ID(), claimed.Event.ClientID)
	}
	return d.deliver(ctx, target, claimed)
}

func (d *Deliverer) idle(ctx context.Context, now time.Time) (time.Time, error) {
	due, err := d.deps.Store.NextDelivery(ctx, d.clients)
	if err != nil {
		return now.Add(time.Second), fmt.Errorf("outbox: next: %w", err)
	}
	latest, earliest := now.Add(maxIdle), now.Add(minIdle) // what was due just now, another worker has taken
	switch {
	case due.IsZero() || due.After(latest):
		return latest, nil
	case due.Before(earliest):
		return earliest, nil
	}
	return due, nil
}

// result is what became of one send.
type result struct {
	state  orders.DeliveryState
	status int
	delay  time.Duration // with ready
	why    string        // for people, no secrets
}

func (d *Deliverer) deliver(ctx context.Context, t Target, claimed orders.Delivery) (time.Time, error) {
	start := d.deps.Now()
	r := d.send(ctx, t, claimed, start)
	if ctx.Err() != nil && r.state == orders.DeliveryReady {
		r.delay = 0
	}
	now := d.deps.Now()
	o := Observation{Client: t.Client, Status: r.status, State: r.state, Duration: now.Sub(start)}
	o.Stuck = r.state == orders.DeliveryReady && claimed.Attempts > 0 && now.Sub(claimed.Event.OccurredAt) >= stuckAfter
	d.report(ctx, claimed, r, o)

	// The result counts even when we are told to stop; unrecorded, the client would get the event twice.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishDeadline)
	defer cancel()
	if err := d.deps.Store.FinishDelivery(ctx, claimed, r.state, now, now.Add(r.delay), r.why); err != nil {
		return now.Add(time.Second), fmt.Errorf("outbox: finish %s, which will be sent again: %w", claimed.Event.ID(), err)
	}
	return now, nil
}

func (d *Deliverer) send(ctx context.Context, t Target, claimed orders.Delivery, now time.Time) result {
	id := claimed.Event.ID()
	again := result{state: orders.DeliveryReady, delay: d.backoff(claimed.Attempts)}
	signature, err := signing.SignWebhook(t.Signers, id, now, claimed.Event.Body)
	if err != nil {
		again.why = err.Error()
		return again
	}
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set("Webhook-Id", id)
	header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	header.Set("Webhook-Signature", signature)
	ctx, cancel := context.WithTimeout(ctx, d.config.Timeout)
	defer cancel()
	answer, err := t.HTTP.Send(ctx, httpx.Request{Method: http.MethodPost, Path: t.Path, RawQuery: t.RawQuery, Header: header, Body: claimed.Event.Body})
	if err != nil {
		again.why = err.Error()
		return again
	}
	again.status, again.why = answer.Status, fmt.Sprintf("status %d", answer.Status)
	switch {
	case answer.Status >= 200 && answer.Status <= 299:
		return result{state: orders.DeliveryDone, status: answer.Status}
	case refused(answer.Status):
		return result{state: orders.DeliveryHeld, status: answer.Status, why: again.why}
	}
	again.delay = max(again.delay, retryAfter(answer.Header.Get("Retry-After"), d.deps.Now()))
	return again
}

// refused says whether a client with this answer has read the event and will never take it. A missing route or credential,
// on the other hand, is a deployment gone wrong, which someone will repair.
func refused(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusGone, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// backoff is a random time from 1 s up to a bound that doubles with each attempt, from 2 s to 5 min.
func (d *Deliverer) backoff(attempts int) time.Duration {
	bound := min(2*time.Second<<min(max(attempts, 0), 10), maxDelay)
	return time.Second + time.Duration(d.deps.Rand()%uint64(bound-time.Second))
}

// retryAfter reads what a client asks for (RFC 9110, 10.2.3), at most 5 minutes; zero: nothing readable.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil || errors.Is(err, strconv.ErrRange) {
		return min(time.Duration(seconds)*time.Second, maxDelay)
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxDelay)
	}
	return 0
}

func (d *Deliverer) report(ctx context.Context, claimed orders.Delivery, r result, o Observation) {
	level, text := slog.LevelInfo, "delivered"
	switch {
	case o.Stuck:
		level, text = slog.LevelError, "stuck: not delivered for an hour, still trying; look at the client's webhook"
	case r.state == orders.DeliveryHeld:
		level, text = slog.LevelError, "held: the client refused it for good; its order waits until a person decides"
	case r.state == orders.DeliveryReady:
		level, text = slog.LevelWarn, "not delivered, will be sent again"
	}
	next := slog.Attr{} // an empty one is left out
	if r.state == orders.DeliveryReady {
		next = slog.Time("next", d.deps.Now().Add(r.delay))
	}
	d.deps.Log.LogAttrs(ctx, level, "event", slog.String("outcome", text), slog.String("event", claimed.Event.ID()), slog.String("order_no", string(claimed.Event.OrderNo)),
		slog.String("client", o.Client), slog.Int("status", o.Status), slog.Int("attempts", claimed.Attempts+1), slog.String("reason", r.why), next)
	if d.deps.Observe != nil {
		d.deps.Observe(o)
	}
}
