// Package app puts the gateway together from a configuration and runs it. Both the
// production binary and the demo start the gateway through it, so that the demo shows
// the real thing. It is the only place that starts goroutines, and it stops each.
package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pay.taipei/gateway/api"
	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/internal/metrics"
	"pay.taipei/gateway/internal/redisx"
	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/orders"
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
	router  *router.Router
	gates   gates
	links   webhooks.Links
	options Options
	api     *api.Server
	clients []*httpx.Client // of webhooks
	ways    []*httpx.Client // of accounts, which a reload replaces
	jobs    *jobs
	webhook []string // clients that have one
	servers struct{ api, edge, ops http.Handler }
	tls     struct{ api, edge, ops *tls.Config } // nil: plain HTTP
	inside  gate                                 // requests
	stop    stopTimes
}

// Open connects to the stores and wires everything. Close the App when it is not served.
func Open(ctx context.Context, c *configs.Config, o Options) (*App, error) {
	if o.Adapter == nil {
		o.Adapter = all.Open
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &App{config: c, log: o.Log, now: o.Now, options: o, stop: usualStop()}
	if err := a.open(ctx, o); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

func (a *App) open(ctx context.Context, o Options) error {
	if err := a.openStores(ctx, o.Migrate); err != nil {
		return err
	}
	var problems []error
	a.wire(func(path string, err error) {
		problems = append(problems, fmt.Errorf("%s: %w", path, err))
	})
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	return a.tellUnasked(ctx)
}

// tellUnasked says which accounts hold payments that nobody asks about any more, since they are not configured: what was
// paid there may never be found.
func (a *App) tellUnasked(ctx context.Context) error {
	waiting, err := a.store.QueryAccounts(ctx)
	for _, name := range waiting {
		if !slices.ContainsFunc(a.config.Accounts, func(c configs.Account) bool { return c.Name == name }) {
			a.log.Error("payments wait at an account that is not configured any more: put it back until they have ended", "account", name)
		}
	}
	return err
}

// wire puts together all that needs no connection, and reports everything that is wrong with the configuration at the
// setting's path. After a report the App is not fit for use.
func (a *App) wire(report func(path string, err error)) {
	a.checkStore(report)
	a.jobs = newJobs(a.log, a.now)
	var err error
	if a.redis, err = a.openRedis(); err != nil {
		report("redis", err)
	}
	if a.links, err = webhooks.ParseLinks(a.config.PublicURL); err != nil {
		report("public_url", err)
	}
	names := make([]string, len(a.config.Accounts))
	for i, c := range a.config.Accounts {
		names[i] = c.Name
	}
	if a.metrics, err = metrics.New(names); err != nil {
		report("accounts", err)
	}
	if err := a.openGates(); err != nil {
		report("accounts", err)
		return
	}
	served, ways := a.served(a.config, report)
	a.ways = ways
	if a.router, err = router.New(served, a.deps()); err != nil {
		report("accounts", err)
	}
	a.handlers(report)
	a.certificates(report)
	a.background(report)
}

// deps are the router's collaborators.
func (a *App) deps() router.Deps {
	return router.Deps{
		Store: a.store, Claims: a.redis, Links: a.links, Now: a.now, Rand: rand.Reader, Log: a.log, Meter: a.metrics, Wake: a.jobs.Wake,
		Gates: a.gates, SetForced: a.gates.force,
	}
}

// served is what the router serves by a configuration, with the ways out of its accounts.
func (a *App) served(c *configs.Config, report func(path string, err error)) (router.Config, []*httpx.Client) {
	served := router.Config{Merchants: make([]router.Merchant, len(c.Merchants))}
	for i, m := range c.Merchants {
		served.Merchants[i] = router.Merchant{Code: m.Code, Name: m.Name, Payees: m.Payees}
	}
	var ways []*httpx.Client
	served.Accounts, ways = a.accounts(c, report)
	served.Rules = rulesOf(c, served.Accounts, report)
	return served, ways
}

// checkStore says what opening the store would say of its address.
func (a *App) checkStore(report func(path string, err error)) {
	unsafe, err := sqldb.Check(string(a.config.Store.Reveal()))
	if err == nil && unsafe != "" && a.config.Environment == configs.Production {
		err = errors.New(unsafe)
	}
	if err != nil {
		report("store", err)
	}
}

// openStores opens the store, and refuses what production must not have.
func (a *App) openStores(ctx context.Context, migrate bool) error {
	var err error
	jitter := sqldb.WithJitter(func(limit time.Duration) time.Duration {
		return time.Duration(mathrand.Int64N(int64(limit) + 1)) //nolint:gosec // a wait, not a secret
	})
	if a.db, err = sqldb.Open(ctx, string(a.config.Store.Reveal()), jitter); err != nil {
		return err
	}
	if a.config.Environment == configs.Production {
		if found := a.db.Unsafe(ctx); len(found) > 0 {
			return fmt.Errorf("the store is not safe for production: %v", found)
		}
	}
	if migrate {
		err = Migrate(ctx, a.db)
	} else {
		err = checkSchema(ctx, a.db)
	}
	if err != nil {
		return err
	}
	a.store, err = sqlstore.Open(a.db, sqlstore.Deps{})
	return err
}

func checkSchema(ctx context.Context, db *sqldb.DB) error {
	files, err := sqlstore.Migrations()
	if err != nil {
		return err
	}
	if err := db.CheckSchema(ctx, files); err != nil {
		return fmt.Errorf("the store is not ready: %w; run: gateway migrate -f FILE", err)
	}
	return nil
}

// openRedis prepares the client and connects to nothing.
func (a *App) openRedis() (*redisx.Redis, error) {
	address, err := configs.ParseRedis(string(a.config.Redis.Reveal()))
	if err != nil {
		return nil, err
	}
	return redisx.Open(redisx.Config{
		Embedded: address.Mode == configs.RedisEmbedded, Addrs: address.Addrs, MasterName: address.Master,
		Cluster: address.Mode == configs.RedisCluster, TLS: address.TLS, Username: address.Username, Password: address.Password.Reveal,
	}, redisx.Deps{Now: a.now})
}

// Migrate brings a store's schema up to date.
func Migrate(ctx context.Context, db *sqldb.DB) error {
	files, err := sqlstore.Migrations()
	if err != nil {
		return err
	}
	return db.Migrate(ctx, files)
}

// accounts opens the adapters and leaves out those that it reports.
func (a *App) accounts(config *configs.Config, report func(path string, err error)) (accounts []router.Account, ways []*httpx.Client) {
	for i := range config.Accounts {
		c, at := &config.Accounts[i], fmt.Sprintf("accounts[%d]", i)
		deps := all.Deps{Now: a.now, Rand: rand.Reader, HTTP: func(origin string) (*httpx.Client, error) {
			way, err := a.client(c.Name, origin, c.Network)
			if err == nil {
				ways = append(ways, way)
			}
			return way, err
		}}
		p, err := a.options.Adapter(c.Adapter, all.Account{Name: c.Name, Environment: providers.Environment(c.Environment), Decode: c.Decode}, deps)
		switch {
		case err == nil:
		case slices.Contains(all.Names(), c.Adapter):
			report(at+".settings", err)
			continue
		default:
			report(at+".adapter", err)
			continue
		}
		account := router.Account{
			Name: c.Name, Provider: p, Environment: providers.Environment(c.Environment), NumberPrefix: c.NumberPrefix,
			QueryBeforePaid: router.QueryRule{Never: c.QueryNever, Above: c.QueryAbove},
		}
		if _, err := router.New(router.Config{Accounts: []router.Account{account}}, a.deps()); err != nil { // alone, to say where
			report(at+".number_prefix", err)
			continue
		}
		accounts = append(accounts, account)
	}
	return accounts, ways
}

// client makes the one way out to one origin. In production nothing is said in the clear, in a private network neither:
// an answer whose proof is its TLS would prove nothing.
func (a *App) client(name, origin, network string) (*httpx.Client, error) {
	if a.config.Environment == configs.Production && !strings.HasPrefix(origin, "https://") {
		return nil, errors.New("production needs https, also in a private network")
	}
	client, err := httpx.New(httpx.Config{Name: name, BaseURL: origin, Network: networks[network], HeaderTimeout: time.Minute},
		httpx.Deps{Now: a.now, Rand: mathrand.Uint64, Trace: func(t httpx.Trace) {
			a.log.Debug("sent", "target", t.Target, "method", t.Method, "path", t.Path, "status", t.Status, "ms", t.Duration.Milliseconds(), "sent", t.Sent)
		}})
	if err != nil {
		return nil, err
	}
	return client, nil
}

var networks = map[string]httpx.Network{"": httpx.Public, "public": httpx.Public, "private": httpx.Private, "loopback": httpx.Loopback}

// showClients shows the figures of all clients, also of those that have asked for nothing yet.
func (a *App) showClients(c *configs.Config) {
	for i := range c.Clients {
		a.metrics.Client(c.Clients[i].ID)
	}
}

// openAPI makes the order API.
func (a *App) openAPI(report func(path string, err error)) {
	var err error
	a.api, err = api.New(api.Config{}, api.Deps{
		Orders: a.router, Store: worded{a.store, a.router}, Directory: a.router, CheckoutURL: a.links.Checkout, Now: a.now, NewID: newID,
		Log: a.log.With("listener", "api"), Limiter: limiter{a.redis, a.metrics},
		Observe: func(o api.Observation) { a.metrics.HTTPRequest("api", o.Route, o.Status, o.Duration) },
	})
	if err != nil {
		report("clients", err)
		return
	}
	a.showClients(a.config)
	for i, c := range a.config.Clients {
		for j, p := range c.ReturnPrefixes {
			if a.api.Swap([]api.Client{{ReturnPrefixes: []string{p}}}) != nil { // alone, to say where
				report(fmt.Sprintf("clients[%d].return_prefixes[%d]", i, j), errReturnPrefix)
			}
		}
	}
	if err := a.api.Swap(clientsOf(a.config)); err != nil {
		report("clients", err)
	}
}

// clientsOf are the clients of a configuration as the API knows them.
func clientsOf(c *configs.Config) []api.Client {
	clients := make([]api.Client, len(c.Clients))
	for i, client := range c.Clients {
		keys := make([]api.Key, len(client.Keys))
		for j, k := range client.Keys {
			keys[j] = api.Key{ID: k.ID, SHA256: k.Digest, NotAfter: k.Expires}
		}
		clients[i] = api.Client{
			ID: client.ID, Keys: keys, Merchants: client.Merchants, ReturnPrefixes: client.ReturnPrefixes,
			RatePerSecond: client.RatePerSecond, Burst: client.Burst,
		}
	}
	return clients
}

// limiter counts what it refuses.
type limiter struct {
	redis   *redisx.Redis
	metrics *metrics.Metrics
}

// Allow is documented in api.Limiter.
func (l limiter) Allow(ctx context.Context, key string, perSecond, burst int) (bool, time.Duration, error) {
	ok, retryAfter, err := l.redis.Allow(ctx, key, perSecond, burst)
	if err == nil && !ok {
		l.metrics.RateLimited(strings.TrimPrefix(key, "api:"))
	}
	return ok, retryAfter, err
}

// worded is the store with the router's words for its decisions.
type worded struct {
	*sqlstore.Store
	router *router.Router
}

// Timeline is documented in orders.Reader.
func (w worded) Timeline(ctx context.Context, no orders.OrderNo) ([]orders.TimelineRow, error) {
	return w.router.Timeline(ctx, no)
}

// handlers makes what the listeners serve.
func (a *App) handlers(report func(path string, err error)) {
	r := a.router
	var err error
	if a.servers.edge, err = webhooks.New(webhooks.Config{TrustedProxies: a.config.TrustedProxies}, webhooks.Deps{
		Accounts: r, Notices: r, Pages: r, Now: a.now, NewID: newID, Nonce: newNonce, Log: a.log.With("listener", "edge"),
		Observe: func(o webhooks.Observation) {
			a.metrics.HTTPRequest("edge", o.Route, o.Status, o.Duration)
			if o.Account != "" {
				a.metrics.Callback(o.Account, o.Verdict)
			}
		},
	}); err != nil {
		report("trusted_proxies", err)
	}
	a.openAPI(report)
	a.servers.api = a.api
	a.servers.ops = a.ops()
}

// errReturnPrefix says what the API wants, for its own words quote the prefix, which may hold a password.
var errReturnPrefix = errors.New("want an origin in lower case and a plain path, such as https://pay.taipei/result (http only on loopback)")

// certificates loads the key pairs of the listeners that end TLS here.
func (a *App) certificates(report func(path string, err error)) {
	t := a.config.TLS
	for _, l := range []struct {
		name string
		pair configs.KeyPair
		to   **tls.Config
	}{{"api", t.API, &a.tls.api}, {"edge", t.Edge, &a.tls.edge}, {"ops", t.Ops, &a.tls.ops}} {
		if l.pair == (configs.KeyPair{}) {
			continue
		}
		pair, err := tls.LoadX509KeyPair(l.pair.CertFile, l.pair.KeyFile)
		if err != nil {
			report("tls."+l.name, err)
			continue
		}
		*l.to = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
}

// background lists the jobs.
func (a *App) background(report func(path string, err error)) {
	r := a.router
	for i, c := range a.config.Clients {
		if c.Webhook == nil {
			continue
		}
		if err := a.deliver(c); err != nil {
			report(fmt.Sprintf("clients[%d].webhook", i), err)
		}
	}
	sequencer, err := outbox.NewSequencer(a.store, a.now)
	if err != nil {
		report("clients", err)
		return
	}
	a.jobs.add("sequence", 1, sequencer.Step)
	for _, account := range a.config.Accounts {
		a.account(account.Name)
	}
	a.jobs.add("controls", 1, r.ControlsStep)
	a.jobs.add("flood", 1, r.FloodStep)
	a.jobs.add("breakers", 1, a.gates.set.Share)
	a.jobs.add("settle", 1, r.SettleStep)
	a.jobs.add("orphan", 1, r.OrphanStep)
}

// account adds the jobs of an account: one that hangs holds up no other.
func (a *App) account(name string) {
	a.metrics.Account(name)
	of := func(step func(context.Context, string) (time.Time, error)) func(context.Context) (time.Time, error) {
		return func(ctx context.Context) (time.Time, error) { return step(ctx, name) }
	}
	a.jobs.add("query "+name, 4, of(a.router.QueryStep))
	a.jobs.add("refund "+name, 2, of(a.router.RefundStep))
	a.jobs.add("probe "+name, 1, of(a.router.ProbeStep))
}

// deliver adds the job that hands a client its events. Each client has workers of its own: one that hangs keeps nobody
// else waiting.
func (a *App) deliver(c configs.Client) error {
	u, err := url.Parse(c.Webhook.URL)
	if err != nil {
		return errors.New("the url cannot be read") // the parser's error quotes it
	}
	client, err := a.client("client-"+c.ID, u.Scheme+"://"+u.Host, c.Webhook.Network)
	if err != nil {
		return err
	}
	a.clients = append(a.clients, client)
	target := outbox.Target{Client: c.ID, HTTP: client, Path: cmp.Or(u.EscapedPath(), "/"), RawQuery: u.RawQuery, Signers: c.Webhook.Signers}
	deliverer, err := outbox.New(outbox.Config{Targets: []outbox.Target{target}}, outbox.Deps{
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
	a.jobs.add("deliver to "+c.ID, 4, deliverer.Step)
	a.webhook = append(a.webhook, c.ID)
	return nil
}

// Close lets go of the stores and connections. It waits for nothing.
func (a *App) Close() error {
	for _, c := range slices.Concat(a.clients, a.ways) {
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
