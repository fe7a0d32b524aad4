// Package sqldb opens the gateway's SQL store, SQLite or Postgres, migrates it and runs transactions on it.
//
// The SQL itself is one text for both engines, with $1 placeholders; where that is impossible the difference is one of
// the Fragments. What the engines do differently around a statement (locking, retries, error codes, a commit whose
// answer was lost) ends here: a caller sees one behaviour.
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

// Fragments is the whole list of texts that differ between the engines or might. A migration names them in double
// braces; statements splice DB.SkipLocked in.
//
//	{{bytes}}        the type of raw bytes. SQLite takes any type name; BYTEA gives NUMERIC affinity there, which leaves
//	                 a blob alone but would turn a string of digits into a number: bind []byte, never string.
//	{{skip_locked}}  ends the inner SELECT of a claim. SQLite has one writer, so there is nobody to skip.
func Fragments(d Dialect) map[string]string {
	skip := ""
	if d == Postgres {
		skip = "FOR UPDATE SKIP LOCKED"
	}
	return map[string]string{"{{bytes}}": "BYTEA", "{{skip_locked}}": skip}
}

// DB is an open store. It is safe for concurrent use; there is no useful zero value.
type DB struct {
	dialect Dialect
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
		return nil, errors.New(`the store address must begin with "sqlite:" or "postgres:", as in sqlite:gateway.db`)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the %v store: %w", d.dialect, err), d.Close())
	}
	return d, nil
}

// Dialect returns the engine.
func (d *DB) Dialect() Dialect { return d.dialect }

// SkipLocked returns the fragment that ends the inner SELECT of a claim; it is empty on SQLite.
func (d *DB) SkipLocked() string { return Fragments(d.dialect)["{{skip_locked}}"] }

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
