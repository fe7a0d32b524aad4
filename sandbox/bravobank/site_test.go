package bravobank_test

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestWalk(t *testing.T) {
	for _, method := range []string{"credit_card", "stored_value", "deposit_account"} {
		t.Run(method, func(t *testing.T) {
			c := newCity(t)
			login := c.post("/order", c.order())
			if login.path != "/login" || login.status != 200 || strings.Contains(login.body, "H60983881309263") {
				t.Fatalf("login page: %d %s", login.status, login.path)
			}
			captcha := c.get("/captcha/" + login.token())
			if !strings.Contains(login.body, `alt="`+captcha.body+`"`) || len(captcha.body) != 5 {
				t.Errorf("captcha %q is not the picture's alt", captcha.body)
			}
			order := c.login(login)
			if order.path != "/order" || order.status != 200 {
				t.Fatalf("order page: %d %s", order.status, order.path)
			}
			for id, want := range map[string]string{"order-no": "2017061300000016", "merchant": "臺北市停車管理工程處", "payee": "1136549", "payer": "1361049", "settlement": "立即", "total": "NT$\u00a040"} {
				if got := order.field(id); got != want {
					t.Errorf("%s: %q, want %q", id, got, want)
				}
			}
			for _, want := range []string{"停車費 繳費單號： H60983881309263 1 NT$ 20 NT$ 20", "停車費 繳費單號： H61283631217536 1 NT$ 20 NT$ 20", "您的支付款項將於交易完成後，移轉至收款人的電子支付帳戶"} {
				if !strings.Contains(order.text(), want) {
					t.Errorf("the page lacks %q: %s", want, order.text())
				}
			}
			result := c.pay(order, method)
			if result.path != "/result" || !strings.Contains(result.body, `data-status="paid"`) || !strings.Contains(result.body, `href="`+c.gateway+`/r/7Zk2"`) {
				t.Fatalf("result page: %s", result.text())
			}
			if c.woken != 1 {
				t.Errorf("woken %d times", c.woken)
			}
			if next := c.step(); !next.IsZero() {
				t.Errorf("still due at %v", next)
			}
			got := c.got()
			if len(got) != 1 || !got[0].genuine {
				t.Fatalf("notices %+v", got)
			}
			want := statement{
				"2017061300000016", "201706130000001601", "demo", "1136549", "1361049", "paid", "40", "TWD", method,
				c.clock.Now().In(time.FixedZone("", 8*60*60)).Format(time.RFC3339), result.field("trade-no"), nil, "",
			}
			if !reflect.DeepEqual(got[0].statement, want) {
				t.Errorf("notice %+v, want %+v", got[0].statement, want)
			}
			want.Refunds = []refundFact{}
			if asked := c.query(); !reflect.DeepEqual(asked, want) {
				t.Errorf("query %+v, want %+v", asked, want)
			}
			if e := c.book(); e.Charges != 1 || e.Status != "paid" || e.Method != method || e.Deliveries != 1 || e.Settled != 1 {
				t.Errorf("books %+v", e)
			}
		})
	}
}

func TestBackReloadAndSecondClick(t *testing.T) {
	c := newCity(t)
	form := c.order()
	first, second := c.visit(form), c.visit(form) // two windows
	again := c.get("/order?s=" + first.token())   // reload
	if again.field("total") != "NT$\u00a040" {
		t.Error("reload lost the order page")
	}
	paid := c.pay(first, "credit_card")
	for name, p := range map[string]page{
		"the same form again":      c.pay(first, "credit_card"),
		"the other window":         c.pay(second, "stored_value"),
		"cancel after paying":      c.post("/cancel", url.Values{"s": {first.token()}}),
		"back to the order page":   c.get("/order?s=" + first.token()),
		"the order posted again":   c.post("/order", form),
		"the result page reloaded": c.get("/result?s=" + paid.query.Get("s")),
	} {
		if p.path != "/result" || p.field("trade-no") != paid.field("trade-no") || p.field("trade-no") == "" {
			t.Errorf("%s: %s %s", name, p.path, p.text())
		}
	}
	if e := c.book(); e.Charges != 1 || e.Method != "credit_card" {
		t.Errorf("books %+v", e)
	}
	c.step()
	if next := c.step(); !next.IsZero() || len(c.got()) != 1 {
		t.Errorf("%d notices", len(c.got()))
	}
}

func TestCancelAndExpiry(t *testing.T) {
	c := newCity(t)
	order := c.visit(c.order())
	if p := c.post("/cancel", url.Values{"s": {order.token()}}); !strings.Contains(p.body, `data-status="cancelled"`) {
		t.Error(p.text())
	}
	if p := c.pay(order, "credit_card"); !strings.Contains(p.body, `data-status="cancelled"`) {
		t.Error("paid after cancelling: " + p.text())
	}
	c.step()
	if got := c.got(); len(got) != 1 || got[0].Status != "cancelled" {
		t.Errorf("notices %+v", got)
	}

	late := newCity(t)
	form := late.order()
	open := late.visit(form)
	late.clock.Advance(10 * time.Minute)
	for name, p := range map[string]page{"pay": late.pay(open, "credit_card"), "a new visit": late.post("/order", form), "reload": late.get("/order?s=" + open.token())} {
		if !strings.Contains(p.body, `data-status="expired"`) || !strings.Contains(p.body, `id="return"`) {
			t.Errorf("%s: %s", name, p.text())
		}
	}
	if s := late.query(); s.Status != "expired" {
		t.Errorf("%+v", s)
	}
	if next := late.step(); !next.IsZero() || late.book().Charges != 0 {
		t.Error("something happened after the end")
	}
}

func TestOrdersRefused(t *testing.T) {
	c := newCity(t)
	changed := func(change func(*orderForm)) url.Values {
		r := c.request()
		change(&r)
		return c.sign(r)
	}
	twice := c.order()
	twice.Add("sig", twice.Get("sig"))
	spoilt := func(name, from, to string) url.Values {
		f := c.order()
		f.Set(name, strings.Replace(f.Get(name), from, to, 1))
		return f
	}
	for name, form := range map[string]url.Values{
		"nothing":                     {},
		"signature twice":             twice,
		"unknown key":                 spoilt("kid", "gateway-1", "gateway-2"),
		"order changed":               spoilt("order", "e", "f"),
		"signature of another length": spoilt("sig", c.order().Get("sig")[:4], ""),
		"unknown payee":               changed(func(r *orderForm) { r.Payee = "77" }),
		"name of another agency":      changed(func(r *orderForm) { r.Merchant = "臺北自來水事業處" }),
		"total below the lines":       changed(func(r *orderForm) { r.Total = "39" }),
		"unknown method":              changed(func(r *orderForm) { r.Methods = []string{"cash"} }),
		"wrong subtotal":              changed(func(r *orderForm) { r.Lines[0].Quantity = 2 }),
	} {
		p := c.post("/order", form)
		if p.status != http.StatusBadRequest || strings.Contains(p.body, "H60983881309263") {
			t.Errorf("%s: %d %s", name, p.status, p.text())
		}
	}
	if len(c.bank.Books()) != 0 {
		t.Error("a refused order is in the books")
	}
	if p := c.post("/order", c.order()); p.path != "/login" {
		t.Fatal(p.text())
	}
	if p := c.post("/order", changed(func(r *orderForm) { r.Total = "41" })); p.status != http.StatusConflict {
		t.Errorf("the same number, another order: %d", p.status)
	}
}

func TestFeeIsARowOfItsOwn(t *testing.T) {
	c := newCity(t)
	r := c.request()
	r.Total = "1045"
	if p := c.visit(c.sign(r)); p.field("fee") != "NT$\u00a01,005" || p.field("total") != "NT$\u00a01,045" {
		t.Error(p.text())
	}
}

func TestLogin(t *testing.T) {
	c := newCity(t)
	login := c.post("/order", c.order())
	s := login.token()
	captcha := func() string { return c.get("/captcha/" + s).body }
	first := captcha()
	for name, form := range map[string]url.Values{
		"password": {"s": {s}, "account": {"bravo"}, "password": {"wrong"}},
		"account":  {"s": {s}, "account": {"nobody"}, "password": {"demo-2017"}},
	} {
		form.Set("captcha", strings.ToLower(captcha()))
		if p := c.post("/login", form); p.status != http.StatusUnprocessableEntity || p.field("problem") != "帳號或密碼不正確。" {
			t.Errorf("wrong %s: %d %s", name, p.status, p.text())
		}
	}
	if p := c.post("/login", url.Values{"s": {s}, "account": {"bra\"vo"}, "password": {"demo-2017"}, "captcha": {"no"}}); !strings.Contains(p.body, `name="account" value="bra&#34;vo"`) || strings.Contains(p.body, `value="demo-2017"`) {
		t.Error("a wrong captcha costs the account name, or shows the password")
	}
	if first == captcha() {
		t.Error("a failed login left the captcha as it was")
	}
	if p := c.post("/login", url.Values{"s": {s}, "account": {"bravo"}, "password": {"demo-2017"}, "captcha": {first}}); p.status != http.StatusUnprocessableEntity {
		t.Error("an old captcha was taken")
	}
	for _, path := range []string{"/order", "/result"} {
		if p := c.get(path + "?s=" + s); p.path != "/login" {
			t.Errorf("%s without a login: %s", path, p.path)
		}
	}
	if p := c.post("/pay", url.Values{"s": {s}, "method": {"credit_card"}}); p.path != "/login" || c.book().Charges != 0 {
		t.Error("paid without a login")
	}
	order := c.login(login)
	if order.token() == s {
		t.Error("the session from before the login can pay")
	}
	if p := c.pay(order, "cash"); p.path != "/order" || c.book().Charges != 0 {
		t.Error("an unknown method was charged")
	}
	for _, path := range []string{"/login?s=x", "/order", "/result?s="} {
		p := c.get(path)
		if p.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, p.status)
		}
		// A bank that has forgotten must not say whether it charged.
		if said := p.text(); !strings.Contains(said, "重新啟動") || strings.Contains(said, "扣款") || !strings.Contains(p.body, `id="shop" href="http://shop.example/"`) {
			t.Errorf("%s: %s", path, said)
		}
	}
}

func TestLanguagesAndHeaders(t *testing.T) {
	c := newCity(t)
	login := c.post("/order", c.order())
	if !strings.Contains(login.body, `<html lang="zh-Hant-TW">`) || !strings.Contains(login.text(), "網銀帳號") {
		t.Error("the first page is not in Chinese")
	}
	english := c.get("/login?s=" + login.token() + "&lang=en")
	if !strings.Contains(english.body, `<html lang="en">`) || strings.Contains(english.text(), "網銀帳號") {
		t.Error("no English login page")
	}
	order := c.login(english)
	if !strings.Contains(order.text(), "Order number") || !strings.Contains(order.text(), "Pay by Deposit account") {
		t.Error("the language was lost: " + order.text())
	}
	if p := c.pay(order, "credit_card"); !strings.Contains(p.text(), "Payment complete") {
		t.Error(p.text())
	}
	csp := login.header.Get("Content-Security-Policy")
	_, nonce, _ := strings.Cut(csp, "'nonce-")
	nonce, _, _ = strings.Cut(nonce, "'")
	if nonce == "" || !strings.Contains(login.body, `nonce="`+nonce+`"`) || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	if icon := c.get("/favicon.ico"); icon.status != http.StatusNoContent {
		t.Errorf("icon: %d", icon.status)
	}
	image := c.get("/captcha/" + login.token() + "/image")
	if image.header.Get("Content-Type") != "image/svg+xml" || image.header.Get("Cache-Control") != "no-store" {
		t.Errorf("captcha image: %v", image.header)
	}
	if p := c.get("/?lang=en"); !strings.Contains(p.text(), "demonstration bank") {
		t.Error(p.text())
	}
}
