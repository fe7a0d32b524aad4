package newebpay

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/mpg"
	"pay.taipei/gateway/providers/internal/wire"
	"pay.taipei/gateway/signing"
)

const (
	queryPath  = "/API/QueryTradeInfo"
	cancelPath = "/API/CreditCard/Cancel"
	closePath  = "/API/CreditCard/Close"
)

// Query asks what became of an attempt; a lost question is asked again, stamped anew. A number that was not handed to a
// browser is not asked about, since questions about unknown numbers lead to four hours of silence. NotFound is NewebPay's
// word. An order that is still unpaid when its page must have ended has expired.
//
// Source: chapter 4.2. CheckCode covers Amt, MerchantID, MerchantOrderNo and TradeNo, and not TradeStatus.
func (a *Adapter) Query(ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
	r, raw, failure := a.ask(ctx, providers.OpQuery, ref)
	if failure != nil {
		return providers.Snapshot{}, failure
	}
	amount := r.Dollars("Amt")
	status := r.Optional("TradeStatus")
	s := providers.Snapshot{MerchantRef: r.Need("MerchantID", merchantForm), Amount: &amount, Raw: raw}
	state, known := stateOf(cmp.Or(r.Optional("OrderStatus"), status))
	if s.State = state; !known {
		s.Unmapped = cmp.Or(status, "(empty)")
	}
	if known && state == providers.Pending && a.now().After(ref.HandedAt.Add(stampLife+pageLife+a.Describe().Patience.Grace)) {
		s.State = providers.Expired
	}
	if s.State == providers.Paid {
		s.Method, s.ProviderTradeNo, s.PaidAt = methodOf(r.Optional("PaymentType")), r.Need("TradeNo", tradeForm), moment(r, "PayTime")
	}
	s.Refunds, s.RefundsComplete = paidBack(r, status, amount)
	if err := r.Err(); err != nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.OutcomeUnknown, err)
	}
	return s, nil
}

// unpaid is the PayTime of an order that was never paid.
const unpaid = "0000-00-00 00:00:00"

// paidBack is what was paid back: NewebPay tells what is left, and has no numbers of refunds. An authorisation that was
// cancelled after it was paid was paid back whole.
func paidBack(r *wire.Fields, status string, amount money.Amount) (facts []providers.RefundFact, complete bool) {
	if status == "3" && r.Optional("PayTime") != unpaid {
		return []providers.RefundFact{{Amount: amount, State: providers.RefundDone}}, true
	}
	left, back := r.Optional("BackBalance"), r.Optional("BackStatus")
	if left == "" {
		return nil, false
	}
	rest, err := money.Parse(left, money.TWD)
	if err == nil {
		amount, err = amount.Sub(rest)
	}
	if err != nil {
		r.Fail(fmt.Errorf("field BackBalance: %w", err))
		return nil, false
	}
	switch back {
	case "1", "2":
		return []providers.RefundFact{{Amount: amount, State: providers.RefundPending}}, true
	case "3":
		return []providers.RefundFact{{Amount: amount, State: providers.RefundDone}}, true
	}
	return nil, true
}

// Refund pays back a card payment, with one send after a question about how far it is: before it is captured it is cancelled,
// which goes only whole; while it is being captured nothing is sent; then it is paid back, in whole or in part. A yes to the
// latter is an acceptance: a query tells when it is done. Other methods have no refunds.
//
// Source: chapters 4.3 and 4.4.
func (a *Adapter) Refund(ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
	unsent := func(kind providers.Kind, err error) (providers.RefundResult, error) {
		return providers.RefundResult{}, failed(providers.OpRefund, kind, err)
	}
	r, _, failure := a.ask(ctx, providers.OpRefund, req.Attempt)
	if failure != nil { // nothing was sent, whatever it says
		return unsent(providers.Unavailable, fmt.Errorf("how far the payment is: %w", failure))
	}
	captured, whole := r.Optional("CloseStatus"), req.Amount == req.Attempt.Amount
	switch {
	case r.Optional("PaymentType") != "CREDIT":
		return unsent(providers.Declined, errors.New("NewebPay pays back cards only"))
	case captured == "3":
		return a.payBack(ctx, closePath, "1.1", req, signing.Field{Name: "CloseType", Value: "2"})
	case captured == "0" && whole:
		return a.payBack(ctx, cancelPath, "1.0", req)
	}
	return unsent(providers.Unavailable, fmt.Errorf("the payment is not captured yet (CloseStatus %.10q): until then it can only be cancelled whole", captured))
}

// payBack sends a cancellation or a refund.
func (a *Adapter) payBack(ctx context.Context, path, version string, req providers.RefundRequest, more ...signing.Field) (providers.RefundResult, error) {
	unknown := func(err error) (providers.RefundResult, error) {
		return providers.RefundResult{}, failed(providers.OpRefund, providers.OutcomeUnknown, err)
	}
	sealed := a.seal(append([]signing.Field{
		{Name: "RespondType", Value: "JSON"}, {Name: "Version", Value: version}, {Name: "Amt", Value: req.Amount.Value()},
		{Name: "MerchantOrderNo", Value: req.Attempt.AttemptNo}, {Name: "TimeStamp", Value: stamp(a.now())}, {Name: "IndexType", Value: "1"},
	}, more...))
	resp, err := a.client.Send(ctx, wire.PostForm(path, url.Values{"MerchantID_": {req.Attempt.PayeeMemberID}, "PostData_": {sealed}}))
	if err != nil {
		return providers.RefundResult{}, wire.Lost(Name, providers.OpRefund, err)
	}
	result, err := read(resp)
	if err != nil {
		return unknown(err)
	}
	const accepted = "TRA20001" // a cancellation that a batch will carry out
	if result.Status != "SUCCESS" && result.Status != accepted {
		kind, after := kindOf(result.Status)
		return providers.RefundResult{}, &providers.Error{Provider: Name, Op: providers.OpRefund, Kind: kind, Code: result.Status, RetryAfter: after}
	}
	r := wire.NewFields(result.Fields)
	if r.Need("MerchantOrderNo", numberForm) != req.Attempt.AttemptNo || r.Dollars("Amt") != req.Amount {
		r.Fail(errors.New("the answer is about another payment"))
	}
	no := r.Need("TradeNo", tradeForm)
	if err := r.Err(); err != nil {
		return unknown(err)
	}
	if path == cancelPath && result.Status == "SUCCESS" {
		return providers.RefundResult{ProviderRefundNo: no, State: providers.RefundDone}, nil
	}
	return providers.RefundResult{ProviderRefundNo: no, State: providers.RefundPending}, nil
}

// ask makes the query and gives its result, whose CheckCode holds.
func (a *Adapter) ask(ctx context.Context, op providers.Op, ref providers.AttemptRef) (*wire.Fields, []byte, *providers.Error) {
	if ref.HandedAt.IsZero() {
		return nil, nil, failed(op, providers.Invalid, errors.New("NewebPay is not asked about a number that was not handed out"))
	}
	fields := map[string]string{"Amt": ref.Amount.Value(), "MerchantID": ref.PayeeMemberID, "MerchantOrderNo": ref.AttemptNo}
	value, err := mpg.CheckValue(a.key, a.iv, fields)
	if err != nil {
		return nil, nil, failed(op, providers.Invalid, err)
	}
	resp, err := a.client.Query(ctx, func() (httpx.Request, error) {
		form := url.Values{"Version": {"1.3"}, "RespondType": {"JSON"}, "CheckValue": {value}, "TimeStamp": {stamp(a.now())}}
		for name, value := range fields {
			form.Set(name, value)
		}
		return wire.PostForm(queryPath, form), nil
	})
	if err != nil {
		return nil, nil, wire.Lost(Name, op, err)
	}
	result, err := read(resp)
	if err != nil {
		return nil, nil, failed(op, providers.OutcomeUnknown, err)
	}
	if result.Status != "SUCCESS" {
		kind, after := kindOf(result.Status)
		return nil, nil, &providers.Error{Provider: Name, Op: op, Kind: kind, Code: result.Status, RetryAfter: after}
	}
	want, err := mpg.CheckCode(a.key, a.iv, result.Fields)
	if err != nil || subtle.ConstantTimeCompare([]byte(want), []byte(result.Fields["CheckCode"])) != 1 {
		return nil, nil, failed(op, providers.Untrusted, errors.New("CheckCode is missing or does not match"))
	}
	if result.Fields["MerchantOrderNo"] != ref.AttemptNo {
		return nil, nil, failed(op, providers.Untrusted, errors.New("the answer is about another order"))
	}
	return wire.NewFields(result.Fields), resp.Body, nil
}

// read reads an answer, which is JSON with Status, Message and Result.
func read(resp *httpx.Response) (mpg.Result, error) {
	if resp.Status != http.StatusOK || len(resp.Body) == 0 || resp.Body[0] != '{' {
		return mpg.Result{}, fmt.Errorf("an answer with status %d that is none of NewebPay's", resp.Status)
	}
	result, err := mpg.ParseResult(resp.Body)
	if err == nil && (result.Status == "" || len(result.Status) > 40) {
		err = errors.New("field Status is not as documented")
	}
	return result, err
}
