// Package all is the list of adapters: the one place that names them all.
package all

import (
	"fmt"
	"io"
	"slices"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/bravobank"
	"pay.taipei/gateway/providers/esun"
	"pay.taipei/gateway/providers/linepay"
	"pay.taipei/gateway/providers/newebpay"
	"pay.taipei/gateway/providers/sinopac"
	"pay.taipei/gateway/signing"
)

// Account is one set of credentials, as the configuration holds it.
type Account struct {
	Name        string
	Environment providers.Environment
	Decode      func(settings any) error // fills the adapter's own settings, strictly
}

// Deps are what adapters are made with.
type Deps struct {
	Now  func() time.Time
	Rand io.Reader
	// HTTP makes the client that may reach one origin, scheme://host[:port], and nothing else.
	HTTP func(origin string) (*httpx.Client, error)
}

// Names are the adapters that Open knows.
func Names() []string { return []string{bravobank.Name} }

// Schemes are the schemes of test vectors that are known: those of providers, and those that belong to no provider.
func Schemes() []signing.Scheme {
	return slices.Concat(
		signing.WebhookSchemes(), bravobank.VectorSchemes(), esun.VectorSchemes(), linepay.VectorSchemes(), newebpay.VectorSchemes(),
		sinopac.VectorSchemes(),
	)
}

// Open makes the adapter of an account. It connects to nothing.
func Open(adapter string, a Account, d Deps) (providers.Provider, error) {
	switch adapter {
	case bravobank.Name:
		var s bravobank.Settings
		if err := a.Decode(&s); err != nil {
			return nil, err
		}
		client, err := d.HTTP(s.Target())
		if err != nil {
			return nil, fmt.Errorf("account %s: api_url: %w", a.Name, err)
		}
		return bravobank.Open(bravobank.Account(a), bravobank.Deps{Now: d.Now, Rand: d.Rand, HTTP: client})
	default:
		return nil, fmt.Errorf("account %s: adapter %q is not known: want one of %v", a.Name, adapter, Names())
	}
}
