package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/metrics"
	"pay.taipei/gateway/orders"
)

// stopTimes bound a stop, from the moment that we were told. Requests, deliveries and provider calls may finish until
// grace; then they are cut, and may tell the store what became of them until cut. What is left over stays as committed: a
// doubt, or work for the next process. The stores are closed until end, come what may.
type stopTimes struct{ grace, cut, end time.Duration }

// usualStop keeps the promise of ten seconds.
func usualStop() stopTimes {
	return stopTimes{grace: 8 * time.Second, cut: 9 * time.Second, end: 9500 * time.Millisecond}
}

// gate counts requests, and is shut with Lock, which waits until nobody is inside: http.Server.Close does not.
type gate struct {
	sync.RWMutex
	inside atomic.Int64
}

func (g *gate) guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.TryRLock() {
			answer(w, http.StatusServiceUnavailable, "stopping")
			return
		}
		defer g.RUnlock()
		g.inside.Add(1)
		defer g.inside.Add(-1)
		h.ServeHTTP(w, r)
	})
}

// Listeners are the gateway's three doors.
type Listeners struct{ API, Edge, Ops net.Listener }

// Listen opens the configured addresses.
func Listen(ctx context.Context, l configs.Listen) (Listeners, error) {
	var ls Listeners
	var lc net.ListenConfig
	for _, door := range []struct {
		addr string
		to   *net.Listener
	}{{l.API, &ls.API}, {l.Edge, &ls.Edge}, {l.Ops, &ls.Ops}} {
		var err error
		if *door.to, err = lc.Listen(ctx, "tcp", door.addr); err != nil {
			return Listeners{}, errors.Join(fmt.Errorf("listen: %w", err), ls.Close())
		}
	}
	return ls, nil
}

// Close closes the doors that are open.
func (l Listeners) Close() error {
	var errs []error
	for _, x := range []net.Listener{l.API, l.Edge, l.Ops} {
		if x != nil {
			errs = append(errs, x.Close())
		}
	}
	return errors.Join(errs...)
}

// Serve runs the gateway until ctx ends, then stops within ten seconds: it accepts
// nothing new, finishes what it began, cuts what does not finish, and closes the stores.
// It returns nil after such a stop, even if something still runs that did not heed the cut.
func (a *App) Serve(ctx context.Context, l Listeners) error {
	doors := []struct {
		server *http.Server
		on     net.Listener
	}{
		{a.server(a.servers.api, a.tls.api), l.API}, {a.server(a.servers.edge, a.tls.edge), l.Edge}, {a.server(a.servers.ops, a.tls.ops), l.Ops},
	}
	failed := make(chan error, len(doors))
	for _, d := range doors {
		go func() { // until Shutdown or Close, which stopped calls
			serve := d.server.Serve
			if d.server.TLSConfig != nil {
				serve = func(on net.Listener) error { return d.server.ServeTLS(on, "", "") }
			}
			if err := serve(d.on); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		}()
	}
	redisCtx, stopRedis := context.WithCancel(context.WithoutCancel(ctx))
	go a.redis.Run(redisCtx)
	a.jobs.start()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	stopRedis()
	return errors.Join(err, a.stopped(context.WithoutCancel(ctx), doors[0].server, doors[1].server, doors[2].server))
}

// stopped ends everything that Serve started and closes the stores, in the time that it has.
func (a *App) stopped(ctx context.Context, servers ...*http.Server) error {
	a.log.Info("stopping", "grace", a.stop.grace.String())
	grace, cancelGrace := context.WithTimeout(ctx, a.stop.grace)
	defer cancelGrace()
	cut, cancelCut := context.WithTimeout(ctx, a.stop.cut)
	defer cancelCut()
	end, cancelEnd := context.WithTimeout(ctx, a.stop.end)
	defer cancelEnd()
	var parts sync.WaitGroup
	for _, s := range servers {
		parts.Go(func() {
			if s.Shutdown(grace) != nil {
				_ = s.Close() // what is cut is committed or will be repeated
			}
		})
	}
	parts.Go(a.inside.Lock)
	parts.Go(func() { a.jobs.stopped(grace) })
	finished := make(chan struct{})
	go func() { parts.Wait(); close(finished) }()
	select {
	case <-finished:
	case <-cut.Done():
		a.log.Warn("no longer waiting for what was cut: it is committed, or will be repeated",
			"jobs", a.jobs.running(), "requests", a.inside.inside.Load())
	}
	closed := make(chan error, 1)
	go func() { closed <- a.Close() }()
	select {
	case err := <-closed:
		return err
	case <-end.Done():
		a.log.Warn("no longer waiting for the stores to close")
		return nil
	}
}

func (a *App) server(h http.Handler, t *tls.Config) *http.Server {
	return &http.Server{
		Handler: a.inside.guard(h), TLSConfig: t, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
}

// ops serves what operators watch; it is never public.
func (a *App) ops() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler(a.refresh))
	mux.HandleFunc("GET /accounts", a.accountsPage)
	mux.HandleFunc("POST /explain", a.explainPage)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if err := a.db.Ping(ctx); err != nil {
			a.log.Warn("not ready: the store does not answer", "err", err)
			answer(w, http.StatusServiceUnavailable, "the store does not answer")
			return
		}
		answer(w, http.StatusOK, "ready")
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) //nolint:gosec // plain text; the peer has gone: nobody to tell
}

// refresh reads the figures that live in the store.
func (a *App) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	a.watchAccounts()
	_ = a.redis.Ping(ctx) // bounds itself; what it finds out is what Degraded says
	a.metrics.Degraded("redis", a.redis.Degraded())
	g, err := a.store.Gauges(ctx, a.webhook)
	a.metrics.Degraded("sql", err != nil)
	if err != nil {
		a.log.Warn("figures not read from the store", "err", err)
		return
	}
	r := metrics.Readings{
		OutboxDepth: map[string]int64{"ready": 0, "held": 0},
		Doubts:      g.Doubts, SurplusOpen: g.SurplusOpen, Reviews: g.ReviewsOpen, Orphan: g.Orphans, Unproven: g.Unproven,
		RefundsUndecided: g.RefundsUndecided, DoubtOldest: a.age(g.OldestDoubt), SurplusOldest: a.age(g.OldestSurplus),
		RefundOldest: a.age(g.OldestRefund), UnprovenOldest: a.age(g.OldestUnproven),
		Cases: map[string]int64{string(orders.CaseUnresolved): 0, string(orders.CaseRefundMismatch): 0},
	}
	for kind, n := range g.Cases {
		r.Cases[string(kind)] = n
	}
	for state, n := range g.OutboxDepth {
		r.OutboxDepth[string(state)] = n
	}
	r.OutboxOldest = a.age(g.OutboxOldest)
	a.metrics.Set(r)
}

// age is how long ago a moment was; nothing for none.
func (a *App) age(at time.Time) time.Duration {
	if at.IsZero() {
		return 0
	}
	return a.now().Sub(at)
}
