package httpx

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A target that answers 503 to everything gets at most a tenth more requests than there are queries, and the floor.
func TestRepeatsAreBounded(t *testing.T) {
	p := newPeer(t, script(status(503)))
	now := time.Now()
	client := newClient(t, p.url(), func(_ *Config, d *Deps) { d.Now = func() time.Time { return now } })
	const queries = 200
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range queries / 4 {
				answer, err := client.Query(within30s(t), repeat(post("/")))
				if err != nil || answer.Status != 503 {
					t.Errorf("got %+v, %v", answer, err)
				}
			}
		})
	}
	wg.Wait()
	requests, _ := p.arrived()
	if most := queries + queries/10 + budgetFloor; len(requests) > most || len(requests) < queries+queries/10 {
		t.Errorf("%d requests for %d queries, want all that the budget allows and at most %d", len(requests), queries, most)
	}
}

func TestLostAnswersUseTheSameBudget(t *testing.T) {
	p := newPeer(t, script(""))
	now := time.Now()
	client := newClient(t, p.url(), func(_ *Config, d *Deps) { d.Now = func() time.Time { return now } })
	ctx, cancel := context.WithDeadline(t.Context(), now.Add(time.Hour)) // on the client's clock, too
	defer cancel()
	for _, want := range []int{3, 3 + 2, 3 + 2 + 1, 3 + 2 + 1 + 1} {
		_, err := client.Query(ctx, repeat(post("/")))
		if requests, _ := p.arrived(); err == nil || NotSent(err) || len(requests) != want {
			t.Errorf("%d requests, %v; want %d", len(requests), err, want)
		}
	}
	now = now.Add(time.Minute) // the floor is there again
	_, _ = client.Query(ctx, repeat(post("/")))
	if requests, _ := p.arrived(); len(requests) != 7+3 {
		t.Errorf("%d requests a minute later, want 10", len(requests))
	}
}

// A repeat that the deadline forbids is not paid for.
func TestNoTimeCostsNoBudget(t *testing.T) {
	now := time.Now()
	client := &Client{deps: Deps{Now: func() time.Time { return now }, Rand: func() uint64 { return 0 }}}
	answer := &Response{Status: 503, Header: http.Header{"Retry-After": {"3600"}}}
	for range 10 {
		ctx, cancel := context.WithDeadline(t.Context(), now.Add(4*time.Second))
		if again, err := (&query{client: client, sends: 1, answer: answer}).check(notDone{ctx}, nil, nil); again || err != nil {
			t.Errorf("again %v, %v", again, err)
		}
		cancel()
	}
	if client.budget.now.repeats != 0 {
		t.Errorf("%d repeats were taken", client.budget.now.repeats)
	}
}

func TestBudget(t *testing.T) {
	at := func(seconds int) time.Time { return time.Date(2017, 6, 13, 9, 0, seconds, 0, time.UTC) }
	type step struct {
		name    string
		at      int // second
		firsts  int
		repeats int // that are left then
	}
	for name, course := range map[string][]step{
		"the floor comes back after a minute": {
			{"begin", 0, 1, 3}, {"spent", 29, 1, 0}, {"half over", 31, 1, 0}, {"a minute over", 60, 1, 3},
		},
		"a tenth": {
			{"nine", 0, 9, 3}, {"ten", 0, 1, 1}, {"a hundred more", 1, 100, 10}, {"remembered", 59, 0, 0}, {"forgotten", 61, 0, 3},
		},
		"first sends are forgotten too": {
			{"many", 0, 1000, 0 + 103}, {"none since", 90, 0, 3},
		},
		"unspent is not saved": {
			{"many", 0, 1000, -1}, {"later", 120, 1, 3},
		},
		"a clock that is set back": {
			{"spent", 30, 1, 3}, {"back", 0, 1, 0}, {"far back", -1000, 1, 0}, {"right again", 89, 1, 0}, {"a minute later", 91, 0, 3},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b budget
			for _, s := range course {
				for range s.firsts {
					b.first(at(s.at))
				}
				if s.repeats < 0 {
					continue
				}
				got := 0
				for b.repeat(at(s.at)) {
					got++
				}
				if got != s.repeats {
					t.Errorf("%s: %d repeats left, want %d", s.name, got, s.repeats)
				}
			}
		})
	}
}

// Whatever the course, repeats stay within a tenth of all first sends and one floor per minute begun.
func TestBudgetHoldsOverAnyTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b budget
		start := time.Date(2017, 6, 13, 9, 0, 0, 0, time.UTC)
		now, firsts, repeats := start, 0, 0
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "passes")) * time.Millisecond)
			b.first(now)
			firsts++
			for range rapid.IntRange(0, 2).Draw(t, "wanted") {
				if b.repeat(now) {
					repeats++
				}
			}
			minutes := int(now.Sub(start)/time.Minute) + 1
			if most := firsts/budgetShare + budgetFloor*minutes; repeats > most {
				t.Fatalf("%d repeats of %d in %d minutes, want at most %d", repeats, firsts, minutes, most)
			}
		}
	})
}
