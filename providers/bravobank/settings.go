package bravobank

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/account"
	"pay.taipei/gateway/signing"
)

// Settings is the adapter's block in an account's configuration.
type Settings struct {
	OrderURL   string     `yaml:"order_url"` // the bank's order page, to which browsers post
	APIURL     string     `yaml:"api_url"`   // origin of the bank's API: scheme://host[:port]
	SigningKey SigningKey `yaml:"signing_key"`
	BankKeys   []BankKey  `yaml:"bank_keys"`
}

// SigningKey is the private key that signs our orders: exactly one of Seed and SeedFile.
type SigningKey struct {
	ID       string       `yaml:"id"`        // as registered with the bank
	Seed     account.Text `yaml:"seed"`      // base64url of 32 bytes
	SeedFile string       `yaml:"seed_file"` // a file that holds the same text
}

// BankKey is a public key of the bank.
type BankKey struct {
	ID       string `yaml:"id"`
	Key      string `yaml:"key"`       // base64url of 32 bytes
	NotAfter string `yaml:"not_after"` // RFC 3339; empty: no end
}

// Open makes an adapter from an account's configuration. It reads the file that
// seed_file names. Its errors name the setting and never show a secret.
func Open(acct account.Account, d account.Deps) (providers.Provider, error) {
	s, err := account.Read[Settings](acct)
	if err != nil {
		return nil, err
	}
	client, err := d.HTTP(s.APIURL)
	if err != nil {
		return nil, fmt.Errorf("account %s: api_url: %w", acct.Name, err)
	}
	signer, errSigner := s.SigningKey.open()
	keys := make([]signing.Ed25519Key, len(s.BankKeys))
	problems := []error{errSigner}
	for i, k := range s.BankKeys {
		var err error
		keys[i], err = k.open()
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("account %s: %w", acct.Name, err)
	}
	a, err := New(Config{Environment: acct.Environment, OrderURL: s.OrderURL, Signer: signer, BankKeys: keys}, Deps{Now: d.Now, Rand: d.Rand, HTTP: client})
	if err != nil {
		return nil, fmt.Errorf("account %s: %w", acct.Name, err)
	}
	return a, nil
}

func (k SigningKey) open() (*signing.Ed25519Signer, error) {
	text, err := k.Seed.Or(k.SeedFile, "seed")
	if err != nil {
		return nil, fmt.Errorf("signing_key.%w", err)
	}
	// The decoder's error is dropped: it quotes the secret's bytes.
	seed, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimSpace(string(text.Reveal())))
	if err != nil {
		return nil, errors.New("signing_key: the seed must be base64url without padding, 43 characters")
	}
	signer, err := signing.NewEd25519Signer(k.ID, signing.NewSecret(seed))
	if err != nil {
		return nil, fmt.Errorf("signing_key: %w", err)
	}
	return signer, nil
}

func (k BankKey) open() (signing.Ed25519Key, error) {
	public, err := base64.RawURLEncoding.Strict().DecodeString(k.Key)
	if err != nil {
		return signing.Ed25519Key{}, fmt.Errorf("bank_keys: key %q must be base64url without padding, 43 characters", k.ID)
	}
	key := signing.Ed25519Key{ID: k.ID, Public: public}
	if k.NotAfter == "" {
		return key, nil
	}
	if key.NotAfter, err = time.Parse(time.RFC3339, k.NotAfter); err != nil {
		return signing.Ed25519Key{}, fmt.Errorf("bank_keys: not_after of key %q must be a time like 2027-01-31T00:00:00+08:00", k.ID)
	}
	return key, nil
}
