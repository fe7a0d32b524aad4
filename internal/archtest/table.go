package archtest

// row is what one package, or one group of packages, may import of this module. In
// pkg and may, * stands for one path element and /... for a folder and all below it.
type row struct {
	pkg string
	may []string
}

// table is the layout of docs/decisions/0001-layout.md. The first row that fits counts;
// a package without a row is refused. Packages of one folder under sandbox/ and of one
// command may always import each other.
func table() []row {
	return []row{
		{"money", nil},
		{"signing", nil},
		{"orders", []string{"money"}},
		{"orders/sqlstore", []string{"orders", "money", "internal/sqldb"}},
		{"orders/storetest", []string{"orders", "money"}},
		{"providers", []string{"money", "signing"}},
		{"providers/all", []string{"providers", "providers/*", "providers/internal/*", "signing", "internal/httpx"}},
		{"providers/providertest", []string{"providers", "providers/internal/account", "signing", "money", "internal/httpx"}},
		{"providers/internal/*", []string{"providers", "providers/internal/*", "signing", "money", "internal/httpx"}},
		{"providers/*", []string{"providers", "providers/internal/*", "signing", "money", "internal/httpx"}},
		{"router", []string{"orders", "providers", "money", "router/policy"}},
		{"router/policy", []string{"money"}},
		{"api", []string{"orders", "money", "providers"}},
		{"webhooks", []string{"orders", "money", "providers"}},
		{"webhooks/outbox", []string{"orders", "signing", "internal/httpx"}},
		{"configs", []string{"money", "signing"}},
		{"configs/prometheus", []string{"internal/metrics", "providers"}},
		{"sandbox/all", []string{"sandbox/..."}},
		{"sandbox/internal/*", []string{"signing", "money"}},
		{"sandbox/*/...", []string{"sandbox/internal/*", "signing", "money"}},
		{"internal/sim", append(product(), "providers/providertest", "orders/storetest", "sandbox/...")},
		{"internal/*", nil},
		{"cmd/gateway", append(product(), "cmd/internal/app")},
		{"cmd/internal/app", product()},
		{"cmd/demo", append(product(), "cmd/internal/app", "sandbox/...")},
		{"cmd/adapter", append(product(), "cmd/internal/app", "sandbox/...", "providers/providertest")},
	}
}

// product is everything that may run in production.
func product() []string {
	return []string{
		"money", "signing", "orders", "orders/sqlstore", "providers", "providers/all", "router", "router/policy", "api",
		"webhooks", "webhooks/outbox", "configs",
		"internal/httpx", "internal/breaker", "internal/redisx", "internal/sqldb", "internal/metrics",
	}
}

// realStore is what test files may import too: no fake stands in for it.
func realStore() []string { return []string{"orders/sqlstore", "internal/sqldb"} }

// kits are what test files may import besides their package's row.
func kits() []string {
	return []string{"internal/testkit", "internal/sim", "orders/storetest", "providers/providertest", "sandbox/..."}
}

// fence keeps a library, or a part of the standard library, in the packages named.
type fence struct {
	library string
	in      []string
	tests   []string // packages whose tests may import it too
}

// fences lists every library that is not the standard library's; others are refused.
func fences() []fence {
	pages := []string{"api", "webhooks", "sandbox/..."}
	redis := []string{"internal/redisx"}
	sql := []string{"internal/sqldb", "*/sqlstore"}
	return []fence{
		{library: "github.com/gin-gonic/gin", in: pages},
		{library: "github.com/redis/go-redis", in: redis},
		{library: "github.com/go-redis/redis_rate", in: redis},
		{library: "github.com/alicebob/miniredis", in: redis},
		{library: "github.com/sony/gobreaker", in: []string{"internal/breaker"}},
		{library: "database/sql", in: sql},
		{library: "github.com/jackc/pgx", in: sql},
		{library: "github.com/pressly/goose", in: sql},
		{library: "modernc.org/sqlite", in: sql},
		{library: "github.com/prometheus", in: []string{"internal/metrics"}},
		{library: "github.com/hashicorp/go-retryablehttp", in: []string{"internal/httpx"}},
		{library: "github.com/goccy/go-yaml", in: []string{"configs", "api"}, tests: []string{"providers/*", "configs/prometheus"}},
		{library: "github.com/alecthomas/kong", in: []string{"cmd/..."}},
		{library: "github.com/shopspring/decimal", in: []string{"money"}},
		{library: "golang.org/x/net/html", in: []string{"cmd/demo"}},
		{library: "golang.org/x/time", in: []string{"api"}},
		{library: "golang.org/x/text", in: []string{"sandbox/core"}},
	}
}

// testLibraries may be imported by any test file and by no other file.
func testLibraries() []string {
	return []string{
		"pgregory.net/rapid", "go.uber.org/goleak", "github.com/chromedp", "github.com/getkin/kin-openapi", "github.com/rogpeppe/go-internal",
	}
}

// strangers are parts of the standard library that a package must not know.
func strangers() []row {
	return []row{
		{"money", []string{"net", "net/http", "os", "log/slog"}},
		{"orders", []string{"net", "net/http", "os", "log/slog"}},
		{"signing", []string{"net", "net/http", "os"}},
		{"router", []string{"net/http", "os"}},
		{"providers/*", []string{"log/slog"}},
	}
}

// nearMoney lists the packages without floats.
func nearMoney() []string {
	return []string{"money", "orders/...", "providers/...", "router/...", "signing", "api", "webhooks/...", "sandbox/..."}
}

// mayName lists the packages that may name any provider: adapters, their other sides, and the two lists of them.
func mayName() []string { return []string{"providers/...", "sandbox/..."} }

// demoBank is the one provider that those of mayNameBank may name too: its other side is a bank of its own in the demo.
const demoBank = "bravobank"

func mayNameBank() []string {
	return []string{"configs", "cmd/demo", "cmd/adapter", "orders/storetest", "internal/archtest"}
}

// clockOwners may read the real clock and draw weak randomness.
func clockOwners() []string {
	return []string{
		"cmd/...", "internal/testkit",
		"providers/providertest", // ends exceptions by their day
	}
}

// starters may start goroutines, and stop what they started.
func starters() []string {
	return []string{
		"cmd/...",
		"internal/testkit",       // keeps processes and sockets for tests
		"orders/storetest",       // races callers against one store
		"providers/providertest", // serves the provider's side, and waits for adapters that hang
	}
}

// use keeps names of a package of the standard library in the packages that own them.
// Test files may use all of them.
type use struct {
	of      string // the import path
	names   []string
	in      []string
	instead string
}

func owned() []use {
	timers := append(clockOwners(),
		"internal/redisx",        // its embedded server expires keys by real time
		"internal/sqldb",         // pauses between two tries of one transaction, whose deadline is real too
		"providers/providertest", // gives up on an adapter that hangs
		"webhooks",               // ends the reading of a body: a socket knows real time only
	)
	clients := []string{
		"internal/httpx",
		"internal/testkit",       // looks whether a process or a port answers
		"providers/providertest", // its twin delivers callbacks with the client of a test
		"sandbox/...", "cmd/demo",
	}
	const wayOut = "internal/httpx is the only way out"
	return []use{
		{"time", []string{"Now", "Sleep", "Since", "Until"}, clockOwners(), "take the clock through Deps"},
		{"time", []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Tick"}, timers, "return from Step when to come again"},
		{"context", []string{"AfterFunc"}, starters(), "it starts a goroutine"},
		{"net/http", []string{"Client", "DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm", "Transport"}, clients, wayOut},
		{"net", []string{"Dial", "Dialer", "DialIP", "DialTCP", "DialTimeout", "DialUDP", "DialUnix"}, clients, wayOut},
		{"crypto/tls", []string{"Client", "Dial", "Dialer", "DialWithDialer"}, clients, wayOut},
	}
}
