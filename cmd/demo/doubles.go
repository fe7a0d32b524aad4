package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"pay.taipei/gateway/sandbox/all"
)

// usualProvider is where a scenario pays that is told nothing else.
const usualProvider = "bravobank"

// payable are the providers at which -once can pay.
func payable() []string {
	names := []string{usualProvider}
	for _, d := range all.Doubles() {
		names = append(names, d.Name)
	}
	return names
}

func providerNames() string { return strings.Join(payable(), ", ") }

// double is a provider's double; nil: it has none.
func (c *city) double(name string) *double {
	if i := slices.IndexFunc(c.doubles, func(d *double) bool { return d.Name == name }); i >= 0 {
		return c.doubles[i]
	}
	return nil
}

// toDouble walks from the look-up to the page of a double.
func (p *player) toDouble(d *double) []step {
	return []step{
		{"look up bill " + bill1 + " at the city", p.lookUp},
		{"tick both bills and pay", p.tick},
		{"choose " + d.Name, func(ctx context.Context) error { return p.goTo(ctx, d.Name) }},
		{"read its page", func(context.Context) error { return p.shows(d.Payees["pma"], "40") }},
	}
}

// payingAt pays at a double.
func (p *player) payingAt(d *double) []step {
	return append(p.toDouble(d),
		step{"pay by the first method", p.payThere},
		step{"come back to the result page", p.leave("paid")},
		step{"the order API says paid", func(ctx context.Context) error { return p.paidBy(ctx, p.booked(d).Method) }},
		step{d.Name + " charged once", func(context.Context) error { return p.chargedOnce(d) }},
		step{"the core settled each bill once", p.askCore},
	)
}

// payThere presses the first button that pays.
func (p *player) payThere(ctx context.Context) error {
	button := find(p.page, func(n *html.Node) bool { return isTag("button")(n) && strings.HasPrefix(attr(n, "id"), "pay-") })
	if button == nil {
		return p.missing("button that pays")
	}
	return p.submit(ctx, attr(button, "id"), nil)
}

// leave goes back to the city, by a link or a form as the provider does, and waits for an outcome.
func (p *player) leave(outcome string) func(context.Context) error {
	return func(ctx context.Context) error {
		back := p.follow
		if n := find(p.page, byID("return")); n != nil && isTag("button")(n) {
			back = func(ctx context.Context, id string) error { return p.submit(ctx, id, nil) }
		}
		if err := back(ctx, "return"); err != nil {
			return err
		}
		return p.awaits(ctx, outcome)
	}
}

// booked is the newest payment of the order in a double's books.
func (p *player) booked(d *double) all.Payment {
	var found all.Payment
	for _, b := range d.Desk.Books() {
		if strings.HasPrefix(b.Number, p.orderNo) {
			found = b
		}
	}
	return found
}

func (p *player) chargedOnce(d *double) error {
	if b := p.booked(d); b.Charges != 1 || b.Amount != 40 || b.Payee != d.Payees["pma"] {
		return fmt.Errorf("demo: the books of %s say %+v", d.Name, b)
	}
	return nil
}
