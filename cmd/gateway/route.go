package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/router/policy"
)

type routeCmd struct {
	Explain routeExplainCmd `cmd:"" help:"Say where an order would go now, and why. Nothing is made of it."`
}

type routeExplainCmd struct {
	configFlag
	Order   string `required:"" type:"existingfile" placeholder:"FILE" help:"The order, as POST /v1/orders takes it."`
	OrderNo string `default:"2017061300000016" help:"The number by which a split draws."`
	JSON    bool   `name:"json" help:"For programs."`
}

// Run prints the decision receipt of a running replica, or, where none answers, without its breakers.
func (c *routeExplainCmd) Run(ctx context.Context) error {
	order, err := os.ReadFile(c.Order)
	if err != nil {
		return err
	}
	config, err := app.Load(c.Config)
	if err != nil {
		return err
	}
	var receipt policy.Receipt
	answer, err := running(ctx, config, httpx.Request{
		Method: http.MethodPost, Path: "/explain", RawQuery: url.Values{"order_no": {c.OrderNo}}.Encode(), Body: order,
	})
	if err == nil {
		receipt, err = policy.ParseReceipt(answer)
	}
	if _, refused := errors.AsType[refusedError](err); refused {
		return err
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "no replica answers at %s (%v): breakers are not looked at\n", config.Listen.Ops, err)
		if err := act(ctx, c.Config, func(a *app.App) error {
			receipt, err = a.Explain(bytes.NewReader(order), orders.OrderNo(c.OrderNo))
			return err
		}); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(receipt)
	}
	_, err = fmt.Print(receipt.Text())
	return err
}
