package testkit

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const redisHint = "redis-server (apt-get install redis-server)"

// sharedRedis is one server for the whole test binary: its tests have no common owner that could hold it.
var sharedRedis = sync.OnceValues(func() (*Server, error) { return startRedis(os.TempDir(), nil) })

// Redis returns the address of a real redis-server that all tests of this binary share. It keeps nothing on disk. Use
// keys of your own and never flush it; RedisServer starts a private one.
func Redis(t testing.TB) string {
	t.Helper()
	requireRedis(t)
	s, err := sharedRedis()
	if err != nil {
		t.Fatalf("start redis-server: %v", err)
	}
	return s.Addr
}

// Server is a redis-server of one test.
type Server struct {
	Addr string // host:port on loopback

	dir  string
	args []string
	proc *process
}

// RedisServer starts a redis-server for this test alone; args are appended to the command line and win over the
// defaults (no persistence). It is killed when the test ends.
func RedisServer(t testing.TB, args ...string) *Server {
	t.Helper()
	requireRedis(t)
	s, err := startRedis(t.TempDir(), args)
	if err != nil {
		t.Fatalf("start redis-server: %v", err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Stop kills the server (SIGKILL); what it did not write to disk is lost. A second Stop does nothing.
func (s *Server) Stop() { s.proc.stop(syscall.SIGKILL) }

// Start starts the stopped server again at the same address.
func (s *Server) Start() error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	args := append([]string{
		"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir,
	}, s.args...)
	s.proc, err = launch(command(context.Background(), nil, s.dir, "redis-server", args...), syscall.SIGKILL)
	if err != nil {
		return err
	}
	return s.proc.awaitReady(func() bool { return redisAnswers(s.Addr) })
}

// Pause freezes the server (SIGSTOP): connections stay open and nothing is answered.
func (s *Server) Pause() error { return s.proc.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() error { return s.proc.cmd.Process.Signal(syscall.SIGCONT) }

func requireRedis(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("redis-server")
	Require(t, redisHint, err)
}

// startRedis tries a few ports: a free one may be taken by another test binary before the server has it.
func startRedis(dir string, args []string) (*Server, error) {
	var err error
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			break
		}
		s := &Server{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), dir: dir, args: args}
		if err = s.Start(); err == nil && !s.proc.ended() {
			return s, nil
		}
		if s.proc != nil {
			s.Stop()
		}
	}
	return nil, fmt.Errorf("no port worked: %w", err)
}

func redisAnswers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return false
	}
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}
