package breaker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const bank = "bank"

// newSet has no jitter. Inside a bubble of testing/synctest its clock and gobreaker's are one.
func newSet(t testing.TB, config Config, board Board) *Set {
	t.Helper()
	s, err := New(config, Deps{Now: time.Now, Rand: func() uint64 { return 0 }, Board: board})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// enter is an Enter that must be admitted.
func enter(t testing.TB, s *Set, op string) func(Result) {
	t.Helper()
	done, err := s.Enter(t.Context(), bank, op)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	return done
}

// calls makes calls that end at once.
func calls(t testing.TB, s *Set, op string, results ...Result) {
	t.Helper()
	for _, r := range results {
		enter(t, s, op)(r)
	}
}

// refusal is an Enter that must be refused for why; it returns until when.
func refusal(t testing.TB, s *Set, op string, why Why) time.Time {
	t.Helper()
	done, err := s.Enter(t.Context(), bank, op)
	if done != nil {
		t.Fatalf("%s: admitted, want %s", op, why)
	}
	r, ok := errors.AsType[*Refused](err)
	if !ok || r.Why != why || r.Account != bank || r.Op != op {
		t.Fatalf("%s: %v, want %s", op, err, why)
	}
	return r.Until
}

// trip opens a closed breaker.
func trip(t testing.TB, s *Set, op string) {
	t.Helper()
	calls(t, s, op, slices.Repeat([]Result{Fault}, 5)...)
	if got := s.Look(bank, op); got.Phase != Open {
		t.Fatalf("%s is %v after five faults", op, got.Phase)
	}
}

func phase(t testing.TB, s *Set, op string, want Phase) {
	t.Helper()
	if got := s.Look(bank, op).Phase; got != want {
		t.Fatalf("%s is %v, want %v", op, got, want)
	}
}

// memory is a board that forgets nothing by itself.
type memory struct {
	mu    sync.Mutex
	open  map[string][]string
	fails error
}

func (m *memory) Publish(_ context.Context, replica string, open []string, _ time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = map[string][]string{}
	}
	m.open[replica] = open
	return m.fails
}

func (m *memory) Read(context.Context) (int, map[string]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	votes := map[string]int{}
	for _, open := range m.open {
		for _, name := range open {
			votes[name]++
		}
	}
	return len(m.open), votes, m.fails
}

func (m *memory) said() map[string][]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.open)
}

func share(t testing.TB, s *Set) {
	t.Helper()
	next, err := s.Share(t.Context())
	if err != nil || !next.Equal(time.Now().Add(time.Second)) {
		t.Fatalf("share: next %v, %v", next, err)
	}
}
