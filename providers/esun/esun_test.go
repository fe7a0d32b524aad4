package esun_test

import (
	"strings"
	"testing"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/providertest"
)

type meaning struct {
	state providers.State
	kind  providers.Kind
}

// documentedCodes is Index A, written again from it.
func documentedCodes() map[string]meaning {
	all := map[string]meaning{"00": {providers.Paid, providers.OutcomeUnknown}, "GR": {providers.Cancelled, providers.Declined}}
	for codes, m := range map[string]meaning{
		"01 14 54 62 L1 L2 L3 L4 L5 L6 L7 XA XB XC XD XE XF X1 X2 X3 X4 X5 X6 X7 X8 X9 TE TI GX GY GZ V0 V1 " +
			"G7 GA GG GI GJ GK GL GM GN GP GU GV GW N1 NT Z1 Z2 QQ 05": {providers.Failed, providers.Declined}, // 05 is in the manual's sample
		"VA VD VT RA RD RP GB GC GF NR NV": {providers.Pending, providers.Declined},
		"G0 G1 G9 GS GT V2 ET UE PC 09 68": {providers.Pending, providers.OutcomeUnknown},
		"G3 G4 G5 G8 NM":                   {providers.Pending, providers.Auth},
		"G2 Z0":                            {providers.Pending, providers.Invalid},
		"G6 GH":                            {providers.Pending, providers.Duplicate},
		"GD GE":                            {providers.Pending, providers.NotFound},
	} {
		for code := range strings.FieldsSeq(codes) {
			all[code] = m
		}
	}
	return all
}

// Every documented code of a signed return has its state; any other text decides nothing.
func TestReturnCodes(t *testing.T) {
	a := adapter(t)
	for code, want := range documentedCodes() {
		n, err := a.DecodeCallback(returned(strings.Replace(paid, "RC=00", "RC="+code, 1), macKey))
		if err != nil || n.Snapshot == nil || n.Snapshot.State != want.state || n.Snapshot.Unmapped != "" || n.AttemptNo != number {
			t.Errorf("%s: %+v, %v; want %s", code, n.Snapshot, err, want.state)
		}
	}
	short := "RC=Q7,MID=8089000016,ONO=" + number
	if n, err := a.DecodeCallback(returned(short, macKey)); err != nil || n.Snapshot.State != providers.Pending || n.Snapshot.Unmapped != "Q7" {
		t.Errorf("%+v, %v", n.Snapshot, err)
	}
	// Nothing that is approved may lack what proves it.
	for _, member := range []string{"LTD=20170613,", "LTT=090430,", "RRN=506055000001,"} {
		if n, err := a.DecodeCallback(returned(strings.Replace(paid, member, "", 1), macKey)); err == nil {
			t.Errorf("without %s: %+v", member, n)
		}
	}
}

// The bank's samples print txnData as a text, and not even escaped; a payment that did not come about has the code twice.
func TestAnswers(t *testing.T) {
	short := func(code string) string { return `{"RC":"` + code + `","ONO":"` + number + `","MID":"8089000016"}` }
	for name, c := range map[string]struct {
		answer string
		want   providers.State
		amount int64
		fails  bool
	}{
		"plain":             {`{"returnCode":"00","txnData":` + txn + `,"version":"2"}`, providers.Paid, 40, false},
		"escaped":           {`{"returnCode":"00","txnData":"` + strings.ReplaceAll(txn, `"`, `\"`) + `","version":"2"}`, providers.Paid, 40, false},
		"as printed":        {`{"returnCode":"00","txnData":"` + txn + `","version":"2"}`, providers.Paid, 40, false},
		"without cents":     {`{"returnCode":"00","txnData":` + strings.Replace(txn, "40.00", "40", 1) + `,"version":"2"}`, providers.Paid, 40, false},
		"with cents":        {`{"returnCode":"00","txnData":` + strings.Replace(txn, "40.00", "40.50", 1) + `,"version":"2"}`, providers.Paid, 0, false},
		"without amount":    {`{"returnCode":"00","txnData":` + strings.Replace(txn, "TXNAMOUNT", "TA", 1) + `,"version":"2"}`, providers.Pending, 0, true},
		"declined":          {`{"returnCode":"05","txnData":"` + short("05") + `","version":"2"}`, providers.Failed, 0, false},
		"the payer left":    {`{"returnCode":"GR","txnData":` + short("GR") + `,"version":"2"}`, providers.Cancelled, 0, false},
		"not found":         {`{"returnCode":"GD","txnData":` + short("GD") + `,"version":"2"}`, providers.Pending, 0, true},
		"of another":        {`{"returnCode":"00","txnData":` + strings.Replace(txn, number, "1", 1) + `,"version":"2"}`, providers.Pending, 0, true},
		"declined, another": {`{"returnCode":"05","txnData":` + strings.Replace(short("05"), number, "1", 1) + `,"version":"2"}`, providers.Pending, 0, true},
	} {
		s, err := providertest.Ask(harness(t), answer(c.answer))
		if (err != nil) != c.fails || s.State != c.want || c.amount != 0 && (s.Amount == nil || s.Amount.Units() != c.amount) || c.want == providers.Paid && s.Amount == nil {
			t.Errorf("%s: %+v, %v", name, s, err)
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
		"published key":    {strings.Replace(good, "own-key-of-the-merchant", macKey, 1), "mac_key: this is a published test key", providers.Production},
		"no key":           {"{url: 'https://acq.esunbank.com.tw'}", "exactly one of mac_key and mac_key_file", providers.Sandbox},
		"file not there":   {"{url: 'https://acq.esunbank.com.tw', mac_key_file: /nowhere/key}", "mac_key_file", providers.Sandbox},
		"http":             {strings.Replace(good, "https", "http", 1), "url: must be an absolute https URL", providers.Production},
		"path":             {strings.Replace(good, ".tw'", ".tw/x'", 1), "url: must have no path", providers.Sandbox},
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
