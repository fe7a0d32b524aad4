package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"pay.taipei/gateway/orders"
)

// answers words what is stored under an idempotency key: whole bodies, without anything of the one request that
// happened to be first.
type answers struct{ checkoutURL func(token string) string }

var _ orders.Answers = answers{}

// Created is the document of an order that the citizen can pay.
func (a answers) Created(o *orders.Order) (int, []byte, error) {
	return stored(http.StatusCreated, o.Document(a.checkoutURL(o.PayToken)))
}

// Unknown is the document of an order whose creates ended without a known outcome: there is nothing to open.
func (a answers) Unknown(o *orders.Order) (int, []byte, error) {
	return stored(http.StatusAccepted, o.Document(""))
}

// Declined is the problem of an order that a provider refused.
func (a answers) Declined(o *orders.Order) (int, []byte, error) {
	p := newProblem(problemDeclined)
	p.OrderNo = o.No
	return stored(p.Status, p)
}

// Conflict is the problem of an order that was cancelled because its bills went to another.
func (a answers) Conflict(o *orders.Order, b *orders.BillError) (int, []byte, error) {
	p := billProblem(b, o.ClientID, o.Lines)
	return stored(p.Status, p)
}

// Cancelled is the document of an order that is cancelled, or that will be when a doubt is decided.
func (a answers) Cancelled(o *orders.Order) (int, []byte, error) {
	status := http.StatusOK
	if o.State == orders.OrderOpen {
		status = http.StatusAccepted
	}
	return stored(status, o.Document(""))
}

// Refunding is the refund that was asked for.
func (a answers) Refunding(_ *orders.Order, r *orders.Refund) (int, []byte, error) {
	return stored(http.StatusAccepted, r.Document())
}

func stored(status int, v any) (int, []byte, error) {
	body, err := encode(v)
	return status, body, err
}

// encode writes JSON without escaping & < >, which are not special in application/json, so that URLs stay readable.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("api: encode: %w", err)
	}
	return b.Bytes(), nil
}

// textIn is a member of a stored answer; empty when there is none.
func textIn(body []byte, name string) string {
	n, err := parseJSON(body)
	if err != nil {
		return ""
	}
	found, _ := object{members: n.members}.find(name)
	return found.text
}
