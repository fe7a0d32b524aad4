package bravobank

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/sandbox/internal/desk"
	"pay.taipei/gateway/signing"
)

const (
	tolerance    = 300 * time.Second
	refundWindow = 180 * 24 * time.Hour
)

var (
	nonceForm     = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
	timestampForm = regexp.MustCompile(`^[1-9][0-9]{0,10}$`)
	refundForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// reply is the answer to an API call; drop means that the connection closes instead.
type reply struct {
	status int
	body   any
	drop   bool
}

type errorBody struct {
	Error string `json:"error"`
}

func refuse(status int, code string) reply { return reply{status: status, body: errorBody{code}} }

// message serves one kind of API call: verify, do, sign the answer (sections 7 to 9).
func (b *Bank) message(label string, do func(body []byte, now time.Time) reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		if b.current().Hang {
			<-r.Context().Done()
			desk.Drop(w)
			return
		}
		answer := refuse(http.StatusBadRequest, "malformed")
		switch {
		case b.current().Closed:
			answer = refuse(http.StatusServiceUnavailable, "unavailable")
		case b.current().Throttled:
			answer = refuse(http.StatusTooManyRequests, "rate_limited")
		case err == nil:
			if refusal, ok := b.verify(r, label+"-v1", body); !ok {
				answer = refusal
			} else {
				answer = do(body, b.d.Now())
			}
		}
		if answer.drop {
			desk.Drop(w)
			return
		}
		b.answer(w, r, label+"-answer-v1", answer)
	}
}

func (b *Bank) verify(r *http.Request, label string, body []byte) (refusal reply, ok bool) {
	for _, name := range []string{"Bravo-Kid", "Bravo-Timestamp", "Bravo-Nonce", "Bravo-Signature"} {
		if len(r.Header.Values(name)) != 1 {
			return refuse(http.StatusBadRequest, "malformed"), false
		}
	}
	kid, timestamp, nonce := r.Header.Get("Bravo-Kid"), r.Header.Get("Bravo-Timestamp"), r.Header.Get("Bravo-Nonce")
	sig, err := base64.RawURLEncoding.Strict().DecodeString(r.Header.Get("Bravo-Signature"))
	if err != nil || r.URL.RawQuery != "" || !timestampForm.MatchString(timestamp) || !nonceForm.MatchString(nonce) {
		return refuse(http.StatusBadRequest, "malformed"), false
	}
	head := label + "\n" + kid + "\n" + timestamp + "\n" + nonce + "\n" + r.URL.EscapedPath() + "\n"
	now := b.d.Now()
	switch err := b.c.OrderKeys.Verify(kid, append(signing.Text(head), body...), sig, now); {
	case errors.Is(err, signing.ErrMismatch):
		return refuse(http.StatusUnauthorized, "bad_signature"), false
	case err != nil:
		return refuse(http.StatusUnauthorized, "unknown_key"), false
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	at := time.Unix(seconds, 0)
	if err != nil || at.Before(now.Add(-tolerance)) || at.After(now.Add(tolerance)) {
		return refuse(http.StatusUnauthorized, "stale"), false
	}
	return b.remember(kid+" "+nonce, now)
}

// remember refuses a nonce that was seen while its timestamp could still be good.
func (b *Bank) remember(nonce string, now time.Time) (refusal reply, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, seen := b.nonces[nonce]; seen {
		return refuse(http.StatusConflict, "nonce_reused"), false
	}
	if len(b.nonces) >= maxNonces {
		for old, at := range b.nonces {
			if now.Sub(at) > 2*tolerance {
				delete(b.nonces, old)
			}
		}
	}
	if len(b.nonces) >= maxNonces {
		return refuse(http.StatusTooManyRequests, "rate_limited"), false
	}
	b.nonces[nonce] = now
	return reply{}, true
}

func (b *Bank) answer(w http.ResponseWriter, r *http.Request, label string, a reply) {
	body, err := json.Marshal(a.body)
	if err != nil {
		a.status, body = http.StatusInternalServerError, []byte(`{"error":"internal"}`)
	}
	nonce := ""
	if values := r.Header.Values("Bravo-Nonce"); len(values) == 1 {
		nonce = values[0]
	}
	kid, timestamp := b.c.Key.KeyID(), strconv.FormatInt(b.d.Now().Unix(), 10)
	head := label + "\n" + kid + "\n" + timestamp + "\n" + nonce + "\n" + r.URL.EscapedPath() + "\n" + strconv.Itoa(a.status) + "\n"
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Bravo-Kid", kid)
	w.Header().Set("Bravo-Timestamp", timestamp)
	w.Header().Set("Bravo-Signature", base64.RawURLEncoding.EncodeToString(b.c.Key.Sign(append(signing.Text(head), body...))))
	if a.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "60")
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // the client may have gone
}

// find is the payment of a payee's. The caller holds the lock.
func (b *Bank) find(attemptNo, payee string) (*payment, reply) {
	if _, known := b.c.Merchants[payee]; !known {
		return nil, refuse(http.StatusForbidden, "merchant_not_allowed")
	}
	p, known := b.payments[attemptNo]
	if !known || p.Payee != payee {
		return nil, refuse(http.StatusNotFound, "not_found")
	}
	return p, reply{}
}

func (b *Bank) query(body []byte, now time.Time) reply {
	var q struct {
		AttemptNo string `json:"attempt_no"`
		Payee     string `json:"payee_member_id"`
	}
	if decode(body, &q) != nil {
		return refuse(http.StatusBadRequest, "malformed")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p, refusal := b.find(q.AttemptNo, q.Payee)
	if p == nil {
		return refusal
	}
	return reply{status: http.StatusOK, body: struct {
		statement
		Refunds []refund `json:"refunds"`
	}{b.state(p, p.status(now)), append([]refund{}, p.refunds...)}}
}

func (b *Bank) refund(body []byte, now time.Time) reply {
	var q struct {
		AttemptNo string `json:"attempt_no"`
		Payee     string `json:"payee_member_id"`
		ID        string `json:"refund_id"`
		Amount    string `json:"amount"`
		Currency  string `json:"currency"`
		Reason    string `json:"reason"`
	}
	amount, err := money.Amount{}, decode(body, &q)
	if err == nil {
		amount, err = money.Parse(q.Amount, money.Currency(q.Currency))
	}
	if err != nil || amount.IsZero() || !refundForm.MatchString(q.ID) || utf8.RuneCountInString(q.Reason) > 200 {
		return refuse(http.StatusBadRequest, "malformed")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p, refusal := b.find(q.AttemptNo, q.Payee)
	if p == nil {
		return refusal
	}
	r, refusal := b.payBack(p, q.ID, amount, now)
	if r == nil {
		return refusal
	}
	return reply{status: http.StatusOK, drop: b.current().AnswerDropped, body: struct {
		AttemptNo string `json:"attempt_no"`
		ID        string `json:"refund_id"`
		No        string `json:"refund_no"`
		Amount    string `json:"amount"`
		Currency  string `json:"currency"`
		Status    string `json:"status"`
	}{p.AttemptNo, r.ID, r.No, r.Amount, p.Currency, r.Status}}
}

// payBack carries out a refund, once for each refund id.
func (b *Bank) payBack(p *payment, id string, amount money.Amount, now time.Time) (*refund, reply) {
	for i, r := range p.refunds {
		if r.ID != id {
			continue
		}
		if r.units != amount.Units() {
			return nil, refuse(http.StatusConflict, "refund_id_reused")
		}
		return &p.refunds[i], reply{}
	}
	switch {
	case p.state != "paid":
		return nil, refuse(http.StatusUnprocessableEntity, "not_refundable")
	case now.Sub(p.paidAt) > refundWindow:
		return nil, refuse(http.StatusUnprocessableEntity, "refund_window_over")
	case p.refunded()+amount.Units() > p.total.Units():
		return nil, refuse(http.StatusUnprocessableEntity, "refund_exceeds_paid")
	}
	b.trades++
	p.refunds = append(p.refunds, refund{ID: id, No: b.number("RF", b.trades, now), Amount: amount.Value(), Status: "done", units: amount.Units()})
	return &p.refunds[len(p.refunds)-1], reply{}
}
