package configs

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml/parser"

	"pay.taipei/gateway/signing"
)

// secret stands wherever testdata has one.
const secret = "hunter2"

// TestBadFiles compares every testdata/bad-*.yaml with the message beside it.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".want")
			if err != nil {
				t.Fatal(err)
			}
			c, err := Load(file)
			if err == nil || c != nil {
				t.Fatal("the file was accepted")
			}
			if got := err.Error() + "\n"; got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Error("the message shows a secret")
			}
			if _, ok := errors.AsType[Problems](err); !ok {
				t.Errorf("the error is a %T, want Problems", err)
			}
		})
	}
}

func TestNotSettings(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "a comment": "# nothing\n", "two documents": "environment: demo\n---\nenvironment: demo\n",
		"a list": "- environment: demo\n", "a word": secret + "\n", "an alias": "*" + secret, "an anchor": "&a {environment: demo}",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([]byte(text)); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := Load("testdata/missing.yaml"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// bank has the form of an adapter's settings.
type bank struct {
	OrderURL   string `yaml:"order_url"`
	APIURL     string `yaml:"api_url"`
	SigningKey struct {
		ID       string `yaml:"id"`
		Seed     string `yaml:"seed"`
		SeedFile string `yaml:"seed_file"`
	} `yaml:"signing_key"`
	BankKeys []struct {
		ID       string `yaml:"id"`
		Key      string `yaml:"key"`
		NotAfter string `yaml:"not_after"`
	} `yaml:"bank_keys"`
}

func TestExampleLoads(t *testing.T) {
	c, err := Load("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Environment != Production || len(c.Merchants) != 2 || c.Merchants[0].Payees["bravobank-main"] != "1136549" {
		t.Errorf("environment %s, merchants %v", c.Environment, c.Merchants)
	}
	keys := c.Clients[0].Keys
	if end := time.Date(2027, 1, 30, 16, 0, 0, 0, time.UTC); !keys[0].Expires.Equal(end) || !keys[1].Expires.IsZero() {
		t.Errorf("keys end %v and %v", keys[0].Expires, keys[1].Expires)
	}
	if keys[0].Digest[0] != 0x81 || keys[0].Digest == keys[1].Digest {
		t.Errorf("digests %x and %x", keys[0].Digest, keys[1].Digest)
	}
	a := c.Accounts[0]
	if a.Environment != Production || !a.QueryNever {
		t.Errorf("account: environment %q, query never %v", a.Environment, a.QueryNever)
	}
	var b bank
	if err := a.Decode(&b); err != nil {
		t.Fatal(err)
	}
	if b.APIURL != "https://api.bravobank.example" || b.SigningKey.SeedFile == "" || len(b.BankKeys) != 2 || b.BankKeys[0].NotAfter == "" {
		t.Errorf("settings %+v", b)
	}
}

// small is a right configuration without anything that may be left out.
const small = `environment: sandbox
public_url: https://gw.example
clients:
  - id: core
    keys: [{id: one, sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855}]
    return_prefixes: ["https://pay.example/result"]
merchants:
  - {code: pma, name: 臺北市停車管理工程處, payees: {main: "1"}}
accounts:
  - name: main
    adapter: otherbank
`

func parse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func plain(s Secret) string { return string(s.Reveal()) }

func TestDefaults(t *testing.T) {
	c := parse(t, small+"    settings: {}\n")
	if c.Listen != (Listen{"127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.1:9090"}) {
		t.Errorf("listen %+v", c.Listen)
	}
	if plain(c.Store) != "sqlite:gateway.db" || plain(c.Redis) != "embedded" || len(c.TrustedProxies) != 0 {
		t.Errorf("store %q, redis %q, trusted proxies %v", plain(c.Store), plain(c.Redis), c.TrustedProxies)
	}
	if a := c.Accounts[0]; a.Environment != Sandbox || a.QueryNever || a.QueryAbove != 0 {
		t.Errorf("account %+v", a)
	}
	partly := parse(t, small+"    settings: {}\nlisten: {edge: \":443\"}\n")
	if partly.Listen != (Listen{"127.0.0.1:8080", ":443", "127.0.0.1:9090"}) {
		t.Errorf("one address set: %+v", partly.Listen)
	}
}

func TestQueryRule(t *testing.T) {
	c := parse(t, small+"    query_before_paid: above 3000\n    settings: {}\n")
	if a := c.Accounts[0]; a.QueryAbove != 3000 || a.QueryNever {
		t.Errorf("above 3000: %+v", a)
	}
}

func TestSettingsFromFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	shared := "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
	text := strings.Replace(small, "    return_prefixes", "    webhook: {url: \"https://core.example/\", keys_file: "+write("keys", shared+"\n"+shared+"\n")+"}\n    return_prefixes", 1)
	c := parse(t, text+"    settings: {}\nstore_file: "+write("store", "postgres://gateway:pw@db/gateway\n")+"\nredis_file: "+write("redis", "redis://h:1\n")+"\n")
	if plain(c.Store) != "postgres://gateway:pw@db/gateway" || plain(c.Redis) != "redis://h:1" {
		t.Errorf("store %q, redis %q", plain(c.Store), plain(c.Redis))
	}
	if w := c.Clients[0].Webhook; len(w.Signers) != 2 || len(w.Keys) != 0 {
		t.Errorf("%d signers, %d keys", len(w.Signers), len(w.Keys))
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ name, settings, want string }{
		{"unknown keys beside secrets", `
      signing_key:
        seed: hunter2
        sed_file: hunter2
      order_ulr: hunter2
`, `line 15: account main: settings.signing_key.sed_file: unknown setting: remove it or correct its spelling
  15 | sed_file: …
       ^
line 16: account main: settings.order_ulr: unknown setting: remove it or correct its spelling
  16 | order_ulr: …
       ^`},
		{"a list where text belongs", " {order_url: [hunter2], signing_key: {seed: hunter2}}\n", `line 12: account main: settings: cannot unmarshal []interface {} into Go struct field bank.OrderURL of type string
  12 | order_url: …
                  ^`},
		{"a secret as a key", " {hunter2hunter2hunter2hunter2hunter2hunter2hunter2: x}\n", `line 12: account main: settings.…: unknown setting: remove it or correct its spelling
  12 | …: …
       ^`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := parse(t, small+"    settings:"+tt.settings)
			err := c.Accounts[0].Decode(&bank{})
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", err, tt.want)
			}
		})
	}
	if err := (&Account{Name: "main"}).Decode(&bank{}); err == nil || err.Error() != "account main: settings: required" {
		t.Errorf("no settings: %v", err)
	}
}

// Whatever prints a configuration or a part of it, by mistake or in an error, shows no secret.
func TestConfigShowsNoSecret(t *testing.T) {
	c := parse(t, strings.Replace(small, "    return_prefixes", `    webhook:
      url: https://core.example/
      keys: [whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==]
    return_prefixes`, 1)+`    settings: {signing_key: {id: k, seed: hunter2}}
store: postgres://gateway:hunter2@db/gateway
redis: redis://:hunter2@h:1
`)
	redis, err := ParseRedis(plain(c.Redis))
	if err != nil {
		t.Fatal(err)
	}
	type hidden struct{ c Config }
	for name, value := range map[string]any{
		"the whole": *c, "a pointer": c, "unexported": hidden{*c}, "a client": c.Clients[0], "a webhook": *c.Clients[0].Webhook,
		"an account": c.Accounts[0], "settings": c.Accounts[0].Settings, "a store": c.Store, "redis": redis,
	} {
		var b strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&b, verb+"\n", value)
		}
		j, err := json.Marshal(value)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b.Write(j)
		slog.New(slog.NewJSONHandler(&b, nil)).Error("x", "value", value)
		slog.New(slog.NewTextHandler(&b, nil)).Error("x", "value", value)
		for _, form := range []string{secret, "aHVudGVyM", "68756e74657232", "104 117 110 116 101 114 50", "0x68, 0x75"} {
			if strings.Contains(b.String(), form) {
				t.Errorf("%s shows a secret as %q", name, form)
			}
		}
	}
	if !strings.Contains(fmt.Sprintf("%+v", *c), "臺北市停車管理工程處") {
		t.Error("what is not secret is hidden too")
	}
}

// What only other packages know to be wrong is told in the same way and at once with the rest.
func TestChecks(t *testing.T) {
	check := func(c *Config, report func(string, error)) {
		report("public_url", errors.New("unfit"))                  // nothing is wrong with it otherwise
		report("accounts[0].number_prefix", errors.New("unfit"))   // is missing
		report("accounts[0].settings", errors.New("one\nanother")) // a block that may hold secrets
		report("clients[0]", errors.New("told already, more exactly"))
		report("merchants[0].payees.main", errors.New("told already"))
		report("accounts[0]", c.Accounts[0].Decode(&bank{}))
	}
	text := strings.Replace(strings.Replace(small, "id: core", "id: Core", 1), `main: "1"`, `main: ""`, 1) + "    settings:\n      sed: hunter2\n"
	const want = `line 8: merchants[0].payees.main: want the merchant's member id at this account: up to 32 of A-Z, a-z, 0-9, _, -
  8 | main: 
            ^
line 4: clients[0].id: want an id of its own: a letter, then up to 31 of a-z, 0-9, -
  4 | id: Core
          ^
line 2: public_url: unfit
  2 | public_url: https://gw.example
                  ^
accounts[0].number_prefix: unfit
line 12: accounts[0].settings: one; another
  12 | settings: …
       ^
line 13: account main: settings.sed: unknown setting: remove it or correct its spelling
  13 | sed: …
       ^`
	_, err := Parse([]byte(text), check)
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}

// The example explains every setting: each stands in it, in use or commented out as "#name: value" without a space.
func TestExampleNamesEverySetting(t *testing.T) {
	src, err := os.ReadFile("example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	commented := regexp.MustCompile(`(?m)^( *)#([a-z_{-])`)
	src = commented.ReplaceAll(src, []byte("$1$2"))
	file, err := parser.ParseBytes(src, 0)
	if err != nil {
		t.Fatal(err)
	}
	v := &validator{body: file.Docs[0].Body}
	if v.shape(v.body, reflect.TypeFor[Config](), ""); len(v.problems) > 0 {
		t.Error(v.problems)
	}
	var missing func(path string, typ reflect.Type)
	missing = func(path string, typ reflect.Type) {
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		switch {
		case typ.Kind() == reflect.Slice && typ.Elem().Kind() == reflect.Struct && typ.Elem() != reflect.TypeFor[Secret]():
			missing(path+"[0]", typ.Elem())
		case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[Secret]() && typ != reflect.TypeFor[Settings]():
			for f := range typ.Fields() {
				if name := f.Tag.Get("yaml"); name != "-" {
					missing(join(path, name), f.Type)
				}
			}
		default:
			if !slices.ContainsFunc([]string{"[0]", "[1]"}, func(i string) bool { // some settings exclude one another
				n, _ := v.find(strings.ReplaceAll(path, "[0]", i))
				m, _ := v.find(strings.Replace(path, "[0]", i, 1))
				return n != nil || m != nil
			}) {
				t.Errorf("%s is not explained", path)
			}
		}
	}
	missing("", reflect.TypeFor[Config]())
}

func TestParseRedis(t *testing.T) {
	password := func(r RedisAddress) string { return string(r.Password.Reveal()) }
	good := []struct {
		setting  string
		want     RedisAddress
		password string
	}{
		{"embedded", RedisAddress{Mode: RedisEmbedded}, ""},
		{"redis://h:6379", RedisAddress{Mode: RedisSingle, Addrs: []string{"h:6379"}}, ""},
		{"rediss://u:p%40w@h:6380/", RedisAddress{Mode: RedisSingle, Addrs: []string{"h:6380"}, TLS: true, Username: "u"}, "p@w"},
		{"redis://:pw@[::1]:6379", RedisAddress{Mode: RedisSingle, Addrs: []string{"[::1]:6379"}}, "pw"},
		{"redis+sentinel://u:pw@a:1,b:2/city", RedisAddress{Mode: RedisSentinel, Addrs: []string{"a:1", "b:2"}, Master: "city", Username: "u"}, "pw"},
		{"redis+cluster://a:1,b:2,c:3", RedisAddress{Mode: RedisCluster, Addrs: []string{"a:1", "b:2", "c:3"}}, ""},
	}
	for _, tt := range good {
		t.Run(tt.setting, func(t *testing.T) {
			got, err := ParseRedis(tt.setting)
			if err != nil {
				t.Fatal(err)
			}
			if password(got) != tt.password {
				t.Errorf("another password")
			}
			got.Password = signing.Secret{}
			if got.Mode != tt.want.Mode || strings.Join(got.Addrs, " ") != strings.Join(tt.want.Addrs, " ") || got.Master != tt.want.Master ||
				got.TLS != tt.want.TLS || got.Username != tt.want.Username {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	for _, bad := range []string{
		"", "h:6379", "http://h:1", "redis://", "redis://u:hunter2@h", "redis://u:hunter2@h:", "redis://u:hunter2@:6379", "redis://u:hunter2@h:x",
		"redis://u:hunter2@h:0", "redis://u:hunter2@h:65536", "redis://u:hunter2@a:x,b:1", "redis://u:hunter2@a:1,b:2", "redis://u:hunter2@h:1/3", "redis://u:hunter2@h:1?db=3",
		"redis://u:hunter2@h:1#x", "redis://u:hunter2%zz@h:1", "redis+sentinel://u:hunter2@a:1", "redis+sentinel://u:hunter2@a:1,/city",
		"redis+sentinel://u:hunter2@a:1/city/more", "redis+cluster://u:hunter2@a:1/city", "redis+cluster://a:1,,b:2", " embedded",
	} {
		t.Run("bad "+bad, func(t *testing.T) {
			got, err := ParseRedis(bad)
			if err == nil {
				t.Fatalf("accepted as %+v", got)
			}
			if strings.Contains(err.Error(), secret) {
				t.Error("the message shows the password")
			}
		})
	}
}

// FuzzParse looks for panics, for files that are neither accepted nor refused, and for
// messages that quote the lines of a file.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "example.yaml") {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if strings.Contains(string(src), "_file") {
			t.Skip("names files outside the test")
		}
		c, err := Parse(src)
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v, error %v", c, err)
		}
		if c == nil {
			_ = err.Error()
			return
		}
		for i := range c.Accounts {
			_ = c.Accounts[i].Decode(&bank{})
		}
	})
}
