// Package app puts the gateway together from a configuration and runs it. Both the
// production binary and the demo start the gateway through it, so that the demo shows
// the real thing. It is the only place that starts goroutines, and it stops each.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/url"
	"time"

	"pay.taipei/gateway/api"
	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/internal/metrics"
	"pay.taipei/gateway/internal/redisx"
	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/orders/sqlstore"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/all"
	"pay.taipei/gateway/router"
	"pay.taipei/gateway/webhooks"
	"pay.taipei/gateway/webhooks/outbox"
)

// Options are what the configuration does not say.
type Options struct {
	Log     *slog.Logger
	Migrate bool             // bring the store's schema up to date first
	Now     func() time.Time // nil: time.Now
	// Adapter opens an account's adapter; nil: all.Open. Tests put scripted ones here.
	Adapter func(adapter string, a all.Account, d all.Deps) (providers.Provider, error)
}

// App is a gateway that is put together and not yet running.
type App struct {
	config  *configs.Config
	log     *slog.Logger
	now     func() time.Time
	db      *sqldb.DB
	store   *sqlstore.Store
	redis   *redisx.Redis
	metrics *metrics.Metrics
	clients []*httpx.Client
	jobs    *jobs
	webhook []string // clients that have one
	servers servers
}

// Open connects to the stores and wires everything. Close the App when it is not served.
func Open(ctx context.Context, c *configs.Config, o Options) (*App, error) {
	if o.Adapter == nil {
		o.Adapter = all.Open
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &App{config: c, log: o.Log, now: o.Now}
	if err := a.open(ctx, o); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *App) open(ctx context.Context, o Options) error {
	if err := a.openStores(ctx, o.Migrate); err != nil {
		return err
	}
	accounts, err := a.accounts(o)
	if err != nil {
		return err
	}
	names := make([]string, len(accounts))
	for i, acct := range accounts {
		names[i] = acct.Name
	}
	if a.metrics, err = metrics.New(names); err != nil {
		return err
	}
	a.jobs = newJobs(a.log, a.now)
	links, err := webhooks.ParseLinks(a.config.PublicURL)
	if err != nil {
		return err
	}
	merchants := make([]router.Merchant, len(a.config.Merchants))
	for i, m := range a.config.Merchants {
		merchants[i] = router.Merchant{Code: m.Code, Name: m.Name, Payees: m.Payees}
	}
	r, err := router.New(router.Config{Accounts: accounts, Merchants: merchants}, router.Deps{
		Store: a.store, Claims: a.redis, Links: links, Now: a.now, Rand: rand.Reader, Log: a.log, Meter: a.metrics, Wake: a.jobs.Wake,
	})
	if err != nil {
		return err
	}
	if err := a.handlers(r, links); err != nil {
		return err
	}
	return a.background(r)
}

// openStores opens the store and Redis, and refuses what production must not have.
func (a *App) openStores(ctx context.Context, migrate bool) error {
	var err error
	jitter := sqldb.WithJitter(func(limit time.Duration) time.Duration { return time.Duration(mathrand.Int64N(int64(limit) + 1)) })
	if a.db, err = sqldb.Open(ctx, a.config.Store, jitter); err != nil {
		return err
	}
	if a.config.Environment == configs.Production {
		if found := a.db.Unsafe(ctx); len(found) > 0 {
			return fmt.Errorf("the store is not safe for production: %v", found)
		}
	}
	if migrate {
		if err := Migrate(ctx, a.db); err != nil {
			return err
		}
	}
	if a.store, err = sqlstore.Open(a.db, sqlstore.Deps{}); err != nil {
		return err
	}
	address, err := configs.ParseRedis(a.config.Redis)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	a.redis, err = redisx.Open(redisx.Config{
		Embedded: address.Mode == configs.RedisEmbedded, Addrs: address.Addrs, MasterName: address.Master,
		Cluster: address.Mode == configs.RedisCluster, TLS: address.TLS, Username: address.Username, Password: address.Password.Reveal,
	}, redisx.Deps{Now: a.now})
	return err
}

// Migrate brings a store's schema up to date.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	files, err := sqlstore.Migrations()
	if err != nil {
		return err
	}
	return db.Migrate(ctx, files)
}

// accounts opens the adapters.
func (a *App) accounts(o Options) ([]router.Account, error) {
	var accounts []router.Account
	var errs []error
	for i := range a.config.Accounts {
		c := &a.config.Accounts[i]
		deps := all.Deps{Now: a.now, Rand: rand.Reader, HTTP: func(origin string) (*httpx.Client, error) {
			return a.client(c.Name, origin, c.Network)
		}}
		p, err := o.Adapter(c.Adapter, all.Account{Name: c.Name, Environment: providers.Environment(c.Environment), Decode: c.Decode}, deps)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		accounts = append(accounts, router.Account{
			Name: c.Name, Provider: p, Environment: providers.Environment(c.Environment), NumberPrefix: c.NumberPrefix,
			QueryBeforePaid: router.QueryRule{Never: c.QueryNever, Above: c.QueryAbove},
		})
	}
	return accounts, errors.Join(errs...)
}

// client makes the one way out to one origin.
func (a *App) client(name, origin, network string) (*httpx.Client, error) {
	client, err := httpx.New(httpx.Config{Name: name, BaseURL: origin, Network: networks[network], HeaderTimeout: time.Minute},
		httpx.Deps{Now: a.now, Rand: mathrand.Uint64, Trace: func(t httpx.Trace) {
			a.log.Debug("sent", "target", t.Target, "method", t.Method, "path", t.Path, "status", t.Status, "ms", t.Duration.Milliseconds(), "sent", t.Sent)
		}})
	if err != nil {
		return nil, err
	}
	a.clients = append(a.clients, client)
	return client, nil
}

var networks = map[string]httpx.Network{"": httpx.Public, "public": httpx.Public, "private": httpx.Private, "loopback": httpx.Loopback}

// handlers makes what the listeners serve.
func (a *App) handlers(r *router.Router, links webhooks.Links) error {
	clients := make([]api.Client, len(a.config.Clients))
	for i, c := range a.config.Clients {
		keys := make([]api.Key, len(c.Keys))
		for j, k := range c.Keys {
			keys[j] = api.Key{ID: k.ID, SHA256: k.Digest, NotAfter: k.Expires}
		}
		clients[i] = api.Client{ID: c.ID, Keys: keys, Merchants: c.Merchants, ReturnPrefixes: c.ReturnPrefixes}
	}
	var err error
	a.servers.api, err = api.New(api.Config{Clients: clients, TrustedProxies: a.config.TrustedProxies}, api.Deps{
		Orders: r, Store: a.store, Directory: r, CheckoutURL: links.Checkout, Now: a.now, NewID: newID, Log: a.log.With("listener", "api"),
		Observe: func(o api.Observation) { a.metrics.HTTPRequest("api", o.Route, o.Status, o.Duration) },
	})
	if err != nil {
		return err
	}
	a.servers.edge, err = webhooks.New(webhooks.Config{TrustedProxies: a.config.TrustedProxies}, webhooks.Deps{
		Accounts: r, Notices: r, Pages: r, Now: a.now, NewID: newID, Nonce: newNonce, Log: a.log.With("listener", "edge"),
		Observe: func(o webhooks.Observation) {
			a.metrics.HTTPRequest("edge", o.Route, o.Status, o.Duration)
			if o.Account != "" {
				a.metrics.Callback(o.Account, o.Verdict)
			}
		},
	})
	if err != nil {
		return err
	}
	a.servers.ops = a.ops()
	return nil
}

// background lists the jobs.
func (a *App) background(r *router.Router) error {
	var targets []outbox.Target
	for _, c := range a.config.Clients {
		if c.Webhook == nil {
			continue
		}
		u, err := url.Parse(c.Webhook.URL)
		if err != nil {
			return fmt.Errorf("client %s: webhook: %w", c.ID, err)
		}
		client, err := a.client("client-"+c.ID, u.Scheme+"://"+u.Host, c.Webhook.Network)
		if err != nil {
			return fmt.Errorf("client %s: webhook: %w", c.ID, err)
		}
		targets = append(targets, outbox.Target{Client: c.ID, HTTP: client, Path: cmp.Or(u.EscapedPath(), "/"), RawQuery: u.RawQuery, Signers: c.Webhook.Signers})
		a.webhook = append(a.webhook, c.ID)
	}
	deliverer, err := outbox.New(outbox.Config{Targets: targets}, outbox.Deps{
		Store: a.store, Now: a.now, Rand: mathrand.Uint64, Log: a.log,
		Observe: func(o outbox.Observation) {
			if o.Stuck {
				a.metrics.Stuck()
			}
		},
	})
	if err != nil {
		return err
	}
	sequencer, err := outbox.NewSequencer(a.store, a.now)
	if err != nil {
		return err
	}
	a.jobs.add("deliver", 4, deliverer.Step)
	a.jobs.add("sequence", 1, sequencer.Step)
	a.jobs.add("query", 4, r.QueryStep)
	a.jobs.add("settle", 1, r.SettleStep)
	a.jobs.add("orphan", 1, r.OrphanStep)
	return nil
}

// Close lets go of the stores and connections. It waits for nothing.
func (a *App) Close() error {
	for _, c := range a.clients {
		c.Close()
	}
	var errs []error
	if a.redis != nil {
		errs = append(errs, a.redis.Close())
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	return errors.Join(errs...)
}

// newID is 128 random bits for a request id.
func newID() string { return hex.EncodeToString(randomBytes()) }

// newNonce is 128 random bits for a page's style and script.
func newNonce() string { return base64.StdEncoding.EncodeToString(randomBytes()) }

func randomBytes() []byte {
	b := make([]byte, 16)
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		panic(err) // crypto/rand never fails on the systems Go supports
	}
	return b
}
