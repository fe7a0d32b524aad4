// Package signing holds keys and the few primitives that use them: Ed25519,
// HMAC-SHA256, the keyed [Digest] and the [CBC] envelope that providers demand,
// the [Recipe] of texts that are signed field by field, the Standard Webhooks
// 1.0.0 envelope, and a [Secret] that cannot print itself.
//
// Three rules hold everywhere in it.
//
//   - The bytes that are signed are a value of their own, a [Text], made by one
//     named function per scheme. Signer and verifier share that function, so
//     "which bytes?" has one answer that a test can pin.
//   - The algorithm belongs to the key and comes from configuration. A message
//     may name a key, never an algorithm.
//   - Every key set may hold several live keys, so keys are replaced without a
//     moment in which good messages are refused.
//
// A nil error from a Verify means only: someone who holds that key signed these
// bytes, and the key had not ended at the given time. Replay, amount, merchant
// and direction are not checked here; the caller binds the content to its own
// record. Nothing here reads a clock, a file, the network or randomness, and
// every type is safe for concurrent use once it is built.
package signing

import (
	"errors"
	"time"
)

// Text is the exact sequence of bytes that is signed. Build it in one named
// function per scheme and begin it with a label that names scheme, version and
// direction, so that bytes signed for one purpose never verify for another.
type Text []byte

// The reasons for which a Verify refuses. They are returned as they are or
// wrapped; match them with errors.Is. They never carry key or message bytes.
var (
	// ErrMismatch: the signature does not belong to these bytes and keys.
	ErrMismatch = errors.New("signing: the signature does not match")
	// ErrUnknownKey: the message names a key that is not configured here.
	ErrUnknownKey = errors.New("signing: the key id is not known")
	// ErrKeyExpired: the signature is genuine, but its key has ended.
	ErrKeyExpired = errors.New("signing: the key has expired")
	// ErrMalformed: a part of the envelope is missing or is not written in its
	// one canonical form, so no signature was looked at.
	ErrMalformed = errors.New("signing: the signed envelope is malformed")
	// ErrStale: the signing time is too far from now, on either side, so no
	// signature was looked at.
	ErrStale = errors.New("signing: the signing time is outside the tolerance")
)

// checkEnd returns ErrKeyExpired when now is after notAfter. The instant
// notAfter itself is still good; the zero time means no end.
func checkEnd(notAfter, now time.Time) error {
	if !notAfter.IsZero() && now.After(notAfter) {
		return ErrKeyExpired
	}
	return nil
}
