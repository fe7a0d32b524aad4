package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The log leaves out answered polls of the feed, however it was derived, and nothing else.
func TestLogWithoutPolls(t *testing.T) {
	var out strings.Builder
	log := slog.New(withoutPolls{slog.NewTextHandler(&out, nil)}).With("listener", "api").WithGroup("g")
	for _, c := range []struct {
		route  string
		status int
		logged bool
	}{
		{"/v1/events", 200, false},
		{"/v1/events", 401, true},
		{"/v1/events", 503, true},
		{"/v1/orders", 200, true},
	} {
		out.Reset()
		log.LogAttrs(t.Context(), slog.LevelInfo, "request", slog.String("route", c.route), slog.Int("status", c.status))
		if (out.Len() > 0) != c.logged {
			t.Errorf("%s %d: logged %q", c.route, c.status, out.String())
		}
	}
}

// A demo that is stopped while it works ends well, and its log holds no complaint.
func TestStoppedDemoComplainsOfNothing(t *testing.T) {
	dir := t.TempDir()
	for range 3 {
		_, stop := startJSON(t, "-data", dir)
		stop() // fails when the demo ends with an error
	}
	logged, err := os.ReadFile(filepath.Join(dir, "gateway.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, complaint := range []string{`"level":"ERROR"`, `"level":"WARN"`, `"route":"/v1/events"`} {
		if strings.Contains(string(logged), complaint) {
			t.Errorf("the log has %s: %s", complaint, logged)
		}
	}
}
