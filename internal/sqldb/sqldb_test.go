package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pay.taipei/gateway/internal/testkit"
)

// onBoth runs f on a fresh store of each engine. reopen opens the same store once more.
func onBoth(t *testing.T, f func(t *testing.T, d *DB, reopen func() *DB)) {
	t.Helper()
	for _, dialect := range []Dialect{SQLite, Postgres} {
		t.Run(dialect.String(), func(t *testing.T) {
			dsn := "sqlite:" + filepath.Join(t.TempDir(), "a ? # % file.db")
			if dialect == Postgres {
				dsn = testkit.Postgres(t)
			}
			reopen := func() *DB { return open(t, dsn) }
			f(t, reopen(), reopen)
		})
	}
}

func open(t *testing.T, dsn string) *DB {
	t.Helper()
	d, err := Open(t.Context(), dsn, WithJitter(func(time.Duration) time.Duration { return 0 }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func exec(t *testing.T, d *DB, statements ...string) {
	t.Helper()
	err := d.Write(t.Context(), func(tx *Tx) error {
		for _, s := range statements {
			if _, err := tx.Exec(t.Context(), s); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, d *DB, query string, args ...any) int {
	t.Helper()
	var n int
	err := d.Read(t.Context(), func(tx *Tx) error { return tx.QueryRow(t.Context(), query, args...).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOpenRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, dsn, says string
		form            bool // it shows without opening
	}{
		{"nothing", "", `must begin with "sqlite:"`, true},
		{"another engine", "mysql://root:hunter2@db/pay", `must begin with "sqlite:"`, true},
		{"key value form", "host=db password=hunter2", `must begin with "sqlite:"`, true},
		{"sqlite in memory", "sqlite::memory:", "needs a file", true},
		{"sqlite without a file", "sqlite:", "needs a file", true},
		{"no such folder", "sqlite:" + filepath.Join(t.TempDir(), "none", "x.db"), "the folder must exist", false},
		{"not a database", "sqlite:sqldb_test.go", "not a database", false},
		{"unreadable address", "postgres://gateway:hunter2@db:port/pay", "cannot be read", true},
		{"nobody there", "postgres://gateway:hunter2@127.0.0.1:1/pay", "is the server up", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := Open(t.Context(), tc.dsn)
			if err == nil {
				t.Fatalf("opened %v", d.Close())
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q does not say %q", err, tc.says)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q holds the password", err)
			}
			if _, checked := Check(tc.dsn); (checked != nil) != tc.form {
				t.Errorf("checked without opening: %v", checked)
			}
		})
	}
}

func TestOldSQLiteIsRefused(t *testing.T) {
	for version, want := range map[string]bool{
		"3.51.2": false, "3.9.0": false, "3.50.7": false, "": false, "3.51": false,
		"3.51.3": true, "3.51.10": true, "3.53.4": true, "4.0.0": true,
	} {
		if got := atLeast(version, 3, 51, 3); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}

func TestSQLiteFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	exec(t, open(t, "sqlite:"+path), `CREATE TABLE bill (no TEXT)`)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("gateway.db%s has mode %o", suffix, mode)
		}
	}
}

func TestSQLiteSettings(t *testing.T) {
	d := open(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"))
	for name, pool := range map[string]*sql.DB{"writer": d.write, "reader": d.read} {
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "busy_timeout": "10000", "foreign_keys": "1", "fullfsync": "1",
		} {
			var got string
			if err := pool.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s is %q, %v", name, pragma, got, err)
			}
		}
	}
}

// TestWritersNeverSeeBusy reads before it writes, which SQLite refuses at once unless the transaction began immediate.
// Two handles stand for two processes.
func TestWritersNeverSeeBusy(t *testing.T) {
	onBoth(t, func(t *testing.T, d *DB, reopen func() *DB) {
		exec(t, d, `CREATE TABLE counter (n BIGINT NOT NULL)`, `INSERT INTO counter VALUES (0)`)
		handles := []*DB{d, reopen()}
		const writers, each = 16, 50
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for range each {
					err := handles[w%2].Write(t.Context(), func(tx *Tx) error {
						var n int
						lock := ` FOR UPDATE`
						if d.Dialect() == SQLite {
							lock = ``
						}
						if err := tx.QueryRow(t.Context(), `SELECT n FROM counter`+lock).Scan(&n); err != nil {
							return err
						}
						_, err := tx.Exec(t.Context(), `UPDATE counter SET n = $1`, n+1)
						return err
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if n := count(t, d, `SELECT n FROM counter`); n != writers*each {
			t.Errorf("%d of %d increments are there", n, writers*each)
		}
	})
}

func TestWriteRollsBack(t *testing.T) {
	onBoth(t, func(t *testing.T, d *DB, _ func() *DB) {
		exec(t, d, `CREATE TABLE bill (no TEXT)`)
		insert := func(ctx context.Context, tx *Tx) {
			if _, err := tx.Exec(ctx, `INSERT INTO bill VALUES ('H60983881309263')`); err != nil {
				t.Fatal(err)
			}
		}
		t.Run("error", func(t *testing.T) {
			mine := errors.New("mine")
			err := d.Write(t.Context(), func(tx *Tx) error { insert(t.Context(), tx); return mine })
			if !errors.Is(err, mine) {
				t.Error(err)
			}
		})
		t.Run("panic", func(t *testing.T) {
			defer func() {
				if recover() != "mine" {
					t.Error("the panic was swallowed")
				}
			}()
			_ = d.Write(t.Context(), func(tx *Tx) error { insert(t.Context(), tx); panic("mine") })
		})
		t.Run("context ended", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			err := d.Write(ctx, func(tx *Tx) error { insert(ctx, tx); cancel(); return nil })
			if !errors.Is(err, context.Canceled) || errors.Is(err, ErrCommitUnknown) {
				t.Error(err)
			}
		})
		if n := count(t, d, `SELECT count(*) FROM bill`); n != 0 {
			t.Errorf("%d rows were left", n)
		}
		exec(t, d, `INSERT INTO bill VALUES ('H61283631217536')`) // the connection came back to its pool
	})
}

// TestWriteWaitsNoLongerThanItsContext holds the only writer of SQLite.
func TestWriteWaitsNoLongerThanItsContext(t *testing.T) {
	d := open(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"))
	err := d.Write(t.Context(), func(*Tx) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return d.Write(ctx, func(*Tx) error { return nil })
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestReadSeesOneStateAndWritesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, d *DB, _ func() *DB) {
		exec(t, d, `CREATE TABLE bill (no TEXT)`)
		err := d.Read(t.Context(), func(tx *Tx) error {
			for range 3 {
				var n int
				if err := tx.QueryRow(t.Context(), `SELECT count(*) FROM bill`).Scan(&n); err != nil || n != 0 {
					return fmt.Errorf("%d rows, %w", n, err)
				}
				exec(t, d, `INSERT INTO bill VALUES ('H60983881309263')`)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		err = d.Read(t.Context(), func(tx *Tx) error {
			_, err := tx.Exec(t.Context(), `DELETE FROM bill`)
			return err
		})
		if err == nil {
			t.Error("a Read deleted")
		}
		if n := count(t, d, `SELECT count(*) FROM bill`); n != 3 {
			t.Errorf("%d rows", n)
		}
		if err := d.Ping(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestDeadlockIsRunAgain lets two transactions lock two rows crosswise; Postgres kills one, which has to run again.
func TestDeadlockIsRunAgain(t *testing.T) {
	d := open(t, testkit.Postgres(t))
	exec(t, d, `CREATE TABLE bill (no BIGINT PRIMARY KEY, n BIGINT NOT NULL)`, `INSERT INTO bill VALUES (1, 0), (2, 0)`)
	var met sync.WaitGroup
	met.Add(2)
	var runs atomic.Int32
	var wg sync.WaitGroup
	for _, order := range [][2]int{{1, 2}, {2, 1}} {
		wg.Go(func() {
			first := true
			err := d.Write(t.Context(), func(tx *Tx) error {
				runs.Add(1)
				for _, no := range order {
					if _, err := tx.Exec(t.Context(), `UPDATE bill SET n = n + 1 WHERE no = $1`, no); err != nil {
						return fmt.Errorf("bill %d: %w", no, err)
					}
					if first { // only the first runs meet, each holding its first row
						first = false
						met.Done()
						met.Wait()
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if runs.Load() < 3 {
		t.Errorf("%d runs: there was no deadlock", runs.Load())
	}
	if n := count(t, d, `SELECT sum(n) FROM bill`); n != 4 {
		t.Errorf("%d updates, want 4", n)
	}
}

func TestConflictsAreRunAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, d *DB, _ func() *DB) {
		exec(t, d, `CREATE TABLE bill (no TEXT)`)
		for _, tc := range []struct {
			name                string
			conflicts, wantRuns int
		}{{"once", 1, 2}, {"four times", 4, 5}, {"always", 99, 5}} {
			t.Run(tc.name, func(t *testing.T) {
				before, runs := count(t, d, `SELECT count(*) FROM bill`), 0
				err := d.Write(t.Context(), func(tx *Tx) error {
					runs++
					if _, err := tx.Exec(t.Context(), `INSERT INTO bill VALUES ('H60983881309263')`); err != nil {
						return err
					}
					if runs <= tc.conflicts {
						return fmt.Errorf("place: %w", provoke(t, d, tx))
					}
					return nil
				})
				failed := tc.conflicts >= maxTries
				if runs != tc.wantRuns || (err != nil) != failed || failed && !conflict(err) {
					t.Errorf("%d runs, %v", runs, err)
				}
				want := before + 1
				if failed {
					want = before
				}
				if n := count(t, d, `SELECT count(*) FROM bill`); n != want {
					t.Errorf("%d rows, want %d", n, want)
				}
			})
		}
	})
}

// provoke makes the engine itself say that the transaction is refused because of another one.
func provoke(t *testing.T, d *DB, tx *Tx) error {
	t.Helper()
	if d.Dialect() == Postgres {
		_, err := tx.Exec(t.Context(), `DO $$ BEGIN RAISE SQLSTATE '40001'; END $$`)
		return err
	}
	var path string
	if err := tx.QueryRow(t.Context(), `SELECT file FROM pragma_database_list`).Scan(&path); err != nil {
		t.Fatal(err)
	}
	impatient, err := sql.Open("sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = impatient.Close() }()
	_, err = impatient.ExecContext(t.Context(), `INSERT INTO bill VALUES ('H61283631217536')`)
	return err
}

func TestRefusedCommitIsKnown(t *testing.T) {
	onBoth(t, func(t *testing.T, d *DB, _ func() *DB) {
		exec(t, d, `CREATE TABLE orders (no TEXT PRIMARY KEY)`,
			`CREATE TABLE bill (no TEXT REFERENCES orders (no) DEFERRABLE INITIALLY DEFERRED)`)
		runs := 0
		err := d.Write(t.Context(), func(tx *Tx) error {
			runs++
			_, err := tx.Exec(t.Context(), `INSERT INTO bill VALUES ('H60983881309263')`)
			return err
		})
		if err == nil || errors.Is(err, ErrCommitUnknown) || runs != 1 {
			t.Errorf("%d runs, %v", runs, err)
		}
	})
}

// TestSwallowedErrorIsNotACommit: Postgres answers the COMMIT of a broken transaction with success and ROLLBACK.
func TestSwallowedErrorIsNotACommit(t *testing.T) {
	d := open(t, testkit.Postgres(t))
	err := d.Write(t.Context(), func(tx *Tx) error {
		_, _ = tx.Exec(t.Context(), `SELECT 1/0`)
		return nil
	})
	if !errors.Is(err, pgx.ErrTxCommitRollback) || errors.Is(err, ErrCommitUnknown) {
		t.Error(err)
	}
}

func TestLostServerMakesACommitUnknown(t *testing.T) {
	server := testkit.PostgresServer(t)
	d := open(t, server.DSN())
	exec(t, d, `CREATE TABLE bill (no TEXT)`)
	runs := 0
	err := d.Write(t.Context(), func(tx *Tx) error {
		runs++
		_, err := tx.Exec(t.Context(), `INSERT INTO bill VALUES ('H60983881309263')`)
		server.Stop()
		return err
	})
	if !errors.Is(err, ErrCommitUnknown) || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
	if err := d.Ping(t.Context()); err == nil {
		t.Error("a dead server answered a Ping")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, d, `SELECT count(*) FROM bill`); n != 0 {
		t.Errorf("%d rows; it was never committed", n)
	}
}

// TestLostAnswerMakesACommitUnknown cuts the wire after the COMMIT went through and before its answer comes back.
func TestLostAnswerMakesACommitUnknown(t *testing.T) {
	direct := testkit.Postgres(t)
	d := open(t, direct)
	exec(t, d, `CREATE TABLE bill (no TEXT)`)
	var cut atomic.Bool
	far := open(t, deafProxy(t, direct, &cut))
	cut.Store(true)
	runs := 0
	err := far.Write(t.Context(), func(tx *Tx) error {
		runs++
		_, err := tx.Exec(t.Context(), `INSERT INTO bill VALUES ('H60983881309263')`)
		return err
	})
	if !errors.Is(err, ErrCommitUnknown) || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
	// The server may still be busy with the COMMIT when the wire is cut.
	for deadline := time.Now().Add(time.Minute); count(t, d, `SELECT count(*) FROM bill`) != 1; {
		if time.Now().After(deadline) {
			t.Fatal("the row is not there, though the COMMIT went through")
		}
	}
}

// deafProxy listens in front of dsn and passes everything on, until cut is set and a client says COMMIT: that still
// goes to the server, whose answer is dropped together with the connection.
func deafProxy(t *testing.T, dsn string, cut *atomic.Bool) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", filepath.Join(cfg.Host, ".s.PGSQL.5432"))
			if err != nil {
				_ = client.Close()
				continue
			}
			deaf := make(chan struct{})
			go pipe(server, client, func(b []byte) bool {
				if !cut.Load() || !strings.Contains(string(b), "commit\x00") {
					return false
				}
				close(deaf)
				return true
			})
			go pipe(client, server, func([]byte) bool {
				select {
				case <-deaf:
					return true
				default:
					return false
				}
			})
		}
	}()
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", cfg.User, l.Addr(), cfg.Database)
}

// pipe copies until from ends. When last says so of what it read, it stops: towards the server the bytes still go,
// towards the client they are dropped and the connection is closed.
func pipe(to, from net.Conn, last func([]byte) bool) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			_ = to.Close()
			return
		}
		ended := last(b[:n])
		if _, client := to.(*net.TCPConn); ended && client {
			_ = to.Close()
			return
		}
		if _, err := to.Write(b[:n]); err != nil || ended {
			return
		}
	}
}

func TestCommitErrors(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		known bool
	}{
		{"unique at commit", &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "23505"}, true},
		{"serialization", &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "40001"}, true},
		{"cancelled by the statement limit", &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "57014"}, true},
		{"statement completion unknown", &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "40003"}, false},
		{"administrator", &pgconn.PgError{SeverityUnlocalized: "FATAL", Code: "57P01"}, false},
		{"crash", &pgconn.PgError{SeverityUnlocalized: "PANIC", Code: "58030"}, false},
		{"rolled back by the server", pgx.ErrTxCommitRollback, true},
		{"ended before", sql.ErrTxDone, true},
		{"deadline while waiting", context.DeadlineExceeded, false},
		{"reset", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, false},
	} {
		if got := refused(fmt.Errorf("commit: %w", tc.err)); got != tc.known {
			t.Errorf("%s: known %v", tc.name, got)
		}
	}
}

func migrations(files ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i, up := range files {
		m[fmt.Sprintf("%04d_step.sql", i+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + up)}
	}
	return m
}

func TestMigrate(t *testing.T) {
	first := `CREATE TABLE evidence (id TEXT PRIMARY KEY, raw BYTEA NOT NULL);`
	onBoth(t, func(t *testing.T, d *DB, reopen func() *DB) {
		ctx := t.Context()
		for range 2 {
			if err := d.Migrate(ctx, migrations(first)); err != nil {
				t.Fatal(err)
			}
		}
		raw := []byte{'1', '2', 0, 0xff}
		err := d.Write(ctx, func(tx *Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO evidence VALUES ($1, $2), ($3, $4)`, "a", raw, "b", []byte("42"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		err = d.Read(ctx, func(tx *Tx) error {
			return tx.QueryRow(ctx, `SELECT raw FROM evidence WHERE raw = $1`, raw).Scan(&got)
		})
		if err != nil || !slices.Equal(got, raw) {
			t.Errorf("%q, %v", got, err)
		}

		broken := migrations(first, `CREATE TABLE half (id TEXT); CREATE TABLE evidence (id TEXT);`)
		if err := d.Migrate(ctx, broken); err == nil {
			t.Error("a broken migration passed")
		}
		exec(t, d, `CREATE TABLE half (id TEXT)`) // nothing of it was left
		if err := reopen().Migrate(ctx, migrations(first, `CREATE TABLE more (id TEXT);`)); err != nil {
			t.Error(err)
		}
		exec(t, d, `INSERT INTO more VALUES ('a')`)
	})
}

func TestCheckSchema(t *testing.T) {
	old, current := migrations(`CREATE TABLE one (id TEXT);`), migrations(`CREATE TABLE one (id TEXT);`, `CREATE TABLE two (id TEXT);`)
	onBoth(t, func(t *testing.T, d *DB, _ func() *DB) {
		check := func(when string, files fstest.MapFS, says string) {
			t.Helper()
			err := d.CheckSchema(t.Context(), files)
			if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v", when, err)
			}
		}
		check("a new store", old, "cannot be read")
		if err := d.Migrate(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		check("up to date", old, "")
		check("older than the program", current, "has version 1, this program needs 2")
		if err := d.Migrate(t.Context(), current); err != nil {
			t.Fatal(err)
		}
		check("newer than the program", old, "")
		check("no files", fstest.MapFS{}, "no migrations")
	})
}

// TestProcessesStartAtOnce opens and migrates a store that does not exist yet with several handles, which stand for
// processes. The first step takes a while, so that the others are there before it has ended.
func TestProcessesStartAtOnce(t *testing.T) {
	for dialect, slow := range map[Dialect]string{
		Postgres: `SELECT pg_sleep(0.3);`,
		SQLite:   `INSERT INTO one WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) SELECT max(i) FROM n;`,
	} {
		t.Run(dialect.String(), func(t *testing.T) {
			dsn := "sqlite:" + filepath.Join(t.TempDir(), "gateway.db")
			if dialect == Postgres {
				dsn = testkit.Postgres(t)
			}
			files := migrations(`CREATE TABLE one (id TEXT); `+slow, `CREATE TABLE two (id TEXT);`, `INSERT INTO two VALUES ('x');`)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					d, err := Open(t.Context(), dsn)
					if err == nil {
						err = errors.Join(d.Migrate(t.Context(), files), d.Close())
					}
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if n := count(t, open(t, dsn), `SELECT count(*) FROM two`); n != 1 {
				t.Errorf("the last step ran %d times", n)
			}
		})
	}
}

// TestOpenWaitsForANewFile: SQLite refuses at once to turn the write-ahead log on while another process writes.
func TestOpenWaitsForANewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.db")
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	refusals := 0
	d, err := Open(t.Context(), "sqlite:"+path, WithJitter(func(time.Duration) time.Duration {
		refusals++
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
			t.Error(err)
		}
		return 0
	}))
	if err != nil || refusals == 0 {
		t.Fatalf("refused %d times: %v", refusals, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestSkipLocked(t *testing.T) {
	onBoth(t, func(t *testing.T, d *DB, _ func() *DB) {
		exec(t, d, `CREATE TABLE outbox (id BIGINT PRIMARY KEY, taken BIGINT NOT NULL)`, `INSERT INTO outbox VALUES (1, 0), (2, 0)`)
		claim := func(tx *Tx) (id int64, err error) {
			err = tx.QueryRow(t.Context(), `UPDATE outbox SET taken = 1 WHERE id IN (SELECT id FROM outbox
				WHERE taken = 0 ORDER BY id LIMIT 1 `+d.SkipLocked()+`) RETURNING id`).Scan(&id)
			return id, err
		}
		err := d.Write(t.Context(), func(tx *Tx) error {
			one, err := claim(tx)
			if err != nil || d.Dialect() == SQLite {
				return err
			}
			return d.Write(t.Context(), func(other *Tx) error {
				two, err := claim(other)
				if err == nil && one == two {
					err = fmt.Errorf("%d was claimed twice", one)
				}
				return err
			})
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestUnsafe(t *testing.T) {
	ctx := t.Context()
	sqlite := open(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"))
	if found := sqlite.Unsafe(ctx); len(found) != 0 {
		t.Errorf("SQLite: %q", found)
	}
	if _, err := sqlite.write.ExecContext(ctx, `PRAGMA synchronous = NORMAL`); err != nil {
		t.Fatal(err)
	}
	if found := sqlite.Unsafe(ctx); len(found) != 1 {
		t.Errorf("SQLite that does not sync: %q", found)
	}
	if found := open(t, testkit.Postgres(t)).Unsafe(ctx); len(found) != 3 {
		t.Errorf("a Postgres made for speed: %q", found)
	}
	server := testkit.PostgresServer(t)
	d := open(t, server.DSN())
	if found := d.Unsafe(ctx); len(found) != 0 {
		t.Errorf("a Postgres as it comes: %q", found)
	}
	server.Stop()
	if found := d.Unsafe(ctx); len(found) != 3 {
		t.Errorf("a Postgres that does not answer: %q", found)
	}
}

func TestExposed(t *testing.T) {
	for dsn, want := range map[string]bool{
		"postgres://db.taipei/pay?sslmode=verify-full":          false,
		"postgres://db1,db2/pay?sslmode=verify-full":            false,
		"postgres://127.0.0.1/pay?sslmode=disable":              false,
		"postgres://[::1]/pay?sslmode=disable":                  false,
		"postgres://localhost/pay?sslmode=disable":              false,
		"postgres:///pay?host=/run/postgresql":                  false,
		"postgres://db.taipei/pay":                              true,
		"postgres://db.taipei/pay?sslmode=require":              true,
		"postgres://db.taipei/pay?sslmode=prefer":               true,
		"postgres://db.taipei/pay?sslmode=disable":              true,
		"postgres://localhost,db.taipei/pay?sslmode=disable":    true,
		"postgres://localhost.evil.example/pay?sslmode=disable": true,
	} {
		unsafe, err := Check(dsn)
		if err != nil || (unsafe != "") != want {
			t.Errorf("%s: %q, %v", dsn, unsafe, err)
		}
	}
}
