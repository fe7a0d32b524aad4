package providertest

import (
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
		{"query/paid-is-bindable", queryPaid},
		{"query/unknown-state", queryUnknown},
		{"query/codes", queryCodes},
		{"query/nothing-sent", queryNothingSent},
		{"query/lost-or-unreadable", queryLost},
		{"query/unproven-answer", queryUnproven},
		{"query/cancelled", queryCancelled},
	}
}

func moneyChecks() []check {
	return []check{
		{"confirm/paid-is-bindable", confirmPaid},
		{"confirm/one-send", powered((*subject).confirm, (*subject).oneSend)},
		{"confirm/cancelled", powered((*subject).confirm, (*subject).cancelled)},
		{"refund/done", refundDone},
		{"refund/one-send", powered((*subject).refund, (*subject).oneSend)},
		{"refund/cancelled", powered((*subject).refund, (*subject).cancelled)},
	}
}

func powered(power func(*subject, providers.AttemptRef) (operation, bool), run func(*subject, operation) error) func(*subject) error {
	return func(s *subject) error {
		ref, err := s.attempt()
		if err != nil {
			return err
		}
		o, able := power(s, ref)
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
	s.with(reply)
	return s.adapter.Query(ctx, ref)
}

func queryPaid(s *subject) error {
	snap, err := s.ask(s.h.Answers.Paid)
	if err != nil {
		return err
	}
	return s.bound(snap)
}

func queryUnknown(s *subject) error {
	snap, err := s.ask(s.h.Answers.Unknown)
	if err != nil {
		return err
	}
	return undecided(snap)
}

func queryCodes(s *subject) error {
	if s.h.Answers.Code == nil {
		return skipped("the provider has no error codes")
	}
	table := maps.Clone(s.h.Answers.Codes)
	const invented = "no_document_lists_this"
	if table == nil {
		table = make(map[string]providers.Kind)
	}
	table[invented] = providers.OutcomeUnknown
	for _, code := range slices.Sorted(maps.Keys(table)) {
		snap, err := s.ask(s.h.Answers.Code(code))
		if err := s.typed(err, providers.OpQuery, table[code]); err != nil {
			return fmt.Errorf("code %s: %w", code, err)
		}
		var e *providers.Error
		if errors.As(err, &e) && e.Code != code {
			return fmt.Errorf("code %s is told as %q", code, e.Code)
		}
		if snap.State != providers.Pending {
			return fmt.Errorf("code %s: an error came with state %s", code, snap.State)
		}
	}
	return nil
}

func queryNothingSent(s *subject) error {
	ref, err := s.attempt()
	if err != nil {
		return err
	}
	return s.nothingSent(s.query(ref))
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

func queryLost(s *subject) error {
	for _, bad := range badAnswers() {
		snap, err := s.ask(bad.reply)
		if err := s.typed(err, providers.OpQuery, providers.OutcomeUnknown); err != nil {
			return fmt.Errorf("%s: %w", bad.name, err)
		}
		if snap.State != providers.Pending {
			return fmt.Errorf("%s: state %s", bad.name, snap.State)
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
		{"larger than 1 MiB", body(strings.Repeat(" ", 1<<20+1))},
		{"empty 500", status(500, "")},
		{"HTML 502", status(502, page)},
		{"empty 503", status(503, "")},
		{"HTML 404", status(404, page)},
		{"HTML 401", status(401, page)},
		{"redirect", status(302, "")},
	}
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
		spoil["with another "+name] = func(a *httptest.ResponseRecorder) {
			value := []byte(a.Header().Get(name))
			value[len(value)/2] ^= 1
			a.Header().Set(name, string(value))
		}
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

func queryCancelled(s *subject) error {
	ref, err := s.attempt()
	if err != nil {
		return err
	}
	return s.cancelled(s.query(ref))
}

// cancelled: a context that has ended sends nothing, and one that ends while the
// provider thinks brings the call back.
func (s *subject) cancelled(o operation) error {
	over, cancel := within()
	cancel()
	s.with(o.good)
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
	s.with(func(_ http.ResponseWriter, r *http.Request, _ []byte) {
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

// oneSend: whatever happens to a call that may move money or make a payment, it is
// sent once, and it is unknown unless it certainly did not arrive.
func (s *subject) oneSend(o operation) error {
	if err := s.nothingSent(o); err != nil {
		return err
	}
	for _, bad := range badAnswers() {
		ctx, cancel := within()
		s.with(bad.reply)
		err := o.call(ctx, s.adapter)
		cancel()
		if err := s.typed(err, o.op, providers.OutcomeUnknown); err != nil {
			return fmt.Errorf("%s: %w", bad.name, err)
		}
		if sent := len(s.arrived()); sent != 1 {
			return fmt.Errorf("%s: %d requests, want one", bad.name, sent)
		}
	}
	if s.h.Answers.Code != nil {
		ctx, cancel := within()
		defer cancel()
		s.with(s.h.Answers.Code("no_document_lists_this"))
		if err := s.typed(o.call(ctx, s.adapter), o.op, providers.OutcomeUnknown); err != nil {
			return fmt.Errorf("a code that is not listed: %w", err)
		}
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
		ctx, cancel := within()
		s.with(spoilt(o.good, func(a *httptest.ResponseRecorder) {
			value := []byte(a.Header().Get(name))
			value[len(value)/2] ^= 1
			a.Header().Set(name, string(value))
		}))
		err := o.call(ctx, s.adapter)
		cancel()
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
	ref, err := s.attempt()
	if err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	s.with(s.h.Answers.Confirm)
	snap, err := c.Confirm(ctx, providers.ConfirmRequest{Attempt: ref})
	if err != nil {
		return err
	}
	if sent := len(s.arrived()); sent != 1 {
		return fmt.Errorf("%d requests, want one", sent)
	}
	return s.bound(snap)
}

func refundDone(s *subject) error {
	r, ok := s.adapter.(providers.Refunder)
	if !ok {
		return skipped("no Refunder")
	}
	ref, err := s.attempt()
	if err != nil {
		return err
	}
	ctx, cancel := within()
	defer cancel()
	s.with(s.h.Answers.Refund)
	result, err := r.Refund(ctx, refundOf(ref))
	if err != nil {
		return err
	}
	if sent := len(s.arrived()); sent != 1 || result.State != providers.RefundDone || result.ProviderRefundNo == "" {
		return fmt.Errorf("%d requests, result %+v", sent, result)
	}
	return nil
}
