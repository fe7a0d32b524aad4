package core

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

//go:embed pages
var files embed.FS

func parsePages() (map[string]*template.Template, template.CSS, error) {
	pages := map[string]*template.Template{}
	for _, name := range []string{"home", "bills", "choose", "outcome", "result", "notfound"} {
		t, err := template.ParseFS(files, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, "", fmt.Errorf("core: page %s: %w", name, err)
		}
		pages[name] = t
	}
	style, err := files.ReadFile("pages/style.css")
	if err != nil {
		return nil, "", fmt.Errorf("core: %w", err)
	}
	return pages, template.CSS(style), nil
}

// page is one answer for people. Both languages of every text stand side by side in the
// templates: {{.T "繳費" "Pay"}}.
type page struct {
	Name    string
	Refresh int    // seconds until the page loads itself again; 0: never
	Switch  string // what the language switch shows after a POST; empty: this address
	// LeavesSite says that a form of the page ends at another site: browsers hold form-action
	// against every redirect that follows, and the providers' addresses are not ours to know.
	LeavesSite bool
	Body       any

	English bool
	Nonce   string
	Style   template.CSS
	self    string
}

// T is a text in the page's language.
func (p page) T(zh, en string) string {
	if p.English {
		return en
	}
	return zh
}

// L is a name in the page's language.
func (p page) L(b bilingual) string { return p.T(b.ZH, b.EN) }

// Item is what a bill is for. Bills have Chinese names only; an English page adds what those
// that we know mean, and keeps the name, for that is what the provider shows.
func (p page) Item(name string) string {
	means := map[string]string{"停車費": "Parking fee", "水費": "Water bill"}[name]
	if !p.English || means == "" {
		return name
	}
	return name + " " + means
}

// Lang is the page's language tag.
func (p page) Lang() string { return p.T("zh-Hant", "en") }

// To is one of our addresses, in the page's language.
func (p page) To(path string) string { return withLang(path, p.English) }

// Other is this page in the other language.
func (p page) Other() string { return withLang(p.self, !p.English) }

// langOf says whether a request asks for English.
func langOf(r *http.Request) (english bool) {
	return r.URL.Query().Get("lang") == "en" || r.PostFormValue("lang") == "en"
}

// withLang adds lang=en to an address without one.
func withLang(path string, english bool) string {
	switch {
	case !english:
		return path
	case strings.Contains(path, "?"):
		return path + "&lang=en"
	}
	return path + "?lang=en"
}

// render writes a page with its headers. Nothing is cached: pages show the state of money.
func (c *Core) render(w http.ResponseWriter, r *http.Request, status int, p page) {
	p.English, p.Style = langOf(r), c.style
	p.self = p.Switch
	if p.self == "" {
		q := r.URL.Query()
		q.Del("lang")
		p.self = r.URL.Path + "?" + q.Encode()
		if r.Method == http.MethodPost {
			p.self = "/"
		}
		p.self = strings.TrimSuffix(p.self, "?")
	}
	var err error
	if p.Nonce, err = c.nonce(); err != nil {
		c.fail(w, r, err)
		return
	}
	var out bytes.Buffer
	if err := c.pages[p.Name].ExecuteTemplate(&out, "layout.html", p); err != nil {
		c.fail(w, r, err)
		return
	}
	action := "'self'"
	if p.LeavesSite {
		action = "'self' http: https:"
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+p.Nonce+"'; script-src 'nonce-"+p.Nonce+
		"'; connect-src 'self'; img-src data:; form-action "+action+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes())
}

// fail answers when we ourselves are broken.
func (c *Core) fail(w http.ResponseWriter, r *http.Request, err error) {
	c.log.ErrorContext(r.Context(), "page failed", "path", r.URL.Path, "err", err)
	http.Error(w, "系統忙碌中，請稍後再試。 / Busy, please try again later.", http.StatusInternalServerError)
}

func (c *Core) notFound(w http.ResponseWriter, r *http.Request) {
	c.render(w, r, http.StatusNotFound, page{Name: "notfound"})
}

// Row is a bill with the words of the page's language, for the template of one bill.
func (p page) Row(b billRow) any {
	return struct {
		page
		Bill billRow
	}{p, b}
}

// Why says in words why a provider is not available.
func (p page) Why(l listing) string {
	why := p.T("暫停服務", "out of service")
	switch l.Why {
	case "below_limit":
		why = p.T("低於最低金額", "the amount is below its limit")
	case "above_limit":
		why = p.T("超過單筆上限", "the amount is above its limit")
	case "merchant_not_configured":
		why = p.T("未開放此機關繳費", "not offered for this agency")
	case "maintenance":
		why = p.T("維護中", "under maintenance")
	case "breaker_open":
		why = p.T("業者系統異常", "its system does not answer")
	case "forced_open":
		why = p.T("暫停服務", "taken out of service for now")
	case "penalty":
		why = p.T("業者系統忙碌", "its system is busy")
	case "method_not_offered":
		why = p.T("不提供所選的付款工具", "it does not offer the method asked for")
	}
	if l.Until != nil {
		why += p.T("，預計恢復時間 ", ", until ") + l.Until.In(taipei).Format("2006/01/02 15:04")
	}
	return why
}
