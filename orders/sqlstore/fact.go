package sqlstore

import (
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// fact is an orders.Fact as it is stored: exact, so that evidence can be folded again.
type fact struct {
	State           int               `json:"state"`
	Amount          *amount           `json:"amount,omitempty"`
	PayeeMemberID   string            `json:"payee_member_id,omitempty"`
	Environment     string            `json:"environment,omitempty"`
	Method          string            `json:"method,omitempty"`
	PaidMS          *int64            `json:"paid_ms,omitempty"`
	ProviderTradeNo string            `json:"provider_trade_no,omitempty"`
	Refunds         []refundFact      `json:"refunds,omitempty"`
	RefundsComplete bool              `json:"refunds_complete,omitempty"`
	Refs            map[string]string `json:"refs,omitempty"`
}

type amount struct {
	Units    int64          `json:"units"`
	Currency money.Currency `json:"currency"`
}

type refundFact struct {
	ID     string `json:"id,omitempty"`
	No     string `json:"no,omitempty"`
	Amount amount `json:"amount"`
	State  string `json:"state"`
}

func factOf(f *orders.Fact) *fact {
	if f == nil {
		return nil
	}
	s := fact{
		State: int(f.State), PayeeMemberID: f.PayeeMemberID, Environment: f.Environment, Method: f.Method,
		ProviderTradeNo: f.ProviderTradeNo, RefundsComplete: f.RefundsComplete, Refs: f.Refs,
	}
	for _, r := range f.Refunds {
		s.Refunds = append(s.Refunds, refundFact{r.ID, r.ProviderRefundNo, amount{r.Amount.Units(), r.Amount.Currency()}, string(r.State)})
	}
	if f.Amount != nil {
		s.Amount = &amount{f.Amount.Units(), f.Amount.Currency()}
	}
	if !f.PaidAt.IsZero() {
		ms := f.PaidAt.UnixMilli()
		s.PaidMS = &ms
	}
	return &s
}

// read is an amount as it was; of no currency is what an adapter makes of a foreign one.
func (a amount) read() (money.Amount, error) {
	if a.Currency == "" {
		return money.Amount{}, nil
	}
	return money.FromUnits(a.Units, a.Currency)
}

func (s *fact) fact() (*orders.Fact, error) {
	if s == nil {
		return nil, nil
	}
	f := orders.Fact{
		State: orders.AttemptState(s.State), PayeeMemberID: s.PayeeMemberID, Environment: s.Environment, Method: s.Method,
		ProviderTradeNo: s.ProviderTradeNo, RefundsComplete: s.RefundsComplete, Refs: s.Refs,
	}
	for _, r := range s.Refunds {
		a, err := r.Amount.read()
		if err != nil {
			return nil, err
		}
		f.Refunds = append(f.Refunds, orders.RefundFact{ID: r.ID, ProviderRefundNo: r.No, Amount: a, State: orders.RefundState(r.State)})
	}
	if s.Amount != nil {
		a, err := s.Amount.read()
		if err != nil {
			return nil, err
		}
		f.Amount = &a
	}
	if s.PaidMS != nil {
		f.PaidAt = time.UnixMilli(*s.PaidMS).UTC()
	}
	return &f, nil
}
