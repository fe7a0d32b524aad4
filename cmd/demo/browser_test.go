package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/bravobank"
)

// The scenario in a real browser, a screenshot per page. With SCREENSHOTS=DIR they are kept.
func TestBrowserPaysTwoBills(t *testing.T) {
	chromium := testkit.Chromium(t)
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	facts := city1(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.WindowSize(480, 900))
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	tab, cancel := chromedp.NewContext(allocated)
	defer cancel()
	// The browser itself may start slowly; the walk is bounded as a whole.
	ctx, cancel := context.WithTimeout(tab, 3*time.Minute)
	defer cancel()

	do := func(step string, actions ...chromedp.Action[chromedp.Void]) {
		t.Helper()
		if err := chromedp.Do(ctx, actions...); err != nil {
			where, _ := chromedp.Run(ctx, chromedp.Location())
			t.Fatalf("%s: %v at %s", step, err, where)
		}
	}
	shot := func(name string) {
		t.Helper()
		png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
		if err != nil {
			t.Fatalf("screenshot %s: %v", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	css := func(s string) chromedp.CSS { return chromedp.CSS(s) }

	do("look-up page", chromedp.Navigate(facts["core"]+"/"), chromedp.WaitVisible(css("#bill_no")))
	shot("home")
	do("look up", chromedp.SendKeys(css("#bill_no"), bill1), chromedp.Click(css("#search-bill")), chromedp.WaitVisible(css("#pay")))
	for _, b := range []string{bill1, bill2} {
		checked, err := chromedp.Run(ctx, chromedp.JavascriptAttribute[bool](css("#bill-"+b), "checked"))
		if err != nil {
			t.Fatal(err)
		}
		if !checked {
			do("tick "+b, chromedp.Click(css("#bill-"+b)))
		}
	}
	testkit.Until(t, "the page's script brings the total up to date", func() bool {
		total, err := chromedp.Run(ctx, chromedp.TextContent(css("#total")))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(total, "NT$\u00a040")
	})
	shot("bills")
	do("pay", chromedp.Click(css("#pay")), chromedp.WaitVisible(css("#provider-bravobank")))
	shot("provider")
	do("choose", chromedp.Click(css("#provider-bravobank")), chromedp.Click(css("#go")), chromedp.WaitVisible(css("#captcha")))
	shot("login")
	captcha, err := chromedp.Run(ctx, chromedp.JavascriptAttribute[string](css("#captcha-image"), "alt"))
	if err != nil {
		t.Fatal(err)
	}
	login := bravobank.DemoAccount()
	do("log in", chromedp.SendKeys(css("#account"), login.Name), chromedp.SendKeys(css("#password"), login.Password),
		chromedp.SendKeys(css("#captcha"), captcha), chromedp.Click(css("#login")), chromedp.WaitVisible(css("#pay-deposit_account")))
	for id, want := range map[string]string{"#merchant": nameParking, "#payee": payeeParking, "#payer": "1361049"} {
		if got, err := chromedp.Run(ctx, chromedp.Text(css(id))); err != nil || got != want {
			t.Errorf("order page: %s is %q, want %q (%v)", id, got, want, err)
		}
	}
	shot("order")
	do("pay at the bank", chromedp.Click(css("#pay-deposit_account")), chromedp.WaitVisible(css("#return")))
	shot("bank-result")
	do("come back", chromedp.Click(css("#return")), chromedp.WaitVisible(css(`#outcome[data-status="paid"]`)))
	shot("result")
}
