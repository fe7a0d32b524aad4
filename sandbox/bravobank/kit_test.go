package bravobank_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/bravobank"
	"pay.taipei/gateway/signing"
)

// city is the bank with a gateway on the other side that knows only the document.
type city struct {
	t        *testing.T
	clock    *testkit.Clock
	bank     *bravobank.Bank
	bankURL  string
	gateway  string
	us       *signing.Ed25519Signer
	bankKeys *signing.Ed25519Keys
	browser  *http.Client
	nonces   int
	mu       sync.Mutex // guards the rest
	woken    int
	answers  []string // to the next notices: ok, refused or retry; afterwards ok, or refused for a forgery
	notices  []received
}

// statement is a notice, or an answer to a query, or an error.
type statement struct {
	OrderNo     string       `json:"order_no"`
	AttemptNo   string       `json:"attempt_no"`
	Environment string       `json:"environment"`
	Payee       string       `json:"payee_member_id"`
	Payer       string       `json:"payer_member_id"`
	Status      string       `json:"status"`
	Total       string       `json:"total"`
	Currency    string       `json:"currency"`
	Method      string       `json:"method"`
	PaidAt      string       `json:"paid_at"`
	TradeNo     string       `json:"trade_no"`
	Refunds     []refundFact `json:"refunds"`
	Error       string       `json:"error"`
}

type refundFact struct {
	ID       string `json:"refund_id"`
	No       string `json:"refund_no"`
	Amount   string `json:"amount"`
	Status   string `json:"status"`
	Currency string `json:"currency"`
	Attempt  string `json:"attempt_no"`
	Error    string `json:"error"`
}

type received struct {
	statement
	genuine bool
	nonce   string
	body    string
}

type orderForm struct {
	OrderNo     string   `json:"order_no"`
	AttemptNo   string   `json:"attempt_no"`
	Merchant    string   `json:"merchant_name"`
	Payee       string   `json:"payee_member_id"`
	Payer       string   `json:"payer_member_id"`
	Settlement  string   `json:"settlement"`
	Lines       []lineOf `json:"lines"`
	Total       string   `json:"total"`
	Currency    string   `json:"currency"`
	Methods     []string `json:"methods"`
	ExpiresAt   string   `json:"expires_at"`
	ReturnURL   string   `json:"return_url"`
	CallbackURL string   `json:"callback_url"`
}

type lineOf struct {
	BillNo    string `json:"bill_no"`
	Name      string `json:"name"`
	Quantity  int    `json:"quantity"`
	UnitPrice string `json:"unit_price"`
	Subtotal  string `json:"subtotal"`
}

func newSigner(t *testing.T, kid string, fill byte) *signing.Ed25519Signer {
	t.Helper()
	s, err := signing.NewEd25519Signer(kid, signing.NewSecret(bytes.Repeat([]byte{fill}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newCity(t *testing.T) *city {
	t.Helper()
	c := &city{t: t, clock: testkit.NewClock(time.Date(2017, 6, 13, 1, 4, 0, 0, time.UTC))}
	gateway := httptest.NewServer(http.HandlerFunc(c.callback))
	t.Cleanup(gateway.Close)
	c.gateway = gateway.URL

	c.us = newSigner(t, "gateway-1", 1)
	them := newSigner(t, "bank-1", 2)
	orderKeys, err := signing.NewEd25519Keys([]signing.Ed25519Key{{ID: "gateway-1", Public: c.us.PublicKey()}})
	if err != nil {
		t.Fatal(err)
	}
	if c.bankKeys, err = signing.NewEd25519Keys([]signing.Ed25519Key{{ID: "bank-1", Public: them.PublicKey()}}); err != nil {
		t.Fatal(err)
	}
	wake := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.woken++
	}
	c.bank, err = bravobank.New(
		bravobank.Config{Key: them, OrderKeys: orderKeys, Merchants: map[string]string{"1136549": "臺北市停車管理工程處", "1136550": "臺北自來水事業處"}, ShopURL: "http://shop.example/"},
		bravobank.Deps{Now: c.clock.Now, Rand: &testkit.Counter{}, HTTP: gateway.Client(), Wake: wake})
	if err != nil {
		t.Fatal(err)
	}
	bank := httptest.NewServer(c.bank.Handler())
	t.Cleanup(bank.Close)
	c.bankURL, c.browser = bank.URL, bank.Client()
	return c
}

// genuine says whether a message bears the bank's signature over head and body.
func (c *city) genuine(h http.Header, head string, body []byte) bool {
	sig, err := base64.RawURLEncoding.DecodeString(h.Get("Bravo-Signature"))
	return err == nil && c.bankKeys.Verify(h.Get("Bravo-Kid"), signing.Text(head+string(body)), sig, c.clock.Now()) == nil
}

func (c *city) callback(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	got := received{nonce: r.Header.Get("Bravo-Nonce"), body: string(body)}
	head := strings.Join([]string{"bravo-notice-v1", r.Header.Get("Bravo-Kid"), r.Header.Get("Bravo-Timestamp"), got.nonce, r.URL.EscapedPath(), ""}, "\n")
	got.genuine = c.genuine(r.Header, head, body) && r.Header.Get("Bravo-Timestamp") == strconv.FormatInt(c.clock.Now().Unix(), 10)
	if err := json.Unmarshal(body, &got.statement); err != nil {
		c.t.Error(err)
	}
	c.mu.Lock()
	c.notices = append(c.notices, got)
	answer := "ok"
	if !got.genuine {
		answer = "refused"
	}
	if len(c.answers) > 0 {
		answer, c.answers = c.answers[0], c.answers[1:]
	}
	c.mu.Unlock()
	w.WriteHeader(map[string]int{"ok": 200, "refused": 400, "retry": 503}[answer])
	_, _ = w.Write([]byte(`{"result":"` + answer + `"}`))
}

func (c *city) got() []received {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]received(nil), c.notices...)
}

func (c *city) step() time.Time {
	c.t.Helper()
	next, err := c.bank.Step(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return next
}

func (c *city) request() orderForm {
	bill := func(no string) lineOf { return lineOf{no, "停車費", 1, "20", "20"} }
	return orderForm{
		OrderNo: "2017061300000016", AttemptNo: "201706130000001601", Merchant: "臺北市停車管理工程處", Payee: "1136549", Payer: "1361049",
		Settlement: "immediate", Lines: []lineOf{bill("H60983881309263"), bill("H61283631217536")}, Total: "40", Currency: "TWD",
		Methods: []string{"credit_card", "stored_value", "deposit_account"}, ExpiresAt: c.clock.Now().Add(10 * time.Minute).Format(time.RFC3339),
		ReturnURL: c.gateway + "/r/7Zk2", CallbackURL: c.gateway + "/callbacks/bravobank-main/7Zk2",
	}
}

func (c *city) order() url.Values {
	c.t.Helper()
	return c.sign(c.request())
}

func (c *city) sign(o orderForm) url.Values {
	c.t.Helper()
	raw, err := json.Marshal(o)
	if err != nil {
		c.t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString(raw)
	sig := c.us.Sign(signing.Text("bravo-order-v1." + text))
	return url.Values{"order": {text}, "kid": {"gateway-1"}, "sig": {base64.RawURLEncoding.EncodeToString(sig)}}
}

// page is a page as a browser has it.
type page struct {
	t      *testing.T
	status int
	path   string
	query  url.Values
	header http.Header
	body   string
}

func (c *city) do(req *http.Request, err error) page {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.browser.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return page{c.t, resp.StatusCode, resp.Request.URL.Path, resp.Request.URL.Query(), resp.Header, string(body)}
}

func (c *city) get(path string) page {
	c.t.Helper()
	return c.do(http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.bankURL+path, nil))
}

func (c *city) post(path string, form url.Values) page {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.bankURL+path, strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return c.do(req, err)
}

func (p page) token() string {
	p.t.Helper()
	m := regexp.MustCompile(`name="s" value="([^"]+)"`).FindStringSubmatch(p.body)
	if m == nil {
		p.t.Fatalf("%s (%d) has no form: %s", p.path, p.status, p.text())
	}
	return m[1]
}

// field is the text of the element with an id.
func (p page) field(id string) string {
	m := regexp.MustCompile(`(?s)id="` + id + `"[^>]*>(.*?)<`).FindStringSubmatch(p.body)
	if m == nil {
		return ""
	}
	return html.UnescapeString(strings.TrimSpace(m[1]))
}

func (p page) text() string {
	_, main, _ := strings.Cut(p.body, "<main")
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString("<"+main, " ")), " ")
}

func (c *city) login(p page) page {
	c.t.Helper()
	s, demo := p.token(), bravobank.DemoAccount()
	captcha := c.get("/captcha/" + s).body
	return c.post("/login", url.Values{"s": {s}, "account": {demo.Name}, "password": {demo.Password}, "captcha": {captcha}})
}

// visit is the way to the order page.
func (c *city) visit(form url.Values) page {
	c.t.Helper()
	return c.login(c.post("/order", form))
}

func (c *city) pay(p page, method string) page {
	c.t.Helper()
	return c.post("/pay", url.Values{"s": {p.token()}, "method": {method}})
}

// call is a signed API call whose answer must be signed too.
func (c *city) call(name, body string, answer any) (status int, err error) {
	c.t.Helper()
	c.nonces++
	path, nonce, timestamp := "/api/v1/"+name, fmt.Sprintf("gateway-nonce-%06d", c.nonces), strconv.FormatInt(c.clock.Now().Unix(), 10)
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.bankURL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	text := strings.Join([]string{"bravo-" + name + "-v1", "gateway-1", timestamp, nonce, path, body}, "\n")
	req.Header.Set("Bravo-Kid", "gateway-1")
	req.Header.Set("Bravo-Timestamp", timestamp)
	req.Header.Set("Bravo-Nonce", nonce)
	req.Header.Set("Bravo-Signature", base64.RawURLEncoding.EncodeToString(c.us.Sign(signing.Text(text))))
	resp, err := c.browser.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	head := strings.Join([]string{"bravo-" + name + "-answer-v1", "bank-1", timestamp, nonce, path, strconv.Itoa(resp.StatusCode), ""}, "\n")
	if !c.genuine(resp.Header, head, raw) {
		c.t.Errorf("%s: the answer is not signed as documented: %d %s", name, resp.StatusCode, raw)
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		c.t.Errorf("%s: %v: %s", name, err, raw)
	}
	return resp.StatusCode, nil
}

func (c *city) query() statement {
	c.t.Helper()
	var s statement
	if _, err := c.call("query", `{"attempt_no":"201706130000001601","payee_member_id":"1136549"}`, &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *city) refund(id, amount string) (r refundFact, err error) {
	c.t.Helper()
	_, err = c.call("refund", `{"attempt_no":"201706130000001601","payee_member_id":"1136549","refund_id":"`+id+`","amount":"`+amount+`","currency":"TWD","reason":"重複繳費"}`, &r)
	return r, err
}

func (c *city) faults(f string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPut, c.bankURL+"/faults", strings.NewReader(f))
	if p := c.do(req, err); p.status != http.StatusOK {
		c.t.Fatalf("faults: %d %s", p.status, p.body)
	}
}

func (c *city) book() bravobank.Entry {
	c.t.Helper()
	var books struct{ Entries []bravobank.Entry }
	if err := json.Unmarshal([]byte(c.get("/books").body), &books); err != nil || len(books.Entries) != 1 {
		c.t.Fatalf("books: %v %+v", err, books)
	}
	return books.Entries[0]
}
