package sqlstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/orders"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are the goose migrations of the store's tables, at the root of the tree.
func Migrations() (fs.FS, error) { return fs.Sub(migrations, "migrations") }

// defaultTimeout bounds one verb with all its retries.
const defaultTimeout = 10 * time.Second

// Deps is what a Store is made of beside its database.
type Deps struct {
	// Timeout bounds each verb, its retries included, beside the caller's own deadline.
	// Zero: 10 seconds.
	Timeout time.Duration
}

// Store is an orders.Store on SQL. Its methods are safe for concurrent use, and many
// processes may use one database. Make it with Open.
type Store struct {
	db      *sqldb.DB
	timeout time.Duration
	blocks  blocks
}

var _ orders.Store = (*Store)(nil)

// Open makes a store on a database that has been migrated with Migrations; it does not
// check that, and does not close db.
func Open(db *sqldb.DB, deps Deps) (*Store, error) {
	if deps.Timeout < 0 {
		return nil, fmt.Errorf("sqlstore: timeout %v is negative", deps.Timeout)
	}
	if deps.Timeout == 0 {
		deps.Timeout = defaultTimeout
	}
	return &Store{db: db, timeout: deps.Timeout, blocks: newBlocks()}, nil
}

// write runs a verb in a transaction of its own. The verb may run several times, so it
// must not touch anything but its result; that is returned only when it is committed.
func write[T any](ctx context.Context, s *Store, verb func(unit) (T, error)) (T, error) {
	return run(ctx, s, s.db.Write, verb)
}

// read runs a verb on a consistent view of the database.
func read[T any](ctx context.Context, s *Store, verb func(unit) (T, error)) (T, error) {
	return run(ctx, s, s.db.Read, verb)
}

type begin func(context.Context, func(*sqldb.Tx) error) error

func run[T any](ctx context.Context, s *Store, begin begin, verb func(unit) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var result, none T
	var own error // of the verb's last run; anything else is the transaction's
	err := begin(ctx, func(tx *sqldb.Tx) error {
		result, own = verb(unit{ctx, tx, s.db.SkipLocked()})
		return own
	})
	switch {
	case err == nil:
		return result, nil
	case own != nil && errors.Is(err, own):
		return none, err
	}
	return none, unavailable(err)
}

func unavailable(err error) error {
	return fmt.Errorf("%w: %w", orders.ErrUnavailable, err)
}

// unit is the one transaction of a verb. It carries the verb's context because it lives
// no longer than that.
type unit struct {
	ctx        context.Context
	tx         *sqldb.Tx
	skipLocked string
}

// Marks in the SQL text, replaced by the listed fragments.
const (
	markSkipLocked = "/*skip locked*/"
	markClients    = "/*clients*/"
	markUrgent     = "/*urgent*/"
)

func (u unit) text(query string) string {
	return strings.Replace(query, markSkipLocked, u.skipLocked, 1)
}

// exec runs a statement and tells how many rows it changed.
func (u unit) exec(query string, args ...any) (int64, error) {
	result, err := u.tx.Exec(u.ctx, u.text(query), args...)
	if err != nil {
		return 0, unavailable(err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, unavailable(err)
	}
	return n, nil
}

// exec1 runs a statement that must change one row: the caller holds its lock.
func (u unit) exec1(query string, args ...any) error {
	n, err := u.exec(query, args...)
	if err == nil && n != 1 {
		return fmt.Errorf("sqlstore: %d rows changed instead of one by: %s", n, query)
	}
	return err
}

// scan reads one row's columns.
type scan func(dest ...any) error

// each runs a query and reads its rows one by one; the reader must not use the unit.
func (u unit) each(query string, args []any, reader func(scan) error) error {
	rows, err := u.tx.Query(u.ctx, u.text(query), args...)
	if err != nil {
		return unavailable(err)
	}
	defer func() { _ = rows.Close() }() // an error has shown in rows.Err
	for rows.Next() {
		if err := reader(rows.Scan); err != nil {
			return unavailable(err)
		}
	}
	if err := rows.Err(); err != nil {
		return unavailable(err)
	}
	return nil
}

// one reads the row of a query that has at most one, and says whether there was one.
func (u unit) one(query string, args []any, dest ...any) (bool, error) {
	found := false
	err := u.each(query, args, func(row scan) error {
		found = true
		return row(dest...)
	})
	return found, err
}

// withClients splices a list of n parameters, the first of which is numbered from.
func withClients(query string, from, n int) string {
	marks := make([]string, n)
	for i := range marks {
		marks[i] = "$" + strconv.Itoa(from+i)
	}
	return strings.Replace(query, markClients, strings.Join(marks, ", "), 1)
}

// millis is a moment as it is stored; the zero time is null.
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// moment reads what millis stored.
type moment struct{ at *time.Time }

// Scan is for database/sql.
func (m moment) Scan(stored any) error {
	switch v := stored.(type) {
	case nil:
		*m.at = time.Time{}
	case int64:
		*m.at = time.UnixMilli(v).UTC()
	default:
		return fmt.Errorf("sqlstore: moment of type %T", stored)
	}
	return nil
}

// stored is a moment as it comes back from the database.
func stored(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}
