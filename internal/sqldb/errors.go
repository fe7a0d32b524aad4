package sqldb

import (
	"database/sql"
	"errors"

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
