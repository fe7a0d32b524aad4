package sinopac_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/providertest"
)

// What a token's payment says.
func TestPointed(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		state   providers.State
		units   int64
		fails   bool
	}{
		"paid":            {pointed(result), providers.Paid, 40, false},
		"declined":        {pointed(strings.Replace(result, `"Status":"S"`, `"Status":"F"`, 1)), providers.Failed, 40, false},
		"in dollars":      {pointed(strings.Replace(result, "4000", "40", 1)), providers.Paid, 0, false}, // 40 cents
		"no amount":       {pointed(strings.Replace(result, "Amount", "Betrag", 1)), providers.Pending, 0, true},
		"amount as float": {pointed(strings.Replace(result, "4000", "4e3", 1)), providers.Pending, 0, true},
		"no time":         {pointed(strings.Replace(result, "201706130904", "", 1)), providers.Pending, 0, true},
		"no number":       {pointed(strings.Replace(result, "NA0001000000123", "", 1)), providers.Pending, 0, true},
	} {
		h := harness(t)
		s, err := providertest.Ask(h, answering(map[string]string{"OrderPayQuery": c.message}))
		if (err != nil) != c.fails || s.State != c.state || !c.fails && (s.Amount == nil || s.Amount.Units() != c.units) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	// A token of another payment, which anybody may send, is of no use: the lists are asked.
	other := answering(map[string]string{"OrderPayQuery": pointed(strings.Replace(result, number, "1", 1)), "OrderQuery": rows()})
	if s, err := providertest.Ask(harness(t), other); providers.KindOf(err) != providers.NotFound || s.State != providers.Pending {
		t.Errorf("%+v, %v", s, err)
	}
}

// byList answers the list of paid orders and the list of the order.
func byList(paid, one string) providertest.Reply {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		list := one
		if message, err := asked(body); err == nil && strings.Contains(message, `"PayFlag":"Y"`) {
			list = paid
		}
		answering(map[string]string{"OrderQuery": list})(w, r, body)
	}
}

// What the lists say; which codes PayStatus has for cards is not documented, so none of them decides.
func TestLists(t *testing.T) {
	many := make([]string, 300)
	for i := range many {
		many[i] = `{"OrderNo":"x"}`
	}
	for name, c := range map[string]struct {
		paid, one string
		after     time.Duration // the order's end at 09:15
		state     providers.State
		kind      providers.Kind
		fails     bool
	}{
		"among the paid ones":     {paid: rows(row), state: providers.Paid},
		"not among them":          {paid: rows(), one: rows(row), state: providers.Pending},
		"its end is just over":    {paid: rows(), one: rows(row), after: 15 * time.Minute, state: providers.Pending},
		"its end is long over":    {paid: rows(), one: rows(row), after: 21 * time.Minute, state: providers.Expired},
		"paid by transfer":        {paid: rows(), one: rows(strings.Replace(row, "1C400", "1A400", 1)), state: providers.Paid},
		"not known":               {paid: rows(), one: rows(), kind: providers.NotFound, fails: true},
		"the list may be cut off": {paid: rows(many...), one: rows(row), kind: providers.OutcomeUnknown, fails: true},
		"Status F":                {paid: useless, kind: providers.OutcomeUnknown, fails: true},
		"paid, without a time":    {paid: rows(strings.Replace(row, "201706130904", "", 1)), kind: providers.OutcomeUnknown, fails: true},
	} {
		h := harness(t)
		h.Pointer, h.Now = "", now().Add(c.after)
		h.Order.CreatedAt = now()
		s, err := providertest.Ask(h, byList(c.paid, c.one))
		if (err != nil) != c.fails || s.State != c.state || c.fails && providers.KindOf(err) != c.kind {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	back := strings.Replace(row, `"RefundFlag":"N","RefundStatus":"","RefundAmount":0`, `"RefundFlag":"Y","RefundStatus":"S","RefundAmount":1500`, 1)
	h := harness(t)
	h.Pointer = ""
	if s, err := providertest.Ask(h, byList(rows(back), "")); err != nil || !s.RefundsComplete || len(s.Refunds) != 1 || s.Refunds[0].Amount.Units() != 15 {
		t.Errorf("%+v, %v", s, err)
	}
}

// An answer that the shop's keys did not sign says nothing.
func TestSignIsHeld(t *testing.T) {
	good := enclosed(pointed(result))
	var e map[string]string
	if err := json.Unmarshal([]byte(good), &e); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(map[string]string){
		"another Sign":    func(e map[string]string) { e["Sign"] = strings.Repeat("0", 64) },
		"no Sign":         func(e map[string]string) { delete(e, "Sign") },
		"another nonce":   func(e map[string]string) { e["Nonce"] = "another" },
		"another message": func(e map[string]string) { e["Message"] = encrypt(pointed(result)[1:], theirs) },
		"a changed one": func(e map[string]string) {
			e["Message"] = encrypt(strings.Replace(pointed(result), `"Date":"2`, `"Date":"3`, 1), theirs)
		},
		"another shop's": func(e map[string]string) { e["ShopNo"] = "NA0002_001" },
		"no message":     func(e map[string]string) { e["Message"] = "" },
	} {
		bad := make(map[string]string)
		for k, v := range e {
			bad[k] = v
		}
		spoil(bad)
		body, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := providertest.Ask(harness(t), says(string(body))); err == nil || s.State != providers.Pending || s.Amount != nil {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// Status F is the bank's word that nothing was opened.
func TestCreateRefusedByTheBank(t *testing.T) {
	h := harness(t)
	ctx, p, done, err := providertest.Start(h, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if strings.HasSuffix(r.URL.Path, "/Nonce") {
			says(`{"Nonce":"n"}`)(w, r, body)
			return
		}
		says(enclosed(`{"ShopNo":"`+shop+`","Status":"F","Description":"S0003 – 金額錯誤"}`))(w, r, body)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if _, err := p.Create(ctx, h.Order); providers.KindOf(err) != providers.Unavailable || !strings.Contains(err.Error(), `"S0003"`) {
		t.Error(err)
	}
}

func TestCreateRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*providers.CreateRequest){
		"number":         func(r *providers.CreateRequest) { r.AttemptNo = "a'b" },
		"shop":           func(r *providers.CreateRequest) { r.Merchant.PayeeMemberID = "" },
		"payer":          func(r *providers.CreateRequest) { r.PayerMemberID = strings.Repeat("1", 256) },
		"nothing to pay": func(r *providers.CreateRequest) { r.Total = r.Total.Nothing() },
		"return URL":     func(r *providers.CreateRequest) { r.ReturnURL = "" },
		"callback URL":   func(r *providers.CreateRequest) { r.CallbackURL = "https://x/" + strings.Repeat("x", 250) },
	} {
		h := harness(t)
		called := false
		ctx, p, done, err := providertest.Start(h, func(http.ResponseWriter, *http.Request, []byte) { called = true })
		if err != nil {
			t.Fatal(err)
		}
		spoil(&h.Order)
		if made, err := p.Create(ctx, h.Order); err == nil || providers.KindOf(err) != providers.Invalid || made.Redirect.URL != "" || called {
			t.Errorf("%s: %+v, %v", name, made, err)
		}
		done()
	}
}

func TestOpenRefuses(t *testing.T) {
	const own = "a1: '0000000000000001', a2: '1111111111111111', b1: '2222222222222222', b2: '3333333333333333'"
	good := "{url: 'https://api.sinopac.com/funBIZ/QPay.WebAPI/api', key_id: k, " + own + "}"
	target := providertest.Target{URL: "https://api.sinopac.com", Now: now}
	if _, err := open(target, providers.Production, good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"published key": {strings.Replace(good, "0000000000000001", keyA1, 1), "a1: this is a published test key"},
		"no key":        {strings.Replace(good, ", b2: '3333333333333333'", "", 1), "exactly one of b2 and b2_file"},
		"short key":     {strings.Replace(good, "3333333333333333", "33", 1), "16 hex digits"},
		"no key id":     {strings.Replace(good, "key_id: k", "key_id: ''", 1), "key_id"},
		"http":          {strings.Replace(good, "https", "http", 1), "url: must be an absolute https URL"},
	} {
		if _, err := open(target, providers.Production, c.text); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "1111111111111111") {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
}

func FuzzPointer(f *testing.F) {
	f.Add([]byte(`{"ShopNo":"NA0001_001","PayToken":"T"}`))
	f.Add([]byte("ShopNo=NA0001_001&PayToken=T"))
	h := harness(f)
	_, p, done, err := providertest.Start(h, says(""))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(done)
	d, ok := p.(providers.CallbackDecoder)
	if !ok {
		f.Fatalf("%T", p)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, channel := range []providers.Channel{providers.ChannelServer, providers.ChannelBrowser} {
			n, err := d.DecodeCallback(providers.RawCallback{Channel: channel, Method: http.MethodPost, Body: body})
			if n.Snapshot != nil || (err == nil) != (n.Pointer != "") || len(n.Pointer) > 255 {
				t.Errorf("%q: %+v, %v", body, n, err)
			}
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add(pointed(result), rows(row))
	f.Add(useless, rows())
	h := harness(f)
	var token, list string
	nonce := h.Before[providers.OpQuery]
	ctx, p, done, err := providertest.Start(h, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if strings.HasSuffix(r.URL.Path, "/Nonce") {
			nonce.Reply(w, r, body)
			return
		}
		answering(map[string]string{"OrderPayQuery": token, "OrderQuery": list})(w, r, body)
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(done)
	f.Fuzz(func(t *testing.T, pay, orders string) {
		if !json.Valid([]byte(pay)) || !json.Valid([]byte(orders)) || !strings.HasPrefix(pay, "{") || !strings.HasPrefix(orders, "{") {
			return // the kit's bank signs objects
		}
		token, list = pay, orders
		s, err := p.Query(ctx, providers.AttemptRef{AttemptNo: number, PayeeMemberID: shop, Pointer: "T", CreatedAt: now()})
		if err != nil && s.State != providers.Pending || s.State == providers.Paid && (s.Amount == nil || s.ProviderTradeNo == "") {
			t.Errorf("%q %q: %+v, %v", pay, orders, s, err)
		}
	})
}
