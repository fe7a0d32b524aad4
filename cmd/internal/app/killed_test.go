package app

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/providertest"
)

// The gateway is killed at every moment of a payment: before each commit is sent, after each commit before it is known,
// while a provider has carried out a call and not answered, while the core has taken an event and not answered, after an
// answer and after an acknowledgement. Whenever it is, nothing is lost: the client's retry gets the one order, the money
// moves once at most, the order tells what the provider's books tell, and the core settles exactly that, once.
func TestKilledAtEveryMoment(t *testing.T) {
	postgres := func(t *testing.T) string { return testkit.Postgres(t) }
	sqlite := func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "gateway.db") }
	always := []string{"after the client's answer", "after the notice's acknowledgement", "before the query's answer", "before the event was taken", "before the event's answer"}
	called := []string{"before the create's answer", "before the confirm's answer"}
	commits := []string{string(testkit.BeforeCommit), string(testkit.AfterCommit)}
	for _, c := range []struct {
		name     string
		store    func(t *testing.T) string
		formPost bool
		moments  []string
	}{
		{"server create and confirm on Postgres", postgres, false, slices.Concat(always, called, commits)},
		{"form post and query before paid on Postgres", postgres, true, slices.Concat(always, commits)},
		{"server create and confirm on SQLite", sqlite, false, slices.Concat(always, called)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, moment := range c.moments {
				nth := 0 // of these moments in one payment; each comes up at least once
				for died := true; died; {
					nth++
					ok := t.Run(fmt.Sprint(moment, " ", nth), func(t *testing.T) {
						s := newStage(t, c.store(t), c.formPost, moment, nth)
						s.payment(c.formPost)
						died = s.died
					})
					died = died && ok
				}
				if nth == 1 && !t.Failed() {
					t.Errorf("never killed %s", moment)
				}
			}
		})
	}
}

// A core that is down, so that nobody even takes a connection, gets everything when it is back, in order per order.
func TestCoreDown(t *testing.T) {
	s := newStage(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"), true, "never", 1)
	s.core.server.Close()
	o, answer, status := s.place("key-of-sixteen-or-more", "ref-1")
	if status != http.StatusCreated {
		t.Fatalf("%d %s", status, answer)
	}
	s.pay(&o, true)
	s.until("the order is paid", func() (bool, error) {
		now, err := s.order(o.OrderNo)
		return now.Status == "paid", err
	})
	s.later(time.Minute) // nobody waits for the core either
	s.core.up(t)
	s.end(&o)
	s.settled(&o, true)
}

// payment is one payment from the order to the settled bill, through whatever happens to the gateway.
func (s *stage) payment(formPost bool) {
	o, answer, status := s.place("key-of-sixteen-or-more", "ref-1")
	if status != http.StatusCreated && status != http.StatusOK {
		s.Fatalf("answer %d %s", status, answer)
	}
	s.moment("after the client's answer")
	s.pay(&o, formPost)
	paid := s.end(&o)

	if again, bytesAgain, status := s.place("key-of-sixteen-or-more", "ref-1"); again.OrderNo != o.OrderNo || !bytes.Equal(answer, bytesAgain) || status != http.StatusOK {
		s.Errorf("the repeated request got %d\n%s\nand the first\n%s", status, bytesAgain, answer)
	}
	s.settled(&o, paid)
	if _, answer, status := s.place("another-key-of-sixteen", "ref-2"); (status == http.StatusConflict) != paid || (status == http.StatusCreated) == paid {
		s.Errorf("paid %t, and the same bill ordered again: %d %s", paid, status, answer)
	}
}

// pay is what the citizen does at the provider, and the provider's notice of it, sent until it is acknowledged.
func (s *stage) pay(o *placed, formPost bool) {
	state := providertest.StateAuthorised
	if formPost {
		state = providertest.StatePaid
	}
	r := o.Redirect
	if err := s.twin.Visit(providers.Redirect{Method: r.Method, URL: r.URL, Fields: r.Fields}, state); err != nil {
		s.Fatal(err)
	}
	notice, err := s.twin.Callback(o.AttemptNo)
	if err != nil {
		s.Fatal(err)
	}
	s.until("the notice is acknowledged", func() (bool, error) {
		status, body, err := s.twin.Deliver(s.Context(), http.DefaultClient, "http://"+s.edge, notice)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d %s", status, body)
		}
		return err == nil, err
	})
	s.moment("after the notice's acknowledgement")
}

// end waits for the payment's end, and says whether it is paid. A confirm that was claimed by a process that died before
// it sent is a doubt that nobody may repeat: the provider lets the authorisation lapse and says so.
func (s *stage) end(o *placed) (paid bool) {
	s.until("the order is paid or in doubt", func() (bool, error) {
		now, err := s.order(o.OrderNo)
		if err != nil {
			return false, err
		}
		paid = now.Status == "paid"
		return paid || (now.Doubt && s.leftBehind(o)), nil
	})
	if !paid {
		s.lapse(o)
	}
	s.until("every event is delivered", func() (bool, error) {
		depth, err := s.depth()
		return depth == "0", err
	})
	s.until("the feed tells what was delivered", func() (bool, error) { return true, s.core.complete(s) })
	return paid
}

// leftBehind says whether the confirm in doubt was claimed by the process that died, and never sent.
func (s *stage) leftBehind(o *placed) bool {
	if s.twin.Calls(providers.OpConfirm, o.AttemptNo) > 0 {
		return false
	}
	var told struct {
		Timeline []struct {
			At           time.Time
			What, Detail string
		}
	}
	if _, _, err := s.ask(http.MethodGet, "/v1/orders/"+o.OrderNo+"/timeline", "", "", &told); err != nil {
		return false
	}
	for _, row := range told.Timeline {
		if row.What == "call" && row.Detail == "confirm 1 about to be sent" {
			return row.At.Before(s.started.Add(-time.Second)) // it is told in whole seconds
		}
	}
	return false
}

// lapse lets the provider end what was authorised and never confirmed.
func (s *stage) lapse(o *placed) {
	if !s.twin.Set(o.AttemptNo, providertest.StateExpired) {
		s.Fatalf("the provider does not know %s", o.AttemptNo)
	}
	s.later(time.Hour)
	s.until("the order has expired", func() (bool, error) {
		now, err := s.order(o.OrderNo)
		if err == nil && now.Status != "expired" {
			err = fmt.Errorf("order %+v, provider %+v", now, s.twin.Books())
		}
		return err == nil && !now.Doubt, err
	})
}

// settled compares the provider's books, the order and the core.
func (s *stage) settled(o *placed, paid bool) {
	var now placed
	s.until("the order is read", func() (ok bool, err error) {
		now, err = s.order(o.OrderNo)
		return true, err
	})
	charged := 0
	for no, p := range s.twin.Books() {
		if p.State == providertest.StatePaid {
			charged++
		}
		if n := s.twin.Effects(providers.OpConfirm, no); n > 1 {
			s.Errorf("%s was confirmed %d times", no, n)
		}
	}
	want := 0
	if paid {
		want = 1
	}
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	if charged != want || s.core.paid[o.OrderNo] != want || len(s.core.paid) != want || now.Late || len(now.Surplus) != 0 {
		s.Errorf("order %+v, charged %d times at the provider, settled by the core: %v", now, charged, s.core.paid)
	}
}
