// Package account is what adapters are opened with: one account's settings and the collaborators that the program gives it.
package account

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/signing"
)

// Account is one set of credentials, as the configuration holds it.
type Account struct {
	Name        string
	Environment providers.Environment
	Decode      func(settings any) error // fills the adapter's own settings, refusing unknown keys
}

// Deps are what adapters are made with. All must be safe for concurrent use.
type Deps struct {
	Now  func() time.Time
	Rand io.Reader
	// HTTP makes the client that may reach one origin, scheme://host[:port], and nothing else.
	HTTP func(origin string) (*httpx.Client, error)
}

// Read fills an adapter's settings.
func Read[S any](a Account) (s S, err error) {
	switch a.Environment {
	case providers.Demo, providers.Sandbox, providers.Production:
	default:
		return s, a.wrong("environment", fmt.Errorf("%q is not known; use demo, sandbox or production", string(a.Environment)))
	}
	return s, a.Decode(&s)
}

// Hosts are a provider's: with real money, and for tests.
type Hosts struct{ Real, Test []string }

// Reach makes the client that leads to the host of an absolute URL: https, or http where no real money moves. path is the
// rest of the URL, without a slash at its end. Real money does not go to a test host, nor play money to a real one.
func (a Account) Reach(d Deps, setting, address string, hosts Hosts) (client *httpx.Client, origin, path string, err error) {
	u, err := url.Parse(address)
	if err != nil || len(address) > 200 || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" || !a.scheme(u) {
		return nil, "", "", a.wrong(setting, errors.New("must be an absolute https URL of at most 200 characters, without a query"))
	}
	wrong := hosts.Test
	if a.Environment != providers.Production {
		wrong = hosts.Real
	}
	if slices.Contains(wrong, strings.ToLower(u.Hostname())) {
		return nil, "", "", a.wrong(setting, fmt.Errorf("%s is not the provider's host for environment %s: play money and real money do not mix", u.Hostname(), a.Environment))
	}
	origin = u.Scheme + "://" + u.Host
	if client, err = d.HTTP(origin); err != nil {
		return nil, "", "", a.wrong(setting, err)
	}
	return client, origin, strings.TrimSuffix(u.EscapedPath(), "/"), nil
}

func (a Account) scheme(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && a.Environment != providers.Production
}

// Text is a secret that can be read from configuration but not printed.
type Text struct{ signing.Secret }

// UnmarshalText keeps the text as the secret's bytes.
func (t *Text) UnmarshalText(text []byte) error {
	t.Secret = signing.NewSecret(text)
	return nil
}

// Secret is the value of a secret setting: exactly one of its text, and the file that setting_file names, whose white space
// at the end is left out. In production a published test key is refused. The errors never show the secret.
func (a Account) Secret(setting string, text Text, file string, published ...string) (signing.Secret, error) {
	secret := text.Secret
	if secret.IsZero() == (file == "") {
		return signing.Secret{}, a.wrong(setting, fmt.Errorf("set exactly one of %s and %s_file", setting, setting))
	}
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return signing.Secret{}, a.wrong(setting+"_file", err)
		}
		secret = signing.NewSecret([]byte(strings.TrimSpace(string(content))))
	}
	if a.Environment == providers.Production && slices.Contains(published, string(secret.Reveal())) {
		return signing.Secret{}, a.wrong(setting, errors.New("this is a published test key, with which anyone can sign; use the provider's production key"))
	}
	return secret, nil
}

func (a Account) wrong(setting string, err error) error {
	return fmt.Errorf("account %s: %s: %w", a.Name, setting, err)
}
