package signing

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"
)

// Ed25519Signer signs with one Ed25519 private key (RFC 8032, pure mode). Make
// it with NewEd25519Signer; the zero value cannot sign.
type Ed25519Signer struct {
	id  string
	key Secret // seed followed by public key, as crypto/ed25519 wants it
}

// NewEd25519Signer makes a signer from the 32-byte seed of a private key. It
// refuses an empty keyID and a seed of another length.
func NewEd25519Signer(keyID string, seed Secret) (*Ed25519Signer, error) {
	if keyID == "" {
		return nil, errors.New("signing: an Ed25519 signer needs a key id, so that the receiver can pick the public key; name the key")
	}
	key, err := ed25519FromSeed(seed.raw())
	if err != nil {
		return nil, fmt.Errorf("signing: Ed25519 key %q: %w", keyID, err)
	}
	return &Ed25519Signer{id: keyID, key: key}, nil
}

// KeyID returns the id that tells the receiver which public key to use.
func (s *Ed25519Signer) KeyID() string { return s.id }

// Sign returns the 64-byte signature of t. The same key and text always give
// the same bytes, so a signed order can be built again.
func (s *Ed25519Signer) Sign(t Text) []byte { return ed25519.Sign(s.key.raw(), t) }

// PublicKey returns a copy of the 32-byte public key.
func (s *Ed25519Signer) PublicKey() []byte { return ed25519Public(s.key) }

// Ed25519Key is a public key that may be believed.
type Ed25519Key struct {
	ID     string
	Public []byte // 32 bytes
	// NotAfter is the last instant at which the key is accepted; zero: no end.
	NotAfter time.Time
}

// Ed25519Keys is a set of public keys found by id. Make it with
// NewEd25519Keys; the zero value knows no key.
type Ed25519Keys struct{ byID map[string]Ed25519Key }

// NewEd25519Keys refuses an empty set, empty or repeated ids, and public keys
// that are not 32 bytes long or under which a signature can be forged. That a
// key belongs to the expected partner is for the configuration's author to know.
func NewEd25519Keys(keys []Ed25519Key) (*Ed25519Keys, error) {
	if len(keys) == 0 {
		return nil, errors.New("signing: no Ed25519 public key is configured, so every message would be refused; add one")
	}
	byID := make(map[string]Ed25519Key, len(keys))
	for i, k := range keys {
		if k.ID == "" {
			return nil, fmt.Errorf("signing: Ed25519 public key %d has no id; messages name their key, so give it one", i+1)
		}
		if _, taken := byID[k.ID]; taken {
			return nil, fmt.Errorf("signing: two Ed25519 public keys have the id %q; ids choose the key, so rename one", k.ID)
		}
		if err := checkEd25519Public(k.Public); err != nil {
			return nil, fmt.Errorf("signing: Ed25519 public key %q: %w", k.ID, err)
		}
		k.Public = bytes.Clone(k.Public)
		byID[k.ID] = k
	}
	return &Ed25519Keys{byID: byID}, nil
}

// Verify checks that sig is the signature of t under the key named keyID. It
// returns ErrUnknownKey, ErrMismatch, or ErrKeyExpired for a genuine signature
// whose key ended before now. It does not check replay or any content of t.
func (k *Ed25519Keys) Verify(keyID string, t Text, sig []byte, now time.Time) error {
	key, known := k.byID[keyID]
	if !known {
		return ErrUnknownKey
	}
	if !ed25519.Verify(key.Public, t, sig) {
		return ErrMismatch
	}
	return checkEnd(key.NotAfter, now)
}

func ed25519FromSeed(seed []byte) (Secret, error) {
	if len(seed) != ed25519.SeedSize {
		return Secret{}, fmt.Errorf("the private key must be a seed of 32 bytes, this one has %d; check how it is encoded", len(seed))
	}
	return NewSecret(ed25519.NewKeyFromSeed(seed)), nil
}

func ed25519Public(key Secret) []byte {
	return bytes.Clone(key.raw()[ed25519.SeedSize:])
}

// checkEd25519Public refuses keys of small order, such as 32 zero bytes left in
// a template: RFC 8032 verification accepts, under them, a signature that nobody
// made. The probe is that very forgery (R the neutral point, S zero): it fits about
// one message in eight, or more, under such a key and none under a real one.
func checkEd25519Public(public []byte) error {
	if len(public) != ed25519.PublicKeySize {
		return fmt.Errorf("a public key has 32 bytes, this one has %d; check how it is encoded", len(public))
	}
	forged := make([]byte, ed25519.SignatureSize)
	forged[0] = 1
	for i := range 32 {
		if ed25519.Verify(public, []byte{byte(i)}, forged) {
			return errors.New("this is not a real public key: anyone can sign for it; ask its owner for the right one")
		}
	}
	return nil
}

// VerifyAny tells which key made sig, whatever the message says; the error is ErrMismatch when none did. It is for finding out
// what went wrong: a message that names its key must be verified under that key alone.
func (k *Ed25519Keys) VerifyAny(t Text, sig []byte) (keyID string, err error) {
	for id, key := range k.byID {
		if ed25519.Verify(key.Public, t, sig) {
			return id, nil
		}
	}
	return "", ErrMismatch
}
