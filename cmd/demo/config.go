package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"text/template"

	"pay.taipei/gateway/configs"
)

const (
	account      = "bravobank-main"
	payeeParking = "1136549"
	payeeWater   = "1136550"
	// The second account at the bank, with member ids and keys of its own.
	second        = "bravobank-second"
	secondParking = "2136549"
	secondWater   = "2136550"
	nameParking   = "臺北市停車管理工程處"
	nameWater     = "臺北自來水事業處"
	orderKeyID    = "demo-gateway-1"
	bankKeyID     = "demo-bank-1"
)

// configuration is a gateway's configuration file, as an operator would write it.
var configuration = template.Must(template.New("demo").Parse(`environment: demo
listen: {api: "{{.API}}", edge: "{{.Edge}}", ops: "{{.Ops}}"}
public_url: http://{{.Edge}}
store: {{printf "%q" .Store}}
redis: embedded
clients:
  - id: core
    keys: [{id: {{.KeyID}}, sha256: {{.KeyDigest}}}]
    merchants: [pma, twd]
    return_prefixes: ["http://{{.Core}}"]
    webhook: {url: "http://{{.Core}}/webhooks", network: loopback, keys: ["{{.EventSigner}}"]}
merchants:
  - {code: pma, name: {{.NameParking}}, name_en: Parking Management and Development Office, payees: { {{.Account}}: "{{.PayeeParking}}", {{.Second}}: "{{.SecondParking}}"{{range .Doubles}}, {{.Name}}-main: "{{.Payees.pma}}"{{end}} }}
  - {code: twd, name: {{.NameWater}}, name_en: Taipei Water Department, payees: { {{.Account}}: "{{.PayeeWater}}", {{.Second}}: "{{.SecondWater}}"{{range .Doubles}}, {{.Name}}-main: "{{.Payees.twd}}"{{end}} }}
accounts:
  - name: {{.Account}}
    adapter: bravobank
    network: loopback
    query_before_paid: never
    settings:
      order_url: http://{{.Bank}}/order
      api_url: http://{{.Bank}}
      signing_key: {id: {{.OrderKeyID}}, seed: "{{.OrderSeed}}"}
      bank_keys: [{id: {{.BankKeyID}}, key: "{{.BankKey}}"}]
  - name: {{.Second}}
    adapter: bravobank
    network: loopback
    query_before_paid: never
    settings:
      order_url: http://{{.SecondBank}}/order
      api_url: http://{{.SecondBank}}
      signing_key: {id: {{.OrderKeyID}}, seed: "{{.SecondOrderSeed}}"}
      bank_keys: [{id: {{.BankKeyID}}, key: "{{.SecondBankKey}}"}]
{{range .Doubles}}  - name: {{.Name}}-main
    adapter: {{.Name}}
    network: loopback
    settings: {{.Settings}}
{{end}}`))

// configure writes and parses the demo's configuration.
func configure(dir string, a addresses, k *keys, doubles []*double) (*configs.Config, error) {
	var b bytes.Buffer
	err := configuration.Execute(&b, map[string]any{"Doubles": doubles,
		"API": a.api, "Edge": a.edge, "Ops": a.ops, "Core": a.core, "Bank": a.bank,
		"Store": "sqlite:" + filepath.Join(dir, "gateway.db"), "KeyID": apiKeyID, "KeyDigest": k.apiDigest(), "EventSigner": k.eventSigner(),
		"Account": account, "NameParking": nameParking, "NameWater": nameWater, "PayeeParking": payeeParking, "PayeeWater": payeeWater,
		"OrderKeyID": orderKeyID, "OrderSeed": base64.RawURLEncoding.EncodeToString(k.GatewaySeed),
		"BankKeyID": bankKeyID, "BankKey": base64.RawURLEncoding.EncodeToString(public(k.BankSeed)),
		"Second": second, "SecondBank": a.second, "SecondParking": secondParking, "SecondWater": secondWater,
		"SecondOrderSeed": base64.RawURLEncoding.EncodeToString(k.SecondGatewaySeed),
		"SecondBankKey":   base64.RawURLEncoding.EncodeToString(public(k.SecondBankSeed)),
	})
	if err != nil {
		return nil, fmt.Errorf("demo: configuration: %w", err)
	}
	c, err := configs.Parse(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("demo: configuration: %w", err)
	}
	return c, nil
}
