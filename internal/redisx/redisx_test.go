package redisx

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"pay.taipei/gateway/internal/testkit"
)

// patient is a limit that no busy machine reaches; tests of what happens at the limit use Open.
const patient = time.Minute

var start = time.Date(2017, 6, 13, 9, 0, 0, 0, time.UTC)

func client(t *testing.T, c Config, limit time.Duration) (*Redis, *testkit.Clock) {
	t.Helper()
	clock := testkit.NewClock(start)
	r, err := open(c, Deps{Now: clock.Now}, limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, clock
}

func at(addr string) Config { return Config{Addrs: []string{addr}} }

// everywhere runs f on each kind of server. Keys begin with the test's name: the real server is shared.
func everywhere(t *testing.T, f func(t *testing.T, r *Redis, key string)) {
	t.Helper()
	for name, config := range map[string]func(t *testing.T) Config{
		"embedded": func(*testing.T) Config { return Config{Embedded: true} },
		"real":     func(t *testing.T) Config { return at(testkit.Redis(t)) },
		"cluster":  cluster,
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := client(t, config(t), patient)
			f(t, r, "{"+t.Name()+"}")
		})
	}
}

// cluster starts a cluster of one node that holds every slot.
func cluster(t *testing.T) Config {
	s := testkit.RedisServer(t, "--cluster-enabled", "yes")
	single, _ := client(t, at(s.Addr), patient)
	if err := single.client.Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for {
		info, err := single.client.ClusterInfo(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "cluster_state:ok") {
			return Config{Addrs: []string{s.Addr}, Cluster: true}
		}
	}
}

func claim(t *testing.T, r *Redis, key, token string, want bool) {
	t.Helper()
	taken, err := r.Claim(t.Context(), key, token, 30*time.Second)
	if err != nil || taken != want {
		t.Errorf("claim by %s: taken %v, %v; want %v", token, taken, err, want)
	}
}

func free(t *testing.T, r *Redis, key, token string) {
	t.Helper()
	if err := r.Release(t.Context(), key, token); err != nil {
		t.Errorf("release by %s: %v", token, err)
	}
}

func TestClaim(t *testing.T) {
	everywhere(t, func(t *testing.T, r *Redis, key string) {
		claim(t, r, key, "a", false)
		claim(t, r, key, "b", true)
		claim(t, r, key, "a", false) // our own first send, whose answer we did not get
		claim(t, r, key+"2", "b", false)
		free(t, r, key, "b") // not b's to release
		claim(t, r, key, "b", true)
		free(t, r, key, "a")
		free(t, r, key, "a")
		claim(t, r, key, "b", false)
		if err := r.Ping(t.Context()); err != nil || r.Degraded() {
			t.Errorf("degraded %v, %v", r.Degraded(), err)
		}
		for _, ttl := range []time.Duration{0, -time.Second, time.Microsecond} {
			if _, err := r.Claim(t.Context(), key, "c", ttl); err == nil {
				t.Errorf("a ttl of %v was accepted", ttl)
			}
		}
	})
}

func TestOneClaimWins(t *testing.T) {
	everywhere(t, func(t *testing.T, r *Redis, key string) {
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				taken, err := r.Claim(t.Context(), key, fmt.Sprint(i), 30*time.Second)
				if err != nil {
					t.Error(err)
				}
				if !taken {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d hold the claim", won.Load())
		}
	})
}

func TestClaimExpires(t *testing.T) {
	t.Run("real", func(t *testing.T) {
		r, _ := client(t, at(testkit.Redis(t)), patient)
		claim(t, r, t.Name(), "a", false)
		left, err := r.client.PTTL(t.Context(), t.Name()).Result()
		if err != nil || left <= 0 || left > 30*time.Second {
			t.Errorf("%v left, %v", left, err)
		}
	})
	t.Run("embedded", func(t *testing.T) {
		r, clock := client(t, Config{Embedded: true}, patient)
		claim(t, r, "key", "a", false)
		for _, step := range []struct {
			name   string
			passes time.Duration
			taken  bool
		}{
			{"before the end", 29 * time.Second, true},
			{"a clock that is set back", -time.Hour, true},
			{"and right again", time.Hour, true},
			{"the end", time.Second, false},
		} {
			now := clock.Advance(step.passes)
			if next, err := r.Step(t.Context()); err != nil || !next.Equal(now.Add(tick)) {
				t.Errorf("%s: next step %v, %v", step.name, next, err)
			}
			claim(t, r, "key", "b", step.taken)
		}
	})
}

func TestRunMovesTheEmbeddedClock(t *testing.T) {
	clock := testkit.NewClock(start)
	var asked atomic.Int32
	r, err := open(Config{Embedded: true}, Deps{Now: func() time.Time {
		asked.Add(1)
		return clock.Now()
	}}, patient)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	claim(t, r, "key", "a", false)
	clock.Advance(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { r.Run(ctx) })
	for taken := true; taken; {
		if taken, err = r.Claim(t.Context(), "key", "b", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()

	real, _ := client(t, at("127.0.0.1:1"), limit)
	real.Run(t.Context()) // has nothing to do and returns
	if next, err := real.Step(t.Context()); err != nil || !next.IsZero() {
		t.Errorf("next step %v, %v", next, err)
	}
}

func TestFlushBetweenClaimAndRelease(t *testing.T) {
	r, _ := client(t, at(testkit.RedisServer(t).Addr), patient)
	claim(t, r, "key", "a", false)
	if err := r.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	claim(t, r, "key", "b", false) // why SQL has the last word
	free(t, r, "key", "a")
	claim(t, r, "key", "c", true) // b's claim was not a's to release
	if err := r.client.ScriptFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	free(t, r, "key", "b")
	claim(t, r, "key", "c", false)
}

// TestHungRedis freezes the server in the middle: connections stay open and nothing answers.
func TestHungRedis(t *testing.T) {
	s := testkit.RedisServer(t)
	r, clock := client(t, at(s.Addr), limit)
	awaitClaim(t, r, clock, "a", "a")
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		taken, err := r.Claim(t.Context(), "b", "a", time.Minute)
		if err == nil || taken || errors.Is(err, ErrUnavailable) || !r.Degraded() {
			t.Errorf("taken %v, %v, degraded %v", taken, err, r.Degraded())
		}
		// For a second nobody waits again.
		clock.Advance(hold - time.Nanosecond)
		for range 100 {
			if _, err := r.Claim(t.Context(), "b", "a", time.Minute); !errors.Is(err, ErrUnavailable) {
				t.Errorf("claim: %v", err)
			}
		}
		if err := r.Release(t.Context(), "a", "a"); !errors.Is(err, ErrUnavailable) {
			t.Errorf("release: %v", err)
		}
		if err := r.Ping(t.Context()); !errors.Is(err, ErrUnavailable) {
			t.Errorf("ping: %v", err)
		}
		clock.Advance(time.Nanosecond)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	awaitClaim(t, r, clock, "c", "a")
	if r.Degraded() {
		t.Error("still degraded")
	}
}

// What a hung Redis may cost one request. The time left is read inside the operation, so a busy machine only shortens it.
func TestAnOperationEndsWithinAQuarterOfASecond(t *testing.T) {
	r, err := Open(at("127.0.0.1:1"), Deps{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	err = r.do(t.Context(), func(ctx context.Context) error {
		deadline, limited := ctx.Deadline()
		if left := time.Until(deadline); !limited || left > 250*time.Millisecond {
			t.Errorf("limited %v, %v left", limited, left)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestGoneRedisComesBack(t *testing.T) {
	s := testkit.RedisServer(t)
	r, clock := client(t, at(s.Addr), limit)
	awaitClaim(t, r, clock, "a", "a")
	s.Stop()
	if taken, err := r.Claim(t.Context(), "a", "b", time.Minute); err == nil || taken || !r.Degraded() {
		t.Errorf("taken %v, %v, degraded %v", taken, err, r.Degraded())
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	awaitClaim(t, r, clock, "a", "b")
}

// awaitClaim claims under the real limit, which a busy machine may miss, and lets a second pass after each failure.
func awaitClaim(t *testing.T, r *Redis, clock *testkit.Clock, key, token string) {
	t.Helper()
	for deadline := time.Now().Add(patient); time.Now().Before(deadline); clock.Advance(hold) {
		if taken, err := r.Claim(t.Context(), key, token, time.Minute); err == nil {
			if taken {
				t.Fatalf("%s is taken", key)
			}
			return
		}
	}
	t.Fatal("Redis did not come back")
}

// TestFullRedisSaysUnknown: a write that is refused for want of memory is neither free nor taken.
func TestFullRedisSaysUnknown(t *testing.T) {
	s := testkit.RedisServer(t, "--maxmemory", "1", "--maxmemory-policy", "noeviction")
	r, _ := client(t, at(s.Addr), patient)
	if taken, err := r.Claim(t.Context(), "key", "a", time.Minute); err == nil || taken || !r.Degraded() {
		t.Errorf("taken %v, %v, degraded %v", taken, err, r.Degraded())
	}
}

func TestCallerWhoLeavesDoesNotDegrade(t *testing.T) {
	s := testkit.RedisServer(t)
	r, _ := client(t, at(s.Addr), patient)
	claim(t, r, "key", "a", false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Claim(ctx, "key", "a", time.Minute); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	err := r.do(ctx, func(ctx context.Context) error {
		cancel()
		return r.client.Ping(ctx).Err()
	})
	if !errors.Is(err, context.Canceled) || r.Degraded() {
		t.Errorf("%v, degraded %v", err, r.Degraded())
	}
	// The caller's deadline ends the wait, not the client's own limit, which is a thousand times longer.
	ctx, cancel = context.WithTimeout(t.Context(), patient/1000)
	defer cancel()
	began := time.Now()
	if _, err := r.Claim(ctx, "key", "a", time.Minute); err == nil || r.Degraded() || time.Since(began) >= patient {
		t.Errorf("%v after %v, degraded %v", err, time.Since(began), r.Degraded())
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	claim(t, r, "key", "a", false)
}

func TestGuard(t *testing.T) {
	type step struct {
		name      string
		at        time.Duration
		probe, ok bool
	}
	var g guard
	check := func(s step) {
		t.Helper()
		if probe, ok := g.enter(start.Add(s.at)); probe != s.probe || ok != s.ok {
			t.Errorf("%s: probe %v, ok %v", s.name, probe, ok)
		}
	}
	check(step{"works", 0, false, true})
	check(step{"works for several", 0, false, true})
	g.leave(false, bad, start)
	check(step{"just failed", 0, false, false})
	check(step{"not yet", hold - 1, false, false})
	check(step{"one probe", hold, true, true})
	check(step{"only one probe", hold + time.Hour, false, false})
	g.leave(false, bad, start.Add(hold)) // an early one that failed late does not end the probe
	check(step{"the probe is still out", 3 * hold, false, false})
	g.leave(true, unknown, start.Add(3*hold))
	check(step{"the probe's caller left: another", 3 * hold, true, true})
	g.leave(true, bad, start.Add(3*hold))
	check(step{"failed again", 4*hold - 1, false, false})
	check(step{"next probe", 4 * hold, true, true})
	g.leave(true, good, start.Add(4*hold))
	check(step{"works again", 4 * hold, false, true})
}

func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]Config{
		"nothing":                 {},
		"embedded and an address": {Embedded: true, Addrs: []string{"localhost:6379"}},
		"embedded and a master":   {Embedded: true, MasterName: "pay"},
		"cluster and a master":    {Addrs: []string{"localhost:6379"}, MasterName: "pay", Cluster: true},
		"several of what":         {Addrs: []string{"a:6379", "b:6379"}},
	} {
		if _, err := Open(c, Deps{Now: time.Now}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestPassword(t *testing.T) {
	s := testkit.RedisServer(t, "--requirepass", "hunter2")
	c := at(s.Addr)
	for password, works := range map[string]bool{"hunter2": true, "hunter3": false, "": false} {
		c.Password = nil
		if password != "" {
			c.Password = func() []byte { return []byte(password) }
		}
		r, _ := client(t, c, patient)
		if err := r.Ping(t.Context()); (err == nil) != works || strings.Contains(fmt.Sprint(err), "hunter") {
			t.Errorf("%q: %v", password, err)
		}
		if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, "hunter") {
			t.Error("the configuration prints its password")
		}
	}
}

func TestTransports(t *testing.T) {
	for name, c := range map[string]Config{
		"single":   {Addrs: []string{"a:1"}, TLS: true},
		"cluster":  {Addrs: []string{"a:1", "b:1"}, Cluster: true, TLS: true},
		"sentinel": {Addrs: []string{"a:1", "b:1"}, MasterName: "pay", TLS: true},
	} {
		o := c.options(limit)
		if o.TLSConfig == nil || o.TLSConfig.InsecureSkipVerify {
			t.Errorf("%s: the server is not verified", name)
		}
		r, _ := client(t, c, limit)
		if got := fmt.Sprintf("%T", r.client); (name == "cluster") != strings.Contains(got, "Cluster") {
			t.Errorf("%s: a %s", name, got)
		}
	}
}

func TestCloseLeavesNothingRunning(t *testing.T) {
	addr := testkit.Redis(t)
	before := goleak.IgnoreCurrent()
	for _, c := range []Config{{Embedded: true}, at(addr)} {
		r, err := open(c, Deps{Now: time.Now}, patient)
		if err != nil {
			t.Fatal(err)
		}
		claim(t, r, t.Name(), "a", false)
		free(t, r, t.Name(), "a")
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	goleak.VerifyNone(t, before)
}
