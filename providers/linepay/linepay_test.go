package linepay_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/providertest"
)

// What a check says of a request; the code for one that ended depends on whether its 20 minutes are over.
func TestChecks(t *testing.T) {
	for code, want := range map[string]providers.Snapshot{
		"0000": {}, "0110": {Next: providers.NextConfirm}, "0121": {State: providers.Cancelled}, "0122": {State: providers.Failed},
	} {
		s, err := providertest.Ask(harness(t), paidQuery(code, answer("1150", "null")))
		if err != nil || s.State != want.State || s.Next != want.Next || s.Amount != nil || len(s.Raw) == 0 {
			t.Errorf("%s: %+v, %v", code, s, err)
		}
	}
	// Behind a check that says that it has ended there may be a payment all the same; a payment that is behind is not denied.
	for _, code := range []string{"0121", "0122"} {
		if s, err := providertest.Ask(harness(t), paidQuery(code, answer("0000", paid))); err != nil || s.State != providers.Paid {
			t.Errorf("%s: %+v, %v", code, s, err)
		}
		if s, err := providertest.Ask(harness(t), paidQuery(code, answer("9000", "null"))); err == nil || s.State != providers.Pending {
			t.Errorf("%s: %+v, %v", code, s, err)
		}
	}
	if s, err := providertest.Ask(harness(t), paidQuery("0123", answer("1150", "null"))); err == nil || providers.KindOf(err) != providers.OutcomeUnknown {
		t.Errorf("%+v, %v", s, err)
	}
	late := harness(t)
	late.Order.CreatedAt = now().Add(-20 * time.Minute)
	if s, err := providertest.Ask(late, paidQuery("0121", answer("1150", "null"))); err != nil || s.State != providers.Expired {
		t.Errorf("%+v, %v", s, err)
	}
}

// The details say what was paid, and what was paid back.
func TestDetails(t *testing.T) {
	spoilt := func(old, new string) string { return answer("0000", strings.Replace(paid, old, new, 1)) }
	for name, c := range map[string]struct {
		details string
		state   providers.State
		units   int64
		fails   bool
	}{
		"paid":                    {answer("0000", paid), providers.Paid, 40, false},
		"without the order":       {spoilt(`,"orderId":"`+number+`"`, ""), providers.Paid, 40, false},
		"authorised only":         {spoilt("CAPTURE", "AUTHORIZATION"), providers.Pending, 40, false},
		"voided":                  {spoilt("CAPTURE", "VOIDED_AUTHORIZATION"), providers.Cancelled, 40, false},
		"lapsed":                  {spoilt("CAPTURE", "EXPIRED_AUTHORIZATION"), providers.Expired, 40, false},
		"yen":                     {spoilt("TWD", "JPY"), providers.Paid, 0, false},
		"of another order":        {spoilt(number, "1"), providers.Pending, 0, true},
		"another transaction":     {spoilt(transaction, "2017061300000000018"), providers.Pending, 0, true},
		"transaction as a float":  {spoilt(transaction, "2.017061300000000e18"), providers.Pending, 0, true},
		"amount with cents":       {spoilt(`"amount":35`, `"amount":35.5`), providers.Pending, 0, true},
		"amount below nothing":    {spoilt(`"amount":35`, `"amount":-35`), providers.Pending, 0, true},
		"nothing paid with":       {spoilt(`[{"method":"DISCOUNT","amount":5},{"method":"CREDIT_CARD","amount":35}]`, "[]"), providers.Pending, 0, true},
		"no time":                 {spoilt("2017-06-13T01:04:30Z", "yesterday"), providers.Paid, 40, false},
		"a time of another form":  {spoilt("2017-06-13T01:04:30Z", "2017-06-13T09:04:30+0800"), providers.Paid, 40, false},
		"two payments":            {answer("0000", strings.Replace(paid, "}]", "},{}]", 1)), providers.Pending, 0, true},
		"no payments":             {answer("0000", "[]"), providers.Pending, 0, true},
		"nothing is known of it":  {answer("1150", "null"), providers.Pending, 0, true},
		"a member in it twice":    {spoilt(`"payStatus":"CAPTURE"`, `"payStatus":"CAPTURE","payStatus":"CAPTURE"`), providers.Pending, 0, true},
		"a refund without amount": {spoilt(`"refundList":[]`, `"refundList":[{"refundTransactionId":1}]`), providers.Pending, 0, true},
	} {
		s, err := providertest.Ask(harness(t), paidQuery("0123", c.details))
		if (err != nil) != c.fails || s.State != c.state || !c.fails && (s.Amount == nil || s.Amount.Units() != c.units) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	back := spoilt(`"refundList":[]`, `"refundList":[{"refundTransactionId":2017061300000000020,"transactionType":"PARTIAL_REFUND","refundAmount":-15,"refundTransactionDate":"2017-06-14T01:04:30Z"}]`)
	s, err := providertest.Ask(harness(t), paidQuery("0123", back))
	if err != nil || !s.RefundsComplete || len(s.Refunds) != 1 || s.Refunds[0].Amount.Units() != 15 || s.Refunds[0].ProviderRefundNo != "2017061300000000020" ||
		s.Refunds[0].State != providers.RefundDone || s.Method != "credit_card" || s.ProviderTradeNo != transaction {
		t.Errorf("%+v, %v", s, err)
	}
}

// A create that got no answer is asked about by its number: there is no transaction to confirm, so no money can have moved.
func TestWithoutTransaction(t *testing.T) {
	h := harness(t)
	var asked string
	h.Answers.Create = nil
	h.Answers.Paid = func(w http.ResponseWriter, r *http.Request, body []byte) {
		asked = r.URL.RequestURI()
		says(answer("1150", "null"))(w, r, body)
	}
	ctx, p, done, err := providertest.Start(h, h.Answers.Paid)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if _, err := p.Query(ctx, providers.AttemptRef{AttemptNo: number, CreatedAt: now()}); providers.KindOf(err) != providers.NotFound {
		t.Error(err)
	}
	if asked != "/v3/payments?fields=ALL&orderId="+number {
		t.Error(asked)
	}
	for details, paidThere := range map[string]bool{paid: true, strings.Replace(paid, `,"orderId":"`+number+`"`, "", 1): false} {
		ctx, p, done, err := providertest.Start(h, says(answer("0000", details)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.Query(ctx, providers.AttemptRef{AttemptNo: number, CreatedAt: now()})
		done()
		if (err == nil) != paidThere || paidThere && s.Refs["transaction_id"] != transaction {
			t.Errorf("%+v, %v", s, err)
		}
	}
	c, ok := p.(providers.Confirmer)
	if !ok {
		t.Fatalf("%T", p)
	}
	asked = ""
	if _, err := c.Confirm(ctx, providers.ConfirmRequest{Attempt: providers.AttemptRef{AttemptNo: number}}); providers.KindOf(err) != providers.Invalid || asked != "" {
		t.Errorf("%v, asked %q", err, asked)
	}
}

// The sums that LINE checks hold also where the payer bears a fee, and every number is written as one.
func TestOrderSums(t *testing.T) {
	h := harness(t)
	total, err := h.Order.Total.Add(h.Order.Lines[0].UnitPrice)
	if err != nil {
		t.Fatal(err)
	}
	req := h.Order
	req.Total = total
	var sent []byte
	ctx, p, done, err := providertest.Start(h, func(w http.ResponseWriter, r *http.Request, body []byte) {
		sent = body
		h.Answers.Create(w, r, body)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if created, err := p.Create(ctx, req); err != nil || created.Refs["transaction_id"] != transaction || created.Redirect.Method != "GET" {
		t.Fatalf("%+v, %v", created, err)
	}
	var got struct {
		Amount   int64
		Packages []struct {
			Amount, UserFee int64
			Products        []struct{ Quantity, Price int64 }
		}
	}
	if err := json.Unmarshal(sent, &got); err != nil {
		t.Fatal(err)
	}
	b := got.Packages[0]
	if got.Amount != 60 || b.Amount != 40 || b.UserFee != 20 || b.Products[0].Quantity*b.Products[0].Price+b.Products[1].Quantity*b.Products[1].Price != b.Amount {
		t.Errorf("%s", sent)
	}
}

// Where LINE sends the payer must be a page.
func TestPages(t *testing.T) {
	for page, good := range map[string]bool{
		"https://web-pay.line.me/x": true, "http://127.0.0.1:1/x": true, "line://pay": false, "javascript:alert(1)": false, "": false, "/x": false, "https://a@b/": false,
	} {
		h := harness(t)
		ctx, p, done, err := providertest.Start(h, says(answer("0000", `{"transactionId":`+transaction+`,"paymentUrl":{"web":"`+page+`"}}`)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Create(ctx, h.Order); (err == nil) != good || err != nil && providers.KindOf(err) != providers.OutcomeUnknown {
			t.Errorf("%q: %v", page, err)
		}
		done()
	}
}

func TestOpenRefuses(t *testing.T) {
	const good = "{url: 'https://api-pay.line.me', channel_id: '15', channel_secret: own-secret}"
	target := providertest.Target{URL: "https://api-pay.line.me", Now: now}
	if _, err := open(target, providers.Production, good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"test host":        {strings.Replace(good, "api-pay", "sandbox-api-pay", 1), "sandbox-api-pay.line.me is not the provider's host"},
		"published secret": {strings.Replace(good, "own-secret", "channelSecretKey", 1), "channel_secret: this is a published test key"},
		"no secret":        {strings.Replace(good, ", channel_secret: own-secret", "", 1), "exactly one of channel_secret and channel_secret_file"},
		"no channel":       {strings.Replace(good, "'15'", "''", 1), "channel_id"},
		"http":             {strings.Replace(good, "https", "http", 1), "url: must be an absolute https URL"},
		"path":             {strings.Replace(good, ".me'", ".me/v3'", 1), "url: must have no path"},
	} {
		if _, err := open(target, providers.Production, c.text); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "own-secret") {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	providertest.CreateRefuses(t, harness(t), map[string]func(*providers.CreateRequest){
		"number":         func(r *providers.CreateRequest) { r.AttemptNo = strings.Repeat("1", 101) },
		"payee":          func(r *providers.CreateRequest) { r.Merchant.PayeeMemberID = "" },
		"nothing to pay": func(r *providers.CreateRequest) { r.Total = r.Total.Nothing() },
		"no lines":       func(r *providers.CreateRequest) { r.Lines = nil },
		"less than the lines": func(r *providers.CreateRequest) {
			r.Total = r.Lines[0].Subtotal
		},
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add("0123", answer("0000", paid))
	f.Add("0110", "")
	f.Add("0123", answer("1150", "null"))
	h := harness(f)
	var check, details string
	ctx, p, done, err := providertest.Start(h, func(w http.ResponseWriter, r *http.Request, body []byte) { paidQuery(check, details)(w, r, body) })
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(done)
	f.Fuzz(func(t *testing.T, code, body string) {
		check, details = code, body
		s, err := p.Query(ctx, providers.AttemptRef{AttemptNo: number, CreatedAt: now(), Refs: map[string]string{"transaction_id": transaction}})
		if err != nil && s.State != providers.Pending || s.State == providers.Paid && (s.Amount == nil || s.ProviderTradeNo != transaction) {
			t.Errorf("%q: %+v, %v", body, s, err)
		}
	})
}
