package newebpay_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/mpg"
	"pay.taipei/gateway/providers/newebpay"
	"pay.taipei/gateway/providers/providertest"
	"pay.taipei/gateway/signing"
)

const number = "201706130000001601"

func now() time.Time { return time.Date(2017, 6, 13, 1, 5, 0, 0, time.UTC) }

func open(target providertest.Target, env providers.Environment, settings string) (providers.Provider, error) {
	return target.Open(newebpay.Open, newebpay.Name, env, yaml.NewDecoder(strings.NewReader(settings), yaml.Strict()).Decode)
}

// posted is a notice as NewebPay's server posts it.
func posted(body []byte) providers.RawCallback {
	return providers.RawCallback{Method: http.MethodPost, Path: "/callbacks/newebpay-main/7Zk2", Body: body, ReceivedAt: now()}
}

// under gives a notice sealed with another key.
func under(t testing.TB, key, plain string) []byte {
	t.Helper()
	e, err := mpg.NewEnvelope(mpg.Keys{HashKey: signing.NewSecret([]byte(key)), HashIV: signing.NewSecret([]byte(hashIV)), Pad: 32})
	if err != nil {
		t.Fatal(err)
	}
	sealed := e.Seal([]byte(plain))
	return []byte("Status=SUCCESS&MerchantID=" + shop + "&Version=2.3&TradeInfo=" + sealed + "&TradeSha=" + e.Sum(sealed))
}

// answered is an answer to a query: members are those of a paid card that is captured, changed in places.
func answered(change ...string) providertest.Reply {
	const members = `{"MerchantID":"` + shop + `","Amt":40,"TradeNo":"23092714215835071","MerchantOrderNo":"` + number + `","TradeStatus":"1","PaymentType":"CREDIT",` +
		`"CreateTime":"2017-06-13 09:00:00","PayTime":"2017-06-13 09:01:00","FundTime":"0000-00-00","CloseStatus":"3","CloseAmt":"40","BackBalance":"40","BackStatus":"0","CheckCode":"-"}`
	return says(`{"Status":"SUCCESS","Message":"查詢成功","Result":` + coded(strings.NewReplacer(change...).Replace(members)) + `}`)
}

// coded puts the CheckCode of an answer's members in the place of its dash.
func coded(members string) string {
	var fields map[string]any
	d := json.NewDecoder(strings.NewReader(members))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		panic(err)
	}
	texts := make(map[string]string)
	for name, value := range fields {
		switch v := value.(type) {
		case string:
			texts[name] = v
		case json.Number:
			texts[name] = v.String()
		}
	}
	code, err := mpg.CheckCode(signing.NewSecret([]byte(hashKey)), signing.NewSecret([]byte(hashIV)), texts)
	if err != nil {
		code = "-"
	}
	return strings.Replace(members, `"CheckCode":"-"`, `"CheckCode":"`+code+`"`, 1)
}

func says(body string) providertest.Reply {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = w.Write([]byte(body)) }
}

// documentedCodes are the codes of the manual's lists, written again from it.
func documentedCodes() map[string]providers.Kind {
	all := make(map[string]providers.Kind)
	for codes, kind := range map[string]providers.Kind{
		"TRA10021":                   providers.NotFound,
		"TRA10071 TRA10702 TRA11002": providers.RateLimited,
		"MPG03004 MPG03007 TRA10054": providers.Auth,
		"MPG01002 MPG01012 MPG01014 MPG01015 MPG02003 MPG02004 MPG02005 MPG02010": providers.Invalid,
		"MPG03009 MPG05003 TRA10028 TRA10036 TRA10039 TRA10050 TRA10035 TRA20028 1101 1102 1103 1104 1105 1106 1107 1108 1109 1110 1111 1112 1113 1114 1115 1116 " +
			"2100 4101 4102 4103 4104 4105 4106": providers.Declined,
		"TRA10045 TRA20027 TRA40014":      providers.Unavailable,
		"MPG03008 TRA10027 TRA20004 9000": providers.OutcomeUnknown,
	} {
		for code := range strings.FieldsSeq(codes) {
			all[code] = kind
		}
	}
	return all
}

func harness(t testing.TB) providertest.Harness {
	t.Helper()
	codes := documentedCodes()
	return providertest.Harness{
		New: func(target providertest.Target) (providers.Provider, error) {
			return open(target, providers.Demo, "{url: '"+target.URL+"', hash_key: "+hashKey+", hash_iv: "+hashIV+"}")
		},
		Now: now(), Environment: providers.Demo, Order: providertest.Order(t, shop, now()), Secrets: []string{hashKey, hashIV}, Vectors: providertest.Vectors(t, newebpay.VectorSchemes()), Unbound: []string{"environment"},
		Before: map[providers.Op]providertest.Before{providers.OpRefund: {
			Is: func(r providertest.Request) bool { return r.Path == "/API/QueryTradeInfo" }, Reply: answered(),
		}},
		Signed: func(r providers.Redirect, _ *providertest.Request) ([]byte, error) {
			return envelope(t).Open(r.Fields["TradeInfo"], r.Fields["TradeSha"])
		},
		Callbacks: providertest.Callbacks{
			Paid:        func() providers.RawCallback { return posted(notice(t, paid(), "")) },
			Unknown:     func() providers.RawCallback { return posted(notice(t, paid("SUCCESS", "PERHAPS"), "")) },
			FieldSigned: true,
			Forged: map[string]func() providers.RawCallback{
				"wrong key":        func() providers.RawCallback { return posted(under(t, "another key of thirty-two letter", paid())) },
				"an unknown field": func() providers.RawCallback { return posted(notice(t, paid(), "&x=1")) },
				"AES-GCM":          func() providers.RawCallback { return posted(notice(t, paid(), "&EncryptType=1")) },
				"a form sealed": func() providers.RawCallback {
					return posted(notice(t, "Status=SUCCESS&Amt=40&MerchantOrderNo="+number, ""))
				},
				"with a query":       func() providers.RawCallback { r := posted(notice(t, paid(), "")); r.RawQuery = "x=1"; return r },
				"by GET":             func() providers.RawCallback { r := posted(notice(t, paid(), "")); r.Method = http.MethodGet; return r },
				"without its number": func() providers.RawCallback { return posted(notice(t, paid("MerchantOrderNo", "OrderNo"), "")) },
				"without its amount": func() providers.RawCallback { return posted(notice(t, paid("Amt", "PayAmt"), "")) },
				"paid at no time": func() providers.RawCallback {
					return posted(notice(t, paid("2017-06-13 09:01:00", "0000-00-00 00:00:00"), ""))
				},
			},
			Hints: map[string]func() providers.RawCallback{"a browser": func() providers.RawCallback {
				r := posted(notice(t, paid(), ""))
				r.Channel = providers.ChannelBrowser
				return r
			}},
			Echo: func(r providers.Redirect, _ *providertest.Request) []providers.RawCallback {
				form := url.Values{"Status": {"SUCCESS"}}
				for name, value := range r.Fields {
					form.Set(name, value)
				}
				return []providers.RawCallback{posted([]byte(form.Encode()))}
			},
			Acks: providertest.PlainAcks(),
		},
		Answers: providertest.Answers{
			Paid: answered(), Unknown: answered(`"TradeStatus":"1"`, `"TradeStatus":"7"`),
			Refund:       says(`{"Status":"SUCCESS","Message":"退款資料新增成功","Result":{"MerchantID":"` + shop + `","Amt":40,"TradeNo":"23092714215835071","MerchantOrderNo":"` + number + `"}}`),
			RefundQueued: true,
			Code: func(code string) providertest.Reply {
				return says(`{"Status":"` + code + `","Message":"-","Result":[]}`)
			},
			Codes: map[providers.Op]map[string]providers.Kind{providers.OpQuery: codes, providers.OpRefund: codes},
		},
	}
}

func TestConformance(t *testing.T) { providertest.Run(t, harness(t)) }

// Shops that are set up in an old way get the result as a text, and padding to 32 bytes.
func TestConformanceOfOldShops(t *testing.T) {
	quoted, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	h := harness(t)
	h.Callbacks.Paid = func() providers.RawCallback { return posted(under(t, hashKey, paid(result, string(quoted)))) }
	providertest.Run(t, h)
}

// What a query says. An order that is still unpaid long after its page has ended has expired.
func TestQueries(t *testing.T) {
	for name, c := range map[string]struct {
		change  []string
		after   time.Duration
		state   providers.State
		refunds []providers.RefundFact
		fails   bool
	}{
		"paid":                     {state: providers.Paid},
		"unpaid":                   {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"0"`}},
		"unpaid after its end":     {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"0"`}, after: 28 * time.Minute, state: providers.Expired},
		"failed":                   {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"2"`}, state: providers.Failed},
		"cancelled, never paid":    {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"3"`, "2017-06-13 09:01:00", "0000-00-00 00:00:00"}, state: providers.Cancelled},
		"cancelled after it":       {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"3"`}, state: providers.Cancelled, refunds: []providers.RefundFact{{State: providers.RefundDone}}},
		"the bank is asked":        {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"0","OrderStatus":"9"`}},
		"paid back":                {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"6"`, `"BackBalance":"40","BackStatus":"0"`, `"BackBalance":"0","BackStatus":"3"`}, state: providers.Paid, refunds: []providers.RefundFact{{State: providers.RefundDone}}},
		"to be paid back":          {change: []string{`"BackBalance":"40","BackStatus":"0"`, `"BackBalance":"0","BackStatus":"1"`}, state: providers.Paid, refunds: []providers.RefundFact{{State: providers.RefundPending}}},
		"more is left than paid":   {change: []string{`"BackBalance":"40"`, `"BackBalance":"41"`}, fails: true},
		"another order":            {change: []string{number, "1"}, fails: true},
		"no merchant":              {change: []string{`"MerchantID":"` + shop + `",`, ""}, fails: true},
		"amount with a code of 40": {change: []string{`"CheckCode":"-"`, `"CheckCode":"79C5227AF869AE4F25FDF4E22B928D5B52E415D9905EC6912D7807E18C3FFACA"`}, fails: true},
		"paid at no time":          {change: []string{"2017-06-13 09:01:00", "0000-00-00 00:00:00"}, state: providers.Paid},
		"the bank is asked long":   {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"0","OrderStatus":"9"`}, after: 28 * time.Minute},
		"two words":                {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"1","OrderStatus":"2"`}},
		"two words, long after":    {change: []string{`"TradeStatus":"1"`, `"TradeStatus":"1","OrderStatus":"0"`}, after: 28 * time.Minute},
	} {
		h := harness(t)
		h.Now, h.Order.CreatedAt = now().Add(c.after), now()
		s, err := providertest.Ask(h, answered(c.change...))
		if (err != nil) != c.fails || s.State != c.state || len(s.Refunds) != len(c.refunds) {
			t.Errorf("%s: %+v, %v", name, s, err)
			continue
		}
		for i, want := range c.refunds {
			if s.Refunds[i].State != want.State || s.Refunds[i].Amount != h.Order.Total || !s.RefundsComplete {
				t.Errorf("%s: %+v", name, s.Refunds)
			}
		}
	}
}

// Nothing is said to be paid back, and nothing not to be, before the capture or where the fields do not fit each other: a
// cancellation that was accepted shows nowhere until it is carried out.
func TestRefundsAreToldWholeOrNotAtAll(t *testing.T) {
	const told = `"CloseStatus":"3","CloseAmt":"40","BackBalance":"40","BackStatus":"0"`
	for fields, complete := range map[string]bool{
		told: true,
		`"CloseStatus":"3","CloseAmt":"30","BackBalance":"30","BackStatus":"0"`: true,
		`"CloseStatus":"0","CloseAmt":"40","BackBalance":"40","BackStatus":"0"`: false,
		`"CloseStatus":"1","CloseAmt":"40","BackBalance":"40","BackStatus":"0"`: false,
		`"CloseStatus":"3","CloseAmt":"40","BackBalance":"0","BackStatus":"0"`:  false,
		`"CloseStatus":"3","CloseAmt":"40","BackBalance":"0","BackStatus":"9"`:  false,
		`"CloseStatus":"3","CloseAmt":"40","BackBalance":"40","BackStatus":""`:  false,
		`"CloseStatus":"3","CloseAmt":"40","BackBalance":"40"`:                  false,
		`"CloseStatus":"3","BackBalance":"40","BackStatus":"0"`:                 false,
		`"CloseStatus":"3","CloseAmt":"40","BackBalance":"x","BackStatus":"0"`:  false,
	} {
		s, err := providertest.Ask(harness(t), answered(told, fields))
		if err != nil || s.State != providers.Paid || s.RefundsComplete != complete || len(s.Refunds) != 0 {
			t.Errorf("%s: %+v, %v", fields, s, err)
		}
	}
	s, err := providertest.Ask(harness(t), answered(`"TradeStatus":"1"`, `"TradeStatus":"6"`))
	if err != nil || s.RefundsComplete {
		t.Errorf("paid back, and nothing told of it: %+v, %v", s, err)
	}
}

// Who is locked out stays away for as long as NewebPay says, also when it wanted to pay back.
func TestLockedOut(t *testing.T) {
	ctx, p, done, err := providertest.Start(harness(t), says(`{"Status":"TRA10071","Message":"-","Result":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	r, ok := p.(providers.Refunder)
	if !ok {
		t.Fatalf("%T", p)
	}
	order := harness(t).Order
	_, err = r.Refund(ctx, providers.RefundRequest{Attempt: providers.AttemptRef{AttemptNo: number, PayeeMemberID: shop, Amount: order.Total, HandedAt: now()}, Amount: order.Total})
	if e, ok := errors.AsType[*providers.Error](err); !ok || e.Kind != providers.RateLimited || e.RetryAfter != 4*time.Hour {
		t.Error(err)
	}
}

// A refund goes by how far the payment is: cancelled before it is captured, and then only whole.
func TestRefundGoesByTheCapture(t *testing.T) {
	for name, c := range map[string]struct {
		change []string
		part   bool
		path   string
		kind   providers.Kind
		state  providers.RefundState

		unproven bool // the answer's CheckCode is wrong
	}{
		"captured":              {path: "/API/CreditCard/Close"},
		"captured, in part":     {part: true, path: "/API/CreditCard/Close"},
		"authorised":            {change: []string{`"CloseStatus":"3"`, `"CloseStatus":"0"`}, path: "/API/CreditCard/Cancel", state: providers.RefundDone},
		"authorised, unproven":  {change: []string{`"CloseStatus":"3"`, `"CloseStatus":"0"`}, path: "/API/CreditCard/Cancel", unproven: true},
		"authorised, in part":   {change: []string{`"CloseStatus":"3"`, `"CloseStatus":"0"`}, part: true, kind: providers.Unavailable},
		"being captured":        {change: []string{`"CloseStatus":"3"`, `"CloseStatus":"1"`}, kind: providers.Unavailable},
		"in process":            {change: []string{`"CloseStatus":"3"`, `"CloseStatus":"2"`}, kind: providers.Unavailable},
		"no capture is told of": {change: []string{`"CloseStatus":"3",`, ""}, kind: providers.Unavailable},
		"not by card":           {change: []string{"CREDIT", "WEBATM"}, kind: providers.Declined},
	} {
		h := harness(t)
		amount := h.Order.Total
		if c.part {
			amount = h.Order.Lines[0].Subtotal
		}
		path := ""
		ctx, p, done, err := providertest.Start(h, func(w http.ResponseWriter, r *http.Request, body []byte) {
			if r.URL.Path == "/API/QueryTradeInfo" {
				answered(c.change...)(w, r, body)
				return
			}
			path = r.URL.Path
			members := `{"MerchantID":"` + shop + `","Amt":"` + amount.Value() + `","TradeNo":"23092714215835071","MerchantOrderNo":"` + number + `","CheckCode":"-"}`
			if !c.unproven {
				members = coded(members)
			}
			says(`{"Status":"SUCCESS","Message":"-","Result":`+members+`}`)(w, r, body)
		})
		if err != nil {
			t.Fatal(err)
		}
		r, ok := p.(providers.Refunder)
		if !ok {
			t.Fatalf("%T", p)
		}
		result, err := r.Refund(ctx, providers.RefundRequest{
			Attempt: providers.AttemptRef{AttemptNo: number, PayeeMemberID: shop, Amount: h.Order.Total, HandedAt: now()}, RefundID: "R", Amount: amount,
		})
		done()
		if path != c.path || result.State != c.state || (err == nil) != (c.path != "") || err != nil && providers.KindOf(err) != c.kind {
			t.Errorf("%s: %s, %+v, %v", name, path, result, err)
		}
	}
}

// A number that was not handed out is not asked about: four hours of silence would follow.
func TestNumbersThatWereNotHandedOut(t *testing.T) {
	called := false
	ctx, p, done, err := providertest.Start(harness(t), func(http.ResponseWriter, *http.Request, []byte) { called = true })
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if _, err := p.Query(ctx, providers.AttemptRef{AttemptNo: number, PayeeMemberID: shop, CreatedAt: now()}); err == nil || called {
		t.Errorf("%v, called %t", err, called)
	}
}

// In production a payment that a test console made up is not one.
func TestSimulatedPayments(t *testing.T) {
	raw := posted(under(t, "own key of the shop, 32 letters_", paid("授權成功", "模擬付款成功")))
	for env, want := range map[providers.Environment]providers.State{providers.Production: providers.Pending, providers.Sandbox: providers.Paid} {
		host := map[providers.Environment]string{providers.Production: "https://core.newebpay.com", providers.Sandbox: "https://ccore.newebpay.com"}[env]
		p, err := open(providertest.Target{URL: host, Now: now}, env, "{url: '"+host+"', hash_key: 'own key of the shop, 32 letters_', hash_iv: "+hashIV+"}")
		if err != nil {
			t.Fatal(err)
		}
		d, ok := p.(providers.CallbackDecoder)
		if !ok {
			t.Fatalf("%T", p)
		}
		n, err := d.DecodeCallback(raw)
		if err != nil || n.Snapshot.State != want || (n.Snapshot.Unmapped == "simulated") != (env == providers.Production) {
			t.Errorf("%s: %+v, %v", env, n.Snapshot, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	const good = "{url: 'https://core.newebpay.com', hash_key: 'own key of the shop, 32 letters_', hash_iv: 'own iv 16 bytes_'}"
	target := providertest.Target{URL: "https://core.newebpay.com", Now: now}
	if _, err := open(target, providers.Production, good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"test host":     {strings.Replace(good, "core.", "ccore.", 1), "ccore.newebpay.com is not the provider's host"},
		"published key": {strings.Replace(good, "own key of the shop, 32 letters_", hashKey, 1), "hash_key: this is a published test key"},
		"short key":     {strings.Replace(good, "32 letters_", "", 1), "hash_key and hash_iv"},
		"short vector":  {strings.Replace(good, "16 bytes_", "", 1), "hash_key and hash_iv"},
		"no key":        {strings.Replace(good, "hash_key: 'own key of the shop, 32 letters_', ", "", 1), "exactly one of hash_key and hash_key_file"},
		"http":          {strings.Replace(good, "https", "http", 1), "url: must be an absolute https URL"},
		"path":          {strings.Replace(good, ".com'", ".com/MPG'", 1), "url: must have no path"},
	} {
		if _, err := open(target, providers.Production, c.text); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "own key") {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
}

func TestCreate(t *testing.T) {
	h := harness(t)
	_, p, done, err := providertest.Start(h, says(""))
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for name, spoil := range map[string]func(*providers.CreateRequest){
		"number":         func(r *providers.CreateRequest) { r.AttemptNo = "a-b" },
		"shop":           func(r *providers.CreateRequest) { r.Merchant.PayeeMemberID = "MS-1" },
		"nothing to pay": func(r *providers.CreateRequest) { r.Total = r.Total.Nothing() },
		"same addresses": func(r *providers.CreateRequest) { r.CallbackURL = r.ReturnURL },
		"no methods":     func(r *providers.CreateRequest) { r.Methods = nil },
		"no lines":       func(r *providers.CreateRequest) { r.Lines = nil },
		"WebATM alone":   func(r *providers.CreateRequest) { r.Methods = []string{"webatm"} },
	} {
		req := harness(t).Order
		spoil(&req)
		if created, err := p.Create(t.Context(), req); err == nil || providers.KindOf(err) != providers.Invalid || created.Redirect.URL != "" {
			t.Errorf("%s: %+v, %v", name, created, err)
		}
	}
	created, err := p.Create(t.Context(), h.Order)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := envelope(t).Open(created.Redirect.Fields["TradeInfo"], created.Redirect.Fields["TradeSha"])
	want := "MerchantID=" + shop + "&RespondType=JSON&TimeStamp=1497315900&Version=2.3&MerchantOrderNo=" + number + "&Amt=40&ItemDesc=%E5%81%9C%E8%BB%8A%E8%B2%BB+%E7%AD%89+2+%E7%AD%86" +
		"&TradeLimit=600&ReturnURL=https%3A%2F%2Fgw.pay.taipei%2Fr%2F7Zk2&NotifyURL=https%3A%2F%2Fgw.pay.taipei%2Fcallbacks%2Fmain%2F7Zk2&ClientBackURL=https%3A%2F%2Fgw.pay.taipei%2Fr%2F7Zk2&CREDIT=1&WEBATM=0"
	if err != nil || string(plain) != want {
		t.Errorf("%s, %v", plain, err)
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(`{"Status":"SUCCESS","Message":"","Result":{"Amt":40}}`)
	f.Add(`{"Status":"TRA10021","Message":"","Result":[]}`)
	var body string
	ctx, p, done, err := providertest.Start(harness(f), func(w http.ResponseWriter, r *http.Request, raw []byte) { says(body)(w, r, raw) })
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(done)
	order := harness(f).Order
	f.Fuzz(func(t *testing.T, text string) {
		body = text
		s, err := p.Query(ctx, providers.AttemptRef{AttemptNo: number, PayeeMemberID: shop, Amount: order.Total, HandedAt: now()})
		if err == nil || s.State != providers.Pending { // nobody guesses a CheckCode
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	})
}

// Whatever is sealed with the shop's keys, and whatever is posted without them.
func FuzzCallback(f *testing.F) {
	f.Add([]byte(paid()), []byte("Status=SUCCESS&TradeInfo=00&TradeSha=00"))
	_, p, done, err := providertest.Start(harness(f), says(""))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(done)
	d, ok := p.(providers.CallbackDecoder)
	if !ok {
		f.Fatalf("%T", p)
	}
	f.Fuzz(func(t *testing.T, plain, body []byte) {
		n, err := d.DecodeCallback(posted(notice(t, string(plain), "")))
		if err == nil && (n.Snapshot == nil || n.AttemptNo == "" || n.Snapshot.Amount == nil || n.Snapshot.State == providers.Paid && n.Snapshot.ProviderTradeNo == "") {
			t.Errorf("%q: %+v", plain, n)
		}
		if n, err := d.DecodeCallback(posted(body)); err == nil && n.Snapshot != nil {
			t.Errorf("posted without a key, %q: %+v", body, n)
		}
	})
}
