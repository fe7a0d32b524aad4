// Package prometheus holds rules, their tests and a dashboard as files; this test holds them to the gateway's figures.
package prometheus

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/internal/metrics"
	"pay.taipei/gateway/internal/testkit"
)

// Every rule is good, fires when it must and is quiet when it must not.
func TestPromtool(t *testing.T) {
	_, err := exec.LookPath("promtool")
	testkit.Require(t, "promtool (Debian: apt-get install prometheus; make services does it)", err)
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, {"test", "rules", "rules_test.yaml"}, {"check", "config", "prometheus.yaml"}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		out, err := exec.CommandContext(ctx, "promtool", args...).CombinedOutput()
		cancel()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var alerts = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)

func TestEveryAlertIsTested(t *testing.T) {
	tests, rules := read(t, "rules_test.yaml"), read(t, "rules.yaml")
	names := alerts.FindAllStringSubmatch(rules, -1)
	for _, a := range names {
		for _, want := range []string{" fires\n", " is quiet\n"} {
			if !strings.Contains(tests, "name: "+a[1]+want) {
				t.Errorf("no test that %s%s", a[1], want)
			}
		}
		rule := rules[strings.Index(rules, "alert: "+a[1]+"\n"):]
		rule, _, _ = strings.Cut(rule, "- alert: x")
		if muted := strings.Contains(strings.SplitN(rule, "\n", 3)[1], "unless on (account) gateway_maintenance == 1"); muted != strings.Contains(tests, "name: "+a[1]+" is muted\n") {
			t.Errorf("%s: muted %v, and its test says otherwise", a[1], muted)
		}
	}
	if len(names) < 20 {
		t.Errorf("%d alerts", len(names))
	}
}

// known are the names of all figures, with those that a histogram adds.
func known(t *testing.T) map[string]bool {
	t.Helper()
	m, err := metrics.New([]string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	m.HTTPRequest("api", "/", 200, time.Second)
	m.ProviderCall("a", "query", "ok", time.Second)
	m.IdempotencyHit("sql")
	m.Client("core")
	answer := httptest.NewRecorder()
	m.Handler(nil).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	names := map[string]bool{}
	for _, line := range regexp.MustCompile(`(?m)^(gateway_\w+)`).FindAllString(answer.Body.String(), -1) {
		names[line] = true
	}
	for _, record := range regexp.MustCompile(`(?m)- record: (\S+)$`).FindAllStringSubmatch(read(t, "rules.yaml"), -1) {
		names[record[1]] = true
	}
	return names
}

// Rules and dashboard ask for nothing that the gateway does not show.
func TestFiguresExist(t *testing.T) {
	names := known(t)
	for _, file := range []string{"rules.yaml", "rules_test.yaml", "dashboard.json"} {
		used := regexp.MustCompile(`\bgateway(_[a-z]\w*|(:\w+)+)`).FindAllString(read(t, file), -1)
		for _, name := range used {
			if !names[name] {
				t.Errorf("%s: no figure %s", file, name)
			}
		}
		if len(used) == 0 {
			t.Errorf("%s uses nothing", file)
		}
	}
}

func TestDashboard(t *testing.T) {
	var board struct {
		Title  string
		Panels []struct {
			Title, Description string
			Targets            []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q: %q, %d targets", p.Title, p.Description, len(p.Targets))
		}
	}
	if len(board.Panels) < 15 {
		t.Errorf("%d panels", len(board.Panels))
	}
}

// Every alert leads to a heading of the operators' page.
func TestRunbooks(t *testing.T) {
	headings := map[string]bool{}
	for _, h := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(read(t, "../../docs/operations.md"), -1) {
		headings[strings.ReplaceAll(strings.ToLower(h[1]), " ", "-")] = true
	}
	for _, r := range regexp.MustCompile(`(?m)^ +runbook: (\S+)$`).FindAllStringSubmatch(read(t, "rules.yaml"), -1) {
		if !headings[r[1]] {
			t.Errorf("docs/operations.md has no heading %s", r[1])
		}
	}
}
