// Package prometheus_test proves the rules, the dashboard and the example of this folder: with promtool, and against the
// figures that the gateway has.
package prometheus_test

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// promtool runs it and returns what it says. Without it nothing here is proven, so its absence is a failure everywhere.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("promtool is missing, and the alert rules cannot be tested without it: run \"make services\" (Debian: apt-get install prometheus): %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	return string(out), err
}

func TestPromtool(t *testing.T) {
	for name, args := range map[string][]string{
		"rules": {"check", "rules", "rules.yaml"}, "config": {"check", "config", "prometheus.yaml"}, "tests": {"test", "rules", "rules_test.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out, err := promtool(t, args...); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// rule is one recording or alerting rule.
type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// strict reads YAML, and refuses what the target does not have.
func strict(t *testing.T, file string, to any) {
	t.Helper()
	if err := yaml.NewDecoder(bytes.NewReader(read(t, file)), yaml.Strict()).Decode(to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// rules are the recording rules and the alerts.
func rules(t *testing.T) (recorded, alerts []rule) {
	t.Helper()
	var file struct {
		Groups []struct {
			Name     string `yaml:"name"`
			Interval string `yaml:"interval"`
			Rules    []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	strict(t, "rules.yaml", &file)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				alerts = append(alerts, r)
			} else {
				recorded = append(recorded, r)
			}
		}
	}
	if len(recorded) == 0 || len(alerts) == 0 {
		t.Fatal("rules.yaml has no recording rules or no alerts")
	}
	return recorded, alerts
}

// scenario is one test of promtool.
type scenario struct {
	Name     string `yaml:"name"`
	Interval string `yaml:"interval"`
	Input    []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Asked []struct {
		Expr     string `yaml:"expr"`
		EvalTime string `yaml:"eval_time"`
		Samples  []struct {
			Labels string  `yaml:"labels"`
			Value  float64 `yaml:"value"`
		} `yaml:"exp_samples"`
	} `yaml:"promql_expr_test"`
}

func scenarios(t *testing.T) []scenario {
	t.Helper()
	var file struct {
		RuleFiles []string   `yaml:"rule_files"`
		Every     string     `yaml:"evaluation_interval"`
		Tests     []scenario `yaml:"tests"`
	}
	strict(t, "rules_test.yaml", &file)
	return file.Tests
}

// tested is what the scenarios say of one alert.
type tested struct {
	fires, quiet, muted bool     // muted: quiet for the account that is in maintenance
	labels              []string // with which it fires
}

func (s scenario) says(alert string, to *tested) {
	for _, a := range s.Asked {
		_, matchers, _ := strings.Cut(a.Expr, "ALERTS{")
		switch {
		case !strings.Contains(matchers, `alertname="`+alert+`"`):
		case len(a.Samples) == 0:
			to.quiet = true
			to.muted = to.muted || strings.Contains(matchers, `account="closed"`)
		case strings.Contains(matchers, `alertstate="firing"`):
			to.fires = true
			for _, sample := range a.Samples {
				for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(sample.Labels, -1) {
					to.labels = append(to.labels, l[1])
				}
			}
		}
	}
}

const mute = `(?m)^unless on \(account\) (max_over_time\(gateway_maintenance\[\w+\]\)|gateway_maintenance) == 1$`

// TestAlerts: every alert says how urgent it is, what it means and what to do, and is proven to fire, to be quiet, and to be
// silent in maintenance if it is about one account.
func TestAlerts(t *testing.T) {
	_, alerts := rules(t)
	all := scenarios(t)
	for _, a := range alerts {
		t.Run(a.Alert, func(t *testing.T) {
			if !slices.Contains([]string{"page", "ticket"}, a.Labels["severity"]) || len(a.Labels) != 1 {
				t.Errorf("labels %v: want severity page or ticket, and nothing else", a.Labels)
			}
			if names := slices.Sorted(maps.Keys(a.Annotations)); !slices.Equal(names, []string{"description", "runbook", "summary"}) {
				t.Errorf("it has %v: want summary, description and runbook", names)
			}
			var got tested
			for _, s := range all {
				s.says(a.Alert, &got)
			}
			if !got.fires || !got.quiet {
				t.Errorf("rules_test.yaml shows it firing: %v, quiet: %v; want both", got.fires, got.quiet)
			}
			for _, l := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(a.Annotations["summary"]+a.Annotations["description"], -1) {
				if !slices.Contains(got.labels, l[1]) {
					t.Errorf("its text shows the label %s, which it does not have", l[1])
				}
			}
			if !slices.Contains(got.labels, "account") {
				return
			}
			if !regexp.MustCompile(mute).MatchString(a.Expr) {
				t.Errorf("it is about one account, and maintenance does not mute it: add the line unless on (account) gateway_maintenance == 1, or with max_over_time if it looks back")
			}
			if !got.muted {
				t.Error(`rules_test.yaml does not show it quiet for account="closed", which is in maintenance`)
			}
		})
	}
}

// TestEveryClauseIsHeld takes one clause out of an alert, or its patience, and looks whether the scenarios notice: guards of
// low traffic and of maintenance are worth only what a test would miss.
func TestEveryClauseIsHeld(t *testing.T) {
	const nextAlert = "\n      - alert: "
	groups := strings.Split(string(read(t, "rules.yaml")), "\n  - name: ")
	recorded := groups[0] + "\n  - name: " + groups[1] + "\n  - name: alerts\n    rules:" // the first group has no alerts
	var alerts []string
	for _, g := range groups[2:] {
		alerts = append(alerts, strings.Split(g, nextAlert)[1:]...)
	}
	head, body, _ := strings.Cut(string(read(t, "rules_test.yaml")), "\ntests:\n")
	mentions := func(text, alert string) bool {
		name, _, _ := strings.Cut(alert, "\n")
		return strings.Contains(text, `"`+name+`"`)
	}
	for _, alert := range alerts {
		about, others := head+"\ntests:", recorded
		for _, s := range strings.Split("\n"+body, "\n  - name: ")[1:] {
			if mentions(s, alert) {
				about += "\n  - name: " + s
			}
		}
		for _, other := range alerts {
			if other != alert && mentions(about, other) {
				others += nextAlert + other
			}
		}
		for name, mutant := range mutants(alert) {
			t.Run(strings.Fields(alert)[0]+"/"+name, func(t *testing.T) {
				t.Parallel()
				folder := t.TempDir()
				for file, content := range map[string]string{"rules.yaml": others + nextAlert + mutant, "rules_test.yaml": about} {
					if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if out, err := promtool(t, "test", "rules", filepath.Join(folder, "rules_test.yaml")); err == nil || !strings.Contains(out, "got:") {
					t.Errorf("no scenario notices that this is missing: %v\n%s", err, out)
				}
			})
		}
	}
}

// mutants are a rule without one of its later clauses, without its first one where the second would stand alone, and
// without its patience. Clauses stand on lines of their own.
func mutants(block string) map[string]string {
	all := map[string]string{}
	lines := strings.Split(block, "\n")
	without := func(i int) []string { return slices.Delete(slices.Clone(lines), i, i+1) }
	for i, line := range lines {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "for:":
			all[strings.TrimSpace(line)] = strings.Join(without(i), "\n")
		case "and", "unless":
			all[strings.TrimSpace(line)] = strings.Join(without(i), "\n")
			if before := strings.TrimSpace(lines[i-1]); word == "and" && strings.TrimSpace(lines[i-2]) == "expr: |" {
				rest := without(i - 1)
				rest[i-1] = strings.Replace(rest[i-1], "and ", "", 1)
				all[before] = strings.Join(rest, "\n")
			}
		}
	}
	return all
}

// TestRunbooks: every alert leads to a section that is there. Headings become anchors as GitHub makes them.
func TestRunbooks(t *testing.T) {
	_, alerts := rules(t)
	const document = "docs/operations.md"
	there := map[string]bool{}
	for line := range strings.Lines(string(read(t, "../../"+document))) {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			there[anchor(title)] = true
		}
	}
	by := map[string][]string{}
	for _, a := range alerts {
		by[a.Annotations["runbook"]] = append(by[a.Annotations["runbook"]], a.Alert)
	}
	for _, runbook := range slices.Sorted(maps.Keys(by)) {
		t.Run(filepath.Base(runbook), func(t *testing.T) {
			file, section, _ := strings.Cut(runbook, "#")
			if file != document || !there[section] {
				t.Errorf("%s has no section whose anchor is %q: add a heading that says what to do about %s", document, section, strings.Join(by[runbook], ", "))
			}
		})
	}
}

func anchor(title string) string {
	kept := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
	return strings.ReplaceAll(kept, " ", "-")
}
