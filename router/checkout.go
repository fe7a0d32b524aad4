package router

import (
	"context"
	"errors"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// Checkout is a click on the order's checkout page. It commits that the redirect leaves
// before it returns it. The order's number is set beside an error, when it is known. Errors: orders.ErrNotFound, orders.ErrUnavailable.
func (r *Router) Checkout(ctx context.Context, payToken string) (orders.Checkout, error) {
	no, err := r.d.Store.OrderByPayToken(ctx, payToken)
	if err != nil {
		return orders.Checkout{}, err
	}
	c := orders.Checkout{OrderNo: no}
	book, err := r.d.Store.Book(ctx, no)
	if err != nil {
		return c, err
	}
	o := &book.Order
	if c.ReturnURL, err = returnURL(o); err != nil {
		return c, err
	}
	now := r.d.Now()
	account, ok := r.accounts[o.Current().Account]
	if !ok || !book.Payable(now) || !openable(o.Current(), account.Provider.Describe()) {
		return c, nil
	}
	leaving := o.Current().Redirect
	if d := account.Provider.Describe(); !d.ServerCreate {
		created, err := account.Provider.Create(ctx, r.request(o))
		if err != nil {
			return c, err
		}
		leaving = redirect(created.Redirect)
	}
	if _, err := r.d.Store.Hand(ctx, no, o.Current().No, now); err != nil {
		if errors.Is(err, orders.ErrNotPayable) {
			return c, nil
		}
		return c, err
	}
	r.d.Wake()
	c.Redirect, c.FormOrigins = leaving, account.Provider.Describe().FormOrigins
	return c, nil
}

// openable says whether an attempt may be sent to its provider by a click: the first
// time, or again where the provider takes the same number again.
func openable(a *orders.Attempt, d providers.Descriptor) bool {
	if a.Abandoned || a.State.Ended() {
		return false
	}
	if d.ServerCreate {
		return a.Redirect != nil
	}
	return a.HandedAt.IsZero() || d.Reopen == providers.ReopenReuse
}
