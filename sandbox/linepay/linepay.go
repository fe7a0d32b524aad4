// Package linepay is a double of LINE Pay in Taiwan: written from the pages on its Online API v3 at developers-pay.line.me.
// It is not run by LINE Pay; no money moves.
//
// It has these quirks. A transaction id is a JSON number of 19 digits, which no float64 holds. The browser's way back is a
// plain GET that proves nothing, and no notice ever comes: only check, confirm and details tell. Money moves when the
// merchant confirms, within 20 minutes of the request. Answers are HTTP 200 whatever they say, and are not signed. A refund
// has no key of its own: sent twice, it is paid back twice.
//
// It has one channel, always captures, and always leads the browser back (confirmUrlType CLIENT); what a merchant must have
// activated first (authorizing only, preapproved payments) and what needs no browser (SERVER, NONE) is refused.
package linepay

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
	"pay.taipei/gateway/signing"
)

const (
	confirmWithin = 20 * time.Minute
	refundWithin  = 90 * 24 * time.Hour // the contract's; the document names none
)

// What a payment keeps in Extra.
const (
	transactionKey = "transactionId"
	confirmKey     = "confirmUrl"
	cancelKey      = "cancelUrl"
	packagesKey    = "packages" // as they were sent
)

// line is LINE Pay, as seen by one channel.
type line struct {
	desk    *desk.Desk
	rand    io.Reader
	url     string
	channel string
	secret  string
	keys    *signing.HMACKeys

	mu      sync.Mutex // guards all below
	nonces  map[string]bool
	used    []string // nonces, oldest first
	issued  int
	refunds map[string]string // transaction ids by the desk's refund numbers
}

// Double is LINE Pay's.
func Double() desk.Double { return desk.Double{Name: "linepay", Open: open} }

func open(place desk.Place, deps desk.Deps) (*desk.Running, error) {
	l := &line{
		url: place.URL, rand: deps.Rand,
		channel: place.Secret("linepay channel id", 10, "123456789"),
		secret:  place.Secret("linepay channel secret", 32, "0123456789abcdef"),
		nonces:  make(map[string]bool), refunds: make(map[string]string),
	}
	var err error
	if l.keys, err = signing.NewHMACKeys([]signing.HMACKey{{ID: l.channel, Secret: signing.NewSecret([]byte(l.secret))}}); err != nil {
		return nil, fmt.Errorf("linepay: channel secret: %w", err)
	}
	l.desk, err = desk.New(desk.Rules{
		NameZH: "LINE Pay", NameEN: "LINE Pay", Colour: "#06c755",
		Methods:    []desk.Method{{Code: "credit_card", ZH: "信用卡", EN: "Credit card"}, {Code: "balance", ZH: "LINE Pay 餘額", EN: "LINE Pay balance"}},
		ShopURL:    place.ShopURL,
		Authorises: true,
		Without:    []string{"late", "lost", "duplicated", "reordered", "forged_signature", "wrong_merchant", "wrong_currency"},
		Back:       back,
		Trade:      "LP",
	}, deps)
	if err != nil {
		return nil, err
	}
	// The wire knows no payee but the channel.
	payees := make(map[string]string)
	for code := range place.Merchants {
		payees[code] = l.channel
	}
	return &desk.Running{
		Handler: l.handler(), Step: l.desk.Step, Desk: l.desk, Payees: payees,
		Settings: fmt.Sprintf("{url: %q, channel_id: %q, channel_secret: %q}", l.url, l.channel, l.secret),
	}, nil
}

func (l *line) handler() http.Handler {
	mux := http.NewServeMux()
	l.desk.Pages(mux)
	mux.HandleFunc("POST /v3/payments/request", l.call(false, l.request))
	mux.HandleFunc("GET /v3/payments/requests/{transactionId}/check", l.call(false, l.check))
	mux.HandleFunc("POST /v3/payments/{transactionId}/confirm", l.call(true, l.confirm))
	mux.HandleFunc("POST /v3/payments/{transactionId}/refund", l.call(true, l.refund))
	mux.HandleFunc("POST /v3/payments/authorizations/{transactionId}/void", l.call(false, l.void))
	mux.HandleFunc("GET /v3/payments", l.call(false, l.details))
	return mux
}

// back leads to the merchant with the two parameters that LINE Pay appends. A declined payment goes the way of a cancelled one.
func back(p desk.Payment) desk.Form {
	to := p.Extra[cancelKey]
	if p.State == desk.Authorised || p.State == desk.Paid {
		to = p.Extra[confirmKey]
	}
	u, err := url.Parse(to)
	if err != nil {
		return desk.Form{URL: to} // cannot be: the request was refused then
	}
	more := transactionKey + "=" + p.Extra[transactionKey]
	if !u.Query().Has("orderId") { // the merchant may have put its own there
		more += "&orderId=" + url.QueryEscape(p.Number)
	}
	if u.RawQuery != "" {
		more = u.RawQuery + "&" + more
	}
	u.RawQuery = more
	return desk.Form{URL: u.String()}
}

// issue is a new transaction id: 19 digits that begin with the second, so that a restarted double does not repeat them.
func (l *line) issue() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next()
}

// next is issue for a caller that holds the lock.
func (l *line) next() string {
	l.issued++
	return l.desk.Now().In(desk.Taipei()).Format("20060102150405") + fmt.Sprintf("%05d", l.issued%100_000)
}
