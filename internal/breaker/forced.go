package breaker

import "time"

// Force is what an operator does to a breaker.
type Force int

// Forces. The bulkhead stands in all of them.
const (
	ForceNone   Force = iota // the breaker decides; on one operation, also while the account as a whole is forced
	ForceOpen                // no call
	ForceClosed              // calls, whatever faults there are
)

// String is open, closed or nothing.
func (f Force) String() string { return [...]string{"", "open", "closed"}[f] }

// Forced is one decision of an operator.
type Forced struct {
	Account, Op string // Op empty: all of the account's that have no decision of their own
	Mode        Force
	Until       time.Time // ends by itself; zero: holds until it is taken back
}

// SetForced replaces all decisions by list. It may be called as often as one likes with the same list; of two
// decisions about the same the last holds.
func (s *Set) SetForced(list []Forced) {
	all := make(map[key]Forced, len(list))
	for _, f := range list {
		all[key{f.Account, f.Op}] = f
	}
	s.forced.Store(&all)
}

// force is the decision that holds for k now.
func (s *Set) force(k key, now time.Time) Forced {
	all := s.forced.Load()
	if all == nil || len(*all) == 0 {
		return Forced{}
	}
	for _, k := range []key{k, {account: k.account}} {
		if f, ok := (*all)[k]; ok && (f.Until.IsZero() || now.Before(f.Until)) {
			return f
		}
	}
	return Forced{}
}
