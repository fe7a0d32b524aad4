package redisx

import (
	"sync"
	"time"
)

// hold is how long Redis is left alone after a failure.
const hold = time.Second

// outcome of one operation. The zero value is the cautious one.
type outcome int

const (
	unknown outcome = iota
	good
	bad
)

// guard lets operations through while Redis works. After a failure it lets one through per hold, which finds out
// whether Redis is back; all others are turned away at once. The zero value lets everything through.
type guard struct {
	mu      sync.Mutex
	broken  bool
	until   time.Time // no probe before this
	probing bool
}

// enter says whether an operation may go, and whether it is the probe.
func (g *guard) enter(now time.Time) (probe, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.broken {
		return false, true
	}
	if g.probing || now.Before(g.until) {
		return false, false
	}
	g.probing = true
	return true, true
}

// leave is called once for every operation that was let through.
func (g *guard) leave(probe bool, o outcome, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if probe {
		g.probing = false
	}
	switch o {
	case good:
		g.broken = false
	case bad:
		g.broken, g.until = true, now.Add(hold)
	case unknown:
	}
}

func (g *guard) failed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.broken
}
