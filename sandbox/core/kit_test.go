package core_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/core"
	"pay.taipei/gateway/signing"
)

const (
	apiKey  = "gk_core1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	baseURL = "http://127.0.0.1:8000"
	payPage = "http://127.0.0.1:8081/pay/token"
	bill1   = "H60983881309263"
	bill2   = "H61283631217536"
	water   = "F090696680-10605"
	orderA  = "2017061300000016"
	orderB  = "2017061300000017"
)

var start = time.Date(2017, 6, 13, 9, 0, 0, 0, time.FixedZone("", 8*60*60))

type line struct {
	BillNo    string `json:"bill_no"`
	Name      string `json:"name"`
	Quantity  int    `json:"quantity"`
	UnitPrice string `json:"unit_price"`
	Subtotal  string `json:"subtotal"`
}

type money struct {
	Value    string `json:"value"`
	Currency string `json:"currency"`
}

type surplus struct {
	ID        string `json:"id"`
	AttemptNo string `json:"attempt_no"`
	BillNo    string `json:"bill_no"`
	Amount    string `json:"amount"`
	Refunded  string `json:"refunded"`
}

type attempt struct {
	AttemptNo       string  `json:"attempt_no"`
	Account         string  `json:"account"`
	Status          string  `json:"status"`
	ProviderTradeNo *string `json:"provider_trade_no"`
	Method          *string `json:"method"`
	PaidAt          *string `json:"paid_at"`
}

// document is an order as the API's description shows it.
type document struct {
	OrderNo         string    `json:"order_no"`
	ClientReference string    `json:"client_reference"`
	Status          string    `json:"status"`
	Version         int64     `json:"version"`
	Late            bool      `json:"late"`
	Review          bool      `json:"review"`
	Doubt           bool      `json:"doubt"`
	Merchant        string    `json:"merchant"`
	Amount          money     `json:"amount"`
	Fee             money     `json:"fee"`
	Total           money     `json:"total"`
	Provider        string    `json:"provider"`
	Account         string    `json:"account"`
	AttemptNo       string    `json:"attempt_no"`
	Redirect        *string   `json:"redirect"`
	CheckoutURL     *string   `json:"checkout_url"`
	Lines           []line    `json:"lines"`
	Surplus         []surplus `json:"surplus"`
	Attempts        []attempt `json:"attempts"`
	CreatedAt       string    `json:"created_at"`
	ExpiresAt       string    `json:"expires_at"`
}

// twoBills is the guide's order: open, with one attempt pending.
func twoBills(no, reference string) document {
	page := payPage
	return document{
		OrderNo: no, ClientReference: reference, Status: "open", Version: 1, Merchant: "pma",
		Amount: money{"40", "TWD"}, Fee: money{"0", "TWD"}, Total: money{"40", "TWD"},
		Provider: "bravobank", Account: "bravobank-main", AttemptNo: no + "01", CheckoutURL: &page,
		Lines:   []line{{bill1, "停車費", 1, "20", "20"}, {bill2, "停車費", 1, "20", "20"}},
		Surplus: []surplus{}, Attempts: []attempt{{AttemptNo: no + "01", Account: "bravobank-main", Status: "pending"}},
		CreatedAt: "2017-06-13T09:00:00+08:00", ExpiresAt: "2017-06-13T09:10:00+08:00",
	}
}

func (d document) paid() document {
	trade, method, at := "2017061300000014", "deposit_account", "2017-06-13T09:03:04+08:00"
	d.Status, d.CheckoutURL = "paid", nil
	d.Attempts = append([]attempt{}, d.Attempts...)
	a := &d.Attempts[len(d.Attempts)-1]
	a.Status, a.ProviderTradeNo, a.Method, a.PaidAt = "paid", &trade, &method, &at
	return d
}

func (d document) attempts(status ...string) document {
	d.Attempts = nil
	for i, s := range status {
		no := fmt.Sprintf("%s%02d", d.OrderNo, i+1)
		d.Attempts = append(d.Attempts, attempt{AttemptNo: no, Account: "bravobank-main", Status: s})
		d.AttemptNo = no
	}
	return d
}

func (d document) with(change func(*document)) document { change(&d); return d }

// event is the body of an event about an order, in one fixed form.
func (d document) event(kind string, version int64) []byte {
	d.Version, d.CheckoutURL = max(d.Version, version), nil
	body, err := json.Marshal(map[string]any{
		"type": kind, "id": fmt.Sprintf("evt_%s_%d", d.OrderNo, version), "occurred_at": "2017-06-13T09:03:05+08:00",
		"order_no": d.OrderNo, "version": version, "data": map[string]any{"order": d},
	})
	if err != nil {
		panic(err)
	}
	return body
}

// gateway is the order API as its description tells it, strict about what the core sends.
type gateway struct {
	t      *testing.T
	server *httptest.Server

	mu        sync.Mutex
	keys      map[string][]byte // request per idempotency key
	answers   map[string][]byte // stored answer per key
	sent      []string          // keys of POST /v1/orders in order
	returnURL string
	orders    map[string]document
	script    []func(w http.ResponseWriter) // answers POST /v1/orders instead, first first
	directory string
	feed      []feedRow
	pageSize  int // of the feed, whatever was asked for
	nextAfter func(int64) int64
	down      bool
}

type feedRow struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
	Body string `json:"body"`
}

const oneProvider = `{"providers":[
 {"provider":"bravobank","name":{"zh-Hant":"熊讚銀行","en":"Bravo Bank"},"methods":[{"code":"deposit_account","name":{"zh-Hant":"活期帳戶","en":"Deposit account"}}],
  "outcomes":{"cancelled":{"zh-Hant":"您在熊讚銀行取消了付款，也沒有收取款項。","en":"You cancelled at Bravo Bank; nothing was charged."}},"limits":{"min":null,"max":null},"fee":{"value":"0","currency":"TWD"},"available":true,"why":null,"until":null},
 {"provider":"other","name":{"zh-Hant":"別家","en":"Other"},"methods":[],"limits":{"min":null,"max":null},"fee":{"value":"0","currency":"TWD"},
  "available":false,"why":"above_limit","until":"2017-06-13T10:00:00+08:00"}]}`

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+apiKey {
		g.t.Errorf("%s %s without the key", r.Method, r.URL)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch path := r.URL.Path; {
	case g.down:
		panic(http.ErrAbortHandler)
	case r.Method == http.MethodPost && path == "/v1/orders":
		g.create(w, r)
	case r.Method == http.MethodGet && path == "/v1/providers":
		if q := r.URL.Query(); len(q) != 0 && (q.Get("merchant") == "" || q.Get("amount") == "") {
			g.t.Errorf("directory asked with %q", r.URL.RawQuery)
		}
		_, _ = io.WriteString(w, g.directory)
	case r.Method == http.MethodGet && path == "/v1/events":
		g.events(w, r)
	case r.Method == http.MethodGet && path == "/v1/orders":
		for _, d := range g.orders {
			if d.ClientReference == r.URL.Query().Get("client_reference") {
				_ = json.NewEncoder(w).Encode(d)
				return
			}
		}
		problem(w, 404, "not_found")
	case r.Method == http.MethodGet && strings.HasPrefix(path, "/v1/orders/"):
		d, ok := g.orders[strings.TrimPrefix(path, "/v1/orders/")]
		if !ok {
			problem(w, 404, "not_found")
			return
		}
		_ = json.NewEncoder(w).Encode(d)
	default:
		g.t.Errorf("unexpected %s %s", r.Method, r.URL)
		problem(w, 404, "not_found")
	}
}

func (g *gateway) create(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	body, _ := io.ReadAll(r.Body)
	if len(key) < 16 || r.Header.Get("Content-Type") != "application/json" {
		g.t.Errorf("key %q, content type %q", key, r.Header.Get("Content-Type"))
	}
	g.sent = append(g.sent, key)
	if before, ok := g.keys[key]; ok && !bytes.Equal(before, body) {
		g.t.Errorf("key %s repeated with another body:\n%s\n%s", key, before, body)
	}
	g.keys[key] = body
	if len(g.script) > 0 {
		next := g.script[0]
		g.script = g.script[1:]
		next(w)
		return
	}
	if before, ok := g.answers[key]; ok {
		w.Header().Set("Idempotency-Replayed", "true")
		_, _ = w.Write(before)
		return
	}
	var cmd struct {
		ClientReference string `json:"client_reference"`
		Merchant        string `json:"merchant"`
		Payer           struct {
			MemberID string `json:"member_id"`
		} `json:"payer"`
		Provider   string `json:"provider"`
		Amount     money  `json:"amount"`
		Settlement string `json:"settlement"`
		Lines      []line `json:"lines"`
		ReturnURL  string `json:"return_url"`
		ExpiresIn  string `json:"expires_in"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&cmd); err != nil {
		g.t.Errorf("body: %v", err)
	}
	want := twoBills(orderA, "")
	if cmd.Merchant != "pma" || cmd.Payer.MemberID != "1361049" || cmd.Provider != "bravobank" || cmd.Amount != want.Amount ||
		cmd.Settlement != "immediate" || cmd.ExpiresIn != "10m" || fmt.Sprint(cmd.Lines) != fmt.Sprint(want.Lines) ||
		len(cmd.ClientReference) != 16 || !strings.HasPrefix(cmd.ReturnURL, baseURL+"/result?") {
		g.t.Errorf("order asked for: %s", body)
	}
	g.returnURL = cmd.ReturnURL
	d := twoBills(orderA, cmd.ClientReference)
	g.orders[d.OrderNo] = d
	g.answers[key], _ = json.Marshal(d)
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(g.answers[key])
}

func (g *gateway) events(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	if err != nil || r.URL.Query().Get("limit") == "" {
		g.t.Errorf("feed asked with %q", r.URL.RawQuery)
	}
	page := []feedRow{}
	for _, row := range g.feed {
		if row.Seq > after && len(page) < g.pageSize {
			page = append(page, row)
		}
	}
	next := after
	if len(page) > 0 {
		next = page[len(page)-1].Seq
	}
	if g.nextAfter != nil {
		next = g.nextAfter(next)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"events": page, "next_after": next})
}

// publish puts events into the feed.
func (g *gateway) publish(bodies ...[]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	head := make([]byte, 32)
	if n := len(g.feed); n > 0 {
		head, _ = hex.DecodeString(g.feed[n-1].Hash)
	}
	for _, b := range bodies {
		sum := sha256.Sum256(append(append([]byte{}, head...), b...))
		head = sum[:]
		g.feed = append(g.feed, feedRow{int64(len(g.feed) + 1), hex.EncodeToString(head), string(b)})
	}
}

func (g *gateway) set(d document) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d.ClientReference == "" {
		d.ClientReference = g.orders[d.OrderNo].ClientReference
	}
	g.orders[d.OrderNo] = d
}

func (g *gateway) next(answers ...func(http.ResponseWriter)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.script = append(g.script, answers...)
}

func (g *gateway) keysSent() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string{}, g.sent...)
}

func problem(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"type":"about:blank","title":"t","status":%d,"code":%q,"detail":"english <b>","detail_zh":"中文 <b>"}`, status, code)
}

func says(status int, code string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) { problem(w, status, code) }
}

// cut drops the connection within the answer. Dropped before it, net/http would send the
// request again by itself, which the key makes harmless.
func cut(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "100")
	w.WriteHeader(http.StatusCreated)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// city is a core with its gateway and a clock.
type city struct {
	t       *testing.T
	core    *core.Core
	handler http.Handler
	gateway *gateway
	signer  *signing.WebhookSigner
	log     *lockedBuffer
	cookies []*http.Cookie

	mu  sync.Mutex
	now time.Time
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedBuffer) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func newCity(t *testing.T) *city {
	t.Helper()
	g := &gateway{t: t, keys: map[string][]byte{}, answers: map[string][]byte{}, orders: map[string]document{}, directory: oneProvider, pageSize: 100}
	g.server = httptest.NewUnstartedServer(g)
	g.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	g.server.Start()
	t.Cleanup(g.server.Close)
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	signer, err := signing.ParseWebhookSigner("whsk_" + base64.StdEncoding.EncodeToString(private))
	if err != nil {
		t.Fatal(err)
	}
	c := &city{t: t, gateway: g, signer: signer, log: &lockedBuffer{}, now: start}
	c.core, err = core.New(
		core.Config{BaseURL: baseURL, APIURL: g.server.URL, APIKey: apiKey, WebhookKeys: []string{signer.PublicKey()}},
		core.Deps{HTTP: g.server.Client(), Now: c.Now, Rand: &testkit.Counter{}, Log: slog.New(slog.NewTextHandler(c.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	c.handler = c.core.Handler()
	return c
}

func (c *city) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *city) advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

func (c *city) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w
}

func (c *city) get(path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for _, k := range c.cookies {
		r.AddCookie(k)
	}
	return c.do(r)
}

// page gets an address, follows our own redirects and parses the page.
func (c *city) page(path string) *node {
	c.t.Helper()
	w := c.get(path)
	for w.Code == http.StatusSeeOther {
		w = c.get(w.Header().Get("Location"))
	}
	return parse(c.t, w.Body.String())
}

func (c *city) post(form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/checkout", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := c.do(r)
	c.cookies = append(c.cookies, w.Result().Cookies()...)
	return w
}

// form is the choose-provider form for the guide's two bills.
func (c *city) form(lang string) url.Values {
	c.t.Helper()
	p := c.page("/checkout?" + url.Values{"bill": {bill1, bill2}}.Encode() + lang)
	f := p.byID("choose").fields()
	f.Set("provider", "bravobank")
	return f
}

func (c *city) webhook(body []byte, change ...func(*http.Request)) int {
	c.t.Helper()
	var id struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(body, &id)
	if id.ID == "" {
		id.ID = "evt_x_1"
	}
	now := c.Now()
	signature, err := signing.SignWebhook([]*signing.WebhookSigner{c.signer}, id.ID, now, body)
	if err != nil {
		c.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/webhooks", bytes.NewReader(body))
	r.Header.Set("Webhook-Id", id.ID)
	r.Header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	r.Header.Set("Webhook-Signature", signature)
	for _, f := range change {
		f(r)
	}
	return c.do(r).Code
}

type booksAnswer struct {
	Bills []struct {
		BillNo   string `json:"bill_no"`
		Merchant string `json:"merchant"`
		PaidBy   string `json:"paid_by"`
		Settled  int    `json:"settled"`
	} `json:"bills"`
	EventsSeen     int    `json:"events_seen"`
	DuplicatesSeen int    `json:"duplicates_seen"`
	Missing        int    `json:"missing"`
	LastSeq        int    `json:"last_seq"`
	FeedError      string `json:"feed_error"`
}

func (c *city) books() booksAnswer {
	c.t.Helper()
	var b booksAnswer
	if err := json.Unmarshal(c.get("/books").Body.Bytes(), &b); err != nil {
		c.t.Fatal(err)
	}
	return b
}

// settled is "order×times" of a bill, "" while unpaid.
func (c *city) settled(no string) string {
	c.t.Helper()
	for _, b := range c.books().Bills {
		if b.BillNo == no && b.Settled > 0 {
			return fmt.Sprintf("%s×%d", b.PaidBy, b.Settled)
		}
	}
	return ""
}

func (c *city) step() error {
	_, err := c.core.Step(context.Background())
	return err
}

// node is an element of a page.
type node struct {
	tag    string
	attr   map[string]string
	text   string // of its own, once
	parent *node
	nodes  []*node
}

// parse reads a page as strictly as HTML allows: every element that must be closed is.
func parse(t *testing.T, page string) *node {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	root := &node{}
	at := root
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return root
		}
		if err != nil {
			t.Fatalf("page does not parse: %v\n%s", err, page)
		}
		switch x := token.(type) {
		case xml.StartElement:
			n := &node{tag: x.Name.Local, attr: map[string]string{}, parent: at}
			for _, a := range x.Attr {
				n.attr[a.Name.Local] = a.Value
			}
			at.nodes = append(at.nodes, n)
			at = n
		case xml.EndElement:
			if at.tag != x.Name.Local {
				t.Fatalf("</%s> closes <%s>", x.Name.Local, at.tag)
			}
			at = at.parent
		case xml.CharData:
			at.nodes = append(at.nodes, &node{text: string(x), parent: at})
		}
	}
}

func (n *node) all(match func(*node) bool) (found []*node) {
	if n == nil {
		return nil
	}
	if match(n) {
		found = append(found, n)
	}
	for _, k := range n.nodes {
		found = append(found, k.all(match)...)
	}
	return found
}

func (n *node) tags(tag string) []*node { return n.all(func(k *node) bool { return k.tag == tag }) }

func (n *node) byID(id string) *node {
	if f := n.all(func(k *node) bool { return k.attr["id"] == id }); len(f) == 1 {
		return f[0]
	}
	return nil
}

func (n *node) words() string {
	var b strings.Builder
	for _, k := range n.all(func(k *node) bool {
		return k.tag == "" && k.parent != nil && k.parent.tag != "style" && k.parent.tag != "script"
	}) {
		b.WriteString(k.text + " ")
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (n *node) status() string {
	if o := n.byID("outcome"); o != nil {
		return o.attr["data-status"]
	}
	return ""
}

// fields is what a form sends as it stands.
func (n *node) fields() url.Values {
	v := url.Values{}
	for _, i := range n.tags("input") {
		_, checked := i.attr["checked"]
		if kind := i.attr["type"]; checked || (kind != "radio" && kind != "checkbox") {
			v.Add(i.attr["name"], i.attr["value"])
		}
	}
	return v
}
