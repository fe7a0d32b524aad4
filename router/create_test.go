package router_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router"
)

func TestServerCreate(t *testing.T) {
	w := newWorld(t)
	cmd := w.command("server")
	w.server.create = func(_ int, req providers.CreateRequest) (providers.Created, error) {
		if n := w.number("SELECT COUNT(*) FROM calls WHERE attempt_no = $1 AND outcome = ''", req.AttemptNo); n != 1 {
			t.Error("the call left before its row was committed")
		}
		if _, err := w.place(cmd); !errors.Is(err, orders.ErrInFlight) {
			t.Errorf("the same request meanwhile: %v, want in flight", err)
		}
		return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://pay.example/x"}, Refs: map[string]string{"tx": "9"}}, nil
	}
	first, err := w.place(cmd)
	if err != nil || first.Status != 201 {
		t.Fatalf("answer %+v, %v", first, err)
	}
	o := w.order(first)
	a := o.Current()
	if string(first.Body) != string(a.No)+" open pending v2" || a.No != orders.AttemptNo("S1"+string(o.No)+"01") {
		t.Errorf("answer %q about attempt %s", first.Body, a.No)
	}
	if a.Redirect.URL != "https://pay.example/x" || a.Refs["tx"] != "9" || a.HandedAt.IsZero() || o.Calls[0].Outcome != orders.OutcomeDone {
		t.Errorf("attempt %+v, calls %+v", a, o.Calls)
	}
	if got := w.store.since(); !slices.Equal(got, []string{"Place", "FinishCreate"}) {
		t.Errorf("commits: %v", got)
	}
	again, err := w.place(cmd)
	if err != nil || !again.Replayed || string(again.Body) != string(first.Body) || len(w.server.creates) != 1 {
		t.Errorf("replay: %+v, %v, %d creates", again, err, len(w.server.creates))
	}
	if w.meter.of("server-a create ok") != 1 || w.events(o.No) != "created pending" {
		t.Errorf("events %s, counts %v", w.events(o.No), w.meter.count)
	}
}

func TestServerCreateErrors(t *testing.T) {
	const (
		notSent = "open intent"
		next    = "open pending" // the same number: no byte of it had left
		refused = "open failed"
		unknown = "open intent(abandoned)"
	)
	for name, test := range map[string]struct {
		err    error
		status int // of the stored answer; 0: none, and the same request goes on
		wait   time.Duration
		states string
		call   orders.Outcome
	}{
		"unavailable":    {kindError(providers.Unavailable), 0, 2 * time.Second, notSent, orders.OutcomeNotSent},
		"rate limited":   {&providers.Error{Kind: providers.RateLimited, RetryAfter: time.Minute}, 0, time.Minute, notSent, orders.OutcomeNotSent},
		"too short wait": {&providers.Error{Kind: providers.RateLimited, RetryAfter: time.Second}, 0, 2 * time.Second, notSent, orders.OutcomeNotSent},
		"auth":           {kindError(providers.Auth), 0, 2 * time.Second, notSent, orders.OutcomeNotSent},
		"invalid":        {kindError(providers.Invalid), 422, 0, refused, orders.OutcomeRefused},
		"declined":       {kindError(providers.Declined), 422, 0, refused, orders.OutcomeRefused},
		"not found":      {kindError(providers.NotFound), 422, 0, refused, orders.OutcomeRefused},
		"unknown":        {kindError(providers.OutcomeUnknown), 202, 0, unknown, orders.OutcomeUnknown},
		"duplicate":      {kindError(providers.Duplicate), 202, 0, unknown, orders.OutcomeUnknown},
		"untrusted":      {kindError(providers.Untrusted), 202, 0, unknown, orders.OutcomeUnknown},
		"foreign error":  {errors.New("boom"), 202, 0, unknown, orders.OutcomeUnknown},
		"cut":            {context.DeadlineExceeded, 202, 0, unknown, orders.OutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.server.create = func(n int, _ providers.CreateRequest) (providers.Created, error) {
				if n > 1 {
					return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://pay.example/2"}}, nil
				}
				return providers.Created{}, test.err
			}
			cmd := w.command("server")
			a, err := w.place(cmd)
			no := orders.OrderNo(w.server.creates[0].OrderNo)
			w.wantStates(no, test.states)
			if o := w.read(no); o.Calls[0].Outcome != test.call || o.Doubt() || len(w.server.creates) != 1 {
				t.Errorf("call %q, doubt %v, %d creates", o.Calls[0].Outcome, o.Doubt(), len(w.server.creates))
			}
			w.clock.Advance(test.wait) // that a provider asks for
			again, againErr := w.place(cmd)
			if test.status != 0 {
				if err != nil || a.Status != test.status || a.Replayed {
					t.Errorf("answer %+v, %v, want %d", a, err, test.status)
				}
				if againErr != nil || !again.Replayed || again.Status != a.Status || string(again.Body) != string(a.Body) || len(w.server.creates) != 1 {
					t.Errorf("the same request again: %+v, %v, %d creates", again, againErr, len(w.server.creates))
				}
				return
			}
			var none *orders.NoAccountError
			if !errors.As(err, &none) || none.RetryAfter != test.wait || none.Why == "" {
				t.Errorf("error %#v, want no account, again after %v", err, test.wait)
			}
			w.wantStates(no, next)
			if o := w.order(again); againErr != nil || again.Status != 201 || again.Replayed || o.No != no || o.Current().Ordinal != 1 || len(w.server.creates) != 2 {
				t.Errorf("the same request again: %+v, %v", again, againErr)
			}
		})
	}
}

// An attempt whose create nobody knows the outcome of is not offered any more, but it is
// watched: by callbacks, and by a query after the order's end.
func TestAbandonedAttemptIsWatched(t *testing.T) {
	for _, by := range []string{"callback", "query"} {
		t.Run(by, func(t *testing.T) {
			w := newWorld(t)
			w.server.create = func(int, providers.CreateRequest) (providers.Created, error) {
				return providers.Created{}, kindError(providers.OutcomeUnknown)
			}
			o := w.placed("server")
			if d := o.Document("https://gw.example/pay/x"); d.CheckoutURL != nil {
				t.Errorf("an abandoned attempt is offered: %+v", d)
			}
			if by == "callback" {
				w.paidNotice(&o, "n1")
				w.wantStates(o.No, "paid paid(abandoned)")
				return
			}
			w.server.query = paid
			w.at(life + grace)
			w.work(w.QueryStep)
			w.wantStates(o.No, "paid paid(abandoned) late")
		})
	}
}

// crashed places an order whose process ends between its two commits.
func (w *world) crashed(cmd orders.Command) orders.OrderNo {
	w.t.Helper()
	w.server.create = func(int, providers.CreateRequest) (providers.Created, error) { panic(errCrash) }
	w.dies(func() { _, _ = w.place(cmd) })
	w.server.create = nil
	w.restart()
	return orders.OrderNo(w.server.creates[len(w.server.creates)-1].OrderNo)
}

func TestResumeAfterCrash(t *testing.T) {
	w := newWorld(t)
	cmd := w.command("server")
	no := w.crashed(cmd)
	w.clock.Advance(lease - time.Millisecond)
	_, err := w.place(cmd)
	wantErr(t, err, orders.ErrInFlight) // its process may be alive
	w.clock.Advance(time.Millisecond)
	other := cmd
	other.Merchant = "lib"
	_, err = w.place(other)
	wantErr(t, err, orders.ErrKeyReused)
	accounts := w.config.Accounts
	w.restart(without("server-a"))
	_, err = w.place(cmd)
	wantErr(t, err, &orders.NoAccountError{Why: "no account of the provider is configured", RetryAfter: time.Minute})
	w.wantStates(no, "open intent")

	w.restart(func(c *router.Config, _ *router.Deps) { c.Accounts = accounts })
	a, err := w.place(cmd)
	if err != nil || a.Status != 201 {
		t.Fatalf("resumed: %+v, %v", a, err)
	}
	w.wantStates(no, "open intent(abandoned) pending")
	if o := w.order(a); o.No != no || o.Current().No != orders.AttemptNo(fmt.Sprintf("S1%s02", no)) || len(w.server.creates) != 2 ||
		o.Current().Token == o.Attempts[0].Token || w.server.creates[1].AttemptNo != string(o.Current().No) {
		t.Errorf("resumed order %+v after %d creates", o, len(w.server.creates))
	}
	if w.number("SELECT COUNT(*) FROM orders") != 1 {
		t.Error("a second order")
	}
	if again, err := w.place(cmd); err != nil || !again.Replayed || string(again.Body) != string(a.Body) {
		t.Errorf("replay: %+v, %v", again, err)
	}
}

func TestResumeTooLate(t *testing.T) {
	t.Run("bills taken", func(t *testing.T) {
		w := newWorld(t)
		cmd := w.command("server")
		no := w.crashed(cmd)
		rival := w.command("form")
		rival.Lines = cmd.Lines
		w.clock.Advance(lease + time.Minute)
		_, err := w.place(rival)
		wantErr(t, err, &orders.BillError{BillNo: cmd.Lines[0].BillNo, Holder: no, Client: "core"})
		w.clock.Advance(time.Millisecond)
		if _, err := w.place(rival); err != nil {
			t.Fatal(err)
		}
		a, err := w.place(cmd)
		if want := fmt.Sprintf("%s orders: bill %s is in progress", no, cmd.Lines[0].BillNo); err != nil || a.Status != 409 || string(a.Body) != want {
			t.Errorf("answer %d %q, %v, want 409 %q", a.Status, a.Body, err, want)
		}
		w.wantStates(no, "cancelled intent(abandoned)")
		again, err := w.place(cmd)
		if err != nil || !again.Replayed || again.Status != 409 || string(again.Body) != string(a.Body) || len(w.server.creates) != 1 {
			t.Errorf("replay: %+v, %v, %d creates", again, err, len(w.server.creates))
		}
	})
	t.Run("order over", func(t *testing.T) {
		w := newWorld(t)
		cmd := w.command("server")
		no := w.crashed(cmd)
		w.at(life)
		_, err := w.place(cmd)
		wantErr(t, err, orders.ErrNotPayable)
		w.wantStates(no, "open intent")
	})
	t.Run("store down", func(t *testing.T) {
		w := newWorld(t)
		w.store.failing("FinishCreate")
		cmd := w.command("server")
		_, err := w.place(cmd)
		wantErr(t, err, orders.ErrUnavailable)
		w.store.healed()
		w.clock.Advance(lease)
		if a, err := w.place(cmd); err != nil || a.Status != 201 || len(w.server.creates) != 2 {
			t.Errorf("the same request again: %+v, %v", a, err)
		}
	})
}

// A request that was given up for dead may answer after all: what it learnt is not believed
// any more, since another holds its key.
func TestZombieIsFenced(t *testing.T) {
	w := newWorld(t)
	cmd := w.command("server")
	var second orders.Answer
	w.server.create = func(n int, req providers.CreateRequest) (providers.Created, error) {
		if n == 1 {
			w.clock.Advance(lease)
			var err error
			if second, err = w.place(cmd); err != nil || second.Status != 201 {
				t.Errorf("resumed: %+v, %v", second, err)
			}
		}
		return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://pay.example/" + req.AttemptNo}}, nil
	}
	a, err := w.place(cmd)
	wantErr(t, err, orders.ErrInFlight)
	if a.Status != 0 {
		t.Errorf("the zombie answers %+v", a)
	}
	o := w.order(second)
	w.wantStates(o.No, "open intent(abandoned) pending")
	if o.Attempts[0].Redirect != nil || len(w.server.creates) != 2 {
		t.Errorf("attempts %+v after %d creates", o.Attempts, len(w.server.creates))
	}
	if again, err := w.place(cmd); err != nil || string(again.Body) != string(second.Body) {
		t.Errorf("replay: %+v, %v", again, err)
	}
}

// The provider may tell that an attempt is paid before it answers our create.
func TestPaidBeforeOurCreateIsAnswered(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		states string
	}{
		"done":     {nil, 201, "paid paid"},
		"unknown":  {kindError(providers.OutcomeUnknown), 202, "paid paid(abandoned)"},
		"declined": {kindError(providers.Declined), 422, "paid paid"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.server.create = func(_ int, req providers.CreateRequest) (providers.Created, error) {
				o := w.read(orders.OrderNo(req.OrderNo))
				w.paidNotice(&o, "n1")
				return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://pay.example/"}}, test.err
			}
			a, err := w.place(w.command("server"))
			if err != nil || a.Status != test.status {
				t.Fatalf("answer %+v, %v, want %d", a, err, test.status)
			}
			o := w.order(a)
			w.wantStates(o.No, test.states)
			if w.events(o.No) != "created paid" || o.Current().ProviderTradeNo != "trade-1" {
				t.Errorf("events %s, attempt %+v", w.events(o.No), o.Current())
			}
		})
	}
}

// A client that hangs up cuts neither the send nor the commit of its outcome.
func TestClientHangsUp(t *testing.T) {
	w := newWorld(t)
	ctx, hangUp := context.WithCancel(t.Context())
	w.server.create = func(int, providers.CreateRequest) (providers.Created, error) {
		hangUp()
		return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://pay.example/"}}, nil
	}
	cmd := w.command("server")
	if _, err := w.Place(ctx, cmd, wording{}); err != nil {
		t.Fatal(err)
	}
	if a, err := w.place(cmd); err != nil || !a.Replayed || a.Status != 201 {
		t.Errorf("replay: %+v, %v", a, err)
	}
}
