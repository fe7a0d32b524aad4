// Package newebpay is the adapter of NewebPay 藍新金流's MPG, written from the manual NDNF-1.1.9 (2025-07-22); "chapter" in a
// comment is one of that manual.
//
// Create seals an order whose stamp is good for two minutes, so that it runs at the click. Notices are sealed with the same
// keys and say what was paid. What is under the digest is the sealed text alone: the fields beside it are not, and nothing
// dates a notice, so that one can be sent again and says the same. Orders and calls of ours are forms and notices are JSON, so
// that nothing that we sealed reads as a notice.
//
// The answer to a query has a code over number, amount and merchant; its status lies under no signature, and TLS proves it.
package newebpay

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/account"
	"pay.taipei/gateway/providers/internal/mpg"
	"pay.taipei/gateway/signing"
)

// Name is the adapter's name in configuration, URLs and metrics.
const Name = "newebpay"

var (
	_ providers.Provider        = (*Adapter)(nil)
	_ providers.CallbackDecoder = (*Adapter)(nil)
	_ providers.Refunder        = (*Adapter)(nil)
)

// Settings is the adapter's block in an account's configuration.
type Settings struct {
	URL         string       `yaml:"url"`      // NewebPay's origin: https://core.newebpay.com
	HashKey     account.Text `yaml:"hash_key"` // 32 characters
	HashKeyFile string       `yaml:"hash_key_file"`
	HashIV      account.Text `yaml:"hash_iv"` // 16 characters
	HashIVFile  string       `yaml:"hash_iv_file"`
}

// published are the keys of the manuals' and libraries' examples.
var published = []mpg.Pair{
	{HashKey: "Fs5cX1TGqYM2PpdbE14a9H83YQSQF5jn", HashIV: "C6AcmfqJILwgnhIP"}, {HashKey: "12345678901234567890123456789012", HashIV: "1234567890123456"},
	{HashKey: "IaWudQJsuOT994cpHRWzv7Ge67yC1cE3", HashIV: "C1dLm3nxZRVlmBSP"}, {HashKey: strings.Repeat("A", 32), HashIV: strings.Repeat("A", 16)},
}

// Adapter is one shop, or several that share keys. It is safe for concurrent use.
type Adapter struct {
	origin      string
	client      *httpx.Client
	key, iv     signing.Secret
	envelope    *mpg.Envelope
	environment providers.Environment
	now         func() time.Time
}

// hosts are the provider's.
func hosts() account.Hosts {
	return account.Hosts{Real: []string{"core.newebpay.com"}, Test: []string{"ccore.newebpay.com"}}
}

// Open makes an adapter from an account's configuration and connects to nothing.
func Open(a account.Account, d account.Deps) (providers.Provider, error) {
	s, err := account.Read[Settings](a)
	if err != nil {
		return nil, err
	}
	client, origin, errURL := a.Origin(d, "url", s.URL, hosts())
	var keys []string
	for _, p := range published {
		keys = append(keys, p.HashKey)
	}
	key, errKey := a.Secret("hash_key", s.HashKey, s.HashKeyFile, keys...)
	iv, errIV := a.Secret("hash_iv", s.HashIV, s.HashIVFile)
	if err := errors.Join(errURL, errKey, errIV); err != nil {
		return nil, err
	}
	envelope, err := mpg.NewEnvelope(mpg.Keys{HashKey: key, HashIV: iv, Pad: 16})
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", a.Name, err)
	}
	return &Adapter{origin: origin, client: client, key: key, iv: iv, envelope: envelope, environment: a.Environment, now: d.Now}, nil
}

// How long a sealed order may be used (TimeStamp), and the longest that its page may stay open (TradeLimit; chapter 4.1.2).
const (
	stampLife = 120 * time.Second
	pageLife  = 900 * time.Second
)

// grace is how much later than that an order that is still unpaid has expired.
const grace = 10 * time.Minute

// Describe tells NewebPay's facts.
func (a *Adapter) Describe() providers.Descriptor {
	return providers.Descriptor{
		Name: Name, NameZH: "藍新金流", NameEN: "NewebPay",
		Methods: []providers.Method{
			{Code: "credit_card", NameZH: "信用卡", NameEN: "Credit card"},
			{Code: "webatm", NameZH: "網路 ATM", NameEN: "WebATM"},
		},
		Currency:     money.TWD,
		Number:       providers.NumberRule{MaxLength: 30, Alphabet: "0-9A-Za-z_"},
		AmountUnit:   "whole New Taiwan dollars (Amt; chapter 4.1.2)",
		PayeeField:   "TradeInfo.MerchantID",
		PayerField:   "not carried",
		RedirectLife: stampLife,
		PageLife:     pageLife,
		FormOrigins:  []string{a.origin},
		AnswerAuth:   providers.AnswerTLS,
		Outcomes: providers.Outcomes{
			Paid:      providers.Text{ZH: "藍新金流已完成付款。", EN: "NewebPay has completed your payment."},
			Failed:    providers.Text{ZH: "這筆付款沒有成功，沒有扣款。請改用其他卡片或付款方式。", EN: "This payment did not go through, and nothing was charged. Use another card or another way to pay."},
			Cancelled: providers.Text{ZH: "這筆付款已取消，沒有扣款。", EN: "This payment was cancelled, and nothing was charged."},
			Expired:   providers.Text{ZH: "藍新金流的付款頁面已逾時，沒有扣款。", EN: "NewebPay's page timed out, and nothing was charged."},
		},
		// Whoever asks for numbers that it does not know is locked out for four hours: it is asked late and seldom.
		Patience: providers.Patience{
			FirstQuery: 3 * time.Minute, Spacing: 3 * time.Minute, Grace: grace, NotFoundFinal: true, Gap: time.Second, Penalty: 4 * time.Hour,
		},
		Docs: []providers.DocLink{{Title: "NewebPay online payment, NDNF-1.1.9 (MPG 2.3)", URL: "https://www.newebpay.com/website/Page/content/download_api", Read: "2026-11-25"}},
	}
}

func failed(op providers.Op, kind providers.Kind, err error) *providers.Error {
	return &providers.Error{Provider: Name, Op: op, Kind: kind, Err: err}
}

var (
	numberForm   = regexp.MustCompile(`^[A-Za-z0-9_]{1,30}$`)
	merchantForm = regexp.MustCompile(`^[A-Za-z0-9]{1,15}$`)
	tradeForm    = regexp.MustCompile(`^[A-Za-z0-9]{1,20}$`)
)
