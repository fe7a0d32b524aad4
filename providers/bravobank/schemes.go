package bravobank

import (
	"encoding/base64"
	"errors"
	"strconv"

	"pay.taipei/gateway/signing"
)

// VectorSchemes are the schemes of chapter 11 of the bank's document, as "gateway vectors check" knows them.
func VectorSchemes() []signing.Scheme {
	message := func(name, label string) signing.Scheme {
		return signing.Scheme{Name: name, Inputs: []string{"seed", "kid", "timestamp", "nonce", "path", "body"}, Make: func(in *signing.Inputs) (any, error) {
			return signed(in, messageText(label, in.Text("kid"), in.Text("timestamp"), in.Text("nonce"), in.Text("path"), []byte(in.Text("body"))))
		}}
	}
	answer := func(name, label string) signing.Scheme {
		return signing.Scheme{Name: name, Inputs: []string{"seed", "kid", "timestamp", "nonce", "path", "status", "body"}, Make: func(in *signing.Inputs) (any, error) {
			status, err := strconv.Atoi(in.Text("status"))
			if err != nil {
				return nil, errors.New("inputs.status: want a number")
			}
			return signed(in, answerText(label, in.Text("kid"), in.Text("timestamp"), in.Text("nonce"), in.Text("path"), status, []byte(in.Text("body"))))
		}}
	}
	return []signing.Scheme{
		{Name: "bravobank-order", Inputs: []string{"seed", "kid", "json"}, Make: func(in *signing.Inputs) (any, error) {
			order := encode([]byte(in.Text("json")))
			key, err := vectorKey(in)
			if err != nil {
				return nil, err
			}
			return map[string]string{"order": order, "kid": key.KeyID(), "sig": encode(key.Sign(orderText(order)))}, nil
		}},
		message("bravobank-notice", labelNotice), message("bravobank-query", labelQuery), message("bravobank-refund", labelRefund),
		answer("bravobank-query-answer", labelQueryAnswer), answer("bravobank-refund-answer", labelRefundAnswer),
	}
}

func signed(in *signing.Inputs, text signing.Text) (any, error) {
	key, err := vectorKey(in)
	if err != nil {
		return nil, err
	}
	return map[string]string{"text": string(text), "signature": encode(key.Sign(text))}, nil
}

func vectorKey(in *signing.Inputs) (*signing.Ed25519Signer, error) {
	seed, err := base64.RawURLEncoding.Strict().DecodeString(in.Text("seed"))
	if err != nil {
		return nil, errors.New("inputs.seed: want base64url")
	}
	return signing.NewEd25519Signer(in.Text("kid"), signing.NewSecret(seed))
}
