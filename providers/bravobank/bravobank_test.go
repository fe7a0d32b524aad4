package bravobank_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/bravobank"
	"pay.taipei/gateway/providers/internal/account"
	"pay.taipei/gateway/signing"
)

const (
	longSeed  = "b3duIHNlZWQsIG5vdCBwdWJsaXNoZWQsIDMzYiBsb25n" // 33 bytes: one too many
	goodSeed  = "b3duIHNlZWQsIG5vdCBwdWJsaXNoZWQsIDMyIGxvbmc"
	otherBank = "RQguO3ZOqn29figgipAKKFTqAtNfP_TKoFO2C9yP4XM"
)

func settings(seedLine string) string {
	return `
order_url: https://bank.example/order
api_url: https://api.bank.example
signing_key:
  id: own-1
  ` + seedLine + `
bank_keys:
- {id: bravo-test-1, key: ` + b64(bankPublic()) + `, not_after: "2027-01-31T00:00:00+08:00"}
`
}

func open(t *testing.T, env providers.Environment, text string) (providers.Provider, error) {
	t.Helper()
	decode := func(v any) error { return yaml.NewDecoder(strings.NewReader(text), yaml.Strict()).Decode(v) }
	return bravobank.Open(
		account.Account{Name: "bravobank-main", Environment: env, Decode: decode},
		account.Deps{Now: stampTime, Rand: &counter{}, HTTP: func(origin string) (*httpx.Client, error) {
			if origin != "https://api.bank.example" {
				return nil, errors.New("elsewhere")
			}
			return client(t, "http://127.0.0.1:1"), nil
		}})
}

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "seed")
	if err := os.WriteFile(file, []byte(goodSeed+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, line := range map[string]string{"seed": "seed: " + goodSeed, "seed_file": "seed_file: " + file} {
		a, err := open(t, providers.Sandbox, settings(line))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := a.Describe(); len(d.FormOrigins) != 1 || d.FormOrigins[0] != "https://bank.example" {
			t.Errorf("form origins %q", d.FormOrigins)
		}
		created, err := a.Create(t.Context(), orderRequest(t))
		if err != nil || created.Redirect.Fields["kid"] != "own-1" {
			t.Errorf("%+v %v", created, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	good := settings("seed: " + goodSeed)
	for _, c := range []struct {
		name, text, says string
		env              providers.Environment
	}{
		{"no seed", settings(""), "exactly one of seed and seed_file", providers.Demo},
		{"both", settings("seed: " + goodSeed + "\n  seed_file: x"), "exactly one of seed and seed_file", providers.Demo},
		{"missing file", settings("seed_file: /nowhere/seed"), "seed_file", providers.Demo},
		{"seed too long", settings("seed: " + longSeed), "32 bytes", providers.Demo},
		{"seed not base64url", settings("seed: " + strings.Repeat("+", 43)), "base64url", providers.Demo},
		{"bank key not base64url", strings.Replace(good, b64(bankPublic()), "a+b", 1), `key "bravo-test-1"`, providers.Demo},
		{"bad not_after", strings.Replace(good, "2027-01-31T00:00:00+08:00", "tomorrow", 1), "not_after", providers.Demo},
		{"no bank key", strings.Split(good, "bank_keys")[0], "bank_keys", providers.Demo},
		{"order_url relative", strings.Replace(good, "https://bank.example/order", "/order", 1), "order_url", providers.Demo},
		{"order_url with a query", strings.Replace(good, "https://bank.example/order", "https://bank.example/order?x=1", 1), "order_url", providers.Demo},
		{"http in production", strings.Replace(good, "https://bank.example/order", "http://bank.example/order", 1), "", providers.Production},
		{"environment missing", good, "environment", ""},
		{"environment unknown", good, "environment", "staging"},
		{"published bank key in production", good, `bank key "bravo-test-1" is a published test key`, providers.Production},
		{"published own key in production", settings("seed: " + b64([]byte(gatewaySeed))), `signing key "own-1" is a published test key`, providers.Production},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := open(t, c.env, c.text)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want it to say %q", err, c.says)
			}
			for _, secret := range []string{goodSeed, longSeed, gatewaySeed, b64([]byte(gatewaySeed))} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows the seed: %v", err)
				}
			}
		})
	}
}

func TestProductionTakesOwnKeys(t *testing.T) {
	text := strings.Replace(settings("seed: "+goodSeed), b64(bankPublic()), otherBank, 1)
	if _, err := open(t, providers.Production, text); err != nil {
		t.Error(err)
	}
}

func TestSettingsDoNotPrintTheSeed(t *testing.T) {
	var s bravobank.Settings
	if err := yaml.Unmarshal([]byte(settings("seed: "+goodSeed)), &s); err != nil {
		t.Fatal(err)
	}
	if s.APIURL != "https://api.bank.example" || string(s.SigningKey.Seed.Reveal()) != goodSeed {
		t.Fatal("the settings were not read")
	}
	asJSON, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v %s", s, s, s, s.SigningKey), string(asJSON), string(asYAML)} {
		if strings.Contains(shown, goodSeed) || bytes.Contains([]byte(shown), unb64(t, goodSeed)) {
			t.Errorf("shows the seed: %s", shown)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*providers.CreateRequest){
		"order number":            func(r *providers.CreateRequest) { r.OrderNo = "" },
		"attempt number":          func(r *providers.CreateRequest) { r.AttemptNo = strings.Repeat("1", 21) },
		"payee missing":           func(r *providers.CreateRequest) { r.Merchant.PayeeMemberID = "" },
		"payee too long":          func(r *providers.CreateRequest) { r.Merchant.PayeeMemberID = strings.Repeat("1", 33) },
		"payer missing":           func(r *providers.CreateRequest) { r.PayerMemberID = "" },
		"merchant without a name": func(r *providers.CreateRequest) { r.Merchant.Name = "" },
		"name of 61 characters":   func(r *providers.CreateRequest) { r.Merchant.Name = strings.Repeat("臺", 61) },
		"settlement":              func(r *providers.CreateRequest) { r.Settlement = "escrow" },
		"no lines":                func(r *providers.CreateRequest) { r.Lines = nil },
		"no methods":              func(r *providers.CreateRequest) { r.Methods = nil },
		"no end":                  func(r *providers.CreateRequest) { r.ExpiresAt = time.Time{} },
		"nothing to pay":          func(r *providers.CreateRequest) { r.Total = r.Total.Nothing() },
		"return URL":              func(r *providers.CreateRequest) { r.ReturnURL = "javascript:alert(1)" },
		"callback URL":            func(r *providers.CreateRequest) { r.CallbackURL = "https://gw.pay.taipei/cb?x=1" },
	} {
		t.Run(name, func(t *testing.T) {
			req := orderRequest(t)
			spoil(&req)
			created, err := adapter(t).Create(t.Context(), req)
			wantKind(t, name, err, providers.Invalid)
			if created.Redirect.URL != "" {
				t.Error("signed all the same")
			}
		})
	}
}

func TestCreateIsRepeatable(t *testing.T) {
	a := adapter(t)
	first, err := a.Create(t.Context(), orderRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	again, err := a.Create(t.Context(), orderRequest(t))
	if err != nil || first.Redirect.Fields["order"] != again.Redirect.Fields["order"] || first.Redirect.Fields["sig"] != again.Redirect.Fields["sig"] {
		t.Error("the same request gave other bytes", err)
	}
}

func TestNewNeedsEverything(t *testing.T) {
	config := bravobank.Config{
		Environment: providers.Demo, OrderURL: "http://127.0.0.1:8090/order", Signer: signer(t, "g", gatewaySeed),
		BankKeys: []signing.Ed25519Key{{ID: bankKid, Public: bankPublic()}},
	}
	deps := bravobank.Deps{Now: stampTime, Rand: &counter{}, HTTP: client(t, "http://127.0.0.1:1")}
	if _, err := bravobank.New(config, deps); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*bravobank.Config, *bravobank.Deps){
		"signer": func(c *bravobank.Config, _ *bravobank.Deps) { c.Signer = nil },
		"keys":   func(c *bravobank.Config, _ *bravobank.Deps) { c.BankKeys = nil },
		"clock":  func(_ *bravobank.Config, d *bravobank.Deps) { d.Now = nil },
		"rand":   func(_ *bravobank.Config, d *bravobank.Deps) { d.Rand = nil },
		"http":   func(_ *bravobank.Config, d *bravobank.Deps) { d.HTTP = nil },
	} {
		c, d := config, deps
		spoil(&c, &d)
		if _, err := bravobank.New(c, d); err == nil {
			t.Errorf("no %s: accepted", name)
		}
	}
}
