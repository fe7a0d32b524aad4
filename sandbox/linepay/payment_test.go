package linepay_test

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
	"pay.taipei/gateway/sandbox/linepay"
	"pay.taipei/gateway/signing"
)

// TestVectors are those of two SDKs. The first signs a whole URL where the path belongs.
func TestVectors(t *testing.T) {
	for _, v := range []struct{ secret, path, payload, nonce, want string }{
		{"channelSecretKey", "https://sandbox-api-pay.line.me/v3/payments", "transactionId=2021113000697317600", "00000000-0000-0000-0000-000000000000", "CcToW3HaslH44yvJNliuomtkwufd8aC048p3QXZPlj8="},
		{"fuga", "/v3/payments/request", `{"amount": 1, "currency": "JPY", "orderId": "5383b36e-fe10-4767-b11b-81eefd1752fa", "packages": [{"id": "package-999", "amount": 1, "name": "Sample package", "products": [{"id": "product-001", "name": "Sample product", "quantity": 1, "price": 1}]}], "redirectUrls": {"confirmUrl": "https://example.com/pay/confirm", "cancelUrl": "https://example.com/pay/cancel"}}`, "021a6bb9-ed18-4562-b9bd-ad07a27532f6", "Rz5VEwPHChlQgN+dEmYWWbtWKw0XS41MblRB/dRdygE="},
	} {
		keys, err := signing.NewHMACKeys([]signing.HMACKey{{ID: "1", Secret: signing.NewSecret([]byte(v.secret))}})
		if err != nil {
			t.Fatal(err)
		}
		if _, tag := keys.Sign(linepay.Signed(v.secret, v.path, v.payload, v.nonce)); base64.StdEncoding.EncodeToString(tag) != v.want {
			t.Errorf("%s: %x", v.secret, tag)
		}
	}
}

func TestPaid(t *testing.T) {
	for method, name := range map[string]string{"credit_card": "CREDIT_CARD", "balance": "BALANCE"} {
		t.Run(method, func(t *testing.T) {
			s := newShop(t)
			o := s.open(wish)
			id := o.TransactionID.String()
			if !strings.HasPrefix(o.PaymentURL.Web, s.url+"/pay/") || !strings.HasPrefix(o.PaymentURL.App, "line://pay/payment/") || !regexp.MustCompile(`^\d{12}$`).MatchString(o.Token) {
				t.Errorf("%+v", o)
			}
			if p := s.visit("GET", o.PaymentURL.Web, nil); p.status != 200 || !strings.Contains(p.body, "NT$40") || !strings.Contains(p.body, "停車費") || !strings.Contains(p.body, `id="pay-`+method+`"`) {
				t.Errorf("pay page: %s", p.body)
			}
			s.want("0000", s.check(o))
			p := s.agree(o, method)
			if p.outcome() != "authorised" || p.back() != "https://gateway.example/r/7Zk2?a=%31&b=2&transactionId="+id+"&orderId=PMA-1" {
				t.Errorf("result: %s %s", p.outcome(), p.back())
			}
			if e := s.book(); e.Charges != 0 || e.State != desk.Authorised {
				t.Errorf("charged before the confirm: %+v", e)
			}
			s.want("0110", s.check(o))
			s.want("1150", s.details("transactionId="+id))

			s.clock.Advance(time.Minute)
			confirmed := s.want("0000", s.confirm(o))
			if want := `{"orderId":"PMA-1","transactionId":` + id + `,"payInfo":[{"method":"` + name + `","amount":40}]}`; string(confirmed.Info) != want {
				t.Errorf("confirm %s, want %s", confirmed.Info, want)
			}
			if c := s.want("0123", s.check(o)); len(c.Info) != 0 {
				t.Errorf("check %s", c.raw)
			}
			want := row{
				TransactionID: o.TransactionID, TransactionDate: "2026-11-25T01:05:00Z", TransactionType: "PAYMENT", PayStatus: "CAPTURE",
				ProductName: "停車費", Currency: "TWD", PayInfo: []paidBy{{name, 40}},
			}
			if got := s.rows("transactionId=" + id + "&fields=TRANSACTION"); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
				t.Errorf("details %+v, want %+v", got, want)
			}
			var sent struct{ Packages json.RawMessage }
			if err := json.Unmarshal([]byte(wish), &sent); err != nil {
				t.Fatal(err)
			}
			want.OrderID, want.Packages = "PMA-1", sent.Packages
			for _, query := range []string{"orderId=PMA-1", "fields=ORDER&transactionId=" + id, "orderId=PMA-1&fields=ALL&transactionId=" + id} {
				if got := s.rows(query); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
					t.Errorf("%s: %+v, want %+v", query, got, want)
				}
			}
			if e := s.book(); e.Charges != 1 || e.State != desk.Paid || e.Payee != s.line.Payees["pma"] || e.Deliveries != 0 {
				t.Errorf("%+v", e)
			}
			if next, err := s.line.Step(t.Context()); err != nil || !next.IsZero() {
				t.Errorf("a notice is due at %v, %v", next, err)
			}
			if p := s.visit("GET", o.PaymentURL.Web, nil); p.outcome() != "paid" || !strings.Contains(p.back(), "/r/7Zk2?") {
				t.Errorf("reload: %s", p.body)
			}
		})
	}
}

// TestTransactionIDs are numbers that a float64 cannot hold.
func TestTransactionIDs(t *testing.T) {
	s := newShop(t)
	a := s.call("POST", "/v3/payments/request", wish)
	id, err := strconv.ParseInt(first(a.raw, `"transactionId":(\d{19})[,}]`), 10, 64)
	if err != nil {
		t.Fatalf("%v: %s", err, a.raw)
	}
	if int64(float64(id)) == id || !strings.HasPrefix(strconv.FormatInt(id, 10), "20261125") {
		t.Errorf("%d survives a float64", id)
	}
	other := s.open(strings.Replace(wish, "PMA-1", "PMA-2", 1))
	if o, _ := other.TransactionID.Int64(); o == id {
		t.Errorf("%d came twice", id)
	}
	s.agree(other, "balance")
	raw := s.confirm(other).raw + s.refund(other, `{"refundAmount":1}`).raw + s.details("orderId=PMA-2").raw
	if got := regexp.MustCompile(`"(t|refundT)ransactionId":\d{19}[,}]`).FindAllString(raw, -1); len(got) != 4 {
		t.Errorf("%q in %s", got, raw)
	}
}

func TestCancelledDeclinedOpen(t *testing.T) {
	s := newShop(t)
	o := s.open(wish)
	s.want("1169", s.confirm(o))
	p := s.agree(o, "")
	if want := "https://gateway.example/c/7Zk2?transactionId=" + o.TransactionID.String() + "&orderId=PMA-1"; p.outcome() != "cancelled" || p.back() != want {
		t.Errorf("%s %s, want %s", p.outcome(), p.back(), want)
	}
	s.want("0121", s.check(o))
	s.want("1169", s.confirm(o))
	if p := s.agree(o, "balance"); p.outcome() != "cancelled" {
		t.Errorf("agreed after cancelling: %s", p.outcome())
	}

	s = newShop(t)
	s.faults(`{"fail":true}`)
	o = s.open(wish)
	if p := s.agree(o, "credit_card"); p.outcome() != "failed" || !strings.HasPrefix(p.back(), "https://gateway.example/c/7Zk2?transactionId=") {
		t.Errorf("%s %s", p.outcome(), p.back())
	}
	s.want("0122", s.check(o))
	s.want("1169", s.confirm(o))
	s.want("1179", s.refund(o, `{}`))
	s.want("1150", s.details("orderId=PMA-1"))
	if e := s.book(); e.Charges != 0 {
		t.Errorf("%+v", e)
	}
}

func TestExpiry(t *testing.T) {
	for _, agreed := range []bool{false, true} {
		s := newShop(t)
		o := s.open(wish)
		if agreed {
			s.agree(o, "credit_card")
		}
		s.clock.Advance(20*time.Minute - time.Second)
		s.want(map[bool]string{false: "0000", true: "0110"}[agreed], s.check(o))
		s.clock.Advance(time.Second)
		if p := s.visit("GET", o.PaymentURL.Web, nil); p.outcome() != "expired" || !strings.Contains(p.back(), "/c/7Zk2?") {
			t.Errorf("agreed %v: %s %s", agreed, p.outcome(), p.back())
		}
		s.want("0121", s.check(o))
		s.want("1180", s.confirm(o))
		s.want("1172", s.call("POST", "/v3/payments/request", wish))
		if e := s.book(); e.State != desk.Expired || e.Charges != 0 {
			t.Errorf("agreed %v: %+v", agreed, e)
		}
	}
}

func TestConfirm(t *testing.T) {
	s := newShop(t)
	o := s.open(wish)
	s.agree(o, "credit_card")
	path := "/v3/payments/" + o.TransactionID.String() + "/confirm"
	for _, c := range []struct{ path, body, want string }{
		{path, `{"amount":41,"currency":"TWD"}`, "1153"},
		{path, `{"amount":40,"currency":"USD"}`, "1178"},
		{path, `{"amount":40,"currency":1}`, "2101"},
		{path, `{"amount":"40","currency":"TWD"}`, "2101"},
		{path, `{"amount":40.0,"currency":"TWD"}`, "1124"},
		{path, `{"amount":4e1,"currency":"TWD"}`, "1124"},
		{path, `{"amount":-40,"currency":"TWD"}`, "1124"},
		{path, `{"amount":40}`, "2101"},
		{path, `{"Amount":40,"currency":"TWD"}`, "2101"},
		{path, `{"amount":40,"amount":40,"currency":"TWD"}`, "2101"},
		{path, `{"amount":40,"currency":"TWD","orderId":"PMA-1"}`, "2101"},
		{path, `[]`, "2101"},
		{path, ``, "2101"},
		{path, `{"amount":40,"currency":"TWD"`, "2102"},
		{path, `{"amount":40,"currency":"TWD"}{}`, "2102"},
		{"/v3/payments/2026112501040000009/confirm", `{"amount":40,"currency":"TWD"}`, "1155"},
		{"/v3/payments/1/confirm", `{"amount":40,"currency":"TWD"}`, "2101"},
	} {
		if a := s.call("POST", c.path, c.body); a.Code != c.want {
			t.Errorf("%s: %s, want %s", c.body, a.raw, c.want)
		}
	}
	if e := s.book(); e.Charges != 0 {
		t.Fatalf("charged: %+v", e)
	}

	var all sync.WaitGroup
	codes := make([]string, 20)
	for i := range codes {
		all.Go(func() { codes[i] = s.confirm(o).Code })
	}
	all.Wait()
	if got := strings.Join(codes, " "); strings.Count(got, "0000") != 1 || strings.Count(got, "1152") != len(codes)-1 {
		t.Errorf("20 confirms at once: %s", got)
	}
	if e := s.book(); e.Charges != 1 {
		t.Errorf("%+v", e)
	}
	s.clock.Advance(time.Hour)
	s.want("1152", s.confirm(o))
	s.want("0123", s.check(o))
}

func TestRefund(t *testing.T) {
	s := newShop(t)
	o := s.open(wish)
	s.agree(o, "credit_card")
	s.want("1179", s.refund(o, `{}`)) // authorised only
	s.want("0000", s.confirm(o))
	s.clock.Advance(time.Hour)
	for body, want := range map[string]string{
		`{"refundAmount":0}`: "1124", `{"refundAmount":-1}`: "1124", `{"refundAmount":1.5}`: "1124", `{"refundAmount":"1"}`: "2101",
		`{"refundAmount":null}`: "2101", `{"amount":1}`: "2101", `{"refundAmount":41}`: "1164", `{`: "2102",
	} {
		if a := s.refund(o, body); a.Code != want {
			t.Errorf("%s: %s, want %s", body, a.raw, want)
		}
	}
	var ids []string
	for range 2 { // the same call twice is two refunds
		a := s.want("0000", s.refund(o, `{"refundAmount":15}`))
		ids = append(ids, first(a.raw, `"refundTransactionId":(\d{19}),"refundTransactionDate":"2026-11-25T02:04:00Z"`))
	}
	s.want("1164", s.refund(o, `{"refundAmount":11}`))
	a := s.want("0000", s.refund(o, ``)) // the rest
	ids = append(ids, first(a.raw, `"refundTransactionId":(\d{19})`))
	want := []back{
		{json.Number(ids[0]), "PARTIAL_REFUND", -15, "2026-11-25T02:04:00Z"}, {json.Number(ids[1]), "PARTIAL_REFUND", -15, "2026-11-25T02:04:00Z"},
		{json.Number(ids[2]), "PARTIAL_REFUND", -10, "2026-11-25T02:04:00Z"},
	}
	got := s.rows("orderId=PMA-1")[0]
	if !reflect.DeepEqual(got.Refunds, want) || got.PayStatus != "CAPTURE" || ids[0] == ids[1] || len(ids[2]) != 19 {
		t.Errorf("%+v, want %+v", got.Refunds, want)
	}
	s.want("1165", s.refund(o, `{}`))
	s.want("1165", s.refund(o, `{"refundAmount":1}`))
	s.want("0123", s.check(o))
	s.want("1155", s.call("POST", "/v3/payments/"+ids[0]+"/refund", `{}`)) // a refund is no payment
	if e := s.book(); e.Refunded != "40" || e.Charges != 1 {
		t.Errorf("%+v", e)
	}
}

func TestWholeRefund(t *testing.T) {
	s := newShop(t)
	o := s.paid()
	var all sync.WaitGroup
	codes := make([]string, 10)
	for i := range codes {
		all.Go(func() { codes[i] = s.refund(o, `{}`).Code })
	}
	all.Wait()
	if got := strings.Join(codes, " "); strings.Count(got, "0000") != 1 || strings.Count(got, "1165") != len(codes)-1 {
		t.Errorf("ten refunds at once: %s", got)
	}
	if got := s.rows("orderId=PMA-1")[0].Refunds; len(got) != 1 || got[0].Type != "PAYMENT_REFUND" || got[0].Amount != -40 {
		t.Errorf("%+v", got)
	}
}

func TestRefundEnds(t *testing.T) {
	s := newShop(t)
	o := s.paid()
	s.clock.Advance(90 * 24 * time.Hour)
	s.want("0000", s.refund(o, `{"refundAmount":1}`))
	s.clock.Advance(time.Second)
	s.want("1163", s.refund(o, `{"refundAmount":1}`))
}

func TestVoid(t *testing.T) {
	s := newShop(t)
	o := s.open(wish)
	s.agree(o, "balance")
	path := "/v3/payments/authorizations/" + o.TransactionID.String() + "/void"
	s.want("1155", s.call("POST", path, `{}`))
	s.want("0000", s.confirm(o))
	s.want("1155", s.call("POST", path, ``))
	s.want("2101", s.call("POST", path, `{"amount":1}`))
	s.want("1155", s.call("POST", "/v3/payments/authorizations/2026112501040000009/void", `{}`))
	s.want("0123", s.check(o))
}

func TestDetails(t *testing.T) {
	s := newShop(t)
	one := s.paid()
	two := s.open(strings.Replace(wish, "PMA-1", "PMA/2 費", 1))
	s.agree(two, "balance")
	s.want("0000", s.confirm(two))
	id := one.TransactionID.String()
	for query, want := range map[string]int{
		"transactionId=" + id: 1,
		"transactionId=" + id + "&transactionId=" + two.TransactionID.String(): 2,
		"orderId=PMA-1&orderId=PMA%2F2+%E8%B2%BB":                              2,
		"orderId=PMA%2F2%20%E8%B2%BB":                                          1,
		"orderId=PMA-1" + strings.Repeat("&orderId=x", 99):                     1,
	} {
		if got := s.rows(query); len(got) != want {
			t.Errorf("%s: %+v", query, got)
		}
	}
	for query, want := range map[string]string{
		"": "2101", "fields=ALL": "2101", "orderId=": "2101", "transactionId=1": "2101", "orderid=PMA-1": "2101", "orderId=PMA-1&x=1": "2101",
		"orderId=PMA-1&fields=all": "2101", "orderId=PMA-1&fields=": "2101", "orderId=PMA-1&fields=ALL&fields=ALL": "2101", "orderId=%zz": "2101",
		"orderId=PMA-1" + strings.Repeat("&orderId=x", 100): "1177",
		"orderId=PMA-3": "1150", "transactionId=" + id + "&orderId=PMA%2F2+%E8%B2%BB": "1150",
	} {
		if a := s.details(query); a.Code != want {
			t.Errorf("%s: %s, want %s", query, a.raw, want)
		}
	}
	s.want("2101", s.call("GET", "/v3/payments/requests/"+id+"/check?x=1", ""))
	s.want("1150", s.call("GET", "/v3/payments/requests/2026112501040000009/check", ""))
	s.want("2101", s.call("GET", "/v3/payments/requests/x/check", ""))
}

func TestWayBackKeepsTheMerchantsOrderID(t *testing.T) {
	s := newShop(t)
	o := s.open(strings.Replace(wish, "r/7Zk2?a=%31&b=2", "r/7Zk2?orderId=own", 1))
	if got, want := s.agree(o, "balance").back(), "https://gateway.example/r/7Zk2?orderId=own&transactionId="+o.TransactionID.String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestDouble(t *testing.T) {
	s, again := newShop(t), newShop(t)
	if s.channel != again.channel || s.secret != again.secret {
		t.Error("the same seed gives other keys")
	}
	if want := map[string]string{"pma": s.channel, "twd": s.channel}; !reflect.DeepEqual(s.line.Payees, want) {
		t.Errorf("payees %v", s.line.Payees)
	}
	if d := linepay.Double(); d.Name != "linepay" {
		t.Error(d.Name)
	}
	if p := s.visit("GET", s.url+"/?lang=en", nil); p.status != 200 || !strings.Contains(p.body, "<h1>LINE Pay</h1>") {
		t.Error(p.body)
	}
	if _, err := linepay.Double().Open(desk.Place{Seed: []byte("seed")}, desk.Deps{}); err == nil {
		t.Error("opened without a clock")
	}
}
