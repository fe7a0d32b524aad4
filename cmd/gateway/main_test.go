package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
)

// The tests of this file run the real binary, built once.

const apiSecret = "dGVzdHMtb25seS1zZWNyZXQtb2YtNDMtY2hhcmFjdGV"

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gateway-test-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "gateway")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir) // a left-over temporary folder harms nobody
	os.Exit(code)
}

var binary string

func TestVersion(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), binary, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "gateway ") {
		t.Fatalf("%s, %v", out, err)
	}
}

// The command in docs/operations.md: the example names files that only its operator has, and nothing else is wrong.
func TestCheckExample(t *testing.T) {
	example, err := os.ReadFile("../../configs/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seed := filepath.Join(t.TempDir(), "seed")
	write(t, seed, base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	config := write(t, filepath.Join(t.TempDir(), "example.yaml"), strings.ReplaceAll(string(example), "/etc/gateway/bravobank.seed", seed))
	out, err := exec.CommandContext(t.Context(), binary, "check", "-f", config).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "good: production") {
		t.Fatalf("%s, %v", out, err)
	}
}

func TestCheckTellsAllProblems(t *testing.T) {
	config := write(t, filepath.Join(t.TempDir(), "bad.yaml"), "environment: production\npublic_url: http://gw\nredsi: embedded\nclients: []\n")
	out, err := exec.CommandContext(t.Context(), binary, "check", "-f", config).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 78 {
		t.Fatalf("ended with %v: %s", err, out)
	}
	for _, want := range []string{"line 2: public_url", "line 3: redsi", "^", "accounts: required", "needs a real Redis"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// An order survives kill -9 at any moment after its answer, and the client's repeated request gets the same bytes.
func TestKilledAndRestarted(t *testing.T) {
	for name, stores := range map[string]func(*testing.T) (store, redis string){
		"sqlite and embedded redis": func(t *testing.T) (string, string) {
			return "sqlite:" + filepath.Join(t.TempDir(), "gateway.db"), "embedded"
		},
		"postgres and redis": func(t *testing.T) (string, string) { return testkit.Postgres(t), "redis://" + testkit.Redis(t) },
	} {
		t.Run(name, func(t *testing.T) {
			store, redis := stores(t)
			config := configFile(t, store, redis)
			first := start(t, config)
			status, replayed, body := first.order(t, "key-of-sixteen-or-more", "ref-1", "H60983881309263")
			if status != http.StatusCreated || replayed != "" {
				t.Fatalf("%d %s: %s", status, replayed, body)
			}
			first.end(t, syscall.SIGKILL)

			second := start(t, config)
			status, replayed, again := second.order(t, "key-of-sixteen-or-more", "ref-1", "H60983881309263")
			if status != http.StatusOK || replayed != "true" || !bytes.Equal(body, again) {
				t.Fatalf("replay: %d %s:\n%s\nfirst:\n%s", status, replayed, again, body)
			}
			if status, _, other := second.order(t, "another-key-of-16-or-more", "ref-2", "H60983881309263"); status != http.StatusConflict {
				t.Fatalf("the bill was ordered twice: %d %s", status, other)
			}
			if err := second.end(t, syscall.SIGTERM); err != nil {
				t.Fatalf("SIGTERM ended it with %v", err)
			}
		})
	}
}

// Without Redis orders are placed all the same.
func TestRedisGone(t *testing.T) {
	server := testkit.RedisServer(t)
	g := start(t, configFile(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"), "redis://"+server.Addr))
	for i, harm := range []func() error{func() error { return nil }, server.Pause, func() error { server.Stop(); return nil }} {
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		status, _, body := g.order(t, fmt.Sprintf("key-of-sixteen-or-more-%d", i), fmt.Sprintf("ref-%d", i), fmt.Sprintf("H6098388130926%d", i))
		if status != http.StatusCreated {
			t.Fatalf("harm %d: %d %s", i, status, body)
		}
	}
}

// gateway is a running binary.
type gateway struct {
	cmd      *exec.Cmd
	api, ops string
}

func configFile(t *testing.T, store, redis string) string {
	t.Helper()
	digest := sha256.Sum256([]byte(apiSecret))
	bank := "http://127.0.0.1:9" // the discard port: nobody answers
	return write(t, filepath.Join(t.TempDir(), "gateway.yaml"), fmt.Sprintf(`environment: sandbox
listen: {api: "127.0.0.1:%d", edge: "127.0.0.1:%d", ops: "127.0.0.1:%d"}
public_url: https://gw.example
store: %q
redis: %q
clients:
  - {id: core, keys: [{id: test, sha256: "%s"}], merchants: [pma], return_prefixes: ["https://core.example/result"]}
merchants: [{code: pma, name: 臺北市停車管理工程處, payees: {bravobank-main: "1136549"}}]
accounts:
  - name: bravobank-main
    adapter: bravobank
    network: loopback
    settings:
      order_url: %s/order
      api_url: %s
      signing_key: {id: pay-taipei-test-1, seed: cGF5LnRhaXBlaSBwdWJsaXNoZWQgdGVzdCBrZXkgMDE}
      bank_keys: [{id: bravo-test-1, key: gNghXuw44Qv-EJet_Lcj6M4fO9WOdyO8SrAwLfq_kbg}]
`, testkit.FreePort(t), testkit.FreePort(t), testkit.FreePort(t), store, redis, hex.EncodeToString(digest[:]), bank, bank))
}

// start runs the binary until it says that it serves.
func start(t *testing.T, config string) *gateway {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "serve", "-f", config)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	lines := json.NewDecoder(stderr)
	for {
		var l struct{ Msg, API, Ops string }
		if err := lines.Decode(&l); err != nil {
			rest, _ := io.ReadAll(lines.Buffered())
			t.Fatalf("it does not serve: %v %s", err, rest)
		}
		if l.Msg == "serving" {
			go func() { _, _ = io.Copy(io.Discard, stderr) }() // ends with the process
			g := &gateway{cmd: cmd, api: "http://" + l.API, ops: "http://" + l.Ops}
			g.ready(t)
			return g
		}
	}
}

func (g *gateway) ready(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/healthz", "/readyz"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.ops+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
	}
}

// end sends a signal and waits for the process.
func (g *gateway) end(t *testing.T, s syscall.Signal) error {
	t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
	return g.cmd.Wait()
}

func (g *gateway) order(t *testing.T, key, reference, billNo string) (status int, replayed string, body []byte) {
	t.Helper()
	text := fmt.Sprintf(`{"client_reference":%q,"merchant":"pma","payer":{"member_id":"1361049"},"provider":"bravobank",
"amount":{"value":"20","currency":"TWD"},"lines":[{"bill_no":%q,"name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"}],
"return_url":"https://core.example/result"}`, reference, billNo)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.api+"/v1/orders", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer gk_test_"+apiSecret)
	req.Header.Set("Idempotency-Key", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Idempotency-Replayed"), body
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// SIGTERM must not take longer than the promise to whoever runs us; the bound is generous so that a busy
// machine does not break it.
func TestStopsSoon(t *testing.T) {
	g := start(t, configFile(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"), "embedded"))
	done := make(chan error, 1)
	go func() { done <- g.end(t, syscall.SIGTERM) }()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not stop")
	}
}
