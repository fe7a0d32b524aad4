package webhooks_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/webhooks"
)

const (
	token     = "AbCdEfGhIjKlMnOpQrSt-_"
	orderNo   = "2017061300000016"
	attemptNo = orderNo + "01"
)

// bank is a decoder that takes the body "genuine" and nothing else.
type bank struct {
	mu     sync.Mutex
	seen   []providers.RawCallback
	decode func(providers.RawCallback) (providers.Notice, error) // nil: the rule above
	ack    func(providers.Verdict) providers.Ack                 // nil: fakeAck
}

func (b *bank) DecodeCallback(raw providers.RawCallback) (providers.Notice, error) {
	b.mu.Lock()
	b.seen = append(b.seen, raw)
	b.mu.Unlock()
	if b.decode != nil {
		return b.decode(raw)
	}
	if string(raw.Body) != "genuine" {
		return providers.Notice{}, &providers.Error{Provider: "bank", Op: providers.OpCallback, Kind: providers.Untrusted}
	}
	return providers.Notice{AttemptNo: attemptNo, Snapshot: &providers.Snapshot{State: providers.Paid}}, nil
}

func (b *bank) Ack(v providers.Verdict) providers.Ack {
	if b.ack != nil {
		return b.ack(v)
	}
	return fakeAck(v)
}

func fakeAck(v providers.Verdict) providers.Ack {
	switch v {
	case providers.Accepted:
		return providers.Ack{Status: 200, ContentType: "text/plain", Body: []byte("1|OK")}
	case providers.Refused:
		return providers.Ack{Status: 400, ContentType: "application/json", Body: []byte(`{"result":"refused"}`)}
	case providers.RetryLater:
	}
	return providers.Ack{Status: 503, ContentType: "text/plain", Body: []byte("later")}
}

type refusal struct {
	account, reason string
	raw             providers.RawCallback
}

// fakeRouter records what reaches the router.
type fakeRouter struct {
	bank *bank

	mu       sync.Mutex
	notices  []providers.Notice
	refusals []refusal
	returns  []providers.RawCallback
	clicks   []string

	notice    func(context.Context) (providers.Verdict, error)
	refuse    func() error
	browse    func(context.Context)
	checkout  orders.Checkout
	returnURL string
	pageErr   error
}

func (f *fakeRouter) Decoder(account string) (providers.CallbackDecoder, bool) {
	return f.bank, account == "bank-main"
}

func (f *fakeRouter) Notice(ctx context.Context, _ string, n providers.Notice, _ providers.RawCallback) (providers.Verdict, error) {
	f.mu.Lock()
	f.notices = append(f.notices, n)
	f.mu.Unlock()
	if f.notice != nil {
		return f.notice(ctx)
	}
	return providers.Accepted, nil
}

func (f *fakeRouter) Refuse(_ context.Context, account, reason string, raw providers.RawCallback) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refusals = append(f.refusals, refusal{account, reason, raw})
	if f.refuse != nil {
		return f.refuse()
	}
	return nil
}

func (f *fakeRouter) Checkout(ctx context.Context, token string) (orders.Checkout, error) {
	f.clicks = append(f.clicks, token)
	if f.browse != nil {
		f.browse(ctx)
	}
	return f.checkout, f.pageErr
}

func (f *fakeRouter) Return(ctx context.Context, _ string, raw providers.RawCallback) (orders.OrderNo, string, error) {
	f.returns = append(f.returns, raw)
	if f.browse != nil {
		f.browse(ctx)
	}
	return "2017061300000016", f.returnURL, f.pageErr
}

// listener is an edge listener on a real socket.
type listener struct {
	*fakeRouter
	url      string
	clock    *testkit.Clock
	log      *safeBuffer
	observed chan webhooks.Observation
	requests chan context.Context // of each request, as the server sees it
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func listen(t *testing.T, config webhooks.Config) *listener {
	t.Helper()
	l := &listener{
		fakeRouter: &fakeRouter{bank: &bank{}}, log: &safeBuffer{}, observed: make(chan webhooks.Observation, 1000), requests: make(chan context.Context, 1000),
		clock: testkit.NewClock(time.Date(2017, 6, 13, 9, 0, 0, 0, orders.Taipei)),
	}
	handler, err := webhooks.New(config, webhooks.Deps{
		Accounts: l.fakeRouter, Notices: l.fakeRouter, Pages: l.fakeRouter, Now: l.clock.Now,
		NewID: func() string { return "req-1" }, Nonce: func() string { return "bm9uY2U=" },
		Log: slog.New(slog.NewJSONHandler(l.log, nil)), Observe: func(o webhooks.Observation) { l.observed <- o },
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.requests <- r.Context()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	l.url = server.URL
	return l
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (l *listener) do(t *testing.T, method, path, body string, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, l.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (l *listener) call(t *testing.T, body string) answer {
	t.Helper()
	return l.do(t, "POST", "/callbacks/bank-main/"+token, body, nil)
}

// wantAck checks that an answer is the bank's own, byte for byte.
func wantAck(t *testing.T, got answer, v providers.Verdict) {
	t.Helper()
	want := fakeAck(v)
	if got.status != want.Status || got.body != string(want.Body) || got.header.Get("Content-Type") != want.ContentType {
		t.Errorf("answer %d %q %q, want %d %q %q", got.status, got.header.Get("Content-Type"), got.body, want.Status, want.ContentType, want.Body)
	}
}

func TestGenuineCallbackIsCommittedThenAcknowledged(t *testing.T) {
	l := listen(t, webhooks.Config{})
	committed := false
	l.notice = func(context.Context) (providers.Verdict, error) { committed = true; return providers.Accepted, nil }
	l.bank.ack = func(v providers.Verdict) providers.Ack {
		if !committed {
			t.Error("acknowledged before the commit")
		}
		return fakeAck(v)
	}
	got := l.do(t, "POST", "/callbacks/bank%2Dmain/"+token+"?b=2&a=%20", "genuine", http.Header{"X-Sig": {"one", "two"}, "Content-Encoding": {"gzip"}})
	wantAck(t, got, providers.Accepted)

	raw := l.bank.seen[0]
	if raw.Channel != providers.ChannelServer || raw.Method != "POST" || raw.Path != "/callbacks/bank%2Dmain/"+token || raw.RawQuery != "b=2&a=%20" ||
		raw.Token != token || string(raw.Body) != "genuine" || !raw.ReceivedAt.Equal(l.clock.Now()) {
		t.Errorf("the adapter got %+v", raw)
	}
	if sig := raw.Header["X-Sig"]; len(sig) != 2 {
		t.Errorf("a doubled header must reach the adapter doubled, got %q", sig)
	}
	o := <-l.observed
	if o.Route != "/callbacks/:account/:token" || o.Status != 200 || o.Account != "bank-main" || o.Verdict != "accepted" {
		t.Errorf("observed %+v", o)
	}
	for _, part := range []string{`"order_no":"` + orderNo + `"`, `"request_id":"req-1"`, `"route":"/callbacks/:account/:token"`, `"status":200`, `"ms":0`} {
		if !strings.Contains(l.log.String(), part) {
			t.Errorf("log %s lacks %s", l.log, part)
		}
	}
	for _, secret := range []string{token, "genuine", "b=2"} {
		if strings.Contains(l.log.String(), secret) {
			t.Errorf("log %s holds %q", l.log, secret)
		}
	}
	if n := strings.Count(l.log.String(), "\n"); n != 1 {
		t.Errorf("%d lines in the log, want 1", n)
	}
}

func TestCallbackVerdicts(t *testing.T) {
	genuine := func(providers.RawCallback) (providers.Notice, error) {
		return providers.Notice{AttemptNo: attemptNo}, nil
	}
	boom := func(context.Context) (providers.Verdict, error) { panic("secret-canary") }
	tests := []struct {
		name    string
		path    string
		body    string
		decode  func(providers.RawCallback) (providers.Notice, error)
		notice  func(context.Context) (providers.Verdict, error)
		refuse  func() error
		want    providers.Verdict
		audited string // part of the reason; empty: nothing kept
		notices int
	}{
		{name: "accepted", body: "genuine", want: providers.Accepted, notices: 1},
		{name: "without a token", path: "/callbacks/bank-main", body: "genuine", want: providers.Accepted, notices: 1},
		{name: "forged", body: "forged", want: providers.Refused, audited: "untrusted"},
		{name: "empty", body: "", want: providers.Refused, audited: "untrusted"},
		{name: "token of another form", path: "/callbacks/bank-main/short", body: "genuine", want: providers.Refused, audited: "token"},
		{name: "64 KiB", body: strings.Repeat("x", 64<<10), decode: genuine, want: providers.Accepted, notices: 1},
		{name: "64 KiB and a byte", body: strings.Repeat("x", 64<<10+1), decode: genuine, want: providers.Refused, audited: "64 KiB"},
		{name: "1 MB", body: strings.Repeat("x", 1<<20), decode: genuine, want: providers.Refused, audited: "64 KiB"},
		{name: "audit fails", body: "forged", refuse: func() error { return orders.ErrUnavailable }, want: providers.Refused, audited: "untrusted"},
		{name: "audit panics", body: "forged", refuse: func() error { panic("secret-canary") }, want: providers.Refused, audited: "untrusted"},
		{name: "adapter panics", body: "genuine", decode: func(providers.RawCallback) (providers.Notice, error) { panic("secret-canary") }, want: providers.Refused, audited: "panicked"},
		{
			name: "commit fails", body: "genuine", want: providers.RetryLater, notices: 1,
			notice: func(context.Context) (providers.Verdict, error) { return providers.Accepted, orders.ErrUnavailable },
		},
		{name: "router panics", body: "genuine", notice: boom, want: providers.RetryLater, notices: 1},
		{
			name: "router refuses", body: "genuine", want: providers.Refused, notices: 1,
			notice: func(context.Context) (providers.Verdict, error) { return providers.Refused, nil },
		},
		{
			name: "router wants it again", body: "genuine", want: providers.RetryLater, notices: 1,
			notice: func(context.Context) (providers.Verdict, error) { return providers.RetryLater, nil },
		},
	}
	words := map[providers.Verdict]string{providers.Accepted: "accepted", providers.Refused: "refused", providers.RetryLater: "retry_later"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, webhooks.Config{})
			l.bank.decode, l.notice, l.refuse = tt.decode, tt.notice, tt.refuse
			path := tt.path
			if path == "" {
				path = "/callbacks/bank-main/" + token
			}
			wantAck(t, l.do(t, "POST", path, tt.body, nil), tt.want)
			if o := <-l.observed; o.Verdict != words[tt.want] {
				t.Errorf("observed verdict %q, want %q", o.Verdict, words[tt.want])
			}
			if len(l.notices) != tt.notices {
				t.Errorf("%d notices reached the router, want %d", len(l.notices), tt.notices)
			}
			switch {
			case tt.audited == "" && len(l.refusals) != 0:
				t.Errorf("kept %+v for audit, want nothing", l.refusals)
			case tt.audited != "" && (len(l.refusals) != 1 || !strings.Contains(l.refusals[0].reason, tt.audited) || l.refusals[0].account != "bank-main"):
				t.Errorf("kept %d for audit, want one for %q", len(l.refusals), tt.audited)
			case tt.audited != "":
				if kept := l.refusals[0].raw.Body; string(kept) != tt.body[:min(len(tt.body), 64<<10)] {
					t.Errorf("kept %d bytes of the body", len(kept))
				}
			}
			if strings.Contains(l.log.String(), "secret-canary") {
				t.Error("a panic's value is in the log")
			}
		})
	}
}

func TestNotAcknowledgedByAccident(t *testing.T) {
	tests := map[string]func(providers.Verdict) providers.Ack{
		"adapter without an answer": func(providers.Verdict) providers.Ack { return providers.Ack{} },
		"adapter that panics":       func(providers.Verdict) providers.Ack { panic("no answer") },
	}
	for name, ack := range tests {
		t.Run(name, func(t *testing.T) {
			l := listen(t, webhooks.Config{})
			l.bank.ack = ack
			if got := l.call(t, "genuine"); got.status != 500 {
				t.Errorf("status %d, want 500", got.status)
			}
		})
	}
}

func TestRoutesThatDoNotExist(t *testing.T) {
	l := listen(t, webhooks.Config{})
	tests := []struct {
		method, path string
		status       int
		route        string
	}{
		{"POST", "/callbacks/other/" + token, 404, "/callbacks/:account/:token"},
		{"GET", "/callbacks/bank-main", 405, "unmatched"},
		{"POST", "/pay/" + token, 405, "unmatched"},
		{"GET", "/", 404, "unmatched"},
		{"GET", "/pay/", 404, "unmatched"},
		{"GET", "/debug/pprof/", 404, "unmatched"},
	}
	for _, tt := range tests {
		got := l.do(t, tt.method, tt.path, "", nil)
		o := <-l.observed
		if got.status != tt.status || o.Route != tt.route || o.Account != "" {
			t.Errorf("%s %s: %d, observed %+v; want %d %s", tt.method, tt.path, got.status, o, tt.status, tt.route)
		}
	}
	if len(l.bank.seen)+len(l.refusals)+len(l.clicks) != 0 {
		t.Error("something was looked at")
	}
}

// hold makes work that signals when it begins and then waits for release.
func hold() (begun chan struct{}, release func(), work func()) {
	begun, gate := make(chan struct{}, 100), make(chan struct{})
	return begun, sync.OnceFunc(func() { close(gate) }), func() { begun <- struct{}{}; <-gate }
}

func TestSaturation(t *testing.T) {
	one := webhooks.Config{Verifying: 1, Committing: 1, Auditing: 1, Browsing: 1, Wait: time.Millisecond}

	t.Run("verification full: come later", func(t *testing.T) {
		l := listen(t, one)
		begun, release, work := hold()
		defer release()
		l.bank.decode = func(providers.RawCallback) (providers.Notice, error) { work(); return providers.Notice{}, nil }
		first := make(chan answer, 1)
		go func() { first <- l.call(t, "genuine") }()
		<-begun
		wantAck(t, l.call(t, "genuine"), providers.RetryLater)
		release()
		wantAck(t, <-first, providers.Accepted)
	})
	t.Run("commits full: come later, refusals still answered", func(t *testing.T) {
		l := listen(t, one)
		begun, release, work := hold()
		defer release()
		l.notice = func(context.Context) (providers.Verdict, error) { work(); return providers.Accepted, nil }
		first := make(chan answer, 1)
		go func() { first <- l.call(t, "genuine") }()
		<-begun
		wantAck(t, l.call(t, "genuine"), providers.RetryLater)
		wantAck(t, l.call(t, "forged"), providers.Refused)
		release()
		wantAck(t, <-first, providers.Accepted)
	})
	t.Run("audit full: refused all the same, and genuine ones pass", func(t *testing.T) {
		l := listen(t, one)
		begun, release, work := hold()
		defer release()
		slow := &slowAudit{l.fakeRouter, work}
		handler, err := webhooks.New(one, webhooks.Deps{
			Accounts: slow, Notices: slow, Pages: slow, Now: l.clock.Now, NewID: func() string { return "r" }, Nonce: func() string { return "n" },
			Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(handler)
		defer server.Close()
		defer release()
		l.url = server.URL
		first := make(chan answer, 1)
		go func() { first <- l.call(t, "forged") }()
		<-begun
		wantAck(t, l.call(t, "forged"), providers.Refused)
		wantAck(t, l.call(t, "genuine"), providers.Accepted)
		release()
		wantAck(t, <-first, providers.Refused)
	})
}

type slowAudit struct {
	*fakeRouter
	work func()
}

func (s *slowAudit) Refuse(context.Context, string, string, providers.RawCallback) error {
	s.work()
	return nil
}

// Whoever hangs up, provider or browser, must not cut the commit.
func TestHangingUpDoesNotCancel(t *testing.T) {
	for _, line := range []string{"POST /callbacks/bank-main/", "POST /r/", "GET /r/", "GET /pay/"} {
		t.Run(line, func(t *testing.T) {
			l := listen(t, webhooks.Config{})
			begun, release, work := hold()
			defer release()
			ended := make(chan error, 1)
			l.browse = func(ctx context.Context) {
				if _, ok := ctx.Deadline(); !ok {
					t.Error("the work has no deadline")
				}
				work()
				ended <- ctx.Err()
			}
			l.notice = func(ctx context.Context) (providers.Verdict, error) {
				l.browse(ctx)
				return providers.Accepted, nil
			}
			conn, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			request := line + token + " HTTP/1.1\r\nHost: x\r\n\r\n"
			if strings.HasPrefix(line, "POST") {
				request = line + token + " HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\ngenuine"
			}
			if _, err := fmt.Fprint(conn, request); err != nil {
				t.Fatal(err)
			}
			<-begun
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			<-(<-l.requests).Done() // the server has noticed
			release()
			if err := <-ended; err != nil {
				t.Errorf("the work was cut: %v", err)
			}
		})
	}
}

// A body that does not arrive is neither judged nor kept, and does not hold its connection for ever.
func TestBodyThatNeverArrives(t *testing.T) {
	l := listen(t, webhooks.Config{Reading: time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "POST /callbacks/bank-main/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\ngen", token); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != fakeAck(providers.RetryLater).Status || len(l.bank.seen)+len(l.refusals) != 0 {
		t.Errorf("status %d, %d judged, %d kept", resp.StatusCode, len(l.bank.seen), len(l.refusals))
	}
}

func TestNewRefuses(t *testing.T) {
	f := &fakeRouter{}
	good := webhooks.Deps{
		Accounts: f, Notices: f, Pages: f, Now: time.Now, NewID: func() string { return "" }, Nonce: func() string { return "" },
		Log: slog.New(slog.DiscardHandler),
	}
	if _, err := webhooks.New(webhooks.Config{TrustedProxies: []string{"10.0.0.0/8"}}, good); err != nil {
		t.Errorf("good: %v", err)
	}
	if _, err := webhooks.New(webhooks.Config{TrustedProxies: []string{"proxy"}}, good); err == nil {
		t.Error("a malformed proxy passed")
	}
	if _, err := webhooks.New(webhooks.Config{}, webhooks.Deps{}); err == nil {
		t.Error("missing collaborators passed")
	}
}

func TestPeerInTheLog(t *testing.T) {
	header := http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Real-Ip": {"203.0.113.8"}, "Forwarded": {"for=203.0.113.7"}}
	for want, proxies := range map[string][]string{`"peer":"127.0.0.1"`: nil, `"peer":"203.0.113.9"`: {"127.0.0.0/8"}} {
		l := listen(t, webhooks.Config{TrustedProxies: proxies})
		l.do(t, "POST", "/callbacks/bank-main", "genuine", header)
		<-l.observed
		if !strings.Contains(l.log.String(), want) {
			t.Errorf("proxies %q: log %s lacks %s", proxies, l.log, want)
		}
	}
}

func TestLinks(t *testing.T) {
	l, err := webhooks.ParseLinks("https://gw.pay.taipei")
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		l.Checkout(token):              "https://gw.pay.taipei/pay/" + token,
		l.Return(token):                "https://gw.pay.taipei/r/" + token,
		l.Callback("bank-main", token): "https://gw.pay.taipei/callbacks/bank-main/" + token,
		l.Callback("bank-main", ""):    "https://gw.pay.taipei/callbacks/bank-main",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if _, err := webhooks.ParseLinks("https://" + strings.Repeat("a", 17)); err != nil { // 25 characters, 50 with the path
		t.Errorf("the longest base: %v", err)
	}
	for _, base := range []string{
		"", "gw.pay.taipei", "ftp://gw.pay.taipei", "https://", "https://:443", "https://gw.pay.taipei/", "https://gw.pay.taipei/x", "https://gw.pay.taipei?",
		"https://gw.pay.taipei?a=1", "https://gw.pay.taipei#", "https://u@gw.pay.taipei", "https:gw.pay.taipei", "https://熊.taipei", "https://" + strings.Repeat("a", 18),
	} {
		if l, err := webhooks.ParseLinks(base); err == nil {
			t.Errorf("%q passed as %+v", base, l)
		}
	}
}
