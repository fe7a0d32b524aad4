package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// Config is the part of the configuration that the order API reads.
type Config struct {
	Clients []Client
	// Currency is the one currency of orders; empty: TWD.
	Currency money.Currency
	// MaxOrder is the largest total of one order; zero: what twelve digits hold.
	MaxOrder money.Amount
}

// Orders is what may be asked for about orders. Its errors are those of package orders; they are worded by this package.
type Orders interface {
	Payments
	Endings
}

// Payments makes ways to pay.
type Payments interface {
	Place(ctx context.Context, c orders.Command, a orders.Answers) (orders.Answer, error)
	Attempt(ctx context.Context, c orders.AttemptCommand, a orders.Answers) (orders.Answer, error)
}

// Endings ends orders and pays back. The commands are about an order of the client that asks.
type Endings interface {
	Cancel(ctx context.Context, c orders.CancelCommand, a orders.Answers) (orders.Answer, error)
	Refund(ctx context.Context, c orders.RefundCommand, a orders.Answers) (orders.Answer, error)
	// Actions tells what may be asked for now, and why the rest may not.
	Actions(ctx context.Context, no orders.OrderNo) ([]orders.Action, error)
}

// Reader tells the truth as committed. Its methods are those of orders.Reader.
type Reader interface {
	Book(ctx context.Context, no orders.OrderNo) (orders.Book, error)
	OrderByReference(ctx context.Context, clientID, reference string) (orders.Order, error)
	Timeline(ctx context.Context, no orders.OrderNo) ([]orders.TimelineRow, error)
	Feed(ctx context.Context, clientID string, after int64, limit int) ([]orders.FeedEvent, error)
}

// Directory lists the providers in the order of display. merchant and amount narrow what counts as available; empty
// and nil do not.
type Directory interface {
	Providers(merchant string, amount *money.Amount, now time.Time) []providers.Listing
}

// Limiter counts the requests of clients on all replicas together.
type Limiter interface {
	// Allow takes one from key's allowance; refused, retryAfter is when there is one again. An error means: not known.
	Allow(ctx context.Context, key string, perSecond, burst int) (ok bool, retryAfter time.Duration, err error)
}

// Deps are the collaborators of the API. All but Observe and Limiter are required.
type Deps struct {
	Orders    Orders
	Store     Reader
	Directory Directory
	// CheckoutURL is the address of the checkout page for an order's token.
	CheckoutURL func(token string) string
	Now         func() time.Time
	NewID       func() string // of a request: 8 to 64 of A-Z a-z 0-9 -
	Log         *slog.Logger
	Observe     func(Observation) // called once per request; nil: nobody counts
	Limiter     Limiter           // nil, or while it does not know: each replica counts for itself
}

// Observation is one answered request, for metrics. All its words come from small sets.
type Observation struct {
	Method   string // "other" for one that no route has
	Route    string // its path in the table, or "unmatched"
	Status   int
	Duration time.Duration
}

// Server is the handler of the order API. It is safe for concurrent use.
type Server struct {
	config   Config
	deps     Deps
	pages    pages
	handler  http.Handler
	keys     atomic.Pointer[keyring]
	swapping sync.Mutex
}

// New builds the handler of the order API. It reports everything that is wrong with config and deps at once.
func New(config Config, deps Deps) (*Server, error) {
	pages, err := renderPages()
	if err != nil {
		return nil, err
	}
	return newServer(config, deps, pages)
}

func newServer(config Config, deps Deps, pages pages) (*Server, error) {
	if config.Currency == "" {
		config.Currency = money.TWD
	}
	s := &Server{config: config, deps: deps, pages: pages}
	if err := errors.Join(s.Swap(config.Clients), config.validate(), deps.validate()); err != nil {
		return nil, err
	}
	var err error
	s.handler, err = s.engine()
	return s, err
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Swap puts other clients in the place of the present ones, or changes nothing and says everything that is wrong. It holds
// from the next request on: a key that is gone is refused, and a request that is under way ends as the client that it
// began as. What a client has used of its rate stays used.
func (s *Server) Swap(clients []Client) error {
	s.swapping.Lock()
	defer s.swapping.Unlock()
	keys, err := newKeyring(clients, s.keys.Load())
	if err != nil {
		return err
	}
	s.keys.Store(&keys)
	return nil
}

func (c *Config) validate() error {
	var errs []error
	if _, err := money.ParseCurrency(string(c.Currency)); err != nil {
		errs = append(errs, fmt.Errorf("api: currency: %w", err))
	}
	if !c.MaxOrder.IsZero() && c.MaxOrder.Currency() != c.Currency {
		errs = append(errs, fmt.Errorf("api: max order: %w: want %s", money.ErrCurrency, c.Currency))
	}
	return errors.Join(errs...)
}

func (d *Deps) validate() error {
	if d.Orders == nil || d.Store == nil || d.Directory == nil || d.CheckoutURL == nil || d.Now == nil || d.NewID == nil || d.Log == nil {
		return errors.New("api: deps: want Orders, Store, Directory, CheckoutURL, Now, NewID and Log")
	}
	return nil
}

// engine is the route table on gin. Only exact paths match: gin's redirects to a similar path would answer before the
// client is known.
func (s *Server) engine() (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode) // gin's mode is one per process; in debug mode it prints to standard output
	e := gin.New()
	e.HandleMethodNotAllowed = true
	e.RedirectTrailingSlash, e.RedirectFixedPath = false, false
	if err := e.SetTrustedProxies(nil); err != nil { // no client is told by its address
		return nil, fmt.Errorf("api: %w", err)
	}
	for _, route := range Routes() {
		path := strings.NewReplacer("{", ":", "}", "").Replace(route.Path)
		e.Handle(route.Method, path, s.serve(route))
		if route.Method == http.MethodGet {
			e.Handle(http.MethodHead, path, s.serve(route))
		}
	}
	refuse := func(code string) gin.HandlerFunc {
		return s.serve(Route{Path: unmatched, Auth: AuthPublic, handle: func(*Server, *request) (response, error) {
			return response{}, newProblem(code)
		}})
	}
	e.NoRoute(refuse(problemNotFound))
	e.NoMethod(refuse(problemMethod))
	return e, nil
}
