package bravobank

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"
)

// payment is one attempt_no. The caller of its methods holds the bank's lock.
type payment struct {
	*order
	text       string // the order as it was signed
	state      string // created, paid, failed or cancelled; see status
	method     string
	trade      string
	paidAt     time.Time
	charges    int
	refunds    []refund
	faults     Faults // those that were on when it was decided
	deliveries int
	acks       int
}

type refund struct {
	ID     string `json:"refund_id"`
	No     string `json:"refund_no"`
	Amount string `json:"amount"`
	Status string `json:"status"`

	units int64
}

func (p *payment) status(now time.Time) string {
	if p.state == "created" && !now.Before(p.expires) {
		return "expired"
	}
	return p.state
}

var (
	errDiffers = errors.New("another order was opened under this attempt_no")
	errClosed  = errors.New("the bank is closed for maintenance")
	errFull    = errors.New("the bank's memory is full; try again later or restart it")
	errSession = errors.New("this page is not known any more")
)

// admit finds or opens the payment of an order. An old payment gives way only a day
// after its order's end, so that forgetting it cannot let it be paid again.
func (b *Bank) admit(o *order, text string, now time.Time) (*payment, error) {
	if p, ok := b.payments[o.AttemptNo]; ok {
		if p.text != text {
			return nil, errDiffers
		}
		return p, nil
	}
	if len(b.opened) >= maxPayments {
		if now.Before(b.opened[0].expires.Add(24 * time.Hour)) {
			return nil, errFull
		}
		delete(b.payments, b.opened[0].AttemptNo)
		b.opened = b.opened[1:]
	}
	p := &payment{order: o, text: text, state: "created"}
	b.payments[o.AttemptNo] = p
	b.opened = append(b.opened, p)
	return p, nil
}

// charge carries out the payer's confirmation, once. A payment that has ended stays as it is.
func (b *Bank) charge(p *payment, method string, now time.Time) {
	if p.status(now) != "created" || !slices.Contains(p.Methods, method) {
		return
	}
	p.faults = b.faults.Take()
	if p.state = "failed"; !p.faults.Fail {
		b.trades++
		p.state, p.method, p.paidAt, p.charges = "paid", method, now, p.charges+1
		p.trade = b.number("BB", b.trades, now)
	}
	b.announce(p, now)
}

// giveUp carries out the payer's cancellation.
func (b *Bank) giveUp(p *payment, now time.Time) {
	if p.status(now) == "created" {
		p.state = "cancelled"
		b.announce(p, now)
	}
}

// number is unique while the bank runs and, by the second of day in it, after a restart.
func (b *Bank) number(prefix string, n int, now time.Time) string {
	return fmt.Sprintf("%s%s%04d", prefix, now.In(taipei()).Format("20060102150405"), n%10_000)
}

func taipei() *time.Location { return time.FixedZone("", 8*60*60) }

func (b *Bank) random(n int) (string, error) {
	bytes := make([]byte, n)
	if _, err := io.ReadFull(b.d.Rand, bytes); err != nil {
		return "", fmt.Errorf("bravobank: no randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(bytes), nil
}

// statement is what the bank says of a payment (section 6). Field order is the wire's.
type statement struct {
	OrderNo     string `json:"order_no"`
	AttemptNo   string `json:"attempt_no"`
	Environment string `json:"environment"`
	Payee       string `json:"payee_member_id"`
	Payer       string `json:"payer_member_id"`
	Status      string `json:"status"`
	Total       string `json:"total"`
	Currency    string `json:"currency"`
	Method      string `json:"method"`
	PaidAt      string `json:"paid_at"`
	TradeNo     string `json:"trade_no"`
}

// state makes the statement under a status, with the lies that the fault panel asks for.
func (b *Bank) state(p *payment, status string) statement {
	s := statement{
		OrderNo: p.OrderNo, AttemptNo: p.AttemptNo, Environment: b.c.Environment, Payee: p.Payee, Payer: p.Payer,
		Status: status, Total: p.Total, Currency: p.Currency,
	}
	if status == "paid" {
		s.Method, s.PaidAt, s.TradeNo = p.method, p.paidAt.In(taipei()).Format(time.RFC3339), p.trade
	}
	if p.faults.WrongAmount {
		s.Total = strconv.FormatInt(p.total.Units()+1, 10)
	}
	if p.faults.WrongMerchant {
		s.Payee = "9999999"
	}
	if p.faults.WrongCurrency {
		s.Currency = "JPY"
	}
	return s
}
