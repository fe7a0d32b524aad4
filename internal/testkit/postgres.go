package testkit

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const postgresHint = "Postgres 15 or newer (apt-get install postgresql)"

// sharedPostgres is one server for the whole test binary, fast rather than durable; databases numbers what it holds.
var (
	sharedPostgres = sync.OnceValues(func() (*PG, error) {
		return newPG("fsync=off", "full_page_writes=off", "synchronous_commit=off")
	})
	databases atomic.Int64
)

// Postgres returns the address of a fresh, empty database on a real Postgres that the tests of this binary share. It
// speaks over a unix socket and forgets on power loss (fsync off). The database is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	requirePostgres(t)
	p, err := sharedPostgres()
	if err != nil {
		t.Fatalf("start Postgres: %v", err)
	}
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := p.admin("createdb", name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.admin("dropdb", "--force", name); err != nil {
			t.Error(err)
		}
	})
	return p.dsn(name)
}

// PG is a Postgres server of one test, with default durability.
type PG struct {
	bin, dir string
	settings []string
	as       *syscall.Credential
	held     *os.File // dir is removed when this is closed
	proc     *process
}

// PostgresServer starts a Postgres for this test alone; settings are of the form "name=value". It and its data are
// removed when the test ends.
func PostgresServer(t testing.TB, settings ...string) *PG {
	t.Helper()
	requirePostgres(t)
	p, err := newPG(settings...)
	if err != nil {
		t.Fatalf("start Postgres: %v", err)
	}
	t.Cleanup(func() {
		p.proc.stop(syscall.SIGQUIT)
		if err := p.held.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// DSN is the address of the server's database. It stays the same over Kill and Start.
func (p *PG) DSN() string { return p.dsn("postgres") }

// Kill ends the server at once (SIGKILL), as a crash does; commits that it acknowledged survive.
func (p *PG) Kill() { p.proc.stop(syscall.SIGKILL) }

// Stop shuts the server down in order, cutting open sessions.
func (p *PG) Stop() { p.proc.stop(syscall.SIGINT) }

// Start starts the server again after Kill or Stop. After a Kill it waits until the last orphaned session has ended.
func (p *PG) Start() error {
	var err error
	for deadline := time.Now().Add(startLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = p.startOnce(); err == nil {
			return nil
		}
		p.proc.stop(syscall.SIGQUIT)
	}
	log, _ := os.ReadFile(p.dir + "/log")
	return fmt.Errorf("%w\n%s", err, log)
}

func (p *PG) startOnce() error {
	args := []string{"-D", p.dir, "-k", p.dir, "-c", "listen_addresses=", "-c", "max_connections=300",
		"-c", "shared_buffers=32MB", "-c", "deadlock_timeout=100ms"}
	for _, s := range p.settings {
		args = append(args, "-c", s)
	}
	cmd := command(context.Background(), p.as, p.dir, filepath.Join(p.bin, "postgres"), args...)
	log, err := os.OpenFile(p.dir+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	// SIGQUIT is Postgres' immediate shutdown: it ends its sessions and frees its shared memory.
	if p.proc, err = launch(cmd, syscall.SIGQUIT); err != nil {
		return err
	}
	return p.proc.awaitReady(p.ready)
}

// ready reads what pg_ctl reads: the first line of postmaster.pid is the process, the eighth its state.
func (p *PG) ready() bool {
	b, err := os.ReadFile(p.dir + "/postmaster.pid")
	lines := strings.Split(string(b), "\n")
	return err == nil && len(lines) > 7 && lines[0] == strconv.Itoa(p.proc.cmd.Process.Pid) &&
		strings.TrimSpace(lines[7]) == "ready"
}

func (p *PG) dsn(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(p.dir)
}

func (p *PG) admin(program string, args ...string) error {
	return run(p.as, p.dir, filepath.Join(p.bin, program), append([]string{"-h", p.dir, "-U", "postgres"}, args...)...)
}

// newPG starts a server on a copy of a prepared data folder, because initdb takes longer than everything else.
func newPG(settings ...string) (*PG, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	as, err := postgresUser()
	if err != nil {
		return nil, err
	}
	p := &PG{bin: bin, settings: settings, as: as}
	if err := p.prepare(); err != nil {
		return nil, err
	}
	return p, p.Start()
}

// prepare makes the server's data folder, in a base folder that belongs to the user who runs servers.
func (p *PG) prepare() error {
	uid, gid := os.Getuid(), os.Getgid()
	if p.as != nil {
		uid, gid = int(p.as.Uid), int(p.as.Gid)
	}
	base := filepath.Join(os.TempDir(), fmt.Sprintf("gateway-testkit-%d", uid))
	if err := errors.Join(os.MkdirAll(base, 0o755), os.Chown(base, uid, gid)); err != nil {
		return err
	}
	template, err := p.template(base)
	if err != nil {
		return err
	}
	p.dir = filepath.Join(base, fmt.Sprintf("pg-%d-%d", os.Getpid(), databases.Add(1)))
	if p.held, err = removeAtEnd(p.dir); err != nil {
		return err
	}
	return run(p.as, base, "cp", "-Rp", template, p.dir)
}

// template returns the prepared data folder of this Postgres version, made once per machine. Two test binaries may
// both make it: the first rename wins and both are alike.
func (p *PG) template(base string) (string, error) {
	initdb := filepath.Join(p.bin, "initdb")
	out, err := command(context.Background(), p.as, base, initdb, "--version").Output()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "template-"+strings.Map(plain, strings.TrimSpace(string(out))))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	draft := filepath.Join(base, fmt.Sprintf("draft-%d", os.Getpid()))
	if err := run(p.as, base, initdb, "-D", draft, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale",
		"--no-sync", "--wal-segsize=1"); err != nil {
		return "", err
	}
	if os.Rename(draft, dir) != nil { // another was first
		return dir, os.RemoveAll(draft)
	}
	return dir, nil
}

// plain keeps what is harmless in a file name.
func plain(r rune) rune {
	if r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return '_'
}

func requirePostgres(t testing.TB) {
	t.Helper()
	_, err := postgresBin()
	Require(t, postgresHint, err)
}

// postgresBin finds the folder with initdb: Debian's newest version, else the PATH.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	best, version := "", 0
	for _, path := range found {
		bin := filepath.Dir(path)
		if v, err := strconv.Atoi(filepath.Base(filepath.Dir(bin))); err == nil && v > version {
			best, version = bin, v
		}
	}
	if best != "" {
		return best, nil
	}
	path, err := exec.LookPath("initdb")
	return filepath.Dir(path), err
}

// postgresUser says who runs the server: nil for ourselves, or an unprivileged user when we are root, as which
// Postgres refuses to run.
func postgresUser() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}
