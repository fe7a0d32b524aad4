package signing_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"pay.taipei/gateway/signing"
)

const plain = `k9"Zq-hidden\value~7`

// assertHidden fails when out shows the secret in any common spelling.
func assertHidden(t *testing.T, how, out string) {
	t.Helper()
	b := []byte(plain)
	spellings := []string{
		plain, plain[:8], plain[len(plain)-8:],
		hex.EncodeToString(b[:6]), fmt.Sprintf("% x", b[:6]), fmt.Sprintf("%#x", b[:6])[2:],
		base64.StdEncoding.EncodeToString(b)[:8], base64.RawURLEncoding.EncodeToString(b)[:8],
		strings.Trim(fmt.Sprintf("%d", b[:4]), "[]"), strings.Trim(fmt.Sprintf("%b", b[:4]), "[]"),
		strings.Trim(fmt.Sprintf("%o", b[:4]), "[]"), "0x6b, 0x39",
	}
	for _, s := range spellings {
		if strings.Contains(strings.ToLower(out), strings.ToLower(s)) {
			t.Errorf("%s shows %q in %q", how, s, out)
		}
	}
}

type exported struct {
	Name string
	S    signing.Secret
	P    *signing.Secret
}

type unexported struct {
	name string
	s    signing.Secret
	p    *signing.Secret
	list []signing.Secret
	m    map[string]signing.Secret
	any  any
	deep struct{ in struct{ s signing.Secret } }
}

type embedded struct {
	signing.Secret
	Other int
}

// holders returns the ways in which a program holds a secret.
func holders(t *testing.T) map[string]any {
	t.Helper()
	s := signing.NewSecret([]byte(plain))
	u := unexported{name: "n", s: s, p: &s, list: []signing.Secret{s}, m: map[string]signing.Secret{"k": s}, any: s}
	u.deep.in.s = s
	keys, err := signing.NewHMACKeys([]signing.HMACKey{{ID: "a", Secret: s}})
	if err != nil {
		t.Fatal(err)
	}
	// The seed and the shared key are the plain bytes themselves, padded.
	padded := []byte(plain + strings.Repeat("x", 32-len(plain)))
	signer, err := signing.NewEd25519Signer("a", signing.NewSecret(padded))
	if err != nil {
		t.Fatal(err)
	}
	whsec := "whsec_" + base64.StdEncoding.EncodeToString(padded)
	hook, err := signing.ParseWebhookSigner(whsec)
	if err != nil {
		t.Fatal(err)
	}
	whsk := "whsk_" + base64.StdEncoding.EncodeToString(append(padded, signer.PublicKey()...))
	hookA, err := signing.ParseWebhookSigner(whsk)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := signing.ParseWebhookVerifier(whsec)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"secret": s, "pointer": &s, "slice": []signing.Secret{s}, "array": [1]signing.Secret{s},
		"map": map[string]signing.Secret{"k": s}, "map key": map[signing.Secret]int{s: 1},
		"exported": exported{"n", s, &s}, "pointer to exported": &exported{"n", s, &s},
		"unexported": u, "pointer to unexported": &u, "slice of unexported": []unexported{u},
		"embedded": embedded{s, 1}, "any": []any{s, &s, u},
		"hmac key": signing.HMACKey{ID: "a", Secret: s}, "hmac keys": keys, "hmac keys value": *keys,
		"ed25519 signer": signer, "ed25519 signer value": *signer,
		"webhook signer v1": hook, "webhook signer v1 value": *hook,
		"webhook signer v1a": hookA, "webhook signer v1a value": *hookA,
		"webhook verifier": verifier, "webhook verifier value": *verifier,
	}
}

func TestSecretCannotBePrinted(t *testing.T) {
	verbs := []string{
		"%v", "%+v", "%#v", "%s", "%q", "%#q", "%+q", "%x", "%X", "% x", "%#x", "%d", "%b", "%o", "%O",
		"%c", "%U", "%e", "%g", "%t", "%T", "%p", "%10s", "%-10.3v", "%z", "%!",
	}
	for name, h := range holders(t) {
		t.Run(name, func(t *testing.T) {
			for _, verb := range verbs {
				assertHidden(t, verb, fmt.Sprintf(verb, h))
			}
			assertHidden(t, "Sprint", fmt.Sprint(h))
			assertHidden(t, "Sprintln", fmt.Sprintln("x", h, "y"))
			assertHidden(t, "Errorf", fmt.Errorf("failed with %v", h).Error())
			assertHidden(t, "errors.Join", errors.Join(fmt.Errorf("%+v", h), errors.New("x")).Error())
			if j, err := json.Marshal(h); err == nil {
				assertHidden(t, "json", string(j))
			}
			if x, err := xml.Marshal(h); err == nil {
				assertHidden(t, "xml", string(x))
			}
			for handler, newHandler := range map[string]func(*bytes.Buffer) slog.Handler{
				"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
				"slog json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
			} {
				var b bytes.Buffer
				slog.New(newHandler(&b)).With("w", h).WithGroup("g").Info("m", "h", h, slog.Group("g", "h", h))
				assertHidden(t, handler, b.String())
			}
		})
	}
}

func TestSecretSaysThatItIsRedacted(t *testing.T) {
	s := signing.NewSecret([]byte(plain))
	const want = "[redacted]"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, s); got != want {
			t.Errorf("%s: got %q", verb, got)
		}
	}
	if s.String() != want || s.GoString() != want || s.LogValue().String() != want {
		t.Error("String, GoString or LogValue differs")
	}
	if b, err := s.MarshalText(); err != nil || string(b) != want {
		t.Errorf("MarshalText: %q, %v", b, err)
	}
	got, err := json.Marshal(struct {
		A signing.Secret
		B *signing.Secret
		C map[signing.Secret]int
		D signing.Secret
	}{s, &s, map[signing.Secret]int{s: 1}, signing.Secret{}})
	if err != nil || string(got) != `{"A":"[redacted]","B":"[redacted]","C":{"[redacted]":1},"D":"[redacted]"}` {
		t.Errorf("json: %s, %v", got, err)
	}
	if got := fmt.Sprintf("%+v", exported{"n", s, nil}); got != "{Name:n S:[redacted] P:<nil>}" {
		t.Errorf("exported field: %s", got)
	}
}

func TestSecretCopiesBothWays(t *testing.T) {
	in := []byte("abc")
	s := signing.NewSecret(in)
	in[0] = 'X'
	out := s.Reveal()
	if string(out) != "abc" {
		t.Fatalf("NewSecret kept the caller's slice: %q", out)
	}
	out[0] = 'X'
	if got := s.Reveal(); string(got) != "abc" {
		t.Fatalf("Reveal gave away the inner slice: %q", got)
	}
}

func TestSecretZeroAndFingerprint(t *testing.T) {
	for name, s := range map[string]signing.Secret{"zero": {}, "nil": signing.NewSecret(nil), "empty": signing.NewSecret([]byte{})} {
		if !s.IsZero() || s.Reveal() != nil || s.Fingerprint() != "" || s.String() != "[redacted]" {
			t.Errorf("%s is not the zero secret", name)
		}
	}
	// SHA-256("abc") is the first example of FIPS 180-4.
	s := signing.NewSecret([]byte("abc"))
	if got := s.Fingerprint(); got != "ba7816bf" || s.IsZero() {
		t.Errorf("fingerprint %q, zero %v", got, s.IsZero())
	}
}
