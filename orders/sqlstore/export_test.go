package sqlstore

import (
	"context"
	"sync"
	"time"

	"pay.taipei/gateway/orders"
)

// Hold keeps a verb's transaction open between its last statement and its commit.
type Hold struct {
	ran, release chan struct{}
	once         sync.Once
}

// NewHold makes a hold for one transaction.
func NewHold() *Hold { return &Hold{ran: make(chan struct{}), release: make(chan struct{})} }

// Ran is closed when the verb has run.
func (h *Hold) Ran() <-chan struct{} { return h.ran }

// Release lets the transaction commit.
func (h *Hold) Release() { close(h.release) }

func held[T any](ctx context.Context, s *Store, h *Hold, verb func(unit) (T, error)) error {
	_, err := write(ctx, s, func(u unit) (T, error) {
		v, err := verb(u)
		h.once.Do(func() { close(h.ran) })
		<-h.release
		return v, err
	})
	return err
}

func (s *Store) PlaceHeld(ctx context.Context, p orders.Placement, h *Hold) error {
	return held(ctx, s, h, func(u unit) (orders.Order, error) { return u.place(p) })
}

func (s *Store) HandHeld(ctx context.Context, no orders.OrderNo, a orders.AttemptNo, now time.Time, h *Hold) error {
	return held(ctx, s, h, func(u unit) (orders.Order, error) { return u.hand(no, a, true, now) })
}

func (s *Store) ClaimConfirmHeld(ctx context.Context, a orders.AttemptNo, now time.Time, h *Hold) error {
	return held(ctx, s, h, func(u unit) (orders.Call, error) { return u.claimConfirm(a, now) })
}

func (s *Store) ResumeHeld(ctx context.Context, r orders.Resumption, h *Hold) error {
	return held(ctx, s, h, func(u unit) (resumed, error) { return u.resume(r) })
}

// HoldNumbers makes every draw wait until it is released.
func (s *Store) HoldNumbers() (release func()) {
	s.blocks.turn <- struct{}{}
	return func() { <-s.blocks.turn }
}
