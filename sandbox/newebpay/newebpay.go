// Package newebpay is a double of NewebPay's page for payers, MPG (藍新金流): written from the manual NDNF-1.1.9 of July 2025
// (MPG 2.3) by way of our notes on it; error codes that the notes leave out are from the manual's table, by way of a
// transcript. It has the habits that a gateway must live with: answers are padded now to 16 bytes and now to 32, a result is
// now an object and now a text, a notice that comes again has other bytes, a query with another amount finds nothing, an
// empty result is a list, too many questions about unknown numbers shut the query for four hours, a payer who leaves is
// never mentioned, and a refund that succeeded is only queued.
//
// It is kinder than NewebPay in four things: addresses on loopback may have any port, whoever posts the form passes for a
// browser, a page without a time limit lives for 30 minutes, and captures come of themselves, so asking for one or undoing
// one is refused. It offers cards and WebATM; other methods may be asked for and are not shown. It is not run by NewebPay;
// no money moves.
package newebpay

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

const (
	letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	digits  = "0123456789"

	card   = "credit_card"
	webATM = "webatm"
)

// double is NewebPay, as far as it is played.
type double struct {
	desk    *desk.Desk
	keys    keys
	shopURL string
	payees  map[string]bool

	mu      sync.Mutex // guards all below
	orders  int
	lookups map[string]*lookups // by shop
}

// Double is the double of NewebPay.
func Double() desk.Double { return desk.Double{Name: "newebpay", Open: open} }

func open(place desk.Place, deps desk.Deps) (*desk.Running, error) {
	hashKey, hashIV := place.Secret("newebpay hash_key", 32, letters), place.Secret("newebpay hash_iv", 16, letters)
	k, err := newKeys(hashKey, hashIV)
	if err != nil {
		return nil, err
	}
	b := &double{keys: k, shopURL: place.ShopURL, payees: make(map[string]bool), lookups: make(map[string]*lookups)}
	payees := make(map[string]string)
	for _, code := range slices.Sorted(maps.Keys(place.Merchants)) {
		payee := "MS1" + place.Secret("newebpay merchant "+code, 8, digits) // MS5 would be a composite shop, which is queried otherwise
		if b.payees[payee] {
			return nil, fmt.Errorf("newebpay: two merchants got the id %s; another seed parts them", payee)
		}
		b.payees[payee], payees[code] = true, payee
	}
	b.desk, err = desk.New(desk.Rules{
		NameZH: "藍新金流", NameEN: "NewebPay", Colour: "#0057b8", ShopURL: place.ShopURL,
		Methods: []desk.Method{{Code: card, ZH: "信用卡", EN: "Credit card"}, {Code: webATM, ZH: "網路 ATM", EN: "WebATM"}},
		Without: []string{"wrong_currency"},
		Back:    b.back, Notice: b.notice,
		Pauses: []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}, // three are documented, their distances are not
	}, deps)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	b.desk.Pages(mux)
	mux.HandleFunc("POST /MPG/mpg_gateway", b.checkout)
	locked := func(w http.ResponseWriter) { refuse(w, errLocked) }
	tooMany := func(w http.ResponseWriter) { http.Error(w, "too many requests", http.StatusTooManyRequests) }
	mux.HandleFunc("POST /API/QueryTradeInfo", b.desk.API(false, busy(locked), b.query))
	mux.HandleFunc("POST /API/CreditCard/Cancel", b.desk.API(true, busy(tooMany), b.cancel))
	mux.HandleFunc("POST /API/CreditCard/Close", b.desk.API(true, busy(tooMany), b.close))
	return &desk.Running{
		Handler: mux, Step: b.desk.Step, Desk: b.desk, Payees: payees,
		Settings: fmt.Sprintf("{url: %q, hash_key: %q, hash_iv: %q}", place.URL, hashKey, hashIV),
	}, nil
}

// busy answers while the provider is closed or asked too much.
func busy(throttled func(http.ResponseWriter)) func(http.ResponseWriter, bool) {
	return func(w http.ResponseWriter, isThrottled bool) {
		if isThrottled {
			throttled(w)
			return
		}
		http.Error(w, "系統維護中 closed for maintenance", http.StatusServiceUnavailable)
	}
}

// refusal is a code of the provider's and what it says to it.
type refusal struct{ code, why string }

// tolerance is how far a TimeStamp may be from now, on either side.
const tolerance = 120 * time.Second

// How a payment and its money stand. The bank fetches the day's payments at 21:00 and works on them until midnight.

// midnight is the end of a moment's day in Taipei.
func midnight(t time.Time) time.Time {
	y, m, d := t.In(desk.Taipei()).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, desk.Taipei())
}

// closeStatus is how far a card payment's capture is: 0 not begun, 1 queued, 3 done.
func closeStatus(p *desk.Payment, now time.Time) int {
	end := midnight(p.PaidAt)
	switch {
	case p.State != desk.Paid || now.Before(end.Add(-3*time.Hour)):
		return 0
	case now.Before(end):
		return 1
	}
	return 3
}

// backStatus is how far the newest refund is: 0 there is none, 1 queued, 3 done.
func backStatus(p *desk.Payment, now time.Time) int {
	switch n := len(p.Refunds); {
	case n == 0:
		return 0
	case now.Before(midnight(p.Refunds[n-1].At)):
		return 1
	}
	return 3
}

// tradeStatus is what became of a payment. Of one that nobody paid it stays 0, whether the payer left or time ran out.
func tradeStatus(p *desk.Payment, now time.Time) int {
	switch p.State {
	case desk.Paid:
		if p.Refunded() == p.Amount && backStatus(p, now) == 3 {
			return 6
		}
		return 1
	case desk.Failed:
		return 2
	case desk.Voided:
		return 3
	case desk.Open, desk.Authorised, desk.Cancelled, desk.Expired:
	}
	return 0
}

// tradeNo is the provider's number: one of the order's own until money moved.
func tradeNo(p *desk.Payment) string {
	if p.Trade != "" {
		return p.Trade
	}
	return p.Extra["trade"]
}

func paymentType(p *desk.Payment) string {
	return map[string]string{card: "CREDIT", webATM: "WEBATM"}[p.Method]
}

func clock(t time.Time) string { return t.In(desk.Taipei()).Format(time.DateTime) }
