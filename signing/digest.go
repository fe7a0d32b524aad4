package signing

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
)

// Digest is SHA-256 over a secret text, the text that is signed, and another secret text. Several providers in Taiwan use
// it in place of an HMAC. Which fields the text holds is the provider's choice: what is left out is not protected. Request
// and answer share the key, so a text that can be both is protected in neither direction.
//
// The hash is computed over one run of bytes: a text that could end with what the secret part begins with must be refused
// before it is signed. Make it with NewDigest; the zero value signs with nothing.
type Digest struct{ before, after Secret }

// NewDigest takes the secret texts, of which one may be empty. It refuses two empty ones, with which anybody could sign.
func NewDigest(before, after Secret) (*Digest, error) {
	if before.IsZero() && after.IsZero() {
		return nil, errors.New("signing: a digest without a secret is one that anybody can make; set the key")
	}
	return &Digest{before: before, after: after}, nil
}

// Sum is the 32-byte digest of t.
func (d *Digest) Sum(t Text) []byte {
	h := sha256.New()
	h.Write(d.before.raw())
	h.Write(t)
	h.Write(d.after.raw())
	return h.Sum(nil)
}

// Verify checks in constant time that tag is the digest of t. It returns ErrMismatch, also for a tag that is cut short. It
// does not check replay or any content of t.
func (d *Digest) Verify(t Text, tag []byte) error {
	if subtle.ConstantTimeCompare(d.Sum(t), tag) != 1 {
		return ErrMismatch
	}
	return nil
}
