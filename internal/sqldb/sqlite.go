package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// readers is the number of connections that read beside the one that writes.
const readers = 8

// openSQLite opens two pools on one file. One connection writes: SQLite allows one writer anyway, and a queue in
// database/sql is fair where SQLite's busy handler is a lottery.
func (d *DB) openSQLite(ctx context.Context, path string) error {
	var err error
	if d.path, err = sqlitePath(path); err != nil {
		return err
	}
	if d.write, err = sqlitePool(d.path, "_txlock=immediate", 1); err != nil {
		return err
	}
	if d.read, err = sqlitePool(d.path, "_query_only=true", readers); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	for {
		// Turning the log on in a new file does not wait for another process that does the same.
		err = checkSQLite(ctx, d.write)
		if err == nil || !conflict(err) || pause(ctx, d.jitter(firstBackoff)) != nil {
			return err
		}
	}
}

func sqlitePath(path string) (string, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") {
		return "", errors.New("it needs a file, as in sqlite:gateway.db")
	}
	return filepath.Clean(path), nil
}

// sqlitePool opens a pool whose connections all have the settings that money needs. BEGIN IMMEDIATE (the writer's
// _txlock) takes the write lock before the first read: a transaction that reads first and then writes is refused at
// once, whatever the busy timeout. fullfsync matters on macOS, where fsync does not reach the disk.
func sqlitePool(path, extra string, size int) (*sql.DB, error) {
	// SQLite would create the file readable for everybody; its log files take over the mode. A file that exists is not
	// even opened: closing it would drop the locks that this process may hold on it, https://sqlite.org/howtocorrupt.html
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case err == nil:
		err = f.Close()
	case errors.Is(err, fs.ErrExist):
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w; the folder must exist and be writable", err)
	}
	escape := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23")
	db, err := sql.Open("sqlite", "file:"+escape.Replace(path)+"?_journal_mode=WAL&_synchronous=FULL&_busy_timeout=10000"+
		"&_foreign_keys=true&_dqs=false&_pragma=fullfsync(1)&"+extra)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// checkSQLite reads back what was asked for: SQLite ignores a setting that it cannot apply.
func checkSQLite(ctx context.Context, db *sql.DB) error {
	var version, mode string
	var sync int
	err := errors.Join(
		db.QueryRowContext(ctx, `SELECT sqlite_version()`).Scan(&version),
		db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode),
		db.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&sync),
	)
	switch {
	case err != nil:
		return err
	case !atLeast(version, 3, 51, 3):
		// Older ones can lose committed data in a checkpoint race: https://sqlite.org/wal.html#walresetbug
		return fmt.Errorf("SQLite %s is too old, 3.51.3 is the oldest that never loses a commit", version)
	case mode != "wal":
		return fmt.Errorf("journal_mode is %q, not wal; put the file on a local disk", mode)
	case sync < fullSync:
		return fmt.Errorf("synchronous is %d, not %d (FULL)", sync, fullSync)
	}
	return nil
}

// fullSync is SQLite's number for synchronous=FULL.
const fullSync = 2

// atLeast compares a dotted version with the least wanted. What is not a number counts as 0.
func atLeast(version string, want ...int) bool {
	var have []int
	for part := range strings.SplitSeq(version, ".") {
		n, _ := strconv.Atoi(part)
		have = append(have, n)
	}
	return slices.Compare(have, want) >= 0
}
