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
	return held(ctx, s, h, func(u unit) (orders.Order, error) {
		return u.hand(orders.Handing{Order: no, Attempt: a, Again: true, Now: now})
	})
}

func (s *Store) ClaimConfirmHeld(ctx context.Context, a orders.AttemptNo, now time.Time, h *Hold) error {
	return held(ctx, s, h, func(u unit) (orders.Call, error) { return u.claimConfirm(a, now) })
}

func (s *Store) ResumeHeld(ctx context.Context, r orders.Resumption, h *Hold) error {
	return held(ctx, s, h, func(u unit) (resumed, error) { return u.resume(r) })
}

func (s *Store) AddAttemptHeld(ctx context.Context, a orders.Addition, h *Hold) error {
	return held(ctx, s, h, func(u unit) (orders.Order, error) { return u.addNext(a) })
}

func (s *Store) CancelHeld(ctx context.Context, c orders.Cancellation, h *Hold) error {
	return held(ctx, s, h, func(u unit) (orders.Order, error) { return u.cancel(c) })
}

func (s *Store) ApplyHeld(ctx context.Context, e orders.Evidence, h *Hold) error {
	return held(ctx, s, h, func(u unit) (orders.Applied, error) { return u.apply(storable(e)) })
}

func (s *Store) AskRefundHeld(ctx context.Context, r orders.RefundRequest, h *Hold) error {
	return held(ctx, s, h, func(u unit) (orders.Order, error) { return u.askRefund(r) })
}

// HoldNumbers makes every draw wait until it is released.
func (s *Store) HoldNumbers() (release func()) {
	s.blocks.turn <- struct{}{}
	return func() { <-s.blocks.turn }
}
