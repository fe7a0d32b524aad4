package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/internal/testkit"
)

// operated is a gateway whose operators' door is where its file says, and a shell beside it.
type operated struct {
	*gateway
	t      *testing.T
	config string
}

func openOperated(t *testing.T) *operated {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ops := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	config := configFile(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"), "embedded")
	write(t, config, strings.Replace(string(readFile(t, config)), `ops: "127.0.0.1:0"`, `ops: "`+ops+`"`, 1))
	return &operated{start(t, config), t, config}
}

// says runs a command, which must succeed, and returns what it prints.
func (o *operated) says(args ...string) string {
	o.t.Helper()
	out, err := o.run(args...)
	if err != nil {
		o.t.Fatalf("gateway %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (o *operated) run(args ...string) (string, error) {
	args = append(args[:len(args):len(args)], "-f", o.config)
	out, err := exec.CommandContext(o.t.Context(), binary, args...).CombinedOutput()
	return string(out), err
}

// account is the account as the running gateway sees it.
func (o *operated) account() app.Account {
	o.t.Helper()
	var list []app.Account
	if err := json.Unmarshal([]byte(o.says("providers", "status", "--json")), &list); err != nil || len(list) != 1 {
		o.t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

// What an operator imposes holds in the running gateway, shows with its reason, and is written down.
func TestProvidersCommands(t *testing.T) {
	o := openOperated(t)
	n := 0
	order := func() int {
		n++
		status, _, _ := o.order(t, fmt.Sprintf("key-of-sixteen-or-more-%d", n), fmt.Sprintf("ref-%d", n), fmt.Sprintf("H609838813%05d", n))
		return status
	}
	if got := order(); got != 201 {
		t.Fatalf("an order is answered %d", got)
	}
	o.says("providers", "close", "--reason", "it is down", "--by", "lin", "--for", "1h", "bravobank-main")
	testkit.Until(t, "nobody is sent to a closed account", func() bool { return order() == 503 })
	if a := o.account(); len(a.Controls) != 2 || a.Controls[1].Reason != "it is down" || a.Controls[1].By != "lin" || a.Controls[1].Until.IsZero() {
		t.Errorf("status %+v", a)
	}
	for _, want := range []string{"out of use: forced_open until ", "create closed by an operator", "bravobank-main/create closed until ", " by lin: it is down"} {
		if got := o.says("providers", "status"); !strings.Contains(got, want) {
			t.Errorf("status does not say %q:\n%s", want, got)
		}
	}
	o.says("providers", "close", "--reason", "its answers are wrong", "--by", "lin", "--op", "all", "bravobank-main")
	if a := o.account(); len(a.Controls) != 1 || a.Controls[0].Name != "bravobank-main" {
		t.Errorf("all does not displace one: %+v", a)
	}
	o.says("providers", "close", "--reason", "it is down", "--op", "refund", "bravobank-main")
	o.says("providers", "reset", "--reason", "it is back", "--by", "lin", "bravobank-main")
	if a := o.account(); len(a.Controls) != 0 {
		t.Errorf("not all was taken back: %+v", a)
	}
	o.says("providers", "close", "--reason", "it is down", "bravobank-main")
	o.says("providers", "open", "--reason", "nobody answers here", "--for", "0s", "bravobank-main")
	testkit.Until(t, "an account that is opened after it was closed gets orders", func() bool { return order() == 201 })

	o.says("providers", "window", "add", "--reason", "moves", "--by", "lin", "--account", "bravobank-main", "--start", time.Now().Add(time.Minute).Format(time.RFC3339), "move")
	testkit.Until(t, "nobody is sent into a window", func() bool { return order() == 503 })
	if got := o.says("providers", "window", "list"); !strings.Contains(got, `"id":"move"`) {
		t.Errorf("windows: %s", got)
	}
	o.says("providers", "window", "drop", "--reason", "put off", "--by", "lin", "move")
	testkit.Until(t, "a window that is taken back holds nobody up", func() bool { return order() == 201 })
	log := o.says("providers", "log")
	for _, want := range []string{"bravobank-main/create closed until", "took back: bravobank-main/create closed", "it is back", "window move {", "took back: window move", "put off"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q:\n%s", want, log)
		}
	}
}

func TestCommandsRefuse(t *testing.T) {
	o := openOperated(t)
	o.says("providers", "window", "add", "--reason", "x", "--account", "bravobank-main", "--daily", "01:00-03:00", "a")
	for what, args := range map[string][]string{
		"no account":             {"providers", "close", "--reason", "x", "nobody"},
		"nothing in force":       {"providers", "reset", "--reason", "x", "--op", "query", "bravobank-main"},
		"no window":              {"providers", "window", "drop", "--reason", "x", "b"},
		"overlaps a":             {"providers", "window", "add", "--reason", "x", "--account", "bravobank-main", "--daily", "02:00-04:00", "b"},
		"no such account":        {"providers", "window", "add", "--reason", "x", "--account", "nobody", "--daily", "05:00-06:00", "b"},
		"daily: from":            {"providers", "window", "add", "--reason", "x", "--account", "bravobank-main", "--daily", "5-6", "b"},
		"is no case":             {"cases", "ask", "17"},
		"order 2017061300000016": {"cases", "close", "--by", "lin", "--note", "x", "2017061300000016-c1"},
	} {
		word, _, _ := strings.Cut(what, " ")
		if what == "nothing in force" || what == "no window" {
			word = "in force"
		}
		if out, err := o.run(args...); err == nil || !strings.Contains(out, word) {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
	if got := o.says("cases", "list"); got != "no open case\n" {
		t.Errorf("cases: %s", got)
	}
}

func TestRouteExplain(t *testing.T) {
	o := openOperated(t)
	file := write(t, filepath.Join(t.TempDir(), "order.json"), `{"merchant":"pma","provider":"bravobank","amount":{"value":"20","currency":"TWD"}}`)
	if got := o.says("route", "explain", "--order", file); !strings.Contains(got, "wished bravobank, by display order") || !strings.Contains(got, "   1  bravobank-main") {
		t.Errorf("%s", got)
	}
	o.says("providers", "close", "--reason", "x", "bravobank-main")
	testkit.Until(t, "what the replica knows is looked at", func() bool {
		return strings.Contains(o.says("route", "explain", "--order", file), "forced_open until ")
	})
	o.says("providers", "reset", "--reason", "x", "--op", "create", "bravobank-main")
	testkit.Until(t, "it is kept when it is taken back", func() bool {
		return strings.Contains(o.says("route", "explain", "--order", file), "   1  bravobank-main")
	})
	var receipt struct {
		Considered []struct {
			Account string
			Kept    bool
		}
	}
	if err := json.Unmarshal([]byte(o.says("route", "explain", "--json", "--order", file)), &receipt); err != nil || len(receipt.Considered) != 1 || !receipt.Considered[0].Kept {
		t.Errorf("%+v, %v", receipt, err)
	}
	for word, text := range map[string]string{
		"amount": `{"merchant":"pma","amount":{"value":"-1","currency":"TWD"}}`, "merchant": `{"merchant":"x","amount":{"value":"20","currency":"TWD"}}`,
		"provider": `{"merchant":"pma","provider":7,"amount":{"value":"20","currency":"TWD"}}`, "order": `[`,
	} {
		bad := write(t, filepath.Join(t.TempDir(), "order.json"), text)
		if out, err := o.run("route", "explain", "--order", bad); err == nil || !strings.Contains(out, word) {
			t.Errorf("%s: %v %s", text, err, out)
		}
	}
}

func readFile(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
