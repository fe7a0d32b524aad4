package configs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"pay.taipei/gateway/signing"
)

var (
	nameForm    = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	payeeForm   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	keyIDForm   = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)
	prefixForm  = regexp.MustCompile(`^[A-Z0-9]{0,2}$`)
	unknownForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,31}$`)
)

// validator collects problems and finds where they stand.
type validator struct {
	body     ast.Node
	problems Problems
}

// add reports a problem of a known setting and quotes it, unless it may be secret.
func (v *validator) add(path, format string, args ...any) {
	n, block := v.find(path)
	v.report(n, path, fmt.Sprintf(format, args...), !block && !mayBeSecret.MatchString(path))
}

// found reports what a Check has found, unless the setting or a part of it is reported already.
func (v *validator) found(path string, err error) {
	if own, ok := errors.AsType[Problems](err); ok {
		v.problems = append(v.problems, own...)
		return
	}
	if !slices.ContainsFunc(v.problems, func(p Problem) bool {
		rest, same := strings.CutPrefix(p.Path, path)
		return same && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}) {
		v.add(path, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
}

// report reports a problem at a node; nil: the setting is missing.
func (v *validator) report(n ast.Node, path, what string, quote bool) {
	p := Problem{Path: path, What: what}
	if n != nil && n.GetToken() != nil {
		p.Line = n.GetToken().Position.Line
		p.Excerpt = excerpt(n, path, p.Line, quote)
	}
	v.problems = append(v.problems, p)
}

// find is the value at a path such as clients[0].keys[1].sha256, or nil. For a block it is the block's name, which may
// stand a line above it.
func (v *validator) find(path string) (n ast.Node, block bool) {
	n = v.body
	var name ast.Node
	for step := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		switch node := n.(type) {
		case *ast.MappingNode:
			i := slices.IndexFunc(node.Values, func(p *ast.MappingValueNode) bool { return p.Key.GetToken().Value == step })
			if i < 0 {
				return nil, false
			}
			n, name = node.Values[i].Value, node.Values[i].Key
		case *ast.SequenceNode:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(node.Values) {
				return nil, false
			}
			n, name = node.Values[i], nil
		default:
			return nil, false
		}
	}
	if _, scalar := n.(ast.ScalarNode); !scalar && name != nil {
		return name, true
	}
	return n, false
}

// IsKeyID says whether a client's API key may have this id.
func IsKeyID(s string) bool { return keyIDForm.MatchString(s) }

// mayBeSecret are the settings whose value is never quoted: they hold secrets, or a
// slip of the hand puts one there.
var mayBeSecret = regexp.MustCompile(`^(store|redis)|\.keys|\.settings|\.url$`)

// excerpt is a setting with a caret under its value, or under its name where the value
// is not quoted. It is written anew: in YAML's flow style the line of the file may hold
// a secret beside the setting.
func excerpt(n ast.Node, path string, line int, quote bool) string {
	gutter, name, value := fmt.Sprintf("  %d | ", line), "- ", "…"
	if !strings.HasSuffix(path, "]") {
		name = path[strings.LastIndexByte(path, '.')+1:] + ": "
	}
	caret := len(gutter)
	text := n.GetToken().Value
	odd := func(r rune) bool { return r == '@' || r == '?' || !unicode.IsPrint(r) }
	if _, scalar := n.(ast.ScalarNode); scalar && quote && !strings.ContainsFunc(text, odd) {
		value = text
		caret += len(name)
	}
	return gutter + name + value + "\n" + strings.Repeat(" ", caret) + "^\n"
}

func (v *validator) config(c *Config) {
	switch c.Environment {
	case Demo, Sandbox, Production:
	default:
		v.add("environment", "want demo, sandbox or production")
	}
	v.listen(c)
	v.publicURL(c)
	for i, p := range c.TrustedProxies {
		_, prefixErr := netip.ParsePrefix(p)
		_, addrErr := netip.ParseAddr(p)
		if prefixErr != nil && addrErr != nil {
			v.add(fmt.Sprintf("trusted_proxies[%d]", i), "want an address or a CIDR block")
		}
	}
	v.stores(c)
	v.merchants(c)
	v.accounts(c)
	v.clients(c)
	v.calendar(c)
}

// calendar reads the times of windows. What they mean together, a Check says.
func (v *validator) calendar(c *Config) {
	for i := range c.Calendar {
		w, at := &c.Calendar[i], fmt.Sprintf("calendar[%d]", i)
		w.StartAt = v.instant(at+".start", w.Start)
		w.EndAt = v.instant(at+".end", w.End)
		if w.Ramp == "" {
			continue
		}
		var err error
		if w.RampFor, err = time.ParseDuration(w.Ramp); err != nil || w.RampFor < 0 || w.RampFor > 24*time.Hour {
			v.add(at+".ramp", "want a time such as 10m, up to 24h")
		}
	}
}

func (v *validator) instant(at, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		v.add(at, "want a time such as 2027-01-01T00:00:00+08:00")
	}
	return t
}

func (v *validator) listen(c *Config) {
	pairs := []struct {
		name, addr string
		tls        KeyPair
	}{{"api", c.Listen.API, c.TLS.API}, {"edge", c.Listen.Edge, c.TLS.Edge}, {"ops", c.Listen.Ops, c.TLS.Ops}}
	for _, p := range pairs {
		host, port, err := net.SplitHostPort(p.addr)
		if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
			v.add("listen."+p.name, "want host:port, with a number from 0 to 65535")
		}
		if ip, err := netip.ParseAddr(host); c.Environment == Demo && (err != nil || !ip.IsLoopback()) {
			v.add("listen."+p.name, "the demo listens on loopback only: want 127.0.0.1:port")
		}
		if (p.tls.CertFile == "") != (p.tls.KeyFile == "") {
			v.add("tls."+p.name, "want both cert_file and key_file")
		}
	}
}

func (v *validator) publicURL(c *Config) {
	switch {
	case c.PublicURL == "":
		v.add("public_url", "required: where providers and browsers reach the edge listener")
	case c.Environment == Production && !strings.HasPrefix(c.PublicURL, "https://"):
		v.add("public_url", "production needs https")
	}
}

// stores resolves store and redis from their files and checks their forms.
func (v *validator) stores(c *Config) {
	c.Store = v.oneOf("store", c.Store, c.StoreFile, "sqlite:gateway.db")
	c.Redis = v.oneOf("redis", c.Redis, c.RedisFile, "embedded")
	r, err := ParseRedis(string(c.Redis.Reveal()))
	if err != nil {
		v.add("redis", "%s", err)
	}
	if c.Environment == Production && r.Mode == RedisEmbedded {
		v.add("redis", "production needs a real Redis: the embedded one forgets everything when the process ends")
	}
}

// oneOf is the value of a setting that may stand in a file of its own.
func (v *validator) oneOf(name string, value Secret, file, fallback string) Secret {
	if value.IsZero() {
		value = Secret{signing.NewSecret([]byte(fallback))}
	} else if file != "" {
		v.add(name+"_file", "want exactly one of %s and %s_file", name, name)
		return value
	}
	if file == "" {
		return value
	}
	b, err := os.ReadFile(file)
	if err != nil {
		v.add(name+"_file", "cannot be read: %s", reason(err))
		return value
	}
	return Secret{signing.NewSecret(bytes.TrimSpace(b))}
}

// ParseRedis takes a redis setting apart. Its error never holds the password.
func ParseRedis(setting string) (RedisAddress, error) {
	if setting == "embedded" {
		return RedisAddress{Mode: RedisEmbedded}, nil
	}
	const want = "want embedded, redis://host:port, rediss://host:port, redis+sentinel://host:port,…/master or redis+cluster://host:port,…"
	u, err := url.Parse(setting)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return RedisAddress{}, errors.New(want)
	}
	r := RedisAddress{Addrs: strings.Split(u.Host, ","), Username: u.User.Username()}
	if password, ok := u.User.Password(); ok {
		r.Password = signing.NewSecret([]byte(password))
	}
	master := strings.TrimPrefix(u.Path, "/")
	if strings.Contains(master, "/") {
		return RedisAddress{}, errors.New(want)
	}
	switch u.Scheme {
	case "redis", "rediss":
		r.Mode, r.TLS = RedisSingle, u.Scheme == "rediss"
		if len(r.Addrs) != 1 || master != "" {
			return RedisAddress{}, errors.New(want)
		}
	case "redis+sentinel":
		r.Mode, r.Master = RedisSentinel, master
		if master == "" {
			return RedisAddress{}, errors.New(want)
		}
	case "redis+cluster":
		r.Mode = RedisCluster
		if master != "" {
			return RedisAddress{}, errors.New(want)
		}
	default:
		return RedisAddress{}, errors.New(want)
	}
	for _, a := range r.Addrs {
		host, port, err := net.SplitHostPort(a)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
			return RedisAddress{}, errors.New(want)
		}
	}
	return r, nil
}

func (v *validator) merchants(c *Config) {
	seen := map[string]bool{}
	if len(c.Merchants) == 0 {
		v.add("merchants", "required: at least one")
	}
	for i, m := range c.Merchants {
		at := fmt.Sprintf("merchants[%d]", i)
		if !nameForm.MatchString(m.Code) || seen[m.Code] {
			v.add(at+".code", "want a code of its own: a letter, then up to 31 of a-z, 0-9, -")
		}
		seen[m.Code] = true
		if strings.TrimSpace(m.Name) == "" || !nameFits(m.Name) {
			v.add(at+".name", "required: up to 60 characters, none of them & = < > %% or invisible")
		}
		if !nameFits(m.NameEN) {
			v.add(at+".name_en", "want up to 60 characters, none of them & = < > %% or invisible")
		}
		for _, account := range slices.Sorted(maps.Keys(m.Payees)) {
			payee := m.Payees[account]
			if !slices.ContainsFunc(c.Accounts, func(a Account) bool { return a.Name == account }) {
				v.add(at+".payees."+account, "no such account is configured")
			}
			if !payeeForm.MatchString(payee) {
				v.add(at+".payees."+account, "want the merchant's member id at this account: up to 32 of A-Z, a-z, 0-9, _, -")
			}
		}
	}
}

// nameFits holds a merchant's name to the rule for the names of bill lines: providers sign and show both, and some
// schemes join fields with & and =.
func nameFits(name string) bool {
	return utf8.RuneCountInString(name) <= 60 && !strings.ContainsFunc(name, func(r rune) bool {
		return strings.ContainsRune("&=<>%", r) || r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
	})
}

func (v *validator) accounts(c *Config) {
	seen := map[string]bool{}
	if len(c.Accounts) == 0 {
		v.add("accounts", "required: at least one")
	}
	for i := range c.Accounts {
		a, at := &c.Accounts[i], fmt.Sprintf("accounts[%d]", i)
		if !nameForm.MatchString(a.Name) || seen[a.Name] {
			v.add(at+".name", "want a name of its own: a letter, then up to 31 of a-z, 0-9, -")
		}
		seen[a.Name] = true
		if a.Environment == "" {
			a.Environment = c.Environment
		}
		if a.Environment != c.Environment {
			v.add(at+".environment", "this gateway is %s: real and play money do not mix", c.Environment)
		}
		if !prefixForm.MatchString(a.NumberPrefix) {
			v.add(at+".number_prefix", "want at most two of A-Z, 0-9")
		}
		v.network(at+".network", a.Network, c.Environment)
		v.queryRule(at+".query_before_paid", a)
		if a.Settings.node == nil {
			v.add(at+".settings", "required: the adapter's own settings")
		}
	}
}

func (v *validator) network(at, network string, e Environment) {
	switch network {
	case "", "public", "private":
	case "loopback":
		if e == Production {
			v.add(at, "loopback is for the demo and for sandboxes")
		}
	default:
		v.add(at, "want public, private or loopback")
	}
}

func (v *validator) queryRule(at string, a *Account) {
	switch {
	case a.QueryBeforePaid == "" || a.QueryBeforePaid == "always":
	case a.QueryBeforePaid == "never":
		a.QueryNever = true
	case strings.HasPrefix(a.QueryBeforePaid, "above "):
		n, err := strconv.ParseInt(strings.TrimPrefix(a.QueryBeforePaid, "above "), 10, 64)
		if err == nil && n > 0 {
			a.QueryAbove = n
			return
		}
		fallthrough
	default:
		v.add(at, "want always, never or above N")
	}
}

func (v *validator) clients(c *Config) {
	seen, keys := map[string]bool{}, map[string]bool{}
	if len(c.Clients) == 0 {
		v.add("clients", "required: at least one")
	}
	for i := range c.Clients {
		cl, at := &c.Clients[i], fmt.Sprintf("clients[%d]", i)
		if !nameForm.MatchString(cl.ID) || seen[cl.ID] {
			v.add(at+".id", "want an id of its own: a letter, then up to 31 of a-z, 0-9, -")
		}
		seen[cl.ID] = true
		if len(cl.Keys) == 0 {
			v.add(at+".keys", "required: at least one; make one with a random secret of 43 base64url characters")
		}
		for j := range cl.Keys {
			v.clientKey(fmt.Sprintf("%s.keys[%d]", at, j), &cl.Keys[j], keys)
		}
		for j, m := range cl.Merchants {
			if !slices.ContainsFunc(c.Merchants, func(x Merchant) bool { return x.Code == m }) {
				v.add(fmt.Sprintf("%s.merchants[%d]", at, j), "no such merchant is configured")
			}
		}
		if len(cl.ReturnPrefixes) == 0 {
			v.add(at+".return_prefixes", "required: where the citizen's browser may be sent back to")
		}
		for j, p := range cl.ReturnPrefixes {
			if c.Environment == Production && !strings.HasPrefix(p, "https://") {
				v.add(fmt.Sprintf("%s.return_prefixes[%d]", at, j), "production needs https")
			}
		}
		if cl.RatePerSecond < 0 || cl.RatePerSecond > 10000 {
			v.add(at+".rate_per_second", "want a number up to 10000")
		}
		if cl.Burst < 0 || cl.Burst > 100000 {
			v.add(at+".burst", "want a number up to 100000")
		}
		if cl.Webhook != nil {
			v.webhook(at+".webhook", cl.Webhook, c.Environment)
		}
	}
}

func (v *validator) clientKey(at string, k *ClientKey, seen map[string]bool) {
	if !keyIDForm.MatchString(k.ID) || seen[k.ID] {
		v.add(at+".id", "want an id of its own: up to 32 of A-Z, a-z, 0-9, -")
	}
	seen[k.ID] = true
	digest, err := hex.DecodeString(k.SHA256)
	if err != nil || len(digest) != 32 {
		v.add(at+".sha256", "want 64 hex digits: the SHA-256 of the key's secret")
		return
	}
	k.Digest = [32]byte(digest)
	if k.NotAfter == "" {
		return
	}
	if k.Expires, err = time.Parse(time.RFC3339, k.NotAfter); err != nil {
		v.add(at+".not_after", "want a time such as 2027-01-01T00:00:00+08:00")
	}
}

func (v *validator) webhook(at string, w *Webhook, e Environment) {
	u, err := url.Parse(w.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		v.add(at+".url", "want an absolute URL without user or fragment")
	case u.Scheme == "https":
	case u.Scheme == "http" && e != Production && w.Network == "loopback":
	default:
		v.add(at+".url", "want https (http only with network: loopback, outside production)")
	}
	v.network(at+".network", w.Network, e)
	if (len(w.Keys) > 0) == (w.KeysFile != "") {
		v.add(at+".keys", "want exactly one of keys and keys_file")
		return
	}
	var keys []string
	for _, k := range w.Keys {
		keys = append(keys, string(k.Reveal()))
	}
	if w.KeysFile != "" {
		keys = strings.Fields(string(v.oneOf(at+".keys", Secret{}, w.KeysFile, "").Reveal()))
	}
	for i, k := range keys {
		s, err := signing.ParseWebhookSigner(k)
		switch {
		case err != nil:
			v.add(at+".keys", "key %d: %s", i+1, err)
		case e == Production && s.Published():
			v.add(at+".keys", "key %d: everybody can read this key in public documents and sign with it: make one of your own for production", i+1)
		default:
			w.Signers = append(w.Signers, s)
		}
	}
}

// reason is why a file cannot be read, without its name: a setting that names a file is
// where a secret is put by mistake.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
