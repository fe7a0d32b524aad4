package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/router/policy"
)

type casesCmd struct {
	List  casesListCmd  `cmd:"" help:"Show the open cases, the oldest first."`
	Ask   casesAskCmd   `cmd:"" help:"Ask the provider again, now."`
	Close casesCloseCmd `cmd:"" help:"Write down what was decided. It changes no money and no state."`
}

type casesListCmd struct {
	configFlag
	JSON bool `name:"json" help:"For programs."`
}

// act runs an operator's act on the configured store.
func act(ctx context.Context, file string, do func(*app.App) error) error {
	c, err := app.Load(file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return app.Operate(ctx, c, do)
}

// shownCases is how many cases are listed.
const shownCases = 1000

// Run lists the cases.
func (c *casesListCmd) Run(ctx context.Context) error {
	return act(ctx, c.Config, func(a *app.App) error {
		rows, err := a.Store().Cases(ctx, shownCases)
		if err != nil {
			return err
		}
		type row struct {
			Case     string    `json:"case"`
			Kind     string    `json:"kind"`
			Attempt  string    `json:"attempt_no"`
			Account  string    `json:"account"`
			OpenedAt time.Time `json:"opened_at"`
			Detail   string    `json:"detail"`
		}
		list := make([]row, len(rows))
		for i, r := range rows {
			list[i] = row{r.Case.ID(r.OrderNo), string(r.Case.Kind), string(r.Case.Attempt), r.Account, r.Case.OpenedAt, r.Case.Detail}
		}
		if c.JSON {
			return printJSON(list)
		}
		if len(list) == 0 {
			_, err = fmt.Println("no open case")
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "CASE\tKIND\tATTEMPT\tACCOUNT\tOPENED\tDETAIL") // Flush tells
		for _, r := range list {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Case, r.Kind, r.Attempt, r.Account, r.OpenedAt.In(orders.Taipei).Format(time.RFC3339), r.Detail)
		}
		return w.Flush()
	})
}

type casesAskCmd struct {
	configFlag
	Case string `arg:"" help:"Such as 2017061300000016-c1."`
}

// Run makes the query of the case's attempt due now: the gateway that serves asks within a minute.
func (c *casesAskCmd) Run(ctx context.Context) error {
	no, number, err := parseCase(c.Case)
	if err != nil {
		return err
	}
	return act(ctx, c.Config, func(a *app.App) error {
		o, err := a.Store().Order(ctx, no)
		if err != nil {
			return err
		}
		for _, k := range o.Cases {
			if k.Number != number {
				continue
			}
			if err := a.Store().AskNow(ctx, k.Attempt, time.Now()); err != nil {
				return err
			}
			_, err = fmt.Printf("%s is asked about within a minute; then: gateway cases list -f %s\n", k.Attempt, c.Config)
			return err
		}
		return fmt.Errorf("order %s has no case %d", no, number)
	})
}

type casesCloseCmd struct {
	configFlag
	By   string `required:"" help:"Who decides."`
	Note string `required:"" help:"What was decided, and why."`
	Case string `arg:"" help:"Such as 2017061300000016-c1."`
}

// Run closes a case.
func (c *casesCloseCmd) Run(ctx context.Context) error {
	no, number, err := parseCase(c.Case)
	if err != nil {
		return err
	}
	return act(ctx, c.Config, func(a *app.App) error {
		if err := a.Store().CloseCase(ctx, no, number, c.By, c.Note, time.Now()); err != nil {
			return err
		}
		_, err := fmt.Printf("%s is closed\n", c.Case)
		return err
	})
}

var caseForm = regexp.MustCompile(`^([0-9]{16})-c([1-9][0-9]{0,2})$`)

func parseCase(id string) (orders.OrderNo, int, error) {
	m := caseForm.FindStringSubmatch(id)
	if m == nil {
		return "", 0, fmt.Errorf("%q is no case: want one such as 2017061300000016-c1", id)
	}
	number, err := strconv.Atoi(m[2])
	return orders.OrderNo(m[1]), number, err
}

type providersCmd struct {
	Status providersStatusCmd `cmd:"" help:"Show how every account is."`
	Open   providersOpenCmd   `cmd:"" help:"Take an account back into use, in spite of faults, for a time."`
	Close  providersCloseCmd  `cmd:"" help:"Take an account out of use, for a time."`
	Reset  providersResetCmd  `cmd:"" help:"Let the account's breaker decide again."`
	Window windowCmd          `cmd:"" help:"Maintenance windows."`
	Log    providersLogCmd    `cmd:"" help:"Show who changed what."`
}

type providersStatusCmd struct {
	configFlag
	JSON bool `name:"json" help:"For programs."`
}

// Run shows the accounts as a running replica sees them, or, where none answers, as they stand in the store.
func (c *providersStatusCmd) Run(ctx context.Context) error {
	config, err := app.Load(c.Config)
	if err != nil {
		return err
	}
	list, err := running(ctx, config)
	if err != nil {
		fmt.Fprintf(os.Stderr, "no replica answers at %s (%v): breakers are not known\n", config.Listen.Ops, err)
		if err := act(ctx, c.Config, func(a *app.App) error {
			list, err = a.Accounts(ctx)
			return err
		}); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(list)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "ACCOUNT\tPROVIDER\tIS\tOPERATIONS\tIMPOSED") // Flush tells
	for _, a := range list {
		var ops, imposed []string
		for _, o := range a.Operations {
			ops = append(ops, o.Op+" "+o.State)
		}
		for _, k := range a.Controls {
			imposed = append(imposed, strings.TrimSpace(k.Kind+" "+k.Name+" by "+k.By+untilText(k.Until)+": "+k.Reason))
		}
		is := "in use"
		switch {
		case a.Maintenance:
			is = "in maintenance"
		case !a.QuietUntil.IsZero():
			is = "left alone" + untilText(a.QuietUntil)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Name, a.Provider, is, strings.Join(ops, ", "), strings.Join(imposed, "; "))
	}
	return w.Flush()
}

func untilText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + t.In(orders.Taipei).Format(time.RFC3339)
}

// running asks the replica on this machine.
func running(ctx context.Context, c *configs.Config) ([]app.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	address, err := netip.ParseAddrPort(c.Listen.Ops)
	if err != nil || c.TLS.Ops.CertFile != "" {
		return nil, errors.New("it is asked at plain addresses only")
	}
	way := httpx.Config{Name: "ops", BaseURL: "http://" + c.Listen.Ops, Network: httpx.Private}
	if address.Addr().IsLoopback() {
		way.Network = httpx.Loopback
	}
	client, err := httpx.New(way, httpx.Deps{Now: time.Now, Rand: mathrand.Uint64})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	resp, err := client.Send(ctx, httpx.Request{Method: http.MethodGet, Path: "/accounts"})
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.Status)
	}
	var list []app.Account
	return list, json.Unmarshal(resp.Body, &list)
}

// imposing is what every order of an operator says.
type imposing struct {
	configFlag
	Reason string `required:"" help:"Why."`
	By     string `help:"Who; the user of this system if left out."`
}

func (i *imposing) by() string {
	if i.By != "" {
		return i.By
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

type forcing struct {
	imposing
	For     time.Duration `default:"1h" help:"For how long; 0 until it is taken back."`
	Op      string        `enum:",create,query,confirm,refund" default:"" help:"One operation; all if left out."`
	Account string        `arg:"" help:"Account name."`
}

func (f *forcing) name() string {
	if f.Op == "" {
		return f.Account
	}
	return f.Account + "/" + f.Op
}

func (f *forcing) set(ctx context.Context, spec string) error {
	c, err := app.Load(f.Config)
	if err != nil {
		return err
	}
	if err := hasAccount(c, f.Account); err != nil {
		return err
	}
	now := time.Now()
	control := orders.Control{Kind: orders.ControlForce, Name: f.name(), Spec: spec, Reason: f.Reason, By: f.by(), SetAt: now}
	if f.For > 0 {
		control.Until = now.Add(f.For)
	}
	return act(ctx, f.Config, func(a *app.App) error {
		if err := a.Store().SetControl(ctx, control); err != nil {
			return err
		}
		_, err := fmt.Printf("%s: breaker held %s%s, on every replica within 2 seconds\n", f.name(), spec, untilText(control.Until))
		return err
	})
}

func hasAccount(c *configs.Config, name string) error {
	for _, a := range c.Accounts {
		if a.Name == name {
			return nil
		}
	}
	return fmt.Errorf("no account %q is configured", name)
}

type providersOpenCmd struct{ forcing }

// Run lets calls through: an open account is one whose breaker is held closed.
func (c *providersOpenCmd) Run(ctx context.Context) error { return c.set(ctx, "closed") }

type providersCloseCmd struct{ forcing }

// Run stops calls.
func (c *providersCloseCmd) Run(ctx context.Context) error { return c.set(ctx, "open") }

type providersResetCmd struct {
	imposing
	Op      string `enum:",create,query,confirm,refund" default:"" help:"One operation; the order about all if left out."`
	Account string `arg:"" help:"Account name."`
}

// Run takes an order back.
func (c *providersResetCmd) Run(ctx context.Context) error {
	f := forcing{Account: c.Account, Op: c.Op}
	return act(ctx, c.Config, func(a *app.App) error {
		if err := a.Store().DropControl(ctx, orders.ControlForce, f.name(), c.by(), c.Reason, time.Now()); err != nil {
			return err
		}
		_, err := fmt.Printf("%s: its breaker decides again\n", f.name())
		return err
	})
}

type windowCmd struct {
	Add  windowAddCmd  `cmd:"" help:"Add or replace a window."`
	Drop windowDropCmd `cmd:"" help:"Take a window back."`
	List windowListCmd `cmd:"" help:"Show the windows that were set beside the configuration."`
}

type windowAddCmd struct {
	imposing
	Account  string        `xor:"scope" required:"" help:"The account it is of."`
	Provider string        `xor:"scope" required:"" help:"The provider it is of."`
	Merchant string        `xor:"scope" required:"" help:"The merchant it is of."`
	Daily    string        `xor:"when" required:"" placeholder:"05:15-06:15" help:"Each day, in Taipei."`
	Weekdays []string      `help:"Of a daily one: mon to sun."`
	Start    time.Time     `xor:"when" required:"" placeholder:"2027-01-01T01:00:00+08:00" help:"Once."`
	End      time.Time     `help:"Of one with a start; until further notice if left out."`
	Ramp     time.Duration `help:"After its end, for so long traffic comes back by and by."`
	ID       string        `arg:"" help:"Name of the window."`
}

// Run sets a window.
func (c *windowAddCmd) Run(ctx context.Context) error {
	w := policy.Window{ID: c.ID, Start: c.Start, End: c.End, Ramp: c.Ramp, Reason: c.Reason}
	switch {
	case c.Account != "":
		w.Scope, w.Name = policy.ScopeAccount, c.Account
	case c.Provider != "":
		w.Scope, w.Name = policy.ScopeProvider, c.Provider
	default:
		w.Scope, w.Name = policy.ScopeMerchant, c.Merchant
	}
	if c.Daily != "" {
		from, to, _ := strings.Cut(c.Daily, "-")
		var err error
		if w.Daily, err = policy.NewDaily(from, to, c.Weekdays); err != nil {
			return fmt.Errorf("daily: %w", err)
		}
	}
	return act(ctx, c.Config, func(a *app.App) error {
		if err := a.CheckWindow(&w); err != nil {
			return err
		}
		text, err := w.Marshal()
		if err != nil {
			return err
		}
		now := time.Now()
		control := orders.Control{Kind: orders.ControlWindow, Name: w.ID, Spec: string(text), Reason: c.Reason, By: c.by(), SetAt: now}
		if !w.End.IsZero() {
			control.Until = w.End.Add(w.Ramp)
		}
		if err := a.Store().SetControl(ctx, control); err != nil {
			return err
		}
		_, err = fmt.Printf("window %s of %s %s holds on every replica within 2 seconds\n", w.ID, w.Scope, w.Name)
		return err
	})
}

type windowDropCmd struct {
	imposing
	ID string `arg:"" help:"Name of the window."`
}

// Run takes a window back.
func (c *windowDropCmd) Run(ctx context.Context) error {
	return act(ctx, c.Config, func(a *app.App) error {
		if err := a.Store().DropControl(ctx, orders.ControlWindow, c.ID, c.by(), c.Reason, time.Now()); err != nil {
			return err
		}
		_, err := fmt.Printf("window %s is taken back\n", c.ID)
		return err
	})
}

type windowListCmd struct{ configFlag }

// Run shows the windows as they are stored.
func (c *windowListCmd) Run(ctx context.Context) error {
	return act(ctx, c.Config, func(a *app.App) error {
		list, err := a.Store().Controls(ctx, time.Now())
		if err != nil {
			return err
		}
		for _, k := range list {
			if k.Kind == orders.ControlWindow {
				if _, err := fmt.Println(k.Spec); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

type providersLogCmd struct{ configFlag }

// shownChanges is how many changes are listed.
const shownChanges = 100

// Run lists the changes, newest first.
func (c *providersLogCmd) Run(ctx context.Context) error {
	return act(ctx, c.Config, func(a *app.App) error {
		list, err := a.Store().ControlLog(ctx, shownChanges)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "AT\tBY\tWHAT\tREASON") // Flush tells
		for _, k := range list {
			what := "set " + string(k.Control.Kind) + " " + k.Control.Name + " " + k.Control.Spec + untilText(k.Control.Until)
			if k.Dropped {
				what = "took back " + string(k.Control.Kind) + " " + k.Control.Name
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.At.In(orders.Taipei).Format(time.RFC3339), k.By, what, k.Reason)
		}
		return w.Flush()
	})
}

type routeCmd struct {
	Explain routeExplainCmd `cmd:"" help:"Say where an order would go now, and why. Nothing is made of it."`
}

type routeExplainCmd struct {
	configFlag
	Order   string `required:"" type:"existingfile" placeholder:"FILE" help:"The order, as POST /v1/orders takes it."`
	OrderNo string `default:"2017061300000016" help:"The number by which a split draws."`
	JSON    bool   `name:"json" help:"For programs."`
}

// Run prints the decision receipt.
func (c *routeExplainCmd) Run(ctx context.Context) error {
	f, err := os.Open(c.Order)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return act(ctx, c.Config, func(a *app.App) error {
		receipt, err := a.Explain(io.LimitReader(f, 1<<20), orders.OrderNo(c.OrderNo))
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(receipt)
		}
		_, err = fmt.Print(receipt.Text())
		return err
	})
}

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
