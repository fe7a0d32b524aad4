package bravobank

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/providers"
)

type queryRequest struct {
	AttemptNo     string `json:"attempt_no"`
	PayeeMemberID string `json:"payee_member_id"`
}

type refundRequest struct {
	queryRequest
	RefundID string `json:"refund_id"`
	Amount   string `json:"amount"`
	Currency string `json:"currency"`
	Reason   string `json:"reason"`
}

// Query asks what became of an attempt. ctx must carry a deadline, within which a
// lost question is asked again, signed anew. NotFound is the bank's signed word.
// Untrusted means that an answer's signature or attempt was wrong.
//
// Source: section 7.
func (a *Adapter) Query(ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
	body, err := json.Marshal(queryRequest{AttemptNo: ref.AttemptNo, PayeeMemberID: ref.PayeeMemberID})
	if err != nil {
		return providers.Snapshot{}, failed(providers.OpQuery, providers.Invalid, err)
	}
	c := call{op: providers.OpQuery, label: labelQuery, answer: labelQueryAnswer, path: "/api/v1/query", body: body}
	resp, err := a.deps.HTTP.Query(ctx, func() (httpx.Request, error) { return a.sign(&c) })
	if err != nil {
		return providers.Snapshot{}, c.lost(err)
	}
	answer, failure := a.open(&c, resp)
	if failure != nil {
		return providers.Snapshot{}, failure
	}
	f := readObject(answer)
	attemptNo, currencyCode, snapshot := f.payment()
	f.refunds(&snapshot, currencyCode)
	if err := f.end(); err != nil {
		return providers.Snapshot{}, failed(c.op, providers.OutcomeUnknown, err)
	}
	if attemptNo != ref.AttemptNo {
		return providers.Snapshot{}, failed(c.op, providers.Untrusted, errors.New("the answer is about another attempt"))
	}
	snapshot.Raw = resp.Body
	return snapshot, nil
}

// Refund pays back all or part of a paid attempt, with exactly one send. Whatever
// went wrong after that send and is not the bank's signed no is OutcomeUnknown, also
// an answer that cannot be believed: Query lists every refund.
//
// Source: section 8.
func (a *Adapter) Refund(ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
	body, err := json.Marshal(refundRequest{
		queryRequest: queryRequest{AttemptNo: req.Attempt.AttemptNo, PayeeMemberID: req.Attempt.PayeeMemberID},
		RefundID:     req.RefundID, Amount: req.Amount.Value(), Currency: string(req.Amount.Currency()), Reason: req.Reason,
	})
	if err != nil {
		return providers.RefundResult{}, failed(providers.OpRefund, providers.Invalid, err)
	}
	c := call{op: providers.OpRefund, label: labelRefund, answer: labelRefundAnswer, path: "/api/v1/refund", body: body}
	request, err := a.sign(&c)
	if err != nil {
		return providers.RefundResult{}, failed(c.op, providers.Unavailable, err)
	}
	resp, err := a.deps.HTTP.Send(ctx, request)
	if err != nil {
		return providers.RefundResult{}, c.lost(err)
	}
	answer, failure := a.open(&c, resp)
	if failure != nil {
		return providers.RefundResult{}, failure
	}
	result, err := readRefund(answer, req)
	if err != nil {
		return providers.RefundResult{}, failed(c.op, providers.OutcomeUnknown, err)
	}
	return result, nil
}

func readRefund(answer []byte, req providers.RefundRequest) (providers.RefundResult, error) {
	f := readObject(answer)
	attemptNo, refundID, refundNo := f.text("attempt_no"), f.text("refund_id"), f.text("refund_no")
	amount := f.amount("amount", f.text("currency"))
	state, _ := refundStateOf(f.text("status")) // an unknown word is pending: Query tells
	if err := f.end(); err != nil {
		return providers.RefundResult{}, err
	}
	if attemptNo != req.Attempt.AttemptNo || refundID != req.RefundID || amount != req.Amount || !tradeNo.MatchString(refundNo) {
		return providers.RefundResult{}, errors.New("the answer is about another refund")
	}
	return providers.RefundResult{ProviderRefundNo: refundNo, State: state}, nil
}

// call is one question to the bank. sign sets its nonce anew for each send.
type call struct {
	op            providers.Op
	label, answer string
	path          string
	body          []byte
	nonce         string
}

func (a *Adapter) sign(c *call) (httpx.Request, error) {
	random := make([]byte, 18)
	if _, err := io.ReadFull(a.deps.Rand, random); err != nil {
		return httpx.Request{}, fmt.Errorf("no randomness for a nonce: %w", err)
	}
	c.nonce = encode(random)
	kid, timestamp := a.signer.KeyID(), strconv.FormatInt(a.deps.Now().Unix(), 10)
	h := make(http.Header)
	h.Set("Content-Type", "application/json")
	h.Set("Bravo-Kid", kid)
	h.Set("Bravo-Timestamp", timestamp)
	h.Set("Bravo-Nonce", c.nonce)
	h.Set("Bravo-Signature", encode(a.signer.Sign(messageText(c.label, kid, timestamp, c.nonce, c.path, c.body))))
	return httpx.Request{Method: http.MethodPost, Path: c.path, Header: h, Body: c.body}, nil
}

// lost says what no answer means.
func (c *call) lost(err error) *providers.Error {
	if httpx.NotSent(err) {
		return failed(c.op, providers.Unavailable, err)
	}
	return failed(c.op, providers.OutcomeUnknown, err)
}

// open verifies an answer and returns its body when it is not an error.
func (a *Adapter) open(c *call, resp *httpx.Response) ([]byte, *providers.Error) {
	if len(resp.Header.Values("Bravo-Signature")) == 0 { // of some machine in between
		return nil, failed(c.op, providers.OutcomeUnknown, fmt.Errorf("an unsigned answer with status %d", resp.Status))
	}
	if err := a.verifyAnswer(c, resp); err != nil {
		return nil, failed(c.op, c.distrust(), err)
	}
	if resp.Status == http.StatusOK {
		return resp.Body, nil
	}
	f := readObject(resp.Body)
	code := f.text("error")
	if err := f.end(); err != nil {
		return nil, failed(c.op, providers.OutcomeUnknown, err)
	}
	failure := &providers.Error{Provider: Name, Op: c.op, Kind: kindOf(code), Code: code}
	if failure.Kind == providers.RateLimited {
		failure.RetryAfter = retryAfter(resp.Header.Get("Retry-After"))
	}
	return nil, failure
}

// distrust is the kind of an answer that the bank did not sign. A refund may have been
// carried out all the same, and must not read as a clear no.
func (c *call) distrust() providers.Kind {
	if c.op == providers.OpRefund {
		return providers.OutcomeUnknown
	}
	return providers.Untrusted
}

func (a *Adapter) verifyAnswer(c *call, resp *httpx.Response) error {
	now := a.deps.Now()
	s, err := readSeal(resp.Header, now)
	if err != nil {
		return err
	}
	text := answerText(c.answer, s.kid, s.timestamp, c.nonce, c.path, resp.Status, resp.Body)
	if err := a.bank.Verify(s.kid, text, s.signature, now); err != nil {
		return fmt.Errorf("answer with status %d: %w", resp.Status, err)
	}
	return nil
}

// retryAfter is a hint, since headers are not signed; at most an hour.
func retryAfter(seconds string) time.Duration {
	n, err := strconv.ParseUint(seconds, 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, time.Hour)
}
