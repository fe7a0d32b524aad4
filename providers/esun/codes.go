package esun

import (
	"slices"
	"strings"

	"pay.taipei/gateway/providers"
)

// stateOf is the table of return codes for a payment: what a transaction with this code is. A code that is not listed decides
// nothing.
//
// Source: Index A, V2.0. Its last line, "all others: declined", is believed of the codes with which card issuers decline
// (ISO 8583, field 39), such as the 05 in the manual's sample; docs/divergences.md says why not of all.
func stateOf(code string) (s providers.State, known bool) {
	switch code {
	case "00": // approved
		return providers.Paid, true
	case "GR": // the payer left the page
		return providers.Cancelled, true
	case "V0", "V1", "GX", "GY", "GZ", "Z2", // 3-D Secure
		"GA", "GG", "GN", "TE", "TI", "QQ", "NT", "Z1", // card holder, refused, not the bank's card, token, debit card, UnionPay
		"L1", "L2", "L3", "L4", "L5", "L6", "L7", // instalments
		"X1", "X2", "X3", "X4", "X5", "X6", "X7", "X8", "X9", "XA", "XB", "XC", "XD", "XE", "XF", "N1", "G7", "GI", "GP", // bonus points
		"GJ", "GK", "GL", "GM", "GU", "GV", "GW", // travel dates, a parameter of the bank's own cards, pre-authorisation
		"01", "14", "54", "62", // ask the bank, card number, expired, not activated
		"03", "04", "05", "07", "12", "13", "15", "30", "33", "34", "36", "41", "43", "51", "52", "53", "55", "57", "58", "59", "61", "63", "65", "75", "78", "93":
		return providers.Failed, true
	case "PC", "G0", "G1", "G9", "GS", "GT", "V2", "ET", "UE", // processing, system, time-out, session, issuer, "ask the bank"
		"G2", "G3", "G4", "G5", "G6", "G8", "GD", "GE", "GF", "GH", "NM", "Z0", // about the call, not the payment
		"NR", "NV", "VA", "VD", "VT", "RA", "RD", "RP", "GB", "GC": // a cancellation or refund is refused
		return providers.Pending, true
	}
	return providers.Pending, false
}

// refusals are the codes that say of a call that it was not carried out, and why; of a query those alone are no answer.
func refusals() map[string]providers.Kind {
	return map[string]providers.Kind{
		"GD": providers.NotFound, "GE": providers.NotFound, // order, detail
		"G3": providers.Auth, "G4": providers.Auth, "G5": providers.Auth, "G8": providers.Auth, "NM": providers.Auth, // merchant, our address, our MAC
		"G2": providers.Invalid, "Z0": providers.Invalid, // format, URL
	}
}

// cancelKind is what a code means to a cancellation. Only a clear no is one: anything else may have been carried out.
func cancelKind(code string) providers.Kind {
	if kind, ok := refusals()[code]; ok {
		return kind
	}
	if slices.Contains(strings.Fields("GF NR NV VA VD VT RA RD RP GB GC"), code) {
		return providers.Declined
	}
	return providers.OutcomeUnknown
}
