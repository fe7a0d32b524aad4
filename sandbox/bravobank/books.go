package bravobank

import (
	"net/http"
	"strconv"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// Entry is one payment in the books: what the bank did, whatever it says in notices.
type Entry struct {
	OrderNo    string `json:"order_no"`
	AttemptNo  string `json:"attempt_no"`
	Payee      string `json:"payee_member_id"`
	Status     string `json:"status"`
	Total      string `json:"total"`
	Currency   string `json:"currency"`
	Method     string `json:"method"`
	TradeNo    string `json:"trade_no"`
	PaidAt     string `json:"paid_at"` // RFC 3339; empty unless paid
	Charges    int    `json:"charges"` // how often the payer was charged: 0 or 1
	Refunded   string `json:"refunded"`
	Deliveries int    `json:"deliveries"` // of notices
	Settled    int    `json:"settled"`    // deliveries that were acknowledged or refused
}

// Books are all payments, in the order in which they were opened.
func (b *Bank) Books() []Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, entries := b.d.Now(), make([]Entry, 0, len(b.opened))
	for _, p := range b.opened {
		e := Entry{
			OrderNo: p.OrderNo, AttemptNo: p.AttemptNo, Payee: p.Payee, Status: p.status(now), Total: p.Total, Currency: p.Currency,
			Method: p.method, TradeNo: p.trade, Charges: p.charges, Refunded: strconv.FormatInt(p.refunded(), 10),
			Deliveries: p.deliveries, Settled: p.acks,
		}
		if !p.paidAt.IsZero() {
			e.PaidAt = p.paidAt.In(taipei()).Format(time.RFC3339)
		}
		entries = append(entries, e)
	}
	return entries
}

func (p *payment) refunded() (units int64) {
	for _, r := range p.refunds {
		units += r.units
	}
	return units
}

func (b *Bank) getBooks(w http.ResponseWriter, _ *http.Request) {
	desk.WriteJSON(w, http.StatusOK, map[string][]Entry{"entries": b.Books()})
}
