package webhooks

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gin-gonic/gin"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// pay is a click on the checkout page: it sends the browser on to the provider, or back to the client when there is
// nothing to pay any more.
func (e *edge) pay(c *gin.Context, l *line) {
	token := c.Param("token")
	if !isToken(token) {
		e.show(c, notFoundPage())
		return
	}
	ctx, cancel := detached(c.Request.Context())
	defer cancel()
	var checkout orders.Checkout
	var err error
	if !e.browsing.run(ctx, func() { checkout, err = e.deps.Pages.Checkout(ctx, token) }) {
		err = errBusy
	}
	l.orderNo = string(checkout.OrderNo)
	switch {
	case err != nil:
		e.fail(c, l, err, waitToPayPage())
	case checkout.Redirect == nil:
		seeOther(c, checkout.ReturnURL)
	case checkout.Redirect.Method == http.MethodPost:
		e.show(c, formPage(checkout))
	default:
		seeOther(c, checkout.Redirect.URL)
	}
}

// back takes a browser that the provider sent back. It goes on at once, whatever it brought: a body that cannot be
// read is left out.
func (e *edge) back(c *gin.Context, l *line) {
	if !isToken(c.Param("token")) {
		e.show(c, notFoundPage())
		return
	}
	raw, err := e.read(c, providers.ChannelBrowser)
	if err != nil {
		raw.Body, l.reason = nil, "body not read"
	}
	ctx, cancel := detached(c.Request.Context())
	defer cancel()
	var no orders.OrderNo
	var to string
	if !e.browsing.run(ctx, func() { no, to, err = e.deps.Pages.Return(ctx, raw.Token, raw) }) {
		err = errBusy
	}
	l.orderNo = string(no)
	if err != nil {
		e.fail(c, l, err, waitForResultPage())
		return
	}
	seeOther(c, to)
}

var errBusy = errors.New("too many browsers at a time")

// fail tells a citizen that we cannot serve them; wait is the page for a fault that passes.
func (e *edge) fail(c *gin.Context, l *line, err error, wait page) {
	switch {
	case errors.Is(err, orders.ErrNotFound):
		e.show(c, notFoundPage())
		return
	case errors.Is(err, orders.ErrUnavailable), errors.Is(err, errBusy), errors.Is(err, context.DeadlineExceeded):
		e.show(c, wait)
	default:
		e.show(c, brokenPage())
	}
	l.failed, l.reason = true, err.Error()
}

func seeOther(c *gin.Context, to string) {
	c.Header("Location", to)
	c.Status(http.StatusSeeOther)
}

// page is what the template shows: Traditional Chinese first, English below.
type page struct {
	status           int
	TitleZH, TitleEN string
	TextZH, TextEN   string
	Reload           bool // by itself, after 3 s
	OrderNo          orders.OrderNo
	Form             *orders.Redirect
	Nonce            string
	formOrigins      []string
}

func formPage(c orders.Checkout) page {
	return page{
		status: http.StatusOK, OrderNo: c.OrderNo, Form: c.Redirect, formOrigins: c.FormOrigins,
		TitleZH: "正在前往付款頁面", TextZH: "如果沒有自動前往，請按下方按鈕。",
		TitleEN: "Taking you to the payment page", TextEN: "If nothing happens, press the button.",
	}
}

func notFoundPage() page {
	return page{
		status:  http.StatusNotFound,
		TitleZH: "找不到這個頁面", TextZH: "連結可能不完整或已失效，請回到原本的網站重新操作。",
		TitleEN: "Page not found", TextEN: "The link may be incomplete or no longer valid. Go back to the site you came from and start again.",
	}
}

func waitToPayPage() page {
	return page{
		status: http.StatusServiceUnavailable, Reload: true,
		TitleZH: "系統忙碌中，請稍候", TextZH: "這次點選沒有扣款，本頁會自動重新載入。",
		TitleEN: "One moment, please", TextEN: "Nothing was charged; this page reloads by itself.",
	}
}

// waitForResultPage cannot say that nothing was charged: this citizen comes from paying.
func waitForResultPage() page {
	return page{
		status: http.StatusServiceUnavailable, Reload: true,
		TitleZH: "正在確認付款結果", TextZH: "請不要重複付款，本頁會自動重新載入。",
		TitleEN: "We are confirming your payment", TextEN: "Please do not pay again; this page reloads by itself.",
	}
}

func brokenPage() page {
	return page{
		status:  http.StatusInternalServerError,
		TitleZH: "系統發生錯誤", TextZH: "請不要重複付款，稍後回到原本的網站查看結果。",
		TitleEN: "Something went wrong", TextEN: "Please do not pay again. Go back to the site you came from in a while and look at the result there.",
	}
}

// show renders a page under a policy that lets it do nothing but what it is for.
func (e *edge) show(c *gin.Context, p page) {
	p.Nonce = e.deps.Nonce()
	var html bytes.Buffer
	if err := e.page.Execute(&html, p); err != nil {
		c.Status(http.StatusInternalServerError)
		e.deps.Log.Error("page not rendered", "error", err)
		return
	}
	c.Header("Content-Security-Policy", policy(p))
	if p.Reload {
		c.Header("Retry-After", "3")
	}
	c.Data(p.status, "text/html; charset=utf-8", html.Bytes())
}

func policy(p page) string {
	script := ""
	if p.Form != nil {
		script = "script-src 'nonce-" + p.Nonce + "'; "
	}
	return "default-src 'none'; " + script + "style-src 'nonce-" + p.Nonce + "'; form-action " + formAction(p.formOrigins) +
		"; base-uri 'none'; frame-ancestors 'none'"
}

// formAction lists the origins that are nothing but an origin, so that none of them can add to the policy.
func formAction(origins []string) string {
	var good []string
	for _, o := range origins {
		if isOrigin(o) {
			good = append(good, o)
		}
	}
	if len(good) == 0 {
		return "'none'"
	}
	return strings.Join(good, " ")
}

func isOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		!strings.ContainsAny(u.Host, ";,'\"*") && (&url.URL{Scheme: u.Scheme, Host: u.Host}).String() == s
}

// pageTemplate submits through the prototype, because a field may be named "submit".
const pageTemplate = `<!doctype html>
<html lang="zh-Hant">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
{{- if .Reload}}
<meta http-equiv="refresh" content="3">{{end}}
<title>{{.TitleZH}} {{.TitleEN}}</title>
<style nonce="{{.Nonce}}">
body{margin:0;font:1.125rem/1.6 system-ui,"Noto Sans TC","PingFang TC","Microsoft JhengHei",sans-serif;color:#1c2733;background:#f2f5f7}
main{max-width:30rem;margin:12vh auto 0;padding:1.5rem}
h1{font-size:1.5rem;margin:0}
h2{font-size:1.125rem;margin:1.5rem 0 0}
p{margin:.25rem 0}
div{color:#4a5866}
button{display:block;width:100%;min-height:3rem;margin-top:1.5rem;padding:.75rem;border:0;border-radius:.5rem;font:inherit;color:#fff;background:#00629b}
</style>
</head>
<body>
<main>
<h1>{{.TitleZH}}</h1>
{{- with .OrderNo}}
<p>訂單編號 {{.}}</p>{{end}}
<p>{{.TextZH}}</p>
<div lang="en">
<h2>{{.TitleEN}}</h2>
<p>{{.TextEN}}</p>
</div>
{{- with .Form}}
<form method="post" action="{{.URL}}" accept-charset="utf-8">
{{- range $name, $value := .Fields}}
<input type="hidden" name="{{$name}}" value="{{$value}}">{{end}}
<button type="submit">前往付款 <span lang="en">Continue</span></button>
</form>
<script nonce="{{$.Nonce}}">HTMLFormElement.prototype.submit.call(document.forms[0])</script>{{end}}
</main>
</body>
</html>
`
