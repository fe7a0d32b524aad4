package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
)

// pieces is everything that can truthfully be said of one attempt.
const pieces = 7

// piece is the i-th thing that may be said: of the first attempt, then of the second.
func piece(o *orders.Order, i int, at time.Time) orders.Evidence {
	state := [pieces]orders.AttemptState{
		orders.AttemptPending, orders.AttemptFailed, orders.AttemptExpired, orders.AttemptCancelled,
		orders.AttemptPaid, orders.AttemptPaid, orders.AttemptPaid,
	}[i%pieces]
	e := said(o, i/pieces+1, state, at)
	switch i % pieces {
	case 2, 6: // what a query brings
		e.Source, e.Purpose = orders.SourceQuery, orders.PurposeAfterDeadline
	case 5: // paid again, told in other words
		e.Fact.Method = "credit_card"
	}
	return e
}

// Converge replays evidence through the store in n permutations of the seven pieces of one
// attempt (all of them when n is 5,040 or more) and in n random multisets over one and two
// attempts, and compares each end with the one that the set of evidence alone determines.
// random makes the sample; a failure names its sequence.
func Converge(t *testing.T, fresh Harness, n int, random Random) {
	t.Helper()
	w := newWorld(t, fresh)
	for i, s := range permutations(n, random) {
		w.converges(fmt.Sprintf("A%014d", i), 1, s)
	}
	for i := range n {
		attempts := 1 + i%2
		s := make([]int, 1+random.IntN(10))
		for k := range s {
			s[k] = random.IntN(attempts * pieces)
		}
		w.converges(fmt.Sprintf("B%014d", i), attempts, s)
	}
}

// Random is a seeded source, such as *rand.Rand of math/rand/v2.
type Random interface {
	IntN(n int) int
	Shuffle(n int, swap func(i, j int))
}

func permutations(n int, random Random) [][]int {
	var all [][]int
	var rise func(s []int, k int)
	rise = func(s []int, k int) {
		if k == len(s) {
			all = append(all, slices.Clone(s))
			return
		}
		for i := k; i < len(s); i++ {
			s[k], s[i] = s[i], s[k]
			rise(s, k+1)
			s[k], s[i] = s[i], s[k]
		}
	}
	rise([]int{0, 1, 2, 3, 4, 5, 6}, 0)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// converges says the pieces of a sequence, lets time pass, and compares.
func (w *world) converges(billNo string, attempts int, sequence []int) {
	w.Helper()
	p := w.placement(billNo)
	if attempts == 2 {
		p = created(p)
	}
	o := w.place(p)
	if attempts == 2 {
		var err error
		o, _, err = w.resume(p, p.LeaseUntil)
		w.ok(err)
	}
	highest := make([]orders.AttemptState, attempts)
	for i, a := range o.Attempts {
		highest[i] = a.State
	}
	for k, i := range sequence {
		w.ok(again(func() error {
			_, err := w.store(k).Apply(w.ctx, piece(&o, i, inTime.Add(time.Duration(k)*time.Hour)))
			return err
		}))
		highest[i/pieces] = max(highest[i/pieces], piece(&o, i, inTime).Fact.State)
	}
	for { // time ends what it alone may end
		if _, err := w.stores[0].SettleNext(w.ctx, tooLate.Add(24*time.Hour)); err != nil {
			w.is(err, orders.ErrNothing)
			break
		}
	}
	b := w.book(o.No)
	paid := 0
	ended := true
	for i, a := range b.Order.Attempts {
		if a.State != highest[i] {
			w.Fatalf("%v: attempt %d is %s, want %s", sequence, i+1, a.State, highest[i])
		}
		ended = ended && a.State.Ended()
		if a.State == orders.AttemptPaid {
			paid++
		}
	}
	want := orders.OrderOpen
	switch {
	case paid > 0:
		want = orders.OrderPaid
	case ended:
		want = orders.OrderExpired
	}
	if b.Order.State != want || (b.Bills[billNo].Paid == o.No) != (paid > 0) || len(b.Order.Surplus) != max(paid-1, 0) {
		w.Fatalf("%v: order %s, want %s; bill %+v; surplus %+v", sequence, b.Order.State, want, b.Bills[billNo], b.Order.Surplus)
	}
}
