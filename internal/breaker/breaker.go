// Package breaker keeps a provider that fails or hangs from holding up everything else: one circuit breaker and one
// bulkhead per account and operation. Accounts and operations are names to it; what a fault is, its caller decides.
//
// An open "create" says nothing about "query": whether money moved must stay possible to ask. Breakers are local. What
// other replicas found is advice, read aside once a second ([Set.Share]); a call never waits for it, and a replica
// believes what it saw itself. An operator may hold a breaker open or closed ([Set.SetForced]).
//
// Counting, tripping and the half-open state are github.com/sony/gobreaker's. The time a breaker stays open, which
// grows, and the end of a probe whose caller never reports are this package's.
package breaker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Config says when breakers open and how many calls run at a time. The zero value is a good one.
type Config struct {
	Replica string // the name of this process among the replicas; required with a Board

	Window       time.Duration // outcomes are forgotten after; zero: 30 s
	Bucket       time.Duration // in steps of; zero: 1 s
	MinCalls     int           // outcomes in the window before the share of faults counts; zero: 20
	FaultPercent int           // share of faults that opens; zero: 50
	Consecutive  int           // faults in a row that open, however few there are; zero: 5

	Open     time.Duration // how long a breaker stays open the first time, less up to a quarter; zero: 10 s
	MaxOpen  time.Duration // it doubles up to this while probes fail; zero: 60 s
	ProbeMax time.Duration // a probe nobody reported is a fault after; longer than any call's deadline; zero: 60 s

	Concurrent int           // calls at a time per account and operation; zero: 64
	Queue      int           // callers that may wait for one of them to end; zero: 32, negative: none
	MaxWait    time.Duration // how long one waits; zero: 100 ms
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value *time.Duration
		zero  time.Duration
	}{
		{&c.Window, 30 * time.Second}, {&c.Bucket, time.Second},
		{&c.Open, 10 * time.Second}, {&c.MaxOpen, time.Minute}, {&c.ProbeMax, time.Minute}, {&c.MaxWait, 100 * time.Millisecond},
	} {
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	for _, n := range []struct {
		value *int
		zero  int
	}{{&c.MinCalls, 20}, {&c.FaultPercent, 50}, {&c.Consecutive, 5}, {&c.Concurrent, 64}, {&c.Queue, 32}} {
		if *n.value == 0 {
			*n.value = n.zero
		}
	}
	c.Queue = max(c.Queue, 0)
	return c
}

func (c Config) check() error {
	switch {
	case min(c.Window, c.Bucket, c.Open, c.MaxOpen, c.ProbeMax, c.MaxWait) < 0:
		return errors.New("a time is negative")
	case min(c.MinCalls, c.FaultPercent, c.Consecutive, c.Concurrent) < 0 || c.FaultPercent > 100:
		return errors.New("a number is negative, or a share above 100 %")
	case c.Bucket > c.Window || c.Open > c.MaxOpen:
		return errors.New("the bucket is longer than the window, or the first opening than the longest")
	}
	return nil
}

// Deps are a set's collaborators. Now and Rand are required; all must be safe for concurrent use. Window and Bucket go
// by the real clock, which gobreaker reads itself.
type Deps struct {
	Now   func() time.Time
	Rand  func() uint64 // jitter of the time a breaker stays open
	Board Board         // nil: this replica is alone
}

// Set is the breakers and bulkheads of all accounts and operations, each made when it is first asked for and kept: use
// it for names from the configuration only. It is safe for concurrent use and starts no goroutine.
type Set struct {
	config Config
	deps   Deps

	adding sync.Mutex
	gates  atomic.Pointer[map[key]*gate] // never changed, only replaced

	forced atomic.Pointer[map[key]Forced]
	advice atomic.Pointer[advice]
}

// key names a gate. An empty op stands for all of the account's.
type key struct{ account, op string }

func (k key) String() string { return k.account + "/" + k.op }

// New checks its arguments. All breakers are closed at first.
func New(config Config, deps Deps) (*Set, error) {
	config = config.withDefaults()
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("breaker: %w", err)
	}
	if deps.Now == nil || deps.Rand == nil || deps.Board != nil && config.Replica == "" {
		return nil, errors.New("breaker: a set needs a clock, a source of jitter, and a name for its replica if there is a board")
	}
	s := &Set{config: config, deps: deps}
	s.gates.Store(&map[key]*gate{})
	return s, nil
}

// Result is what the end of a call tells of the other side's health. The zero value is nothing.
type Result int

// Results. A decline is a Success of the wire. Excluded are callers that hung up and calls that were never made.
const (
	Excluded Result = iota
	Success
	Fault
)

// Why names the reason of a refusal.
type Why string

// Reasons, in the order in which they are looked for.
const (
	WhyForced  Why = "forced_open" // an operator said so
	WhyOpen    Why = "open"        // too many faults
	WhyProbing Why = "probing"     // one call is finding out whether it works again
	WhyAdvice  Why = "advice"      // the other replicas say that it is faulty
	WhyFull    Why = "full"        // too many calls are under way
)

// Refused is the one error of [Set.Enter]: the call must not be made, and nothing was sent.
type Refused struct {
	Account, Op string
	Why         Why
	Until       time.Time // when the answer may be another; zero: not known

	cause error
}

func (r *Refused) Error() string {
	what := map[Why]string{
		WhyForced:  "an operator holds its breaker open",
		WhyOpen:    "its breaker is open after faults",
		WhyProbing: "another call is finding out whether it works again",
		WhyAdvice:  "most replicas find it faulty",
		WhyFull:    "too many calls are under way",
	}[r.Why]
	if r.cause != nil {
		what = "the caller left while waiting for room"
	}
	text := key{r.Account, r.Op}.String() + ": not called: " + what
	if !r.Until.IsZero() {
		text += "; try again at " + r.Until.Format(time.RFC3339)
	}
	return text
}

// Unwrap gives the context's error where the caller left while it waited for room.
func (r *Refused) Unwrap() error { return r.cause }

// Enter admits a call of op at account, or refuses it with a [*Refused]. It waits only for room, and no longer than
// MaxWait and ctx. done must be called when the call has ended, or its place stays taken; only its first use counts.
// The call's own answer does not pass through here, so no breaker can change it.
func (s *Set) Enter(ctx context.Context, account, op string) (done func(Result), err error) {
	g := s.gate(key{account, op})
	if !g.room.try() {
		if why, until := g.look(); why != "" { // nobody queues before a shut door
			return nil, g.refused(why, until)
		}
		if !g.room.wait(ctx, s.config.MaxWait) {
			refused := g.refused(WhyFull, time.Time{})
			refused.cause = ctx.Err()
			return nil, refused
		}
	}
	c, refused := g.admit()
	if refused != nil {
		g.room.leave()
		return nil, refused
	}
	return c.done, nil
}

func (s *Set) gate(k key) *gate {
	if g := (*s.gates.Load())[k]; g != nil {
		return g
	}
	s.adding.Lock()
	defer s.adding.Unlock()
	if g := (*s.gates.Load())[k]; g != nil {
		return g
	}
	g := newGate(s, k)
	all := maps.Clone(*s.gates.Load())
	all[k] = g
	s.gates.Store(&all)
	return g
}
