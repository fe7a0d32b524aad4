package linepay_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/internal/desk"
	"pay.taipei/gateway/sandbox/linepay"
)

// shop is a merchant with the double on the other side. It signs with code of its own.
type shop struct {
	t               *testing.T
	clock           *testkit.Clock
	line            *desk.Running
	url             string
	channel, secret string
	browser         *http.Client

	mu     sync.Mutex
	nonces int
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, clock: testkit.NewClock(time.Date(2026, 11, 25, 1, 4, 0, 0, time.UTC))}
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	s.url, s.browser = server.URL, server.Client()
	s.browser.CheckRedirect = nil

	var err error
	place := desk.Place{URL: s.url, ShopURL: "http://shop.example/", Merchants: map[string]string{"pma": "臺北市停車管理工程處", "twd": "臺北自來水事業處"}, Seed: []byte("seed")}
	if s.line, err = linepay.Double().Open(place, desk.Deps{Now: s.clock.Now, Rand: &testkit.Counter{}, HTTP: server.Client()}); err != nil {
		t.Fatal(err)
	}
	handler = s.line.Handler
	m := regexp.MustCompile(`^\{url: "([^"]+)", channel_id: "(\d{10})", channel_secret: "([0-9a-f]{32})"\}$`).FindStringSubmatch(s.line.Settings)
	if m == nil || m[1] != s.url {
		t.Fatalf("settings %s", s.line.Settings)
	}
	s.channel, s.secret = m[2], m[3]
	return s
}

// reply is an answer of the API.
type reply struct {
	status  int
	header  http.Header
	raw     string
	Code    string          `json:"returnCode"`
	Message string          `json:"returnMessage"`
	Info    json.RawMessage `json:"info"`
}

func (s *shop) nonce() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nonces++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", s.nonces)
}

func (s *shop) sign(path, payload, nonce string) string {
	mac := hmac.New(sha256.New, []byte(s.secret))
	mac.Write([]byte(s.secret + path + payload + nonce))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// prepare is a signed call. target may have a query, which is signed when there is no body.
func (s *shop) prepare(method, target, body string) *http.Request {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	payload, nonce := body, s.nonce()
	if method == http.MethodGet {
		payload = req.URL.RawQuery
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-LINE-ChannelId", s.channel)
	req.Header.Set("X-LINE-Authorization-Nonce", nonce)
	req.Header.Set("X-LINE-Authorization", s.sign(req.URL.EscapedPath(), payload, nonce))
	return req
}

func (s *shop) send(req *http.Request) (a reply, err error) {
	resp, err := s.browser.Do(req)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		err = json.Unmarshal(raw, &a)
	}
	a.status, a.header, a.raw = resp.StatusCode, resp.Header, string(raw)
	return a, err
}

// call is a call that is answered in the API's form.
func (s *shop) call(method, target, body string) reply {
	s.t.Helper()
	a, err := s.send(s.prepare(method, target, body))
	if err != nil {
		s.t.Fatal(err)
	}
	if a.status != http.StatusOK || a.Code == "" || a.Message == "" {
		s.t.Fatalf("%s %s: %d %s", method, target, a.status, a.raw)
	}
	return a
}

func (s *shop) want(code string, a reply) reply {
	s.t.Helper()
	if a.Code != code {
		s.t.Errorf("%s, want %s", a.raw, code)
	}
	return a
}

const wish = `{"amount":40,"currency":"TWD","orderId":"PMA-1","packages":[{"id":"1","amount":38,"userFee":2,"name":"停車管理工程處","products":[{"id":"H1","name":"停車費","imageUrl":"https://shop.example/p.png","quantity":1,"price":20,"originalPrice":25},{"name":"路邊停車","quantity":2,"price":9}]}],"redirectUrls":{"confirmUrl":"https://gateway.example/r/7Zk2?a=%31&b=2","cancelUrl":"https://gateway.example/c/7Zk2","confirmUrlType":"CLIENT"},"options":{"payment":{"capture":true,"payType":"NORMAL"},"display":{"locale":"zh_TW","checkConfirmUrlBrowser":false},"extra":{"branchName":"臺北","branchId":"1","promotionRestriction":{"useLimit":0}}}}`

// opened is a request that was taken.
type opened struct {
	PaymentURL    struct{ Web, App string }
	TransactionID json.Number `json:"transactionId"`
	Token         string      `json:"paymentAccessToken"`
}

func (s *shop) open(body string) opened {
	s.t.Helper()
	var o opened
	a := s.want("0000", s.call("POST", "/v3/payments/request", body))
	if err := json.Unmarshal(a.Info, &o); err != nil {
		s.t.Fatalf("%v: %s", err, a.raw)
	}
	return o
}

func (s *shop) check(o opened) reply {
	s.t.Helper()
	return s.call("GET", "/v3/payments/requests/"+o.TransactionID.String()+"/check", "")
}

func (s *shop) confirm(o opened) reply {
	s.t.Helper()
	return s.call("POST", "/v3/payments/"+o.TransactionID.String()+"/confirm", `{"amount":40,"currency":"TWD"}`)
}

func (s *shop) refund(o opened, body string) reply {
	s.t.Helper()
	return s.call("POST", "/v3/payments/"+o.TransactionID.String()+"/refund", body)
}

func (s *shop) details(query string) reply {
	s.t.Helper()
	return s.call("GET", "/v3/payments?"+query, "")
}

// row is one payment in details.
type row struct {
	TransactionID   json.Number     `json:"transactionId"`
	TransactionDate string          `json:"transactionDate"`
	TransactionType string          `json:"transactionType"`
	PayStatus       string          `json:"payStatus"`
	ProductName     string          `json:"productName"`
	Currency        string          `json:"currency"`
	PayInfo         []paidBy        `json:"payInfo"`
	Refunds         []back          `json:"refundList"`
	OrderID         string          `json:"orderId"`
	Packages        json.RawMessage `json:"packages"`
}

type paidBy struct {
	Method string `json:"method"`
	Amount int64  `json:"amount"`
}

type back struct {
	ID     json.Number `json:"refundTransactionId"`
	Type   string      `json:"transactionType"`
	Amount int64       `json:"refundAmount"`
	Date   string      `json:"refundTransactionDate"`
}

func (s *shop) rows(query string) (rows []row) {
	s.t.Helper()
	a := s.want("0000", s.details(query))
	if err := json.Unmarshal(a.Info, &rows); err != nil {
		s.t.Fatalf("%v: %s", err, a.raw)
	}
	return rows
}

// page is a page as a browser has it, after redirects.
type page struct {
	status     int
	path, body string
}

func (s *shop) visit(method, target string, form url.Values) page {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, target, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := s.browser.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return page{resp.StatusCode, resp.Request.URL.Path, string(body)}
}

// agree is the payer's click; no method is the click on cancel.
func (s *shop) agree(o opened, method string) page {
	s.t.Helper()
	form := url.Values{}
	if method != "" {
		form.Set("method", method)
	}
	return s.visit("POST", o.PaymentURL.Web, form)
}

// outcome is what the result page says became of the payment.
func (p page) outcome() string { return first(p.body, `data-status="([^"]+)"`) }

// back is where the result page leads.
func (p page) back() string { return first(p.body, `id="return" href="([^"]+)"`) }

func first(text, pattern string) string {
	if m := regexp.MustCompile(pattern).FindStringSubmatch(text); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

// paid is a payment that was confirmed.
func (s *shop) paid() opened {
	s.t.Helper()
	o := s.open(wish)
	s.agree(o, "credit_card")
	s.want("0000", s.confirm(o))
	return o
}

func (s *shop) faults(f string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPut, s.url+"/faults", strings.NewReader(f))
	if err != nil {
		s.t.Fatal(err)
	}
	if a, err := s.send(req); err != nil || a.status != http.StatusOK {
		s.t.Fatalf("faults: %v %s", err, a.raw)
	}
}

func (s *shop) book() desk.Entry {
	s.t.Helper()
	var books struct{ Entries []desk.Entry }
	if err := json.Unmarshal([]byte(s.visit("GET", s.url+"/books", nil).body), &books); err != nil || len(books.Entries) != 1 {
		s.t.Fatalf("books: %v %+v", err, books)
	}
	return books.Entries[0]
}
