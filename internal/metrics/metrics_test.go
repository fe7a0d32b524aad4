package metrics

import (
	"context"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

func used(t *testing.T) *Metrics {
	t.Helper()
	m, err := New([]string{"main"})
	if err != nil {
		t.Fatal(err)
	}
	m.HTTPRequest("api", "/v1/orders", 201, 20*time.Millisecond)
	m.ProviderCall("main", "query", "outcome_unknown", time.Second)
	m.Callback("main", "accepted")
	m.OrderMoved("paid")
	m.IdempotencyHit("sql")
	m.UnmappedCode("main")
	m.Stuck()
	m.Degraded("redis", true)
	m.Client("core")
	m.Breaker("main", "create", 2, true)
	m.Maintenance("main", true)
	m.Quiet("main", 90*time.Second)
	m.Attempt("main")
	m.Paid("main", "query")
	m.CallbackMissing("main")
	m.RateLimited("core")
	m.Reloaded(false)
	m.Set(Readings{
		RefundsUndecided: 8, SurplusOldest: time.Minute, DoubtOldest: 2 * time.Second, RefundOldest: 3 * time.Second, UnprovenOldest: 4 * time.Second, Cases: map[string]int64{"unresolved": 9},
		OutboxOldest: 1500 * time.Millisecond, OutboxDepth: map[string]int64{"held": 2}, Doubts: 3, SurplusOpen: 4, Reviews: 5, Orphan: 6, Unproven: 7})
	return m
}

func TestLint(t *testing.T) {
	families, err := used(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestNamesAndLabels holds what dashboards and alert rules rely on. A label is listed
// here only if its values come from a fixed list, the configuration or the route table.
func TestNamesAndLabels(t *testing.T) {
	want := map[string]string{
		"gateway_http_requests_total":    "code listener route",
		"gateway_http_request_seconds":   "listener route",
		"gateway_provider_calls_total":   "account kind op",
		"gateway_provider_call_seconds":  "account op",
		"gateway_callbacks_total":        "account verdict",
		"gateway_order_moves_total":      "to",
		"gateway_outbox_oldest_seconds":  "",
		"gateway_outbox_depth":           "state",
		"gateway_outbox_stuck_total":     "",
		"gateway_idempotency_hits_total": "layer",
		"gateway_doubts":                 "",
		"gateway_surplus_open":           "",
		"gateway_reviews_open":           "",
		"gateway_orphans":                "",
		"gateway_unproven":               "",
		"gateway_unmapped_codes_total":   "account",
		"gateway_degraded":               "part",

		"gateway_breaker_state":               "account op",
		"gateway_breaker_forced":              "account op",
		"gateway_maintenance":                 "account",
		"gateway_quiet_seconds":               "account",
		"gateway_attempts_total":              "account",
		"gateway_paid_total":                  "account by",
		"gateway_callbacks_missing_total":     "account",
		"gateway_rate_limited_total":          "client",
		"gateway_config_reloads_total":        "outcome",
		"gateway_config_last_reload_ok":       "",
		"gateway_cases_open":                  "kind",
		"gateway_refunds_undecided":           "",
		"gateway_surplus_open_oldest_seconds": "",
		"gateway_doubts_oldest_seconds":       "",

		"gateway_refunds_undecided_oldest_seconds": "",
		"gateway_unproven_oldest_seconds":          "",
	}
	families, err := used(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "gateway_") {
			continue
		}
		labels, known := want[f.GetName()]
		if !known {
			t.Errorf("%s is not in the list", f.GetName())
		}
		delete(want, f.GetName())
		for _, series := range f.GetMetric() {
			var names []string
			for _, l := range series.GetLabel() {
				names = append(names, l.GetName())
			}
			slices.Sort(names)
			if got := strings.Join(names, " "); got != labels {
				t.Errorf("%s has labels %q, want %q", f.GetName(), got, labels)
			}
		}
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
}

// page is what Prometheus reads.
func page(t *testing.T, m *Metrics, refresh func(context.Context)) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler(refresh).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if answer.Code != 200 {
		t.Fatalf("status %d", answer.Code)
	}
	return answer.Body.String()
}

func wantLines(t *testing.T, page string, want ...string) {
	t.Helper()
	for _, line := range want {
		if !strings.Contains(page, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
}

func TestFigures(t *testing.T) {
	m := used(t)
	wantLines(t, page(t, m, nil),
		`gateway_http_requests_total{code="201",listener="api",route="/v1/orders"} 1`,
		`gateway_http_request_seconds_bucket{listener="api",route="/v1/orders",le="0.005"} 0`,
		`gateway_http_request_seconds_bucket{listener="api",route="/v1/orders",le="0.02"} 1`,
		`gateway_provider_calls_total{account="main",kind="outcome_unknown",op="query"} 1`,
		`gateway_provider_call_seconds_sum{account="main",op="query"} 1`,
		`gateway_callbacks_total{account="main",verdict="accepted"} 1`,
		`gateway_callbacks_total{account="main",verdict="refused"} 0`,
		`gateway_order_moves_total{to="paid"} 1`,
		`gateway_idempotency_hits_total{layer="sql"} 1`,
		`gateway_unmapped_codes_total{account="main"} 1`,
		`gateway_outbox_stuck_total 1`,
		`gateway_degraded{part="redis"} 1`,
		`gateway_degraded{part="sql"} 0`,
		`gateway_outbox_oldest_seconds 1.5`,
		`gateway_outbox_depth{state="held"} 2`,
		`gateway_doubts 3`,
		`gateway_surplus_open 4`,
		`gateway_reviews_open 5`,
		`gateway_orphans 6`, `gateway_unproven 7`,
		`gateway_breaker_state{account="main",op="create"} 2`, `gateway_breaker_forced{account="main",op="create"} 1`,
		`gateway_breaker_state{account="main",op="query"} 0`,
		`gateway_maintenance{account="main"} 1`, `gateway_quiet_seconds{account="main"} 90`,
		`gateway_attempts_total{account="main"} 1`, `gateway_paid_total{account="main",by="query"} 1`, `gateway_paid_total{account="main",by="callback"} 0`,
		`gateway_callbacks_missing_total{account="main"} 1`, `gateway_rate_limited_total{client="core"} 1`,
		`gateway_config_reloads_total{outcome="refused"} 1`, `gateway_config_last_reload_ok 0`,
		`gateway_refunds_undecided 8`, `gateway_surplus_open_oldest_seconds 60`, `gateway_doubts_oldest_seconds 2`,
		`gateway_cases_open{kind="unresolved"} 9`, `gateway_cases_open{kind="refund_mismatch"} 0`,
	)
	m.Degraded("redis", false)
	wantLines(t, page(t, m, nil), `gateway_degraded{part="redis"} 0`)
}

// TestSeriesStartAtZero: a counter that appears with its first event hides that event
// from rate().
func TestSeriesStartAtZero(t *testing.T) {
	m, err := New([]string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	wantLines(t, page(t, m, nil),
		`gateway_callbacks_total{account="a",verdict="accepted"} 0`,
		`gateway_callbacks_total{account="b",verdict="refused"} 0`,
		`gateway_provider_calls_total{account="b",kind="outcome_unknown",op="confirm"} 0`,
		`gateway_provider_call_seconds_count{account="b",op="refund"} 0`,
		`gateway_breaker_state{account="a",op="refund"} 0`, `gateway_breaker_forced{account="a",op="create"} 0`,
		`gateway_attempts_total{account="a"} 0`, `gateway_paid_total{account="a",by="call"} 0`, `gateway_callbacks_missing_total{account="a"} 0`,
		`gateway_maintenance{account="a"} 0`, `gateway_quiet_seconds{account="a"} 0`,
		`gateway_order_moves_total{to="refund_failed"} 0`, `gateway_order_moves_total{to="case"} 0`,
		`gateway_config_reloads_total{outcome="ok"} 0`, `gateway_config_last_reload_ok 1`,
		`gateway_cases_open{kind="refund_mismatch"} 0`,
		`gateway_unmapped_codes_total{account="b"} 0`,
		`gateway_order_moves_total{to="review"} 0`,
		`gateway_idempotency_hits_total{layer="redis"} 0`,
		`gateway_outbox_depth{state="ready"} 0`,
		`gateway_degraded{part="sql"} 0`,
	)
}

// seriesBudget is for a city of twenty accounts whose every operation, outcome and route has been seen. Who needs more
// has found a label that is not bounded.
const seriesBudget = 3500

// TestSeriesBudget: nothing that happens to a known account, client or route makes a series beyond the budget, and an
// account that comes and goes by reloads leaves none behind.
func TestSeriesBudget(t *testing.T) {
	names := make([]string, 20)
	for i := range names {
		names[i] = "account-" + strconv.Itoa(i)
	}
	m, err := New(names)
	if err != nil {
		t.Fatal(err)
	}
	idle := series(page(t, m, nil))
	everything(m, names)
	busy := series(page(t, m, nil))
	t.Logf("%d series at start, %d when everything has happened; budget %d", idle, busy, seriesBudget)
	if busy > seriesBudget {
		t.Errorf("%d series, budget %d", busy, seriesBudget)
	}
	for i := range 50 {
		name := "passing-" + strconv.Itoa(i)
		m.Account(name)
		everything(m, []string{name})
		m.Forget(name)
	}
	if after := series(page(t, m, nil)); after != busy {
		t.Errorf("%d series after accounts have come and gone, %d before", after, busy)
	}
}

// everything lets all that can happen happen once.
func everything(m *Metrics, accounts []string) {
	for route := range 30 { // the API and the edge have fewer
		for _, code := range []int{200, 201, 202, 303, 400, 401, 404, 409, 422, 429, 500, 503} {
			m.HTTPRequest("api", "/v1/"+strconv.Itoa(route), code, time.Second)
		}
	}
	for _, id := range []string{"core", "parking", "water"} {
		m.Client(id)
		m.RateLimited(id)
	}
	for _, name := range accounts {
		for _, op := range []string{"create", "query", "confirm", "refund"} {
			for _, kind := range kinds() {
				m.ProviderCall(name, op, kind, time.Second)
			}
			m.Breaker(name, op, 2, true)
		}
		for _, verdict := range []string{"accepted", "refused", "retry_later"} {
			m.Callback(name, verdict)
		}
		for _, by := range []string{"callback", "query", "return", "call"} {
			m.Paid(name, by)
		}
		m.UnmappedCode(name)
		m.Attempt(name)
		m.CallbackMissing(name)
		m.Maintenance(name, true)
		m.Quiet(name, time.Minute)
	}
}

// series counts the lines of a page that are no comments.
func series(page string) int {
	n := 0
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

// TestScrapeReadsOnlyMemory: a scrape shows what was set, as often as it comes, and the package knows nothing that it
// could ask: a dashboard that is open must cost the store nothing.
func TestScrapeReadsOnlyMemory(t *testing.T) {
	m := used(t)
	for range 3 {
		wantLines(t, page(t, m, nil), "gateway_doubts 3", "gateway_outbox_oldest_seconds 1.5")
	}
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	known := []string{"context", "fmt", "net/http", "strconv", "time"}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			what, err := strconv.Unquote(i.Path.Value)
			if err != nil || !slices.Contains(known, what) && !strings.HasPrefix(what, "github.com/prometheus/client_golang/") {
				t.Errorf("%s imports %s: figures are handed to this package, it fetches none", name, what)
			}
		}
	}
}

func TestHandlerRefreshesFirst(t *testing.T) {
	m := used(t)
	wantLines(t, page(t, m, func(context.Context) { m.Set(Readings{Doubts: 42}) }), `gateway_doubts 42`)
}

// An account that is not configured any more shows nothing, and the others stay.
func TestForget(t *testing.T) {
	m, err := New([]string{"main", "second"})
	if err != nil {
		t.Fatal(err)
	}
	m.ProviderCall("second", "query", "ok", time.Second)
	m.Forget("second")
	text := page(t, m, nil)
	if strings.Contains(text, "second\"") || !strings.Contains(text, `gateway_maintenance{account="main"} 0`) {
		t.Error(text)
	}
}
