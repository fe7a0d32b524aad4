package orders

import (
	"encoding/json"
	"fmt"
	"time"
)

// EventType names a kind of fact about an order, handed to the client.
type EventType string

// The types of events.
const (
	EventCreated   EventType = "order.created"
	EventPending   EventType = "order.pending"   // the citizen can reach the provider
	EventPaid      EventType = "order.paid"      // once
	EventFailed    EventType = "order.failed"    // an attempt ended without money; the order may still be paid
	EventCancelled EventType = "order.cancelled" // by us
	EventExpired   EventType = "order.expired"
	EventSurplus   EventType = "order.surplus" // money that its bill did not need
	EventReview    EventType = "order.review"  // frozen until a person decides

	EventRefunded     EventType = "order.refunded"      // a refund was carried out
	EventRefundFailed EventType = "order.refund_failed" // a refund was not and will not be carried out
	EventCase         EventType = "order.case"          // a question for a person was opened
)

// Event is a numbered fact about an order. Its body is rendered once, stored, and
// delivered as those bytes.
type Event struct {
	OrderNo    OrderNo
	Version    int64 // gap-free per order from 1
	ClientID   string
	Type       EventType
	OccurredAt time.Time
	Body       []byte
}

// ID is unique per event and never changes: the receiver's key against duplicates.
func (e *Event) ID() string { return fmt.Sprintf("evt_%s_%d", e.OrderNo, e.Version) }

type eventBody struct {
	Type       EventType `json:"type"`
	ID         string    `json:"id"`
	OccurredAt string    `json:"occurred_at"`
	OrderNo    OrderNo   `json:"order_no"`
	Version    int64     `json:"version"`
	Data       struct {
		Order Document `json:"order"`
	} `json:"data"`
}

// RenderEvents makes the events that brought an order to its present version. Each
// carries the order's final state; versions are consecutive and end at o.Version.
func RenderEvents(o *Order, types []EventType, at time.Time) ([]Event, error) {
	events := make([]Event, len(types))
	for i, t := range types {
		e := Event{
			OrderNo: o.No, ClientID: o.ClientID, Type: t, OccurredAt: at,
			Version: o.Version - int64(len(types)-1-i),
		}
		body := eventBody{Type: t, ID: e.ID(), OccurredAt: stamp(at), OrderNo: o.No, Version: e.Version}
		body.Data.Order = o.Document("") // an event offers no way to pay
		var err error
		if e.Body, err = json.Marshal(body); err != nil {
			return nil, fmt.Errorf("orders: event %s: %w", e.ID(), err)
		}
		events[i] = e
	}
	return events, nil
}

// Document is an order as clients see it: the answer of the order API and the data of
// every event.
type Document struct {
	OrderNo         OrderNo           `json:"order_no"`
	ClientReference string            `json:"client_reference"`
	Status          string            `json:"status"`
	Version         int64             `json:"version"`
	Late            bool              `json:"late"`
	Review          bool              `json:"review"`
	Doubt           bool              `json:"doubt"`
	Merchant        string            `json:"merchant"`
	Amount          AmountDocument    `json:"amount"`
	Fee             AmountDocument    `json:"fee"`
	Total           AmountDocument    `json:"total"`
	Provider        string            `json:"provider"`
	Account         string            `json:"account"`
	AttemptNo       AttemptNo         `json:"attempt_no"`
	Redirect        *Redirect         `json:"redirect"`
	CheckoutURL     *string           `json:"checkout_url"`
	Lines           []LineDocument    `json:"lines"`
	Surplus         []SurplusDocument `json:"surplus"`
	Attempts        []AttemptDocument `json:"attempts"`
	Refunds         []RefundDocument  `json:"refunds"`
	Cases           []CaseDocument    `json:"cases"`
	CancelAsked     bool              `json:"cancel_asked"`
	CreatedAt       string            `json:"created_at"`
	ExpiresAt       string            `json:"expires_at"`
}

// AmountDocument is an amount in major units with its currency.
type AmountDocument struct {
	Value    string `json:"value"`
	Currency string `json:"currency"`
}

// LineDocument is a bill line; its amounts are in the order's currency.
type LineDocument struct {
	BillNo    string `json:"bill_no"`
	Name      string `json:"name"`
	Quantity  int64  `json:"quantity"`
	UnitPrice string `json:"unit_price"`
	Subtotal  string `json:"subtotal"`
}

// SurplusDocument is money that a bill did not need, in the order's currency.
type SurplusDocument struct {
	ID        string    `json:"id"`
	AttemptNo AttemptNo `json:"attempt_no"`
	BillNo    string    `json:"bill_no"`
	Amount    string    `json:"amount"`
	Refunded  string    `json:"refunded"`
}

// RefundDocument is money paid back or to be paid back, in the order's currency.
type RefundDocument struct {
	ID               string      `json:"id"`
	AttemptNo        AttemptNo   `json:"attempt_no"`
	SurplusID        *string     `json:"surplus_id"` // null: of the order itself
	Amount           string      `json:"amount"`
	Status           RefundState `json:"status"`
	Why              *string     `json:"why"` // of a failed one: the provider's code, or a rule
	Reason           string      `json:"reason"`
	ProviderRefundNo *string     `json:"provider_refund_no"`
	CreatedAt        string      `json:"created_at"`
	DecidedAt        *string     `json:"decided_at"`
}

// CaseDocument is a question for a person.
type CaseDocument struct {
	ID        string    `json:"id"`
	Kind      CaseKind  `json:"kind"`
	AttemptNo AttemptNo `json:"attempt_no"`
	Detail    string    `json:"detail"`
	OpenedAt  string    `json:"opened_at"`
	ClosedAt  *string   `json:"closed_at"`
}

// AttemptDocument is one try to pay.
type AttemptDocument struct {
	AttemptNo       AttemptNo `json:"attempt_no"`
	Provider        string    `json:"provider"`
	Account         string    `json:"account"`
	Status          string    `json:"status"`
	ProviderTradeNo *string   `json:"provider_trade_no"`
	Method          *string   `json:"method"`
	PaidAt          *string   `json:"paid_at"`
}

// Document is the order as clients see it. checkoutURL is the address of its checkout
// page while the order is openable, and empty when it is not: then neither redirect nor
// checkout_url is offered, nor are they for an attempt that is over.
func (o *Order) Document(checkoutURL string) Document {
	d := Document{
		OrderNo: o.No, ClientReference: o.ClientReference, Status: o.State.String(), Version: o.Version,
		Late: o.Late, Review: o.Review, Doubt: o.Doubt(), Merchant: o.Merchant,
		Amount:   AmountDocument{o.Amount.Value(), string(o.Amount.Currency())},
		Fee:      AmountDocument{o.Fee.Value(), string(o.Fee.Currency())},
		Total:    AmountDocument{o.Total.Value(), string(o.Total.Currency())},
		Provider: o.Current().Provider, Account: o.Current().Account, AttemptNo: o.Current().No,
		Lines: []LineDocument{}, Surplus: []SurplusDocument{}, Attempts: []AttemptDocument{},
		Refunds: []RefundDocument{}, Cases: []CaseDocument{}, CancelAsked: !o.CancelAsked.IsZero(),
		CreatedAt: stamp(o.CreatedAt), ExpiresAt: stamp(o.ExpiresAt),
	}
	if a := o.Current(); checkoutURL != "" && !a.Abandoned && !a.State.Ended() {
		d.CheckoutURL, d.Redirect = &checkoutURL, a.Redirect
		if a.Redirect == nil { // signed at the click
			d.Redirect = &Redirect{Method: "GET", URL: checkoutURL}
		}
	}
	for _, l := range o.Lines {
		d.Lines = append(d.Lines, LineDocument{l.BillNo, l.Name, l.Quantity, l.UnitPrice.Value(), l.Subtotal.Value()})
	}
	for _, s := range o.Surplus {
		d.Surplus = append(d.Surplus, SurplusDocument{s.ID(), s.Attempt, s.BillNo, s.Amount.Value(), s.Refunded.Value()})
	}
	for _, a := range o.Attempts {
		ad := AttemptDocument{AttemptNo: a.No, Provider: a.Provider, Account: a.Account, Status: a.State.String(), ProviderTradeNo: some(a.ProviderTradeNo), Method: some(a.Method)}
		if !a.PaidAt.IsZero() {
			ad.PaidAt = some(stamp(a.PaidAt))
		}
		d.Attempts = append(d.Attempts, ad)
	}
	for i := range o.Refunds {
		d.Refunds = append(d.Refunds, o.Refunds[i].Document())
	}
	for _, c := range o.Cases {
		cd := CaseDocument{ID: c.ID(o.No), Kind: c.Kind, AttemptNo: c.Attempt, Detail: c.Detail, OpenedAt: stamp(c.OpenedAt)}
		if !c.ClosedAt.IsZero() {
			cd.ClosedAt = some(stamp(c.ClosedAt))
		}
		d.Cases = append(d.Cases, cd)
	}
	return d
}

// stamp is a moment as clients see it: RFC 3339 in Taipei, whole seconds.
func stamp(t time.Time) string { return t.In(Taipei).Format(time.RFC3339) }

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
