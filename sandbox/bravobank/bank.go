// Package bravobank is Bravo Bank 熊讚銀行, the demonstration bank: its site for
// payers, its notices, its query and refund API, and a fault panel that makes it
// misbehave: a page at GET /faults/panel that needs no script, and GET and PUT /faults in
// JSON for programs.
// It speaks docs/providers/bravobank.md with code of its own, so that a mistake in the
// gateway's adapter is not repeated here; "section" in a comment is one of that document.
//
// Everything lives in memory. No money moves and every login is a demonstration.
package bravobank

import (
	"errors"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
	"pay.taipei/gateway/signing"
)

// The bounds of what the bank keeps.
const (
	maxPayments = 50_000
	maxSessions = 20_000
	maxNonces   = 200_000
	maxForm     = 128 << 10
	maxMessage  = 64 << 10
)

// Config is the bank.
type Config struct {
	Environment string                 // demo or sandbox; empty: demo
	Key         *signing.Ed25519Signer // signs notices and answers; required
	OrderKeys   *signing.Ed25519Keys   // the gateway's, for orders and API calls; required
	Merchants   map[string]string      // registered name by payee member id; required
	ShopURL     string                 // where payers start, for the pages that know no payment; empty: no link
}

// Account is a login.
type Account struct{ Name, Password string }

// DemoAccount is the only login. The bank's pages show it.
func DemoAccount() Account { return Account{Name: "bravo", Password: "demo-2017"} }

// Deps are the bank's collaborators. HTTP carries the notices; it is copied, and the
// copy follows no redirects.
type Deps struct {
	Now  func() time.Time
	Rand io.Reader // of sessions, captchas, nonces
	HTTP *http.Client
	Log  *slog.Logger // nil: nothing is logged
	Wake func()       // called when there is something new to do in Step; nil: nobody listens
}

// Bank is the bank. Make it with New; it is safe for concurrent use.
type Bank struct {
	c       Config
	d       Deps
	client  http.Client
	pages   *template.Template
	notices desk.Queue[*notice]

	mu       sync.Mutex // guards all below
	payments map[string]*payment
	opened   []*payment // in order of opening
	sessions map[string]*session
	visits   []string // sessions in order
	nonces   map[string]time.Time
	faults   desk.Panel // has a lock of its own
	trades   int
}

// New makes a bank with empty books.
func New(c Config, d Deps) (*Bank, error) {
	if c.Key == nil || c.OrderKeys == nil || len(c.Merchants) == 0 || d.Now == nil || d.Rand == nil || d.HTTP == nil {
		return nil, errors.New("bravobank: the bank needs its key, the gateway's keys, merchants, a clock, randomness and an HTTP client")
	}
	if c.Environment == "" {
		c.Environment = "demo"
	}
	if c.Environment != "demo" && c.Environment != "sandbox" {
		return nil, errors.New("bravobank: this bank plays; its environment is demo or sandbox")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Wake == nil {
		d.Wake = func() {}
	}
	pages, err := parsePages()
	if err != nil {
		return nil, err
	}
	client := *d.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Bank{
		c: c, d: d, client: client, pages: pages,
		payments: make(map[string]*payment), sessions: make(map[string]*session), nonces: make(map[string]time.Time),
	}, nil
}

// Handler serves the bank's site and API.
func (b *Bank) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, page := range map[string]func(*visit){
		"GET /{$}": b.showHome, "POST /order": b.openOrder, "GET /order": b.showOrder,
		"GET /login": b.showLogin, "POST /login": b.login, "POST /pay": b.pay, "POST /cancel": b.cancel, "GET /result": b.showResult,
		"GET /captcha/{id}": b.captchaText, "GET /captcha/{id}/image": b.captchaImage,
		"GET /faults/panel": b.showPanel, "POST /faults/panel": b.setFaults,
	} {
		mux.HandleFunc(pattern, b.page(page))
	}
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }) // it has none
	mux.HandleFunc("POST /api/v1/query", b.message("bravo-query", b.query))
	mux.HandleFunc("POST /api/v1/refund", b.message("bravo-refund", b.refund))
	mux.HandleFunc("GET /faults", b.faults.GetJSON)
	mux.HandleFunc("PUT /faults", b.faults.PutJSON)
	mux.HandleFunc("GET /books", b.getBooks)
	return mux
}
