package policy

import (
	"slices"
	"time"
)

// taipei has had no daylight saving time since 1979.
var taipei = time.FixedZone("Asia/Taipei", 8*60*60)

// Calendar is a list of maintenance windows.
type Calendar []Window

// Window is a time in which nobody is sent to what it names. Either Daily or Start is set.
type Window struct {
	ID     string
	Scope  Scope
	Name   string // of the account, the provider or the merchant
	Daily  *Daily
	Start  time.Time
	End    time.Time     // zero: until further notice
	Ramp   time.Duration // after its end: for so long traffic comes back by and by
	Reason string
}

// Scope says what a window is of.
type Scope string

// The scopes of a window. An agency's window closes every account for its bills.
const (
	ScopeAccount  Scope = "account"
	ScopeProvider Scope = "provider"
	ScopeMerchant Scope = "merchant"
)

// Daily is a time of each day in Taipei. To at or before From is of the next day.
type Daily struct {
	From, To TimeOfDay
	Weekdays []time.Weekday // of its beginning; empty: every day
}

// TimeOfDay is minutes since midnight.
type TimeOfDay int

// Subject is whom an order would go to, and for whom.
type Subject struct{ Account, Provider, Merchant string }

// Occurrence is one time that a window is on.
type Occurrence struct {
	Window     *Window
	Start, End time.Time // End is zero until further notice
}

func (w *Window) of(s Subject) bool {
	switch w.Scope {
	case ScopeAccount:
		return w.Name == s.Account
	case ScopeProvider:
		return w.Name == s.Provider
	case ScopeMerchant:
		return w.Name == s.Merchant
	}
	return false
}

// Closed is a window of the subject that is on at any moment of from to until, which is not part of it. Of several it is the
// one that is over last.
func (c Calendar) Closed(s Subject, from, until time.Time) (last Occurrence, on bool) {
	for i := range c {
		if !c[i].of(s) {
			continue
		}
		for _, o := range c[i].occurrences(from, until) {
			if !on || o.End.IsZero() || (!last.End.IsZero() && o.End.After(last.End)) {
				last, on = o, true
			}
		}
	}
	return last, on
}

// Now is a window of the subject that is on at a moment.
func (c Calendar) Now(s Subject, at time.Time) (Occurrence, bool) {
	return c.Closed(s, at, at.Add(time.Nanosecond))
}

// ended is the window of the subject whose ramp lasts longest at a moment.
func (c Calendar) ended(s Subject, at time.Time) (last Occurrence, ramping bool) {
	for i := range c {
		w := &c[i]
		if !w.of(s) || w.Ramp <= 0 {
			continue
		}
		for _, o := range w.occurrences(at.Add(-w.Ramp-time.Nanosecond), at) {
			if o.End.IsZero() || o.End.After(at) || !at.Before(o.End.Add(w.Ramp)) {
				continue
			}
			if !ramping || o.End.Add(w.Ramp).After(last.End.Add(last.Window.Ramp)) {
				last, ramping = o, true
			}
		}
	}
	return last, ramping
}

// occurrences are the times the window is on that have a moment in common with from to until.
func (w *Window) occurrences(from, until time.Time) []Occurrence {
	var list []Occurrence
	add := func(o Occurrence) {
		if o.Start.Before(until) && (o.End.IsZero() || o.End.After(from)) {
			list = append(list, o)
		}
	}
	if w.Daily == nil {
		add(Occurrence{w, w.Start, w.End})
		return list
	}
	local := from.In(taipei)
	day := time.Date(local.Year(), local.Month(), local.Day()-1, 0, 0, 0, 0, taipei) // one that began yesterday may be on
	for ; day.Before(until); day = day.AddDate(0, 0, 1) {
		if d := w.Daily; len(d.Weekdays) == 0 || slices.Contains(d.Weekdays, day.Weekday()) {
			add(Occurrence{w, day.Add(d.From.since()), day.Add(d.end())})
		}
	}
	return list
}

func (t TimeOfDay) since() time.Duration { return time.Duration(t) * time.Minute }

// end is when it is over, counted from the midnight before its beginning.
func (d *Daily) end() time.Duration {
	if d.To <= d.From {
		return d.To.since() + 24*time.Hour
	}
	return d.To.since()
}
