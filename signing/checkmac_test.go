package signing_test

import (
	"errors"
	"strings"
	"testing"

	"pay.taipei/gateway/signing"
)

// Source: ECPay, developers.ecpay.com.tw ?p=2902; its key is published for tests.
func TestCheckMac(t *testing.T) {
	key, iv := signing.NewSecret([]byte("pwFHCqoQZGmho4w6")), signing.NewSecret([]byte("EkRm7iFT261dpevs"))
	c, err := signing.NewCheckMac(key, iv)
	if err != nil {
		t.Fatal(err)
	}
	fields := []signing.Field{
		{Name: "TotalAmount", Value: "30000"}, {Name: "ChoosePayment", Value: "ALL"}, {Name: "EncryptType", Value: "1"}, {Name: "ItemName", Value: "Apple iphone 15"},
		{Name: "MerchantID", Value: "3002607"}, {Name: "MerchantTradeDate", Value: "2023/03/12 15:30:23"}, {Name: "MerchantTradeNo", Value: "ecpay20230312153023"},
		{Name: "PaymentType", Value: "aio"}, {Name: "ReturnURL", Value: "https://www.ecpay.com.tw/receive.php"}, {Name: "TradeDesc", Value: "促銷方案"},
	}
	const want = "6C51C9E6888DE861FD62FB1DD17029FC742634498FD813DC43D4243B5685B840"
	if got := c.Sum(fields); got != want {
		t.Errorf("%s", got)
	}
	if err := errors.Join(c.Verify(fields, want), c.Verify(fields, strings.ToLower(want))); err != nil {
		t.Error(err)
	}
	for name, sum := range map[string]string{"empty": "", "short": want[:63], "another": "7" + want[1:]} {
		if err := c.Verify(fields, sum); !errors.Is(err, signing.ErrMismatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	fields[0].Value = "3000"
	if err := c.Verify(fields, want); !errors.Is(err, signing.ErrMismatch) {
		t.Error(err)
	}
	for _, bad := range [][2]signing.Secret{{{}, iv}, {key, {}}} {
		if _, err := signing.NewCheckMac(bad[0], bad[1]); err == nil {
			t.Error("made without a key")
		}
		if _, err := signing.NewCheckMacMD5(bad[0], bad[1]); err == nil {
			t.Error("made without a key")
		}
	}
}

// Source: O'Pay's table of characters.
func TestNetEncode(t *testing.T) {
	const want = "-_.!%7e*()+%40%23%24%25%5e%26%3d%2b%3b%3f%2f%5c%3e%3c%60%5b%5d%7b%7d%3a%27%22%2c%7c"
	if got := signing.NetEncode("-_.!~*() @#$%^&=+;?/\\><`[]{}:'\",|"); got != want {
		t.Errorf("%s", got)
	}
}
