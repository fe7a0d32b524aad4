package linepay

import "pay.taipei/gateway/providers"

// kindOf is the table of return codes, but those of a check. A code means to each operation what that operation's own table
// says; in another one's answer it may mean anything, and so does a code that no table lists.
//
// Source: "return codes" of each operation of the online API v3.
func kindOf(op providers.Op, code string) providers.Kind {
	switch code {
	case "1104", "1105", "1106": // merchant unknown, suspended, header wrong
		return providers.Auth
	case "1124", "1153", "1155", "1159", "1177", "1178", "1183", "1184", "1190", "1193", "1194", "2101", "2102":
		return providers.Invalid
	case "1150": // no such transaction
		return providers.NotFound
	case "1172": // the order number exists
		return providers.Duplicate
	}
	switch op {
	case providers.OpCreate:
		if declined[code] {
			return providers.Declined
		}
	case providers.OpConfirm:
		if declined[code] && code != temporary {
			return providers.Declined
		}
		if code == "1169" { // the payer has to choose and to agree first
			return providers.Unavailable
		}
	case providers.OpRefund:
		switch code {
		case "1101", "1102", "1163", "1164": // payer, too late, above what is left
			return providers.Declined
		case "2042": // the merchant's reserve for refunds is too small
			return providers.Unavailable
		}
	case providers.OpQuery, providers.OpCallback:
	}
	return providers.OutcomeUnknown // also in progress, done before, busy, internal, for the moment: 1145 1152 1165 1179 1197 1198 1199 190X 1999 9000
}

// temporary is a decline that may have been none.
const temporary = "1280"

// declined are the codes by which payer, card or account say no to a payment.
var declined = map[string]bool{
	"1101": true, "1102": true, "1110": true, "1141": true, "1142": true, "1154": true, "1170": true, "1180": true, temporary: true,
	"1281": true, "1282": true, "1283": true, "1284": true, "1285": true, "1286": true, "1287": true, "1288": true, "1289": true, "1290": true,
	"1291": true, "1292": true, "1293": true, "1294": true, "1295": true, "1296": true, "1297": true, "1298": true,
}

// open is what a check says of a request that may still be paid.
func open(code string) (s providers.Snapshot, known bool) {
	switch code {
	case "0000": // not agreed yet
		return providers.Snapshot{}, true
	case "0110": // agreed, waiting for confirm
		return providers.Snapshot{Next: providers.NextConfirm}, true
	}
	return providers.Snapshot{}, false
}

// ended is what a check says of a request that was not paid. One that the payer left, and one that was not confirmed in time,
// have one code.
func ended(code string, late bool) (s providers.Snapshot, known bool) {
	switch code {
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
