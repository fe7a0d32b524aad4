package router

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sort"
	"strings"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// hintSpacing is how often the same attempt may cause a query by messages that prove nothing.
const hintSpacing = time.Minute

// Notice applies a callback that its adapter has authenticated and says how to
// acknowledge it. Accepted means that it is on disk. It returns an error with
// RetryLater, so that the provider sends it again.
func (r *Router) Notice(ctx context.Context, account string, n providers.Notice, raw providers.RawCallback) (providers.Verdict, error) {
	e := orders.Evidence{
		Source: orders.SourceCallback, Account: account, AttemptNo: orders.AttemptNo(n.AttemptNo), Nonce: n.Nonce,
		Fact: r.fact(account, n.Snapshot), ReceivedAt: raw.ReceivedAt, Raw: rawOf(raw),
	}
	applied, err := r.apply(ctx, e)
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
	wantsQuery := applied.Verdict == orders.VerdictHint || applied.Verdict == orders.VerdictNeedsQuery ||
		(n.Snapshot != nil && n.Snapshot.Next == providers.NextConfirm)
	if wantsQuery && applied.Verdict != orders.VerdictOrphan {
		if err := r.d.Store.Due(ctx, e.AttemptNo, r.d.Now(), hintSpacing); err != nil {
			return providers.RetryLater, err
		}
		r.d.Wake()
	}
	return providers.Accepted, nil
}

// Refuse keeps an inauthentic callback for audit. Nothing of it is believed.
func (r *Router) Refuse(ctx context.Context, account, reason string, raw providers.RawCallback) error {
	return r.d.Store.Refuse(ctx, orders.Refusal{Account: account, Reason: reason, ReceivedAt: raw.ReceivedAt, Raw: rawOf(raw)})
}

// Return takes note that the citizen's browser came back, and tells where to send it.
// Unless the adapter proves that the provider signed the return, it is only a hint.
func (r *Router) Return(ctx context.Context, token string, raw providers.RawCallback) (string, error) {
	no, err := r.d.Store.AttemptByToken(ctx, token)
	if err != nil {
		return "", err
	}
	orderNo, ok := no.Order()
	if !ok {
		return "", orders.ErrNotFound
	}
	o, err := r.d.Store.Order(ctx, orderNo)
	if err != nil {
		return "", err
	}
	a := o.Attempt(no)
	if a == nil {
		return "", orders.ErrNotFound
	}
	e := orders.Evidence{Source: orders.SourceReturn, Account: a.Account, AttemptNo: no, ReceivedAt: raw.ReceivedAt, Raw: rawOf(raw)}
	if d, ok := r.Decoder(a.Account); ok {
		if n, err := d.DecodeCallback(raw); err == nil && n.Snapshot != nil {
			e.AttemptNo, e.Nonce, e.Fact = orders.AttemptNo(n.AttemptNo), n.Nonce, r.fact(a.Account, n.Snapshot)
		}
	}
	// A nonce that was seen with another meaning makes the return worth no more than a hint.
	if _, err := r.apply(ctx, e); err != nil && !errors.Is(err, orders.ErrNonceReused) {
		return "", err
	}
	if a.State < orders.AttemptPaid {
		if err := r.d.Store.Due(ctx, no, r.d.Now(), hintSpacing); err != nil {
			return "", err
		}
		r.d.Wake()
	}
	return returnURL(&o)
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
	for _, t := range applied.Events {
		r.d.Meter.OrderMoved(strings.TrimPrefix(string(t), "order."))
	}
	if len(applied.Events) > 0 {
		r.d.Wake()
	}
	return applied, nil
}

// needsQuery says whether the account's rule asks for a query before evidence may count as
// paid. What a provider answered to our own question never needs another.
func (r *Router) needsQuery(ctx context.Context, e *orders.Evidence) (bool, error) {
	rule := r.accounts[e.Account].QueryBeforePaid
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
		return false, nil
	}
	return rule.applies(&o), err
}

// fact turns what an adapter read into what orders can fold; nil stays nil.
func (r *Router) fact(account string, s *providers.Snapshot) *orders.Fact {
	if s == nil {
		return nil
	}
	if s.Unmapped != "" {
		r.d.Meter.UnmappedCode(account)
		r.d.Log.Warn("provider code not known: counted as pending", "account", account, "code", s.Unmapped)
	}
	return &orders.Fact{
		State: attemptState(s.State), Amount: s.Amount, PayeeMemberID: s.MerchantRef, Environment: string(s.Environment),
		Method: s.Method, PaidAt: s.PaidAt, ProviderTradeNo: s.ProviderTradeNo, Refs: s.Refs,
	}
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
	q := u.Query()
	q.Set("order_no", string(o.No))
	u.RawQuery = q.Encode()
	return u.String(), nil
}
