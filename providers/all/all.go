// Package all is the list of adapters: the one place that names them all.
package all

import (
	"fmt"
	"slices"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/bravobank"
	"pay.taipei/gateway/providers/esun"
	"pay.taipei/gateway/providers/internal/account"
	"pay.taipei/gateway/providers/internal/cmv"
	"pay.taipei/gateway/providers/linepay"
	"pay.taipei/gateway/providers/newebpay"
	"pay.taipei/gateway/providers/sinopac"
	"pay.taipei/gateway/signing"
)

// Account is one set of credentials, as the configuration holds it.
type Account = account.Account

// Deps are what adapters are made with.
type Deps = account.Deps

// adapter is one that can be opened. Its package offers both functions.
type adapter struct {
	name    string
	open    func(Account, Deps) (providers.Provider, error)
	schemes func() []signing.Scheme
}

// adapters are all of them, one line each.
func adapters() []adapter {
	return []adapter{
		{bravobank.Name, bravobank.Open, bravobank.VectorSchemes},
		{esun.Name, esun.Open, esun.VectorSchemes},
		{linepay.Name, linepay.Open, linepay.VectorSchemes},
		{newebpay.Name, newebpay.Open, newebpay.VectorSchemes},
		{sinopac.Name, sinopac.Open, sinopac.VectorSchemes},
	}
}

// Names are the adapters that Open knows.
func Names() []string {
	var names []string
	for _, a := range adapters() {
		names = append(names, a.name)
	}
	return names
}

// Schemes are the schemes of test vectors that are known: those of providers, of brands of a family that have no adapter yet,
// and those that belong to no provider.
func Schemes() []signing.Scheme {
	schemes := slices.Concat(signing.WebhookSchemes(), cmv.Schemes("ecpay"), cmv.Schemes("opay"), cmv.TextSchemes())
	for _, a := range adapters() {
		schemes = append(schemes, a.schemes()...)
	}
	return schemes
}

// Open makes the adapter of an account. It connects to nothing.
func Open(name string, a Account, d Deps) (providers.Provider, error) {
	for _, one := range adapters() {
		if one.name == name {
			return one.open(a, d)
		}
	}
	return nil, fmt.Errorf("account %s: adapter %q is not known: want one of %v", a.Name, name, Names())
}
