// Package mpg is what the brands of the NewebPay family have in common: an envelope of AES-256-CBC in hex with a keyed
// digest over that hex, and digests over a few named fields.
//
// Source: NewebPay NDNF 1.1.9 (2025-07-22), chapters 4.1 and 4.3; ezPay E-wallet 1.0.2. Vectors are in the brands' testdata.
package mpg

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"pay.taipei/gateway/signing"
)

// Keys are a shop's HashKey and HashIV, and the block to which the brand pads: 16 or 32.
type Keys struct {
	HashKey, HashIV signing.Secret
	Pad             int
}

// Envelope seals and opens the brand's encrypted field. It is safe for concurrent use.
type Envelope struct {
	cbc *signing.CBC
	sha *signing.Digest
}

// NewEnvelope refuses keys of another length than the brand's: 32 and 16 bytes.
func NewEnvelope(k Keys) (*Envelope, error) {
	cbc, err := signing.NewCBC(k.HashKey, k.HashIV, k.Pad)
	if err != nil {
		return nil, fmt.Errorf("hash_key and hash_iv: %w", err)
	}
	sha, err := signing.NewDigest(around("HashKey=", k.HashKey, "&"), around("&HashIV=", k.HashIV, ""))
	if err != nil {
		return nil, err
	}
	return &Envelope{cbc: cbc, sha: sha}, nil
}

// Seal gives the encrypted field in lower-case hex (TradeInfo, PostData_).
func (e *Envelope) Seal(plain []byte) string { return hex.EncodeToString(e.cbc.Seal(plain)) }

// Sum is the digest that goes beside it, in upper-case hex (TradeSha, HashData_). It covers the sealed text as it is sent,
// and nothing of the form around it.
func (e *Envelope) Sum(sealed string) string { return upper(e.sha.Sum(signing.Text(sealed))) }

// ErrSealed is an envelope that is not the brand's: a wrong digest, a sealed text that cannot be opened. It tells no more,
// so that nobody can use us to try padding.
var ErrSealed = errors.New("the digest does not match the sealed text, or it cannot be opened")

// Open verifies the digest and then decrypts. That the message is new, and about whom, is for the caller to check: the same
// envelope verifies for ever, and so does one that we sealed ourselves.
func (e *Envelope) Open(sealed, sum string) ([]byte, error) {
	tag, err := hex.DecodeString(sum)
	if err != nil || e.sha.Verify(signing.Text(sealed), tag) != nil {
		return nil, ErrSealed
	}
	return e.Decrypt(sealed)
}

// Decrypt is Open without its proof, for the vectors.
func (e *Envelope) Decrypt(sealed string) ([]byte, error) {
	raw, err := hex.DecodeString(sealed)
	if err != nil {
		return nil, ErrSealed
	}
	plain, err := e.cbc.Open(raw)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

// CheckValue is the digest of a question to the provider, over its amount, merchant and order number and no more.
func CheckValue(hashKey, hashIV signing.Secret, fields map[string]string) (string, error) {
	return named(around("IV=", hashIV, "&"), around("&Key=", hashKey, ""), fields, "Amt", "MerchantID", "MerchantOrderNo")
}

// CheckCode is the digest of the provider's answer, over the same and its trade number. The state of the payment is not
// under it: only TLS protects that.
func CheckCode(hashKey, hashIV signing.Secret, fields map[string]string) (string, error) {
	return named(around("HashIV=", hashIV, "&"), around("&HashKey=", hashKey, ""), fields, "Amt", "MerchantID", "MerchantOrderNo", "TradeNo")
}

func named(before, after signing.Secret, fields map[string]string, names ...string) (string, error) {
	d, err := signing.NewDigest(before, after)
	if err != nil {
		return "", err
	}
	list := make([]signing.Field, len(names))
	for i, name := range names {
		value, ok := fields[name]
		if !ok {
			return "", fmt.Errorf("field %s is missing", name)
		}
		list[i] = signing.Field{Name: name, Value: value}
	}
	return upper(d.Sum(signing.Recipe{SortBy: signing.Exact, Encode: signing.FormEncode}.Text(list))), nil
}

func around(before string, s signing.Secret, after string) signing.Secret {
	return signing.NewSecret([]byte(before + string(s.Reveal()) + after))
}

func upper(sum []byte) string { return strings.ToUpper(hex.EncodeToString(sum)) }
