package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// The scenario is played as a newcomer plays it: the whole city, no browser.
func TestOncePaysTwoBills(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"-once"}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if got := strings.Count(out.String(), "ok    "); got != 10 || !strings.Contains(out.String(), "Paid: order 20") {
		t.Fatalf("played %d steps of 10:\n%s", got, out.String())
	}
}

// A program gets one line of JSON, and a second city beside the first moves to other ports.
func TestJSONTwice(t *testing.T) {
	first, second := city1(t), city1(t)
	for name, address := range first {
		if name != "bank_account" && name != "bank_password" && address == second[name] {
			t.Errorf("both cities have %s %s", name, address)
		}
	}
	for _, name := range []string{"core", "api", "edge", "ops", "bank", "api_key", "bank_account", "bank_password", "data"} {
		if first[name] == "" || strings.HasSuffix(first[name], "/") {
			t.Errorf("%s is %q", name, first[name])
		}
	}
}

// city1 starts a city that ends with the test, and reads its one line.
func city1(t *testing.T) map[string]string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, []string{"-json", "-data", t.TempDir()}, write) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the city ended with %v", err)
		}
	})
	lines := make(chan []byte, 1)
	go func() {
		line, err := bufio.NewReader(read).ReadBytes('\n')
		if err == nil {
			lines <- line
		}
	}()
	select {
	case line := <-lines:
		facts := map[string]string{}
		if err := json.Unmarshal(line, &facts); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		return facts
	case err := <-done:
		done <- nil
		t.Fatalf("the city did not start: %v", err)
	}
	return nil
}
