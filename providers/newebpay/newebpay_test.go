package newebpay_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"pay.taipei/gateway/providers/internal/mpg"
	"pay.taipei/gateway/providers/newebpay"
	"pay.taipei/gateway/signing"
)

// The shop of the manual's samples: MPG NDNF 1.1.9, 4.1.1. Everybody knows its keys.
const (
	shop    = "MS127874575"
	hashKey = "Fs5cX1TGqYM2PpdbE14a9H83YQSQF5jn"
	hashIV  = "C6AcmfqJILwgnhIP"
)

func envelope(t testing.TB) *mpg.Envelope {
	t.Helper()
	e, err := mpg.NewEnvelope(mpg.Keys{HashKey: signing.NewSecret([]byte(hashKey)), HashIV: signing.NewSecret([]byte(hashIV)), Pad: 16})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// notice is a body as the provider posts it.
func notice(t testing.TB, plain, more string) []byte {
	t.Helper()
	e := envelope(t)
	sealed := e.Seal([]byte(plain))
	return []byte("Status=SUCCESS&MerchantID=" + shop + "&Version=2.3&TradeInfo=" + sealed + "&TradeSha=" + e.Sum(sealed) + more)
}

// readNotice is what the scheme of whole notices says.
func readNotice(t testing.TB, body []byte) (map[string]any, error) {
	t.Helper()
	for _, s := range newebpay.VectorSchemes() {
		if s.Name != "newebpay-callback-body" {
			continue
		}
		in, err := signing.NewInputs(s, map[string]any{"body": string(body), "merchant_id": shop, "hash_key": hashKey, "hash_iv": hashIV})
		if err != nil {
			t.Fatal(err)
		}
		made, err := s.Make(in)
		if err != nil {
			return nil, err
		}
		said, ok := made.(map[string]any)
		if !ok {
			t.Fatalf("%T", made)
		}
		return said, nil
	}
	t.Fatal("no scheme")
	return nil, nil
}

const result = `{"MerchantID":"` + shop + `","Amt":40,"TradeNo":"23092714215835071","MerchantOrderNo":"201706130000001601","PayTime":"2017-06-13 09:01:00"}`

func paid(change ...string) string {
	return strings.NewReplacer(change...).Replace(`{"Status":"SUCCESS","Message":"授權成功","Result":` + result + `}`)
}

func TestNotices(t *testing.T) {
	quoted, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"Status": {"SUCCESS"}, "Message": {"授權成功"}, "MerchantID": {shop}, "Amt": {"40"}, "PayTime": {"2017-06-13 09:01:00"}, "TradeNo": {"23092714215835071"}, "MerchantOrderNo": {"201706130000001601"}}
	for name, tt := range map[string]struct{ plain, more, outcome string }{
		"paid":                        {paid(), "", "succeeded"},
		"the result as a text":        {paid(result, string(quoted)), "", "succeeded"},
		"the amount as a text":        {paid(`40`, `"40"`), "", "succeeded"},
		"a form":                      {form.Encode(), "", "succeeded"},
		"refused":                     {paid("SUCCESS", "MPG03009"), "", "failed"},
		"simulated":                   {paid("授權成功", "模擬付款成功"), "", "test"},
		"a code was handed out":       {paid(`"PayTime":"2017-06-13 09:01:00"`, `"ExpireDate":"2017-06-20","BankCode":"017"`), "", "pending"},
		"another merchant":            {paid(shop, "MS1"), "", "pending"},
		"sealed in a way not written": {paid(), "&EncryptType=1", "pending"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readNotice(t, notice(t, tt.plain, tt.more))
			if err != nil || got["outcome"] != tt.outcome || got["sha_valid"] == true && (got["amount"] != uint64(40) || got["merchant_order_no"] != "201706130000001601") {
				t.Errorf("%v, %v; want %s", got, err, tt.outcome)
			}
		})
	}
}

// What cannot be read is refused whole: nothing of it is said.
func TestNoticesThatCannotBeRead(t *testing.T) {
	for name, body := range map[string][]byte{
		"a field twice":            notice(t, paid(), "&TradeSha=x"),
		"a bad escape":             notice(t, paid(), "&x=%zz"),
		"a semicolon":              notice(t, paid(), "&x=1;y=2"),
		"not UTF-8":                notice(t, paid(), "&x=%ff"),
		"a member twice":           notice(t, paid(`"Amt":40`, `"Amt":40,"Amt":1`), ""),
		"no result":                notice(t, `{"Status":"SUCCESS","Message":""}`, ""),
		"the result is a list":     notice(t, `{"Status":"SUCCESS","Message":"","Result":[]}`, ""),
		"the status is a number":   notice(t, paid(`"SUCCESS"`, `1`), ""),
		"something behind it":      notice(t, paid()+"{}", ""),
		"half of it":               notice(t, paid()[:60], ""),
		"a form with a name twice": notice(t, "Status=SUCCESS&Amt=40&Amt=1", ""),
	} {
		if got, err := readNotice(t, body); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Every byte of the sealed text lies under the digest, and every byte of the digest counts.
func TestEveryByteOfANoticeCounts(t *testing.T) {
	good := notice(t, paid(), "")
	from := strings.Index(string(good), "TradeInfo=")
	for i := from; i < len(good); i++ {
		bad := append([]byte{}, good...)
		bad[i] ^= 1
		got, err := readNotice(t, bad)
		if err == nil && got["sha_valid"] == true {
			t.Fatalf("byte %d: %v", i, got)
		}
	}
}

func FuzzReadNotice(f *testing.F) {
	f.Add([]byte(paid()), "")
	f.Add([]byte("Status=SUCCESS&Amt=40"), "&x=1")
	f.Fuzz(func(t *testing.T, plain []byte, more string) {
		got, err := readNotice(t, notice(t, string(plain), more))
		if err == nil && got["outcome"] == "succeeded" && !strings.Contains(string(plain), "SUCCESS") && !strings.ContainsAny(string(plain), `\%`) {
			t.Errorf("%q: %v", plain, got)
		}
	})
}
