package esun_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

func TestFaultsOfResultAndQuery(t *testing.T) {
	c := newCity(t)
	for _, name := range []string{`"late":"5s"`, `"lost":true`, `"duplicated":1`, `"reordered":true`, `"wrong_currency":true`} {
		if status := c.faults("{" + name + "}"); status != http.StatusBadRequest {
			t.Errorf("%s: %d", name, status)
		}
	}
	paid := func(ono, faults string) (data, signed string, q told) {
		t.Helper()
		at := c.visit(c.order(ono))
		c.faults(faults)
		c.pay(at, "credit_card")
		c.faults(`{}`)
		data, signed = c.result(at)
		return data, signed, c.query(ono)
	}
	if data, signed, q := paid("A0", `{"forged_signature":true}`); signed != "forged" || !approval.MatchString(data) || q.code != "00" {
		t.Errorf("%s, %s, %+v", data, signed, q)
	}
	if data, signed, _ := paid("B0", `{"forged_signature":true,"fail":true}`); signed != "forged" || !strings.HasPrefix(data, "RC=54,") {
		t.Errorf("%s, %s", data, signed)
	}
	if _, signed, q := paid("C0", `{"wrong_amount":true}`); signed != "signed" || q.txn["TXNAMOUNT"] != "1303.00" {
		t.Errorf("%s, %+v", signed, q)
	}
	data, signed, q := paid("D0", `{"wrong_merchant":true}`)
	if signed != "signed" || !strings.HasPrefix(data, "RC=00,MID=9999999,ONO=D0,") || q.txn["MID"] != "9999999" {
		t.Errorf("%s, %s, %+v", data, signed, q)
	}
	if s := c.cancel("D0"); s.code != "00" || s.txn["MID"] != "9999999" {
		t.Errorf("%+v", s)
	}
	if b := c.book("C0"); b.Amount != 1302 || c.book("D0").Payee != c.mid {
		t.Errorf("%+v", b)
	}
}

func TestFaultsOfTheServer(t *testing.T) {
	c := newCity(t)
	at := c.visit(c.order("A0"))
	c.faults(`{"answer_dropped":true}`)
	if !c.lost(at, url.Values{"method": {"credit_card"}}, time.Minute) || c.book("A0").State != desk.Paid {
		t.Error("the page answered, or the card was not charged")
	}
	if data, signed := c.result(at); !approval.MatchString(data) || signed != "signed" {
		t.Errorf("%s, %s", data, signed)
	}
	if q := c.query("A0"); q.code != "00" {
		t.Errorf("a query moves nothing and is answered: %+v", q)
	}
	if !c.lost(cancelPath, c.form(c.reference("A0")), time.Minute) || c.book("A0").State != desk.Voided {
		t.Error("the cancellation was answered, or not carried out")
	}
	for faults, status := range map[string]int{`{"throttled":true}`: http.StatusTooManyRequests, `{"closed":true}`: http.StatusServiceUnavailable} {
		c.faults(faults)
		if q, s := c.query("A0"), c.cancel("A0"); q.status != status || s.status != status {
			t.Errorf("%s: %+v, %+v", faults, q, s)
		}
	}
	c.faults(`{"closed":true}`)
	if p := c.post(pagePC, c.form(c.order("B0"))); p.status != http.StatusBadRequest || !strings.Contains(p.body, "（GS）") {
		t.Errorf("%d %s", p.status, p.body)
	}
	if _, taken := c.bank.Desk.Find("B0"); taken {
		t.Error("an order was taken while closed")
	}
	c.faults(`{"hang":true}`)
	if !c.lost(queryPath, c.form(c.reference("A0")), 50*time.Millisecond) {
		t.Error("an answer while it hangs")
	}
}
