package newebpay

import (
	"regexp"
	"time"

	"pay.taipei/gateway/providers"
)

// kindOf is the table of error codes. One that it does not list may mean anything.
//
// Source: chapter 6 and the code lists of chapters 4.2 to 4.6.
func kindOf(code string) (kind providers.Kind, after time.Duration) {
	switch code {
	case "TRA10021": // no such order
		return providers.NotFound, 0
	case "TRA10071", "TRA11002": // asked too much: four hours
		return providers.RateLimited, 4 * time.Hour
	case "TRA10702": // asked too much: an hour
		return providers.RateLimited, time.Hour
	case "MPG03004", "MPG03007", "TRA10054": // shop suspended, unknown, CheckValue wrong
		return providers.Auth, 0
	case "MPG01002", "MPG01012", "MPG01014", "MPG01015", "MPG02003", "MPG02004", "MPG02005", "MPG02010": // time, number, URL, amount, method, page, source, version
		return providers.Invalid, 0
	case "MPG03009", "MPG05003", // declined, kind of card
		"TRA10028", "TRA10036", "TRA10039", "TRA10050", "TRA10035", "TRA20028", // amount, state, nothing left to pay back
		"1101", "1102", "1103", "1104", "1105", "1106", "1107", "1108", "1109", "1110", "1111", "1112", "1113", "1114", "1115", "1116",
		"2100", "4101", "4102", "4103", "4104", "4105", "4106": // a wallet's refund is refused
		return providers.Declined, 0
	case "TRA10045", "TRA20027", // another refund is under way
		"TRA40014": // time
		return providers.Unavailable, 0
	case "MPG03008", "TRA10027", "TRA20004", "9000": // number used or digest wrong, done before, system
		return providers.OutcomeUnknown, 0
	}
	return providers.OutcomeUnknown, 0
}

// errorForm is how an error code looks: a notice with one, whichever, is about a payment that failed (chapter 4.1.3).
var errorForm = regexp.MustCompile(`^[A-Z]{3}[0-9]{5}$`)

// stateOf is the TradeStatus of a query, and the OrderStatus of delayed methods, where 9 waits for the bank.
func stateOf(status string) (s providers.State, known bool) {
	switch status {
	case "0", "9":
		return providers.Pending, true
	case "1", "6": // paid; paid and paid back
		return providers.Paid, true
	case "2":
		return providers.Failed, true
	case "3":
		return providers.Cancelled, true
	}
	return providers.Pending, false
}

// methodOf is the PaymentType of the methods that are offered.
func methodOf(paymentType string) string {
	switch paymentType {
	case "CREDIT":
		return "credit_card"
	case "WEBATM":
		return "webatm"
	}
	return ""
}
