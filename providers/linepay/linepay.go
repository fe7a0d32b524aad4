// Package linepay knows how LINE Pay's online API signs: what an integration needs to check the published examples. It holds
// no adapter yet, so no account can name it.
//
// Source: Online API v3, "Authentication".
package linepay

import (
	"encoding/base64"

	"pay.taipei/gateway/signing"
)

// requestText is what is signed of a request: path without host and query, then the body's bytes or the query string as they
// are sent. The secret is the key and stands in the text as well. Answers are not signed, and neither is the return.
func requestText(secret signing.Secret, path, payload, nonce string) signing.Text {
	return append(secret.Reveal(), path+payload+nonce...)
}

// VectorSchemes are the schemes of LINE Pay's test vectors, as "gateway vectors check" knows them.
func VectorSchemes() []signing.Scheme {
	return []signing.Scheme{{Name: "linepay", Inputs: []string{"secret", "path", "payload", "nonce"}, Make: func(in *signing.Inputs) (any, error) {
		secret := in.Secret("secret")
		key, err := signing.NewHMACKeys([]signing.HMACKey{{ID: "channel", Secret: secret}})
		if err != nil {
			return nil, err
		}
		_, tag := key.Sign(requestText(secret, in.Text("path"), in.Text("payload"), in.Text("nonce")))
		return base64.StdEncoding.EncodeToString(tag), nil
	}}}
}
