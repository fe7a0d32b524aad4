package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/breaker"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/router/policy"
)

// Account is how an account is, as operators see it.
type Account struct {
	Name        string    `json:"account"`
	Provider    string    `json:"provider"`
	Maintenance bool      `json:"maintenance"`          // now
	QuietUntil  time.Time `json:"quiet_until,omitzero"` // the provider wants to be left alone
	Why         string    `json:"why,omitempty"`        // nobody is sent there; a rule of the directory
	Until       time.Time `json:"until,omitzero"`       // of Why; zero: not known
	Operations  []Breaker `json:"operations,omitempty"` // as this replica found them
	Controls    []Control `json:"controls,omitempty"`   // in force
}

// Is says in words whether somebody is sent there.
func (a *Account) Is() string {
	if a.Why == "" {
		return "in use"
	}
	return "out of use: " + a.Why
}

// Breaker is one breaker of an account.
type Breaker struct {
	Op     string    `json:"operation"`
	State  string    `json:"state"`             // what faults made of it
	Forced string    `json:"forced,omitempty"`  // open or closed, by an operator
	Why    string    `json:"refuses,omitempty"` // why calls are refused now
	Until  time.Time `json:"until,omitzero"`
	Faults int       `json:"faults"`
	Calls  int       `json:"calls"`
}

// Text is the breaker for people: theirs is not the word "open" for what lets nothing through.
func (b *Breaker) Text() string {
	switch {
	case b.Forced == "open":
		return "closed by an operator"
	case b.Forced == "closed":
		return "held in use"
	case b.Why != "":
		return fmt.Sprintf("tripped (%d of %d calls failed)", b.Faults, b.Calls)
	case b.State != breaker.Closed.String():
		return "being tried again"
	}
	return "well"
}

// Control is something that is imposed on an account.
type Control struct {
	Kind   string    `json:"kind"`
	Name   string    `json:"name"`
	Spec   string    `json:"spec,omitempty"`
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	Until  time.Time `json:"until,omitzero"`
}

// Accounts tells how every account is.
func (a *App) Accounts(ctx context.Context) ([]Account, error) {
	list, states := []Account{}, a.gates.set.States()
	for _, c := range a.router.Conditions() {
		account := Account{Name: c.Account, Provider: c.Provider, Maintenance: c.Maintenance, QuietUntil: c.QuietUntil, Why: c.Why, Until: c.Until}
		for _, s := range states {
			if s.Account == c.Account {
				account.Operations = append(account.Operations, Breaker{s.Op, s.Phase.String(), s.Forced.String(), string(s.Why), s.Until, s.Faults, s.Calls})
			}
		}
		list = append(list, account)
	}
	controls, err := a.store.Controls(ctx, a.now())
	if err != nil {
		return nil, err
	}
	for _, c := range controls {
		shown := Control{string(c.Kind), c.Name, c.Spec, c.Reason, c.By, c.Until}
		for i := range list {
			if concerns(&c, &list[i]) {
				list[i].Controls = append(list[i].Controls, shown)
			}
		}
	}
	return list, nil
}

// concerns says whether a control is about an account; a window of a merchant is about all.
func concerns(c *orders.Control, a *Account) bool {
	if c.Kind != orders.ControlWindow {
		return c.Name == a.Name || strings.HasPrefix(c.Name, a.Name+"/")
	}
	w, err := policy.ParseWindow([]byte(c.Spec))
	if err != nil {
		return true
	}
	switch w.Scope {
	case policy.ScopeAccount:
		return w.Name == a.Name
	case policy.ScopeProvider:
		return w.Name == a.Provider
	case policy.ScopeMerchant:
	}
	return true
}

// accountsPage serves Accounts to operators.
func (a *App) accountsPage(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	list, err := a.Accounts(ctx)
	if err != nil {
		a.log.Warn("accounts not shown", "err", err)
		answer(w, http.StatusServiceUnavailable, "the store does not answer")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(list) // the peer has gone: nobody to tell
}

// explainPage tells operators where an order would go, and why.
func (a *App) explainPage(w http.ResponseWriter, r *http.Request) {
	receipt, err := a.Explain(http.MaxBytesReader(w, r.Body, 1<<20), orders.OrderNo(r.URL.Query().Get("order_no")))
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(receipt) // the peer has gone: nobody to tell
}

// Operate opens a gateway for one act of an operator beside the one that serves: nothing runs in the background. The store
// must have been migrated.
func Operate(ctx context.Context, c *configs.Config, act func(*App) error) error {
	a, err := Open(ctx, c, Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if _, err := a.router.ControlsStep(ctx); err != nil {
		return errors.Join(err, a.Close())
	}
	return errors.Join(act(a), a.Close())
}

// Store is what an operator's act may change.
func (a *App) Store() interface {
	orders.Controller
	orders.Sweep
	orders.Reader
} {
	return a.store
}

// Explain tells where an order would go now, and why; the order is as POST /v1/orders takes it. Breakers are those of this
// process.
func (a *App) Explain(order io.Reader, no orders.OrderNo) (policy.Receipt, error) {
	var in struct {
		Merchant string          `json:"merchant"`
		Provider json.RawMessage `json:"provider"`
		Methods  []string        `json:"methods"`
		Amount   struct {
			Value    string         `json:"value"`
			Currency money.Currency `json:"currency"`
		} `json:"amount"`
		ExpiresIn string `json:"expires_in"`
	}
	if err := json.NewDecoder(order).Decode(&in); err != nil {
		return policy.Receipt{}, fmt.Errorf("order: %w", err)
	}
	cmd := orders.Command{Merchant: in.Merchant, Methods: in.Methods, ExpiresIn: 10 * time.Minute}
	var one string
	switch {
	case len(in.Provider) == 0:
	case json.Unmarshal(in.Provider, &one) == nil:
		cmd.Providers = []string{one}
	default:
		if err := json.Unmarshal(in.Provider, &cmd.Providers); err != nil {
			return policy.Receipt{}, errors.New("order: provider: want a name or a list of names")
		}
	}
	var err error
	if cmd.Amount, err = money.Parse(in.Amount.Value, in.Amount.Currency); err != nil {
		return policy.Receipt{}, fmt.Errorf("order: amount: %w", err)
	}
	if in.ExpiresIn != "" {
		if cmd.ExpiresIn, err = time.ParseDuration(in.ExpiresIn); err != nil {
			return policy.Receipt{}, errors.New("order: expires_in: want a time such as 10m")
		}
	}
	return a.router.Explain(&cmd, no)
}

// CheckWindow refuses a window that names nothing configured, or overlaps another one of the same.
func (a *App) CheckWindow(w *policy.Window) error { return a.router.CheckWindow(w) }
