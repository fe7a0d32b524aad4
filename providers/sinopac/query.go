package sinopac

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

// Query asks what became of an attempt. With a PayToken of the bank's it asks for that payment; a token that names no payment
// or another one is of no use. Without one it looks through the bank's list of paid orders, and for the order itself, which
// are some minutes behind. NotFound means that the bank does not list the order.
//
// Source: OrderPayQuery, OrderQuery.
func (a *Adapter) Query(ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
	if tokenForm.MatchString(ref.Pointer) {
		if s, told, failure := a.pointed(ctx, ref); failure != nil {
			return providers.Snapshot{}, failure
		} else if told {
			return s, nil
		}
	}
	around := func(by time.Duration) string { return ref.CreatedAt.Add(by).In(taipei()).Format("200601021504") }
	row, raw, failure := a.list(ctx, ref, struct{ ShopNo, PayType, OrderDateTimeS, OrderDateTimeE, PayFlag string }{
		ref.PayeeMemberID, "C", around(-time.Minute), around(2 * time.Minute), "Y",
	})
	if failure != nil {
		return providers.Snapshot{}, failure
	}
	if row != nil {
		return a.listed(row, ref, raw, providers.Paid)
	}
	row, raw, failure = a.list(ctx, ref, struct{ ShopNo, OrderNo string }{ref.PayeeMemberID, ref.AttemptNo})
	if failure != nil {
		return providers.Snapshot{}, failure
	}
	if row == nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.NotFound, errors.New("the bank does not list the order"))
	}
	return a.listed(row, ref, raw, providers.Pending)
}

// pointed asks for the payment of a PayToken. told is false when the token says nothing of this attempt.
func (a *Adapter) pointed(ctx context.Context, ref providers.AttemptRef) (s providers.Snapshot, told bool, failure *providers.Error) {
	members, raw, failure := a.call(ctx, providers.OpQuery, ref.PayeeMemberID, "OrderPayQuery", struct{ ShopNo, PayToken string }{ref.PayeeMemberID, ref.Pointer})
	if failure != nil {
		return s, false, failure
	}
	content := members["TSResultContent"]
	if len(content) == 0 || bytes.Equal(content, []byte("null")) {
		return s, false, nil
	}
	result, err := wire.Object(content)
	if err != nil {
		return s, false, failed(providers.OpQuery, providers.OutcomeUnknown, fmt.Errorf("TSResultContent: %w", err))
	}
	f := wire.Scalars(result)
	if f.Optional("OrderNo") != ref.AttemptNo {
		return s, false, nil
	}
	amount := dollars(f, "Amount")
	s = providers.Snapshot{Amount: &amount, MerchantRef: f.Need("ShopNo", shopForm), Raw: raw}
	switch status := f.Optional("Status"); status {
	case "S":
		s.State, s.Method = providers.Paid, "credit_card"
		s.ProviderTradeNo, s.PaidAt = f.Need("TSNo", tradeForm), moment(f, "PayDate")
	case "F":
		s.State = providers.Failed
	default:
		s.Unmapped = cmp.Or(status, "(empty)")
	}
	if err := f.Err(); err != nil {
		return providers.Snapshot{}, false, failed(providers.OpQuery, providers.OutcomeUnknown, fmt.Errorf("TSResultContent: %w", err))
	}
	return s, true, nil
}

// longest is how many rows the bank lists at most: a list of so many may lack ours.
const longest = 300

// list asks for a list of orders and gives the row of the attempt; nil when it is not there.
func (a *Adapter) list(ctx context.Context, ref providers.AttemptRef, which any) (row *wire.Fields, raw []byte, failure *providers.Error) {
	members, raw, failure := a.call(ctx, providers.OpQuery, ref.PayeeMemberID, "OrderQuery", which)
	if failure != nil {
		return nil, nil, failure
	}
	f := wire.Scalars(members)
	if f.Optional("Status") != "S" {
		return nil, nil, refused(providers.OpQuery, providers.OutcomeUnknown, f)
	}
	var rows []json.RawMessage
	if list := members["OrderList"]; len(list) > 0 && json.Unmarshal(list, &rows) != nil {
		return nil, nil, failed(providers.OpQuery, providers.OutcomeUnknown, errors.New("OrderList is no list"))
	}
	for _, one := range rows {
		members, err := wire.Object(one)
		if err != nil {
			return nil, nil, failed(providers.OpQuery, providers.OutcomeUnknown, fmt.Errorf("OrderList: %w", err))
		}
		if f := wire.Scalars(members); f.Optional("OrderNo") == ref.AttemptNo {
			return f, raw, nil
		}
	}
	if len(rows) >= longest {
		return nil, nil, failed(providers.OpQuery, providers.OutcomeUnknown, fmt.Errorf("the bank lists %d orders and may have left this one out", len(rows)))
	}
	return nil, raw, nil
}

// listed reads a row. Which codes PayStatus has for cards is not documented, so that only the list it stands in tells that it
// is paid; one that is not among the paid ones long after its end has expired.
func (a *Adapter) listed(row *wire.Fields, ref providers.AttemptRef, raw []byte, state providers.State) (providers.Snapshot, error) {
	amount := dollars(row, "Amount")
	s := providers.Snapshot{State: state, Amount: &amount, MerchantRef: ref.PayeeMemberID, Raw: raw}
	trade := row.Need("TSNo", tradeForm)
	if status := row.Optional("PayStatus"); status == transferred {
		s.State = providers.Paid
	}
	switch end := row.Optional("ExpireDate"); {
	case s.State == providers.Paid:
		s.Method, s.ProviderTradeNo, s.PaidAt = "credit_card", trade, moment(row, "PayDate")
		s.Refunds, s.RefundsComplete = paidBack(row), true
	case end != "":
		if at, ok := parse(end); ok && a.now().After(at.Add(lag)) {
			s.State = providers.Expired
		}
	}
	if err := row.Err(); err != nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.OutcomeUnknown, fmt.Errorf("OrderList: %w", err))
	}
	return s, nil
}

// transferred is the one documented PayStatus: paid by ATM.
const transferred = "1A400"

// paidBack is the sum of what was paid back, which is all that the bank lists of refunds.
func paidBack(row *wire.Fields) []providers.RefundFact {
	flag, text := row.Optional("RefundFlag"), row.Optional("RefundAmount")
	if flag != "Y" || text == "" || text == "0" {
		return nil
	}
	sum := dollars(wire.NewFields(map[string]string{"RefundAmount": text}), "RefundAmount")
	return []providers.RefundFact{{Amount: sum, State: providers.RefundDone}}
}

// moment is a field that holds a time in Taipei.
func moment(f *wire.Fields, name string) time.Time {
	at, ok := parse(f.Optional(name))
	if !ok {
		f.Fail(fmt.Errorf("field %s is no time", name))
	}
	return at
}

func parse(text string) (time.Time, bool) {
	for _, layout := range []string{"200601021504", "20060102150405", "20060102"} {
		if at, err := time.ParseInLocation(layout, text, taipei()); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

func taipei() *time.Location { return time.FixedZone("", 8*60*60) }

// Refund asks the bank to pay back all or part, with one send after that for a nonce. Its yes is an acceptance: the list of
// orders shows when it is done.
//
// Source: OrderMaintain, command R.
func (a *Adapter) Refund(ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
	if req.Amount.Currency() != money.TWD {
		return providers.RefundResult{}, failed(providers.OpRefund, providers.Invalid, errors.New("amount: want New Taiwan dollars"))
	}
	members, _, failure := a.call(ctx, providers.OpRefund, req.Attempt.PayeeMemberID, "OrderMaintain", struct {
		ShopNo, OrderNo, Command string
		Amount                   json.Number
	}{req.Attempt.PayeeMemberID, req.Attempt.AttemptNo, "R", hundredths(req.Amount)})
	if failure != nil {
		return providers.RefundResult{}, failure
	}
	f := wire.Scalars(members)
	switch f.Optional("Status") {
	case "S":
		return providers.RefundResult{State: providers.RefundPending}, nil
	case "F":
		return providers.RefundResult{}, refused(providers.OpRefund, providers.Declined, f)
	}
	return providers.RefundResult{}, failed(providers.OpRefund, providers.OutcomeUnknown, errors.New("field Status is not as documented"))
}
