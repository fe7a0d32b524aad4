// Package router chooses the account that gets an order, calls it, and applies what
// providers say.
//
// It is the one place that knows both orders and adapters: deadlines, when to ask a
// provider, what an adapter's error means for an attempt, and in which order commits
// and sends follow each other. The rule of every method is: commit, then tell. It
// knows neither HTTP nor wire formats nor which providers exist.
package router

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router/policy"
)

// Account is one set of credentials at a provider, ready to be called.
type Account struct {
	Name            string
	Provider        providers.Provider
	Environment     providers.Environment
	NumberPrefix    string // of its attempt numbers: zero to two of A-Z, 0-9
	QueryBeforePaid QueryRule
}

// Merchant is a city agency that is paid.
type Merchant struct {
	Code   string
	Name   string            // zh-Hant, as the payer reads it at the provider
	Payees map[string]string // payee member id by account name
}

// QueryRule says which paid notices must be confirmed by a query before they count.
// The zero value is always, the cautious one.
type QueryRule struct {
	Never bool
	Above int64 // with Never false: only totals above so many smallest units; zero: always
}

func (q QueryRule) applies(o *orders.Order) bool { return !q.Never && o.Total.Units() > q.Above }

// Config is what a router serves. The order of Accounts is the order of display and, where no route says otherwise, of
// preference.
type Config struct {
	Accounts  []Account
	Merchants []Merchant
	Rules     policy.Rules
}

// Store is what the router needs of the order store.
type Store interface {
	orders.Placer
	orders.Folder
	orders.Refunder
	orders.Reader
	orders.Sweep
	ControlStore
}

// Claims is a fast, forgetful lock against hot duplicates. It may lose everything at
// any time; the store is the authority.
type Claims interface {
	// Claim says whether somebody else holds the key. An error means: not known.
	Claim(ctx context.Context, key, token string, ttl time.Duration) (taken bool, err error)
	Release(ctx context.Context, key, token string) error
}

// Links makes our own URLs that providers get.
type Links interface {
	Return(token string) string
	Callback(account, token string) string
}

// Meter counts.
type Meter interface {
	ProviderCall(account, op, kind string, took time.Duration)
	OrderMoved(to string)
	IdempotencyHit(layer string)
	UnmappedCode(account string)
	Attempt(account string)
	Paid(account, by string)
	CallbackMissing(account string)
}

// Deps are the router's collaborators. All are required except Claims: without it
// duplicates meet in the store, which is slower.
type Deps struct {
	Store  Store
	Claims Claims
	Links  Links
	Now    func() time.Time
	Rand   io.Reader // for tokens
	Log    *slog.Logger
	Meter  Meter
	Wake   func() // after a commit that background work may wait for
	Gates  Gates
	// SetForced replaces all breakers that operators hold open or closed.
	SetForced func([]Force)
}

// Router is safe for concurrent use.
type Router struct {
	current atomic.Pointer[world]
	imposed controls
	probes  probes

	refusals flood // by account
	hints    flood // by attempt
	d        Deps
}

// New checks the configuration and makes a router. It starts nothing.
func New(c Config, d Deps) (*Router, error) {
	if d.Store == nil || d.Links == nil || d.Now == nil || d.Rand == nil || d.Log == nil || d.Meter == nil || d.Wake == nil || d.Gates == nil || d.SetForced == nil {
		return nil, errors.New("router: a collaborator is missing")
	}
	r := &Router{d: d}
	return r, r.Swap(c)
}

// Decoder finds the callback decoder of an account.
func (r *Router) Decoder(account string) (providers.CallbackDecoder, bool) {
	d, ok := r.world().accounts[account].Provider.(providers.CallbackDecoder)
	return d, ok
}

// token is a fresh name that nobody can guess: 128 random bits in 22 characters.
func (r *Router) token() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(r.d.Rand, b[:]); err != nil {
		return "", fmt.Errorf("router: random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// ref names an attempt to its provider.
func ref(o *orders.Order, a *orders.Attempt) providers.AttemptRef {
	r := providers.AttemptRef{
		AttemptNo: string(a.No), Account: a.Account, Amount: o.Total, PayeeMemberID: a.PayeeMemberID,
		Refs: a.Refs, CreatedAt: a.CreatedAt, HandedAt: a.HandedAt,
	}
	if a.State != orders.AttemptPaid { // a pointer tells that it was paid; who asks now wants to know more
		r.Pointer = a.Refs[orders.PointerRef]
	}
	return r
}
