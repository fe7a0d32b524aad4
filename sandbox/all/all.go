// Package all is the list of providers' doubles: the one place that names them all.
package all

import (
	"pay.taipei/gateway/sandbox/esun"
	"pay.taipei/gateway/sandbox/internal/desk"
	"pay.taipei/gateway/sandbox/linepay"
	"pay.taipei/gateway/sandbox/newebpay"
	"pay.taipei/gateway/sandbox/sinopac"
)

// What a city needs of doubles.
type (
	Double  = desk.Double
	Place   = desk.Place
	Deps    = desk.Deps
	Running = desk.Running
	Faults  = desk.Faults
	Payment = desk.Payment
)

// Doubles are all of them, one line each. Bravo Bank, whose other side is a bank of its own, is not among them.
func Doubles() []Double {
	return []Double{
		esun.Double(),
		linepay.Double(),
		newebpay.Double(),
		sinopac.Double(),
	}
}
