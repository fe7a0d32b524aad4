package httpx

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// A client that looked here would find nobody; net/http reads the variables once per process.
	// The default resolver of these tests is the C library's, where there is one: it reads the odd spellings of addresses.
	for name, value := range map[string]string{"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", "GODEBUG": "netdns=cgo"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

const canary = "CANARY"

// peer is a server on a bare socket, so that a test decides about every byte.
type peer struct {
	listener net.Listener
	mu       sync.Mutex
	requests []*http.Request
	conns    []int // which connection each request came on
	done     sync.WaitGroup
}

// newPeer lets handle answer each request that arrives whole; handle returns false to hang up.
func newPeer(t *testing.T, handle func(net.Conn, *http.Request) bool) *peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{listener: l}
	p.done.Add(1)
	go func() {
		defer p.done.Done()
		for n := 0; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.done.Add(1)
			go p.serve(conn, n, handle)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); p.done.Wait() })
	return p
}

func (p *peer) serve(conn net.Conn, n int, handle func(net.Conn, *http.Request) bool) {
	defer p.done.Done()
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, err = io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.requests, p.conns = append(p.requests, r), append(p.conns, n)
		p.mu.Unlock()
		if !handle(conn, r) {
			return
		}
	}
}

func (p *peer) arrived() ([]*http.Request, []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request(nil), p.requests...), append([]int(nil), p.conns...)
}

func (p *peer) url() string { return "http://" + p.listener.Addr().String() }

// say answers with raw bytes and keeps the connection.
func say(text string) func(net.Conn, *http.Request) bool {
	return func(c net.Conn, _ *http.Request) bool {
		_, err := io.WriteString(c, text)
		return err == nil
	}
}

// sayThenHangUp answers with raw bytes and ends the connection.
func sayThenHangUp(text string) func(net.Conn, *http.Request) bool {
	return func(c net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(c, text)
		return false
	}
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

func newTLS(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(handle)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

type option func(*Config, *Deps)

func roots(cert *x509.Certificate) option {
	return func(c *Config, _ *Deps) {
		c.RootCAs = x509.NewCertPool()
		c.RootCAs.AddCert(cert)
	}
}

// resolving makes every name resolve to ip.
func resolving(ip string) option {
	return func(_ *Config, d *Deps) { d.Resolver = fakeDNS(netip.MustParseAddr(ip)) }
}

func tracing(traces *[]Trace) option {
	return func(_ *Config, d *Deps) { d.Trace = func(t Trace) { *traces = append(*traces, t) } }
}

// newClient has no jitter: its pauses are zero unless the other side asks for one.
func newClient(t *testing.T, base string, options ...option) *Client {
	t.Helper()
	config := Config{Name: "bank", BaseURL: base, Network: Loopback}
	deps := Deps{Now: time.Now, Rand: func() uint64 { return 0 }}
	for _, o := range options {
		o(&config, &deps)
	}
	c, err := New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// within30s is a deadline no test waits for.
func within30s(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func post(path string) Request {
	return Request{Method: "POST", Path: path, Body: []byte("body=" + canary)}
}

func repeat(r Request) func() (Request, error) { return func() (Request, error) { return r, nil } }

// fakeDNS answers every question for an address of ip's family with ip, whatever the name, as the system's resolver
// does for spellings such as 0x7f.1 and as a rebinding name server does for its own names.
func fakeDNS(ip netip.Addr) *net.Resolver {
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go answerDNS(ours, ip)
		return theirs, nil
	}}
}

// answerDNS speaks DNS over a stream (RFC 1035, 4.1 and 4.2.2) for one question.
func answerDNS(c net.Conn, ip netip.Addr) {
	defer func() { _ = c.Close() }()
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return
	}
	q := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, q); err != nil {
		return
	}
	end := 12
	for q[end] != 0 {
		end += int(q[end]) + 1
	}
	end += 5 // root label, type, class
	kind := binary.BigEndian.Uint16(q[end-4:])
	a := append([]byte(nil), q[:end]...)
	copy(a[2:12], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	if kind == 1 && ip.Is4() || kind == 28 && !ip.Is4() {
		a[7] = 1
		a = append(a, 0xc0, 12, 0, byte(kind), 0, 1, 0, 0, 0, 0, 0, byte(ip.BitLen()/8))
		a = append(a, ip.AsSlice()...)
	}
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
}
