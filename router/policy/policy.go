// Package policy decides which account gets an order: a pure function of the order, the citizen's wish, the rules, the
// health of the accounts and the calendar. The same input gives the same answer, and every answer says why.
//
// The citizen's wish is never overridden: where providers are named, only their accounts are looked at. Routes order them,
// and choose where no provider is named. Nothing here calls, stores or reads a clock.
//
// Where shares are drawn, the order's number draws: the first eight bytes, big-endian, of the SHA-256 of a use, a colon and
// the order number, modulo the size of what is drawn from. A replay draws alike, and anyone can do it again by hand.
package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/money"
)

// Ask is what an account is wanted for.
type Ask struct {
	OrderNo   string // decides the shares of a split; a replay has the same
	Merchant  string // code; empty: any
	Amount    money.Amount
	Methods   []string // wished; empty: all of the provider's
	Wishes    []string // providers in order of wish; empty: routes decide
	Tried     []string // accounts that this request has tried
	At        time.Time
	ExpiresAt time.Time // of the order
}

// Candidate is an account with everything that the rules look at.
type Candidate struct {
	Account  string
	Provider string
	Payee    bool // the merchant is paid there
	Currency money.Currency
	Min, Max money.Amount // of one order; the zero value: no limit
	Methods  []string
	PageLife time.Duration // how long after it was opened the provider's page takes money; zero: as long as the order
	Health   Health
}

// Health is whether an account can serve now. The zero value is well.
type Health struct {
	Down  bool
	Why   string    // of one that is down: a rule's code, such as breaker_open
	Until time.Time // zero: not known
}

// Rules are what is configured, and what operators have set since.
type Rules struct {
	Routes   []Route
	Calendar Calendar
}

// Route is a rule for choosing accounts: the first that fits the merchant decides. Exactly one of Accounts and Split is set.
type Route struct {
	Name      string
	Merchants []string // empty: all
	Accounts  []string // in order of preference
	Split     []Share  // adds up to 100
}

// Share is a part of the orders, in percent.
type Share struct {
	Account string
	Percent int
}

// Choice is an account that may serve.
type Choice struct {
	Account string
	Methods []string // to offer
}

// Decision is the accounts that may serve, the best first, and why.
type Decision struct {
	Ranked  []Choice
	Receipt Receipt
	RetryAt time.Time // when the first of those may serve that a passing obstacle keeps out; zero: not known
}

// The codes of the rules by which an account is kept out.
const (
	NotInRoute       = "not_in_route"
	NoPayee          = "merchant_not_configured"
	OtherCurrency    = "other_currency"
	BelowLimit       = "below_limit"
	AboveLimit       = "above_limit"
	MethodNotOffered = "method_not_offered"
	Tried            = "tried"
	Maintenance      = "maintenance"
	BreakerOpen      = "breaker_open"
	ForcedOpen       = "forced_open"
	Penalty          = "penalty"
)

// Choose ranks the accounts that may serve, in this order: the citizen's order of wish, accounts that are not coming back
// from maintenance, the route, the order of display.
func Choose(rules Rules, candidates []Candidate, ask Ask) Decision {
	route := rules.route(ask.Merchant)
	d := Decision{Receipt: Receipt{At: ask.At, OrderNo: ask.OrderNo, Wishes: ask.Wishes, Considered: []Considered{}}}
	if route != nil {
		d.Receipt.Route = route.Name
	}
	var kept []ranking
	for i, c := range candidates {
		wish := slices.Index(ask.Wishes, c.Provider)
		if len(ask.Wishes) > 0 && wish < 0 {
			continue
		}
		verdict := rules.judge(&c, &ask, route)
		d.Receipt.Considered = append(d.Receipt.Considered, verdict)
		if verdict.Kept {
			kept = append(kept, ranking{candidate: &candidates[i], wish: wish, ramp: rules.ramping(&c, &ask), display: i})
			continue
		}
		if !verdict.Until.IsZero() && (d.RetryAt.IsZero() || verdict.Until.Before(d.RetryAt)) {
			d.RetryAt = verdict.Until
		}
	}
	place(kept, route, ask.OrderNo)
	slices.SortFunc(kept, ranking.compare)
	for rank, k := range kept {
		d.Ranked = append(d.Ranked, Choice{k.candidate.Account, methods(k.candidate, ask.Methods)})
		i := slices.IndexFunc(d.Receipt.Considered, func(c Considered) bool { return c.Account == k.candidate.Account })
		d.Receipt.Considered[i].Rank = rank + 1
		if k.ramp {
			d.Receipt.Considered[i].Detail = "comes back from maintenance by and by"
		}
	}
	return d
}

// ranking is where a kept account stands.
type ranking struct {
	candidate *Candidate
	wish      int
	ramp      bool // behind those that are not coming back
	route     int
	display   int
}

func (a ranking) compare(b ranking) int {
	ramps := 0
	if a.ramp != b.ramp {
		ramps = 1
		if b.ramp {
			ramps = -1
		}
	}
	return cmp.Or(cmp.Compare(a.wish, b.wish), ramps, cmp.Compare(a.route, b.route), cmp.Compare(a.display, b.display))
}

func (r *Rules) route(merchant string) *Route {
	for i := range r.Routes {
		if m := r.Routes[i].Merchants; len(m) == 0 || slices.Contains(m, merchant) {
			return &r.Routes[i]
		}
	}
	return nil
}

// place gives each kept account its place in the route: that of the list, or for a split first the one that the order's
// number draws and the rest as they are listed. Accounts that the route does not name come last. It draws apart among the
// accounts of each wished provider, and among those that come back from maintenance: they are ranked apart too.
func place(kept []ranking, route *Route, orderNo string) {
	if route == nil {
		return
	}
	listed := route.names()
	for i := range kept {
		if kept[i].route = slices.Index(listed, kept[i].candidate.Account); kept[i].route < 0 {
			kept[i].route = len(listed)
		}
	}
	type group struct {
		wish int
		ramp bool
	}
	led := map[group]bool{}
	for _, account := range draw(route.Split, orderNo) {
		i := slices.IndexFunc(kept, func(k ranking) bool { return k.candidate.Account == account })
		if i < 0 {
			continue
		}
		if of := (group{kept[i].wish, kept[i].ramp}); !led[of] {
			kept[i].route, led[of] = -1, true
		}
	}
}

func (r *Route) names() []string {
	names := slices.Clone(r.Accounts)
	for _, s := range r.Split {
		names = append(names, s.Account)
	}
	return names
}

// draw puts the accounts of a split in the order in which an order's number draws them: one after the other without putting
// back, each with the chance of its percent among those that are left. Who can serve plays no part in it, so that the first
// of any that can serve is drawn by its percent among them, and an account that goes takes nobody's orders along but its own.
func draw(split []Share, orderNo string) []string {
	left := slices.DeleteFunc(slices.Clone(split), func(s Share) bool { return s.Percent <= 0 })
	total := 0
	for _, s := range left {
		total += s.Percent
	}
	var drawn []string
	for len(left) > 0 {
		point, i := hash(fmt.Sprintf("split/%d", len(drawn)), orderNo, total), 0
		for ; point >= left[i].Percent; i++ {
			point -= left[i].Percent
		}
		total -= left[i].Percent
		drawn = append(drawn, left[i].Account)
		left = slices.Delete(left, i, i+1)
	}
	return drawn
}

// hash is a number below n that depends on the order's number alone, for each use apart.
func hash(use, orderNo string, n int) int {
	sum := sha256.Sum256([]byte(use + ":" + orderNo))
	return int(binary.BigEndian.Uint64(sum[:8]) % uint64(n))
}

// judge says whether an account may serve, and by which rule not.
func (r *Rules) judge(c *Candidate, ask *Ask, route *Route) Considered {
	v := Considered{Account: c.Account, Provider: c.Provider}
	until := ask.At.Add(validity(c, ask))
	closed, inWindow := r.Calendar.Closed(Subject{c.Account, c.Provider, ask.Merchant}, ask.At, until)
	switch {
	case len(ask.Wishes) == 0 && route != nil && !slices.Contains(route.names(), c.Account):
		v.Rule = NotInRoute
	case !c.Payee:
		v.Rule = NoPayee
	case ask.Amount.Currency() != c.Currency:
		v.Rule = OtherCurrency
	case c.Min.Currency() != "" && ask.Amount.Units() < c.Min.Units():
		v.Rule, v.Detail = BelowLimit, c.Min.String()
	case c.Max.Currency() != "" && ask.Amount.Units() > c.Max.Units():
		v.Rule, v.Detail = AboveLimit, c.Max.String()
	case slices.ContainsFunc(ask.Methods, func(m string) bool { return !slices.Contains(c.Methods, m) }):
		v.Rule = MethodNotOffered
	case slices.Contains(ask.Tried, c.Account):
		v.Rule = Tried
	case inWindow:
		v.Rule, v.Until, v.Detail = Maintenance, closed.End, closed.Window.ID
	case c.Health.Down:
		v.Rule, v.Until = c.Health.Why, c.Health.Until
	default:
		v.Kept = true
	}
	return v
}

// validity is how long a redirect made now may be used: no longer than the order lives, nor than the provider's page.
func validity(c *Candidate, ask *Ask) time.Duration {
	life := ask.ExpiresAt.Sub(ask.At)
	if c.PageLife > 0 && c.PageLife < life {
		life = c.PageLife
	}
	return max(life, time.Nanosecond)
}

// ramping says whether an account that comes back from maintenance is spared this order: its share grows from nothing to
// all of them while the ramp lasts.
func (r *Rules) ramping(c *Candidate, ask *Ask) bool {
	const steps = 1 << 20
	ended, ok := r.Calendar.ended(Subject{c.Account, c.Provider, ask.Merchant}, ask.At)
	if !ok {
		return false
	}
	share := int64(ask.At.Sub(ended.End)) / max(int64(ended.Window.Ramp)/steps, 1)
	return int64(hash("ramp:"+c.Account, ask.OrderNo, steps)) >= share
}

// methods are the methods to offer: the wished ones, without a wish all of the account's.
func methods(c *Candidate, wished []string) []string {
	if len(wished) == 0 {
		return c.Methods
	}
	return wished
}
