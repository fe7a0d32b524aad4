// Package webhooks is the edge listener: all that providers' servers and citizens' browsers can reach.
//
// A callback is read once, raw and bounded. The account's adapter verifies it before anything in it is believed, the
// router commits it, and only then is it acknowledged, in the provider's exact bytes: whatever goes wrong on the way asks
// for another delivery. A browser that comes back is sent on to the client without a status; what it brought is
// evidence for the router, never an answer for the citizen. The checkout page sends a browser on to the provider.
//
// This package knows nothing of signatures or of an order's rules. It does not limit the number of connections; the
// owner of the http.Server does, and sets its header and idle timeouts.
package webhooks

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/gin-gonic/gin"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// Accounts finds the adapter that reads an account's callbacks; false when there is no such account or its
// provider never calls.
type Accounts interface {
	Decoder(account string) (providers.CallbackDecoder, bool)
}

// Notices takes callbacks: authentic ones to be committed, refused ones to be kept for audit.
type Notices interface {
	// Notice returns when the callback is committed, or with an error when it is not known to be.
	Notice(ctx context.Context, account string, n providers.Notice, raw providers.RawCallback) (providers.Verdict, error)
	Refuse(ctx context.Context, account, reason string, raw providers.RawCallback) error
}

// Pages serves browsers. Both methods fail with orders.ErrNotFound or orders.ErrUnavailable.
type Pages interface {
	// Checkout is a click on an order's checkout page.
	Checkout(ctx context.Context, payToken string) (orders.Checkout, error)
	// Return takes a browser that came back from the provider and says where it goes on to.
	Return(ctx context.Context, token string, raw providers.RawCallback) (no orders.OrderNo, returnURL string, err error)
}

// Config bounds the listener's work. The zero value is usable.
type Config struct {
	TrustedProxies []string // addresses or CIDRs whose X-Forwarded-For is believed, for logs only; empty: nobody's

	// How much may run at a time. Each kind has a bound of its own, so that a flood of one never starves another.
	Verifying  int // callbacks in an adapter; zero: 16
	Committing int // authentic callbacks in the router; zero: 64
	Auditing   int // refused callbacks on their way to the audit; zero: 4
	Browsing   int // browsers in the router; zero: 64

	// Wait is how long a request waits for its turn, at each bound; zero: 1 s. After it a callback is asked to
	// come later, a browser gets a page that reloads, and a refusal is counted but not kept.
	Wait time.Duration
	// Reading is how long a body may take to arrive; zero: 5 s.
	Reading time.Duration
}

// Deps are the listener's collaborators. All are required but Observe, and safe for concurrent use.
type Deps struct {
	Accounts Accounts
	Notices  Notices
	Pages    Pages
	Now      func() time.Time
	NewID    func() string // of a request
	Nonce    func() string // of a page's style and script: unguessable, Base64
	Log      *slog.Logger
	Observe  func(Observation) // called after each request; nil: nobody listens
}

// Observation is what may be counted of one request.
type Observation struct {
	Route    string // the template, such as "/r/:token"; "unmatched" for anything else
	Status   int
	Duration time.Duration
	Account  string // of a callback; empty unless configured
	Verdict  string // on a callback: accepted, refused or retry_later; empty otherwise
}

const (
	maxBody      = 64 << 10         // bytes of a request that are kept
	maxDrain     = 1 << 20          // bytes beyond them that are read away, so that the sender hears our answer
	workDeadline = 10 * time.Second // for everything between the body and the answer
)

var errPanicked = errors.New("panicked; see the log")

type edge struct {
	deps                                      Deps
	verifying, committing, auditing, browsing slots
	reading                                   time.Duration
	page                                      *template.Template
}

// New makes the listener's handler. It returns an error when a collaborator is missing or a trusted proxy is malformed.
func New(config Config, deps Deps) (http.Handler, error) {
	if deps.Accounts == nil || deps.Notices == nil || deps.Pages == nil || deps.Now == nil || deps.NewID == nil || deps.Nonce == nil || deps.Log == nil {
		return nil, errors.New("webhooks: the edge listener needs accounts, notices, pages, a clock, ids, nonces and a log")
	}
	parsed, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return nil, fmt.Errorf("webhooks: page: %w", err)
	}
	wait := or(config.Wait, time.Second)
	e := &edge{
		deps: deps, page: parsed, reading: or(config.Reading, 5*time.Second),
		verifying: newSlots(or(config.Verifying, 16), wait), committing: newSlots(or(config.Committing, 64), wait),
		auditing: newSlots(or(config.Auditing, 4), wait), browsing: newSlots(or(config.Browsing, 64), wait),
	}
	gin.SetMode(gin.ReleaseMode) // its debug mode prints to standard output
	engine := gin.New()
	engine.RedirectTrailingSlash = false
	engine.HandleMethodNotAllowed = true
	if err := engine.SetTrustedProxies(config.TrustedProxies); err != nil {
		return nil, fmt.Errorf("webhooks: trusted proxies: %w; give addresses or CIDRs", err)
	}
	engine.POST("/callbacks/:account", e.handle(e.callback))
	engine.POST("/callbacks/:account/:token", e.handle(e.callback))
	engine.GET("/r/:token", e.handle(e.back))
	engine.POST("/r/:token", e.handle(e.back))
	engine.GET("/pay/:token", e.handle(e.pay))
	engine.NoRoute(e.handle(func(c *gin.Context, _ *line) { e.show(c, notFoundPage()) }))
	engine.NoMethod(e.handle(func(c *gin.Context, _ *line) { c.Status(http.StatusMethodNotAllowed) }))
	return engine, nil
}

// or is the setting, or what is usual when it is not set.
func or[T int | time.Duration](setting, usual T) T {
	if setting > 0 {
		return setting
	}
	return usual
}

// line collects what is logged of a request. Tokens, bodies and queries have no place in it.
type line struct {
	account string // configured
	verdict string
	reason  string // of a refusal or a failure
	orderNo string
	failed  bool // on our side
}

// handle wraps a handler in all that every answer needs: headers, a line in the log, and no way for a panic to look
// like an acknowledgement.
func (e *edge) handle(do func(*gin.Context, *line)) gin.HandlerFunc {
	return func(c *gin.Context) {
		start, id, l := e.deps.Now(), e.deps.NewID(), &line{}
		c.Header("X-Request-Id", id)
		c.Header("Cache-Control", "no-store")
		c.Header("Referrer-Policy", "no-referrer") // our addresses hold tokens
		c.Header("X-Content-Type-Options", "nosniff")
		err := e.guarded(func() error { do(c, l); return nil })
		if err != nil && !c.Writer.Written() {
			l.failed, l.reason = true, err.Error()
			e.show(c, brokenPage())
		}
		c.Writer.WriteHeaderNow()
		e.report(c, l, id, e.deps.Now().Sub(start))
	}
}

func (e *edge) report(c *gin.Context, l *line, id string, took time.Duration) {
	route := c.FullPath()
	if route == "" {
		route = "unmatched"
	}
	attrs := []slog.Attr{
		slog.String("route", route), slog.String("method", c.Request.Method), slog.Int("status", c.Writer.Status()),
		slog.Int64("ms", took.Milliseconds()), slog.String("request_id", id),
	}
	if l.account != "" { // a provider's server; a citizen's address is not written down
		attrs = append(attrs, slog.String("account", l.account), slog.String("verdict", l.verdict), slog.String("peer", c.ClientIP()))
	}
	if l.orderNo != "" {
		attrs = append(attrs, slog.String("order_no", l.orderNo))
	}
	if l.reason != "" {
		attrs = append(attrs, slog.String("reason", l.reason[:min(len(l.reason), 300)]))
	}
	level := slog.LevelInfo
	switch {
	case l.failed:
		level = slog.LevelError
	case l.verdict == verdictWord(providers.Refused):
		level = slog.LevelWarn
	}
	e.deps.Log.LogAttrs(c.Request.Context(), level, "request", attrs...)
	if e.deps.Observe != nil {
		e.deps.Observe(Observation{Route: route, Status: c.Writer.Status(), Duration: took, Account: l.account, Verdict: l.verdict})
	}
}

// guarded turns a panic of do into an error. The panic's value is logged only by type: it may quote a foreign body.
func (e *edge) guarded(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			e.deps.Log.Error("panic", slog.String("type", fmt.Sprintf("%T", v)), slog.String("stack", string(debug.Stack())))
			err = errPanicked
		}
	}()
	return do()
}

// detached gives work a deadline of its own: whoever hangs up must not cut a commit short.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), workDeadline)
}

// slots bounds how many do one thing at a time.
type slots struct {
	taken chan struct{}
	wait  time.Duration
}

func newSlots(n int, wait time.Duration) slots { return slots{make(chan struct{}, n), wait} }

// run does its work when it is its turn, or reports false when that took too long.
func (s slots) run(ctx context.Context, do func()) bool {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	select {
	case s.taken <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-s.taken }()
	do()
	return true
}
