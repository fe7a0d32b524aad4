package newebpay_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestQueryRefuses(t *testing.T) {
	c := newCity(t)
	c.paid("credit_card")
	for _, s := range []spoil{
		{"no CheckValue", del("CheckValue"), "MEM40013"},
		{"no Amt", del("Amt"), "MEM40013"},
		{"mis-cased", rename("MerchantOrderNo", "merchantOrderNo"), "MEM40013"},
		{"number twice", add("MerchantOrderNo", number), "MEM40013"},
		{"one more", set("Gateway", "Composite"), "MEM40013"},
		{"version", set("Version", "1.1"), "MEM40013"},
		{"String", set("RespondType", "String"), "TRA10036"},
		{"too old", set("TimeStamp", strconv.FormatInt(c.clock.Now().Unix()-121, 10)), "TRA40014"},
		{"too new", set("TimeStamp", strconv.FormatInt(c.clock.Now().Unix()+121, 10)), "TRA40014"},
		{"no time", set("TimeStamp", ""), "TRA40014"},
		{"zeros before the time", func(f url.Values) { f.Set("TimeStamp", "0"+f.Get("TimeStamp")) }, "TRA40014"},
		{"unknown shop", set("MerchantID", "MS127874575"), "TRA10001"},
		{"fraction", set("Amt", "40.0"), "TRA10003"},
		{"number form", set("MerchantOrderNo", "a-b"), "TRA10037"},
		{"proof of another amount", set("Amt", "41"), "TRA10054"},
		{"proof of another number", set("MerchantOrderNo", "2025112500000017"), "TRA10054"},
		{"proof in lower case", func(f url.Values) { f.Set("CheckValue", strings.ToLower(f.Get("CheckValue"))) }, "TRA10054"},
		{"proof of an answer", func(f url.Values) {
			f.Set("CheckValue", sum("HashIV=", c.iv, "&Amt=40&MerchantID=", c.payee, "&MerchantOrderNo=", number, "&HashKey=", c.key))
		}, "TRA10054"},
		{"no proof", set("CheckValue", ""), "TRA10054"},
	} {
		form := c.question(number, "40")
		s.change(form)
		if r := c.call("/API/QueryTradeInfo", form); r.Status != s.want || r.Message == "" {
			t.Errorf("%s: %d %s", s.name, r.http, r.raw)
		}
	}
	if r := c.call("/API/QueryTradeInfo?x=1", c.question(number, "40")); r.Status != "MEM40013" {
		t.Errorf("a query in the address: %s", r.raw)
	}
	if q := c.query(); q.TradeStatus != "1" {
		t.Errorf("%+v", q)
	}
}

func TestUnknownNumbersShutTheQuery(t *testing.T) {
	c := newCity(t)
	c.paid("credit_card")
	unknown := func(times int, number, amount, want string) {
		t.Helper()
		for i := range times {
			if r := c.ask(number, amount); r.Status != want {
				t.Fatalf("question %d: %s", i+1, r.raw)
			}
		}
	}
	unknown(10, "nothing", "40", "TRA10021")
	unknown(10, number, "41", "TRA10021") // another amount is another payment
	if q := c.query(); q.TradeStatus != "1" {
		t.Errorf("known numbers: %+v", q)
	}
	// They are forgotten after an hour.
	c.clock.Advance(time.Hour)
	unknown(20, "nothing", "40", "TRA10021")
	c.clock.Advance(time.Hour - time.Second)
	unknown(1, "nothing", "40", "TRA10071")
	for range 2 {
		unknown(1, number, "40", "TRA10071") // and what is known is not told either
		c.clock.Advance(4*time.Hour - time.Second)
	}
	if q := c.query(); q.TradeStatus != "1" {
		t.Errorf("four hours later: %+v", q)
	}
	unknown(20, "nothing", "40", "TRA10021")
	// The other shop has its own count.
	c.payee = c.double.Payees["twd"]
	unknown(1, "nothing", "40", "TRA10021")
}
