package desk

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
)

//go:embed pages
var pageFiles embed.FS

// PanelHTML is the template "panel" for a double with pages of its own. Its data has T, Problems and Faults.
func PanelHTML() (string, error) {
	b, err := pageFiles.ReadFile("pages/panel.html")
	return string(b), err
}

// visit is one request to the site, and what its page shows. It is the templates' data.
type visit struct {
	w http.ResponseWriter
	r *http.Request
	*Desk
	Payment

	Nonce   string
	EN      bool
	Problem [2]string // zh-Hant, English
	Faults  []Row
	Back    Form
}

// Pages adds the site to mux: the home page, a payment's pages under /pay/, the fault panel and the books.
func (d *Desk) Pages(mux *http.ServeMux) {
	for pattern, page := range map[string]func(*visit){
		"GET /{$}": (*visit).home, "GET /pay/{id}": (*visit).order, "POST /pay/{id}": (*visit).pay, "GET /pay/{id}/result": (*visit).result,
		"GET /faults/panel": (*visit).panel, "POST /faults/panel": (*visit).setFaults,
	} {
		mux.HandleFunc(pattern, d.page(page))
	}
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }) // it has none
	mux.HandleFunc("GET /faults", d.Panel.GetJSON)
	mux.HandleFunc("PUT /faults", d.Panel.PutJSON)
	mux.HandleFunc("GET /books", func(w http.ResponseWriter, _ *http.Request) {
		WriteJSON(w, http.StatusOK, map[string][]Entry{"entries": d.entries()})
	})
}

// Entry is one payment in the books that a program reads: what was done, whatever is said in notices.
type Entry struct {
	Number     string `json:"number"`
	Payee      string `json:"payee_member_id"`
	State      State  `json:"status"`
	Total      string `json:"total"`
	Method     string `json:"method"`
	Trade      string `json:"trade_no"`
	Charges    int    `json:"charges"`
	Refunded   string `json:"refunded"`
	Deliveries int    `json:"deliveries"`
	Settled    int    `json:"settled"`
}

func (d *Desk) entries() []Entry {
	entries := []Entry{}
	for _, p := range d.Books() {
		entries = append(entries, Entry{
			Number: p.Number, Payee: p.Payee, State: p.State, Total: strconv.FormatInt(p.Amount, 10), Method: p.Method, Trade: p.Trade,
			Charges: p.Charges, Refunded: strconv.FormatInt(p.Refunded(), 10), Deliveries: p.Deliveries, Settled: p.Settled,
		})
	}
	return entries
}

// page serves one page or form. Everything on it is said once, in one language.
func (d *Desk) page(serve func(*visit)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxMessage)
		v, err := d.visit(w, r)
		if err != nil {
			http.Error(w, "no randomness", http.StatusInternalServerError)
			return
		}
		if err := r.ParseForm(); err != nil {
			v.explain(http.StatusBadRequest, [2]string{"表單無法讀取。", "The form cannot be read."})
			return
		}
		serve(v)
	}
}

func (d *Desk) visit(w http.ResponseWriter, r *http.Request) (*visit, error) {
	nonce, err := d.Random(16)
	if err != nil {
		return nil, err
	}
	h := w.Header()
	// Forms lead to the merchant too, and wherever it sends the browser on.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; form-action 'self' http: https:; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would make the Origin of the site's own forms "null"
	h.Set("X-Content-Type-Options", "nosniff")
	return &visit{w: w, r: r, Desk: d, Nonce: nonce, EN: r.URL.Query().Get("lang") == "en"}, nil
}

// GoTo sends the browser to the page of a payment.
func (d *Desk) GoTo(w http.ResponseWriter, r *http.Request, p Payment) {
	http.Redirect(w, r, d.Page(p), http.StatusSeeOther)
}

// Page is the path of a payment's page.
func (d *Desk) Page(p Payment) string { return "/pay/" + url.PathEscape(p.ID) }

// Refuse shows the payer that an order cannot be taken, and why.
func (d *Desk) Refuse(w http.ResponseWriter, r *http.Request, code, why string) {
	if v, err := d.visit(w, r); err == nil {
		d.deps.Log.Warn("order refused", "code", code, "why", why)
		v.explain(http.StatusBadRequest, [2]string{"這份訂單無法受理（" + code + "），請回到商店重新付款。", "This order cannot be taken (" + code + ": " + why + "). Go back to the shop and start again."})
	}
}

// enter finds the visit's payment. When there is none it answers itself.
func (v *visit) enter() bool {
	v.mu.Lock()
	p, ok := v.payments[v.r.PathValue("id")]
	if ok {
		v.Payment = v.seen(p)
	}
	v.mu.Unlock()
	if !ok {
		v.explain(http.StatusNotFound, [2]string{"這個頁面已失效。這個替身重新啟動後，會忘記所有的付款。", "This page is not known any more. When this stand-in restarts, it forgets every payment."})
		return false
	}
	return true
}

func (v *visit) show(status int, name string) {
	Render(v.w, v.deps.Log, v.pages, status, name, v)
}

// Render answers with a page that is whole: one that cannot be rendered is logged, and not shown in part.
func Render(w http.ResponseWriter, log *slog.Logger, pages *template.Template, status int, name string, data any) {
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		log.Error("page not rendered", "page", name, "err", err)
		http.Error(w, "this page is broken", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the browser may have gone
}

func (v *visit) explain(status int, problem [2]string) {
	v.Problem = problem
	v.show(status, "problem.html")
}

func (v *visit) home() { v.show(http.StatusOK, "home.html") }

func (v *visit) order() {
	switch {
	case !v.enter():
	case v.State != Open:
		v.goTo("/result")
	default:
		v.show(http.StatusOK, "order.html")
	}
}

// goTo sends the browser on with a GET, so that Back and reload post nothing again.
func (v *visit) goTo(rest string) {
	to := v.Page(v.Payment) + rest
	if v.EN {
		to += "?lang=en"
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
}

// pay carries out the payer's decision. A second one finds the payment decided and shows what became of it.
func (v *visit) pay() {
	if !v.enter() {
		return
	}
	if v.Panel.Current().Closed {
		v.explain(http.StatusServiceUnavailable, [2]string{"系統維護中，暫不受理付款，請回到商店選擇其他付款方式。", "Closed for maintenance. Go back to the shop and choose another way to pay."})
		return
	}
	v.mu.Lock()
	p := v.payments[v.ID]
	before := p.State
	v.decide(p, v.r.PostForm.Get("method"))
	dropped := p.State != before && p.Faults.AnswerDropped
	v.mu.Unlock()
	if dropped {
		Drop(v.w)
		return
	}
	v.goTo("/result")
}

func (v *visit) result() {
	switch {
	case !v.enter():
	case v.State == Open:
		v.goTo("")
	default:
		v.Back = v.rules.Back(v.Payment)
		v.show(http.StatusOK, "result.html")
	}
}

func (v *visit) panel() {
	v.Faults = v.Panel.Rows()
	v.show(http.StatusOK, "faults.html")
}

func (v *visit) setFaults() {
	status, problem, rows := v.Panel.Post(v.r)
	if status == http.StatusSeeOther {
		http.Redirect(v.w, v.r, v.r.URL.RequestURI(), status)
		return
	}
	v.Problem, v.Faults = problem, rows
	v.show(status, "faults.html")
}

// What the templates ask of a visit.

// T is one of two texts.
func (v *visit) T(zh, en string) string {
	if v.EN {
		return en
	}
	return zh
}

// Name is the provider's.
func (v *visit) Name() string { return v.T(v.rules.NameZH, v.rules.NameEN) }

// Colour is the header's.
func (v *visit) Colour() template.CSS { return template.CSS(v.rules.Colour) }

// Shop is the address of the shop; empty: not known.
func (v *visit) Shop() string { return v.rules.ShopURL }

// Lang is the page's language tag.
func (v *visit) Lang() string { return v.T("zh-Hant-TW", "en") }

// Other is the address of this page in the other language; empty where a GET would lead elsewhere.
func (v *visit) Other() string {
	if v.r.Method != http.MethodGet {
		return ""
	}
	return v.r.URL.Path + "?lang=" + v.T("en", "zh")
}

// Here is the address that a form of this page posts to.
func (v *visit) Here() string { return v.Page(v.Payment) + v.T("", "?lang=en") }

// Problems is what went wrong, in the page's language.
func (v *visit) Problems() string { return v.T(v.Problem[0], v.Problem[1]) }

// Offered are the methods that the payer may choose from.
func (v *visit) Offered() (offered []Method) {
	for _, m := range v.rules.Methods {
		for _, code := range v.methods(&v.Payment) {
			if m.Code == code {
				offered = append(offered, m)
			}
		}
	}
	return offered
}

// Total is the amount with its currency.
func (v *visit) Total() string { return "NT$" + strconv.FormatInt(v.Amount, 10) }

// Until is the end of the order in Taipei.
func (v *visit) Until() string { return v.Expires.In(Taipei()).Format("15:04") }

// Paid is the time of payment in Taipei.
func (v *visit) Paid() string { return v.PaidAt.In(Taipei()).Format("2006/01/02 15:04:05") }
