package bravobank_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/signing"
)

func newServer(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestQueryBeforeAndWhileOpen(t *testing.T) {
	c := newCity(t)
	if s := c.query(); s.Error != "not_found" {
		t.Errorf("%+v", s)
	}
	c.post("/order", c.order())
	if s := c.query(); s.Status != "created" || s.Refunds == nil || s.Method+s.TradeNo+s.PaidAt != "" {
		t.Errorf("%+v", s)
	}
	for payee, want := range map[string]string{"1136550": "not_found", "77": "merchant_not_allowed"} {
		var s statement
		if _, err := c.call("query", `{"attempt_no":"201706130000001601","payee_member_id":"`+payee+`"}`, &s); err != nil || s.Error != want {
			t.Errorf("payee %s: %+v, %v", payee, s, err)
		}
	}
}

func TestRefund(t *testing.T) {
	c := newCity(t)
	order := c.visit(c.order())
	refund := func(id, amount string) refundFact {
		t.Helper()
		r, err := c.refund(id, amount)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := refund("R-0", "1"); r.Error != "not_refundable" {
		t.Errorf("before payment: %+v", r)
	}
	c.pay(order, "credit_card")
	first := refund("R-1", "15")
	if first.Status != "done" || first.ID != "R-1" || first.Amount != "15" || first.Currency != "TWD" || first.No == "" || first.Attempt != "201706130000001601" {
		t.Errorf("%+v", first)
	}
	if again := refund("R-1", "15"); again != first {
		t.Errorf("the same refund: %+v", again)
	}
	for _, r := range []struct{ id, amount, want string }{
		{"R-1", "16", "refund_id_reused"}, {"R-2", "26", "refund_exceeds_paid"}, {"R-2", "0", "malformed"}, {"R-2", "1e1", "malformed"}, {"R 2", "1", "malformed"}, {"R-2", "25", ""},
	} {
		if got := refund(r.id, r.amount); got.Error != r.want {
			t.Errorf("%+v: %+v", r, got)
		}
	}
	if e := c.book(); e.Refunded != "40" || e.Status != "paid" {
		t.Errorf("%+v", e)
	}
	if s := c.query(); s.Status != "paid" || len(s.Refunds) != 2 || s.Refunds[0].ID != "R-1" || s.Refunds[1].Amount != "25" {
		t.Errorf("%+v", s)
	}
	c.clock.Advance(181 * 24 * time.Hour)
	if r := refund("R-3", "1"); r.Error != "refund_window_over" {
		t.Errorf("half a year later: %+v", r)
	}
}

func TestAPIRefuses(t *testing.T) {
	c := newCity(t)
	us := newSigner(t, "gateway-1", 1)
	const body = `{"attempt_no":"201706130000001601","payee_member_id":"1136549"}`
	send := func(label, kid, path, signedPath, nonce string, at time.Time, body string, header func(http.Header)) string {
		t.Helper()
		timestamp := strconv.FormatInt(at.Unix(), 10)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.bankURL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		text := label + "\n" + kid + "\n" + timestamp + "\n" + nonce + "\n" + signedPath + "\n" + body
		req.Header.Set("Bravo-Kid", kid)
		req.Header.Set("Bravo-Timestamp", timestamp)
		req.Header.Set("Bravo-Nonce", nonce)
		req.Header.Set("Bravo-Signature", base64.RawURLEncoding.EncodeToString(us.Sign(signing.Text(text))))
		if header != nil {
			header(req.Header)
		}
		p := c.do(req, nil)
		if p.header.Get("Bravo-Signature") == "" {
			t.Error("an unsigned answer")
		}
		return strconv.Itoa(p.status) + " " + p.body
	}
	const q, n = "/api/v1/query", "aaaaaaaaaaaaaaaa"
	now := c.clock.Now()
	for _, r := range []struct{ name, got, want string }{
		{"unknown payment", send("bravo-query-v1", "gateway-1", q, q, n+"1", now, body, nil), `404 {"error":"not_found"}`},
		{"the nonce again", send("bravo-query-v1", "gateway-1", q, q, n+"1", now, body, nil), `409 {"error":"nonce_reused"}`},
		{"unknown key", send("bravo-query-v1", "gateway-9", q, q, n+"2", now, body, nil), `401 {"error":"unknown_key"}`},
		{"label of a notice", send("bravo-notice-v1", "gateway-1", q, q, n+"3", now, body, nil), `401 {"error":"bad_signature"}`},
		{"a query as refund", send("bravo-query-v1", "gateway-1", "/api/v1/refund", q, n+"4", now, body, nil), `401 {"error":"bad_signature"}`},
		{"old", send("bravo-query-v1", "gateway-1", q, q, n+"5", now.Add(-301*time.Second), body, nil), `401 {"error":"stale"}`},
		{"ahead", send("bravo-query-v1", "gateway-1", q, q, n+"6", now.Add(301*time.Second), body, nil), `401 {"error":"stale"}`},
		{"query string", send("bravo-query-v1", "gateway-1", q+"?x=1", q, n+"7", now, body, nil), `400 {"error":"malformed"}`},
		{"short nonce", send("bravo-query-v1", "gateway-1", q, q, "a", now, body, nil), `400 {"error":"malformed"}`},
		{"header twice", send("bravo-query-v1", "gateway-1", q, q, n+"8", now, body, func(h http.Header) { h.Add("Bravo-Kid", "gateway-1") }), `400 {"error":"malformed"}`},
		{"unknown field", send("bravo-query-v1", "gateway-1", q, q, n+"9", now, `{"x":1}`, nil), `400 {"error":"malformed"}`},
		{"large body", send("bravo-query-v1", "gateway-1", q, q, n+"0", now, strings.Repeat(" ", 70_000), nil), `400 {"error":"malformed"}`},
	} {
		if r.got != r.want {
			t.Errorf("%s: %s, want %s", r.name, r.got, r.want)
		}
	}
}
