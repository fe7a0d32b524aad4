package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/providertest"
)

// No callback ever comes, and no browser comes back: every payment reaches the core all the same, once, because the gateway
// asks; and a provider that is silent for half an hour when it is asked too often never has to be. DROPPED=1000 is the long proof.
func TestAllCallbacksLost(t *testing.T) {
	n := 60
	if text := os.Getenv("DROPPED"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	// What the adapter's gap lets through in a second, and what may have been held up on its way: one question of each worker.
	const gap, late = 25 * time.Millisecond, 8
	p := patience{gap, providertest.Ban{Most: int(time.Second/gap) + late, In: time.Second, For: 30 * time.Minute}}
	s := newPatientStage(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"), true, "never", 1, p)
	paid := map[string]bool{}
	for i := range n {
		o, answer, status := s.placeBill(fmt.Sprintf("key-of-an-order-%d", i), fmt.Sprintf("ref-%d", i), fmt.Sprintf("H7070%08d", i))
		if status != http.StatusCreated {
			t.Fatalf("%d %s", status, answer)
		}
		if err := s.twin.Visit(providers.Redirect{Method: o.Redirect.Method, URL: o.Redirect.URL, Fields: o.Redirect.Fields}, providertest.StatePaid); err != nil {
			t.Fatal(err)
		}
		paid[o.OrderNo] = true
	}
	s.later(time.Minute) // the first query of each is due now
	begun := time.Now()
	reached := func() int {
		s.core.mu.Lock()
		defer s.core.mu.Unlock()
		return len(s.core.paid)
	}
	for known := 0; known < n; {
		s.until("more payments reach the core", func() (bool, error) { return reached() > known, nil })
		known = reached()
	}
	took := time.Since(begun)
	s.core.mu.Lock()
	defer s.core.mu.Unlock()
	for no := range paid {
		if s.core.paid[no] != 1 {
			t.Errorf("order %s was settled %d times", no, s.core.paid[no])
		}
	}
	asked := 0
	for no := range s.twin.Books() {
		asked += s.twin.Calls(providers.OpQuery, no)
	}
	if len(s.core.paid) != n || s.twin.Bans() != 0 {
		t.Errorf("%d of %d payments reached the core, banned %d times", len(s.core.paid), n, s.twin.Bans())
	}
	t.Logf("%d payments without a callback reached the core in %v, %d questions, banned %d times", n, took.Round(time.Millisecond), asked, s.twin.Bans())
}
