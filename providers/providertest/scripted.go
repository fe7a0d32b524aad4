package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/signing"
)

// ScriptedName is the adapter name of a Scripted whose Config gives none.
const ScriptedName = "scripted"

const (
	method        = "stored_value"
	longestNumber = 20
)

var (
	_ providers.Provider        = (*Scripted)(nil)
	_ providers.CallbackDecoder = (*Scripted)(nil)
	_ providers.Confirmer       = (*Scripted)(nil)
	_ providers.Refunder        = (*Scripted)(nil)
)

// Config describes a provider that does not exist. URL and Secret are required.
type Config struct {
	Name   string // empty: ScriptedName
	URL    string // of the twin: scheme://host:port
	Secret signing.Secret

	// FormPost makes Create sign a form and call nobody; otherwise it makes one call.
	FormPost     bool
	RedirectLife time.Duration
	Reopen       providers.Reopen
	// Patience is told in the descriptor; the zero value is 30 s, 1 min, 30 s, not found is final.
	Patience providers.Patience
}

// Deps are the collaborators of a Scripted. Both are required.
type Deps struct {
	HTTP *httpx.Client // leads to the twin
	Now  func() time.Time
}

// Scripted is an adapter with every power, for tests of what lies above adapters; a
// Twin is its other side. It sends each call exactly once. It is safe for concurrent use.
type Scripted struct {
	config Config
	origin string
	codec  codec
	deps   Deps
	calls  atomic.Uint64 // numbers the nonces
}

// NewScripted makes an adapter and connects to nothing.
func NewScripted(c Config, d Deps) (*Scripted, error) {
	if d.HTTP == nil || d.Now == nil {
		return nil, errors.New("providertest: a scripted adapter needs an HTTP client and a clock")
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Host == "" || u.Path != "" {
		return nil, errors.New("providertest: url must be scheme://host:port of a twin")
	}
	codec, err := newCodec(c.Secret)
	if err != nil {
		return nil, fmt.Errorf("providertest: secret: %w", err)
	}
	if c.Name == "" {
		c.Name = ScriptedName
	}
	if c.Patience == (providers.Patience{}) {
		c.Patience = providers.Patience{FirstQuery: 30 * time.Second, Spacing: time.Minute, Grace: 30 * time.Second, NotFoundFinal: true}
	}
	return &Scripted{config: c, origin: c.URL, codec: codec, deps: d}, nil
}

// Settings is a Scripted's block in an account's configuration, for a test that runs
// the gateway in a process of its own.
type Settings struct {
	URL      string `yaml:"url"`
	Secret   Text   `yaml:"secret"`
	FormPost bool   `yaml:"form_post"`

	Gap time.Duration `yaml:"gap"` // between two queries
}

// Text is a secret that can be read from configuration but not printed.
type Text struct{ signing.Secret }

// UnmarshalText keeps the text as the secret's bytes.
func (s *Text) UnmarshalText(text []byte) error {
	s.Secret = signing.NewSecret(text)
	return nil
}

// Target is the origin that Deps.HTTP must lead to.
func (s *Settings) Target() string { return s.URL }

// Open makes an adapter from configuration. decode fills a *Settings.
func Open(decode func(settings any) error, d Deps) (*Scripted, error) {
	var s Settings
	if err := decode(&s); err != nil {
		return nil, err
	}
	a, err := NewScripted(Config{URL: s.URL, Secret: s.Secret.Secret, FormPost: s.FormPost}, d)
	if err == nil {
		a.config.Patience.Gap = s.Gap
	}
	return a, err
}

// Describe tells what Config says.
func (s *Scripted) Describe() providers.Descriptor {
	d := providers.Descriptor{
		Name: s.config.Name, NameZH: "劇本支付", NameEN: "Scripted Pay",
		Methods:    []providers.Method{{Code: method, NameZH: "儲值餘額", NameEN: "Stored value"}},
		Currency:   money.TWD,
		Number:     providers.NumberRule{MaxLength: longestNumber, Alphabet: "0-9A-Z"},
		AmountUnit: "whole New Taiwan dollars (this package)",
		PayeeField: "payee", PayerField: "payer",
		ServerCreate: !s.config.FormPost, RedirectLife: s.config.RedirectLife, Reopen: s.config.Reopen,
		AnswerAuth: providers.AnswerMAC, Patience: s.config.Patience,
		Outcomes: providers.Outcomes{
			Paid: providers.Text{ZH: "付款成功。", EN: "Paid."}, Failed: providers.Text{ZH: "付款失敗。", EN: "Declined."},
			Cancelled: providers.Text{ZH: "已取消。", EN: "Cancelled."}, Expired: providers.Text{ZH: "已逾時。", EN: "Expired."},
		},
		Docs: []providers.DocLink{{Title: "Package providertest", URL: "providers/providertest"}},
	}
	if s.config.FormPost {
		d.FormOrigins = []string{s.origin}
	}
	return d
}

// Create signs a form, or makes one call and leads to the twin's checkout page.
func (s *Scripted) Create(ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
	if len(req.AttemptNo) > longestNumber {
		return providers.Created{}, s.failed(providers.OpCreate, providers.Invalid, errors.New("attempt number: want at most 20 characters"))
	}
	body, err := json.Marshal(order{
		AttemptNo: req.AttemptNo, Payee: req.Merchant.PayeeMemberID, Payer: req.PayerMemberID,
		Amount: req.Total.Value(), Currency: string(req.Total.Currency()), ReturnURL: req.ReturnURL, CallbackURL: req.CallbackURL,
	})
	if err != nil {
		return providers.Created{}, s.failed(providers.OpCreate, providers.Invalid, err)
	}
	var until time.Time
	if s.config.RedirectLife > 0 {
		until = s.deps.Now().Add(s.config.RedirectLife)
	}
	if s.config.FormPost {
		text := encode(body)
		form := map[string]string{"order": text, "sig": s.codec.tag(orderText(text))}
		return providers.Created{Redirect: providers.Redirect{Method: "POST", URL: s.origin + "/order", Fields: form}, ValidUntil: until}, nil
	}
	m, _, failure := s.call(ctx, providers.OpCreate, body)
	if failure != nil {
		return providers.Created{}, failure
	}
	if m.AttemptNo != req.AttemptNo {
		return providers.Created{}, s.failed(providers.OpCreate, providers.OutcomeUnknown, errors.New("the answer is about another attempt"))
	}
	return providers.Created{
		Redirect: providers.Redirect{Method: "GET", URL: s.origin + "/checkout/" + url.PathEscape(req.AttemptNo)},
		Refs:     map[string]string{"trade_no": m.TradeNo}, ValidUntil: until,
	}, nil
}

// Query asks the twin once.
func (s *Scripted) Query(ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
	return s.ask(ctx, providers.OpQuery, ref)
}

// Confirm moves the money, with one send.
func (s *Scripted) Confirm(ctx context.Context, req providers.ConfirmRequest) (providers.Snapshot, error) {
	return s.ask(ctx, providers.OpConfirm, req.Attempt)
}

func (s *Scripted) ask(ctx context.Context, op providers.Op, ref providers.AttemptRef) (providers.Snapshot, error) {
	body, err := json.Marshal(request{AttemptNo: ref.AttemptNo})
	if err != nil {
		return providers.Snapshot{}, s.failed(op, providers.Invalid, err)
	}
	m, raw, failure := s.call(ctx, op, body)
	if failure != nil {
		return providers.Snapshot{}, failure
	}
	snapshot, err := m.snapshot()
	if err != nil {
		return providers.Snapshot{}, s.failed(op, providers.OutcomeUnknown, err)
	}
	if m.AttemptNo != ref.AttemptNo {
		return providers.Snapshot{}, s.failed(op, distrust(op), errors.New("the answer is about another attempt"))
	}
	snapshot.Raw = raw
	return snapshot, nil
}

// Refund pays back, with one send.
func (s *Scripted) Refund(ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
	body, err := json.Marshal(request{AttemptNo: req.Attempt.AttemptNo, RefundID: req.RefundID, Amount: req.Amount.Value()})
	if err != nil {
		return providers.RefundResult{}, s.failed(providers.OpRefund, providers.Invalid, err)
	}
	m, _, failure := s.call(ctx, providers.OpRefund, body)
	if failure != nil {
		return providers.RefundResult{}, failure
	}
	for _, r := range m.Refunds {
		if m.AttemptNo == req.Attempt.AttemptNo && r.RefundID == req.RefundID && r.Amount == req.Amount.Value() {
			return providers.RefundResult{ProviderRefundNo: r.No, State: refundState(r.State)}, nil
		}
	}
	return providers.RefundResult{}, s.failed(providers.OpRefund, providers.OutcomeUnknown, errors.New("the answer is about another refund"))
}

// call sends once and gives the signed answer, also as it came.
func (s *Scripted) call(ctx context.Context, op providers.Op, body []byte) (Message, []byte, *providers.Error) {
	path, nonce := "/api/"+string(op), "call-"+strconv.FormatUint(s.calls.Add(1), 10)
	resp, err := s.deps.HTTP.Send(ctx, httpx.Request{
		Method: http.MethodPost, Path: path, Header: s.codec.seal(string(op), nonce, path, body, s.deps.Now()), Body: body,
	})
	switch {
	case httpx.NotSent(err):
		return Message{}, nil, s.failed(op, providers.Unavailable, err)
	case err != nil:
		return Message{}, nil, s.failed(op, providers.OutcomeUnknown, err)
	}
	signature := resp.Header.Values(headerSignature)
	if len(signature) == 0 {
		return Message{}, nil, s.failed(op, providers.OutcomeUnknown, fmt.Errorf("an unsigned answer with status %d", resp.Status))
	}
	if len(signature) > 1 {
		return Message{}, nil, s.failed(op, distrust(op), signing.ErrMalformed)
	}
	if err := s.codec.verify(answerText(op, nonce, resp.Status, resp.Body), signature[0], s.deps.Now()); err != nil {
		return Message{}, nil, s.failed(op, distrust(op), err)
	}
	var m Message
	if err := unmarshal(resp.Body, &m); err != nil {
		return Message{}, nil, s.failed(op, providers.OutcomeUnknown, err)
	}
	if m.Code != "" || resp.Status != http.StatusOK {
		return Message{}, nil, &providers.Error{Provider: s.config.Name, Op: op, Kind: kindOf(m.Code), Code: m.Code}
	}
	return m, resp.Body, nil
}

// distrust is the kind of an answer whose signature is wrong: for a call that may
// have moved money or made a payment it must not read as a clear no.
func distrust(op providers.Op) providers.Kind {
	if op == providers.OpQuery {
		return providers.Untrusted
	}
	return providers.OutcomeUnknown
}

func kindOf(code string) providers.Kind {
	for kind, word := range codes() {
		if word == code {
			return kind
		}
	}
	return providers.OutcomeUnknown
}

// codes are the error codes that the twin's answers carry.
func codes() map[providers.Kind]string {
	kinds := []providers.Kind{
		providers.Unavailable, providers.RateLimited, providers.Auth, providers.Invalid,
		providers.Declined, providers.Duplicate, providers.NotFound,
	}
	words := make(map[providers.Kind]string, len(kinds))
	for _, k := range kinds {
		words[k] = k.String()
	}
	return words
}

// DecodeCallback verifies and reads a notice of the twin. From a browser comes never
// more than an empty hint.
func (s *Scripted) DecodeCallback(raw providers.RawCallback) (providers.Notice, error) {
	if raw.Channel != providers.ChannelServer {
		return providers.Notice{}, nil
	}
	if raw.Method != http.MethodPost || raw.RawQuery != "" {
		return providers.Notice{}, s.failed(providers.OpCallback, providers.Untrusted, errors.New("a notice is a POST without a query string"))
	}
	nonce, at, err := s.codec.open("notice", raw.Path, raw.Header, raw.Body, raw.ReceivedAt)
	if err != nil {
		return providers.Notice{}, s.failed(providers.OpCallback, providers.Untrusted, err)
	}
	var m Message
	if err := unmarshal(raw.Body, &m); err != nil {
		return providers.Notice{}, s.failed(providers.OpCallback, providers.OutcomeUnknown, err)
	}
	snapshot, err := m.snapshot()
	if err != nil {
		return providers.Notice{}, s.failed(providers.OpCallback, providers.OutcomeUnknown, err)
	}
	return providers.Notice{AttemptNo: m.AttemptNo, Nonce: nonce, IssuedAt: at, KeyID: "scripted", Snapshot: &snapshot}, nil
}

// Ack answers 200 "ok", 400 "no" or 503 "later".
func (s *Scripted) Ack(v providers.Verdict) providers.Ack {
	switch v {
	case providers.Accepted:
		return providers.Ack{Status: http.StatusOK, ContentType: "text/plain", Body: []byte("ok")}
	case providers.Refused:
		return providers.Ack{Status: http.StatusBadRequest, ContentType: "text/plain", Body: []byte("no")}
	case providers.RetryLater:
	}
	return providers.Ack{Status: http.StatusServiceUnavailable, ContentType: "text/plain", Body: []byte("later")}
}

func (s *Scripted) failed(op providers.Op, kind providers.Kind, err error) *providers.Error {
	return &providers.Error{Provider: s.config.Name, Op: op, Kind: kind, Err: err}
}
