package router_test

import (
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router"
)

// opened is what a create that went well gives.
func opened(req providers.CreateRequest) providers.Created {
	return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://pay.example/" + req.AttemptNo}, Refs: map[string]string{"tx": req.AttemptNo}}
}

// A click whose create is under way while an earlier attempt is paid sends nobody to the new page.
func TestNoRedirectOnceAnEarlierAttemptIsPaid(t *testing.T) {
	w := newWorld(t)
	var o orders.Order
	w.server.create = func(n int, req providers.CreateRequest) (providers.Created, error) {
		if n == 1 {
			return providers.Created{}, kindError(providers.OutcomeUnknown)
		}
		w.paidNotice(&o, "late answer of attempt 1")
		return opened(req), nil
	}
	a, err := w.place(w.command("server"))
	if err != nil || a.Status != 202 {
		t.Fatal(a, err)
	}
	o = w.order(a)
	c, err := w.Checkout(t.Context(), o.PayToken)
	if err != nil {
		t.Fatal(err)
	}
	if c.Redirect != nil {
		t.Error("redirect for a paid order")
	}
}

// A paid notice that comes after the query plan has ended, and whose first query fails, begins a plan of its own.
func TestPaidNoticeAfterThePlan(t *testing.T) {
	w := newWorld(t, rule(router.QueryRule{}))
	o := w.placed("form")
	w.form.query = always(providers.Snapshot{}, kindError(providers.NotFound))
	w.at(life + grace)
	w.work(w.QueryStep)
	w.at(life + grace + 73*time.Hour)
	w.form.query = always(providers.Snapshot{}, kindError(providers.OutcomeUnknown))
	w.paidNotice(&o, "n1")
	w.work(w.QueryStep)
	w.form.query = paid
	for range 48 {
		w.clock.Advance(time.Hour)
		w.work(w.QueryStep)
	}
	if w.states(o.No) != "paid paid late" && len(w.read(o.No).Cases) == 0 {
		t.Error("paid callback lost, no case")
	}
}

// A refund that answers "done" after it was taken for failed is a case, and nothing more goes back until a person has looked.
func TestRefundDoneAfterAll(t *testing.T) {
	w := newWorld(t)
	o := w.paidOrder()
	if _, err := w.refunding(&o, 15, ""); err != nil {
		t.Fatal(err)
	}
	w.form.query = listsRefunds(nil)
	w.form.refund = func(n int, req providers.RefundRequest) (providers.RefundResult, error) {
		if n == 1 {
			for range 10 {
				w.clock.Advance(time.Minute)
				w.work(w.QueryStep)
			}
		}
		return providers.RefundResult{ProviderRefundNo: "P" + req.RefundID, State: providers.RefundDone}, nil
	}
	w.refundStep()
	_, err := w.refunding(&o, 40, "")
	wantErr(t, err, orders.ErrRefundUndecided)
	if len(w.read(o.No).Cases) == 0 {
		t.Error("paid back after all, and nobody is told")
	}
}

// A click tries the next account, too.
func TestClickFailsOver(t *testing.T) {
	w := newWorld(t, second)
	w.answers(kindError(providers.OutcomeUnknown), kindError(providers.OutcomeUnknown))
	a, err := w.place(w.command("server"))
	if err != nil || a.Status != 202 {
		t.Fatal(a, err)
	}
	o := w.order(a)
	w.at(time.Minute)
	w.answers(kindError(providers.Unavailable), nil)
	c, err := w.Checkout(t.Context(), o.PayToken)
	if err != nil {
		t.Fatal(err)
	}
	if c.Redirect == nil {
		t.Error("a click never fails over")
	}
}

// The plan of a refund begins when it is sent, not when it is asked for.
func TestRefundSentLate(t *testing.T) {
	w := newWorld(t)
	o := w.paidOrder()
	if _, err := w.refunding(&o, 15, ""); err != nil {
		t.Fatal(err)
	}
	w.gates.close(morning.Add(80*time.Hour), "form-a/refund")
	w.refundStep()
	w.at(80 * time.Hour)
	w.gates.close(morning)
	w.form.refund = func(int, providers.RefundRequest) (providers.RefundResult, error) {
		return providers.RefundResult{}, kindError(providers.OutcomeUnknown)
	}
	w.form.query = always(providers.Snapshot{}, kindError(providers.OutcomeUnknown))
	w.refundStep()
	w.clock.Advance(time.Minute)
	w.work(w.QueryStep)
	n := len(w.form.queries)
	for range 24 {
		w.clock.Advance(time.Hour)
		w.work(w.QueryStep)
	}
	if len(w.form.queries) == n {
		t.Error("asked once, then never again")
	}
}

// A shorter wish to be left alone does not end a longer one.
func TestQuietIsNotShortened(t *testing.T) {
	w := newWorld(t)
	w.placed("server")
	w.at(life + grace)
	w.server.query = always(providers.Snapshot{}, &providers.Error{Kind: providers.RateLimited, RetryAfter: 30 * time.Minute})
	w.server.create = func(int, providers.CreateRequest) (providers.Created, error) {
		w.work(w.QueryStep)
		return providers.Created{}, &providers.Error{Kind: providers.RateLimited, RetryAfter: time.Second}
	}
	if _, err := w.place(w.command("server")); err == nil {
		t.Error("placed")
	}
	for _, c := range w.Conditions() {
		if c.Account == "server-a" {
			if c.QuietUntil.Sub(w.clock.Now()) < time.Minute {
				t.Error("penalty shortened")
			}
		}
	}
}

// A request for an attempt that was given up for dead finishes nothing under the key that its successor has taken.
func TestDeadAttemptRequestIsFenced(t *testing.T) {
	w := newWorld(t, second)
	o := w.placed("form")
	cmd := orders.AttemptCommand{Key: orders.KeyRef{ClientID: "core", Route: "a", Key: "k"}, Order: o.No, Providers: []string{"server"}}
	in1, in2, out1, out2 := make(chan int), make(chan int), make(chan int), make(chan int)
	w.server.create = func(n int, req providers.CreateRequest) (providers.Created, error) {
		if n == 1 {
			close(in1)
			<-out1
		} else {
			close(in2)
			<-out2
		}
		return opened(req), nil
	}
	type res struct {
		a   orders.Answer
		err error
	}
	go1, go2 := make(chan res, 1), make(chan res, 1)
	go func() { a, err := w.Attempt(t.Context(), cmd, wording{}); go1 <- res{a, err} }()
	<-in1
	w.clock.Advance(31 * time.Second)
	go func() { a, err := w.Attempt(t.Context(), cmd, wording{}); go2 <- res{a, err} }()
	<-in2
	close(out1)
	r1 := <-go1
	close(out2)
	r2 := <-go2
	if r2.err != nil || r2.a.Status != 201 {
		t.Errorf("its successor is answered %+v, %v", r2.a, r2.err)
	}
	if r1.err == nil {
		t.Error("the dead request answered under its successor's key")
	}
}

// "Paid" without an amount proves nothing, and is no "not paid" either.
func TestSupersedeNotWhenPaidWithoutAmount(t *testing.T) {
	w := newWorld(t)
	first := w.command("form")
	_, err := w.place(first)
	if err != nil {
		t.Fatal(err)
	}
	w.at(time.Minute)
	w.form.query = always(providers.Snapshot{State: providers.Paid}, nil)
	again := first
	again.Key.Key, again.ClientReference, again.Supersede = "other", "other", true
	_, err = w.place(again)
	if err == nil {
		t.Error("the provider said paid, and the bills were sold again")
	}
}

// While a paid notice waits for its proof, the bills stay where they are, whatever a query says that lags.
func TestSupersedeNotWhileUnproven(t *testing.T) {
	w := newWorld(t, rule(router.QueryRule{}))
	first := w.command("form")
	a, err := w.place(first)
	if err != nil {
		t.Fatal(err)
	}
	o := w.order(a)
	w.at(time.Minute)
	w.paidNotice(&o, "n1")
	again := first
	again.Key.Key, again.ClientReference, again.Supersede = "other", "other", true
	_, err = w.place(again) // query: pending, it lags
	if err == nil {
		t.Error("an authentic paid notice is on disk, and the bills were sold again")
	}
}

// A probe comes no sooner after the redirect than the first query may.
func TestProbeKeepsTheFirstQueryWaiting(t *testing.T) {
	w := newWorld(t)
	w.form.d.Patience.FirstQuery = 5 * time.Minute
	w.placed("form")
	if _, err := w.ProbeStep(t.Context(), "form-a"); err != nil {
		t.Fatal(err)
	}
	if len(w.form.queries) != 0 {
		t.Error("asked 0 s after the redirect, FirstQuery is 5 min")
	}
}

// A refund that the provider has taken is not failed because its list does not show it yet.
func TestRefundTakenIsNotFailed(t *testing.T) {
	w := newWorld(t)
	o := w.paidOrder()
	if _, err := w.refunding(&o, 15, ""); err != nil {
		t.Fatal(err)
	}
	w.form.query = listsRefunds(nil)
	w.form.refund = func(n int, req providers.RefundRequest) (providers.RefundResult, error) {
		return providers.RefundResult{ProviderRefundNo: "P" + req.RefundID, State: providers.RefundPending}, nil
	}
	w.refundStep()
	for range 10 {
		w.clock.Advance(time.Minute)
		w.work(w.QueryStep)
	}
	if w.read(o.No).Refunds[0].State == "failed" {
		t.Error("the provider accepted it, we call it failed")
	}
}

// "Too many requests" without a time is heeded, too.
func TestLimitedWithoutRetryAfter(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		w.placed("form")
	}
	w.at(life + grace)
	w.form.query = always(providers.Snapshot{}, kindError(providers.RateLimited))
	w.work(w.QueryStep)
	if len(w.form.queries) > 4 {
		t.Error("storm after a rate limit without Retry-After")
	}
}
