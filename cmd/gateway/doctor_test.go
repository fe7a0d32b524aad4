package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The command of docs/callbacks.md prints what stands there.
func TestDoctorDocument(t *testing.T) {
	blocks := strings.Split(string(readFile(t, "../../docs/callbacks.md")), "```")
	command := exec.CommandContext(t.Context(), "sh", "-ec", strings.TrimPrefix(blocks[1], "sh\n"))
	command.Dir = "../.."
	out, err := command.CombinedOutput()
	if want := strings.TrimPrefix(blocks[3], "text\n"); err != nil || string(out) != want {
		t.Errorf("%v: got\n%s\nwant\n%s", err, out, want)
	}
}

// It finds the account and the time by itself, or asks for them, and shows no key.
func TestDoctorFindsItsWay(t *testing.T) {
	good := strings.Replace(string(readFile(t, "../../docs/doctor.example.http")), "7Zk2/ HTTP", "7Zk2 HTTP", 1)
	for name, tt := range map[string]struct {
		request string
		args    []string
		want    string
	}{
		"genuine":           {good, nil, "bravobank-main: genuine: "},
		"in another time":   {good, []string{"--at", "2017-06-13T09:14:31+08:00"}, "bravobank-main: clock: "},
		"without a Date":    {strings.Replace(good, "Date:", "X-Date:", 1), nil, "bravobank-main: clock: "},
		"for programs":      {good, []string{"--json"}, `"cause": "genuine"`},
		"no account":        {strings.Replace(good, "bravobank-main", "nobody", 1), nil, "give --account, one of bravobank-main"},
		"an account named":  {strings.Replace(good, "/callbacks/bravobank-main/7Zk2", "/7Zk2", 1), []string{"--account", "bravobank-main"}, "bravobank-main: wrong_key: "},
		"no request at all": {"{}", nil, "is no HTTP request"},
		"nothing":           {"", nil, "is no HTTP request"},
	} {
		file := filepath.Join(t.TempDir(), "request")
		if err := os.WriteFile(file, []byte(tt.request), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"doctor", "callback", "-f", "../../docs/doctor.example.yaml", file}, tt.args...)
		out, _ := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
		if !strings.Contains(string(out), tt.want) || strings.Contains(string(out), "cGF5LnRhaXBlaSBwdWJsaXNoZWQ") {
			t.Errorf("%s: %s, want %q", name, out, tt.want)
		}
	}
}
