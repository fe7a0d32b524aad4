package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pay.taipei/gateway/providers/all"
)

// The command of docs/vectors.md prints what stands there, and every scheme stands in its table.
func TestVectorsDocument(t *testing.T) {
	page := string(readFile(t, "../../docs/vectors.md"))
	blocks := strings.Split(page, "```")
	command := exec.CommandContext(t.Context(), "sh", "-ec", strings.TrimPrefix(blocks[1], "sh\n"))
	command.Dir = "../.."
	out, err := command.CombinedOutput()
	if want := strings.TrimPrefix(blocks[3], "text\n"); err != nil || string(out) != want {
		t.Errorf("%v: got\n%s\nwant\n%s", err, out, want)
	}
	for _, s := range all.Schemes() {
		if !strings.Contains(page, "`"+s.Name+"`") {
			t.Errorf("%s is not in the table", s.Name)
		}
		for _, in := range s.Inputs {
			if !strings.Contains(page, "`"+in+"`") {
				t.Errorf("%s: the input %s is not in the table", s.Name, in)
			}
		}
	}
}

func TestVectorsThatDoNotHold(t *testing.T) {
	example := string(readFile(t, "../../docs/vectors.example.json"))
	for name, tt := range map[string]struct{ from, to, want string }{
		"body":    {"2432232314}", "2432232315}", `expected "v1,g0hM9SsE`},
		"member":  {`404\n{`, `404\n {`, "FAIL  bravobank-query-answer-not-found"},
		"scheme":  {`"standard-webhooks-v1"`, `"standard-webhooks-v2"`, `scheme "standard-webhooks-v2" is not known`},
		"missing": {`"msg_id"`, `"message_id"`, "inputs.message_id: standard-webhooks-v1 has no such input"},
		"kind":    {"1614265330,", `"1614265330",`, "inputs.timestamp: want a whole number"},
		"key":     {"whsec_", "whsk_", "standard-webhooks-1"},
		"file":    {`"vectors"`, `"victors"`, "there are no vectors"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(example, tt.from) {
				t.Fatal("the example has changed")
			}
			file := write(t, filepath.Join(t.TempDir(), "v.json"), strings.Replace(example, tt.from, tt.to, 1))
			out, err := exec.CommandContext(t.Context(), binary, "vectors", "check", file).CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
	if _, err := os.Stat("../../providers/bravobank/testdata/vectors.json"); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), binary, "vectors", "check", "--json", "../../providers/bravobank/testdata/vectors.json").CombinedOutput()
	if err != nil || strings.Count(string(out), `"pass": true`) != 8 {
		t.Errorf("%v:\n%s", err, out)
	}
}
