package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

const (
	placeDeadline = 20 * time.Second // shared by all sends of one request
	placeLease    = 30 * time.Second // longer than the deadline: a living request never loses its key
	finishTimeout = 5 * time.Second  // for commits that must not be cut by a client that hangs up
)

// Place makes a new order, or repeats the stored answer when the same command came
// before under the same idempotency key. Errors: orders.ErrInFlight, ErrKeyReused,
// ErrReferenceUsed, ErrUnavailable, ErrNotPayable (the order of a request that died is
// over), *orders.BillError, *orders.FieldError, *orders.NoAccountError. After any error but
// ErrKeyReused, ErrReferenceUsed and ErrNotPayable the same request may be sent again.
func (r *Router) Place(ctx context.Context, cmd orders.Command, answers orders.Answers) (orders.Answer, error) {
	// A client that hangs up must not cut a send whose outcome would then be unknown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), placeDeadline)
	defer cancel()
	fingerprint, err := cmd.Fingerprint()
	if err != nil {
		return orders.Answer{}, err
	}
	p := placing{Router: r, cmd: cmd, fingerprint: fingerprint, answers: answers}
	taken, release := p.claim(ctx)
	defer release()

	row, err := r.d.Store.LookKey(ctx, cmd.Key)
	switch {
	case err == nil:
		return p.known(ctx, row)
	case !errors.Is(err, orders.ErrNotFound):
		return orders.Answer{}, err
	case taken:
		r.d.Meter.IdempotencyHit("redis")
		return orders.Answer{}, orders.ErrInFlight
	}
	answer, err := p.fresh(ctx)
	if errors.Is(err, orders.ErrKeyTaken) { // the same request won the race
		if row, err = r.d.Store.LookKey(ctx, cmd.Key); err != nil {
			return orders.Answer{}, err
		}
		return p.known(ctx, row)
	}
	return answer, err
}

// placing is one request on its way.
type placing struct {
	*Router
	cmd         orders.Command
	fingerprint [32]byte
	answers     orders.Answers
}

// claim takes the fast lock. Without it, or when it cannot tell, the request goes on:
// the store decides.
func (p *placing) claim(ctx context.Context) (taken bool, release func()) {
	nothing := func() {}
	if p.d.Claims == nil {
		return false, nothing
	}
	token, err := p.token()
	if err != nil {
		return false, nothing
	}
	key := "idem:" + p.cmd.Key.ClientID + ":" + p.cmd.Key.Route + ":" + p.cmd.Key.Key
	if taken, err = p.d.Claims.Claim(ctx, key, token, placeLease); err != nil || taken {
		return taken && err == nil, nothing
	}
	return false, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
		defer cancel()
		if err := p.d.Claims.Release(ctx, key, token); err != nil {
			p.d.Log.Debug("claim not released, it lapses", "err", err)
		}
	}
}

// known answers a request whose key has a row.
func (p *placing) known(ctx context.Context, row orders.KeyRow) (orders.Answer, error) {
	switch {
	case row.Fingerprint != p.fingerprint:
		return orders.Answer{}, orders.ErrKeyReused
	case row.Done:
		p.d.Meter.IdempotencyHit("sql")
		return orders.Answer{Status: row.Status, Body: row.Answer, Replayed: true}, nil
	case p.d.Now().Before(row.LeaseUntil):
		p.d.Meter.IdempotencyHit("sql")
		return orders.Answer{}, orders.ErrInFlight
	}
	return p.resume(ctx)
}

// fresh places an order that was never seen.
func (p *placing) fresh(ctx context.Context) (orders.Answer, error) {
	account, methods, err := p.choose()
	if err != nil {
		return orders.Answer{}, err
	}
	now := p.d.Now()
	order, err := p.order(ctx, account, methods, now)
	if err != nil {
		return orders.Answer{}, err
	}
	placement := orders.Placement{Key: p.cmd.Key, Fingerprint: p.fingerprint}
	d := account.Provider.Describe()
	if d.ServerCreate {
		placement.LeaseUntil = now.Add(placeLease)
		placement.Order = order
		if order, err = p.d.Store.Place(ctx, placement); err != nil {
			return orders.Answer{}, err
		}
		p.placed(&order)
		return p.create(ctx, &order, 0)
	}
	if d.RedirectLife == 0 {
		created, err := account.Provider.Create(ctx, p.request(&order))
		if err != nil {
			return orders.Answer{}, fmt.Errorf("router: %w", err)
		}
		a := order.Current()
		a.Redirect, a.Refs = redirect(created.Redirect), created.Refs
		a.State, a.HandedAt = orders.AttemptPending, now
	}
	var answer orders.Answer
	placement.Order = order
	placement.Answer = func(o *orders.Order) (int, []byte, error) {
		status, body, err := p.answers.Created(o)
		answer = orders.Answer{Status: status, Body: body}
		return status, body, err
	}
	if order, err = p.d.Store.Place(ctx, placement); err != nil {
		return orders.Answer{}, err
	}
	p.placed(&order)
	return answer, nil
}

func (p *placing) placed(o *orders.Order) {
	p.d.Meter.OrderMoved(o.State.String())
	p.d.Log.Info("order placed", "order_no", string(o.No), "attempt_no", string(o.Current().No), "account", o.Current().Account)
	p.d.Wake()
}

// choose finds the account for the command: the first wished provider, in the
// citizen's order, that has an account for the merchant and takes the amount.
func (p *placing) choose() (Account, []string, error) {
	merchant, ok := p.merchants[p.cmd.Merchant]
	if !ok {
		return Account{}, nil, &orders.FieldError{Field: "/merchant", Code: "unknown", Detail: "no such merchant is configured"}
	}
	var known bool
	var why error = &orders.NoAccountError{Why: "no account is configured for this merchant", RetryAfter: time.Minute}
	for _, wish := range p.wishes() {
		for _, a := range p.display {
			d := a.Provider.Describe()
			if d.Name != wish {
				continue
			}
			known = true
			if _, ok := merchant.Payees[a.Name]; !ok {
				continue
			}
			if code := outside(d, p.cmd.Amount); code != "" {
				why = &orders.FieldError{Field: "/amount/value", Code: code, Detail: d.NameEN + " does not take this amount"}
				continue
			}
			methods, ok := choosable(d, p.cmd.Methods)
			if !ok {
				why = &orders.FieldError{Field: "/methods", Code: "not_offered", Detail: d.NameEN + " does not offer every method asked for"}
				continue
			}
			return a, methods, nil
		}
	}
	if !known {
		why = &orders.FieldError{Field: "/provider", Code: "unknown", Detail: "no such provider is configured"}
	}
	return Account{}, nil, why
}

// wishes are the providers to consider: the command's, or all in the order of display.
func (p *placing) wishes() []string {
	if len(p.cmd.Providers) > 0 {
		return p.cmd.Providers
	}
	var all []string
	for _, a := range p.display {
		if name := a.Provider.Describe().Name; !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// choosable are the methods to offer: the wished ones when the provider has them all,
// else all of its own.
func choosable(d providers.Descriptor, wished []string) ([]string, bool) {
	var all []string
	for _, m := range d.Methods {
		all = append(all, m.Code)
	}
	if len(wished) == 0 {
		return all, true
	}
	for _, w := range wished {
		if !slices.Contains(all, w) {
			return nil, false
		}
	}
	return wished, true
}

// order builds the order with its first attempt, not yet committed.
func (p *placing) order(ctx context.Context, account Account, methods []string, now time.Time) (orders.Order, error) {
	c := &p.cmd
	fee := c.Amount.Nothing()
	total, err := c.Amount.Add(fee)
	if err != nil {
		return orders.Order{}, fmt.Errorf("router: total: %w", err)
	}
	payToken, err := p.token()
	if err != nil {
		return orders.Order{}, err
	}
	no, err := p.d.Store.DrawOrderNo(ctx, now)
	if err != nil {
		return orders.Order{}, err
	}
	o := orders.Order{
		No: no, ClientID: c.Key.ClientID, ClientReference: c.ClientReference, Merchant: c.Merchant,
		PayerMemberID: c.PayerMemberID, Provider: account.Provider.Describe().Name, Methods: methods, Settlement: c.Settlement,
		Amount: c.Amount, Fee: fee, Total: total, Lines: c.Lines, ReturnURL: c.ReturnURL, PayToken: payToken,
		CreatedAt: now, ExpiresAt: now.Add(c.ExpiresIn),
	}
	a, err := p.attempt(&o, account, 1, now)
	if err != nil {
		return orders.Order{}, err
	}
	o.Attempts = []orders.Attempt{a}
	return o, nil
}

// attempt builds the next attempt of an order at an account.
func (r *Router) attempt(o *orders.Order, account Account, ordinal int, now time.Time) (orders.Attempt, error) {
	token, err := r.token()
	if err != nil {
		return orders.Attempt{}, err
	}
	no, err := orders.NewAttemptNo(account.NumberPrefix, o.No, ordinal)
	if err != nil {
		return orders.Attempt{}, err
	}
	d := account.Provider.Describe()
	return orders.Attempt{
		No: no, Ordinal: ordinal, Account: account.Name, Provider: d.Name, Environment: string(account.Environment),
		PayeeMemberID: r.merchants[o.Merchant].Payees[account.Name], Token: token, CreatedAt: now,
		QueryAt: o.ExpiresAt.Add(d.Patience.Grace),
	}, nil
}

// request is what the adapter may put into the redirect of the current attempt.
func (r *Router) request(o *orders.Order) providers.CreateRequest {
	a, m := o.Current(), r.merchants[o.Merchant]
	lines := make([]providers.BillLine, len(o.Lines))
	for i, l := range o.Lines {
		lines[i] = providers.BillLine(l)
	}
	return providers.CreateRequest{
		OrderNo: string(o.No), AttemptNo: string(a.No),
		Merchant:      providers.Merchant{Code: m.Code, Name: m.Name, PayeeMemberID: a.PayeeMemberID},
		PayerMemberID: o.PayerMemberID, Lines: lines, Total: o.Total, Methods: o.Methods,
		Settlement: providers.Settlement(o.Settlement), CreatedAt: o.CreatedAt, ExpiresAt: o.ExpiresAt,
		ReturnURL: r.d.Links.Return(a.Token), CallbackURL: r.d.Links.Callback(a.Account, a.Token),
	}
}

func redirect(r providers.Redirect) *orders.Redirect {
	return &orders.Redirect{Method: r.Method, URL: r.URL, Fields: r.Fields}
}
