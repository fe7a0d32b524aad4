package newebpay_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

func TestPaidByCard(t *testing.T) {
	c := newCity(t)
	order := c.visit(c.inner())
	if !strings.Contains(order.body, `id="pay-credit_card"`) || !strings.Contains(order.body, `id="pay-webatm"`) || !strings.Contains(order.body, "停車費 2 筆") {
		t.Errorf("order page: %s", order.body)
	}
	open := c.query()
	if open.TradeStatus != "0" || open.PaymentType != "" || open.PayTime != "0000-00-00 00:00:00" || open.FundTime != "0000-00-00" || open.CreateTime != "2025-11-25 10:00:00" || open.CloseStatus != "" {
		t.Errorf("open: %+v", open)
	}
	c.clock.Advance(time.Minute)
	result := c.pay(order, "credit_card")
	if next := c.step(); !next.IsZero() {
		t.Errorf("more to do at %v", next)
	}

	notices := c.notices()
	if len(notices) != 1 {
		t.Fatalf("%d notices", len(notices))
	}
	n := notices[0]
	if !n.genuine || n.outer.Get("Status") != "SUCCESS" || n.outer.Get("MerchantID") != c.payee || n.outer.Get("Version") != "2.3" || n.Status != "SUCCESS" || n.Message != "授權成功" || n.inText {
		t.Errorf("%+v", n)
	}
	r := n.result
	if r.MerchantID != c.payee || r.Amt != 40 || r.MerchantOrderNo != number || r.PaymentType != "CREDIT" || r.PaymentMethod != "CREDIT" || r.RespondType != "JSON" || r.PayTime != "2025-11-25 10:01:00" || r.RespondCode != "00" || r.Card4No != "1111" {
		t.Errorf("%+v", r)
	}
	if !regexp.MustCompile(`^[0-9]{1,17}$`).MatchString(r.TradeNo) || r.TradeNo != c.book().Trade || len(r.Auth) != 6 {
		t.Errorf("trade %q, authorisation %q", r.TradeNo, r.Auth)
	}

	to, fields := result.way()
	if to != c.shop+"/return" || fields.Encode() != n.outer.Encode() {
		t.Errorf("way back: %s %v", to, fields)
	}

	q := c.query()
	if q.MerchantID != c.payee || q.Amt != 40 || q.TradeStatus != "1" || q.TradeNo != r.TradeNo || q.PaymentType != "CREDIT" || q.PayTime != r.PayTime || q.FundTime != "0000-00-00" ||
		q.CloseStatus != "0" || q.CloseAmt != "40" || q.BackStatus != "0" || q.BackBalance != "40" || q.Auth != r.Auth || q.RespondCode != "00" {
		t.Errorf("%+v", q)
	}
	if raw := c.ask(number, "40").raw; !strings.Contains(raw, `"Amt":40,`) || !strings.Contains(raw, `"TradeStatus":"1"`) || !strings.Contains(raw, `"Message":"\u67e5\u8a62\u6210\u529f"`) {
		t.Errorf("written otherwise: %s", raw)
	}
}

func TestPaidByWebATM(t *testing.T) {
	c := newCity(t)
	c.paid("webatm")
	n := c.notices()[0]
	if r := n.result; !n.genuine || n.Message != "付款成功" || r.PaymentType != "WEBATM" || r.PayBankCode != "008" || r.PayerAccount5Code == "" || r.Card4No+r.Auth != "" {
		t.Errorf("%+v", n)
	}
	if q := c.query(); q.TradeStatus != "1" || q.PaymentType != "WEBATM" || q.CloseStatus+q.BackBalance+q.Auth != "" || q.OrderStatus == nil || *q.OrderStatus != 1 {
		t.Errorf("%+v", q)
	}
	// It has no API that pays back.
	c.clock.Advance(24 * time.Hour)
	if r := c.instruct("Close", c.refund("1")); r.Status != "TRA10021" {
		t.Errorf("refund: %s", r.raw)
	}
	if r := c.instruct("Cancel", c.cancellation()); r.Status != "TRA10021" {
		t.Errorf("cancel: %s", r.raw)
	}
}

func TestDeclined(t *testing.T) {
	for _, method := range []string{"credit_card", "webatm"} {
		c := newCity(t)
		c.faults(`{"fail":true}`)
		to, fields := c.paid(method).way()
		n := c.notices()[0]
		if !n.genuine || n.Status != "MPG03009" || n.outer.Get("Status") != "MPG03009" || n.Message != "授權失敗" || n.result.Amt != 40 || n.result.TradeNo == "" || n.result.PayTime+n.result.Auth != "" {
			t.Errorf("%+v", n)
		}
		if to != c.shop+"/return" || fields.Encode() != n.outer.Encode() {
			t.Errorf("way back: %s %v", to, fields)
		}
		if q := c.query(); q.TradeStatus != "2" || q.PayTime != "0000-00-00 00:00:00" || q.Auth != "" || q.TradeNo != n.result.TradeNo {
			t.Errorf("%+v", q)
		}
		// The number is used up, and there is nothing to pay back.
		if p := c.post("/MPG/mpg_gateway", c.outer(c.inner().Encode())); !strings.Contains(p.problem(), "MPG03008") {
			t.Errorf("again: %s", p.problem())
		}
		c.clock.Advance(24 * time.Hour)
		if r := c.instruct("Close", c.refund("1")); r.Status == "SUCCESS" || c.book().Charges != 0 {
			t.Errorf("%s", r.raw)
		}
	}
}

func TestLeft(t *testing.T) {
	c := newCity(t)
	inner := c.inner()
	result := c.pay(c.visit(inner), "")
	if next := c.step(); !next.IsZero() || len(c.notices()) != 0 {
		t.Errorf("it is spoken of: %v", c.notices())
	}
	if to, fields := result.way(); to != "http://shop.example/" || fields != nil {
		t.Errorf("way back: %s %v", to, fields)
	}
	for range 2 {
		if q := c.query(); q.TradeStatus != "0" || q.PayTime != "0000-00-00 00:00:00" {
			t.Errorf("%+v", q)
		}
		c.clock.Advance(time.Hour)
	}
	inner = c.inner()
	inner.Set("MerchantOrderNo", "another")
	inner.Set("ClientBackURL", c.shop+"/left")
	if to, fields := c.pay(c.visit(inner), "").way(); to != c.shop+"/left" || fields != nil {
		t.Errorf("way back: %s %v", to, fields)
	}
}

func TestPageLife(t *testing.T) {
	for limit, life := range map[string]time.Duration{"": 30 * time.Minute, "0": 30 * time.Minute, "60": time.Minute, "900": 15 * time.Minute} {
		c := newCity(t)
		inner := c.inner()
		if limit != "" {
			inner.Set("TradeLimit", limit)
		}
		order := c.visit(inner)
		c.clock.Advance(life - time.Second)
		if p := c.get(order.at.Path); p.at.Path != order.at.Path {
			t.Errorf("%q: gone before its end: %s", limit, p.at)
		}
		c.clock.Advance(time.Second)
		c.pay(order, "credit_card")
		if next := c.step(); !next.IsZero() || len(c.notices()) != 0 || c.book().State != desk.Expired {
			t.Errorf("%q: %+v", limit, c.book())
		}
		if q := c.query(); q.TradeStatus != "0" {
			t.Errorf("%q: %+v", limit, q)
		}
	}
}

func TestMethods(t *testing.T) {
	const both = "credit_card webatm"
	for _, m := range []struct{ switches, amount, want string }{
		{"CREDIT=1", "40", "credit_card"},
		{"WEBATM=1&CREDIT=0", "40", "webatm"},
		{"CREDIT=1&WEBATM=1&LINEPAY=1&VACC=1&InstFlag=3,6", "40", both},
		{"", "40", both},           // the shop's own settings
		{"CREDIT=0", "40", both},   // nothing is switched on either
		{"InstFlag=0", "40", both}, // nor here
		{"CREDIT=1&WEBATM=1", "49999", both},
		{"CREDIT=1&WEBATM=1", "50000", "credit_card"}, // too much for it: hidden without a word
		{"WEBATM=1", "50000", "MPG02003"},
		{"LINEPAY=1", "40", "MPG02003"},
		{"InstFlag=1", "40", "MPG02003"},
	} {
		c := newCity(t)
		inner := c.inner()
		inner.Del("CREDIT")
		inner.Del("WEBATM")
		inner.Set("Amt", m.amount)
		more, err := url.ParseQuery(m.switches)
		if err != nil {
			t.Fatal(err)
		}
		for name := range more {
			inner.Set(name, more.Get(name))
		}
		p := c.post("/MPG/mpg_gateway", c.outer(inner.Encode()))
		var offered []string
		for _, b := range regexp.MustCompile(`name="method" value="([a-z_]+)"`).FindAllStringSubmatch(p.body, -1) {
			offered = append(offered, b[1])
		}
		if got := strings.Join(offered, " "); got != m.want && (got != "" || !strings.Contains(p.problem(), m.want)) {
			t.Errorf("%+v: %q %s", m, got, p.problem())
		}
	}
}

func TestNoticesAreSentAgain(t *testing.T) {
	c := newCity(t)
	// Only 200 settles, and redirects are not followed.
	c.answers = []int{http.StatusInternalServerError, http.StatusFound, http.StatusNoContent, http.StatusAccepted}
	result := c.paid("credit_card")
	for _, pause := range []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute} {
		before := len(c.notices())
		c.clock.Advance(pause - time.Second)
		if next := c.step(); len(c.notices()) != before || !next.Equal(c.clock.Now().Add(time.Second)) {
			t.Errorf("%d notices %s early; the next at %v", len(c.notices()), time.Second, next)
		}
		c.clock.Advance(time.Second)
		c.step()
		if len(c.notices()) != before+1 {
			t.Errorf("no notice after %v", pause)
		}
	}
	if next := c.step(); !next.IsZero() || c.book().Settled != 0 {
		t.Errorf("not given up: %v", next)
	}
	checkDistinct(t, c, 4)
	if _, fields := result.way(); fields.Encode() != c.notices()[0].outer.Encode() {
		t.Error("the browser carries something else than the first notice")
	}
}

// checkDistinct holds the notices to saying one thing in ever other bytes, padded to 16 and to 32 in turn.
func checkDistinct(t *testing.T, c *city, want int) {
	t.Helper()
	notices := c.notices()
	if len(notices) != want {
		t.Fatalf("%d notices", len(notices))
	}
	var seen []string
	for i, n := range notices {
		sealed := n.outer.Get("TradeInfo")
		if slices.Contains(seen, sealed) {
			t.Errorf("notice %d has been seen", i)
		}
		seen = append(seen, sealed)
		if !n.genuine || n.result != notices[0].result || n.Status != notices[0].Status {
			t.Errorf("notice %d: %+v", i, n)
		}
		if i%2 == 0 && n.pad > 16 || i%2 == 1 && len(sealed)%64 != 0 {
			t.Errorf("notice %d: %d bytes, %d of them padding", i, len(sealed)/2, n.pad)
		}
	}
}

func TestResultAsText(t *testing.T) {
	c := newCity(t)
	inner := c.inner()
	inner.Set("MerchantOrderNo", "order_9")
	_, fields := c.pay(c.visit(inner), "credit_card").way()
	c.step()
	for _, n := range []told{c.notices()[0], c.told(fields)} {
		if !n.genuine || !n.inText || n.result.MerchantOrderNo != "order_9" || n.result.Amt != 40 || n.result.PayTime == "" {
			t.Errorf("%+v", n)
		}
	}
}

func TestShops(t *testing.T) {
	c := newCity(t)
	other := c.double.Payees["twd"]
	form := regexp.MustCompile(`^MS1[0-9]{8}$`)
	if !form.MatchString(c.payee) || !form.MatchString(other) || other == c.payee || len(c.double.Payees) != 2 {
		t.Errorf("%v", c.double.Payees)
	}
	c.paid("credit_card")
	// What is one shop's is not another's.
	c.payee = other
	if r := c.ask(number, "40"); r.Status != "TRA10021" {
		t.Errorf("query: %s", r.raw)
	}
	if r := c.instruct("Cancel", c.cancellation()); r.Status != "TRA10021" {
		t.Errorf("cancel: %s", r.raw)
	}
}

func TestEnglishPage(t *testing.T) {
	c := newCity(t)
	inner := c.inner()
	inner.Set("LangType", "en")
	if p := c.visit(inner); !strings.Contains(p.body, "Credit card") || !strings.Contains(p.body, "NewebPay") {
		t.Errorf("%s", p.body)
	}
}
