package newebpay

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

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
	s := providers.Snapshot{MerchantRef: r.Need("MerchantID", merchantForm), Amount: &amount, Raw: raw}
	trade, order := r.Optional("TradeStatus"), r.Optional("OrderStatus")
	state, known := stateOf(trade)
	if delayed, ok := stateOf(cmp.Or(order, trade)); !known || !ok || delayed != state { // two words for one thing decide nothing
		state, s.Unmapped = providers.Pending, cmp.Or(trade+"/"+order, "(empty)")
	}
	if s.State = state; trade == "0" && order != "9" && s.Unmapped == "" && a.now().After(ref.HandedAt.Add(stampLife+pageLife+grace)) {
		s.State = providers.Expired
	}
	paidAt := r.Optional("PayTime")
	if s.State == providers.Paid {
		s.Method, s.ProviderTradeNo, s.PaidAt = methodOf(r.Optional("PaymentType")), r.Need("TradeNo", tradeForm), mpg.Moment(paidAt)
	}
	if trade == "3" && s.Unmapped == "" && paidAt != "" && paidAt != unpaid { // an authorisation that was cancelled after it was paid
		s.Refunds, s.RefundsComplete = []providers.RefundFact{{Amount: amount, State: providers.RefundDone}}, true
	} else if s.State == providers.Paid {
		paidBack(r, trade, &s)
	}
	if err := r.Err(); err != nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.OutcomeUnknown, err)
	}
	return s, nil
}

// unpaid is the PayTime of an order that was never paid.
const unpaid = "0000-00-00 00:00:00"

// paidBack reads what was paid back: NewebPay tells what was captured and what is left of it, and has no numbers of refunds.
// Before the capture, and where a field is missing or does not fit the others, it tells nothing: a cancellation that was
// accepted shows nowhere until it is carried out.
func paidBack(r *wire.Fields, trade string, s *providers.Snapshot) {
	captured, errCaptured := money.Parse(r.Optional("CloseAmt"), money.TWD)
	left, errLeft := money.Parse(r.Optional("BackBalance"), money.TWD)
	back, capture := r.Optional("BackStatus"), r.Optional("CloseStatus")
	if errCaptured != nil || errLeft != nil || capture != "3" {
		return
	}
	sum, err := captured.Sub(left)
	if err != nil {
		r.Fail(fmt.Errorf("field BackBalance: more is left than was captured: %w", err))
		return
	}
	states := map[string]providers.RefundState{"1": providers.RefundPending, "2": providers.RefundPending, "3": providers.RefundDone}
	state, under := states[back]
	switch {
	case under && !sum.IsZero():
		s.Refunds, s.RefundsComplete = []providers.RefundFact{{Amount: sum, State: state}}, true
	case back == "0" && sum.IsZero() && trade == "1":
		s.RefundsComplete = true
	case back != "0" && !under:
		s.Unmapped = "BackStatus " + back
	}
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
	if failure != nil && failure.Kind == providers.RateLimited {
		return providers.RefundResult{}, failure
	}
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
	if path == cancelPath && result.Status == "SUCCESS" && a.checked(result.Fields) && r.Optional("MerchantID") == req.Attempt.PayeeMemberID {
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
		if strings.HasPrefix(ref.PayeeMemberID, "MS5") { // such shops are found only so (chapter 4.2.1)
			form.Set("Gateway", "Composite")
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
	if !a.checked(result.Fields) {
		return nil, nil, failed(op, providers.Untrusted, errors.New("CheckCode is missing or does not match"))
	}
	if result.Fields["MerchantOrderNo"] != ref.AttemptNo {
		return nil, nil, failed(op, providers.Untrusted, errors.New("the answer is about another order"))
	}
	return wire.NewFields(result.Fields), resp.Body, nil
}

// checked holds the CheckCode of an answer.
func (a *Adapter) checked(fields map[string]string) bool {
	want, err := mpg.CheckCode(a.key, a.iv, fields)
	return err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(fields["CheckCode"])) == 1
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
