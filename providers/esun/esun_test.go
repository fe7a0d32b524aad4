package esun_test

import (
	"net/http"
	"strings"
	"testing"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/providertest"
)

// documentedCodes is Index A, written again from it, with the codes of ISO 8583 by which issuers decline.
func documentedCodes() map[string]providers.State {
	all := map[string]providers.State{"00": providers.Paid, "GR": providers.Cancelled}
	for codes, state := range map[string]providers.State{
		"01 14 54 62 L1 L2 L3 L4 L5 L6 L7 XA XB XC XD XE XF X1 X2 X3 X4 X5 X6 X7 X8 X9 TE TI GX GY GZ V0 V1 G7 GA GG GI GJ GK GL GM GN GP GU GV GW N1 NT Z1 Z2 QQ " +
			"03 04 05 07 12 13 15 30 33 34 36 41 43 51 52 53 55 57 58 59 61 63 65 75 78 93": providers.Failed,
		"VA VD VT RA RD RP GB GC GF NR NV G0 G1 G2 G3 G4 G5 G6 G8 G9 GD GE GH GS GT NM V2 ET UE PC Z0": providers.Pending,
	} {
		for code := range strings.FieldsSeq(codes) {
			all[code] = state
		}
	}
	return all
}

// documentedRefusals say that a call was not carried out.
func documentedRefusals() map[string]providers.Kind {
	return map[string]providers.Kind{
		"GD": providers.NotFound, "GE": providers.NotFound, "G2": providers.Invalid, "Z0": providers.Invalid,
		"G3": providers.Auth, "G4": providers.Auth, "G5": providers.Auth, "G8": providers.Auth, "NM": providers.Auth,
	}
}

// Every documented code of a signed return has its state; any other text decides nothing, issuers' words for "approved" and
// "try again" among them.
func TestReturnCodes(t *testing.T) {
	a := adapter(t)
	for code, want := range documentedCodes() {
		n, err := a.DecodeCallback(returned(strings.Replace(paid, "RC=00", "RC="+code, 1), macKey))
		if err != nil || n.Snapshot == nil || n.Snapshot.State != want || n.Snapshot.Unmapped != "" || n.AttemptNo != number {
			t.Errorf("%s: %+v, %v; want %s", code, n.Snapshot, err, want)
		}
	}
	for _, code := range []string{"Q7", "08", "09", "10", "11", "16", "68", "85", "87", "91", "94", "96", "000", "0"} {
		n, err := a.DecodeCallback(returned("RC="+code+",MID=8089000016,ONO="+number, macKey))
		if err != nil || n.Snapshot.State != providers.Pending || n.Snapshot.Unmapped != code {
			t.Errorf("%s: %+v, %v", code, n.Snapshot, err)
		}
	}
}

// The bank's samples print txnData as a text, and not even escaped; a payment that did not come about has the code twice. An
// answer about another order, or with two codes, says nothing, whatever it says.
func TestAnswers(t *testing.T) {
	said := func(code, txn string) string {
		return `{"returnCode":"` + code + `","txnData":` + txn + `,"version":"2"}`
	}
	short := func(code string) string { return `{"RC":"` + code + `","ONO":"` + number + `","MID":"8089000016"}` }
	other := func(txn string) string { return strings.Replace(txn, number, "1", 1) }
	for name, c := range map[string]struct {
		answer string
		want   providers.State
		amount int64
		kind   providers.Kind
		fails  bool
	}{
		"plain":                       {answer: said("00", txn), want: providers.Paid, amount: 40},
		"escaped":                     {answer: said("00", `"`+strings.ReplaceAll(txn, `"`, `\"`)+`"`), want: providers.Paid, amount: 40},
		"as printed":                  {answer: said("00", `"`+txn+`"`), want: providers.Paid, amount: 40},
		"with a MACD, and a line end": {answer: said("00", txn) + "&MACD=00\r\n", want: providers.Paid, amount: 40},
		"without cents":               {answer: said("00", strings.Replace(txn, "40.00", "40", 1)), want: providers.Paid, amount: 40},
		"with cents":                  {answer: said("00", strings.Replace(txn, "40.00", "40.50", 1)), want: providers.Paid},
		"a day without a year":        {answer: said("00", strings.Replace(txn, `"LTD":"20170613"`, `"LTD":"0613"`, 1)), want: providers.Paid, amount: 40},
		"without its number":          {answer: said("00", strings.Replace(txn, `"RRN":"506055000001",`, "", 1)), want: providers.Paid, amount: 40},
		"without amount":              {answer: said("00", strings.Replace(txn, "TXNAMOUNT", "TA", 1)), fails: true},
		"declined":                    {answer: said("05", `"`+short("05")+`"`), want: providers.Failed},
		"the payer left":              {answer: said("GR", short("GR")), want: providers.Cancelled},
		"still processing":            {answer: said("PC", short("PC"))},
		"not listed":                  {answer: said("Q7", short("Q7"))},
		"not found":                   {answer: said("GD", short("GD")), fails: true, kind: providers.NotFound},
		"not found, of nobody":        {answer: said("GD", "{}"), fails: true},
		"not found, of another":       {answer: said("GD", other(short("GD"))), fails: true, kind: providers.Untrusted},
		"of another":                  {answer: said("00", other(txn)), fails: true, kind: providers.Untrusted},
		"declined, another":           {answer: said("05", other(short("05"))), fails: true, kind: providers.Untrusted},
		"declined and approved":       {answer: said("05", txn), fails: true},
		"not found and approved":      {answer: said("GD", txn), fails: true},
		"our MAC is wrong":            {answer: said("G8", `{"RC":"G8"}`), fails: true, kind: providers.Auth},
		"an empty order":              {answer: said("00", strings.Replace(txn, number, "", 1)), fails: true},
	} {
		s, err := providertest.Ask(harness(t), answer(c.answer))
		if (err != nil) != c.fails || s.State != c.want || c.fails && providers.KindOf(err) != c.kind ||
			c.amount != 0 && (s.Amount == nil || s.Amount.Units() != c.amount) || c.want == providers.Paid && s.Amount == nil || name == "not listed" && s.Unmapped != "Q7" {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// A cancellation was refused only when the bank says so of this order; what is said of another one, or twice and differently,
// leaves it in doubt.
func TestCancellations(t *testing.T) {
	short := func(code string) string { return `{"RC":"` + code + `","ONO":"` + number + `","MID":"8089000016"}` }
	for name, c := range map[string]struct {
		answer string
		kind   providers.Kind
		done   bool
	}{
		"done":                     {`{"returnCode":"00","txnData":` + txn + `}`, 0, true},
		"done, without its number": {`{"returnCode":"00","txnData":` + short("00") + `}`, 0, true},
		"refused":                  {`{"returnCode":"GF","txnData":` + short("GF") + `}`, providers.Declined, false},
		"refused, of another":      {`{"returnCode":"GF","txnData":` + strings.Replace(short("GF"), number, "1", 1) + `}`, providers.OutcomeUnknown, false},
		"refused and done":         {`{"returnCode":"GF","txnData":` + short("00") + `}`, providers.OutcomeUnknown, false},
		"refused, of nobody":       {`{"returnCode":"GF","txnData":{}}`, providers.OutcomeUnknown, false},
		"the issuer is away":       {`{"returnCode":"91","txnData":` + short("91") + `}`, providers.OutcomeUnknown, false},
		"a card declines":          {`{"returnCode":"05","txnData":` + short("05") + `}`, providers.OutcomeUnknown, false},
	} {
		h := harness(t)
		ctx, p, stop, err := providertest.Start(h, answer(c.answer))
		if err != nil {
			t.Fatal(err)
		}
		r, ok := p.(providers.Refunder)
		if !ok {
			t.Fatalf("%T", p)
		}
		result, err := r.Refund(ctx, providers.RefundRequest{
			Attempt: providers.AttemptRef{AttemptNo: number, PayeeMemberID: "8089000016", Amount: h.Order.Total}, RefundID: "R", Amount: h.Order.Total,
		})
		stop()
		if (err == nil) != c.done || c.done != (result.State == providers.RefundDone) || err != nil && providers.KindOf(err) != c.kind {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	const good = "{url: 'https://acq.esunbank.com.tw', mac_key: own-key-of-the-merchant}"
	target := providertest.Target{URL: "https://acq.esunbank.com.tw", Now: now}
	if _, err := open(target, providers.Production, good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text, says string
		env        providers.Environment
	}{
		"test host":        {strings.Replace(good, "acq.", "acqtest.", 1), "acqtest.esunbank.com.tw is not the provider's host for environment production", providers.Production},
		"real host":        {good, "acq.esunbank.com.tw is not the provider's host for environment sandbox", providers.Sandbox},
		"published key":    {strings.Replace(good, "own-key-of-the-merchant", macKey, 1), "mac_key: this is a published test key", providers.Production},
		"no key":           {"{url: 'https://acq2.esunbank.com.tw'}", "exactly one of mac_key and mac_key_file", providers.Sandbox},
		"file not there":   {"{url: 'https://acqtest.esunbank.com.tw', mac_key_file: /nowhere/key}", "mac_key_file", providers.Sandbox},
		"http":             {strings.Replace(good, "https", "http", 1), "url: must be an absolute https URL", providers.Production},
		"path":             {strings.Replace(good, ".tw'", ".tw/x'", 1), "url: must have no path", providers.Production},
		"unknown setting":  {strings.Replace(good, "mac_key", "macKey", 1), "macKey", providers.Sandbox},
		"no environment":   {good, "environment", ""},
		"host not allowed": {strings.Replace(good, "acq.", "acq2.", 1), "elsewhere", providers.Sandbox},
	} {
		if _, err := open(target, c.env, c.text); err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), macKey) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.says)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	a := adapter(t)
	for name, spoil := range map[string]func(*providers.CreateRequest){
		"number":             func(r *providers.CreateRequest) { r.AttemptNo = strings.Repeat("1", 21) },
		"number in lower":    func(r *providers.CreateRequest) { r.AttemptNo = "a1" },
		"payee":              func(r *providers.CreateRequest) { r.Merchant.PayeeMemberID = "80890-00016" },
		"nothing to pay":     func(r *providers.CreateRequest) { r.Total = r.Total.Nothing() },
		"return URL of 61":   func(r *providers.CreateRequest) { r.ReturnURL = "https://gw.pay.taipei/" + strings.Repeat("r", 39) },
		"return URL and ?":   func(r *providers.CreateRequest) { r.ReturnURL += "?x=1" },
		"return URL and #":   func(r *providers.CreateRequest) { r.ReturnURL += "#x" },
		"return by a script": func(r *providers.CreateRequest) { r.ReturnURL = "javascript:alert(1)" },
	} {
		req := harness(t).Order
		spoil(&req)
		created, err := a.Create(t.Context(), req)
		if providers.KindOf(err) != providers.Invalid || err == nil || created.Redirect.URL != "" {
			t.Errorf("%s: %+v, %v", name, created, err)
		}
	}
}

// The bank pays back only whole payments; anything else is not even sent.
func TestRefundIsWhole(t *testing.T) {
	a := adapter(t) // without a way out
	order := harness(t).Order
	part := order.Lines[0].Subtotal
	_, err := a.Refund(t.Context(), providers.RefundRequest{Attempt: providers.AttemptRef{AttemptNo: number, Amount: order.Total}, Amount: part})
	if providers.KindOf(err) != providers.Invalid || err == nil {
		t.Error(err)
	}
}

func FuzzReturn(f *testing.F) {
	f.Add(paid, macKey)
	f.Add("RC=GR,MID=8089000016,ONO="+number, macKey)
	a := adapter(f)
	f.Fuzz(func(t *testing.T, data, key string) {
		n, err := a.DecodeCallback(returned(data, key))
		if err == nil && (n.Snapshot == nil || key != macKey || n.AttemptNo == "" || n.Snapshot.Amount != nil) {
			t.Errorf("%q: %+v", data, n)
		}
		raw := returned(paid, macKey)
		raw.RawQuery = data
		if n, err := a.DecodeCallback(raw); err == nil && n.Snapshot != nil && !strings.Contains(data, sum(paid+",", macKey)) {
			t.Errorf("query %q: %+v", data, n)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	f.Add(`{"returnCode":"00","txnData":"` + txn + `","version":"2"}`)
	f.Add(`{"returnCode":"GD","txnData":{"RC":"GD","ONO":"` + number + `","MID":"8089000016"}}`)
	var body string
	ctx, p, done, err := providertest.Start(harness(f), func(w http.ResponseWriter, r *http.Request, raw []byte) { answer(body)(w, r, raw) })
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(done)
	f.Fuzz(func(t *testing.T, text string) {
		body = text
		s, err := p.Query(ctx, providers.AttemptRef{AttemptNo: number, PayeeMemberID: "8089000016"})
		if err != nil && s.State != providers.Pending || s.State == providers.Paid && (s.Amount == nil || !strings.Contains(text, number)) {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	})
}
