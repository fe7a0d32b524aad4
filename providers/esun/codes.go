package esun

import "pay.taipei/gateway/providers"

// meaningOf is the table of return codes: what a code makes of a payment whose transaction has it, and what may be done after
// a call that is answered with it. A code that the manuals do not list decides nothing, although they say that all others are
// declines (docs/divergences.md).
//
// Source: return codes V2.0.
func meaningOf(code string) (state providers.State, kind providers.Kind, known bool) {
	switch code {
	case "00": // approved
		return providers.Paid, providers.OutcomeUnknown, true
	case "GR": // the payer left the page
		return providers.Cancelled, providers.Declined, true
	case "V0", "V1", "GX", "GY", "GZ", "Z2", // 3-D Secure failed
		"01", "14", "54", "62", // call the bank, number, expired, not activated
		"L1", "L2", "L3", "L4", "L5", "L6", "L7", "X1", "X2", "X3", "X4", "X5", "X6", "X7", "X8", "X9",
		"XA", "XB", "XC", "XD", "XE", "XF", "N1", "GI", "GP": // rules of instalments and bonus points
		return providers.Failed, providers.Declined, true
	case "GF", // the state does not allow it
		"NR", "NV", "VA", "VD", "VT", "RA", "RD", "RP", "GB", "GC": // a cancellation or refund is refused
		return providers.Pending, providers.Declined, true
	case "GD", "GE": // order or detail not found
		return providers.Pending, providers.NotFound, true
	case "G6", "GH": // number used, submitted twice
		return providers.Pending, providers.Duplicate, true
	case "G5", "G8": // our address, our MAC
		return providers.Pending, providers.Auth, true
	case "PC", "G1", "GT", "G0", "GS", "V2": // processing, time-out, system
		return providers.Pending, providers.OutcomeUnknown, true
	}
	return providers.Pending, providers.OutcomeUnknown, false
}
