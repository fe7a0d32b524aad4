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
	p := placing{Router: r, w: r.world(), cmd: cmd, fingerprint: fingerprint, answers: answers}
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
	w           *world
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
	answer, done, err := p.stored(row, p.fingerprint)
	if done || err != nil {
		return answer, err
	}
	return p.resume(ctx, row.OrderNo)
}

// stored is the answer that is stored under a key, or why there is none: the key is another command's, or its request is
// alive. Not done without an error: that request died.
func (r *Router) stored(row orders.KeyRow, fingerprint [32]byte) (answer orders.Answer, done bool, err error) {
	switch {
	case row.Fingerprint != fingerprint:
		return answer, false, orders.ErrKeyReused
	case row.Done:
		r.d.Meter.IdempotencyHit("sql")
		return orders.Answer{Status: row.Status, Body: row.Answer, Replayed: true}, true, nil
	case r.d.Now().Before(row.LeaseUntil):
		r.d.Meter.IdempotencyHit("sql")
		return answer, false, orders.ErrInFlight
	}
	return answer, false, nil
}

// trying begins to make attempts of the order.
func (p *placing) trying(fence int64) *trying {
	return &trying{
		Router: p.Router, w: p.w, wishes: p.wishes(), answers: p.answers, lease: &orders.Lease{Key: p.cmd.Key, Fence: fence},
	}
}

func (p *placing) wishes() orders.Wishes {
	return orders.Wishes{Providers: p.cmd.Providers, Methods: p.cmd.Methods}
}

// fresh places an order that was never seen.
func (p *placing) fresh(ctx context.Context) (orders.Answer, error) {
	if _, ok := p.w.merchants[p.cmd.Merchant]; !ok {
		return orders.Answer{}, &orders.FieldError{Field: "/merchant", Code: "unknown", Detail: "no such merchant is configured"}
	}
	if wishes := p.cmd.Providers; len(wishes) > 0 && !slices.ContainsFunc(wishes, p.w.named) {
		return orders.Answer{}, errUnknownProvider()
	}
	t, now := p.trying(0), p.d.Now()
	no, err := p.d.Store.DrawOrderNo(ctx, now)
	if err != nil {
		return orders.Answer{}, err
	}
	decision := p.choose(p.w, asked{no: no, merchant: p.cmd.Merchant, total: p.cmd.Amount, wishes: t.wishes, expiresAt: now.Add(p.cmd.ExpiresIn)})
	if len(decision.Ranked) == 0 {
		return orders.Answer{}, p.refusal(decision)
	}
	order, err := p.order(no, now)
	if err != nil {
		return orders.Answer{}, err
	}
	account := p.w.accounts[decision.Ranked[0].Account]
	d := account.Provider.Describe()
	first, _, err := t.make(ctx, &order, account, decision.Receipt, now, false)
	if err != nil {
		return orders.Answer{}, err
	}
	order.Provider, order.Methods, order.Attempts = d.Name, offered(d, p.cmd.Methods), []orders.Attempt{first}
	placement := orders.Placement{Key: p.cmd.Key, Fingerprint: p.fingerprint, Order: order}
	var answer orders.Answer
	if d.ServerCreate {
		placement.LeaseUntil = now.Add(placeLease)
	} else {
		placement.Answer = answered(&answer, p.answers.Created)
	}
	if order, err = p.place(ctx, placement); err != nil {
		return orders.Answer{}, err
	}
	p.d.Meter.OrderMoved(order.State.String())
	p.d.Meter.Attempt(account.Name)
	p.d.Log.Info("order placed", "order_no", string(order.No), "attempt_no", string(order.Current().No), "account", account.Name)
	p.d.Wake()
	if d.ServerCreate {
		return t.run(ctx, order)
	}
	return answer, nil
}

// place commits the order. A bill that an order of the same client holds is taken from it, where the command says so and
// its provider says that it is not paid.
func (p *placing) place(ctx context.Context, placement orders.Placement) (orders.Order, error) {
	for range len(p.cmd.Lines) {
		o, err := p.d.Store.Place(ctx, placement)
		held, ok := errors.AsType[*orders.BillError](err)
		if !ok || held.Paid || !p.cmd.Supersede || held.Client != p.cmd.Key.ClientID {
			return o, err
		}
		if err := p.supersede(ctx, held); err != nil {
			return o, err
		}
	}
	return p.d.Store.Place(ctx, placement)
}

// resume goes on with the order of a request that died: with a new attempt when nobody knows whether the old one left us,
// else with the same.
func (p *placing) resume(ctx context.Context, no orders.OrderNo) (orders.Answer, error) {
	now := p.d.Now()
	o, err := p.d.Store.Order(ctx, no)
	if err != nil {
		return orders.Answer{}, err
	}
	// First, so that a request that can go nowhere does not take the order over.
	if decision := p.choose(p.w, askedFor(&o, p.wishes())); len(decision.Ranked) == 0 && now.Before(o.ExpiresAt) {
		return orders.Answer{}, p.refusal(decision)
	}
	var stored orders.Answer
	resumed, err := p.d.Store.Resume(ctx, orders.Resumption{
		Key: p.cmd.Key, Fingerprint: p.fingerprint, Now: now, LeaseUntil: now.Add(placeLease),
		Conflict: func(o *orders.Order, b *orders.BillError) (int, []byte, error) {
			status, body, err := p.answers.Conflict(o, b)
			stored = orders.Answer{Status: status, Body: body}
			return status, body, err
		},
	})
	var bill *orders.BillError
	switch {
	case errors.As(err, &bill):
		p.d.Wake()
		return stored, nil
	case errors.Is(err, orders.ErrKeyTaken):
		return orders.Answer{}, orders.ErrInFlight
	case err != nil:
		return orders.Answer{}, err
	}
	t := p.trying(resumed.Fence)
	o = resumed.Order
	p.d.Log.Info("order resumed", "order_no", string(o.No), "attempt_no", string(o.Current().No))
	if resumed.Opened {
		return t.run(ctx, o)
	}
	return t.begin(ctx, &o, nil, false)
}

// begin adds an attempt and makes its create call where there is one.
func (t *trying) begin(ctx context.Context, o *orders.Order, key *orders.NewKey, clicked bool) (orders.Answer, error) {
	next, answer, err := t.add(ctx, o, orders.OutcomeOpen, key, clicked)
	if err != nil {
		return orders.Answer{}, err
	}
	t.d.Wake()
	if !t.w.accounts[next.Current().Account].Provider.Describe().ServerCreate {
		return answer, nil
	}
	if key != nil {
		t.lease = &orders.Lease{Key: key.Ref, Fence: key.Fence}
	}
	return t.run(ctx, next)
}

// order builds the order without its first attempt, not yet committed.
func (p *placing) order(no orders.OrderNo, now time.Time) (orders.Order, error) {
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
	return orders.Order{
		No: no, ClientID: c.Key.ClientID, ClientReference: c.ClientReference, Merchant: c.Merchant,
		PayerMemberID: c.PayerMemberID, Settlement: c.Settlement,
		Amount: c.Amount, Fee: fee, Total: total, Lines: c.Lines, ReturnURL: c.ReturnURL, PayToken: payToken,
		CreatedAt: now, ExpiresAt: now.Add(c.ExpiresIn),
	}, nil
}

// attempt builds the next attempt of an order at an account.
func (r *Router) attempt(w *world, o *orders.Order, account Account, ordinal int, now time.Time) (orders.Attempt, error) {
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
		PayeeMemberID: w.merchants[o.Merchant].Payees[account.Name], Token: token, CreatedAt: now,
		QueryAt: o.ExpiresAt.Add(d.Patience.Grace),
	}, nil
}

// request is what the adapter may put into the redirect of the current attempt.
func (r *Router) request(w *world, o *orders.Order) providers.CreateRequest {
	a, m := o.Current(), w.merchants[o.Merchant]
	lines := make([]providers.BillLine, len(o.Lines))
	for i, l := range o.Lines {
		lines[i] = providers.BillLine(l)
	}
	return providers.CreateRequest{
		OrderNo: string(o.No), AttemptNo: string(a.No),
		Merchant:      providers.Merchant{Code: m.Code, Name: m.Name, PayeeMemberID: a.PayeeMemberID},
		PayerMemberID: o.PayerMemberID, Lines: lines, Total: o.Total, Methods: offered(w.accounts[a.Account].Provider.Describe(), a.Wishes.Methods),
		Settlement: providers.Settlement(o.Settlement), CreatedAt: o.CreatedAt, ExpiresAt: o.ExpiresAt,
		ReturnURL: r.d.Links.Return(a.Token), CallbackURL: r.d.Links.Callback(a.Account, a.Token),
	}
}

func redirect(r providers.Redirect) *orders.Redirect {
	return &orders.Redirect{Method: r.Method, URL: r.URL, Fields: r.Fields}
}
