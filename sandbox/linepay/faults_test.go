package linepay_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWrongAmount(t *testing.T) {
	s := newShop(t)
	s.faults(`{"wrong_amount":true,"next":1}`)
	o := s.open(wish)
	s.agree(o, "credit_card")
	// The lie is what is reported; the merchant must still confirm the amount that it asked for.
	if a := s.want("0000", s.confirm(o)); !strings.Contains(a.raw, `"payInfo":[{"method":"CREDIT_CARD","amount":41}]`) {
		t.Error(a.raw)
	}
	if got := s.rows("orderId=PMA-1")[0].PayInfo; len(got) != 1 || got[0].Amount != 41 {
		t.Errorf("%+v", got)
	}
	if e := s.book(); e.Total != "40" {
		t.Errorf("%+v", e)
	}
}

// TestAnswerDropped also when the fault ended with the payer's decision: the payment has kept it.
func TestAnswerDropped(t *testing.T) {
	for _, f := range []string{`{"answer_dropped":true}`, `{"answer_dropped":true,"next":1}`} {
		s := newShop(t)
		o := s.open(wish)
		s.faults(f)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.PaymentURL.Web, strings.NewReader("method=balance"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if a, err := s.send(req); err == nil {
			t.Fatalf("the page answered %d", a.status) // desk drops the payer's answer too
		}
		path := "/v3/payments/" + o.TransactionID.String()
		if a, err := s.send(s.prepare("POST", path+"/confirm", `{"amount":40,"currency":"TWD"}`)); err == nil {
			t.Fatalf("%s: the confirm answered %s", f, a.raw)
		}
		s.want("0123", s.check(o))
		if e := s.book(); e.Charges != 1 {
			t.Errorf("%s: %+v", f, e)
		}
		s.faults(`{"answer_dropped":true}`)
		if a, err := s.send(s.prepare("POST", path+"/refund", `{"refundAmount":5}`)); err == nil {
			t.Fatalf("%s: the refund answered %s", f, a.raw)
		}
		s.faults(`{}`)
		s.want("1152", s.confirm(o))
		if got := s.rows("orderId=PMA-1")[0].Refunds; len(got) != 1 || got[0].Amount != -5 {
			t.Errorf("%s: %+v", f, got)
		}
	}
}

func TestClosedThrottledHanging(t *testing.T) {
	s := newShop(t)
	o := s.open(wish)
	calls := map[string]string{
		"/v3/payments/request": strings.Replace(wish, "PMA-1", "PMA-2", 1), "/v3/payments/" + o.TransactionID.String() + "/confirm": `{"amount":40,"currency":"TWD"}`,
		"/v3/payments/" + o.TransactionID.String() + "/refund": `{}`, "/v3/payments/authorizations/" + o.TransactionID.String() + "/void": `{}`,
		"/v3/payments?orderId=PMA-1": "", "/v3/payments/requests/" + o.TransactionID.String() + "/check": "",
	}
	each := func(do func(req *http.Request)) {
		for path, body := range calls {
			method := http.MethodPost
			if body == "" {
				method = http.MethodGet
			}
			do(s.prepare(method, path, body))
		}
	}
	s.faults(`{"closed":true}`)
	each(func(req *http.Request) {
		if a, err := s.send(req); err != nil || a.status != 503 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.raw, "maintenance") {
			t.Errorf("closed: %v %d %s", err, a.status, a.raw)
		}
	})
	s.faults(`{"throttled":true}`)
	each(func(req *http.Request) {
		if a, err := s.send(req); err != nil || a.status != 429 || a.raw != "" {
			t.Errorf("throttled: %v %d %s", err, a.status, a.raw)
		}
	})
	s.faults(`{"hang":true}`)
	each(func(req *http.Request) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if a, err := s.send(req.WithContext(ctx)); err == nil {
			t.Errorf("hanging: %d %s", a.status, a.raw)
		}
	})
	s.faults(`{}`)
	s.want("0000", s.check(o))
	if len(s.line.Desk.Books()) != 1 {
		t.Error("a request was taken")
	}
}

func TestFaultsThatCannotBe(t *testing.T) {
	s := newShop(t)
	for _, f := range []string{`"late":"1s"`, `"lost":true`, `"duplicated":1`, `"reordered":true`, `"forged_signature":true`, `"wrong_merchant":true`, `"wrong_currency":true`} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.url+"/faults", strings.NewReader("{"+f+"}"))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := s.send(req); err != nil || a.status != http.StatusBadRequest {
			t.Errorf("%s: %v %d", f, err, a.status)
		}
	}
}
