// Package httpx is the gateway's only way out: HTTP/1.1 calls to the hosts that the configuration names.
//
// A payment that timed out is not a payment that failed. So every error says whether a byte may have reached the other
// side, and [Client.Send] sends exactly once: no retry, no redirect, no replay by net/http. [Client.Query] may repeat.
// Where a connection may lead is decided on the resolved address, so neither DNS rebinding nor an unusual spelling of
// an address leads inside; see [Network]. Not checked here: signatures, content types, and whether an answer is true.
package httpx

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

const maxAnswer = 1 << 20 // bytes

// Config says where a client may go.
type Config struct {
	Name    string  // the target's name in errors and traces; required
	BaseURL string  // scheme://host[:port], nothing after it; http only where Network is Private or Loopback
	Network Network // zero: Public

	DialTimeout   time.Duration // name resolution and connect; zero: 2 s
	TLSTimeout    time.Duration // zero: 3 s
	HeaderTimeout time.Duration // from the request's last byte to the answer's headers; zero: 15 s

	MaxConns int            // at a time, counted apart for requests with and without a body; zero: 64
	RootCAs  *x509.CertPool // nil: the system's
}

// Deps are a client's collaborators. Now and Rand are required; all must be safe for concurrent use.
type Deps struct {
	Now      func() time.Time
	Rand     func() uint64 // jitter between the sends of a query
	Trace    func(Trace)   // called after each send; nil: nobody listens
	Resolver *net.Resolver // nil: the default one
}

// Trace is what may be known about one send: never its query, headers or bodies.
type Trace struct {
	Target, Method, Host, Path string
	Status                     int // 0: no answer
	Duration                   time.Duration
	Sent                       bool // a byte may have reached the other side
}

// Client calls one target. It is safe for concurrent use.
type Client struct {
	name   string
	base   *url.URL
	deps   Deps
	pooled *http.Transport // for requests with a body
	fresh  *http.Transport // one connection per request, for requests without a body
	budget budget          // of its queries
}

// New checks its arguments and connects to nothing. The owner must Close the client.
func New(config Config, deps Deps) (*Client, error) {
	if config.Name == "" || deps.Now == nil || deps.Rand == nil {
		return nil, errors.New("httpx: a client needs a name, a clock and a source of jitter")
	}
	base, err := parseBase(config)
	if err != nil {
		return nil, fmt.Errorf("httpx: target %s: %w", config.Name, err)
	}
	pooled := newTransport(config, base, deps.Resolver)
	fresh := pooled.Clone()
	fresh.DisableKeepAlives = true
	return &Client{name: config.Name, base: base, deps: deps, pooled: pooled, fresh: fresh}, nil
}

// Close drops the idle connections. Calls in flight go on until their own deadlines.
func (c *Client) Close() {
	c.pooled.CloseIdleConnections()
	c.fresh.CloseIdleConnections()
}

// Request is what to send.
type Request struct {
	Method   string      // required
	Path     string      // begins with "/", escaped: exactly as it goes over the wire
	RawQuery string      // escaped, without "?"
	Header   http.Header // copied; Host and the framing headers in it are ignored
	Body     []byte      // not copied, and net/http may still read it just after the call: do not change it
}

// Response is a whole answer, whatever its status; a redirect is an answer too. Body is at most 1 MiB and as it came: a
// Content-Encoding, which was not asked for, is not undone.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Send sends r exactly once and reads the whole answer. The context must carry a deadline; without one nothing is sent.
// Every error is an [*Error].
func (c *Client) Send(ctx context.Context, r Request) (*Response, error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, &Error{Target: c.name, Err: err}
	}
	answer, failure := c.exchange(req)
	if failure != nil {
		return nil, failure
	}
	return answer, nil
}

func (c *Client) request(ctx context.Context, r Request) (*http.Request, error) {
	if _, ok := ctx.Deadline(); !ok {
		return nil, errNoDeadline
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.base.String(), http.NoBody)
	path, errPath := url.PathUnescape(r.Path)
	if err != nil || errPath != nil || r.Method == "" || !strings.HasPrefix(r.Path, "/") || !isVisible(r.RawQuery) {
		return nil, errMalformed
	}
	req.URL.Path, req.URL.RawPath, req.URL.RawQuery = path, r.Path, r.RawQuery
	if req.URL.EscapedPath() != r.Path {
		return nil, errMalformed // net/http would send another path than the caller wrote, and perhaps signed
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if len(r.Body) > 0 { // NopCloser hides the type: without GetBody net/http cannot rewind the body and send it again
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(r.Body)), int64(len(r.Body))
	}
	return req, nil
}

// isVisible reports whether s is visible ASCII without "#": it cannot end a request line or a URL early.
func isVisible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' })
}

// exchange makes one send.
func (c *Client) exchange(req *http.Request) (*Response, *Error) {
	written := func() bool { return false } // until there is a connection
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		written = func() bool { return true }
		if g, ok := info.Conn.(*gate); ok {
			written = g.watch()
		}
	}})
	// net/http repeats requests without a body when a used connection drops (documentation of http.Transport).
	transport := c.pooled
	if req.Body == http.NoBody {
		transport = c.fresh
	}
	trace := Trace{Target: c.name, Method: req.Method, Host: req.URL.Host, Path: req.URL.EscapedPath()}
	start := c.deps.Now()
	resp, err := transport.RoundTrip(req.WithContext(ctx))
	var answer *Response
	if err == nil {
		trace.Status, trace.Sent = resp.StatusCode, true
		answer, err = read(resp)
	} else {
		trace.Sent = written()
	}
	trace.Duration = c.deps.Now().Sub(start)
	if c.deps.Trace != nil {
		c.deps.Trace(trace)
	}
	if err != nil {
		return nil, &Error{Target: c.name, Sent: trace.Sent, Err: reason(err, trace.Sent)}
	}
	return answer, nil
}

func read(resp *http.Response) (*Response, error) {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, errUnreadable // its body is the bare connection, which no deadline guards
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errTooLarge
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, err
}
