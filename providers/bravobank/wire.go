package bravobank

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

// fields reads one JSON object as strictly as section 2 has it: exact names, none
// repeated, none missing, none left over, strings in printable ASCII without escapes.
// The first error sticks; end returns it.
type fields struct {
	left map[string]json.RawMessage
	err  error
}

func readObject(raw []byte) *fields {
	left, err := wire.Object(raw)
	return &fields{left: left, err: err}
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *fields) raw(name string) json.RawMessage {
	value, ok := f.left[name]
	if !ok {
		f.fail(fmt.Errorf("field %q is missing", name))
	}
	delete(f.left, name)
	return value
}

var (
	plainString = regexp.MustCompile(`^"[ !#-\[\]-~]{0,64}"$`)
	currency    = regexp.MustCompile(`^[A-Z]{3}$`)
	digits      = regexp.MustCompile(`^(0|[1-9][0-9]{0,11})$`)
	tradeNo     = regexp.MustCompile(`^[A-Z0-9]{1,32}$`)
)

// text is a string field of at most 64 characters.
func (f *fields) text(name string) string {
	value := f.raw(name)
	if !plainString.Match(value) {
		f.fail(fmt.Errorf("field %q is not a string of at most 64 printable ASCII characters", name))
		return ""
	}
	return string(value[1 : len(value)-1])
}

func (f *fields) end() error {
	for name := range f.left {
		f.fail(fmt.Errorf("field %.40q is not known", name))
	}
	return f.err
}

// amount reads an amount in a currency of the bank's. One in a currency that we do not
// know is the zero Amount: it is there, and it equals nothing that anyone asked for.
func (f *fields) amount(name, currencyCode string) money.Amount {
	value := f.text(name)
	if !digits.MatchString(value) || !currency.MatchString(currencyCode) {
		f.fail(fmt.Errorf("field %q or its currency is not an amount", name))
		return money.Amount{}
	}
	c, err := money.ParseCurrency(currencyCode)
	if err != nil {
		return money.Amount{}
	}
	amount, err := money.Parse(value, c)
	if err != nil {
		f.fail(fmt.Errorf("field %q: %w", name, err))
	}
	return amount
}

// payment reads the fields of section 6, which notices and answers share.
func (f *fields) payment() (attemptNo, currencyCode string, s providers.Snapshot) {
	f.text("order_no")
	f.text("payer_member_id")
	attemptNo, currencyCode = f.text("attempt_no"), f.text("currency")
	if attemptNo == "" {
		f.fail(errors.New(`field "attempt_no" is empty`))
	}
	total := f.amount("total", currencyCode)
	s = providers.Snapshot{Amount: &total, MerchantRef: f.text("payee_member_id"), Environment: providers.Environment(f.text("environment"))}
	if s.MerchantRef == "" || s.Environment == "" { // empty would mean "not carried" to whoever binds them
		f.fail(errors.New("payee_member_id or environment is empty"))
	}
	status, method, paidAt, trade := f.text("status"), f.text("method"), f.text("paid_at"), f.text("trade_no")
	state, known := stateOf(status)
	if !known {
		s.Unmapped = cmp.Or(status, "(empty)")
	}
	s.State = state
	if state != providers.Paid {
		return attemptNo, currencyCode, s
	}
	at, err := time.Parse(time.RFC3339, paidAt)
	if err != nil || method == "" || !tradeNo.MatchString(trade) {
		f.fail(errors.New("paid, but method, paid_at or trade_no cannot be read"))
	}
	s.Method, s.PaidAt, s.ProviderTradeNo = method, at, trade
	return attemptNo, currencyCode, s
}

// refunds reads the list of section 7 into s.
func (f *fields) refunds(s *providers.Snapshot, currencyCode string) {
	s.RefundsComplete = true
	var list []json.RawMessage
	if json.Unmarshal(f.raw("refunds"), &list) != nil || list == nil {
		f.fail(errors.New(`field "refunds" is not an array`))
	}
	for _, item := range list {
		one := readObject(item)
		state, known := refundStateOf(one.text("status"))
		if !known {
			s.Unmapped = "refund status not listed"
		}
		s.Refunds = append(s.Refunds, providers.RefundFact{
			RefundID: one.text("refund_id"), ProviderRefundNo: one.text("refund_no"), Amount: one.amount("amount", currencyCode), State: state,
		})
		if err := one.end(); err != nil {
			f.fail(fmt.Errorf("refunds: %w", err))
		}
	}
}
