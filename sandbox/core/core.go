package core

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"pay.taipei/gateway/signing"
)

// Config says where the core is and how it speaks with the gateway. Printing it shows no key.
type Config struct {
	BaseURL     string   // our own, without a trailing slash; the prefix of every return_url
	APIURL      string   // of the order API, without a trailing slash
	APIKey      string   `json:"-"` // "gk_…"
	WebhookKeys []string `json:"-"` // "whpk_…" or "whsec_…"; at least one, several while keys rotate
}

// Format writes the addresses only, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "core at %s, order API at %s, keys [redacted]", c.BaseURL, c.APIURL)
}

// LogValue gives the addresses only.
func (c Config) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// Deps is what the core uses. All but Log are required.
type Deps struct {
	HTTP *http.Client // to the order API; copied, and the copy follows no redirects
	Now  func() time.Time
	Rand io.Reader    // of form nonces and page nonces
	Log  *slog.Logger // nil: nothing is logged
}

// Core is the payment core. Make it with New; it is safe for concurrent use.
type Core struct {
	base, api *url.URL
	apiKey    signing.Secret
	verifiers []*signing.WebhookVerifier
	client    http.Client
	now       func() time.Time
	log       *slog.Logger
	pages     map[string]*template.Template
	style     template.CSS
	seeds     []bill
	books     *books
	faults    faults
	stepping  sync.Mutex

	random sync.Mutex // guards rand: not every reader is safe for concurrent use
	rand   io.Reader

	mu        sync.Mutex // guards all below
	checkouts map[string]*checkout
	oldest    []string // nonces of checkouts by age
	refDay    string
	refNext   int
}

// New checks the configuration and builds a core. It sends nothing.
func New(cfg Config, deps Deps) (*Core, error) {
	if deps.HTTP == nil || deps.Now == nil || deps.Rand == nil {
		return nil, errors.New("core: Deps needs HTTP, Now and Rand")
	}
	base, err := parseBase("BaseURL", cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	api, err := parseBase("APIURL", cfg.APIURL)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(cfg.APIKey, "gk_") {
		return nil, errors.New("core: APIKey must begin with gk_; check that it was copied whole")
	}
	c := &Core{
		base: base, api: api, apiKey: signing.NewSecret([]byte(cfg.APIKey)), client: *deps.HTTP,
		now: deps.Now, rand: deps.Rand, log: deps.Log, books: newBooks(), checkouts: map[string]*checkout{},
	}
	// A redirect would carry the key to another address.
	c.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if len(cfg.WebhookKeys) == 0 {
		return nil, errors.New("core: WebhookKeys is empty; give the whpk_ key of the gateway's outbox")
	}
	for i, key := range cfg.WebhookKeys {
		v, err := signing.ParseWebhookVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("core: WebhookKeys[%d]: %w", i, err)
		}
		c.verifiers = append(c.verifiers, v)
	}
	if c.seeds, err = seedBills(); err != nil {
		return nil, err
	}
	if c.pages, c.style, err = parsePages(); err != nil {
		return nil, err
	}
	return c, nil
}

func parseBase(name, s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("core: %s %q must be http(s)://host[:port] without a path or trailing slash", name, s)
	}
	return u, nil
}

// Handler serves pages, webhooks and the test interface.
func (c *Core) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.home)
	mux.HandleFunc("GET /bills", c.showBills)
	mux.HandleFunc("GET /checkout", c.chooseProvider)
	mux.HandleFunc("POST /checkout", c.placeOrder)
	mux.HandleFunc("GET /result", c.result)
	mux.HandleFunc("POST /webhooks", c.webhook)
	mux.HandleFunc("GET /books", c.showBooks)
	mux.HandleFunc("GET /faults", c.faults.show)
	mux.HandleFunc("PUT /faults", c.faults.put)
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }) // pages carry theirs
	mux.HandleFunc("/", c.notFound)
	return http.NewCrossOriginProtection().Handler(mux)
}

// nonce is 128 random bits as 22 characters.
func (c *Core) nonce() (string, error) {
	c.random.Lock()
	defer c.random.Unlock()
	var b [16]byte
	if _, err := io.ReadFull(c.rand, b[:]); err != nil {
		return "", fmt.Errorf("core: read random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// receipt is what opens an order's result page: order numbers can be guessed, and must
// reveal nothing. It comes from the API key, so links survive a restart.
func (c *Core) receipt(reference string) string {
	key := sha256.Sum256(append([]byte("core-receipt-v1\n"), c.apiKey.Reveal()...))
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(reference))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
