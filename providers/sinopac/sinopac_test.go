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

// A token that says paid is enough. Nothing else of it is: then the lists decide, and where they know nothing either, its word
// that the payment failed.
func TestPointed(t *testing.T) {
	failed := strings.Replace(result, `"Status":"S"`, `"Status":"F"`, 1)
	for name, c := range map[string]struct {
		message, list string
		state         providers.State
		units         int64
		kind          providers.Kind
		fails         bool
	}{
		"paid":                     {message: pointed(result), state: providers.Paid, units: 40},
		"the amount as a text":     {message: pointed(strings.Replace(result, "4000", `"4000"`, 1)), state: providers.Paid, units: 40},
		"in dollars":               {message: pointed(strings.Replace(result, "4000", "40", 1)), state: providers.Paid}, // 40 cents
		"no time":                  {message: pointed(strings.Replace(result, "201706130904", "", 1)), state: providers.Paid, units: 40},
		"no amount":                {message: pointed(strings.Replace(result, "Amount", "Betrag", 1)), list: rows(row), state: providers.Paid, units: 40},
		"amount as float":          {message: pointed(strings.Replace(result, "4000", "4e3", 1)), list: rows(), fails: true, kind: providers.NotFound},
		"no number":                {message: pointed(strings.Replace(result, "NA0001000000123", "", 1)), list: rows(), fails: true, kind: providers.NotFound},
		"declined":                 {message: pointed(failed), list: rows(), state: providers.Failed, units: 40},
		"declined, then paid":      {message: pointed(failed), list: rows(row), state: providers.Paid, units: 40},
		"declined, still open":     {message: pointed(failed), list: rows(unpaid), state: providers.Failed, units: 40},
		"of another payment":       {message: pointed(strings.Replace(result, number, "1", 1)), list: rows(), fails: true, kind: providers.NotFound},
		"not known":                {message: useless, list: rows(row), state: providers.Paid, units: 40},
		"no answer, and the lists": {message: "", list: rows(row), state: providers.Paid, units: 40},
	} {
		s, err := providertest.Ask(harness(t), func(w http.ResponseWriter, r *http.Request, body []byte) {
			messages := map[string]string{"OrderPayQuery": c.message, "OrderQuery": c.list}
			if c.message == "" {
				delete(messages, "OrderPayQuery")
			}
			answering(messages)(w, r, body)
		})
		if (err != nil) != c.fails || s.State != c.state || !c.fails && (s.Amount == nil || s.Amount.Units() != c.units) || c.fails && providers.KindOf(err) != c.kind {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// lists answers for the order itself, for the captured ones, and for those that wait for it.
func lists(one, captured, waiting string) providertest.Reply {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		list := one
		if message, err := asked(body); err == nil && strings.Contains(message, `"PayFlag":"Y"`) {
			list = captured
			if !strings.Contains(message, `"OrderDateTimeS":"201706130905","OrderDateTimeE":"201706130905"`) {
				w.WriteHeader(http.StatusTeapot)
				return
			}
		}
		answering(map[string]string{"OrderQuery": list, "OrderUnCapturedQuery": waiting})(w, r, body)
	}
}

// What the lists say. Which codes PayStatus has for cards is not documented, so none of them decides; that an order is not
// among the captured ones does not say that nobody paid it.
func TestLists(t *testing.T) {
	authorised := strings.Replace(row, `"PayDate":"201706130914"`, `"PayDate":""`, 1)
	many := make([]string, 300)
	for i := range many {
		many[i] = `{"OrderNo":"x"}`
	}
	for name, c := range map[string]struct {
		one, captured, waiting string
		after                  time.Duration // the order's end at 09:15
		state                  providers.State
		kind                   providers.Kind
		fails                  bool
	}{
		"captured":                    {one: rows(row), captured: rows(row), state: providers.Paid},
		"waits for its capture":       {one: rows(authorised), captured: rows(), waiting: rows(authorised), state: providers.Paid},
		"so long after its end":       {one: rows(authorised), captured: rows(), waiting: rows(authorised), after: 24 * time.Hour, state: providers.Paid},
		"its authorisation is gone":   {one: rows(authorised), captured: rows(), waiting: rows(), after: time.Hour, state: providers.Expired},
		"nobody has paid":             {one: rows(unpaid)},
		"its end is just over":        {one: rows(unpaid), after: 15 * time.Minute},
		"its end is long over":        {one: rows(unpaid), captured: rows(), waiting: rows(), after: 21 * time.Minute, state: providers.Expired},
		"over, and paid all the same": {one: rows(unpaid), captured: rows(), waiting: rows(unpaid), after: 21 * time.Minute, state: providers.Paid},
		"over, a list fails":          {one: rows(unpaid), captured: rows(), waiting: useless, after: 21 * time.Minute, fails: true},
		"an end without an hour":      {one: rows(strings.Replace(unpaid, "201706130915", "20170613", 1)), after: 48 * time.Hour},
		"paid by transfer":            {one: rows(strings.Replace(unpaid, "1C100", "1A400", 1)), state: providers.Paid},
		"not known":                   {one: rows(), kind: providers.NotFound, fails: true},
		"a list that may be cut off":  {one: rows(row), captured: rows(many...), fails: true},
		"no minute to list":           {one: rows(strings.Replace(row, "TSDate", "Day", 1)), fails: true},
		"Status F":                    {one: useless, fails: true},
		"another shop's":              {one: strings.Replace(rows(row), shop, "NA0002_001", 1), kind: providers.Untrusted, fails: true},
	} {
		h := harness(t)
		h.Pointer, h.Now = "", now().Add(c.after)
		h.Order.CreatedAt = now()
		s, err := providertest.Ask(h, lists(c.one, c.captured, c.waiting))
		if (err != nil) != c.fails || s.State != c.state || c.fails && providers.KindOf(err) != c.kind {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// What was paid back is told as far as it can be read, and never guessed: neither that it was, nor that it was not.
func TestRefundsOfRows(t *testing.T) {
	const none = `"RefundFlag":"N","RefundStatus":"","RefundAmount":0`
	for fields, want := range map[string]struct {
		units    int64
		state    providers.RefundState
		complete bool
	}{
		none:                                 {0, 0, true},
		`"RefundFlag":"N","RefundStatus":""`: {0, 0, true},
		`"RefundFlag":"Y","RefundStatus":"S","RefundAmount":1500`:      {15, providers.RefundDone, true},
		`"RefundFlag":"Y","RefundAmount":1500`:                         {15, providers.RefundDone, true},
		`"RefundFlag":"Y","RefundStatus":"處理中","RefundAmount":1500`:    {15, providers.RefundPending, true},
		`"RefundFlag":"Y","RefundStatus":"S"`:                          {0, 0, false},
		`"RefundFlag":"Y","RefundStatus":"S","RefundAmount":"4000.00"`: {0, 0, false},
		`"RefundFlag":"Y","RefundStatus":"S","RefundAmount":40`:        {0, 0, false}, // 40 cents
		`"RefundFlag":"N","RefundStatus":"S","RefundAmount":0`:         {0, 0, false},
		`"RefundFlag":"N","RefundStatus":"","RefundAmount":1500`:       {0, 0, false},
		`"RefundStatus":"","RefundAmount":0`:                           {0, 0, false},
	} {
		h := harness(t)
		h.Pointer = ""
		one := rows(strings.Replace(row, none, fields, 1))
		s, err := providertest.Ask(h, lists(one, one, ""))
		if err != nil || s.State != providers.Paid || s.RefundsComplete != want.complete || len(s.Refunds) != min(1, int(want.units)) ||
			len(s.Refunds) > 0 && (s.Refunds[0].Amount.Units() != want.units || s.Refunds[0].State != want.state) {
			t.Errorf("%s: %+v, %v", fields, s, err)
		}
	}
	// Before the capture nothing says that a cancellation was not carried out; afterwards the row says that it was.
	h := harness(t)
	h.Pointer = ""
	waiting := strings.Replace(row, `"PayDate":"201706130914"`, `"PayDate":""`, 1)
	if s, err := providertest.Ask(h, lists(rows(waiting), rows(), rows(waiting))); err != nil || s.RefundsComplete || len(s.Refunds) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
	cancelled := strings.Replace(waiting, none, `"RefundFlag":"Y","RefundStatus":"S","RefundAmount":4000`, 1)
	if s, err := providertest.Ask(h, lists(rows(cancelled), rows(), rows())); err != nil || !s.RefundsComplete || len(s.Refunds) != 1 || s.Refunds[0].State != providers.RefundDone {
		t.Errorf("%+v, %v", s, err)
	}
}

// A refund goes by the capture. What a no of the bank's means nobody documents: the list decides.
func TestRefundGoesByTheCapture(t *testing.T) {
	authorised := strings.Replace(row, `"PayDate":"201706130914"`, `"PayDate":""`, 1)
	for name, c := range map[string]struct {
		one     string
		waiting []string
		part    bool
		answer  string
		kind    providers.Kind
		done    bool
		command string
	}{
		"captured":           {one: rows(row), answer: maintained("R", "S"), done: true, command: "R"},
		"captured, in part":  {one: rows(row), part: true, answer: maintained("R", "S"), done: true, command: "R"},
		"waiting":            {one: rows(authorised), waiting: []string{authorised}, answer: maintained("C", "S"), done: true, command: "C"},
		"waiting, in part":   {one: rows(authorised), waiting: []string{authorised}, part: true, kind: providers.Unavailable},
		"in no list yet":     {one: rows(), kind: providers.Unavailable},
		"in one list only":   {one: rows(authorised), kind: providers.Unavailable},
		"refused":            {one: rows(row), answer: maintained("R", "F"), command: "R"},
		"of another order":   {one: rows(row), answer: strings.Replace(maintained("R", "S"), number, "1", 1), command: "R"},
		"of another command": {one: rows(row), answer: maintained("P", "S"), command: "R"},
		"of another shop":    {one: rows(row), answer: strings.Replace(maintained("R", "S"), shop, "NA0002_001", 1), command: "R"},
	} {
		h := harness(t)
		first := before(c.one, c.waiting...)
		command := ""
		ctx, p, stop, err := providertest.Start(h, func(w http.ResponseWriter, r *http.Request, body []byte) {
			if first.Is(providertest.Request{Path: r.URL.Path, Body: body}) {
				first.Reply(w, r, body)
				return
			}
			var m struct{ Command string }
			if message, err := asked(body); err == nil {
				_ = json.Unmarshal([]byte(message), &m)
			}
			command = m.Command
			says(enclosed(c.answer))(w, r, body)
		})
		if err != nil {
			t.Fatal(err)
		}
		amount := h.Order.Total
		if c.part {
			amount = h.Order.Lines[0].Subtotal
		}
		r, ok := p.(providers.Refunder)
		if !ok {
			t.Fatalf("%T", p)
		}
		result, err := r.Refund(ctx, providers.RefundRequest{Attempt: providers.AttemptRef{AttemptNo: number, PayeeMemberID: shop, Amount: h.Order.Total}, Amount: amount})
		stop()
		if (err == nil) != c.done || result.State != providers.RefundPending || command != c.command || err != nil && providers.KindOf(err) != c.kind {
			t.Errorf("%s: %+v, %v, command %q", name, result, err, command)
		}
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
	providertest.CreateRefuses(t, harness(t), map[string]func(*providers.CreateRequest){
		"number":         func(r *providers.CreateRequest) { r.AttemptNo = "a'b" },
		"shop":           func(r *providers.CreateRequest) { r.Merchant.PayeeMemberID = "" },
		"payer":          func(r *providers.CreateRequest) { r.PayerMemberID = strings.Repeat("1", 256) },
		"nothing to pay": func(r *providers.CreateRequest) { r.Total = r.Total.Nothing() },
		"return URL":     func(r *providers.CreateRequest) { r.ReturnURL = "" },
		"callback URL":   func(r *providers.CreateRequest) { r.CallbackURL = "https://x/" + strings.Repeat("x", 250) },
	})
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
		"no key id":     {strings.Replace(good, "key_id: k, ", "", 1), "exactly one of key_id and key_id_file"},
		"test host":     {strings.Replace(good, "api.sinopac", "apisbx.sinopac", 1), "apisbx.sinopac.com is not the provider's host"},
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
		answering(map[string]string{"OrderPayQuery": token, "OrderQuery": list, "OrderUnCapturedQuery": list})(w, r, body)
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
