package esun_test

import (
	"fmt"
	"strings"
	"testing"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/providertest"
)

type meaning struct {
	state providers.State
	kind  providers.Kind
}

// documentedCodes is the manual's list of return codes, written again from it.
func documentedCodes() map[string]meaning {
	all := map[string]meaning{
		"00": {providers.Paid, providers.OutcomeUnknown}, "GR": {providers.Cancelled, providers.Declined}, "GF": {providers.Pending, providers.Declined},
		"G6": {providers.Pending, providers.Duplicate}, "GH": {providers.Pending, providers.Duplicate},
		"GD": {providers.Pending, providers.NotFound}, "GE": {providers.Pending, providers.NotFound},
		"G8": {providers.Pending, providers.Auth}, "G5": {providers.Pending, providers.Auth},
	}
	add := func(m meaning, codes ...string) {
		for _, code := range codes {
			all[code] = m
		}
	}
	add(meaning{providers.Pending, providers.OutcomeUnknown}, "PC", "G1", "GT", "G0", "GS", "V2")
	add(meaning{providers.Pending, providers.Declined}, "NR", "NV", "VA", "VD", "VT", "RA", "RD", "RP", "GB", "GC")
	failed := meaning{providers.Failed, providers.Declined}
	add(failed, "V0", "GX", "GY", "GZ", "V1", "Z2", "01", "14", "54", "62", "N1", "GI", "GP")
	for i := 1; i <= 9; i++ {
		add(failed, fmt.Sprintf("X%d", i))
		if i <= 7 {
			add(failed, fmt.Sprintf("L%d", i))
		}
	}
	for c := 'A'; c <= 'F'; c++ {
		add(failed, "X"+string(c))
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
	short := "RC=05,MID=8089000016,ONO=" + number
	if n, err := a.DecodeCallback(returned(short, macKey)); err != nil || n.Snapshot.State != providers.Pending || n.Snapshot.Unmapped != "05" {
		t.Errorf("%+v, %v", n.Snapshot, err)
	}
	// Nothing that is approved may lack what proves it.
	for _, member := range []string{"LTD=20170613,", "LTT=090430,", "RRN=506055000001,"} {
		if n, err := a.DecodeCallback(returned(strings.Replace(paid, member, "", 1), macKey)); err == nil {
			t.Errorf("without %s: %+v", member, n)
		}
	}
}

// The bank's samples print txnData as a text.
func TestQuotedAnswer(t *testing.T) {
	h := harness(t)
	h.Answers.Paid = answer(`{"returnCode":"00","txnData":"` + strings.ReplaceAll(txn, `"`, `\"`) + `","version":"2"}`)
	providertest.Run(t, h)
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
