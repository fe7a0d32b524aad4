package core_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/core"
)

func TestTheWholeWalk(t *testing.T) {
	c := newCity(t)
	list := c.page("/bills?by=number&bill_no=" + bill1).byID("bills")
	if got := list.fields()["bill"]; got != nil {
		t.Errorf("ticked beforehand: %v", got)
	}
	q := list.fields()
	q["bill"] = []string{bill1, bill2}
	if got := c.page("/bills?" + q.Encode()).byID("total").words(); !strings.Contains(got, "2 筆，合計 NT$ 40") {
		t.Errorf("running total %q", got)
	}
	p := c.page("/checkout?" + q.Encode())
	for _, want := range []string{"10 分鐘", "熊讚銀行", "活期帳戶", "超過單筆上限，預計恢復時間 2017/06/13 10:00", "臺北市停車管理工程處", bill1, bill2, "NT$ 40"} {
		if !strings.Contains(p.words(), want) {
			t.Errorf("the choice of providers lacks %q", want)
		}
	}
	if _, disabled := p.byID("provider-other").attr["disabled"]; !disabled {
		t.Error("an unavailable provider can be chosen")
	}
	w := c.post(p.byID("choose").fields()) // the only available provider is ticked
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != payPage {
		t.Fatalf("%d to %q", w.Code, w.Header().Get("Location"))
	}
	back := strings.TrimPrefix(c.gateway.returnURL, baseURL) + "&order_no=" + orderA
	if got := c.page(back).status(); got != "confirming" {
		t.Errorf("before payment: %q", got)
	}
	c.gateway.set(twoBills(orderA, "").paid())
	p = c.page(back)
	if p.status() != "paid" {
		t.Fatalf("after payment: %q", p.status())
	}
	for id, want := range map[string]string{
		"paid_at": "2017/06/13 09:03:04", "agency": "臺北市停車管理工程處", "item": "停車費", "trade_no": "2017061300000014", "order_no": orderA,
		"method": "熊讚銀行 · 活期帳戶", "subtotal": "NT$ 40", "fee": "NT$ 0", "sum": "NT$ 40",
		"lines": "停車費 " + bill1 + " NT$ 20 停車費 " + bill2 + " NT$ 20",
	} {
		if got := p.byID(id).words(); got != want {
			t.Errorf("#%s is %q, want %q", id, got, want)
		}
	}
	// The API says paid; the books wait for the event.
	if c.settled(bill1) != "" {
		t.Error("the browser's return settled a bill")
	}
	c.webhook(twoBills(orderA, "").paid().event("order.paid", 2))
	const found = "/bills?by=plate&vehicle=C&plate=AB-2468"
	p = c.page(found)
	if strings.Count(p.byID("all-paid").words(), "已繳 停車費") != 2 || p.byID("pay") != nil || p.byID("bills") != nil {
		t.Errorf("paid bills are offered: %s", p.words())
	}
	if got := p.byID("receipt"); got == nil || c.page(got.attr["href"]).byID("trade_no") == nil {
		t.Error("whoever paid is not shown the receipt")
	}
	for _, cookie := range []string{"", "pay_last=2017061300000099.AAAAAAAAAAAAAAAAAAAAAA"} {
		r := httptest.NewRequest(http.MethodGet, found, nil)
		r.Header.Set("Cookie", cookie)
		if parse(t, c.do(r).Body.String()).byID("receipt") != nil {
			t.Errorf("a browser that paid something else (%q) is shown a receipt", cookie)
		}
	}
	if got := c.page("/checkout?bill=" + bill1).byID("error"); got == nil {
		t.Error("a paid bill can be ordered again")
	}
}

func TestPlateThatFindsNothing(t *testing.T) {
	c := newCity(t)
	none := c.page("/bills?by=plate&vehicle=C&plate=135-AB&lang=en")
	other := none.byID("other-vehicle")
	if other == nil || c.page(other.attr["href"]).byID("bill-L61081551523145") == nil || !strings.Contains(other.attr["href"], "lang=en") {
		t.Errorf("the motorcycle is not suggested: %s", none.words())
	}
	for plate, want := range map[string]string{"AB2468": "少了「-」", "": "不完整", "A-": "不完整"} {
		if got := c.page("/bills?by=plate&vehicle=C&plate=" + plate).byID("plate-error").words(); !strings.Contains(got, want) {
			t.Errorf("plate %q: %s", plate, got)
		}
	}
}

// English pages say what a bill is for, and no punctuation of Chinese is left in them.
func TestEnglishBills(t *testing.T) {
	c := newCity(t)
	p := c.page("/bills?lang=en&by=number&bill_no=" + bill1)
	if got := p.byID("bills").words(); strings.Count(got, "停車費 Parking fee") != 2 || strings.ContainsAny(got, "：。，、") {
		t.Error(got)
	}
	if got := c.page("/checkout?lang=en&n=AAAAAAAAAAAAAAAAAAAAAA&bill=" + water).words(); !strings.Contains(got, "水費 Water bill") {
		t.Error(got)
	}
}

func TestLookUp(t *testing.T) {
	for _, tt := range []struct {
		name, query string
		want        []string // bill numbers; nil: none found
		wrong       string   // id of the error
	}{
		{"a bill and its vehicle's others", "by=number&bill_no=" + bill2, []string{bill1, bill2}, ""},
		{"lower case, full width and blanks", "by=number&bill_no=" + url.QueryEscape(" ｈ60983881309263 "), []string{bill1, bill2}, ""},
		{"unknown bill", "by=number&bill_no=123456789", nil, ""},
		{"20 characters", "by=number&bill_no=12345678901234567890", nil, ""},
		{"8 characters", "by=number&bill_no=12345678", nil, "bill_no-error"},
		{"21 characters", "by=number&bill_no=123456789012345678901", nil, "bill_no-error"},
		{"empty", "by=number&bill_no=", nil, "bill_no-error"},
		{"car", "by=plate&vehicle=C&plate=AB-2468", []string{bill1, bill2}, ""},
		{"full-width plate, long dash", "by=plate&vehicle=C&plate=" + url.QueryEscape("ａｂ—２４６８"), []string{bill1, bill2}, ""},
		{"minus sign", "by=plate&vehicle=C&plate=" + url.QueryEscape("ab−2468"), []string{bill1, bill2}, ""},
		{"motorcycle", "by=plate&vehicle=M&plate=135-AB", []string{"L61081551523145"}, ""},
		{"the same plate as a car", "by=plate&vehicle=C&plate=135-AB", nil, ""},
		{"military", "by=plate&vehicle=C&plate=" + url.QueryEscape("軍C-21110"), nil, ""},
		{"without hyphen", "by=plate&vehicle=C&plate=AB2468", nil, "plate-error"},
		{"without vehicle", "by=plate&plate=AB-2468", nil, "plate-error"},
		{"water as the guide types it", "by=water&water_1=f&water_2=09&water_3=069668&water_4=0", []string{water, "F090696680-10603"}, ""},
		{"water, a box too short", "by=water&water_1=f&water_2=9&water_3=069668&water_4=0", nil, "water-error"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newCity(t).page("/bills?" + tt.query)
			var got []string
			for _, i := range p.all(func(n *node) bool { return n.tag == "input" && n.attr["name"] == "bill" }) {
				got = append(got, i.attr["value"])
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("found %v, want %v", got, tt.want)
			}
			if tt.wrong == "" {
				if tt.want == nil && p.byID("no-bills") == nil {
					t.Error("it does not say that nothing was found")
				}
				return
			}
			if p.byID(tt.wrong) == nil || len(p.all(func(n *node) bool { return strings.HasSuffix(n.attr["id"], "-error") })) != 1 {
				t.Fatalf("want #%s alone", tt.wrong)
			}
			if bad := p.all(func(n *node) bool {
				return n.attr["aria-invalid"] == "true" && strings.Contains(n.attr["aria-describedby"], tt.wrong)
			}); len(bad) == 0 {
				t.Error("no field points to the error")
			}
		})
	}
}

func TestWhatWasTypedStays(t *testing.T) {
	p := newCity(t).page("/bills?by=plate&vehicle=M&plate=AB2468")
	if _, checked := p.byID("vehicle-motorcycle").attr["checked"]; p.byID("plate").attr["value"] != "AB2468" || !checked {
		t.Error("the form forgot what was typed")
	}
}

func TestBillsThatCannotBePaidTogether(t *testing.T) {
	c := newCity(t)
	for query, want := range map[string]string{
		"bill=" + bill1 + "&bill=" + water:        "不同機關",
		"by=number&bill_no=" + bill1:              "請先勾選",
		"by=number&bill_no=" + bill1 + "&lang=en": "Tick the bills",
	} {
		if e := c.page("/checkout?" + query).byID("error"); e == nil || !strings.Contains(e.words(), want) {
			t.Errorf("%s: want %q", query, want)
		}
	}
	f := c.form("")
	f["bill"] = []string{bill1, water}
	if w := c.post(f); w.Code != http.StatusUnprocessableEntity || len(c.gateway.keysSent()) != 0 {
		t.Errorf("a mixed form was answered %d", w.Code)
	}
}

func TestNoProviderChosen(t *testing.T) {
	c := newCity(t)
	f := c.form("")
	f.Del("provider")
	w := c.post(f)
	p := parse(t, w.Body.String())
	if w.Code != http.StatusUnprocessableEntity || p.byID("provider-error") == nil || p.byID("choose").fields().Get("nonce") != f.Get("nonce") {
		t.Errorf("answered %d", w.Code)
	}
}

func TestReloadAndLanguageKeepTheNonce(t *testing.T) {
	c := newCity(t)
	w := c.get("/checkout?bill=" + bill1)
	here := w.Header().Get("Location")
	nonce := c.page(here).byID("choose").fields().Get("nonce")
	again := c.page(here)
	english := c.page(again.byID("switch-lang").attr["href"])
	if nonce == "" || again.byID("choose").fields().Get("nonce") != nonce || english.byID("choose").fields().Get("nonce") != nonce {
		t.Error("the nonce changed")
	}
}

func TestEachSubmitRepeatsOneRequest(t *testing.T) {
	c := newCity(t)
	f := c.form("")
	var wg sync.WaitGroup
	codes := make([]string, 8)
	for i := range codes {
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "/checkout", strings.NewReader(f.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := c.do(r)
			codes[i] = fmt.Sprint(w.Code, w.Header().Get("Location"))
		})
	}
	wg.Wait()
	if got := slices.Compact(codes); len(got) != 1 || got[0] != fmt.Sprint(303, payPage) {
		t.Errorf("answers %v", got)
	}
	// The double fails the test when one key comes with two bodies.
	if keys := slices.Compact(c.gateway.keysSent()); len(keys) != 1 || keys[0] != "core-"+f.Get("nonce") {
		t.Errorf("keys %v", keys)
	}
}

// wire is a transport that holds every order back until it is let go.
type wire struct {
	letGo chan struct{}
	sent  atomic.Int32
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.sent.Add(1)
	select {
	case <-w.letGo:
		return nil, errors.New("cut")
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestADoubleClickWaitsForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{letGo: make(chan struct{})}
		c, err := core.New(
			core.Config{BaseURL: baseURL, APIURL: "http://127.0.0.1:8080", APIKey: apiKey, WebhookKeys: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
			core.Deps{HTTP: &http.Client{Transport: w}, Now: time.Now, Rand: &testkit.Counter{}})
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{"nonce": {strings.Repeat("n", 22)}, "bill": {bill1}, "provider": {"bravobank"}}
		first, leave := context.WithCancel(t.Context())
		click := func(ctx context.Context) {
			r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/checkout", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			c.Handler().ServeHTTP(httptest.NewRecorder(), r)
		}
		go click(first)
		synctest.Wait()
		go click(t.Context())
		leave() // a browser gives up the first click for the second
		synctest.Wait()
		if n := w.sent.Load(); n != 1 {
			t.Errorf("%d requests are under way, want the first alone", n)
		}
		w.letGo <- struct{}{}
		synctest.Wait()
		if n := w.sent.Load(); n != 2 {
			t.Errorf("%d requests were sent, want 2", n)
		}
		w.letGo <- struct{}{}
		synctest.Wait()
	})
}

func TestChoosingAgainOnAUsedPageMakesNoSecondOrder(t *testing.T) {
	c := newCity(t)
	f := c.form("")
	c.post(f)
	f.Set("provider", "other")
	if w := c.post(f); w.Code != 303 || !strings.HasPrefix(w.Header().Get("Location"), "/result?") || len(c.gateway.keysSent()) != 1 {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
}

func TestAnotherFormIsAnotherRequest(t *testing.T) {
	c := newCity(t)
	a, b := c.form(""), c.form("")
	c.gateway.next(says(409, "bill_in_progress"), says(409, "bill_in_progress"))
	c.post(a)
	c.post(b)
	if k := c.gateway.keysSent(); k[0] == k[1] {
		t.Error("two forms share a key")
	}
	bodies := c.gateway.keys
	if string(bodies["core-"+a.Get("nonce")]) == string(bodies["core-"+b.Get("nonce")]) {
		t.Error("two forms share a client_reference")
	}
}

func TestAnswersOfTheAPI(t *testing.T) {
	garbage := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.WriteHeader(status); _, _ = w.Write([]byte(body)) }
	}
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter)
		status string
		retry  bool // with the same key
	}{
		{"connection cut", cut, "unknown", true},
		{"201 unreadable", garbage(201, "{"), "unknown", true},
		{"201 for another order", garbage(201, `{"order_no":"`+orderB+`","client_reference":"x","version":1,"merchant":"pma","lines":[{}],"amount":{"value":"40","currency":"TWD"},"fee":{"value":"0","currency":"TWD"},"total":{"value":"40","currency":"TWD"}}`), "unknown", true},
		{"502 of a proxy", garbage(502, "<html>"), "unknown", true},
		{"302", func(w http.ResponseWriter) { w.Header().Set("Location", "/v1/orders"); w.WriteHeader(302) }, "unknown", true},
		{"500", says(500, "internal"), "unknown", true},
		{"503 store", says(503, "store_unavailable"), "unknown", true},
		{"409 in flight", says(409, "in_flight"), "in_flight", true},
		{"409 outcome unknown", says(409, "outcome_unknown"), "unknown", true},
		{"409 not payable", says(409, "not_payable"), "unknown", true},
		{"503 no account", says(503, "no_account_available"), "unavailable", true},
		{"429", says(429, "rate_limited"), "unavailable", true},
		{"409 in progress", says(409, "bill_in_progress"), "in_progress", false},
		{"409 paid", says(409, "bill_paid"), "bill_paid", false},
		{"409 reference", says(409, "reference_used"), "refused", false},
		{"422 declined", says(422, "declined"), "declined", false},
		{"422 field", says(422, "invalid_field"), "refused", false},
		{"422 key reused", says(422, "key_reused"), "refused", false},
		{"401", says(401, "unauthenticated"), "misconfigured", false},
		{"403", says(403, "merchant_not_allowed"), "misconfigured", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t)
			c.gateway.next(tt.answer)
			f := c.form("")
			w := c.post(f)
			p := parse(t, w.Body.String())
			if p.status() != tt.status || (p.byID("retry") != nil) != tt.retry {
				t.Fatalf("answered %d, status %q, retry %v", w.Code, p.status(), p.byID("retry") != nil)
			}
			if strings.Contains(w.Body.String(), "<b>") {
				t.Error("text of the API is not escaped")
			}
			if !tt.retry {
				return
			}
			w = c.post(p.byID("retry").parent.fields())
			if w.Code != http.StatusSeeOther || w.Header().Get("Location") != payPage {
				t.Errorf("the retry was answered %d", w.Code)
			}
			if keys := c.gateway.keysSent(); len(keys) != 2 || keys[0] != keys[1] {
				t.Errorf("keys %v", keys)
			}
		})
	}
}

func TestOutcomeUnknownOfEveryCreateLeadsToTheResultPage(t *testing.T) {
	c := newCity(t)
	f := c.form("")
	c.post(f)
	stored := c.gateway.answers["core-"+f.Get("nonce")]
	c.gateway.next(func(w http.ResponseWriter) { w.WriteHeader(202); _, _ = w.Write(stored) })
	w := c.post(f)
	if to := w.Header().Get("Location"); w.Code != 303 || !strings.HasPrefix(to, "/result?") || c.page(to).status() != "confirming" {
		t.Errorf("%d to %q", w.Code, to)
	}
}

// not_payable says that the order of the request exists: its own page tells what became of it.
func TestNotPayableLeadsToTheOrder(t *testing.T) {
	c := newCity(t)
	f := c.form("")
	c.post(f)
	c.gateway.set(twoBills(orderA, "").paid())
	c.gateway.next(says(409, "not_payable"))
	w := c.post(f)
	if to := w.Header().Get("Location"); w.Code != 303 || !strings.HasPrefix(to, "/result?") || c.page(to).status() != "paid" {
		t.Errorf("%d to %q", w.Code, to)
	}
}

func TestHostileCheckoutURLIsNotFollowed(t *testing.T) {
	for _, bad := range []string{"javascript:alert(1)", "//evil.example/pay", ""} {
		c := newCity(t)
		f := c.form("")
		c.post(f)
		key := "core-" + f.Get("nonce")
		c.gateway.answers[key] = []byte(strings.Replace(string(c.gateway.answers[key]), payPage, bad, 1))
		if to := c.post(f).Header().Get("Location"); !strings.HasPrefix(to, "/result?") {
			t.Errorf("%q led to %q", bad, to)
		}
	}
}

func TestResultTellsTheTruth(t *testing.T) {
	open := twoBills(orderA, "")
	gone := func(d *document) { d.CheckoutURL = nil }
	for _, tt := range []struct {
		name   string
		order  document
		status string
		offer  string // id of what is offered: continue, again, free (the time when it is) or nothing
	}{
		{"pending", open, "confirming", "continue"},
		{"pending, not payable", open.with(gone), "confirming", ""},
		{"intent", open.attempts("intent"), "confirming", "continue"},
		{"doubt", open.attempts("failed").with(func(d *document) { d.Doubt = true; d.CheckoutURL = nil }), "confirming", ""},
		{"attempt failed", open.attempts("failed").with(gone), "unpaid", "free"},
		{"attempt cancelled", open.attempts("cancelled").with(gone), "unpaid", "free"},
		{"attempt failed, a page that only sends back", open.attempts("failed"), "unpaid", "free"},
		{"attempt failed, time over", open.attempts("failed").with(func(d *document) { d.ExpiresAt = "2017-06-13T09:00:00+08:00"; gone(d) }), "unpaid", "again"},
		{"failed, an earlier one may still pay", open.attempts("pending", "failed"), "confirming", "continue"},
		{"failed, an earlier one never left", open.attempts("intent", "failed").with(gone), "unpaid", "free"},
		{"failed, a next one to open", open.attempts("failed", "intent"), "confirming", "continue"},
		{"expired", open.attempts("expired").with(func(d *document) { d.Status = "expired"; gone(d) }), "unpaid", "again"},
		{"cancelled", open.attempts("cancelled").with(func(d *document) { d.Status = "cancelled"; gone(d) }), "unpaid", "again"},
		{"review", open.with(func(d *document) { d.Review = true; gone(d) }), "review", ""},
		{"paid attempt, order not paid", open.attempts("paid"), "confirming", "continue"},
		{"unknown state", open.with(func(d *document) { d.Status = "settling"; gone(d) }), "confirming", ""},
		{"refunded", open.paid().with(func(d *document) { d.Status = "refunded" }), "refunded", ""},
		{"paid", open.paid(), "paid", ""},
		{"paid, then reviewed", open.paid().with(func(d *document) { d.Review = true }), "paid", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t)
			c.post(c.form(""))
			c.gateway.set(tt.order)
			back := strings.TrimPrefix(c.gateway.returnURL, baseURL) + "&order_no=" + orderA
			p := c.page(back)
			if p.status() != tt.status {
				t.Fatalf("status %q, want %q", p.status(), tt.status)
			}
			for _, id := range []string{"continue", "again", "free"} {
				if got := p.byID(id) != nil; got != (id == tt.offer) {
					t.Errorf("#%s offered: %v", id, got)
				}
			}
			if f := p.byID("free"); f != nil && f.words() != "09:10:00" {
				t.Errorf("choose again from %q", f.words())
			}
			if said := strings.Contains(p.words(), "您在熊讚銀行取消了付款"); said != (tt.name == "attempt cancelled" || tt.name == "cancelled") {
				t.Errorf("told what the provider says: %t: %s", said, p.words())
			}
			if said := strings.Contains(p.words(), "沒有收取款項"); said != (tt.status == "unpaid") {
				t.Errorf("沒有收取款項: %v", said)
			}
			if said := strings.Contains(p.words(), "繳費成功"); said != (tt.status == "paid") {
				t.Errorf("繳費成功: %v", said)
			}
			refresh := len(p.all(func(n *node) bool { return n.attr["http-equiv"] == "refresh" && n.attr["content"] == "3" })) == 1
			if refresh != (tt.status == "confirming") {
				t.Errorf("refreshes itself: %v", refresh)
			}
			if tt.status == "confirming" && !strings.Contains(p.words(), "我們正在確認付款結果，請勿重複繳費") {
				t.Error("it does not warn")
			}
		})
	}
}

func TestRefreshCanBeStopped(t *testing.T) {
	c := newCity(t)
	c.gateway.set(twoBills(orderA, "r"))
	p := c.page(c.page("/result?order_no=" + orderA).byID("stop-refresh").attr["href"])
	if len(p.all(func(n *node) bool { return n.attr["http-equiv"] == "refresh" })) != 0 || p.byID("refresh") == nil {
		t.Error("it goes on")
	}
}

func TestSurplusIsTold(t *testing.T) {
	c := newCity(t)
	c.post(c.form(""))
	c.gateway.set(twoBills(orderA, "").paid().with(func(d *document) { d.Surplus = []surplus{{"s", orderA + "01", bill1, "20", "0"}} }))
	p := c.page(strings.TrimPrefix(c.gateway.returnURL, baseURL) + "&order_no=" + orderA)
	if s := p.byID("surplus"); s == nil || !strings.Contains(s.words(), "NT$ 20") {
		t.Error("not told")
	}
}

func TestOrderNumberAloneOpensNoDetails(t *testing.T) {
	c := newCity(t)
	c.post(c.form(""))
	c.gateway.set(twoBills(orderA, "").paid())
	for _, q := range []string{"", "&receipt=AAAAAAAAAAAAAAAAAAAAAA"} {
		p := c.page("/result?order_no=" + orderA + q)
		if p.status() != "paid" || strings.Contains(p.words(), bill1) || strings.Contains(p.words(), "40") || p.byID("trade_no") != nil {
			t.Errorf("%q opened: %s", q, p.words())
		}
	}
}

func TestResultWhenTheAPICannotTell(t *testing.T) {
	c := newCity(t)
	for _, no := range []string{orderB, "", "../providers", "x"} {
		if w := c.get("/result?order_no=" + url.QueryEscape(no)); w.Code != 404 || parse(t, w.Body.String()).status() != "not_found" {
			t.Errorf("order %q: %d", no, w.Code)
		}
	}
	c.gateway.set(twoBills(orderA, "r").paid())
	c.gateway.mu.Lock()
	c.gateway.down = true
	c.gateway.mu.Unlock()
	if p := c.page("/result?order_no=" + orderA); p.status() != "unknown" || !strings.Contains(p.words(), "請勿重複繳費") {
		t.Errorf("API down: %s", p.words())
	}
}

func TestLateOrderIsTold(t *testing.T) {
	c := newCity(t)
	c.post(c.form(""))
	c.advance(11 * time.Minute)
	if p := c.page(strings.TrimPrefix(c.gateway.returnURL, baseURL) + "&order_no=" + orderA); !strings.Contains(p.words(), "付款時間已過") {
		t.Error("not told")
	}
}

func TestTheLatestOrderIsFoundAgain(t *testing.T) {
	c := newCity(t)
	c.post(c.form(""))
	link := ""
	for _, a := range c.page("/").tags("a") {
		if strings.Contains(a.words(), "最近的訂單") {
			link = a.attr["href"]
		}
	}
	if p := c.page(link); p.status() != "confirming" || p.byID("lines") == nil {
		t.Errorf("%q leads to %q", link, p.status())
	}
	c.cookies = []*http.Cookie{{Name: "pay_last", Value: `20170613.<b>`}}
	if strings.Contains(c.get("/").Body.String(), "最近的訂單") {
		t.Error("a spoilt cookie is used")
	}
}

func TestTextsOfTheAPIAreEscaped(t *testing.T) {
	const evil = `<script>alert(1)</script>"'><img src=x>`
	c := newCity(t)
	c.gateway.directory = strings.NewReplacer("熊讚銀行", `<script>alert(1)</script>\"'><img src=x>`, "活期帳戶", `<script>alert(1)</script>`).Replace(oneProvider)
	choose := c.get(c.get("/checkout?bill=" + bill1 + "&bill=" + bill2).Header().Get("Location")).Body.String()
	c.post(c.form(""))
	c.gateway.set(twoBills(orderA, "").paid().with(func(d *document) {
		d.Lines[0].Name, d.Lines[0].BillNo, d.Lines[0].Subtotal = evil, evil, evil
		e := evil
		d.Attempts[0].ProviderTradeNo, d.Attempts[0].Method, d.Merchant = &e, &e, evil
	}))
	result := c.get(strings.TrimPrefix(c.gateway.returnURL, baseURL) + "&order_no=" + orderA).Body.String()
	typed := c.get("/bills?by=number&bill_no=" + url.QueryEscape(evil)).Body.String()
	for name, page := range map[string]string{"choose": choose, "result": result, "typed": typed} {
		if !strings.Contains(page, "alert(1)") || strings.Contains(page, "<script>") || strings.Contains(page, "<img") {
			t.Errorf("%s:\n%s", name, page)
		}
	}
	c.gateway.set(twoBills(orderA, "").with(func(d *document) { u := "javascript:alert(1)"; d.CheckoutURL = &u }))
	if strings.Contains(c.get(strings.TrimPrefix(c.gateway.returnURL, baseURL)+"&order_no="+orderA).Body.String(), "javascript:") {
		t.Error("a script address is offered")
	}
}

func TestEnglishStaysInTheAddress(t *testing.T) {
	c := newCity(t)
	home := c.page("/")
	if home.tags("html")[0].attr["lang"] != "zh-Hant" {
		t.Error("Chinese is not first")
	}
	home = c.page(home.byID("switch-lang").attr["href"])
	if home.tags("html")[0].attr["lang"] != "en" {
		t.Fatal("the switch does not switch")
	}
	for _, f := range home.tags("form") {
		if f.fields().Get("lang") != "en" {
			t.Error("a form loses the language")
		}
	}
	w := c.post(c.form("&lang=en"))
	if w.Code != 303 || !strings.Contains(c.gateway.returnURL, "lang=en") {
		t.Errorf("return_url %q", c.gateway.returnURL)
	}
	c.gateway.set(twoBills(orderA, "").paid())
	back := strings.TrimPrefix(c.gateway.returnURL, baseURL) + "&order_no=" + orderA
	p := c.page(back)
	if got := p.byID("method").words(); got != "Bravo Bank · Deposit account" || !strings.Contains(p.words(), "Payment complete") {
		t.Errorf("method %q", got)
	}
	if p = c.page(p.byID("switch-lang").attr["href"]); p.byID("lines") == nil || !strings.Contains(p.words(), "繳費成功") {
		t.Error("switching back loses the page")
	}
}

// pagesOf is one of every page, by name.
func pagesOf(t *testing.T, lang string) map[string]*httptest.ResponseRecorder {
	c := newCity(t)
	pages := map[string]*httptest.ResponseRecorder{
		"home": c.get("/?" + lang), "wrong": c.get("/bills?by=water&" + lang), "none": c.get("/bills?by=number&bill_no=123456789&" + lang),
		"bills": c.get("/bills?by=plate&vehicle=C&plate=AB-2468&" + lang), "error": c.get("/checkout?by=plate&vehicle=C&plate=AB-2468&" + lang),
		"choose": c.get(c.get("/checkout?bill=" + bill1 + "&" + lang).Header().Get("Location")), "missing": c.get("/nothing?" + lang),
	}
	f := c.form("&" + lang)
	c.gateway.next(cut)
	pages["outcome"] = c.post(f)
	c.post(f)
	back := strings.TrimPrefix(c.gateway.returnURL, baseURL) + "&order_no=" + orderA
	pages["confirming"] = c.get(back)
	c.gateway.set(twoBills(orderA, "").paid())
	pages["paid"] = c.get(back)
	return pages
}

func TestPagesAreAccessible(t *testing.T) {
	for _, lang := range []string{"", "lang=en"} {
		for name, w := range pagesOf(t, lang) {
			t.Run(name+lang, func(t *testing.T) {
				p := parse(t, w.Body.String())
				want := map[string]string{"": "zh-Hant", "lang=en": "en"}[lang]
				if got := p.tags("html")[0].attr["lang"]; got != want {
					t.Errorf("lang %q, want %q", got, want)
				}
				for _, one := range []string{"title", "h1", "main", "header", "footer", "nav"} {
					if n := p.tags(one); len(n) != 1 || n[0].words() == "" {
						t.Errorf("%d <%s>, want one with words", len(n), one)
					}
				}
				if a := p.tags("a")[0]; a.attr["href"] != "#main" || p.byID("main") == nil {
					t.Error("the first link does not skip to the content")
				}
				if n := p.tags("noscript"); len(n) != 1 || n[0].words() == "" {
					t.Error("nobody says that it works without scripts")
				}
				labelled(t, p)
				for _, n := range p.all(func(n *node) bool { return n.tag == "svg" }) {
					if n.attr["aria-hidden"] != "true" {
						t.Error("a drawing is read aloud")
					}
				}
				for _, n := range append(p.tags("button"), p.tags("a")...) {
					if n.words() == "" {
						t.Errorf("<%s id=%q> has no words", n.tag, n.attr["id"])
					}
				}
			})
		}
	}
}

// labelled checks that ids are unique, that every reference leads somewhere and that every field has a label.
func labelled(t *testing.T, p *node) {
	t.Helper()
	ids := map[string]int{}
	for _, n := range p.all(func(n *node) bool { return n.attr["id"] != "" }) {
		ids[n.attr["id"]]++
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("id %q stands %d times", id, n)
		}
	}
	labels := map[string]bool{}
	for _, l := range p.tags("label") {
		labels[l.attr["for"]] = l.words() != ""
	}
	for _, i := range p.tags("input") {
		if i.attr["type"] != "hidden" && !labels[i.attr["id"]] {
			t.Errorf("input %q has no label", i.attr["id"])
		}
	}
	for _, n := range p.all(func(n *node) bool { return n.attr["aria-describedby"]+n.attr["aria-labelledby"] != "" }) {
		for _, id := range strings.Fields(n.attr["aria-describedby"] + " " + n.attr["aria-labelledby"]) {
			if ids[id] != 1 {
				t.Errorf("<%s> points to #%s, which is not there", n.tag, id)
			}
		}
	}
}

func TestPagesAskNobodyElse(t *testing.T) {
	for name, w := range pagesOf(t, "") {
		p := parse(t, w.Body.String())
		csp := w.Header().Get("Content-Security-Policy")
		for _, n := range append(p.tags("style"), p.tags("script")...) {
			if n.attr["nonce"] == "" || !strings.Contains(csp, n.tag+"-src 'nonce-"+n.attr["nonce"]+"'") {
				t.Errorf("%s: <%s> without the policy's nonce", name, n.tag)
			}
		}
		for _, n := range p.all(func(n *node) bool { return n.attr["src"] != "" || n.attr["style"] != "" || n.attr["onclick"] != "" }) {
			t.Errorf("%s: <%s> loads or styles in place", name, n.tag)
		}
		for _, n := range p.tags("link") {
			if !strings.HasPrefix(n.attr["href"], "data:") {
				t.Errorf("%s: link to %s", name, n.attr["href"])
			}
		}
		if !strings.HasPrefix(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", name, w.Header())
		}
	}
}

func TestOtherSitesCannotOrder(t *testing.T) {
	c := newCity(t)
	r := httptest.NewRequest(http.MethodPost, "/checkout", strings.NewReader(c.form("").Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if w := c.do(r); w.Code != http.StatusForbidden || len(c.gateway.keysSent()) != 0 {
		t.Errorf("answered %d", w.Code)
	}
}

func TestConfigIsCheckedAndNotPrinted(t *testing.T) {
	const shared = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // published in the Standard Webhooks examples
	good := core.Config{BaseURL: baseURL, APIURL: "http://127.0.0.1:8080", APIKey: apiKey, WebhookKeys: []string{shared}}
	deps := core.Deps{HTTP: &http.Client{}, Now: time.Now, Rand: &testkit.Counter{}}
	if _, err := core.New(good, deps); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d"} {
		if s := fmt.Sprintf(verb, good) + fmt.Sprintf(verb, struct{ C core.Config }{good}); strings.Contains(s, "gk_") || strings.Contains(s, "whsec_") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
	for name, spoil := range map[string]func(*core.Config){
		"base with path": func(c *core.Config) { c.BaseURL += "/" }, "no scheme": func(c *core.Config) { c.APIURL = "127.0.0.1:8080" },
		"no key": func(c *core.Config) { c.APIKey = "" }, "no webhook key": func(c *core.Config) { c.WebhookKeys = nil },
		"half a webhook key": func(c *core.Config) { c.WebhookKeys = []string{"whsec_AAAA"} },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := core.New(cfg, deps); err == nil || strings.Contains(err.Error(), "whsec_AAAA") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := core.New(good, core.Deps{}); err == nil {
		t.Error("no Deps")
	}
}
