package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/sandbox/all"
)

// jumping is the city's clock: it runs, and can be set ahead.
type jumping struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (j *jumping) now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Now().Add(j.ahead)
}

func (j *jumping) jump(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ahead += d
}

// morning is a clock that stands at ten in Taipei: what providers do in the evening lies ahead.
func morning() *jumping {
	now := time.Now().In(time.FixedZone("", 8*60*60))
	ten := time.Date(now.Year(), now.Month(), now.Day()+1, 10, 0, 0, 0, now.Location())
	return &jumping{ahead: time.Until(ten)}
}

// visitor is a citizen in a city whose time a test sets.
type visitor struct {
	*player
	t     *testing.T
	clock *jumping
	d     *double
}

func visit(t *testing.T, name string) *visitor {
	t.Helper()
	clock := morning()
	c := serveCity(t, clock.now)
	b, err := newBrowser()
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{player: &player{city: c, browser: b}, t: t, clock: clock, d: c.double(name)}
}

func (v *visitor) walk(steps ...step) {
	v.t.Helper()
	for _, s := range steps {
		if err := s.do(v.t.Context()); err != nil {
			v.t.Fatalf("%s: %v", s.name, err)
		}
	}
}

// later lets time pass until the order API says what must be. Who comes back to the city makes it ask.
func (v *visitor) later(step time.Duration, want func(apiOrder) bool) {
	v.t.Helper()
	for range 20 {
		ctx, cancel := context.WithTimeout(v.t.Context(), time.Second)
		last := v.expect(ctx, want)
		cancel()
		if last == nil {
			return
		}
		var o orders.Order
		testkit.Until(v.t, "no call is under way", func() (done bool) { // one that stood still while the clock jumps is given up
			var err error
			if o, err = v.gateway.Store().Order(v.t.Context(), orders.OrderNo(v.orderNo)); err != nil {
				v.t.Fatal(err)
			}
			return !slices.ContainsFunc(o.Calls, func(c orders.Call) bool { return c.Outcome == orders.OutcomeOpen })
		})
		v.clock.jump(step)
		if err := v.visit(v.t.Context(), "http://"+v.addresses.edge+"/r/"+o.Current().Token); err != nil {
			v.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(v.t.Context(), time.Second)
	defer cancel()
	if err := v.expect(ctx, want); err != nil {
		v.t.Fatal(err)
	}
}

// At every double a payer pays and gets the money back, is declined, and walks away; each time the order ends where the money is.
func TestDoubles(t *testing.T) {
	for _, d := range all.Doubles() {
		t.Run(d.Name, func(t *testing.T) {
			t.Parallel()
			t.Run("paid and paid back", func(t *testing.T) {
				v := visit(t, d.Name)
				v.walk(v.payingAt(v.d)...)
				v.clock.jump(30 * time.Minute) // providers' lists have it by then
				err := v.post(t.Context(), "/v1/orders/"+v.orderNo+"/refunds", `{"reason":"cancelled by the agency"}`, http.StatusAccepted, nil)
				if err != nil {
					t.Fatal(err)
				}
				v.later(10*time.Minute, func(o apiOrder) bool { return o.Status == "refunded" && !o.Doubt && len(o.Refunds) == 1 })
				if b := v.booked(v.d); b.Charges != 1 || b.State != "voided" && b.Refunded() != 40 {
					t.Errorf("the books say %+v", b)
				}
			})
			t.Run("declined, then left", func(t *testing.T) {
				v := visit(t, d.Name)
				v.d.Desk.Panel.Set(all.Faults{Fail: true, Next: 1})
				v.walk(v.toDouble(v.d)...)
				v.walk(step{"pay", v.payThere}, step{"come back", v.leave("unpaid")})
				v.later(time.Hour, func(o apiOrder) bool { return o.Status == "expired" && o.Attempts[0].Status == "failed" })
				v.walk(v.toDouble(v.d)...)
				v.orderNo = ""
				for _, b := range v.d.Desk.Books() {
					v.orderNo = b.Number[:16]
				}
				v.later(2*time.Hour, func(o apiOrder) bool { return o.Status == "expired" && o.Attempts[0].Status == "expired" })
				for _, b := range v.d.Desk.Books() {
					if b.Charges != 0 {
						t.Errorf("charged: %+v", b)
					}
				}
			})
		})
	}
}

// Each is paid by the command that a newcomer types.
func TestOnceAtEachProvider(t *testing.T) {
	for _, name := range payable() {
		if name == usualProvider {
			continue // TestOncePaysTwoBills
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out lines
			if err := run(t.Context(), []string{"-once", "-provider", name}, &out); err != nil {
				t.Fatalf("%v\n%s", err, out.text)
			}
		})
	}
	if err := run(t.Context(), []string{"-once", "-provider", "nobank"}, new(lines)); err == nil {
		t.Error("pays at a bank that is not there")
	}
	if err := run(t.Context(), []string{"-provider", "bravobank", "-scenario", "refund"}, new(lines)); err == nil {
		t.Error("takes a scenario without -once")
	}
}

type lines struct{ text string }

func (l *lines) Write(b []byte) (int, error) {
	l.text += string(b)
	return len(b), nil
}

func serveCity(t *testing.T, now func() time.Time) *city {
	t.Helper()
	c, err := openCity(t.Context(), t.TempDir(), slog.New(slog.NewJSONHandler(t.Output(), nil)), now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(fmt.Errorf("the city ended with %w", err))
		}
	})
	return c
}

// In a real browser that runs no scripts a payer gets to each double's page, pays there and comes back, by links and by forms;
// its pages fit a phone and a desk.
func TestDoublesInABrowser(t *testing.T) {
	for _, d := range all.Doubles() {
		t.Run(d.Name, func(t *testing.T) {
			facts := city1(t)
			b := newPlainTab(t)
			b.do("city", chromedp.Navigate(facts["core"]+"/"), chromedp.WaitVisible(chromedp.CSS("#bill_no")))
			b.fill("#bill_no", bill1)
			b.click("#search-bill", "#pay")
			b.do("tick", chromedp.Click(chromedp.CSS("#bill-"+bill1)), chromedp.Click(chromedp.CSS("#bill-"+bill2)))
			b.click("#update", "#bill-"+bill1+"[checked]")
			b.click("#pay", "#provider-"+d.Name)
			b.do("choose", chromedp.Click(chromedp.CSS("#provider-"+d.Name)))
			form := `form[action^="` + facts[d.Name] + `"] button` // of the checkout page, where there is one; a script would press it
			b.click("#go", "#pay-credit_card, "+form)
			if at, err := chromedp.Run(b.ctx, chromedp.Location()); err != nil {
				t.Fatal(err)
			} else if !strings.HasPrefix(at, facts[d.Name]) {
				b.click(form, "#pay-credit_card")
			}
			b.shot(d.Name + "-order")
			b.inEnglish("#lang", d.Name+"-order-en")
			b.click("#pay-credit_card", "#return")
			b.shot(d.Name + "-result")
			b.click("#return", `#outcome[data-status="paid"]`)
			b.do("panel", chromedp.Navigate(facts[d.Name]+"/faults/panel"), chromedp.WaitVisible(chromedp.CSS("#save")))
			b.shot(d.Name + "-panel")
		})
	}
}
