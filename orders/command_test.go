package orders_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

func command() orders.Command {
	return orders.Command{
		Key:             orders.KeyRef{ClientID: "core", Route: "POST /v1/orders", Key: "0123456789abcdef"},
		ClientReference: "2017061300000014", Merchant: "pma", PayerMemberID: "1361049",
		Providers: []string{"bravobank"}, Methods: []string{"credit_card", "deposit_account"}, Settlement: "immediate",
		Amount: twd(40), Lines: newBook(orderNo, 1).Order.Lines,
		ReturnURL: "https://pay.taipei/result", ExpiresIn: 10 * time.Minute,
	}
}

func fingerprint(t interface{ Fatal(...any) }, c orders.Command) [32]byte {
	sum, err := c.Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// commandChanges changes each field of a command; one that is missing here makes the
// test fail, so that no field is forgotten in the fingerprint.
var commandChanges = map[string]func(*orders.Command){
	"ClientReference":    func(c *orders.Command) { c.ClientReference += "x" },
	"Merchant":           func(c *orders.Command) { c.Merchant = "twd" },
	"PayerMemberID":      func(c *orders.Command) { c.PayerMemberID = "1361040" },
	"Providers":          func(c *orders.Command) { c.Providers = []string{"linepay"} },
	"Providers, none":    func(c *orders.Command) { c.Providers = nil },
	"Providers, order":   func(c *orders.Command) { c.Providers = []string{"bravobank", "linepay"} },
	"Providers, other":   func(c *orders.Command) { c.Providers = []string{"linepay", "bravobank"} },
	"Methods":            func(c *orders.Command) { c.Methods = c.Methods[:1] },
	"Settlement":         func(c *orders.Command) { c.Settlement = "later" },
	"Amount":             func(c *orders.Command) { c.Amount = twd(41) },
	"Amount, currency":   func(c *orders.Command) { c.Amount = money.Zero("USD") },
	"Amount, nothing":    func(c *orders.Command) { c.Amount = twd(0) },
	"Lines":              func(c *orders.Command) { c.Lines = c.Lines[:1] },
	"Lines, order":       func(c *orders.Command) { c.Lines[0], c.Lines[1] = c.Lines[1], c.Lines[0] },
	"Lines.BillNo":       func(c *orders.Command) { c.Lines[0].BillNo = "H60983881309264" },
	"Lines.Name":         func(c *orders.Command) { c.Lines[0].Name = "水費" },
	"Lines.Quantity":     func(c *orders.Command) { c.Lines[0].Quantity = 2 },
	"Lines.UnitPrice":    func(c *orders.Command) { c.Lines[0].UnitPrice = twd(10) },
	"Lines.Subtotal":     func(c *orders.Command) { c.Lines[0].Subtotal = twd(10) },
	"ReturnURL":          func(c *orders.Command) { c.ReturnURL += "?" },
	"Supersede":          func(c *orders.Command) { c.Supersede = true },
	"ExpiresIn":          func(c *orders.Command) { c.ExpiresIn++ },
	"Key, another route": func(c *orders.Command) { c.Key.Route = "POST /v1/other" },
	"Key, other client":  func(c *orders.Command) { c.Key.ClientID = "other" },
}

func TestFingerprintOfEachField(t *testing.T) {
	seen := map[[32]byte]string{fingerprint(t, command()): "unchanged"}
	for name, change := range commandChanges {
		c := command()
		change(&c)
		sum := fingerprint(t, c)
		if twin, taken := seen[sum]; taken {
			t.Errorf("%s has the fingerprint of %s", name, twin)
		}
		seen[sum] = name
	}
	covered := func(prefix string, typ reflect.Type) {
		for _, f := range reflect.VisibleFields(typ) {
			if f.Name == "Key" { // partly: see above and below
				continue
			}
			if commandChanges[prefix+f.Name] == nil {
				t.Errorf("%s%s: is it part of the fingerprint?", prefix, f.Name)
			}
		}
	}
	covered("", reflect.TypeFor[orders.Command]())
	covered("Lines.", reflect.TypeFor[orders.BillLine]())
}

func TestFingerprintLeavesTheKeyOut(t *testing.T) {
	a, b := command(), command()
	b.Key.Key = "fedcba9876543210"
	if fingerprint(t, a) != fingerprint(t, b) {
		t.Error("the key is part of the fingerprint")
	}
	if !reflect.DeepEqual(b.Lines, command().Lines) || b.Key.Key != "fedcba9876543210" {
		t.Error("Fingerprint changed the command")
	}
}

func TestFingerprintKeepsFieldsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ab",\[\]{}<&]{0,3}`)
		draw := func(name string) orders.Command {
			c := command()
			c.ClientReference = text.Draw(t, name+" reference")
			c.Merchant = text.Draw(t, name+" merchant")
			c.Providers = rapid.SliceOfN(text, 1, 3).Draw(t, name+" providers")
			c.Lines[0].BillNo = text.Draw(t, name+" bill")
			c.Lines[0].Name = text.Draw(t, name+" name")
			return c
		}
		a, b := draw("a"), draw("b")
		if same := reflect.DeepEqual(a, b); same != (fingerprint(t, a) == fingerprint(t, b)) {
			t.Fatalf("same command %v, same fingerprint %v:\n%+v\n%+v", same, !same, a, b)
		}
	})
}

// A bill error goes into logs of one client: it names the bill, not its holder.
func TestErrorTexts(t *testing.T) {
	for want, err := range map[string]error{
		"orders: bill " + bill1 + " is paid":                     &orders.BillError{BillNo: bill1, Paid: true, Holder: other, Client: "rival"},
		"orders: bill " + bill1 + " is in progress":              &orders.BillError{BillNo: bill1, Holder: other, Client: "rival"},
		"orders: no account available: pma is not configured":    &orders.NoAccountError{Why: "pma is not configured"},
		"orders: provider: want one of the configured providers": &orders.FieldError{Field: "provider", Detail: "want one of the configured providers"},
	} {
		if err.Error() != want || strings.Contains(err.Error(), "rival") {
			t.Errorf("got %q, want %q", err.Error(), want)
		}
		if wrapped := errors.Join(err); !errors.Is(wrapped, err) {
			t.Errorf("%v is lost in wrapping", err)
		}
	}
}

// A list that is missing and one that is empty ask for the same.
func TestFingerprintOfNothing(t *testing.T) {
	missing, empty := command(), command()
	missing.Providers, missing.Methods = nil, nil
	empty.Providers, empty.Methods = []string{}, []string{}
	if fingerprint(t, missing) != fingerprint(t, empty) {
		t.Error("two fingerprints")
	}
}
