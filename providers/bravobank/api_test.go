package bravobank_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/providers"
)

const (
	queryAnswer  = "bravo-query-answer-v1"
	refundAnswer = "bravo-refund-answer-v1"
)

// documentTable is the first column, or the code column, of a chapter's first table.
func documentTable(t *testing.T, chapter string) []string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/providers/bravobank.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), chapter)
	if !found {
		t.Fatalf("no chapter %s", chapter)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var words []string
	for _, m := range regexp.MustCompile("(?m)^\\|(?: [0-9]+ \\|)? `([a-z_]+)` \\|").FindAllStringSubmatch(rest, -1) {
		words = append(words, m[1])
	}
	return words
}

// documentedCodes is section 9, which query and refund share.
func documentedCodes() map[string]providers.Kind {
	return map[string]providers.Kind{
		"malformed": providers.Invalid, "unknown_key": providers.Auth, "bad_signature": providers.Auth, "stale": providers.Auth,
		"merchant_not_allowed": providers.Auth, "not_found": providers.NotFound, "nonce_reused": providers.OutcomeUnknown,
		"refund_id_reused": providers.Duplicate, "not_refundable": providers.Declined, "refund_exceeds_paid": providers.Declined,
		"refund_window_over": providers.Declined, "rate_limited": providers.RateLimited, "internal": providers.OutcomeUnknown,
		"unavailable": providers.Unavailable,
	}
}

func TestEveryErrorCode(t *testing.T) {
	kinds := documentedCodes()
	listed := documentTable(t, "## 9. Errors")
	if len(listed) != len(kinds) {
		t.Errorf("the document lists %q", listed)
	}
	for _, code := range append(listed, "paid", "not found", "NOT_FOUND") {
		bank := newFakeBank(t, stampTime(), signed(refundAnswer, stampTime(), 400, `{"error":"`+code+`"}`, func(a *answer) { a.headers.Set("Retry-After", "7") }))
		_, err := adapterAt(t, bank.url, stampTime(), &counter{}).Refund(deadline(t, time.Minute), refundOf(t))
		wantKind(t, code, err, kinds[code])
		e, ok := errors.AsType[*providers.Error](err)
		if !ok || e.Code != code || (e.RetryAfter == 7*time.Second) != (code == "rate_limited") {
			t.Errorf("%s: %+v", code, err)
		}
	}
}

func TestQueryAnswersThatDecideNothing(t *testing.T) {
	paid := vectorOf(t, "query-answer-paid").Inputs["body"]
	other := ed25519.NewKeyFromSeed([]byte("another key that is 32 bytes xxx"))
	unsigned := func(status int, body string) func(http.ResponseWriter, seenRequest) {
		return func(w http.ResponseWriter, _ seenRequest) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, c := range []struct {
		name        string
		step        func(http.ResponseWriter, seenRequest)
		kind        providers.Kind // of a query
		refundLabel bool
	}{
		{name: "unsigned not found", step: unsigned(404, `{"error":"not_found"}`), kind: providers.OutcomeUnknown},
		{name: "unsigned paid", step: unsigned(200, paid), kind: providers.OutcomeUnknown},
		{name: "HTML of a proxy", step: unsigned(500, "<html>"), kind: providers.OutcomeUnknown},
		{name: "redirect", step: func(w http.ResponseWriter, _ seenRequest) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		}, kind: providers.OutcomeUnknown},
		{name: "another key", step: signed(queryAnswer, stampTime(), 200, paid, func(a *answer) { a.key = other }), kind: providers.Untrusted},
		{name: "unknown key id", step: signed(queryAnswer, stampTime(), 200, paid, func(a *answer) { a.kid = "bravo-9" }), kind: providers.Untrusted},
		{name: "another nonce", step: signed(queryAnswer, stampTime(), 200, paid, func(a *answer) { a.nonce = "an-earlier-question-1234" }), kind: providers.Untrusted},
		{name: "another path", step: signed(queryAnswer, stampTime(), 200, paid, func(a *answer) { a.path = "/api/v1/refund" }), kind: providers.Untrusted},
		{name: "another status", step: signed(queryAnswer, stampTime(), 200, paid, func(a *answer) { a.status = 404 }), kind: providers.Untrusted},
		{name: "another body", step: signed(queryAnswer, stampTime(), 200, paid, func(a *answer) { a.body = []byte("{}") }), kind: providers.Untrusted},
		{name: "label of a refund", step: signed(refundAnswer, stampTime(), 200, paid), kind: providers.Untrusted},
		{name: "label of a notice", step: signed("bravo-notice-v1", stampTime(), 200, paid), kind: providers.Untrusted},
		{name: "old", step: signed(queryAnswer, stampTime().Add(-301*time.Second), 200, paid), kind: providers.Untrusted},
		{name: "ahead", step: signed(queryAnswer, stampTime().Add(301*time.Second), 200, paid), kind: providers.Untrusted},
		{name: "two signatures", step: signed(queryAnswer, stampTime(), 200, paid, func(a *answer) {
			a.headers["Bravo-Signature"] = []string{strings.Repeat("A", 86), strings.Repeat("A", 86)}
		}), kind: providers.Untrusted},
		{name: "another attempt", step: signed(queryAnswer, stampTime(), 200, strings.ReplaceAll(paid, "201706130000001601", "201706130000001602")), kind: providers.Untrusted},
		{name: "truncated JSON", step: signed(queryAnswer, stampTime(), 200, paid[:40]), kind: providers.OutcomeUnknown},
		{name: "empty", step: signed(queryAnswer, stampTime(), 200, ""), kind: providers.OutcomeUnknown},
		{name: "no refunds field", step: signed(queryAnswer, stampTime(), 200, vectorOf(t, "notice-paid").Inputs["body"]), kind: providers.OutcomeUnknown},
		{name: "refunds null", step: signed(queryAnswer, stampTime(), 200, regexp.MustCompile(`\[.*\]`).ReplaceAllString(paid, "null")), kind: providers.OutcomeUnknown},
		{name: "refund with an extra field", step: signed(queryAnswer, stampTime(), 200, strings.Replace(paid, `"refund_no"`, `"x":"","refund_no"`, 1)), kind: providers.OutcomeUnknown},
		{name: "error that is no object", step: signed(queryAnswer, stampTime(), 404, `"not_found"`), kind: providers.OutcomeUnknown},
		{name: "error with more", step: signed(queryAnswer, stampTime(), 404, `{"error":"not_found","status":"paid"}`), kind: providers.OutcomeUnknown},
		{name: "too large", step: unsigned(200, strings.Repeat(" ", 1<<20+1)), kind: providers.OutcomeUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			bank := newFakeBank(t, stampTime(), c.step)
			a := adapterAt(t, bank.url, stampTime(), &counter{})
			_, err := a.Query(deadline(t, time.Minute), attempt(t))
			wantKind(t, "query", err, c.kind)
			// For money that may have moved the same answers mean only: unknown.
			_, err = a.Refund(deadline(t, time.Minute), refundOf(t))
			wantKind(t, "refund", err, providers.OutcomeUnknown)
		})
	}
}

func TestQueryUnknownWordsArePending(t *testing.T) {
	paid := vectorOf(t, "query-answer-paid").Inputs["body"]
	for name, body := range map[string]string{
		"status":        strings.Replace(paid, `"status":"paid"`, `"status":"reversed"`, 1),
		"refund status": strings.Replace(paid, `"status":"done"`, `"status":"bounced"`, 1),
	} {
		bank := newFakeBank(t, stampTime(), signed(queryAnswer, stampTime(), 200, body))
		s, err := adapterAt(t, bank.url, stampTime(), &counter{}).Query(deadline(t, time.Minute), attempt(t))
		if err != nil || s.Unmapped == "" {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
		if name == "status" && s.State != providers.Pending || name == "refund status" && s.Refunds[0].State != providers.RefundPending {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// A lost question is asked again, and each time it is a new message.
func TestQuerySignsEachSendAnew(t *testing.T) {
	bank := newFakeBank(t, stampTime(), cut, signed(queryAnswer, stampTime(), 200, vectorOf(t, "query-answer-paid").Inputs["body"]))
	s, err := adapterAt(t, bank.url, stampTime(), &counter{}).Query(deadline(t, time.Minute), attempt(t))
	if err != nil || s.State != providers.Paid {
		t.Fatal(s, err)
	}
	seen := bank.requests()
	if len(seen) != 2 || seen[0].header.Get("Bravo-Nonce") == seen[1].header.Get("Bravo-Nonce") ||
		seen[0].header.Get("Bravo-Signature") == seen[1].header.Get("Bravo-Signature") {
		t.Errorf("sent %+v", seen)
	}
}

func TestNothingSent(t *testing.T) {
	a := adapter(t) // nobody listens at port 1
	_, err := a.Query(deadline(t, time.Minute), attempt(t))
	wantKind(t, "query", err, providers.Unavailable)
	_, err = a.Refund(deadline(t, time.Minute), refundOf(t))
	wantKind(t, "refund", err, providers.Unavailable)
	_, err = a.Refund(context.Background(), refundOf(t))
	wantKind(t, "refund without a deadline", err, providers.Unavailable)
	a = adapterAt(t, "http://127.0.0.1:1", stampTime(), strings.NewReader("short"))
	_, err = a.Refund(deadline(t, time.Minute), refundOf(t))
	wantKind(t, "refund without randomness", err, providers.Unavailable)
	_, err = a.Query(deadline(t, time.Minute), attempt(t))
	wantKind(t, "query without randomness", err, providers.Unavailable)
}

func TestRefundIsSentOnce(t *testing.T) {
	for name, step := range map[string]func(http.ResponseWriter, seenRequest){
		"connection cut": cut,
		"hangs":          nil,
		"503 unsigned":   func(w http.ResponseWriter, _ seenRequest) { w.WriteHeader(503) },
		"half an answer": func(w http.ResponseWriter, _ seenRequest) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			bank := newFakeBank(t, stampTime(), step)
			ctx := deadline(t, time.Minute)
			if name == "hangs" {
				cancelled, cancel := context.WithCancel(ctx)
				ctx = cancelled
				bank.steps[0] = func(_ http.ResponseWriter, r seenRequest) { cancel(); <-r.gone }
			}
			_, err := adapterAt(t, bank.url, stampTime(), &counter{}).Refund(ctx, refundOf(t))
			wantKind(t, name, err, providers.OutcomeUnknown)
			if n := len(bank.requests()); n != 1 {
				t.Errorf("%d sends", n)
			}
		})
	}
}

func TestRefundAnswerAboutAnotherRefund(t *testing.T) {
	good := vectorOf(t, "refund-answer-done").Inputs["body"]
	for name, body := range map[string]string{
		"attempt":   strings.Replace(good, "201706130000001601", "201706130000001602", 1),
		"refund id": strings.Replace(good, `"R-1"`, `"R-2"`, 1),
		"amount":    strings.Replace(good, `"amount":"20"`, `"amount":"21"`, 1),
		"currency":  strings.Replace(good, "TWD", "USD", 1),
		"no number": strings.Replace(good, "RF2017061300000001", "", 1),
	} {
		bank := newFakeBank(t, stampTime(), signed(refundAnswer, stampTime(), 200, body))
		_, err := adapterAt(t, bank.url, stampTime(), &counter{}).Refund(deadline(t, time.Minute), refundOf(t))
		wantKind(t, name, err, providers.OutcomeUnknown)
	}
	for status, want := range map[string]providers.RefundState{"done": providers.RefundDone, "pending": providers.RefundPending, "failed": providers.RefundFailed, "maybe": providers.RefundPending} {
		bank := newFakeBank(t, stampTime(), signed(refundAnswer, stampTime(), 200, strings.Replace(good, `"done"`, strconv.Quote(status), 1)))
		got, err := adapterAt(t, bank.url, stampTime(), &counter{}).Refund(deadline(t, time.Minute), refundOf(t))
		if err != nil || got.State != want {
			t.Errorf("%s: %+v, %v", status, got, err)
		}
	}
}
