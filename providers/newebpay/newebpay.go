// Package newebpay knows how 藍新金流 NewebPay signs and what its notices say: what an integration needs to check the
// published examples. It holds no adapter yet, so no account can name it.
//
// Source: MPG manual NDNF 1.1.9 (2025-07-22).
package newebpay

import (
	"errors"
	"strconv"

	"pay.taipei/gateway/providers/internal/mpg"
	"pay.taipei/gateway/providers/internal/wire"
	"pay.taipei/gateway/signing"
)

// VectorSchemes are the schemes of NewebPay's test vectors, as "gateway vectors check" knows them.
func VectorSchemes() []signing.Scheme {
	schemes := append(mpg.Schemes("newebpay"), mpg.RefusedScheme("newebpay"))
	schemes = append(schemes, mpg.FieldSchemes("newebpay")...)
	return append(schemes, signing.Scheme{
		Name: "newebpay-callback-body", Inputs: []string{"body", "merchant_id", "hash_key", "hash_iv"},
		Make: func(in *signing.Inputs) (any, error) {
			e, err := mpg.NewEnvelope(mpg.Keys{HashKey: in.Secret("hash_key"), HashIV: in.Secret("hash_iv"), Pad: 16})
			if err != nil {
				return nil, err
			}
			return readNotice(e, in.Text("merchant_id"), []byte(in.Text("body")))
		},
	})
}

// readNotice is what a notice says, for a vector. One that does not verify says nothing, and one of another merchant decides
// nothing.
func readNotice(e *mpg.Envelope, merchantID string, body []byte) (map[string]any, error) {
	form, err := wire.Form(string(body))
	if err != nil {
		return nil, err
	}
	if form["EncryptType"] == "1" { // AES-GCM, whose layout is published nowhere
		return map[string]any{"sha_valid": false, "outcome": "pending"}, nil
	}
	plain, err := e.Open(form["TradeInfo"], form["TradeSha"])
	if err != nil {
		return map[string]any{"sha_valid": false, "outcome": "pending"}, nil //nolint:nilerr // that it does not verify is the answer
	}
	r, err := mpg.ParseResult(plain)
	if err == nil && r.Fields["MerchantOrderNo"] == "" {
		err = errors.New("field MerchantOrderNo is missing")
	}
	if err != nil {
		return nil, err
	}
	said := map[string]any{
		"sha_valid": true, "status": r.Status, "merchant_order_no": r.Fields["MerchantOrderNo"],
		"trade_no": r.Fields["TradeNo"], "pay_time": r.Fields["PayTime"], "outcome": "pending",
	}
	if amount, err := strconv.ParseUint(r.Fields["Amt"], 10, 40); err == nil {
		said["amount"] = amount
	}
	if r.Fields["MerchantID"] == merchantID {
		said["outcome"] = outcome(r)
	}
	return said, nil
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
