package prometheus_test

import (
	"maps"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/internal/metrics"
	"pay.taipei/gateway/providers"
)

// figures are the values of each label of each series that Prometheus reads from the gateway.
type figures map[string]map[string][]string

// gateway is what a gateway shows in which everything has happened.
func gateway(t *testing.T) figures {
	t.Helper()
	m, err := metrics.New([]string{"main"})
	if err != nil {
		t.Fatal(err)
	}
	m.Client("core")
	m.HTTPRequest("api", "/v1/orders", 201, time.Second)
	m.HTTPRequest("edge", "/pay/:token", 200, time.Second)
	answer := httptest.NewRecorder()
	m.Handler(nil).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	all := figures{}
	for line := range strings.Lines(answer.Body.String()) {
		if found := regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? `).FindStringSubmatch(line); found != nil {
			if all[found[1]] == nil {
				all[found[1]] = map[string][]string{}
			}
			for _, l := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(found[2], -1) {
				all[found[1]][l[1]] = append(all[found[1]][l[1]], l[2])
			}
		}
	}
	return all
}

// known adds to the gateway's figures those that Prometheus makes, some of them by our rules.
func known(t *testing.T) figures {
	t.Helper()
	all := gateway(t)
	if all["gateway_maintenance"] == nil {
		t.Fatal("the gateway's figures cannot be read")
	}
	recorded, alerts := rules(t)
	for _, r := range recorded {
		level, _, _ := strings.Cut(r.Record, ":") // named by the labels that it keeps
		all[r.Record] = map[string][]string{}
		for l := range strings.SplitSeq(level, "_") {
			all[r.Record][l] = nil
		}
	}
	all["up"] = map[string][]string{}
	all["ALERTS"] = map[string][]string{"alertstate": {"pending", "firing"}, "severity": {"page", "ticket"}}
	for _, a := range alerts {
		all["ALERTS"]["alertname"] = append(all["ALERTS"]["alertname"], a.Alert)
	}
	return all
}

var (
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	spans    = regexp.MustCompile(`\[[^\]]*\]|\boffset\s+\w+|"[^"]*"|\{[^}]*\}`)
	names    = regexp.MustCompile(`[a-zA-Z_:][\w:]*\s*\(?`)
	selector = regexp.MustCompile(`([a-zA-Z_:][\w:]*)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
)

// open are labels whose values come from the configuration, the route table or Prometheus.
var open = []string{"account", "client", "route", "code", "le", "job", "instance"}

// misnamed are the series, labels and values of an expression that nobody has.
func (f figures) misnamed(expr string) []string {
	var wrong []string
	flat := grouping.ReplaceAllString(expr, " ")
	var used []string
	for _, name := range names.FindAllString(spans.ReplaceAllString(flat, " "), -1) {
		if strings.HasSuffix(name, "(") || slices.Contains([]string{"and", "or", "unless", "bool"}, strings.TrimSpace(name)) {
			continue
		}
		name = strings.TrimSpace(name)
		if used = append(used, name); f[name] == nil {
			wrong = append(wrong, name)
		}
	}
	for _, s := range selector.FindAllStringSubmatch(flat, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			values, has := f[s[1]][m[1]]
			switch {
			case m[1] == "job" || m[1] == "instance":
			case !has && !(s[1] == "ALERTS" && f.anybody(m[1])):
				wrong = append(wrong, s[1]+" has no label "+m[1])
			case slices.Contains(open, m[1]) || values == nil:
			case m[2] == "=~" || m[2] == "!~":
				for v := range strings.SplitSeq(m[3], "|") {
					re := regexp.MustCompile("^(?:" + v + ")$")
					if !slices.ContainsFunc(values, re.MatchString) {
						wrong = append(wrong, s[1]+" never has "+m[1]+"="+v)
					}
				}
			case !slices.Contains(values, m[3]):
				wrong = append(wrong, s[1]+" never has "+m[1]+"="+m[3])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			l = strings.TrimSpace(l)
			if l != "" && l != "instance" && l != "job" && !slices.ContainsFunc(used, func(name string) bool { _, has := f[name][l]; return has }) {
				wrong = append(wrong, "grouped by "+l+", which nothing in it has")
			}
		}
	}
	return wrong
}

// anybody says whether any series of the gateway has the label.
func (f figures) anybody(label string) bool {
	for _, labels := range f {
		if _, has := labels[label]; has {
			return true
		}
	}
	return false
}

// TestMisnamed shows that the names below are really compared.
func TestMisnamed(t *testing.T) {
	f := known(t)
	for expr, want := range map[string]int{
		`max(gateway_doubts) > 0`: 0,
		`max(gateway_doubt) > 0`:  1,
		`sum by (account) (increase(gateway_callbacks_total{verdict="ok"}[1h]))`:  1,
		`sum by (op) (increase(gateway_callbacks_total{verdict="refused"}[1h]))`:  1,
		`gateway_callbacks_total{op="query"} offset 10m`:                          1,
		`gateway_provider_calls_total{kind=~"auth|forbidden"}`:                    1,
		`account:gateway_paid:ratio_increase1h{account="a"} unless on (op) up`:    1,
		`account:gateway_paid:ratio_increase1d unless gatway_quiet`:               2,
		`ALERTS{alertname="GatewayDown"} or ALERTS{alertname="GatewayIsDown"}`:    1,
		`histogram_quantile(0.5, rate(gateway_provider_call_seconds_bucket[5m]))`: 0,
	} {
		if got := f.misnamed(expr); len(got) != want {
			t.Errorf("%s: found %q, want %d", expr, got, want)
		}
	}
}

// TestNames: a rule about a figure that the gateway does not have would never fire, and a test of it would prove nothing.
func TestNames(t *testing.T) {
	f := known(t)
	recorded, alerts := rules(t)
	for _, r := range slices.Concat(recorded, alerts) {
		for _, wrong := range f.misnamed(r.Expr) {
			t.Errorf("%s%s: %s", r.Record, r.Alert, wrong)
		}
	}
	for _, s := range scenarios(t) {
		for _, in := range s.Input {
			for _, wrong := range f.misnamed(in.Series) {
				t.Errorf("scenario %q: %s", s.Name, wrong)
			}
		}
		for _, a := range s.Asked {
			for _, wrong := range f.misnamed(a.Expr) {
				t.Errorf("scenario %q: %s", s.Name, wrong)
			}
		}
	}
}

// TestEveryFigureIsUsed: a figure that no rule and no panel shows is watched by nobody.
func TestEveryFigureIsUsed(t *testing.T) {
	recorded, alerts := rules(t)
	var shown strings.Builder
	for _, r := range slices.Concat(recorded, alerts) {
		shown.WriteString(r.Expr + "\n")
	}
	for _, e := range board(t).expressions() {
		shown.WriteString(e + "\n")
	}
	used := names.FindAllString(shown.String(), -1)
	for _, name := range slices.Sorted(maps.Keys(gateway(t))) {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "gateway_") && !slices.Contains(used, name) && !slices.Contains(used, base+"_bucket") {
			t.Errorf("%s is in no rule and on no panel", name)
		}
	}
}

// TestKinds: rules tell a provider's faults from its answers by the words of providers.Kind.
func TestKinds(t *testing.T) {
	kinds := gateway(t)["gateway_provider_calls_total"]["kind"]
	for kind := range providers.Kind(100) {
		if !slices.Contains(kinds, kind.String()) {
			t.Errorf("gateway_provider_calls_total has no kind %s at the start", kind)
		}
	}
}
