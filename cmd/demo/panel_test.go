package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/bravobank"
)

// plainTab is a tab of a real browser that runs no scripts of pages.
type plainTab struct {
	t   *testing.T
	ctx context.Context
	dir string // of screenshots; with SCREENSHOTS=DIR they are kept
}

func newPlainTab(t *testing.T) *plainTab {
	t.Helper()
	b := &plainTab{t: t, dir: os.Getenv("SCREENSHOTS")}
	if b.dir == "" {
		b.dir = t.TempDir()
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(testkit.Chromium(t)), chromedp.NoSandbox,
		chromedp.Flag("host-resolver-rules", "MAP bank.test 127.0.0.1"))
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	tab, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	// The browser itself may start slowly; the walk is bounded as a whole.
	b.ctx, cancel = context.WithTimeout(tab, 3*time.Minute)
	t.Cleanup(cancel)
	b.do("scripts off", chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
	b.do("scripts are off", chromedp.Navigate(`data:text/html,<noscript><p id="plain">plain</p></noscript>`), chromedp.WaitVisible(chromedp.CSS("#plain")))
	return b
}

func (b *plainTab) do(step string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		where, _ := chromedp.Run(b.ctx, chromedp.Location())
		b.t.Fatalf("%s: %v at %s", step, err, where)
	}
}

// click presses an element and waits for what the next page shows.
func (b *plainTab) click(selector, then string) {
	b.t.Helper()
	b.do("click "+selector, chromedp.Click(chromedp.CSS(selector)), chromedp.WaitVisible(chromedp.CSS(then)))
}

// fill replaces the one word that a text field may hold; a double click marks it.
func (b *plainTab) fill(selector, text string) {
	b.t.Helper()
	b.do("fill "+selector, chromedp.DoubleClick(chromedp.CSS(selector)), chromedp.KeyEvent(text))
}

// shot takes the page as it is on a phone and on a desk; it must fit the width of both.
func (b *plainTab) shot(name string) {
	b.t.Helper()
	for _, width := range []int64{390, 1280} {
		b.do("resize", chromedp.EmulateViewport(width, 844))
		shot, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
		if err != nil {
			b.t.Fatalf("screenshot %s: %v", name, err)
		}
		if taken, err := png.DecodeConfig(bytes.NewReader(shot)); err != nil || int64(taken.Width) > width {
			b.t.Errorf("%s is %d wide on %d (%v)", name, taken.Width, width, err)
		}
		if err := os.WriteFile(filepath.Join(b.dir, fmt.Sprintf("%s-%d.png", name, width)), shot, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
}

// inEnglish takes the page in English and goes back to Chinese.
func (b *plainTab) inEnglish(link, name string) {
	b.t.Helper()
	b.click(link, `html[lang="en"]`)
	b.shot(name)
	b.click(link, `html:not([lang="en"])`)
}

func TestFaultPanelWithoutScript(t *testing.T) {
	bank := city1(t)["bank"]
	b := newPlainTab(t)
	set := func() (f bravobank.Faults) {
		t.Helper()
		c, err := newBrowser()
		if err != nil {
			t.Fatal(err)
		}
		text, err := c.get(t.Context(), bank+"/faults")
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		return f
	}
	// Under a name that is not loopback the browser tells where a form comes from by Origin alone.
	b.do("bank", chromedp.Navigate(strings.Replace(bank, "127.0.0.1", "bank.test", 1)+"/"), chromedp.WaitVisible(chromedp.CSS("#panel")))
	b.click("#panel", "#save")
	b.shot("panel")
	want := bravobank.Faults{Next: 2, Late: bravobank.Duration(90 * time.Second), WrongAmount: true}
	b.fill("#next", "2")
	b.fill("#late", "1m30s")
	b.do("tick", chromedp.Click(chromedp.CSS("#wrong_amount")))
	b.click("#save", "#wrong_amount[checked]")
	if got := set(); got != want {
		t.Errorf("the page set %+v, want %+v", got, want)
	}
	b.shot("panel-on")
	b.fill("#late", "soon")
	b.click("#save", "#late-problem")
	if got := set(); got != want {
		t.Errorf("a form that was refused set %+v", got)
	}
	b.shot("panel-refused")
	b.click("#off", "#wrong_amount:not([checked])")
	if got := set(); got != (bravobank.Faults{}) {
		t.Errorf("everything off left %+v", got)
	}
	b.click("#lang", `html[lang="en"] #save`)
	b.do("tick", chromedp.Click(chromedp.CSS("#lost")))
	b.click("#save", `html[lang="en"] #lost[checked]`)
	if got := set(); got != (bravobank.Faults{Lost: true}) {
		t.Errorf("the English page set %+v", got)
	}
	b.shot("panel-en")
}

// The whole payment, by links and buttons alone.
func TestPaymentWithoutScript(t *testing.T) {
	facts := city1(t)
	b := newPlainTab(t)
	b.do("city", chromedp.Navigate(facts["core"]+"/"), chromedp.WaitVisible(chromedp.CSS("#bill_no")))
	b.shot("plain-home")
	b.fill("#bill_no", bill1)
	b.click("#search-bill", "#pay")
	b.do("tick", chromedp.Click(chromedp.CSS("#bill-"+bill1)), chromedp.Click(chromedp.CSS("#bill-"+bill2)))
	b.click("#update", "#bill-"+bill1+"[checked]") // the total, which a script would keep up to date
	b.shot("plain-bills")
	b.inEnglish("#switch-lang", "plain-bills-en")
	b.click("#pay", "#provider-bravobank")
	b.inEnglish("#switch-lang", "plain-provider-en")
	b.do("choose", chromedp.Click(chromedp.CSS("#provider-bravobank")))
	b.click("#go", `form[action="`+facts["bank"]+`/order"] button`) // a script would press it
	b.shot("plain-checkout")
	b.click("form button", "#captcha")
	alt, err := chromedp.Run(b.ctx, chromedp.AttributeValue(chromedp.CSS("#captcha-image"), "alt"))
	if err != nil {
		t.Fatal(err)
	}
	login := bravobank.DemoAccount()
	b.fill("#account", login.Name)
	b.fill("#password", login.Password)
	b.fill("#captcha", alt.Value)
	b.click("#login", "#pay-deposit_account")
	b.shot("plain-order")
	b.inEnglish("#lang", "plain-order-en")
	b.click("#pay-deposit_account", "#return")
	b.click("#return", `#outcome[data-status="paid"]`)
	b.shot("plain-result")
	b.inEnglish("#switch-lang", "plain-result-en")
	lines, err := chromedp.Run(b.ctx, chromedp.TextContent(chromedp.CSS("#lines")))
	if err != nil || !strings.Contains(lines, bill1) || !strings.Contains(lines, bill2) {
		t.Errorf("the result page shows bills %q (%v)", lines, err)
	}
	c, err := newBrowser()
	if err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, "the city has heard that they are paid", func() bool {
		page, err := c.get(t.Context(), facts["core"]+"/bills?by=number&bill_no="+bill1)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(page, "all-paid")
	})
	b.do("paid bills", chromedp.Navigate(facts["core"]+"/bills?by=number&bill_no="+bill1), chromedp.WaitVisible(chromedp.CSS("#receipt")))
	b.shot("plain-paid")
	b.do("nothing found", chromedp.Navigate(facts["core"]+"/bills?by=plate&vehicle=C&plate=135-AB"), chromedp.WaitVisible(chromedp.CSS("#other-vehicle")))
	b.shot("plain-none")
	b.do("hyphen", chromedp.Navigate(facts["core"]+"/bills?by=plate&vehicle=C&plate=AB2468&lang=en"), chromedp.WaitVisible(chromedp.CSS("#plate-error")))
	b.shot("plain-hyphen-en")
	b.do("forgotten page", chromedp.Navigate(facts["bank"]+"/order?s=x"), chromedp.WaitVisible(chromedp.CSS("#forgot")))
	b.shot("plain-forgot")
	b.do("API page", chromedp.Navigate(facts["api"]+"/docs"), chromedp.WaitVisible(chromedp.CSS("h1")))
	b.shot("docs")
}
