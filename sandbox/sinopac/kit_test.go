package sinopac_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"html"
	"io"
	"maps"
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
	"pay.taipei/gateway/sandbox/sinopac"
)

const api = "/funBIZ/QPay.WebAPI/api"

// message is a decrypted message.
type message map[string]any

func (m message) is(t *testing.T, want message) {
	t.Helper()
	for name, value := range want {
		if n, whole := value.(int); whole {
			value = int64(n)
		}
		got := m[name]
		if n, number := got.(json.Number); number {
			got, _ = n.Int64()
		}
		if got != value {
			t.Errorf("%s is %v, want %v (%v)", name, got, value, m)
		}
	}
}

func (m message) nested(t *testing.T, name string) message {
	t.Helper()
	n, ok := m[name].(map[string]any)
	if !ok {
		t.Fatalf("no %s in %v", name, m)
	}
	return n
}

// city is the double with a gateway on the other side that knows only the bank's document.
type city struct {
	t       *testing.T
	clock   *testkit.Clock
	double  *desk.Running
	url     string
	gateway string
	client  *http.Client
	set     map[string]string // the settings
	keys    sinopac.Keys

	mu      sync.Mutex
	acks    []string // to the next notices; afterwards {"Status":"S"}
	notices []pointer
}

type pointer struct{ ShopNo, PayToken string }

var settingForm = regexp.MustCompile(`(\w+): "([^"]*)"`)

func newCity(t *testing.T) *city {
	t.Helper()
	c := &city{t: t, clock: testkit.NewClock(time.Date(2017, 6, 13, 1, 4, 0, 0, time.UTC)), set: map[string]string{}}
	gateway := httptest.NewServer(http.HandlerFunc(c.callback))
	t.Cleanup(gateway.Close)
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	var err error
	c.double, err = sinopac.Double().Open(
		desk.Place{URL: server.URL, ShopURL: "http://shop.example/", Merchants: map[string]string{"pma": "停管處", "twd": "自來水"}, Seed: []byte("seed")},
		desk.Deps{Now: c.clock.Now, Rand: rand.Reader, HTTP: gateway.Client()})
	if err != nil {
		t.Fatal(err)
	}
	handler, c.url, c.gateway, c.client = c.double.Handler, server.URL, gateway.URL, server.Client()
	for _, m := range settingForm.FindAllStringSubmatch(c.double.Settings, -1) {
		c.set[m[1]] = m[2]
	}
	if c.keys, err = sinopac.NewKeys(c.set["a1"], c.set["a2"], c.set["b1"], c.set["b2"]); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *city) callback(w http.ResponseWriter, r *http.Request) {
	var p pointer
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil || r.Method != http.MethodPost || r.URL.Path != "/backend" || r.Header.Get("Content-Type") != "application/json" {
		c.t.Errorf("notice: %v %s %s", err, r.Method, r.URL)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notices = append(c.notices, p)
	ack := `{"Status":"S"}`
	if len(c.acks) > 0 {
		ack, c.acks = c.acks[0], c.acks[1:]
	}
	if ack == "503" {
		w.WriteHeader(http.StatusServiceUnavailable)
		ack = `{"Status":"S"}`
	}
	_, _ = io.WriteString(w, ack)
}

func (c *city) got() []pointer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]pointer(nil), c.notices...)
}

func (c *city) step() time.Time {
	c.t.Helper()
	next, err := c.double.Step(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return next
}

// drain delivers what is due within limit, moving the clock.
func (c *city) drain(limit time.Duration) {
	c.t.Helper()
	c.clock.Drain(c.t, limit, c.step)
}

func (c *city) send(method, to, kind, body string, head map[string]string) (status int, answer string, err error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for name, value := range head {
		req.Header.Set(name, value)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

// post is an API call with the key id.
func (c *city) post(path, body string) (status int, answer string, err error) {
	c.t.Helper()
	return c.send(http.MethodPost, c.url+api+path, "application/json; charset=utf-8", body, map[string]string{"X-KeyID": c.set["key_id"]})
}

func (c *city) nonce(shop string) string {
	c.t.Helper()
	status, body, err := c.post("/Nonce", `{"ShopNo":"`+shop+`"}`)
	var answer struct{ Nonce string }
	if err != nil || status != http.StatusOK || json.Unmarshal([]byte(body), &answer) != nil || len(answer.Nonce) != 108 {
		c.t.Fatalf("nonce: %d %s %v", status, body, err)
	}
	return answer.Nonce
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wrapped is the envelope of a message under a new nonce.
func (c *city) wrapped(service, shop, plain string) sinopac.Envelope {
	c.t.Helper()
	nonce := c.nonce(shop)
	sign, err := c.keys.Sign(nonce, plain)
	if err != nil {
		sign = strings.Repeat("0", 64) // there is nothing to sign
	}
	return sinopac.Envelope{Version: "1.0.0", ShopNo: shop, APIService: service, Sign: sign, Nonce: nonce, Message: c.keys.Seal(nonce, plain)}
}

// call makes a call whose answer must come in an envelope; genuine says whether its signature is right.
func (c *city) call(service, shop, plain string) (m message, genuine bool) {
	c.t.Helper()
	e := c.wrapped(service, shop, plain)
	status, body, err := c.post("/Order", encode(c.t, e))
	if err != nil || status != http.StatusOK {
		c.t.Fatalf("%s: %d %s %v", service, status, body, err)
	}
	var answer sinopac.Envelope
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		c.t.Fatal(err)
	}
	if answer.Version != "1.0.0" || answer.ShopNo != shop || answer.APIService != service || len(answer.Nonce) != 108 || answer.Nonce == e.Nonce || len(answer.Sign) != 64 {
		c.t.Errorf("envelope %+v", answer)
	}
	text, err := c.keys.Open(answer.Nonce, answer.Message)
	if err != nil {
		c.t.Fatal(err)
	}
	sign, err := c.keys.Sign(answer.Nonce, text)
	if err != nil {
		c.t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		c.t.Fatal(err)
	}
	return m, sign == answer.Sign
}

func (c *city) ask(service string, in message) message {
	c.t.Helper()
	shop, _ := in["ShopNo"].(string)
	m, genuine := c.call(service, shop, encode(c.t, in))
	if !genuine {
		c.t.Errorf("%s: the answer's Sign is wrong: %v", service, m)
	}
	return m
}

// order is a message that is taken.
func (c *city) order(number string) message {
	return message{
		"ShopNo": "NA0001_001", "OrderNo": number, "Amount": 50000, "CurrencyID": "TWD", "PayType": "C", "ATMParam": message{}, "CardParam": message{"AutoBilling": "Y"},
		"PrdtName": "停車費", "Param1": "<&甲>", "ReturnURL": c.gateway + "/return?a=1&b=2", "BackendURL": c.gateway + "/backend",
	}
}

// with is the message with other members; nil takes one away.
func (m message) with(changes message) message {
	m = maps.Clone(m)
	for name, value := range changes {
		if m[name] = value; value == nil {
			delete(m, name)
		}
	}
	return m
}

// create opens an order and returns its page.
func (c *city) create(in message) string {
	c.t.Helper()
	m := c.ask("OrderCreate", in)
	m.is(c.t, message{"Status": "S", "Description": "S0000 – 處理成功"})
	page, _ := m.nested(c.t, "CardParam")["CardPayURL"].(string)
	return page
}

// decide posts the payer's decision and returns the page that follows.
func (c *city) decide(page, form string) (body string, err error) {
	c.t.Helper()
	_, body, err = c.send(http.MethodPost, page, "application/x-www-form-urlencoded", form, nil)
	return body, err
}

var fieldForm = regexp.MustCompile(`name="(\w+)" value="([^"]*)"`)

// pay decides and returns the way back.
func (c *city) pay(page, form string) (action string, fields url.Values) {
	c.t.Helper()
	body, err := c.decide(page, form)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.way(body)
}

func (c *city) way(body string) (action string, fields url.Values) {
	c.t.Helper()
	m := regexp.MustCompile(`<form method="post" action="([^"]*)">`).FindStringSubmatch(body)
	if m == nil {
		c.t.Fatalf("no way back: %s", body)
	}
	fields = url.Values{}
	for _, f := range fieldForm.FindAllStringSubmatch(body, -1) {
		fields.Add(f[1], f[2])
	}
	return html.UnescapeString(m[1]), fields
}

// paid is a city in which order P1 was paid, under faults.
func paid(t *testing.T, f desk.Faults) *city {
	t.Helper()
	c := newCity(t)
	c.double.Desk.Panel.Set(f)
	page := c.create(c.order("P1"))
	c.pay(page, "method=credit_card")
	c.double.Desk.Panel.Set(desk.Faults{})
	return c
}

func (c *city) result(token string) (message, bool) {
	c.t.Helper()
	return c.call("OrderPayQuery", "NA0001_001", `{"ShopNo":"NA0001_001","PayToken":"`+token+`"}`)
}

// rows asks OrderQuery.
func (c *city) rows(in message) []message {
	c.t.Helper()
	return c.rowsOf("OrderQuery", in)
}

func (c *city) rowsOf(service string, in message) []message {
	c.t.Helper()
	m := c.ask(service, message{"ShopNo": "NA0001_001"}.with(in))
	m.is(c.t, message{"Status": "S"})
	list, ok := m["OrderList"].([]any)
	if !ok {
		c.t.Fatalf("no OrderList: %v", m)
	}
	rows := make([]message, 0, len(list))
	for _, r := range list {
		row, _ := r.(map[string]any)
		rows = append(rows, row)
	}
	return rows
}

// row is the one of order P1.
func (c *city) row() message {
	c.t.Helper()
	rows := c.rows(message{"OrderNo": "P1"})
	if len(rows) != 1 {
		c.t.Fatalf("rows %v", rows)
	}
	return rows[0]
}
