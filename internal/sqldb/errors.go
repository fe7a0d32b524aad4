package sqldb

import (
	"database/sql"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLSTATE codes, https://www.postgresql.org/docs/15/errcodes-appendix.html
const (
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	completionUnknown    = "40003"
	uniqueViolation      = "23505"
)

// conflict says whether the engine refused a transaction only because of another one.
func conflict(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == serializationFailure || e.Code == deadlockDetected
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && primary(e) == sqlite3.SQLITE_BUSY
}

// refused says whether a failed commit certainly left nothing in the store. Only an answer of a living engine proves
// that: Postgres' severity ERROR ends a statement, FATAL and PANIC end the session. After an input or output error
// SQLite may find the commit in its log when it starts again.
func refused(err error) bool {
	if errors.Is(err, sql.ErrTxDone) || errors.Is(err, pgx.ErrTxCommitRollback) {
		return true // rolled back when ctx ended, or by the server because a statement had failed
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.SeverityUnlocalized == "ERROR" && e.Code != completionUnknown
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return primary(e) == sqlite3.SQLITE_BUSY || primary(e) == sqlite3.SQLITE_CONSTRAINT
	}
	return false
}

// primary returns the primary result code of an extended one, https://sqlite.org/rescode.html
func primary(e *sqlite.Error) int { return e.Code() & 0xff }

// IsUnique says whether err is a violation of a unique index or a primary key. On Postgres the transaction is dead
// after it: prefer ON CONFLICT DO NOTHING where the violation is expected.
func IsUnique(err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code == uniqueViolation
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// UniqueConstraint returns what a unique violation hit, in one form on both engines: "table.column, table.column" in
// the order of the index. It is the index's name where the engine does not tell columns, and empty for other errors.
// It never holds a value.
func UniqueConstraint(err error) string {
	if !IsUnique(err) {
		return ""
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return postgresColumns(e)
	}
	// "constraint failed: UNIQUE constraint failed: t.a, t.b (2067)"
	text := err.Error()
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		text = e.Error()
	}
	text = text[strings.LastIndex(text, ": ")+len(": "):]
	columns, _, _ := strings.Cut(text, " (")
	return columns
}

// postgresColumns reads the columns of "Key (a, b)=(1, 2) already exists." whose words depend on the server's language.
func postgresColumns(e *pgconn.PgError) string {
	_, rest, opened := strings.Cut(e.Detail, "(")
	columns, _, closed := strings.Cut(rest, ")=(")
	if !opened || !closed {
		return e.ConstraintName
	}
	return e.TableName + "." + strings.ReplaceAll(columns, ", ", ", "+e.TableName+".")
}
