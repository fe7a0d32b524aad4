package orders_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
)

// paidTwice is an order paid by its first attempt and then by its second.
func paidTwice() orders.Order {
	f := fold(newBook(orderNo, 2), said(orderNo, 1, orders.AttemptPaid, inTime), said(orderNo, 2, orders.AttemptPaid, inTime))
	o := f.Book.Order
	o.Attempts[1].PaidAt = time.Date(2017, 6, 12, 17, 2, 3, 999_000_000, time.UTC)
	return o
}

// The bytes are what clients verify, hash and parse: a change here is a change of the
// public API. Written by hand from the order API's example.
const paidDocument = `{"order_no":"2017061300000016","client_reference":"2017061300000014","status":"paid","version":4,"late":false,"review":false,"doubt":false,` +
	`"merchant":"pma","amount":{"value":"40","currency":"TWD"},"fee":{"value":"0","currency":"TWD"},"total":{"value":"40","currency":"TWD"},` +
	`"provider":"bravobank","account":"bravobank-main","attempt_no":"201706130000001602","redirect":null,"checkout_url":null,` +
	`"lines":[{"bill_no":"H60983881309263","name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"},` +
	`{"bill_no":"H61283631217536","name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"}],` +
	`"surplus":[{"id":"201706130000001602-H60983881309263","attempt_no":"201706130000001602","bill_no":"H60983881309263","amount":"20","refunded":"0"},` +
	`{"id":"201706130000001602-H61283631217536","attempt_no":"201706130000001602","bill_no":"H61283631217536","amount":"20","refunded":"0"}],` +
	`"attempts":[{"attempt_no":"201706130000001601","provider":"bravobank","account":"bravobank-main","status":"paid","provider_trade_no":"T201706130000001601","method":"deposit_account","paid_at":"2017-06-13T09:01:00+08:00"},` +
	`{"attempt_no":"201706130000001602","provider":"bravobank","account":"bravobank-main","status":"paid","provider_trade_no":"T201706130000001602","method":"deposit_account","paid_at":"2017-06-13T01:02:03+08:00"}],` +
	`"refunds":[],"cases":[],"cancel_asked":false,"created_at":"2017-06-13T09:00:00+08:00","expires_at":"2017-06-13T09:10:00+08:00"}`

func TestDocumentGolden(t *testing.T) {
	o := paidTwice()
	o.Version = 4
	got, err := json.Marshal(o.Document(""))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != paidDocument {
		t.Errorf("got  %s\nwant %s", got, paidDocument)
	}
}

func TestRenderEventsGolden(t *testing.T) {
	o := paidTwice()
	o.Version = 4
	at := time.Date(2017, 6, 13, 1, 1, 2, 345_000_000, time.UTC)
	events, err := orders.RenderEvents(&o, []orders.EventType{orders.EventPaid, orders.EventSurplus}, at)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		id   string
		typ  orders.EventType
		body string
	}{
		{"evt_2017061300000016_3", orders.EventPaid, `{"type":"order.paid","id":"evt_2017061300000016_3","occurred_at":"2017-06-13T09:01:02+08:00","order_no":"2017061300000016","version":3,"data":{"order":` + paidDocument + `}}`},
		{"evt_2017061300000016_4", orders.EventSurplus, `{"type":"order.surplus","id":"evt_2017061300000016_4","occurred_at":"2017-06-13T09:01:02+08:00","order_no":"2017061300000016","version":4,"data":{"order":` + paidDocument + `}}`},
	}
	if len(events) != len(want) {
		t.Fatalf("%d events, want %d", len(events), len(want))
	}
	for i, w := range want {
		e := events[i]
		if e.ID() != w.id || e.Type != w.typ || e.OrderNo != orderNo || e.ClientID != "core" || !e.OccurredAt.Equal(at) || e.Version != int64(3+i) {
			t.Errorf("event %d is %s %s of %s, version %d", i, e.ID(), e.Type, e.ClientID, e.Version)
		}
		if string(e.Body) != w.body {
			t.Errorf("got  %s\nwant %s", e.Body, w.body)
		}
	}
}

func TestRenderEventsOfNothing(t *testing.T) {
	o := newBook(orderNo, 1).Order
	if events, err := orders.RenderEvents(&o, nil, inTime); err != nil || len(events) != 0 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// An event is stored and delivered later: a redirect in it would be stale, and one
// citizen's signed order has no business in it.
func TestEventsCarryNoRedirect(t *testing.T) {
	o := newBook(orderNo, 1).Order
	o.Attempts[0].Redirect = &orders.Redirect{Method: "POST", URL: "https://bank/pay", Fields: map[string]string{"sig": "secret"}}
	events, err := orders.RenderEvents(&o, []orders.EventType{orders.EventCreated}, inTime)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(events[0].Body, []byte("bank/pay")) || !bytes.Contains(events[0].Body, []byte(`"redirect":null,"checkout_url":null`)) {
		t.Errorf("body %s", events[0].Body)
	}
}

func TestDocumentRedirect(t *testing.T) {
	const page = "https://pay.example/pay/t"
	signed := &orders.Redirect{Method: "POST", URL: "https://bank/pay", Fields: map[string]string{"order": "x"}}
	click := &orders.Redirect{Method: "GET", URL: page}
	for name, c := range map[string]struct {
		change func(*orders.Attempt)
		url    string
		want   *orders.Redirect
	}{
		"signed at once":                {func(a *orders.Attempt) { a.Redirect = signed }, page, signed},
		"signed at the click":           {func(a *orders.Attempt) { a.State = orders.AttemptIntent }, page, click},
		"not payable":                   {func(a *orders.Attempt) { a.Redirect = signed }, "", nil},
		"the attempt has failed":        {func(a *orders.Attempt) { a.Redirect, a.State = signed, orders.AttemptFailed }, page, nil},
		"the attempt has been given up": {func(a *orders.Attempt) { a.Redirect, a.Abandoned = signed, true }, page, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := newBook(orderNo, 1).Order
			c.change(&o.Attempts[0])
			d := o.Document(c.url)
			if !reflect.DeepEqual(d.Redirect, c.want) {
				t.Errorf("redirect %+v, want %+v", d.Redirect, c.want)
			}
			if (d.CheckoutURL == nil) != (c.want == nil) || d.CheckoutURL != nil && *d.CheckoutURL != c.url {
				t.Errorf("checkout_url %v, want %q", d.CheckoutURL, c.url)
			}
		})
	}
}

// Clients decode lists as lists: an empty one is [], and an unknown text is null.
func TestDocumentOfABareOrder(t *testing.T) {
	o := newBook(orderNo, 1).Order
	o.Lines = nil
	text, err := json.Marshal(o.Document(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"lines":[]`, `"surplus":[]`, `"provider_trade_no":null,"method":null,"paid_at":null`, `"status":"open"`} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("%s is missing in %s", part, text)
		}
	}
}

// The words of refunds and cases are what clients parse.
func TestDocumentShowsRefundsAndCases(t *testing.T) {
	r := refund(2, 1, bill2, 5)
	f := orders.EndRefund(with(paidBook(2), r), r.Attempt, 1, orders.RefundFailed, "P1", "E1", tooLate)
	f = orders.Unresolved(with(f.Book, refund(1, 1, "", 40)), number(orderNo, 1), "asked for three days", tooLate)
	o := f.Book.Order
	o.CancelAsked, o.Cases[0].ClosedAt = inTime, tooLate.Add(time.Minute)
	text, err := json.Marshal(o.Document(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"refunds":[{"id":"201706130000001602R01","attempt_no":"201706130000001602","surplus_id":"201706130000001602-H61283631217536","amount":"5","status":"failed",` +
			`"why":"E1","reason":"double payment","provider_refund_no":"P1","created_at":"2017-06-13T09:01:00+08:00","decided_at":"2017-06-13T10:10:00+08:00"},` +
			`{"id":"201706130000001601R01","attempt_no":"201706130000001601","surplus_id":null,"amount":"40","status":"undecided",` +
			`"why":null,"reason":"double payment","provider_refund_no":null,"created_at":"2017-06-13T09:01:00+08:00","decided_at":null}]`,
		`"cases":[{"id":"2017061300000016-c1","kind":"unresolved","attempt_no":"201706130000001601","detail":"asked for three days",` +
			`"opened_at":"2017-06-13T10:10:00+08:00","closed_at":"2017-06-13T10:11:00+08:00"}],"cancel_asked":true`,
	} {
		if !bytes.Contains(text, []byte(part)) {
			t.Errorf("%s is missing in %s", part, text)
		}
	}
}

func TestDocumentShowsDoubtAndReview(t *testing.T) {
	o := newBook(orderNo, 1).Order
	o.Review, o.Late = true, true
	o.Calls = []orders.Call{{Attempt: number(orderNo, 1), Op: orders.OpConfirm, Ordinal: 1}}
	if d := o.Document(""); !d.Doubt || !d.Review || !d.Late || d.Status != "open" {
		t.Errorf("document %+v", d)
	}
}
