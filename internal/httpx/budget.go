package httpx

import (
	"sync"
	"time"
)

const (
	budgetHalf  = 30 * time.Second // of what a budget remembers
	budgetFloor = 3                // repeats for a client that sends little
	budgetShare = 10               // first sends for each further repeat
)

// budget bounds the repeats of one client by its first sends, over the last half to whole minute. The zero value is ready.
type budget struct {
	mu          sync.Mutex
	began       time.Time // of the present half
	now, before tally
}

type tally struct{ firsts, repeats int }

// first counts a query's first send.
func (b *budget) first(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(at)
	b.now.firsts++
}

// repeat takes one repeat if there is one left.
func (b *budget) repeat(at time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn(at)
	left := budgetFloor + (b.before.firsts+b.now.firsts)/budgetShare - b.before.repeats - b.now.repeats
	if left <= 0 {
		return false
	}
	b.now.repeats++
	return true
}

// turn forgets what is older than two halves. A clock that is set back forgets nothing.
func (b *budget) turn(at time.Time) {
	switch passed := at.Sub(b.began); {
	case passed >= 2*budgetHalf:
		b.began, b.now, b.before = at, tally{}, tally{}
	case passed >= budgetHalf:
		b.began, b.now, b.before = b.began.Add(budgetHalf), tally{}, b.now
	}
}
