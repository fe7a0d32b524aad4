// Package metrics counts what operators watch, in a registry of its own. It is the
// only package that knows Prometheus.
//
// Labels are bounded: accounts, operations, routes and codes from fixed lists, never
// an order's number and never a provider's text.
package metrics

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the gateway's figures. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	requests     *prometheus.CounterVec
	requestTime  *prometheus.HistogramVec
	calls        *prometheus.CounterVec
	callTime     *prometheus.HistogramVec
	callbacks    *prometheus.CounterVec
	moves        *prometheus.CounterVec
	idempotency  *prometheus.CounterVec
	unmapped     *prometheus.CounterVec
	stuck        prometheus.Counter
	degraded     *prometheus.GaugeVec
	outboxOldest prometheus.Gauge
	outboxDepth  *prometheus.GaugeVec
	doubts       prometheus.Gauge
	surplus      prometheus.Gauge
	reviews      prometheus.Gauge
	orphans      prometheus.Gauge
	unproven     prometheus.Gauge

	breakers    *prometheus.GaugeVec
	forced      *prometheus.GaugeVec
	maintenance *prometheus.GaugeVec
	quiet       *prometheus.GaugeVec
	attempts    *prometheus.CounterVec
	paid        *prometheus.CounterVec
	missing     *prometheus.CounterVec
	limited     *prometheus.CounterVec
	reloads     *prometheus.CounterVec
	reloadOK    prometheus.Gauge
	cases       *prometheus.GaugeVec
	refunds     prometheus.Gauge
	surplusAge  prometheus.Gauge
	doubtAge    prometheus.Gauge
	refundAge   prometheus.Gauge
	unprovenAge prometheus.Gauge
}

// Readings are figures that are read from the store from time to time.
type Readings struct {
	OutboxOldest                                   time.Duration
	OutboxDepth                                    map[string]int64 // by state
	Doubts, SurplusOpen, Reviews, Orphan, Unproven int64
	RefundsUndecided                               int64
	SurplusOldest, DoubtOldest                     time.Duration
	RefundOldest, UnprovenOldest                   time.Duration
	Cases                                          map[string]int64 // open, by kind
}

// New makes the figures and touches every label set that is known beforehand, so that
// rates start at zero.
func New(accounts []string) (*Metrics, error) {
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		requests:     counters("http_requests_total", "Requests answered.", "listener", "route", "code"),
		requestTime:  histograms("http_request_seconds", "Time to answer a request.", "listener", "route"),
		calls:        counters("provider_calls_total", "Calls to providers by the kind of their outcome.", "account", "op", "kind"),
		callTime:     histograms("provider_call_seconds", "Time of calls to providers.", "account", "op"),
		callbacks:    counters("callbacks_total", "Callbacks by verdict.", "account", "verdict"),
		moves:        counters("order_moves_total", "Facts about orders by what the order moved to.", "to"),
		idempotency:  counters("idempotency_hits_total", "Requests that had been seen before, by the layer that knew.", "layer"),
		unmapped:     counters("unmapped_codes_total", "Provider codes that the adapter does not know.", "account"),
		stuck:        prometheus.NewCounter(opts("outbox_stuck_total", "Deliveries that have failed for more than an hour.")),
		degraded:     gauges("degraded", "1 while a part is away and the gateway goes on without it.", "part"),
		outboxOldest: prometheus.NewGauge(prometheus.GaugeOpts(opts("outbox_oldest_seconds", "Age of the oldest event that is to be delivered. Those behind a held one are not counted."))),
		outboxDepth:  gauges("outbox_depth", "Events not delivered yet.", "state"),
		doubts:       prometheus.NewGauge(prometheus.GaugeOpts(opts("doubts", "Orders with a money call whose outcome nobody knows."))),
		surplus:      prometheus.NewGauge(prometheus.GaugeOpts(opts("surplus_open", "Surplus rows not paid back."))),
		reviews:      prometheus.NewGauge(prometheus.GaugeOpts(opts("reviews_open", "Orders frozen until a person decides."))),
		orphans:      prometheus.NewGauge(prometheus.GaugeOpts(opts("orphans", "Authentic callbacks of no attempt that we know, in the seven days in which they are matched again."))),
		unproven:     prometheus.NewGauge(prometheus.GaugeOpts(opts("unproven", "Payments that a provider told of and no query has proven yet."))),

		breakers:    gauges("breaker_state", "0 closed, 1 half open, 2 open: as this replica found it.", "account", "op"),
		forced:      gauges("breaker_forced", "1 while an operator holds the breaker open or closed.", "account", "op"),
		maintenance: gauges("maintenance", "1 while the account is in a maintenance window: its alerts are muted.", "account"),
		quiet:       gauges("quiet_seconds", "For so long the provider wants to be left alone.", "account"),
		attempts:    counters("attempts_total", "Attempts made at an account.", "account"),
		paid:        counters("paid_total", "Payments by what told of them first.", "account", "by"),
		missing:     counters("callbacks_missing_total", "Payments that a query found and whose callback did not come within its usual delay.", "account"),
		limited:     counters("rate_limited_total", "Requests refused because their client sent too many.", "client"),
		reloads:     counters("config_reloads_total", "Reloads of the configuration.", "outcome"),
		reloadOK:    prometheus.NewGauge(prometheus.GaugeOpts(opts("config_last_reload_ok", "0 after a reload that was refused."))),
		cases:       gauges("cases_open", "Questions that wait for a person.", "kind"),
		refunds:     prometheus.NewGauge(prometheus.GaugeOpts(opts("refunds_undecided", "Refunds that are not decided yet."))),
		surplusAge:  prometheus.NewGauge(prometheus.GaugeOpts(opts("surplus_open_oldest_seconds", "Age of the oldest surplus not paid back."))),
		refundAge:   prometheus.NewGauge(prometheus.GaugeOpts(opts("refunds_undecided_oldest_seconds", "Age of the oldest refund that is not decided yet."))),
		unprovenAge: prometheus.NewGauge(prometheus.GaugeOpts(opts("unproven_oldest_seconds", "Age of the oldest message of a payment that no query has proven yet."))),
		doubtAge:    prometheus.NewGauge(prometheus.GaugeOpts(opts("doubts_oldest_seconds", "Age of the oldest doubt."))),
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.requestTime, m.calls, m.callTime, m.callbacks, m.moves, m.idempotency, m.unmapped, m.stuck,
		m.degraded, m.outboxOldest, m.outboxDepth, m.doubts, m.surplus, m.reviews, m.orphans, m.unproven,
		m.breakers, m.forced, m.maintenance, m.quiet, m.attempts, m.paid, m.missing, m.limited, m.reloads, m.reloadOK, m.cases,
		m.refunds, m.surplusAge, m.doubtAge, m.refundAge, m.unprovenAge,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	m.touch(accounts)
	return m, nil
}

func (m *Metrics) touch(accounts []string) {
	for _, a := range accounts {
		m.Account(a)
	}
	m.reloadOK.Set(1)
	for _, outcome := range []string{"ok", "refused"} {
		m.reloads.WithLabelValues(outcome)
	}
	for _, kind := range []string{"unresolved", "refund_mismatch"} {
		m.cases.WithLabelValues(kind).Set(0)
	}
	for _, to := range []string{"open", "pending", "paid", "failed", "cancelled", "expired", "surplus", "review", "refunded", "refund_failed", "case"} {
		m.moves.WithLabelValues(to)
	}
	for _, layer := range []string{"redis", "sql"} {
		m.idempotency.WithLabelValues(layer)
	}
	m.degraded.WithLabelValues("redis").Set(0)
	m.degraded.WithLabelValues("sql").Set(0)
	for _, s := range []string{"ready", "held"} {
		m.outboxDepth.WithLabelValues(s).Set(0)
	}
}

// Account touches every figure of an account, at the start or when a reload has brought it.
func (m *Metrics) Account(name string) {
	for _, v := range []string{"accepted", "refused", "retry_later"} {
		m.callbacks.WithLabelValues(name, v)
	}
	for _, by := range []string{"callback", "query", "return", "call"} {
		m.paid.WithLabelValues(name, by)
	}
	for _, op := range []string{"create", "query", "confirm", "refund"} {
		m.breakers.WithLabelValues(name, op)
		m.forced.WithLabelValues(name, op)
		m.callTime.WithLabelValues(name, op)
		for _, kind := range kinds() {
			m.calls.WithLabelValues(name, op, kind)
		}
	}
	m.unmapped.WithLabelValues(name)
	m.attempts.WithLabelValues(name)
	m.missing.WithLabelValues(name)
	m.maintenance.WithLabelValues(name)
	m.quiet.WithLabelValues(name)
}

// kinds are the outcomes of a call to a provider: ok, and the words of providers.Kind.
func kinds() []string {
	return []string{
		"ok", "outcome_unknown", "unavailable", "rate_limited", "auth", "invalid", "declined", "duplicate", "not_found", "untrusted",
	}
}

// Forget drops what an account showed that is not configured any more.
func (m *Metrics) Forget(account string) {
	of := prometheus.Labels{"account": account}
	for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
		m.calls, m.callTime, m.callbacks, m.unmapped, m.breakers, m.forced, m.maintenance, m.quiet, m.attempts, m.paid, m.missing,
	} {
		v.DeletePartialMatch(of)
	}
}

// Client touches the figures of a client.
func (m *Metrics) Client(id string) { m.limited.WithLabelValues(id) }

// Breaker shows a breaker: 0 closed, 1 half open, 2 open, and whether an operator holds it.
func (m *Metrics) Breaker(account, op string, state int, forced bool) {
	m.breakers.WithLabelValues(account, op).Set(float64(state))
	m.forced.WithLabelValues(account, op).Set(one(forced))
}

// Maintenance says whether an account is in a window.
func (m *Metrics) Maintenance(account string, in bool) {
	m.maintenance.WithLabelValues(account).Set(one(in))
}

// Quiet says for how long an account wants to be left alone.
func (m *Metrics) Quiet(account string, left time.Duration) {
	m.quiet.WithLabelValues(account).Set(max(left, 0).Seconds())
}

// Attempt counts an attempt made at an account.
func (m *Metrics) Attempt(account string) { m.attempts.WithLabelValues(account).Inc() }

// Paid counts a payment by what told of it first: callback, query, return or call.
func (m *Metrics) Paid(account, by string) { m.paid.WithLabelValues(account, by).Inc() }

// CallbackMissing counts a payment whose callback did not come within its usual delay.
func (m *Metrics) CallbackMissing(account string) { m.missing.WithLabelValues(account).Inc() }

// RateLimited counts a request that was one too many.
func (m *Metrics) RateLimited(client string) { m.limited.WithLabelValues(client).Inc() }

// Reloaded counts a reload, and remembers whether it was taken.
func (m *Metrics) Reloaded(ok bool) {
	outcome := "refused"
	if ok {
		outcome = "ok"
	}
	m.reloads.WithLabelValues(outcome).Inc()
	m.reloadOK.Set(one(ok))
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// HTTPRequest counts an answered request. route is a template, never a path.
func (m *Metrics) HTTPRequest(listener, route string, code int, took time.Duration) {
	m.requests.WithLabelValues(listener, route, strconv.Itoa(code)).Inc()
	m.requestTime.WithLabelValues(listener, route).Observe(took.Seconds())
}

// ProviderCall counts a call to a provider by the kind of its outcome: ok, or a providers.Kind.
func (m *Metrics) ProviderCall(account, op, kind string, took time.Duration) {
	m.calls.WithLabelValues(account, op, kind).Inc()
	m.callTime.WithLabelValues(account, op).Observe(took.Seconds())
}

// Callback counts a callback by verdict.
func (m *Metrics) Callback(account, verdict string) {
	m.callbacks.WithLabelValues(account, verdict).Inc()
}

// OrderMoved counts a fact about an order.
func (m *Metrics) OrderMoved(to string) { m.moves.WithLabelValues(to).Inc() }

// IdempotencyHit counts a request that had been seen before.
func (m *Metrics) IdempotencyHit(layer string) { m.idempotency.WithLabelValues(layer).Inc() }

// UnmappedCode counts a provider code that the adapter does not know.
func (m *Metrics) UnmappedCode(account string) { m.unmapped.WithLabelValues(account).Inc() }

// Stuck counts a delivery that has failed for more than an hour.
func (m *Metrics) Stuck() { m.stuck.Inc() }

// Degraded says whether a part is away.
func (m *Metrics) Degraded(part string, away bool) {
	m.degraded.WithLabelValues(part).Set(one(away))
}

// Set takes the figures that were read from the store.
func (m *Metrics) Set(r Readings) {
	m.outboxOldest.Set(r.OutboxOldest.Seconds())
	for state, n := range r.OutboxDepth {
		m.outboxDepth.WithLabelValues(state).Set(float64(n))
	}
	m.doubts.Set(float64(r.Doubts))
	m.surplus.Set(float64(r.SurplusOpen))
	m.reviews.Set(float64(r.Reviews))
	m.orphans.Set(float64(r.Orphan))
	m.unproven.Set(float64(r.Unproven))
	m.refunds.Set(float64(r.RefundsUndecided))
	m.surplusAge.Set(r.SurplusOldest.Seconds())
	m.doubtAge.Set(r.DoubtOldest.Seconds())
	m.refundAge.Set(r.RefundOldest.Seconds())
	m.unprovenAge.Set(r.UnprovenOldest.Seconds())
	for kind, n := range r.Cases {
		m.cases.WithLabelValues(kind).Set(float64(n))
	}
}

// Handler serves the figures; before each answer it calls refresh, which may be nil.
func (m *Metrics) Handler(refresh func(context.Context)) http.Handler {
	h := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true, Registry: m.registry})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if refresh != nil {
			refresh(req.Context())
		}
		h.ServeHTTP(w, req)
	})
}

func opts(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: "gateway", Name: name, Help: help}
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(opts(name, help), labels)
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(name, help)), labels)
}

// histograms have classic and native buckets, so that old and new Prometheus both read them.
func histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "gateway", Name: name, Help: help,
		Buckets:                         []float64{0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}
