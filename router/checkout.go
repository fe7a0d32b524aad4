package router

import (
	"context"
	"errors"
	"slices"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router/policy"
)

// signDeadline bounds a Create that only signs.
const signDeadline = 5 * time.Second

// Checkout is a click on the order's checkout page. It commits that the redirect leaves
// before it returns it. The order's number is set beside an error, when it is known. Errors: orders.ErrNotFound,
// orders.ErrUnavailable, orders.ErrInFlight while another click makes an attempt.
//
// While the attempt may leave, and its account can serve, the click goes to its provider; else, without a doubt about
// money, to the next attempt.
func (r *Router) Checkout(ctx context.Context, payToken string) (orders.Checkout, error) {
	no, err := r.d.Store.OrderByPayToken(ctx, payToken)
	if err != nil {
		return orders.Checkout{}, err
	}
	c := click{Router: r, w: r.world(), Checkout: orders.Checkout{OrderNo: no}}
	if c.book, err = r.d.Store.Book(ctx, no); err != nil {
		return c.Checkout, err
	}
	if c.ReturnURL, err = returnURL(&c.book.Order); err != nil {
		return c.Checkout, err
	}
	if !c.book.Payable(r.d.Now()) {
		return c.Checkout, nil
	}
	if c.reusable() {
		err = c.leave(ctx)
	} else {
		err = c.next(ctx)
	}
	if _, none := errors.AsType[*orders.NoAccountError](err); none || errors.Is(err, orders.ErrNotPayable) || errors.Is(err, orders.ErrTooManyAttempts) {
		r.d.Log.Info("a click leads back to the client", "order_no", string(no), "why", err)
		err = nil // the order has ended meanwhile, or another provider must be chosen: the client offers that
	}
	return c.Checkout, err
}

// click is one click on its way.
type click struct {
	*Router
	w    *world
	book orders.Book
	orders.Checkout
}

// reusable says whether the newest attempt may take the citizen to its provider, at an account that can serve now.
func (c *click) reusable() bool {
	a := c.book.Order.Current()
	account, ok := c.w.accounts[a.Account]
	if !ok || !c.book.Openable(c.d.Now()) || (!a.HandedAt.IsZero() && !again(account.Provider.Describe())) {
		return false
	}
	decision := c.choose(c.w, askedFor(&c.book.Order, c.wishes()))
	return slices.ContainsFunc(decision.Ranked, func(k policy.Choice) bool { return k.Account == a.Account })
}

// wishes are what the citizen wished for last.
func (c *click) wishes() orders.Wishes { return c.book.Order.Current().Wishes }

// leave sends the browser to the provider of the newest attempt.
func (c *click) leave(ctx context.Context) error {
	o := &c.book.Order
	account := c.w.accounts[o.Current().Account]
	d := account.Provider.Describe()
	leaving := o.Current().Redirect
	if !d.ServerCreate {
		signing, cancel := context.WithTimeout(ctx, signDeadline)
		created, err := account.Provider.Create(signing, c.request(c.w, o))
		cancel()
		if err != nil {
			return err
		}
		leaving = redirect(created.Redirect)
	}
	now := c.d.Now() // read anew: the order may have ended while its redirect was made
	_, err := c.d.Store.Hand(ctx, orders.Handing{
		Order: o.No, Attempt: o.Current().No, Again: again(d), Now: now, QueryAt: firstQuery(d, now),
	})
	if err != nil {
		return err
	}
	c.d.Wake()
	c.Redirect, c.FormOrigins = leaving, d.FormOrigins
	return nil
}

// next makes another attempt, which leaves at once.
func (c *click) next(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, placeDeadline)
	defer cancel()
	t := &trying{Router: c.Router, w: c.w, wishes: c.wishes()}
	if _, err := t.begin(ctx, &c.book.Order, nil, true); err != nil {
		return err
	}
	if t.leaving == nil {
		return nil // declined, or nobody knows: back to the client, who asks us
	}
	c.Redirect = t.leaving
	c.FormOrigins = c.w.accounts[t.tried[len(t.tried)-1]].Provider.Describe().FormOrigins
	return nil
}

// again says whether an attempt may be sent to its provider a second time: where the provider
// takes the same number again, and where the page is one that the provider itself has made.
func again(d providers.Descriptor) bool {
	return d.ServerCreate || d.Reopen == providers.ReopenReuse
}
