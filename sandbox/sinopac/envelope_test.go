package sinopac_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/sandbox/sinopac"
)

// The published vectors.
const (
	vectorNonce = "NjM2NjY5MDQ3OTQwMzIuMTphZmJjODBhOTM5NzQ1NjMyNDFhZTczMjVjYzg0Mjg5ZjQxYTk2MWI2ZjNkYTA0NDdmOTRhZjU3ZTIzOWJlNDgz"
	vectorPlain = `{"ShopNo":"NA0001_001","OrderNo":"201807111119291750","Amount":50000,"CurrencyID":"TWD","PayType":"C","ATMParam":{},"CardParam":{"AutoBilling":"N","ExpMinutes":30},"PrdtName":"信用卡訂單","ReturnURL":"http://10.11.22.113:8803/QPay.ApiClient-Sandbox/Store/Return","BackendURL":"https://sandbox.sinopac.com/funBIZ.ApiClient/AutoPush/PushSuccess"}`
	vectorSign  = "7788EE61DD450944992641B3B2F8210B81A0AE97908BC19825F2A82C0F72EA43"
	vectorSeal  = "4FE341D3A8C30C9A50573F3008F7B1CA8DD96FB2A4346D83936E5C4FDB21E87BA9E3D36A6635C6F5EBBD5438F3CA8FE97DEBB2ADBC82F92BF3C840B3128D8F00116536E7C936D7D587F6220C52C1367DF2BE9CBB16C6A7C6242AA8B38CD2E576328CF727E50FFA49B4F9FBE5DF10986C5299F9FC26E23E956AFDFB92B731FDA84ABEF1C89E0CD0A8CA8F7C23DC2D06E12A6F916EC47CDD9B4D4F87AC0B687EE1088A19F2C35C0FD8B0C97745B926FBAA48FEEDEB826C2C22743DB46781FF220ECA409FC150908540271E60184729C08C73275C54125C3F814FF33CA79A0E1B3902D446925FCC8235809FCBAB7E372D8C29E424CEFF0AD1CBD41E843714EB365158F2FC0B2E6FB48176D5CFF6B68F4BED4D7484C1A4723ABD059DA64A6703B30B0199B170FDF059899552FA1818ABA5B0D0E21014513985A738D59851EDF0B1CFB36A7B7B727109BE7789D284C75E5D694DFC9B7060DCBFD8C7915C95C4E0F29B"
)

func newKeys(t *testing.T, a1, a2, b1, b2 string) sinopac.Keys {
	t.Helper()
	k, err := sinopac.NewKeys(a1, a2, b1, b2)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestVectors(t *testing.T) {
	first := newKeys(t, "4D9709D699CA40EE", "5A4FEF83140C4E9E", "BC74301945134CB4", "961F67F8FCA44AB9")
	if got := first.HashID(); got != "17D8E6558DC60E702A6B57E1B9B7060D" {
		t.Errorf("HashID 1 is %s", got)
	}
	k := newKeys(t, "65960834240E44B7", "2831076A098E49E7", "CB1AFFBF915A492B", "7F242C0AA612454F")
	if got := k.HashID(); got != "4DA70F5E2D800D50B43ED3B537480C64" {
		t.Errorf("HashID 2 is %s", got)
	}
	if got := k.Vector(vectorNonce); got != "346BBE8E3F34FFEA" {
		t.Errorf("IV is %s", got)
	}
	if got := k.Seal(vectorNonce, vectorPlain); got != vectorSeal {
		t.Errorf("Message is %s", got)
	}
	if got, err := k.Open(vectorNonce, vectorSeal); err != nil || got != vectorPlain {
		t.Errorf("opened: %s, %v", got, err)
	}
	for plain, same := range map[string]bool{
		vectorPlain: true,
		strings.Replace(vectorPlain, "30}", "29}", 1):             true, // nested
		strings.Replace(vectorPlain, "{", `{"X":"","Y":null,`, 1): true,
		strings.Replace(vectorPlain, "信", `\u4fe1`, 1):            true,
		strings.Replace(vectorPlain, "50000", "50001", 1):         false,
		strings.Replace(vectorPlain, `"PayType"`, `"paytype"`, 1): false,
	} {
		if got, err := k.Sign(vectorNonce, plain); err != nil || (got == vectorSign) != same {
			t.Errorf("Sign of %s is %s, %v", plain, got, err)
		}
	}
	// Ignoring case Amount stands before APType, otherwise after it.
	want := fmt.Sprintf("%X", sha256.Sum256([]byte("Amount=1&APType=xn4DA70F5E2D800D50B43ED3B537480C64")))
	if got, err := k.Sign("n", `{"APType":"x","Amount":1}`); err != nil || got != want {
		t.Errorf("sorted: %s, want %s, %v", got, want, err)
	}
}

func TestKeysAreRefused(t *testing.T) {
	const good = "65960834240E44B7"
	for _, bad := range []string{"", "65960834240e44b7", "65960834240E44B", "65960834-240E44B7", "65960834240E44BG"} {
		if _, err := sinopac.NewKeys(good, good, bad, good); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestKeyID(t *testing.T) {
	c := newCity(t)
	for name, head := range map[string]map[string]string{"missing": nil, "wrong": {"X-KeyID": c.set["key_id"][1:] + "X"}, "lower case": {"X-KeyID": strings.ToLower(c.set["key_id"])}} {
		for _, path := range []string{"/Nonce", "/Order"} {
			status, body, err := c.send(http.MethodPost, c.url+api+path, "application/json", `{"ShopNo":"NA0001_001"}`, head)
			if err != nil || status != http.StatusUnauthorized || !strings.Contains(body, `"Code":"401"`) {
				t.Errorf("%s %s: %d %s %v", name, path, status, body, err)
			}
		}
	}
	if status, _, err := c.send(http.MethodPost, c.set["url"]+"/Nonce", "text/plain", `{"ShopNo":"NA0001_001"}`, map[string]string{"X-KeyID": c.set["key_id"]}); err != nil || status != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain: %d %v", status, err)
	}
	if status, _, err := c.send(http.MethodGet, c.set["url"]+"/Nonce", "", "", nil); err != nil || status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d %v", status, err)
	}
}

func TestNonceIsRefused(t *testing.T) {
	c := newCity(t)
	for _, body := range []string{
		"", "[]", `"x"`, `{}`, `{"ShopNo":"NA0001_009"}`, `{"shopno":"NA0001_001"}`, `{"ShopNo":"NA0001_001","ShopNo":"NA0001_001"}`, `{"ShopNo":"NA0001_001","More":1}`,
		`{"ShopNo":1}`, `{"ShopNo":null}`, `{"ShopNo":"NA0001_001"}{}`, `{"ShopNo":"NA0001_001"`, "{\"ShopNo\":\"NA0001_001\",\"\xff\":1}", `{"ShopNo":"NA0001_001",}`,
	} {
		status, answer, err := c.post("/Nonce", body)
		if err != nil || status != http.StatusBadRequest || !strings.Contains(answer, `"Status":"F"`) || strings.Contains(answer, "Nonce") {
			t.Errorf("%s: %d %s %v", body, status, answer, err)
		}
	}
}

func TestNonceForm(t *testing.T) {
	c := newCity(t)
	first, second := c.nonce("NA0001_001"), c.nonce("NA0001_001")
	text, err := base64.StdEncoding.DecodeString(first)
	if err != nil || !regexp.MustCompile(`^63632912640000\.0:[0-9a-f]{64}$`).Match(text) || first == second {
		t.Errorf("%s, %s, %v", text, second, err)
	}
}

func TestTooManyNonces(t *testing.T) {
	c := newCity(t)
	ask := func() int {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, api+"/Nonce", strings.NewReader(`{"ShopNo":"NA0001_001"}`))
		r.Header.Set("X-KeyID", c.set["key_id"])
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		c.double.Handler.ServeHTTP(w, r)
		return w.Code
	}
	for range 10_000 {
		if ask() != http.StatusOK {
			t.Fatal("refused too early")
		}
	}
	if status := ask(); status != http.StatusTooManyRequests {
		t.Errorf("one more: %d", status)
	}
	c.clock.Advance(time.Minute)
	if status := ask(); status != http.StatusOK {
		t.Errorf("after they ended: %d", status)
	}
}

// refused posts to /Order and wants a plain refusal with a code.
func (c *city) refused(name, body, code string) {
	c.t.Helper()
	status, answer, err := c.post("/Order", body)
	var plain struct{ Status, Description string }
	if err != nil || status != http.StatusBadRequest || json.Unmarshal([]byte(answer), &plain) != nil || plain.Status != "F" || !strings.HasPrefix(plain.Description, code+" - ") {
		c.t.Errorf("%s: want %s, got %d %s %v", name, code, status, answer, err)
	}
}

func TestANonceIsGoodForOneCallOneShopAndAMinute(t *testing.T) {
	c := newCity(t)
	query := func(shop string) sinopac.Envelope {
		return c.wrapped("OrderQuery", shop, `{"ShopNo":"`+shop+`","OrderNo":"P1"}`)
	}
	e := encode(t, query("NA0001_001"))
	if status, body, err := c.post("/Order", e); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, body, err)
	}
	c.refused("used", e, "E0001")

	spoiled := query("NA0001_001")
	good := encode(t, spoiled)
	spoiled.Sign = strings.Repeat("0", 64)
	c.refused("wrong signature", encode(t, spoiled), "E0002")
	c.refused("used by a wrong signature", good, "E0001")

	others := query("NA0001_002")
	others.ShopNo = "NA0001_001"
	c.refused("of another shop", encode(t, others), "E0001")

	unknown := query("NA0001_001")
	unknown.Nonce = vectorNonce
	c.refused("not known", encode(t, unknown), "E0001")

	late, early := encode(t, query("NA0001_001")), encode(t, query("NA0001_001"))
	c.clock.Advance(59 * time.Second)
	if status, body, err := c.post("/Order", early); err != nil || status != http.StatusOK {
		t.Errorf("after 59 s: %d %s %v", status, body, err)
	}
	c.clock.Advance(time.Second)
	c.refused("ended", late, "E0001")

	// The nonce of an answer is not one for a call.
	_, body, err := c.post("/Order", encode(t, query("NA0001_001")))
	var answer sinopac.Envelope
	if err != nil || json.Unmarshal([]byte(body), &answer) != nil {
		t.Fatal(body, err)
	}
	c.refused("of an answer", encode(t, answer), "E0001")
}

func TestEnvelopeIsRefused(t *testing.T) {
	const plain = `{"ShopNo":"NA0001_001","OrderNo":"P1"}`
	for _, test := range []struct {
		name, code string
		spoil      func(c *city, e *sinopac.Envelope)
	}{
		{"version", "E0004", func(_ *city, e *sinopac.Envelope) { e.Version = "1.0.1" }},
		{"unknown shop", "E0004", func(_ *city, e *sinopac.Envelope) { e.ShopNo = "NA0001_003" }},
		{"no service", "E0004", func(_ *city, e *sinopac.Envelope) { e.APIService = "" }},
		{"short nonce", "E0004", func(_ *city, e *sinopac.Envelope) { e.Nonce = e.Nonce[1:] }},
		{"short sign", "E0004", func(_ *city, e *sinopac.Envelope) { e.Sign = e.Sign[1:] }},
		{"lower-case sign", "E0002", func(_ *city, e *sinopac.Envelope) { e.Sign = strings.ToLower(e.Sign) }},
		{"lower-case message", "E0003", func(_ *city, e *sinopac.Envelope) { e.Message = strings.ToLower(e.Message) }},
		{"message cut to half a block", "E0003", func(_ *city, e *sinopac.Envelope) { e.Message = e.Message[:48] }},
		{"message of whole bytes only", "E0003", func(_ *city, e *sinopac.Envelope) { e.Message = e.Message[1:] }},
		{"last block gone", "E0003", func(_ *city, e *sinopac.Envelope) { e.Message = e.Message[:32] }},
		{"no hex", "E0003", func(_ *city, e *sinopac.Envelope) { e.Message = "ZZ" + e.Message[2:] }},
		{"sealed under another nonce", "E0003", func(c *city, e *sinopac.Envelope) { e.Message = c.keys.Seal(vectorNonce, plain) }},
		{"another message", "E0002", func(c *city, e *sinopac.Envelope) {
			e.Message = c.keys.Seal(e.Nonce, strings.Replace(plain, "P1", "P2", 1))
		}},
		{"member twice", "E0003", func(c *city, e *sinopac.Envelope) {
			e.Message = c.keys.Seal(e.Nonce, `{"ShopNo":"NA0001_001","OrderNo":"P1","OrderNo":"P1"}`)
		}},
		{"no UTF-8", "E0003", func(c *city, e *sinopac.Envelope) {
			e.Message = c.keys.Seal(e.Nonce, "{\"ShopNo\":\"NA0001_001\",\"OrderNo\":\"\xff\"}")
		}},
		{"no object", "E0003", func(c *city, e *sinopac.Envelope) { e.Message = c.keys.Seal(e.Nonce, `["P1"]`) }},
		{"signed with the wrong keys", "E0002", func(c *city, e *sinopac.Envelope) {
			e.Sign, _ = newKeys(c.t, "65960834240E44B7", "2831076A098E49E7", "CB1AFFBF915A492B", "7F242C0AA612454F").Sign(e.Nonce, plain)
		}},
	} {
		c := newCity(t)
		e := c.wrapped("OrderQuery", "NA0001_001", plain)
		test.spoil(c, &e)
		c.refused(test.name, encode(t, e), test.code)
	}
	c := newCity(t)
	for name, spoil := range map[string]func(string) string{
		"more":      func(e string) string { return strings.Replace(e, "{", `{"More":"",`, 1) },
		"twice":     func(e string) string { return strings.Replace(e, "{", `{"Version":"1.0.0",`, 1) },
		"mis-cased": func(e string) string { return strings.Replace(e, "Version", "version", 1) },
		"no text":   func(e string) string { return strings.Replace(e, `"1.0.0"`, "1", 1) },
		"behind":    func(e string) string { return e + "x" },
		"nothing":   func(string) string { return "" },
	} {
		c.refused(name, spoil(encode(t, c.wrapped("OrderQuery", "NA0001_001", plain))), "E0004")
	}
	if status, _, err := c.post("/Order", `{"Message":"`+strings.Repeat("A", 64<<10)+`"}`); err != nil || status != http.StatusRequestEntityTooLarge {
		t.Errorf("too long: %d %v", status, err)
	}
}
