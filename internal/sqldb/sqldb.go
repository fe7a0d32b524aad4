// Package sqldb opens the gateway's SQL store, SQLite or Postgres, migrates it and runs transactions on it.
//
// The SQL itself is one text for both engines, with $1 placeholders; the one difference is DB.SkipLocked. Raw bytes are
// BYTEA on both. SQLite takes any type name, and gives this one NUMERIC affinity, which leaves a blob alone but would turn
// a string of digits into a number: bind []byte, never string. What the engines do differently around a statement
// (locking, retries, error codes, a commit whose answer was lost) ends here: a caller sees one behaviour.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Dialect is the engine behind a DB. The zero value is SQLite.
type Dialect int

// The engines.
const (
	SQLite Dialect = iota
	Postgres
)

// String returns "sqlite" or "postgres".
func (d Dialect) String() string {
	if d == Postgres {
		return "postgres"
	}
	return "sqlite"
}

// DB is an open store. It is safe for concurrent use; there is no useful zero value.
type DB struct {
	dialect Dialect
	path    string // of SQLite's file
	write   *sql.DB
	read    *sql.DB         // the same pool as write on Postgres
	pg      *pgx.ConnConfig // nil on SQLite; never printed, it holds the password
	jitter  func(time.Duration) time.Duration
}

// Option changes how Open sets a DB up.
type Option func(*DB)

// WithJitter sets how long Write waits before it runs a transaction again: f gets the longest wait for this try and
// returns a wait between 0 and that. Without it Write waits the longest.
func WithJitter(f func(limit time.Duration) time.Duration) Option {
	return func(d *DB) { d.jitter = f }
}

// Open opens the store at dsn, "sqlite:PATH" or "postgres://…", and checks that it answers and is fit for money: SQLite
// must be 3.51.3 or newer with a write-ahead log synced on every commit, Postgres 15 or newer. Settings that a
// production server must not have are told by Unsafe, not refused here. No error quotes the dsn, which may hold a
// password.
func Open(ctx context.Context, dsn string, opts ...Option) (*DB, error) {
	d := &DB{jitter: func(limit time.Duration) time.Duration { return limit }}
	for _, o := range opts {
		o(d)
	}
	var err error
	switch scheme, rest, _ := strings.Cut(dsn, ":"); scheme {
	case "sqlite":
		err = d.openSQLite(ctx, rest)
	case "postgres", "postgresql":
		err = d.openPostgres(ctx, dsn)
	default:
		return nil, errScheme
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the %v store: %w", d.dialect, err), d.Close())
	}
	return d, nil
}

// Check says what Open and Unsafe would say of an address alone: that it cannot be understood, or, when it can, in words
// why production must not have it, empty for nothing. It connects to nothing. No error quotes the dsn.
func Check(dsn string) (unsafe string, err error) {
	switch scheme, rest, _ := strings.Cut(dsn, ":"); scheme {
	case "sqlite":
		_, err := sqlitePath(rest)
		return "", err
	case "postgres", "postgresql":
		cfg, err := parsePostgres(dsn)
		if err == nil && exposed(cfg) {
			unsafe = notVerified
		}
		return unsafe, err
	}
	return "", errScheme
}

var errScheme = errors.New(`the store address must begin with "sqlite:" or "postgres:", as in sqlite:gateway.db`)

// Dialect returns the engine.
func (d *DB) Dialect() Dialect { return d.dialect }

// SkipLocked ends the inner SELECT of a claim. It is empty on SQLite, which has one writer: there is nobody to skip.
func (d *DB) SkipLocked() string {
	if d.dialect == Postgres {
		return "FOR UPDATE SKIP LOCKED"
	}
	return ""
}

// Close closes every connection. Transactions that are still open fail.
func (d *DB) Close() error {
	var errs []error
	if d.write != nil {
		errs = append(errs, d.write.Close())
	}
	if d.read != nil && d.read != d.write {
		errs = append(errs, d.read.Close())
	}
	return errors.Join(errs...)
}

// Ping says whether the store answers a query within ctx and the transaction limit. It does not prove that the store
// can be written to.
func (d *DB) Ping(ctx context.Context) error {
	return d.Read(ctx, func(tx *Tx) error {
		var one int
		return tx.QueryRow(ctx, `SELECT 1`).Scan(&one)
	})
}
