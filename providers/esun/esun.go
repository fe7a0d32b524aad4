// Package esun knows how 玉山銀行 E.SUN Bank's card acquiring signs: what an integration needs to check the published
// examples. It holds no adapter yet, so no account can name it.
//
// Source: ACQ manuals V2.0 (2016): type 4, query, cancel.
package esun

import (
	"encoding/hex"

	"pay.taipei/gateway/signing"
)

// requestText is what is signed of a request: the JSON text exactly as it is posted, the order of its members too.
func requestText(data string) signing.Text { return signing.Text(data) }

// returnText is what is signed of the browser's return: DATA decoded, before it is split, and one comma more. The amount is
// not in it.
func returnText(data string) signing.Text { return signing.Text(data + ",") }

// VectorSchemes are the schemes of the bank's test vectors, as "gateway vectors check" knows them.
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
