package breaker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func times(n int, r ...Result) []Result { return slices.Repeat(r, n) }

func TestTrips(t *testing.T) {
	type wait time.Duration // before the results that follow
	const f, s, x = Fault, Success, Excluded
	for name, c := range map[string]struct {
		course []any
		want   Phase
	}{
		"client cancels do not trip":       {[]any{times(1000, x)}, Closed},
		"declines never trip":              {[]any{times(1000, s)}, Closed},
		"five in a row, however few":       {[]any{times(5, f)}, Open},
		"four in a row":                    {[]any{times(4, f)}, Closed},
		"a success ends a row":             {[]any{times(4, f), s, times(4, f)}, Closed},
		"a client that hangs up does not":  {[]any{times(4, f), x, f}, Open},
		"half of 20":                       {[]any{times(10, s, f)}, Open},
		"half of 19 is too few to say":     {[]any{f, times(9, s, f)}, Closed},
		"hang-ups do not make up the 20":   {[]any{f, times(9, s, f), times(50, x)}, Closed},
		"hang-ups do not dilute":           {[]any{times(500, x), times(10, s, f)}, Open},
		"less than half":                   {[]any{s, times(100, s, f)}, Closed},
		"faults are forgotten":             {[]any{times(4, f), wait(31 * time.Second), f}, Closed},
		"within the window":                {[]any{times(4, f), wait(29 * time.Second), f}, Open},
		"successes are forgotten":          {[]any{times(10_000, s), wait(31 * time.Second), times(9, s, f), s, f}, Open},
		"spread over the window":           {[]any{times(5, s, f), wait(20 * time.Second), times(5, s, f)}, Open},
		"spread beyond the window":         {[]any{times(5, s, f), wait(31 * time.Second), times(5, s, f)}, Closed},
		"what a result nobody knows means": {[]any{times(100, Result(99))}, Closed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				set := newSet(t, Config{}, nil)
				for _, step := range c.course {
					switch step := step.(type) {
					case Result:
						calls(t, set, "create", step)
					case []Result:
						calls(t, set, "create", step...)
					case wait:
						time.Sleep(time.Duration(step))
					}
				}
				phase(t, set, "create", c.want)
			})
		})
	}
}

// gobreaker counts a call where it began and forgets what is older than its window; a confirm may take 45 s.
func TestCallsLongerThanTheWindowCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{}, nil)
		var hung []func(Result)
		for range 5 {
			hung = append(hung, enter(t, s, "confirm"))
		}
		time.Sleep(45 * time.Second)
		for _, done := range hung {
			done(Fault)
		}
		phase(t, s, "confirm", Open)
	})
}

func TestOpenTimeGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{}, nil)
		for range 2 { // a success in between begins anew
			trip(t, s, "create")
			for i, want := range []time.Duration{10, 20, 40, 60, 60} {
				want *= time.Second
				until := time.Now().Add(want)
				if got := refusal(t, s, "create", WhyOpen); !got.Equal(until) {
					t.Errorf("opening %d lasts %v, want %v", i+1, time.Until(got), want)
				}
				if got := s.Look(bank, "create"); got.Phase != Open || got.Why != WhyOpen || !got.Until.Equal(until) {
					t.Errorf("opening %d: %+v", i+1, got)
				}
				time.Sleep(want - 1)
				refusal(t, s, "create", WhyOpen)
				time.Sleep(time.Nanosecond)
				if got := s.Look(bank, "create"); got.Phase != HalfOpen || got.Why != "" || !got.Since.Equal(until) {
					t.Errorf("after opening %d: %+v", i+1, got)
				}
				calls(t, s, "create", Fault)
			}
			time.Sleep(time.Minute)
			calls(t, s, "create", Success)
			phase(t, s, "create", Closed)
			calls(t, s, "create", times(4, Fault)...) // and with nothing left of before
			phase(t, s, "create", Closed)
			calls(t, s, "create", Success)
		}
	})
}

func TestJitterShortensByUpToAQuarter(t *testing.T) {
	for _, c := range []struct {
		before int
		random uint64
		want   time.Duration
	}{
		{0, 0, 10 * time.Second},
		{0, 1, 10*time.Second - 1},
		{0, 2_500_000_000, 7500 * time.Millisecond},
		{0, 2_500_000_001, 10 * time.Second},
		{2, 10_000_000_000, 30 * time.Second},
		{3, 0, time.Minute},
		{1 << 40, 15_000_000_000, 45 * time.Second},
	} {
		s, err := New(Config{}, Deps{Now: time.Now, Rand: func() uint64 { return c.random }})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.openTime(c.before); got != c.want {
			t.Errorf("after %d openings, random %d: %v, want %v", c.before, c.random, got, c.want)
		}
	}
}

func TestHalfOpenAdmitsOneProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{}, nil)
		trip(t, s, "create")
		time.Sleep(10 * time.Second)
		probe := enter(t, s, "create")
		for range 100 {
			refusal(t, s, "create", WhyProbing)
		}
		probe(Excluded) // its client hung up, so nothing is known and the next one finds out
		probe(Fault)    // only the first word counts
		probe = enter(t, s, "create")
		refusal(t, s, "create", WhyProbing)
		if got := s.Look(bank, "create"); got.Phase != HalfOpen || got.Why != WhyProbing || got.Running != 1 {
			t.Errorf("%+v", got)
		}
		probe(Success)
		calls(t, s, "create", times(100, Success)...)
	})
}

func TestHungProbeEndsByItsCallersDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{}, nil)
		trip(t, s, "create")
		time.Sleep(10 * time.Second)
		probe := enter(t, s, "create")
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		<-ctx.Done()
		refusal(t, s, "create", WhyProbing)
		probe(Fault)
		refusal(t, s, "create", WhyOpen)
		time.Sleep(20 * time.Second)
		calls(t, s, "create", Success)
		phase(t, s, "create", Closed)
	})
}

func TestProbeThatNobodyReportsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{}, nil)
		trip(t, s, "create")
		time.Sleep(10 * time.Second)
		lost := enter(t, s, "create")
		time.Sleep(time.Minute - 1)
		refusal(t, s, "create", WhyProbing)
		time.Sleep(time.Nanosecond)
		refusal(t, s, "create", WhyOpen)
		time.Sleep(20 * time.Second)
		probe := enter(t, s, "create")
		lost(Success) // too late, and it is not this probe
		refusal(t, s, "create", WhyProbing)
		probe(Success)
		phase(t, s, "create", Closed)
		if got := s.Look(bank, "create").Running; got != 0 {
			t.Errorf("%d places are taken", got)
		}
	})
}

// What began before a breaker moved says nothing about what it is now.
func TestCallsOfAnEarlierPhaseDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{}, nil)
		var slow []func(Result)
		for range 30 {
			slow = append(slow, enter(t, s, "create"))
		}
		trip(t, s, "create")
		until := refusal(t, s, "create", WhyOpen)
		for _, done := range slow[:10] {
			done(Success)
			if got := refusal(t, s, "create", WhyOpen); !got.Equal(until) {
				t.Fatalf("open until %v, then until %v", until, got)
			}
		}
		time.Sleep(10 * time.Second)
		probe := enter(t, s, "create")
		for _, done := range slow[10:20] {
			done(Fault)
			refusal(t, s, "create", WhyProbing)
		}
		probe(Success)
		for _, done := range slow[20:] {
			done(Fault)
		}
		phase(t, s, "create", Closed)
	})
}

func TestOperationsAndAccountsAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{}, nil)
		trip(t, s, "create")
		calls(t, s, "query", times(100, Success)...)
		done, err := s.Enter(t.Context(), "other", "create")
		if err != nil {
			t.Fatal(err)
		}
		done(Success)
		refusal(t, s, "create", WhyOpen)
		var names []string
		for _, state := range s.States() {
			names = append(names, fmt.Sprint(state.Account, "/", state.Op, " ", state.Phase, " ", state.Faults, " of ", state.Calls))
		}
		want := []string{"bank/create open 5 of 5", "bank/query closed 0 of 100", "other/create closed 0 of 1"}
		if !slices.Equal(names, want) {
			t.Errorf("got %v, want %v", names, want)
		}
		time.Sleep(31 * time.Second)
		if got := s.Look(bank, "query"); got.Calls != 0 {
			t.Errorf("%d calls are not forgotten though nobody calls", got.Calls)
		}
	})
}

func TestForced(t *testing.T) {
	for name, c := range map[string]struct {
		forced  []Forced
		tripped bool
		now     Why // "": admitted
		after   Why // five seconds later
	}{
		"nothing":                          {nil, false, "", ""},
		"open":                             {[]Forced{{bank, "create", ForceOpen, time.Time{}}}, false, WhyForced, WhyForced},
		"open for a while":                 {[]Forced{{bank, "create", ForceOpen, in(5)}}, false, WhyForced, ""},
		"open the whole account":           {[]Forced{{bank, "", ForceOpen, time.Time{}}}, false, WhyForced, WhyForced},
		"open another operation":           {[]Forced{{bank, "query", ForceOpen, time.Time{}}}, false, "", ""},
		"open another account":             {[]Forced{{"other", "", ForceOpen, time.Time{}}}, false, "", ""},
		"closed":                           {[]Forced{{bank, "create", ForceClosed, time.Time{}}}, true, "", ""},
		"closed for a while":               {[]Forced{{bank, "", ForceClosed, in(5)}}, true, "", WhyOpen},
		"the operation's own comes first":  {[]Forced{{bank, "create", ForceClosed, in(5)}, {bank, "", ForceOpen, time.Time{}}}, true, "", WhyForced},
		"none exempts from the account's":  {[]Forced{{bank, "", ForceOpen, time.Time{}}, {bank, "create", ForceNone, in(5)}}, false, "", WhyForced},
		"none leaves it to the breaker":    {[]Forced{{bank, "create", ForceNone, time.Time{}}}, true, WhyOpen, WhyOpen},
		"over already":                     {[]Forced{{bank, "create", ForceOpen, in(0)}}, false, "", ""},
		"of two about the same, the last":  {[]Forced{{bank, "create", ForceOpen, time.Time{}}, {bank, "create", ForceClosed, time.Time{}}}, false, "", ""},
		"taken back by a list without it":  {[]Forced{}, false, "", ""},
		"a mode nobody knows does nothing": {[]Forced{{bank, "create", Force(99), time.Time{}}}, true, WhyOpen, WhyOpen},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSet(t, Config{}, nil)
				s.SetForced([]Forced{{bank, "create", ForceOpen, time.Time{}}})
				refusal(t, s, "create", WhyForced)
				s.SetForced(nil)
				if c.tripped {
					trip(t, s, "create")
				}
				s.SetForced(c.forced)
				for _, want := range []Why{c.now, c.after} {
					for range 20 {
						if want == "" {
							calls(t, s, "create", Excluded)
						} else {
							refusal(t, s, "create", want)
						}
						if got := s.Look(bank, "create").Why; got != want {
							t.Fatalf("looks %q, want %q", got, want)
						}
					}
					time.Sleep(5 * time.Second)
				}
			})
		})
	}
}

// in is so many seconds after a bubble's clock begins.
func in(seconds int) time.Time {
	return time.Date(2000, 1, 1, 0, 0, seconds, 0, time.UTC)
}

// Forced closed admits whatever happens, and the breaker's own opinion is there again afterwards.
func TestForcedClosedAdmitsThoughFaultsHappen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{}, nil)
		s.SetForced([]Forced{{bank, "create", ForceClosed, in(30)}})
		for range 30 {
			calls(t, s, "create", times(10, Fault)...)
			if got := s.Look(bank, "create"); got.Forced != ForceClosed || got.Phase == Closed {
				t.Fatalf("%+v", got)
			}
			time.Sleep(time.Second)
		}
		probe := enter(t, s, "create") // its open time is over, so one call finds out
		refusal(t, s, "create", WhyProbing)
		probe(Success)
		phase(t, s, "create", Closed)
	})
}

func TestBulkhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{}, nil)
		var running []func(Result)
		for range 64 {
			running = append(running, enter(t, s, "create"))
		}
		calls(t, s, "query", Success)
		start := time.Now()
		var wg sync.WaitGroup
		var served []int
		for i := range 32 {
			wg.Go(func() {
				done, err := s.Enter(t.Context(), bank, "create")
				if err == nil {
					served = append(served, i)
					done(Excluded) // which serves the next
					return
				}
				refused, ok := errors.AsType[*Refused](err)
				if !ok || refused.Why != WhyFull || time.Since(start) != 100*time.Millisecond || refused.Unwrap() != nil {
					t.Errorf("waiter %d: %v after %v", i, err, time.Since(start))
				}
			})
			synctest.Wait()
		}
		refusal(t, s, "create", WhyFull) // the queue is full too
		if got := s.Look(bank, "create"); got.Running != 64 || got.Waiting != 32 || !time.Now().Equal(start) {
			t.Errorf("%+v after %v", got, time.Since(start))
		}
		wg.Wait()
		if len(served) != 0 {
			t.Fatalf("%v got in", served)
		}

		// A place that becomes free goes to those who wait, in turn.
		for i := range 3 {
			wg.Go(func() { served = append(served, i); enter(t, s, "create")(Excluded) })
			synctest.Wait()
		}
		served = nil
		for i := range 3 {
			wg.Go(func() { done := enter(t, s, "create"); served = append(served, i); done(Excluded) })
			synctest.Wait()
		}
		running[0](Success)
		running[0](Success) // frees no second place
		wg.Wait()
		if !slices.Equal(served, []int{0, 1, 2}) {
			t.Errorf("served %v", served)
		}
		if got := s.Look(bank, "create"); got.Running != 63 || got.Waiting != 0 || got.Faults != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestWaitingForRoomHeedsTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{Concurrent: 1}, nil)
		done := enter(t, s, "create")
		for name, leave := range map[string]func() (context.Context, context.CancelFunc){
			"deadline": func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(t.Context(), 10*time.Millisecond)
			},
			"hang-up": func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(10*time.Millisecond, cancel)
				return ctx, cancel
			},
		} {
			start := time.Now()
			ctx, cancel := leave()
			_, err := s.Enter(ctx, bank, "create")
			if time.Since(start) != 10*time.Millisecond || !errors.Is(err, ctx.Err()) || ctx.Err() == nil {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			cancel()
		}
		done(Success)
		calls(t, s, "create", Success)
	})
}

// Calls that hang fill the bulkhead; once the breaker knows, nobody waits for room.
func TestNobodyQueuesBeforeAShutDoor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{Concurrent: 6}, nil)
		var hung []func(Result)
		for range 6 {
			hung = append(hung, enter(t, s, "create"))
		}
		for _, done := range hung[:5] {
			done(Fault)
		}
		s.SetForced([]Forced{{bank, "create", ForceClosed, time.Time{}}})
		for range 5 {
			enter(t, s, "create")
		}
		s.SetForced(nil)
		start := time.Now()
		refusal(t, s, "create", WhyOpen)
		if time.Since(start) != 0 {
			t.Errorf("waited %v", time.Since(start))
		}
	})
}

func TestNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{Concurrent: 1, Queue: -1}, nil)
		enter(t, s, "create")
		start := time.Now()
		refusal(t, s, "create", WhyFull)
		if time.Since(start) != 0 {
			t.Errorf("waited %v", time.Since(start))
		}
	})
}

func TestRefusedTells(t *testing.T) {
	until := time.Date(2017, 6, 13, 9, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		refused Refused
		want    string
	}{
		{Refused{"bank", "create", WhyOpen, until, nil}, "bank/create: not called: its breaker is open after faults; try again at 2017-06-13T09:00:00Z"},
		{Refused{"bank", "create", WhyForced, time.Time{}, nil}, "bank/create: not called: an operator holds its breaker open"},
		{Refused{"bank", "create", WhyProbing, time.Time{}, nil}, "bank/create: not called: another call is finding out whether it works again"},
		{Refused{"bank", "create", WhyAdvice, until, nil}, "bank/create: not called: most replicas find it faulty; try again at 2017-06-13T09:00:00Z"},
		{Refused{"bank", "create", WhyFull, time.Time{}, nil}, "bank/create: not called: too many calls are under way"},
		{Refused{"bank", "create", WhyFull, time.Time{}, context.Canceled}, "bank/create: not called: the caller left while waiting for room"},
	} {
		if got := c.refused.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := Deps{Now: time.Now, Rand: func() uint64 { return 0 }}
	for name, c := range map[string]struct {
		config Config
		deps   Deps
	}{
		"no clock":              {Config{}, Deps{Rand: good.Rand}},
		"no jitter":             {Config{}, Deps{Now: good.Now}},
		"a board, but no name":  {Config{}, Deps{Now: good.Now, Rand: good.Rand, Board: &memory{}}},
		"a time is negative":    {Config{Open: -1}, good},
		"a number is negative":  {Config{Concurrent: -1}, good},
		"more than all":         {Config{FaultPercent: 101}, good},
		"bucket above window":   {Config{Bucket: time.Minute}, good},
		"first above last open": {Config{Open: time.Hour}, good},
	} {
		if _, err := New(c.config, c.deps); err == nil || !strings.HasPrefix(err.Error(), "breaker: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever happens to the breaker, a caller that was admitted keeps its own result, a breaker is never shut beyond its
// longest opening, and successes alone never shut it.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type step struct {
			result Result
			force  Force
			passes time.Duration
		}
		steps := make([]step, rapid.IntRange(1, 200).Draw(rt, "steps"))
		only := rapid.SampledFrom([][]Result{{Success, Excluded}, {Success, Fault, Excluded}, {Fault, Excluded}}).Draw(rt, "results")
		forces := rapid.SampledFrom([][]Force{{ForceNone}, {ForceNone, ForceOpen, ForceClosed}}).Draw(rt, "forces")
		for i := range steps {
			steps[i] = step{
				rapid.SampledFrom(only).Draw(rt, "result"), rapid.SampledFrom(forces).Draw(rt, "force"),
				time.Duration(rapid.IntRange(0, 70_000).Draw(rt, "passes")) * time.Millisecond,
			}
		}
		var wrong string // a check of rapid may not end inside the bubble
		synctest.Test(t, func(t *testing.T) {
			s := newSet(t, Config{}, nil)
			for i, step := range steps {
				s.SetForced([]Forced{{bank, "", step.force, time.Time{}}})
				got, err := ask(t.Context(), s, i, step.result)
				refused, _ := errors.AsType[*Refused](err)
				look := s.Look(bank, "create")
				switch {
				case err == nil && got != i:
					wrong = fmt.Sprintf("step %d: the caller got %d", i, got)
				case err != nil && got != 0:
					wrong = fmt.Sprintf("step %d: refused, with a result", i)
				case err != nil && refused == nil:
					wrong = fmt.Sprintf("step %d: %v", i, err)
				case step.force == ForceOpen && (refused == nil || refused.Why != WhyForced), step.force == ForceClosed && err != nil:
					wrong = fmt.Sprintf("step %d: forced %d: %v", i, step.force, err)
				case step.force == ForceNone && err != nil && !slices.Contains(only, Fault):
					wrong = fmt.Sprintf("step %d: refused without a fault: %v", i, err)
				case look.Phase == Open && look.Until.Sub(look.Since) > time.Minute && look.Why == WhyOpen:
					wrong = fmt.Sprintf("step %d: open for %v", i, look.Until.Sub(look.Since))
				case refused != nil && refused.Why == WhyProbing:
					wrong = fmt.Sprintf("step %d: a probe that has ended is under way", i)
				case look.Running != 0:
					wrong = fmt.Sprintf("step %d: %d are running", i, look.Running)
				}
				if wrong != "" {
					return
				}
				time.Sleep(step.passes)
			}
			s.SetForced(nil)
			time.Sleep(time.Minute)
			if _, err := ask(t.Context(), s, 1, Success); err != nil {
				wrong = "still shut after a minute: " + err.Error()
			} else if look := s.Look(bank, "create"); look.Phase != Closed && slices.Contains(only, Fault) {
				wrong = fmt.Sprintf("%v after a success", look.Phase)
			}
		})
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// ask is how a caller uses a set.
func ask(ctx context.Context, s *Set, answer int, r Result) (int, error) {
	done, err := s.Enter(ctx, bank, "create")
	if err != nil {
		return 0, err
	}
	defer done(r)
	return answer, nil
}

// Breakers move while others look at them, force them and share them, and no more calls run than there is room for.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, Config{Replica: "a", Open: time.Millisecond, MaxOpen: 2 * time.Millisecond, Concurrent: 8}, &memory{})
		var wg sync.WaitGroup
		var running atomic.Int32
		for i := range 32 {
			wg.Go(func() {
				for j := range 300 {
					done, err := s.Enter(t.Context(), bank, [...]string{"create", "query"}[j%2])
					if err == nil {
						if n := running.Add(1); n > 16 {
							t.Errorf("%d calls at a time", n)
						}
						time.Sleep(time.Duration(i) * 100 * time.Microsecond)
						running.Add(-1)
						done(Result(1 + (i+j)%2))
						done(Fault)
					}
					time.Sleep(100 * time.Microsecond)
				}
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		var watchers sync.WaitGroup
		for _, watch := range []func(){
			func() { s.States() },
			func() { s.Look(bank, "create") },
			func() { s.SetForced([]Forced{{bank, "query", ForceClosed, time.Now().Add(time.Millisecond)}}) },
			func() { share(t, s) },
		} {
			watchers.Go(func() {
				for ctx.Err() == nil {
					watch()
					time.Sleep(300 * time.Microsecond)
				}
			})
		}
		wg.Wait()
		cancel()
		watchers.Wait()
		for _, state := range s.States() {
			if state.Running != 0 || state.Waiting != 0 {
				t.Errorf("%+v", state)
			}
		}
	})
}

// BenchmarkEnter puts a call through a closed breaker beside the least that any such gate costs: an atomic and a call.
func BenchmarkEnter(b *testing.B) {
	b.Run("ceiling", func(b *testing.B) {
		var n atomic.Int64
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				bare(&n)
			}
		})
	})
	b.Run("enter", func(b *testing.B) {
		s := newSet(b, Config{}, nil)
		ctx := b.Context()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				done, err := s.Enter(ctx, bank, "create")
				if err != nil {
					b.Error(err)
					return
				}
				done(Success)
			}
		})
	})
	b.Run("refused", func(b *testing.B) {
		s := newSet(b, Config{}, nil)
		s.SetForced([]Forced{{bank, "", ForceOpen, time.Time{}}})
		ctx := b.Context()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Enter(ctx, bank, "create"); err == nil {
					b.Error("admitted")
					return
				}
			}
		})
	})
}

//go:noinline
func bare(n *atomic.Int64) { n.Add(1) }
