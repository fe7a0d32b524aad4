package sinopac

import (
	"encoding/json"

	"pay.taipei/gateway/signing"
)

// VectorSchemes are the schemes of the bank's test vectors, as "gateway vectors check" knows them.
func VectorSchemes() []signing.Scheme {
	return []signing.Scheme{
		{Name: "sinopac-hash-id", Inputs: []string{"a1", "a2", "b1", "b2"}, Make: func(in *signing.Inputs) (any, error) {
			id, err := hashID(in.Secret("a1"), in.Secret("a2"), in.Secret("b1"), in.Secret("b2"))
			return string(id.Reveal()), err
		}},
		{Name: "sinopac-iv", Inputs: []string{"nonce"}, Make: func(in *signing.Inputs) (any, error) { return ivOf(in.Text("nonce")), nil }},
		{Name: "sinopac-sign", Inputs: []string{"text", "nonce", "hash_id"}, Make: func(in *signing.Inputs) (any, error) {
			return sign(signing.Text(in.Text("text")), in.Text("nonce"), in.Secret("hash_id"))
		}},
		{Name: "sinopac-decrypt", Inputs: []string{"message_hex", "nonce", "hash_id"}, Make: func(in *signing.Inputs) (any, error) {
			plain, err := open(in.Text("message_hex"), in.Text("nonce"), in.Secret("hash_id"))
			return string(plain), err
		}},
		{Name: "sinopac-response", Inputs: []string{"message_hex", "nonce", "hash_id", "sign"}, Make: readResponse},
	}
}

// readResponse is what an answer holds, and whether its signature is right. What cannot be opened is not valid.
func readResponse(in *signing.Inputs) (any, error) {
	plain, valid, err := verified(in.Text("message_hex"), in.Text("sign"), in.Text("nonce"), in.Secret("hash_id"))
	if err != nil {
		return map[string]any{"valid": false}, nil //nolint:nilerr // that it cannot be opened is the answer
	}
	return map[string]any{"valid": valid, "fields": json.RawMessage(plain)}, nil
}
