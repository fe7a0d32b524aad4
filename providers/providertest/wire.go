package providertest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/signing"
)

// Message is what the twin says of a payment, in notices and answers. A Step or a
// test may change any of it before it is signed.
type Message struct {
	AttemptNo   string        `json:"attempt_no"`
	Environment string        `json:"environment"`
	Payee       string        `json:"payee"`
	State       string        `json:"state"` // one of the words below, or anything else
	Amount      string        `json:"amount"`
	Currency    string        `json:"currency"`
	TradeNo     string        `json:"trade_no"`
	PaidAt      string        `json:"paid_at"` // RFC 3339; empty unless paid
	Refunds     []RefundEntry `json:"refunds"`
	Code        string        `json:"code"` // of an error; empty in a good answer
}

// RefundEntry is one refund in the twin's books.
type RefundEntry struct {
	RefundID string `json:"refund_id"`
	No       string `json:"no"`
	Amount   string `json:"amount"`
	State    string `json:"state"` // done, failed or pending
}

// The twin's words for the state of a payment.
const (
	StateCreated    = "created"
	StateAuthorised = "authorised" // money moves when we confirm
	StatePaid       = "paid"
	StateFailed     = "failed"
	StateCancelled  = "cancelled"
	StateExpired    = "expired"
)

// order is what the adapter asks for, in a create call or in a form.
type order struct {
	AttemptNo   string `json:"attempt_no"`
	Payee       string `json:"payee"`
	Payer       string `json:"payer"`
	Amount      string `json:"amount"`
	Currency    string `json:"currency"`
	ReturnURL   string `json:"return_url"`
	CallbackURL string `json:"callback_url"`
}

// request is the body of query, confirm and refund.
type request struct {
	AttemptNo string `json:"attempt_no"`
	RefundID  string `json:"refund_id,omitempty"`
	Amount    string `json:"amount,omitempty"`
}

const (
	headerTime      = "Scripted-Timestamp"
	headerNonce     = "Scripted-Nonce"
	headerSignature = "Scripted-Signature"

	tolerance = 5 * time.Minute
)

func orderText(encoded string) signing.Text {
	return signing.Text("scripted-order-v1\n" + encoded)
}

// sentText is what is signed of a call (what is an operation) or of a notice.
func sentText(what, timestamp, nonce, path string, body []byte) signing.Text {
	return append(signing.Text("scripted-"+what+"-v1\n"+timestamp+"\n"+nonce+"\n"+path+"\n"), body...)
}

// answerText binds an answer to the nonce of its call.
func answerText(op providers.Op, nonce string, status int, body []byte) signing.Text {
	return append(signing.Text("scripted-"+string(op)+"-answer-v1\n"+nonce+"\n"+strconv.Itoa(status)+"\n"), body...)
}

// codec signs and verifies with the secret that adapter and twin share.
type codec struct{ keys *signing.HMACKeys }

func newCodec(secret signing.Secret) (codec, error) {
	keys, err := signing.NewHMACKeys([]signing.HMACKey{{ID: "scripted", Secret: secret}})
	return codec{keys}, err
}

func (c codec) tag(t signing.Text) string {
	_, tag := c.keys.Sign(t)
	return hex.EncodeToString(tag)
}

func (c codec) verify(t signing.Text, tag string, now time.Time) error {
	raw, err := hex.DecodeString(tag)
	if err != nil || hex.EncodeToString(raw) != tag {
		return signing.ErrMalformed
	}
	_, err = c.keys.VerifyAny(t, raw, now)
	return err
}

// seal signs a call or a notice into its headers.
func (c codec) seal(what, nonce, path string, body []byte, now time.Time) http.Header {
	stamp := strconv.FormatInt(now.Unix(), 10)
	h := make(http.Header)
	h.Set("Content-Type", "application/json")
	h.Set(headerTime, stamp)
	h.Set(headerNonce, nonce)
	h.Set(headerSignature, c.tag(sentText(what, stamp, nonce, path, body)))
	return h
}

// open verifies what seal made.
func (c codec) open(what, path string, h http.Header, body []byte, now time.Time) (nonce string, at time.Time, err error) {
	for _, name := range []string{headerTime, headerNonce, headerSignature} {
		if values := h.Values(name); len(values) != 1 || values[0] == "" {
			return "", time.Time{}, fmt.Errorf("header %s must come once", name)
		}
	}
	stamp := h.Get(headerTime)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return "", time.Time{}, signing.ErrMalformed
	}
	at, nonce = time.Unix(seconds, 0), h.Get(headerNonce)
	if at.Before(now.Add(-tolerance)) || at.After(now.Add(tolerance)) {
		return "", time.Time{}, signing.ErrStale
	}
	return nonce, at, c.verify(sentText(what, stamp, nonce, path, body), h.Get(headerSignature), now)
}

// unmarshal reads one JSON document without unknown fields and with nothing behind it.
func unmarshal(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil || d.More() {
		return errors.New("not the JSON that was agreed on") // the decoder's error quotes the body
	}
	return nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (m Message) snapshot() (providers.Snapshot, error) {
	s := providers.Snapshot{MerchantRef: m.Payee, Environment: providers.Environment(m.Environment), RefundsComplete: true}
	if m.AttemptNo == "" || m.Payee == "" || m.Environment == "" {
		return s, errors.New("attempt, payee or environment is missing")
	}
	if m.Amount != "" {
		amount, err := parse(m.Amount, m.Currency)
		if err != nil {
			return s, err
		}
		s.Amount = &amount
	}
	switch m.State {
	case StateCreated:
	case StateAuthorised:
		s.Next = providers.NextConfirm
	case StatePaid:
		at, err := time.Parse(time.RFC3339, m.PaidAt)
		if err != nil || m.TradeNo == "" {
			return s, errors.New("paid, but paid_at or trade_no cannot be read")
		}
		s.State, s.PaidAt, s.ProviderTradeNo, s.Method = providers.Paid, at, m.TradeNo, method
	case StateFailed:
		s.State = providers.Failed
	case StateCancelled:
		s.State = providers.Cancelled
	case StateExpired:
		s.State = providers.Expired
	default:
		s.Unmapped = m.State
		if s.Unmapped == "" {
			s.Unmapped = "(empty)"
		}
	}
	for _, r := range m.Refunds {
		amount, err := parse(r.Amount, m.Currency)
		if err != nil {
			return s, err
		}
		s.Refunds = append(s.Refunds, providers.RefundFact{RefundID: r.RefundID, ProviderRefundNo: r.No, Amount: amount, State: refundState(r.State)})
	}
	return s, nil
}

func refundState(word string) providers.RefundState {
	switch word {
	case "done":
		return providers.RefundDone
	case "failed":
		return providers.RefundFailed
	}
	return providers.RefundPending
}

// parse reads an amount. One in a foreign currency is the zero Amount, which equals
// nothing that anyone asked for.
func parse(value, code string) (money.Amount, error) {
	if c, err := money.ParseCurrency(code); err == nil {
		return money.Parse(value, c)
	}
	return money.Amount{}, nil
}
