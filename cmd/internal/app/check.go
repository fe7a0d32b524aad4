package app

import (
	"log/slog"
	"time"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/providers/all"
)

// Check opens every account's adapter, which decodes and checks its own settings, and
// lets it go again. It connects to nothing.
func Check(c *configs.Config) error {
	a := &App{config: c, log: slog.New(slog.DiscardHandler), now: time.Now}
	defer func() { _ = a.Close() }() // nothing is open but idle clients
	_, err := a.accounts(Options{Adapter: all.Open})
	return err
}
