package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/all"
)

type vectorsCmd struct {
	Check   vectorsCheckCmd   `cmd:"" help:"Make the test vectors of files again, and say of each whether it holds."`
	Schemes vectorsSchemesCmd `cmd:"" help:"Show the schemes that are known, with their inputs."`
}

type vectorsCheckCmd struct {
	JSON  bool     `name:"json" help:"For programs."`
	Files []string `arg:"" type:"existingfile" placeholder:"FILE" help:"JSON, as docs/vectors.md describes it."`
}

// Run reports every vector, and fails if one does not hold.
func (c *vectorsCheckCmd) Run() error {
	var results []providers.VectorResult
	for _, file := range c.Files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		list, err := providers.CheckVectors(text, all.Schemes())
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		results = append(results, list...)
	}
	failed := 0
	for _, r := range results {
		if !r.Pass {
			failed++
		}
	}
	if c.JSON {
		if err := printJSON(results); err != nil {
			return err
		}
	} else {
		for _, r := range results {
			fmt.Print(vectorText(&r))
		}
		fmt.Printf("%d of %d vectors hold\n", len(results)-failed, len(results))
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d vectors do not hold", failed, len(results))
	}
	return nil
}

// vectorText is a vector in a line, and of one that does not hold why.
func vectorText(r *providers.VectorResult) string {
	if r.Pass {
		return fmt.Sprintf("pass  %s  %s\n", r.ID, r.Scheme)
	}
	text := fmt.Sprintf("FAIL  %s  %s\n", r.ID, r.Scheme)
	if r.Err != "" {
		return text + "      " + r.Err + "\n"
	}
	expected, _ := json.Marshal(r.Expected) // decoded JSON always can be written
	got, _ := json.Marshal(r.Got)
	return text + fmt.Sprintf("      expected %s\n      got      %s\n", expected, got)
}

type vectorsSchemesCmd struct{}

// Run lists them.
func (vectorsSchemesCmd) Run() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, s := range all.Schemes() {
		_, _ = fmt.Fprintf(w, "%s\t%s\n", s.Name, strings.Join(s.Inputs, ", ")) // Flush tells
	}
	return w.Flush()
}
