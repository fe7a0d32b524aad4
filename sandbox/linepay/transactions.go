package linepay

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// maxRows is how many ids a call of details may name.
const maxRows = 100

// check tells how far a payment is; the code itself is the state.
func (l *line) check(r *http.Request, _ []byte) answer {
	if r.URL.RawQuery != "" {
		return say("2101", "check takes no query")
	}
	p, a := l.find(r, "1150")
	if a.Code != "" {
		return a
	}
	switch p.State {
	case desk.Authorised:
		return say("0110", "the payer agreed: confirm")
	case desk.Cancelled, desk.Expired:
		return say("0121", "the payer cancelled, or 20 minutes are over")
	case desk.Failed:
		return say("0122", "the payment failed")
	case desk.Paid, desk.Voided:
		return say("0123", "the payment is complete")
	case desk.Open:
	}
	return say("0000", "the payer has not agreed yet")
}

// paidBy is how a payment was paid.
type paidBy struct {
	Method string `json:"method"`
	Amount int64  `json:"amount"`
}

func payInfo(p desk.Payment) []paidBy {
	return []paidBy{{strings.ToUpper(p.Method), p.Said()}}
}

// confirm moves the money that the payer agreed to, once.
func (l *line) confirm(r *http.Request, body []byte) answer {
	var sent struct {
		Amount int64 `json:"amount"`
	}
	if a := read(body, object(map[string]rule{"amount": positive, "currency": dollars}), &sent); a.Code != "" {
		return a
	}
	p, a := l.find(r, "1155")
	if a.Code != "" {
		return a
	}
	done, late := say("1152", "this payment was confirmed before"), say("1180", "20 minutes are over since the request")
	switch p.State {
	case desk.Open, desk.Cancelled, desk.Failed:
		return say("1169", "the payer has not agreed")
	case desk.Expired:
		return late
	case desk.Paid, desk.Voided:
		return done
	case desk.Authorised:
	}
	if sent.Amount != p.Amount {
		return say("1153", "the request had another amount")
	}
	p, err := l.desk.Capture(p.Number)
	switch {
	case errors.Is(err, desk.ErrExists):
		return done // another confirm was faster
	case err != nil:
		return late
	}
	a = success(struct {
		OrderID       string      `json:"orderId"`
		TransactionID json.Number `json:"transactionId"`
		PayInfo       []paidBy    `json:"payInfo"`
	}{p.Number, json.Number(p.Extra[transactionKey]), payInfo(p)})
	// Faults that hold for one payment have left the panel when the payer decided; the payment has kept them.
	a.drop = p.Faults.AnswerDropped
	return a
}

// refund pays back a part, or all that is left. Sent again it is another refund.
func (l *line) refund(r *http.Request, body []byte) answer {
	var sent struct {
		Amount int64 `json:"refundAmount"` // zero: not sent
	}
	if a := read(body, object(map[string]rule{"refundAmount?": positive}), &sent); a.Code != "" {
		return a
	}
	l.mu.Lock() // so that the last refund of the payment is this one
	defer l.mu.Unlock()
	p, a := l.find(r, "1155")
	if a.Code != "" {
		return a
	}
	left := p.Amount - p.Refunded()
	amount := sent.Amount
	if amount == 0 {
		amount = left
	}
	switch {
	case p.State != desk.Paid:
		return say("1179", "no money has moved")
	case l.desk.Now().After(p.PaidAt.Add(refundWithin)):
		return say("1163", "90 days are over since the payment")
	case left == 0:
		return say("1165", "all was paid back before")
	case amount > left:
		return say("1164", "more than is left of the payment")
	}
	p, err := l.desk.Refund(p.Number, amount)
	if err != nil {
		return say("9000", err.Error())
	}
	done := p.Refunds[len(p.Refunds)-1]
	id := l.next()
	l.refunds[done.No] = id
	return success(struct {
		ID   json.Number `json:"refundTransactionId"`
		Date string      `json:"refundTransactionDate"`
	}{json.Number(id), done.At.UTC().Format(time.RFC3339)})
}

// void takes back an authorization that was not captured, and here every confirm captures.
func (l *line) void(r *http.Request, body []byte) answer {
	if a := read(body, object(nil), &struct{}{}); a.Code != "" {
		return a
	}
	if _, a := l.find(r, "1155"); a.Code != "" {
		return a
	}
	return say("1155", "this is no authorization: refund it")
}

// entry is one payment in details.
type entry struct {
	TransactionID   json.Number     `json:"transactionId"`
	TransactionDate string          `json:"transactionDate"`
	TransactionType string          `json:"transactionType"`
	PayStatus       string          `json:"payStatus"`
	ProductName     string          `json:"productName"`
	Currency        string          `json:"currency"`
	PayInfo         []paidBy        `json:"payInfo"`
	Refunds         []refunded      `json:"refundList,omitempty"`
	OrderID         string          `json:"orderId,omitempty"`
	Packages        json.RawMessage `json:"packages,omitempty"`
}

type refunded struct {
	ID     json.Number `json:"refundTransactionId"`
	Type   string      `json:"transactionType"`
	Amount int64       `json:"refundAmount"` // below zero
	Date   string      `json:"refundTransactionDate"`
}

// details tells of payments that were confirmed. A payment must fit both lists of ids that are given.
func (l *line) details(r *http.Request, _ []byte) answer {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return say("2101", "the query cannot be read")
	}
	ids, orders, fields := q["transactionId"], q["orderId"], q["fields"]
	for name := range q {
		if name != "transactionId" && name != "orderId" && name != "fields" {
			return say("2101", "the query has a parameter that is not known")
		}
	}
	switch {
	case len(ids)+len(orders) == 0:
		return say("2101", "the query must name a transactionId or an orderId")
	case len(ids)+len(orders) > maxRows:
		return say("1177", "the query names more than 100 ids")
	case slices.ContainsFunc(ids, func(id string) bool { return !transactionForm.MatchString(id) }):
		return say("2101", "transactionId must have 19 digits")
	case slices.Contains(orders, ""):
		return say("2101", "orderId must not be empty")
	case len(fields) > 1 || len(fields) == 1 && !slices.Contains([]string{"ALL", "TRANSACTION", "ORDER"}, fields[0]):
		return say("2101", "fields must be ALL, TRANSACTION or ORDER, once")
	}
	var entries []entry
	for _, p := range l.desk.Books() {
		asked := (len(ids) == 0 || slices.Contains(ids, p.Extra[transactionKey])) && (len(orders) == 0 || slices.Contains(orders, p.Number))
		if asked && p.State == desk.Paid {
			entries = append(entries, l.entry(p, !slices.Contains(fields, "TRANSACTION")))
		}
	}
	if len(entries) == 0 {
		return say("1150", "no such payment was confirmed")
	}
	return success(entries)
}

func (l *line) entry(p desk.Payment, order bool) entry {
	e := entry{
		TransactionID: json.Number(p.Extra[transactionKey]), TransactionDate: p.PaidAt.UTC().Format(time.RFC3339),
		TransactionType: "PAYMENT", PayStatus: "CAPTURE", ProductName: p.Title, Currency: "TWD", PayInfo: payInfo(p),
	}
	if order {
		e.OrderID, e.Packages = p.Number, json.RawMessage(p.Extra[packagesKey])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range p.Refunds {
		kind := "PARTIAL_REFUND"
		if r.Amount == p.Amount {
			kind = "PAYMENT_REFUND"
		}
		e.Refunds = append(e.Refunds, refunded{json.Number(l.refunds[r.No]), kind, -r.Amount, r.At.UTC().Format(time.RFC3339)})
	}
	return e
}
