// Package configs holds the gateway's configuration: what may be set, what it means,
// what it is by default and what is refused.
//
// Parse reads a whole file, finds every problem in one pass and shows each with its
// line and a caret. Blocks that belong to an adapter stay raw; the adapter decodes its
// own, as strictly, through Account.Decode. What other packages refuse, they say
// through a Check. Nothing here opens a connection. A Config holds secrets and prints none.
package configs

import (
	"time"

	"github.com/goccy/go-yaml/ast"

	"pay.taipei/gateway/signing"
)

// Environment says how much is at stake. There is no default.
type Environment string

// The environments.
const (
	Demo       Environment = "demo"       // play money on this machine
	Sandbox    Environment = "sandbox"    // providers' test systems
	Production Environment = "production" // real money
)

// Config is the whole file.
type Config struct {
	Environment Environment `yaml:"environment"`
	Listen      Listen      `yaml:"listen"`
	TLS         TLS         `yaml:"tls"`
	// PublicURL is where providers and browsers reach the edge listener, such as
	// "https://gw.pay.taipei"; no path, query or trailing slash.
	PublicURL string `yaml:"public_url"`
	// TrustedProxies are the addresses or CIDR blocks whose forwarding headers are
	// believed. Empty: none.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// Store is "sqlite:PATH" or a postgres:// URL; StoreFile names a file that holds it.
	// Both empty: sqlite:gateway.db.
	Store     Secret `yaml:"store"`
	StoreFile string `yaml:"store_file"`
	// Redis is "embedded" (in this process, forgets at exit; not in production),
	// "redis://[user:password@]host:port", "rediss://…" with TLS,
	// "redis+sentinel://[user:password@]host:port,host:port/master" or
	// "redis+cluster://[user:password@]host:port,host:port"; RedisFile names a file that
	// holds it. Both empty: embedded.
	Redis     Secret `yaml:"redis"`
	RedisFile string `yaml:"redis_file"`

	Clients   []Client   `yaml:"clients"`
	Merchants []Merchant `yaml:"merchants"`
	Accounts  []Account  `yaml:"accounts"`
	// Routes say which accounts an order gets whose client names no provider, and in which order the accounts of a named
	// one are tried. The first that fits the merchant decides; without one the accounts stand in the order of this file.
	Routes []Route `yaml:"routes"`
	// Calendar are the maintenance windows that are known beforehand; operators set others at run time.
	Calendar []Window `yaml:"calendar"`
}

// Route is a rule for choosing accounts. What is wrong with it, its Check says.
type Route struct {
	Name      string   `yaml:"name"`
	Merchants []string `yaml:"merchants"` // codes; empty: all
	// Exactly one of the two: a list in order of preference, or shares of the orders, which add up to 100.
	Accounts []string `yaml:"accounts"`
	Split    []Share  `yaml:"split"`
}

// Share is a part of the orders, in percent.
type Share struct {
	Account string `yaml:"account"`
	Percent int    `yaml:"percent"`
}

// Window is a time in which nobody is sent to an account, a provider or for a merchant. What is wrong with it, its Check
// says.
type Window struct {
	ID    string `yaml:"id"`
	Scope string `yaml:"scope"` // account, provider or merchant
	Name  string `yaml:"name"`  // of it
	// Either a time of each day in Taipei, or once from start to end (RFC 3339); without an end until further notice.
	Daily  *Daily `yaml:"daily"`
	Start  string `yaml:"start"`
	End    string `yaml:"end"`
	Ramp   string `yaml:"ramp"` // after its end: for so long traffic comes back by and by, such as 10m; empty: at once
	Reason string `yaml:"reason"`

	StartAt time.Time     `yaml:"-"`
	EndAt   time.Time     `yaml:"-"`
	RampFor time.Duration `yaml:"-"`
}

// Daily is a time of each day, "HH:MM" in Taipei; it may pass midnight.
type Daily struct {
	From     string   `yaml:"from"`
	To       string   `yaml:"to"`
	Weekdays []string `yaml:"weekdays"` // mon to sun, of its beginning; empty: every day
}

// Listen are the addresses to listen on, host:port.
type Listen struct {
	API  string `yaml:"api"`  // for clients; default 127.0.0.1:8080
	Edge string `yaml:"edge"` // for providers and browsers; default 127.0.0.1:8081
	Ops  string `yaml:"ops"`  // metrics, health, profiles: never public; default 127.0.0.1:9090
}

// TLS ends TLS here for a listener. Usually it ends in front of the gateway.
type TLS struct {
	API  KeyPair `yaml:"api"`
	Edge KeyPair `yaml:"edge"`
	Ops  KeyPair `yaml:"ops"`
}

// KeyPair names PEM files; both empty: plain HTTP.
type KeyPair struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Client is a system that may call the order API.
type Client struct {
	ID        string      `yaml:"id"`
	Keys      []ClientKey `yaml:"keys"`
	Merchants []string    `yaml:"merchants"` // codes it may order for
	// ReturnPrefixes are the URLs under which its return_url must lie: origin and path.
	ReturnPrefixes []string `yaml:"return_prefixes"`
	Webhook        *Webhook `yaml:"webhook"` // nil: it only reads its feed
	// RatePerSecond and Burst limit its requests, on all replicas together; zero: 100, and twice the rate.
	RatePerSecond int `yaml:"rate_per_second"`
	Burst         int `yaml:"burst"`
}

// ClientKey is one of a client's API keys, "gk_<id>_<secret>". Only a digest of the
// secret is configured.
type ClientKey struct {
	ID       string `yaml:"id"`
	SHA256   string `yaml:"sha256"`    // hex of the SHA-256 of the 43 characters of the secret
	NotAfter string `yaml:"not_after"` // RFC 3339; empty: no end

	Digest  [32]byte  `yaml:"-"`
	Expires time.Time `yaml:"-"`
}

// Webhook is where a client takes its events.
type Webhook struct {
	URL     string `yaml:"url"`
	Network string `yaml:"network"` // public (default), private or loopback: which addresses may be dialled
	// Keys sign the events, newest first: "whsk_…" (Ed25519) or "whsec_…" (HMAC).
	// KeysFile names a file with one a line. Exactly one of the two.
	Keys     []Secret `yaml:"keys"`
	KeysFile string   `yaml:"keys_file"`

	Signers []*signing.WebhookSigner `yaml:"-"`
}

// Merchant is a city agency that is paid.
type Merchant struct {
	Code string `yaml:"code"`
	// Name is zh-Hant, as payers read it: at most 60 characters, no control or format
	// characters and none of & = < > %, like the names of bill lines. NameEN may be empty.
	Name   string `yaml:"name"`
	NameEN string `yaml:"name_en"`
	// Payees are its payee member ids by account name: 1 to 32 of A-Z, a-z, 0-9, _ and -.
	Payees map[string]string `yaml:"payees"`
}

// Account is one set of credentials at a provider.
type Account struct {
	Name        string      `yaml:"name"`
	Adapter     string      `yaml:"adapter"`
	Environment Environment `yaml:"environment"` // empty: the gateway's
	// NumberPrefix goes before every attempt number: at most two of A-Z, 0-9.
	NumberPrefix string `yaml:"number_prefix"`
	Network      string `yaml:"network"` // public (default), private or loopback: which addresses may be dialled
	// QueryBeforePaid says which paid notices count only after a query: "always"
	// (default), "above N" (whole units) or "never".
	QueryBeforePaid string   `yaml:"query_before_paid"`
	Settings        Settings `yaml:"settings"`

	QueryNever bool  `yaml:"-"`
	QueryAbove int64 `yaml:"-"`
}

// Secret is a setting that may hold a password or a key. It cannot be printed.
type Secret struct{ signing.Secret }

// UnmarshalText keeps the text as it stands in the file.
func (s *Secret) UnmarshalText(text []byte) error {
	s.Secret = signing.NewSecret(text)
	return nil
}

// Settings is an adapter's own block, as it stands in the file. Which parts of it are
// secret only the adapter knows, so none of it can be printed: it hides in a function.
// The zero value is a missing block.
type Settings struct{ node func() ast.Node }

// UnmarshalYAML keeps the block.
func (s *Settings) UnmarshalYAML(n ast.Node) error {
	s.node = func() ast.Node { return n }
	return nil
}

// RedisMode is the shape of a Redis deployment.
type RedisMode string

// The shapes.
const (
	RedisEmbedded RedisMode = "embedded"
	RedisSingle   RedisMode = "single"
	RedisSentinel RedisMode = "sentinel"
	RedisCluster  RedisMode = "cluster"
)

// RedisAddress is the redis setting, taken apart.
type RedisAddress struct {
	Mode     RedisMode
	Addrs    []string
	Master   string // of Sentinel
	TLS      bool
	Username string
	Password signing.Secret
}

func defaults() Config {
	return Config{Listen: Listen{API: "127.0.0.1:8080", Edge: "127.0.0.1:8081", Ops: "127.0.0.1:9090"}}
}
