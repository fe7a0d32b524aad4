package signing

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Secret holds secret bytes and refuses to show them: every way of formatting,
// encoding or logging it yields "[redacted]". Only Reveal gives the bytes.
//
// The bytes sit behind two pointers because fmt cannot call methods on an
// unexported field and prints it by reflection. One pointer is not enough: for a
// verb that does not fit pointers, such as %s, fmt reports the bad verb by
// printing the pointer anew and follows it one step, into the bytes. Programs
// that dereference at will through reflection (go-spew) are not stopped.
//
// The zero value is an empty secret. Comparing with == compares addresses, not
// content.
type Secret struct{ hidden **[]byte }

// NewSecret copies b into a Secret. An empty b gives the zero Secret.
func NewSecret(b []byte) Secret {
	if len(b) == 0 {
		return Secret{}
	}
	b = bytes.Clone(b)
	p := &b
	return Secret{&p}
}

// Reveal returns a copy of the bytes, nil for the zero Secret. Use it where the
// bytes are needed and let the copy go out of scope there.
func (s Secret) Reveal() []byte { return bytes.Clone(s.raw()) }

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.hidden == nil }

// Fingerprint returns the first 8 hex digits of the SHA-256 of the bytes, to
// recognise a key without holding it; "" for the zero Secret. Show it for random keys
// only: it lets an attacker test guesses at a password.
func (s Secret) Fingerprint() string {
	if s.IsZero() {
		return ""
	}
	sum := sha256.Sum256(s.raw())
	return hex.EncodeToString(sum[:4])
}

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// GoString returns "[redacted]".
func (s Secret) GoString() string { return redacted }

// Format writes "[redacted]" whatever the verb and flags: without it %d and %x
// would walk into the struct.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns "[redacted]". A Secret therefore does not survive being
// written and read back, on purpose.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns the JSON string "[redacted]".
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// raw returns the bytes without a copy, for use inside this package only.
func (s Secret) raw() []byte {
	if s.hidden == nil {
		return nil
	}
	return **s.hidden
}
