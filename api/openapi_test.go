package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"pay.taipei/gateway/orders"
)

func TestDescriptionIsValid(t *testing.T) {
	d := loadDocument(t)
	if err := d.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d.OpenAPI != "3.1.0" {
		t.Errorf("version %s", d.OpenAPI)
	}
}

func TestDescriptionAndRouteTableAgree(t *testing.T) {
	d := loadDocument(t)
	var served, described []string
	for _, r := range Routes() {
		served = append(served, r.Method+" "+r.Path)
		item := d.Paths.Value(r.Path)
		if item == nil || item.GetOperation(r.Method) == nil {
			continue // reported below
		}
		op := item.GetOperation(r.Method)
		var query []string
		for _, p := range op.Parameters {
			if p.Value.In == "query" {
				query = append(query, p.Value.Name)
			}
		}
		slices.Sort(query)
		if !slices.Equal(query, r.Query) {
			t.Errorf("%s %s: query %q served, %q described", r.Method, r.Path, r.Query, query)
		}
		if public := op.Security != nil && len(*op.Security) == 0; public != (r.Auth == AuthPublic) {
			t.Errorf("%s %s: auth class %s is described otherwise", r.Method, r.Path, r.Auth)
		}
	}
	for path, item := range d.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(described)
	if !slices.Equal(served, described) {
		t.Errorf("served %q\ndescribed %q", served, described)
	}
}

func enum(t *testing.T, d *openapi3.T, schema string) []string {
	t.Helper()
	var all []string
	for _, v := range d.Components.Schemas[schema].Value.Properties["code"].Value.Enum {
		all = append(all, v.(string))
	}
	return all
}

func TestEveryProblemIsWorded(t *testing.T) {
	internal := words(problemInternal)
	for _, code := range enum(t, loadDocument(t), "Problem") {
		w := words(code)
		if code != problemInternal && w == internal {
			t.Errorf("%s is described, but has no words", code)
		}
		if http.StatusText(w.status) == "" || w.detail == "" || w.detZH == "" {
			t.Errorf("%s: %+v", code, w)
		}
	}
}

// TestEveryDocumentedAnswerIsSeen makes each documented answer happen and fails for one that no case makes.
func TestEveryDocumentedAnswerIsSeen(t *testing.T) {
	placing := func(err error) func(*kit) {
		return func(k *kit) {
			k.place = func(context.Context, orders.Command, orders.Answers) (orders.Answer, error) {
				return orders.Answer{}, err
			}
		}
	}
	placed := func(replayed bool, word func(orders.Answers, *orders.Order) (int, []byte, error)) func(*kit) {
		return func(k *kit) {
			k.place = func(_ context.Context, c orders.Command, a orders.Answers) (orders.Answer, error) {
				o := k.order(c)
				return answering(replayed, word)(&o, a)
			}
		}
	}
	storing := func(err error) func(*kit) { return func(k *kit) { k.storeErr = err } }
	drained := func(k *kit) {
		k.limit(1, 1)
		k.get("/v1/events")
	}
	kept := func(k *kit) {
		o := k.keep("core")
		o.Refunds = []orders.Refund{{Attempt: "201706130000001601", Ordinal: 1, Amount: twd(k.t, "20"), State: orders.RefundDone, AskedAt: start, DecidedAt: start}}
		k.books[o.No] = orders.Book{Order: *o}
		k.actions = []orders.Action{{Name: "attempt", Possible: true, Until: start}, {Name: "refund", Why: "not_paid"}}
	}
	broken := errors.New("broken")
	post := func(k *kit) *httptest.ResponseRecorder { return k.post(scenario) }
	get := func(target string, headers ...string) func(*kit) *httptest.ResponseRecorder {
		return func(k *kit) *httptest.ResponseRecorder { return k.get(target, headers...) }
	}
	type answerCase struct {
		op, status string
		given      func(*kit)
		ask        func(*kit) *httptest.ResponseRecorder
	}
	posting := "POST /v1/orders"
	cases := []answerCase{
		{posting, "201", nil, post},
		{posting, "200", placed(true, orders.Answers.Created), post},
		{posting, "202", placed(false, orders.Answers.Unknown), post},
		{posting, "400", nil, func(k *kit) *httptest.ResponseRecorder { return k.post("{") }},
		{posting, "401", nil, func(k *kit) *httptest.ResponseRecorder { return k.post(scenario, "Authorization", "") }},
		{posting, "403", nil, func(k *kit) *httptest.ResponseRecorder {
			return k.post(strings.Replace(scenario, "pma", "police", 1))
		}},
		{posting, "409", placing(orders.ErrInFlight), post},
		{posting, "413", nil, func(k *kit) *httptest.ResponseRecorder { return k.post(strings.Repeat(" ", maxBody+1)) }},
		{posting, "415", nil, func(k *kit) *httptest.ResponseRecorder { return k.post(scenario, "Content-Type", "text/plain") }},
		{posting, "422", placed(false, orders.Answers.Declined), post},
		{posting, "429", drained, post},
		{posting, "500", placing(broken), post},
		{posting, "503", placing(orders.ErrUnavailable), post},
	}
	for _, target := range []string{"/v1/orders?client_reference=2017061300000014", orderPath, orderPath + "/timeline", orderPath + "/actions", someOrder("/v1/orders/{no}/refunds/{id}"), "/v1/events"} {
		op := strings.NewReplacer("2017061300000016/", "{no}/", "201706130000001601R01", "{id}", "2017061300000016", "{no}").Replace(strings.Split("GET "+target, "?")[0])
		cases = append(cases,
			answerCase{op, "200", kept, get(target)},
			answerCase{op, "401", nil, get(target, "Authorization", "")},
			answerCase{op, "429", drained, get(target)},
			answerCase{op, "500", storing(broken), get(target)},
			answerCase{op, "503", storing(orders.ErrUnavailable), get(target)},
		)
		if op != "GET /v1/events" {
			cases = append(cases, answerCase{op, "404", nil, get(target)})
		}
	}
	changing := func(change func(*orders.Order, orders.Answers) (orders.Answer, error)) func(*kit) {
		return func(k *kit) { kept(k); k.change = change }
	}
	failing := func(err error) func(*kit) {
		return changing(func(*orders.Order, orders.Answers) (orders.Answer, error) { return orders.Answer{}, err })
	}
	for op, body := range map[string]string{"attempts": "{}", "cancel": "", "refunds": `{"reason":"重複開單"}`} {
		target := orderPath + "/" + op
		op = "POST /v1/orders/{no}/" + op
		ask := func(body string, headers ...string) func(*kit) *httptest.ResponseRecorder {
			return func(k *kit) *httptest.ResponseRecorder { return k.command(target, body, headers...) }
		}
		cases = append(cases,
			answerCase{op, "400", kept, ask("{")},
			answerCase{op, "401", kept, ask(body, "Authorization", "")},
			answerCase{op, "404", nil, ask(body)},
			answerCase{op, "409", failing(orders.ErrInFlight), ask(body)},
			answerCase{op, "413", kept, ask(strings.Repeat(" ", maxBody+1))},
			answerCase{op, "415", kept, ask("{}", "Content-Type", "text/plain")},
			answerCase{op, "422", failing(orders.ErrKeyReused), ask(body)},
			answerCase{op, "429", drained, ask(body)},
			answerCase{op, "500", failing(broken), ask(body)},
			answerCase{op, "503", failing(orders.ErrUnavailable), ask(body)},
		)
	}
	attempt := func(k *kit) *httptest.ResponseRecorder { return k.command(orderPath+"/attempts", "{}") }
	cancel := func(k *kit) *httptest.ResponseRecorder { return k.command(orderPath+"/cancel", "") }
	cases = append(cases,
		answerCase{"POST /v1/orders/{no}/attempts", "200", changing(answering(true, orders.Answers.Created)), attempt},
		answerCase{"POST /v1/orders/{no}/attempts", "201", kept, attempt},
		answerCase{"POST /v1/orders/{no}/attempts", "202", changing(answering(false, orders.Answers.Unknown)), attempt},
		answerCase{"POST /v1/orders/{no}/cancel", "200", kept, cancel},
		answerCase{"POST /v1/orders/{no}/cancel", "202", changing(answering(false, orders.Answers.Cancelled)), cancel},
		answerCase{"POST /v1/orders/{no}/refunds", "202", kept, func(k *kit) *httptest.ResponseRecorder {
			return k.command(orderPath+"/refunds", `{"reason":"重複開單"}`)
		}},
	)
	panicking := func(k *kit) { k.deps.Directory = panicDirectory{}; k.build() }
	cases = append(cases,
		answerCase{"GET /v1/orders", "422", nil, get("/v1/orders")},
		answerCase{"GET /v1/events", "422", nil, get("/v1/events?limit=501")},
		answerCase{"GET /v1/providers", "200", nil, get("/v1/providers?merchant=pma&amount=40")},
		answerCase{"GET /v1/providers", "401", nil, get("/v1/providers", "Authorization", "")},
		answerCase{"GET /v1/providers", "403", nil, get("/v1/providers?merchant=police")},
		answerCase{"GET /v1/providers", "422", nil, get("/v1/providers?amount=20.0")},
		answerCase{"GET /v1/providers", "429", drained, get("/v1/providers")},
		answerCase{"GET /v1/providers", "500", panicking, get("/v1/providers")},
		answerCase{"GET /v1/openapi.yaml", "200", nil, get("/v1/openapi.yaml", "Authorization", "")},
		answerCase{"GET /docs", "200", nil, get("/docs", "Authorization", "")},
	)
	for _, r := range Routes() {
		if r.Method == http.MethodGet {
			cases = append(cases, answerCase{"GET " + r.Path, "400", nil, get(someOrder(r.Path) + "?nobody=asked")})
		}
	}
	seen := map[string]bool{}
	for _, c := range cases {
		t.Run(c.op+" "+c.status, func(t *testing.T) {
			k := newKit(t)
			if c.given != nil {
				c.given(k)
			}
			if w := c.ask(k); strconv.Itoa(w.Code) != c.status {
				t.Fatalf("answered %d: %s", w.Code, w.Body)
			}
			seen[c.op+" "+c.status] = true
		})
	}
	for path, item := range loadDocument(t).Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if name := method + " " + path + " " + status; !seen[name] {
					t.Errorf("%s is documented, but was never seen", name)
				}
			}
		}
	}
}

// panicDirectory panics: its interface is nil.
type panicDirectory struct{ Directory }

func TestExamplesOfDescriptionAreAccepted(t *testing.T) {
	d, err := parseDescription()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"/v1/orders": 201, "/v1/orders/{no}/attempts": 201, "/v1/orders/{no}/refunds": 202} {
		k := newKit(t)
		k.keep("core")
		example := d.Paths[path]["post"].RequestBody.Content[mediaJSON].Example
		if w := k.command(someOrder(path), string(example)); w.Code != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// TestEveryWhyIsWorded: a code that the actions or the directory may give is explained where they are described.
func TestEveryWhyIsWorded(t *testing.T) {
	d := loadDocument(t)
	for schema, path := range map[string]string{"ActionWhy": "/v1/orders/{no}/actions", "ProviderWhy": "/v1/providers"} {
		text := d.Paths.Value(path).Get.Description
		for _, code := range d.Components.Schemas[schema].Value.Enum {
			if !regexp.MustCompile(`\b` + code.(string) + `\b`).MatchString(text) {
				t.Errorf("%s: %s is not explained", path, code)
			}
		}
	}
}

func TestEventsAreAsDescribed(t *testing.T) {
	d := loadDocument(t)
	o := newKit(t).keep("core")
	types := []orders.EventType{
		orders.EventCreated, orders.EventPending, orders.EventPaid, orders.EventFailed,
		orders.EventCancelled, orders.EventExpired, orders.EventSurplus, orders.EventReview,
		orders.EventRefunded, orders.EventRefundFailed, orders.EventCase,
	}
	o.CancelAsked = start
	o.Surplus = []orders.Surplus{{Attempt: "201706130000001601", BillNo: "H60983881309263", Amount: twd(t, "20"), Refunded: twd(t, "20")}}
	o.Refunds = []orders.Refund{
		{Attempt: "201706130000001601", Ordinal: 1, BillNo: "H60983881309263", Amount: twd(t, "20"), State: orders.RefundDone, ProviderRefundNo: "7", AskedAt: start, DecidedAt: start},
		{Attempt: "201706130000001601", Ordinal: 2, Amount: twd(t, "20"), State: orders.RefundFailed, Why: "not_carried_out", Reason: "x", AskedAt: start, DecidedAt: start},
		{Attempt: "201706130000001601", Ordinal: 3, Amount: twd(t, "1"), State: orders.RefundUndecided, Reason: "x", AskedAt: start},
	}
	o.Cases = []orders.Case{
		{Number: 1, Attempt: "201706130000001601", Kind: orders.CaseUnresolved, Detail: "x", OpenedAt: start},
		{Number: 2, Attempt: "201706130000001601", Kind: orders.CaseRefundMismatch, Detail: "x", OpenedAt: start, ClosedAt: start},
	}
	o.Version = int64(len(types))
	events, err := orders.RenderEvents(o, types, start)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		item := d.Webhooks[string(e.Type)]
		if item == nil {
			t.Errorf("%s is not described", e.Type)
			continue
		}
		checkSchema(t, item.Post.RequestBody.Value.Content[mediaJSON].Schema, e.Body)
	}
	if len(d.Webhooks) != len(types) {
		t.Errorf("%d events described, %d exist", len(d.Webhooks), len(types))
	}
}

func TestDocsPageIsSelfContained(t *testing.T) {
	k := newKit(t)
	var err error
	if k.server, err = New(k.config, k.deps); err != nil {
		t.Fatal(err)
	}
	w := k.do(http.MethodGet, "/docs", "")
	html := w.Body.String()
	for _, r := range Routes() {
		if !strings.Contains(html, ` id="`+strings.ToLower(r.Method)+r.Path+`"`) {
			t.Errorf("%s %s is not on the page", r.Method, r.Path)
		}
	}
	for _, want := range []string{"停車費", "H60983881309263", "bill_in_progress", "帳單已繳費", "order.surplus", "card_number", "too_many_attempts", "partial_after_cut_off", "退款金額超過", "order.refund_failed", "16 to 255 visible", "openapi: 3.1.0"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	if outside := regexp.MustCompile(`(?i)<script|<link|<img|<iframe|@import|url\(|(src|href)="(https?:)?//`).FindString(html); outside != "" {
		t.Errorf("the page reaches outside: %q", outside)
	}
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(html)
	if style == nil {
		t.Fatal("no style")
	}
	sum := sha256.Sum256([]byte(style[1]))
	policy := w.Header().Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"';") {
		t.Errorf("the policy %q does not allow exactly the page's style", policy)
	}
}
