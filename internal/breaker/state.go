package breaker

import (
	"cmp"
	"slices"
	"time"
)

// State is a moment's view of one breaker and its bulkhead.
type State struct {
	Account, Op string

	Phase Phase     // what faults made of it, whatever operators and other replicas say
	Since time.Time // of the phase

	Why   Why       // why a call would be refused now; empty: it would be admitted, if there is room
	Until time.Time // of Why; zero: not known

	Forced  Force // an operator's decision that holds now
	Advised bool  // the replicas say that it is faulty, and that is heeded

	Calls, Faults    int // that ended in the window; not closed: at the moment it opened
	Running, Waiting int // calls under way, and callers that wait for room
}

// Look shows one breaker, for the directory and for choosing an account.
func (s *Set) Look(account, op string) State { return s.gate(key{account, op}).state() }

// States shows all breakers that were asked for so far, sorted by account and operation.
func (s *Set) States() []State {
	var all []State
	for _, g := range *s.gates.Load() {
		all = append(all, g.state())
	}
	slices.SortFunc(all, func(a, b State) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Op, b.Op))
	})
	return all
}

func (g *gate) state() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.set.deps.Now()
	g.settle(now)
	s := State{
		Account: g.key.account, Op: g.key.op, Phase: g.phase, Since: g.since,
		Forced: g.set.force(g.key, now).Mode, Running: len(g.room.places), Waiting: int(g.room.waiting.Load()),
	}
	counts := g.tripped
	switch {
	case g.phase == Closed:
		g.breaker.State() // forgets what left the window; it cannot move a closed one
		counts = g.breaker.Counts()
		_, s.Advised = g.advised(now)
	case g.phase == Open && !now.Before(g.until):
		s.Phase, s.Since = HalfOpen, g.until // gobreaker moves with the next call
	}
	s.Calls, s.Faults = int(counts.TotalSuccesses)+int(counts.TotalFailures), int(counts.TotalFailures)
	s.Why, s.Until = g.judge(now)
	return s
}
