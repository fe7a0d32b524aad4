package core

import (
	"crypto/hmac"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"pay.taipei/gateway/money"
)

// standing puts an order's state into one word for the citizen. It reads the API's answer
// and nothing else; whatever it does not know is being confirmed. Attempts are looked
// at only to tell "we are asking" from "you may try again".
func standing(o *order) string {
	switch {
	case o.Status == "paid":
		return "paid"
	case o.Status == "refunded", o.Status == "partially_refunded":
		return "refunded"
	case o.Review:
		return "review"
	case o.Doubt:
		return "confirming"
	case o.Status != "open" && o.Status != "expired" && o.Status != "cancelled":
		return "confirming"
	case slices.ContainsFunc(o.Attempts, func(a attempt) bool { return mayPay(o, a) }):
		return "confirming"
	case len(o.Attempts) == 0 && o.Status == "open":
		return "confirming"
	}
	return "unpaid"
}

// mayPay says whether an attempt is still expected to tell us something. An earlier
// attempt that never left us is not waited for.
func mayPay(o *order, a attempt) bool {
	switch a.Status {
	case "failed", "expired", "cancelled":
		return false
	case "intent":
		return o.Status == "open" && a.AttemptNo == o.AttemptNo
	}
	return true
}

// resultView is the result page. Without the receipt only Status is filled.
type resultView struct {
	Status   string
	Order    *order // nil: only the status may be shown, or the order is not known
	OrderNo  string
	Agency   bilingual
	Items    []string // names of the bills, each once
	PaidAt   string
	TradeNo  string
	Provider bilingual
	Method   method
	Ended    bilingual // why the newest attempt brought nothing, in its provider's words; empty: not known
	Surplus  string    // the sum that the bills did not need; empty: none
	Late     bool      // the time to pay is over
	Continue string    // checkout_url
	Again    string    // to a new order for the same bills
	Free     string    // when the bills of an unpaid order are free for another; empty: now
	Refresh  bool
	Still    string // this page without refreshing itself
}

func (c *Core) result(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v, status := resultView{OrderNo: q.Get("order_no")}, http.StatusOK
	o, err := c.fetchOrder(r.Context(), v.OrderNo)
	switch {
	case errors.Is(err, errNoSuchOrder):
		v.Status, status = "not_found", http.StatusNotFound
	case err != nil:
		c.log.WarnContext(r.Context(), "order not readable", "err", err)
		v.Status, status = "unknown", http.StatusServiceUnavailable
	default:
		v.Status = standing(&o)
		if hmac.Equal([]byte(q.Get("receipt")), []byte(c.receipt(o.ClientReference))) {
			c.detail(&v, r, &o)
		}
	}
	p := page{Name: "result"}
	if v.Status == "confirming" || v.Status == "unknown" {
		if v.Refresh = q.Get("refresh") != "off"; v.Refresh {
			p.Refresh = 3
			q.Set("refresh", "off")
		} else {
			q.Del("refresh")
		}
		q.Del("lang")
		v.Still = "/result?" + q.Encode()
	}
	p.Body = v
	c.render(w, r, status, p)
}

// detail fills in what only the order's own citizen may see.
func (c *Core) detail(v *resultView, r *http.Request, o *order) {
	v.Order, v.Agency = o, agencyOf(o.Merchant)
	var bills []string
	for _, l := range o.Lines {
		bills = append(bills, l.BillNo)
		if !slices.Contains(v.Items, l.Name) {
			v.Items = append(v.Items, l.Name)
		}
	}
	if v.Status == "unpaid" {
		v.Ended = c.ended(r, o)
	}
	v.Late = !c.now().Before(o.ExpiresAt)
	payable := o.CheckoutURL != nil && webAddress(*o.CheckoutURL)
	switch {
	case v.Status == "paid" || v.Status == "refunded":
		c.payment(v, r, o)
	case payable && v.Status == "confirming":
		v.Continue = *o.CheckoutURL
	case v.Status == "unpaid" && o.Status == "open" && !v.Late:
		v.Free = o.ExpiresAt.In(taipei).Format("15:04:05")
	case v.Status == "unpaid":
		v.Again = "/checkout?" + url.Values{"bill": bills}.Encode()
	}
}

// ended is what the provider of the newest attempt has payers told of its end. The page does without.
func (c *Core) ended(r *http.Request, o *order) bilingual {
	if len(o.Attempts) == 0 {
		return bilingual{}
	}
	list, err := c.directory(r.Context(), "", "")
	if err != nil {
		c.log.WarnContext(r.Context(), "directory not readable", "err", err)
	}
	for _, p := range list {
		if p.Provider == o.Provider {
			return p.Outcomes[o.Attempts[len(o.Attempts)-1].Status]
		}
	}
	return bilingual{}
}

// payment fills in how the order was paid. The directory only gives names, and its codes do without.
func (c *Core) payment(v *resultView, r *http.Request, o *order) {
	v.Surplus = surplusOf(o)
	v.Provider = bilingual{o.Provider, o.Provider}
	paid := o.paying()
	if paid == nil {
		return
	}
	if paid.PaidAt != nil {
		if t, err := time.Parse(time.RFC3339, *paid.PaidAt); err == nil {
			v.PaidAt = t.In(taipei).Format("2006/01/02 15:04:05")
		}
	}
	if paid.ProviderTradeNo != nil {
		v.TradeNo = *paid.ProviderTradeNo
	}
	if paid.Method != nil {
		v.Method = method{*paid.Method, bilingual{*paid.Method, *paid.Method}}
	}
	list, err := c.directory(r.Context(), "", "")
	if err != nil {
		c.log.WarnContext(r.Context(), "directory not readable", "err", err)
	}
	for _, p := range list {
		if p.Provider != o.Provider {
			continue
		}
		v.Provider = p.Name
		if i := slices.IndexFunc(p.Methods, func(m method) bool { return m.Code == v.Method.Code }); i >= 0 {
			v.Method = p.Methods[i]
		}
	}
}

// surplusOf is the sum of an order's surplus rows; empty when there are none.
func surplusOf(o *order) string {
	if len(o.Surplus) == 0 {
		return ""
	}
	sum := money.Zero(money.Currency(o.Amount.Currency))
	for _, s := range o.Surplus {
		a, err := amount{s.Amount, o.Amount.Currency}.parse()
		if err == nil {
			sum, err = sum.Add(a)
		}
		if err != nil {
			return "?"
		}
	}
	return sum.Value()
}
