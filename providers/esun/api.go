package esun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

// Query asks what became of an attempt; a lost question is asked again. NotFound is the bank's word, also while the card page
// is open. Its answers tell nothing of cancellations.
//
// Source: manual "query".
func (a *Adapter) Query(ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
	request, err := a.request(queryPath, ref)
	if err != nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.Invalid, err)
	}
	resp, err := a.client.Query(ctx, func() (httpx.Request, error) { return request, nil })
	if err != nil {
		return providers.Snapshot{}, wire.Lost(Name, providers.OpQuery, err)
	}
	code, txn, failure := read(providers.OpQuery, resp, ref)
	if failure != nil {
		return providers.Snapshot{}, failure
	}
	if kind, refused := refusals()[code]; refused {
		return providers.Snapshot{}, &providers.Error{Provider: Name, Op: providers.OpQuery, Kind: kind, Code: code}
	}
	snapshot := snapshotOf(txn)
	if snapshot.State == providers.Paid {
		amount := dollars(txn)
		snapshot.Amount = &amount
	}
	if err := txn.Err(); err != nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.OutcomeUnknown, err)
	}
	snapshot.Raw = resp.Body
	return snapshot, nil
}

// dollars is the field TXNAMOUNT, which has two decimals. An amount with cents is one that nobody asked for.
func dollars(txn *wire.Fields) money.Amount {
	whole, cents, _ := strings.Cut(txn.Need("TXNAMOUNT", amountForm), ".")
	amount, err := money.Parse(whole, money.TWD)
	switch {
	case err != nil:
		txn.Fail(fmt.Errorf("field TXNAMOUNT: %w", err))
	case cents != "" && cents != "00":
		return money.Amount{}
	}
	return amount
}

var amountForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,9})(\.[0-9]{2})?$`)

// Refund cancels an authorisation that is not settled yet, whole, with one send. What became of it when there is no answer
// nobody can ask: no answer of the bank tells of cancellations.
//
// Source: manual "cancel".
func (a *Adapter) Refund(ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
	if req.Amount != req.Attempt.Amount {
		return providers.RefundResult{}, failed(providers.OpRefund, providers.Invalid, errors.New("the bank pays back only all of a payment, by cancelling it"))
	}
	request, err := a.request(cancelPath, req.Attempt)
	if err != nil {
		return providers.RefundResult{}, failed(providers.OpRefund, providers.Invalid, err)
	}
	resp, err := a.client.Send(ctx, request)
	if err != nil {
		return providers.RefundResult{}, wire.Lost(Name, providers.OpRefund, err)
	}
	code, txn, failure := read(providers.OpRefund, resp, req.Attempt)
	if failure != nil {
		return providers.RefundResult{}, failure
	}
	if code != "00" {
		return providers.RefundResult{}, &providers.Error{Provider: Name, Op: providers.OpRefund, Kind: cancelKind(code), Code: code}
	}
	return providers.RefundResult{ProviderRefundNo: txn.Optional("RRN"), State: providers.RefundDone}, nil
}

// request is a signed call about an attempt.
func (a *Adapter) request(path string, ref providers.AttemptRef) (httpx.Request, error) {
	data, err := json.Marshal(struct{ ONO, MID string }{ref.AttemptNo, ref.PayeeMemberID})
	if err != nil {
		return httpx.Request{}, err
	}
	form := url.Values{}
	for name, value := range a.form(data) {
		form.Set(name, value)
	}
	return wire.PostForm(path, form), nil
}

// read reads an answer: DATA= and JSON with a code and its transaction, which has the same code and must be of this attempt. An
// answer that names no attempt is believed only when it says that our call itself was wrong.
func read(op providers.Op, resp *httpx.Response, ref providers.AttemptRef) (code string, txn *wire.Fields, failure *providers.Error) {
	unreadable := func(err error) (string, *wire.Fields, *providers.Error) {
		return "", nil, failed(op, providers.OutcomeUnknown, err)
	}
	text, found := strings.CutPrefix(strings.TrimSpace(string(resp.Body)), "DATA=")
	text, _, _ = strings.Cut(text, "&MACD=") // the manual on cancellations speaks of one; TLS is what proves answers
	if resp.Status != http.StatusOK || !found {
		return unreadable(fmt.Errorf("an answer with status %d that is none of the bank's", resp.Status))
	}
	answer, err := wire.Object([]byte(text))
	if err != nil { // the manual's samples print txnData in quotes, with quotes in it
		text = strings.Replace(strings.Replace(text, `:"{"`, `:{"`, 1), `"}"`, `"}`, 1)
		answer, err = wire.Object([]byte(text))
	}
	if err != nil {
		return unreadable(err)
	}
	code, ok := wire.Scalar(answer["returnCode"])
	if !ok || !codeForm.MatchString(code) {
		return unreadable(errors.New("field returnCode is missing or not as documented"))
	}
	data := answer["txnData"]
	if quoted, ok := wire.Scalar(data); ok {
		data = json.RawMessage(quoted)
	}
	members, err := wire.Object(data)
	txn = wire.Scalars(members)
	kind, refused := refusals()[code]
	switch number := txn.Optional("ONO"); {
	case number != "" && number != ref.AttemptNo && op == providers.OpQuery:
		return "", nil, failed(op, providers.Untrusted, errors.New("the answer is about another order"))
	case number == ref.AttemptNo && txn.Peek("RC") == code:
		return code, txn, nil
	case number == "" && refused && kind != providers.NotFound:
		return code, txn, nil //nolint:nilerr // a refusal of the call itself needs no transaction
	case err != nil:
		return unreadable(fmt.Errorf("txnData: %w", err))
	}
	return "", nil, &providers.Error{Provider: Name, Op: op, Kind: providers.OutcomeUnknown, Code: code, Err: errors.New("the answer names no order, another one, or two codes")}
}
