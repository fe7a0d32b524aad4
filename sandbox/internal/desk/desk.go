// Package desk is what the doubles of providers have in common: payments kept in memory, the pages on which a payer decides,
// notices that are sent again, and the fault panel. How a provider's messages look, what is signed in them and what an API
// answers belongs to each double.
package desk

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The bounds of what a desk keeps and reads.
const (
	maxPayments = 50_000
	maxMessage  = 64 << 10
)

// Method is a way to pay that the pages offer.
type Method struct{ Code, ZH, EN string }

// Rules are what a double does its own way.
type Rules struct {
	NameZH, NameEN string
	Colour         string   // of the header, such as "#06c755"
	Methods        []Method // at least one
	ShopURL        string   // where payers start; empty: no link
	// Authorises says that the payer only authorises: the payment becomes Authorised, and Paid by Desk.Capture.
	Authorises bool
	Without    []string // names of faults that the provider cannot have
	// Back is how the payer's browser gets back to the merchant from a payment that has ended or is authorised.
	Back func(Payment) Form
	// Notice makes one delivery to the merchant's server. The payment's state is what the notice is to say; nil without an
	// error: the provider says nothing of it. Nil: it never does.
	Notice func(context.Context, Payment) (*http.Request, error)
	// Settles says whether an answer to a notice ends its delivery. Nil: status 200 does.
	Settles func(status int, body []byte) bool
	// Pauses are the distances between deliveries that are not settled; after the last one the notice is given up.
	Pauses []time.Duration
	Trade  string // what transaction numbers begin with
}

// Deps are a desk's collaborators. HTTP carries the notices; it is copied, and the copy follows no redirects.
type Deps struct {
	Now  func() time.Time
	Rand io.Reader
	HTTP *http.Client
	Log  *slog.Logger // nil: nothing is logged
	Wake func()       // called when there is something new to do in Step; nil: nobody listens
}

// Form leads a browser on: a GET when it has no fields, else a POST of them.
type Form struct {
	URL    string
	Fields []Field
}

// Field is one of a form.
type Field struct{ Name, Value string }

// State is what became of a payment.
type State string

// The states of a payment.
const (
	Open       State = "open"
	Authorised State = "authorised" // the payer agreed; money moves when the merchant confirms
	Paid       State = "paid"
	Failed     State = "failed"
	Cancelled  State = "cancelled" // the payer left
	Expired    State = "expired"
	Voided     State = "voided" // paid, and taken back whole before it was settled
)

// Payment is one of a merchant's order numbers.
type Payment struct {
	ID      string // in the addresses of its pages
	Number  string // the merchant's
	Payee   string // the merchant's id
	Title   string // what is bought
	Amount  int64  // whole dollars
	Methods []string
	Expires time.Time
	Extra   map[string]string // what else the double keeps; not changed after Open

	State            State
	Method, Trade    string
	OpenedAt, PaidAt time.Time
	Charges          int // how often the payer was charged: 0 or 1
	Refunds          []Refund
	Faults           Faults // those that were on when the payer decided
	Deliveries       int    // of notices
	Settled          int    // deliveries that ended
}

// Refund is money paid back.
type Refund struct {
	No     string
	Amount int64
	At     time.Time
}

// Refunded is the sum of the refunds.
func (p *Payment) Refunded() (sum int64) {
	for _, r := range p.Refunds {
		sum += r.Amount
	}
	return sum
}

// Said is the amount that the provider reports, which is a dollar more under the fault "wrong_amount".
func (p *Payment) Said() int64 {
	if p.Faults.WrongAmount {
		return p.Amount + 1
	}
	return p.Amount
}

// SaidPayee is the merchant that the provider reports.
func (p *Payment) SaidPayee() string {
	if p.Faults.WrongMerchant {
		return "9999999"
	}
	return p.Payee
}

// Desk is the desk of one provider. Make it with New; it is safe for concurrent use.
type Desk struct {
	Panel *Panel

	rules   Rules
	deps    Deps
	client  http.Client
	pages   *template.Template
	notices Queue[*notice]

	mu       sync.Mutex // guards all below
	payments map[string]*Payment
	byNumber map[string]*Payment
	opened   []*Payment
	trades   int
}

// New makes a desk with empty books.
func New(r Rules, d Deps) (*Desk, error) {
	if r.NameZH == "" || r.NameEN == "" || len(r.Methods) == 0 || r.Back == nil || d.Now == nil || d.Rand == nil || d.HTTP == nil {
		return nil, errors.New("desk: a double needs its names, methods, a way back, a clock, randomness and an HTTP client")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Wake == nil {
		d.Wake = func() {}
	}
	if r.Settles == nil {
		r.Settles = func(status int, _ []byte) bool { return status == http.StatusOK }
	}
	pages, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("desk: pages: %w", err)
	}
	client := *d.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Desk{
		Panel: &Panel{Without: r.Without}, rules: r, deps: d, client: client, pages: pages,
		payments: make(map[string]*Payment), byNumber: make(map[string]*Payment),
	}, nil
}

// Why a payment could not be opened or changed.
var (
	ErrExists   = errors.New("this order number was used before")
	ErrNotFound = errors.New("no such payment")
	ErrState    = errors.New("the payment's state does not allow that")
	ErrAmount   = errors.New("more than is left of the payment")
	ErrFull     = errors.New("the books are full")
)

// Now is the desk's clock.
func (d *Desk) Now() time.Time { return d.deps.Now() }

// Open enters a payment that the payer has yet to decide about, and returns it with its ID. A number that is known already is
// ErrExists, together with that payment. An old payment gives way only a day after its end.
func (d *Desk) Open(p Payment) (Payment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.deps.Now()
	if known, ok := d.byNumber[p.Number]; ok {
		return d.seen(known), ErrExists
	}
	if len(d.opened) >= maxPayments {
		oldest := d.opened[0]
		if now.Before(oldest.Expires.Add(24 * time.Hour)) {
			return Payment{}, ErrFull
		}
		delete(d.payments, oldest.ID)
		delete(d.byNumber, oldest.Number)
		d.opened = d.opened[1:]
	}
	id, err := d.Random(12)
	if err != nil {
		return Payment{}, err
	}
	p.ID, p.State, p.OpenedAt = id, Open, now
	d.payments[p.ID], d.byNumber[p.Number] = &p, &p
	d.opened = append(d.opened, &p)
	return p, nil
}

// Find is the payment of a merchant's number, as it stands now.
func (d *Desk) Find(number string) (Payment, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p, ok := d.byNumber[number]; ok {
		return d.seen(p), true
	}
	return Payment{}, false
}

// FindWhere is the first payment that fits, as it stands now.
func (d *Desk) FindWhere(fits func(*Payment) bool) (Payment, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.opened, fits); i >= 0 {
		return d.seen(d.opened[i]), true
	}
	return Payment{}, false
}

// Books are all payments, in the order in which they were opened.
func (d *Desk) Books() []Payment {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]Payment, 0, len(d.opened))
	for _, p := range d.opened {
		all = append(all, d.seen(p))
	}
	return all
}

// seen is a copy with the state of this moment: what the payer did not decide in time, or the merchant did not confirm, has
// expired.
func (d *Desk) seen(p *Payment) Payment {
	s := *p
	s.Refunds = slices.Clone(p.Refunds)
	if (s.State == Open || s.State == Authorised) && !d.deps.Now().Before(s.Expires) {
		s.State = Expired
	}
	return s
}

// decide carries out the payer's decision, once.
func (d *Desk) decide(p *Payment, method string) {
	if d.seen(p).State != Open {
		return
	}
	if method == "" {
		p.State = Cancelled
		d.announce(p)
		return
	}
	if !slices.Contains(d.methods(p), method) {
		return
	}
	p.Faults, p.Method = d.Panel.Take(), method
	switch {
	case p.Faults.Fail:
		p.State = Failed
	case d.rules.Authorises:
		p.State = Authorised
	default:
		d.charge(p)
	}
	d.announce(p)
}

// charge moves the money. The caller holds the lock.
func (d *Desk) charge(p *Payment) {
	now := d.deps.Now()
	d.trades++
	p.State, p.PaidAt, p.Charges = Paid, now, p.Charges+1
	p.Trade = fmt.Sprintf("%s%s%04d", d.rules.Trade, now.In(Taipei()).Format("060102150405"), d.trades%10_000)
}

func (d *Desk) methods(p *Payment) []string {
	var codes []string
	for _, m := range d.rules.Methods {
		if len(p.Methods) == 0 || slices.Contains(p.Methods, m.Code) {
			codes = append(codes, m.Code)
		}
	}
	return codes
}

// Capture moves the money of an authorised payment, once. One that is paid already is ErrExists.
func (d *Desk) Capture(number string) (Payment, error) {
	return d.change(number, func(p *Payment) error {
		switch {
		case p.State == Paid:
			return ErrExists
		case d.seen(p).State != Authorised:
			return ErrState
		}
		d.charge(p)
		return nil
	})
}

// Refund pays back part of a paid payment.
func (d *Desk) Refund(number string, amount int64) (Payment, error) {
	return d.change(number, func(p *Payment) error {
		switch {
		case p.State != Paid:
			return ErrState
		case amount < 1 || p.Refunded()+amount > p.Amount:
			return ErrAmount
		}
		d.trades++
		p.Refunds = append(p.Refunds, Refund{No: fmt.Sprintf("R%s%04d", d.deps.Now().In(Taipei()).Format("060102150405"), d.trades%10_000), Amount: amount, At: d.deps.Now()})
		return nil
	})
}

// Void takes back a payment whole.
func (d *Desk) Void(number string) (Payment, error) {
	return d.change(number, func(p *Payment) error {
		if p.State != Paid || len(p.Refunds) > 0 {
			return ErrState
		}
		p.State = Voided
		return nil
	})
}

func (d *Desk) change(number string, how func(*Payment) error) (Payment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.byNumber[number]
	if !ok {
		return Payment{}, ErrNotFound
	}
	err := how(p)
	return d.seen(p), err
}

// API serves a call of the merchant's server under the faults: it never comes back while the provider hangs, busy answers
// while it is closed or throttled, and an answer to a call that moves money is lost under "answer_dropped".
func (d *Desk) API(moves bool, busy func(w http.ResponseWriter, throttled bool), serve func(w http.ResponseWriter, r *http.Request, body []byte)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		f := d.Panel.Current()
		switch {
		case f.Hang:
			<-r.Context().Done()
			Drop(w)
		case f.Closed || f.Throttled:
			busy(w, f.Throttled)
		case err != nil:
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case moves && f.AnswerDropped:
			serve(nowhere{}, r, body)
			Drop(w)
		default:
			serve(w, r, body)
		}
	}
}

// nowhere is an answer that is lost.
type nowhere struct{}

func (nowhere) Header() http.Header         { return http.Header{} }
func (nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (nowhere) WriteHeader(int)             {}

// Random is a token of n random bytes, in base64url.
func (d *Desk) Random(n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(d.deps.Rand, b); err != nil {
		return "", fmt.Errorf("desk: no randomness: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// Taipei is the providers' time zone.
func Taipei() *time.Location { return time.FixedZone("", 8*60*60) }
