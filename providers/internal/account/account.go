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

// Origin is Reach for a provider whose address has no path.
func (a Account) Origin(d Deps, setting, address string, hosts Hosts) (client *httpx.Client, origin string, err error) {
	client, origin, path, err := a.Reach(d, setting, address, hosts)
	if err == nil && path != "" {
		err = a.wrong(setting, errors.New("must have no path"))
	}
	return client, origin, err
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

// Or is a secret setting's text, or what the file holds that setting_file names, without white space around it: exactly one
// of the two must be set. The errors name the setting and never show the secret.
func (t Text) Or(file, setting string) (signing.Secret, error) {
	switch {
	case t.IsZero() == (file == ""):
		return signing.Secret{}, fmt.Errorf("%s: set exactly one of %s and %s_file", setting, setting, setting)
	case file == "":
		return t.Secret, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return signing.Secret{}, fmt.Errorf("%s_file: %w", setting, err)
	}
	return signing.NewSecret([]byte(strings.TrimSpace(string(content)))), nil
}

// Secret is the value of a secret setting, as Or has it. In production a published test key is refused.
func (a Account) Secret(setting string, text Text, file string, published ...string) (signing.Secret, error) {
	secret, err := text.Or(file, setting)
	if err != nil {
		return signing.Secret{}, fmt.Errorf("account %s: %w", a.Name, err)
	}
	if a.Environment == providers.Production && slices.Contains(published, string(secret.Reveal())) {
		return signing.Secret{}, a.wrong(setting, errors.New("this is a published test key, with which anyone can sign; use the provider's production key"))
	}
	return secret, nil
}

func (a Account) wrong(setting string, err error) error {
	return fmt.Errorf("account %s: %s: %w", a.Name, setting, err)
}
