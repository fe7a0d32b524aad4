package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// limiter is a shared count that a test scripts.
type limiter struct {
	ok    bool
	after time.Duration
	err   error

	key              string
	perSecond, burst int
	bounded          bool
	asked            int
}

func (l *limiter) Allow(ctx context.Context, key string, perSecond, burst int) (bool, time.Duration, error) {
	_, l.bounded = ctx.Deadline()
	l.key, l.perSecond, l.burst = key, perSecond, burst
	l.asked++
	return l.ok, l.after, l.err
}

func TestRateIsCountedTogether(t *testing.T) {
	tests := []struct {
		name             string
		limiter          limiter
		perSecond, burst int // configured
		wantRate, wantAt int
		status           int
		retryAfter       string
	}{
		{"allowed, whatever this replica counts", limiter{ok: true}, 1, 1, 1, 1, 200, ""},
		{"refused", limiter{after: 2100 * time.Millisecond}, 0, 0, 100, 200, 429, "3"},
		{"refused for less than a second", limiter{after: time.Millisecond}, 7, 0, 7, 14, 429, "1"},
		{"refused, not known how long", limiter{}, 7, 9, 7, 9, 429, "1"},
		{"default rate, own burst", limiter{ok: true}, 0, 5, 100, 5, 200, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			l := test.limiter
			k.deps.Limiter = &l
			k.limit(test.perSecond, test.burst)
			for range 3 {
				w := k.get("/v1/events")
				if w.Code != test.status || w.Header().Get("Retry-After") != test.retryAfter {
					t.Fatalf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
				}
			}
			if l.key != "api:core" || l.perSecond != test.wantRate || l.burst != test.wantAt || !l.bounded {
				t.Errorf("%+v", l)
			}
			k.get("/v1/events", "Authorization", "")
			k.get("/docs")
			if l.asked != 3 {
				t.Errorf("asked %d times: also for strangers and public pages", l.asked)
			}
		})
	}
}

func TestRateWithoutTheSharedCount(t *testing.T) {
	k := newKit(t)
	l := &limiter{ok: true, err: errors.New("redis: gone")}
	k.deps.Limiter = l
	k.limit(1, 2)
	for i, want := range []int{200, 200, 429} {
		if w := k.get("/v1/events"); w.Code != want {
			t.Fatalf("request %d: %d", i, w.Code)
		}
	}
	if k.get("/v1/events", "Authorization", keyD).Code != 200 {
		t.Error("one client's rate holds back another")
	}
	l.err = nil
	if w := k.get("/v1/events"); w.Code != 200 {
		t.Errorf("the shared count is back: %d", w.Code)
	}
}

func TestSwap(t *testing.T) {
	k := newKit(t)
	fresh := "Bearer gk_core-3_" + secretC
	clients := k.config.Clients
	turn := func(keys ...Key) []Client {
		next := append([]Client{}, clients...)
		next[0].Keys = keys
		return next
	}
	ask := func(key string) int { return k.get("/v1/orders/1", "Authorization", key).Code }
	if err := k.server.Swap(turn(clients[0].Keys[2], Key{ID: "core-3", SHA256: sha256.Sum256([]byte(secretC))})); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int{keyA: 401, keyB: 404, fresh: 404, keyD: 404} {
		if got := ask(key); got != want {
			t.Errorf("after the swap %s: %d, want %d", key[:20], got, want)
		}
	}
	bad := turn(Key{ID: "other-1"})
	bad[0].ReturnPrefixes = []string{"http://pay.taipei/"}
	bad[1].Burst = -1
	err := k.server.Swap(bad)
	for _, want := range []string{"other-1", "want https", "burst"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	for key, want := range map[string]int{keyA: 401, keyB: 404, fresh: 404, keyD: 404} {
		if got := ask(key); got != want {
			t.Errorf("after a bad swap %s: %d, want %d", key[:20], got, want)
		}
	}
	if err := k.server.Swap(nil); err != nil || ask(keyB) != 401 {
		t.Errorf("all clients gone: %v", err)
	}
}

// TestSwapChangesRights: what a client may order for and where it may send the browser are swapped with its keys.
func TestSwapChangesRights(t *testing.T) {
	k := newKit(t)
	next := append([]Client{}, k.config.Clients...)
	next[0].Merchants = []string{"twd"}
	if err := k.server.Swap(next); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, k.post(scenario), http.StatusForbidden, problemMerchant)
	next[0].Merchants, next[0].ReturnPrefixes = []string{"pma"}, []string{"https://pay.taipei/other"}
	if err := k.server.Swap(next); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, k.post(scenario), http.StatusUnprocessableEntity, problemField)
}

// TestSwapKeepsWhatIsUsed: new keys do not fill up a client's rate; another rate begins anew.
func TestSwapKeepsWhatIsUsed(t *testing.T) {
	k := newKit(t)
	k.limit(1, 1)
	k.get("/v1/events")
	next := append([]Client{}, k.config.Clients...)
	next[0].Keys = next[0].Keys[2:]
	for range 3 {
		if err := k.server.Swap(next); err != nil {
			t.Fatal(err)
		}
		if w := k.get("/v1/events", "Authorization", keyB); w.Code != 429 {
			t.Fatalf("a swap filled the rate up: %d", w.Code)
		}
	}
	next[0].Burst = 2
	if err := k.server.Swap(next); err != nil {
		t.Fatal(err)
	}
	if w := k.get("/v1/events", "Authorization", keyB); w.Code != 200 {
		t.Errorf("another rate: %d", w.Code)
	}
}

// TestSwapDropsNoRequest: while one of two keys comes and goes, the other is never refused.
func TestSwapDropsNoRequest(t *testing.T) {
	k := newKit(t)
	k.deps.Log, k.deps.Observe = slog.New(slog.DiscardHandler), nil
	k.limit(1000000, 1000000)
	with, without := k.config.Clients, append([]Client{}, k.config.Clients...)
	without[0].Keys = without[0].Keys[1:2]
	stop := make(chan struct{})
	var swapping, asking sync.WaitGroup
	for range 2 {
		swapping.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, clients := range [][]Client{without, with} {
					if err := k.server.Swap(clients); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	for range 4 {
		asking.Go(func() {
			for range 500 {
				r := httptest.NewRequest(http.MethodGet, "/v1/orders/1", nil)
				r.Header.Set("Authorization", keyA)
				w := httptest.NewRecorder()
				k.server.ServeHTTP(w, r)
				if w.Code != http.StatusNotFound {
					t.Errorf("%d %s", w.Code, w.Body)
					return
				}
			}
		})
	}
	asking.Wait()
	close(stop)
	swapping.Wait()
}
