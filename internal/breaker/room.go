package breaker

import (
	"context"
	"sync/atomic"
	"time"
)

// room is a bulkhead: places for calls, and a short queue in front of it.
type room struct {
	places  chan struct{} // full: all taken; those who wait are served in turn
	waiting atomic.Int32
	queue   int32
}

func newRoom(c Config) room {
	return room{places: make(chan struct{}, c.Concurrent), queue: int32(c.Queue)}
}

// try takes a place if one is free.
func (r *room) try() bool {
	select {
	case r.places <- struct{}{}:
		return true
	default:
		return false
	}
}

// wait takes a place as soon as one is free, within limit and ctx, unless too many wait already.
func (r *room) wait(ctx context.Context, limit time.Duration) bool {
	defer r.waiting.Add(-1)
	if r.waiting.Add(1) > r.queue {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case r.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *room) leave() { <-r.places }
