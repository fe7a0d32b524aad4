package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"
)

// HMACKey is one shared secret.
type HMACKey struct {
	ID     string
	Secret Secret
	// NotAfter is the last instant at which the key is accepted; zero: no end.
	NotAfter time.Time
}

// HMACKeys signs and verifies with HMAC-SHA256 (RFC 2104) under several live
// keys. Make it with NewHMACKeys; the zero value knows no key and cannot sign. It is for
// providers that share a secret with us; so far only the scripted one of the kit does.
type HMACKeys struct{ keys []HMACKey }

// NewHMACKeys takes the keys newest first. It refuses an empty set, empty or
// repeated ids and empty secrets. Whether a secret is long and random enough is
// not checked: some partners issue short ones.
func NewHMACKeys(keys []HMACKey) (*HMACKeys, error) {
	if len(keys) == 0 {
		return nil, errors.New("signing: no HMAC key is configured, so every message would be refused; add one")
	}
	seen := make(map[string]bool, len(keys))
	for i, k := range keys {
		switch {
		case k.ID == "":
			return nil, fmt.Errorf("signing: HMAC key %d has no id; ids say which key is in use, so give it one", i+1)
		case seen[k.ID]:
			return nil, fmt.Errorf("signing: two HMAC keys have the id %q; ids choose the key, so rename one", k.ID)
		case k.Secret.IsZero():
			return nil, fmt.Errorf("signing: the secret of HMAC key %q is empty, so anyone could sign; set it", k.ID)
		}
		seen[k.ID] = true
	}
	return &HMACKeys{keys: slices.Clone(keys)}, nil
}

// Sign returns the 32-byte tag of t under the newest key, and that key's id. It
// does not look at NotAfter.
func (h *HMACKeys) Sign(t Text) (keyID string, tag []byte) {
	newest := h.keys[0]
	return newest.ID, hmacTag(newest.Secret, t)
}

// Verify checks in constant time that tag belongs to t under the key named
// keyID. It returns ErrUnknownKey, ErrMismatch (also for an empty or shortened
// tag), or ErrKeyExpired for a genuine tag whose key ended before now. It does
// not check replay or any content of t.
func (h *HMACKeys) Verify(keyID string, t Text, tag []byte, now time.Time) error {
	i := slices.IndexFunc(h.keys, func(k HMACKey) bool { return k.ID == keyID })
	if i < 0 {
		return ErrUnknownKey
	}
	return h.keys[i].verify(t, tag, now)
}

// VerifyAny is Verify for schemes whose messages name no key: every key is
// tried, and the id of the one that fits is returned. When none fits it returns
// ErrMismatch, or ErrKeyExpired if only an ended one does.
func (h *HMACKeys) VerifyAny(t Text, tag []byte, now time.Time) (keyID string, err error) {
	err = ErrMismatch
	for _, k := range h.keys {
		switch e := k.verify(t, tag, now); {
		case e == nil:
			return k.ID, nil
		case errors.Is(e, ErrKeyExpired):
			err = e
		}
	}
	return "", err
}

func (k HMACKey) verify(t Text, tag []byte, now time.Time) error {
	// A tag cut short, down to nothing, must never count as equal, so the length
	// is settled before any byte is compared.
	if len(tag) != sha256.Size || !hmac.Equal(tag, hmacTag(k.Secret, t)) {
		return ErrMismatch
	}
	return checkEnd(k.NotAfter, now)
}

func hmacTag(key Secret, t Text) []byte {
	mac := hmac.New(sha256.New, key.raw())
	mac.Write(t)
	return mac.Sum(nil)
}
