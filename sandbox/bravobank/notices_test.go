package bravobank_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// paid is a city in which the payment was confirmed under faults.
func paid(t *testing.T, faults string) *city {
	t.Helper()
	c := newCity(t)
	order := c.visit(c.order())
	c.faults(faults)
	c.pay(order, "credit_card")
	return c
}

// drain steps until nothing is due, moving the clock no further than limit.
func (c *city) drain(limit time.Duration) {
	c.t.Helper()
	c.clock.Drain(c.t, limit, c.step)
}

// statuses are what the gateway was told, "forged" where it was not the bank's word.
func (c *city) statuses() string {
	var all []string
	for _, r := range c.got() {
		if r.genuine {
			all = append(all, r.Status)
		} else {
			all = append(all, "forged")
		}
	}
	return strings.Join(all, " ")
}

func TestRetriesUntilAcknowledged(t *testing.T) {
	c := newCity(t)
	c.pay(c.visit(c.order()), "credit_card")
	c.answers = []string{"retry", "retry", "retry", "retry", "retry"}
	start := c.clock.Now()
	var waits []time.Duration
	for next := c.step(); !next.IsZero(); next = c.step() {
		waits = append(waits, next.Sub(c.clock.Now()))
		if again := c.step(); again != next {
			t.Fatal("delivered before it was due")
		}
		c.clock.Advance(next.Sub(c.clock.Now()))
	}
	want := []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 5 * time.Minute}
	if len(waits) != len(want) {
		t.Fatalf("waits %v", waits)
	}
	for i := range want {
		if waits[i] != want[i] {
			t.Errorf("waits %v, want %v", waits, want)
		}
	}
	seen := map[string]bool{}
	for _, r := range c.got() {
		if !r.genuine || seen[r.nonce] || r.body != c.got()[0].body {
			t.Errorf("delivery %+v", r)
		}
		seen[r.nonce] = true
	}
	if len(seen) != 6 || c.clock.Now().Equal(start) {
		t.Errorf("%d deliveries", len(seen))
	}
}

func TestGivesUpAfterADayAndAfterARefusal(t *testing.T) {
	c := newCity(t)
	c.pay(c.visit(c.order()), "credit_card")
	for range 400 {
		c.answers = append(c.answers, "retry")
	}
	c.drain(48 * time.Hour)
	if n := len(c.got()); n < 280 || n > 295 || !c.step().IsZero() {
		t.Errorf("%d deliveries in a day", n)
	}
	refused := newCity(t)
	refused.pay(refused.visit(refused.order()), "credit_card")
	refused.answers = []string{"refused"}
	if next := refused.step(); !next.IsZero() || len(refused.got()) != 1 {
		t.Error("a refused notice was kept")
	}
}

func TestOnlyTheExactAcknowledgementCounts(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"200 of a login page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"200 with refused":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"result":"refused"}`)) },
		"400 of a proxy":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) },
		"redirect to one who says ok": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/cb" {
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
				return
			}
			_, _ = w.Write([]byte(`{"result":"ok"}`))
		},
	} {
		c := newCity(t)
		server := newServer(t, answer)
		r := c.request()
		r.CallbackURL = server + "/cb"
		c.pay(c.visit(c.sign(r)), "credit_card")
		if next := c.step(); !next.Equal(c.clock.Now().Add(5 * time.Second)) {
			t.Errorf("%s: counted as settled", name)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, f := range []struct{ name, faults, notices, field, says, queried, charges string }{
		{"none", `{}`, "paid", "total", "40", "40 paid", "1"},
		{"lost", `{"lost":true}`, "", "", "", "40 paid", "1"},
		{"duplicated", `{"duplicated":3}`, "paid paid paid paid", "total", "40", "40 paid", "1"},
		{"reordered", `{"reordered":true}`, "paid failed authorising", "total", "40", "40 paid", "1"},
		{"forged signature", `{"forged_signature":true}`, "forged", "total", "40", "40 paid", "1"},
		{"wrong amount", `{"wrong_amount":true}`, "paid", "total", "41", "41 paid", "1"},
		{"wrong merchant", `{"wrong_merchant":true}`, "paid", "payee", "9999999", "40 paid", "1"},
		{"wrong currency", `{"wrong_currency":true}`, "paid", "currency", "JPY", "40 paid", "1"},
		{"fail", `{"fail":true}`, "failed", "total", "40", "40 failed", "0"},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := paid(t, f.faults)
			c.drain(time.Hour)
			if got := c.statuses(); got != f.notices {
				t.Errorf("notices %q, want %q", got, f.notices)
			}
			nonces := map[string]bool{}
			for _, n := range c.got() {
				nonces[n.nonce] = true
				if got := map[string]string{"total": n.Total, "payee": n.Payee, "currency": n.Currency}[f.field]; got != f.says {
					t.Errorf("%s %s", f.field, got)
				}
			}
			if len(nonces) != len(c.got()) {
				t.Error("a nonce came twice")
			}
			if s := c.query(); s.Total+" "+s.Status != f.queried {
				t.Errorf("query %+v", s)
			}
			if e := c.book(); strconv.Itoa(e.Charges) != f.charges {
				t.Errorf("books %+v", e)
			}
		})
	}
}

func TestFaultLate(t *testing.T) {
	c := paid(t, `{"late":"90s"}`)
	due := c.clock.Now().Add(90 * time.Second)
	if next := c.step(); !next.Equal(due) || len(c.got()) != 0 {
		t.Fatalf("due at %v", next)
	}
	c.clock.Advance(90 * time.Second)
	c.step()
	if got := c.statuses(); got != "paid" {
		t.Errorf("notices %q", got)
	}
}

func TestFaultHang(t *testing.T) {
	c := paid(t, `{"hang":true}`)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		answered, answer := false, httptest.NewRecorder()
		go func() {
			c.bank.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v1/query", strings.NewReader("{}")))
			answered = true
		}()
		synctest.Wait()
		if answered {
			t.Error("answered")
		}
		cancel() // the client gives up
		synctest.Wait()
		if !answered || answer.Body.Len() != 0 {
			t.Error("still there when the client is gone")
		}
	})
	c.faults(`{}`)
	if s := c.query(); s.Status != "paid" {
		t.Errorf("%+v", s)
	}
}

func TestFaultAnswerDropped(t *testing.T) {
	c := newCity(t)
	order := c.visit(c.order())
	c.faults(`{"answer_dropped":true}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.bankURL+"/pay", strings.NewReader(url.Values{"s": {order.token()}, "method": {"credit_card"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if resp, err := c.browser.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Fatal("the page was answered")
	}
	if e := c.book(); e.Charges != 1 {
		t.Fatalf("%+v", e)
	}
	if p := c.get("/order?s=" + order.token()); p.path != "/result" {
		t.Error("a reload does not find the payment")
	}
	if _, err := c.refund("R-1", "15"); err == nil {
		t.Error("the refund was answered")
	}
	if s := c.query(); len(s.Refunds) != 1 || s.Refunds[0].Status != "done" || s.Refunds[0].Amount != "15" {
		t.Errorf("%+v", s)
	}
}

func TestFaultsEnd(t *testing.T) {
	c := newCity(t)
	c.faults(`{"fail":true,"next":2}`)
	var got []string
	for _, attempt := range []string{"201706130000001601", "201706130000001602", "201706130000001603"} {
		r := c.request()
		r.AttemptNo = attempt
		c.pay(c.visit(c.sign(r)), "credit_card")
	}
	for _, e := range c.bank.Books() {
		got = append(got, e.Status)
	}
	if strings.Join(got, " ") != "failed failed paid" {
		t.Errorf("%q", got)
	}
	if p := c.get("/faults"); !strings.Contains(p.body, `"fail":false`) || !strings.Contains(p.body, `"late":"0s"`) {
		t.Error(p.body)
	}
	for _, bad := range []string{`{"lost":1}`, `{"unknown":true}`, `{"late":"-1s"}`, `{"next":-1}`, `{"duplicated":1001}`, `{} {}`, ``} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, c.bankURL+"/faults", strings.NewReader(bad))
		if p := c.do(req, err); p.status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, p.status)
		}
	}
}

func TestTwoWorkersNeverDeliverOneNoticeTogether(t *testing.T) {
	c := newCity(t)
	deliveries := 0
	server := newServer(t, func(w http.ResponseWriter, _ *http.Request) {
		deliveries++
		if deliveries == 1 { // another worker comes while this delivery is under way
			if next, err := c.bank.Step(t.Context()); err != nil || !next.IsZero() {
				t.Errorf("the second worker found work until %v, %v", next, err)
			}
		}
		_, _ = w.Write([]byte(`{"result":"ok"}`))
	})
	r := c.request()
	r.CallbackURL = server + "/cb"
	c.pay(c.visit(c.sign(r)), "credit_card")
	c.step()
	if deliveries != 1 {
		t.Errorf("%d deliveries", deliveries)
	}
}

func TestManyClicksChargeOnce(t *testing.T) {
	c := newCity(t)
	s := c.visit(c.order()).token()
	var clicks sync.WaitGroup
	for _, method := range []string{"credit_card", "stored_value", "deposit_account", "credit_card", "stored_value", "deposit_account"} {
		clicks.Go(func() {
			resp, err := c.browser.PostForm(c.bankURL+"/pay", url.Values{"s": {s}, "method": {method}})
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
		})
	}
	clicks.Wait()
	c.drain(time.Hour)
	if e := c.book(); e.Charges != 1 || len(c.got()) != 1 {
		t.Errorf("%+v, %d notices", e, len(c.got()))
	}
}
