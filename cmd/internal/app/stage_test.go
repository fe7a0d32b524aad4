package app

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/all"
	"pay.taipei/gateway/providers/providertest"
	"pay.taipei/gateway/signing"
)

// The gateway of these tests is this test binary, started again: a process that can be killed, with an adapter that
// the production binary does not have and a clock that the test sets.
const (
	envConfig = "GATEWAY_TEST_CONFIG"
	envSkew   = "GATEWAY_TEST_SKEW"

	twinSecret = "tests only: what twin and adapter share"
	apiSecret  = "dGVzdHMtb25seS1zZWNyZXQtb2YtNDMtY2hhcmFjdGV"
)

func TestMain(m *testing.M) {
	config, child := os.LookupEnv(envConfig)
	if !child {
		os.Exit(m.Run())
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := serveScripted(config, log); err != nil {
		log.Error("ended", "err", err)
		os.Exit(1)
	}
}

func serveScripted(config string, log *slog.Logger) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	skew, err := time.ParseDuration(os.Getenv(envSkew))
	if err != nil {
		return err
	}
	c, err := configs.Load(config)
	if err != nil {
		return err
	}
	a, err := Open(ctx, c, Options{Log: log, Migrate: true, Now: func() time.Time { return time.Now().Add(skew) }, Adapter: openScripted})
	if err != nil {
		return err
	}
	l, err := Listen(ctx, c.Listen)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	log.Info("serving", "api", l.API.Addr().String(), "edge", l.Edge.Addr().String(), "ops", l.Ops.Addr().String())
	return a.Serve(ctx, l)
}

func openScripted(_ string, a all.Account, d all.Deps) (providers.Provider, error) {
	var s providertest.Settings
	if err := a.Decode(&s); err != nil {
		return nil, err
	}
	client, err := d.HTTP(s.Target())
	if err != nil {
		return nil, err
	}
	return providertest.Open(a.Decode, providertest.Deps{HTTP: client, Now: d.Now})
}

// stage is a gateway in a process of its own, a provider, a client and its core, and a plan to kill the gateway at
// a certain moment.
type stage struct {
	*testing.T
	config string
	twin   *providertest.Twin
	core   *core

	mu             sync.Mutex
	process        *exec.Cmd
	api, edge, ops string        // of process
	ended          chan struct{} // of process
	started        time.Time     // before process was, by the stage's clock
	skew           time.Duration
	armed          bool
	target         string // the moment to be killed at
	nth            int    // of its kind, from 1
	passed         int    // moments of that kind, since armed
	died           bool
}

// patience is how often the provider lets itself be asked. The zero value: as often as anybody likes.
type patience struct {
	gap time.Duration // that the adapter keeps
	ban providertest.Ban
}

// newStage prepares everything and starts the gateway. With a dsn of Postgres its commits are moments too.
func newStage(t *testing.T, dsn string, formPost bool, target string, nth int) *stage {
	return newPatientStage(t, dsn, formPost, target, nth, patience{})
}

func newPatientStage(t *testing.T, dsn string, formPost bool, target string, nth int, p patience) *stage {
	s := &stage{T: t, target: target, nth: nth}
	if strings.HasPrefix(dsn, "postgres:") {
		dsn = testkit.PostgresGate(t, dsn, func(m testkit.Moment) bool { return s.moment(string(m)) })
	}
	seed := sha256.Sum256([]byte("tests only: signs events"))
	signer := ed25519.NewKeyFromSeed(seed[:])
	s.core = newCore(t, s, "whpk_"+base64.StdEncoding.EncodeToString(signer.Public().(ed25519.PublicKey)))
	s.twin = providertest.StartTwin(t, providertest.TwinConfig{Secret: signing.NewSecret([]byte(twinSecret)), Now: s.now, Environment: providers.Sandbox, Ban: p.ban})
	for _, op := range []providers.Op{providers.OpCreate, providers.OpQuery, providers.OpConfirm} {
		done := providertest.Step{Do: true, Before: func(string) { s.moment("before the " + string(op) + "'s answer") }}
		s.twin.Script(op, done, done, done)
	}
	digest := sha256.Sum256([]byte(apiSecret))
	s.config = filepath.Join(t.TempDir(), "gateway.yaml")
	text := fmt.Sprintf(`environment: sandbox
listen: {api: "127.0.0.1:0", edge: "127.0.0.1:0", ops: "127.0.0.1:0"}
public_url: https://gw.example
store: %q
redis: embedded
clients:
  - id: core
    keys: [{id: test, sha256: %q}]
    merchants: [pma]
    return_prefixes: ["https://core.example/result"]
    webhook: {url: %q, network: loopback, keys: [%q]}
merchants: [{code: pma, name: 臺北市停車管理工程處, payees: {scripted-main: "1136549"}}]
accounts:
  - name: scripted-main
    adapter: scripted
    network: loopback
    settings: {url: %q, secret: %q, form_post: %t, gap: %s}
`, dsn, hex.EncodeToString(digest[:]), s.core.url, "whsk_"+base64.StdEncoding.EncodeToString(signer), s.twin.URL(), twinSecret, formPost, p.gap)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(func() { s.signal(syscall.SIGKILL) })
	s.mu.Lock()
	s.armed = true
	s.mu.Unlock()
	return s
}

func (s *stage) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.skew)
}

// start runs the gateway until it says that it serves.
func (s *stage) start() {
	s.Helper()
	self, err := os.Executable()
	if err != nil {
		s.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), envConfig+"="+s.config, envSkew+"="+s.skew.String())
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.Fatal(err)
	}
	begun := s.now()
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	lines := json.NewDecoder(stderr)
	for {
		var l struct{ Msg, Err, API, Edge, Ops string }
		if err := lines.Decode(&l); err != nil {
			rest, _ := io.ReadAll(io.MultiReader(lines.Buffered(), stderr))
			s.Fatalf("the gateway does not serve: %v %s", err, rest)
		}
		if l.Msg == "serving" {
			s.api, s.edge, s.ops = l.API, l.Edge, l.Ops
			break
		}
		if l.Err != "" {
			s.Log(l.Err)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, stderr) // until the process ends
		_ = cmd.Wait()
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.ended, s.started = cmd, ended, begun
}

// signal ends the gateway and waits for its end.
func (s *stage) signal(sig syscall.Signal) {
	_ = s.process.Process.Signal(sig) // fails only when it has ended
	<-s.ended
}

// moment is told of every moment at which the gateway may be killed, and kills it at the chosen one. It says whether the
// gateway goes on.
func (s *stage) moment(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed || s.died || name != s.target {
		return true
	}
	s.passed++
	if s.passed < s.nth {
		return true
	}
	s.died = true
	s.signal(syscall.SIGKILL)
	return false
}

// later stops the gateway, if it runs, and starts it again after some time.
func (s *stage) later(d time.Duration) {
	s.Helper()
	s.signal(syscall.SIGTERM)
	s.mu.Lock()
	s.skew += d
	s.mu.Unlock()
	s.start()
}

// revived starts a gateway that was killed again, when all that the dead one had claimed has lapsed.
func (s *stage) revived() {
	select {
	case <-s.ended:
		s.later(2 * time.Minute)
	default:
	}
}

// until repeats f, with a gateway that runs, until it returns true.
func (s *stage) until(what string, f func() (bool, error)) {
	s.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // between two questions, not for a result
		s.revived()
		done, err := f()
		if err == nil && done {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("not within a minute: %s; last error: %v", what, err)
		}
	}
}

// ask sends one request to the order API.
func (s *stage) ask(method, path, key, body string, into any) (status int, raw []byte, err error) {
	req, err := http.NewRequestWithContext(s.Context(), method, "http://"+s.api+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer gk_test_"+apiSecret)
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if raw, err = io.ReadAll(resp.Body); err != nil {
		return 0, nil, err
	}
	if into != nil && resp.StatusCode < 300 {
		err = json.Unmarshal(raw, into)
	}
	return resp.StatusCode, raw, err
}

// placed is what an answer to POST and GET tells.
type placed struct {
	OrderNo   string `json:"order_no"`
	Status    string
	Doubt     bool
	Late      bool
	Surplus   []json.RawMessage
	AttemptNo string `json:"attempt_no"`
	Redirect  *struct {
		Method, URL string
		Fields      map[string]string
	}
	Attempts []struct {
		AttemptNo string `json:"attempt_no"`
	}
}

// place asks for the order until there is an answer, as a client does.
func (s *stage) place(key, reference string) (o placed, answer []byte, status int) {
	s.Helper()
	return s.placeBill(key, reference, "H60983881309263")
}

func (s *stage) placeBill(key, reference, bill string) (o placed, answer []byte, status int) {
	s.Helper()
	body := fmt.Sprintf(`{"client_reference":%q,"merchant":"pma","payer":{"member_id":"1361049"},"provider":"scripted",
"amount":{"value":"20","currency":"TWD"},"lines":[{"bill_no":%q,"name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"}],
"return_url":"https://core.example/result","expires_in":"30m"}`, reference, bill)
	s.until("an answer to "+reference, func() (bool, error) {
		var err error
		status, answer, err = s.ask(http.MethodPost, "/v1/orders", key, body, &o)
		if err == nil && status == http.StatusConflict && bytes.Contains(answer, []byte(`"in_flight"`)) {
			err = errors.New("in flight")
		}
		return true, err
	})
	return o, answer, status
}

func (s *stage) order(no string) (o placed, err error) {
	status, raw, err := s.ask(http.MethodGet, "/v1/orders/"+no, "", "", &o)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, raw)
	}
	return o, err
}

// depth is how many events are not delivered yet.
func (s *stage) depth() (string, error) {
	req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.ops+"/metrics", nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	_, rest, _ := strings.Cut(string(text), `gateway_outbox_depth{state="ready"} `)
	n, _, _ := strings.Cut(rest, "\n")
	return n, err
}

// core is the client's own side: it dedupes events on (order_no, version) and settles a bill once.
type core struct {
	url    string
	server *httptest.Server

	mu   sync.Mutex
	seen map[string][]byte // body by order and version
	last map[string]int    // version by order
	paid map[string]int    // how often an order's payment took effect
}

func newCore(t *testing.T, s *stage, key string) *core {
	verifier, err := signing.ParseWebhookVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	c := &core{seen: map[string][]byte{}, last: map[string]int{}, paid: map[string]int{}}
	c.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the gateway died while it sent
		}
		s.moment("before the event was taken")
		h := r.Header
		if err := signing.VerifyWebhook([]*signing.WebhookVerifier{verifier}, h.Get("webhook-id"), h.Get("webhook-timestamp"), h.Get("webhook-signature"), body, s.now()); err != nil {
			t.Errorf("event refused: %v", err)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if err := c.take(body); err != nil {
			t.Error(err)
		}
		s.moment("before the event's answer")
	}))
	t.Cleanup(func() { c.server.Close() })
	c.url = c.server.URL + "/events"
	return c
}

// up serves again at the same address what was closed.
func (c *core) up(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", c.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	again := httptest.NewUnstartedServer(c.server.Config.Handler)
	_ = again.Listener.Close() // the one it chose for itself
	again.Listener = l
	again.Start()
	c.server = again
}

func (c *core) take(body []byte) error {
	var e struct {
		Type    string
		OrderNo string `json:"order_no"`
		Version int
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	name := fmt.Sprintf("%s %d", e.OrderNo, e.Version)
	if before, again := c.seen[name]; again {
		if !bytes.Equal(before, body) {
			return fmt.Errorf("event %s came again with other bytes:\n%s\n%s", name, before, body)
		}
		return nil
	}
	if e.Version != c.last[e.OrderNo]+1 {
		return fmt.Errorf("event %s came after version %d", name, c.last[e.OrderNo])
	}
	c.seen[name], c.last[e.OrderNo] = body, e.Version
	if e.Type == "order.paid" {
		c.paid[e.OrderNo]++
	}
	return nil
}

// complete compares the client's feed with what its core was sent.
func (c *core) complete(s *stage) error {
	var feed struct {
		Events []struct {
			Seq        int64
			Hash, Body string
		}
	}
	if status, raw, err := s.ask(http.MethodGet, "/v1/events?limit=100", "", "", &feed); err != nil || status != http.StatusOK {
		return fmt.Errorf("%d %s: %w", status, raw, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(feed.Events) != len(c.seen) {
		return fmt.Errorf("%d events in the feed, %d delivered", len(feed.Events), len(c.seen))
	}
	var chain [sha256.Size]byte
	for i, e := range feed.Events {
		chain = sha256.Sum256(append(chain[:], e.Body...))
		if e.Seq != int64(i+1) || e.Hash != hex.EncodeToString(chain[:]) {
			return fmt.Errorf("event %d in the feed has seq %d and hash %s", i, e.Seq, e.Hash)
		}
	}
	return nil
}
