package sinopac

import (
	"strings"
	"testing"

	"pay.taipei/gateway/signing"
)

func TestSignedText(t *testing.T) {
	for message, want := range map[string]string{
		`{"b":"2","A":1,"c":{"x":1},"d":[1],"e":null,"f":"","g":0,"h":true}`: "A=1&b=2&g=0&h=true",
		`{"Amount":50000,"Description":"S0000 – 處理成功"}`:                      "Amount=50000&Description=S0000 – 處理成功",
		`{"a":"\u8655"}`:                 "a=處",
		`{"TSNo":"1","Ts_":"2","tsa":3}`: "tsa=3&TSNo=1&Ts_=2",
		`{}`:                             "",
	} {
		if got, err := signedText([]byte(message)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", message, got, err, want)
		}
	}
	for _, bad := range []string{"", "[]", "1", "null", `{"a":1}x`, `{"a":1,"a":2}`, `{"a":1,"A":2}`, "{\"a\":\"\xff\"}", `{"a"`} {
		if got, err := signedText([]byte(bad)); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestKeysOfAnotherFormAreRefusedUnseen(t *testing.T) {
	good := signing.NewSecret([]byte("4D97-09D6-99CA-40EE"))
	if _, err := hashID(good, good, good, good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "4D9709D699CA40E", "4D9709D699CA40EE00", "4D9709D699CA40EZ"} {
		_, err := hashID(good, signing.NewSecret([]byte(bad)), good, good)
		if err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzSignedText(f *testing.F) {
	f.Add([]byte(`{"ShopNo":"NA0001_001","Amount":50000,"CardParam":{"AutoBilling":"N"},"x":null}`))
	f.Fuzz(func(t *testing.T, message []byte) {
		text, err := signedText(message)
		if err != nil && text != nil {
			t.Errorf("%q with %v", text, err)
		}
	})
}
