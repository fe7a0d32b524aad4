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
// attempt (all of them when n is 5,040 or more), in n random multisets over one and two
// attempts, and in n random histories of refunds, and compares each end with the one that the
// set of evidence alone determines. random makes the sample; a failure names its sequence.
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
	for i := range n {
		w.refundsConverge([]string{fmt.Sprintf("C%014d", i), fmt.Sprintf("D%014d", i)}, random)
	}
}

// refundsConverge pays one or two attempts of an order, makes refunds of them one after the other, and lets everything be
// said of each that can truthfully be said, in any order and repeatedly: the answer to its call, lists of the bank from
// before and after, older lists, older news of the attempts. Each refund ends as it did at the bank, and so does the order.
func (w *world) refundsConverge(billNos []string, random Random) {
	w.Helper()
	b := newBank(random.IntN(2) == 0)
	o := w.add(w.addition(w.place(w.placement(billNos...)).No, inTime))
	var old []orders.Evidence
	for i := range 1 + random.IntN(2) {
		e := said(&o, i+1, orders.AttemptPaid, inTime)
		o = w.apply(e).Order
		old = append(old, e, piece(&o, i*pieces+random.IntN(4), inTime))
	}
	for k := range 1 + random.IntN(4) {
		ordinal, bill := 1, ""
		if len(o.Surplus) > 0 && random.IntN(2) == 0 {
			ordinal, bill = 2, billNos[random.IntN(2)]
		}
		left := o.Refundable(o.Attempts[ordinal-1].No, bill)
		if left.IsZero() {
			continue
		}
		amount := left
		if random.IntN(2) == 0 {
			amount = twd(1 + int64(random.IntN(int(left.Units()))))
		}
		w.refund(&o, ordinal, bill, amount, fmt.Sprint(billNos[0], k))
		_, r := w.send(inTime)
		truth := []orders.RefundState{orders.RefundDone, orders.RefundDone, orders.RefundFailed}[random.IntN(3)]
		says := w.sayings(&o, r, b, truth, random)
		decided := refundsTold(&o, r, inTime, truth == orders.RefundFailed, b.list(r.Attempt)...)
		says = append(says, func() { w.apply(decided) })
		for _, e := range old {
			says = append(says, func() { w.apply(e) })
		}
		says = append(says, says[random.IntN(len(says))], says[random.IntN(len(says))])
		random.Shuffle(len(says), func(i, j int) { says[i], says[j] = says[j], says[i] })
		for _, say := range says {
			say()
		}
		old = append(old, decided)
		o = w.order(o.No)
		w.sound(&o)
		if got := o.RefundByID(r.ID()); got.State != truth || len(o.Cases) > 0 {
			w.Fatalf("refund %s of bill %q, numbered %v: %+v, it was %s; cases %+v", r.ID(), bill, b.numbered, got, truth, o.Cases)
		}
	}
	if len(o.Calls) > 0 && o.Doubt() {
		w.Fatalf("order %s is in doubt", o.No)
	}
}

// sayings are what is said of a refund before the bank has decided and after, and the answer to its call. After that the
// bank has decided.
func (w *world) sayings(o *orders.Order, r orders.Refund, b *bank, truth orders.RefundState, random Random) []func() {
	w.Helper()
	before := refundsTold(o, r, inTime, false, b.list(r.Attempt)...)
	b.take(w, r, orders.RefundUndecided)
	working := refundsTold(o, r, inTime, true, b.list(r.Attempt)...)
	b.refunds[len(b.refunds)-1].state = truth
	part := refundsTold(o, r, inTime, false, b.list(r.Attempt)...)
	part.Fact.RefundsComplete = false
	answer := ends(r, orders.OutcomeUnknown, "")
	switch random.IntN(3) {
	case 0:
		if b.numbered || truth == orders.RefundDone { // else no list tells what became of what it took
			answer.Outcome, answer.State = orders.OutcomeDone, orders.RefundUndecided
		}
	case 1:
		answer.Outcome, answer.State = orders.OutcomeDone, truth
	}
	return []func(){
		func() { w.apply(before) }, func() { w.apply(working) }, func() { w.apply(part) }, func() { w.end(answer) },
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
