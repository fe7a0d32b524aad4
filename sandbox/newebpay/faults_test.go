package newebpay_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

func TestWrongAmountIsSaidEverywhere(t *testing.T) {
	c := newCity(t)
	c.faults(`{"wrong_amount":true}`)
	_, fields := c.paid("credit_card").way()
	for _, n := range []told{c.notices()[0], c.told(fields)} {
		if !n.genuine || n.result.Amt != 41 {
			t.Errorf("%+v", n)
		}
	}
	if q := c.query(); q.Amt != 41 || q.CloseAmt != "41" || q.BackBalance != "41" {
		t.Errorf("%+v", q)
	}
	// The question is still about the amount that was ordered, and money moves by it.
	if r := c.ask(number, "41"); r.Status != "TRA10021" {
		t.Errorf("%s", r.raw)
	}
	if r := c.instruct("Cancel", c.cancellation()); r.Status != "SUCCESS" || r.answer.Amt != 41 || r.answer.CheckCode != c.checkCode(r.answer) || c.book().Total != "40" {
		t.Errorf("%s", r.raw)
	}
}

func TestWrongMerchantIsSaidEverywhere(t *testing.T) {
	c := newCity(t)
	c.faults(`{"wrong_merchant":true}`)
	_, fields := c.paid("webatm").way()
	for _, n := range []told{c.notices()[0], c.told(fields)} {
		if !n.genuine || n.result.MerchantID != "9999999" || n.outer.Get("MerchantID") != "9999999" {
			t.Errorf("%+v", n)
		}
	}
	if q := c.query(); q.MerchantID != "9999999" || q.TradeStatus != "1" {
		t.Errorf("%+v", q)
	}
}

func TestForgedSignature(t *testing.T) {
	c := newCity(t)
	c.faults(`{"forged_signature":true}`)
	_, fields := c.paid("credit_card").way()
	for _, n := range []told{c.notices()[0], c.told(fields)} {
		if n.genuine || len(n.outer.Get("TradeSha")) != 64 || n.Status != "SUCCESS" {
			t.Errorf("%+v", n)
		}
	}
	if q := c.query(); q.TradeStatus != "1" {
		t.Errorf("%+v", q)
	}
}

func TestDuplicated(t *testing.T) {
	for _, method := range []string{"credit_card", "webatm"} {
		c := newCity(t)
		c.faults(`{"duplicated":9}`)
		c.paid(method)
		checkDistinct(t, c, 10)
	}
}

func TestReordered(t *testing.T) {
	c := newCity(t)
	c.faults(`{"reordered":true}`)
	c.paid("credit_card")
	n := c.notices()
	if len(n) != 2 || n[0].Status != "SUCCESS" || n[1].Status != "MPG03009" || !n[1].genuine || n[1].result.TradeNo != n[0].result.TradeNo || n[1].result.Auth != "" {
		t.Errorf("%+v", n)
	}
	if q := c.query(); q.TradeStatus != "1" {
		t.Errorf("%+v", q)
	}
}

func TestLostAndLate(t *testing.T) {
	c := newCity(t)
	c.faults(`{"lost":true}`)
	c.paid("credit_card")
	c.clock.Advance(time.Hour)
	if next := c.step(); !next.IsZero() || len(c.notices()) != 0 || c.query().TradeStatus != "1" {
		t.Errorf("lost, but %v came", c.notices())
	}

	c = newCity(t)
	c.faults(`{"late":"30s"}`)
	c.paid("credit_card")
	if len(c.notices()) != 0 {
		t.Error("not late")
	}
	c.clock.Advance(30 * time.Second)
	c.step()
	if len(c.notices()) != 1 {
		t.Error("not there")
	}
}

func TestClosed(t *testing.T) {
	c := newCity(t)
	c.paid("credit_card")
	c.faults(`{"closed":true}`)
	for path, form := range map[string]string{"/API/QueryTradeInfo": c.question(number, "40").Encode(), "/API/CreditCard/Cancel": c.sealed(c.cancellation()).Encode(), "/API/CreditCard/Close": c.sealed(c.refund("1")).Encode(), "/MPG/mpg_gateway": c.outer(c.inner().Encode()).Encode()} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.url+path, strings.NewReader(form))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if p := c.do(req); p.status != http.StatusServiceUnavailable || p.body == "" {
			t.Errorf("%s: %d %s", path, p.status, p.body)
		}
	}
	c.faults(`{}`)
	if q := c.query(); q.TradeStatus != "1" || c.book().State != desk.Paid {
		t.Errorf("%+v", q)
	}
}

func TestThrottled(t *testing.T) {
	c := newCity(t)
	c.paid("credit_card")
	c.faults(`{"throttled":true}`)
	if r := c.ask(number, "40"); r.http != http.StatusOK || r.Status != "TRA10071" {
		t.Errorf("%d %s", r.http, r.raw)
	}
	if r := c.instruct("Cancel", c.cancellation()); r.http != http.StatusTooManyRequests {
		t.Errorf("%d %s", r.http, r.raw)
	}
	if r := c.instruct("Close", c.refund("1")); r.http != http.StatusTooManyRequests {
		t.Errorf("%d %s", r.http, r.raw)
	}
	c.faults(`{}`)
	if q := c.query(); q.TradeStatus != "1" {
		t.Errorf("it stays shut: %+v", q)
	}
}

func TestHang(t *testing.T) {
	c := newCity(t)
	c.paid("credit_card")
	c.faults(`{"hang":true}`)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c.unanswered(ctx, "/API/QueryTradeInfo", c.question(number, "40"))
}

func TestAnswerDropped(t *testing.T) {
	c := newCity(t)
	c.faults(`{"answer_dropped":true}`)
	order := c.visit(c.inner())
	c.unanswered(t.Context(), order.at.Path, map[string][]string{"method": {"credit_card"}})
	c.step()
	if q := c.query(); q.TradeStatus != "1" || len(c.notices()) != 1 {
		t.Errorf("%+v", q)
	}
	c.clock.Advance(24 * time.Hour)
	c.unanswered(t.Context(), "/API/CreditCard/Close", c.sealed(c.refund("15")))
	if q := c.query(); q.BackStatus != "1" || q.BackBalance != "25" {
		t.Errorf("refund: %+v", q)
	}
	// Sent again, it is not carried out again.
	c.faults(`{}`)
	if r := c.instruct("Close", c.refund("15")); r.Status != "TRA10045" || c.book().Refunded != "15" {
		t.Errorf("%s", r.raw)
	}

	c = newCity(t)
	c.paid("credit_card")
	c.faults(`{"answer_dropped":true}`)
	c.unanswered(t.Context(), "/API/CreditCard/Cancel", c.sealed(c.cancellation()))
	if q := c.query(); q.TradeStatus != "3" {
		t.Errorf("cancel: %+v", q)
	}
}

func TestThePanelHasNoCurrency(t *testing.T) {
	c := newCity(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.url+"/faults", strings.NewReader(`{"wrong_currency":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if p := c.do(req); p.status != http.StatusBadRequest {
		t.Errorf("%d %s", p.status, p.body)
	}
}
