package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

const (
	secretA = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_"
	secretB = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB-"
	secretC = "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC"
	secretD = "DDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDDD"

	keyA   = "Bearer gk_core-1_" + secretA
	keyB   = "Bearer gk_core-2_" + secretB
	keyOld = "Bearer gk_core-0_" + secretC
	keyD   = "Bearer gk_other-1_" + secretD

	orderPath = "/v1/orders/2017061300000016"
)

var start = time.Date(2017, 6, 13, 9, 0, 0, 0, orders.Taipei)

// kit is the API on fakes. A test changes the fakes before it asks.
type kit struct {
	t        *testing.T
	server   *Server
	config   Config
	deps     Deps
	now      time.Time
	log      bytes.Buffer
	seen     []Observation
	commands []orders.Command
	attempts []orders.AttemptCommand
	cancels  []orders.CancelCommand
	refunds  []orders.RefundCommand

	place    func(context.Context, orders.Command, orders.Answers) (orders.Answer, error)
	change   func(o *orders.Order, a orders.Answers) (orders.Answer, error) // what becomes of an order; nil: all goes well
	actions  []orders.Action
	storeErr error
	books    map[orders.OrderNo]orders.Book
	timeline []orders.TimelineRow
	feed     []orders.FeedEvent
	feedMost int // bytes of the largest read
	listings []providers.Listing
	dirAsk   string
}

func newKit(t *testing.T) *kit {
	t.Helper()
	k := &kit{t: t, now: start, books: map[orders.OrderNo]orders.Book{}}
	digest := func(s string) [32]byte { return sha256.Sum256([]byte(s)) }
	k.config = Config{
		Clients: []Client{
			{ID: "core", Merchants: []string{"pma", "twd"}, ReturnPrefixes: []string{"https://pay.taipei/result", "http://127.0.0.1:8000"}, Keys: []Key{
				{ID: "core-0", SHA256: digest(secretC), NotAfter: start.Add(-time.Second)},
				{ID: "core-1", SHA256: digest(secretA)},
				{ID: "core-2", SHA256: digest(secretB), NotAfter: start},
			}},
			{ID: "other", Merchants: []string{"pma"}, Keys: []Key{{ID: "other-1", SHA256: digest(secretD)}}},
		},
		MaxOrder: twd(t, "500000"),
	}
	k.deps = Deps{
		Orders: k, Store: k, Directory: k,
		CheckoutURL: func(token string) string { return "https://edge.test/pay/" + token },
		Now:         func() time.Time { return k.now },
		NewID:       func() string { return "request-0000001" },
		Log:         slog.New(slog.NewJSONHandler(&k.log, &slog.HandlerOptions{ReplaceAttr: withoutTime})),
		Observe:     func(o Observation) { k.seen = append(k.seen, o) },
	}
	k.place = func(_ context.Context, c orders.Command, a orders.Answers) (orders.Answer, error) {
		o := k.order(c)
		status, body, err := a.Created(&o)
		return orders.Answer{Status: status, Body: body}, err
	}
	k.build()
	return k
}

// withoutTime drops the log's own stamp, which no test can foresee.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func (k *kit) build() {
	k.t.Helper()
	pages, err := rendered()
	if err != nil {
		k.t.Fatal(err)
	}
	if k.server, err = newServer(k.config, k.deps, pages); err != nil {
		k.t.Fatal(err)
	}
}

// rendered makes the pages once for all tests.
var rendered = sync.OnceValues(renderPages)

func (k *kit) Place(ctx context.Context, c orders.Command, a orders.Answers) (orders.Answer, error) {
	k.commands = append(k.commands, c)
	return k.place(ctx, c, a)
}

func (k *kit) Attempt(_ context.Context, c orders.AttemptCommand, a orders.Answers) (orders.Answer, error) {
	k.attempts = append(k.attempts, c)
	return k.changed(c.Order, a, orders.Answers.Created)
}

func (k *kit) Cancel(_ context.Context, c orders.CancelCommand, a orders.Answers) (orders.Answer, error) {
	k.cancels = append(k.cancels, c)
	return k.changed(c.Order, a, func(a orders.Answers, o *orders.Order) (int, []byte, error) {
		o.State = orders.OrderCancelled
		return a.Cancelled(o)
	})
}

func (k *kit) Refund(_ context.Context, c orders.RefundCommand, a orders.Answers) (orders.Answer, error) {
	k.refunds = append(k.refunds, c)
	return k.changed(c.Order, a, refunding)
}

// changed is what became of an order by a command.
func (k *kit) changed(no orders.OrderNo, a orders.Answers, word func(orders.Answers, *orders.Order) (int, []byte, error)) (orders.Answer, error) {
	b := k.books[no]
	if k.change != nil {
		return k.change(&b.Order, a)
	}
	return answering(false, word)(&b.Order, a)
}

// answering is a router that words what a command came to.
func answering(replayed bool, word func(orders.Answers, *orders.Order) (int, []byte, error)) func(*orders.Order, orders.Answers) (orders.Answer, error) {
	return func(o *orders.Order, a orders.Answers) (orders.Answer, error) {
		status, body, err := word(a, o)
		return orders.Answer{Status: status, Body: body, Replayed: replayed}, err
	}
}

// refunding words a refund of 20 that was asked for.
func refunding(a orders.Answers, o *orders.Order) (int, []byte, error) {
	twenty, err := money.Parse("20", money.TWD)
	if err != nil {
		return 0, nil, err
	}
	return a.Refunding(o, &orders.Refund{
		Attempt: o.Current().No, Ordinal: 1, Amount: twenty, Reason: "重複開單", State: orders.RefundUndecided, AskedAt: start,
	})
}

func (k *kit) Actions(context.Context, orders.OrderNo) ([]orders.Action, error) {
	return k.actions, k.storeErr
}

func (k *kit) Book(_ context.Context, no orders.OrderNo) (orders.Book, error) {
	if k.storeErr != nil {
		return orders.Book{}, k.storeErr
	}
	b, ok := k.books[no]
	if !ok {
		return b, orders.ErrNotFound
	}
	return b, nil
}

func (k *kit) OrderByReference(_ context.Context, clientID, reference string) (orders.Order, error) {
	for _, b := range k.books {
		if b.Order.ClientID == clientID && b.Order.ClientReference == reference {
			return b.Order, k.storeErr
		}
	}
	if k.storeErr != nil {
		return orders.Order{}, k.storeErr
	}
	return orders.Order{}, orders.ErrNotFound
}

func (k *kit) Timeline(context.Context, orders.OrderNo) ([]orders.TimelineRow, error) {
	return k.timeline, k.storeErr
}

func (k *kit) Feed(_ context.Context, clientID string, after int64, limit int) ([]orders.FeedEvent, error) {
	var found []orders.FeedEvent
	size := 0
	for _, e := range k.feed {
		if clientID == "core" && e.Seq > after && len(found) < limit {
			found = append(found, e)
			size += len(e.Body)
		}
	}
	k.feedMost = max(k.feedMost, size)
	return found, k.storeErr
}

func (k *kit) Providers(merchant string, amount *money.Amount, _ time.Time) []providers.Listing {
	k.dirAsk = merchant
	if amount != nil {
		k.dirAsk += " " + amount.String()
	}
	return k.listings
}

// order is what the router would have made of a command.
func (k *kit) order(c orders.Command) orders.Order {
	return orders.Order{
		No: "2017061300000016", ClientID: c.Key.ClientID, ClientReference: c.ClientReference, Merchant: c.Merchant,
		PayerMemberID: c.PayerMemberID, Provider: "bravobank", Methods: c.Methods, Settlement: c.Settlement,
		Amount: c.Amount, Fee: c.Amount.Nothing(), Total: c.Amount, Lines: c.Lines, ReturnURL: c.ReturnURL,
		PayToken: "paytoken", Version: 1, CreatedAt: start, ExpiresAt: start.Add(c.ExpiresIn),
		Attempts: []orders.Attempt{{
			No: "201706130000001601", Ordinal: 1, Account: "bravobank-main", Provider: "bravobank", State: orders.AttemptPending,
			Redirect: &orders.Redirect{Method: "POST", URL: "https://bank.test/order?a=1&b=2", Fields: map[string]string{"sig": "<s>"}},
		}},
	}
}

// keep puts the order of the scenario into the store.
func (k *kit) keep(clientID string) *orders.Order {
	c := orders.Command{
		Key: orders.KeyRef{ClientID: clientID}, ClientReference: "2017061300000014", Merchant: "pma", Amount: twd(k.t, "40"), ExpiresIn: 10 * time.Minute,
		Lines: []orders.BillLine{
			{BillNo: "H60983881309263", Name: "停車費", Quantity: 1, UnitPrice: twd(k.t, "20"), Subtotal: twd(k.t, "20")},
			{BillNo: "H61283631217536", Name: "停車費", Quantity: 1, UnitPrice: twd(k.t, "20"), Subtotal: twd(k.t, "20")},
		},
	}
	b := orders.Book{Order: k.order(c), Bills: map[string]orders.Bill{}}
	for _, l := range c.Lines {
		b.Bills[l.BillNo] = orders.Bill{Holder: b.Order.No}
	}
	k.books[b.Order.No] = b
	return &b.Order
}

func twd(t *testing.T, value string) money.Amount {
	t.Helper()
	a, err := money.Parse(value, money.TWD)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// scenario is the order of the platform's own guide: two parking bills.
const scenario = `{"client_reference":"2017061300000014","merchant":"pma","payer":{"member_id":"1361049"},
 "provider":"bravobank","methods":["credit_card","stored_value","deposit_account"],
 "amount":{"value":"40","currency":"TWD"},"settlement":"immediate",
 "lines":[{"bill_no":"H60983881309263","name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"},
          {"bill_no":"H61283631217536","name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"}],
 "return_url":"https://pay.taipei/result","expires_in":"10m"}`

// post sends an order; headers are pairs that replace the good ones, an empty value removes.
func (k *kit) post(body string, headers ...string) *httptest.ResponseRecorder {
	k.t.Helper()
	return k.command("/v1/orders", body, headers...)
}

// command asks for a change; headers as for post.
func (k *kit) command(target, body string, headers ...string) *httptest.ResponseRecorder {
	k.t.Helper()
	all := append([]string{"Authorization", keyA, "Content-Type", "application/json", "Idempotency-Key", "3f0c2a86-6c1d-4c59"}, headers...)
	return k.do(http.MethodPost, target, body, all...)
}

// limit lets the client core make so many requests.
func (k *kit) limit(perSecond, burst int) {
	k.t.Helper()
	k.config.Clients[0].RatePerSecond, k.config.Clients[0].Burst = perSecond, burst
	k.build()
}

// someOrder is a path of the table with the numbers of the order that tests keep.
func someOrder(path string) string {
	return strings.NewReplacer("{no}", "2017061300000016", "{id}", "201706130000001601R01").Replace(path)
}

func (k *kit) get(target string, headers ...string) *httptest.ResponseRecorder {
	k.t.Helper()
	return k.do(http.MethodGet, target, "", append([]string{"Authorization", keyA}, headers...)...)
}

// do asks the API and holds the answer against openapi.yaml.
func (k *kit) do(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	k.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Del(headers[i]); headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return k.send(r)
}

func (k *kit) send(r *http.Request) *httptest.ResponseRecorder {
	k.t.Helper()
	w := httptest.NewRecorder()
	k.server.ServeHTTP(w, r)
	if r.Method != http.MethodHead {
		checkAnswer(k.t, r, w)
	}
	return w
}

// wantProblem checks status and code, and hands the problem back.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, code string) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("answer %d is no problem: %v: %s", w.Code, err, w.Body)
	}
	if w.Code != status || p.Status != status || p.Code != code {
		t.Fatalf("got %d %s, want %d %s: %s", w.Code, p.Code, status, code, w.Body)
	}
	return p
}

// document loads the description once.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData(openapi)
})

func loadDocument(t *testing.T) *openapi3.T {
	t.Helper()
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// routeOf is the row of the table that serves a request, or false.
func routeOf(r *http.Request) (Route, bool) {
	for _, route := range Routes() {
		pattern, path := strings.Split(route.Path, "/"), strings.Split(r.URL.Path, "/")
		same := len(pattern) == len(path) && route.Method == r.Method
		for i := 0; same && i < len(path); i++ {
			same = pattern[i] == path[i] || (strings.HasPrefix(pattern[i], "{") && path[i] != "")
		}
		if same {
			return route, true
		}
	}
	return Route{}, false
}

// checkAnswer holds an answer against the description: status, media type, required headers, body.
func checkAnswer(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	d := loadDocument(t)
	media := strings.Split(w.Header().Get("Content-Type"), ";")[0]
	schema := d.Components.Schemas["Problem"]
	if route, ok := routeOf(r); ok {
		answer := d.Paths.Value(route.Path).GetOperation(route.Method).Responses.Status(w.Code)
		if answer == nil {
			t.Fatalf("%s %s answers %d, which is not documented: %s", route.Method, route.Path, w.Code, w.Body)
		}
		content := answer.Value.Content[media]
		if content == nil {
			t.Fatalf("%s %s answers %d as %s, which is not documented", route.Method, route.Path, w.Code, media)
		}
		for name, h := range answer.Value.Headers {
			if h.Value.Required && w.Header().Get(name) == "" {
				t.Errorf("%s %s answers %d without %s", route.Method, route.Path, w.Code, name)
			}
		}
		schema = content.Schema
	}
	if strings.HasSuffix(media, "json") {
		checkSchema(t, schema, w.Body.Bytes())
	}
}

func checkSchema(t *testing.T, schema *openapi3.SchemaRef, body []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("not JSON: %v: %s", err, body)
	}
	if err := schema.Value.VisitJSON(v, openapi3.EnableJSONSchema2020(), openapi3.EnableFormatValidation()); err != nil {
		t.Errorf("not as described: %v\n%s", err, body)
	}
}
