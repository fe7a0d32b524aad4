package sinopac_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

func TestAPaidLife(t *testing.T) {
	c := newCity(t)
	created := c.ask("OrderCreate", c.order("P1"))
	created.is(t, message{"ShopNo": "NA0001_001", "OrderNo": "P1", "Amount": 50000, "Status": "S", "Description": "S0000 – 處理成功"})
	page, _ := created.nested(t, "CardParam")["CardPayURL"].(string)
	if !strings.HasPrefix(page, c.url+"/pay/") || created["TSNo"] == "" {
		t.Fatalf("%v", created)
	}
	if _, body, err := c.send(http.MethodGet, page, "", "", nil); err != nil || !strings.Contains(body, "NT$500<") || !strings.Contains(body, "09:14") {
		t.Errorf("%s %v", body, err)
	}
	c.clock.Advance(2 * time.Minute)
	action, fields := c.pay(page, "method=credit_card")
	if action != c.gateway+"/return?a=1&b=2" || len(fields) != 2 || fields.Get("ShopNo") != "NA0001_001" {
		t.Errorf("way back %s %v", action, fields)
	}
	if next := c.step(); !next.IsZero() || len(c.got()) != 1 {
		t.Fatalf("notices %v, next %s", c.got(), next)
	}
	for _, token := range []string{fields.Get("PayToken"), c.got()[0].PayToken} {
		m, genuine := c.result(token)
		m.is(t, message{"ShopNo": "NA0001_001", "PayToken": token, "Date": "201706130906", "Status": "S", "Description": "S0000 – 處理成功"})
		m.nested(t, "TSResultContent").is(t, message{
			"TSNo": created["TSNo"], "OrderNo": "P1", "ShopNo": "NA0001_001", "PayType": "C", "Amount": "50000", "Status": "S", "PayDate": "201706130906",
			"Param1": "<&甲>", "Param2": "", "RightCCNo": "4321", "CCToken": "",
		})
		if !genuine {
			t.Error("the Sign is wrong")
		}
	}
	c.clock.Advance(5 * time.Minute)
	c.row().is(t, message{
		"OrderNo": "P1", "TSNo": created["TSNo"], "Amount": 50000, "PayType": "C", "PrdtName": "停車費", "Memo": "", "PayStatus": "1C300",
		"TSDate": "201706130904", "ApprovedDate": "201706130906", "PayDate": "", "ExpireDate": "201706130914", "RefundFlag": "N", "RefundStatus": "", "RefundAmount": 0,
	})
	// A second decision changes nothing.
	c.pay(page, "")
	c.row().is(t, message{"PayStatus": "1C300"})
	c.clock.Advance(10 * time.Minute)
	c.row().is(t, message{"PayStatus": "1C400", "ApprovedDate": "201706130906", "PayDate": "201706130916", "RefundFlag": "N"})
	if all := c.double.Desk.Books(); len(all) != 1 || all[0].Charges != 1 || all[0].State != desk.Paid || all[0].Settled != 1 {
		t.Errorf("books %+v", all)
	}
}

func TestDeclinedCancelledExpired(t *testing.T) {
	c := newCity(t)
	c.double.Desk.Panel.Set(desk.Faults{Fail: true, Next: 1})
	_, declined := c.pay(c.create(c.order("P1")), "method=credit_card")
	_, left := c.pay(c.create(c.order("P2")), "")
	page := c.create(c.order("P3").with(message{"CardParam": message{"AutoBilling": "N", "ExpBillingDays": 7, "ExpMinutes": 30, "PayTypeSub": "ONE", "Staging": "", "CCToken": ""}}))
	c.drain(time.Minute)
	if len(c.got()) != 2 {
		t.Errorf("notices %v", c.got())
	}
	c.clock.Advance(29 * time.Minute)
	if _, body, err := c.send(http.MethodGet, page, "", "", nil); err != nil || !strings.Contains(body, "pay-credit_card") {
		t.Errorf("after 29 minutes: %s %v", body, err)
	}
	c.clock.Advance(time.Minute)
	_, late := c.pay(page, "method=credit_card")
	for token, description := range map[string]string{
		declined.Get("PayToken"): "S0101 – 授權失敗", left.Get("PayToken"): "S0102 – 付款人取消", late.Get("PayToken"): "S0103 – 逾時未付款",
		c.got()[0].PayToken: "S0101 – 授權失敗", c.got()[1].PayToken: "S0102 – 付款人取消",
	} {
		m, genuine := c.result(token)
		m.is(t, message{"Status": "S"})
		m.nested(t, "TSResultContent").is(t, message{"Status": "F", "Description": description, "PayDate": "", "LeftCCNo": ""})
		if !genuine {
			t.Error("the Sign is wrong")
		}
	}
	if c.drain(time.Hour); len(c.got()) != 2 {
		t.Error("an order that expired was announced")
	}
	for _, p := range c.double.Desk.Books() {
		if p.Charges != 0 {
			t.Errorf("charged: %+v", p)
		}
	}
}

func TestOrderNumbersAreUniquePerShop(t *testing.T) {
	c := newCity(t)
	first := c.create(c.order("P1"))
	c.ask("OrderCreate", c.order("P1").with(message{"Amount": 100})).is(t, message{"Status": "F", "Description": "S0010 – 訂單編號重複", "CardParam": nil})
	other := c.order("P1").with(message{"ShopNo": "NA0001_002", "Amount": 700})
	second := c.create(other)
	c.ask("OrderCreate", other).is(t, message{"Status": "F"})
	if first == second {
		t.Fatal("one page for two orders")
	}
	_, fields := c.pay(second, "method=credit_card")
	m, _ := c.call("OrderPayQuery", "NA0001_002", `{"ShopNo":"NA0001_002","PayToken":"`+fields.Get("PayToken")+`"}`)
	m.nested(t, "TSResultContent").is(t, message{"OrderNo": "P1", "ShopNo": "NA0001_002", "Amount": "700", "Status": "S"})
	// One shop's token is nothing to another.
	m, _ = c.result(fields.Get("PayToken"))
	m.is(t, message{"Status": "F", "TSResultContent": nil})
	c.clock.Advance(5 * time.Minute)
	c.row().is(t, message{"Amount": 50000, "PayStatus": "1C100"})
	list := c.rows(message{"ShopNo": "NA0001_002", "OrderNo": "P1"})
	if len(list) != 1 {
		t.Fatalf("%v", list)
	}
	list[0].is(t, message{"OrderNo": "P1", "Amount": 700, "PayStatus": "1C300"})
	if waiting := c.rowsOf("OrderUnCapturedQuery", message{"OrderNo": "P1"}); len(waiting) != 0 {
		t.Errorf("another shop's: %v", waiting)
	}
	c.clock.Advance(5 * time.Minute)
	c.ask("OrderMaintain", message{"ShopNo": "NA0001_002", "OrderNo": "P1", "Command": "R"}).is(t, message{"Status": "S", "Amount": 700})
	c.ask("OrderMaintain", message{"ShopNo": "NA0001_001", "OrderNo": "P1", "Command": "R"}).is(t, message{"Status": "F"})
	c.ask("OrderMaintain", message{"ShopNo": "NA0001_001", "OrderNo": "P1%NA0001_002", "Command": "R"}).is(t, message{"Status": "F"})
}

func TestOrderIsRefused(t *testing.T) {
	c := newCity(t)
	for i, changes := range []message{
		{"OrderNo": nil}, {"OrderNo": ""}, {"OrderNo": 1}, {"OrderNo": strings.Repeat("1", 51)}, {"OrderNo": "a'b"}, {"OrderNo": `a"b`}, {"OrderNo": "a%b"},
		{"Amount": nil}, {"Amount": 0}, {"Amount": -100}, {"Amount": 50001}, {"Amount": 50050}, {"Amount": 1_000_000_000}, {"Amount": "50000"}, {"Amount": true},
		{"CurrencyID": nil}, {"CurrencyID": "JPY"}, {"CurrencyID": "twd"}, {"PayType": nil}, {"PayType": "A"}, {"PayType": "c"},
		{"ATMParam": message{"ExpireDate": "20170614"}}, {"ATMParam": nil, "atmparam": message{}}, {"ATMParam": ""},
		{"CardParam": nil}, {"CardParam": message{}}, {"CardParam": "Y"}, {"CardParam": message{"AutoBilling": "X"}}, {"CardParam": message{"autobilling": "Y"}},
		{"CardParam": message{"AutoBilling": "Y", "ExpMinutes": 0}}, {"CardParam": message{"AutoBilling": "Y", "ExpMinutes": 31}}, {"CardParam": message{"AutoBilling": "Y", "ExpMinutes": "10"}},
		{"CardParam": message{"AutoBilling": "N", "ExpBillingDays": 8}}, {"CardParam": message{"AutoBilling": "Y", "ExpBillingDays": 1}},
		{"CardParam": message{"AutoBilling": "Y", "PayTypeSub": "INST"}}, {"CardParam": message{"AutoBilling": "Y", "Staging": "3"}}, {"CardParam": message{"AutoBilling": "Y", "CCToken": "x"}},
		{"CardParam": message{"AutoBilling": "Y", "More": 1}},
		{"PrdtName": nil}, {"PrdtName": ""}, {"PrdtName": strings.Repeat("車", 61)}, {"Memo": strings.Repeat("車", 31)}, {"Memo": 1},
		{"Param1": strings.Repeat("x", 256)}, {"Param2": strings.Repeat("x", 256)}, {"Param3": strings.Repeat("x", 256)}, {"Param4": ""},
		{"ReturnURL": nil}, {"ReturnURL": "/return"}, {"ReturnURL": "javascript:alert(1)"}, {"ReturnURL": "https://x.example/" + strings.Repeat("x", 255)},
		{"BackendURL": nil}, {"BackendURL": ""}, {"BackendURL": "//x.example/b"}, {"BackendURL": "ftp://x.example/b"}, {"BackendURL": "https://a:b@x.example/b"},
		{"More": "x"}, {"More": nil, "orderno": "P1"},
	} {
		m := c.ask("OrderCreate", c.order(fmt.Sprintf("P%d", i)).with(changes))
		if d, _ := m["Description"].(string); m["Status"] != "F" || !strings.HasPrefix(d, "S0001 – ") || m["CardParam"] != nil {
			t.Errorf("%v: %v", changes, m)
		}
	}
	if m, _ := c.call("OrderCreate", "NA0001_001", encode(t, c.order("P1").with(message{"ShopNo": "NA0001_002"}))); m["Status"] != "F" {
		t.Errorf("for another shop: %v", m)
	}
	c.refused("CardParam has one member twice", encode(t, c.wrapped("OrderCreate", "NA0001_001", `{"ShopNo":"NA0001_001","ShopNo":"NA0001_001"}`)), "E0003")
	if all := c.double.Desk.Books(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	longest := c.order(strings.Repeat("1", 50)).with(message{
		"Amount": 999_999_900, "PrdtName": strings.Repeat("車", 60), "Memo": strings.Repeat("車", 30), "Param1": strings.Repeat("車", 255), "ATMParam": nil,
	})
	if c.create(longest) == "" {
		t.Error("the longest order was refused")
	}
	for _, service := range []string{"BillQuery", "ordercreate"} {
		m, _ := c.call(service, "NA0001_001", `{"ShopNo":"NA0001_001"}`)
		m.is(t, message{"Status": "F", "Description": "S0002 – 不支援此服務: " + service})
	}
}

func (c *city) maintain(in message) message {
	c.t.Helper()
	return c.ask("OrderMaintain", message{"ShopNo": "NA0001_001", "OrderNo": "P1"}.with(in))
}

func TestRefund(t *testing.T) {
	c := newCity(t)
	page := c.create(c.order("P1"))
	c.maintain(message{"Command": "R"}).is(t, message{"Status": "F"}) // not paid yet
	c.pay(page, "method=credit_card")
	c.clock.Advance(10*time.Minute - time.Second)
	c.maintain(message{"Command": "R"}).is(t, message{ // not captured yet
		"OrderNo": "P1", "ShopNo": "NA0001_001", "Command": "R", "Amount": 50000, "Date": "201706130913", "Status": "F", "Description": "S0030 – 無法處理: only what is captured is paid back",
	})
	c.clock.Advance(time.Second)
	for _, changes := range []message{
		{}, {"Command": "X"}, {"Command": "P"}, {"Command": "r"}, {"Command": "R", "Amount": 0}, {"Command": "R", "Amount": 150}, {"Command": "R", "Amount": "100"}, {"Command": "R", "Amount": 50100},
		{"Command": "R", "OrderNo": "P2"}, {"Command": "R", "OrderNo": nil}, {"Command": "R", "More": 1}, {"Command": "R", "remark": "x"}, {"Command": "R", "Remark": 1},
		{"Command": "C"}, {"Command": "C", "Amount": 50000},
	} {
		if m := c.maintain(changes); m["Status"] != "F" || m["Description"] == "" {
			t.Errorf("%v: %v", changes, m)
		}
	}
	m := c.maintain(message{"Command": "R", "Amount": 10000, "Remark": "重複繳費"})
	m.is(t, message{"OrderNo": "P1", "ShopNo": "NA0001_001", "Command": "R", "Amount": 10000, "Date": "201706130914", "Status": "S", "Description": "S0000 – 處理成功"})
	if m["TSNo"] == "" || len(m) != 8 {
		t.Errorf("%v", m)
	}
	c.clock.Advance(5 * time.Minute)
	c.row().is(t, message{"PayStatus": "1C400", "RefundFlag": "Y", "RefundStatus": "S", "RefundAmount": 10000})
	c.maintain(message{"Command": "R"}).is(t, message{"Status": "S", "Amount": 40000})
	c.row().is(t, message{"RefundAmount": 10000}) // the second is too new
	c.clock.Advance(5 * time.Minute)
	c.row().is(t, message{"PayStatus": "1C400", "RefundAmount": 50000})
	c.maintain(message{"Command": "R"}).is(t, message{"Status": "F"})
	if p := c.double.Desk.Books()[0]; p.Refunded() != 500 || len(p.Refunds) != 2 {
		t.Errorf("%+v", p)
	}
}

func TestCancelIsForWhatIsNotCaptured(t *testing.T) {
	c := paid(t, desk.Faults{})
	c.clock.Advance(10*time.Minute - time.Second)
	c.maintain(message{"Command": "C", "Amount": 10000}).is(t, message{"Status": "F", "Description": "S0030 – 無法處理: an authorisation is cancelled whole"})
	c.maintain(message{"Command": "C", "Amount": 50000}).is(t, message{"Command": "C", "Amount": 50000, "Date": "201706130913", "Status": "S"})
	c.maintain(message{"Command": "C"}).is(t, message{"Status": "F"})
	c.maintain(message{"Command": "R"}).is(t, message{"Status": "F"})
	c.row().is(t, message{"PayStatus": "1C300", "RefundFlag": "N"}) // OrderQuery does not know it yet
	c.waiting(message{}, "P1")
	c.clock.Advance(5 * time.Minute)
	cancelled := message{"PayStatus": "1C900", "RefundFlag": "Y", "RefundStatus": "S", "RefundAmount": 50000, "ApprovedDate": "201706130904", "PayDate": ""}
	c.row().is(t, cancelled)
	c.waiting(message{}, "")
	c.clock.Advance(time.Hour) // it is never captured
	c.row().is(t, cancelled)
	c.listed(message{"PayFlag": "N", "OrderDateTimeS": "201706130904", "OrderDateTimeE": "201706130904"}, "P1")
	c.maintain(message{"Command": "R"}).is(t, message{"Status": "F"})

	late := paid(t, desk.Faults{})
	late.clock.Advance(10 * time.Minute)
	late.maintain(message{"Command": "C"}).is(t, message{"Status": "F", "Description": "S0030 – 無法處理: an authorisation is cancelled before the capture only"})
	late.maintain(message{"Command": "R"}).is(t, message{"Status": "S"})

	unpaid := newCity(t)
	unpaid.create(unpaid.order("P1"))
	unpaid.maintain(message{"Command": "C"}).is(t, message{"Status": "F"})
}

func TestNobodyCapturesWithoutAutoBilling(t *testing.T) {
	c := newCity(t)
	c.pay(c.create(c.order("P1").with(message{"CardParam": message{"AutoBilling": "N"}})), "method=credit_card")
	c.clock.Advance(24 * time.Hour)
	c.row().is(t, message{"PayStatus": "1C300", "PayDate": ""})
	c.waiting(message{}, "P1")
	c.maintain(message{"Command": "R"}).is(t, message{"Status": "F"})
	c.maintain(message{"Command": "C"}).is(t, message{"Status": "S"})
}
