package archtest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
)

const root = "../.."

func TestTree(t *testing.T) {
	findings, err := Check(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

// TestProductionBinaryLinksNoSandbox asks the go command, which also follows imports
// through libraries.
func TestProductionBinaryLinksNoSandbox(t *testing.T) {
	if _, err := os.Stat(root + "/cmd/gateway"); os.IsNotExist(err) {
		return // nothing is linked yet
	}
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "./cmd/gateway")
	cmd.Dir = root
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	for pkg := range strings.FieldsSeq(string(out)) {
		own, ok := strings.CutPrefix(pkg, Module+"/")
		if ok && fitsAny(kits(), own) {
			t.Errorf("cmd/gateway links %s, which is not for production", own)
		}
	}
}

// legal is a small tree without a breach.
func legal() map[string]string {
	return map[string]string{
		"money/money.go":                     "// Package money is exact.\npackage money\nimport _ \"github.com/shopspring/decimal\"\n",
		"orders/orders.go":                   "// Package orders rules.\npackage orders\nimport _ \"pay.taipei/gateway/money\"\n",
		"orders/orders_test.go":              "package orders\nimport (\n_ \"pay.taipei/gateway/orders/storetest\"\n_ \"pgregory.net/rapid\"\n\"time\"\n)\nvar _ = time.Now()\nvar _ = 1.5\n",
		"providers/providers.go":             "// Package providers is the contract.\npackage providers\n",
		"providers/bravobank/bravobank.go":   "// Package bravobank is a bank.\npackage bravobank\nimport _ \"pay.taipei/gateway/providers\"\nconst Name = \"bravobank\"\n",
		"providers/thirdpay/thirdpay.go":     "// Package thirdpay is another one.\npackage thirdpay\n",
		"router/router.go":                   "// Package router routes; it may speak of bravobank in comments.\npackage router\nimport _ \"pay.taipei/gateway/orders\"\n",
		"sandbox/city/city.go":               "// Package city is a city.\npackage city\nimport _ \"pay.taipei/gateway/sandbox/city/internal/page\"\n",
		"sandbox/city/internal/page/page.go": "// Package page is a page.\npackage page\n",
		"cmd/internal/app/app.go":            "// Package app wires.\npackage app\nimport \"time\"\nvar _ = time.Now\n",
		"cmd/gateway/main.go":                "// Gateway is the binary.\npackage main\nimport _ \"pay.taipei/gateway/cmd/internal/app\"\n",
		"internal/sqldb/sqldb.go":            "// Package sqldb opens.\npackage sqldb\nimport _ \"database/sql\"\n",
		"tools/bench/go.mod":                 "module bench\n",
		"tools/bench/main.go":                "package main\nimport _ \"example.com/anything\"\n",
		"orders/testdata/broken.go":          "not Go",
	}
}

func TestPlantedBreachIsRefused(t *testing.T) {
	tests := []struct {
		name, file, src string
		want            string // part of the only finding; empty: none
	}{
		{"nothing planted", "orders/more.go", "package orders\n", ""},
		{"rules import an adapter", "orders/more.go", "package orders\nimport _ \"pay.taipei/gateway/providers/bravobank\"\n", "orders must not import providers/bravobank"},
		{"the demo names a provider", "cmd/demo/main.go", "// Demo is the city.\npackage main\nvar x = \"thirdpay\"\n", "no provider's name here (thirdpay)"},
		{"an adapter imports the rules", "providers/bravobank/more.go", "package bravobank\nimport _ \"pay.taipei/gateway/orders\"\n", "must not import orders"},
		{"an adapter imports another", "providers/otherpay/otherpay.go", "// Package otherpay is one.\npackage otherpay\nimport _ \"pay.taipei/gateway/providers/bravobank\"\n", "must not import providers/bravobank"},
		{"production links the sandbox", "cmd/gateway/more.go", "package main\nimport _ \"pay.taipei/gateway/sandbox/city\"\n", "cmd/gateway must not import sandbox/city"},
		{"wiring links the sandbox", "cmd/internal/app/more.go", "package app\nimport _ \"pay.taipei/gateway/sandbox/city\"\n", "must not import sandbox/city"},
		{"production links the conformance kit", "cmd/gateway/more.go", "package main\nimport _ \"pay.taipei/gateway/providers/providertest\"\n", "must not import providers/providertest"},
		{"product imports a test kit", "orders/more.go", "package orders\nimport _ \"pay.taipei/gateway/internal/testkit\"\n", "must not import internal/testkit"},
		{"a sandbox imports another", "sandbox/bank/bank.go", "// Package bank is a bank.\npackage bank\nimport _ \"pay.taipei/gateway/sandbox/city\"\n", "sandbox/bank must not import sandbox/city"},
		{"a sandbox imports the adapter it answers", "sandbox/city/more.go", "package city\nimport _ \"pay.taipei/gateway/providers/bravobank\"\n", "must not import providers/bravobank"},
		{"a test imports beyond its row and the kits", "orders/more_test.go", "package orders\nimport _ \"pay.taipei/gateway/api\"\n", "must not import api"},
		{"a library outside its fence", "router/more.go", "package router\nimport _ \"github.com/redis/go-redis/v9\"\n", "it stays in internal/redisx"},
		{"SQL outside its fence", "orders/more.go", "package orders\nimport _ \"database/sql/driver\"\n", "it stays in internal/sqldb, */sqlstore"},
		{"a library without a fence", "api/api.go", "// Package api serves.\npackage api\nimport _ \"example.com/handy\"\n", "behind no fence"},
		{"a test library in the product", "orders/more.go", "package orders\nimport _ \"pgregory.net/rapid\"\n", "for tests only"},
		{"rules that know HTTP", "orders/more.go", "package orders\nimport _ \"net/http\"\n", "must not know net/http"},
		{"a package without a row", "helpers/helpers.go", "// Package helpers helps.\npackage helpers\n", "does not list this package"},
		{"a folder below a listed package", "router/deep/deep.go", "// Package deep is deep.\npackage deep\n", "does not list this package"},
		{"two package comments", "orders/more.go", "// Package orders again.\npackage orders\n", "exactly one package comment, have 2"},
		{"no package comment", "signing/signing.go", "package signing\n", "exactly one package comment, have 0"},
		{"init", "orders/more.go", "package orders\nfunc init() {}\n", "no init functions"},
		{"a float type", "orders/more.go", "package orders\nvar x float64\n", "no floats near money (float64)"},
		{"a float literal", "providers/bravobank/more.go", "package bravobank\nvar x = 1e2\n", "no floats near money (1e2)"},
		{"the clock is read", "router/more.go", "package router\nimport \"time\"\nvar x = time.Now()\n", "no time.Now here"},
		{"the clock under another name", "router/more.go", "package router\nimport t \"time\"\nvar x = t.Now\n", "no time.Now here"},
		{"the clock under a second name", "router/more.go", "package router\nimport (\n\"time\"\nt \"time\"\n)\nvar x time.Time = t.Now()\n", "no time.Now here"},
		{"the clock without a name", "router/more.go", "package router\nimport . \"time\"\nvar x = Now()\n", "no dot imports"},
		{"a pause", "router/more.go", "package router\nimport \"time\"\nfunc f() { <-time.After(1) }\n", "no time.After here"},
		{"a timer", "router/more.go", "package router\nimport \"time\"\nvar x = time.NewTimer(1)\n", "no time.NewTimer here"},
		{"a ticker", "sandbox/city/more.go", "package city\nimport \"time\"\nvar x = time.NewTicker(1)\n", "no time.NewTicker here"},
		{"a ticker that never stops", "orders/more.go", "package orders\nimport \"time\"\nvar x = time.Tick(1)\n", "no time.Tick here"},
		{"a call later", "api/api.go", "// Package api serves.\npackage api\nimport \"time\"\nvar x = time.AfterFunc(1, nil)\n", "no time.AfterFunc here"},
		{"a pause by its owner", "internal/sqldb/more.go", "package sqldb\nimport \"time\"\nvar x = time.NewTimer(1)\n", ""},
		{"the clock by an owner of timers", "internal/sqldb/more.go", "package sqldb\nimport \"time\"\nvar x = time.Now()\n", "no time.Now here"},
		{"a goroutine", "router/more.go", "package router\nfunc f() { go f() }\n", "no goroutines here"},
		{"a goroutine of a group", "router/more.go", "package router\nimport \"sync\"\nfunc f(g *sync.WaitGroup) { g.Go(nil) }\n", "no goroutines here"},
		{"a goroutine of a context", "router/more.go", "package router\nimport \"context\"\nvar x = context.AfterFunc\n", "no context.AfterFunc here"},
		{"a goroutine of the wiring", "cmd/internal/app/more.go", "package app\nfunc f() { go f() }\n", ""},
		{"a goroutine in a test", "router/more_test.go", "package router\nfunc f() { go f() }\n", ""},
		{"a client of its own", "providers/bravobank/more.go", "package bravobank\nimport \"net/http\"\nvar x http.Client\n", "no http.Client here"},
		{"everybody's client", "providers/bravobank/more.go", "package bravobank\nimport \"net/http\"\nvar x = http.DefaultClient\n", "no http.DefaultClient here"},
		{"a call without a client", "cmd/gateway/more.go", "package main\nimport h \"net/http\"\nvar x = h.Get\n", "no http.Get here"},
		{"a transport", "cmd/internal/app/more.go", "package app\nimport \"net/http\"\nvar x http.Transport\n", "no http.Transport here"},
		{"a bare connection", "providers/bravobank/more.go", "package bravobank\nimport \"net\"\nvar x net.Dialer\n", "no net.Dialer here"},
		{"an encrypted bare connection", "providers/bravobank/more.go", "package bravobank\nimport \"crypto/tls\"\nvar x = tls.Dial\n", "no tls.Dial here"},
		{"the only way out", "internal/httpx/httpx.go", "// Package httpx sends.\npackage httpx\nimport \"net/http\"\nvar x http.Client\n", ""},
		{"a client of the other side", "sandbox/city/more.go", "package city\nimport \"net/http\"\nvar x http.Client\n", ""},
		{"weak randomness", "router/more.go", "package router\nimport _ \"math/rand/v2\"\n", "no math/rand/v2 here"},
		{"a provider's name in a string", "router/more.go", "package router\nvar x = \"BravoBank-main\"\n", "no provider's name here (bravobank)"},
		{"a provider's name in an identifier", "cmd/internal/app/more.go", "package app\nvar openBravoBank int\n", "no provider's name here (bravobank)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := fstest.MapFS{tt.file: {Data: []byte(tt.src)}}
			for name, text := range legal() {
				tree[name] = &fstest.MapFile{Data: []byte(text)}
			}
			findings, err := Check(tree)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.want == "" && len(findings) == 0:
			case tt.want == "" || len(findings) != 1 || !strings.Contains(findings[0].What, tt.want):
				t.Errorf("findings %v, want one with %q", findings, tt.want)
			}
		})
	}
}
