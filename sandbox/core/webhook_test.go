package core_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/signing"
)

func TestWebhookIsRefused(t *testing.T) {
	good := twoBills(orderA, "r").paid().event("order.paid", 1)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	stamp := func(d time.Duration) func(*http.Request) {
		return set("Webhook-Timestamp", strconv.FormatInt(start.Add(d).Unix(), 10))
	}
	for _, tt := range []struct {
		name   string
		body   []byte
		change func(*http.Request)
		want   int
	}{
		{"no signature", good, func(r *http.Request) { r.Header.Del("Webhook-Signature") }, 401},
		{"other signature", good, set("Webhook-Signature", "v1a,"+strings.Repeat("A", 86)+"=="), 401},
		{"signature header twice", good, func(r *http.Request) { r.Header.Add("Webhook-Signature", "v1,x") }, 401},
		{"other id", good, set("Webhook-Id", "evt_"+orderA+"_2"), 401},
		{"other time", good, stamp(time.Second), 401},
		{"body over 64 KiB", []byte(strings.Repeat(" ", 64<<10+1)), nil, 400},
		{"signed, not JSON", []byte("{"), nil, 400},
		{"signed, no order", []byte(`{"id":"evt_` + orderA + `_1","order_no":"` + orderA + `","version":1}`), nil, 400},
		{"signed, order of another number", []byte(strings.Replace(string(good), `"order_no":"`+orderA, `"order_no":"`+orderB, 1)), nil, 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t)
			var change []func(*http.Request)
			if tt.change != nil {
				change = append(change, tt.change)
			}
			if got := c.webhook(tt.body, change...); got != tt.want {
				t.Errorf("answered %d, want %d", got, tt.want)
			}
			if b := c.books(); b.EventsSeen != 0 || c.settled(bill1) != "" {
				t.Errorf("it was booked: %+v", b)
			}
		})
	}
}

func TestSignedUnderAnotherIDIsRefused(t *testing.T) {
	c := newCity(t)
	body := twoBills(orderA, "r").paid().event("order.paid", 1)
	signature, err := signing.SignWebhook([]*signing.WebhookSigner{c.signer}, "evt_other", start, body)
	if err != nil {
		t.Fatal(err)
	}
	got := c.webhook(body, func(r *http.Request) {
		r.Header.Set("Webhook-Id", "evt_other")
		r.Header.Set("Webhook-Signature", signature)
	})
	if got != 400 || c.settled(bill1) != "" {
		t.Errorf("answered %d", got)
	}
}

func TestStaleWebhookIsRefused(t *testing.T) {
	for _, late := range []time.Duration{-301 * time.Second, 301 * time.Second} {
		c := newCity(t)
		body := twoBills(orderA, "r").paid().event("order.paid", 1)
		if got := c.webhook(body, func(*http.Request) { c.advance(late) }); got != 401 || c.settled(bill1) != "" {
			t.Errorf("%v late: answered %d", late, got)
		}
	}
}

func TestPaidEventSettlesEachBillOnce(t *testing.T) {
	c := newCity(t)
	d := twoBills(orderA, "r")
	bodies := [][]byte{d.event("order.created", 1), d.paid().event("order.paid", 2)}
	for range 3 {
		for _, b := range bodies {
			if got := c.webhook(b); got != http.StatusNoContent {
				t.Fatalf("answered %d", got)
			}
		}
	}
	if got := c.settled(bill1) + " " + c.settled(bill2); got != orderA+"×1 "+orderA+"×1" {
		t.Errorf("settled %q", got)
	}
	if b := c.books(); b.EventsSeen != 2 || b.DuplicatesSeen != 4 || b.Missing != 0 {
		t.Errorf("books %+v", b)
	}
}

func TestLaterEventsOfAPaidOrderSettleNothingMore(t *testing.T) {
	c := newCity(t)
	d := twoBills(orderA, "r").paid()
	c.webhook(d.event("order.paid", 1))
	c.webhook(d.event("order.review", 2))
	if got := c.settled(bill1); got != orderA+"×1" {
		t.Errorf("settled %q", got)
	}
}

func TestOlderEventsDoNotUndoNewerOnes(t *testing.T) {
	c := newCity(t)
	d := twoBills(orderA, "r")
	// The newest comes first: a gap. It carries the order whole, so the bills are settled.
	if got := c.webhook(d.paid().event("order.paid", 3)); got != http.StatusNoContent {
		t.Fatalf("answered %d", got)
	}
	if b := c.books(); b.Missing != 2 || c.settled(bill2) != orderA+"×1" {
		t.Errorf("books after the gap %+v", b)
	}
	old := [][]byte{d.event("order.created", 1), d.attempts("failed").event("order.failed", 2)}
	if got := c.webhook(old[1]); got != http.StatusNoContent {
		t.Errorf("an old event was answered %d", got)
	}
	// The feed brings what is missing.
	c.gateway.publish(old[0], old[1], d.paid().event("order.paid", 3))
	if err := c.step(); err != nil {
		t.Fatal(err)
	}
	if b := c.books(); b.Missing != 0 || b.EventsSeen != 3 || b.DuplicatesSeen != 0 || c.settled(bill1) != orderA+"×1" {
		t.Errorf("books %+v", b)
	}
}

func TestPaidWordWithoutPaidStatusSettlesNothing(t *testing.T) {
	c := newCity(t)
	d := twoBills(orderA, "r")
	c.webhook(d.event("order.paid", 1))                                                                  // the type alone
	c.webhook(d.with(func(d *document) { d.Status = "paid" }).attempts("failed").event("order.paid", 2)) // no paid attempt
	c.webhook(d.attempts("paid").event("order.paid", 3))                                                 // no paid order
	if c.settled(bill1) != "" {
		t.Error("settled")
	}
}

func TestSurplusLineIsNotSettled(t *testing.T) {
	c := newCity(t)
	d := twoBills(orderA, "r").paid()
	d.Surplus = []surplus{{"s", orderA + "01", bill1, "20", "0"}}
	c.webhook(d.event("order.surplus", 1))
	if c.settled(bill1) != "" || c.settled(bill2) != orderA+"×1" {
		t.Errorf("settled %q and %q", c.settled(bill1), c.settled(bill2))
	}
}

func TestSurplusOfASecondAttemptDoesNotHideTheFirst(t *testing.T) {
	c := newCity(t)
	d := twoBills(orderA, "r").with(func(d *document) { d.Status = "paid" }).attempts("paid", "paid")
	d.Surplus = []surplus{{"s", orderA + "02", bill1, "20", "0"}, {"t", orderA + "02", bill2, "20", "0"}}
	c.webhook(d.event("order.surplus", 1))
	if c.settled(bill1) != orderA+"×1" {
		t.Errorf("settled %q", c.settled(bill1))
	}
}

func TestTwoOrdersSettlingOneBillAreCounted(t *testing.T) {
	c := newCity(t)
	c.webhook(twoBills(orderA, "r").paid().event("order.paid", 1))
	c.webhook(twoBills(orderB, "s").paid().event("order.paid", 1))
	if got := c.settled(bill1); got != orderA+"×2" {
		t.Errorf("settled %q: a gateway that settles twice must be seen", got)
	}
}

func TestSameVersionWithOtherContentIsRefused(t *testing.T) {
	c := newCity(t)
	c.webhook(twoBills(orderA, "r").event("order.created", 1))
	if got := c.webhook(twoBills(orderA, "r").paid().event("order.paid", 1)); got != 400 || c.settled(bill1) != "" {
		t.Errorf("answered %d", got)
	}
}

func TestBillsThatAreNotOursAreBookedToo(t *testing.T) {
	c := newCity(t)
	d := twoBills(orderA, "r").paid().with(func(d *document) { d.Lines[0].BillNo = "X123456789" })
	c.webhook(d.event("order.paid", 1))
	if c.settled("X123456789") != orderA+"×1" {
		t.Error("not booked")
	}
}

func (c *city) fault(body string) int {
	return c.do(httptest.NewRequest(http.MethodPut, "/faults", strings.NewReader(body))).Code
}

func TestFaults(t *testing.T) {
	c := newCity(t)
	body := twoBills(orderA, "r").paid().event("order.paid", 1)
	c.fault(`{"status":500}`)
	if got := c.webhook(body); got != 500 || c.settled(bill1) != "" {
		t.Errorf("before the work: %d, settled %q", got, c.settled(bill1))
	}
	c.fault(`{"status":404,"after":true}`)
	if got := c.webhook(body); got != 404 || c.settled(bill1) != orderA+"×1" {
		t.Errorf("after the work: %d, settled %q", got, c.settled(bill1))
	}
	if got := strings.TrimSpace(c.get("/faults").Body.String()); got != `{"status":404,"hang":false,"after":true}` {
		t.Errorf("GET /faults: %s", got)
	}
	c.fault(`{}`)
	if got := c.webhook(body); got != 204 || c.settled(bill1) != orderA+"×1" {
		t.Errorf("healthy again: %d", got)
	}
	for _, bad := range []string{`{"status":99}`, `{"stat":500}`, `x`} {
		if got := c.fault(bad); got != 400 {
			t.Errorf("%s: %d", bad, got)
		}
	}
}

func TestHangEndsWithTheCallerOrTheFault(t *testing.T) {
	c := newCity(t)
	body := twoBills(orderA, "r").paid().event("order.paid", 1)
	c.fault(`{"hang":true}`)
	ctx, leave := context.WithCancel(context.Background())
	leave()
	c.webhook(body, func(r *http.Request) { *r = *r.WithContext(ctx) })
	waiting, done := make(chan struct{}), make(chan int)
	go func() {
		done <- c.webhook(body, func(r *http.Request) { *r = *r.WithContext(watched{context.Background(), waiting}) })
	}()
	<-waiting // it hangs now
	c.fault(`{}`)
	if got := <-done; got != http.StatusServiceUnavailable {
		t.Errorf("let go with %d", got)
	}
	if c.settled(bill1) != "" {
		t.Error("a hanging core did the work")
	}
}

// watched tells when somebody waits for it to end.
type watched struct {
	context.Context
	waiting chan struct{}
}

func (w watched) Done() <-chan struct{} {
	close(w.waiting)
	return nil
}
