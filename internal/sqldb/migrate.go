package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrate brings the store up to the newest file in fsys, whose root holds goose files NNNN_name.sql. Each file is one
// transaction. Processes may call it at once: a lock lets one through at a time, and the others find nothing left to do.
// It is bounded by ctx only, because an index on a large table takes what it takes. Edited files are not noticed.
func (d *DB) Migrate(ctx context.Context, fsys fs.FS) (err error) {
	db, dialect, opts := d.write, goose.DialectSQLite3, []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if d.dialect == Postgres {
		db, dialect = d.migrationPool(), goose.DialectPostgres
		defer func() { err = errors.Join(err, db.Close()) }()
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600)) // seconds, tries
		if err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	} else {
		unlock, err := lockSQLite(ctx, d.path)
		if err != nil {
			return fmt.Errorf("migrate: wait for another process that migrates: %w", err)
		}
		defer unlock()
	}
	p, err := goose.NewProvider(dialect, db, fsys, opts...)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// lockSQLite holds the write lock of an empty database beside the store, which ends with the process whatever happens.
// The store's own lock will not do: goose takes and releases it for each file. The file stays, for a lock on a file that
// somebody removes holds nobody back.
func lockSQLite(ctx context.Context, path string) (unlock func(), err error) {
	pool, err := sqlitePool(path+"-migrate", "_txlock=immediate", 1)
	if err != nil {
		return nil, err
	}
	for {
		tx, err := pool.BeginTx(ctx, nil)
		switch {
		case err == nil:
			return func() { _, _ = tx.Rollback(), pool.Close() }, nil // nothing was written
		case ctx.Err() != nil || !conflict(err):
			return nil, errors.Join(err, pool.Close())
		}
	}
}

// CheckSchema refuses a store whose schema is older than the newest file in fsys. It changes nothing. A newer schema is
// accepted, so that the release before can be started again.
func (d *DB) CheckSchema(ctx context.Context, fsys fs.FS) error {
	files, err := fs.Glob(fsys, "*.sql") // in order
	if err != nil || len(files) == 0 {
		return errors.Join(errors.New("there are no migrations"), err)
	}
	want, err := goose.NumericComponent(files[len(files)-1])
	if err != nil {
		return err
	}
	var have sql.NullInt64
	err = d.Read(ctx, func(tx *Tx) error {
		return tx.QueryRow(ctx, `SELECT max(version_id) FROM `+goose.DefaultTablename).Scan(&have)
	})
	switch {
	case err != nil:
		return fmt.Errorf("the schema's version cannot be read: %w", err)
	case have.Int64 < want:
		return fmt.Errorf("the schema has version %d, this program needs %d", have.Int64, want)
	}
	return nil
}
