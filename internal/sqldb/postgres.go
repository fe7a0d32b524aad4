package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// connections is the most one replica opens. Postgres allows 100 in all by default.
const connections = 20

// openPostgres opens the pool. What the address sets itself wins over the defaults here. A server that gave up on a
// statement or on an idle transaction frees its row locks: a frozen replica must not hold an order for ever.
func (d *DB) openPostgres(ctx context.Context, dsn string) error {
	d.dialect = Postgres
	cfg, err := parsePostgres(dsn)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"application_name":                    "gateway",
		"statement_timeout":                   "10s",
		"idle_in_transaction_session_timeout": "30s",
	} {
		cfg.RuntimeParams[name] = cmp.Or(cfg.RuntimeParams[name], value)
	}
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, 5*time.Second)
	d.pg = cfg
	d.write = stdlib.OpenDB(*cfg)
	d.write.SetMaxOpenConns(connections)
	d.write.SetMaxIdleConns(connections)
	d.write.SetConnMaxIdleTime(5 * time.Minute)
	d.read = d.write
	return checkPostgres(ctx, d.write)
}

// parsePostgres also reads what the address names: certificates and a password file.
func parsePostgres(dsn string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		// The parser's error may quote the password; pgx promises no more than to try.
		return nil, errors.New("the address cannot be read; write postgres://user:password@host/database?sslmode=verify-full")
	}
	return cfg, nil
}

func checkPostgres(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return fmt.Errorf("%w; is the server up and the address right?", err)
	}
	if version < 150000 {
		return fmt.Errorf("the server is Postgres %d, and 15 is the oldest that is tested", version/10000)
	}
	return nil
}

// migrationPool is a pool of its own for migrations: an index may take longer than a statement may, but a migration
// that waits for a lock stalls everybody behind it and gives up soon.
func (d *DB) migrationPool() *sql.DB {
	cfg := d.pg.Copy()
	cfg.RuntimeParams["statement_timeout"] = "0"
	cfg.RuntimeParams["lock_timeout"] = "10s"
	return stdlib.OpenDB(*cfg)
}
