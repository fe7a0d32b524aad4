// Package cmv is the family of providers that sign fields with CheckMacValue: ECPay 綠界 and O'Pay 歐付寶.
package cmv

import "pay.taipei/gateway/signing"

// Schemes are the brand's two digests, and, as they belong to the family, how its texts are written.
func Schemes(brand string) []signing.Scheme {
	of := func(name string, with func(key, iv signing.Secret) (*signing.CheckMac, error)) signing.Scheme {
		return signing.Scheme{Name: brand + name, Inputs: []string{"params", "hash_key", "hash_iv"}, Make: func(in *signing.Inputs) (any, error) {
			c, err := with(in.Secret("hash_key"), in.Secret("hash_iv"))
			if err != nil {
				return nil, err
			}
			var fields []signing.Field
			for name, value := range in.Object("params") {
				if name != "CheckMacValue" {
					fields = append(fields, signing.Field{Name: name, Value: value})
				}
			}
			return c.Sum(fields), nil
		}}
	}
	return []signing.Scheme{of("-cmv-sha256", signing.NewCheckMac), of("-cmv-md5", signing.NewCheckMacMD5)}
}

// TextSchemes are how the family writes its texts.
func TextSchemes() []signing.Scheme {
	of := func(name string, encode func(string) string) signing.Scheme {
		return signing.Scheme{Name: name, Inputs: []string{"value"}, Make: func(in *signing.Inputs) (any, error) { return encode(in.Text("value")), nil }}
	}
	return []signing.Scheme{of("ecpay-net-urlencode", signing.NetEncode), of("php-urlencode", signing.FormEncode)}
}
