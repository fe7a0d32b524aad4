package newebpay

import (
	"pay.taipei/gateway/providers/internal/mpg"
	"pay.taipei/gateway/signing"
)

// VectorSchemes are the schemes of NewebPay's test vectors, as "gateway vectors check" knows them.
func VectorSchemes() []signing.Scheme {
	schemes := append(mpg.Schemes("newebpay"), mpg.RefusedScheme("newebpay"), mpg.NoticeScheme("newebpay", 16, outcome))
	return append(schemes, mpg.FieldSchemes("newebpay")...)
}

// simulated is the message of a payment that the console of a test shop made up (chapter 4.1): no money moved.
const simulated = "模擬付款成功"

// outcome is chapter 4.1: a code that was handed out (ATM, store) has no time of payment yet.
func outcome(r mpg.Result) string {
	switch {
	case r.Status != "SUCCESS":
		return "failed"
	case r.Fields["PayTime"] == "" && r.Fields["ExpireDate"] != "":
		return "pending"
	case r.Message == simulated:
		return "test"
	}
	return "succeeded"
}
