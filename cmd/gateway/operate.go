package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/httpx"
)

// act runs an operator's act on the configured store.
func act(ctx context.Context, file string, do func(*app.App) error) error {
	c, err := app.Load(file)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return app.Operate(ctx, c, do)
}

// running asks the replica on this machine.
func running(ctx context.Context, c *configs.Config, ask httpx.Request) (answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	address, err := netip.ParseAddrPort(c.Listen.Ops)
	if err != nil || c.TLS.Ops.CertFile != "" {
		return nil, errors.New("it is asked at plain addresses only")
	}
	way := httpx.Config{Name: "ops", BaseURL: "http://" + c.Listen.Ops, Network: httpx.Private}
	if address.Addr().IsLoopback() {
		way.Network = httpx.Loopback
	}
	client, err := httpx.New(way, httpx.Deps{Now: time.Now, Rand: mathrand.Uint64})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	resp, err := client.Send(ctx, ask)
	if err != nil {
		return nil, err
	}
	switch resp.Status {
	case http.StatusOK:
		return resp.Body, nil
	case http.StatusBadRequest:
		return nil, refusedError(strings.TrimSpace(string(resp.Body)))
	}
	return nil, fmt.Errorf("status %d", resp.Status)
}

// refusedError is what the replica finds wrong with the question.
type refusedError string

func (e refusedError) Error() string { return string(e) }

func printJSON(v any) error {
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
