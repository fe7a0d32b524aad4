package router

import (
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
)

// Providers is the directory in the order of display. merchant and amount narrow what
// counts as available; empty and nil do not.
func (r *Router) Providers(merchant string, amount *money.Amount, _ time.Time) []providers.Listing {
	var list []providers.Listing
	at := map[string]int{}
	for _, a := range r.display {
		d := a.Provider.Describe()
		why := r.unavailable(a, d, merchant, amount)
		i, listed := at[d.Name]
		if !listed {
			at[d.Name] = len(list)
			list = append(list, providers.Listing{Descriptor: d, Available: why == "", Why: why, Fee: money.Zero(d.Currency)})
			continue
		}
		if why == "" {
			list[i].Available, list[i].Why = true, ""
		}
	}
	return list
}

// unavailable is the code of the rule by which an account cannot serve; empty when it can.
func (r *Router) unavailable(a Account, d providers.Descriptor, merchant string, amount *money.Amount) string {
	if merchant != "" {
		if _, ok := r.merchants[merchant].Payees[a.Name]; !ok {
			return "merchant_not_configured"
		}
	}
	if amount != nil {
		return outside(d, *amount)
	}
	return ""
}

// outside is the code of the limit that an amount breaks; empty when it breaks none.
func outside(d providers.Descriptor, amount money.Amount) string {
	switch {
	case amount.Currency() != d.Currency:
		return "other_currency"
	case d.Min.Currency() != "" && amount.Units() < d.Min.Units():
		return "below_limit"
	case d.Max.Currency() != "" && amount.Units() > d.Max.Units():
		return "above_limit"
	}
	return ""
}
