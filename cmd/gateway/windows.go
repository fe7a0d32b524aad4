package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/router/policy"
)

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
