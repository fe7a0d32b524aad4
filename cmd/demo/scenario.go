package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/router/policy"
	"pay.taipei/gateway/sandbox/bravobank"
)

// step is one thing that a citizen, an operator or a machine does, and what must come of it.
type step struct {
	name string
	do   func(context.Context) error
}

// scenarios are what -scenario plays, by name. Each is played in a city of its own.
func scenarios() map[string]func(*player) []step {
	return map[string]func(*player) []step{
		"pay": (*player).paying, "failover": (*player).failover, "hang": (*player).hang, "lost-callbacks": (*player).lostCallbacks,
		"late": (*player).late, "surplus": (*player).surplus, "maintenance": (*player).maintenance, "refund": (*player).refund, "doubt": (*player).doubt,
	}
}

func scenarioNames() string { return strings.Join(slices.Sorted(maps.Keys(scenarios())), ", ") }

// toBank walks from the look-up to the bank's order page.
func (p *player) toBank() []step {
	return []step{
		{"look up bill " + bill1 + " at the city", p.lookUp},
		{"tick both bills and pay", p.tick},
		{"choose 熊讚銀行 Bravo Bank", p.choose},
		{"log in at the bank", p.logIn},
		{"read the order page", p.readOrder},
	}
}

func (p *player) paying() []step {
	return append(p.toBank(),
		step{"pay from the deposit account", p.pay},
		step{"come back to the result page", p.comeBack},
		step{"the order API says paid", p.askAPI},
		step{"the bank charged once", p.askBank},
		step{"the core settled each bill once", p.askCore},
	)
}

// failover: the account that the order was made for is killed before the citizen clicks.
func (p *player) failover() []step {
	return []step{
		{"look up bill " + bill1 + " at the city", p.lookUp},
		{"tick both bills and pay", p.tick},
		{"the order is made at " + account, func(ctx context.Context) error { return p.order(ctx, account) }},
		{"kill the bank's side of " + account, func(context.Context) error { close(p.killing); return nil }},
		{"its breaker opens", func(ctx context.Context) error { return p.shut(ctx, account, "query") }},
		{"load the checkout page again: it leads to " + second, func(ctx context.Context) error {
			return errors.Join(p.visit(ctx, p.at.String()), p.submit(ctx, "", nil))
		}},
		{"log in at the bank", p.logIn},
		{"pay from the deposit account", p.pay},
		{"come back to the result page", p.comeBack},
		{"the order was paid at " + second + ", the first attempt is watched on", func(ctx context.Context) error {
			return p.expect(ctx, func(o apiOrder) bool {
				return o.Status == "paid" && len(o.Attempts) == 2 && o.Attempts[0].Status == "pending" && o.Attempts[1].Account == second && o.Attempts[1].Status == "paid"
			})
		}},
		{"one charge in both books", func(context.Context) error { return p.charged(1) }},
		{"the core settled each bill once", p.askCore},
	}
}

// hang: the bank's API hangs for longer than anybody waits. Who is at the bank pays; who comes is sent to the other account.
func (p *player) hang() []step {
	return append(p.toBank(),
		step{"the bank's API of " + account + " hangs", p.faults(p.bank, bravobank.Faults{Hang: true})},
		step{"pay from the deposit account all the same", p.pay},
		step{"come back: the callback tells, no query was needed", p.comeBack},
		step{"the breaker of its queries opens", func(ctx context.Context) error { return p.shut(ctx, account, "query") }},
		step{"the directory still offers the bank, at the other account", func(ctx context.Context) error { return p.offered(ctx, true, "") }},
		step{"an order made now goes to " + second, func(ctx context.Context) error { return p.explains(ctx, second) }},
		step{"one charge in both books", func(context.Context) error { return p.charged(1) }},
		step{"the core settled each bill once", p.askCore},
	)
}

// lostCallbacks: no callback ever comes, and the citizen closes the browser.
func (p *player) lostCallbacks() []step {
	return append(p.toBank(),
		step{"the bank loses its callbacks", p.faults(p.bank, bravobank.Faults{Lost: true})},
		step{"pay, and close the browser", p.pay},
		step{"the gateway asks by itself: paid", func(ctx context.Context) error {
			return p.expect(ctx, func(o apiOrder) bool { return o.Status == "paid" && !o.Late })
		}},
		step{"no callback was counted", func(ctx context.Context) error {
			return p.metric(ctx, `gateway_paid_total{account="`+account+`",by="query"} 1`)
		}},
		step{"the core settled each bill once", p.askCore},
	)
}

// late: nobody hears of the payment before the order's time is over.
func (p *player) late() []step {
	return append([]step{{"a core in a hurry: orders live a minute", func(context.Context) error { p.life = "1m"; return nil }}, {"order both bills by the API", p.placeByAPI}, {"go to the bank", p.clickByAPI}},
		step{"log in at the bank", p.logIn},
		step{"the bank's callbacks come an hour late, its API hangs", p.faults(p.bank, bravobank.Faults{Late: bravobank.Duration(time.Hour), Hang: true})},
		step{"pay, and close the browser", p.pay},
		step{"the minute passes", func(ctx context.Context) error { return p.rest(ctx, p.expires.Add(time.Second)) }},
		step{"nothing is guessed: the order is open", func(ctx context.Context) error {
			return p.expect(ctx, func(o apiOrder) bool { return o.Status == "open" })
		}},
		step{"the API answers again", p.faults(p.bank, bravobank.Faults{})},
		step{"paid, and late", func(ctx context.Context) error {
			return p.expect(ctx, func(o apiOrder) bool { return o.Status == "paid" && o.Late })
		}},
		step{"one charge in both books", func(context.Context) error { return p.charged(1) }},
	)
}

// surplus: the citizen goes back, takes another way, and pays both.
func (p *player) surplus() []step {
	var first *browser
	return append([]step{{"order both bills by the API", p.placeByAPI}, {"go to the bank", p.clickByAPI}},
		step{"log in at the bank, and leave the page open", func(ctx context.Context) error {
			first = &browser{}
			err := p.logIn(ctx)
			*first = *p.browser
			return err
		}},
		step{"go back and pay another way: " + account + " is closed for now", func(ctx context.Context) error {
			return p.impose(ctx, orders.Control{Kind: orders.ControlForce, Name: account, Spec: "open", Until: time.Now().Add(time.Minute)}, func(a app.Account) bool {
				return a.Name == account && len(a.Controls) == 1 && blocked(a, "query")
			})
		}},
		step{"a second attempt, at " + second, func(ctx context.Context) error {
			var o apiOrder
			return errors.Join(p.post(ctx, "/v1/orders/"+p.orderNo+"/attempts", `{}`, http.StatusCreated, &o), differ(o.Account == second, o))
		}},
		step{"pay there", func(ctx context.Context) error {
			return errors.Join(p.clickByAPI(ctx), p.logIn(ctx), p.pay(ctx))
		}},
		step{"pay on the page that was left open, too", func(ctx context.Context) error {
			p.browser = first
			return p.pay(ctx)
		}},
		step{"paid once, and the other money is surplus", func(ctx context.Context) error {
			return p.expect(ctx, func(o apiOrder) bool { return o.Status == "paid" && len(o.Surplus) == 2 })
		}},
		step{"two charges in both books", func(context.Context) error { return p.charged(2) }},
		step{"pay the surplus back, bill by bill", func(ctx context.Context) error {
			for range 2 {
				var o apiOrder
				if err := p.json(ctx, "http://"+p.addresses.api+"/v1/orders/"+p.orderNo, &o); err != nil {
					return err
				}
				i := slices.IndexFunc(o.Surplus, func(s apiSurplus) bool { return s.Refunded == "0" })
				body := fmt.Sprintf(`{"surplus_id":%q,"reason":"paid twice"}`, o.Surplus[i].ID)
				if err := p.post(ctx, "/v1/orders/"+p.orderNo+"/refunds", body, http.StatusAccepted, nil); err != nil {
					return err
				}
				id := o.Surplus[i].ID
				if err := p.expect(ctx, func(o apiOrder) bool {
					return slices.ContainsFunc(o.Surplus, func(s apiSurplus) bool { return s.ID == id && s.Refunded == s.Amount })
				}); err != nil {
					return err
				}
			}
			return nil
		}},
		step{"the books hold 40 dollars", func(context.Context) error { return p.kept(40) }},
		step{"the order is still paid", func(ctx context.Context) error {
			return p.expect(ctx, func(o apiOrder) bool { return o.Status == "paid" })
		}},
	)
}

// maintenance: an operator announces a window of the bank.
func (p *player) maintenance() []step {
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	window := func(scope policy.Scope, name string) func(context.Context) error {
		return func(ctx context.Context) error {
			w := policy.Window{ID: "w-" + name, Scope: scope, Name: name, Start: time.Now().Add(time.Minute), End: end, Reason: "moves"}
			text, err := w.Marshal()
			if err != nil {
				return err
			}
			return p.impose(ctx, orders.Control{Kind: orders.ControlWindow, Name: w.ID, Spec: string(text), Until: end}, func(a app.Account) bool {
				return slices.ContainsFunc(a.Controls, func(c app.Control) bool { return c.Name == w.ID })
			})
		}
	}
	return []step{
		{"the bank is offered", func(ctx context.Context) error { return p.offered(ctx, true, "") }},
		{"in a minute " + account + " goes into maintenance", window(policy.ScopeAccount, account)},
		{"orders made now already go to " + second + ": their pages would live into it", func(ctx context.Context) error { return p.explains(ctx, second) }},
		{"in a minute the whole bank does", window(policy.ScopeProvider, "bravobank")},
		{"the directory says so, and until when", func(ctx context.Context) error { return p.offered(ctx, false, policy.Maintenance) }},
		{"the city's page tells the citizen", func(ctx context.Context) error {
			return errors.Join(p.lookUp(ctx), p.tick(ctx), p.shows(end.In(orders.Taipei).Format("15:04")))
		}},
		{"the window is taken back", func(ctx context.Context) error {
			for _, name := range []string{"w-bravobank", "w-" + account} {
				if err := p.gateway.Store().DropControl(ctx, orders.ControlWindow, name, "demo", "done", time.Now()); err != nil {
					return err
				}
			}
			return p.offered(ctx, true, "")
		}},
	}
}

// refund: a part, and then the rest.
func (p *player) refund() []step {
	back := func(body, status string) func(context.Context) error {
		return func(ctx context.Context) error {
			if err := p.post(ctx, "/v1/orders/"+p.orderNo+"/refunds", body, http.StatusAccepted, nil); err != nil {
				return err
			}
			return p.expect(ctx, func(o apiOrder) bool { return o.Status == status })
		}
	}
	return append(p.paying(),
		step{"pay 15 dollars back", back(`{"amount":{"value":"15","currency":"TWD"},"reason":"wrong fee"}`, "partially_refunded")},
		step{"the books hold 25 dollars", func(context.Context) error { return p.kept(25) }},
		step{"26 dollars more are refused", func(ctx context.Context) error {
			return p.post(ctx, "/v1/orders/"+p.orderNo+"/refunds", `{"amount":{"value":"26","currency":"TWD"},"reason":"too much"}`, http.StatusUnprocessableEntity, nil)
		}},
		step{"pay back the rest", back(`{"reason":"cancelled by the agency"}`, "refunded")},
		step{"the books hold nothing", func(context.Context) error { return p.kept(0) }},
	)
}

// doubt: a refund is carried out and its answer is lost.
func (p *player) doubt() []step {
	return append(p.paying(),
		step{"the bank drops its answers to refunds", p.faults(p.bank, bravobank.Faults{AnswerDropped: true})},
		step{"pay 10 dollars back: nobody knows whether it was done", func(ctx context.Context) error {
			if err := p.post(ctx, "/v1/orders/"+p.orderNo+"/refunds", `{"amount":{"value":"10","currency":"TWD"},"reason":"wrong fee"}`, http.StatusAccepted, nil); err != nil {
				return err
			}
			return p.expect(ctx, func(o apiOrder) bool { return o.Doubt && o.Refunds[0].Status == "undecided" })
		}},
		step{"meanwhile no other refund is taken", func(ctx context.Context) error {
			return p.post(ctx, "/v1/orders/"+p.orderNo+"/refunds", `{"reason":"the rest"}`, http.StatusConflict, nil)
		}},
		step{"the gateway asks: it was done", func(ctx context.Context) error {
			return p.expect(ctx, func(o apiOrder) bool {
				return !o.Doubt && o.Refunds[0].Status == "done" && o.Status == "partially_refunded"
			})
		}},
		step{"the books hold 30 dollars: it was sent once", func(context.Context) error { return p.kept(30) }},
	)
}

// order makes the order of the ticked bills at the city, and checks its account. The citizen stands at the checkout page.
func (p *player) order(ctx context.Context, at string) error {
	if err := p.submit(ctx, "go", url.Values{"provider": {"bravobank"}}); err != nil {
		return err
	}
	rows, err := p.gateway.Store().Feed(ctx, "core", 0, 1)
	for tries := 0; err == nil && len(rows) == 0 && tries < 100; tries++ {
		if err := p.rest(ctx, time.Now().Add(50*time.Millisecond)); err != nil {
			return err
		}
		rows, err = p.gateway.Store().Feed(ctx, "core", 0, 1)
	}
	if err != nil || len(rows) == 0 {
		return errors.Join(errors.New("demo: no order was made"), err)
	}
	var event struct {
		OrderNo string `json:"order_no"`
	}
	if err := json.Unmarshal(rows[0].Body, &event); err != nil {
		return fmt.Errorf("demo: event: %w", err)
	}
	p.orderNo = event.OrderNo
	return p.expect(ctx, func(o apiOrder) bool { return o.Account == at })
}

// placeByAPI orders the two bills as the core does.
func (p *player) placeByAPI(ctx context.Context) error {
	body := fmt.Sprintf(`{
		"client_reference": "demo-%d", "merchant": "pma", "payer": {"member_id": "1361049"}, "provider": "bravobank",
		"amount": {"value": "40", "currency": "TWD"}, "settlement": "immediate",
		"lines": [
			{"bill_no": %q, "name": "停車費", "quantity": 1, "unit_price": "20", "subtotal": "20"},
			{"bill_no": %q, "name": "停車費", "quantity": 1, "unit_price": "20", "subtotal": "20"}
		],
		"return_url": "http://%s/result", "expires_in": %q}`, time.Now().UnixNano(), bill1, bill2, p.addresses.core, p.life)
	var o apiOrder
	if err := p.post(ctx, "/v1/orders", body, http.StatusCreated, &o); err != nil {
		return err
	}
	p.orderNo, p.checkout, p.expires = o.OrderNo, o.CheckoutURL, o.ExpiresAt
	return nil
}

// clickByAPI goes to the checkout page and on to the bank.
func (p *player) clickByAPI(ctx context.Context) error {
	if err := p.visit(ctx, p.checkout); err != nil {
		return err
	}
	return p.submit(ctx, "", nil)
}

func (p *player) faults(b *bravobank.Bank, f bravobank.Faults) func(context.Context) error {
	return func(context.Context) error { b.SetFaults(f); return nil }
}

// expect waits until the order API says what must be.
func (p *player) expect(ctx context.Context, want func(apiOrder) bool) error {
	var o apiOrder
	for {
		if err := p.json(ctx, "http://"+p.addresses.api+"/v1/orders/"+p.orderNo, &o); err != nil {
			return err
		}
		if want(o) {
			return nil
		}
		if err := p.rest(ctx, time.Now().Add(100*time.Millisecond)); err != nil {
			return fmt.Errorf("demo: the order API says %+v: %w", o, err)
		}
	}
}

// rest waits until a moment.
func (p *player) rest(ctx context.Context, until time.Time) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("demo: %w", ctx.Err())
	case <-time.After(time.Until(until)):
		return nil
	}
}

// post sends a command to the order API and checks the status of its answer.
func (p *player) post(ctx context.Context, path, body string, status int, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.addresses.api+path, bytes.NewBufferString(body))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	p.sent++
	req.Header.Set("Authorization", "Bearer "+p.keys.apiKey())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", fmt.Sprintf("demo-scenario-key-%d", p.sent))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != status {
		return errors.Join(fmt.Errorf("demo: %s answered %s, want %d: %.500s", path, resp.Status, status, answer), err)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("demo: %s: %w", path, err)
	}
	return nil
}

func differ(same bool, got any) error {
	if same {
		return nil
	}
	return fmt.Errorf("demo: not as it must be: %+v", got)
}

// accounts asks the operators' page until it says what must be.
func (p *player) accounts(ctx context.Context, want func(app.Account) bool) error {
	for {
		text, err := p.get(ctx, "http://"+p.addresses.ops+"/accounts")
		if err != nil {
			return err
		}
		var list []app.Account
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			return fmt.Errorf("demo: accounts: %w", err)
		}
		if slices.ContainsFunc(list, want) {
			return nil
		}
		if err := p.rest(ctx, time.Now().Add(100*time.Millisecond)); err != nil {
			return fmt.Errorf("demo: the accounts are %s: %w", text, err)
		}
	}
}

func blocked(a app.Account, op string) bool {
	return slices.ContainsFunc(a.Operations, func(o app.Breaker) bool { return o.Op == op && o.Why != "" })
}

func (p *player) shut(ctx context.Context, account, op string) error {
	return p.accounts(ctx, func(a app.Account) bool { return a.Name == account && blocked(a, op) })
}

// impose does what an operator does, and waits until it holds.
func (p *player) impose(ctx context.Context, c orders.Control, holds func(app.Account) bool) error {
	c.By, c.Reason, c.SetAt = "demo", "played", time.Now()
	if err := p.gateway.Store().SetControl(ctx, c); err != nil {
		return err
	}
	return p.accounts(ctx, holds)
}

// offered waits until the directory says whether the bank can be chosen.
func (p *player) offered(ctx context.Context, available bool, why string) error {
	for {
		var directory struct {
			Providers []struct {
				Name      string  `json:"provider"`
				Available bool    `json:"available"`
				Why       *string `json:"why"`
			} `json:"providers"`
		}
		if err := p.json(ctx, "http://"+p.addresses.api+"/v1/providers?merchant=pma&amount=40", &directory); err != nil {
			return err
		}
		for _, d := range directory.Providers {
			if d.Name == "bravobank" && d.Available == available && (why == "" || (d.Why != nil && *d.Why == why)) {
				return nil
			}
		}
		if err := p.rest(ctx, time.Now().Add(100*time.Millisecond)); err != nil {
			return fmt.Errorf("demo: the directory says %+v: %w", directory, err)
		}
	}
}

// explains checks where an order made now would go.
func (p *player) explains(ctx context.Context, want string) error {
	order := `{"merchant":"pma","provider":"bravobank","amount":{"value":"40","currency":"TWD"}}`
	for {
		receipt, err := p.gateway.Explain(strings.NewReader(order), "2017061300000016")
		if err != nil {
			return err
		}
		i := slices.IndexFunc(receipt.Considered, func(c policy.Considered) bool { return c.Rank == 1 })
		if i >= 0 && receipt.Considered[i].Account == want {
			return nil
		}
		if err := p.rest(ctx, time.Now().Add(100*time.Millisecond)); err != nil {
			return fmt.Errorf("demo: the receipt says\n%s: %w", receipt.Text(), err)
		}
	}
}

// metric waits until a line stands in the metrics.
func (p *player) metric(ctx context.Context, line string) error {
	for {
		text, err := p.get(ctx, "http://"+p.addresses.ops+"/metrics")
		if err != nil {
			return err
		}
		if strings.Contains(text, "\n"+line+"\n") {
			return nil
		}
		if err := p.rest(ctx, time.Now().Add(100*time.Millisecond)); err != nil {
			return fmt.Errorf("demo: the metrics have no line %s: %w", line, err)
		}
	}
}

// books are those of both accounts.
func (p *player) books() []bravobank.Entry {
	return append(p.bank.Books(), p.branch.Books()...)
}

// charged checks how many times the payer was charged in all.
func (p *player) charged(want int) error {
	got := 0
	for _, b := range p.books() {
		got += b.Charges
	}
	return differ(got == want, p.books())
}

// kept checks what the banks have charged and not paid back, in dollars.
func (p *player) kept(want int) error {
	got := 0
	for _, b := range p.books() {
		var total, refunded int
		if _, err := fmt.Sscan(b.Total+" "+b.Refunded, &total, &refunded); err != nil {
			return fmt.Errorf("demo: books: %w", err)
		}
		got += b.Charges*total - refunded
	}
	return differ(got == want, p.books())
}
