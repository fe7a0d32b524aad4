package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/metrics"
)

// grace is how long requests, deliveries and provider calls may finish after we were
// told to stop. What is cut then stays as committed: a doubt, or work for the next process.
const grace = 8 * time.Second

type servers struct{ api, edge, ops http.Handler }

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
// It returns nil after such a stop.
func (a *App) Serve(ctx context.Context, l Listeners) error {
	t := a.config.TLS
	doors := []struct {
		server *http.Server
		on     net.Listener
		tls    configs.KeyPair
	}{
		{server(a.servers.api), l.API, t.API}, {server(a.servers.edge), l.Edge, t.Edge}, {server(a.servers.ops), l.Ops, t.Ops},
	}
	failed := make(chan error, len(doors))
	var serving sync.WaitGroup
	for _, d := range doors {
		serving.Go(func() {
			var err error
			if d.tls.CertFile != "" {
				err = d.server.ServeTLS(d.on, d.tls.CertFile, d.tls.KeyFile)
			} else {
				err = d.server.Serve(d.on)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	redisCtx, stopRedis := context.WithCancel(context.WithoutCancel(ctx))
	serving.Go(func() { a.redis.Run(redisCtx) })
	a.jobs.start()
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	a.log.Info("stopping", "grace", grace.String())
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	var stopping sync.WaitGroup
	for _, d := range doors {
		stopping.Go(func() {
			if d.server.Shutdown(stopCtx) != nil {
				_ = d.server.Close() // what is cut is committed or will be repeated
			}
		})
	}
	stopping.Go(func() { a.jobs.stopped(stopCtx) })
	stopping.Wait()
	stopRedis()
	serving.Wait()
	return errors.Join(err, a.Close())
}

func server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
}

// ops serves what operators watch; it is never public.
func (a *App) ops() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.metrics.Handler(a.refresh))
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
	_, _ = fmt.Fprintln(w, text) // the peer has gone: nobody to tell
}

// refresh reads the figures that live in the store.
func (a *App) refresh(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	a.metrics.Degraded("redis", a.redis.Degraded())
	g, err := a.store.Gauges(ctx, a.webhook)
	a.metrics.Degraded("sql", err != nil)
	if err != nil {
		a.log.Warn("figures not read from the store", "err", err)
		return
	}
	r := metrics.Readings{
		OutboxDepth: map[string]int64{"ready": 0, "held": 0},
		Doubts:      g.Doubts, SurplusOpen: g.SurplusOpen, Reviews: g.ReviewsOpen, Orphan: g.Orphans,
	}
	for state, n := range g.OutboxDepth {
		r.OutboxDepth[string(state)] = n
	}
	if !g.OutboxOldest.IsZero() {
		r.OutboxOldest = a.now().Sub(g.OutboxOldest)
	}
	a.metrics.Set(r)
}
