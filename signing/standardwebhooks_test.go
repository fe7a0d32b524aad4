package signing_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/signing"
)

// The first two vectors of testdata/standardwebhooks.json, from which the
// tables below start, and the key of the last one.
const (
	sharedKey   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherShared = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
	privateKey  = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	publicKey   = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	msgID       = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	sentAt      = 1614265330
	sentText    = "1614265330"
	msgBody     = `{"test": 2432232314}`
	goodV1      = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	goodV1a     = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
	wrongV1     = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
)

type vector struct {
	ID     string `json:"id"`
	Scheme string `json:"scheme"`
	Inputs struct {
		Secret    string `json:"secret"`
		MsgID     string `json:"msg_id"`
		Timestamp int64  `json:"timestamp"`
		Body      string `json:"body"`
	} `json:"inputs"`
	Expected string `json:"expected"`
	Source   string `json:"source"`
}

func readVectors(t *testing.T, path string) []vector {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Vectors []vector `json:"vectors"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(file.Vectors) == 0 {
		t.Fatalf("%s holds no vectors", path)
	}
	return file.Vectors
}

func parseSigner(t testing.TB, key string) *signing.WebhookSigner {
	t.Helper()
	s, err := signing.ParseWebhookSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parseVerifiers(t testing.TB, keys ...string) []*signing.WebhookVerifier {
	t.Helper()
	var vs []*signing.WebhookVerifier
	for _, k := range keys {
		v, err := signing.ParseWebhookVerifier(k)
		if err != nil {
			t.Fatal(err)
		}
		vs = append(vs, v)
	}
	return vs
}

func TestStandardWebhooksVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range readVectors(t, "testdata/standardwebhooks.json") {
		t.Run(v.ID, func(t *testing.T) {
			if v.ID == "" || v.Source == "" || seen[v.ID] {
				t.Fatalf("a vector needs a source and an id of its own: %+v", v)
			}
			seen[v.ID] = true
			signer := parseSigner(t, v.Inputs.Secret)
			verifyWith := v.Inputs.Secret
			switch v.Scheme {
			case "standard-webhooks-v1":
				if signer.PublicKey() != "" {
					t.Error("a shared key has no public half")
				}
			case "standard-webhooks-v1a":
				verifyWith = signer.PublicKey()
			default:
				t.Fatalf("unknown scheme %q", v.Scheme)
			}
			at := time.Unix(v.Inputs.Timestamp, 999_999_999)
			got, err := signing.SignWebhook([]*signing.WebhookSigner{signer}, v.Inputs.MsgID, at, []byte(v.Inputs.Body))
			if err != nil || got != v.Expected {
				t.Errorf("signed %q, %v; want %q", got, err, v.Expected)
			}
			stamp := strconv.FormatInt(v.Inputs.Timestamp, 10)
			wantErr(t, "verify", signing.VerifyWebhook(parseVerifiers(t, verifyWith), v.Inputs.MsgID, stamp, v.Expected, []byte(v.Inputs.Body), at), nil)
		})
	}
	if got := parseSigner(t, privateKey).PublicKey(); got != publicKey {
		t.Errorf("public key %s, want %s", got, publicKey)
	}
}

func TestWebhookText(t *testing.T) {
	if got := string(signing.WebhookText("id", 1614265330, []byte("a.b\n"))); got != "id.1614265330.a.b\n" {
		t.Errorf("got %q", got)
	}
}

func TestVerifyWebhook(t *testing.T) {
	both := []string{sharedKey, publicKey}
	for _, c := range []struct {
		name              string
		keys              []string
		id, stamp, header string
		body              string
		want              error
	}{
		{"v1", both, msgID, sentText, goodV1, msgBody, nil},
		{"v1a", both, msgID, sentText, goodV1a, msgBody, nil},
		{"both", both, msgID, sentText, goodV1 + " " + goodV1a, msgBody, nil},
		{"good one between wrong ones", both, msgID, sentText, wrongV1 + " v2," + wrongV1[3:] + " " + goodV1 + " " + wrongV1, msgBody, nil},
		{"good one after odd entries", both, msgID, sentText, "junk  , v1 v1, v9,a,b " + goodV1, msgBody, nil},
		{"sixteen entries", both, msgID, sentText, strings.Repeat(wrongV1+" ", 15) + goodV1, msgBody, nil},
		{"key in rotation", []string{otherShared, sharedKey}, msgID, sentText, goodV1, msgBody, nil},

		{"wrong signature", both, msgID, sentText, wrongV1, msgBody, signing.ErrMismatch},
		{"several wrong signatures", both, msgID, sentText, wrongV1 + " " + wrongV1 + " v1," + goodV1a[4:], msgBody, signing.ErrMismatch},
		{"empty signature", both, msgID, sentText, "v1,", msgBody, signing.ErrMismatch},
		{"empty v1a signature", both, msgID, sentText, "v1a,", msgBody, signing.ErrMismatch},
		{"first 8 characters", both, msgID, sentText, goodV1[:8], msgBody, signing.ErrMismatch},
		{"unknown version", both, msgID, sentText, "v2," + goodV1[3:], msgBody, signing.ErrMismatch},
		{"no version", both, msgID, sentText, goodV1[3:], msgBody, signing.ErrMismatch},
		{"version in capitals", both, msgID, sentText, "V1," + goodV1[3:], msgBody, signing.ErrMismatch},
		{"v1 value as v1a", both, msgID, sentText, "v1a," + goodV1[3:], msgBody, signing.ErrMismatch},
		{"v1 without padding", both, msgID, sentText, strings.TrimRight(goodV1, "="), msgBody, signing.ErrMismatch},
		{"v1 with stray bits", both, msgID, sentText, strings.Replace(goodV1, "1OE=", "1OF=", 1), msgBody, signing.ErrMismatch},
		{"v1a with stray bits", both, msgID, sentText, strings.Replace(goodV1a, "TBAg==", "TBAh==", 1), msgBody, signing.ErrMismatch},
		{"v1a with a line break", both, msgID, sentText, goodV1a[:20] + "\n" + goodV1a[20:], msgBody, signing.ErrMismatch},
		{"comma at the end", both, msgID, sentText, goodV1 + ",", msgBody, signing.ErrMismatch},
		{"entries split by tab", both, msgID, sentText, wrongV1 + "\t" + goodV1, msgBody, signing.ErrMismatch},
		{"only a public key, v1 sent", []string{publicKey}, msgID, sentText, goodV1, msgBody, signing.ErrMismatch},
		{"only a shared key, v1a sent", []string{sharedKey}, msgID, sentText, goodV1a, msgBody, signing.ErrMismatch},
		{"other shared key", []string{otherShared}, msgID, sentText, goodV1, msgBody, signing.ErrMismatch},
		{"other id", both, "msg_other", sentText, goodV1, msgBody, signing.ErrMismatch},
		{"other second", both, msgID, "1614265331", goodV1, msgBody, signing.ErrMismatch},
		{"body printed anew", both, msgID, sentText, goodV1, `{"test":2432232314}`, signing.ErrMismatch},
		{"empty body", both, msgID, sentText, goodV1, "", signing.ErrMismatch},

		{"no verifiers", nil, msgID, sentText, goodV1, msgBody, signing.ErrUnknownKey},
		{"no id", both, "", sentText, goodV1, msgBody, signing.ErrMalformed},
		{"no timestamp", both, msgID, "", goodV1, msgBody, signing.ErrMalformed},
		{"no signature", both, msgID, sentText, "", msgBody, signing.ErrMalformed},
		{"seventeen entries", both, msgID, sentText, strings.Repeat(wrongV1+" ", 16) + goodV1, msgBody, signing.ErrMalformed},
		{"id with space", both, msgID + " ", sentText, goodV1, msgBody, signing.ErrMalformed},
		{"timestamp with space", both, msgID, " " + sentText, goodV1, msgBody, signing.ErrMalformed},
		{"timestamp with zero", both, msgID, "0" + sentText, goodV1, msgBody, signing.ErrMalformed},
		{"timestamp with plus", both, msgID, "+" + sentText, goodV1, msgBody, signing.ErrMalformed},
		{"timestamp with fraction", both, msgID, sentText + ".0", goodV1, msgBody, signing.ErrMalformed},
		{"timestamp with exponent", both, msgID, "1e9", goodV1, msgBody, signing.ErrMalformed},
		{"timestamp in other digits", both, msgID, "１６１４２６５３３０", goodV1, msgBody, signing.ErrMalformed},
		{"timestamp too big", both, msgID, "9223372036854775808", goodV1, msgBody, signing.ErrMalformed},
		{"timestamp at the far end", both, msgID, "9223372036854775807", goodV1, msgBody, signing.ErrStale},
		{"timestamp at the near end", both, msgID, "-9223372036854775808", goodV1, msgBody, signing.ErrStale},
		{"timestamp in milliseconds", both, msgID, sentText + "000", goodV1, msgBody, signing.ErrStale},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := signing.VerifyWebhook(parseVerifiers(t, c.keys...), c.id, c.stamp, c.header, []byte(c.body), time.Unix(sentAt, 0))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	wantErr(t, "zero verifier",
		signing.VerifyWebhook([]*signing.WebhookVerifier{{}}, msgID, sentText, goodV1+" ,", []byte(msgBody), time.Unix(sentAt, 0)), signing.ErrMismatch)
}

// A full stop inside the id would let one signed text be read as two messages.
func TestWebhookPartsCannotSlide(t *testing.T) {
	now := time.Unix(sentAt, 0)
	signer := []*signing.WebhookSigner{parseSigner(t, sharedKey)}
	header, err := signing.SignWebhook(signer, "evt", now, []byte(sentText+".body"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(signing.WebhookText("evt", sentAt, []byte(sentText+".body")), signing.WebhookText("evt."+sentText, sentAt, []byte("body"))) {
		t.Fatal("the two readings should sign the same bytes")
	}
	wantErr(t, "second reading", signing.VerifyWebhook(parseVerifiers(t, sharedKey), "evt."+sentText, sentText, header, []byte("body"), now), signing.ErrMalformed)
}

func TestWebhookTolerance(t *testing.T) {
	verifiers := parseVerifiers(t, sharedKey)
	for _, c := range []struct {
		name string
		now  time.Time
		want error
	}{
		{"same second", time.Unix(sentAt, 0), nil},
		{"299 s old", time.Unix(sentAt+299, 0), nil},
		{"301 s old", time.Unix(sentAt+301, 0), signing.ErrStale},
		{"299 s ahead", time.Unix(sentAt-299, 0), nil},
		{"301 s ahead", time.Unix(sentAt-301, 0), signing.ErrStale},
		{"fractions do not count, old", time.Unix(sentAt+300, 999_999_999), nil},
		{"fractions do not count, ahead", time.Unix(sentAt-300, 1), nil},
		{"a year old", time.Unix(sentAt, 0).AddDate(1, 0, 0), signing.ErrStale},
		{"clock never set", time.Time{}, signing.ErrStale},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantErr(t, "verify", signing.VerifyWebhook(verifiers, msgID, sentText, goodV1, []byte(msgBody), c.now), c.want)
		})
	}
}

func TestWebhookRefusesEveryChange(t *testing.T) {
	now := time.Unix(sentAt, 0)
	verifiers := parseVerifiers(t, sharedKey, publicKey)
	for name, header := range map[string]string{"v1": goodV1, "v1a": goodV1a} {
		t.Run(name, func(t *testing.T) {
			refused := func(what, id, stamp, header string, body []byte) {
				if signing.VerifyWebhook(verifiers, id, stamp, header, body, now) == nil {
					t.Errorf("accepted %s: %q %q %q %q", what, id, stamp, header, body)
				}
			}
			everyChange([]byte(header), func(how string, c []byte) { refused("header, "+how, msgID, sentText, string(c), []byte(msgBody)) })
			everyChange([]byte(msgID), func(how string, c []byte) { refused("id, "+how, string(c), sentText, header, []byte(msgBody)) })
			everyChange([]byte(sentText), func(how string, c []byte) { refused("timestamp, "+how, msgID, string(c), header, []byte(msgBody)) })
			everyChange([]byte(msgBody), func(how string, c []byte) { refused("body, "+how, msgID, sentText, header, c) })
		})
	}
}

func TestSignWebhook(t *testing.T) {
	shared, private := parseSigner(t, sharedKey), parseSigner(t, privateKey)
	got, err := signing.SignWebhook([]*signing.WebhookSigner{private, shared}, msgID, time.Unix(sentAt, 0), []byte(msgBody))
	if err != nil || got != goodV1a+" "+goodV1 {
		t.Errorf("one entry per signer in order: got %q, %v", got, err)
	}
	one := []*signing.WebhookSigner{shared}
	for _, c := range []struct {
		name    string
		signers []*signing.WebhookSigner
		id      string
		at      time.Time
	}{
		{"no signers", nil, msgID, time.Unix(sentAt, 0)},
		{"empty id", one, "", time.Unix(sentAt, 0)},
		{"id with full stop", one, "evt.1", time.Unix(sentAt, 0)},
		{"id with space", one, "evt 1", time.Unix(sentAt, 0)},
		{"id with line break", one, "evt\r\nx: y", time.Unix(sentAt, 0)},
		{"id outside ASCII", one, "事件", time.Unix(sentAt, 0)},
		{"id not UTF-8", one, "evt\xff", time.Unix(sentAt, 0)},
		{"clock never set", one, msgID, time.Time{}},
		{"before 1970", one, msgID, time.Unix(-1, 0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := signing.SignWebhook(c.signers, c.id, c.at, nil); err == nil || got != "" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func shared(n int) string {
	return "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{'z'}, n))
}

func TestParseWebhookKeys(t *testing.T) {
	zeroPoint := "whpk_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, c := range []struct {
		name, key       string
		signs, verifies bool
	}{
		{"shared", sharedKey, true, true},
		{"private", privateKey, true, false},
		{"public", publicKey, false, true},
		{"shared, 24 bytes", shared(24), true, true},
		{"shared, 64 bytes", shared(64), true, true},
		{"shared, 23 bytes", shared(23), false, false},
		{"shared, 65 bytes", shared(65), false, false},
		{"shared, empty", "whsec_", false, false},
		{"shared, not Base64", "whsec_%", false, false},
		{"shared, no padding", strings.TrimRight(shared(25), "="), false, false},
		{"shared, URL alphabet", "whsec_" + strings.Repeat("-_", 16), false, false},
		{"shared, line break at the end", sharedKey + "\n", false, false},
		{"shared, line break inside", sharedKey[:20] + "\n" + sharedKey[20:], false, false},
		{"shared, space before", " " + sharedKey, false, false},
		{"shared, prefix twice", "whsec_" + sharedKey, false, false},
		{"no prefix", strings.TrimPrefix(sharedKey, "whsec_"), false, false},
		{"prefix in capitals", "WHSEC_" + strings.TrimPrefix(sharedKey, "whsec_"), false, false},
		{"empty", "", false, false},
		{"private, empty", "whsk_", false, false},
		{"private, seed only", "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=", false, false},
		{"private, tail changed", strings.Replace(privateKey, "Kvg==", "Kvw==", 1), false, false},
		{"private, seed changed", strings.Replace(privateKey, "6Xb/", "6Xa/", 1), false, false},
		{"public as private", "whsk_" + strings.TrimPrefix(publicKey, "whpk_"), false, false},
		{"private as public", "whpk_" + strings.TrimPrefix(privateKey, "whsk_"), false, false},
		{"public, empty", "whpk_", false, false},
		{"public, stray bits", strings.Replace(publicKey, "ir4=", "ir5=", 1), false, false},
		{"public, anyone can sign", zeroPoint, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := signing.ParseWebhookSigner(c.key)
			checkParsed(t, "signer", c.key, c.signs, s != nil, err)
			v, err := signing.ParseWebhookVerifier(c.key)
			checkParsed(t, "verifier", c.key, c.verifies, v != nil, err)
		})
	}
}

func checkParsed(t *testing.T, what, key string, want, got bool, err error) {
	t.Helper()
	if got != want || (err == nil) != want {
		t.Errorf("%s: parsed %v, %v; want %v", what, got, err, want)
	}
	if rest := strings.TrimLeft(key, "whseckp_ "); err != nil && len(rest) > 8 && strings.Contains(err.Error(), rest[:8]) {
		t.Errorf("%s: the error repeats the key: %v", what, err)
	}
}

// Whatever a stranger sends, VerifyWebhook answers, and what it accepts carries
// the one right signature, spelled in the one right way.
func FuzzVerifyWebhook(f *testing.F) {
	for _, h := range []string{goodV1, goodV1a, goodV1 + " " + goodV1a, wrongV1, "", " ", ",", "v1,", "v1a,", "v2," + goodV1[3:], wrongV1 + "  " + goodV1} {
		f.Add(msgID, sentText, h, []byte(msgBody))
	}
	f.Add("a.b", "-0", "v1", []byte{})
	f.Add("\xff", "9223372036854775807", strings.Repeat("v1, ", 40), []byte{0})
	verifiers := parseVerifiers(f, sharedKey, publicKey)
	signers := []*signing.WebhookSigner{parseSigner(f, sharedKey), parseSigner(f, privateKey)}
	f.Fuzz(func(t *testing.T, id, stamp, header string, body []byte) {
		now := time.Unix(sentAt, 0)
		if signing.VerifyWebhook(verifiers, id, stamp, header, body, now) != nil {
			return
		}
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		if err != nil || seconds < sentAt-300 || seconds > sentAt+300 {
			t.Fatalf("accepted the timestamp %q", stamp)
		}
		want, err := signing.SignWebhook(signers, id, time.Unix(seconds, 0), body)
		if err != nil {
			t.Fatalf("accepted what could not have been signed: %v", err)
		}
		v1, v1a, _ := strings.Cut(want, " ")
		for entry := range strings.SplitSeq(header, " ") {
			if entry == v1 || entry == v1a {
				return
			}
		}
		t.Fatalf("accepted %q without a right entry", header)
	})
}

// A key that parses has one spelling and signs what its other half accepts.
func FuzzParseWebhookKey(f *testing.F) {
	for _, k := range []string{sharedKey, privateKey, publicKey, otherShared, shared(64), "whsec_", "whsk_", "whpk_", "whsec_%", "", "whsec_\n"} {
		f.Add(k)
	}
	f.Fuzz(func(t *testing.T, key string) {
		v, errV := signing.ParseWebhookVerifier(key)
		s, errS := signing.ParseWebhookSigner(key)
		if (v == nil) != (errV != nil) || (s == nil) != (errS != nil) {
			t.Fatalf("result and error disagree: %v %v, %v %v", v != nil, errV, s != nil, errS)
		}
		if s == nil {
			return
		}
		verifyWith := key
		if public := s.PublicKey(); public != "" {
			verifyWith = public
		}
		now := time.Unix(sentAt, 0)
		header, err := signing.SignWebhook([]*signing.WebhookSigner{s}, msgID, now, []byte(msgBody))
		if err != nil {
			t.Fatal(err)
		}
		if err := signing.VerifyWebhook(parseVerifiers(t, verifyWith), msgID, sentText, header, []byte(msgBody), now); err != nil {
			t.Fatalf("a key that parses does not verify its own signature: %v", err)
		}
		if out := fmt.Sprintf("%+v %#v", s, s); len(key) > 12 && strings.Contains(out, key[6:]) {
			t.Fatal("the key can be printed")
		}
	})
}

// Whatever key anybody can read here or in a manual is known to be one.
func TestPublished(t *testing.T) {
	keys := []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}
	for _, v := range readVectors(t, "testdata/standardwebhooks.json") {
		keys = append(keys, v.Inputs.Secret)
	}
	for _, key := range keys {
		s, err := signing.ParseWebhookSigner(key)
		if err != nil || !s.Published() {
			t.Errorf("%.10s…: published %v, %v", key, s.Published(), err)
		}
	}
	own, err := signing.ParseWebhookSigner("whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	if err != nil || own.Published() {
		t.Errorf("a key of one's own: published %v, %v", own.Published(), err)
	}
}
