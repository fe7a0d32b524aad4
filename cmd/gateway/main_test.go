package main

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	"pay.taipei/gateway/providers/all"
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

// The commands of docs/operations.md, as they stand there.
func TestCheckExample(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "```sh\n")
	commands, _, closed := strings.Cut(rest, "```")
	if !found || !closed || !strings.Contains(commands, "gateway check -f") {
		t.Fatalf("the page has other commands: %s", commands)
	}
	_, helps, found := strings.Cut(rest, "```sh\ngo run ./cmd/gateway providers")
	helps, _, closed = strings.Cut("go run ./cmd/gateway providers"+helps, "```")
	if !found || !closed {
		t.Fatal("the page does not show what operators can do")
	}
	commands += helps
	sh := exec.CommandContext(t.Context(), "sh", "-ec", commands)
	sh.Dir = "../.."
	sh.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	out, err := sh.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "good: production") {
		t.Fatalf("%s, %v", out, err)
	}
}

func TestCheckTellsAllProblems(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"settings": {
			"environment: production\npublic_url: http://gw\nredsi: embedded\nclients: []\n",
			[]string{"line 2: public_url", "line 3: redsi", "^", "accounts: required", "needs a real Redis"},
		},
		"adapters among other things": {
			"environment: sandbox\naccounts:\n  - name: a\n    adapter: nobank\n    settings: {}\n  - name: b\n    adapter: bravobank\n    settings:\n      order_url: https://bank.example/order\n" +
				"      api_url: https://bank.example\n      signing_key: {id: k, seed_file: /none}\n",
			[]string{
				"public_url: required", "line 4: accounts[0].adapter: account a: adapter \"nobank\" is not known: want one of [" + strings.Join(all.Names(), " ") + "]\n  4 | adapter: nobank\n               ^",
				"line 8: accounts[1].settings: account b: signing_key.seed_file: open /none: no such file or directory\n  8 | settings: …\n      ^",
			},
		},
		"nothing":            {"", []string{"file: want exactly one YAML document"}},
		"a list at the top":  {"- environment: demo\n", []string{"line 1: file: want settings at the top", "^"}},
		"no text but a word": {"demo\n", []string{"line 1: file: want settings at the top", "^"}},
	} {
		t.Run(name, func(t *testing.T) {
			config := write(t, filepath.Join(t.TempDir(), "bad.yaml"), tt.text)
			for _, command := range []string{"check", "serve", "migrate"} {
				out, err := exec.CommandContext(t.Context(), binary, command, "-f", config).CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 78 {
					t.Fatalf("%s ended with %v: %s", command, err, out)
				}
				for _, want := range tt.want {
					if command != "migrate" && !strings.Contains(string(out), want) {
						t.Errorf("%s: %q is missing in\n%s", command, want, out)
					}
				}
			}
		})
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
			_ = first.end(t, syscall.SIGKILL) // it was killed

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

// gateway is a running binary.
type gateway struct {
	cmd            *exec.Cmd
	api, edge, ops string
}

func configFile(t *testing.T, store, redis string) string {
	t.Helper()
	digest := sha256.Sum256([]byte(apiSecret))
	bank := "http://127.0.0.1:9" // the discard port: nobody answers
	return write(t, filepath.Join(t.TempDir(), "gateway.yaml"), fmt.Sprintf(`environment: sandbox
listen: {api: "127.0.0.1:0", edge: "127.0.0.1:0", ops: "127.0.0.1:0"}
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
`, store, redis, hex.EncodeToString(digest[:]), bank, bank))
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
		var l struct{ Msg, API, Edge, Ops string }
		if err := lines.Decode(&l); err != nil {
			rest, _ := io.ReadAll(lines.Buffered())
			t.Fatalf("it does not serve: %v %s", err, rest)
		}
		if l.Msg == "serving" {
			go func() { _, _ = io.Copy(io.Discard, stderr) }() // ends with the process
			g := &gateway{cmd: cmd, api: "http://" + l.API, edge: "http://" + l.Edge, ops: "http://" + l.Ops}
			g.ready(t)
			insist(t, config)
			return g
		}
	}
}

// insist holds the account's breakers closed as an operator does, since nobody answers at its bank and nobody would be
// sent there.
func insist(t *testing.T, config string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), binary, "providers", "open", "-f", config, "--for", "0s", "--reason", "its bank is a test's", "bravobank-main").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "bravobank-main held in use") {
		t.Fatalf("%s, %v", out, err)
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
