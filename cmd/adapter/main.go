// Command adapter is for authors of adapters: it says which promises of the contract an adapter keeps, and what it is fit for.
// It runs the adapters' own tests, so it works in a checkout with Go installed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type commands struct {
	Conform conformCmd `cmd:"" help:"Run the conformance kit on adapters and say what each is fit for."`
}

func main() {
	var c commands
	k := kong.Parse(&c, kong.Name("adapter"), kong.Description("For authors of adapters."), kong.UsageOnError())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	k.BindTo(ctx, (*context.Context)(nil))
	err := k.Run()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
