package sqlstore

import (
	"context"
	"fmt"
	"time"

	"pay.taipei/gateway/orders"
)

// blockSize is how many order numbers a process draws from the database at once. What
// is left of a block when the process ends is lost: numbers have gaps.
const blockSize = 100

// blocks are the process's undrawn order numbers by day. Around midnight, and with
// clocks that go back, two days are in use.
type blocks struct {
	turn  chan struct{} // held by the one goroutine that draws; a channel, so that waiting ends with the context
	byDay map[string]*block
}

type block struct{ next, end int64 }

func newBlocks() blocks {
	return blocks{turn: make(chan struct{}, 1), byDay: map[string]*block{}}
}

// keptDays bounds the memory of blocks; a forgotten block is only a gap.
const keptDays = 4

// DrawOrderNo is documented in orders.Placer.
func (s *Store) DrawOrderNo(ctx context.Context, at time.Time) (orders.OrderNo, error) {
	select {
	case s.blocks.turn <- struct{}{}:
		defer func() { <-s.blocks.turn }()
	case <-ctx.Done():
		return "", unavailable(ctx.Err())
	}
	day := orders.Day(at)
	b := s.blocks.byDay[day]
	if b == nil || b.next == b.end {
		start, err := write(ctx, s, func(u unit) (int64, error) { return u.drawBlock(day, orders.FirstSerial(at)) })
		if err != nil {
			return "", err
		}
		if len(s.blocks.byDay) >= keptDays {
			clear(s.blocks.byDay)
		}
		b = &block{next: start, end: start + blockSize}
		s.blocks.byDay[day] = b
	}
	no, err := orders.NewOrderNo(day, b.next)
	if err == nil {
		b.next++
	}
	return no, err
}

const sqlDrawBlock = `INSERT INTO number_blocks (day, next_serial) VALUES ($1, CAST($2 AS BIGINT) + CAST($3 AS BIGINT))
	ON CONFLICT (day) DO UPDATE SET next_serial =
		CASE WHEN number_blocks.next_serial > $2 THEN number_blocks.next_serial ELSE $2 END + $3
	RETURNING next_serial`

func (u unit) drawBlock(day string, first int64) (start int64, err error) {
	var next int64
	found, err := u.one(sqlDrawBlock, []any{day, first, int64(blockSize)}, &next)
	if err == nil && !found {
		err = fmt.Errorf("sqlstore: no block of order numbers for %s", day)
	}
	return next - blockSize, err
}
