package router

import (
	"context"
	"errors"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// signDeadline bounds a Create that only signs.
const signDeadline = 5 * time.Second

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
	account, ok := r.accounts[o.Current().Account]
	if !ok || !book.Openable(r.d.Now()) {
		return c, nil
	}
	d := account.Provider.Describe()
	if !o.Current().HandedAt.IsZero() && !again(d) {
		return c, nil
	}
	leaving := o.Current().Redirect
	if !d.ServerCreate {
		signing, cancel := context.WithTimeout(ctx, signDeadline)
		created, err := account.Provider.Create(signing, r.request(o))
		cancel()
		if err != nil {
			return c, err
		}
		leaving = redirect(created.Redirect)
	}
	// The clock is read anew: the order may have ended while its redirect was made.
	if _, err := r.d.Store.Hand(ctx, no, o.Current().No, again(d), r.d.Now()); err != nil {
		if errors.Is(err, orders.ErrNotPayable) {
			return c, nil
		}
		return c, err
	}
	r.d.Wake()
	c.Redirect, c.FormOrigins = leaving, d.FormOrigins
	return c, nil
}

// again says whether an attempt may be sent to its provider a second time: where the provider
// takes the same number again, and where the page is one that the provider itself has made.
func again(d providers.Descriptor) bool {
	return d.ServerCreate || d.Reopen == providers.ReopenReuse
}
