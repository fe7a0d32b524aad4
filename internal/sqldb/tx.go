package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ErrCommitUnknown means that the connection broke while committing: the transaction may or may not be in the store.
// The caller reads it again by its key before it answers anybody, and never takes this for a failure.
var ErrCommitUnknown = errors.New("the commit's outcome is unknown")

const (
	maxTries     = 5                     // runs of one transaction in all
	firstBackoff = 10 * time.Millisecond // longest wait before the second run; it doubles
	maxDuration  = 30 * time.Second      // of a whole Write or Read, waits included
)

// Tx is an open transaction. It is good until the function it was given to returns.
type Tx struct{ tx *sql.Tx }

// Exec runs a statement that returns no rows.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(ctx, query, args...)
}

// Query runs a statement that returns rows. The caller closes them and checks their Err.
func (t *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, query, args...)
}

// QueryRow runs a statement that returns at most one row; Scan reports sql.ErrNoRows.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, query, args...)
}

// Write runs f in one transaction (READ COMMITTED on Postgres, alone on SQLite) and commits it. It rolls back when f
// returns an error, which is returned as it is, or panics.
//
// When the engine refuses the transaction because of another (SQLSTATE 40001 and 40P01, SQLITE_BUSY) the whole of f
// runs again, at most five times in all: f must keep no result of an earlier run and must wrap the errors it passes on
// (%w). Everything ends within 30 s or with ctx, whichever is sooner. A commit whose answer was lost is
// ErrCommitUnknown and is never run again. On SQLite a Write inside f waits for itself until ctx ends.
func (d *DB) Write(ctx context.Context, f func(tx *Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	opts := &sql.TxOptions{}
	if d.dialect == Postgres {
		opts.Isolation = sql.LevelReadCommitted
	}
	for try := 1; ; try++ {
		err := transact(ctx, d.write, opts, f)
		if err == nil || !conflict(err) {
			return err
		}
		if try == maxTries {
			return fmt.Errorf("gave up after %d tries: %w", try, err)
		}
		if ended := pause(ctx, d.jitter(firstBackoff<<(try-1))); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// Read runs f in a read-only transaction that sees one state of the store throughout (REPEATABLE READ on Postgres) and
// waits for no writer. Nothing is run again. It ends within 30 s or with ctx.
func (d *DB) Read(ctx context.Context, f func(tx *Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	opts := &sql.TxOptions{ReadOnly: true}
	if d.dialect == Postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	tx, err := d.read.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // there is nothing to commit
	return f(&Tx{tx})
}

func transact(ctx context.Context, db *sql.DB, opts *sql.TxOptions, f func(tx *Tx) error) error {
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing after a commit; f's error is the one to tell
	if err := f(&Tx{tx}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // nothing was sent: that much is known, which it would not be after Commit
	}
	if err := tx.Commit(); err != nil {
		if refused(err) {
			return fmt.Errorf("commit: %w", err)
		}
		return fmt.Errorf("%w: %w", ErrCommitUnknown, err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
