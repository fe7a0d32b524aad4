package newebpay

import "encoding/hex"

// Seal is what the double sends, padded to 16 bytes or to 32.
func Seal(key, iv, plain string, wide bool) (string, error) {
	k, err := newKeys(key, iv)
	if err != nil {
		return "", err
	}
	if wide {
		return hex.EncodeToString(k.wide.Seal([]byte(plain))), nil
	}
	return hex.EncodeToString(k.narrow.Seal([]byte(plain))), nil
}

// Opened is what the double reads of a shop's text.
func Opened(key, iv, sealed string) (plain string, ok bool) {
	k, err := newKeys(key, iv)
	if err != nil {
		return "", false
	}
	return k.open(sealed)
}

// Sums are the digests of one message by keys of any length.
func Sums(key, iv, sealed, amount, payee, number, trade string) (sha, value, code string, err error) {
	d, err := newDigests(key, iv)
	return d.tradeSha(sealed), d.checkValue(amount, payee, number), d.checkCode(amount, payee, number, trade), err
}
