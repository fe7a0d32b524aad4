package app

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/orders/sqlstore"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/all"
)

// Load reads a configuration file and refuses everything in it that would keep the gateway from starting, as far as that
// shows without a connection. The error is configs.Problems unless the file cannot be read.
func Load(path string) (*configs.Config, error) {
	return configs.Load(path, check)
}

// Suspects are the accounts of a configuration with their adapters, for finding out what a callback is. Nothing is started.
func Suspects(c *configs.Config) ([]providers.Suspect, error) {
	a := &App{config: c, log: slog.New(slog.DiscardHandler), now: time.Now, store: new(sqlstore.Store), options: Options{Adapter: all.Open}}
	defer func() { _ = a.Close() }() // nothing is open but idle clients
	var problems []error
	report := func(path string, err error) { problems = append(problems, fmt.Errorf("%s: %w", path, err)) }
	a.wire(report)
	accounts, ways := a.accounts(c, report)
	a.ways = append(a.ways, ways...)
	suspects := make([]providers.Suspect, len(accounts))
	for i, one := range accounts {
		suspects[i] = providers.Suspect{Name: one.Name, Environment: one.Environment, Provider: one.Provider}
	}
	return suspects, errors.Join(problems...)
}

// check puts a gateway together as Open does, on a store that is never used, and lets it go again.
func check(c *configs.Config, report func(path string, err error)) {
	a := &App{config: c, log: slog.New(slog.DiscardHandler), now: time.Now, store: new(sqlstore.Store), options: Options{Adapter: all.Open}}
	defer func() { _ = a.Close() }() // nothing is open but idle clients
	a.wire(report)
}
