package bravobank

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/signing"
)

// order is what a gateway signs (section 3).
type order struct {
	OrderNo     string   `json:"order_no"`
	AttemptNo   string   `json:"attempt_no"`
	Merchant    string   `json:"merchant_name"`
	Payee       string   `json:"payee_member_id"`
	Payer       string   `json:"payer_member_id"`
	Settlement  string   `json:"settlement"`
	Lines       []bill   `json:"lines"`
	Total       string   `json:"total"`
	Currency    string   `json:"currency"`
	Methods     []string `json:"methods"`
	ExpiresAt   string   `json:"expires_at"`
	ReturnURL   string   `json:"return_url"`
	CallbackURL string   `json:"callback_url"`

	total, fee money.Amount
	expires    time.Time
	callback   *url.URL
}

type bill struct {
	BillNo    string `json:"bill_no"`
	Name      string `json:"name"`
	Quantity  int64  `json:"quantity"`
	UnitPrice string `json:"unit_price"`
	Subtotal  string `json:"subtotal"`
}

var errForm = errors.New("the form must hold order, kid and sig, each once")

// verifyOrder checks a posted form and reads the order in it. text is the signed form
// of the order, by which a second post is compared with the first.
func (b *Bank) verifyOrder(form url.Values, now time.Time) (o *order, text string, err error) {
	for _, name := range []string{"order", "kid", "sig"} {
		if len(form[name]) != 1 {
			return nil, "", errForm
		}
	}
	text = form.Get("order")
	sig, err := base64.RawURLEncoding.Strict().DecodeString(form.Get("sig"))
	if err != nil || len(text) > 64<<10 {
		return nil, "", errForm
	}
	if err := b.c.OrderKeys.Verify(form.Get("kid"), signing.Text("bravo-order-v1."+text), sig, now); err != nil {
		return nil, "", err
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, "", errForm
	}
	o = new(order)
	if err := decode(raw, o); err != nil {
		return nil, "", err
	}
	return o, text, b.check(o)
}

// decode reads one JSON document without unknown fields.
func decode(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("malformed JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || !utf8.Valid(raw) {
		return errors.New("malformed JSON: not one document in UTF-8")
	}
	return nil
}

var (
	numberForm = regexp.MustCompile(`^[A-Z0-9]{1,20}$`)
	payerForm  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	billForm   = regexp.MustCompile(`^[0-9A-Z-]{1,20}$`)
)

// check holds an order against the limits of section 3.
func (b *Bank) check(o *order) error {
	name, known := b.c.Merchants[o.Payee]
	var errTime, errReturn, errCallback error
	o.expires, errTime = time.Parse(time.RFC3339, o.ExpiresAt)
	_, errReturn = webURL(o.ReturnURL)
	o.callback, errCallback = webURL(o.CallbackURL)
	switch {
	case !numberForm.MatchString(o.OrderNo) || !numberForm.MatchString(o.AttemptNo):
		return errors.New("order_no or attempt_no is malformed")
	case !known:
		return errors.New("the payee is not a member of this bank")
	case name != o.Merchant:
		return errors.New("merchant_name is not the name registered for this payee")
	case !payerForm.MatchString(o.Payer):
		return errors.New("payer_member_id is malformed")
	case o.Settlement != "immediate":
		return errors.New("settlement is not immediate")
	case errTime != nil:
		return errors.New("expires_at is not a time")
	case errReturn != nil || errCallback != nil || o.callback.RawQuery != "":
		return errors.New("return_url or callback_url is malformed")
	}
	for i, m := range o.Methods {
		if !slices.Contains(methodCodes(), m) || slices.Contains(o.Methods[:i], m) {
			return errors.New("methods are repeated or not known")
		}
	}
	if len(o.Methods) == 0 {
		return errors.New("methods are missing")
	}
	return o.checkMoney()
}

func (o *order) checkMoney() error {
	currency, err := money.ParseCurrency(o.Currency)
	if err != nil || len(o.Lines) < 1 || len(o.Lines) > 100 {
		return errors.New("the currency is not TWD, or there are not 1 to 100 lines")
	}
	sum := money.Zero(currency)
	for i, l := range o.Lines {
		price, errPrice := money.Parse(l.UnitPrice, currency)
		subtotal, errSubtotal := money.Parse(l.Subtotal, currency)
		product, errProduct := price.Times(l.Quantity)
		var errSum error
		sum, errSum = sum.Add(subtotal)
		if errors.Join(errPrice, errSubtotal, errProduct, errSum) != nil || product != subtotal {
			return fmt.Errorf("lines[%d]: subtotal is not quantity times unit price", i)
		}
		if !billForm.MatchString(l.BillNo) || l.Name == "" || utf8.RuneCountInString(l.Name) > 60 || l.Quantity < 1 || l.Quantity > 999 {
			return fmt.Errorf("lines[%d]: bill_no, name or quantity is malformed", i)
		}
	}
	o.total, err = money.Parse(o.Total, currency)
	if err != nil || o.total.IsZero() {
		return errors.New("total is malformed")
	}
	if o.fee, err = o.total.Sub(sum); err != nil {
		return errors.New("total is less than the sum of the lines")
	}
	return nil
}

// webURL takes http too, since this bank only plays.
func webURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || len(s) > 200 || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("not an absolute web URL of at most 200 characters")
	}
	return u, nil
}

func methodCodes() []string { return []string{"credit_card", "stored_value", "deposit_account"} }
