package bravobank

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// session is one browser at one payment. Its id is the token that every form carries;
// a login moves to a new one, so a link copied before it shows nothing.
type session struct {
	payment  *payment
	signedIn bool
	captcha  string
	english  bool
}

//go:embed pages
var pageFiles embed.FS

func parsePages() (*template.Template, error) {
	t, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("bravobank: pages: %w", err)
	}
	panel, err := desk.PanelHTML()
	if err == nil {
		_, err = t.Parse(panel)
	}
	if err != nil {
		return nil, fmt.Errorf("bravobank: panel: %w", err)
	}
	return t, nil
}

// visit is one request to the site: where it is, and what its page shows. It is the
// templates' data.
type visit struct {
	w   http.ResponseWriter
	r   *http.Request
	id  string
	now time.Time
	*session

	Nonce   string
	EN      bool
	Problem [2]string // zh-Hant, English
	Account Account
	Typed   string // account of a login that failed
	Shop    string // address of the shop; empty: not known
	Status  string // of the payment
	Forgot  bool   // the page belongs to a payment that is not known any more
	Faults  []desk.Row
}

// page serves one page or form. Everything on it is said once, in one language.
func (b *Bank) page(serve func(*visit)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		nonce, err := b.random(16)
		if err != nil {
			http.Error(w, "no randomness", http.StatusInternalServerError)
			return
		}
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "same-origin") // no-referrer would make the Origin of the bank's own forms "null"
		h.Set("X-Content-Type-Options", "nosniff")
		v := &visit{w: w, r: r, now: b.d.Now(), Nonce: nonce, Account: DemoAccount(), Shop: b.c.ShopURL, EN: r.URL.Query().Get("lang") == "en"}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			b.explain(v, http.StatusBadRequest, errForm)
			return
		}
		serve(v)
	}
}

// enter finds the visit's session and takes note of its language. When there is none
// it answers itself.
func (b *Bank) enter(v *visit) bool {
	v.id = v.r.Form.Get("s")
	b.mu.Lock()
	s, ok := b.sessions[v.id]
	if ok {
		if lang := v.r.URL.Query().Get("lang"); lang != "" {
			s.english = lang == "en"
		}
		seen := *s // a copy: the lock does not reach into the template
		v.session, v.EN, v.Status = &seen, s.english, s.payment.status(v.now)
	}
	b.mu.Unlock()
	if !ok {
		b.explain(v, http.StatusNotFound, errSession)
	}
	return ok
}

// begin makes a session and returns its id. The caller holds the lock.
func (b *Bank) begin(s *session) (string, error) {
	id, err := b.random(16)
	if err != nil {
		return "", err
	}
	if s.captcha, err = b.newCaptcha(); err != nil {
		return "", err
	}
	if len(b.visits) >= maxSessions {
		delete(b.sessions, b.visits[0])
		b.visits = b.visits[1:]
	}
	b.sessions[id] = s
	b.visits = append(b.visits, id)
	return id, nil
}

// show renders a page.
func (b *Bank) show(v *visit, status int, name string) {
	desk.Render(v.w, b.d.Log, b.pages, status, name, v)
}

// explain shows what went wrong and what to do.
func (b *Bank) explain(v *visit, status int, err error) {
	v.Problem = [2]string{"這份訂單無法驗證，請回到商店重新付款。", "This order cannot be verified. Go back to the shop and start again. (" + err.Error() + ")"}
	switch {
	case errors.Is(err, errSession):
		v.Forgot = true
		v.Problem = [2]string{"這個頁面已失效。這家示範銀行重新啟動後，會忘記所有的登入和付款。", "This page is not known any more. When this demonstration bank restarts, it forgets every login and payment."}
	case errors.Is(err, errDiffers):
		v.Problem = [2]string{"這個交易編號已用於另一份訂單，請回到商店重新付款。", "This number belongs to another order already. Go back to the shop and start again."}
	case errors.Is(err, errClosed):
		v.Problem = [2]string{"銀行系統維護中，暫不受理付款，請回到商店選擇其他付款方式。", "The bank is closed for maintenance. Go back to the shop and choose another way to pay."}
	case errors.Is(err, errFull):
		v.Problem = [2]string{"銀行忙碌中，請稍後再試。", "The bank is busy. Try again later."}
	}
	b.show(v, status, "problem.html")
}

// goTo sends the browser on with a GET, so that Back and reload post nothing again.
func (v *visit) goTo(path string) {
	http.Redirect(v.w, v.r, path+"?s="+url.QueryEscape(v.id), http.StatusSeeOther)
}

func (b *Bank) showHome(v *visit) { b.show(v, http.StatusOK, "home.html") }

// openOrder takes the form that the gateway signed (section 3).
func (b *Bank) openOrder(v *visit) {
	if b.current().Closed {
		b.explain(v, http.StatusServiceUnavailable, errClosed)
		return
	}
	o, text, err := b.verifyOrder(v.r.PostForm, v.now)
	if err != nil {
		b.d.Log.Warn("order refused", "err", err)
		b.explain(v, http.StatusBadRequest, err)
		return
	}
	b.mu.Lock()
	p, err := b.admit(o, text, v.now)
	if err == nil {
		v.id, err = b.begin(&session{payment: p, english: v.EN})
	}
	b.mu.Unlock()
	switch {
	case errors.Is(err, errDiffers):
		b.explain(v, http.StatusConflict, err)
	case err != nil:
		b.explain(v, http.StatusServiceUnavailable, err)
	default:
		v.goTo("/login")
	}
}

func (b *Bank) showLogin(v *visit) {
	switch {
	case !b.enter(v):
	case v.Status != "created":
		v.goTo("/result")
	case v.signedIn:
		v.goTo("/order")
	default:
		b.show(v, http.StatusOK, "login.html")
	}
}

func (b *Bank) login(v *visit) {
	if !b.enter(v) {
		return
	}
	if v.signedIn || v.Status != "created" {
		v.goTo("/order")
		return
	}
	form := v.r.PostForm
	if !strings.EqualFold(strings.TrimSpace(form.Get("captcha")), v.captcha) {
		v.Problem = [2]string{"圖形驗證碼不正確，請輸入新的驗證碼。", "Those were not the letters in the picture. Please type the new ones."}
	} else if (Account{strings.TrimSpace(form.Get("account")), form.Get("password")}) != v.Account {
		v.Problem = [2]string{"帳號或密碼不正確。", "Account or password is wrong."}
	}
	if v.Problem[0] != "" {
		v.Typed = strings.TrimSpace(form.Get("account"))
		b.newLetters(v)
		b.show(v, http.StatusUnprocessableEntity, "login.html")
		return
	}
	b.mu.Lock()
	id, err := b.begin(&session{payment: v.payment, signedIn: true, english: v.EN})
	b.mu.Unlock()
	if err != nil {
		b.explain(v, http.StatusInternalServerError, err)
		return
	}
	v.id = id
	v.goTo("/order")
}

func (b *Bank) showOrder(v *visit) {
	switch {
	case !b.enter(v):
	case v.Status != "created":
		v.goTo("/result")
	case !v.signedIn:
		v.goTo("/login")
	default:
		b.show(v, http.StatusOK, "order.html")
	}
}

// pay carries out the payer's confirmation. A second one finds the payment ended and
// shows what became of it.
func (b *Bank) pay(v *visit) {
	if !b.enter(v) {
		return
	}
	if !v.signedIn {
		v.goTo("/login")
		return
	}
	if b.current().Closed {
		b.explain(v, http.StatusServiceUnavailable, errClosed)
		return
	}
	b.mu.Lock()
	before := v.payment.charges
	b.charge(v.payment, v.r.PostForm.Get("method"), v.now)
	dropped := v.payment.charges > before && v.payment.faults.AnswerDropped
	b.mu.Unlock()
	if dropped {
		desk.Drop(v.w)
		return
	}
	v.goTo("/result")
}

func (b *Bank) cancel(v *visit) {
	if !b.enter(v) {
		return
	}
	b.mu.Lock()
	b.giveUp(v.payment, v.now)
	b.mu.Unlock()
	v.goTo("/result")
}

func (b *Bank) showResult(v *visit) {
	switch {
	case !b.enter(v):
	case v.Status == "created":
		v.goTo("/order")
	default:
		b.mu.Lock()
		ended := *v.payment // a copy: refunds may come while the page is made
		b.mu.Unlock()
		v.payment = &ended
		b.show(v, http.StatusOK, "result.html")
	}
}
