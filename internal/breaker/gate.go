package breaker

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Phase is what faults made of a breaker.
type Phase int

// Phases. HalfOpen: one call at a time may find out whether it works again.
const (
	Closed Phase = iota
	HalfOpen
	Open
)

func (p Phase) String() string { return [...]string{"closed", "half_open", "open"}[p] }

var errFault, errExcluded = errors.New("fault"), errors.New("excluded")

// gate is the breaker and the bulkhead of one account's operation.
type gate struct {
	set  *Set
	key  key
	room room

	mu         sync.Mutex // held for moments, never while a call runs or waits; may be held when gobreaker's is taken
	breaker    *gobreaker.TwoStepCircuitBreaker[struct{}]
	phase      Phase
	generation uint64    // rises with each phase: a call counts only in the one that it began in
	since      time.Time // of the phase
	until      time.Time // no probe before this
	opened     int       // times in a row, without a success between
	probe      *call     // under way; nil: none
	probeEnd   time.Time // when it is given up
	tripped    gobreaker.Counts
	asked      time.Time // last call against the advice of others
	lifted     time.Time // that advice is not heeded before this
}

func newGate(s *Set, k key) *gate {
	g := &gate{set: s, key: k, room: newRoom(s.config), since: s.deps.Now()}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests:  1,
		Interval:     s.config.Window,
		BucketPeriod: s.config.Bucket,
		// Not the open time, which until governs: gobreaker has one for all openings, and reads the real clock.
		Timeout:       1,
		ReadyToTrip:   g.trips,
		OnStateChange: func(_ string, _, to gobreaker.State) { g.moved(to) },
		IsSuccessful:  func(err error) bool { return err == nil },
		IsExcluded:    func(err error) bool { return errors.Is(err, errExcluded) },
	})
	return g
}

func (g *gate) refused(why Why, until time.Time) *Refused {
	return &Refused{Account: g.key.account, Op: g.key.op, Why: why, Until: until}
}

// trips is asked by gobreaker after each fault while it is closed.
func (g *gate) trips(n gobreaker.Counts) bool {
	g.tripped = n
	c, ended := g.set.config, uint64(n.TotalSuccesses)+uint64(n.TotalFailures)
	return uint64(n.ConsecutiveFailures) >= uint64(c.Consecutive) ||
		ended >= uint64(c.MinCalls) && uint64(n.TotalFailures)*100 >= ended*uint64(c.FaultPercent)
}

// moved is called by gobreaker, under its lock and ours: it must ask neither.
func (g *gate) moved(to gobreaker.State) {
	now := g.set.deps.Now()
	g.generation++
	g.since = now
	switch to {
	case gobreaker.StateOpen:
		g.phase, g.until = Open, now.Add(g.set.openTime(g.opened))
		g.opened++
	case gobreaker.StateHalfOpen:
		g.phase = HalfOpen
	case gobreaker.StateClosed:
		g.phase, g.opened = Closed, 0
	}
}

// openTime is how long a breaker stays open that opened so many times before: doubled each time, and then less by
// chance, so that the replicas do not all probe at once.
func (s *Set) openTime(before int) time.Duration {
	d := s.config.Open
	for ; before > 0 && d < s.config.MaxOpen; before-- {
		d *= 2
	}
	d = min(d, s.config.MaxOpen)
	return d - time.Duration(s.deps.Rand()%uint64(d/4+1))
}

// settle takes a probe that nobody reported for a fault.
func (g *gate) settle(now time.Time) {
	if g.probe != nil && !now.Before(g.probeEnd) {
		g.probe.report(errFault)
		g.probe = nil
	}
}

// judge says why a call is refused now; an empty reason admits it.
func (g *gate) judge(now time.Time) (Why, time.Time) {
	switch f := g.set.force(g.key, now); f.Mode {
	case ForceOpen:
		return WhyForced, f.Until
	case ForceClosed:
		return "", time.Time{}
	case ForceNone:
	}
	switch {
	case g.phase == Open && now.Before(g.until):
		return WhyOpen, g.until
	case g.probe != nil:
		return WhyProbing, time.Time{}
	case g.phase == Closed:
		if next, advised := g.advised(now); advised && now.Before(next) {
			return WhyAdvice, next
		}
	}
	return "", time.Time{}
}

// look is judge from outside.
func (g *gate) look() (Why, time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.set.deps.Now()
	g.settle(now)
	return g.judge(now)
}

// admit lets a call begin that has its place already.
func (g *gate) admit() (*call, *Refused) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.set.deps.Now()
	g.settle(now)
	if why, until := g.judge(now); why != "" {
		return nil, g.refused(why, until)
	}
	c := &call{gate: g, generation: g.generation}
	switch {
	case g.phase == Closed:
		if _, c.against = g.advised(now); c.against {
			g.asked = now
		}
	case g.set.force(g.key, now).Mode == ForceClosed:
		c.uncounted = true // the breaker finds out by itself, when it may
	default:
		report, err := g.breaker.Allow()
		if err != nil {
			return nil, g.refused(WhyOpen, g.until) // the real clock stood still since it opened
		}
		c.report = report
		g.probe, g.probeEnd = c, now.Add(g.set.config.ProbeMax)
	}
	return c, nil
}

// call is one that was admitted.
type call struct {
	gate       *gate
	generation uint64
	report     func(error) // of a probe; nil: not one
	against    bool        // the advice of others
	uncounted  bool
	ended      bool
}

// done ends the call.
func (c *call) done(r Result) {
	g := c.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	g.room.leave()
	outcome := errExcluded
	switch r {
	case Success:
		outcome = nil
	case Fault:
		outcome = errFault
	case Excluded:
	}
	switch {
	case c.report != nil:
		if g.probe == c { // not given up
			g.probe = nil
			c.report(outcome)
		}
	case c.uncounted || c.generation != g.generation:
	default:
		// Counted when it ends: gobreaker counts by the beginning and ignores what ran longer than its window, so a
		// provider that hangs every long call would never be noticed.
		if report, err := g.breaker.Allow(); err == nil {
			report(outcome)
		}
		if c.against && outcome == nil {
			g.lifted = g.set.deps.Now().Add(g.set.config.Open)
		}
	}
}
