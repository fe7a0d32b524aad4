package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"text/tabwriter"
	"time"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/orders"
)

type casesCmd struct {
	List  casesListCmd  `cmd:"" help:"Show the open cases, the oldest first."`
	Ask   casesAskCmd   `cmd:"" help:"Ask the provider again, now."`
	Close casesCloseCmd `cmd:"" help:"Write down what was decided. It changes no money and no state."`
}

type casesListCmd struct {
	configFlag
	JSON bool `name:"json" help:"For programs."`
}

// shownCases is how many cases are listed.
const shownCases = 1000

// Run lists the cases.
func (c *casesListCmd) Run(ctx context.Context) error {
	return act(ctx, c.Config, func(a *app.App) error {
		rows, err := a.Store().Cases(ctx, shownCases)
		if err != nil {
			return err
		}
		type row struct {
			Case     string    `json:"case"`
			Kind     string    `json:"kind"`
			Attempt  string    `json:"attempt_no"`
			Account  string    `json:"account"`
			OpenedAt time.Time `json:"opened_at"`
			Detail   string    `json:"detail"`
		}
		list := make([]row, len(rows))
		for i, r := range rows {
			list[i] = row{r.Case.ID(r.OrderNo), string(r.Case.Kind), string(r.Case.Attempt), r.Account, r.Case.OpenedAt, r.Case.Detail}
		}
		if c.JSON {
			return printJSON(list)
		}
		if len(list) == 0 {
			_, err = fmt.Println("no open case")
			return err
		}
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "CASE\tKIND\tATTEMPT\tACCOUNT\tOPENED\tDETAIL") // Flush tells
		for _, r := range list {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Case, r.Kind, r.Attempt, r.Account, r.OpenedAt.In(orders.Taipei).Format(time.RFC3339), r.Detail)
		}
		return w.Flush()
	})
}

type casesAskCmd struct {
	configFlag
	Case string `arg:"" help:"Such as 2017061300000016-c1."`
}

// Run makes the query of the case's attempt due now: the gateway that serves asks within a minute.
func (c *casesAskCmd) Run(ctx context.Context) error {
	no, number, err := parseCase(c.Case)
	if err != nil {
		return err
	}
	return act(ctx, c.Config, func(a *app.App) error {
		o, err := a.Store().Order(ctx, no)
		if err != nil {
			return err
		}
		for _, k := range o.Cases {
			if k.Number != number {
				continue
			}
			if err := a.Store().AskNow(ctx, k.Attempt, time.Now()); err != nil {
				return err
			}
			_, err = fmt.Printf("%s is asked about within a minute; then: gateway cases list -f %s\n", k.Attempt, c.Config)
			return err
		}
		return fmt.Errorf("order %s has no case %d", no, number)
	})
}

type casesCloseCmd struct {
	configFlag
	By   string `required:"" help:"Who decides."`
	Note string `required:"" help:"What was decided, and why."`
	Case string `arg:"" help:"Such as 2017061300000016-c1."`
}

// Run closes a case.
func (c *casesCloseCmd) Run(ctx context.Context) error {
	no, number, err := parseCase(c.Case)
	if err != nil {
		return err
	}
	return act(ctx, c.Config, func(a *app.App) error {
		if err := a.Store().CloseCase(ctx, no, number, c.By, c.Note, time.Now()); err != nil {
			return err
		}
		_, err := fmt.Printf("%s is closed\n", c.Case)
		return err
	})
}

var caseForm = regexp.MustCompile(`^([0-9]{16})-c([1-9][0-9]{0,2})$`)

func parseCase(id string) (orders.OrderNo, int, error) {
	m := caseForm.FindStringSubmatch(id)
	if m == nil {
		return "", 0, fmt.Errorf("%q is no case: want one such as 2017061300000016-c1", id)
	}
	number, err := strconv.Atoi(m[2])
	return orders.OrderNo(m[1]), number, err
}
