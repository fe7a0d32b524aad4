package router

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"sort"
	"strings"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// Notice applies a callback that its adapter has authenticated and says how to
// acknowledge it. Accepted means that it is on disk. It returns an error with
// RetryLater, so that the provider sends it again.
func (r *Router) Notice(ctx context.Context, account string, n providers.Notice, raw providers.RawCallback) (providers.Verdict, error) {
	if n.Snapshot == nil {
		return r.hint(ctx, account, n, raw)
	}
	e := orders.Evidence{
		Source: orders.SourceCallback, Account: account, AttemptNo: orders.AttemptNo(n.AttemptNo), Nonce: n.Nonce,
		Fact: r.fact(account, n.Snapshot, n.Refs), Ask: n.Snapshot.Next == providers.NextConfirm, ReceivedAt: raw.ReceivedAt, Raw: rawOf(raw),
	}
	_, err := r.apply(ctx, e)
	switch {
	case errors.Is(err, orders.ErrNonceReused):
		r.d.Log.Error("callback refused: nonce reused with another meaning", "account", account, "attempt_no", n.AttemptNo)
		if err := r.Refuse(ctx, account, "nonce reused with another meaning", raw); err != nil {
			return providers.RetryLater, err
		}
		return providers.Refused, nil
	case err != nil:
		return providers.RetryLater, err
	}
	return providers.Accepted, nil
}

// hint takes a message that proves nothing: it only makes us ask. The attempt is the one it names, or that of its
// callback URL. About no attempt of ours it is kept for audit and acknowledged like any other, so that nobody
// learns which attempts exist and nobody fills the list of orphans.
func (r *Router) hint(ctx context.Context, account string, n providers.Notice, raw providers.RawCallback) (providers.Verdict, error) {
	no := orders.AttemptNo(n.AttemptNo)
	var err error
	if no == "" {
		no, err = r.d.Store.AttemptByToken(ctx, raw.Token)
	}
	var o orders.Order
	if err == nil {
		o, err = r.attemptOf(ctx, no)
	}
	switch {
	case errors.Is(err, orders.ErrNotFound):
		err = r.Refuse(ctx, account, "a hint about no attempt of ours", raw)
	case err == nil:
		err = r.applyHint(ctx, orders.Evidence{
			Source: orders.SourceCallback, Account: account, AttemptNo: no, Guessable: raw.Token != o.Attempt(no).Token,
			Pointer: n.Pointer, ReceivedAt: raw.ReceivedAt, Raw: rawOf(raw),
		})
	}
	if err != nil {
		return providers.RetryLater, err
	}
	return providers.Accepted, nil
}

// applyHint applies a hint, unless the attempt had its share: then one more is applied in a moment, for all that came.
func (r *Router) applyHint(ctx context.Context, e orders.Evidence) error {
	if r.hints.many(string(e.AttemptNo), e.ReceivedAt, hintShare) {
		return nil
	}
	_, err := r.apply(ctx, e)
	return err
}

// attemptOf reads an attempt with its order.
func (r *Router) attemptOf(ctx context.Context, no orders.AttemptNo) (orders.Order, error) {
	orderNo, ok := no.Order()
	if !ok {
		return orders.Order{}, orders.ErrNotFound
	}
	o, err := r.d.Store.Order(ctx, orderNo)
	if err == nil && o.Attempt(no) == nil {
		err = orders.ErrNotFound
	}
	return o, err
}

// Refuse keeps an inauthentic callback for audit. Nothing of it is believed.
func (r *Router) Refuse(ctx context.Context, account, reason string, raw providers.RawCallback) error {
	if r.refusals.many(account, raw.ReceivedAt, orders.KeptRefusals) {
		return nil
	}
	return r.d.Store.Refuse(ctx, orders.Refusal{Account: account, Reason: reason, ReceivedAt: raw.ReceivedAt, Raw: rawOf(raw)})
}

// Return takes note that the citizen's browser came back, and tells where to send it. Unless the
// adapter proves that the provider signed the return, and about this attempt, it is only a hint.
func (r *Router) Return(ctx context.Context, token string, raw providers.RawCallback) (orders.OrderNo, string, error) {
	no, err := r.d.Store.AttemptByToken(ctx, token)
	if err != nil {
		return "", "", err
	}
	o, err := r.attemptOf(ctx, no)
	if err != nil {
		return "", "", err
	}
	a := o.Attempt(no)
	hint := orders.Evidence{Source: orders.SourceReturn, Account: a.Account, AttemptNo: no, ReceivedAt: raw.ReceivedAt, Raw: rawOf(raw)}
	e := hint
	if d, ok := r.Decoder(a.Account); ok {
		n, err := d.DecodeCallback(raw)
		if err == nil && n.Snapshot == nil {
			hint.Pointer = n.Pointer
		}
		if err == nil && n.Snapshot != nil && n.AttemptNo == string(no) {
			e.Nonce, e.Fact = n.Nonce, r.fact(a.Account, n.Snapshot, n.Refs)
			e.Ask = !e.Fact.State.Ended()
		}
	}
	if e.Fact != nil {
		_, err = r.apply(ctx, e)
	}
	if e.Fact == nil || errors.Is(err, orders.ErrNonceReused) {
		err = r.applyHint(ctx, hint)
	}
	if err != nil {
		return o.No, "", err
	}
	to, err := returnURL(&o)
	return o.No, to, err
}

// apply commits evidence and tells the meters and the log.
func (r *Router) apply(ctx context.Context, e orders.Evidence) (orders.Applied, error) {
	var err error
	if e.NeedsQuery, err = r.needsQuery(ctx, &e); err != nil {
		return orders.Applied{}, err
	}
	applied, err := r.d.Store.Apply(ctx, e)
	if err != nil {
		return applied, err
	}
	log := r.d.Log.With("order_no", string(applied.Order.No), "attempt_no", string(e.AttemptNo), "account", e.Account, "source", string(e.Source))
	switch {
	case applied.Repeat:
		log.Debug("evidence repeated", "verdict", string(applied.Verdict))
	case applied.Verdict == orders.VerdictReview:
		log.Error("evidence contradicts our record: order frozen for review", "differs", applied.Why)
	case applied.Verdict == orders.VerdictOrphan:
		log.Warn("evidence of an attempt that is not ours yet")
	default:
		log.Info("evidence", "verdict", string(applied.Verdict), "status", applied.Order.State.String())
	}
	r.tell(&e, &applied)
	r.d.Wake() // there may be something to tell, or to ask
	return applied, nil
}

// tell counts what evidence has moved.
func (r *Router) tell(e *orders.Evidence, applied *orders.Applied) {
	for _, t := range applied.Events {
		r.d.Meter.OrderMoved(strings.TrimPrefix(string(t), "order."))
	}
	if !slices.Contains(applied.Events, orders.EventPaid) && !slices.Contains(applied.Events, orders.EventSurplus) {
		return
	}
	r.d.Meter.Paid(e.Account, string(e.Source))
	account, ok := r.world().accounts[e.Account]
	if !ok || e.Source != orders.SourceQuery || e.Fact.PaidAt.IsZero() {
		return
	}
	if _, calls := account.Provider.(providers.CallbackDecoder); calls && e.ReceivedAt.Sub(e.Fact.PaidAt) > or(account.Provider.Describe().Patience.Callback, usualCallback) {
		r.d.Meter.CallbackMissing(e.Account) // a query found what a callback should have told by now
		r.d.Log.Warn("paid, and no callback came within its usual delay", "account", e.Account, "attempt_no", string(e.AttemptNo))
	}
}

// usualCallback is how long after a payment its callback may take.
const usualCallback = time.Minute

// needsQuery says whether the account's rule asks for a query before evidence may count as
// paid. What a provider answered to our own question never needs another.
func (r *Router) needsQuery(ctx context.Context, e *orders.Evidence) (bool, error) {
	rule := r.world().accounts[e.Account].QueryBeforePaid
	asked := e.Source == orders.SourceQuery || e.Source == orders.SourceCall
	if rule.Never || asked || e.Fact == nil || e.Fact.State != orders.AttemptPaid {
		return false, nil
	}
	no, ok := e.AttemptNo.Order()
	if !ok {
		return false, nil
	}
	o, err := r.d.Store.Order(ctx, no)
	if errors.Is(err, orders.ErrNotFound) {
		return true, nil // it may be committed before the evidence is
	}
	return rule.applies(&o), err
}

// fact turns what an adapter read into what orders can fold, with the references that came beside it.
func (r *Router) fact(account string, s *providers.Snapshot, beside map[string]string) *orders.Fact {
	if s.Unmapped != "" {
		r.d.Meter.UnmappedCode(account)
		r.d.Log.Warn("provider code not known: counted as pending", "account", account, "code", s.Unmapped)
	}
	refs := s.Refs
	if len(beside) > 0 {
		refs = maps.Clone(beside)
		maps.Copy(refs, s.Refs)
	}
	return &orders.Fact{
		State: attemptState(s.State), Amount: s.Amount, PayeeMemberID: s.MerchantRef, Environment: string(s.Environment),
		Method: s.Method, PaidAt: s.PaidAt, ProviderTradeNo: s.ProviderTradeNo, Refs: refs,
		Refunds: refundFacts(s.Refunds), RefundsComplete: s.RefundsComplete,
	}
}

func refundFacts(list []providers.RefundFact) []orders.RefundFact {
	var facts []orders.RefundFact
	for _, f := range list {
		facts = append(facts, orders.RefundFact{ID: f.RefundID, ProviderRefundNo: f.ProviderRefundNo, Amount: f.Amount, State: refundState(f.State)})
	}
	return facts
}

func refundState(s providers.RefundState) orders.RefundState {
	switch s {
	case providers.RefundDone:
		return orders.RefundDone
	case providers.RefundFailed:
		return orders.RefundFailed
	case providers.RefundPending:
	}
	return orders.RefundUndecided
}

func attemptState(s providers.State) orders.AttemptState {
	switch s {
	case providers.Cancelled:
		return orders.AttemptCancelled
	case providers.Expired:
		return orders.AttemptExpired
	case providers.Failed:
		return orders.AttemptFailed
	case providers.Paid:
		return orders.AttemptPaid
	case providers.Pending:
		return orders.AttemptPending
	}
	return orders.AttemptPending
}

// rawOf keeps a callback's bytes for audit. Headers are kept whole but for those that carry
// a caller's credentials or cookies of our own domain.
func rawOf(raw providers.RawCallback) orders.Raw {
	names := make([]string, 0, len(raw.Header))
	for name := range raw.Header {
		if name != "Authorization" && name != "Cookie" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	var header strings.Builder
	for _, name := range names {
		for _, value := range raw.Header[name] {
			fmt.Fprintf(&header, "%s: %s\n", name, value)
		}
	}
	line := raw.Method + " " + raw.Path
	if raw.RawQuery != "" {
		line += "?" + raw.RawQuery
	}
	return orders.Raw{Line: line, Header: header.String(), Body: raw.Body}
}

// returnURL is the client's return URL with the order's number and no status: the client asks us.
func returnURL(o *orders.Order) (string, error) {
	u, err := url.Parse(o.ReturnURL)
	if err != nil {
		return "", fmt.Errorf("router: return url of order %s: %w", o.No, err)
	}
	if u.RawQuery != "" {
		u.RawQuery += "&" // the client's own query stays as it is
	}
	u.RawQuery += "order_no=" + string(o.No)
	return u.String(), nil
}
