// Package testkit gives tests the real things they run against: redis-server, Postgres, Chromium, free ports and a
// clock that only moves when told. Only test files may import it.
//
// Servers belong to the test binary: they listen on loopback or on a socket in a private folder, and the kernel ends
// them when the binary is gone, however it ended. A service that is not installed skips the test and says what to
// install; with CI=true it fails the test instead, so that nothing is left out silently.
package testkit

import (
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// Require ends the test when err says that a service is missing: it fails with CI=true and skips otherwise. what names
// the service and how to install it. A nil err does nothing.
func Require(t testing.TB, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("this test needs %s: %v", what, err)
	default:
		t.Skipf("this test needs %s: %v", what, err)
	}
}

// Until asks again and again until the answer is yes, and ends the test when it is still no after a minute: generous,
// for a busy machine must not fail a test. what completes "not within a minute: ".
func Until(t testing.TB, what string, yes func() bool) {
	t.Helper()
	ask := time.NewTicker(10 * time.Millisecond)
	defer ask.Stop()
	deadline := time.After(time.Minute)
	for !yes() {
		select {
		case <-ask.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// FreePort returns a TCP port on 127.0.0.1 that nothing listened on a moment ago. Another program may take it before
// the caller does; who can, should listen on port 0 instead.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	return port
}

func freePort() (int, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// Chromium returns the path of a Chromium or Chrome binary. As root it has to be started without its sandbox.
func Chromium(t testing.TB) string {
	t.Helper()
	var missing error
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		path, err := exec.LookPath(name)
		if err == nil {
			return path
		}
		missing = err
	}
	Require(t, "Chromium (apt-get install chromium)", missing)
	return ""
}

// Clock is a clock for tests. It stands still until Advance moves it. The zero value stands at the zero time; a Clock
// is safe for concurrent use and must not be copied.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that stands at start.
func NewClock(start time.Time) *Clock { return &Clock{now: start} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock by d, which may be negative, and returns the new time.
func (c *Clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// Drain steps until nothing is due any more, and moves the clock to what is due next, but no further than limit. It ends the
// test when that never comes to rest. step says when it has to be called again; the zero time: not.
func (c *Clock) Drain(t testing.TB, limit time.Duration, step func() (next time.Time)) {
	t.Helper()
	end := c.Now().Add(limit)
	for range 1000 {
		next := step()
		if next.IsZero() || next.After(end) {
			return
		}
		if wait := next.Sub(c.Now()); wait > 0 {
			c.Advance(wait)
		}
	}
	t.Fatal("never quiet")
}

// Counter is randomness for tests that can be foreseen: every read gives other bytes than those before. It is safe for
// concurrent use.
type Counter struct {
	mu sync.Mutex
	n  uint32
}

// Read fills p.
func (c *Counter) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	for i := range p {
		p[i] = byte(c.n >> (8 * (i % 4)))
	}
	return len(p), nil
}
