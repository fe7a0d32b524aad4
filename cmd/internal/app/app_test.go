package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/orders/sqlstore"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/all"
)

// The gateway of these tests runs in this process, in front of a bank that nobody needs to reach.

const (
	webhookKey = "whsec_dGVzdHMgb25seTogc2lnbnMgZXZlbnRzIGhlcmU="
	loopback   = `{api: "127.0.0.1:0", edge: "127.0.0.1:0", ops: "127.0.0.1:0"}`
)

// sandbox is a configuration with a client for each of the webhooks' URLs: core0, core1 and so on.
func sandbox(store string, webhooks ...string) string {
	digest := sha256.Sum256([]byte(apiSecret))
	clients := ""
	for i, url := range webhooks {
		clients += fmt.Sprintf(`  - {id: core%d, keys: [{id: key%d, sha256: "%x"}], merchants: [pma], return_prefixes: ["https://core.example/result"],
     webhook: {url: %q, network: loopback, keys: [%q]}}
`, i, i, digest, url, webhookKey)
	}
	return fmt.Sprintf(`environment: sandbox
listen: %s
public_url: https://gw.example
store: %q
redis: embedded
clients:
%smerchants: [{code: pma, name: 臺北市停車管理工程處, payees: {bank-main: "1136549"}}]
accounts:
  - name: bank-main
    adapter: bravobank
    network: loopback
    settings:
      order_url: http://127.0.0.1:9/order
      api_url: http://127.0.0.1:9
      signing_key: {id: pay-taipei-test-1, seed: cGF5LnRhaXBlaSBwdWJsaXNoZWQgdGVzdCBrZXkgMDE}
      bank_keys: [{id: bravo-test-1, key: gNghXuw44Qv-EJet_Lcj6M4fO9WOdyO8SrAwLfq_kbg}]
`, loopback, store, clients)
}

// sqlite is the address of a new store.
func sqlite(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "gateway.db") }

// lines is a log that tests read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func parsed(t *testing.T, text string) *configs.Config {
	t.Helper()
	c, err := configs.Parse([]byte(text), check)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// opened is a gateway that is not served yet.
func opened(t *testing.T, text string, o Options) (*App, *lines) {
	t.Helper()
	log := &lines{}
	o.Log, o.Migrate = slog.New(slog.NewTextHandler(log, nil)), true
	a, err := Open(t.Context(), parsed(t, text), o)
	if err != nil {
		t.Fatal(err)
	}
	return a, log
}

// serve runs a gateway until stop is called, which returns what Serve did.
func serve(t *testing.T, a *App) (api string, stop func() error) {
	t.Helper()
	l, err := Listen(t.Context(), a.config.Listen)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx, l) }()
	stop = sync.OnceValue(func() error { cancel(); return <-served })
	t.Cleanup(func() { _ = stop() })
	return "http://" + l.API.Addr().String(), stop
}

// order places an order of client core<n>.
func order(t *testing.T, api string, n int, billNo string) {
	t.Helper()
	body := fmt.Sprintf(`{"client_reference":%q,"merchant":"pma","payer":{"member_id":"1361049"},"provider":"bravobank",
"amount":{"value":"20","currency":"TWD"},"lines":[{"bill_no":%q,"name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"}],
"return_url":"https://core.example/result"}`, billNo, billNo)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api+"/v1/orders", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", fmt.Sprintf("Bearer gk_key%d_%s", n, apiSecret))
	req.Header.Set("Idempotency-Key", "key-of-sixteen-or-more-"+billNo)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if answer, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s, %v", resp.Status, answer, err)
	}
}

// webhook is a client's webhook that tells of each event. It answers, or it hangs and tells when the gateway gives up.
func webhook(t *testing.T, answers bool) (url string, came, gaveUp <-chan struct{}) {
	events, left, free := make(chan struct{}, 100), make(chan struct{}, 100), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		events <- struct{}{}
		if answers {
			return
		}
		select {
		case <-free:
		case <-r.Context().Done():
			left <- struct{}{}
		}
	}))
	t.Cleanup(func() { close(free); s.Close() })
	return s.URL, events, left
}

func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute): // only ends a test that would hang
		t.Fatalf("not within a minute: %s", what)
	}
}

// A client that takes no answer home and a store that another process has locked: what is cut then cannot tell the store
// what became of it. The stop does not wait for that; it takes no longer than it was given.
func TestStopDoesNotWaitForWhatDoesNotEnd(t *testing.T) {
	url, came, _ := webhook(t, false)
	store := sqlite(t)
	a, log := opened(t, sandbox(store, url), Options{})
	a.stop = stopTimes{grace: 10 * time.Millisecond, cut: 20 * time.Millisecond, end: time.Minute}
	api, stop := serve(t, a)
	order(t, api, 0, "H60983881309263")
	await(t, "a delivery", came)
	locked, release := lock(t, store)
	await(t, "the lock", locked)
	if err := stop(); err != nil {
		t.Errorf("the stop ended with %v", err)
	}
	release()
	if told := log.String(); !strings.Contains(told, "no longer waiting") || !strings.Contains(told, "deliver to core0") {
		t.Errorf("the stop has waited for everything, or does not say what it has left:\n%s", told)
	}
}

// lock holds a store's write lock, as another process may.
func lock(t *testing.T, store string) (locked chan struct{}, release func()) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	locked, free := make(chan struct{}), make(chan struct{})
	var held sync.WaitGroup
	held.Go(func() {
		err := db.Write(context.WithoutCancel(t.Context()), func(*sqldb.Tx) error {
			close(locked)
			<-free
			return nil
		})
		if err = errors.Join(err, db.Close()); err != nil {
			t.Error(err)
		}
	})
	return locked, func() { close(free); held.Wait() }
}

// The usual times keep the promise that is made to whoever sends the SIGTERM.
func TestUsualStop(t *testing.T) {
	if u := usualStop(); u.grace != 8*time.Second || u.cut <= u.grace || u.end <= u.cut || u.end >= 10*time.Second {
		t.Errorf("%+v", u)
	}
}

// A request that is cut still has its store until it has returned.
func TestStopWaitsForRequests(t *testing.T) {
	a, _ := opened(t, sandbox(sqlite(t), "http://127.0.0.1:9/"), Options{})
	a.stop = stopTimes{grace: 10 * time.Millisecond, cut: time.Minute, end: 2 * time.Minute}
	entered, done := make(chan struct{}), make(chan error, 1)
	a.servers.api = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		var err error
		for range 1000 { // long enough for a store that does not wait to be closed
			err = errors.Join(err, a.db.Ping(context.WithoutCancel(r.Context())))
		}
		done <- err
	})
	api, stop := serve(t, a)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, api, nil)
	if err != nil {
		t.Fatal(err)
	}
	var asked sync.WaitGroup
	asked.Go(func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
		}
	})
	await(t, "the request", entered)
	if err := stop(); err != nil {
		t.Error(err)
	}
	asked.Wait()
	if err := <-done; err != nil {
		t.Errorf("the store was closed under a request: %.300v", err)
	}
}

// A client that answers nobody keeps its own events waiting, however many, and nobody else's.
func TestOneClientThatHangsHoldsUpNoOther(t *testing.T) {
	hanging, cameThere, gaveUp := webhook(t, false)
	good, came, _ := webhook(t, true)
	a, _ := opened(t, sandbox(sqlite(t), hanging, good), Options{})
	a.stop = stopTimes{grace: time.Millisecond, cut: time.Minute, end: time.Minute}
	api, _ := serve(t, a)
	for i := range 6 {
		order(t, api, 0, fmt.Sprintf("H6098388130926%d", i))
	}
	for range 4 {
		await(t, "a delivery that hangs", cameThere)
	}
	order(t, api, 1, "H61283631217536")
	select {
	case <-gaveUp:
		t.Error("the other client's event waited until a delivery that hangs was given up")
	case <-came:
	}
}

// A panic in a step is an error of that step: it is told without the value, and the step runs again.
func TestPanicInAStep(t *testing.T) {
	log := &lines{}
	clock := testkit.NewClock(time.Date(2017, 6, 13, 9, 0, 0, 0, time.UTC))
	j := newJobs(slog.New(slog.NewTextHandler(log, nil)), clock.Now)
	again := make(chan struct{})
	first := true
	j.add("fragile", 1, func(context.Context) (time.Time, error) {
		if first {
			first = false
			panic("hunter2")
		}
		close(again)
		return clock.Now().Add(time.Hour), nil
	})
	j.start()
	await(t, "the next step", again)
	j.stopped(t.Context())
	if told := log.String(); strings.Contains(told, "hunter2") || !strings.Contains(told, "job=fragile type=string") ||
		!strings.Contains(told, "TestPanicInAStep") || !strings.Contains(told, "will be tried again") {
		t.Errorf("told:\n%s", told)
	}
}

// A store that is not migrated is refused at the start, with what to do.
func TestOldSchemaIsRefused(t *testing.T) {
	c := parsed(t, sandbox(sqlite(t), "http://127.0.0.1:9/"))
	open := func(migrate bool) error {
		a, err := Open(t.Context(), c, Options{Log: slog.New(slog.DiscardHandler), Migrate: migrate})
		if err == nil {
			err = a.Close()
		}
		return err
	}
	if err := open(false); err == nil || !strings.Contains(err.Error(), "gateway migrate -f FILE") {
		t.Errorf("a new store: %v", err)
	}
	if err := open(true); err != nil {
		t.Fatal(err)
	}
	if err := open(false); err != nil {
		t.Errorf("a migrated store: %v", err)
	}
}

// The gauge tells of Redis as it is, with or without orders.
func TestRedisGauge(t *testing.T) {
	server := testkit.RedisServer(t)
	clock := testkit.NewClock(time.Now())
	a, _ := opened(t, strings.Replace(sandbox(sqlite(t), "http://127.0.0.1:9/"), "redis: embedded", "redis: redis://"+server.Addr, 1), Options{Now: clock.Now})
	defer func() { _ = a.Close() }()
	scraped := func(want string) bool {
		t.Helper()
		clock.Advance(2 * time.Second) // a Redis that has failed is left alone for one
		w := httptest.NewRecorder()
		a.servers.ops.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		return strings.Contains(w.Body.String(), `gateway_degraded{part="redis"} `+want+"\n")
	}
	until := func(what, want string) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !scraped(want); { // a busy machine may miss the limit of one operation
			if time.Now().After(deadline) {
				t.Fatalf("%s: the gauge is not %s", what, want)
			}
		}
	}
	until("Redis works", "0")
	server.Stop()
	until("Redis is gone", "1")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	until("Redis is back", "0")
}

// production is a right configuration for production, with keys of its own.
func production(t *testing.T) string {
	t.Helper()
	seed := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(seed, []byte(base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))), 0o600); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"environment: sandbox", "environment: production", "redis: embedded", "redis: rediss://redis.example:6380", "network: loopback", "network: private",
		"http://127.0.0.1:9/order", "https://bank.example/order", "http://127.0.0.1:9", "https://bank.example",
		"seed: cGF5LnRhaXBlaSBwdWJsaXNoZWQgdGVzdCBrZXkgMDE", "seed_file: "+seed, "gNghXuw44Qv-EJet_Lcj6M4fO9WOdyO8SrAwLfq_kbg", "_IQIqe_r36z2BwNUIp6NtuFzrTRiI79vqylUCunfj38",
	).Replace(sandbox("sqlite:gateway.db", "https://core.example/events"))
}

// Whatever would keep the gateway from starting is found by the check, all at once with the rest, where it stands.
func TestCheckFindsWhatStartingWould(t *testing.T) {
	parsed(t, production(t))
	for _, tt := range []struct{ name, replace, with, want string }{
		{"return prefix in capitals", "https://core.example/result", "https://Core.example/result", "line 7: clients[0].return_prefixes[0]: want an origin in lower case"},
		{"return prefix with a password", "https://core.example/result", "https://u:hunter2@core.example/result", "line 7: clients[0].return_prefixes[0]: want an origin"},
		{"public_url too long", "https://gw.example", "https://gateway.of.the.city.example", "line 3: public_url: webhooks: public_url makes return addresses of"},
		{"public_url with a question mark", "https://gw.example", "https://gw.example?", "line 3: public_url: webhooks: public_url must be scheme://host"},
		{"port that is a word", `edge: "127.0.0.1:0"`, `edge: "127.0.0.1:abc"`, "line 2: listen.edge: want host:port, with a number"},
		{"unreadable store", `store: "sqlite:gateway.db"`, `store: "postgres://gateway:hunter2@db:port/pay"`, "line 4: store: the address cannot be read"},
		{"store in memory", `"sqlite:gateway.db"`, `"sqlite::memory:"`, "line 4: store: it needs a file"},
		{"Postgres that is not verified", `"sqlite:gateway.db"`, `"postgres://gateway:hunter2@db/pay"`, "line 4: store: the connection to Postgres is not verified"},
		{"certificate that is not there", "redis:", "tls: {ops: {cert_file: none.pem, key_file: none.key}}\nredis:", "line 5: tls.ops: open none.pem: no such file"},
		{"certificate that is none", "redis:", "tls:\n  api:\n    cert_file: app.go\n    key_file: app.go\nredis:", "line 6: tls.api: tls: failed to find any PEM data"},
		{"adapter that is not known", "adapter: bravobank", "adapter: bravebank", "accounts[0].adapter: account bank-main: adapter \"bravebank\" is not known"},
		{"seed that is not there", "{id: pay-taipei-test-1, seed_file:", "{id: pay-taipei-test-1, seed_file: /none", "accounts[0].settings: account bank-main: signing_key.seed_file: open /none"},
		{"seed that is none", "{id: pay-taipei-test-1, seed_file:", "{id: pay-taipei-test-1, seed: hunter2, x:", "settings.signing_key.x: unknown setting"},
		{"plain http to a bank in a private network", "api_url: https://bank.example", "api_url: http://bank.example", "accounts[0].settings: account bank-main: api_url: production needs https"},
		{"published key of the bank", "_IQIqe_r36z2BwNUIp6NtuFzrTRiI79vqylUCunfj38", "gNghXuw44Qv-EJet_Lcj6M4fO9WOdyO8SrAwLfq_kbg", "accounts[0].settings: account bank-main: bravobank: bank key"},
		{"published key for events", webhookKey, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "clients[0].webhook.keys: key 1: everybody can read this key"},
		{"address that its network does not allow", "https://core.example/events", "https://127.0.0.1/events", "clients[0].webhook: httpx"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(production(t), tt.replace, tt.with, 1)
			if text == production(t) {
				t.Fatal("nothing was replaced")
			}
			_, err := configs.Parse([]byte(text), check)
			switch {
			case err == nil:
				t.Fatal("accepted")
			case !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "^") || strings.Contains(err.Error(), "hunter2"):
				t.Errorf("want %q:\n%v", tt.want, err)
			}
			if found, ok := errors.AsType[configs.Problems](err); !ok || len(found) != 1 {
				t.Errorf("%d problems, want one:\n%v", len(found), err)
			}
			_, all := configs.Parse([]byte(strings.Replace(text, "merchants: [pma]", "merchants: [water]", 1)), check)
			if found, _ := errors.AsType[configs.Problems](all); len(found) != 2 {
				t.Errorf("not at once with another problem:\n%v", all)
			}
		})
	}
}

// What is wrong with a window is told where it stands, though one before it cannot be read.
func TestCheckTellsOfEachWindow(t *testing.T) {
	text := production(t) + `calendar:
  - {id: a, scope: account, name: bank-main, daily: {from: "25:00", to: "03:00"}}
  - {id: b, scope: account, name: bank-main, daily: {from: "01:00", to: "03:00"}}
  - {id: c, scope: account, name: nobody, daily: {from: "05:00", to: "06:00"}}
`
	_, err := configs.Parse([]byte(text), check)
	first := strings.Count(production(t), "\n") + 2
	for _, want := range []string{fmt.Sprintf("line %d: calendar[0].daily: ", first), fmt.Sprintf("line %d: calendar[2].name: ", first+2)} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q:\n%v", want, err)
		}
	}
	if found, _ := errors.AsType[configs.Problems](err); len(found) != 2 {
		t.Errorf("%d problems, want two", len(found))
	}
}

// shortNumbers is an adapter that takes order numbers of 19 characters.
type shortNumbers struct{ providers.Provider }

func (shortNumbers) Describe() providers.Descriptor {
	return providers.Descriptor{Number: providers.NumberRule{MaxLength: 19}}
}

func TestNumberPrefixTooLongForItsProvider(t *testing.T) {
	for prefix, want := range map[string]string{"A": "", "AB": "accounts[0].number_prefix: router: account"} {
		c := parsed(t, sandbox("sqlite:gateway.db", "http://127.0.0.1:9/"))
		c.Accounts[0].NumberPrefix = prefix
		a := &App{config: c, log: slog.New(slog.DiscardHandler), now: time.Now, store: new(sqlstore.Store), options: Options{
			Adapter: func(string, all.Account, all.Deps) (providers.Provider, error) { return shortNumbers{}, nil },
		}}
		found := ""
		a.wire(func(path string, err error) { found += path + ": " + err.Error() })
		if !strings.HasPrefix(found, want) || (found == "") != (want == "") {
			t.Errorf("prefix %q: %q", prefix, found)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A listener with a key pair ends TLS; the others stay as they are.
func TestListenerEndsTLS(t *testing.T) {
	known := httptest.NewTLSServer(nil) // for its certificate, which its client trusts
	defer known.Close()
	pair := known.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := opened(t, sandbox(sqlite(t), "http://127.0.0.1:9/")+fmt.Sprintf("tls: {api: {cert_file: %s/cert, key_file: %s/key}}\n", dir, dir), Options{})
	api, _ := serve(t, a)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, strings.Replace(api, "http:", "https:", 1)+"/v1/openapi.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := known.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s, %v", resp.Status, err)
	}
}

// An account that is taken away while payments wait there leaves them to nobody; the log says so.
func TestAccountTakenAway(t *testing.T) {
	store := sqlite(t)
	text := sandbox(store, "http://127.0.0.1:9/events")
	a, _ := opened(t, text, Options{})
	api, stop := serve(t, a)
	order(t, api, 0, "H60983881309263")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for name, told := range map[string]bool{"bank-main": false, "bank-new": true} {
		a, log := opened(t, strings.ReplaceAll(text, "bank-main", name), Options{})
		if strings.Contains(log.String(), "not configured any more") != told || told != strings.Contains(log.String(), "account=bank-main") {
			t.Errorf("with %s the log is %s", name, log)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}
