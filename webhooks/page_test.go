package webhooks_test

import (
	"context"
	"errors"
	"html"
	"net/http"
	"strings"
	"testing"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/webhooks"
)

const core = "https://pay.taipei/result?order_no=" + orderNo

func wantPageHeaders(t *testing.T, got answer) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Request-Id": "req-1",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
}

func TestPayPostsAForm(t *testing.T) {
	evil := `"><script>alert(1)</script>'&<img src=x onerror=alert(1)>`
	l := listen(t, webhooks.Config{})
	l.checkout = orders.Checkout{
		OrderNo: orderNo, ReturnURL: core, FormOrigins: []string{"https://bank.example:8443", "https://x.example; script-src *", "https://y.example/path", "javascript:"},
		Redirect: &orders.Redirect{Method: "POST", URL: "https://bank.example:8443/pay?a=1&b=2", Fields: map[string]string{"order": "eyJhIjoxfQ", "submit": "1", evil: evil}},
	}
	got := l.do(t, "GET", "/pay/"+token, "", nil)
	if got.status != 200 || got.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %s", got.status, got.header.Get("Content-Type"))
	}
	wantPageHeaders(t, got)
	const policy = "default-src 'none'; script-src 'nonce-bm9uY2U='; style-src 'nonce-bm9uY2U='; form-action https://bank.example:8443; base-uri 'none'; frame-ancestors 'none'"
	if p := got.header.Get("Content-Security-Policy"); p != policy {
		t.Errorf("policy\n%s, want\n%s", p, policy)
	}
	for _, part := range []string{
		`<html lang="zh-Hant">`, `<div lang="en">`, `width=device-width`, orderNo, `正在前往付款頁面`, `Taking you to the payment page`,
		`<form method="post" action="https://bank.example:8443/pay?a=1&amp;b=2"`, `<input type="hidden" name="order" value="eyJhIjoxfQ">`,
		`<button type="submit">`, `<script nonce="bm9uY2U=">HTMLFormElement.prototype.submit.call(document.forms[0])</script>`, `<style nonce="bm9uY2U=">`,
	} {
		if !strings.Contains(got.body, part) {
			t.Errorf("the page lacks %s\n%s", part, got.body)
		}
	}
	if strings.Index(got.body, "正在前往") > strings.Index(got.body, `lang="en"`) {
		t.Error("English comes first")
	}
	if strings.Contains(got.body, "<script>") || strings.Contains(got.body, "<img") || strings.Count(got.body, "<script") != 1 {
		t.Errorf("a field got out of its attribute\n%s", got.body)
	}
	if !strings.Contains(html.UnescapeString(got.body), `name="`+evil+`" value="`+evil+`"`) {
		t.Errorf("a field was changed\n%s", got.body)
	}
	if len(l.clicks) != 1 || l.clicks[0] != token {
		t.Errorf("clicks %q", l.clicks)
	}
	if !strings.Contains(l.log.String(), orderNo) || strings.Contains(l.log.String(), token) || !strings.Contains(l.log.String(), "2017061300000016") || strings.Contains(l.log.String(), "eyJ") {
		t.Errorf("log %s", l.log)
	}
}

func TestPayWithoutOriginsPostsNowhere(t *testing.T) {
	l := listen(t, webhooks.Config{})
	l.checkout = orders.Checkout{Redirect: &orders.Redirect{Method: "POST", URL: "javascript:alert(1)"}}
	got := l.do(t, "GET", "/pay/"+token, "", nil)
	if p := got.header.Get("Content-Security-Policy"); !strings.Contains(p, "form-action 'none'") || strings.Contains(got.body, "javascript:") {
		t.Errorf("policy %s\n%s", p, got.body)
	}
}

func TestPayElsewhere(t *testing.T) {
	get := &orders.Redirect{Method: "GET", URL: "https://wallet.example/p?t=1&u=2"}
	tests := []struct {
		name     string
		token    string
		checkout orders.Checkout
		err      error
		status   int
		location string
		text     []string
		reloads  bool
		lookups  int
	}{
		{name: "GET redirect", checkout: orders.Checkout{Redirect: get, ReturnURL: core}, status: 303, location: get.URL, lookups: 1},
		{name: "not payable any more", checkout: orders.Checkout{ReturnURL: core}, status: 303, location: core, lookups: 1},
		{name: "unknown", err: orders.ErrNotFound, status: 404, text: []string{"找不到", "Page not found"}, lookups: 1},
		{name: "short token", token: "abc", status: 404, text: []string{"找不到"}},
		{name: "long token", token: token + "A", status: 404, text: []string{"找不到"}},
		{name: "token of another alphabet", token: token[:21] + "~", status: 404, text: []string{"找不到"}},
		{name: "store down", err: orders.ErrUnavailable, status: 503, text: []string{"沒有扣款", "Nothing was charged; this page reloads"}, reloads: true, lookups: 1},
		{name: "store slow", err: context.DeadlineExceeded, status: 503, text: []string{"沒有扣款"}, reloads: true, lookups: 1},
		{name: "our fault", err: errors.New("adapter: broken"), status: 500, text: []string{"系統發生錯誤", "Something went wrong"}, lookups: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, webhooks.Config{})
			l.checkout, l.pageErr = tt.checkout, tt.err
			if tt.token == "" {
				tt.token = token
			}
			got := l.do(t, "GET", "/pay/"+tt.token, "", nil)
			wantPageHeaders(t, got)
			if got.status != tt.status || got.header.Get("Location") != tt.location || len(l.clicks) != tt.lookups {
				t.Errorf("%d %q after %d look-ups, want %d %q after %d", got.status, got.header.Get("Location"), len(l.clicks), tt.status, tt.location, tt.lookups)
			}
			for _, text := range tt.text {
				if !strings.Contains(got.body, text) {
					t.Errorf("the page lacks %q", text)
				}
			}
			if reloads := strings.Contains(got.body, `http-equiv="refresh" content="3"`); reloads != tt.reloads {
				t.Errorf("reloads: %v, want %v", reloads, tt.reloads)
			}
			if len(tt.text) > 0 {
				const policy = "default-src 'none'; style-src 'nonce-bm9uY2U='; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
				if p := got.header.Get("Content-Security-Policy"); p != policy {
					t.Errorf("policy %s", p)
				}
			}
			if strings.Contains(got.body, "broken") {
				t.Error("the page shows an error's text")
			}
		})
	}
}

func TestReturnGoesOnToTheClient(t *testing.T) {
	tests := []struct{ name, method, query, body, kept string }{
		{"GET", "GET", "status=paid&sig=1", "", ""},
		{"POST", "POST", "", "status=paid&sig=1", "status=paid&sig=1"},
		{"POST that is too large", "POST", "", strings.Repeat("x", 1<<20), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := listen(t, webhooks.Config{})
			l.returnURL = core
			path := "/r/" + token
			if tt.query != "" {
				path += "?" + tt.query
			}
			got := l.do(t, tt.method, path, tt.body, nil)
			wantPageHeaders(t, got)
			if got.status != http.StatusSeeOther || got.header.Get("Location") != core || got.body != "" {
				t.Errorf("%d %q %q, want 303 to the client and nothing else", got.status, got.header.Get("Location"), got.body)
			}
			raw := l.returns[0]
			if raw.Channel != providers.ChannelBrowser || raw.Token != token || raw.Method != tt.method || raw.RawQuery != tt.query || string(raw.Body) != tt.kept {
				t.Errorf("the router got %+v", raw)
			}
			if strings.Contains(l.log.String(), "paid") || strings.Contains(l.log.String(), token) || !strings.Contains(l.log.String(), "2017061300000016") || strings.Contains(l.log.String(), "127.0.0.1") {
				t.Errorf("log %s", l.log)
			}
		})
	}
}

func TestReturnThatCannotGoOn(t *testing.T) {
	for status, err := range map[int]error{404: orders.ErrNotFound, 503: orders.ErrUnavailable} {
		l := listen(t, webhooks.Config{})
		l.pageErr = err
		got := l.do(t, "POST", "/r/"+token, "", nil)
		if got.status != status {
			t.Errorf("%v: %d, want %d", err, got.status, status)
		}
		if strings.Contains(got.body, "沒有扣款") || strings.Contains(got.body, "charged") {
			t.Error("a citizen who may have paid is told that nothing was charged")
		}
		if status == 503 && (!strings.Contains(got.body, "請不要重複付款") || !strings.Contains(got.body, "refresh")) {
			t.Errorf("page\n%s", got.body)
		}
	}
	l := listen(t, webhooks.Config{})
	if got := l.do(t, "GET", "/r/short", "", nil); got.status != 404 || len(l.returns) != 0 {
		t.Errorf("%d after %d look-ups", got.status, len(l.returns))
	}
}
