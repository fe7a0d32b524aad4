package mpg

import (
	"cmp"
	"encoding/hex"
	"strings"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
	"pay.taipei/gateway/signing"
)

// Pair is a published key with its vector.
type Pair struct{ HashKey, HashIV string }

// Diagnose says with what else than it should a notice verifies.
func (e *Envelope) Diagnose(raw providers.RawCallback, published []Pair) []providers.Cause {
	form, err := wire.Form(cmp.Or(string(raw.Body), raw.RawQuery))
	if err != nil || form["TradeInfo"] == "" && form["TradeSha"] == "" {
		return nil
	}
	cause := func(code, why string) []providers.Cause { return []providers.Cause{{Code: code, Why: why}} }
	sealed, sum := form["TradeInfo"], form["TradeSha"]
	plain, opened := e.Open(sealed, sum)
	switch {
	case form["EncryptType"] == "1":
		return cause(providers.CauseEncryptType, "EncryptType is 1 (AES-GCM), which the gateway does not read: set the shop to AES-CBC")
	case sum == "":
		return cause(providers.CauseMissingSignature, "TradeSha is missing")
	case sealed == "":
		return cause(providers.CauseMissingField, "TradeInfo is missing")
	case len(sum) == 32:
		return cause(providers.CauseMD5, "TradeSha has 32 digits, as MD5 makes them; this interface uses SHA-256")
	case opened == nil && !strings.HasPrefix(string(plain), "{"):
		return cause(providers.CauseOurOwn, "it holds a form, as we seal orders and calls, and not the JSON of a notice: something that we sealed comes back to us")
	case opened == nil && sum != strings.ToUpper(sum):
		return cause(providers.CauseLetterCase, "TradeSha is in small letters; the document has capitals")
	case opened == nil:
		return nil
	}
	for _, other := range []string{strings.ToLower(sealed), strings.ToUpper(sealed)} {
		if _, err := e.Open(other, strings.ToUpper(sum)); err == nil && other != sealed {
			return cause(providers.CauseLetterCase, "the letters of TradeInfo were made small or capital on the way, and TradeSha covers them as they were")
		}
	}
	for _, p := range published {
		test, err := NewEnvelope(Keys{HashKey: signing.NewSecret([]byte(p.HashKey)), HashIV: signing.NewSecret([]byte(p.HashIV)), Pad: 16})
		if err != nil {
			continue
		}
		if _, err := test.Open(sealed, strings.ToUpper(sum)); err == nil {
			return cause(providers.CauseTestKey, "it is sealed with keys that the manual or a library prints: the other side is a test shop, or an SDK with its defaults")
		}
	}
	if b, err := hex.DecodeString(sealed); err != nil || len(b)%16 != 0 {
		return cause(providers.CauseTruncated, "TradeInfo is no whole number of blocks: it was cut on the way or when it was copied")
	}
	return nil
}
