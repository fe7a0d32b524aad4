// Package linepay is the adapter of LINE Pay's Online API v3 (Taiwan), written from developers-pay.line.me/online-api-v3 as it
// read on 2026-11-25.
//
// Create makes one call and leads to LINE's page. The payer comes back unsigned, which only makes us ask; "waiting for
// confirm" makes the router confirm, and only then money moves. An answer carries no signature: what proves it is TLS.
// Transaction ids are numbers of 19 digits, beyond what floats and JavaScript hold, and are text here.
package linepay

import (
	"errors"
	"fmt"
	"io"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/account"
	"pay.taipei/gateway/signing"
)

// Name is the adapter's name in configuration, URLs and metrics.
const Name = "linepay"

var (
	_ providers.Provider  = (*Adapter)(nil)
	_ providers.Confirmer = (*Adapter)(nil)
	_ providers.Refunder  = (*Adapter)(nil)
)

// Settings is the adapter's block in an account's configuration.
type Settings struct {
	URL               string       `yaml:"url"` // the API's origin: https://api-pay.line.me
	ChannelID         string       `yaml:"channel_id"`
	ChannelSecret     account.Text `yaml:"channel_secret"`
	ChannelSecretFile string       `yaml:"channel_secret_file"`
}

// published are the secrets in the examples of libraries.
var published = []string{"channelSecretKey", "fuga"}

// Adapter is one channel at LINE Pay. It is safe for concurrent use.
type Adapter struct {
	client  *httpx.Client
	channel string
	secret  signing.Secret
	keys    *signing.HMACKeys
	play    bool // demo and sandbox, where http is allowed
	now     func() time.Time
	rand    io.Reader // of nonces
}

// hosts are the provider's.
func hosts() account.Hosts {
	return account.Hosts{Real: []string{"api-pay.line.me"}, Test: []string{"sandbox-api-pay.line.me"}}
}

// Open makes an adapter from an account's configuration and connects to nothing.
func Open(a account.Account, d account.Deps) (providers.Provider, error) {
	s, err := account.Read[Settings](a)
	if err != nil {
		return nil, err
	}
	client, _, errURL := a.Origin(d, "url", s.URL, hosts())
	if s.ChannelID == "" {
		errURL = errors.Join(errURL, fmt.Errorf("account %s: channel_id: must not be empty", a.Name))
	}
	secret, errSecret := a.Secret("channel_secret", s.ChannelSecret, s.ChannelSecretFile, published...)
	if err := errors.Join(errURL, errSecret); err != nil {
		return nil, err
	}
	keys, err := signing.NewHMACKeys([]signing.HMACKey{{ID: s.ChannelID, Secret: secret}})
	if err != nil {
		return nil, fmt.Errorf("account %s: channel_secret: %w", a.Name, err)
	}
	return &Adapter{
		client: client, channel: s.ChannelID, secret: secret, keys: keys, play: a.Environment != providers.Production, now: d.Now, rand: d.Rand,
	}, nil
}

// pageLife is how long a request may be confirmed (chapter "check payment request status").
const pageLife = 20 * time.Minute

// Describe tells LINE Pay's facts.
func (a *Adapter) Describe() providers.Descriptor {
	return providers.Descriptor{
		Name: Name, NameZH: "LINE Pay", NameEN: "LINE Pay",
		Methods: []providers.Method{
			{Code: "credit_card", NameZH: "信用卡", NameEN: "Credit card"},
			{Code: "balance", NameZH: "LINE Pay 餘額", NameEN: "LINE Pay balance"},
		},
		Currency:     money.TWD,
		Number:       providers.NumberRule{MaxLength: 100, Alphabet: "any"},
		AmountUnit:   "whole New Taiwan dollars as a JSON number (amount; request payment)",
		PayeeField:   "packages[0].id",
		PayerField:   "not carried",
		ServerCreate: true,
		PageLife:     pageLife,
		AnswerAuth:   providers.AnswerTLS,
		Outcomes: providers.Outcomes{
			Paid:      providers.Text{ZH: "LINE Pay 付款成功。", EN: "Your LINE Pay payment is complete."},
			Failed:    providers.Text{ZH: "LINE Pay 沒有完成這筆付款，沒有扣款。請改用其他卡片或付款方式。", EN: "LINE Pay could not complete this payment, and nothing was charged. Use another card or another way to pay."},
			Cancelled: providers.Text{ZH: "您在 LINE Pay 取消了付款，沒有扣款。", EN: "You cancelled the payment in LINE Pay, and nothing was charged."},
			Expired:   providers.Text{ZH: "LINE Pay 的付款時間已過，沒有扣款。", EN: "The time to pay with LINE Pay has passed, and nothing was charged."},
		},
		Patience: providers.Patience{
			FirstQuery: 30 * time.Second, Spacing: 30 * time.Second, Grace: 2 * time.Minute, NotFoundFinal: true,
			Deadline: 25 * time.Second, Create: 12 * time.Second, // "read timeout": 20 s to check, 10 s to request
		},
		Docs: []providers.DocLink{{Title: "LINE Pay Online API v3", URL: "https://developers-pay.line.me/online-api-v3", Read: "2026-11-25"}},
	}
}

func failed(op providers.Op, kind providers.Kind, err error) *providers.Error {
	return &providers.Error{Provider: Name, Op: op, Kind: kind, Err: err}
}
