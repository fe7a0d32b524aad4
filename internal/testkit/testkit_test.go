package testkit

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recorder notes how Require ended a test. Fatalf and Skipf of a real test do not return; nothing follows them here.
type recorder struct {
	testing.TB
	failed, skipped string
}

func (r *recorder) Helper()                        {}
func (r *recorder) Fatalf(format string, _ ...any) { r.failed = format }
func (r *recorder) Skipf(format string, _ ...any)  { r.skipped = format }

func TestRequire(t *testing.T) {
	missing := errors.New("not found")
	for _, tc := range []struct {
		name, ci     string
		err          error
		fails, skips bool
	}{
		{"there", "true", nil, false, false},
		{"missing at home", "", missing, false, true},
		{"missing in CI", "true", missing, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("CI", tc.ci)
			r := &recorder{TB: t}
			Require(r, "a thing", tc.err)
			if (r.failed != "") != tc.fails || (r.skipped != "") != tc.skips {
				t.Errorf("failed %q, skipped %q", r.failed, r.skipped)
			}
		})
	}
}

func TestClockMovesOnlyWhenTold(t *testing.T) {
	start := time.Date(2017, 6, 13, 9, 0, 0, 0, time.UTC)
	c := NewClock(start)
	c.Advance(time.Minute)
	c.Advance(-time.Second)
	if got := c.Now().Sub(start); got != 59*time.Second {
		t.Errorf("the clock moved by %v", got)
	}
}

func TestFreePortCanBeUsed(t *testing.T) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(FreePort(t))))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestChromiumIsThere(t *testing.T) {
	if out, err := exec.Command(Chromium(t), "--version").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// say sends one inline command on a new connection and returns the first line of the answer.
func say(t *testing.T, addr, line string, wait time.Duration) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		return "", err
	}
	return bufio.NewReader(c).ReadString('\n')
}

func TestRedisIsShared(t *testing.T) {
	if first, second := Redis(t), Redis(t); first != second {
		t.Error("two addresses")
	}
	if got, err := say(t, Redis(t), "PING", time.Minute); err != nil || got != "+PONG\r\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRedisServerStopsStartsAndHangs(t *testing.T) {
	s := RedisServer(t, "--requirepass", "x")
	if got, err := say(t, s.Addr, "PING", time.Minute); err != nil || !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("the argument was not used: %q, %v", got, err)
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if got, err := say(t, s.Addr, "PING", 50*time.Millisecond); err == nil {
		t.Errorf("a paused server answered %q", got)
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Stop()
	if _, err := say(t, s.Addr, "PING", time.Minute); err == nil {
		t.Error("a stopped server answered")
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

// psql runs one statement through the server's own client: this package knows no driver.
func psql(t *testing.T, dsn, statement string) (string, error) {
	t.Helper()
	bin, err := postgresBin()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bin+"/psql", "-tAc", statement, dsn).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestPostgresDatabasesAreFresh(t *testing.T) {
	one, two := Postgres(t), Postgres(t)
	if out, err := psql(t, one, "CREATE TABLE bill (no TEXT)"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := psql(t, two, "SELECT count(*) FROM pg_class WHERE relname = 'bill'")
	if err != nil || out != "0" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestPostgresServerKeepsCommitsOverAKill(t *testing.T) {
	p := PostgresServer(t, "work_mem=1234kB")
	if out, err := psql(t, p.DSN(), "SHOW work_mem"); err != nil || out != "1234kB" {
		t.Errorf("the setting was not used: %q, %v", out, err)
	}
	if out, err := psql(t, p.DSN(), "CREATE TABLE bill AS SELECT 20 AS amount"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, end := range []func(){p.Kill, p.Stop} {
		end()
		if out, err := psql(t, p.DSN(), "SELECT 1"); err == nil {
			t.Errorf("a dead server answered %q", out)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if out, err := psql(t, p.DSN(), "SELECT amount FROM bill"); err != nil || out != "20" {
			t.Errorf("after the restart: %q, %v", out, err)
		}
	}
}

// TestServersDieWithTheBinary starts this test binary again, lets it start both servers, kills it with SIGKILL, and
// waits until nothing of it is left: the wait ends only when both servers are gone.
func TestServersDieWithTheBinary(t *testing.T) {
	if os.Getenv("TESTKIT_CHILD") != "" {
		dsn := Postgres(t)
		_, _ = os.Stdout.WriteString("servers " + Redis(t) + " " + dsn + "\n")
		select {}
	}
	requireRedis(t)
	requirePostgres(t)
	child := exec.Command(os.Args[0], "-test.run=^TestServersDieWithTheBinary$")
	child.Env = append(os.Environ(), "TESTKIT_CHILD=1")
	said, mouth, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	child.Stdout = mouth
	p, err := launch(child, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop(syscall.SIGKILL)
	if err := mouth.Close(); err != nil {
		t.Fatal(err)
	}
	var word, addr, dsn string
	for lines := bufio.NewScanner(said); word != "servers" && lines.Scan(); {
		word, addr, _ = strings.Cut(lines.Text(), " ")
	}
	addr, dsn, _ = strings.Cut(addr, " ")
	if out, err := psql(t, dsn, "SELECT 1"); err != nil {
		t.Fatalf("the child's Postgres: %v: %s", err, out)
	}
	p.stop(syscall.SIGKILL)
	await(t, "redis-server to end", func() bool {
		_, err := say(t, addr, "PING", time.Minute)
		return err != nil
	})
	await(t, "Postgres to end", func() bool {
		_, err := psql(t, dsn, "SELECT 1")
		return err != nil
	})
	await(t, "the data folder to go", func() bool {
		_, dir, _ := strings.Cut(dsn, "host=")
		dir = strings.ReplaceAll(dir, "%2F", "/")
		_, err := os.Stat(dir)
		return os.IsNotExist(err)
	})
}

// await polls until done holds; its limit only ends a test that would hang.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(startLimit); !done(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
