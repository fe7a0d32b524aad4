package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// golden is the answer to the scenario, whole: its bytes are a contract, for they are stored and replayed.
const golden = `{"order_no":"2017061300000016","client_reference":"2017061300000014","status":"open","version":1,"late":false,"review":false,"doubt":false,"merchant":"pma",` +
	`"amount":{"value":"40","currency":"TWD"},"fee":{"value":"0","currency":"TWD"},"total":{"value":"40","currency":"TWD"},"provider":"bravobank","account":"bravobank-main","attempt_no":"201706130000001601",` +
	`"redirect":{"method":"POST","url":"https://bank.test/order?a=1&b=2","fields":{"sig":"<s>"}},"checkout_url":"https://edge.test/pay/paytoken",` +
	`"lines":[{"bill_no":"H60983881309263","name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"},{"bill_no":"H61283631217536","name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"}],` +
	`"surplus":[],"attempts":[{"attempt_no":"201706130000001601","provider":"bravobank","account":"bravobank-main","status":"pending","provider_trade_no":null,"method":null,"paid_at":null}],"refunds":[],"cases":[],"cancel_asked":false,` +
	`"created_at":"2017-06-13T09:00:00+08:00","expires_at":"2017-06-13T09:10:00+08:00"}` + "\n"

func TestPlaceOrder(t *testing.T) {
	k := newKit(t)
	w := k.post(scenario)
	if w.Code != http.StatusCreated || w.Body.String() != golden {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, golden)
	}
	if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Idempotency-Replayed") != "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", w.Header())
	}
	c := k.commands[0]
	if c.ClientReference != "2017061300000014" || c.Merchant != "pma" || c.PayerMemberID != "1361049" ||
		!slices.Equal(c.Providers, []string{"bravobank"}) || !slices.Equal(c.Methods, []string{"credit_card", "stored_value", "deposit_account"}) ||
		c.Settlement != "immediate" || c.Amount != twd(t, "40") || c.ReturnURL != "https://pay.taipei/result" || c.ExpiresIn != 10*time.Minute {
		t.Errorf("command %+v", c)
	}
	if len(c.Lines) != 2 || c.Lines[1] != (orders.BillLine{BillNo: "H61283631217536", Name: "停車費", Quantity: 1, UnitPrice: twd(t, "20"), Subtotal: twd(t, "20")}) {
		t.Errorf("lines %+v", c.Lines)
	}
}

func TestPlaceOrderDefaultsAndLimits(t *testing.T) {
	k := newKit(t)
	least := `{"client_reference":"r","merchant":"twd","payer":{"member_id":"p"},"amount":{"value":"1","currency":"TWD"},
		"lines":[{"bill_no":"1-2-6-1-9","name":"水費 😀 \ud83d\ude00","quantity":1,"unit_price":"1","subtotal":"1"}],"return_url":"http://127.0.0.1:8000/result?x=1"}`
	if w := k.post(least); w.Code != http.StatusCreated {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	c := k.commands[0]
	if c.Providers != nil || c.Methods != nil || c.Settlement != "immediate" || c.ExpiresIn != 10*time.Minute || c.Lines[0].Name != "水費 😀 😀" {
		t.Errorf("%+v", c)
	}
	for _, accepted := range []string{
		with(t, `"10m"`, `"1m"`), with(t, `"10m"`, `"30m"`), with(t, `"10m"`, `"90s"`), with(t, `"10m"`, `"1m30s"`),
		with(t, `"bravobank"`, `["linepay","bravobank"]`),
		linesOf(t, 2000, manyLines(100)),
		linesOf(t, 500000, `{"bill_no":"H6098388130926300000","name":"`+strings.Repeat("停", 60)+`","quantity":500,"unit_price":"1000","subtotal":"500000"}`),
	} {
		if w := k.post(accepted); w.Code != http.StatusCreated {
			t.Errorf("%d %s\n%s", w.Code, w.Body, accepted)
		}
	}
	if got := k.commands[5].Providers; !slices.Equal(got, []string{"linepay", "bravobank"}) {
		t.Errorf("providers %q", got)
	}
}

// TestStoredAnswers: what is stored for replays is whole, and free of the one request that was first.
func TestStoredAnswers(t *testing.T) {
	k := newKit(t)
	o := k.keep("core")
	bill := &orders.BillError{BillNo: "H61283631217536", Paid: true, Holder: "2017061300000001", Client: "core"}
	foreign := &orders.BillError{BillNo: "H61283631217536", Holder: "2017061300000001", Client: "other"}
	a := answers{k.deps.CheckoutURL}
	tests := []struct {
		name   string
		word   func() (int, []byte, error)
		status int
		want   []string
	}{
		{"created", func() (int, []byte, error) { return a.Created(o) }, 201, []string{golden}},
		{"unknown", func() (int, []byte, error) { return a.Unknown(o) }, 202, []string{`"order_no":"2017061300000016"`, `"redirect":null,"checkout_url":null`}},
		{"declined", func() (int, []byte, error) { return a.Declined(o) }, 422, []string{`"code":"declined"`, `"order_no":"2017061300000016"`}},
		{"bill paid", func() (int, []byte, error) { return a.Conflict(o, bill) }, 409, []string{`"code":"bill_paid"`, `"order_no":"2017061300000001"`, `"/lines/1/bill_no"`}},
		{"foreign bill", func() (int, []byte, error) { return a.Conflict(o, foreign) }, 409, []string{`"code":"bill_in_progress"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, body, err := test.word()
			if err != nil || status != test.status || !json.Valid(body) {
				t.Fatalf("%d %v %s", status, err, body)
			}
			for _, want := range test.want {
				if !strings.Contains(string(body), want) {
					t.Errorf("no %s in %s", want, body)
				}
			}
			if strings.Contains(string(body), "instance") || (test.name == "foreign bill" && strings.Contains(string(body), "order_no")) {
				t.Errorf("too much in %s", body)
			}
		})
	}
}

func TestReplay(t *testing.T) {
	tests := []struct {
		name          string
		stored, shown int
		media         string
		word          func(orders.Answers, *orders.Order) (int, []byte, error)
	}{
		{"created", 201, 200, mediaJSON, orders.Answers.Created},
		{"unknown", 202, 202, mediaJSON, orders.Answers.Unknown},
		{"declined", 422, 422, mediaProblem, orders.Answers.Declined},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			var first []byte
			k.place = func(_ context.Context, c orders.Command, a orders.Answers) (orders.Answer, error) {
				o := k.order(c)
				status, body, err := test.word(a, &o)
				replayed := first != nil
				if !replayed {
					first = body
				}
				return orders.Answer{Status: status, Body: first, Replayed: replayed}, err
			}
			one, two := k.post(scenario), k.post(scenario)
			if one.Code != test.stored || two.Code != test.shown || one.Body.String() != two.Body.String() {
				t.Errorf("%d %s\n%d %s", one.Code, one.Body, two.Code, two.Body)
			}
			if one.Header().Get("Idempotency-Replayed") != "" || two.Header().Get("Idempotency-Replayed") != "true" || two.Header().Get("Content-Type") != test.media {
				t.Errorf("%v\n%v", one.Header(), two.Header())
			}
			if !strings.Contains(k.log.String(), `"order_no":"2017061300000016"`) {
				t.Errorf("no order number in %s", &k.log)
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	tests := []struct {
		name, header string
		want         int
	}{
		{"live key", keyA, 200},
		{"second live key, in its last second", keyB, 200},
		{"scheme in lower case", "bearer" + strings.TrimPrefix(keyA, "Bearer"), 200},
		{"expired key", keyOld, 401},
		{"no header", "", 401},
		{"unknown key id", "Bearer gk_core-9_" + secretA, 401},
		{"unknown client", "Bearer gk_nobody_" + secretA, 401},
		{"wrong secret", "Bearer gk_core-1_" + secretC, 401},
		{"secret of the other key", "Bearer gk_core-1_" + secretB, 401},
		{"secret one character off", strings.TrimSuffix(keyA, "_") + "A", 401},
		{"secret too long", keyA + "A", 401},
		{"no key id", "Bearer gk__" + secretA, 401},
		{"no prefix", "Bearer core-1_" + secretA, 401},
		{"Basic", "Basic " + strings.TrimPrefix(keyA, "Bearer "), 401},
		{"two tokens", keyA + " " + keyA, 401},
		{"digest instead of the secret", "Bearer gk_core-1_" + strings.Repeat("0", 43), 401},
		{"zero digest of an unknown key", "Bearer gk_core-9_" + strings.Repeat("\x00", 43), 401},
	}
	var refused string
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			w := k.get("/v1/events", "Authorization", test.header)
			if w.Code != test.want {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if test.want != 401 {
				return
			}
			if w.Header().Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
			if refused == "" {
				refused = w.Body.String()
			}
			if w.Body.String() != refused {
				t.Errorf("refusals differ: %s\n%s", w.Body, refused)
			}
			if strings.Contains(k.log.String(), "AAAA") || strings.Contains(k.log.String(), "CCCC") {
				t.Errorf("a secret is in the log: %s", &k.log)
			}
		})
	}
	t.Run("two headers", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodGet, "/v1/events", nil)
		r.Header["Authorization"] = []string{keyA, keyA}
		if w := newKit(t).send(r); w.Code != 401 {
			t.Errorf("%d", w.Code)
		}
	})
	t.Run("key ends while it is used", func(t *testing.T) {
		k := newKit(t)
		k.now = start.Add(time.Second)
		if w := k.get("/v1/events", "Authorization", keyB); w.Code != 401 {
			t.Errorf("%d", w.Code)
		}
	})
	for _, r := range Routes() {
		t.Run("every route: "+r.Method+" "+r.Path, func(t *testing.T) {
			w := newKit(t).do(r.Method, someOrder(r.Path), "")
			if (w.Code == 401) != (r.Auth == AuthClient) {
				t.Errorf("%s without a key: %d", r.Auth, w.Code)
			}
		})
	}
}

// TestForeignOrder: an order of somebody else, one that does not exist and a number that none can have are one answer.
func TestForeignOrder(t *testing.T) {
	for _, test := range []struct{ method, tail, body string }{
		{"GET", "", ""},
		{"GET", "/timeline", ""},
		{"GET", "/actions", ""},
		{"GET", "/refunds/201706130000001601R01", ""},
		{"POST", "/attempts", "{}"},
		{"POST", "/cancel", ""},
		{"POST", "/refunds", `{"reason":"x"}`},
	} {
		k := newKit(t)
		o := k.keep("core")
		o.Refunds = []orders.Refund{{Attempt: "201706130000001601", Ordinal: 1, Amount: twd(t, "20"), AskedAt: start}}
		k.books[o.No] = orders.Book{Order: *o}
		ask := func(no string) *httptest.ResponseRecorder {
			headers := []string{"Authorization", keyD, "Content-Type", mediaJSON, "Idempotency-Key", "3f0c2a86-6c1d-4c59"}
			return k.do(test.method, "/v1/orders/"+no+test.tail, test.body, headers...)
		}
		foreign := ask("2017061300000016")
		want := foreign.Body.String()
		wantProblem(t, foreign, http.StatusNotFound, problemNotFound)
		for _, no := range []string{"2017061300000099", "1", "2017061300000016x", "20170613000000160", "..", "%00", "2017061300000016%0A"} {
			w := ask(no)
			if w.Code != 404 || w.Body.String() != want || len(w.Header()) != len(foreign.Header()) {
				t.Errorf("%s: %d %s", no, w.Code, w.Body)
			}
		}
		if strings.Contains(k.log.String(), "2017061300000016") {
			t.Errorf("the log names a foreign order: %s", &k.log)
		}
		if len(k.attempts)+len(k.cancels)+len(k.refunds) > 0 {
			t.Errorf("%s %s: the command went through", test.method, test.tail)
		}
	}
	k := newKit(t)
	k.keep("core")
	unknown := k.get("/v1/orders?client_reference=unknown", "Authorization", keyD)
	for _, reference := range []string{"2017061300000014", "a%20b"} {
		w := k.get("/v1/orders?client_reference="+reference, "Authorization", keyD)
		if w.Code != 404 || w.Body.String() != unknown.Body.String() {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

func TestGetOrder(t *testing.T) {
	for _, target := range []string{orderPath, "/v1/orders?client_reference=2017061300000014"} {
		tests := []struct {
			name    string
			change  func(*kit, *orders.Book)
			offered bool
		}{
			{"attempt failed", func(_ *kit, b *orders.Book) { b.Order.Current().State = orders.AttemptFailed }, false},
			{"attempt cancelled", func(_ *kit, b *orders.Book) { b.Order.Current().State = orders.AttemptCancelled }, false},
			{"attempt expired", func(_ *kit, b *orders.Book) { b.Order.Current().State = orders.AttemptExpired }, false},
			{"attempt abandoned", func(_ *kit, b *orders.Book) { b.Order.Current().Abandoned = true }, false},
			{"earlier attempt failed", func(_ *kit, b *orders.Book) {
				first := b.Order.Attempts[0]
				first.No, first.State = "201706130000001600", orders.AttemptFailed
				b.Order.Attempts = []orders.Attempt{first, b.Order.Attempts[0]}
			}, true},
			{"signed at the click", func(_ *kit, b *orders.Book) { b.Order.Current().Redirect = nil }, true},
			{"payable", func(*kit, *orders.Book) {}, true},
			{"expired by the clock", func(k *kit, _ *orders.Book) { k.now = start.Add(10 * time.Minute) }, false},
			{"review", func(_ *kit, b *orders.Book) { b.Order.Review = true }, false},
			{"paid", func(_ *kit, b *orders.Book) { b.Order.State = orders.OrderPaid }, false},
			{"a bill taken over", func(_ *kit, b *orders.Book) { b.Bills["H60983881309263"] = orders.Bill{Holder: "2017061300000017"} }, false},
			{"a bill paid elsewhere", func(_ *kit, b *orders.Book) {
				b.Bills["H60983881309263"] = orders.Bill{Holder: "2017061300000016", Paid: "2017061300000017"}
			}, false},
		}
		for _, test := range tests {
			t.Run(target+" "+test.name, func(t *testing.T) {
				k := newKit(t)
				k.keep("core")
				b := k.books["2017061300000016"]
				test.change(k, &b)
				k.books["2017061300000016"] = b
				var d orders.Document
				w := k.get(target)
				if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil || w.Code != 200 {
					t.Fatalf("%d %v", w.Code, err)
				}
				if (d.CheckoutURL != nil) != test.offered || (d.Redirect != nil) != test.offered {
					t.Errorf("redirect %v, checkout_url %v", d.Redirect, d.CheckoutURL)
				}
				if test.name == "payable" && w.Body.String() != golden {
					t.Errorf("%s\nwant %s", w.Body, golden)
				}
			})
		}
	}
}

func TestGetTimeline(t *testing.T) {
	k := newKit(t)
	k.keep("core")
	k.timeline = []orders.TimelineRow{
		{At: start.UTC(), What: "order.created", Detail: "version 1"},
		{At: start, What: "routing", AttemptNo: "201706130000001601", Detail: "by route all: 1. bravobank-main"},
		{At: start.Add(time.Minute), What: "evidence", AttemptNo: "201706130000001601", Detail: "callback: paid", Evidence: "7"},
	}
	want := `{"order_no":"2017061300000016","timeline":[` +
		`{"at":"2017-06-13T09:00:00+08:00","what":"order.created","attempt_no":null,"detail":"version 1","evidence":null},` +
		`{"at":"2017-06-13T09:00:00+08:00","what":"routing","attempt_no":"201706130000001601","detail":"by route all: 1. bravobank-main","evidence":null},` +
		`{"at":"2017-06-13T09:01:00+08:00","what":"evidence","attempt_no":"201706130000001601","detail":"callback: paid","evidence":"7"}]}` + "\n"
	if w := k.get(orderPath + "/timeline"); w.Body.String() != want {
		t.Errorf("%s\nwant %s", w.Body, want)
	}
}

func TestEvents(t *testing.T) {
	k := newKit(t)
	stored := `{"type":"order.created","name":"\u003c停\u003e"}`
	k.feed = []orders.FeedEvent{{Seq: 3, Hash: [32]byte{0xAB, 31: 1}, Body: []byte(stored)}, {Seq: 4, Body: []byte(`{}`)}}
	w := k.get("/v1/events?after=2&limit=500")
	want := `{"events":[{"seq":3,"hash":"ab000000000000000000000000000000000000000000000000000000000000` + `01","body":"{\"type\":\"order.created\",\"name\":\"\\u003c停\\u003e\"}"},` +
		`{"seq":4,"hash":"` + strings.Repeat("0", 64) + `","body":"{}"}],"next_after":4}` + "\n"
	if w.Body.String() != want {
		t.Errorf("%s\nwant %s", w.Body, want)
	}
	if w := k.get("/v1/events?after=9", "Authorization", keyD); w.Body.String() != `{"events":[],"next_after":9}`+"\n" {
		t.Errorf("empty feed: %s", w.Body)
	}
}

// TestEventPages: a page ends at its limit, or where its bodies would pass 1 MiB; following next_after reads every event once.
func TestEventPages(t *testing.T) {
	tests := []struct {
		name, query   string
		events, bytes int // in the feed: how many, how large
		want          []int
	}{
		{"the default limit", "", 230, 2, []int{100, 100, 30, 0}},
		{"the largest limit", "&limit=500", 700, 2, []int{500, 200, 0}},
		{"a small limit", "&limit=2", 5, 2, []int{2, 2, 1, 0}},
		{"exactly 1 MiB", "&limit=500", 65, 16 << 10, []int{64, 1, 0}},
		{"a byte more than fits", "&limit=500", 4, 512<<10 + 1, []int{1, 1, 1, 1, 0}},
		{"each alone too large", "", 3, 1<<20 + 1, []int{1, 1, 1, 0}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			body := []byte(`"` + strings.Repeat("x", test.bytes-2) + `"`)
			for i := range test.events {
				k.feed = append(k.feed, orders.FeedEvent{Seq: int64(i + 1), Body: body})
			}
			after := int64(0)
			for i, want := range test.want {
				var page eventsDocument
				w := k.get("/v1/events?after=" + strconv.FormatInt(after, 10) + test.query)
				if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil || w.Code != 200 {
					t.Fatalf("%d %v", w.Code, err)
				}
				if len(page.Events) != want || page.NextAfter != after+int64(want) {
					t.Fatalf("page %d: %d events, next_after %d", i, len(page.Events), page.NextAfter)
				}
				for j, e := range page.Events {
					if e.Seq != after+int64(j)+1 {
						t.Fatalf("page %d: event %d at %d", i, e.Seq, j)
					}
				}
				after = page.NextAfter
			}
			if k.feedMost > 25*max(test.bytes, 1) {
				t.Errorf("one read brought %d bytes", k.feedMost)
			}
		})
	}
}

func TestProviders(t *testing.T) {
	k := newKit(t)
	d := providers.Descriptor{
		Name: "bravobank", NameZH: "熊讚銀行", NameEN: "Bravo Bank", Currency: money.TWD, Min: twd(t, "1"),
		Outcomes: providers.Outcomes{Failed: providers.Text{ZH: "失敗", EN: "Declined"}},
		Methods:  []providers.Method{{Code: "credit_card", NameZH: "信用卡", NameEN: "Credit card"}},
	}
	k.listings = []providers.Listing{
		{Descriptor: d, Available: true},
		{Descriptor: providers.Descriptor{Name: "x", NameZH: "甲", NameEN: "X", Currency: money.TWD, Max: twd(t, "20")}, Why: "above_limit", Until: start, Fee: twd(t, "3")},
	}
	want := `{"providers":[{"provider":"bravobank","name":{"zh-Hant":"熊讚銀行","en":"Bravo Bank"},"methods":[{"code":"credit_card","name":{"zh-Hant":"信用卡","en":"Credit card"}}],"outcomes":{"failed":{"zh-Hant":"失敗","en":"Declined"}},` +
		`"limits":{"min":{"value":"1","currency":"TWD"},"max":null},"fee":{"value":"0","currency":"TWD"},"available":true,"why":null,"until":null},` +
		`{"provider":"x","name":{"zh-Hant":"甲","en":"X"},"methods":[],"outcomes":{},"limits":{"min":null,"max":{"value":"20","currency":"TWD"}},"fee":{"value":"3","currency":"TWD"},` +
		`"available":false,"why":"above_limit","until":"2017-06-13T09:00:00+08:00"}]}` + "\n"
	if w := k.get("/v1/providers?amount=40&merchant=pma"); w.Body.String() != want || k.dirAsk != "pma TWD 40" {
		t.Errorf("%q %s\nwant %s", k.dirAsk, w.Body, want)
	}
	if k.get("/v1/providers"); k.dirAsk != "" {
		t.Errorf("asked for %q", k.dirAsk)
	}
}

// TestOrderOfChecks mends one fault after the other: each time the next stage answers.
func TestOrderOfChecks(t *testing.T) {
	k := newKit(t)
	k.limit(1, 1)
	bad := with(t, `"pma"`, `"police"`)
	bad = strings.Replace(bad, `"expires_in":"10m"`, `"expires_in":"10h","x":1`, 1)
	body := bad + strings.Repeat(" ", maxBody)
	headers := []string{"Authorization", "", "Content-Type", "", "Idempotency-Key", "short"}
	step := func(want string) {
		t.Helper()
		w := k.post(body, headers...)
		wantProblem(t, w, w.Code, want)
	}
	wantProblem(t, k.do(http.MethodPost, "/v1/order", body, headers...), 404, problemNotFound)
	step(problemUnauthenticated)
	headers[1] = keyA
	k.get("/v1/events") // the one request of this second
	step(problemRate)
	if k.get("/v1/events", "Authorization", keyD).Code != 200 {
		t.Error("one client's rate holds back another")
	}
	k.limit(0, 0)
	step(problemMediaType)
	headers[3] = "application/json; charset=UTF-8"
	step(problemTooLarge)
	body = bad
	step(problemMalformed)
	body = strings.Replace(body, `,"x":1`, "", 1)
	step(problemMerchant)
	body = strings.Replace(body, `"police"`, `"twd"`, 1)
	step(problemKeyMalformed)
	headers[5] = strings.Repeat("k", 16)
	step(problemField)
	body = strings.Replace(body, "10h", "10m", 1)
	if w := k.post(body, headers...); w.Code != http.StatusCreated {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRateFillsUpAgain(t *testing.T) {
	k := newKit(t)
	k.limit(1, 1)
	k.get("/v1/events")
	w := k.get("/v1/events")
	wantProblem(t, w, http.StatusTooManyRequests, problemRate)
	if w.Header().Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
	}
	k.now = k.now.Add(time.Second)
	if w := k.get("/v1/events"); w.Code != 200 {
		t.Errorf("a second later: %d", w.Code)
	}
}

func TestMediaTypes(t *testing.T) {
	for _, media := range []string{"", "text/json", "application/x-www-form-urlencoded", "application/json; charset=big5", "application/json, text/plain", "multipart/form-data; boundary=x"} {
		wantProblem(t, newKit(t).post(scenario, "Content-Type", media), http.StatusUnsupportedMediaType, problemMediaType)
	}
	wantProblem(t, newKit(t).post(scenario, "Content-Encoding", "gzip"), http.StatusUnsupportedMediaType, problemMediaType)
	for name, values := range map[string][]string{"Content-Type": {mediaJSON, "text/plain"}, "Content-Encoding": {"", "gzip"}} {
		r := httptest.NewRequest(http.MethodPost, "/v1/orders", strings.NewReader(scenario))
		r.Header = http.Header{"Authorization": {keyA}, "Content-Type": {mediaJSON}, "Idempotency-Key": {"3f0c2a86-6c1d-4c59"}}
		r.Header[name] = values
		wantProblem(t, newKit(t).send(r), http.StatusUnsupportedMediaType, problemMediaType)
	}
}

func TestUnmatchedAddressesAndMethods(t *testing.T) {
	tests := []struct {
		method, target string
		status         int
		allow          []string
	}{
		{"GET", "/", 404, nil},
		{"GET", "/v1/orders/", 404, nil},
		{"GET", "/V1/events", 404, nil},
		{"GET", "/v1//events", 404, nil},
		{"POST", orderPath + "/Cancel", 404, nil},
		{"POST", orderPath + "/cancel/", 404, nil},
		{"GET", orderPath + "/cancel", 405, []string{"POST"}},
		{"GET", orderPath + "/refunds", 405, []string{"POST"}},
		{"GET", "/problems/malformed", 404, nil},
		{"DELETE", orderPath, 405, []string{"GET", "HEAD"}},
		{"TRACE", "/v1/orders", 405, []string{"GET", "HEAD", "POST"}},
		{"OPTIONS", "/v1/orders", 405, []string{"GET", "HEAD", "POST"}},
		{"PUT", "/docs", 405, []string{"GET", "HEAD"}},
		{"X<Y", "/docs", 405, []string{"GET", "HEAD"}},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			k := newKit(t)
			r := httptest.NewRequest("GET", test.target, nil)
			r.Method = test.method
			w := k.send(r)
			wantProblem(t, w, test.status, map[int]string{404: problemNotFound, 405: problemMethod}[test.status])
			allow := strings.FieldsFunc(w.Header().Get("Allow"), func(r rune) bool { return r == ',' || r == ' ' })
			slices.Sort(allow)
			if !slices.Equal(allow, test.allow) {
				t.Errorf("Allow %q, want %q", allow, test.allow)
			}
			if k.seen[0].Route != unmatched || strings.Contains(k.log.String(), test.target+`"`) || strings.Contains(k.log.String(), "X<Y") {
				t.Errorf("%+v %s", k.seen, &k.log)
			}
		})
	}
}

func TestHeadAnswersLikeGet(t *testing.T) {
	for _, target := range []string{orderPath, orderPath + "/actions", "/v1/events", "/docs", "/v1/orders/1"} {
		k := newKit(t)
		k.keep("core")
		get := k.get(target)
		head := k.do(http.MethodHead, target, "", "Authorization", keyA)
		if head.Code != get.Code || head.Body.Len() != 0 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") {
			t.Errorf("%s: %d %d bytes, %v", target, head.Code, head.Body.Len(), head.Header())
		}
	}
}

func TestRequestID(t *testing.T) {
	for _, test := range []struct{ in, out string }{
		{"", "request-0000001"},
		{"core-7f3a9b21", "core-7f3a9b21"},
		{"short", "request-0000001"},
		{strings.Repeat("a", 65), "request-0000001"},
		{"core_7f3a9b21", "request-0000001"},
		{"aaaaaaaa\"}{\"level", "request-0000001"},
	} {
		k := newKit(t)
		w := k.get("/v1/orders/1", "X-Request-Id", test.in)
		p := wantProblem(t, w, 404, problemNotFound)
		if w.Header().Get("X-Request-Id") != test.out || p.Instance != test.out || !strings.Contains(k.log.String(), `"request_id":"`+test.out+`"`) {
			t.Errorf("%q: %q %q %s", test.in, w.Header().Get("X-Request-Id"), p.Instance, &k.log)
		}
	}
}

func TestPanicIsAnswered(t *testing.T) {
	for name, value := range map[string]any{"text": "card " + secretA, "error": errors.New(secretA)} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.place = func(context.Context, orders.Command, orders.Answers) (orders.Answer, error) { panic(value) }
			p := wantProblem(t, k.post(scenario), 500, problemInternal)
			if p.Instance == "" || strings.Contains(k.log.String(), secretA) || !strings.Contains(k.log.String(), "panic") {
				t.Errorf("%+v %s", p, &k.log)
			}
			if len(k.seen) != 1 || k.seen[0].Status != 500 {
				t.Errorf("%+v", k.seen)
			}
		})
	}
}

// TestOneLogLine: one line per request, of known words; never a body, a token or a query.
func TestOneLogLine(t *testing.T) {
	k := newKit(t)
	k.keep("core")
	began := true
	k.deps.Now = func() time.Time { // every look at the clock takes 5 ms
		if k.now = k.now.Add(5 * time.Millisecond); began {
			k.now, began = start, false
		}
		return k.now
	}
	k.build()
	k.get(orderPath)
	var line map[string]any
	if err := json.Unmarshal(k.log.Bytes(), &line); err != nil {
		t.Fatalf("not one line: %v %s", err, &k.log)
	}
	want := map[string]any{
		"level": "INFO", "msg": "request", "method": "GET", "route": "/v1/orders/{no}", "status": 200., "ms": 15.,
		"client": "core", "order_no": "2017061300000016", "request_id": "request-0000001",
	}
	for name, v := range want {
		if line[name] != v {
			t.Errorf("%s is %v, want %v", name, line[name], v)
		}
	}
	if len(line) != len(want) {
		t.Errorf("more than known: %v", line)
	}
	if want := (Observation{Method: "GET", Route: "/v1/orders/{no}", Status: 200, Duration: 15 * time.Millisecond}); k.seen[0] != want {
		t.Errorf("%+v, want %+v", k.seen[0], want)
	}
	k.log.Reset()
	k.post(with(t, "1361049", "canary-payer"))
	k.get("/v1/orders?client_reference=canary-reference")
	k.get("/v1/events?canary=query")
	if log := k.log.String(); strings.Contains(log, "canary") || strings.Contains(log, "paytoken") || strings.Contains(log, secretA) || strings.Count(log, "\n") != 3 {
		t.Errorf("%s", log)
	}
}

// TestSpoofedProxyHeaders: nothing of an answer or a log line rests on what a caller says of itself.
func TestSpoofedProxyHeaders(t *testing.T) {
	k := newKit(t)
	k.keep("core")
	plain := k.get(orderPath).Body.String()
	log := k.log.String()
	k.log.Reset()
	w := k.get(orderPath, "X-Forwarded-For", "10.0.0.1", "X-Forwarded-Host", "evil.example", "X-Forwarded-Prefix", "/evil", "X-HTTP-Method-Override", "DELETE")
	if w.Body.String() != plain || k.log.String() != log {
		t.Errorf("%s\n%s", w.Body, &k.log)
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config, *Deps)
		want   string
	}{
		{"one key id twice", func(c *Config, _ *Deps) { c.Clients[1].Keys[0].ID = "core-1" }, "core-1"},
		{"key id with a separator", func(c *Config, _ *Deps) { c.Clients[0].Keys[0].ID = "a_b" }, "a_b"},
		{"prefix on http", func(c *Config, _ *Deps) { c.Clients[0].ReturnPrefixes = []string{"http://pay.taipei/"} }, "want https"},
		{"prefix with a dot segment", func(c *Config, _ *Deps) { c.Clients[0].ReturnPrefixes = []string{"https://pay.taipei/a/../b"} }, "plain path"},
		{"prefix with a query", func(c *Config, _ *Deps) { c.Clients[0].ReturnPrefixes = []string{"https://pay.taipei/a?b"} }, "plain path"},
		{"prefix with a user", func(c *Config, _ *Deps) { c.Clients[0].ReturnPrefixes = []string{"https://u@pay.taipei/"} }, "plain path"},
		{"unknown currency", func(c *Config, _ *Deps) { c.Currency = "XTS" }, "currency"},
		{"negative rate", func(c *Config, _ *Deps) { c.Clients[1].RatePerSecond = -1 }, `"other": rate`},
		{"negative burst", func(c *Config, _ *Deps) { c.Clients[1].Burst = -1 }, `"other": rate`},
		{"no store", func(_ *Config, d *Deps) { d.Store = nil }, "Store"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			test.change(&k.config, &k.deps)
			if _, err := New(k.config, k.deps); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
