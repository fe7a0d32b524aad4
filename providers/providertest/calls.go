package providertest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"time"

	"pay.taipei/gateway/providers"
)

func answerChecks() []check {
	return []check{
		{"query/paid-is-bindable", "an answer tells amount, payee, time and trade number, and is kept as it came", queryPaid},
		{"query/reads-the-answer", "amount and payee are those of the answer, never those that were asked for", queryReads},
		{"query/another-attempt", "an answer about another attempt is not believed", queryAnother},
		{"query/unknown-state", "a state that no document lists decides nothing and is counted", queryUnknown},
		{"query/codes", "every documented code says what may be done next; another one leaves the outcome unknown", powered((*subject).query, (*subject).codes)},
		{"query/nothing-sent", "a question that did not leave is unavailable", powered((*subject).query, (*subject).nothingSent)},
		{"query/lost-or-unreadable", "an answer that is none leaves the outcome unknown", powered((*subject).query, (*subject).lost)},
		{"query/unproven-answer", "an answer without its signature, or to another question, is not believed", queryUnproven},
		{"query/cancelled", "a context that ended sends nothing, and one that ends brings the call back", powered((*subject).query, (*subject).cancelled)},
	}
}

func moneyChecks() []check {
	return []check{
		{"confirm/paid-is-bindable", "the answer tells amount, payee, time and trade number", confirmPaid},
		{"confirm/reads-the-answer", "the amount is that of the answer, never the one that was asked for", confirmReads},
		{"confirm/one-send", "whatever happens, it is sent once, and unknown unless it certainly did not arrive", powered((*subject).confirm, (*subject).oneSend)},
		{"confirm/codes", "every documented code says what may be done next; another one leaves the outcome unknown", powered((*subject).confirm, (*subject).codes)},
		{"confirm/cancelled", "a context that ended sends nothing, and one that ends brings the call back", powered((*subject).confirm, (*subject).cancelled)},
		{"refund/done", "a refund that was carried out or accepted is told so", refundDone},
		{"refund/one-send", "whatever happens, it is sent once, and unknown unless it certainly did not arrive", powered((*subject).refund, (*subject).oneSend)},
		{"refund/codes", "every documented code says what may be done next; another one leaves the outcome unknown", powered((*subject).refund, (*subject).codes)},
		{"refund/cancelled", "a context that ended sends nothing, and one that ends brings the call back", powered((*subject).refund, (*subject).cancelled)},
	}
}

func powered(has power, run func(*subject, operation) error) func(*subject) error {
	return func(s *subject) error {
		ref, err := s.attempt()
		if err != nil {
			return err
		}
		o, able := has(s, ref)
		if !able {
			return skipped("the adapter does not have this power")
		}
		return run(s, o)
	}
}

func (s *subject) ask(reply Reply) (providers.Snapshot, error) {
	ref, err := s.attempt()
	if err != nil {
		return providers.Snapshot{}, err
	}
	ctx, cancel := within()
	defer cancel()
	s.with(providers.OpQuery, reply)
	return s.adapter.Query(ctx, ref)
}

func queryPaid(s *subject) error {
	snap, err := s.ask(s.h.Answers.Paid)
	if err != nil {
		return err
	}
	return s.answerBound(snap)
}

// dearer is Order's attempt as if another total and another payee had been asked for.
func (s *subject) dearer() (providers.AttemptRef, error) {
	ref, err := s.attempt()
	if err != nil {
		return ref, err
	}
	ref.PayeeMemberID = "7790001"
	ref.Amount, err = ref.Amount.Add(ref.Amount)
	return ref, err
}

// reads asserts that a snapshot tells what the answer says.
func (s *subject) reads(snap providers.Snapshot, err error, op providers.Op) error {
	if err != nil { // a provider that was asked for another payee may well be refused
		return s.typed(err, op)
	}
	if snap.Amount == nil || *snap.Amount != s.h.Order.Total || snap.MerchantRef == "7790001" {
		return fmt.Errorf("the answer says %s, the snapshot %+v", s.h.Order.Total, snap)
	}
	return nil
}

// queryReads: an adapter that gives back what it was asked would bind every answer to every order.
func queryReads(s *subject) error {
	ref, err := s.dearer()
	if err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	s.with(providers.OpQuery, s.h.Answers.Paid)
	snap, err := s.adapter.Query(ctx, ref)
	return s.reads(snap, err, providers.OpQuery)
}

func confirmReads(s *subject) error {
	c, ok := s.adapter.(providers.Confirmer)
	if !ok {
		return skipped("no Confirmer")
	}
	ref, err := s.dearer()
	if err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	s.with(providers.OpConfirm, s.h.Answers.Confirm)
	snap, err := c.Confirm(ctx, providers.ConfirmRequest{Attempt: ref})
	return s.reads(snap, err, providers.OpConfirm)
}

// queryAnother asks about an attempt and gets an answer about another one.
func queryAnother(s *subject) error {
	ref, err := s.attempt()
	if err != nil {
		return err
	}
	ref.AttemptNo = ref.AttemptNo[:len(ref.AttemptNo)-2] + "87"
	ctx, cancel := within()
	defer cancel()
	s.with(providers.OpQuery, s.h.Answers.Paid)
	snap, err := s.adapter.Query(ctx, ref)
	if snap.State != providers.Pending {
		return fmt.Errorf("an answer about another attempt made this one %s", snap.State)
	}
	return s.typed(err, providers.OpQuery, providers.Untrusted, providers.OutcomeUnknown, providers.NotFound)
}

func queryUnknown(s *subject) error {
	snap, err := s.ask(s.h.Answers.Unknown)
	if err != nil {
		return err
	}
	return undecided(snap)
}

// codes: every documented code means what the harness says it means to this operation, one
// that nobody documented may mean anything, and a call is not repeated because of either.
func (s *subject) codes(o operation) error {
	if s.h.Answers.Code == nil {
		return skipped("the provider has no error codes")
	}
	documented, given := s.h.Answers.Codes[o.op]
	if !given {
		return fmt.Errorf("harness: Answers.Codes must tell what each code means to a %s", o.op)
	}
	table := map[string]providers.Kind{"no_document_lists_this": providers.OutcomeUnknown}
	maps.Copy(table, documented)
	for _, code := range slices.Sorted(maps.Keys(table)) {
		err := s.answered(o, s.h.Answers.Code(code))
		if err := s.typed(err, o.op, table[code]); err != nil {
			return fmt.Errorf("code %s: %w", code, err)
		}
		if e, ok := errors.AsType[*providers.Error](err); ok && e.Code != code {
			return fmt.Errorf("code %s is told as %q", code, e.Code)
		}
		if err := s.once(o); err != nil {
			return fmt.Errorf("code %s: %w", code, err)
		}
	}
	return nil
}

// answered makes a call that gets this reply.
func (s *subject) answered(o operation, r Reply) error {
	ctx, cancel := within()
	defer cancel()
	s.with(o.op, r)
	return o.call(ctx, s.adapter)
}

// once asserts that a call was sent once. A query may be repeated.
func (s *subject) once(o operation) error {
	if sent := len(s.arrived()); sent != 1 && o.op != providers.OpQuery {
		return fmt.Errorf("%d requests, want one", sent)
	}
	return nil
}

// nothingSent: a failed dial is Unavailable, and only that may be sent again.
func (s *subject) nothingSent(o operation) error {
	url, err := nobody()
	if err != nil {
		return err
	}
	alone, client, err := s.adapterAt(url)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := within()
	defer cancel()
	if err := s.typed(o.call(ctx, alone), o.op, providers.Unavailable); err != nil {
		return fmt.Errorf("nobody listens: %w", err)
	}
	return nil
}

// lost: an answer that is none leaves the outcome unknown, and is not asked for again
// where that could move money twice.
func (s *subject) lost(o operation) error {
	for _, bad := range badAnswers() {
		if err := s.typed(s.answered(o, bad.reply), o.op, providers.OutcomeUnknown); err != nil {
			return fmt.Errorf("%s: %w", bad.name, err)
		}
		if err := s.once(o); err != nil {
			return fmt.Errorf("%s: %w", bad.name, err)
		}
	}
	return nil
}

// badAnswer is an answer that is none.
type badAnswer struct {
	name  string
	reply Reply
}

func badAnswers() []badAnswer {
	const page = "<html><body>something of a proxy</body></html>"
	return []badAnswer{
		{"reset", func(w http.ResponseWriter, _ *http.Request, _ []byte) { drop(w) }},
		{"half an answer", raw("HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{\"status\":")},
		{"half of the headers", raw("HTTP/1.1 200 OK\r\nContent-Le")},
		{"empty", body("")},
		{"HTML", body(page)},
		{"half a JSON document", body(`{"status":"paid","returnCode":"00`)},
		{"JSON null", body("null")},
		{"deeply nested", body(strings.Repeat("[", 100_000))},
		{"compressed", compressed},
		{"larger than 1 MiB", body(strings.Repeat(" ", 1<<20+1))},
		{"empty 500", status(500, "")},
		{"HTML 502", status(502, page)},
		{"empty 503", status(503, "")},
		{"HTML 404", status(404, page)},
		{"HTML 401", status(401, page)},
		{"redirect", status(302, "")},
	}
}

// compressed is an answer that nobody asked to be compressed.
func compressed(w http.ResponseWriter, _ *http.Request, _ []byte) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = io.WriteString(z, `{"status":"paid"}`)
	_ = z.Close()
}

func status(code int, text string) Reply {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

func body(text string) Reply {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = io.WriteString(w, text) }
}

// raw writes text to the connection and closes it.
func raw(text string) Reply {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = buf.WriteString(text)
		_ = buf.Flush()
		_ = conn.Close()
	}
}

// queryUnproven: an answer that is not proven to be the provider's is never believed.
func queryUnproven(s *subject) error {
	if auth := s.adapter.Describe().AnswerAuth; auth != providers.AnswerMAC {
		return skipped("answers are not signed")
	}
	if len(s.h.Answers.Signature) == 0 {
		return errors.New("harness: Answers.Signature is required with AnswerMAC")
	}
	spoil := make(map[string]func(*httptest.ResponseRecorder))
	for _, name := range s.h.Answers.Signature {
		spoil["without "+name] = func(a *httptest.ResponseRecorder) { a.Header().Del(name) }
		spoil["with two "+name] = func(a *httptest.ResponseRecorder) { a.Header().Add(name, a.Header().Get(name)) }
		spoil["with another "+name] = another(name)
	}
	spoil["unsigned"] = func(a *httptest.ResponseRecorder) {
		for _, name := range s.h.Answers.Signature {
			a.Header().Del(name)
		}
	}
	spoil["with another status"] = func(a *httptest.ResponseRecorder) { a.Code = http.StatusAccepted }
	spoil["with a changed body"] = func(a *httptest.ResponseRecorder) {
		b := a.Body.Bytes()
		b[len(b)/2] ^= 1
	}
	var earlier *httptest.ResponseRecorder
	spoil["to an earlier question"] = func(a *httptest.ResponseRecorder) { *a = *earlier }
	for _, name := range slices.Sorted(maps.Keys(spoil)) {
		if _, err := s.ask(spoilt(s.h.Answers.Paid, func(a *httptest.ResponseRecorder) { earlier = a })); err != nil {
			return err
		}
		snap, err := s.ask(spoilt(s.h.Answers.Paid, spoil[name]))
		if snap.State != providers.Pending {
			return fmt.Errorf("an answer %s made it %s", name, snap.State)
		}
		if err := s.typed(err, providers.OpQuery, providers.OutcomeUnknown, providers.Untrusted); err != nil {
			return fmt.Errorf("an answer %s: %w", name, err)
		}
	}
	return nil
}

// another changes a header in one place.
func another(name string) func(*httptest.ResponseRecorder) {
	return func(a *httptest.ResponseRecorder) {
		value := []byte(a.Header().Get(name))
		value[len(value)/2] ^= 1
		a.Header().Set(name, string(value))
	}
}

// spoilt records a genuine answer and spoils it before it leaves.
func spoilt(good Reply, spoil func(*httptest.ResponseRecorder)) Reply {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		a := httptest.NewRecorder()
		good(a, r, body)
		spoil(a)
		maps.Copy(w.Header(), a.Header())
		w.Header().Set("Content-Length", strconv.Itoa(a.Body.Len()))
		w.WriteHeader(a.Code)
		_, _ = w.Write(a.Body.Bytes())
	}
}

// cancelled: a context that has ended sends nothing, and one that ends while the
// provider thinks brings the call back.
func (s *subject) cancelled(o operation) error {
	over, cancel := within()
	cancel()
	s.with(o.op, o.good)
	if err := s.typed(o.call(over, s.adapter), o.op, providers.Unavailable); err != nil {
		return fmt.Errorf("context over before the call: %w", err)
	}
	if sent := len(s.arrived()); sent != 0 {
		return fmt.Errorf("context over before the call: %d requests", sent)
	}
	ctx, cancel := within()
	defer cancel()
	return s.hangs(ctx, o, cancel)
}

// hangs lets the provider think for ever once ended has run, and wants the call back.
func (s *subject) hangs(ctx context.Context, o operation, ended func()) error {
	s.with(o.op, func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		ended()
		<-r.Context().Done()
	})
	back := make(chan error, 1)
	go func() { back <- o.call(ctx, s.adapter) }()
	guard := time.NewTimer(limit)
	defer guard.Stop()
	select {
	case err := <-back:
		if err := s.typed(err, o.op, providers.OutcomeUnknown); err != nil {
			return fmt.Errorf("context over during the call: %w", err)
		}
	case <-guard.C:
		return errors.New("the call outlives its context")
	}
	if sent := len(s.arrived()); sent != 1 {
		return fmt.Errorf("context over during the call: %d requests", sent)
	}
	return nil
}

// timeout is a context whose deadline passes when told, not when a busy machine says so.
type timeout struct {
	context.Context
	passed chan struct{}
}

func (t timeout) Done() <-chan struct{} { return t.passed }

func (t timeout) Err() error {
	select {
	case <-t.passed:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// firstLost: when what an operation asks first is not answered, it was not carried out.
func (s *subject) firstLost(o operation) error {
	if _, first := s.h.Before[o.op]; !first || o.op == providers.OpQuery {
		return nil
	}
	for _, bad := range badAnswers() {
		s.with(o.op, o.good)
		s.mu.Lock()
		s.before.Reply = bad.reply
		s.mu.Unlock()
		ctx, cancel := within()
		err := s.typed(o.call(ctx, s.adapter), o.op, providers.Unavailable)
		cancel()
		if err == nil && len(s.arrived()) != 0 {
			err = errors.New("the operation was sent all the same")
		}
		if err != nil {
			return fmt.Errorf("%s to what comes first: %w", bad.name, err)
		}
	}
	return nil
}

// oneSend: whatever happens to a call that may move money or make a payment, it is
// sent once, and it is unknown unless it certainly did not arrive.
func (s *subject) oneSend(o operation) error {
	if err := s.nothingSent(o); err != nil {
		return err
	}
	if err := s.lost(o); err != nil {
		return err
	}
	if err := s.firstLost(o); err != nil {
		return err
	}
	if err := s.forgedAnswers(o); err != nil {
		return err
	}
	base, cancel := within()
	defer cancel()
	late := timeout{base, make(chan struct{})}
	return s.hangs(late, o, func() { close(late.passed) })
}

// forgedAnswers: an answer nobody vouches for is not a clear no.
func (s *subject) forgedAnswers(o operation) error {
	for _, name := range s.h.Answers.Signature {
		err := s.answered(o, spoilt(o.good, another(name)))
		if err := s.typed(err, o.op, providers.OutcomeUnknown); err != nil {
			return fmt.Errorf("another %s: %w", name, err)
		}
	}
	return nil
}

func confirmPaid(s *subject) error {
	c, ok := s.adapter.(providers.Confirmer)
	if !ok {
		return skipped("no Confirmer")
	}
	var snap providers.Snapshot
	err := s.good(providers.OpConfirm, s.h.Answers.Confirm, func(ctx context.Context, ref providers.AttemptRef) (err error) {
		snap, err = c.Confirm(ctx, providers.ConfirmRequest{Attempt: ref})
		return err
	})
	if err != nil {
		return err
	}
	return s.answerBound(snap)
}

// answerBound is bound for an answer to our question, whose bytes nobody else keeps.
func (s *subject) answerBound(snap providers.Snapshot) error {
	if len(snap.Raw) == 0 {
		return errors.New("the answer as it came is not in the snapshot's Raw")
	}
	return s.bound(snap)
}

func refundDone(s *subject) error {
	r, ok := s.adapter.(providers.Refunder)
	if !ok {
		return skipped("no Refunder")
	}
	var result providers.RefundResult
	err := s.good(providers.OpRefund, s.h.Answers.Refund, func(ctx context.Context, ref providers.AttemptRef) (err error) {
		result, err = r.Refund(ctx, refundOf(ref))
		return err
	})
	if err == nil && s.h.Answers.RefundQueued {
		if result.State != providers.RefundPending {
			return fmt.Errorf("the refund was only accepted, the result says %+v", result)
		}
		return nil
	}
	if err == nil && (result.State != providers.RefundDone || result.ProviderRefundNo == "") {
		return fmt.Errorf("the refund was done, the result says %+v", result)
	}
	return err
}

// good makes a call for Order's attempt, which must be sent once.
func (s *subject) good(op providers.Op, reply Reply, call func(context.Context, providers.AttemptRef) error) error {
	ref, err := s.attempt()
	if err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	s.with(op, reply)
	if err := call(ctx, ref); err != nil {
		return err
	}
	if sent := len(s.arrived()); sent != 1 {
		return fmt.Errorf("%d requests, want one", sent)
	}
	return nil
}
