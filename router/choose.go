package router

import (
	"errors"
	"slices"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router/policy"
)

// asked is what an attempt is wanted for.
type asked struct {
	no        orders.OrderNo
	merchant  string
	total     money.Amount
	wishes    orders.Wishes
	expiresAt time.Time
	tried     []string // accounts
}

func askedFor(o *orders.Order, wishes orders.Wishes, tried ...string) asked {
	return asked{o.No, o.Merchant, o.Total, wishes, o.ExpiresAt, tried}
}

// choose ranks the accounts by policy.
func (r *Router) choose(w *world, a asked) policy.Decision {
	return policy.Choose(r.rules(w), r.candidates(w, a.merchant), policy.Ask{
		OrderNo: string(a.no), Merchant: a.merchant, Amount: a.total, Methods: a.wishes.Methods, Wishes: a.wishes.Providers,
		Tried: a.tried, At: r.d.Now(), ExpiresAt: a.expiresAt,
	})
}

// candidates are all accounts with what the policy looks at. Without a merchant every account will do.
func (r *Router) candidates(w *world, merchant string) []policy.Candidate {
	list := make([]policy.Candidate, len(w.display))
	for i, a := range w.display {
		d := a.Provider.Describe()
		_, payee := w.merchants[merchant].Payees[a.Name]
		list[i] = policy.Candidate{
			Account: a.Name, Provider: d.Name, Payee: payee || merchant == "", Currency: d.Currency, Min: d.Min, Max: d.Max,
			Methods: methodCodes(d), PageLife: d.PageLife, Health: r.health(a.Name, d),
		}
	}
	return list
}

// health is whether an account can serve now. Where a create only signs, whether the provider answers queries tells that it
// is there: nobody is sent where we could not learn what became of the payment.
func (r *Router) health(account string, d providers.Descriptor) policy.Health {
	if until := r.quietUntil(account); !until.IsZero() {
		return policy.Health{Down: true, Why: "penalty", Until: until}
	}
	ops := []providers.Op{providers.OpCreate, providers.OpQuery}
	if d.ServerCreate {
		ops = ops[:1]
	}
	for _, op := range ops {
		if why, until := r.d.Gates.Shut(account, string(op)); why != "" {
			return policy.Health{Down: true, Why: why, Until: until}
		}
	}
	return policy.Health{}
}

// refusal says why nothing was ranked: what may pass, what the command can be changed in, or that there is no such account.
func (r *Router) refusal(d policy.Decision) error {
	c, ok := closest(d)
	if !ok {
		return &orders.NoAccountError{Why: "no account of the provider is configured", RetryAfter: time.Minute}
	}
	switch c.Rule {
	case policy.OtherCurrency, policy.BelowLimit, policy.AboveLimit:
		return &orders.FieldError{Field: "/amount/value", Code: c.Rule, Detail: c.Provider + " does not take this amount"}
	case policy.MethodNotOffered:
		return &orders.FieldError{Field: "/methods", Code: "not_offered", Detail: c.Provider + " does not offer every method asked for"}
	case policy.NoPayee, policy.NotInRoute:
		return &orders.NoAccountError{Why: "no account is configured for this merchant", RetryAfter: time.Minute}
	}
	retry := time.Minute
	if !d.RetryAt.IsZero() {
		retry = max(d.RetryAt.Sub(r.d.Now()), time.Second)
	}
	return &orders.NoAccountError{Why: c.Account + ": " + c.Rule, RetryAfter: retry}
}

// closest is the account that came closest to being chosen: one that will serve again, the soonest first, else one that
// another order could have.
func closest(d policy.Decision) (best policy.Considered, ok bool) {
	nearness := []string{
		policy.Maintenance, policy.BreakerOpen, policy.ForcedOpen, policy.Penalty, policy.Tried,
		policy.AboveLimit, policy.BelowLimit, policy.OtherCurrency, policy.MethodNotOffered, policy.NoPayee, policy.NotInRoute,
	}
	for _, c := range d.Receipt.Considered {
		switch {
		case c.Kept:
		case !ok,
			!c.Until.IsZero() && (best.Until.IsZero() || c.Until.Before(best.Until)),
			c.Until.IsZero() && best.Until.IsZero() && slices.Index(nearness, c.Rule) < slices.Index(nearness, best.Rule):
			best, ok = c, true
		}
	}
	return best, ok
}

// offered are the methods to offer at a provider: the wished ones, or where it does not have them all, all of its own.
func offered(d providers.Descriptor, wished []string) []string {
	all := methodCodes(d)
	if len(wished) == 0 || slices.ContainsFunc(wished, func(m string) bool { return !slices.Contains(all, m) }) {
		return all
	}
	return wished
}

func methodCodes(d providers.Descriptor) []string {
	var codes []string
	for _, m := range d.Methods {
		codes = append(codes, m.Code)
	}
	return codes
}

// Providers is the directory in the order of display. merchant and amount narrow what counts as available; empty and nil
// do not. A provider is available if an order that names it would find an account now.
func (r *Router) Providers(merchant string, amount *money.Amount, now time.Time) []providers.Listing {
	w := r.world()
	candidates, rules := r.candidates(w, merchant), r.rules(w)
	var list []providers.Listing
	for _, a := range w.display {
		d := a.Provider.Describe()
		if slices.ContainsFunc(list, func(l providers.Listing) bool { return l.Descriptor.Name == d.Name }) {
			continue
		}
		ask := policy.Ask{Merchant: merchant, Wishes: []string{d.Name}, At: now, ExpiresAt: now.Add(usualLife)}
		if amount != nil {
			ask.Amount = *amount
		} else {
			ask.Amount = money.Zero(d.Currency)
		}
		decision := policy.Choose(rules, unlimited(candidates, amount == nil), ask)
		listing := providers.Listing{Descriptor: d, Available: len(decision.Ranked) > 0, Fee: money.Zero(d.Currency)}
		if !listing.Available {
			c, _ := closest(decision)
			listing.Why, listing.Until = c.Rule, c.Until
		}
		list = append(list, listing)
	}
	return list
}

// usualLife is how long an order lives whose client says nothing else.
const usualLife = 10 * time.Minute

// unlimited takes the limits off the candidates, when no amount is known.
func unlimited(candidates []policy.Candidate, off bool) []policy.Candidate {
	if !off {
		return candidates
	}
	free := slices.Clone(candidates)
	for i := range free {
		free[i].Min, free[i].Max = money.Amount{}, money.Amount{}
	}
	return free
}

// Explain is the decision for a command, without making anything of it.
func (r *Router) Explain(cmd *orders.Command, no orders.OrderNo) (policy.Receipt, error) {
	w := r.world()
	if _, ok := w.merchants[cmd.Merchant]; !ok {
		return policy.Receipt{}, errUnknownMerchant
	}
	now := r.d.Now()
	return r.choose(w, asked{no: no, merchant: cmd.Merchant, total: cmd.Amount, wishes: orders.Wishes{Providers: cmd.Providers, Methods: cmd.Methods}, expiresAt: now.Add(cmd.ExpiresIn)}).Receipt, nil
}

var errUnknownMerchant = errors.New("router: no such merchant is configured")
