package router

import (
	"errors"
	"fmt"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/router/policy"
)

// world is one configuration, whole. It is never changed: a new one takes its place.
type world struct {
	accounts  map[string]Account
	display   []Account
	merchants map[string]Merchant
	rules     policy.Rules
}

func newWorld(c Config) (*world, error) {
	w := &world{accounts: map[string]Account{}, display: c.Accounts, merchants: map[string]Merchant{}, rules: c.Rules}
	for _, a := range c.Accounts {
		if _, twice := w.accounts[a.Name]; twice || a.Name == "" || a.Provider == nil {
			return nil, fmt.Errorf("router: account %q: needs a name of its own and a provider", a.Name)
		}
		if _, err := orders.NewAttemptNo(a.NumberPrefix, "2017061300000016", 1); err != nil {
			return nil, fmt.Errorf("router: account %q: %w", a.Name, err)
		}
		if rule := a.Provider.Describe().Number; rule.MaxLength < len(a.NumberPrefix)+18 {
			return nil, fmt.Errorf("router: account %q: its provider takes order numbers of %d characters, ours have %d", a.Name, rule.MaxLength, len(a.NumberPrefix)+18)
		}
		w.accounts[a.Name] = a
	}
	for _, m := range c.Merchants {
		if _, twice := w.merchants[m.Code]; twice || m.Code == "" {
			return nil, fmt.Errorf("router: merchant %q: needs a code of its own", m.Code)
		}
		w.merchants[m.Code] = m
	}
	return w, nil
}

// Swap puts another configuration in the place of the present one, whole or not at all. What is under way ends under the
// one it began with.
func (r *Router) Swap(c Config) error {
	w, err := newWorld(c)
	if err != nil {
		return err
	}
	r.current.Store(w)
	return nil
}

// world is the configuration now.
func (r *Router) world() *world { return r.current.Load() }

// named says whether an account of a provider is configured.
func (w *world) named(provider string) bool {
	for _, a := range w.display {
		if a.Provider.Describe().Name == provider {
			return true
		}
	}
	return false
}

func errUnknownProvider() error {
	return &orders.FieldError{Field: "/provider", Code: "unknown", Detail: "no such provider is configured"}
}

var errNotConfigured = errors.New("router: the account is not configured any more")
