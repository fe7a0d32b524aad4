package prometheus_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// dashboard is what of Grafana's model is looked at here.
type dashboard struct {
	Title      string
	Templating struct {
		List []struct{ Name, Type, Query string }
	}
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Panels []panel
}

type panel struct {
	ID                       int
	Type, Title, Description string
	Datasource               struct{ UID string }
	GridPos                  struct{ X, Y, W, H int }
	Targets                  []struct{ RefID, Expr, LegendFormat string }
}

func board(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal(read(t, "dashboard.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// expressions are all of them, with Grafana's variables filled in.
func (d dashboard) expressions() []string {
	fill := strings.NewReplacer("$__rate_interval", "5m", "$account", ".+")
	var all []string
	for _, a := range d.Annotations.List {
		all = append(all, fill.Replace(a.Expr))
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			all = append(all, fill.Replace(target.Expr))
		}
	}
	return all
}

// TestDashboard: every panel asks for figures that there are, says what to do, and covers no other.
func TestDashboard(t *testing.T) {
	d := board(t)
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: the id %d is given twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("%s lies over %q, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Title == "" || p.GridPos.W*p.GridPos.H == 0 {
			t.Errorf("panel %d has no title or no place", p.ID)
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: it asks nothing, or a fixed data source", p.Title)
		}
		if strings.Count(p.Description, " ") < 8 {
			t.Errorf("%s: its description must say what to do", p.Title)
		}
	}
	f := known(t)
	for _, v := range d.Templating.List {
		if name, isQuery := strings.CutPrefix(v.Query, "label_values("); isQuery {
			name, label, _ := strings.Cut(strings.TrimSuffix(name, ")"), ", ")
			if _, has := f[name][label]; !has {
				t.Errorf("variable %s: %s has no label %s", v.Name, name, label)
			}
		}
	}
	var asRules strings.Builder
	asRules.WriteString("groups:\n  - name: panels\n    rules:\n")
	for i, e := range d.expressions() {
		for _, wrong := range f.misnamed(e) {
			t.Errorf("%s: %s", e, wrong)
		}
		if left := regexp.MustCompile(`\$\w+`).FindString(e); left != "" {
			t.Errorf("%s: the variable %s is not one of this dashboard", e, left)
		}
		fmt.Fprintf(&asRules, "      - {record: panel:%d, expr: '%s'}\n", i, strings.ReplaceAll(e, "'", "''"))
	}
	file := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(file, []byte(asRules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := promtool(t, "check", "rules", file); err != nil {
		t.Errorf("an expression is not PromQL: %v\n%s", err, out)
	}
}

// TestDashboardShows what somebody asks first.
func TestDashboardShows(t *testing.T) {
	all := strings.Join(board(t).expressions(), "\n")
	for _, figure := range []string{
		"gateway_order_moves_total", "gateway_paid_total", "gateway_callbacks_total", "gateway_breaker_state", "gateway_provider_calls_total",
		"account_op:gateway_provider_call_seconds:p99_rate10m", "gateway_outbox_oldest_seconds", "gateway_outbox_depth", "gateway_doubts",
		"gateway_doubts_oldest_seconds", "gateway_surplus_open", "gateway_refunds_undecided", "gateway_reviews_open", "gateway_cases_open",
		"gateway_orphans", "gateway_unproven", "gateway_degraded", "gateway_maintenance",
	} {
		if !regexp.MustCompile(`(^|[^\w:])` + figure + `([^\w:]|$)`).MatchString(all) {
			t.Errorf("no panel shows %s", figure)
		}
	}
	if !strings.Contains(board(t).Annotations.List[0].Expr, "gateway_maintenance") {
		t.Error("maintenance is not drawn over the panels")
	}
}
