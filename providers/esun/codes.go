package esun

import "pay.taipei/gateway/providers"

// meaningOf is the table of return codes: what a code makes of a payment whose transaction has it, and what may be done after
// a call that is answered with it.
//
// Source: Index A, V2.0. Its last line, "all others: declined", is believed of the two digits with which card issuers answer,
// such as the 05 in the manual's sample, but for those that decide nothing; other texts are not known (docs/divergences.md).
func meaningOf(code string) (state providers.State, kind providers.Kind, known bool) {
	switch code {
	case "00": // approved
		return providers.Paid, providers.OutcomeUnknown, true
	case "GR": // the payer left the page
		return providers.Cancelled, providers.Declined, true
	case "V0", "V1", "GX", "GY", "GZ", "Z2", // 3-D Secure
		"GA", "GG", "GN", "TE", "TI", "QQ", "NT", "Z1", // card holder, refused, not the bank's card, token, debit card, UnionPay
		"L1", "L2", "L3", "L4", "L5", "L6", "L7", // instalments
		"X1", "X2", "X3", "X4", "X5", "X6", "X7", "X8", "X9", "XA", "XB", "XC", "XD", "XE", "XF", "N1", "G7", "GI", "GP", // bonus points
		"GJ", "GK", "GL", "GM", "GU", "GV", "GW": // travel dates, a parameter of the bank's own cards, pre-authorisation
		return providers.Failed, providers.Declined, true
	case "GF", // the state does not allow it
		"NR", "NV", "VA", "VD", "VT", "RA", "RD", "RP", "GB", "GC": // a cancellation or refund is refused
		return providers.Pending, providers.Declined, true
	case "GD", "GE": // order or detail not found
		return providers.Pending, providers.NotFound, true
	case "G6", "GH": // number used, submitted twice
		return providers.Pending, providers.Duplicate, true
	case "G3", "G4", "G5", "G8", "NM": // merchant not in use or not set up for it, our address, our MAC
		return providers.Pending, providers.Auth, true
	case "G2", "Z0": // format, URL
		return providers.Pending, providers.Invalid, true
	case "PC", "G0", "G1", "G9", "GS", "GT", "V2", "ET", "UE", // processing, system, time-out, session, issuer, "ask the bank"
		"09", "68": // in progress and answered too late, as issuers say it
		return providers.Pending, providers.OutcomeUnknown, true
	}
	if len(code) == 2 && digit(code[0]) && digit(code[1]) {
		return providers.Failed, providers.Declined, true
	}
	return providers.Pending, providers.OutcomeUnknown, false
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
