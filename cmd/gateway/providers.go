package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/orders"
)

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
	var list []app.Account
	answer, err := running(ctx, config, httpx.Request{Method: http.MethodGet, Path: "/accounts"})
	if err == nil {
		err = json.Unmarshal(answer, &list)
	}
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
	_, _ = fmt.Fprintln(w, "ACCOUNT\tPROVIDER\tIS\tBREAKERS\tIMPOSED") // Flush tells
	for _, a := range list {
		var ops, imposed []string
		for _, o := range a.Operations {
			ops = append(ops, o.Op+" "+o.Text())
		}
		for _, k := range a.Controls {
			imposed = append(imposed, imposedText(orders.ControlKind(k.Kind), k.Name, k.Spec)+untilText(k.Until)+" by "+k.By+": "+k.Reason)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", a.Name, a.Provider, a.Is()+untilText(a.Until), strings.Join(ops, ", "), strings.Join(imposed, "; "))
	}
	return w.Flush()
}

// imposedText says in words what was imposed.
func imposedText(kind orders.ControlKind, name, spec string) string {
	switch kind {
	case orders.ControlForce:
		if spec == "open" {
			return name + " closed"
		}
		return name + " held in use"
	case orders.ControlQuiet:
		return name + " left alone"
	case orders.ControlWindow:
	}
	return "window " + name
}

func untilText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + t.In(orders.Taipei).Format(time.RFC3339)
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
	Account string        `arg:"" help:"Account name."`
}

const allOps = "all"

// set imposes spec on an operation. What is imposed on all displaces what was imposed on one.
func (f *forcing) set(ctx context.Context, op, spec, means string) error {
	c, err := app.Load(f.Config)
	if err != nil {
		return err
	}
	if err := hasAccount(c, f.Account); err != nil {
		return err
	}
	now := time.Now()
	control := orders.Control{Kind: orders.ControlForce, Name: f.Account, Spec: spec, Reason: f.Reason, By: f.by(), SetAt: now}
	if op != allOps {
		control.Name += "/" + op
	}
	if f.For > 0 {
		control.Until = now.Add(f.For)
	}
	return act(ctx, f.Config, func(a *app.App) error {
		if err := a.Store().SetControl(ctx, control); err != nil {
			return err
		}
		if op == allOps {
			if _, err := dropForces(ctx, a, f.Account, &f.imposing, func(name string) bool { return name != f.Account }); err != nil {
				return err
			}
		}
		_, err := fmt.Printf("%s%s, on every replica within 2 seconds: %s\n", imposedText(control.Kind, control.Name, spec), untilText(control.Until), means)
		return err
	})
}

// dropForces takes back what is imposed on the operations of an account, of those that are meant, and counts it.
func dropForces(ctx context.Context, a *app.App, account string, by *imposing, meant func(name string) bool) (dropped int, err error) {
	now := time.Now()
	list, err := a.Store().Controls(ctx, now)
	if err != nil {
		return 0, err
	}
	for _, k := range list {
		of, _, _ := strings.Cut(k.Name, "/")
		if k.Kind != orders.ControlForce || of != account || !meant(k.Name) {
			continue
		}
		if err := a.Store().DropControl(ctx, k.Kind, k.Name, by.by(), by.Reason, now); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}

func hasAccount(c *configs.Config, name string) error {
	for _, a := range c.Accounts {
		if a.Name == name {
			return nil
		}
	}
	return fmt.Errorf("no account %q is configured", name)
}

type providersOpenCmd struct {
	forcing
	Op string `enum:"all,create,query,confirm,refund" default:"all" help:"all, or one of create, query, confirm, refund."`
}

// Run lets calls through: an open account is one whose breaker is held closed.
func (c *providersOpenCmd) Run(ctx context.Context) error {
	return c.set(ctx, c.Op, "closed", "calls are made whatever faults there are")
}

type providersCloseCmd struct {
	forcing
	Op string `enum:"create,query,confirm,refund,all" default:"create" help:"create sends nobody there; query, confirm, refund and all also stop what payments there wait for."`
}

// Run stops calls.
func (c *providersCloseCmd) Run(ctx context.Context) error {
	means := "nobody is sent there; payments there are still asked about, confirmed and paid back"
	switch c.Op {
	case "create":
	case "query":
		means = "nobody is sent there, and payments there are NOT asked about: they wait"
	case "confirm", "refund":
		means = "no " + c.Op + " is made there: payments wait for it"
	default:
		means = "nobody is sent there, and payments there are NOT asked about, confirmed or paid back: they wait"
	}
	return c.set(ctx, c.Op, "open", means)
}

type providersResetCmd struct {
	imposing
	Op      string `enum:"every,all,create,query,confirm,refund" default:"every" help:"What was imposed with this --op alone; else everything."`
	Account string `arg:"" help:"Account name."`
}

// Run takes back what was imposed.
func (c *providersResetCmd) Run(ctx context.Context) error {
	return act(ctx, c.Config, func(a *app.App) error {
		dropped, err := dropForces(ctx, a, c.Account, &c.imposing, func(name string) bool {
			switch c.Op {
			case "every":
				return true
			case allOps:
				return name == c.Account
			}
			return name == c.Account+"/"+c.Op
		})
		if err == nil && dropped == 0 {
			err = fmt.Errorf("nothing of that is in force on %q: gateway providers status -f %s", c.Account, c.Config)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Printf("%s: its breakers decide again, on every replica within 2 seconds\n", c.Account)
		return err
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
			what := imposedText(k.Control.Kind, k.Control.Name, k.Control.Spec)
			if k.Dropped {
				what = "took back: " + what
			} else {
				what += untilText(k.Control.Until)
			}
			if k.Control.Kind == orders.ControlWindow {
				what += " " + k.Control.Spec
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.At.In(orders.Taipei).Format(time.RFC3339), k.By, what, k.Reason)
		}
		return w.Flush()
	})
}
