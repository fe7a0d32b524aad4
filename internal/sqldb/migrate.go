package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrate brings the store up to the newest file in fsys, whose root holds goose files NNNN_name.sql with Fragments in
// them. Each file is one transaction. Replicas may call it at once: on Postgres a session lock lets one through. It is
// bounded by ctx only, because an index on a large table takes what it takes. Edited files are not noticed.
func (d *DB) Migrate(ctx context.Context, fsys fs.FS) (err error) {
	db, opts := d.write, []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if d.dialect == Postgres {
		db = d.migrationPool()
		defer func() { err = errors.Join(err, db.Close()) }()
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600)) // seconds, tries
		if err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(d.goose(), db, expanded{fsys, d.dialect}, opts...)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// Pending says whether Migrate has something to do.
func (d *DB) Pending(ctx context.Context, fsys fs.FS) (bool, error) {
	p, err := goose.NewProvider(d.goose(), d.write, expanded{fsys, d.dialect}, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return false, fmt.Errorf("read the migrations: %w", err)
	}
	return p.HasPending(ctx)
}

func (d *DB) goose() goose.Dialect {
	if d.dialect == Postgres {
		return goose.DialectPostgres
	}
	return goose.DialectSQLite3
}

// expanded is a file system whose .sql files have the fragments of one engine filled in.
type expanded struct {
	fs.FS
	dialect Dialect
}

func (e expanded) Open(name string) (fs.File, error) {
	f, err := e.FS.Open(name)
	if err != nil || path.Ext(name) != ".sql" {
		return f, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	text := string(b)
	for name, value := range Fragments(e.dialect) {
		text = strings.ReplaceAll(text, name, value)
	}
	if strings.Contains(text, "{{") {
		return nil, errors.Join(fmt.Errorf("%s names an unknown fragment", name), f.Close())
	}
	return file{f, strings.NewReader(text)}, nil
}

// file reads r in place of what the file holds; its Stat still tells the size on disk.
type file struct {
	fs.File
	r io.Reader
}

func (f file) Read(b []byte) (int, error) { return f.r.Read(b) }
