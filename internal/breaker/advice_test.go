package breaker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// replicas share one board and one provider.
func replicas(t *testing.T, n int) (*memory, []*Set) {
	board := &memory{}
	sets := make([]*Set, n)
	for i := range sets {
		sets[i] = newSet(t, Config{Replica: fmt.Sprint(i)}, board)
	}
	return board, sets
}

// shareAll lets every replica hear what all say now.
func shareAll(t *testing.T, sets []*Set) {
	for range 2 {
		for _, s := range sets {
			share(t, s)
		}
	}
}

func TestQuorum(t *testing.T) {
	for _, c := range []struct {
		live, open int
		advised    bool // to those that are closed themselves
	}{
		{1, 0, false}, {1, 1, false},
		{2, 1, false}, {2, 2, true},
		{3, 1, false}, {3, 2, true},
		{4, 1, false}, {4, 2, true},
		{5, 2, false}, {5, 3, true},
		{6, 3, true}, {7, 3, false}, {7, 4, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, sets := replicas(t, c.live)
			for _, s := range sets[:c.open] {
				trip(t, s, "create")
			}
			shareAll(t, sets)
			for i, s := range sets {
				calls(t, s, "query", Success)
				switch {
				case i < c.open:
					refusal(t, s, "create", WhyOpen)
				case c.advised:
					if got := refusal(t, s, "create", WhyAdvice); !got.Equal(time.Now().Add(10 * time.Second)) {
						t.Errorf("%+v: until %v", c, got)
					}
					if got := s.Look(bank, "create"); !got.Advised || got.Phase != Closed || got.Why != WhyAdvice {
						t.Errorf("%+v: %+v", c, got)
					}
				default:
					calls(t, s, "create", Success)
				}
			}
		})
	}
	for live, want := range map[int]int{-1: 2, 0: 2, 1: 2, 4: 2, 5: 3, 100: 50, 101: 51} {
		if got := quorum(live); got != want {
			t.Errorf("%d replicas: %d, want %d", live, got, want)
		}
	}
}

// Advice that made others vote would never end.
func TestOnlyOwnFindingsArePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board, sets := replicas(t, 3)
		said := func(want ...string) {
			t.Helper()
			shareAll(t, sets)
			var got []string
			for i := range sets {
				got = append(got, fmt.Sprintf("%d%v", i, board.said()[fmt.Sprint(i)]))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("said %v, want %v", got, want)
			}
		}
		for _, op := range []string{"refund", "create"} {
			trip(t, sets[0], op)
		}
		trip(t, sets[1], "create")
		sets[2].SetForced([]Forced{{bank, "query", ForceOpen, time.Time{}}})
		refusal(t, sets[2], "query", WhyForced)
		said("0[bank/create bank/refund]", "1[bank/create]", "2[]")
		refusal(t, sets[2], "create", WhyAdvice)
		said("0[bank/create bank/refund]", "1[bank/create]", "2[]")

		// Open times are over and nobody calls: nothing says any longer that it is faulty.
		time.Sleep(10 * time.Second)
		said("0[]", "1[]", "2[]")
		calls(t, sets[2], "create", times(20, Success)...)

		probe := enter(t, sets[0], "create") // that it may be faulty is known until the probe is back
		said("0[bank/create]", "1[]", "2[]")
		time.Sleep(time.Minute)
		said("0[bank/create]", "1[]", "2[]") // given up, so open again
		probe(Success)
		time.Sleep(20 * time.Second)
		said("0[]", "1[]", "2[]")
	})
}

func TestOwnProbesUnderAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board := &memory{}
		s := newSet(t, Config{Replica: "mine"}, board)
		vote := func() { // the others stay open for ever
			board.mu.Lock()
			board.open = map[string][]string{"0": {"bank/create"}, "1": {"bank/create"}, "2": nil}
			board.mu.Unlock()
			share(t, s)
		}
		// second lets a second pass and counts who gets in meanwhile.
		second := func(r Result) (admitted int) {
			vote()
			for range 10 {
				if done, err := s.Enter(t.Context(), bank, "create"); err == nil {
					admitted++
					done(r)
				}
				time.Sleep(100 * time.Millisecond)
			}
			return admitted
		}
		total := 0
		for range 60 {
			total += second(Fault)
		}
		if total != 5 { // at 10, 20 … 50 s
			t.Errorf("%d calls in a minute against advice, want one per 10 s", total)
		}
		phase(t, s, "create", Closed)
		if got := second(Success); got != 10 {
			t.Errorf("%d of 10 after a success of its own", got)
		}
		for range 8 {
			second(Success)
		}
		time.Sleep(time.Second) // the success is 10 s old: the next call asks anew
		vote()
		done := enter(t, s, "create")
		refusal(t, s, "create", WhyAdvice)
		done(Excluded)
		refusal(t, s, "create", WhyAdvice)
	})
}

func TestAdviceIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		board, sets := replicas(t, 3)
		trip(t, sets[0], "create")
		trip(t, sets[1], "create")
		shareAll(t, sets)
		refusal(t, sets[2], "create", WhyAdvice)
		board.fails = errors.New("gone")
		for range 3 {
			refusal(t, sets[2], "create", WhyAdvice)
			if next, err := sets[2].Share(t.Context()); err == nil || !next.Equal(time.Now().Add(time.Second)) {
				t.Fatalf("next %v, %v", next, err)
			}
			time.Sleep(time.Second)
		}
		calls(t, sets[2], "create", Success)
		board.fails = nil
		share(t, sets[2]) // and a board that is back begins anew
		if got := refusal(t, sets[2], "create", WhyAdvice); !got.Equal(time.Now().Add(10 * time.Second)) {
			t.Errorf("until %v", got)
		}
	})
}

// odd is a board of a newer or a broken program.
type odd struct{}

func (odd) Publish(context.Context, string, []string, time.Duration) error { return nil }
func (odd) Read(context.Context) (int, map[string]int, error) {
	return -7, map[string]int{"": 9, "bank": 9, "/": 9, "bank/": 9, "bank/query/x": 9, "bank/create": -1}, nil
}

func TestOddVotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{Replica: "a"}, odd{})
		share(t, s)
		calls(t, s, "create", Success)
		calls(t, s, "query", Success)
	})
}

// hanging is a board behind a black hole.
type hanging struct{}

func (hanging) Publish(ctx context.Context, _ string, _ []string, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) Read(ctx context.Context) (int, map[string]int, error) {
	<-ctx.Done()
	return 0, nil, ctx.Err()
}

func TestBoardThatHangsOrIsAbsentChangesNothing(t *testing.T) {
	for name, board := range map[string]Board{"absent": nil, "hangs": hanging{}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSet(t, Config{Replica: "a"}, board)
				shared := make(chan error)
				go func() {
					next, err := s.Share(t.Context())
					if (board == nil) != next.IsZero() {
						t.Errorf("next %v", next)
					}
					shared <- err
				}()
				synctest.Wait()
				start := time.Now()
				calls(t, s, "create", times(100, Success)...)
				trip(t, s, "query")
				refusal(t, s, "query", WhyOpen)
				s.States()
				if waited := time.Since(start); waited != 0 {
					t.Errorf("calls waited %v", waited)
				}
				if err := <-shared; (board == nil) != (err == nil) || time.Since(start) > time.Second {
					t.Errorf("share: %v after %v", err, time.Since(start))
				}
			})
		})
	}
}
