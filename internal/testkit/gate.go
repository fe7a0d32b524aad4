package testkit

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// Moment is a point in the life of a commit at which a Gate asks what to do.
type Moment string

// The moments of a commit: asked for and not yet sent to Postgres; carried out and not yet told to the program.
const (
	BeforeCommit Moment = "before the commit"
	AfterCommit  Moment = "after the commit"
)

// Gate stands between a program and its Postgres, so that a test can act at each of the program's commits.
type Gate struct {
	backend  string // the server's socket
	listener net.Listener
	pass     func(Moment) bool
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil: closed
}

// PostgresGate opens a gate before the database of dsn, an address that Postgres or PG.DSN returned, and returns the
// address of the gate. pass is asked at both moments of each commit, for several connections at a time; false cuts
// that connection. The gate is closed when the test ends.
func PostgresGate(t testing.TB, dsn string, pass func(Moment) bool) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "gate-") //nolint:usetesting // the path of a socket may not be long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const socket = ".s.PGSQL.5432"
	g := &Gate{backend: filepath.Join(u.Query().Get("host"), socket), pass: pass, conns: map[net.Conn]struct{}{}}
	if g.listener, err = net.Listen("unix", filepath.Join(dir, socket)); err != nil {
		t.Fatal(err)
	}
	g.serving.Go(g.accept)
	t.Cleanup(g.close)
	u.RawQuery = url.Values{"host": {dir}}.Encode()
	return u.String()
}

func (g *Gate) accept() {
	for {
		front, err := g.listener.Accept()
		if err != nil {
			return // closed
		}
		g.serving.Go(func() { g.serve(front) })
	}
}

// hold remembers a connection for close, and says whether the gate is open.
func (g *Gate) hold(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns == nil {
		_ = c.Close()
		return false
	}
	g.conns[c] = struct{}{}
	return true
}

func (g *Gate) close() {
	_ = g.listener.Close()
	g.mu.Lock()
	for c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
	g.mu.Unlock()
	g.serving.Wait()
}

// serve carries one connection's messages both ways, see "Message Formats" in
// https://www.postgresql.org/docs/15/protocol-message-formats.html
func (g *Gate) serve(front net.Conn) {
	defer func() { _ = front.Close() }()
	if !g.hold(front) {
		return
	}
	back, err := net.Dial("unix", g.backend)
	if err != nil {
		return
	}
	defer func() { _ = back.Close() }()
	if !g.hold(back) {
		return
	}
	startup, err := message(front, 0)
	if err != nil {
		return
	}
	if _, err := back.Write(startup); err != nil {
		return
	}
	var committing atomic.Bool
	g.serving.Go(func() {
		g.carry(back, front, func(m []byte) bool {
			const readyForQuery = 'Z'
			return m[0] != readyForQuery || !committing.CompareAndSwap(true, false) || g.pass(AfterCommit)
		})
	})
	g.carry(front, back, func(m []byte) bool {
		const query = 'Q'
		if m[0] != query || !bytes.EqualFold(bytes.TrimRight(m[5:], "\x00"), []byte("commit")) {
			return true
		}
		committing.Store(true)
		return g.pass(BeforeCommit)
	})
}

// carry passes messages on until one side ends or may says no; then it ends both.
func (g *Gate) carry(from, to net.Conn, may func(m []byte) bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	for {
		m, err := message(from, 1)
		if err != nil || !may(m) {
			return
		}
		if _, err := to.Write(m); err != nil {
			return
		}
	}
}

// message reads one message: a type of so many bytes, and a length that counts itself.
func message(r io.Reader, typed int) ([]byte, error) {
	head := make([]byte, typed+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	m := make([]byte, typed+int(binary.BigEndian.Uint32(head[typed:])))
	copy(m, head)
	_, err := io.ReadFull(r, m[len(head):])
	return m, err
}
