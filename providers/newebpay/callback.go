package newebpay

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/mpg"
	"pay.taipei/gateway/providers/internal/wire"
)

// DecodeCallback opens a notice of NewebPay's server. What a browser brings is a hint: the same bytes, which may decide nothing.
//
// Under the digest lies TradeInfo, as it was sent.
func (a *Adapter) DecodeCallback(raw providers.RawCallback) (providers.Notice, error) {
	refuse := func(kind providers.Kind, err error) (providers.Notice, error) {
		return providers.Notice{}, failed(providers.OpCallback, kind, err)
	}
	if raw.Channel == providers.ChannelBrowser {
		return providers.Notice{}, nil
	}
	if raw.Method != http.MethodPost || raw.RawQuery != "" {
		return refuse(providers.Untrusted, errors.New("a notice is a POST without a query string"))
	}
	result, err := a.envelope.Notice(raw.Body)
	if err != nil {
		return refuse(providers.Untrusted, err)
	}
	r := wire.NewFields(result.Fields)
	number, snapshot := r.Need("MerchantOrderNo", numberForm), a.noticed(result, r)
	if err := r.Err(); err != nil {
		return refuse(providers.OutcomeUnknown, fmt.Errorf("TradeInfo: %w", err))
	}
	return providers.Notice{AttemptNo: number, Snapshot: &snapshot}, nil
}

// Diagnose says with what else than it should a notice verifies.
func (a *Adapter) Diagnose(raw providers.RawCallback) []providers.Cause {
	list := a.envelope.Diagnose(raw, published)
	if result, err := a.envelope.Notice(raw.Body); err == nil && outcome(result) == "test" && a.environment == providers.Production {
		list = append(list, providers.Cause{Code: providers.CauseWrongEnvironment, Why: "it is genuine, but a test console made it up (模擬付款成功) and this account is production"})
	}
	return list
}

// noticed is what a notice says of a payment.
func (a *Adapter) noticed(result mpg.Result, r *wire.Fields) providers.Snapshot {
	amount := r.Dollars("Amt")
	s := providers.Snapshot{MerchantRef: r.Need("MerchantID", merchantForm), Amount: &amount}
	switch outcome(result) {
	case "failed":
		if s.State = providers.Failed; !errorForm.MatchString(result.Status) {
			s.State, s.Unmapped = providers.Pending, cmp.Or(result.Status, "(empty)")
		}
		return s
	case "pending":
		return s
	case "test":
		if a.environment == providers.Production {
			s.Unmapped = "simulated"
			return s
		}
	}
	s.State, s.Method = providers.Paid, methodOf(r.Optional("PaymentType"))
	s.ProviderTradeNo = r.Need("TradeNo", tradeForm)
	at := r.Optional("PayTime")
	if s.PaidAt = mpg.Moment(at); at == unpaid {
		r.Fail(errors.New("it says SUCCESS and that nothing was paid"))
	}
	return s
}

// Ack is status 200; NewebPay ignores the text. Anything else makes it try three times more (chapter 4.1.3).
func (a *Adapter) Ack(v providers.Verdict) providers.Ack { return wire.PlainAck(v) }
