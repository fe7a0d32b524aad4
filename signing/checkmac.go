package signing

import (
	"crypto/md5" //nolint:gosec // the providers that force it are named where it is chosen
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"hash"
	"strings"
)

// CheckMac is the keyed digest over fields that ECPay calls CheckMacValue: the fields sorted by name in any case, wrapped in two
// keys, written as .NET writes a URL, and digested. It is for concurrent use.
//
// All fields that are given lie under it. Their spelling does not: two texts of different fields may be one, so that names and
// values must be held to the letters that each may have before they are signed, and exactly once and in exact case when they
// are verified. The keys sign both ways: an order that we signed verifies as a message, unless fields tell the two apart.
type CheckMac struct {
	key, iv Secret
	hash    func() hash.Hash
}

// NewCheckMac makes one with SHA-256.
func NewCheckMac(key, iv Secret) (*CheckMac, error) {
	if key.IsZero() || iv.IsZero() {
		return nil, errors.New("signing: CheckMacValue needs HashKey and HashIV")
	}
	return &CheckMac{key: key, iv: iv, hash: sha256.New}, nil
}

// NewCheckMacMD5 makes one with MD5, for old interfaces whose provider has nothing else.
func NewCheckMacMD5(key, iv Secret) (*CheckMac, error) {
	c, err := NewCheckMac(key, iv)
	if err == nil {
		c.hash = md5.New
	}
	return c, err
}

// Sum is the digest of fields, in upper-case hex. CheckMacValue itself must not be among them.
func (c *CheckMac) Sum(fields []Field) string {
	text := "HashKey=" + string(c.key.Reveal()) + "&" + string(Recipe{SortBy: strings.ToLower}.Text(fields)) + "&HashIV=" + string(c.iv.Reveal())
	h := c.hash()
	h.Write([]byte(NetEncode(text)))
	return strings.ToUpper(hex.EncodeToString(h.Sum(nil)))
}

// Verify holds a digest against fields; its letters may be small.
func (c *CheckMac) Verify(fields []Field, sum string) error {
	if subtle.ConstantTimeCompare([]byte(c.Sum(fields)), []byte(strings.ToUpper(sum))) != 1 {
		return ErrMismatch
	}
	return nil
}

// NetEncode writes text as .NET's HttpUtility.UrlEncode does, all in small letters, those of the text too.
func NetEncode(s string) string {
	return netMarks.Replace(strings.ToLower(FormEncode(s)))
}

// netMarks are the marks that PHP escapes and .NET does not.
var netMarks = strings.NewReplacer("%21", "!", "%2a", "*", "%28", "(", "%29", ")")
