package esun

import (
	"encoding/hex"
	"slices"
	"strings"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
	"pay.taipei/gateway/signing"
)

// Diagnose says with what else than it should a return verifies.
func (a *Adapter) Diagnose(raw providers.RawCallback) []providers.Cause {
	query, err := wire.Form(raw.RawQuery)
	if err != nil || query["DATA"] == "" {
		return nil
	}
	data, macd := query["DATA"], query["MACD"]
	tag, err := hex.DecodeString(strings.ToLower(macd))
	cause := func(code, why string) []providers.Cause { return []providers.Cause{{Code: code, Why: why}} }
	switch {
	case macd == "":
		return cause(providers.CauseMissingSignature, "MACD is missing: the bank leaves it out after some failures, else something on the way has dropped it; the gateway asks the bank")
	case err != nil:
		return cause(providers.CauseTruncated, "MACD is no hex text of 64 digits: it was cut or changed on the way")
	case len(tag) == 16:
		return cause(providers.CauseMD5, "MACD has 32 digits, as MD5 makes them; this interface uses SHA-256")
	case a.mac.Verify(returnText(data), tag) == nil:
		return nil
	case a.mac.Verify(requestText(data), tag) == nil:
		return cause(providers.CauseOurOwn, "it is signed as a request of ours: a form that we signed comes back to us")
	}
	for _, key := range published {
		if d, err := signing.NewDigest(signing.Secret{}, signing.NewSecret([]byte(key))); err == nil && d.Verify(returnText(data), tag) == nil {
			return cause(providers.CauseTestKey, "it is signed with the key that the bank's manual prints: the other side is a test environment")
		}
	}
	for _, other := range []string{strings.ToUpper(data), strings.ToLower(data)} {
		if a.mac.Verify(returnText(other), tag) == nil {
			return cause(providers.CauseLetterCase, "the letters of DATA were made small or capital on the way")
		}
	}
	members := strings.Split(data, ",")
	if len(members) > 40 {
		return nil
	}
	place := func(member string) int {
		name, _, _ := strings.Cut(member, "=")
		return slices.Index(returned(), name)
	}
	sorted := slices.Clone(members)
	slices.SortStableFunc(sorted, func(x, y string) int { return place(x) - place(y) })
	if a.mac.Verify(returnText(strings.Join(sorted, ",")), tag) == nil {
		return cause(providers.CauseReordered, "the members of DATA stand in another order than when they were signed: something on the way sorts them")
	}
	for i := range members {
		if a.mac.Verify(returnText(strings.Join(slices.Delete(slices.Clone(members), i, i+1), ",")), tag) == nil {
			return cause(providers.CauseExtraField, "a member was added to DATA that was not there when it was signed")
		}
	}
	return nil
}
