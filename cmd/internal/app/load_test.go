package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pay.taipei/gateway/configs"
	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/all"
	"pay.taipei/gateway/router"
)

// slow is a provider that is called for each create. While it hangs it answers nobody.
type slow struct {
	name    string
	hanging atomic.Bool
	creates atomic.Int64 // while hanging
}

func (s *slow) Describe() providers.Descriptor {
	return providers.Descriptor{
		Name: s.name, NameZH: s.name, NameEN: s.name, Methods: []providers.Method{{Code: "card", NameZH: "卡", NameEN: "Card"}}, Currency: money.TWD,
		Number: providers.NumberRule{MaxLength: 20}, ServerCreate: true, AnswerAuth: providers.AnswerMAC,
		Patience: providers.Patience{FirstQuery: time.Hour, Spacing: time.Hour, Grace: time.Minute},
	}
}

func (s *slow) Create(ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
	if s.hanging.Load() {
		s.creates.Add(1)
		<-ctx.Done()
		return providers.Created{}, &providers.Error{Provider: s.name, Op: providers.OpCreate, Kind: providers.OutcomeUnknown, Err: ctx.Err()}
	}
	return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: "https://wallet.example/" + req.AttemptNo}}, nil
}

func (s *slow) Query(context.Context, providers.AttemptRef) (providers.Snapshot, error) {
	return providers.Snapshot{}, nil
}

// silent words nothing.
type silent struct{}

func (silent) Created(*orders.Order) (int, []byte, error)  { return 201, []byte("{}"), nil }
func (silent) Unknown(*orders.Order) (int, []byte, error)  { return 202, []byte("{}"), nil }
func (silent) Declined(*orders.Order) (int, []byte, error) { return 422, []byte("{}"), nil }
func (silent) Conflict(*orders.Order, *orders.BillError) (int, []byte, error) {
	return 409, []byte("{}"), nil
}
func (silent) Cancelled(*orders.Order) (int, []byte, error) { return 200, []byte("{}"), nil }
func (silent) Refunding(*orders.Order, *orders.Refund) (int, []byte, error) {
	return 202, []byte("{}"), nil
}

// six opens a gateway with six providers of one account each, on SQLite and the Redis at an address.
func six(t *testing.T, redis string) (*App, []*slow) {
	t.Helper()
	text, _, _ := strings.Cut(sandbox(sqlite(t), "http://127.0.0.1:9/"), "accounts:\n")
	text = strings.Replace(text, "redis: embedded", "redis: "+redis, 1)
	accounts, payees := "accounts:\n", ""
	list := make([]*slow, 6)
	for n := range list {
		list[n] = &slow{name: fmt.Sprintf("wallet%d", n)}
		accounts += fmt.Sprintf("  - {name: w%d, adapter: wallet%d, network: loopback, settings: {}}\n", n, n)
		payees += fmt.Sprintf("w%d: \"%d\", ", n, n)
	}
	text = strings.Replace(text, `{bank-main: "1136549"}`, "{"+payees+"}", 1) + accounts
	c, err := configs.Parse([]byte(text)) // the check knows the real adapters only
	if err != nil {
		t.Fatal(err)
	}
	a, err := Open(t.Context(), c, Options{Log: slog.New(slog.DiscardHandler), Migrate: true, Adapter: func(adapter string, _ all.Account, _ all.Deps) (providers.Provider, error) {
		for _, s := range list {
			if s.name == adapter {
				return s, nil
			}
		}
		return nil, errors.New("no such adapter")
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a, list
}

// tally is what became of the orders at one provider.
type tally struct {
	mu     sync.Mutex
	ok, no int
	took   []time.Duration
}

func (c *tally) add(ok bool, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.ok++
	} else {
		c.no++
	}
	c.took = append(c.took, took)
}

func (c *tally) p99() time.Duration { return c.quantile(99) }

func (c *tally) quantile(percent int) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.took) == 0 {
		return 0
	}
	slices.Sort(c.took)
	return c.took[len(c.took)*percent/100]
}

// load places orders at every provider, each at its own pace, until ctx ends, and returns the tallies by provider.
func load(ctx context.Context, t *testing.T, a *App, list []*slow, each time.Duration, run string) []*tally {
	counts := make([]*tally, len(list))
	var workers sync.WaitGroup
	var serial atomic.Int64
	for i, s := range list {
		counts[i] = &tally{}
		workers.Go(func() {
			var under sync.WaitGroup
			ticker := time.NewTicker(each)
			defer ticker.Stop()
			for ctx.Err() == nil {
				select {
				case <-ctx.Done():
				case <-ticker.C:
					n := serial.Add(1)
					under.Go(func() {
						start := time.Now()
						answer, err := a.router.Place(context.WithoutCancel(ctx), orderOf(t, s.name, run, n), silent{})
						if _, none := errors.AsType[*orders.NoAccountError](err); err != nil && !none {
							return // the store is too slow for this load on this machine: it says nothing of the provider
						}
						counts[i].add(err == nil && answer.Status == 201, time.Since(start))
					})
				}
			}
			under.Wait()
		})
	}
	workers.Wait()
	return counts
}

func orderOf(t *testing.T, provider, run string, n int64) orders.Command {
	amount, err := money.FromUnits(20, money.TWD)
	if err != nil {
		t.Error(err)
	}
	return orders.Command{
		Key:             orders.KeyRef{ClientID: "core", Route: "POST /v1/orders", Key: fmt.Sprintf("%s-key-%d", run, n)},
		ClientReference: fmt.Sprintf("%s-%d", run, n), Merchant: "pma", PayerMemberID: "1", Providers: []string{provider}, Settlement: "immediate",
		Amount: amount, ReturnURL: "https://core.example/result", ExpiresIn: 10 * time.Minute,
		Lines: []orders.BillLine{{BillNo: fmt.Sprintf("B%s%010d", run, n), Name: "停車費", Quantity: 1, UnitPrice: amount, Subtotal: amount}},
	}
}

// One of six accounts hangs under load: it costs the other five nothing, its breaker opens, the goroutines are bounded, and it
// serves again when it is back. HANG=60s is the long proof, whose figures are printed; no figure of time is asserted.
func TestOneOfSixHangs(t *testing.T) {
	hang, each := 6*time.Second, 100*time.Millisecond
	if text := os.Getenv("HANG"); text != "" {
		var err error
		if hang, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	a, list := six(t, "embedded")
	before := runtime.NumGoroutine()
	calm, cancel := context.WithTimeout(t.Context(), max(hang/4, 2*time.Second))
	base := load(calm, t, a, list, each, "C")
	cancel()

	list[0].hanging.Store(true)
	begun, opened, most, probes := time.Now(), time.Duration(0), 0, int64(0)
	trouble, cancel := context.WithTimeout(t.Context(), hang)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for trouble.Err() == nil {
			<-ticker.C
			if why, _ := a.gates.Shut("w0", "create"); why != "" && opened == 0 {
				opened, probes = time.Since(begun), list[0].creates.Load()
			}
			most = max(most, runtime.NumGoroutine())
		}
	}()
	during := load(trouble, t, a, list, each, "H")
	<-watched
	cancel()
	reached := list[0].creates.Load()

	list[0].hanging.Store(false)
	back, n := time.Now(), int64(0)
	testkit.Until(t, "it serves again", func() bool {
		n++
		answer, err := a.router.Place(t.Context(), orderOf(t, list[0].name, "R", n), silent{})
		return err == nil && answer.Status == 201
	})
	recovered := time.Since(back)
	for i := 1; i < 6; i++ {
		if base[i].no+during[i].no > 0 {
			t.Errorf("%s: %d of %d orders failed while w0 hung", list[i].name, during[i].no, during[i].no+during[i].ok)
		}
		t.Logf("%s: %d orders, p99 %v; before %d, p99 %v", list[i].name, during[i].ok, during[i].p99(), base[i].ok, base[i].p99())
	}
	if opened == 0 {
		t.Error("its breaker never opened")
	}
	// Each order under way is one goroutine, and no more are admitted than the bulkhead and its queue hold.
	if bound := before + 6*(64+32) + 200; most > bound {
		t.Errorf("%d goroutines, want at most %d", most, bound)
	}
	t.Logf("hung %v: breaker opened after %v, %d calls reached it, %d of them probes, at most %d goroutines, served again after %v", hang, opened, reached, reached-probes, most, recovered)
}

// A Redis that is a black hole costs orders and calls nothing that can be measured, once it is known to be one: live and black
// by turns in one run. CALLS=2000 is the long proof, whose figures are printed; no figure of time is asserted.
func TestBlackHoledRedis(t *testing.T) {
	n := 20
	if text := os.Getenv("CALLS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	redis := testkit.RedisServer(t)
	a, list := six(t, strconv.Quote("redis://"+redis.Addr))
	_, stop := serve(t, a)
	serial := int64(0)
	timed := func(into *tally, do func() error) {
		start := time.Now()
		err := do()
		into.add(err == nil, time.Since(start))
		if err != nil {
			t.Error(err)
		}
	}
	order := func() error {
		serial++
		answer, err := a.router.Place(t.Context(), orderOf(t, list[serial%6].name, "B", serial), silent{})
		if err == nil && answer.Status != 201 {
			err = fmt.Errorf("status %d", answer.Status)
		}
		return err
	}
	admit := func() error {
		done, err := a.gates.Enter(t.Context(), "w0", "query")
		if err == nil {
			done(router.CallAnswered)
		}
		return err
	}
	figures := map[string]*tally{}
	const turns = 4
	for turn := range turns {
		name := "live"
		if turn%2 == 1 {
			name = "black"
			if err := redis.Pause(); err != nil {
				t.Fatal(err)
			}
			first := &tally{}
			for !a.redis.Degraded() {
				timed(first, order)
			}
			t.Logf("it hangs: known after %d orders, of which the slowest took %v", first.ok, first.p99())
		}
		for _, of := range []string{"orders", "calls"} {
			if figures[of+" "+name] == nil {
				figures[of+" "+name] = &tally{}
			}
		}
		for range n {
			timed(figures["orders "+name], order)
			timed(figures["calls "+name], admit)
		}
		if name == "black" {
			if err := redis.Resume(); err != nil {
				t.Fatal(err)
			}
			testkit.Until(t, "Redis is found again", func() bool { _ = a.redis.Ping(t.Context()); return !a.redis.Degraded() })
		}
	}
	for _, of := range []string{"orders", "calls"} {
		for _, name := range []string{"live", "black"} {
			f := figures[of+" "+name]
			t.Logf("%s, Redis %s: %d, p50 %v, p99 %v", of, name, f.ok, f.quantile(50), f.p99())
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
