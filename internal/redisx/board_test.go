package redisx

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
)

func say(t *testing.T, b Board, replica string, says ...string) {
	t.Helper()
	if err := b.Publish(t.Context(), replica, says, time.Minute); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, b Board, want string) {
	t.Helper()
	live, votes, err := b.Read(t.Context())
	if got := fmt.Sprint(live, votes); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func TestBoard(t *testing.T) {
	everywhere(t, func(t *testing.T, r *Redis, key string) {
		b := r.Board(key)
		hear(t, b, "0 map[]")
		say(t, b, "r1")
		hear(t, b, "1 map[]")
		say(t, b, "r1", "bank/create", "bank/refund")
		say(t, b, "r2", "bank/create", "bank/create")
		say(t, b, "r3")
		hear(t, b, "3 map[bank/create:2 bank/refund:1]")
		say(t, r.Board(key+"other"), "r1", "bank/query")
		say(t, b, "r1", "bank/query")
		hear(t, b, "3 map[bank/create:1 bank/query:1]")

		left, err := r.client.PTTL(t.Context(), key).Result()
		if err != nil || left <= 0 || left > time.Minute {
			t.Errorf("the board lives for %v, %v", left, err)
		}
		for name, err := range map[string]error{
			"a line break":      b.Publish(t.Context(), "r4", []string{"bank\n/create"}, time.Minute),
			"nothing":           b.Publish(t.Context(), "r4", []string{""}, time.Minute),
			"a ttl of nothing":  b.Publish(t.Context(), "r4", nil, time.Microsecond),
			"a ttl that is off": b.Publish(t.Context(), "r4", nil, -time.Minute),
		} {
			if err == nil {
				t.Errorf("%s was accepted", name)
			}
		}
		hear(t, b, "3 map[bank/create:1 bank/query:1]")
	})
}

// A replica that died is soon forgotten, and a short ttl does not shorten the others'.
func TestBoardForgetsTheDead(t *testing.T) {
	everywhere(t, func(t *testing.T, r *Redis, key string) {
		b := r.Board(key)
		say(t, b, "r1", "bank/create")
		if err := b.Publish(t.Context(), "dead", []string{"bank/create"}, time.Millisecond); err != nil {
			t.Fatal(err)
		}
		testkit.Until(t, "the dead replica is forgotten", func() bool {
			live, _, err := b.Read(t.Context())
			return err == nil && live == 1
		})
		hear(t, b, "1 map[bank/create:1]")
		if n, err := r.client.HLen(t.Context(), key).Result(); err != nil || n != 1 {
			t.Errorf("%d lines are kept, %v", n, err)
		}
	})
}

// What others may have written there is no vote.
func TestBoardWithStrangeLines(t *testing.T) {
	everywhere(t, func(t *testing.T, r *Redis, key string) {
		b := r.Board(key)
		strange := map[string]any{"a": "", "b": "bank/create", "c": "soon\nbank/create", "d": "1\nbank/create", "e": "99999999999999\n\n\nbank/query\n"}
		if err := r.client.HSet(t.Context(), key, strange).Err(); err != nil {
			t.Fatal(err)
		}
		hear(t, b, "1 map[bank/query:1]")
	})
}

func TestAllow(t *testing.T) {
	everywhere(t, func(t *testing.T, r *Redis, key string) {
		const burst = 3
		began := time.Now()
		for n := 0; ; n++ {
			ok, after, err := r.Allow(t.Context(), key, 1, burst)
			if err != nil {
				t.Fatal(err)
			}
			if ok && after != 0 || !ok && (after <= 0 || after > time.Second) {
				t.Errorf("allowed %v, again after %v", ok, after)
			}
			if !ok {
				if most := burst + int(time.Since(began)/time.Second) + 1; n < burst || n > most {
					t.Errorf("%d were allowed, want %d to %d", n, burst, most)
				}
				break
			}
		}
		if ok, _, err := r.Allow(t.Context(), key+"other", 1, burst); err != nil || !ok {
			t.Errorf("another key: %v, %v", ok, err)
		}
		for _, c := range [][2]int{{0, 1}, {1, 0}, {-1, 1}} {
			if _, _, err := r.Allow(t.Context(), key, c[0], c[1]); err == nil {
				t.Errorf("%d per second, %d at once was accepted", c[0], c[1])
			}
		}
		if r.Degraded() {
			t.Error("a caller's mistake says nothing about Redis")
		}
	})
}

func TestAllowIsSharedByReplicas(t *testing.T) {
	addr := testkit.Redis(t)
	a, _ := client(t, at(addr), patient)
	b, _ := client(t, at(addr), patient)
	first, _, err := a.Allow(t.Context(), t.Name(), 1, 1)
	second, _, err2 := b.Allow(t.Context(), t.Name(), 1, 1)
	for err2 == nil && second { // a second passed between
		first, _, err = a.Allow(t.Context(), t.Name(), 1, 1)
		second, _, err2 = b.Allow(t.Context(), t.Name(), 1, 1)
	}
	if err != nil || err2 != nil || !first {
		t.Errorf("%v, %v, %v", first, err, err2)
	}
}

// A hung Redis makes one caller wait a second; all others know at once that they have to judge locally.
func TestHungRedisIsNotAskedAgain(t *testing.T) {
	s := testkit.RedisServer(t)
	r, clock := client(t, at(s.Addr), limit)
	awaitClaim(t, r, clock, "a", "a")
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	b := r.Board("board")
	operations := map[string]func() error{
		"allow": func() error {
			ok, after, err := r.Allow(t.Context(), "key", 1, 1)
			if ok || after != 0 {
				t.Errorf("allowed %v, again after %v", ok, after)
			}
			return err
		},
		"publish": func() error { return b.Publish(t.Context(), "r1", []string{"bank/create"}, time.Minute) },
		"read": func() error {
			live, votes, err := b.Read(t.Context())
			if live != 0 || votes != nil {
				t.Errorf("%d live, votes %v", live, votes)
			}
			return err
		},
	}
	for name, waits := range operations {
		if err := waits(); err == nil || errors.Is(err, ErrUnavailable) || !strings.HasPrefix(err.Error(), name+": ") || !r.Degraded() {
			t.Errorf("%s: %v, degraded %v", name, err, r.Degraded())
		}
		for again, turned := range operations {
			if err := turned(); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s after %s: %v", again, name, err)
			}
		}
		clock.Advance(hold)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	awaitClaim(t, r, clock, "b", "a")
}
