package bravobank_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/bravobank"
	bank "pay.taipei/gateway/sandbox/bravobank"
	"pay.taipei/gateway/signing"
)

// pair is the adapter and the bank of sandbox/bravobank, which share only the document.
type pair struct {
	t       *testing.T
	now     time.Time
	bank    *bank.Bank
	bankURL string
	gateway string
	adapter *bravobank.Adapter
	notices []providers.Notice
	errs    []error
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, now: time.Date(2017, 6, 13, 1, 4, 0, 0, time.UTC)}
	clock := func() time.Time { return p.now }
	gateway := httptest.NewServer(http.HandlerFunc(p.callback))
	t.Cleanup(gateway.Close)
	p.gateway = gateway.URL
	us := signer(t, "gateway-1", gatewaySeed)
	orderKeys, err := signing.NewEd25519Keys([]signing.Ed25519Key{{ID: "gateway-1", Public: us.PublicKey()}})
	if err != nil {
		t.Fatal(err)
	}
	p.bank, err = bank.New(
		bank.Config{Key: signer(t, bankKid, bankSeed), OrderKeys: orderKeys, Merchants: map[string]string{"1136549": "臺北市停車管理工程處"}},
		bank.Deps{Now: clock, Rand: &counter{}, HTTP: gateway.Client()})
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(p.bank.Handler())
	t.Cleanup(site.Close)
	p.bankURL = site.URL
	p.adapter, err = bravobank.New(
		bravobank.Config{Environment: providers.Demo, OrderURL: site.URL + "/order", Signer: us, BankKeys: []signing.Ed25519Key{{ID: bankKid, Public: bankPublic()}}},
		bravobank.Deps{Now: clock, Rand: &counter{}, HTTP: client(t, site.URL)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) callback(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	n, err := p.adapter.DecodeCallback(providers.RawCallback{
		Channel: providers.ChannelServer, Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Header: r.Header, Body: body, ReceivedAt: p.now,
	})
	p.notices, p.errs = append(p.notices, n), append(p.errs, err)
	ack := p.adapter.Ack(providers.Accepted)
	if err != nil {
		ack = p.adapter.Ack(providers.Refused)
	}
	w.WriteHeader(ack.Status)
	_, _ = w.Write(ack.Body)
}

func (p *pair) post(path string, form url.Values) string {
	p.t.Helper()
	resp, err := http.PostForm(p.bankURL+path, form)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
	}
	return string(body)
}

func find(t *testing.T, page, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no %s in %s", pattern, page)
	}
	return m[1]
}

// pay walks from the signed order to the bank's result page, and delivers the notices.
func (p *pair) pay(f bank.Faults) string {
	p.t.Helper()
	req := orderRequest(p.t)
	req.ExpiresAt, req.ReturnURL, req.CallbackURL = p.now.Add(10*time.Minute), p.gateway+"/r/7Zk2", p.gateway+"/callbacks/bravobank-main/7Zk2"
	created, err := p.adapter.Create(p.t.Context(), req)
	if err != nil {
		p.t.Fatal(err)
	}
	form := url.Values{}
	for name, value := range created.Redirect.Fields {
		form.Set(name, value)
	}
	login, demo := p.post("/order", form), bank.DemoAccount()
	token := `name="s" value="([^"]+)"`
	order := p.post("/login", url.Values{
		"s": {find(p.t, login, token)}, "account": {demo.Name}, "password": {demo.Password}, "captcha": {find(p.t, login, `alt="([^"]+)"`)},
	})
	p.bank.SetFaults(f)
	result := p.post("/pay", url.Values{"s": {find(p.t, order, token)}, "method": {"deposit_account"}})
	for range 10 {
		if next, err := p.bank.Step(p.t.Context()); err != nil || next.IsZero() {
			return result
		}
	}
	p.t.Fatal("the bank never finished")
	return ""
}

func TestAgainstTheBank(t *testing.T) {
	p := newPair(t)
	if _, err := p.adapter.Query(deadline(t, time.Minute), attempt(t)); providers.KindOf(err) != providers.NotFound {
		t.Errorf("before the order: %v", err)
	}
	result := p.pay(bank.Faults{})
	if len(p.notices) != 1 || p.errs[0] != nil {
		t.Fatalf("notices %+v, %v", p.notices, p.errs)
	}
	asked, err := p.adapter.Query(deadline(t, time.Minute), attempt(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]providers.Snapshot{"notice": *p.notices[0].Snapshot, "query": asked} {
		if s.State != providers.Paid || *s.Amount != twd(t, "40") || s.MerchantRef != "1136549" || s.Environment != providers.Demo || s.Method != "deposit_account" ||
			!s.PaidAt.Equal(p.now) || s.ProviderTradeNo != find(t, result, `id="trade-no">([^<]+)<`) || s.Unmapped != "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	refunded, err := p.adapter.Refund(deadline(t, time.Minute), refundOf(t))
	if err != nil || refunded.State != providers.RefundDone {
		t.Fatal(refunded, err)
	}
	asked, err = p.adapter.Query(deadline(t, time.Minute), attempt(t))
	if err != nil || len(asked.Refunds) != 1 || asked.Refunds[0] != (providers.RefundFact{RefundID: "R-1", ProviderRefundNo: refunded.ProviderRefundNo, Amount: twd(t, "20"), State: providers.RefundDone}) {
		t.Errorf("%+v %v", asked, err)
	}
	more := refundOf(t)
	more.RefundID, more.Amount = "R-2", twd(t, "21")
	if _, err := p.adapter.Refund(deadline(t, time.Minute), more); providers.KindOf(err) != providers.Declined {
		t.Errorf("refunding too much: %v", err)
	}
}

func TestAgainstTheMisbehavingBank(t *testing.T) {
	for name, c := range map[string]struct {
		faults bank.Faults
		check  func(*pair) bool
	}{
		"lost":       {bank.Faults{Lost: true}, func(p *pair) bool { return len(p.notices) == 0 }},
		"duplicated": {bank.Faults{Duplicated: 1}, func(p *pair) bool { return len(p.notices) == 2 && p.notices[0].Nonce != p.notices[1].Nonce }},
		"reordered": {bank.Faults{Reordered: true}, func(p *pair) bool {
			return len(p.notices) == 3 && p.notices[1].Snapshot.State == providers.Failed && p.notices[2].Snapshot.State == providers.Pending
		}},
		"forged":         {bank.Faults{ForgedSignature: true}, func(p *pair) bool { return errors.Is(p.errs[0], providers.Untrusted) && p.notices[0].Snapshot == nil }},
		"wrong amount":   {bank.Faults{WrongAmount: true}, func(p *pair) bool { return *p.notices[0].Snapshot.Amount == twd(t, "41") }},
		"wrong merchant": {bank.Faults{WrongMerchant: true}, func(p *pair) bool { return p.notices[0].Snapshot.MerchantRef == "9999999" }},
		"wrong currency": {bank.Faults{WrongCurrency: true}, func(p *pair) bool { return p.notices[0].Snapshot.Amount.Currency() != money.TWD }},
		"fail":           {bank.Faults{Fail: true}, func(p *pair) bool { return p.notices[0].Snapshot.State == providers.Failed }},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t)
			p.pay(c.faults)
			if !c.check(p) {
				t.Errorf("%+v, %v", p.notices, p.errs)
			}
		})
	}
}

func TestRefundWhoseAnswerIsDropped(t *testing.T) {
	p := newPair(t)
	p.pay(bank.Faults{})
	p.bank.SetFaults(bank.Faults{AnswerDropped: true})
	if _, err := p.adapter.Refund(deadline(t, time.Minute), refundOf(t)); providers.KindOf(err) != providers.OutcomeUnknown {
		t.Error(err)
	}
	if s, err := p.adapter.Query(deadline(t, time.Minute), attempt(t)); err != nil || !s.RefundsComplete || len(s.Refunds) != 1 {
		t.Errorf("the doubt stays: %+v %v", s, err)
	}
}
