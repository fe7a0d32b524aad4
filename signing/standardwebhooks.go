package signing

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Source for this file: Standard Webhooks 1.0.0,
// https://github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md,
// at commit b2fa7b8.

const (
	prefixShared  = "whsec_"
	prefixPrivate = "whsk_"
	prefixPublic  = "whpk_"

	versionHMAC    = "v1"
	versionEd25519 = "v1a"

	// webhookTolerance is in seconds, the same in both directions.
	webhookTolerance = 300

	// webhookMaxEntries bounds the work that a stranger's header can cause. A
	// sender in the middle of a rotation writes two to four entries.
	webhookMaxEntries = 16
)

// WebhookSigner is one key that signs deliveries. Make it with
// ParseWebhookSigner.
type WebhookSigner struct {
	version string
	key     Secret
}

// ParseWebhookSigner reads a signing key as it is handed out: "whsec_" and
// standard Base64 of 24 to 64 bytes (v1, HMAC-SHA256), or "whsk_" and Base64 of
// the 32-byte seed followed by its 32-byte public key (v1a, Ed25519). A public
// half that does not belong to the seed is refused: receivers would be given a
// key that never verifies. Errors never repeat the key.
func ParseWebhookSigner(secret string) (*WebhookSigner, error) {
	switch {
	case strings.HasPrefix(secret, prefixShared):
		key, err := parseShared(secret)
		if err != nil {
			return nil, err
		}
		return &WebhookSigner{versionHMAC, key}, nil
	case strings.HasPrefix(secret, prefixPrivate):
		key, err := parsePrivate(secret)
		if err != nil {
			return nil, err
		}
		return &WebhookSigner{versionEd25519, key}, nil
	case strings.HasPrefix(secret, prefixPublic):
		return nil, errors.New("signing: a whpk_ key is public and cannot sign; configure the whsk_ key it belongs to")
	}
	return nil, errors.New("signing: a webhook signing key begins with whsec_ (shared) or whsk_ (private); check that it was copied whole")
}

// PublicKey returns the "whpk_…" text for receivers of a v1a signer, and "" for
// a v1 signer, which has nothing to publish.
func (w *WebhookSigner) PublicKey() string {
	if w.version != versionEd25519 {
		return ""
	}
	return prefixPublic + base64.StdEncoding.EncodeToString(ed25519Public(w.key))
}

// Published reports whether everybody knows the key, because it is an example in public
// documents or in this package's testdata: what it signs proves nothing. It knows the
// usual examples only.
func (w *WebhookSigner) Published() bool {
	switch w.key.Fingerprint() {
	case "f74e1720", // whsec_MfKQ…, reference libraries of Standard Webhooks, TestWebhookSign
		"640bcf02",             // whsec_C2FV…, Svix, documentation of the endpoint secret
		"88fb6de7",             // whsk_6Xb/…, Svix, test_asymmetric_key_signing
		"fdeab9ac", "1d64add2": // whsec_AAEC…, testdata/standardwebhooks.json
		return true
	}
	return false
}

func (w *WebhookSigner) sign(t Text) string {
	if w.version == versionEd25519 {
		return base64.StdEncoding.EncodeToString(ed25519.Sign(w.key.raw(), t))
	}
	return base64.StdEncoding.EncodeToString(hmacTag(w.key, t))
}

// SignWebhook returns the value of the webhook-signature header: one entry per
// signer, in the given order, newest first by custom. The id is the event's and
// stays the same when a delivery is repeated; timestamp is the time of this
// attempt, cut to whole seconds, and goes into webhook-timestamp as decimal Unix
// seconds; body is exactly what is sent.
//
// It refuses an empty list of signers, a time before 1970, and an id that is
// empty or holds anything but visible ASCII without the full stop, because the
// full stop separates the parts of the signed text.
func SignWebhook(signers []*WebhookSigner, id string, timestamp time.Time, body []byte) (string, error) {
	if len(signers) == 0 {
		return "", errors.New("signing: no webhook signing key, and an unsigned delivery must not be sent; configure one")
	}
	if !validWebhookID(id) {
		return "", fmt.Errorf("signing: the webhook id %q must be visible ASCII without a full stop; choose another form of id", id)
	}
	if timestamp.Unix() < 0 {
		return "", errors.New("signing: the webhook timestamp is before 1970; pass the time of this attempt")
	}
	text := WebhookText(id, timestamp.Unix(), body)
	entries := make([]string, len(signers))
	for i, s := range signers {
		entries[i] = s.version + "," + s.sign(text)
	}
	return strings.Join(entries, " "), nil
}

// WebhookVerifier is one key that deliveries are checked with. Make it with
// ParseWebhookVerifier; the zero value accepts nothing.
type WebhookVerifier struct {
	version string
	secret  Secret            // v1
	public  ed25519.PublicKey // v1a
}

// ParseWebhookVerifier reads a "whsec_…" key (see ParseWebhookSigner) or a
// "whpk_…" key, Base64 of a 32-byte Ed25519 public key.
func ParseWebhookVerifier(key string) (*WebhookVerifier, error) {
	switch {
	case strings.HasPrefix(key, prefixShared):
		secret, err := parseShared(key)
		if err != nil {
			return nil, err
		}
		return &WebhookVerifier{version: versionHMAC, secret: secret}, nil
	case strings.HasPrefix(key, prefixPublic):
		public, err := parsePublic(key)
		if err != nil {
			return nil, err
		}
		return &WebhookVerifier{version: versionEd25519, public: public}, nil
	case strings.HasPrefix(key, prefixPrivate):
		return nil, errors.New("signing: a whsk_ key is private and belongs to the sender alone; configure the whpk_ key it belongs to")
	}
	return nil, errors.New("signing: a webhook verifying key begins with whsec_ (shared) or whpk_ (public); check that it was copied whole")
}

func (v *WebhookVerifier) accepts(t Text, signatures map[string][]string) bool {
	switch v.version {
	case versionHMAC:
		// Compared as Base64 text: decoding first would accept several spellings.
		want := []byte(base64.StdEncoding.EncodeToString(hmacTag(v.secret, t)))
		for _, got := range signatures[versionHMAC] {
			if hmac.Equal(want, []byte(got)) {
				return true
			}
		}
	case versionEd25519:
		for _, got := range signatures[versionEd25519] {
			if sig, ok := decodeBase64(got); ok && ed25519.Verify(v.public, t, sig) {
				return true
			}
		}
	}
	return false
}

// VerifyWebhook checks the three header values and the raw body of a delivery:
// some entry of header must be a good signature under some verifier. Entries of
// unknown version are passed over. It returns
//
//   - ErrMalformed when id, timestamp or header is missing or not in canonical
//     form, or when header has more than 16 entries;
//   - ErrStale when timestamp is more than 300 whole seconds from now, either way;
//   - ErrUnknownKey when verifiers is empty;
//   - ErrMismatch otherwise, never saying which entry failed.
//
// It does not check replay: the caller remembers id for longer than the
// tolerance. It does not look into body.
func VerifyWebhook(verifiers []*WebhookVerifier, id, timestamp, header string, body []byte, now time.Time) error {
	if len(verifiers) == 0 {
		return ErrUnknownKey
	}
	seconds, canonical := parseUnix(timestamp)
	signatures, ok := parseSignatures(header)
	if !canonical || !ok || !validWebhookID(id) {
		return ErrMalformed
	}
	// Moving now and not seconds: a foreign number near the end of int64 would wrap.
	if seconds < now.Unix()-webhookTolerance || seconds > now.Unix()+webhookTolerance {
		return ErrStale
	}
	text := WebhookText(id, seconds, body)
	for _, v := range verifiers {
		if v.accepts(text, signatures) {
			return nil
		}
	}
	return ErrMismatch
}

// WebhookText returns the bytes that a delivery signs: id, full stop, decimal
// Unix seconds, full stop, body.
func WebhookText(id string, unixSeconds int64, body []byte) Text {
	t := make(Text, 0, len(id)+len(body)+22)
	t = append(t, id...)
	t = append(t, '.')
	t = strconv.AppendInt(t, unixSeconds, 10)
	t = append(t, '.')
	return append(t, body...)
}

func validWebhookID(id string) bool {
	return id != "" && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || r == '.' })
}

// parseUnix accepts one spelling per number, because the signed text holds the
// number printed anew: " 1" or "01" would otherwise pass as "1".
func parseUnix(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == s
}

// parseSignatures sorts the entries of a header by version. Entries without a
// comma are passed over, as the specification asks.
func parseSignatures(header string) (map[string][]string, bool) {
	if header == "" || strings.Count(header, " ") >= webhookMaxEntries {
		return nil, false
	}
	byVersion := map[string][]string{}
	for entry := range strings.SplitSeq(header, " ") {
		if version, signature, found := strings.Cut(entry, ","); found {
			byVersion[version] = append(byVersion[version], signature)
		}
	}
	return byVersion, true
}

func parseShared(s string) (Secret, error) {
	key, ok := decodeBase64(strings.TrimPrefix(s, prefixShared))
	if !ok || len(key) < 24 || len(key) > 64 {
		return Secret{}, errors.New("signing: after whsec_ there must be standard Base64 of 24 to 64 random bytes; check that the key was copied whole")
	}
	return NewSecret(key), nil
}

func parsePrivate(s string) (Secret, error) {
	pair, ok := decodeBase64(strings.TrimPrefix(s, prefixPrivate))
	if !ok || len(pair) != ed25519.PrivateKeySize {
		return Secret{}, errors.New("signing: after whsk_ there must be standard Base64 of 64 bytes, seed and public key; check that the key was copied whole")
	}
	key, err := ed25519FromSeed(pair[:ed25519.SeedSize])
	if err != nil {
		return Secret{}, err
	}
	if !bytes.Equal(ed25519Public(key), pair[ed25519.SeedSize:]) {
		return Secret{}, errors.New("signing: the public half of this whsk_ key does not belong to its seed; it was damaged, make a new pair")
	}
	return key, nil
}

func parsePublic(s string) (ed25519.PublicKey, error) {
	public, ok := decodeBase64(strings.TrimPrefix(s, prefixPublic))
	if !ok {
		return nil, errors.New("signing: after whpk_ there must be standard Base64 of 32 bytes; check that the key was copied whole")
	}
	if err := checkEd25519Public(public); err != nil {
		return nil, fmt.Errorf("signing: whpk_ key: %w", err)
	}
	return public, nil
}

// decodeBase64 accepts only the one standard spelling of some bytes. The
// library alone would also pass line breaks and stray bits at the end.
func decodeBase64(s string) ([]byte, bool) {
	b, err := base64.StdEncoding.DecodeString(s)
	return b, err == nil && base64.StdEncoding.EncodeToString(b) == s
}
