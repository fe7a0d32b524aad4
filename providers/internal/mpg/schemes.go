package mpg

import (
	"errors"
	"strconv"

	"pay.taipei/gateway/providers/internal/wire"
	"pay.taipei/gateway/signing"
)

// Schemes are the schemes of test vectors that the brands share, under the brand's name.
func Schemes(brand string) []signing.Scheme {
	return []signing.Scheme{
		{Name: brand + "-aes-encrypt", Inputs: []string{"plaintext", "hash_key", "hash_iv", "pad_block"}, Make: func(in *signing.Inputs) (any, error) {
			e, err := envelope(in, int(in.Number("pad_block")))
			if err != nil {
				return nil, err
			}
			return e.Seal([]byte(in.Text("plaintext"))), nil
		}},
		{Name: brand + "-aes-decrypt", Inputs: []string{"hex", "hash_key", "hash_iv"}, Make: func(in *signing.Inputs) (any, error) {
			plain, err := decrypt(in)
			return string(plain), err
		}},
		{Name: brand + "-sha", Inputs: []string{"hex", "hash_key", "hash_iv"}, Make: func(in *signing.Inputs) (any, error) {
			e, err := envelope(in, 16)
			if err != nil {
				return nil, err
			}
			return e.Sum(in.Text("hex")), nil
		}},
	}
}

// RefusedScheme is one of vectors that must not open: "error", or else what came out.
func RefusedScheme(brand string) signing.Scheme {
	return signing.Scheme{Name: brand + "-aes-decrypt-error", Inputs: []string{"hex", "hash_key", "hash_iv"}, Make: func(in *signing.Inputs) (any, error) {
		e, err := envelope(in, 16)
		if err != nil {
			return nil, err
		}
		plain, err := e.Decrypt(in.Text("hex"))
		if err != nil {
			return "error", nil //nolint:nilerr // the error is what the vector wants
		}
		return string(plain), nil
	}}
}

// FieldSchemes are those of digests over named fields.
func FieldSchemes(brand string) []signing.Scheme {
	of := func(name string, sum func(key, iv signing.Secret, fields map[string]string) (string, error)) signing.Scheme {
		return signing.Scheme{Name: brand + name, Inputs: []string{"params", "hash_key", "hash_iv"}, Make: func(in *signing.Inputs) (any, error) {
			return sum(in.Secret("hash_key"), in.Secret("hash_iv"), in.Object("params"))
		}}
	}
	return []signing.Scheme{of("-check-code", CheckCode), of("-check-value", CheckValue)}
}

func decrypt(in *signing.Inputs) ([]byte, error) {
	e, err := envelope(in, 16)
	if err != nil {
		return nil, err
	}
	return e.Decrypt(in.Text("hex"))
}

func envelope(in *signing.Inputs, pad int) (*Envelope, error) {
	return NewEnvelope(Keys{HashKey: in.Secret("hash_key"), HashIV: in.Secret("hash_iv"), Pad: pad})
}

// NoticeScheme is the brand's scheme of a whole notice; outcome gives its word.
func NoticeScheme(brand string, pad int, outcome func(Result) string) signing.Scheme {
	return signing.Scheme{
		Name: brand + "-callback-body", Inputs: []string{"body", "merchant_id", "hash_key", "hash_iv"},
		Make: func(in *signing.Inputs) (any, error) {
			e, err := envelope(in, pad)
			if err != nil {
				return nil, err
			}
			return readNotice(e, in.Text("merchant_id"), []byte(in.Text("body")), outcome)
		},
	}
}

// readNotice is what a notice says, for a vector. One that does not verify says nothing, and one of another merchant decides
// nothing.
func readNotice(e *Envelope, merchantID string, body []byte, outcome func(Result) string) (map[string]any, error) {
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
	r, err := ParseResult(plain)
	if err == nil && r.Status == "SUCCESS" && r.Fields["MerchantOrderNo"] == "" {
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
