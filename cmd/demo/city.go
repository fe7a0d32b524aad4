package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/sandbox/all"
	"pay.taipei/gateway/sandbox/bravobank"
	"pay.taipei/gateway/sandbox/core"
	"pay.taipei/gateway/signing"
)

// city is the gateway, the bank and the core, put together and not yet running.
type city struct {
	dir       string
	keys      keys
	addresses addresses
	moved     []string // doors that did not get their usual port
	gateway   *app.App
	doors     app.Listeners
	coreDoor  net.Listener
	bankDoor  net.Listener
	second    net.Listener
	core      *core.Core
	bank      *bravobank.Bank
	branch    *bravobank.Bank // the bank's side of the second account
	doubles   []*double
	now       func() time.Time
	log       *slog.Logger

	killing chan struct{} // closed: the bank's side of the first account ends at once
}

// double is one provider's other side, with its door.
type double struct {
	all.Double
	*all.Running
	port int
	door net.Listener
}

func (d *double) url() string { return "http://" + d.door.Addr().String() }

// addresses are host:port of every door.
type addresses struct{ core, api, edge, bank, second, ops string }

func openCity(ctx context.Context, dir string, log *slog.Logger, now func() time.Time) (*city, error) {
	c := &city{dir: dir, now: now, log: log, killing: make(chan struct{})}
	for i, d := range all.Doubles() {
		c.doubles = append(c.doubles, &double{Double: d, port: firstDouble + i})
	}
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

func (c *city) open(ctx context.Context) error {
	var err error
	if c.keys, err = loadKeys(c.dir); err != nil {
		return err
	}
	if err := c.listen(ctx); err != nil {
		return err
	}
	if err := c.openDoubles(); err != nil {
		return err
	}
	config, err := configure(c.dir, c.addresses, &c.keys, c.doubles)
	if err != nil {
		return err
	}
	if c.gateway, err = app.Open(ctx, config, app.Options{Log: c.log, Migrate: true, Now: c.now}); err != nil {
		return err
	}
	if c.bank, err = c.openBank("bank", c.keys.BankSeed, c.keys.GatewaySeed, payeeParking, payeeWater); err != nil {
		return err
	}
	if c.branch, err = c.openBank("second bank", c.keys.SecondBankSeed, c.keys.SecondGatewaySeed, secondParking, secondWater); err != nil {
		return err
	}
	c.core, err = core.New(core.Config{
		BaseURL: "http://" + c.addresses.core, APIURL: "http://" + c.addresses.api,
		APIKey: c.keys.apiKey(), WebhookKeys: []string{c.keys.eventVerifier()},
	}, core.Deps{HTTP: &http.Client{Timeout: 30 * time.Second}, Now: c.now, Rand: rand.Reader, Log: c.log.With("part", "core")})
	return err
}

// openDoubles opens the other sides of the providers that are not Bravo Bank.
func (c *city) openDoubles() error {
	for _, d := range c.doubles {
		var err error
		d.Running, err = d.Open(all.Place{
			URL: d.url(), ShopURL: "http://" + c.addresses.core + "/", Merchants: map[string]string{"pma": nameParking, "twd": nameWater}, Seed: c.keys.DoublesSeed,
		}, all.Deps{Now: c.now, Rand: rand.Reader, HTTP: &http.Client{Timeout: 10 * time.Second}, Log: c.log.With("part", d.Name)})
		if err != nil {
			return fmt.Errorf("demo: %s: %w", d.Name, err)
		}
	}
	return nil
}

// openBank opens the bank's side of one account.
func (c *city) openBank(part string, bankSeed, gatewaySeed []byte, parking, water string) (*bravobank.Bank, error) {
	signer, err := signing.NewEd25519Signer(bankKeyID, signing.NewSecret(bankSeed))
	if err != nil {
		return nil, fmt.Errorf("demo: bank: %w", err)
	}
	gatewayKeys, err := signing.NewEd25519Keys([]signing.Ed25519Key{{ID: orderKeyID, Public: public(gatewaySeed)}})
	if err != nil {
		return nil, fmt.Errorf("demo: bank: %w", err)
	}
	return bravobank.New(bravobank.Config{
		Environment: "demo", Key: signer, OrderKeys: gatewayKeys,
		Merchants: map[string]string{parking: nameParking, water: nameWater}, ShopURL: "http://" + c.addresses.core + "/",
	}, bravobank.Deps{Now: c.now, Rand: rand.Reader, HTTP: &http.Client{Timeout: 10 * time.Second}, Log: c.log.With("part", part)})
}

// listen opens every door on loopback: its usual port, or the next free one.
func (c *city) listen(ctx context.Context) error {
	type door struct {
		name string
		port int
		to   *net.Listener
		addr *string
	}
	doors := []door{
		{"core", 8000, &c.coreDoor, &c.addresses.core}, {"API", 8080, &c.doors.API, &c.addresses.api},
		{"edge", 8081, &c.doors.Edge, &c.addresses.edge}, {"bank", 8090, &c.bankDoor, &c.addresses.bank}, {"second bank", 8091, &c.second, &c.addresses.second},
		{"ops", 9090, &c.doors.Ops, &c.addresses.ops},
	}
	for _, d := range c.doubles {
		doors = append(doors, door{d.Name, d.port, &d.door, new(string)})
	}
	for _, door := range doors {
		var err error
		if *door.to, err = listenNear(ctx, door.port); err != nil {
			return fmt.Errorf("demo: %s: %w", door.name, err)
		}
		*door.addr = (*door.to).Addr().String()
		if !strings.HasSuffix(*door.addr, fmt.Sprintf(":%d", door.port)) {
			c.moved = append(c.moved, fmt.Sprintf("port %d is taken, so %s is at %s", door.port, door.name, *door.addr))
		}
	}
	return nil
}

// firstDouble is the usual port of the first double.
const firstDouble = 8100

// portsTried bounds the search for a free port, so that it cannot run into the next door's usual one for ever.
const portsTried = 50

func listenNear(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	var first error
	for p := port; p < port+portsTried; p++ {
		l, err := lc.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err == nil {
			return l, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, fmt.Errorf("no free port from %d to %d: %w", port, port+portsTried-1, first)
}

// serve runs the city until ctx ends. First the core stops asking, then the gateway stops, then
// the rest, so that everything asked is answered and what is still delivered arrives.
func (c *city) serve(ctx context.Context) error {
	around, stopAround := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAround()
	gatewayCtx, stopGateway := context.WithCancel(around)
	defer stopGateway()
	asking, stopAsking := context.WithCancel(ctx)
	defer stopAsking()
	var parts sync.WaitGroup
	type site struct {
		handler http.Handler
		on      net.Listener
	}
	sites := []site{{c.core.Handler(), c.coreDoor}, {c.bank.Handler(), c.bankDoor}, {c.branch.Handler(), c.second}}
	for _, d := range c.doubles {
		sites = append(sites, site{d.Handler, d.door})
		parts.Go(func() { c.keep(around, bankPace, c.workOf(around, d.Name, d.Step)) })
	}
	failed := make(chan error, len(sites))
	for _, s := range sites {
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 5 * time.Second}
		parts.Go(func() {
			if err := server.Serve(s.on); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
		killed := make(chan struct{})
		if s.on == c.bankDoor {
			killed = c.killing
		}
		parts.Go(func() {
			select {
			case <-around.Done():
			case <-killed:
			}
			_ = server.Close() // nothing is owed to its visitors
		})
	}
	parts.Go(func() { c.keep(around, bankPace, c.workOf(around, "bank", c.bank.Step)) })
	parts.Go(func() { c.keep(around, bankPace, c.workOf(around, "second bank", c.branch.Step)) })
	parts.Go(func() {
		c.keep(asking, corePace, c.workOf(around, "core", c.core.Step))
		stopGateway()
	})
	served := make(chan error, 1)
	go func() { served <- c.gateway.Serve(gatewayCtx, c.doors) }()
	var err error
	select {
	case err = <-failed:
		stopAsking()
		err = errors.Join(err, <-served)
	case err = <-served:
	}
	stopAsking()
	stopAround()
	parts.Wait()
	return err
}

// How long background work may rest. Looking again so often keeps the demo lively without
// wake-ups; the core has its events from webhooks, and the feed only makes up for lost ones.
const (
	bankPace = 100 * time.Millisecond
	corePace = time.Second
)

// workOf is a step in its own context that complains in the log. It returns when to do the next.
func (c *city) workOf(ctx context.Context, name string, step func(context.Context) (time.Time, error)) func() time.Time {
	return func() time.Time {
		next, err := step(ctx)
		if err != nil && ctx.Err() == nil {
			c.log.Warn("background step failed", "part", name, "err", err)
		}
		return next
	}
}

// keep works again and again until ctx ends, and rests in between no longer than pace.
func (c *city) keep(ctx context.Context, pace time.Duration, work func() (next time.Time)) {
	for ctx.Err() == nil {
		timer := time.NewTimer(min(max(work().Sub(c.now()), 10*time.Millisecond), pace))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (c *city) close() error {
	errs := []error{c.doors.Close()}
	listeners := []net.Listener{c.coreDoor, c.bankDoor, c.second}
	for _, d := range c.doubles {
		listeners = append(listeners, d.door)
	}
	for _, l := range listeners {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	if c.gateway != nil {
		errs = append(errs, c.gateway.Close())
	}
	return errors.Join(errs...)
}

// facts are what a program needs to use the demo. A double has its address under its name.
func (c *city) facts() map[string]string {
	login := bravobank.DemoAccount()
	facts := map[string]string{
		"core": "http://" + c.addresses.core, "api": "http://" + c.addresses.api, "edge": "http://" + c.addresses.edge, "ops": "http://" + c.addresses.ops,
		"bank": "http://" + c.addresses.bank, "second_bank": "http://" + c.addresses.second,
		"api_key": c.keys.apiKey(), "bank_account": login.Name, "bank_password": login.Password, "data": c.dir,
	}
	for _, d := range c.doubles {
		facts[d.Name] = d.url()
	}
	return facts
}

func (c *city) banner(logFile string, took time.Duration) string {
	login := bravobank.DemoAccount()
	var b strings.Builder
	fmt.Fprintf(&b, "\npay.taipei demo: everything below is fake money on this machine (ready in %d ms)\n\n", took.Milliseconds())
	fmt.Fprintf(&b, "  City        http://%s      start here\n", c.addresses.core)
	fmt.Fprintf(&b, "  Bravo Bank  http://%s      account %s, password %s\n", c.addresses.bank, login.Name, login.Password)
	fmt.Fprintf(&b, "              http://%s/faults/panel      make the bank misbehave\n", c.addresses.bank)
	fmt.Fprintf(&b, "              http://%s      its second account, used while the first one is away\n", c.addresses.second)
	for i, d := range c.doubles {
		head := "            "
		if i == 0 {
			head = "Stand-ins   "
		}
		fmt.Fprintf(&b, "  %s%s      %s\n", head, d.url(), d.Name)
	}
	fmt.Fprintf(&b, "  Order API   http://%s/docs\n", c.addresses.api)
	fmt.Fprintf(&b, "              key %s\n", c.keys.apiKey())
	fmt.Fprintf(&b, "  Edge        http://%s      callbacks and checkout pages\n", c.addresses.edge)
	fmt.Fprintf(&b, "  Operations  http://%s/metrics\n", c.addresses.ops)
	fmt.Fprintf(&b, "  Data        %s      (SQLite; Redis is built in and in memory)\n", c.dir)
	fmt.Fprintf(&b, "  Log         %s\n", logFile)
	for _, m := range c.moved {
		fmt.Fprintf(&b, "  Note        %s\n", m)
	}
	fmt.Fprintf(&b, "\n  Try: open the city, look up bill H60983881309263, tick both bills, choose 熊讚銀行 and pay.\n")
	fmt.Fprintf(&b, "  Stop: Ctrl-C. The data is kept; to start with none: %s\n\n", resetCommand(c.dir))
	return b.String()
}
