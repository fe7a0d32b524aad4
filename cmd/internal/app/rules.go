package app

import (
	"errors"
	"fmt"
	"strings"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/router"
	"pay.taipei/gateway/router/policy"
)

// rulesOf are the configured routes and windows. What is wrong with them is reported with their place.
func rulesOf(c *configs.Config, accounts []router.Account, report func(path string, err error)) policy.Rules {
	var rules policy.Rules
	for _, r := range c.Routes {
		route := policy.Route{Name: r.Name, Merchants: r.Merchants, Accounts: r.Accounts}
		for _, s := range r.Split {
			route.Split = append(route.Split, policy.Share(s))
		}
		rules.Routes = append(rules.Routes, route)
	}
	var places []int // in the file, of the windows that can be read
	for i, w := range c.Calendar {
		window := policy.Window{
			ID: w.ID, Scope: policy.Scope(w.Scope), Name: w.Name, Start: w.StartAt, End: w.EndAt, Ramp: w.RampFor, Reason: w.Reason,
		}
		if w.Daily != nil {
			daily, err := policy.NewDaily(w.Daily.From, w.Daily.To, w.Daily.Weekdays)
			if err != nil {
				report(fmt.Sprintf("calendar[%d].daily", i), err)
				continue
			}
			window.Daily = daily
		}
		rules.Calendar, places = append(rules.Calendar, window), append(places, i)
	}
	known := make([]policy.Account, len(c.Accounts))
	for i, a := range c.Accounts {
		known[i] = policy.Account{Name: a.Name, Provider: a.Adapter}
	}
	for _, a := range accounts { // by its own word, where it could be opened
		for i := range known {
			if known[i].Name == a.Name {
				known[i].Provider = a.Provider.Describe().Name
			}
		}
	}
	merchants := make([]policy.Merchant, len(c.Merchants))
	for i, m := range c.Merchants {
		merchants[i].Code = m.Code
		for name := range m.Payees {
			merchants[i].Accounts = append(merchants[i].Accounts, name)
		}
	}
	for _, p := range policy.Validate(rules, known, merchants) {
		var n int
		if _, err := fmt.Sscanf(p.Path, "calendar[%d]", &n); err == nil {
			_, field, _ := strings.Cut(p.Path, "]")
			p.Path = fmt.Sprintf("calendar[%d]%s", places[n], field)
		}
		report(p.Path, errors.New(p.What))
	}
	return rules
}
