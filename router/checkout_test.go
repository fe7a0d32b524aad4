package router_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

func TestCheckout(t *testing.T) {
	type want struct {
		page   bool
		writes []string
	}
	none, next := want{}, want{true, []string{"AddAttempt"}}
	type act = func(w *world, o *orders.Order)
	at := func(d time.Duration) act { return func(w *world, _ *orders.Order) { w.at(d) } }
	click := func(w *world, o *orders.Order) { _, _ = w.Checkout(w.t.Context(), o.PayToken); w.store.since() }
	reopen := func(w *world, _ *orders.Order) { w.click.d.Reopen = providers.ReopenReuse }
	lost := func(account string) act { return func(w *world, _ *orders.Order) { w.restart(without(account)) } }
	said := func(s providers.State) act {
		return func(w *world, o *orders.Order) {
			snapshot := providers.Snapshot{State: s}
			if s == providers.Paid {
				snapshot = paidSnapshot(o.Total)
			}
			if _, err := w.notice(o.Current(), "n"+s.String(), &snapshot); err != nil {
				w.t.Fatal(err)
			}
			w.store.since()
		}
	}
	shut := func(gate string) act { return func(w *world, _ *orders.Order) { w.gates.close(time.Time{}, gate) } }
	hand := want{true, []string{"Hand"}}
	for name, test := range map[string]struct {
		provider string
		before   []act
		want     want
		creates  int // in all
	}{
		"signed again":               {"form", nil, hand, 2},
		"reuse while pending":        {"form", []act{click}, hand, 3},
		"last moment":                {"form", []act{at(life - time.Millisecond)}, hand, 2},
		"order over":                 {"form", []act{at(life)}, none, 1},
		"paid":                       {"form", []act{said(providers.Paid)}, none, 1},
		"attempt failed":             {"form", []act{said(providers.Failed)}, next, 2},
		"account lost":               {"form", []act{lost("form-a")}, none, 1},
		"signed at the first click":  {"click", nil, hand, 1},
		"a number for one visit":     {"click", []act{click}, next, 2},
		"signed at the click, shut":  {"form", []act{shut("form-a/query")}, none, 1},
		"a number for many":          {"click", []act{reopen, click}, hand, 2},
		"at the click: order over":   {"click", []act{at(life)}, none, 0},
		"made at the provider":       {"server", nil, hand, 1},
		"made at the provider again": {"server", []act{click}, hand, 1},
		"made, order over":           {"server", []act{at(life)}, none, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.placed(test.provider)
			if test.provider == "click" && (len(w.click.creates) != 0 || !o.Current().HandedAt.IsZero() || o.Current().State != orders.AttemptIntent) {
				t.Errorf("signed before the click: %+v", o.Current())
			}
			w.store.since()
			for _, do := range test.before {
				do(w, &o)
			}
			c, err := w.Checkout(t.Context(), o.PayToken)
			if err != nil || c.OrderNo != o.No || c.ReturnURL != "https://core.example/result?lang=zh&order_no="+string(o.No) {
				t.Fatalf("%+v, %v", c, err)
			}
			if got := w.store.since(); (c.Redirect != nil) != test.want.page || !slices.Equal(got, test.want.writes) {
				t.Errorf("page %v, commits %v", c.Redirect, got)
			}
			adapter := map[string]*fake{"form": w.form, "click": w.click, "server": w.server}[test.provider]
			if len(adapter.creates) != test.creates {
				t.Errorf("%d creates, want %d", len(adapter.creates), test.creates)
			}
			if c.Redirect == nil {
				return
			}
			if o = w.read(o.No); c.Redirect.Fields["no"] != string(o.Current().No) || c.Redirect.Fields["n"] != fmt.Sprint(test.creates) || !slices.Equal(c.FormOrigins, adapter.d.FormOrigins) {
				t.Errorf("page %+v of %v", c.Redirect, c.FormOrigins)
			}
			if now := w.read(o.No); now.Current().HandedAt.IsZero() || now.Current().State != orders.AttemptPending {
				t.Errorf("left without a commit: %+v", now.Current())
			}
		})
	}
}

func TestCheckoutErrors(t *testing.T) {
	w := newWorld(t)
	o := w.placed("click")
	if _, err := w.Checkout(t.Context(), "nobody's"); !errors.Is(err, orders.ErrNotFound) {
		t.Errorf("unknown token: %v", err)
	}
	for _, verb := range []string{"Book", "Hand"} {
		w.store.failing(verb)
		c, err := w.Checkout(t.Context(), o.PayToken)
		wantErr(t, err, orders.ErrUnavailable)
		if c.Redirect != nil || c.OrderNo != o.No {
			t.Errorf("%s failed: %+v", verb, c)
		}
	}
	w.store.healed()
	w.click.create = func(int, providers.CreateRequest) (providers.Created, error) {
		return providers.Created{}, kindError(providers.Invalid)
	}
	if c, err := w.Checkout(t.Context(), o.PayToken); !errors.Is(err, providers.Invalid) || c.Redirect != nil {
		t.Errorf("not signed: %+v, %v", c, err)
	}
	w.wantStates(o.No, "open intent")

	// Between the look and the commit the order's time ends.
	w.click.create = func(int, providers.CreateRequest) (providers.Created, error) {
		w.at(life)
		return providers.Created{}, nil
	}
	if c, err := w.Checkout(t.Context(), o.PayToken); err != nil || c.Redirect != nil || c.ReturnURL == "" {
		t.Errorf("over meanwhile: %+v, %v", c, err)
	}
	w.wantStates(o.No, "open intent")
}
