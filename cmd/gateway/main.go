// Command gateway is the payment gateway.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/sqldb"
)

type commands struct {
	Serve   serveCmd   `cmd:"" help:"Run the gateway until SIGTERM."`
	Check   checkCmd   `cmd:"" help:"Check a configuration file and print every problem with its line. Starts nothing."`
	Migrate migrateCmd `cmd:"" help:"Bring the store's schema up to date."`

	Cases     casesCmd     `cmd:"" help:"Payments and refunds of which nobody knows the end: a person decides."`
	Providers providersCmd `cmd:"" help:"Accounts at providers: how they are, and what is imposed on them."`
	Route     routeCmd     `cmd:"" help:"Where orders go, and why."`

	Key     keyCmd     `cmd:"" help:"Make keys."`
	Doctor  doctorCmd  `cmd:"" help:"What is wrong, in words."`
	Vectors vectorsCmd `cmd:"" help:"Test vectors of signatures and messages, as providers publish them."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

type configFlag struct {
	Config string `short:"f" required:"" type:"existingfile" placeholder:"FILE" help:"Configuration file (YAML)."`
}

func main() {
	var c commands
	k := kong.Parse(&c, kong.Name("gateway"), kong.Description("The payment gateway behind pay.taipei."), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	k.BindTo(ctx, (*context.Context)(nil))
	err := k.Run()
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err)
	var problems configs.Problems
	if errors.As(err, &problems) {
		os.Exit(78) // EX_CONFIG of sysexits.h
	}
	os.Exit(1)
}

type serveCmd struct{ configFlag }

// Run serves until the context ends.
func (s *serveCmd) Run(ctx context.Context) error {
	c, err := app.Load(s.Config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	a, err := app.Open(ctx, c, app.Options{Log: log, Migrate: c.Environment != configs.Production})
	if err != nil {
		return err
	}
	l, err := app.Listen(ctx, c.Listen)
	if err != nil {
		return errors.Join(err, a.Close())
	}
	defer reloading(ctx, a, s.Config, log)()
	log.Info("serving", "version", version(), "environment", string(c.Environment),
		"api", l.API.Addr().String(), "edge", l.Edge.Addr().String(), "ops", l.Ops.Addr().String())
	return a.Serve(ctx, l)
}

// reloading takes the file again whenever the process gets SIGHUP, until the returned function is called.
func reloading(ctx context.Context, a *app.App, file string, log *slog.Logger) (stop func()) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	var worker sync.WaitGroup
	worker.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
			}
			c, err := app.Load(file)
			if err == nil {
				_ = a.Reload(ctx, c) // it says itself what came of it
				continue
			}
			a.ReloadRefused()
			log.Error("configuration not reloaded: the old one holds", "err", err)
		}
	})
	return func() {
		signal.Stop(hup)
		cancel()
		worker.Wait()
	}
}

type checkCmd struct{ configFlag }

// Run reports every problem.
func (c *checkCmd) Run() error {
	config, err := app.Load(c.Config)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s: good: %s, %d clients, %d merchants, %d accounts\n", c.Config, config.Environment, len(config.Clients), len(config.Merchants), len(config.Accounts))
	return err
}

type migrateCmd struct{ configFlag }

// Run migrates the configured store.
func (m *migrateCmd) Run(ctx context.Context) (err error) {
	c, err := configs.Load(m.Config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	db, err := sqldb.Open(ctx, string(c.Store.Reveal()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := app.Migrate(ctx, db); err != nil {
		return err
	}
	_, err = fmt.Printf("the %s store is up to date\n", db.Dialect())
	return err
}

type versionCmd struct{}

// Run prints the version that the Go toolchain recorded.
func (versionCmd) Run() error {
	_, err := fmt.Println("gateway", version())
	return err
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v
}
