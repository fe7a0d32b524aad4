package linepay

import "pay.taipei/gateway/providers"

// kindOf is the table of return codes, but those of a check. A code that it does not list may mean anything.
//
// Source: "return codes" of the online API v3.
func kindOf(code string) providers.Kind {
	switch code {
	case "1104", "1105", "1106": // merchant unknown, suspended, header wrong
		return providers.Auth
	case "1150": // no such transaction
		return providers.NotFound
	case "1101", "1102", "1110", "1141", "1142", "1154", "1170", // payer, card, account, balance
		"1163", "1164", // a refund too late, above what is left
		"1180", // expired
		"1280", "1281", "1282", "1283", "1284", "1285", "1286", "1287", "1288", "1289",
		"1290", "1291", "1292", "1293", "1294", "1295", "1296", "1297", "1298": // declined by the card's issuer
		return providers.Declined
	case "1124", "1153", "1155", "1159", "1177", "1178", "1183", "1184", "1190", "1193", "1194", "2101", "2102":
		return providers.Invalid
	case "1172": // the order number exists
		return providers.Duplicate
	case "1169", // the payer has to choose and to agree first
		"2042": // the merchant's reserve for refunds is too small
		return providers.Unavailable
	case "1145", "1152", "1165", "1179", "1197", "1198", "1199", "1999", "9000", // in progress, done before, busy, internal
		"1900", "1901", "1902", "1903", "1904", "1905", "1906", "1907", "1908", "1909": // for the moment
		return providers.OutcomeUnknown
	}
	return providers.OutcomeUnknown
}

// checked is what a check says of a request. A request that the payer left, or that was not confirmed in time, has one code.
func checked(code string, late bool) (s providers.Snapshot, known bool) {
	switch code {
	case "0000": // not agreed yet
		return providers.Snapshot{}, true
	case "0110": // agreed, waiting for confirm
		return providers.Snapshot{Next: providers.NextConfirm}, true
	case "0121":
		if late {
			return providers.Snapshot{State: providers.Expired}, true
		}
		return providers.Snapshot{State: providers.Cancelled}, true
	case "0122":
		return providers.Snapshot{State: providers.Failed}, true
	}
	return providers.Snapshot{}, false
}

// completed is a check's word for a payment whose amount the details tell.
const completed = "0123"

// stateOf is the payStatus of a payment's details.
func stateOf(status string) (s providers.State, known bool) {
	switch status {
	case "CAPTURE":
		return providers.Paid, true
	case "AUTHORIZATION":
		return providers.Pending, true
	case "VOIDED_AUTHORIZATION":
		return providers.Cancelled, true
	case "EXPIRED_AUTHORIZATION":
		return providers.Expired, true
	}
	return providers.Pending, false
}
