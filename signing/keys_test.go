package signing_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pay.taipei/gateway/signing"
)

// noon is the present of every test in this package.
func noon() time.Time { return time.Date(2017, 6, 13, 12, 0, 0, 0, time.UTC) }

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newSigner(t *testing.T, id string, fill byte) *signing.Ed25519Signer {
	t.Helper()
	s, err := signing.NewEd25519Signer(id, signing.NewSecret(bytes.Repeat([]byte{fill}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newEd25519Keys(t *testing.T, keys ...signing.Ed25519Key) *signing.Ed25519Keys {
	t.Helper()
	k, err := signing.NewEd25519Keys(keys)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newHMACKeys(t *testing.T, keys ...signing.HMACKey) *signing.HMACKeys {
	t.Helper()
	k, err := signing.NewHMACKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func secret(s string) signing.Secret { return signing.NewSecret([]byte(s)) }

func wantErr(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// everyChange calls refused with b changed by one bit, shortened, lengthened.
func everyChange(b []byte, refused func(how string, changed []byte)) {
	for i := range b {
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			refused("one bit changed", c)
		}
	}
	refused("last byte cut", b[:max(len(b)-1, 0)])
	refused("byte added", append(bytes.Clone(b), 0))
	refused("empty", []byte{})
	refused("nil", nil)
}

// Source: RFC 8032 section 7.1, tests 1 to 3.
func TestEd25519PublishedVectors(t *testing.T) {
	for _, v := range []struct{ name, seed, public, text, sig string }{
		{
			"RFC 8032 test 1", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
			"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
		},
		{
			"RFC 8032 test 2", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
			"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
		},
		{
			"RFC 8032 test 3", "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
			"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			s, err := signing.NewEd25519Signer("k", signing.NewSecret(unhex(t, v.seed)))
			if err != nil {
				t.Fatal(err)
			}
			text := signing.Text(unhex(t, v.text))
			if got := hex.EncodeToString(s.PublicKey()); got != v.public {
				t.Errorf("public key %s", got)
			}
			if got := hex.EncodeToString(s.Sign(text)); got != v.sig {
				t.Errorf("signature %s", got)
			}
			keys := newEd25519Keys(t, signing.Ed25519Key{ID: s.KeyID(), Public: unhex(t, v.public)})
			if err := keys.Verify("k", text, unhex(t, v.sig), noon()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEd25519RefusesEveryChange(t *testing.T) {
	s := newSigner(t, "k", 1)
	keys := newEd25519Keys(t, signing.Ed25519Key{ID: "k", Public: s.PublicKey()})
	text := signing.Text("order-v1.eyJ0b3RhbCI6IjQwIn0")
	sig := s.Sign(text)
	wantErr(t, "untouched", keys.Verify("k", text, sig, noon()), nil)
	everyChange(sig, func(how string, c []byte) {
		wantErr(t, "signature, "+how, keys.Verify("k", text, c, noon()), signing.ErrMismatch)
	})
	everyChange(text, func(how string, c []byte) {
		wantErr(t, "text, "+how, keys.Verify("k", c, sig, noon()), signing.ErrMismatch)
	})
}

func TestEd25519KeysByIDAndEnd(t *testing.T) {
	a, b := newSigner(t, "a", 1), newSigner(t, "b", 2)
	keys := newEd25519Keys(t,
		signing.Ed25519Key{ID: "b", Public: b.PublicKey()},
		signing.Ed25519Key{ID: "a", Public: a.PublicKey(), NotAfter: noon()})
	text := signing.Text("t")
	forged := bytes.Repeat([]byte{7}, 64)
	for _, c := range []struct {
		name, id string
		sig      []byte
		now      time.Time
		want     error
	}{
		{"newest", "b", b.Sign(text), noon(), nil},
		{"old, still live", "a", a.Sign(text), noon().Add(-time.Hour), nil},
		{"old, last instant", "a", a.Sign(text), noon(), nil},
		{"old, just ended", "a", a.Sign(text), noon().Add(1), signing.ErrKeyExpired},
		{"old, ended, forged", "a", forged, noon().Add(1), signing.ErrMismatch},
		{"no end is no end", "b", b.Sign(text), noon().AddDate(200, 0, 0), nil},
		{"the other key's id", "b", a.Sign(text), noon(), signing.ErrMismatch},
		{"unknown id", "c", b.Sign(text), noon(), signing.ErrUnknownKey},
		{"empty id", "", b.Sign(text), noon(), signing.ErrUnknownKey},
	} {
		t.Run(c.name, func(t *testing.T) { wantErr(t, "Verify", keys.Verify(c.id, text, c.sig, c.now), c.want) })
	}
	var zero signing.Ed25519Keys
	wantErr(t, "zero value", zero.Verify("a", text, a.Sign(text), noon()), signing.ErrUnknownKey)
}

func TestEd25519KeysDoNotAliasTheCaller(t *testing.T) {
	s := newSigner(t, "k", 1)
	public := s.PublicKey()
	keys := newEd25519Keys(t, signing.Ed25519Key{ID: "k", Public: public})
	clear(public)
	if err := keys.Verify("k", signing.Text("t"), s.Sign(signing.Text("t")), noon()); err != nil {
		t.Errorf("the set or the signer shares its key with the caller: %v", err)
	}
}

func TestEd25519ConstructorsRefuse(t *testing.T) {
	good := newSigner(t, "k", 1).PublicKey()
	for _, c := range []struct {
		name string
		keys []signing.Ed25519Key
		says string
	}{
		{"empty set", nil, "no Ed25519 public key"},
		{"empty id", []signing.Ed25519Key{{Public: good}}, "has no id"},
		{"repeated id", []signing.Ed25519Key{{ID: "a", Public: good}, {ID: "a", Public: newSigner(t, "k", 2).PublicKey()}}, `id "a"`},
		{"no key", []signing.Ed25519Key{{ID: "a"}}, "has 0"},
		{"short", []signing.Ed25519Key{{ID: "a", Public: good[:31]}}, "has 31"},
		{"long", []signing.Ed25519Key{{ID: "a", Public: append(bytes.Clone(good), 0)}}, "has 33"},
		{"hex text", []signing.Ed25519Key{{ID: "a", Public: []byte(hex.EncodeToString(good))}}, "has 64"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if k, err := signing.NewEd25519Keys(c.keys); k != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v", k, err)
			}
		})
	}
	for _, c := range []struct {
		name, id string
		seed     signing.Secret
	}{
		{"signer without id", "", signing.NewSecret(make([]byte, 32))},
		{"signer without seed", "a", signing.Secret{}},
		{"seed of 31 bytes", "a", secret(strings.Repeat("s", 31))},
		{"seed of 64 bytes", "a", secret(strings.Repeat("s", 64))},
	} {
		t.Run(c.name, func(t *testing.T) {
			if s, err := signing.NewEd25519Signer(c.id, c.seed); s != nil || err == nil || strings.Contains(err.Error(), "sss") {
				t.Errorf("got %v, %v", s, err)
			}
		})
	}
}

// Every spelling of the eight points of small order that crypto/ed25519 decodes;
// the list is complete, so the probe in the constructor is shown to miss none.
func TestEd25519RefusesKeysThatAnyoneCanSignFor(t *testing.T) {
	for _, point := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		_, err := signing.NewEd25519Keys([]signing.Ed25519Key{{ID: "a", Public: unhex(t, point)}})
		if err == nil || !strings.Contains(err.Error(), "anyone can sign") {
			t.Errorf("%s: %v", point, err)
		}
	}
}

// Source: RFC 4231 section 4, test cases 1, 2 and 6 (HMAC-SHA-256).
func TestHMACPublishedVectors(t *testing.T) {
	for _, v := range []struct{ name, key, text, tag string }{
		{
			"RFC 4231 case 1", strings.Repeat("0b", 20), hex.EncodeToString([]byte("Hi There")),
			"b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
		},
		{
			"RFC 4231 case 2", hex.EncodeToString([]byte("Jefe")), hex.EncodeToString([]byte("what do ya want for nothing?")),
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		},
		{
			"RFC 4231 case 6", strings.Repeat("aa", 131), hex.EncodeToString([]byte("Test Using Larger Than Block-Size Key - Hash Key First")),
			"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			keys := newHMACKeys(t, signing.HMACKey{ID: "k", Secret: signing.NewSecret(unhex(t, v.key))})
			text := signing.Text(unhex(t, v.text))
			id, tag := keys.Sign(text)
			if id != "k" || hex.EncodeToString(tag) != v.tag {
				t.Errorf("got %s %x", id, tag)
			}
			wantErr(t, "Verify", keys.Verify("k", text, unhex(t, v.tag), noon()), nil)
		})
	}
}

func TestHMACRefusesEveryChange(t *testing.T) {
	keys := newHMACKeys(t, signing.HMACKey{ID: "k", Secret: secret("s")})
	text := signing.Text("notice-v1\nk\n1497355200\nbody")
	_, tag := keys.Sign(text)
	check := func(what string, x signing.Text, tag []byte) {
		wantErr(t, what, keys.Verify("k", x, tag, noon()), signing.ErrMismatch)
		id, err := keys.VerifyAny(x, tag, noon())
		wantErr(t, what+", any", err, signing.ErrMismatch)
		if id != "" {
			t.Errorf("%s: id %q beside an error", what, id)
		}
	}
	everyChange(tag, func(how string, c []byte) { check("tag, "+how, text, c) })
	everyChange(text, func(how string, c []byte) { check("text, "+how, c, tag) })
}

func TestHMACRotation(t *testing.T) {
	newest := signing.HMACKey{ID: "new", Secret: secret("n")}
	old := signing.HMACKey{ID: "old", Secret: secret("o"), NotAfter: noon()}
	keys := newHMACKeys(t, newest, old)
	text := signing.Text("t")
	_, oldTag := newHMACKeys(t, old).Sign(text)
	id, newTag := keys.Sign(text)
	if id != "new" {
		t.Errorf("signed with %q, want the newest", id)
	}
	forged := bytes.Repeat([]byte{7}, sha256.Size)
	for _, c := range []struct {
		name, id string
		tag      []byte
		now      time.Time
		want     error
		anyID    string
		wantAny  error
	}{
		{"newest", "new", newTag, noon(), nil, "new", nil},
		{"old, last instant", "old", oldTag, noon(), nil, "old", nil},
		{"old, just ended", "old", oldTag, noon().Add(1), signing.ErrKeyExpired, "", signing.ErrKeyExpired},
		{"old, ended, forged", "old", forged, noon().Add(1), signing.ErrMismatch, "", signing.ErrMismatch},
		{"newest outlives old", "new", newTag, noon().AddDate(200, 0, 0), nil, "new", nil},
		{"the other key's id", "new", oldTag, noon(), signing.ErrMismatch, "old", nil},
		{"unknown id", "x", newTag, noon(), signing.ErrUnknownKey, "new", nil},
		{"empty id", "", newTag, noon(), signing.ErrUnknownKey, "new", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantErr(t, "Verify", keys.Verify(c.id, text, c.tag, c.now), c.want)
			id, err := keys.VerifyAny(text, c.tag, c.now)
			wantErr(t, "VerifyAny", err, c.wantAny)
			if id != c.anyID {
				t.Errorf("VerifyAny found %q, want %q", id, c.anyID)
			}
		})
	}
	renamed := newHMACKeys(t, old, signing.HMACKey{ID: "same secret, no end", Secret: old.Secret})
	id, err := renamed.VerifyAny(text, oldTag, noon().Add(1))
	if err != nil || id != "same secret, no end" {
		t.Errorf("an ended key hid a live one: %q, %v", id, err)
	}
	var zero signing.HMACKeys
	wantErr(t, "zero value", zero.Verify("new", text, newTag, noon()), signing.ErrUnknownKey)
	_, err = zero.VerifyAny(text, newTag, noon())
	wantErr(t, "zero value, any", err, signing.ErrMismatch)
}

func TestHMACKeysRefuse(t *testing.T) {
	for _, c := range []struct {
		name string
		keys []signing.HMACKey
		says string
	}{
		{"empty set", nil, "no HMAC key"},
		{"empty id", []signing.HMACKey{{Secret: secret("s")}}, "has no id"},
		{"zero secret", []signing.HMACKey{{ID: "a"}}, "empty"},
		{"empty secret", []signing.HMACKey{{ID: "a", Secret: signing.NewSecret([]byte{})}}, "empty"},
		{"second secret empty", []signing.HMACKey{{ID: "a", Secret: secret("s")}, {ID: "b"}}, `"b"`},
		{"repeated id", []signing.HMACKey{{ID: "a", Secret: secret("s")}, {ID: "a", Secret: secret("z")}}, `id "a"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if k, err := signing.NewHMACKeys(c.keys); k != nil || err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v", k, err)
			}
		})
	}
	list := []signing.HMACKey{{ID: "a", Secret: secret("s")}}
	keys := newHMACKeys(t, list...)
	list[0].ID = "changed"
	if id, _ := keys.Sign(signing.Text("t")); id != "a" {
		t.Error("the set shares its list with the caller")
	}
}

// Any text under any key verifies under that key and under no other.
func TestOwnSignaturesVerifyAndOthersDoNot(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := signing.Text(rapid.SliceOf(rapid.Byte()).Draw(r, "text"))
		key := rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(r, "key")
		other := rapid.SliceOfN(rapid.Byte(), 32, 32).Filter(func(o []byte) bool { return !bytes.Equal(o, key) }).Draw(r, "other")

		h, err := signing.NewHMACKeys([]signing.HMACKey{{ID: "k", Secret: signing.NewSecret(key)}, {ID: "o", Secret: signing.NewSecret(other)}})
		if err != nil {
			r.Fatal(err)
		}
		_, tag := h.Sign(text)
		reference := hmac.New(sha256.New, key)
		reference.Write(text)
		if !bytes.Equal(tag, reference.Sum(nil)) {
			r.Fatal("tag differs from crypto/hmac")
		}
		if h.Verify("k", text, tag, noon()) != nil || !errors.Is(h.Verify("o", text, tag, noon()), signing.ErrMismatch) {
			r.Fatal("HMAC: own key refused or other key accepted")
		}

		s, err := signing.NewEd25519Signer("k", signing.NewSecret(key))
		if err != nil {
			r.Fatal(err)
		}
		o, err := signing.NewEd25519Signer("o", signing.NewSecret(other))
		if err != nil {
			r.Fatal(err)
		}
		e, err := signing.NewEd25519Keys([]signing.Ed25519Key{{ID: "k", Public: s.PublicKey()}, {ID: "o", Public: o.PublicKey()}})
		if err != nil {
			r.Fatal(err)
		}
		if e.Verify("k", text, s.Sign(text), noon()) != nil || !errors.Is(e.Verify("o", text, s.Sign(text), noon()), signing.ErrMismatch) {
			r.Fatal("Ed25519: own key refused or other key accepted")
		}
	})
}
