package newebpay_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
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
	"pay.taipei/gateway/sandbox/internal/desk"
	"pay.taipei/gateway/sandbox/newebpay"
)

const number = "2025112500000016"

// city is the double with a gateway on the other side that knows only the notes on the manual: it seals and signs on its own.
type city struct {
	t         *testing.T
	clock     *testkit.Clock
	double    *desk.Running
	url, shop string // of the double, of the gateway
	key, iv   string
	payee     string
	browser   *http.Client

	mu      sync.Mutex // guards the rest
	answers []int      // to the next notices; afterwards 200
	bodies  []string
}

func newCity(t *testing.T) *city {
	t.Helper()
	c := &city{t: t, clock: testkit.NewClock(time.Date(2025, 11, 25, 2, 0, 0, 0, time.UTC))}
	gateway := httptest.NewServer(http.HandlerFunc(c.notified))
	t.Cleanup(gateway.Close)
	var handler http.Handler
	double := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(double.Close)
	c.shop, c.url, c.browser = gateway.URL, double.URL, double.Client()
	var err error
	c.double, err = newebpay.Double().Open(
		desk.Place{URL: double.URL, ShopURL: "http://shop.example/", Merchants: map[string]string{"pma": "停管處", "twd": "北水處"}, Seed: []byte("seed")},
		desk.Deps{Now: c.clock.Now, Rand: &testkit.Counter{}, HTTP: gateway.Client()})
	if err != nil {
		t.Fatal(err)
	}
	handler = c.double.Handler
	settings := regexp.MustCompile(`^\{url: "(http://[^"]+)", hash_key: "([A-Za-z0-9]{32})", hash_iv: "([A-Za-z0-9]{16})"\}$`).FindStringSubmatch(c.double.Settings)
	if settings == nil || settings[1] != double.URL {
		t.Fatalf("settings: %s", c.double.Settings)
	}
	c.key, c.iv, c.payee = settings[2], settings[3], c.double.Payees["pma"]
	return c
}

// at moves the clock to a time in Taipei.
func (c *city) at(moment string) {
	c.t.Helper()
	to, err := time.ParseInLocation(time.DateTime, moment, desk.Taipei())
	if err != nil {
		c.t.Fatal(err)
	}
	c.clock.Advance(to.Sub(c.clock.Now()))
}

func (c *city) notified(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/notify" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		c.t.Errorf("%s %s %v: %v", r.Method, r.URL, r.Header, err)
	}
	c.bodies = append(c.bodies, string(body))
	status := http.StatusOK
	if len(c.answers) > 0 {
		status, c.answers = c.answers[0], c.answers[1:]
	}
	w.WriteHeader(status)
}

// step delivers what is due and says when there is more; the zero time when nothing is.
func (c *city) step() time.Time {
	c.t.Helper()
	for {
		next, err := c.double.Step(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		if next.IsZero() || next.After(c.clock.Now()) {
			return next
		}
	}
}

func seal(t *testing.T, key, iv, plain string, pad int) string {
	t.Helper()
	block, err := aes.NewCipher([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	n := pad - len(plain)%pad
	text := append([]byte(plain), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, []byte(iv)).CryptBlocks(text, text)
	return hex.EncodeToString(text)
}

func unseal(t *testing.T, key, iv, sealed string) (plain string, pad int) {
	t.Helper()
	text, err := hex.DecodeString(sealed)
	block, errKey := aes.NewCipher([]byte(key))
	if err != nil || errKey != nil || len(text) == 0 || len(text)%16 != 0 {
		t.Fatalf("%v, %v, %d bytes", err, errKey, len(text))
	}
	cipher.NewCBCDecrypter(block, []byte(iv)).CryptBlocks(text, text)
	pad = int(text[len(text)-1])
	if pad < 1 || pad > 32 || !bytes.HasSuffix(text, bytes.Repeat([]byte{byte(pad)}, pad)) {
		t.Fatalf("padding %d", pad)
	}
	return string(text[:len(text)-pad]), pad
}

func sum(parts ...string) string {
	return fmt.Sprintf("%X", sha256.Sum256([]byte(strings.Join(parts, ""))))
}

func (c *city) seal(plain string) string { return seal(c.t, c.key, c.iv, plain, 16) }

func (c *city) sha(sealed string) string {
	return sum("HashKey=", c.key, "&", sealed, "&HashIV=", c.iv)
}

func (c *city) stamp() string { return strconv.FormatInt(c.clock.Now().Unix(), 10) }

// inner are the fields of an order for NT$40.
func (c *city) inner() url.Values {
	return url.Values{
		"MerchantID": {c.payee}, "RespondType": {"JSON"}, "TimeStamp": {c.stamp()}, "Version": {"2.3"}, "MerchantOrderNo": {number}, "Amt": {"40"},
		"ItemDesc": {"停車費 2 筆"}, "ReturnURL": {c.shop + "/return"}, "NotifyURL": {c.shop + "/notify"}, "CREDIT": {"1"}, "WEBATM": {"1"},
	}
}

// outer is the form in which an order is posted.
func (c *city) outer(plain string) url.Values {
	sealed := c.seal(plain)
	return url.Values{"MerchantID": {c.payee}, "TradeInfo": {sealed}, "TradeSha": {c.sha(sealed)}, "Version": {"2.3"}}
}

// page is a page as a browser has it.
type page struct {
	t      *testing.T
	status int
	at     *url.URL
	body   string
}

func (c *city) post(path string, form url.Values) page {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return c.do(req)
}

func (c *city) get(path string) page {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, c.url+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.do(req)
}

func (c *city) do(req *http.Request) page {
	c.t.Helper()
	p, err := c.try(req)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *city) try(req *http.Request) (page, error) {
	resp, err := c.browser.Do(req)
	if err != nil {
		return page{}, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	body, err := io.ReadAll(resp.Body)
	return page{c.t, resp.StatusCode, resp.Request.URL, string(body)}, err
}

// unanswered posts and wants no answer.
func (c *city) unanswered(ctx context.Context, path string, form url.Values) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p, err := c.try(req); err == nil {
		c.t.Errorf("%s was answered: %d %s", path, p.status, p.body)
	}
}

// problem is the page's complaint.
func (p page) problem() string {
	m := regexp.MustCompile(`id="problem">([^<]*)<`).FindStringSubmatch(p.body)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// way is where the button back leads: an address, and fields when it posts.
func (p page) way() (to string, fields url.Values) {
	p.t.Helper()
	if m := regexp.MustCompile(`id="return" href="([^"]+)"`).FindStringSubmatch(p.body); m != nil {
		return html.UnescapeString(m[1]), nil
	}
	m := regexp.MustCompile(`<form method="post" action="([^"]+)">`).FindStringSubmatch(p.body)
	if m == nil {
		p.t.Fatalf("%s has no way back", p.at)
	}
	fields = url.Values{}
	for _, f := range regexp.MustCompile(`name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(p.body, -1) {
		fields.Add(html.UnescapeString(f[1]), html.UnescapeString(f[2]))
	}
	return html.UnescapeString(m[1]), fields
}

// visit brings a payer to the page of an order.
func (c *city) visit(inner url.Values) page {
	c.t.Helper()
	p := c.post("/MPG/mpg_gateway", c.outer(inner.Encode()))
	if p.status != http.StatusOK || !strings.HasPrefix(p.at.Path, "/pay/") {
		c.t.Fatalf("%d %s: %s", p.status, p.at, p.problem())
	}
	return p
}

// pay decides; no method is to leave.
func (c *city) pay(at page, method string) page {
	c.t.Helper()
	form := url.Values{}
	if method != "" {
		form.Set("method", method)
	}
	return c.post(at.at.Path, form)
}

// paid is an order that was paid, with its notices delivered.
func (c *city) paid(method string) page {
	c.t.Helper()
	result := c.pay(c.visit(c.inner()), method)
	c.step()
	return result
}

// told is an envelope's content.
type told struct {
	genuine         bool
	pad             int
	outer           url.Values
	Status, Message string
	Result          json.RawMessage
	result          answer
	inText          bool // the result came as a text
}

type answer struct {
	MerchantID, TradeNo, MerchantOrderNo, TradeStatus, PaymentType, CreateTime, PayTime, CheckCode, FundTime string
	RespondType, RespondCode, Auth, Card6No, Card4No, PaymentMethod, PayBankCode, PayerAccount5Code          string
	CloseAmt, CloseStatus, BackBalance, BackStatus                                                           string
	Amt                                                                                                      int64
	OrderStatus                                                                                              *int
}

func (c *city) told(form url.Values) (m told) {
	c.t.Helper()
	for _, name := range []string{"Status", "MerchantID", "Version", "TradeInfo", "TradeSha"} {
		if len(form[name]) != 1 || len(form) != 5 {
			c.t.Fatalf("fields: %v", form)
		}
	}
	m.outer, m.genuine = form, form.Get("TradeSha") == c.sha(form.Get("TradeInfo"))
	plain, pad := unseal(c.t, c.key, c.iv, form.Get("TradeInfo"))
	m.pad = pad
	for _, b := range []byte(plain) {
		if b >= 0x80 {
			c.t.Errorf("not in ASCII: %s", plain)
			break
		}
	}
	err := json.Unmarshal([]byte(plain), &m)
	raw := m.Result
	var text string
	if m.inText = json.Unmarshal(raw, &text) == nil; m.inText {
		raw = json.RawMessage(text)
	}
	if errResult := json.Unmarshal(raw, &m.result); err != nil || errResult != nil {
		c.t.Fatalf("%v, %v: %s", err, errResult, plain)
	}
	return m
}

// notices are all that came, in order.
func (c *city) notices() (all []told) {
	c.t.Helper()
	c.mu.Lock()
	bodies := append([]string(nil), c.bodies...)
	c.mu.Unlock()
	for _, body := range bodies {
		form, err := url.ParseQuery(body)
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, c.told(form))
	}
	return all
}

// replied is an API's answer.
type replied struct {
	http            int
	raw             string
	Status, Message string
	Result          json.RawMessage
	answer          answer
}

func (c *city) call(path string, form url.Values) (r replied) {
	c.t.Helper()
	p := c.post(path, form)
	r.http, r.raw = p.status, p.body
	if p.status != http.StatusOK {
		return r
	}
	if err := json.Unmarshal([]byte(p.body), &r); err != nil {
		c.t.Fatalf("%v: %s", err, p.body)
	}
	if r.Status != "SUCCESS" {
		if string(r.Result) != "[]" {
			c.t.Errorf("a refusal's result: %s", p.body)
		}
		return r
	}
	if err := json.Unmarshal(r.Result, &r.answer); err != nil {
		c.t.Fatalf("%v: %s", err, p.body)
	}
	return r
}

// question is a query about a payment.
func (c *city) question(number, amount string) url.Values {
	return url.Values{
		"MerchantID": {c.payee}, "Version": {"1.3"}, "RespondType": {"JSON"}, "TimeStamp": {c.stamp()}, "MerchantOrderNo": {number}, "Amt": {amount},
		"CheckValue": {sum("IV=", c.iv, "&Amt=", amount, "&MerchantID=", c.payee, "&MerchantOrderNo=", number, "&Key=", c.key)},
	}
}

func (c *city) ask(number, amount string) replied {
	c.t.Helper()
	r := c.call("/API/QueryTradeInfo", c.question(number, amount))
	if a := r.answer; r.Status == "SUCCESS" && a.CheckCode != c.checkCode(a) {
		c.t.Errorf("CheckCode: %s", r.raw)
	}
	return r
}

func (c *city) query() answer {
	c.t.Helper()
	r := c.ask(number, "40")
	if r.Status != "SUCCESS" {
		c.t.Fatalf("%d %s", r.http, r.raw)
	}
	return r.answer
}

func (c *city) checkCode(a answer) string {
	return sum("HashIV=", c.iv, "&Amt=", strconv.FormatInt(a.Amt, 10), "&MerchantID=", a.MerchantID, "&MerchantOrderNo=", a.MerchantOrderNo, "&TradeNo=", a.TradeNo, "&HashKey=", c.key)
}

func (c *city) cancellation() url.Values {
	return url.Values{"RespondType": {"JSON"}, "Version": {"1.0"}, "Amt": {"40"}, "MerchantOrderNo": {number}, "IndexType": {"1"}, "TimeStamp": {c.stamp()}}
}

func (c *city) refund(amount string) url.Values {
	return url.Values{"RespondType": {"JSON"}, "Version": {"1.1"}, "Amt": {amount}, "MerchantOrderNo": {number}, "IndexType": {"1"}, "TimeStamp": {c.stamp()}, "CloseType": {"2"}}
}

// sealed is the form in which fields go to Cancel or Close.
func (c *city) sealed(inner url.Values) url.Values {
	return url.Values{"MerchantID_": {c.payee}, "PostData_": {c.seal(inner.Encode())}}
}

// instruct sends fields to Cancel or Close.
func (c *city) instruct(name string, inner url.Values) replied {
	c.t.Helper()
	return c.call("/API/CreditCard/"+name, c.sealed(inner))
}

func (c *city) faults(f string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPut, c.url+"/faults", strings.NewReader(f))
	if err != nil {
		c.t.Fatal(err)
	}
	if p := c.do(req); p.status != http.StatusOK {
		c.t.Fatalf("faults: %d %s", p.status, p.body)
	}
}

func (c *city) book() desk.Entry {
	c.t.Helper()
	var books struct{ Entries []desk.Entry }
	if err := json.Unmarshal([]byte(c.get("/books").body), &books); err != nil || len(books.Entries) != 1 {
		c.t.Fatalf("books: %v %+v", err, books)
	}
	return books.Entries[0]
}
