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
	Refs            map[string]string `json:"refs,omitempty"`
}

type amount struct {
	Units    int64          `json:"units"`
	Currency money.Currency `json:"currency"`
}

func factOf(f *orders.Fact) *fact {
	if f == nil {
		return nil
	}
	s := fact{
		State: int(f.State), PayeeMemberID: f.PayeeMemberID, Environment: f.Environment, Method: f.Method,
		ProviderTradeNo: f.ProviderTradeNo, Refs: f.Refs,
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

func (s *fact) fact() (*orders.Fact, error) {
	if s == nil {
		return nil, nil
	}
	f := orders.Fact{
		State: orders.AttemptState(s.State), PayeeMemberID: s.PayeeMemberID, Environment: s.Environment, Method: s.Method,
		ProviderTradeNo: s.ProviderTradeNo, Refs: s.Refs,
	}
	if s.Amount != nil {
		var a money.Amount // of no currency: what an adapter makes of a foreign one
		if s.Amount.Currency != "" {
			var err error
			if a, err = money.FromUnits(s.Amount.Units, s.Amount.Currency); err != nil {
				return nil, err
			}
		}
		f.Amount = &a
	}
	if s.PaidMS != nil {
		f.PaidAt = time.UnixMilli(*s.PaidMS).UTC()
	}
	return &f, nil
}
