package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Every scenario ends as it must. They wait for real seconds: for a provider's patience, and for an order to end.
func TestScenarios(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(scenarios())) {
		if name == "pay" {
			continue // TestOnce
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			if err := run(t.Context(), []string{"-once", "-scenario", name}, &out); err != nil || !strings.Contains(out.String(), name+": everything was as it must be.") {
				t.Errorf("%v\n%s", err, out.String())
			}
		})
	}
}

func TestScenarioFlags(t *testing.T) {
	for _, args := range [][]string{{"-once", "-scenario", "nothing"}, {"-scenario", "refund"}} {
		if err := run(t.Context(), args, new(strings.Builder)); err == nil || !strings.Contains(err.Error(), "scenario") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// A step that does not go as it must ends the scenario with an error.
func TestScenarioFails(t *testing.T) {
	c := openTestCity(t)
	close(c.killing) // nobody answers at the bank
	var out strings.Builder
	if err := c.play(t.Context(), "refund", usualProvider, &out); err == nil || !strings.Contains(out.String(), "FAIL") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
