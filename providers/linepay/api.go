package linepay

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

// Query checks the request, and reads the details of one that is not open any more: a payment with its amount, method and
// refunds is there, whatever a check says of an old request. An attempt whose create got no answer has no transaction id; its
// details are asked for by number. NotFound means that there is no payment, since none can be without our confirm.
//
// Source: "check payment request status", "retrieve payment details".
func (a *Adapter) Query(ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
	transaction := ref.Refs[transactionRef]
	if transaction == "" {
		return a.details(ctx, ref, url.Values{"orderId": {ref.AttemptNo}})
	}
	if !transactionForm.MatchString(transaction) {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.Invalid, errors.New("transaction id is not LINE's"))
	}
	code, _, raw, failure := a.get(ctx, "/v3/payments/requests/"+transaction+"/check", "")
	if failure != nil {
		return providers.Snapshot{}, failure
	}
	if s, known := open(code); known {
		s.Raw = raw
		return s, nil
	}
	s, over := ended(code, a.now().Sub(ref.CreatedAt) >= pageLife)
	kind := kindOf(providers.OpQuery, code)
	if !over && code != completed && kind != providers.NotFound {
		return providers.Snapshot{}, &providers.Error{Provider: Name, Op: providers.OpQuery, Kind: kind, Code: code}
	}
	found, err := a.details(ctx, ref, url.Values{"transactionId": {transaction}})
	switch {
	case err == nil || !errors.Is(err, providers.NotFound):
		return found, err
	case over:
		s.Raw = raw
		return s, nil
	case code == completed: // the details are behind
		return providers.Snapshot{}, failed(providers.OpQuery, providers.OutcomeUnknown, errors.New("the check says completed, and there are no details yet"))
	}
	return providers.Snapshot{}, err
}

func (a *Adapter) details(ctx context.Context, ref providers.AttemptRef, which url.Values) (providers.Snapshot, error) {
	which.Set("fields", "ALL")
	code, info, raw, failure := a.get(ctx, "/v3/payments", which.Encode())
	if failure != nil {
		return providers.Snapshot{}, failure
	}
	if code != "0000" {
		return providers.Snapshot{}, &providers.Error{Provider: Name, Op: providers.OpQuery, Kind: kindOf(providers.OpQuery, code), Code: code}
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(info, &entries); err != nil || len(entries) != 1 {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.OutcomeUnknown, errors.New("info is no list of one payment"))
	}
	members, err := wire.Object(entries[0])
	if err != nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.OutcomeUnknown, err)
	}
	f := wire.Scalars(members)
	s := payment(f, members)
	status := f.Optional("payStatus")
	state, known := stateOf(status)
	if s.State = state; !known {
		s.Unmapped = cmp.Or(status, "(empty)")
	}
	number, transaction := f.Optional("orderId"), f.Need("transactionId", transactionForm)
	s.PaidAt = moment(f.Optional("transactionDate"))
	s.ProviderTradeNo, s.RefundsComplete, s.Refs = transaction, true, map[string]string{transactionRef: transaction}
	s.Refunds = refunds(f, members["refundList"])
	if err := f.Err(); err != nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.OutcomeUnknown, err)
	}
	ours := ref.Refs[transactionRef]
	if (number != "" || ours == "") && number != ref.AttemptNo || cmp.Or(ours, transaction) != transaction {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.Untrusted, errors.New("the answer is about another payment"))
	}
	if s.State != providers.Paid {
		s.PaidAt, s.ProviderTradeNo, s.Method, s.Refs = time.Time{}, "", "", nil
	}
	s.Raw = raw
	return s, nil
}

// moment is a time as LINE writes it, with either form of the offset.
func moment(text string) time.Time {
	return wire.Moment(text, time.RFC3339, "2006-01-02T15:04:05-0700")
}

// Confirm moves the money, with one send, which may take 40 s.
//
// Source: "confirm payment".
func (a *Adapter) Confirm(ctx context.Context, req providers.ConfirmRequest) (providers.Snapshot, error) {
	ref := req.Attempt
	body, err := json.Marshal(struct {
		Amount   json.Number `json:"amount"`
		Currency string      `json:"currency"`
	}{number(ref.Amount), string(ref.Amount.Currency())})
	transaction := ref.Refs[transactionRef]
	if err != nil || !transactionForm.MatchString(transaction) {
		return providers.Snapshot{}, failed(providers.OpConfirm, providers.Invalid, errors.New("there is no transaction id of LINE's to confirm"))
	}
	members, raw, failure := a.post(ctx, providers.OpConfirm, "/v3/payments/"+transaction+"/confirm", body)
	if failure != nil {
		return providers.Snapshot{}, failure
	}
	f := wire.Scalars(members)
	s := payment(f, members)
	if f.Optional("orderId") != ref.AttemptNo || f.Optional("transactionId") != transaction {
		f.Fail(errors.New("the answer is about another payment"))
	}
	if err := f.Err(); err != nil {
		return providers.Snapshot{}, failed(providers.OpConfirm, providers.OutcomeUnknown, err)
	}
	s.State, s.PaidAt, s.ProviderTradeNo, s.Raw = providers.Paid, a.now(), transaction, raw
	return s, nil
}

// Refund pays back all or part, with one send. LINE knows no number of ours: Query lists what was paid back.
//
// Source: "refund".
func (a *Adapter) Refund(ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
	body, err := json.Marshal(struct {
		Amount json.Number `json:"refundAmount"`
	}{number(req.Amount)})
	transaction := req.Attempt.Refs[transactionRef]
	if err != nil || !transactionForm.MatchString(transaction) {
		return providers.RefundResult{}, failed(providers.OpRefund, providers.Invalid, errors.New("there is no transaction id of LINE's to pay back"))
	}
	members, _, failure := a.post(ctx, providers.OpRefund, "/v3/payments/"+transaction+"/refund", body)
	if failure != nil {
		return providers.RefundResult{}, failure
	}
	f := wire.Scalars(members)
	no := f.Need("refundTransactionId", transactionForm)
	if err := f.Err(); err != nil {
		return providers.RefundResult{}, failed(providers.OpRefund, providers.OutcomeUnknown, err)
	}
	return providers.RefundResult{ProviderRefundNo: no, State: providers.RefundDone}, nil
}

// payment reads amount and method of a payment: the sum of its payInfo, and the first that is no discount.
func payment(f *wire.Fields, members map[string]json.RawMessage) providers.Snapshot {
	var parts []json.RawMessage
	if err := json.Unmarshal(members["payInfo"], &parts); err != nil || len(parts) == 0 {
		f.Fail(errors.New("payInfo is no list"))
	}
	var s providers.Snapshot
	sum := money.Zero(money.TWD)
	for _, part := range parts {
		one, err := wire.Object(part)
		if err != nil {
			f.Fail(fmt.Errorf("payInfo: %w", err))
			continue
		}
		p := wire.Scalars(one)
		amount := p.Dollars("amount")
		if method := strings.ToLower(p.Optional("method")); s.Method == "" && (method == "credit_card" || method == "balance") {
			s.Method = method
		}
		if p.Err() == nil {
			sum, err = sum.Add(amount)
		}
		if err := errors.Join(p.Err(), err); err != nil {
			f.Fail(fmt.Errorf("payInfo: %w", err))
		}
	}
	if currency := f.Optional("currency"); currency != "" && currency != string(money.TWD) {
		sum = money.Amount{} // it equals nothing that anyone asked for
	}
	s.Amount = &sum
	return s
}

// refunds reads what was paid back, whose amounts are negative.
func refunds(f *wire.Fields, list json.RawMessage) (facts []providers.RefundFact) {
	if len(list) == 0 || bytes.Equal(list, []byte("null")) {
		return nil
	}
	var entries []json.RawMessage
	if err := json.Unmarshal(list, &entries); err != nil {
		f.Fail(errors.New("refundList is no list"))
	}
	for _, entry := range entries {
		members, err := wire.Object(entry)
		if err != nil {
			f.Fail(fmt.Errorf("refundList: %w", err))
			continue
		}
		amount, ok := wire.Scalar(members["refundAmount"])
		members["refundAmount"] = json.RawMessage(strings.TrimPrefix(amount, "-"))
		r := wire.Scalars(members)
		fact := providers.RefundFact{ProviderRefundNo: r.Need("refundTransactionId", transactionForm), Amount: r.Dollars("refundAmount"), State: providers.RefundDone}
		if r.Err() != nil || !ok {
			f.Fail(fmt.Errorf("refundList: %w", cmp.Or(r.Err(), errors.New("no amount"))))
		}
		facts = append(facts, fact)
	}
	return facts
}

// post makes a call once and gives the members of a good answer's info, and the answer as it came.
func (a *Adapter) post(ctx context.Context, op providers.Op, path string, body []byte) (members map[string]json.RawMessage, raw []byte, failure *providers.Error) {
	request, err := a.signed(path, "", body)
	if err != nil {
		return nil, nil, failed(op, providers.Unavailable, err)
	}
	resp, err := a.client.Send(ctx, request)
	if err != nil {
		return nil, nil, wire.Lost(Name, op, err)
	}
	code, info, err := read(resp)
	if err != nil {
		return nil, nil, failed(op, providers.OutcomeUnknown, err)
	}
	if code != "0000" {
		return nil, nil, &providers.Error{Provider: Name, Op: op, Kind: kindOf(op, code), Code: code}
	}
	if members, err = wire.Object(info); err != nil {
		return nil, nil, failed(op, providers.OutcomeUnknown, err)
	}
	return members, resp.Body, nil
}

// get asks; a lost question is asked again, signed anew.
func (a *Adapter) get(ctx context.Context, path, query string) (code string, info, raw []byte, failure *providers.Error) {
	resp, err := a.client.Query(ctx, func() (httpx.Request, error) { return a.signed(path, query, nil) })
	if err != nil {
		return "", nil, nil, wire.Lost(Name, providers.OpQuery, err)
	}
	if code, info, err = read(resp); err != nil {
		return "", nil, nil, failed(providers.OpQuery, providers.OutcomeUnknown, err)
	}
	return code, info, resp.Body, nil
}

// read reads the envelope of an answer.
func read(resp *httpx.Response) (code string, info []byte, err error) {
	if resp.Status != http.StatusOK {
		return "", nil, fmt.Errorf("an answer with status %d", resp.Status)
	}
	members, err := wire.Object(resp.Body)
	if err != nil {
		return "", nil, err
	}
	var returned string
	if err := json.Unmarshal(members["returnCode"], &returned); err != nil || returned == "" || len(returned) > 40 {
		return "", nil, errors.New("field returnCode is missing or not as documented")
	}
	return returned, members["info"], nil
}
