// Package esun is a double of the hosted card page of E.SUN Bank (玉山銀行網路收單, Type 4): written from the bank's manuals
// V2.0 of 2016 (Type 4 授權 2016/7/4, 單筆查詢 2016/03/25, 取消授權 2016/02/23, Index A 回覆碼 2016/08) as the project's
// notes on the provider sum them up.
//
// Its quirks, all of the bank's: the result comes back only through the payer's browser, so a payer who stays away leaves
// nothing but the query; the amount is not in that result; MACD has a comma before the key and the request's mac has none; a
// payer who left comes back without MACD; an order number is single use, also after a decline; amounts in answers have two
// decimals, which orders must not have; and the manual prints txnData of a query as a string and of a cancellation as an
// object, so that here order numbers that end in an odd digit are answered with a string. That string is proper JSON; the one
// that is printed is not.
//
// Guesses, where the manuals are silent: the page lives 20 minutes; a payer whose page timed out comes back with GT and no
// MACD; the bank knows no transaction of a page that is open or timed out; declines come back with MACD; a query after a
// cancellation tells of the approval as before; maintenance and too many calls are answered with HTTP 503 and 429.
// Reversal (txnf0160), UnionPay, settlement and the check of source addresses are not built.
//
// It is not run by E.SUN Bank; no money moves.
package esun

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// pageLife is how long a payer may take.
const pageLife = 20 * time.Minute

// The return codes that are said here (Index A).
const (
	approved    = "00"
	declined    = "54" // the card has expired
	broken      = "G0"
	malformed   = "G2"
	used        = "G6" // the order number
	badMAC      = "G8"
	unknown     = "GD" // the order number
	wrongState  = "GF"
	eitherOr    = "GP" // bonus points or instalments
	left        = "GR" // the payer
	suspended   = "GS"
	timedOut    = "GT"
	noSuchTerms = "L1" // of instalments
)

// bank is the bank's side. Its fields do not change once it is open.
type bank struct {
	key       string
	merchants []string
	desk      *desk.Desk
}

// Double is E.SUN Bank for a city.
func Double() desk.Double { return desk.Double{Name: "esun", Open: open} }

func open(place desk.Place, deps desk.Deps) (*desk.Running, error) {
	b := &bank{key: place.Secret("esun mac_key", 32, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")}
	payees := make(map[string]string, len(place.Merchants))
	for i, code := range slices.Sorted(maps.Keys(place.Merchants)) {
		payees[code] = fmt.Sprintf("8089%06d", i+1)
		b.merchants = append(b.merchants, payees[code])
	}
	d, err := desk.New(desk.Rules{
		NameZH: "玉山銀行", NameEN: "E.SUN Bank", Colour: "#00847f",
		Methods: []desk.Method{{Code: "credit_card", ZH: "信用卡", EN: "Credit card"}},
		ShopURL: place.ShopURL, Back: b.back,
		Without: []string{"late", "lost", "duplicated", "reordered", "wrong_currency"},
	}, deps)
	if err != nil {
		return nil, fmt.Errorf("esun: %w", err)
	}
	b.desk = d
	mux := http.NewServeMux()
	d.Pages(mux)
	mux.HandleFunc("POST /ACQTrans/esuncard/txnf014s", b.order)
	mux.HandleFunc("POST /ACQTrans/esuncard/txnf014m", b.order)
	mux.HandleFunc("POST /ACQQuery/esuncard/txnf0180", d.API(false, busy, b.query))
	mux.HandleFunc("POST /ACQTrans/esuncard/txnf0150", d.API(true, busy, b.cancel))
	return &desk.Running{
		Handler: mux, Step: d.Step, Desk: d, Payees: payees,
		Settings: fmt.Sprintf("{url: %q, mac_key: %q}", place.URL, b.key),
	}, nil
}
