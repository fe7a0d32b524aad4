package esun

import (
	"encoding/hex"
	"strings"

	"pay.taipei/gateway/signing"
)

// requestText is what is signed of a request, before the key: its JSON exactly as posted. The names of the form's fields
// and ksn are not under the signature.
func requestText(data string) signing.Text { return signing.Text(data) }

// returnText is what is signed of a browser's return, before the key: DATA as it reads when it is decoded, and a comma. So
// nothing that we sign, which is JSON, can come back as a return.
func returnText(data string) signing.Text { return signing.Text(data + ",") }

// form is a request's form.
func (a *Adapter) form(data []byte) map[string]string {
	return map[string]string{"data": string(data), "mac": hex.EncodeToString(a.mac.Sum(requestText(string(data)))), "ksn": "1"}
}

// verify holds a return's MACD, in hex of either case, against its DATA.
func (a *Adapter) verify(data, macd string) error {
	tag, err := hex.DecodeString(strings.ToLower(macd))
	if err != nil {
		return signing.ErrMismatch
	}
	return a.mac.Verify(returnText(data), tag)
}

// VectorSchemes are the bank's two digests.
func VectorSchemes() []signing.Scheme {
	of := func(name string, text func(string) signing.Text) signing.Scheme {
		return signing.Scheme{Name: name, Inputs: []string{"data", "mackey"}, Make: func(in *signing.Inputs) (any, error) {
			d, err := signing.NewDigest(signing.Secret{}, in.Secret("mackey"))
			if err != nil {
				return nil, err
			}
			return hex.EncodeToString(d.Sum(text(in.Text("data")))), nil
		}}
	}
	return []signing.Scheme{of("esun-mac", requestText), of("esun-macd", returnText)}
}
