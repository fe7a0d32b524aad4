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
	a := &App{config: c, log: o.Log, now: o.Now, stop: usualStop()}
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
	a.wire(o, func(path string, err error) { //nolint:contextcheck // what is put together runs later, each request in its own context
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
func (a *App) wire(o Options, report func(path string, err error)) {
	a.checkStore(report)
	a.jobs = newJobs(a.log, a.now)
	var err error
	if a.redis, err = a.openRedis(); err != nil {
		report("redis", err)
	}
	links, err := webhooks.ParseLinks(a.config.PublicURL)
	if err != nil {
		report("public_url", err)
	}
	names := make([]string, len(a.config.Accounts))
	for i, c := range a.config.Accounts {
		names[i] = c.Name
	}
	if a.metrics, err = metrics.New(names); err != nil {
		report("accounts", err)
	}
	merchants := make([]router.Merchant, len(a.config.Merchants))
	for i, m := range a.config.Merchants {
		merchants[i] = router.Merchant{Code: m.Code, Name: m.Name, Payees: m.Payees}
	}
	deps := router.Deps{
		Store: a.store, Claims: a.redis, Links: links, Now: a.now, Rand: rand.Reader, Log: a.log, Meter: a.metrics, Wake: a.jobs.Wake,
	}
	r, err := router.New(router.Config{Accounts: a.accounts(o, deps, report), Merchants: merchants}, deps)
	if err != nil {
		report("accounts", err)
	}
	a.handlers(r, links, report)
	a.certificates(report)
	a.background(r, report)
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
func (a *App) accounts(o Options, d router.Deps, report func(path string, err error)) []router.Account {
	var accounts []router.Account
	for i := range a.config.Accounts {
		c, at := &a.config.Accounts[i], fmt.Sprintf("accounts[%d]", i)
		deps := all.Deps{Now: a.now, Rand: rand.Reader, HTTP: func(origin string) (*httpx.Client, error) {
			return a.client(c.Name, origin, c.Network)
		}}
		p, err := o.Adapter(c.Adapter, all.Account{Name: c.Name, Environment: providers.Environment(c.Environment), Decode: c.Decode}, deps)
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
		if _, err := router.New(router.Config{Accounts: []router.Account{account}}, d); err != nil { // alone, to say where
			report(at+".number_prefix", err)
			continue
		}
		accounts = append(accounts, account)
	}
	return accounts
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
	a.clients = append(a.clients, client)
	return client, nil
}

var networks = map[string]httpx.Network{"": httpx.Public, "public": httpx.Public, "private": httpx.Private, "loopback": httpx.Loopback}

// handlers makes what the listeners serve.
func (a *App) handlers(r *router.Router, links webhooks.Links, report func(path string, err error)) {
	deps := api.Deps{
		Orders: r, Store: a.store, Directory: r, CheckoutURL: links.Checkout, Now: a.now, NewID: newID, Log: a.log.With("listener", "api"),
		Observe: func(o api.Observation) { a.metrics.HTTPRequest("api", o.Route, o.Status, o.Duration) },
	}
	clients := make([]api.Client, len(a.config.Clients))
	for i, c := range a.config.Clients {
		for j, p := range c.ReturnPrefixes {
			if _, err := api.New(api.Config{Clients: []api.Client{{ReturnPrefixes: []string{p}}}}, deps); err != nil { // alone, to say where
				report(fmt.Sprintf("clients[%d].return_prefixes[%d]", i, j), errReturnPrefix)
			}
		}
		keys := make([]api.Key, len(c.Keys))
		for j, k := range c.Keys {
			keys[j] = api.Key{ID: k.ID, SHA256: k.Digest, NotAfter: k.Expires}
		}
		clients[i] = api.Client{ID: c.ID, Keys: keys, Merchants: c.Merchants, ReturnPrefixes: c.ReturnPrefixes}
	}
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
	if a.servers.api, err = api.New(api.Config{Clients: clients}, deps); err != nil {
		report("clients", err)
	}
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
func (a *App) background(r *router.Router, report func(path string, err error)) {
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
	for _, account := range a.config.Accounts { // one that hangs holds up no other
		a.jobs.add("query "+account.Name, 4, func(ctx context.Context) (time.Time, error) { return r.QueryStep(ctx, account.Name) })
	}
	a.jobs.add("settle", 1, r.SettleStep)
	a.jobs.add("orphan", 1, r.OrphanStep)
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
