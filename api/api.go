package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
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
	// RatePerSecond and Burst limit the requests of one client at this replica; zero: 100, and twice the rate.
	RatePerSecond, Burst int
}

// Orders places orders.
type Orders interface {
	Place(ctx context.Context, c orders.Command, a orders.Answers) (orders.Answer, error)
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

// Deps are the collaborators of the API. All but Observe are required.
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
}

// Observation is one answered request, for metrics. All its words come from small sets.
type Observation struct {
	Method   string // "other" for one that no route has
	Route    string // its path in the table, or "unmatched"
	Status   int
	Duration time.Duration
}

type server struct {
	config Config
	deps   Deps
	keys   keyring
	pages  pages
}

// New builds the handler of the order API. It reports everything that is wrong with config and deps at once.
func New(config Config, deps Deps) (http.Handler, error) {
	pages, err := renderPages()
	if err != nil {
		return nil, err
	}
	return newHandler(config, deps, pages)
}

func newHandler(config Config, deps Deps, pages pages) (http.Handler, error) {
	if config.Currency == "" {
		config.Currency = money.TWD
	}
	if config.RatePerSecond == 0 {
		config.RatePerSecond = 100
	}
	if config.Burst == 0 {
		config.Burst = 2 * config.RatePerSecond
	}
	keys, err := newKeyring(config)
	if err = errors.Join(err, config.validate(), deps.validate()); err != nil {
		return nil, err
	}
	s := &server{config, deps, keys, pages}
	return s.engine()
}

func (c *Config) validate() error {
	var errs []error
	if _, err := money.ParseCurrency(string(c.Currency)); err != nil {
		errs = append(errs, fmt.Errorf("api: currency: %w", err))
	}
	if !c.MaxOrder.IsZero() && c.MaxOrder.Currency() != c.Currency {
		errs = append(errs, fmt.Errorf("api: max order: %w: want %s", money.ErrCurrency, c.Currency))
	}
	if c.RatePerSecond < 0 || c.Burst < 0 {
		errs = append(errs, errors.New("api: rate per second and burst: want zero or more"))
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
func (s *server) engine() (http.Handler, error) {
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
		return s.serve(Route{Path: unmatched, Auth: AuthPublic, handle: func(*server, *request) (response, error) {
			return response{}, newProblem(code)
		}})
	}
	e.NoRoute(refuse(problemNotFound))
	e.NoMethod(refuse(problemMethod))
	return e, nil
}
