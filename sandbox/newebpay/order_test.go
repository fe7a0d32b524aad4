package newebpay_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// spoil is a change to a good message, and what must come of it.
type spoil struct {
	name   string
	change func(url.Values)
	want   string
}

func set(name, value string) func(url.Values) { return func(f url.Values) { f.Set(name, value) } }
func add(name, value string) func(url.Values) { return func(f url.Values) { f.Add(name, value) } }
func del(name string) func(url.Values)        { return func(f url.Values) { f.Del(name) } }

// rename is a field under another name.
func rename(name, to string) func(url.Values) {
	return func(f url.Values) {
		f.Set(to, f.Get(name))
		f.Del(name)
	}
}

func TestOuterFormRefuses(t *testing.T) {
	c := newCity(t)
	seal32 := seal(t, c.key, c.iv, c.inner().Encode()+strings.Repeat("x", 32-len(c.inner().Encode())%32), 32)
	resealed := func(sealed string) func(url.Values) {
		return func(f url.Values) {
			f.Set("TradeInfo", sealed)
			f.Set("TradeSha", c.sha(sealed))
		}
	}
	for _, s := range []spoil{
		{"no MerchantID", del("MerchantID"), "MPG01009"},
		{"no TradeInfo", del("TradeInfo"), "MPG01023"},
		{"empty TradeInfo", set("TradeInfo", ""), "MPG01023"},
		{"no TradeSha", del("TradeSha"), "MPG01024"},
		{"no Version", del("Version"), "MPG02010"},
		{"Version twice", add("Version", "2.3"), "MPG02005"},
		{"TradeInfo twice", func(f url.Values) { f.Add("TradeInfo", f.Get("TradeInfo")) }, "MPG02005"},
		{"mis-cased", rename("MerchantID", "MerchantId"), "MPG01009"},
		{"one more", set("Note", "x"), "MPG02005"},
		{"old version", set("Version", "2.0"), "MPG02010"},
		{"EncryptType 1", set("EncryptType", "1"), "MPG02004"},
		{"EncryptType 0", set("EncryptType", "0"), "MPG02004"},
		{"unknown shop", set("MerchantID", "MS127874575"), "MPG03007"},
		{"another shop", set("MerchantID", c.double.Payees["twd"]), "MPG03007"},
		{"digest in lower case", func(f url.Values) { f.Set("TradeSha", strings.ToLower(f.Get("TradeSha"))) }, "MPG03008"},
		{"digest cut short", func(f url.Values) { f.Set("TradeSha", f.Get("TradeSha")[:62]) }, "MPG03008"},
		{"digest of something else", set("TradeSha", c.sha("00")), "MPG03008"},
		{"changed ciphertext", func(f url.Values) { f.Set("TradeInfo", f.Get("TradeInfo")[2:]+"00") }, "MPG03008"},
		{"upper-case ciphertext", func(f url.Values) { resealed(strings.ToUpper(f.Get("TradeInfo")))(f) }, "MPG03008"},
		{"cut ciphertext", func(f url.Values) { resealed(f.Get("TradeInfo")[:62])(f) }, "MPG03008"},
		{"bad padding", func(f url.Values) { resealed(f.Get("TradeInfo")[:64])(f) }, "MPG03008"},
		{"no hexadecimal", resealed("zz"), "MPG03008"},
		{"padded to 32", resealed(seal32), "MPG03008"},
	} {
		form := c.outer(c.inner().Encode())
		s.change(form)
		if p := c.post("/MPG/mpg_gateway", form); p.status != http.StatusBadRequest || !strings.Contains(p.problem(), s.want) {
			t.Errorf("%s: %d %s", s.name, p.status, p.problem())
		}
	}
	// A payer who is refused for one reason cannot tell it from the other.
	form := c.outer(c.inner().Encode())
	resealed(form.Get("TradeInfo")[:64])(form)
	padding := c.post("/MPG/mpg_gateway?lang=en", form)
	form.Set("TradeSha", c.sha("00"))
	if digest := c.post("/MPG/mpg_gateway?lang=en", form); padding.problem() != digest.problem() {
		t.Errorf("%q, %q", padding.problem(), digest.problem())
	}
	for name, path := range map[string]string{"a query in the address": "/MPG/mpg_gateway?x=1", "a form too long": "/MPG/mpg_gateway"} {
		form := c.outer(c.inner().Encode())
		if strings.HasSuffix(name, "long") {
			form.Set("TradeInfo", strings.Repeat("0", 65<<10))
		}
		if p := c.post(path, form); !strings.Contains(p.problem(), "MPG02005") {
			t.Errorf("%s: %d %s", name, p.status, p.problem())
		}
	}
	if books := c.get("/books").body; strings.TrimSpace(books) != `{"entries":[]}` {
		t.Errorf("books: %s", books)
	}
}

func TestOrderRefuses(t *testing.T) {
	c := newCity(t)
	later := func(d time.Duration) string {
		c.clock.Advance(d)
		defer c.clock.Advance(-d)
		return c.stamp()
	}
	for _, s := range []spoil{
		{"no order number", del("MerchantOrderNo"), "MPG01012"},
		{"no ReturnURL", del("ReturnURL"), "MPG01014"},
		{"no NotifyURL", del("NotifyURL"), "MPG01014"},
		{"no RespondType", del("RespondType"), "MPG01011"},
		{"no TimeStamp", del("TimeStamp"), "MPG01002"},
		{"Amt twice", add("Amt", "40"), "MPG02004"},
		{"mis-cased", rename("ItemDesc", "Itemdesc"), "MPG01017"},
		{"unknown field", set("LoginType", "0"), "MPG02005"},
		{"another's MerchantID", set("MerchantID", c.double.Payees["twd"]), "MPG03007"},
		{"String", set("RespondType", "String"), "MPG01011"},
		{"no time", set("TimeStamp", "2025-11-25"), "MPG01002"},
		{"too old", set("TimeStamp", later(-121*time.Second)), "MPG02004"},
		{"too new", set("TimeStamp", later(121*time.Second)), "MPG02004"},
		{"milliseconds", set("TimeStamp", c.stamp()+"000"), "MPG01002"},
		{"version", set("Version", "2.0"), "MPG02010"},
		{"number with a hyphen", set("MerchantOrderNo", "A-1"), "MPG01012"},
		{"number of 31", set("MerchantOrderNo", strings.Repeat("1", 31)), "MPG01012"},
		{"empty number", set("MerchantOrderNo", ""), "MPG01012"},
		{"zero", set("Amt", "0"), "MPG01015"},
		{"negative", set("Amt", "-1"), "MPG01015"},
		{"fraction", set("Amt", "40.0"), "MPG01015"},
		{"leading zero", set("Amt", "040"), "MPG01015"},
		{"eleven digits", set("Amt", "10000000000"), "MPG01015"},
		{"line break", set("ItemDesc", "a\nb"), "MPG01017"},
		{"quote", set("ItemDesc", "driver's"), "MPG01017"},
		{"double quote", set("ItemDesc", `a "b"`), "MPG01017"},
		{"51 characters", set("ItemDesc", strings.Repeat("字", 51)), "MPG01017"},
		{"page life 59", set("TradeLimit", "59"), "MPG02005"},
		{"page life 901", set("TradeLimit", "901"), "MPG02005"},
		{"relative", set("ReturnURL", "/return"), "MPG01014"},
		{"another scheme", set("NotifyURL", "ftp://shop.example/"), "MPG01014"},
		{"another port", set("NotifyURL", "https://shop.example:8443/notify"), "MPG01014"},
		{"fragment", set("NotifyURL", c.shop+"/notify#x"), "MPG01014"},
		{"user", set("ReturnURL", "http://a@shop.example/"), "MPG01014"},
		{"201 characters", set("ReturnURL", "https://shop.example/"+strings.Repeat("r", 180)), "MPG01014"},
		{"both alike", func(f url.Values) { f.Set("ReturnURL", f.Get("NotifyURL")) }, "MPG01014"},
		{"ClientBackURL", set("ClientBackURL", "shop"), "MPG01014"},
		{"switch 2", set("CREDIT", "2"), "MPG02005"},
		{"empty switch", set("LINEPAY", ""), "MPG02005"},
		{"no e-mail", set("Email", "payer"), "MPG01013"},
		{"long e-mail", set("Email", strings.Repeat("a", 50)+"@b"), "MPG01013"},
		{"instalments", set("InstFlag", "3,7"), "MPG01008"},
		{"language", set("LangType", "de"), "MPG02005"},
		{"token", set("TokenTerm", "a b"), "MPG01005"},
		{"bank", set("BankType", "ABC"), "MPG01025"},
		{"details", set("OrderDetail", `{}`), "MPG01028"},
		{"a detail", set("OrderDetail", `[{"ItemName":"停車費","ItemAmt":40,"ItemType":4,"ItemOrderNo":"1"}]`), "MPG01028"},
		{"sum of details", set("OrderDetail", `[{"ItemName":"停車費","ItemAmt":39,"ItemType":1,"ItemOrderNo":"1"}]`), "MPG01029"},
		{"detail twice", set("OrderDetail", `[{"ItemName":"停車費","ItemAmt":20,"ItemType":1,"ItemOrderNo":"1"},{"ItemName":"停車費","ItemAmt":20,"ItemType":1,"ItemOrderNo":"1"}]`), "MPG01030"},
		{"not UTF-8", set("ItemDesc", "\xff"), "MPG02004"},
	} {
		inner := c.inner()
		s.change(inner)
		if p := c.post("/MPG/mpg_gateway", c.outer(inner.Encode())); p.status != http.StatusBadRequest || !strings.Contains(p.problem(), s.want) {
			t.Errorf("%s: %d %s", s.name, p.status, p.problem())
		}
	}
	// Written otherwise than http_build_query does, though it can be read.
	plain := c.inner().Encode()
	for _, spoiled := range []string{strings.ReplaceAll(plain, "+", "%20"), strings.Replace(plain, "%3A", "%3a", 1), strings.Replace(plain, "%2F", "/", 1), plain + "&", plain + "&OrderComment=~", ""} {
		if p := c.post("/MPG/mpg_gateway", c.outer(spoiled)); !strings.Contains(p.problem(), "MPG0") {
			t.Errorf("%q: %d", spoiled, p.status)
		}
	}
	if books := c.get("/books").body; strings.TrimSpace(books) != `{"entries":[]}` {
		t.Errorf("books: %s", books)
	}
}

func TestOrderTakes(t *testing.T) {
	c := newCity(t)
	for _, s := range []spoil{
		{"whole table", func(f url.Values) {
			for name, value := range map[string]string{
				"LangType": "jp", "TradeLimit": "300", "ExpireDate": "20251130", "ExpireTime": "235959", "CustomerURL": c.shop + "/code", "ClientBackURL": "https://shop.example:443/",
				"Email": "payer@example.tw", "EmailModify": "0", "OrderComment": "備註\n二行", "InstFlag": "3,6,12", "BankType": "BOT,HNCB", "CVSCOM": "0", "LgsType": "C2C", "TWQR_LifeTime": "300",
				"SourceType": "0", "SourceBankId": "008", "SourceAccountNo": "1234567890123456", "WalletDisplayMode": "1", "TokenTerm": "a.b_c@d-e", "TokenTermDemand": "1",
				"OrderDetail": `[{"ItemName":"停車費","ItemAmt":25,"ItemType":1,"ItemOrderNo":"1"},{"ItemName":"停車費","ItemAmt":15,"ItemType":2,"ItemOrderNo":"2"}]`,
			} {
				f.Set(name, value)
			}
			for _, name := range strings.Fields("APPLEPAY ANDROIDPAY SAMSUNGPAY LINEPAY CreditRed UNIONPAY CREDITAE VACC CVS BARCODE ESUNWALLET TAIWANPAY BITOPAY TWQR EZPWECHAT EZPALIPAY") {
				f.Set(name, "1")
			}
		}, "first"},
		{"long number", set("MerchantOrderNo", strings.Repeat("a", 30)), ""},
		{"50 characters", set("ItemDesc", strings.Repeat("字", 50)), "third"},
		{"largest", set("Amt", "9999999999"), "fourth"},
		{"119 seconds", set("TimeStamp", c.stamp()), "fifth"},
	} {
		inner := c.inner()
		if s.want != "" {
			inner.Set("MerchantOrderNo", s.want)
		}
		s.change(inner)
		if s.want == "fifth" {
			c.clock.Advance(119 * time.Second)
		}
		if p := c.post("/MPG/mpg_gateway", c.outer(inner.Encode())); p.status != http.StatusOK || p.problem() != "" {
			t.Errorf("%s: %d %s", s.name, p.status, p.problem())
		}
	}
	// A number serves once.
	inner := c.inner()
	inner.Set("MerchantOrderNo", "first")
	if p := c.post("/MPG/mpg_gateway", c.outer(inner.Encode())); !strings.Contains(p.problem(), "MPG03008") {
		t.Errorf("%d %s", p.status, p.problem())
	}
}
