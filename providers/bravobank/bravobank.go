// Package bravobank is the adapter of Bravo Bank 熊讚銀行, a bank that signs with
// Ed25519 both ways. It implements docs/providers/bravobank.md; "section" in a
// comment means a section of that document.
//
// Create only signs. Query may be repeated, Refund is sent once. A notice is
// verified over the bytes received and then read; amount, payee, environment and
// replay of its nonce are for the caller to bind to its own record.
package bravobank

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/signing"
)

// Name is the adapter's name in configuration, URLs and metrics.
const Name = "bravobank"

var (
	_ providers.Provider        = (*Adapter)(nil)
	_ providers.CallbackDecoder = (*Adapter)(nil)
	_ providers.Refunder        = (*Adapter)(nil)
)

// Config is one account at the bank. Every field is required.
type Config struct {
	Environment providers.Environment
	OrderURL    string // the bank's order page, to which browsers post
	Signer      *signing.Ed25519Signer
	BankKeys    []signing.Ed25519Key
}

// Deps are the adapter's collaborators. All are required and must be safe for
// concurrent use.
type Deps struct {
	Now  func() time.Time // judges answers; notices are judged by RawCallback.ReceivedAt
	Rand io.Reader        // of nonces
	HTTP *httpx.Client    // leads to the bank's API
}

// Adapter is one account at Bravo Bank. It is safe for concurrent use.
type Adapter struct {
	orderURL string
	origin   string
	play     bool // demo and sandbox, where http is allowed
	signer   *signing.Ed25519Signer
	bank     *signing.Ed25519Keys
	deps     Deps
}

// New makes an adapter and connects to nothing. In production it refuses the
// published test keys, on either side. Whether the bank knows our key is not checked.
func New(c Config, d Deps) (*Adapter, error) {
	if c.Signer == nil || d.Now == nil || d.Rand == nil || d.HTTP == nil {
		return nil, errors.New("bravobank: an adapter needs a signing key, a clock, randomness and an HTTP client")
	}
	switch c.Environment {
	case providers.Demo, providers.Sandbox:
	case providers.Production:
		if err := refusePublished(c); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("bravobank: environment %q is not known; use demo, sandbox or production", string(c.Environment))
	}
	play := c.Environment != providers.Production
	page, err := parseURL(c.OrderURL, play)
	if err != nil || page.RawQuery != "" {
		return nil, errors.New("bravobank: order_url must be the absolute https URL of the bank's order page, without a query")
	}
	bank, err := signing.NewEd25519Keys(c.BankKeys)
	if err != nil {
		return nil, fmt.Errorf("bravobank: bank_keys: %w", err)
	}
	return &Adapter{orderURL: c.OrderURL, origin: page.Scheme + "://" + page.Host, play: play, signer: c.Signer, bank: bank, deps: d}, nil
}

// published are the public keys of section 1, whose private halves everyone knows.
var published = []string{
	"a1VvoxKYSLm8S4IA8EVzABFFtEAQdNe8kY60vN06iHY",
	"gNghXuw44Qv-EJet_Lcj6M4fO9WOdyO8SrAwLfq_kbg",
}

func refusePublished(c Config) error {
	if slices.Contains(published, encode(c.Signer.PublicKey())) {
		return fmt.Errorf("bravobank: signing key %q is a published test key, with which anyone can sign; make a new key for production", c.Signer.KeyID())
	}
	for _, k := range c.BankKeys {
		if slices.Contains(published, encode(k.Public)) {
			return fmt.Errorf("bravobank: bank key %q is a published test key, with which anyone can forge receipts; ask the bank for its production key", k.ID)
		}
	}
	return nil
}

// Describe tells the bank's facts.
func (a *Adapter) Describe() providers.Descriptor {
	return providers.Descriptor{
		Name: Name, NameZH: "熊讚銀行", NameEN: "Bravo Bank",
		Methods: []providers.Method{
			{Code: "credit_card", NameZH: "信用卡", NameEN: "Credit card"},
			{Code: "stored_value", NameZH: "儲值餘額", NameEN: "Stored value"},
			{Code: "deposit_account", NameZH: "活期帳戶", NameEN: "Deposit account"},
		},
		Currency:    money.TWD,
		Number:      providers.NumberRule{MaxLength: 20, Alphabet: "0-9A-Z"},
		AmountUnit:  "whole New Taiwan dollars (section 2)",
		PayeeField:  "order.payee_member_id",
		PayerField:  "order.payer_member_id",
		Reopen:      providers.ReopenReuse,
		FormOrigins: []string{a.origin},
		AnswerAuth:  providers.AnswerMAC,
		Outcomes: providers.Outcomes{
			Paid:      providers.Text{ZH: "熊讚銀行已完成付款。", EN: "Bravo Bank has completed your payment."},
			Failed:    providers.Text{ZH: "熊讚銀行沒有核准這筆付款，沒有扣款。請再試一次或改用其他付款方式。", EN: "Bravo Bank did not approve this payment, and nothing was charged. Try again or use another way to pay."},
			Cancelled: providers.Text{ZH: "您在熊讚銀行取消了付款，沒有扣款。", EN: "You cancelled the payment at Bravo Bank, and nothing was charged."},
			Expired:   providers.Text{ZH: "熊讚銀行的付款頁面已逾時，沒有扣款。", EN: "The page at Bravo Bank timed out, and nothing was charged."},
		},
		Patience: providers.Patience{
			FirstQuery: 10 * time.Second, Spacing: 10 * time.Second, Grace: 30 * time.Second,
			NotFoundFinal: true, Deadline: 5 * time.Second,
		},
		Refunds: providers.RefundRules{Window: 180 * 24 * time.Hour},
		Docs:    []providers.DocLink{{Title: "Bravo Bank payment interface, version 1", URL: "docs/providers/bravobank.md"}},
	}
}

// parseURL accepts absolute https URLs, and http where play is true.
func parseURL(s string, play bool) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || len(s) > 200 || u.Host == "" || u.User != nil || u.Fragment != "" || (u.Scheme != "https" && (u.Scheme != "http" || !play)) {
		return nil, errors.New("must be an absolute https URL of at most 200 characters")
	}
	return u, nil
}

func failed(op providers.Op, kind providers.Kind, err error) *providers.Error {
	return &providers.Error{Provider: Name, Op: op, Kind: kind, Err: err}
}
