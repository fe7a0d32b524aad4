package breaker

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	shareEvery = time.Second
	boardLimit = time.Second     // of one call of the board
	voteLife   = 5 * time.Second // of what a replica published, should it die
	adviceLife = 3 * time.Second // of what was read, should it not be read again
)

// Board is where replicas tell each other which of their breakers are open, each as "account/operation".
type Board interface {
	// Publish replaces what replica said, and keeps it for ttl. An empty list says that it lives.
	Publish(ctx context.Context, replica string, open []string, ttl time.Duration) error
	// Read counts the replicas that live, and by breaker those that say it is open.
	Read(ctx context.Context) (live int, votes map[string]int, err error)
}

// advice is what the replicas say together; never changed, only replaced.
type advice struct {
	open  map[key]time.Time // since when
	until time.Time         // then it is forgotten
}

// Share is a step: it publishes which breakers this replica itself found open, reads what all replicas say, and returns
// when to do it again; the zero time without a board. Advice to refuse takes at least two replicas and half of those
// that live. It lapses 3 s after the board was last read; an error means no more than that. One goroutine at a time
// calls it.
func (s *Set) Share(ctx context.Context) (time.Time, error) {
	if s.deps.Board == nil {
		return time.Time{}, nil
	}
	next := s.deps.Now().Add(shareEvery)
	if err := s.publish(ctx); err != nil {
		return next, fmt.Errorf("breaker: publish: %w", err)
	}
	if err := s.read(ctx); err != nil {
		return next, fmt.Errorf("breaker: read advice: %w", err)
	}
	return next, nil
}

func (s *Set) publish(ctx context.Context) error {
	var open []string
	for k, g := range *s.gates.Load() {
		if g.found() {
			open = append(open, k.String())
		}
	}
	slices.Sort(open)
	ctx, cancel := context.WithTimeout(ctx, boardLimit)
	defer cancel()
	return s.deps.Board.Publish(ctx, s.config.Replica, open, voteLife)
}

// found says whether the breaker is open for what its own calls met. Neither a decision of an operator nor advice
// counts, or advice would keep itself alive; nor does one that only waits for a call to probe with.
func (g *gate) found() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.set.deps.Now()
	g.settle(now)
	return g.phase == Open && now.Before(g.until) || g.probe != nil
}

func (s *Set) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, boardLimit)
	defer cancel()
	live, votes, err := s.deps.Board.Read(ctx)
	if err != nil {
		return err
	}
	now := s.deps.Now()
	before := s.advice.Load()
	after := advice{open: map[key]time.Time{}, until: now.Add(adviceLife)}
	for name, n := range votes {
		account, op, ok := strings.Cut(name, "/")
		if k := (key{account, op}); ok && n >= quorum(live) {
			after.open[k] = now
			if since, had := before.says(k, now); had {
				after.open[k] = since
			}
		}
	}
	s.advice.Store(&after)
	return nil
}

// quorum is how many of so many replicas have to agree: one bad node must not shut the others out.
func quorum(live int) int { return max(2, (live+1)/2) }

// says tells since when the replicas find k faulty.
func (a *advice) says(k key, now time.Time) (since time.Time, ok bool) {
	if a == nil || len(a.open) == 0 || !now.Before(a.until) {
		return time.Time{}, false
	}
	since, ok = a.open[k]
	return since, ok
}

// advised says whether the gate heeds advice to refuse, and when it makes a call all the same: once per Open, so that
// recovery is found. A call that succeeds against advice lifts it for as long.
func (g *gate) advised(now time.Time) (next time.Time, ok bool) {
	since, ok := g.set.advice.Load().says(g.key, now)
	if !ok || now.Before(g.lifted) {
		return time.Time{}, false
	}
	if g.asked.After(since) {
		since = g.asked
	}
	return since.Add(g.set.config.Open), true
}
