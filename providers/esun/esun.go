// Package esun is the adapter of E.SUN Bank 玉山銀行's ACQ online acquiring: its hosted card page. It implements the bank's
// manuals "Type 4", "query", "cancel" and "return codes" V2.0 (2016), as collected in recca0120/payum-esunbank@40b81a0.
//
// The merchant must be set up for automatic capture: "paid" here is an authorisation, and nobody sends the batch file that
// would capture it.
//
// Create only signs. The bank never calls our server: the result comes with the payer's browser, signed but without the
// amount, so that it makes us ask. A refund is the cancellation of an authorisation that is not settled yet, whole.
//
// Not checked: amount and merchant, which the router binds. Not protected: answers to queries, which carry no usable
// signature; what proves them is TLS. Which bytes are signed: requestText and returnText.
package esun

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/account"
	"pay.taipei/gateway/signing"
)

// Name is the adapter's name in configuration, URLs and metrics.
const Name = "esun"

var (
	_ providers.Provider        = (*Adapter)(nil)
	_ providers.CallbackDecoder = (*Adapter)(nil)
	_ providers.Refunder        = (*Adapter)(nil)
)

// Settings is the adapter's block in an account's configuration.
type Settings struct {
	URL        string       `yaml:"url"`     // the bank's origin: https://acq.esunbank.com.tw
	MACKey     account.Text `yaml:"mac_key"` // of the merchant
	MACKeyFile string       `yaml:"mac_key_file"`
}

// published are the keys of the bank's manuals.
var published = []string{"WEGSC0Q7BAJGTQYL8BV8KRQRZXH6VK0B"}

// Adapter is one merchant at the bank. It is safe for concurrent use.
type Adapter struct {
	origin string
	client *httpx.Client
	mac    *signing.Digest
}

// hosts are the provider's.
func hosts() account.Hosts {
	return account.Hosts{Real: []string{"acq.esunbank.com.tw"}, Test: []string{"acqtest.esunbank.com.tw"}}
}

// Open makes an adapter from an account's configuration and connects to nothing.
func Open(a account.Account, d account.Deps) (providers.Provider, error) {
	s, err := account.Read[Settings](a)
	if err != nil {
		return nil, err
	}
	client, origin, errURL := a.Origin(d, "url", s.URL, hosts())
	key, errKey := a.Secret("mac_key", s.MACKey, s.MACKeyFile, published...)
	if err := errors.Join(errURL, errKey); err != nil {
		return nil, err
	}
	mac, err := signing.NewDigest(signing.Secret{}, key)
	if err != nil {
		return nil, fmt.Errorf("account %s: mac_key: %w", a.Name, err)
	}
	return &Adapter{origin: origin, client: client, mac: mac}, nil
}

// pageLife is how long the bank's page may stay open. It is not documented; browsers that come back after it are late, not lost.
const pageLife = 30 * time.Minute

// Describe tells the bank's facts.
func (a *Adapter) Describe() providers.Descriptor {
	return providers.Descriptor{
		Name: Name, NameZH: "玉山銀行", NameEN: "E.SUN Bank",
		Methods:    []providers.Method{{Code: "credit_card", NameZH: "信用卡", NameEN: "Credit card"}},
		Currency:   money.TWD,
		Number:     providers.NumberRule{MaxLength: 20, Alphabet: "0-9A-Z"},
		AmountUnit: "whole New Taiwan dollars (TA; manual Type 4 V2.0, data members)",
		PayeeField: "data.MID",
		PayerField: "not carried",
		// The form has no stamp, but its number is good for one visit: signed at the click, no number is spent on a form that nobody posts.
		RedirectLife: pageLife,
		PageLife:     pageLife,
		Refunds:      providers.RefundRules{Whole: true},
		FormOrigins:  []string{a.origin},
		AnswerAuth:   providers.AnswerTLS,
		Outcomes: providers.Outcomes{
			Paid:      providers.Text{ZH: "信用卡付款成功。", EN: "Your card payment is complete."},
			Failed:    providers.Text{ZH: "銀行沒有核准這筆刷卡，沒有扣款。請改用其他卡片或付款方式。", EN: "The bank did not approve this card payment, and nothing was charged. Use another card or another way to pay."},
			Cancelled: providers.Text{ZH: "您離開了刷卡頁面，沒有扣款。", EN: "You left the card page, and nothing was charged."},
			Expired:   providers.Text{ZH: "刷卡頁面已逾時，沒有扣款。", EN: "The card page timed out, and nothing was charged."},
		},
		// A payer who comes back makes us ask at once; these are for those who do not.
		Patience: providers.Patience{FirstQuery: 2 * time.Minute, Spacing: 4 * time.Minute, Grace: 30 * time.Minute, NotFoundFinal: true},
		Docs: []providers.DocLink{
			{Title: "E.SUN Bank ACQ manuals V2.0 (type 4, query, cancel, return codes)", URL: "https://github.com/recca0120/payum-esunbank/tree/40b81a0/docs", Read: "2026-11-25"},
		},
	}
}

func failed(op providers.Op, kind providers.Kind, err error) *providers.Error {
	return &providers.Error{Provider: Name, Op: op, Kind: kind, Err: err}
}

var (
	numberForm = regexp.MustCompile(`^[0-9A-Z]{1,20}$`)
	payeeForm  = regexp.MustCompile(`^[0-9A-Za-z]{1,15}$`)
	returnForm = regexp.MustCompile(`^https?://[^#?&\s]+$`)
)
