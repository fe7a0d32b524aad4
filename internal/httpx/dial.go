package httpx

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync/atomic"
	"syscall"
	"time"
)

// maxIdle is shorter than the 5 s after which common servers hang up: a request that crosses a hang-up is in doubt.
const maxIdle = 4 * time.Second

// parseBase does not repeat the URL in its errors: it may hold a password.
func parseBase(config Config) (*url.URL, error) {
	u, err := url.Parse(config.BaseURL)
	if err != nil || u.Hostname() == "" || !isVisible(u.Host) || *u != (url.URL{Scheme: u.Scheme, Host: u.Host}) ||
		u.Scheme != "https" && (u.Scheme != "http" || config.Network == Public) {
		return nil, errBase
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err == nil && !config.Network.allows(ip) {
		return nil, fmt.Errorf("%w: %v", errRefused, ip)
	}
	return u, nil
}

// newTransport dials the base URL's host and port, whatever it is asked for. It uses no proxy, which would dial for us.
func newTransport(config Config, base *url.URL, resolver *net.Resolver) *http.Transport {
	port := cmp.Or(base.Port(), map[string]string{"http": "80", "https": "443"}[base.Scheme])
	addr := net.JoinHostPort(base.Hostname(), port)
	dialer := net.Dialer{Timeout: cmp.Or(config.DialTimeout, 2*time.Second), Resolver: resolver}
	dialer.Control = func(_, resolved string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(resolved)
		if err != nil || !config.Network.allows(a.Addr()) {
			return fmt.Errorf("%w: %s", errRefused, resolved)
		}
		return nil
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: config.RootCAs, ServerName: base.Hostname(),
		ClientSessionCache: tls.NewLRUClientSessionCache(1)} // for the requests that each need their own connection
	dial := func(ctx context.Context, useTLS bool) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err == nil && useTLS {
			conn, err = handshake(ctx, conn, secure, cmp.Or(config.TLSTimeout, 3*time.Second))
		}
		if err != nil {
			return nil, dialError{err}
		}
		return &gate{Conn: conn}, nil
	}
	return &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, false) },
		DialTLSContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, true) },
		DisableCompression:     true,
		MaxConnsPerHost:        cmp.Or(config.MaxConns, 64),
		MaxIdleConnsPerHost:    cmp.Or(config.MaxConns, 64),
		IdleConnTimeout:        maxIdle,
		ResponseHeaderTimeout:  cmp.Or(config.HeaderTimeout, 15*time.Second),
		MaxResponseHeaderBytes: 64 << 10,
	}
}

func handshake(ctx context.Context, conn net.Conn, config *tls.Config, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	secure := tls.Client(conn, config)
	err := secure.HandshakeContext(ctx)
	if err != nil {
		_ = conn.Close() // the handshake's error says more
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return secure, nil
}

// gate lies above TLS and tells whether a request began to be written. net/http writes in a goroutine of its own, which
// may still be about to write when the request has failed already; so asking also forbids later writes.
type gate struct {
	net.Conn
	writes atomic.Int64
	shut   atomic.Bool
}

// Write counts, then looks at shut; the question of watch shuts, then looks at the count. So in whatever order they
// run, the write is either refused or seen.
func (g *gate) Write(p []byte) (int, error) {
	g.writes.Add(1)
	if g.shut.Load() {
		return 0, net.ErrClosed
	}
	return g.Conn.Write(p)
}

// watch returns a question for after a failure: was anything written since now?
func (g *gate) watch() (written func() bool) {
	mark := g.writes.Load()
	return func() bool {
		g.shut.Store(true)
		return g.writes.Load() != mark
	}
}
