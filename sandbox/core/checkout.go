package core

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"
)

const (
	maxCheckouts = 10_000
	// placing is longer than the 20 s in which the API ends every try of one request.
	placing = 25 * time.Second
)

var (
	nonceForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)
	providerForm = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)
)

// taipei has had no daylight saving since 1979.
var taipei = time.FixedZone("Asia/Taipei", 8*60*60)

// checkout is one form and the one request that it makes, however often it is sent: same
// key, same bytes. Losing it (restart, eviction) costs the citizen a new look-up; the
// gateway's hold on the bills still forbids a second order.
type checkout struct {
	nonce, reference, provider string
	bills                      []string
	amount                     string
	body                       []byte
	turn                       chan struct{} // one sender at a time: a double click waits
	orderNo                    string        // once known; guarded by Core.mu
}

func (k *checkout) key() string { return "core-" + k.nonce }

type chooseView struct {
	Nonce     string
	Basket    basket
	Payer     string
	Providers []listing
	Only      bool   // one provider is available: ticked beforehand
	Wrong     bool   // none was chosen
	Trouble   bool   // the directory cannot be read
	Cancel    string // back to the bills
}

// chooseProvider shows the providers that can take the bills.
func (c *Core) chooseProvider(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	k, wrong := c.gather(q["bill"])
	if wrong != "" {
		bills, ok := c.find(q)
		if !ok {
			bills = c.named(q["bill"])
		}
		c.listBills(w, r, http.StatusUnprocessableEntity, bills, wrong)
		return
	}
	nonce := q.Get("n")
	if !nonceForm.MatchString(nonce) {
		fresh, err := c.nonce()
		if err != nil {
			c.fail(w, r, err)
			return
		}
		to := url.Values{"n": {fresh}, "bill": numbers(k.Bills)}
		http.Redirect(w, r, withLang("/checkout?"+to.Encode(), langOf(r)), http.StatusSeeOther)
		return
	}
	c.choose(w, r, http.StatusOK, nonce, k, false)
}

func (c *Core) choose(w http.ResponseWriter, r *http.Request, status int, nonce string, k basket, wrong bool) {
	v := chooseView{Nonce: nonce, Basket: k, Payer: payerMemberID, Wrong: wrong}
	v.Cancel = "/bills?" + url.Values{"bill": numbers(k.Bills)}.Encode()
	var err error
	if v.Providers, err = c.directory(r.Context(), k.Merchant, k.Total.Value()); err != nil {
		c.log.ErrorContext(r.Context(), "directory not readable", "err", err)
		v.Trouble, status = true, http.StatusServiceUnavailable
	}
	available := 0
	for _, p := range v.Providers {
		if p.Available {
			available++
		}
	}
	v.Only = available == 1
	c.render(w, r, status, page{Name: "choose", LeavesSite: true, Body: v})
}

func numbers(bills []bill) []string {
	list := make([]string, len(bills))
	for i, b := range bills {
		list[i] = b.No
	}
	return list
}

// placeOrder sends the form's request and takes the citizen to the provider, or says what
// happened. The browser's leaving does not cut a request that is under way.
func (c *Core) placeOrder(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	nonce := r.PostFormValue("nonce")
	if !nonceForm.MatchString(nonce) {
		c.render(w, r, http.StatusBadRequest, page{Name: "outcome", LeavesSite: true, Body: outcomeView{Kind: "refused"}})
		return
	}
	k := c.checkout(nonce)
	if k == nil {
		fresh, err := c.prepare(w, r, nonce)
		if err != nil {
			c.fail(w, r, err)
			return
		}
		if fresh == nil {
			return
		}
		k = c.keep(fresh)
	} else if no := c.orderOf(k); no != "" && r.PostFormValue("provider") != k.provider {
		// The page was gone back to and another provider chosen; the order is made already.
		c.toResult(w, r, k, no)
		return
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-r.Context().Done():
		return
	}
	a, err := c.call(context.WithoutCancel(r.Context()), placing, http.MethodPost, "/v1/orders", nil, k.key(), k.body)
	v := judge(a, err, k)
	if v.Detail.Code == notPayable {
		if o, err := c.findOrder(context.WithoutCancel(r.Context()), k.reference); err == nil {
			v = outcomeView{Kind: made, order: o}
		}
	}
	c.log.InfoContext(r.Context(), "order asked for", "client_reference", k.reference, "status", a.status, "outcome", v.Kind, "order_no", v.order.OrderNo, "err", err)
	if v.Kind == made {
		c.mu.Lock()
		k.orderNo = v.order.OrderNo
		c.mu.Unlock()
		c.remember(w, k, v.order.OrderNo)
		if to := v.order.CheckoutURL; a.status < http.StatusAccepted && to != nil && webAddress(*to) {
			http.Redirect(w, r, *to, http.StatusSeeOther)
			return
		}
		c.toResult(w, r, k, v.order.OrderNo)
		return
	}
	v.Nonce, v.Provider, v.Bills, v.Last = k.nonce, k.provider, k.bills, lastOrder(r)
	v.Again = "/checkout?" + url.Values{"bill": k.bills}.Encode()
	c.render(w, r, v.status, page{Name: "outcome", LeavesSite: true, Switch: v.Again, Body: v})
}

func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

func (c *Core) toResult(w http.ResponseWriter, r *http.Request, k *checkout, no string) {
	http.Redirect(w, r, withLang(c.resultPath(k.reference, no), langOf(r)), http.StatusSeeOther)
}

func (c *Core) resultPath(reference, no string) string {
	return "/result?" + url.Values{"receipt": {c.receipt(reference)}, "order_no": {no}}.Encode()
}

// The request of the order API.
type createOrder struct {
	ClientReference string      `json:"client_reference"`
	Merchant        string      `json:"merchant"`
	Payer           createPayer `json:"payer"`
	Provider        string      `json:"provider"`
	Amount          amount      `json:"amount"`
	Settlement      string      `json:"settlement"`
	Lines           []line      `json:"lines"`
	ReturnURL       string      `json:"return_url"`
	ExpiresIn       string      `json:"expires_in"`
}

type createPayer struct {
	MemberID string `json:"member_id"`
}

// prepare turns a form into its request. Amounts are the agency's, never the form's. A nil
// checkout without an error means that the form was wrong and the page said so.
func (c *Core) prepare(w http.ResponseWriter, r *http.Request, nonce string) (*checkout, error) {
	in, wrong := c.gather(r.PostForm["bill"])
	if wrong != "" {
		c.listBills(w, r, http.StatusUnprocessableEntity, c.named(r.PostForm["bill"]), wrong)
		return nil, nil
	}
	provider := r.PostFormValue("provider")
	if !providerForm.MatchString(provider) {
		c.choose(w, r, http.StatusUnprocessableEntity, nonce, in, true)
		return nil, nil
	}
	k := &checkout{nonce: nonce, reference: c.nextReference(), provider: provider, bills: numbers(in.Bills), amount: in.Total.Value(), turn: make(chan struct{}, 1)}
	back := c.base.JoinPath("/result").String() + "?receipt=" + c.receipt(k.reference)
	cmd := createOrder{
		ClientReference: k.reference, Merchant: in.Merchant, Payer: createPayer{payerMemberID}, Provider: provider,
		Amount: amount{k.amount, string(in.Total.Currency())}, Settlement: "immediate",
		ReturnURL: withLang(back, langOf(r)), ExpiresIn: "10m",
	}
	for _, b := range in.Bills {
		cmd.Lines = append(cmd.Lines, line{BillNo: b.No, Name: b.Name, Quantity: 1, UnitPrice: b.Amount.Value(), Subtotal: b.Amount.Value()})
	}
	var err error
	if k.body, err = json.Marshal(cmd); err != nil {
		return nil, fmt.Errorf("core: order request: %w", err)
	}
	return k, nil
}

// nextReference is the core's own number: the day and eight digits. They start at a
// thousand for each second of the day, so that a restart does not repeat them.
func (c *Core) nextReference() string {
	now := c.now().In(taipei)
	c.mu.Lock()
	defer c.mu.Unlock()
	if day := now.Format("20060102"); day != c.refDay {
		c.refDay, c.refNext = day, 0
	}
	c.refNext = max(c.refNext+1, (now.Hour()*3600+now.Minute()*60+now.Second())*1000)
	return fmt.Sprintf("%s%08d", c.refDay, c.refNext)
}

func (c *Core) checkout(nonce string) *checkout {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.checkouts[nonce]
}

func (c *Core) orderOf(k *checkout) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return k.orderNo
}

// keep stores a checkout and returns the one that holds its nonce: the first wins.
func (c *Core) keep(k *checkout) *checkout {
	c.mu.Lock()
	defer c.mu.Unlock()
	if first := c.checkouts[k.nonce]; first != nil {
		return first
	}
	if len(c.oldest) >= maxCheckouts {
		delete(c.checkouts, c.oldest[0])
		c.oldest = slices.Delete(c.oldest, 0, 1)
	}
	c.checkouts[k.nonce] = k
	c.oldest = append(c.oldest, k.nonce)
	return k
}

// made is the kind of an outcome in which the order exists.
const made = "made"

// notPayable is the code of a problem whose order exists: it has ended, or waits for an outcome.
const notPayable = "not_payable"

// outcomeView is what became of a request. Kind is also the page's data-status.
type outcomeView struct {
	Kind     string
	Same     bool // the same request must be repeated: we do not know, or it was put off
	Detail   problem
	Nonce    string
	Provider string
	Bills    []string
	Again    string
	Last     string
	status   int
	order    order
}

// judge reads the API's answer. Whatever it does not understand is unknown: an order may
// exist, so only the same key may be used.
func judge(a answer, err error, k *checkout) outcomeView {
	unknown := outcomeView{Kind: "unknown", Same: true, status: http.StatusBadGateway}
	if err != nil {
		return unknown
	}
	switch a.status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		o, err := parseOrder(a.body)
		if err != nil || o.ClientReference != k.reference || o.Amount.Value != k.amount {
			return unknown
		}
		return outcomeView{Kind: made, order: o}
	}
	var p problem
	if json.Unmarshal(a.body, &p) != nil || p.Code == "" {
		return unknown
	}
	refused := func(kind string, status int) outcomeView { return outcomeView{Kind: kind, Detail: p, status: status} }
	putOff := func(kind string) outcomeView {
		return outcomeView{Kind: kind, Same: true, Detail: p, status: http.StatusServiceUnavailable}
	}
	switch p.Code {
	case "in_flight":
		return putOff("in_flight")
	case "outcome_unknown", notPayable:
		return putOff("unknown")
	case "bill_in_progress":
		return refused("in_progress", http.StatusConflict)
	case "bill_paid":
		return refused("bill_paid", http.StatusConflict)
	case "declined":
		return refused("declined", http.StatusUnprocessableEntity)
	case "no_account_available", "rate_limited":
		return putOff("unavailable")
	}
	switch {
	case a.status >= 500:
		return outcomeView{Kind: "unknown", Same: true, Detail: p, status: http.StatusServiceUnavailable}
	case a.status == http.StatusUnauthorized, a.status == http.StatusForbidden:
		return refused("misconfigured", http.StatusInternalServerError)
	}
	return refused("refused", http.StatusUnprocessableEntity)
}

// lastCookie holds the address of the newest order's result page, so that a citizen who
// lost the page finds it again.
const lastCookie = "pay_last"

func (c *Core) remember(w http.ResponseWriter, k *checkout, no string) {
	http.SetCookie(w, &http.Cookie{
		Name: lastCookie, Value: no + "." + c.receipt(k.reference), Path: "/", MaxAge: 24 * 60 * 60,
		HttpOnly: true, Secure: c.base.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
}

var lastForm = regexp.MustCompile(`^(20[0-9]{14})\.([A-Za-z0-9_-]{22})$`)

// lastOrder is the address of the result page of this browser's newest order; empty: none.
func lastOrder(r *http.Request) string {
	no, receipt := newestOrder(r)
	if no == "" {
		return ""
	}
	return "/result?" + url.Values{"order_no": {no}, "receipt": {receipt}}.Encode()
}

// newestOrder is what the cookie says; empty: nothing.
func newestOrder(r *http.Request) (no, receipt string) {
	cookie, err := r.Cookie(lastCookie)
	if err != nil {
		return "", ""
	}
	m := lastForm.FindStringSubmatch(cookie.Value)
	if m == nil {
		return "", ""
	}
	return m[1], m[2]
}
