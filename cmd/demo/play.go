package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/html"

	"pay.taipei/gateway/sandbox/bravobank"
)

// The scenario: two parking bills from the platform's own guide of 2017.
const (
	bill1 = "H60983881309263"
	bill2 = "H61283631217536"
)

// playTime bounds a scenario: the longest waits for an order of a minute to end.
const playTime = 3 * time.Minute

// play walks a scenario as a citizen would and compares what each side then says.
func (c *city) play(ctx context.Context, scenario, provider string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, playTime)
	defer cancel()
	b, err := newBrowser()
	if err != nil {
		return err
	}
	p := &player{city: c, browser: b, life: "10m"}
	steps := scenarios()[scenario](p)
	if d := c.double(provider); d != nil {
		steps = p.payingAt(d)
	}
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			_, _ = fmt.Fprintf(out, "FAIL  %s\n", step.name)
			return err
		}
		if _, err := fmt.Fprintf(out, "ok    %s\n", step.name); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	if scenario == "pay" {
		_, err = fmt.Fprintf(out, "\nPaid: order %s, NT$40, two bills, one charge, one settlement each.\n", p.orderNo)
	} else {
		_, err = fmt.Fprintf(out, "\n%s: everything was as it must be.\n", scenario)
	}
	return err
}

type player struct {
	*city
	*browser
	orderNo string

	life     string // of an order made by the API
	checkout string
	expires  time.Time
	sent     int // commands
}

func (p *player) lookUp(ctx context.Context) error {
	if err := p.visit(ctx, "http://"+p.addresses.core+"/"); err != nil {
		return err
	}
	if err := p.submit(ctx, "search-bill", url.Values{"bill_no": {bill1}}); err != nil {
		return err
	}
	return p.shows(bill1, bill2, "停車費")
}

func (p *player) tick(ctx context.Context) error {
	return p.submit(ctx, "pay", url.Values{"bill": {bill1, bill2}})
}

func (p *player) choose(ctx context.Context) error {
	if err := p.shows("熊讚銀行"); err != nil {
		return err
	}
	return p.goTo(ctx, "bravobank")
}

// goTo chooses a provider and follows to its page.
func (p *player) goTo(ctx context.Context, provider string) error {
	if err := p.submit(ctx, "go", url.Values{"provider": {provider}}); err != nil {
		return err
	}
	if p.at.Host != p.addresses.edge { // a redirect, which was followed
		return nil
	}
	return p.submit(ctx, "", nil) // the checkout page's form, which scripts would submit by themselves
}

func (p *player) logIn(ctx context.Context) error {
	image := find(p.page, func(n *html.Node) bool { return isTag("img")(n) && strings.Contains(attr(n, "src"), "/captcha/") })
	if image == nil {
		return p.missing("captcha")
	}
	login := bravobank.DemoAccount()
	return p.submit(ctx, "login", url.Values{"account": {login.Name}, "password": {login.Password}, "captcha": {attr(image, "alt")}})
}

func (p *player) readOrder(context.Context) error {
	for _, b := range p.bank.Books() {
		p.orderNo = b.OrderNo
	}
	return p.shows(nameParking, payeeParking, "1361049", "立即", bill1, bill2, "40")
}

func (p *player) pay(ctx context.Context) error {
	return p.submit(ctx, "pay-deposit_account", nil)
}

func (p *player) comeBack(ctx context.Context) error {
	if err := p.follow(ctx, "return"); err != nil {
		return err
	}
	if err := p.awaits(ctx, "paid"); err != nil {
		return err
	}
	return p.shows("繳費成功", "停車費", "40", bill1, bill2, p.orderNo)
}

// awaits waits until the city's result page knows the outcome, which must be this one.
func (p *player) awaits(ctx context.Context, outcome string) error {
	for p.attr("outcome", "data-status") == "confirming" { // the notice may still be on its way
		select {
		case <-ctx.Done():
			return fmt.Errorf("demo: the result page is still confirming: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
		if err := p.visit(ctx, p.at.String()); err != nil {
			return err
		}
	}
	if got := p.attr("outcome", "data-status"); got != outcome {
		return fmt.Errorf("demo: the result page says %q, not %s", got, outcome)
	}
	p.orderNo = p.at.Query().Get("order_no")
	return nil
}

// apiOrder is what the demo reads of an order.
type apiOrder struct {
	OrderNo     string       `json:"order_no"`
	Account     string       `json:"account"`
	Status      string       `json:"status"`
	Late        bool         `json:"late"`
	Review      bool         `json:"review"`
	Doubt       bool         `json:"doubt"`
	CheckoutURL string       `json:"checkout_url"`
	ExpiresAt   time.Time    `json:"expires_at"`
	Surplus     []apiSurplus `json:"surplus"`
	Attempts    []struct {
		Account string `json:"account"`
		Status  string `json:"status"`
		Method  string `json:"method"`
	} `json:"attempts"`
	Refunds []struct {
		Status string `json:"status"`
	} `json:"refunds"`
}

type apiSurplus struct {
	ID       string `json:"id"`
	BillNo   string `json:"bill_no"`
	Amount   string `json:"amount"`
	Refunded string `json:"refunded"`
}

func (p *player) askAPI(ctx context.Context) error { return p.paidBy(ctx, "deposit_account") }

// paidBy asks the order API whether the order was paid by a method, with its one attempt.
func (p *player) paidBy(ctx context.Context, method string) error {
	var o apiOrder
	if err := p.json(ctx, "http://"+p.addresses.api+"/v1/orders/"+p.orderNo, &o); err != nil {
		return err
	}
	if o.Status != "paid" || o.Late || o.Review || len(o.Surplus) != 0 || len(o.Attempts) != 1 || o.Attempts[0].Method != method {
		return fmt.Errorf("demo: the order API says %+v", o)
	}
	return nil
}

func (p *player) askBank(context.Context) error {
	for _, b := range p.bank.Books() {
		if b.OrderNo == p.orderNo {
			if b.Charges != 1 || b.Total != "40" {
				return fmt.Errorf("demo: the bank's books say %+v", b)
			}
			return nil
		}
	}
	return fmt.Errorf("demo: the bank knows nothing of order %s", p.orderNo)
}

func (p *player) askCore(ctx context.Context) error { return p.settledOnce(ctx, p.orderNo) }

// settledOnce waits until signed events have settled both bills by an order, each once.
func (p *player) settledOnce(ctx context.Context, orderNo string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		text, err := p.get(ctx, "http://"+p.addresses.core+"/books")
		if err != nil {
			return err
		}
		var books struct {
			Bills []struct {
				BillNo  string `json:"bill_no"`
				PaidBy  string `json:"paid_by"`
				Settled int    `json:"settled"`
			} `json:"bills"`
		}
		if err := json.Unmarshal([]byte(text), &books); err != nil {
			return fmt.Errorf("demo: the core's books: %w", err)
		}
		settled := 0
		for _, b := range books.Bills {
			if (b.BillNo == bill1 || b.BillNo == bill2) && b.PaidBy == orderNo && b.Settled == 1 {
				settled++
			}
		}
		if settled == 2 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("demo: the core has not settled both bills once: %.500s", text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// shows fails unless the page's text holds every word.
func (p *player) shows(words ...string) error {
	page := text(p.page)
	for _, w := range words {
		if !strings.Contains(page, w) {
			return p.missing("“" + w + "”")
		}
	}
	return nil
}

// json asks the order API with the demo's key.
func (p *player) json(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+p.keys.apiKey())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("demo: %s answered %s", req.URL.Path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("demo: %s: %w", req.URL.Path, err)
	}
	return nil
}
