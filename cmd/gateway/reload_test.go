package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
)

// secretOf is the secret of the n-th key of a client that changes its keys.
func secretOf(n int) string {
	return fmt.Sprintf("%043d", n)
}

// withKeys is the configuration with the n-th key and the next one.
func withKeys(text string, n int) string {
	var keys []string
	for _, i := range []int{n, n + 1} {
		keys = append(keys, fmt.Sprintf(`{id: k%d, sha256: "%x"}`, i, sha256.Sum256([]byte(secretOf(i)))))
	}
	return regexp.MustCompile(`keys: \[[^]]*\], merchants`).ReplaceAllString(text, "keys: ["+strings.Join(keys, ", ")+"], merchants")
}

// status asks for the feed with the n-th key.
func (g *gateway) status(t *testing.T, n int) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.api+"/v1/events", nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	req.Header.Set("Authorization", fmt.Sprintf("Bearer gk_k%d_%s", n, secretOf(n)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body) // only its status counts
	_ = resp.Body.Close()
	return resp.StatusCode
}

// figure reads one line of the metrics.
func (g *gateway) figure(t *testing.T, line string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.ops+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+line+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// The configuration is reloaded again and again under load while the client changes its keys: no request with a good key is
// refused, a key that is gone is, and a file that is wrong changes nothing. RELOADS=12 RELOAD_EVERY=5s is the long proof.
func TestReloadUnderLoad(t *testing.T) {
	rounds, every := 4, 100*time.Millisecond
	if text := os.Getenv("RELOADS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
		if every, err = time.ParseDuration(os.Getenv("RELOAD_EVERY")); err != nil {
			t.Fatal(err)
		}
	}
	config := configFile(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"), "embedded")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	base := strings.Replace(string(text), "merchants: [pma], return", "merchants: [pma], rate_per_second: 10000, return", 1)
	write(t, config, withKeys(base, 0))
	g := start(t, config)
	var key atomic.Int64
	var asked, refused atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				asked.Add(1)
				if status := g.status(t, int(key.Load())); status != http.StatusOK {
					refused.Add(1)
					t.Errorf("a good key is answered %d", status)
					return
				}
			}
		})
	}
	reload := func(text string) {
		write(t, config, text)
		if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	slowest := time.Duration(0)
	for n := 1; n <= rounds; n++ {
		key.Store(int64(n)) // the newer key of the file that is in force
		pause := time.NewTimer(every)
		<-pause.C
		begun := time.Now()
		reload(withKeys(base, n))
		testkit.Until(t, "the key that is gone is refused", func() bool { return g.status(t, n-1) == http.StatusUnauthorized })
		slowest = max(slowest, time.Since(begun))
	}
	for what, bad := range map[string]string{
		"no YAML at all":      "]",
		"an unknown account":  strings.Replace(withKeys(base, 99), "payees: {bravobank-main", "payees: {nobody", 1),
		"another public_url":  strings.Replace(withKeys(base, 99), "https://gw.example", "https://other.example", 1),
		"a route to nobody":   withKeys(base, 99) + "routes: [{name: r, accounts: [nobody]}]\n",
		"a split of 99":       withKeys(base, 99) + "routes: [{name: r, split: [{account: bravobank-main, percent: 99}]}]\n",
		"overlapping windows": withKeys(base, 99) + "calendar: [{id: a, scope: account, name: bravobank-main, daily: {from: \"01:00\", to: \"03:00\"}}, {id: b, scope: account, name: bravobank-main, daily: {from: \"02:00\", to: \"04:00\"}}]\n",
	} {
		before := g.figure(t, `gateway_config_reloads_total{outcome="refused"}`)
		reload(bad)
		testkit.Until(t, what+" is refused", func() bool { return g.figure(t, `gateway_config_reloads_total{outcome="refused"}`) != before })
		if got := g.figure(t, "gateway_config_last_reload_ok"); got != "0" {
			t.Errorf("%s: last reload %s", what, got)
		}
	}
	more := strings.Replace(withKeys(base, rounds), "clients:\n", fmt.Sprintf("clients:\n  - {id: clinic, keys: [{id: c1, sha256: \"%x\"}], merchants: [pma], return_prefixes: [\"https://clinic.example/\"]}\n", sha256.Sum256([]byte(secretOf(1)))), 1)
	reload(more)
	testkit.Until(t, "the figure of a new client is there", func() bool { return g.figure(t, `gateway_rate_limited_total{client="clinic"}`) == "0" })
	if got := g.figure(t, `gateway_config_reloads_total{outcome="ok"}`); got != strconv.Itoa(rounds+1) {
		t.Errorf("%s reloads were taken, want %d", got, rounds)
	}
	close(stop)
	load.Wait()
	t.Logf("%d reloads, %d requests, %d refused, a key that is gone was refused after %v at most", rounds, asked.Load(), refused.Load(), slowest)
	if err := g.end(t, syscall.SIGTERM); err != nil {
		t.Errorf("SIGTERM ended it with %v", err)
	}
}
