// Package sinopac is the adapter of Bank SinoPac 永豐銀行's 豐收款 (funBIZ, QPay): payments by card on the bank's page. It is
// written from the bank's own toolkit, SinoPacBK/funBIZ.Bank.SinoPac@70eedd9, as it read on 2026-11-25.
//
// Every call is two: one for a nonce, which changes nothing, and one that is encrypted and signed with it. Messages to us are
// unsigned pointers: a PayToken with which we ask. Amounts on the wire are hundredths of a dollar.
//
// Under a signature lie the top-level scalars of a message, sorted; what is nested, such as the result of a payment, is only
// encrypted. What proves it is TLS.
package sinopac

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
const Name = "sinopac"

var (
	_ providers.Provider        = (*Adapter)(nil)
	_ providers.CallbackDecoder = (*Adapter)(nil)
	_ providers.Refunder        = (*Adapter)(nil)
)

// Settings is the adapter's block in an account's configuration. The four keys are the shop's, dashes aside.
type Settings struct {
	URL    string       `yaml:"url"`    // https://api.sinopac.com/funBIZ/QPay.WebAPI/api
	KeyID  account.Text `yaml:"key_id"` // X-KeyID, which the bank renews from time to time
	KeyIDF string       `yaml:"key_id_file"`
	A1     account.Text `yaml:"a1"`
	A1File string       `yaml:"a1_file"`
	A2     account.Text `yaml:"a2"`
	A2File string       `yaml:"a2_file"`
	B1     account.Text `yaml:"b1"`
	B1File string       `yaml:"b1_file"`
	B2     account.Text `yaml:"b2"`
	B2File string       `yaml:"b2_file"`
}

// published are the keys in the bank's and others' examples.
var published = []string{
	"4D9709D699CA40EE", "5A4FEF83140C4E9E", "BC74301945134CB4", "961F67F8FCA44AB9",
	"65960834240E44B7", "2831076A098E49E7", "CB1AFFBF915A492B", "7F242C0AA612454F",
}

// Adapter is one shop at the bank. It is safe for concurrent use.
type Adapter struct {
	client *httpx.Client
	path   string // before the names of the services
	keyID  signing.Secret
	hashID signing.Secret
	play   bool // demo and sandbox, where http is allowed
	now    func() time.Time
}

// hosts are the provider's.
func hosts() account.Hosts {
	return account.Hosts{Real: []string{"api.sinopac.com", "funbiz.sinopac.com"}, Test: []string{"apisbx.sinopac.com", "sandbox.sinopac.com"}}
}

// Open makes an adapter from an account's configuration and connects to nothing.
func Open(a account.Account, d account.Deps) (providers.Provider, error) {
	s, err := account.Read[Settings](a)
	if err != nil {
		return nil, err
	}
	client, _, path, err := a.Reach(d, "url", s.URL, hosts())
	problems := []error{err}
	var keys [5]signing.Secret
	for i, k := range []struct {
		name string
		text account.Text
		file string
	}{{"a1", s.A1, s.A1File}, {"a2", s.A2, s.A2File}, {"b1", s.B1, s.B1File}, {"b2", s.B2, s.B2File}, {"key_id", s.KeyID, s.KeyIDF}} {
		var err error
		keys[i], err = a.Secret(k.name, k.text, k.file, published...)
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	id, err := hashID(keys[0], keys[1], keys[2], keys[3])
	if err != nil {
		return nil, fmt.Errorf("account %s: a1, a2, b1, b2: %w", a.Name, err)
	}
	return &Adapter{client: client, path: path, keyID: keys[4], hashID: id, play: a.Environment != providers.Production, now: d.Now}, nil
}

// lag is how far the bank's lists may be behind ("data about 5 minutes behind"), and as much again.
const lag = 10 * time.Minute

// Describe tells the bank's facts.
func (a *Adapter) Describe() providers.Descriptor {
	return providers.Descriptor{
		Name: Name, NameZH: "永豐銀行", NameEN: "Bank SinoPac",
		Methods:      []providers.Method{{Code: "credit_card", NameZH: "信用卡", NameEN: "Credit card"}},
		Currency:     money.TWD,
		Max:          most(),
		Number:       providers.NumberRule{MaxLength: 50, Alphabet: "any but ' \" %"},
		AmountUnit:   "hundredths of a New Taiwan dollar, at most 9 digits (Amount; OrderCreate)",
		PayeeField:   "ShopNo",
		PayerField:   "Param1",
		ServerCreate: true,
		PageLife:     time.Minute, // the shortest that a page may have; usually it ends with the order
		AnswerAuth:   providers.AnswerTLS,
		Outcomes: providers.Outcomes{
			Paid:      providers.Text{ZH: "永豐銀行已完成刷卡付款。", EN: "Bank SinoPac has completed your card payment."},
			Failed:    providers.Text{ZH: "永豐銀行沒有核准這筆刷卡，沒有扣款。請改用其他卡片或付款方式。", EN: "Bank SinoPac did not approve this card payment, and nothing was charged. Use another card or another way to pay."},
			Cancelled: providers.Text{ZH: "您離開了永豐銀行的付款頁面，沒有扣款。", EN: "You left Bank SinoPac's page, and nothing was charged."},
			Expired:   providers.Text{ZH: "永豐銀行的付款頁面已逾時，沒有扣款。", EN: "Bank SinoPac's page timed out, and nothing was charged."},
		},
		Patience: providers.Patience{
			FirstQuery: 6 * time.Minute, Spacing: 3 * time.Minute, Grace: lag + 5*time.Minute, NotFoundFinal: true, Deadline: 20 * time.Second, Create: 8 * time.Second,
		},
		Docs: []providers.DocLink{{Title: "funBIZ.Bank.SinoPac, toolkit and samples", URL: "https://github.com/SinoPacBK/funBIZ.Bank.SinoPac/tree/70eedd9", Read: "2026-11-25"}},
	}
}

// most is nine digits of hundredths.
func most() money.Amount {
	max, err := money.FromUnits(9_999_999, money.TWD)
	if err != nil {
		return money.Amount{} // cannot be
	}
	return max
}

func failed(op providers.Op, kind providers.Kind, err error) *providers.Error {
	return &providers.Error{Provider: Name, Op: op, Kind: kind, Err: err}
}

var (
	shopForm   = regexp.MustCompile(`^[0-9A-Za-z_]{1,20}$`)
	numberForm = regexp.MustCompile(`^[0-9A-Za-z_-]{1,50}$`)
	tradeForm  = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	tokenForm  = regexp.MustCompile(`^[!-~]{1,255}$`)
)
