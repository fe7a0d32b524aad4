package newebpay_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"

	"pay.taipei/gateway/sandbox/internal/desk"
)

func TestCaptureGoesByTheClock(t *testing.T) {
	for _, s := range []struct{ paid, now, want string }{
		{"2025-11-25 10:00:00", "2025-11-25 20:59:59", "0"},
		{"2025-11-25 10:00:00", "2025-11-25 21:00:00", "1"},
		{"2025-11-25 10:00:00", "2025-11-25 23:59:59", "1"},
		{"2025-11-25 10:00:00", "2025-11-26 00:00:00", "3"},
		{"2025-11-25 22:00:00", "2025-11-25 22:00:00", "1"},
		{"2025-11-30 00:00:00", "2025-11-30 00:00:00", "0"},
		{"2025-11-30 00:00:00", "2025-12-01 00:00:00", "3"},
	} {
		c := newCity(t)
		c.at(s.paid)
		c.paid("credit_card")
		c.at(s.now)
		if q := c.query(); q.CloseStatus != s.want || q.TradeStatus != "1" || q.BackBalance != "40" {
			t.Errorf("%+v: %+v", s, q)
		}
	}
}

func TestCancel(t *testing.T) {
	c := newCity(t)
	order := c.visit(c.inner())
	if r := c.instruct("Cancel", c.cancellation()); r.Status != "TRA10021" {
		t.Errorf("before payment: %s", r.raw)
	}
	c.pay(order, "credit_card")
	c.step()
	c.at("2025-11-25 20:59:00")
	r := c.instruct("Cancel", c.cancellation())
	if a := r.answer; r.Status != "SUCCESS" || a.MerchantID != c.payee || a.Amt != 40 || a.MerchantOrderNo != number || a.TradeNo != c.book().Trade || a.CheckCode != c.checkCode(a) {
		t.Errorf("%s", r.raw)
	}
	if q := c.query(); q.TradeStatus != "3" || c.book().State != desk.Voided {
		t.Errorf("%+v", q)
	}
	if r := c.instruct("Cancel", c.cancellation()); r.Status != "TRA10035" {
		t.Errorf("twice: %s", r.raw)
	}
	c.at("2025-11-26 09:00:00")
	if r := c.instruct("Close", c.refund("40")); r.Status != "TRA10035" {
		t.Errorf("refund: %s", r.raw)
	}
	// The payer's browser still brings home that it was paid.
	if _, fields := c.get(order.at.Path + "/result").way(); c.told(fields).Status != "SUCCESS" {
		t.Errorf("%v", fields)
	}
}

func TestCancelOnlyBeforeTheBankFetchesIt(t *testing.T) {
	for _, at := range []string{"2025-11-25 21:00:00", "2025-11-26 10:00:00"} {
		c := newCity(t)
		c.paid("credit_card")
		c.at(at)
		if r := c.instruct("Cancel", c.cancellation()); r.Status != "TRA10035" || c.book().State != desk.Paid {
			t.Errorf("%s: %s", at, r.raw)
		}
	}
}

func TestRefund(t *testing.T) {
	c := newCity(t)
	c.paid("credit_card")
	for _, at := range []string{"2025-11-25 10:01:00", "2025-11-25 21:30:00"} {
		c.at(at)
		if r := c.instruct("Close", c.refund("15")); r.Status != "TRA10035" {
			t.Errorf("%s, before capture: %s", at, r.raw)
		}
	}
	c.at("2025-11-26 09:00:00")
	r := c.instruct("Close", c.refund("15"))
	if a := r.answer; r.Status != "SUCCESS" || a.MerchantID != c.payee || a.Amt != 15 || a.MerchantOrderNo != number || a.TradeNo != c.book().Trade {
		t.Errorf("%s", r.raw)
	}
	if q := c.query(); q.TradeStatus != "1" || q.BackStatus != "1" || q.BackBalance != "25" || q.CloseAmt != "40" || q.CloseStatus != "3" {
		t.Errorf("queued: %+v", q)
	}
	if r := c.instruct("Close", c.refund("15")); r.Status != "TRA10045" || c.book().Refunded != "15" {
		t.Errorf("while one is queued: %s", r.raw)
	}
	c.at("2025-11-27 00:00:00")
	if q := c.query(); q.TradeStatus != "1" || q.BackStatus != "3" || q.BackBalance != "25" {
		t.Errorf("done: %+v", q)
	}
	for amount, want := range map[string]string{"26": "TRA20028", "41": "TRA10039", "0": "TRA10003", "1e1": "TRA10003"} {
		if r := c.instruct("Close", c.refund(amount)); r.Status != want {
			t.Errorf("%s: %s", amount, r.raw)
		}
	}
	// The rest, by the provider's number.
	rest := c.refund("25")
	rest.Del("MerchantOrderNo")
	rest.Set("IndexType", "2")
	rest.Set("TradeNo", c.book().Trade)
	if r := c.instruct("Close", rest); r.Status != "SUCCESS" {
		t.Errorf("%s", r.raw)
	}
	if q := c.query(); q.TradeStatus != "1" || q.BackStatus != "1" || q.BackBalance != "0" {
		t.Errorf("queued: %+v", q)
	}
	c.at("2025-11-28 00:00:00")
	if q := c.query(); q.TradeStatus != "6" || q.BackStatus != "3" || q.BackBalance != "0" || q.PayTime != "2025-11-25 10:00:00" {
		t.Errorf("done: %+v", q)
	}
	if r := c.instruct("Close", c.refund("1")); r.Status != "TRA20028" || c.book().Refunded != "40" {
		t.Errorf("nothing left: %s", r.raw)
	}
}

func TestCaptureIsNotAskedFor(t *testing.T) {
	c := newCity(t)
	c.paid("credit_card")
	capture := c.refund("40")
	capture.Set("CloseType", "1")
	if r := c.instruct("Close", capture); r.Status != "TRA10035" {
		t.Errorf("before it: %s", r.raw)
	}
	c.at("2025-11-25 22:00:00")
	capture.Set("TimeStamp", c.stamp())
	if r := c.instruct("Close", capture); r.Status != "TRA10027" {
		t.Errorf("again: %s", r.raw)
	}
	capture.Set("Cancel", "1")
	if r := c.instruct("Close", capture); r.Status != "TRA10035" {
		t.Errorf("undone: %s", r.raw)
	}
}

func TestInstructionsRefuse(t *testing.T) {
	c := newCity(t)
	c.paid("credit_card")
	both := []spoil{
		{"no Amt", del("Amt"), "MEM40013"},
		{"no RespondType", del("RespondType"), "MEM40013"},
		{"Amt twice", add("Amt", "40"), "MEM40013"},
		{"unknown field", set("Note", "x"), "MEM40013"},
		{"mis-cased", rename("IndexType", "indexType"), "MEM40013"},
		{"version", set("Version", "2.3"), "MEM40013"},
		{"not UTF-8", set("TradeNo", "\xff"), "MEM40013"},
		{"String", set("RespondType", "String"), "TRA10036"},
		{"too old", set("TimeStamp", strconv.FormatInt(c.clock.Now().Unix()-121, 10)), "TRA40014"},
		{"negative", set("Amt", "-40"), "TRA10003"},
		{"IndexType 3", set("IndexType", "3"), "TRA10032"},
		{"no number", del("MerchantOrderNo"), "TRA10033"},
		{"number form", set("MerchantOrderNo", "a-b"), "TRA10037"},
		{"no trade number", set("IndexType", "2"), "TRA10038"},
		{"trade number form", set("TradeNo", "T1"), "TRA10038"},
		{"unknown number", set("MerchantOrderNo", "nothing"), "TRA10021"},
		{"unknown trade number", func(f url.Values) { f.Set("IndexType", "2"); f.Set("TradeNo", "1") }, "TRA10021"},
		{"another's trade number", set("TradeNo", "1"), "TRA10021"},
	}
	check := func(name string, inner func() url.Values, spoils ...spoil) {
		t.Helper()
		for _, s := range append(spoils, both...) {
			f := inner()
			s.change(f)
			if r := c.instruct(name, f); r.Status != s.want {
				t.Errorf("%s, %s: %s", name, s.name, r.raw)
			}
		}
	}
	check("Cancel", c.cancellation, spoil{"part", set("Amt", "39"), "TRA10050"}, spoil{"too much", set("Amt", "41"), "TRA10050"}, spoil{"CloseType", set("CloseType", "2"), "MEM40013"})
	check("Close", func() url.Values { return c.refund("40") }, spoil{"no CloseType", del("CloseType"), "MEM40013"}, spoil{"CloseType 3", set("CloseType", "3"), "TRA10035"}, spoil{"Cancel", set("Cancel", "1"), "TRA10035"})

	for _, s := range []spoil{
		{"no shop", del("MerchantID_"), "MEM40013"},
		{"mis-cased", rename("MerchantID_", "MerchantId_"), "MEM40013"},
		{"without the underscore", rename("PostData_", "PostData"), "MEM40013"},
		{"twice", func(f url.Values) { f.Add("PostData_", f.Get("PostData_")) }, "MEM40013"},
		{"one more", set("TradeSha", "x"), "MEM40013"},
		{"unknown shop", set("MerchantID_", "MS127874575"), "TRA10001"},
		{"not sealed", set("PostData_", c.cancellation().Encode()), "TRA10008"},
		{"upper case", func(f url.Values) { f.Set("PostData_", strings.ToUpper(f.Get("PostData_"))) }, "TRA10008"},
		{"cut", func(f url.Values) { f.Set("PostData_", f.Get("PostData_")[:32]) }, "TRA10008"},
		{"other keys", set("PostData_", seal(t, manualKey, manualIV, c.cancellation().Encode(), 16)), "TRA10008"},
	} {
		for name, inner := range map[string]url.Values{"Cancel": c.cancellation(), "Close": c.refund("40")} {
			form := c.sealed(inner)
			s.change(form)
			if r := c.call("/API/CreditCard/"+name, form); r.Status != s.want {
				t.Errorf("%s, %s: %s", name, s.name, r.raw)
			}
		}
	}
	if e := c.book(); e.State != desk.Paid || e.Refunded != "0" {
		t.Errorf("%+v", e)
	}
}
