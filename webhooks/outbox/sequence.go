package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Feeds is the part of orders.Outbox that gives events their place in their client's feed.
type Feeds interface {
	Sequence(ctx context.Context, limit int) (int, error)
}

// sequenceBatch bounds one transaction.
const sequenceBatch = 200

// Sequencer numbers committed events. It is safe for concurrent use; the store lets one process at a time do the work.
type Sequencer struct {
	feeds Feeds
	now   func() time.Time
}

// NewSequencer checks its arguments and numbers nothing.
func NewSequencer(feeds Feeds, now func() time.Time) (*Sequencer, error) {
	if feeds == nil || now == nil {
		return nil, errors.New("outbox: a sequencer needs feeds and a clock")
	}
	return &Sequencer{feeds, now}, nil
}

// Step numbers one batch of one client's events and says when to step again: at once after work, else in a second, because
// another process may have committed events without waking this one.
func (s *Sequencer) Step(ctx context.Context) (next time.Time, err error) {
	n, err := s.feeds.Sequence(ctx, sequenceBatch)
	if err != nil {
		return s.now().Add(time.Second), fmt.Errorf("outbox: sequence: %w", err)
	}
	if n == 0 {
		return s.now().Add(time.Second), nil
	}
	return s.now(), nil
}
