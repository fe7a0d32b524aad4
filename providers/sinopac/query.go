package sinopac

import (
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

// Query asks what became of an attempt. A PayToken of the bank's that says paid is enough. Any other token decides nothing by
// itself, since anybody may send one, and a payer may try again after a decline: then the bank's lists do. They are some
// minutes behind. NotFound means that the bank does not list the order.
//
// An order is paid when the list of captured ones has it, or that of authorised ones that wait for their capture, which the
// bank makes by itself. It has expired when long after its end neither has it: absence from one list alone proves nothing.
//
// Source: OrderPayQuery, OrderQuery, OrderUnCapturedQuery.
func (a *Adapter) Query(ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
	s := providers.Snapshot{}
	if tokenForm.MatchString(ref.Pointer) {
		var failure *providers.Error
		if s, failure = a.pointed(ctx, ref); failure != nil && (failure.Kind == providers.Unavailable || ctx.Err() != nil) {
			return providers.Snapshot{}, failure
		} else if s.State == providers.Paid || s.Unmapped != "" {
			return s, nil
		}
	}
	one, raw, failure := a.list(ctx, ref, "OrderQuery", struct{ ShopNo, OrderNo string }{ref.PayeeMemberID, ref.AttemptNo})
	switch {
	case failure != nil:
		return providers.Snapshot{}, failure
	case one == nil && s.State != providers.Failed:
		return providers.Snapshot{}, failed(providers.OpQuery, providers.NotFound, errors.New("the bank does not list the order"))
	case one == nil:
		return s, nil
	}
	amount := dollars(one, "Amount")
	listed := providers.Snapshot{State: s.State, Amount: &amount, MerchantRef: ref.PayeeMemberID, Raw: raw}
	authorised, captured := one.Optional("ApprovedDate"), one.Optional("PayDate")
	end := moment(one.Optional("ExpireDate"))
	over := !end.IsZero() && a.now().After(end.Add(lag))
	if one.Optional("PayStatus") == transferred {
		listed.State = providers.Paid
	} else if authorised != "" || captured != "" || over {
		there, failure := a.moneyIsThere(ctx, ref, one)
		switch {
		case failure != nil:
			return providers.Snapshot{}, failure
		case there:
			listed.State = providers.Paid
		case over && listed.State == providers.Pending:
			listed.State = providers.Expired
		}
	}
	if listed.State == providers.Paid {
		listed.Method, listed.ProviderTradeNo, listed.PaidAt = "credit_card", one.Need("TSNo", tradeForm), moment(cmp.Or(authorised, captured))
	}
	if authorised != "" || captured != "" {
		paidBack(one, &listed, captured != "")
	}
	if err := one.Err(); err != nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.OutcomeUnknown, fmt.Errorf("OrderList: %w", err))
	}
	return listed, nil
}

// moneyIsThere looks for an order among those that are captured and those that wait for it.
func (a *Adapter) moneyIsThere(ctx context.Context, ref providers.AttemptRef, one *wire.Fields) (bool, *providers.Error) {
	ordered := one.Optional("TSDate") // the bank's own minute of the order: whatever clocks say, it is in that list
	if ordered == "" {
		return false, failed(providers.OpQuery, providers.OutcomeUnknown, errors.New("OrderList: field TSDate is missing, by which the paid ones are listed"))
	}
	row, _, failure := a.list(ctx, ref, "OrderQuery", struct{ ShopNo, PayType, OrderDateTimeS, OrderDateTimeE, PayFlag string }{
		ref.PayeeMemberID, "C", ordered, ordered, "Y",
	})
	if failure != nil || row != nil {
		return row != nil, failure
	}
	row, _, failure = a.list(ctx, ref, "OrderUnCapturedQuery", struct{ ShopNo, OrderNo string }{ref.PayeeMemberID, ref.AttemptNo})
	return row != nil, failure
}

// pointed asks for the payment of a PayToken: paid, failed, or nothing of this attempt.
func (a *Adapter) pointed(ctx context.Context, ref providers.AttemptRef) (s providers.Snapshot, failure *providers.Error) {
	members, raw, failure := a.call(ctx, providers.OpQuery, ref.PayeeMemberID, "OrderPayQuery", struct{ ShopNo, PayToken string }{ref.PayeeMemberID, ref.Pointer})
	if failure != nil {
		return s, failure
	}
	result, err := wire.Object(members["TSResultContent"])
	f := wire.Scalars(result)
	if err != nil || f.Optional("OrderNo") != ref.AttemptNo {
		return s, nil //nolint:nilerr // a token that says nothing of this attempt is of no use, whatever it says
	}
	amount := dollars(f, "Amount")
	s = providers.Snapshot{Amount: &amount, MerchantRef: f.Need("ShopNo", shopForm), Raw: raw}
	switch status := f.Optional("Status"); status {
	case "S":
		s.State, s.Method = providers.Paid, "credit_card"
		s.ProviderTradeNo, s.PaidAt = f.Need("TSNo", tradeForm), moment(f.Optional("PayDate"))
	case "F":
		s.State = providers.Failed
	default:
		s.Unmapped = cmp.Or(status, "(empty)")
	}
	if f.Err() != nil {
		return providers.Snapshot{}, nil //nolint:nilerr // the lists say it in another way
	}
	return s, nil
}

// longest is how many rows the bank lists at most: a list of so many may lack ours.
const longest = 300

// list asks for a list of orders and gives the row of the attempt; nil when it is not there.
func (a *Adapter) list(ctx context.Context, ref providers.AttemptRef, service string, which any) (row *wire.Fields, raw []byte, failure *providers.Error) {
	members, raw, failure := a.call(ctx, providers.OpQuery, ref.PayeeMemberID, service, which)
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

// transferred is the one documented PayStatus: paid by ATM.
const transferred = "1A400"

// paidBack reads what was paid back, as far as a row tells: a sum without numbers. The bank documents the flag, and neither
// which words its status has nor whether the sum is always there; what cannot be read tells nothing, and nor does a row without
// a refund before the capture, when a cancellation may be on its way.
func paidBack(row *wire.Fields, s *providers.Snapshot, captured bool) {
	flag, status, text := row.Optional("RefundFlag"), row.Optional("RefundStatus"), row.Optional("RefundAmount")
	sum := wire.NewFields(map[string]string{"RefundAmount": cmp.Or(text, "0")})
	amount := dollars(sum, "RefundAmount")
	switch {
	case sum.Err() != nil || amount == (money.Amount{}) && text != "":
	case flag == "N" && status == "" && amount.IsZero():
		s.RefundsComplete = captured
	case flag == "Y" && !amount.IsZero() && (status == "" || status == "S"):
		s.Refunds, s.RefundsComplete = []providers.RefundFact{{Amount: amount, State: providers.RefundDone}}, true
	case flag == "Y" && !amount.IsZero():
		s.Refunds, s.RefundsComplete, s.Unmapped = []providers.RefundFact{{Amount: amount}}, true, "RefundStatus "+status
	}
}

// moment is a time as the bank writes it.
func moment(text string) time.Time { return wire.Moment(text, "200601021504", "20060102150405") }

// Refund pays back all or part, with one send after questions: while the payment waits for its capture it can only be
// cancelled, whole; afterwards it is paid back. Its yes is an acceptance: the list of orders shows when it is done. What a no
// of the bank's means is not documented, so that the list decides there too.
//
// Source: OrderMaintain, commands C and R.
func (a *Adapter) Refund(ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
	ref := req.Attempt
	if req.Amount.Currency() != money.TWD {
		return providers.RefundResult{}, failed(providers.OpRefund, providers.Invalid, errors.New("amount: want New Taiwan dollars"))
	}
	command, failure := a.command(ctx, ref)
	switch {
	case failure != nil: // nothing was sent, whatever it says
		return providers.RefundResult{}, failed(providers.OpRefund, providers.Unavailable, fmt.Errorf("how far the payment is: %w", failure))
	case command == "":
		return providers.RefundResult{}, failed(providers.OpRefund, providers.Unavailable, errors.New("the bank's lists do not show yet how far the payment is"))
	case command == "C" && req.Amount != ref.Amount:
		return providers.RefundResult{}, failed(providers.OpRefund, providers.Unavailable, errors.New("the payment is not captured yet: until then it can only be cancelled whole"))
	}
	members, _, failure := a.call(ctx, providers.OpRefund, ref.PayeeMemberID, "OrderMaintain", struct {
		ShopNo, OrderNo, Command string
		Amount                   json.Number
	}{ref.PayeeMemberID, ref.AttemptNo, command, hundredths(req.Amount)})
	if failure != nil {
		return providers.RefundResult{}, failure
	}
	f := wire.Scalars(members)
	if status := f.Optional("Status"); status == "F" {
		return providers.RefundResult{}, refused(providers.OpRefund, providers.OutcomeUnknown, f)
	} else if status != "S" || f.Optional("OrderNo") != ref.AttemptNo || f.Optional("Command") != command {
		return providers.RefundResult{}, failed(providers.OpRefund, providers.OutcomeUnknown, errors.New("the answer is about something else"))
	}
	return providers.RefundResult{State: providers.RefundPending}, nil
}

// command is how a payment can be paid back as the lists have it: R when it is captured, C while it waits for that, and empty
// when they do not show it yet.
func (a *Adapter) command(ctx context.Context, ref providers.AttemptRef) (string, *providers.Error) {
	which := struct{ ShopNo, OrderNo string }{ref.PayeeMemberID, ref.AttemptNo}
	one, _, failure := a.list(ctx, ref, "OrderQuery", which)
	if failure != nil || one != nil && one.Optional("PayDate") != "" {
		return "R", failure
	}
	waiting, _, failure := a.list(ctx, ref, "OrderUnCapturedQuery", which)
	if failure != nil || waiting == nil {
		return "", failure
	}
	return "C", nil
}
