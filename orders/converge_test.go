package orders_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
)

// pieces is everything that can truthfully be said of one attempt.
var pieces = []struct {
	name  string
	state orders.AttemptState
	make  func(*orders.Evidence)
}{
	{"pending", pending, func(*orders.Evidence) {}},
	{"failed", failed, func(*orders.Evidence) {}},
	{"expired", expired, func(e *orders.Evidence) { e.Source, e.Purpose = orders.SourceQuery, orders.PurposeAfterDeadline }},
	{"cancelled", cancelled, func(*orders.Evidence) {}},
	{"paid", paid, func(*orders.Evidence) {}},
	{"paid again", paid, func(e *orders.Evidence) { e.Nonce = "again"; e.Fact.Method = "credit_card" }},
	{"query-paid", paid, func(e *orders.Evidence) { e.Source, e.Purpose = orders.SourceQuery, orders.PurposeLife }},
}

// piece i is said of attempt i / 7.
func piece(no orders.OrderNo, i int, at time.Time) orders.Evidence {
	p := pieces[i%len(pieces)]
	e := said(no, i/len(pieces)+1, p.state, at)
	p.make(&e)
	return e
}

func names(sequence []int) string {
	var s string
	for _, i := range sequence {
		s += fmt.Sprintf("%d:%s ", i/len(pieces)+1, pieces[i%len(pieces)].name)
	}
	return s
}

// ending is what must not depend on the order or the repetition of evidence.
type ending struct {
	state         orders.OrderState
	attempts      string
	paid, surplus int64 // of each bill; both bills of an order fare alike
}

// joined is the ending computed from the set of evidence alone: each attempt stands at
// the highest rank that was told of it.
func joined(attempts int, sequence []int) ending {
	ranks := make([]orders.AttemptState, attempts)
	for i := range ranks {
		ranks[i] = pending
	}
	for _, i := range sequence {
		a := i / len(pieces)
		ranks[a] = max(ranks[a], pieces[i%len(pieces)].state)
	}
	return endingOf(ranks)
}

func endingOf(ranks []orders.AttemptState) ending {
	e := ending{state: orders.OrderExpired, attempts: fmt.Sprint(ranks)}
	var payments int64
	for _, r := range ranks {
		if r == paid {
			payments++
		}
		if !r.Ended() {
			e.state = orders.OrderOpen
		}
	}
	if payments > 0 {
		e.state, e.paid, e.surplus = orders.OrderPaid, 20, 20*(payments-1)
	}
	return e
}

// settled is the ending of a book once time has done what time alone may do.
func settled(t testing.TB, b orders.Book) ending {
	t.Helper()
	b = orders.Settle(b, tooLate).Book
	ranks := make([]orders.AttemptState, len(b.Order.Attempts))
	for i, a := range b.Order.Attempts {
		ranks[i] = a.State
	}
	paid, surplus := sums(b.Bills, b.Order)
	if paid[bill1] != paid[bill2] || surplus[bill1] != surplus[bill2] {
		t.Fatalf("the bills of one order fare differently: paid %v, surplus %v", paid, surplus)
	}
	return ending{state: b.Order.State, attempts: fmt.Sprint(ranks), paid: paid[bill1], surplus: surplus[bill1]}
}

// permute calls visit with every permutation of s.
func permute(s []int, visit func([]int)) {
	var rise func(k int)
	rise = func(k int) {
		if k == len(s) {
			visit(s)
			return
		}
		for i := k; i < len(s); i++ {
			s[k], s[i] = s[i], s[k]
			rise(k + 1)
			s[k], s[i] = s[i], s[k]
		}
	}
	rise(0)
}

// play folds a sequence; when says at what time each piece arrives.
func play(attempts int, sequence []int, when func(i int) time.Time) orders.Book {
	b := newBook(orderNo, attempts)
	for at, i := range sequence {
		b = orders.Fold(b, piece(orderNo, i, when(at))).Book
	}
	return b
}

func TestConvergePermutationsOfOneAttempt(t *testing.T) {
	all := []int{0, 1, 2, 3, 4, 5, 6}
	want, runs := joined(1, all), 0
	permute(all, func(sequence []int) {
		for _, cut := range []int{0, 3, 7} { // how many arrive before the order's end
			runs++
			got := settled(t, play(1, sequence, func(i int) time.Time {
				if i < cut {
					return inTime
				}
				return tooLate
			}))
			if got != want {
				t.Fatalf("%s(%d in time): %+v, want %+v", names(sequence), cut, got, want)
			}
		}
	})
	if runs != 3*5040 {
		t.Fatalf("%d runs", runs)
	}
	// without the three payments the ends are soft ones
	permute([]int{0, 1, 2, 3}, func(sequence []int) {
		if got, want := settled(t, play(1, sequence, func(int) time.Time { return inTime })), joined(1, sequence); got != want {
			t.Fatalf("%s: %+v, want %+v", names(sequence), got, want)
		}
	})
}

// Every ordered choice of two pieces of one attempt and three of the other, in every
// interleaving.
func TestConvergeInterleavingsOfTwoAttempts(t *testing.T) {
	n := len(pieces)
	for a := range n * n {
		for b := range n * n * n {
			first := []int{a % n, a / n}
			second := []int{n + b%n, n + b/n%n, n + b/n/n}
			want := joined(2, append(slices.Clone(first), second...))
			for i := range 5 {
				for j := i + 1; j < 5; j++ { // the places of first
					sequence := make([]int, 0, 5)
					f, s := 0, 0
					for k := range 5 {
						if k == i || k == j {
							sequence, f = append(sequence, first[f]), f+1
						} else {
							sequence, s = append(sequence, second[s]), s+1
						}
					}
					got := settled(t, play(2, sequence, func(int) time.Time { return inTime }))
					if got != want {
						t.Fatalf("%s: %+v, want %+v", names(sequence), got, want)
					}
				}
			}
		}
	}
}

// The books that two attempts can reach are finite. Walking all of them, along every
// piece in and out of time, proves sequences of any length and repetition.
func TestConvergeEverySequence(t *testing.T) {
	type node struct {
		book  orders.Book
		ranks [2]orders.AttemptState // the highest told of each attempt
	}
	key := func(n node) string {
		o := n.book.Order
		o.Version = 0 // rises for ever, and decides nothing
		return fmt.Sprint(n.ranks, o, n.book.Bills)
	}
	start := node{newBook(orderNo, 2), [2]orders.AttemptState{pending, pending}}
	seen, todo := map[string]bool{key(start): true}, []node{start}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if got, want := settled(t, n.book), endingOf(n.ranks[:]); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
		var next []node
		for i := range 2 * len(pieces) {
			for _, at := range []time.Time{inTime, tooLate} {
				ranks := n.ranks
				ranks[i/len(pieces)] = max(ranks[i/len(pieces)], pieces[i%len(pieces)].state)
				next = append(next, node{orders.Fold(n.book, piece(orderNo, i, at)).Book, ranks})
			}
		}
		next = append(next, node{orders.Settle(n.book, tooLate).Book, n.ranks})
		for _, m := range next {
			if k := key(m); !seen[k] {
				seen[k] = true
				todo = append(todo, m)
			}
		}
	}
	if len(seen) < 25 { // five ranks of each attempt
		t.Fatalf("only %d books reached", len(seen))
	}
}

func TestConvergeRandomMultisets(t *testing.T) {
	const seed = 20170613
	r := rand.New(rand.NewPCG(seed, 16))
	for run := range 100_000 {
		attempts := 1 + run%2
		sequence := make([]int, r.IntN(13))
		for i := range sequence {
			sequence[i] = r.IntN(attempts * len(pieces))
		}
		b := newBook(orderNo, attempts)
		for _, i := range sequence {
			at := inTime
			if r.IntN(2) == 0 {
				at = tooLate
			}
			b = orders.Fold(b, piece(orderNo, i, at)).Book
			if r.IntN(8) == 0 {
				b = orders.Settle(b, tooLate).Book
			}
		}
		if got, want := settled(t, b), joined(attempts, sequence); got != want {
			t.Fatalf("seed %d, run %d: %s: %+v, want %+v", seed, run, names(sequence), got, want)
		}
	}
}

// Two orders share a bill: the first's time is over, the second took bill2 and has
// one of its own. Whoever is paid when, each bill is paid once and the rest is surplus.
func TestConvergeTwoOrdersOnOneBill(t *testing.T) {
	const bill3 = "H61283631217537"
	holders := map[string]orders.Bill{bill1: {Holder: orderNo}, bill2: {Holder: other}, bill3: {Holder: other}}
	first, second := newBook(orderNo, 1).Order, newBook(other, 1).Order
	second.Lines[0], second.Lines[1] = second.Lines[1], second.Lines[0]
	second.Lines[1].BillNo = bill3
	run := func(sequence []int) string {
		bills, of := maps.Clone(holders), [2]orders.Order{first, second}
		turn := func(w int, s step) {
			b := orders.Book{Order: of[w], Bills: map[string]orders.Bill{}}
			for _, l := range of[w].Lines {
				b.Bills[l.BillNo] = bills[l.BillNo]
			}
			b = s(b).Book
			of[w] = b.Order
			maps.Copy(bills, b.Bills)
		}
		for _, i := range sequence {
			w := i / len(pieces)
			turn(w, telling(piece(of[w].No, i%len(pieces), tooLate)))
		}
		turn(0, wait(tooLate))
		turn(1, wait(tooLate))
		paid, surplus := sums(bills, of[0], of[1])
		return fmt.Sprint(of[0].State, of[1].State, of[0].Attempts[0].State, of[1].Attempts[0].State, paid, surplus)
	}
	ends := map[string]bool{}
	n := 2 * len(pieces)
	for a := range n {
		for b := range a + 1 {
			for c := range b + 1 {
				for d := range c + 1 {
					var want string
					permute([]int{a, b, c, d}, func(sequence []int) {
						got := run(sequence)
						if want == "" {
							want = got
						}
						if got != want {
							t.Fatalf("%s: %s, want %s", names(sequence), got, want)
						}
					})
					ends[want] = true
				}
			}
		}
	}
	for _, want := range []string{
		"paid paid paid paid map[H60983881309263:20 H61283631217536:20 H61283631217537:20] map[H61283631217536:20]",
		"paid open paid pending map[H60983881309263:20 H61283631217536:20] map[]",
	} {
		if !ends[want] {
			t.Errorf("never ended at %s", want)
		}
	}
}
