package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/all"
	"pay.taipei/gateway/sandbox/bravobank"
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
	facts, _ := startJSON(t, "-data", t.TempDir())
	return facts
}

func startJSON(t *testing.T, args ...string) (facts map[string]string, stop func()) {
	t.Helper()
	line, stop := start(t, append(args, "-json")...)
	if err := json.Unmarshal([]byte(line), &facts); err != nil || !strings.HasSuffix(line, "}\n") {
		t.Fatalf("%v in %s", err, line)
	}
	return facts, stop
}

// start runs the demo and reads what it says first. It ends with stop, or with the test.
func start(t *testing.T, args ...string) (said string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, args, write)
		_ = write.CloseWithError(err) // it never fails
		done <- err
	}()
	text := make([]byte, 64<<10)
	n, err := read.Read(text) // all of it: the demo writes once
	if err != nil {
		t.Fatalf("the demo did not start: %v", err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return string(text[:n]), stop
}

// -once plays in a folder of its own; a flag that it would have to ignore is refused by name.
func TestOnceRefusesWhatItWouldIgnore(t *testing.T) {
	for _, flag := range []string{"-data=" + t.TempDir(), "-reset", "-json"} {
		var out strings.Builder
		err := run(t.Context(), []string{"-once", flag}, &out)
		if name, _, _ := strings.Cut(flag, "="); err == nil || !strings.Contains(err.Error(), name+" has no meaning") || out.Len() > 0 {
			t.Errorf("%s: %v %s", flag, err, out.String())
		}
	}
}

// Data is kept from one start to the next, whatever the folder is called; -reset forgets the demo's files and no others.
func TestDataIsKeptUntilReset(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `a "city": {\n} # %s '`)
	first, stop := startJSON(t, "-data", dir)
	stop()
	again, stop := startJSON(t, "-data", dir)
	stop()
	if first["data"] != dir || again["api_key"] != first["api_key"] {
		t.Errorf("first %v\nagain %v", first, again)
	}
	mine, database := filepath.Join(dir, "mine.txt"), filepath.Join(dir, "gateway.db")
	for _, file := range []string{mine, database} {
		if err := os.WriteFile(file, []byte(strings.Repeat("no database", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context(), []string{"-json", "-data", dir}, io.Discard); err == nil {
		t.Fatal("a spoilt store is served")
	}
	reset, _ := startJSON(t, "-data", dir, "-reset")
	if reset["api_key"] == first["api_key"] {
		t.Error("the key is kept over -reset")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("-reset took a file that is not the demo's: %v", err)
	}
}

// What the banner prints can be used as printed.
func TestBanner(t *testing.T) {
	dir := t.TempDir()
	banner, _ := start(t, "-data", dir)
	c, err := newBrowser()
	if err != nil {
		t.Fatal(err)
	}
	pages := regexp.MustCompile(`http://\S+`).FindAllString(banner, -1)
	if len(pages) != 7+len(all.Doubles()) {
		t.Fatalf("%d addresses in %s", len(pages), banner)
	}
	for _, page := range pages {
		resp, err := c.client.Get(page)
		if err != nil {
			t.Fatal(err)
		}
		want := http.StatusOK
		if strings.Contains(banner, "Edge        "+page) {
			want = http.StatusNotFound // it has no front page
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != want {
			t.Errorf("%s answers %s", page, resp.Status)
		}
	}
	key := regexp.MustCompile(`gk_\S+`).FindString(banner)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, regexp.MustCompile(`(http://\S+)/docs`).FindStringSubmatch(banner)[1]+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("the key is answered %s", resp.Status)
	}
	if !strings.Contains(banner, "go run ./cmd/demo -reset -data '"+dir+"'\n") {
		t.Errorf("the banner does not say how to forget the data: %s", banner)
	}
	if logged, err := os.ReadFile(regexp.MustCompile(`Log +(\S+)`).FindStringSubmatch(banner)[1]); err != nil || !strings.Contains(string(logged), `"/docs"`) {
		t.Errorf("the log that the banner names: %v %s", err, logged)
	}
	login := bravobank.DemoAccount()
	if !strings.Contains(banner, "account "+login.Name+", password "+login.Password) || !strings.Contains(banner, bill1) {
		t.Errorf("no login or no bill in %s", banner)
	}
}

// A citizen whose bank declined is told the truth, and is not sent around in a circle.
func TestDeclinedAtTheBank(t *testing.T) {
	city := openTestCity(t)
	put(t, "http://"+city.addresses.bank+"/faults", `{"fail":true}`)
	p := walkToPayment(t, city)
	if err := p.pay(t.Context()); err != nil {
		t.Fatal(err)
	}
	no := city.bank.Books()[0].OrderNo
	returned(t, p)
	testkit.Until(t, "the result page says unpaid", func() bool {
		if err := p.visit(t.Context(), p.at.String()); err != nil {
			t.Fatal(err)
		}
		return p.attr("outcome", "data-status") == "unpaid"
	})
	if err := p.shows("熊讚銀行沒有核准這筆付款，沒有扣款", "重新選擇"); err != nil {
		t.Error(err)
	}
	if find(p.page, byID("continue")) != nil || find(p.page, byID("again")) != nil || find(p.page, byID("free")) == nil {
		t.Error("the page offers a way that leads nowhere, or does not say from when there is one")
	}
	var o struct {
		Status      string  `json:"status"`
		Redirect    any     `json:"redirect"`
		CheckoutURL *string `json:"checkout_url"`
	}
	if err := p.json(t.Context(), "http://"+city.addresses.api+"/v1/orders/"+no, &o); err != nil {
		t.Fatal(err)
	}
	if o.Status != "open" || o.Redirect != nil || o.CheckoutURL != nil {
		t.Errorf("the order API says %+v", o)
	}
}
