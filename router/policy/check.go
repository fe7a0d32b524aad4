package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Account and Merchant are what rules may name.
type (
	Account struct{ Name, Provider string }
	// Merchant is an agency and the accounts at which it is paid.
	Merchant struct {
		Code     string
		Accounts []string
	}
)

// Problem is one thing wrong with rules.
type Problem struct {
	Path string // such as routes[0].split[1].account
	What string
}

// Validate finds everything that is wrong with rules.
func Validate(r Rules, accounts []Account, merchants []Merchant) []Problem {
	v := checker{accounts: accounts, merchants: merchants}
	names := map[string]bool{}
	for i := range r.Routes {
		at := fmt.Sprintf("routes[%d]", i)
		if name := r.Routes[i].Name; name == "" || names[name] {
			v.add(at+".name", "want a name of its own")
		}
		names[r.Routes[i].Name] = true
		v.route(at, &r.Routes[i])
	}
	for _, m := range merchants {
		if route := r.route(m.Code); route != nil && !slices.ContainsFunc(route.names(), func(a string) bool { return slices.Contains(m.Accounts, a) }) {
			v.add(fmt.Sprintf("routes[%d]", slices.IndexFunc(r.Routes, func(x Route) bool { return x.Name == route.Name })),
				"leaves merchant %s without an account: none of the route's has a member id of it", m.Code)
		}
	}
	ids := map[string]bool{}
	for i := range r.Calendar {
		w, at := &r.Calendar[i], fmt.Sprintf("calendar[%d]", i)
		if w.ID == "" || ids[w.ID] {
			v.add(at+".id", "want an id of its own")
		}
		ids[w.ID] = true
		v.window(at, w)
		for j := range i {
			if w.Overlaps(&r.Calendar[j]) {
				v.add(at, "overlaps %s", r.Calendar[j].ID)
			}
		}
	}
	return v.problems
}

type checker struct {
	accounts  []Account
	merchants []Merchant
	problems  []Problem
}

func (v *checker) add(path, format string, args ...any) {
	v.problems = append(v.problems, Problem{path, fmt.Sprintf(format, args...)})
}

func (v *checker) account(name string) bool {
	return slices.ContainsFunc(v.accounts, func(a Account) bool { return a.Name == name })
}

func (v *checker) merchant(code string) bool {
	return slices.ContainsFunc(v.merchants, func(m Merchant) bool { return m.Code == code })
}

func (v *checker) route(at string, r *Route) {
	for i, m := range r.Merchants {
		switch {
		case !v.merchant(m):
			v.add(fmt.Sprintf("%s.merchants[%d]", at, i), "no such merchant is configured")
		case slices.Contains(r.Merchants[:i], m):
			v.add(fmt.Sprintf("%s.merchants[%d]", at, i), "stands here twice")
		}
	}
	if (len(r.Accounts) > 0) == (len(r.Split) > 0) {
		v.add(at, "want exactly one of accounts and split")
	}
	seen, sum := map[string]bool{}, 0
	named := func(path, account string) {
		switch {
		case !v.account(account):
			v.add(path, "no such account is configured")
		case seen[account]:
			v.add(path, "stands here twice")
		}
		seen[account] = true
	}
	for i, a := range r.Accounts {
		named(fmt.Sprintf("%s.accounts[%d]", at, i), a)
	}
	for i, s := range r.Split {
		named(fmt.Sprintf("%s.split[%d].account", at, i), s.Account)
		if s.Percent < 0 || s.Percent > 100 {
			v.add(fmt.Sprintf("%s.split[%d].percent", at, i), "want 0 to 100")
		}
		sum += s.Percent
	}
	if len(r.Split) > 0 && sum != 100 {
		v.add(at+".split", "the shares add up to %d, want 100", sum)
	}
}

func (v *checker) window(at string, w *Window) {
	var known bool
	switch w.Scope {
	case ScopeAccount:
		known = v.account(w.Name)
	case ScopeProvider:
		known = slices.ContainsFunc(v.accounts, func(a Account) bool { return a.Provider == w.Name })
	case ScopeMerchant:
		known = v.merchant(w.Name)
	default:
		v.add(at+".scope", "want account, provider or merchant")
		known = true
	}
	if !known {
		v.add(at+".name", "no such %s is configured", w.Scope)
	}
	if field, what := w.wrong(); what != "" {
		v.add(strings.TrimSuffix(at+"."+field, "."), "%s", what)
	}
}

// Check says what is wrong with a window by itself. The error begins with the field, where it is about one.
func (w *Window) Check() error {
	field, what := w.wrong()
	switch {
	case what == "":
		return nil
	case field == "":
		return errors.New(what)
	}
	return errors.New(field + ": " + what)
}

// wrong is what is wrong with a window by itself, and in which field.
func (w *Window) wrong() (field, what string) {
	switch {
	case (w.Daily != nil) == !w.Start.IsZero():
		return "", "want either daily or start"
	case w.Daily != nil && !w.End.IsZero():
		return "end", "a daily window has no end"
	case w.Daily != nil && w.Daily.From == w.Daily.To:
		return "daily.to", "a daily window cannot last the whole day: want another time"
	case w.Daily == nil && !w.End.IsZero() && !w.End.After(w.Start):
		return "end", "ends before it starts: want a time after start"
	case w.Ramp < 0 || w.Ramp > maxRamp:
		return "ramp", "want at most 24h"
	case len(w.Reason) > maxReason:
		return "reason", fmt.Sprintf("want at most %d bytes", maxReason)
	case len(w.ID) > maxID:
		return "id", fmt.Sprintf("want at most %d bytes", maxID)
	}
	return "", ""
}

const (
	maxRamp   = 24 * time.Hour
	maxReason = 200
	maxID     = 64 // it stands in receipts
)

// Overlaps says whether two windows of the same subject are ever on together. A window that is on once may lie over a daily
// one: that is how an operator lengthens it.
func (w *Window) Overlaps(other *Window) bool {
	if w.Scope != other.Scope || w.Name != other.Name || (w.Daily == nil) != (other.Daily == nil) {
		return false
	}
	if w.Daily == nil {
		return (w.End.IsZero() || other.Start.Before(w.End)) && (other.End.IsZero() || w.Start.Before(other.End))
	}
	// A week from a Monday, with what began on the day before it.
	monday := time.Date(2026, time.January, 5, 0, 0, 0, 0, taipei)
	for _, o := range w.occurrences(monday, monday.AddDate(0, 0, 7)) {
		if len(other.occurrences(o.Start, o.End)) > 0 {
			return true
		}
	}
	return false
}

// NewDaily reads a daily time. The error begins with the field: from, to or weekdays.
func NewDaily(from, to string, days []string) (*Daily, error) {
	var d Daily
	var err error
	if d.From, err = ParseTimeOfDay(from); err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	if d.To, err = ParseTimeOfDay(to); err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	for _, day := range days {
		i := slices.Index(weekdays(), day)
		if i < 0 || slices.Contains(d.Weekdays, time.Weekday(i)) {
			return nil, errors.New("weekdays: want mon, tue, wed, thu, fri, sat or sun, each once")
		}
		d.Weekdays = append(d.Weekdays, time.Weekday(i))
	}
	return &d, nil
}

// weekdays are the names of time.Weekday's days.
func weekdays() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

var timeOfDay = regexp.MustCompile(`^([01][0-9]|2[0-3]):[0-5][0-9]$`)

// ParseTimeOfDay reads "HH:MM".
func ParseTimeOfDay(text string) (TimeOfDay, error) {
	if !timeOfDay.MatchString(text) {
		return 0, errors.New("want HH:MM")
	}
	hour, minute, _ := strings.Cut(text, ":")
	h, errHour := strconv.Atoi(hour)
	m, errMinute := strconv.Atoi(minute)
	return TimeOfDay(h*60 + m), errors.Join(errHour, errMinute)
}

// String is "HH:MM".
func (t TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", int(t)/60, int(t)%60) }
