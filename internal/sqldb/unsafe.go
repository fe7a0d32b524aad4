package sqldb

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Unsafe lists, in words, the settings under which the store may lose a commit or be read on the wire. Production
// refuses to start while the list is not empty. A setting that cannot be read is on the list. Replication, backups and
// the disk's own honesty are not checked.
func (d *DB) Unsafe(ctx context.Context) []string {
	if d.dialect == SQLite {
		if err := checkSQLite(ctx, d.write); err != nil {
			return []string{err.Error()}
		}
		return nil
	}
	var found []string
	for _, name := range []string{"synchronous_commit", "fsync", "full_page_writes"} {
		var value string
		err := d.write.QueryRowContext(ctx, `SELECT current_setting($1)`, name).Scan(&value)
		switch {
		case err != nil:
			found = append(found, fmt.Sprintf("%s cannot be read: %v", name, err))
		case value == "off":
			found = append(found, name+" is off; a crash may lose or damage commits")
		}
	}
	if exposed(d.pg) {
		found = append(found, notVerified)
	}
	return found
}

const notVerified = "the connection to Postgres is not verified; use sslmode=verify-full"

// exposed says whether one of the ways to the server leaves the machine without a checked certificate and host name.
// pgx turns sslmode=prefer and several hosts into fallbacks.
func exposed(cfg *pgx.ConnConfig) bool {
	if !private(cfg.Host, cfg.TLSConfig) {
		return true
	}
	for _, f := range cfg.Fallbacks {
		if !private(f.Host, f.TLSConfig) {
			return true
		}
	}
	return false
}

func private(host string, c *tls.Config) bool {
	if strings.HasPrefix(host, "/") || host == "localhost" { // a unix socket's folder, or this machine
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return true
	}
	return c != nil && !c.InsecureSkipVerify && c.ServerName != ""
}
