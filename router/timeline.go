package router

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router/policy"
)

// Timeline is what happened to an order, with the receipts of its attempts in words, and what it waits for: which try of how
// many comes when, and what came of the last one.
func (r *Router) Timeline(ctx context.Context, no orders.OrderNo) ([]orders.TimelineRow, error) {
	rows, err := r.d.Store.Timeline(ctx, no)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].What != "routing" {
			continue
		}
		if receipt, err := policy.ParseReceipt([]byte(rows[i].Detail)); err == nil { // else it is shown as it stands
			rows[i].Detail = receipt.String()
		}
	}
	waiting, err := r.d.Store.Waiting(ctx, no)
	if err != nil {
		return nil, err
	}
	for i := range waiting.Queries {
		rows = append(rows, r.waitingQuery(&waiting.Queries[i]))
	}
	for i := range waiting.Refunds {
		rows = append(rows, r.waitingRefund(&waiting.Refunds[i]))
	}
	slices.SortStableFunc(rows, func(a, b orders.TimelineRow) int { return a.At.Compare(b.At) })
	return rows, nil
}

// waitingQuery is the row of a query that is to come.
func (r *Router) waitingQuery(w *orders.QueryWork) orders.TimelineRow {
	a := w.Order.Attempt(w.Attempt)
	account, served := r.world().accounts[a.Account]
	if !served {
		return wait(w.Attempt, w.Due, "query at "+a.Account, errNotConfigured.Error())
	}
	q := asking{r: r, QueryWork: *w, account: account}
	what := fmt.Sprintf("query (%s)", q.purpose())
	if w.Due.IsZero() {
		return wait(w.Attempt, r.d.Now(), what, fmt.Sprintf("try %d is on its way", w.Asked+1))
	}
	at, why := r.heldUp(a.Account, providers.OpQuery, w.Due)
	n := w.Asked + 1
	row := wait(w.Attempt, at, what, fmt.Sprintf("try %d of %d", n, lastTry(n, at, q.planEnd(), q.after)), w.Last, why)
	if !w.Order.CancelAsked.IsZero() && w.Order.DoubtAbout(w.Attempt) != nil {
		row.Detail += "; the cancel waits for it"
	}
	return row
}

// waitingRefund is the row of a refund that is to be sent.
func (r *Router) waitingRefund(w *orders.RefundWork) orders.TimelineRow {
	a, what := w.Order.Attempt(w.Refund.Attempt), "sending refund "+w.Refund.ID()
	account, served := r.world().accounts[a.Account]
	if !served {
		return wait(a.No, w.Due, what, errNotConfigured.Error())
	}
	at, why := r.heldUp(a.Account, providers.OpRefund, w.Due)
	n, last := sending{account, &w.Refund}.tries(w.Sent, at)
	return wait(a.No, at, what, fmt.Sprintf("try %d of %d", n, last), w.Last, why)
}

// wait is the row of what is tried next at a moment. Of the details the empty ones are left out.
func wait(attempt orders.AttemptNo, at time.Time, what, try string, details ...string) orders.TimelineRow {
	row := orders.TimelineRow{At: at, What: "waiting", AttemptNo: attempt, Detail: what + ": " + try}
	for i, name := range []string{"last", "held up by"} {
		if i < len(details) && details[i] != "" {
			row.Detail += "; " + name + ": " + details[i]
		}
	}
	return row
}

// heldUp is when something due may be done at an account, and by which rule it is no earlier; empty: by none.
func (r *Router) heldUp(account string, op providers.Op, due time.Time) (at time.Time, why string) {
	if until := r.quietUntil(account); until.After(due) {
		return until, policy.Penalty
	}
	if why, until := r.d.Gates.Shut(account, string(op)); why != "" {
		return later(due, until), why
	}
	return due, ""
}

// later is the later of two moments.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
