package main

import (
	"os"
	"strings"
	"testing"

	"pay.taipei/gateway/providers/all"
	"pay.taipei/gateway/providers/providertest"
)

// The document is what the kit finds today, and no adapter that can be configured is a draft.
func TestConformanceDocument(t *testing.T) {
	var reports []report
	for _, name := range all.Names() {
		r, err := examine(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if r.Grade == "draft" {
			t.Errorf("%s\n%s", name, r.text())
		}
		reports = append(reports, r)
	}
	document, err := os.ReadFile("../../docs/conformance.md")
	if err != nil || string(document) != table(reports) {
		t.Errorf("docs/conformance.md is not what was found; write it anew: go run ./cmd/adapter conform --write docs/conformance.md (%v)", err)
	}
}

// ran is what "go test -json" prints of checks that came so.
func ran(came map[string]string) []byte {
	var b strings.Builder
	for _, c := range providertest.Checks() {
		action := came[c.Name]
		if action == "" {
			action = "pass"
		}
		why := map[string]string{"skip": "kit.go:1: no power", "excepted": "kit.go:1: excepted until 2027-01-01: slow", "fail": "kit.go:1: it is wrong"}[action]
		if action == "excepted" {
			action = "skip"
		}
		if why != "" {
			b.WriteString(`{"Action":"output","Test":"TestConformance/` + c.Name + `","Output":"    ` + why + `\n"}` + "\n")
		}
		b.WriteString(`{"Action":"` + action + `","Test":"TestConformance/` + c.Name + `"}` + "\n")
	}
	return []byte(b.String())
}

// A grade goes by evidence, and lacks nothing of the grades below it.
func TestGrades(t *testing.T) {
	for name, c := range map[string]struct {
		came    map[string]string
		vectors map[string]int
		bare    bool
		want    string
	}{
		"all there":              {nil, map[string]int{"document": 1}, false, "sandbox"},
		"a check fails":          {map[string]string{"refund/done": "fail"}, map[string]int{"document": 1, "recorded": 9}, false, "draft"},
		"no vectors":             {nil, map[string]int{"derived": 9}, false, "draft"},
		"no page":                {nil, map[string]int{"document": 1}, true, "draft"},
		"recorded once":          {nil, map[string]int{"recorded": 1}, false, "canary"},
		"recorded, excepted":     {map[string]string{"refund/done": "excepted"}, map[string]int{"recorded": 9}, false, "canary"},
		"recorded, what matters": {map[string]string{"refund/done": "skip"}, map[string]int{"recorded": 4}, false, "production"},
	} {
		checks, err := results(ran(c.came))
		if err != nil {
			t.Fatal(err)
		}
		r := report{Name: "x", Checks: checks, Vectors: c.vectors, Page: !c.bare, Double: true}
		r.grade()
		if r.Grade != c.want || (r.Next == "") != (c.want == "production") {
			t.Errorf("%s: %s (%s)", name, r.Grade, r.Next)
		}
		for check, came := range c.came {
			if !strings.Contains(r.text(), "  "+came) || !strings.Contains(r.text(), check) {
				t.Errorf("%s: %s", name, r.text())
			}
		}
	}
	if _, err := results([]byte(`{"Action":"pass","Test":"TestOther"}`)); err == nil {
		t.Error("no check ran, and nobody says so")
	}
	if _, err := results([]byte("# does not compile")); err == nil {
		t.Error("nothing compiles, and nobody says so")
	}
	missing, err := results([]byte(`{"Action":"pass","Test":"TestConformance/refund/done"}`))
	if err != nil || (&report{Checks: missing}).count("fail") != len(providertest.Checks())-1 {
		t.Errorf("a check that did not run passes: %v", err)
	}
}
