package sqlstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"pay.taipei/gateway/orders"
)

// Apply is documented in orders.Folder. Text of the evidence that no database can hold (NUL,
// invalid UTF-8) is replaced; the raw bytes are kept as they came.
func (s *Store) Apply(ctx context.Context, e orders.Evidence) (orders.Applied, error) {
	e = storable(e)
	return write(ctx, s, func(u unit) (orders.Applied, error) { return u.apply(e) })
}

func (u unit) apply(e orders.Evidence) (orders.Applied, error) {
	result, err := u.fold(e)
	if err != nil || result.Order.No == "" { // an orphan
		return result, err
	}
	return result, u.wantQuery(&result, &e)
}

func (u unit) fold(e orders.Evidence) (orders.Applied, error) {
	digest := digestOf(&e)
	if err := u.keepNonce(&e, digest); err != nil {
		return orders.Applied{}, err
	}
	known, err := u.keepEvidence(&e, digest)
	if err != nil {
		return orders.Applied{}, err
	}
	result := orders.Applied{Verdict: known.verdict, Repeat: known.verdict != "", Why: known.why}
	no, err := u.orderOf(e.AttemptNo)
	switch {
	case errors.Is(err, orders.ErrNotFound):
		result.Verdict = orders.VerdictOrphan
		return result, u.judge(digest, result, &e)
	case err != nil:
		return result, err
	case known.verdict.Applied():
		result.Order, err = u.order(no)
		return result, err
	}
	b, err := u.lock(no)
	if err != nil {
		return result, err
	}
	received := e.ReceivedAt
	if known.verdict != "" && known.received.Before(received) {
		received = known.received // it was in time when it first came
	}
	e.ReceivedAt = received
	f := orders.Fold(b, e)
	result.Verdict, result.Why, result.Events = f.Verdict, f.Why, f.Events
	result.Moved = b.Order.State != f.Book.Order.State || !reflect.DeepEqual(b.Order.Attempts, f.Book.Order.Attempts) ||
		!slices.Equal(b.Order.Refunds, f.Book.Order.Refunds)
	if result.Moved || len(f.Events) > 0 {
		if err := u.save(&change{b, f}, received); err != nil {
			return result, err
		}
	}
	result.Order = f.Book.Order
	return result, u.judge(digest, result, &e)
}

// wantQuery makes the query due that evidence asks for: a hint, a fact that may not stand alone, a payer who waits for our
// confirm. It does so for repeats too. What answers our own question asks for nothing: who asked says when to ask again.
func (u unit) wantQuery(a *orders.Applied, e *orders.Evidence) error {
	hint, answer := a.Verdict == orders.VerdictHint, e.Source == orders.SourceQuery || e.Source == orders.SourceCall
	if answer || !hint && !e.Ask && a.Verdict != orders.VerdictNeedsQuery {
		return nil
	}
	if a.Order.Attempt(e.AttemptNo).State == orders.AttemptPaid && a.Order.UndecidedRefund(e.AttemptNo) == nil {
		return nil
	}
	if hint && e.Guessable {
		return u.hinted(e)
	}
	var spacing time.Duration
	var latest time.Time
	if hint || a.Repeat {
		spacing = orders.HintSpacing
		if e.ReceivedAt.Before(a.Order.ExpiresAt) {
			latest = a.Order.ExpiresAt.Add(-orders.LastAsk)
		}
	}
	return u.due(e.AttemptNo, e.ReceivedAt, latest, spacing)
}

const (
	sqlAddNonce = `INSERT INTO nonces (account, nonce, digest) VALUES ($1, $2, $3) ON CONFLICT (account, nonce) DO NOTHING`
	sqlNonce    = `SELECT digest FROM nonces WHERE account = $1 AND nonce = $2`
)

// keepNonce refuses a nonce that came before with another meaning.
func (u unit) keepNonce(e *orders.Evidence, digest string) error {
	if e.Nonce == "" {
		return nil
	}
	n, err := u.exec(sqlAddNonce, e.Account, e.Nonce, digest)
	if err != nil || n == 1 {
		return err
	}
	var first string
	if _, err := u.one(sqlNonce, []any{e.Account, e.Nonce}, &first); err != nil {
		return err
	}
	if first != digest {
		return orders.ErrNonceReused
	}
	return nil
}

// Evidence is inserted without a verdict, which it has when the transaction commits: a row
// that has one was known. An orphan that the sweeper presents again is not another delivery.
const (
	sqlKeepEvidence = `INSERT INTO evidence (digest, account, attempt_no, source, purpose, nonce, needs_query, fact, received_ms,
		raw_line, raw_header, raw_body, verdict, why, seen)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, '', '', 1)
		ON CONFLICT (digest) DO UPDATE SET seen = evidence.seen +
			CASE WHEN evidence.verdict = 'orphan' AND evidence.received_ms = $9 THEN 0 ELSE 1 END
		RETURNING verdict, why, received_ms`
	sqlJudge = `UPDATE evidence SET verdict = $2, why = $3, applied_ms = $4,
		next_ms = CASE WHEN $2 <> 'orphan' THEN NULL WHEN verdict = '' THEN received_ms ELSE next_ms END WHERE digest = $1`
)

// knownEvidence is what a repeat finds; without a verdict the evidence is new.
type knownEvidence struct {
	verdict  orders.Verdict
	why      string
	received time.Time
}

// keepEvidence inserts the evidence or counts a repeat, and locks its row.
func (u unit) keepEvidence(e *orders.Evidence, digest string) (knownEvidence, error) {
	var k knownEvidence
	_, err := u.one(sqlKeepEvidence, []any{digest, e.Account, e.AttemptNo, e.Source, e.Purpose, e.Nonce, e.NeedsQuery,
		asJSON{factOf(e.Fact)}, e.ReceivedAt.UnixMilli(), []byte(e.Raw.Line), []byte(e.Raw.Header), bytesOf(e.Raw.Body)},
		&k.verdict, &k.why, moment{&k.received})
	return k, err
}

// judge writes the verdict; with VerdictOrphan the evidence is due to be looked at again.
func (u unit) judge(digest string, a orders.Applied, e *orders.Evidence) error {
	var applied any
	if a.Verdict.Applied() {
		applied = millis(e.ReceivedAt)
	}
	return u.exec1(sqlJudge, digest, string(a.Verdict), a.Why, applied)
}

func digestOf(e *orders.Evidence) string {
	sum := e.Digest()
	return hex.EncodeToString(sum[:])
}

const (
	sqlCountRefusal = `INSERT INTO refusal_counts (account, minute_ms, count) VALUES ($1, $2, $3)
		ON CONFLICT (account, minute_ms) DO UPDATE SET count = refusal_counts.count + $3 RETURNING count`
	sqlAddRefusal = `INSERT INTO refusals (account, minute_ms, n, received_ms, reason, raw_line, raw_header, raw_body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
)

// Refuse is documented in orders.Folder.
func (s *Store) Refuse(ctx context.Context, r orders.Refusal) error {
	account, minute := text(r.Account), r.ReceivedAt.Truncate(time.Minute).UnixMilli()
	_, err := write(ctx, s, func(u unit) (count int64, err error) {
		if _, err = u.one(sqlCountRefusal, []any{account, minute, 1 + r.More}, &count); err != nil || count > orders.KeptRefusals {
			return count, err
		}
		return count, u.exec1(sqlAddRefusal, account, minute, count, r.ReceivedAt.UnixMilli(), note(r.Reason),
			[]byte(r.Raw.Line), []byte(r.Raw.Header), bytesOf(r.Raw.Body))
	})
	return err
}

// maxText is the longest foreign text kept as it is. Longer text is nothing that we made,
// and an index could not hold it.
const maxText = 256

// text makes foreign text storable. Equal texts stay equal, and different ones different
// but for bytes that are no text.
func text(s string) string {
	s = valid(s)
	if len(s) <= maxText {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// note is foreign text for people: cut where it is too long.
func note(s string) string { return valid(s[:min(len(s), maxText)]) }

func valid(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// storable makes all text of evidence storable, before its digest is taken: evidence that is
// read back has the digest under which it is stored.
func storable(e orders.Evidence) orders.Evidence {
	e.Account, e.Nonce, e.AttemptNo = text(e.Account), text(e.Nonce), orders.AttemptNo(text(string(e.AttemptNo)))
	e.Pointer = text(e.Pointer)
	if e.Fact == nil {
		return e
	}
	f := *e.Fact
	f.PayeeMemberID, f.Environment, f.Method, f.ProviderTradeNo = text(f.PayeeMemberID), text(f.Environment), text(f.Method), text(f.ProviderTradeNo)
	if len(f.Refs) > 0 {
		refs := make(map[string]string, len(f.Refs))
		for name, value := range f.Refs {
			refs[valid(name)] = valid(value)
		}
		f.Refs = refs
	}
	f.Refunds = slices.Clone(f.Refunds)
	for i := range f.Refunds {
		r := &f.Refunds[i]
		r.ID, r.ProviderRefundNo, r.State = text(r.ID), text(r.ProviderRefundNo), orders.RefundState(text(string(r.State)))
	}
	e.Fact = &f
	return e
}
