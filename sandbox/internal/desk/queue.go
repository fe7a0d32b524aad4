package desk

import (
	"slices"
	"sync"
	"time"
)

// Queue holds what is to be delivered, each at its time. The zero value is empty; it is safe for concurrent use.
type Queue[T any] struct {
	mu    sync.Mutex
	items []*queued[T]
}

type queued[T any] struct {
	item T
	due  time.Time
	busy bool // a Step delivers it
}

// Add queues an item.
func (q *Queue[T]) Add(item T, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, &queued[T]{item: item, due: due})
}

// Step delivers at most one item that is due now, and says when the next one is; the zero time when none waits. No item is
// delivered twice at a time. deliver says when it is due again; the zero time: never. Its error is Step's.
func (q *Queue[T]) Step(now time.Time, deliver func(T) (again time.Time, err error)) (next time.Time, err error) {
	first := q.claim(now)
	if first == nil {
		return q.next(), nil
	}
	again, err := deliver(first.item)
	q.mu.Lock()
	first.due, first.busy = again, false
	if again.IsZero() {
		q.items = slices.DeleteFunc(q.items, func(other *queued[T]) bool { return other == first })
	}
	q.mu.Unlock()
	return q.next(), err
}

func (q *Queue[T]) claim(now time.Time) *queued[T] {
	q.mu.Lock()
	defer q.mu.Unlock()
	var first *queued[T]
	for _, i := range q.items {
		if !i.busy && !i.due.After(now) && (first == nil || i.due.Before(first.due)) {
			first = i
		}
	}
	if first != nil {
		first.busy = true
	}
	return first
}

func (q *Queue[T]) next() (next time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, i := range q.items {
		if !i.busy && (next.IsZero() || i.due.Before(next)) {
			next = i.due
		}
	}
	return next
}
