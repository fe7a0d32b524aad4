package httpx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestSendTellsNotSentFromSent(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := nobody.Close(); err != nil {
		t.Fatal(err)
	}
	plain := newPeer(t, say(okAnswer))
	secure := newTLS(t, http.NotFound)
	answering := func(handle func(net.Conn, *http.Request) bool) string { return newPeer(t, handle).url() }
	reset := func(c net.Conn, _ *http.Request) bool { return c.(*net.TCPConn).SetLinger(0) != nil }
	noDeadline := func(*testing.T) context.Context { return context.Background() }
	over := func(t *testing.T) context.Context {
		ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
		t.Cleanup(cancel)
		return ctx
	}

	for name, c := range map[string]struct {
		url     string
		options []option
		request Request
		ctx     func(*testing.T) context.Context
		sent    bool
		cause   string
	}{
		"no deadline":            {url: plain.url(), ctx: noDeadline, cause: "deadline"},
		"deadline already over":  {url: plain.url(), ctx: over, cause: "deadline exceeded"},
		"dial refused":           {url: "http://" + nobody.Addr().String(), cause: "refused"},
		"address refused":        {url: "https://bank.test", options: []option{resolving("10.0.0.1"), public}, cause: "address refused"},
		"certificate untrusted":  {url: secure.URL, cause: "TLS handshake"},
		"certificate for others": {url: strings.Replace(secure.URL, "127.0.0.1", "bank.test", 1), options: []option{roots(secure.Certificate()), resolving("127.0.0.1")}, cause: "TLS handshake"},
		"no TLS there":           {url: strings.Replace(answering(sayThenHangUp("HTTP/1.1 200 OK\r\n\r\n")), "http:", "https:", 1), cause: "TLS handshake"},
		"header with line break": {url: plain.url(), request: Request{Method: "POST", Path: "/", Header: http.Header{"X": {"a\r\nb"}}}, cause: "malformed"},
		"no method":              {url: plain.url(), request: Request{Path: "/"}, cause: "malformed"},
		"bad method":             {url: plain.url(), request: Request{Method: "PO ST", Path: "/"}, cause: "malformed"},
		"relative path":          {url: plain.url(), request: Request{Method: "GET", Path: "a"}, cause: "malformed"},
		"path with question":     {url: plain.url(), request: Request{Method: "GET", Path: "/a?b"}, cause: "malformed"},
		"path with space":        {url: plain.url(), request: Request{Method: "GET", Path: "/a HTTP/1.1\r\nX: y"}, cause: "malformed"},
		"path with bad escape":   {url: plain.url(), request: Request{Method: "GET", Path: "/%zz"}, cause: "malformed"},
		"query with space":       {url: plain.url(), request: Request{Method: "GET", Path: "/", RawQuery: "a b"}, cause: "malformed"},
		"query with line break":  {url: plain.url(), request: Request{Method: "GET", Path: "/", RawQuery: "a\r\nX: y"}, cause: "malformed"},

		"hang up after request":   {url: answering(sayThenHangUp("")), sent: true},
		"reset after request":     {url: answering(reset), sent: true},
		"half a status line":      {url: answering(sayThenHangUp("HTTP/1.1 2")), sent: true},
		"half the headers":        {url: answering(sayThenHangUp("HTTP/1.1 200 OK\r\nContent-Le")), sent: true},
		"half the body":           {url: answering(sayThenHangUp("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok")), sent: true, cause: "unexpected EOF"},
		"half a chunk":            {url: answering(sayThenHangUp("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nok")), sent: true, cause: "unexpected EOF"},
		"not HTTP":                {url: answering(sayThenHangUp("hello " + canary + "\r\n\r\n")), sent: true, cause: "no readable"},
		"headers that do not end": {url: answering(sayThenHangUp("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Y: "+canary+"\r\n", 8<<10) + "\r\n")), sent: true},
		"another protocol":        {url: answering(say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")), sent: true, cause: "no readable"},
		"answer over 1 MiB":       {url: answering(sayThenHangUp("HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", maxAnswer+1))), sent: true, cause: "1 MiB"},
		"no headers in time":      {url: answering(say("")), options: []option{func(c *Config, _ *Deps) { c.HeaderTimeout = time.Millisecond }}, sent: true, cause: "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			var traces []Trace
			client := newClient(t, c.url, append(c.options, tracing(&traces))...)
			if c.request.Method == "" && c.request.Path == "" {
				c.request = post("/pay")
			}
			if c.ctx == nil {
				c.ctx = within30s
			}
			answer, err := client.Send(c.ctx(t), c.request)
			e, ok := errors.AsType[*Error](err)
			if !ok || answer != nil {
				t.Fatalf("got %v, %v; want no answer and an *Error", answer, err)
			}
			if e.Sent != c.sent || NotSent(err) == c.sent || !strings.Contains(err.Error(), c.cause) {
				t.Errorf("Sent = %v, want %v; %q, want %q in it", e.Sent, c.sent, err, c.cause)
			}
			for _, tr := range traces {
				if tr.Sent != c.sent {
					t.Errorf("trace says sent = %v", tr.Sent)
				}
			}
		})
	}
	requests, _ := plain.arrived()
	if len(requests) != 0 {
		t.Errorf("%d requests arrived that were reported as not sent", len(requests))
	}
}

func public(c *Config, _ *Deps) { c.Network = Public }

func TestNotSentIsFalseForOtherErrors(t *testing.T) {
	if NotSent(nil) || NotSent(io.EOF) || NotSent(&Error{Sent: true, Err: io.EOF}) {
		t.Error("an error of which nothing is known counts as not sent")
	}
	if !NotSent(fmt.Errorf("order: %w", &Error{Err: io.EOF})) {
		t.Error("a wrapped not-sent error is not recognised")
	}
}

func TestContextThatEndsWhileTheOtherSideThinksIsSent(t *testing.T) {
	ctx, cancel := context.WithCancel(within30s(t))
	p := newPeer(t, func(net.Conn, *http.Request) bool { cancel(); return true })
	_, err := newClient(t, p.url()).Send(ctx, post("/"))
	if e, ok := errors.AsType[*Error](err); !ok || !e.Sent || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestContextThatEndsInTheQueueForAConnectionIsNotSent(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	p := newPeer(t, func(c net.Conn, r *http.Request) bool {
		close(inside)
		<-release
		return say(okAnswer)(c, r)
	})
	client := newClient(t, p.url(), func(c *Config, _ *Deps) { c.MaxConns = 1 })
	first := make(chan error)
	go func() {
		_, err := client.Send(within30s(t), post("/"))
		first <- err
	}()
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := client.Send(ctx, post("/"))
	if !NotSent(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// A failure after the connection was obtained, but before a byte, is not a doubt.
func TestFailureBeforeTheFirstByteOnAConnectionIsNotSent(t *testing.T) {
	p := newPeer(t, say(okAnswer))
	client := newClient(t, p.url())
	req, err := client.request(within30s(t), post("/"))
	if err != nil {
		t.Fatal(err)
	}
	req.URL.RawQuery = "\x01" // net/http notices this only when it writes
	_, failure := client.exchange(req)
	if !NotSent(failure) {
		t.Errorf("got %v", failure)
	}
	_, conns := p.arrived()
	if len(conns) != 0 {
		t.Error("a request arrived")
	}
}

func TestGateRefusesOrSeesEveryWrite(t *testing.T) {
	for range 50_000 {
		g := &gate{Conn: discard{}}
		_, _ = g.Write([]byte("an earlier request"))
		written := g.watch()
		var ready atomic.Bool
		writer := make(chan error)
		go func() {
			ready.Store(true)
			_, err := g.Write([]byte("x"))
			writer <- err
		}()
		for !ready.Load() {
			runtime.Gosched()
		}
		seen := written()
		if err := <-writer; err == nil && !seen {
			t.Fatal("a write went through that was reported as not begun")
		}
		if _, err := g.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("a write after the question: %v", err)
		}
	}
}

type discard struct{ net.Conn }

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func dropOnDrop(c net.Conn, r *http.Request) bool {
	return r.URL.Path != "/drop" && say(okAnswer)(c, r)
}

// The peer reads a request on a used connection and hangs up: the case in which net/http sends again on its own.
func TestSendIsOneSend(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE", "GET"} {
		for _, header := range []string{"", "Idempotency-Key", "X-Idempotency-Key"} {
			for _, body := range []string{"amount=40", ""} {
				t.Run(method+" "+header+" body "+body, func(t *testing.T) {
					p := newPeer(t, dropOnDrop)
					client := newClient(t, p.url())
					if _, err := client.Send(within30s(t), post("/warm")); err != nil {
						t.Fatal(err)
					}
					r := Request{Method: method, Path: "/drop", Header: http.Header{}, Body: []byte(body)}
					if header != "" {
						r.Header.Set(header, "k")
					}
					_, err := client.Send(within30s(t), r)
					if err == nil || NotSent(err) {
						t.Errorf("got %v, want a sent error", err)
					}
					requests, conns := p.arrived()
					if len(requests) != 2 {
						t.Errorf("%d requests arrived, want the first and this one", len(requests))
					}
					if body != "" && conns[1] != conns[0] {
						t.Error("the connection was not used again, so this test shows nothing")
					}
				})
			}
		}
	}
}

// The test above can see a replay: net/http's own client makes one in the same place.
func TestPeerSeesTheReplayOfNetHTTP(t *testing.T) {
	p := newPeer(t, dropOnDrop)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	for _, path := range []string{"/warm", "/drop"} {
		r, err := http.NewRequestWithContext(within30s(t), "POST", p.url()+path, strings.NewReader("amount=40"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Idempotency-Key", "k")
		resp, err := transport.RoundTrip(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	}
	requests, _ := p.arrived()
	if len(requests) != 3 {
		t.Errorf("%d requests arrived, want 3", len(requests))
	}
}

func TestRedirectIsAnAnswer(t *testing.T) {
	other := newPeer(t, say(okAnswer))
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{other.url() + "/elsewhere", "/here", "http://[::1", ""} {
			p := newPeer(t, say(fmt.Sprintf("HTTP/1.1 %d Away\r\nLocation: %s\r\nContent-Length: 4\r\n\r\naway", status, location)))
			client := newClient(t, p.url())
			sent, err := client.Send(within30s(t), post("/"))
			if err != nil {
				t.Fatal(err)
			}
			asked, err := client.Query(within30s(t), repeat(post("/")))
			if err != nil {
				t.Fatal(err)
			}
			for _, answer := range []*Response{sent, asked} {
				if answer.Status != status || answer.Header.Get("Location") != location || string(answer.Body) != "away" {
					t.Errorf("%d to %q: got %+v", status, location, answer)
				}
			}
			requests, _ := p.arrived()
			if len(requests) != 2 {
				t.Errorf("%d to %q: %d requests, want 2", status, location, len(requests))
			}
		}
	}
	requests, _ := other.arrived()
	if len(requests) != 0 {
		t.Error("a redirect was followed")
	}
}

func TestRequestGoesOutAsWritten(t *testing.T) {
	p := newPeer(t, say(okAnswer))
	client := newClient(t, strings.Replace(p.url(), "127.0.0.1", "bank.test", 1), resolving("127.0.0.1")) // and past HTTP_PROXY
	for _, r := range []Request{
		{Method: "POST", Path: "/v3/a%2Fb/%E7%86%8A", RawQuery: "b=2&a=%20+1&c", Header: http.Header{"X-Signature": {"s1", "s2"}}, Body: []byte("{}")},
		{Method: "POST", Path: "/empty"},
		{Method: "GET", Path: "/", Header: http.Header{"Host": {"evil.test"}}},
	} {
		answer, err := client.Send(within30s(t), r)
		if err != nil || answer.Status != 200 || string(answer.Body) != "ok" {
			t.Fatalf("got %+v, %v", answer, err)
		}
		requests, _ := p.arrived()
		got := requests[len(requests)-1]
		want := r.Path
		if r.RawQuery != "" {
			want += "?" + r.RawQuery
		}
		if got.Method != r.Method || got.RequestURI != want || !strings.HasPrefix(got.Host, "bank.test:") {
			t.Errorf("got %s %s %s, want %s %s", got.Method, got.Host, got.RequestURI, r.Method, want)
		}
		if fmt.Sprint(got.Header["X-Signature"]) != fmt.Sprint(r.Header["X-Signature"]) || got.Header["Accept-Encoding"] != nil {
			t.Errorf("headers %v", got.Header)
		}
		if got.ContentLength != int64(len(r.Body)) || len(got.TransferEncoding) != 0 {
			t.Errorf("length %d %v, want %d", got.ContentLength, got.TransferEncoding, len(r.Body))
		}
	}
}

func TestAnswerStaysAsItCame(t *testing.T) {
	for name, body := range map[string]string{"compressed": "\x1f\x8b\x08", "just 1 MiB": strings.Repeat("x", maxAnswer), "empty": ""} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, say(fmt.Sprintf("HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))
			answer, err := newClient(t, p.url()).Send(within30s(t), post("/"))
			if err != nil || answer.Status != 500 || !bytes.Equal(answer.Body, []byte(body)) || answer.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("got %v, %v", answer, err)
			}
		})
	}
}

func TestTLSWithTheRightRoots(t *testing.T) {
	secure := newTLS(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200 + r.ProtoMajor) })
	client := newClient(t, secure.URL, roots(secure.Certificate()))
	for _, r := range []Request{post("/"), {Method: "GET", Path: "/"}} {
		answer, err := client.Send(within30s(t), r)
		if err != nil || answer.Status != 201 {
			t.Errorf("got %+v, %v", answer, err)
		}
	}
}

func TestTraceAndErrorsHoldNoSecrets(t *testing.T) {
	request := Request{Method: "POST", Path: "/pay", RawQuery: "key=" + canary, Header: http.Header{"X-" + canary: {canary}}, Body: []byte(canary)}
	badHeader := request
	badHeader.Header = http.Header{canary + "\r": {canary}}
	for name, c := range map[string]struct {
		answer  string
		request Request
	}{
		"answer":          {okAnswer, request},
		"hang up":         {"", request},
		"not HTTP":        {canary + "\r\n\r\n", request},
		"bad header":      {"HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n", request},
		"bad length":      {"HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n", request},
		"bad coding":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n", request},
		"bad chunk":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n", request},
		"half body":       {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + canary, request},
		"bad redirect":    {"HTTP/1.1 302 Away\r\nLocation: http://[" + canary + "\r\nContent-Length: 0\r\n\r\n", request},
		"our header name": {okAnswer, badHeader},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, sayThenHangUp(c.answer))
			var traces []Trace
			client := newClient(t, p.url(), tracing(&traces))
			_, sendErr := client.Send(within30s(t), c.request)
			_, queryErr := client.Query(within30s(t), repeat(c.request))
			for _, err := range []error{sendErr, queryErr} {
				for ; err != nil; err = errors.Unwrap(err) {
					if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, canary) {
						t.Error(text)
					}
				}
			}
			if text := fmt.Sprintf("%+v", traces); strings.Contains(text, canary) || len(traces) < 2 {
				t.Error(text)
			}
		})
	}
}

func TestTrace(t *testing.T) {
	p := newPeer(t, say(okAnswer))
	var traces []Trace
	clock := time.Unix(0, 0)
	client := newClient(t, p.url(), tracing(&traces), func(_ *Config, d *Deps) {
		d.Now = func() time.Time { clock = clock.Add(time.Second); return clock }
	})
	if _, err := client.Send(within30s(t), Request{Method: "GET", Path: "/a%2Fb", RawQuery: "q"}); err != nil {
		t.Fatal(err)
	}
	want := Trace{Target: "bank", Method: "GET", Host: p.listener.Addr().String(), Path: "/a%2Fb", Status: 200, Duration: time.Second, Sent: true}
	if len(traces) != 1 || traces[0] != want {
		t.Errorf("got %+v, want %+v", traces, want)
	}
}
