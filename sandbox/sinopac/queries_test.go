package sinopac_test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

func TestOrderQueryIsFiveMinutesBehind(t *testing.T) {
	c := newCity(t)
	none := func(when string) {
		t.Helper()
		if rows := c.rows(message{"OrderNo": "P1"}); len(rows) != 0 {
			t.Errorf("%s: %v", when, rows)
		}
	}
	none("before it is")
	pages := map[string]string{}
	for _, no := range []string{"P1", "P2", "P3", "P4"} {
		pages[no] = c.create(c.order(no))
	}
	c.clock.Advance(4 * time.Minute)
	none("after 4 minutes")
	c.pay(pages["P1"], "method=credit_card")
	c.pay(pages["P2"], "")
	c.double.Desk.Panel.Set(desk.Faults{Fail: true, WrongAmount: true, Next: 1})
	c.pay(pages["P3"], "method=credit_card")
	c.clock.Advance(time.Minute)
	statuses := func(want string, flags message) {
		t.Helper()
		var got []string
		for _, no := range []string{"P1", "P2", "P3", "P4"} {
			rows := c.rows(message{"OrderNo": no})
			if len(rows) != 1 {
				t.Fatalf("%s: %v", no, rows)
			}
			got = append(got, fmt.Sprint(rows[0]["PayStatus"]))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("statuses %v, want %s", got, want)
		}
		for flag, numbers := range flags {
			c.listed(message{"PayFlag": flag, "OrderDateTimeS": "201706130904", "OrderDateTimeE": "201706130904"}, numbers)
		}
	}
	statuses("1C100 1C100 1C100 1C100", message{"Y": "", "N": "P1 P2 P3 P4", "O": ""})
	c.row().is(t, message{"ApprovedDate": "", "PayDate": ""})
	c.waiting(message{}, "")
	c.rows(message{"OrderNo": "P3"})[0].is(t, message{"Amount": 50000}) // the lie is part of the decision
	c.clock.Advance(4 * time.Minute)
	statuses("1C300 1C900 1C900 1C100", message{"Y": "", "N": "P1 P2 P3 P4", "O": ""})
	c.row().is(t, message{"ApprovedDate": "201706130908", "PayDate": ""})
	c.waiting(message{}, "P1")
	c.rows(message{"OrderNo": "P3"})[0].is(t, message{"Amount": 50100})
	c.pay(pages["P2"], "") // visited again, it does not end anew
	c.clock.Advance(time.Minute)
	if _, body, err := c.send(http.MethodGet, pages["P4"]+"/result", "", "", nil); err != nil || !strings.Contains(body, `data-status="expired"`) {
		t.Errorf("%s %v", body, err)
	}
	statuses("1C300 1C900 1C900 1C100", message{"N": "P1 P2 P3 P4"})
	c.clock.Advance(5 * time.Minute)
	statuses("1C300 1C900 1C900 1C900", message{"Y": "", "N": "P1 P2 P3 P4"})
	c.clock.Advance(4*time.Minute - time.Second) // five minutes after the capture, less a second
	statuses("1C300 1C900 1C900 1C900", message{"Y": "", "N": "P1 P2 P3 P4"})
	c.waiting(message{}, "P1")
	c.clock.Advance(time.Second)
	statuses("1C400 1C900 1C900 1C900", message{"Y": "P1", "N": "P2 P3 P4", "O": ""})
	c.row().is(t, message{"ApprovedDate": "201706130908", "PayDate": "201706130918"})
	c.waiting(message{}, "")
}

// waiting asks OrderUnCapturedQuery and compares the numbers.
func (c *city) waiting(in message, want string) {
	c.t.Helper()
	c.numbers(c.rowsOf("OrderUnCapturedQuery", in), in, want)
}

// listed asks for a list of card orders and compares their numbers.
func (c *city) listed(in message, want any) {
	c.t.Helper()
	c.numbers(c.rows(message{"PayType": "C"}.with(in)), in, want)
}

func (c *city) numbers(rows []message, in message, want any) {
	c.t.Helper()
	var numbers []string
	for _, r := range rows {
		numbers = append(numbers, fmt.Sprint(r["OrderNo"]))
	}
	if got := strings.Join(numbers, " "); got != want {
		c.t.Errorf("%v: %q, want %q", in, got, want)
	}
}

func TestOrderQueryLists(t *testing.T) {
	c := newCity(t)
	for _, no := range []string{"P1", "P2", "P3"} {
		page := c.create(c.order(no))
		c.clock.Advance(time.Minute)
		if no != "P3" {
			c.pay(page, "method=credit_card")
		}
	}
	c.create(c.order("P4").with(message{"ShopNo": "NA0001_002"}))
	c.clock.Advance(5 * time.Minute)
	c.listed(message{"PayFlag": "Y", "PayDateTimeS": "201706130000", "PayDateTimeE": "201706132359"}, "") // nothing is captured yet
	c.clock.Advance(10 * time.Minute)
	for _, r := range []struct{ kind, flag, from, until, want string }{
		{"Order", "Y", "201706130904", "201706130905", "P1 P2"}, {"Order", "Y", "201706130905", "201706130905", "P2"}, {"Order", "Y", "201706130906", "201706130906", ""},
		{"Order", "N", "201706130000", "201706132359", "P3"}, {"Order", "O", "201706130000", "201706132359", ""},
		{"Pay", "Y", "201706130915", "201706130915", "P1"}, {"Pay", "Y", "201706130905", "201706130914", ""}, {"Pay", "N", "201706130000", "201706132359", ""},
	} {
		c.listed(message{"PayFlag": r.flag, r.kind + "DateTimeS": r.from, r.kind + "DateTimeE": r.until}, r.want)
	}
	good := message{"PayType": "C", "PayFlag": "Y", "OrderDateTimeS": "201706130904", "OrderDateTimeE": "201706130905"}
	for _, changes := range []message{
		{"PayType": nil}, {"PayType": "A"}, {"PayFlag": nil}, {"PayFlag": "y"}, {"PayFlag": ""}, {"OrderDateTimeS": nil}, {"OrderDateTimeE": nil}, {"OrderDateTimeE": "201706130903"},
		{"OrderDateTimeS": "20170613"}, {"OrderDateTimeS": "201702300000"}, {"OrderDateTimeS": 201706130904}, {"OrderNo": "P1"}, {"More": 1},
		{"PayDateTimeS": "201706130904", "PayDateTimeE": "201706130904"}, {"orderno": "P1"},
	} {
		if m := c.ask("OrderQuery", message{"ShopNo": "NA0001_001"}.with(good).with(changes)); m["Status"] != "F" || m["OrderList"] != nil {
			t.Errorf("%v: %v", changes, m)
		}
	}
}

func TestOrderUnCapturedQuery(t *testing.T) {
	c := newCity(t)
	created := c.ask("OrderCreate", c.order("P1").with(message{"Memo": "八月"}))
	page, _ := created.nested(t, "CardParam")["CardPayURL"].(string)
	c.create(c.order("P2"))
	c.pay(c.create(c.order("P3")), "")
	c.clock.Advance(time.Minute)
	c.pay(page, "method=credit_card")
	c.pay(c.create(c.order("P4")), "method=credit_card")
	c.pay(c.create(c.order("P1").with(message{"ShopNo": "NA0001_002", "Amount": 700})), "method=credit_card")
	c.clock.Advance(5*time.Minute - time.Second)
	c.waiting(message{}, "")
	c.clock.Advance(time.Second)
	c.waiting(message{}, "P1 P4")
	c.waiting(message{"OrderNo": "P4"}, "P4")
	c.waiting(message{"OrderNo": "P2"}, "")
	c.waiting(message{"OrderNo": "P9"}, "")
	row := c.rowsOf("OrderUnCapturedQuery", message{"OrderNo": "P1"})[0]
	row.is(t, message{
		"OrderNo": "P1", "TSNo": created["TSNo"], "TSDate": "201706130904", "ApprovedDate": "201706130905", "ExpireDate": "201706130914", "Amount": 50000,
		"PayType": "C", "PrdtName": "停車費", "Memo": "八月", "PayStatus": "1C300",
	})
	if len(row) != 10 {
		t.Errorf("%v", row)
	}
	for _, changes := range []message{{"OrderNo": ""}, {"OrderNo": 1}, {"OrderNo": "a%b"}, {"orderno": "P1"}, {"PayType": "C"}, {"PayFlag": "N"}} {
		c.ask("OrderUnCapturedQuery", message{"ShopNo": "NA0001_001"}.with(changes)).is(t, message{"Status": "F", "OrderList": nil})
	}
	c.clock.Advance(10 * time.Minute)
	c.waiting(message{}, "")
}

func TestTheAmountOfAResultIsTextOrNumber(t *testing.T) {
	c := newCity(t)
	for number, want := range map[string]any{"P1": "50000", "P2": 50000, "P10": 50000, "19X": "50000", "98-X": 50000, "X": 50000} {
		_, fields := c.pay(c.create(c.order(number)), "method=credit_card")
		m, _ := c.result(fields.Get("PayToken"))
		m.nested(t, "TSResultContent").is(t, message{"OrderNo": number, "Amount": want})
	}
	// The shop's number, which the desk may put behind the order's, is no part of it.
	c.create(c.order("P4").with(message{"ShopNo": "NA0001_002"}))
	_, fields := c.pay(c.create(c.order("P4")), "")
	m, _ := c.result(fields.Get("PayToken"))
	m.nested(t, "TSResultContent").is(t, message{"OrderNo": "P4", "Amount": 50000})
}

func TestOrderQueryHas300Rows(t *testing.T) {
	c := newCity(t)
	for i := range 301 {
		if _, err := c.double.Desk.Open(desk.Payment{Number: fmt.Sprint(i), Payee: "NA0001_001", Amount: 1, Expires: c.clock.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	c.clock.Advance(5 * time.Minute)
	if rows := c.rows(message{"PayType": "C", "PayFlag": "N", "OrderDateTimeS": "201706130904", "OrderDateTimeE": "201706130904"}); len(rows) != 300 {
		t.Errorf("%d rows", len(rows))
	}
}

func TestUnknownTokens(t *testing.T) {
	c := paid(t, desk.Faults{})
	c.step()
	token := c.got()[0].PayToken
	last := "0"
	if strings.HasSuffix(token, "0") {
		last = "1"
	}
	for _, bad := range []string{"x", token[2:], token[:len(token)-1] + last, token + "00", strings.ToLower(token), strings.Repeat("0", len(token)), strings.Repeat("00", 32)} {
		m, genuine := c.result(bad)
		m.is(t, message{"Status": "F", "Description": "S0021 – 查無交易", "TSResultContent": nil, "PayToken": bad})
		if !genuine {
			t.Error("the Sign is wrong")
		}
	}
	for _, changes := range []message{{}, {"PayToken": ""}, {"PayToken": 1}, {"paytoken": token}, {"PayToken": token, "OrderNo": "P1"}} {
		c.ask("OrderPayQuery", message{"ShopNo": "NA0001_001"}.with(changes)).is(t, message{"Status": "F", "TSResultContent": nil})
	}
	c.clock.Advance(1000 * time.Hour)
	m, _ := c.result(token)
	m.nested(t, "TSResultContent").is(t, message{"Status": "S"}) // for ever
}

func TestNoticesAreSentAgain(t *testing.T) {
	c := paid(t, desk.Faults{})
	c.acks = []string{"503", `{"Status":"F"}`, `{"Status":"S","More":1}`, `{"Status":"S"} `}
	var waits []time.Duration
	for next := c.step(); !next.IsZero(); next = c.step() {
		waits = append(waits, next.Sub(c.clock.Now()))
		c.clock.Advance(next.Sub(c.clock.Now()))
	}
	if want := []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute}; !slices.Equal(waits, want) {
		t.Errorf("pauses %v, want %v", waits, want)
	}
	tokens := map[string]bool{}
	for _, n := range c.got() {
		tokens[n.PayToken] = true
		m, _ := c.result(n.PayToken)
		m.nested(t, "TSResultContent").is(t, message{"Status": "S", "OrderNo": "P1"})
	}
	if len(tokens) != 4 {
		t.Errorf("%d tokens in %d deliveries", len(tokens), len(c.got()))
	}
	lost := paid(t, desk.Faults{})
	lost.acks = []string{"", "S", "<html>", `{"status":"S"}`}
	if lost.drain(time.Hour); len(lost.got()) != 4 || lost.double.Desk.Books()[0].Settled != 0 {
		t.Errorf("%d deliveries", len(lost.got()))
	}
}

func TestFaultsOfNotices(t *testing.T) {
	lost := paid(t, desk.Faults{Lost: true})
	if lost.drain(time.Hour); len(lost.got()) != 0 {
		t.Error("not lost")
	}
	lost.clock.Advance(15 * time.Minute)
	lost.row().is(t, message{"PayStatus": "1C400"})

	late := paid(t, desk.Faults{Late: desk.Duration(30 * time.Second)})
	if next := late.step(); len(late.got()) != 0 || next.Sub(late.clock.Now()) != 30*time.Second {
		t.Errorf("not late: next %s", next)
	}
	if late.drain(time.Minute); len(late.got()) != 1 {
		t.Error("never came")
	}

	more := paid(t, desk.Faults{Duplicated: 2, Reordered: true})
	more.drain(time.Minute)
	var statuses, tokens []string
	for _, n := range more.got() {
		m, _ := more.result(n.PayToken)
		statuses, tokens = append(statuses, fmt.Sprint(m.nested(t, "TSResultContent")["Status"])), append(tokens, n.PayToken)
	}
	if slices.Sort(tokens); strings.Join(statuses, " ") != "S S S F" || len(slices.Compact(tokens)) != 4 {
		t.Errorf("statuses %v, tokens %v", statuses, tokens)
	}
}

func TestLiesAreAlike(t *testing.T) {
	for name, test := range map[string]struct {
		faults  desk.Faults
		shop    string
		amount  int64
		genuine bool
	}{
		"wrong_amount":     {desk.Faults{WrongAmount: true}, "NA0001_001", 50100, true},
		"wrong_merchant":   {desk.Faults{WrongMerchant: true}, "9999999", 50000, true},
		"forged_signature": {desk.Faults{ForgedSignature: true}, "NA0001_001", 50000, false},
	} {
		c := paid(t, test.faults)
		c.step()
		_, body, err := c.send(http.MethodGet, c.url+c.double.Desk.Page(c.double.Desk.Books()[0])+"/result", "", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, fields := c.way(body)
		if fields.Get("ShopNo") != test.shop || c.got()[0].ShopNo != test.shop {
			t.Errorf("%s: %v %v", name, fields, c.got())
		}
		for _, token := range []string{fields.Get("PayToken"), c.got()[0].PayToken} {
			m, genuine := c.result(token)
			m.nested(t, "TSResultContent").is(t, message{"ShopNo": test.shop, "Amount": strconv.FormatInt(test.amount, 10), "Status": "S"})
			if genuine != test.genuine {
				t.Errorf("%s: genuine is %v", name, genuine)
			}
		}
		c.clock.Advance(5 * time.Minute)
		for _, service := range []string{"OrderQuery", "OrderUnCapturedQuery"} {
			m := c.ask(service, message{"ShopNo": "NA0001_001", "OrderNo": "P1"})
			m.is(t, message{"ShopNo": test.shop})
			c.rowsOf(service, message{"OrderNo": "P1"})[0].is(t, message{"Amount": test.amount})
		}
		c.clock.Advance(5 * time.Minute)
		c.maintain(message{"Command": "R"}).is(t, message{"Status": "S", "Amount": 50000})
	}
}

func TestFaultsOfTheAPI(t *testing.T) {
	c := newCity(t)
	page := c.create(c.order("P1"))
	c.double.Desk.Panel.Set(desk.Faults{Throttled: true})
	if status, body, err := c.post("/Nonce", `{"ShopNo":"NA0001_001"}`); err != nil || status != http.StatusTooManyRequests || !strings.Contains(body, "E0429") {
		t.Errorf("throttled: %d %s %v", status, body, err)
	}
	c.double.Desk.Panel.Set(desk.Faults{Closed: true})
	if status, body, err := c.post("/Order", "{}"); err != nil || status != http.StatusServiceUnavailable || !strings.Contains(body, "E0503") {
		t.Errorf("closed: %d %s %v", status, body, err)
	}
	c.double.Desk.Panel.Set(desk.Faults{AnswerDropped: true})
	if body, err := c.decide(page, "method=credit_card"); err == nil {
		t.Errorf("the payer was answered: %s", body)
	}
	c.clock.Advance(10 * time.Minute)
	if _, body, err := c.post("/Order", encode(t, c.wrapped("OrderMaintain", "NA0001_001", `{"ShopNo":"NA0001_001","OrderNo":"P1","Command":"R"}`))); err == nil {
		t.Errorf("the refund was answered: %s", body)
	}
	c.ask("OrderCreate", c.order("P2")).is(t, message{"Status": "S"}) // no money moves
	c.double.Desk.Panel.Set(desk.Faults{})
	if p := c.double.Desk.Books()[0]; p.State != desk.Paid || p.Refunded() != 500 {
		t.Errorf("%+v", p)
	}
	for fault, want := range map[string]int{"wrong_currency": http.StatusBadRequest, "forged_signature": http.StatusOK, "reordered": http.StatusOK} {
		if status, body, err := c.send(http.MethodPut, c.url+"/faults", "application/json", `{"`+fault+`":true}`, nil); err != nil || status != want {
			t.Errorf("%s: %d %s %v", fault, status, body, err)
		}
	}
}

func TestTheDoubleIsKnownByItsPlace(t *testing.T) {
	c := newCity(t)
	if c.double.Payees["pma"] != "NA0001_001" || c.double.Payees["twd"] != "NA0001_002" || len(c.double.Payees) != 2 {
		t.Errorf("payees %v", c.double.Payees)
	}
	if len(c.set) != 6 || c.set["url"] != c.url+api || c.set["key_id"] == "" {
		t.Errorf("settings %s", c.double.Settings)
	}
	other := newCity(t)
	for _, key := range []string{"key_id", "a1", "a2", "b1", "b2"} {
		if c.set[key] != other.set[key] {
			t.Errorf("%s: another key of the same seed", key)
		}
	}
}
