// Command demo is the whole city on one machine: the gateway, Bravo Bank and a small
// payment core, with embedded stores, fake money and nothing to install.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type options struct {
	once, asJSON, reset bool
	data                string
	log                 string
	scenario, provider  string
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.BoolVar(&o.once, "once", false, "play the scenario over HTTP without a browser, print each step, exit 1 if anything differs")
	f.BoolVar(&o.asJSON, "json", false, "print one line of JSON with the addresses and the key, then serve")
	f.StringVar(&o.data, "data", usualData, "folder for the demo's data; -once uses a new one and removes it")
	f.BoolVar(&o.reset, "reset", false, "forget the data first")
	f.StringVar(&o.scenario, "scenario", "pay", "what -once plays: "+scenarioNames())
	f.StringVar(&o.provider, "provider", usualProvider, "where -once pays: "+providerNames())
	f.StringVar(&o.log, "log", "", "file for the gateway's log; default: gateway.log in the data folder")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("demo: unknown argument %q; see -help", f.Arg(0))
	}
	if _, ok := scenarios()[o.scenario]; !ok {
		return fmt.Errorf("demo: no scenario %q; there are %s", o.scenario, scenarioNames())
	}
	if !slices.Contains(payable(), o.provider) {
		return fmt.Errorf("demo: no provider %q; there are %s", o.provider, providerNames())
	}
	if o.provider != usualProvider && (!o.once || o.scenario != "pay") {
		return errors.New("demo: -provider is for -once, which pays there: go run ./cmd/demo -once -provider " + o.provider)
	}
	if o.scenario != "pay" && !o.once {
		return errors.New("demo: -scenario is for -once: go run ./cmd/demo -once -scenario " + o.scenario)
	}
	if o.once {
		if err := alone(f); err != nil {
			return err
		}
		dir, err := os.MkdirTemp("", "pay-taipei-demo-")
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // a left-over temporary folder harms nobody
		o.data = dir
	}
	return o.start(ctx, out)
}

// alone refuses the flags that -once would have to ignore.
func alone(f *flag.FlagSet) error {
	var err error
	f.Visit(func(given *flag.Flag) {
		if given.Name == "data" || given.Name == "reset" || given.Name == "json" {
			err = fmt.Errorf("demo: -once plays in a new folder and prints its steps, so -%s has no meaning beside it; leave one of the two out", given.Name)
		}
	})
	return err
}

// start opens the city and keeps it running until ctx ends, or until the scenario is played.
func (o *options) start(ctx context.Context, out io.Writer) error {
	lock, err := o.folder()
	if err != nil {
		return err
	}
	defer func() { _ = lock.release() }() // the process's end would do it too
	if o.log == "" {
		o.log = filepath.Join(o.data, "gateway.log")
	}
	logFile, err := os.OpenFile(o.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("demo: log: %w", err)
	}
	defer func() { _ = logFile.Close() }() // each line was written when it was logged
	begun := time.Now()
	c, err := openCity(ctx, o.data, slog.New(withoutPolls{slog.NewJSONHandler(logFile, nil)}), time.Now)
	if err != nil {
		return err
	}
	if err := lock.tell("http://" + c.addresses.core); err != nil {
		return errors.Join(err, c.close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- c.serve(ctx) }()
	switch {
	case o.once:
		err = c.play(ctx, o.scenario, o.provider, out)
		cancel()
	case o.asJSON:
		err = json.NewEncoder(out).Encode(c.facts())
	default:
		_, err = io.WriteString(out, c.banner(o.log, time.Since(begun)))
	}
	if err != nil {
		cancel()
	}
	return errors.Join(err, <-stopped)
}

// folder makes the data folder, locks it and, for -reset, empties it. It deletes only what the demo made.
func (o *options) folder() (*folderLock, error) {
	var err error
	if o.data, err = filepath.Abs(o.data); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if err := os.MkdirAll(o.data, 0o700); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	lock, err := lockFolder(o.data)
	if err != nil || !o.reset {
		return lock, err
	}
	for _, name := range []string{"keys.json", "gateway.db", "gateway.db-wal", "gateway.db-shm", "gateway.log"} {
		if err := os.Remove(filepath.Join(o.data, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, errors.Join(fmt.Errorf("demo: reset: %w", err), lock.release())
		}
	}
	return lock, nil
}

// usualData is the data folder of a demo that is told none.
const usualData = "demo-data"

// resetCommand is what to type to forget the data of a folder.
func resetCommand(dir string) string {
	const command = "go run ./cmd/demo -reset"
	if usual, err := filepath.Abs(usualData); err == nil && usual == dir {
		return command
	}
	return command + " -data '" + strings.ReplaceAll(dir, "'", `'\''`) + "'"
}
