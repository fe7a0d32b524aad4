package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"pay.taipei/gateway/internal/testkit"
)

// block is a fenced part of a document.
type block struct{ kind, text string }

func blocks(t *testing.T, file string) (found []block) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^( *)```([a-z]+)\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1) {
		found = append(found, block{m[2], strings.ReplaceAll("\n"+m[3], "\n"+m[1], "\n")[1:]})
	}
	if len(found) == 0 {
		t.Fatalf("%s has no commands", file)
	}
	return found
}

// The walk-through of the order API: every command is run as written, in one shell, and every answer is as written. The
// city is the second one on this machine, so that its doors are not where the document expects them.
func TestCoreWalkThrough(t *testing.T) {
	_, err := exec.LookPath("curl")
	testkit.Require(t, "curl (Debian: apt-get install curl)", err)
	city1(t)
	facts := city1(t)
	written := strings.NewReplacer(facts["core"], "http://127.0.0.1:8000", facts["edge"], "http://127.0.0.1:8081", facts["bank"], "http://127.0.0.1:8090")
	sh := newShell(t, "API="+facts["api"], "CITY="+facts["core"], "KEY="+facts["api_key"])
	document := blocks(t, "../../docs/core.md")
	var checkout, got string
	var differ error
	defer func() {
		if t.Failed() {
			t.Logf("the last answer: %v\n%s", differ, got)
		}
	}()
	answered := 0
	for i, b := range document {
		if b.kind != "sh" {
			continue
		}
		if i+1 == len(document) || document[i+1].kind != "http" {
			sh.run(t, b.text)
			continue
		}
		want := document[i+1].text
		if checkout != "" && strings.Contains(want, `"status":"paid"`) {
			payAt(t, checkout)
			checkout = ""
		}
		asDocumented := func() bool {
			got = sh.run(t, b.text)
			differ = compareAnswers(want, written.Replace(got))
			return differ == nil
		}
		if !strings.HasPrefix(b.text, "place") { // what was paid arrives by callback
			testkit.Until(t, "the answer to "+b.text+" is as documented", asDocumented)
		} else if !asDocumented() {
			t.Fatalf("the answer to %s is not as documented", b.text)
		}
		if m := regexp.MustCompile(`"checkout_url":"([^"]+)"`).FindStringSubmatch(got); answered == 0 && m != nil {
			checkout = m[1]
		}
		answered++
	}
	if answered < 6 || checkout != "" {
		t.Errorf("%d answers were compared; still to pay: %q", answered, checkout)
	}
}

// payAt is the citizen who opens a checkout page and pays.
func payAt(t *testing.T, checkout string) {
	t.Helper()
	b, err := newBrowser()
	if err != nil {
		t.Fatal(err)
	}
	p := &player{browser: b}
	if err := p.visit(t.Context(), checkout); err != nil {
		t.Fatal(err)
	}
	if err := p.submit(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	if err := p.logIn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.pay(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.follow(t.Context(), "return"); err != nil {
		t.Fatal(err)
	}
}

// What README.md tells a newcomer to type exists, and "make demo" starts what the other tests of this package start.
func TestReadmeCommands(t *testing.T) {
	_, err := exec.LookPath("make")
	testkit.Require(t, "make (Debian: apt-get install make)", err)
	for _, b := range blocks(t, "../../README.md") {
		for line := range strings.Lines(b.text) {
			words := strings.Fields(line)
			if b.kind != "sh" || len(words) != 2 || words[0] != "make" {
				t.Errorf("nobody runs %q", line)
				continue
			}
			dry := exec.CommandContext(t.Context(), "make", "-n", "--no-print-directory", words[1])
			dry.Dir = "../.."
			out, err := dry.CombinedOutput()
			if err != nil || (words[1] == "demo" && !strings.HasSuffix(string(out), "\ngo build -o bin/demo ./cmd/demo\nexec bin/demo\n")) {
				t.Errorf("%s: %v: %s", line, err, out)
			}
		}
	}
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("`go run ./cmd/demo (-once[^`]*)`").FindAllStringSubmatch(string(text), -1)
	if len(commands) == 0 {
		t.Error("README.md does not play the scenario")
	}
	for _, m := range commands {
		var out strings.Builder
		if err := run(t.Context(), strings.Fields(m[1]), &out); err != nil {
			t.Errorf("%s: %v\n%s", m[0], err, out.String())
		}
	}
}

// shell is one that stays open, so that a block finds what an earlier one defined.
type shell struct {
	in  io.Writer
	out *bufio.Scanner
}

// newShell starts a shell with nothing in its environment but the path and what is given.
func newShell(t *testing.T, environment ...string) *shell {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh")
	c.Env = append([]string{"PATH=" + os.Getenv("PATH")}, environment...)
	c.Stderr = t.Output()
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // then the shell ends
		_ = c.Wait()
	})
	s := bufio.NewScanner(out)
	s.Buffer(nil, 1<<20)
	return &shell{in, s}
}

// run gives a block to the shell and returns what it printed.
func (s *shell) run(t *testing.T, text string) string {
	t.Helper()
	const end = "=== end of block"
	if _, err := fmt.Fprintf(s.in, "%s\necho\necho '%s'\n", text, end); err != nil {
		t.Fatal(err)
	}
	var printed []string
	for s.out.Scan() {
		if s.out.Text() == end {
			return strings.Join(printed, "\n")
		}
		printed = append(printed, s.out.Text())
	}
	t.Fatalf("the shell ended: %v after\n%s", s.out.Err(), strings.Join(printed, "\n"))
	return ""
}

// compareAnswers holds an HTTP answer against a documented one: the status, the documented headers, the body.
func compareAnswers(want, got string) error {
	documented, err := readAnswer(want)
	if err != nil {
		return fmt.Errorf("documented: %w", err)
	}
	given, err := readAnswer(got)
	if err != nil {
		return err
	}
	if documented.status != given.status {
		return fmt.Errorf("want %s, got %s", documented.status, given.status)
	}
	for name := range documented.header {
		if documented.header.Get(name) != given.header.Get(name) {
			return fmt.Errorf("%s: want %q, got %q", name, documented.header.Get(name), given.header.Get(name))
		}
	}
	return same("", documented.body, given.body)
}

type httpAnswer struct {
	status string
	header http.Header
	body   any
}

func readAnswer(text string) (httpAnswer, error) {
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		return httpAnswer{}, err
	}
	defer func() { _ = r.Body.Close() }() // a string
	a := httpAnswer{status: r.Proto + " " + r.Status, header: r.Header}
	return a, json.NewDecoder(r.Body).Decode(&a.body)
}

// same compares JSON values. In a documented text … stands for any characters, as a member for other members.
func same(at string, want, got any) error {
	differ := fmt.Errorf("%s: want %v, got %v", at, want, got)
	switch w := want.(type) {
	case string:
		g, ok := got.(string)
		form := strings.ReplaceAll(regexp.QuoteMeta(w), "…", "(?s:.+)")
		if !ok || !regexp.MustCompile("^"+form+"$").MatchString(g) {
			return differ
		}
	case map[string]any:
		g, ok := got.(map[string]any)
		_, open := w["…"]
		if !ok || (!open && len(g) != len(w)) {
			return differ
		}
		for name, v := range w {
			if _, has := g[name]; !has && name != "…" {
				return differ
			}
			if name != "…" {
				if err := same(at+"/"+name, v, g[name]); err != nil {
					return err
				}
			}
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return differ
		}
		for i := range w {
			if err := same(fmt.Sprintf("%s/%d", at, i), w[i], g[i]); err != nil {
				return err
			}
		}
	default:
		if !reflect.DeepEqual(want, got) {
			return differ
		}
	}
	return nil
}

// The comparison itself finds what differs.
func TestSame(t *testing.T) {
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{`{"a":"x…","b":null}`, `{"b":null,"a":"xyz"}`, true},
		{`{"a":"x…"}`, `{"a":"yx"}`, false},
		{`{"a":"…"}`, `{"a":""}`, false},
		{`{"a":"…"}`, `{"a":null}`, false},
		{`{"a":1}`, `{"a":1,"b":2}`, false},
		{`{"a":1,"…":"…"}`, `{"a":1,"b":2}`, true},
		{`{"a":null}`, `{}`, false},
		{`[1,2]`, `[1]`, false},
		{`[{"a":true}]`, `[{"a":false}]`, false},
		{`"a.c"`, `"abc"`, false},
	} {
		var want, got any
		for text, into := range map[string]*any{c.want: &want, c.got: &got} {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				t.Fatal(err)
			}
		}
		if err := same("", want, got); (err == nil) != c.same {
			t.Errorf("%s and %s: %v", c.want, c.got, err)
		}
	}
}
