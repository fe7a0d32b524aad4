package main

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/bravobank"
)

// Whatever the bank does to its notices, the order ends where the money is: paid once and settled once, or
// frozen when an authentic message contradicts our record. Nothing is ever guessed.
func TestBankFaults(t *testing.T) {
	for _, c := range []struct {
		name    string
		faults  bravobank.Faults
		review  bool
		refused bool // at least one callback is refused
	}{
		{name: "honest"},
		{name: "notice lost: the return makes a query", faults: bravobank.Faults{Lost: true}},
		{name: "notice later than the return", faults: bravobank.Faults{Late: bravobank.Duration(time.Hour)}},
		{name: "fifty copies", faults: bravobank.Faults{Duplicated: 50}},
		{name: "failed after paid", faults: bravobank.Faults{Reordered: true}},
		{name: "answer dropped after charging", faults: bravobank.Faults{AnswerDropped: true}},
		{name: "forged signature", faults: bravobank.Faults{ForgedSignature: true}, refused: true},
		{name: "one dollar more", faults: bravobank.Faults{WrongAmount: true}, review: true},
		{name: "another merchant", faults: bravobank.Faults{WrongMerchant: true}, review: true},
		{name: "another currency", faults: bravobank.Faults{WrongCurrency: true}, review: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			city := openTestCity(t)
			city.bank.SetFaults(c.faults)
			p := walkToPayment(t, city)
			if err := p.pay(t.Context()); err != nil && !c.faults.AnswerDropped {
				t.Fatal(err)
			}
			no := city.bank.Books()[0].OrderNo
			returned(t, p)
			want := "paid"
			if c.review {
				want = "open"
			}
			o := p.until(t, no, func(o apiOrder) bool { return o.Status == want && o.Review == c.review })
			if o.Late || len(o.Surplus) != 0 {
				t.Errorf("order %+v", o)
			}
			if got := city.bank.Books()[0].Charges; got != 1 {
				t.Errorf("the bank charged %d times", got)
			}
			if !c.review {
				if err := p.settledOnce(t.Context(), no); err != nil {
					t.Error(err)
				}
			}
			metrics, err := p.get(t.Context(), "http://"+city.addresses.ops+"/metrics")
			if err != nil {
				t.Fatal(err)
			}
			if paid := metric(t, metrics, `gateway_order_moves_total{to="paid"}`); (paid == 1) == c.review {
				t.Errorf("%v orders moved to paid", paid)
			}
			if refused := metric(t, metrics, `gateway_callbacks_total{account="bravobank-main",verdict="refused"}`); (refused > 0) != c.refused {
				t.Errorf("%v callbacks refused", refused)
			}
			if open := metric(t, metrics, `gateway_reviews_open`); (open == 1) != c.review {
				t.Errorf("%v reviews open", open)
			}
		})
	}
}

// A core that is away gets its events when it is back.
func TestCoreAway(t *testing.T) {
	for _, fault := range []string{`{"status":500}`, `{"status":404}`, `{"hang":true}`, `{"status":500,"after":true}`} {
		t.Run(fault, func(t *testing.T) {
			city := openTestCity(t)
			put(t, "http://"+city.addresses.core+"/faults", fault)
			p := walkToPayment(t, city)
			if err := p.pay(t.Context()); err != nil {
				t.Fatal(err)
			}
			no := city.bank.Books()[0].OrderNo
			p.until(t, no, func(o apiOrder) bool { return o.Status == "paid" })
			put(t, "http://"+city.addresses.core+"/faults", `{}`)
			if err := p.settledOnce(t.Context(), no); err != nil {
				t.Error(err)
			}
			p.delivered(t) // the feed may have told the core already; the webhook must as well
		})
	}
}

// delivered waits until no event is left to deliver.
func (p *player) delivered(t *testing.T) {
	t.Helper()
	testkit.Until(t, "every event is delivered", func() bool {
		metrics, err := p.get(t.Context(), "http://"+p.addresses.ops+"/metrics")
		if err != nil {
			t.Fatal(err)
		}
		return metric(t, metrics, `gateway_outbox_depth{state="ready"}`) == 0
	})
}

// openTestCity runs a city until the test ends.
func openTestCity(t *testing.T) *city { return serveCity(t, time.Now) }

func walkToPayment(t *testing.T, c *city) *player {
	t.Helper()
	b, err := newBrowser()
	if err != nil {
		t.Fatal(err)
	}
	p := &player{city: c, browser: b}
	for _, step := range []func(context.Context) error{p.lookUp, p.tick, p.choose, p.logIn, p.readOrder} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// returned brings the browser back to the city; after a dropped answer it reloads the bank's page first.
func returned(t *testing.T, p *player) {
	t.Helper()
	if p.attr("return", "href") == "" {
		if err := p.visit(t.Context(), p.at.String()); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.follow(t.Context(), "return"); err != nil {
		t.Fatal(err)
	}
}

// until asks the order API until the order is as wanted.
func (p *player) until(t *testing.T, no string, want func(apiOrder) bool) (o apiOrder) {
	t.Helper()
	testkit.Until(t, "order "+no+" is as wanted", func() bool {
		o = apiOrder{}
		if err := p.json(t.Context(), "http://"+p.addresses.api+"/v1/orders/"+no, &o); err != nil {
			t.Fatal(err)
		}
		return want(o)
	})
	return o
}

func put(t *testing.T, address, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%s answered %s, %v", address, resp.Status, err)
	}
}

// metric reads one figure of a text exposition; a missing one fails.
func metric(t *testing.T, text, name string) int {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.Atoi(strings.TrimSpace(rest))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no figure %s", name)
	return 0
}
