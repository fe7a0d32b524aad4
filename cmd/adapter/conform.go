package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/all"
	"pay.taipei/gateway/providers/providertest"
)

type conformCmd struct {
	Names []string `arg:"" optional:"" placeholder:"NAME" help:"Adapters; none: all."`
	Write string   `placeholder:"FILE" help:"Write the table of all adapters to a file instead (docs/conformance.md)."`
	JSON  bool     `name:"json" help:"For programs."`
}

// Run prints the checklist of each adapter and its grade; a draft is an error.
func (c *conformCmd) Run(ctx context.Context) error {
	names := c.Names
	if len(names) == 0 {
		names = all.Names()
	}
	for _, name := range names {
		if !slices.Contains(all.Names(), name) {
			return fmt.Errorf("adapter %q is not known: want one of %v", name, all.Names())
		}
	}
	var reports []report
	for _, name := range names {
		fmt.Fprintf(os.Stderr, "checking %s…\n", name)
		r, err := examine(ctx, name)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	switch {
	case c.Write != "":
		if len(c.Names) > 0 {
			return errors.New("the table is of all adapters: give no names beside --write")
		}
		if err := os.WriteFile(c.Write, []byte(table(reports)), 0o644); err != nil { //nolint:gosec // a document for everybody
			return err
		}
	case c.JSON:
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(reports); err != nil {
			return err
		}
	default:
		for _, r := range reports {
			fmt.Print(r.text())
		}
	}
	var drafts []string
	for _, r := range reports {
		if r.Grade == "draft" {
			drafts = append(drafts, r.Name)
		}
	}
	if len(drafts) > 0 {
		return fmt.Errorf("not fit for use: %s", strings.Join(drafts, ", "))
	}
	return nil
}

// report is what was found about an adapter.
type report struct {
	Name    string         `json:"adapter"`
	Checks  []result       `json:"checks"`
	Vectors map[string]int `json:"vectors"` // by where they are from: document, recorded, derived
	Page    bool           `json:"page"`    // docs/providers/NAME.md is there
	Double  bool           `json:"double"`  // sandbox/NAME is there
	Grade   string         `json:"grade"`
	Next    string         `json:"next"` // what the next grade wants
}

// result is what came of one check.
type result struct {
	Name    string `json:"check"`
	Promise string `json:"promise"`
	Came    string `json:"result"` // pass, fail, skip or excepted
	Why     string `json:"why,omitempty"`
}

// examine runs an adapter's conformance test and collects the rest of the evidence.
func examine(ctx context.Context, name string) (report, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return report{}, fmt.Errorf("this runs in a checkout of the gateway, with Go: %w", err)
	}
	dir := strings.TrimSpace(string(root))
	test := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-run", "^TestConformance$", "./providers/"+name) //nolint:gosec // one of ours
	test.Dir = dir
	out, runErr := test.Output() // it fails when a check does
	r := report{Name: name, Vectors: map[string]int{}}
	if r.Checks, err = results(out); err != nil {
		return r, fmt.Errorf("%s: %w", name, errors.Join(err, runErr))
	}
	file, err := os.ReadFile(filepath.Join(dir, "providers", name, "testdata", "vectors.json"))
	if err != nil {
		return r, fmt.Errorf("%s: vectors: %w", name, err)
	}
	vectors, err := providers.CheckVectors(file, all.Schemes())
	if err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	for _, v := range vectors {
		if v.Pass {
			r.Vectors[origin(v.Source)]++
		}
	}
	r.Page, r.Double = exists(dir, "docs", "providers", name+".md"), exists(dir, "sandbox", name)
	r.grade()
	return r, nil
}

func exists(path ...string) bool {
	_, err := os.Stat(filepath.Join(path...))
	return err == nil
}

// origin is the first word of a vector's source.
func origin(source string) string {
	word, _, _ := strings.Cut(source, ":")
	if word == "recorded" || word == "derived" {
		return word
	}
	return "document"
}

// results reads what "go test -json" said of the kit's checks.
func results(out []byte) ([]result, error) {
	came, why := map[string]string{}, map[string]string{}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var e struct{ Action, Test, Output string }
		if err := d.Decode(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("the tests did not run: %w", err)
		}
		check, ok := strings.CutPrefix(e.Test, "TestConformance/")
		if !ok {
			continue
		}
		switch e.Action {
		case "pass", "fail", "skip":
			came[check] = e.Action
		case "output":
			if line := strings.TrimSpace(e.Output); !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
				if _, said, found := strings.Cut(line, ": "); found && why[check] == "" {
					why[check] = said
				}
			}
		}
	}
	if len(came) == 0 {
		return nil, errors.New("no check ran: its TestConformance must call providertest.Run, and compile")
	}
	var list []result
	for _, c := range providertest.Checks() {
		r := result{Name: c.Name, Promise: c.Promise, Came: came[c.Name], Why: why[c.Name]}
		switch {
		case r.Came == "skip" && strings.HasPrefix(r.Why, "excepted "):
			r.Came = "excepted"
		case r.Came == "":
			r.Came, r.Why = "fail", "it did not run"
		}
		list = append(list, r)
	}
	return list, nil
}

func (r *report) count(came string) (n int) {
	for _, c := range r.Checks {
		if c.Came == came {
			n++
		}
	}
	return n
}

// grade goes by evidence alone. What nobody has seen at the provider itself is fit for its sandbox and no more.
func (r *report) grade() {
	switch {
	case r.count("fail") > 0 || r.Vectors["document"]+r.Vectors["recorded"] == 0 || !r.Page || !r.Double:
		r.Grade, r.Next = "draft", "sandbox wants every check to pass, a vector from the provider's document, a page in docs/providers and a double in sandbox"
	case r.Vectors["recorded"] == 0:
		r.Grade, r.Next = "sandbox", "canary wants a vector that was recorded at the provider"
	case r.count("excepted") > 0 || r.Vectors["recorded"] < 4:
		r.Grade, r.Next = "canary", "production wants no exceptions, and recorded vectors of create, callback, query and refund"
	default:
		r.Grade, r.Next = "production", ""
	}
}

func (r *report) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.Name)
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "  %-8s  %-36s  %s\n", c.Came, c.Name, c.Promise)
		if c.Why != "" && c.Came != "pass" {
			fmt.Fprintf(&b, "  %-8s  %-36s  ↳ %s\n", "", "", c.Why)
		}
	}
	fmt.Fprintf(&b, "  %d pass, %d do not apply, %d excepted, %d fail; vectors: %d from documents, %d recorded, %d derived\n",
		r.count("pass"), r.count("skip"), r.count("excepted"), r.count("fail"), r.Vectors["document"], r.Vectors["recorded"], r.Vectors["derived"])
	fmt.Fprintf(&b, "  grade: %s", r.Grade)
	if r.Next != "" {
		fmt.Fprintf(&b, " (%s)", r.Next)
	}
	b.WriteString("\n\n")
	return b.String()
}

// table is docs/conformance.md.
func table(reports []report) string {
	var b strings.Builder
	b.WriteString("# What every adapter promises\n\nMade by `go run ./cmd/adapter conform --write docs/conformance.md`; a test keeps it so. Each check of the kit in `providers/providertest` is\nshown to fail by an adapter that is broken on purpose.\n\n")
	b.WriteString("✓ it holds · – it does not apply · ! excepted, with a reason and an end · ✗ it fails\n\n| check | what it promises |")
	for _, r := range reports {
		b.WriteString(" " + r.Name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat(":-:|", len(reports)) + "\n")
	marks := map[string]string{"pass": "✓", "skip": "–", "excepted": "!", "fail": "✗"}
	for i, c := range reports[0].Checks {
		fmt.Fprintf(&b, "| `%s` | %s |", c.Name, c.Promise)
		for _, r := range reports {
			b.WriteString(" " + marks[r.Checks[i].Came] + " |")
		}
		b.WriteString("\n")
	}
	row := func(what string, of func(report) string) {
		b.WriteString("| | " + what + " |")
		for _, r := range reports {
			b.WriteString(" " + of(r) + " |")
		}
		b.WriteString("\n")
	}
	for _, from := range []string{"document", "recorded", "derived"} {
		row("vectors, "+map[string]string{"document": "from the provider's documents", "recorded": "recorded at the provider", "derived": "derived here"}[from], func(r report) string {
			return fmt.Sprint(r.Vectors[from])
		})
	}
	row("**grade**", func(r report) string { return r.Grade })
	b.WriteString("\nA grade goes by evidence alone. *draft*: a check fails, or vectors, page or double are missing. *sandbox*: all of it is there. *canary*: something\nwas recorded at the provider itself. *production*: create, callback, query and refund were, and nothing is excepted.\n")
	for _, r := range reports {
		for _, c := range r.Checks {
			if c.Came == "excepted" || c.Came == "fail" {
				fmt.Fprintf(&b, "\n- %s, `%s`: %s\n", r.Name, c.Name, c.Why)
			}
		}
	}
	return b.String()
}
