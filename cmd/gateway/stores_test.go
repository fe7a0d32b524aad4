package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/internal/testkit"
)

// The tests of this file take Redis and the SQL store away from the real binary while orders are placed.

const (
	patience = time.Minute // only ends a test that would hang
	enough   = 40          // bills that a fault in the middle of the work is tried on
)

// FLUSHALL at any moment takes away what a claim promised; the SQL store still lets one order through.
func TestRedisFlushedWhileOrdersArePlaced(t *testing.T) {
	redis := testkit.RedisServer(t)
	c := openCore(t, testkit.Postgres(t), "redis://"+redis.Addr)
	var lost atomic.Int64
	stop := harass(t, redis.Addr, func(r *redisConn) error {
		reply, err := r.say(`EVAL "local held = redis.call('DBSIZE') redis.call('FLUSHALL') return held" 0`)
		if err != nil {
			return err
		}
		held, err := strconv.ParseInt(strings.TrimPrefix(reply, ":"), 10, 64)
		lost.Add(held)
		return err
	})
	c.contestsUntil(func() bool { return lost.Load() > 0 })
	stop()
	t.Logf("FLUSHALL took away %d claims while %d bills were ordered", lost.Load(), c.bills)
	c.nothingTwice()
}

// A Redis that is too small throws claims out to make room.
func TestRedisEvictsWhileOrdersArePlaced(t *testing.T) {
	redis := testkit.RedisServer(t, "--maxmemory", "2mb", "--maxmemory-policy", "allkeys-lru", "--notify-keyspace-events", "Ee")
	c := openCore(t, testkit.Postgres(t), "redis://"+redis.Addr)
	var lost, filled atomic.Int64
	subscribed := false
	stopWatching := harass(t, redis.Addr, func(r *redisConn) error {
		if !subscribed {
			subscribed = true
			_, err := r.say("SUBSCRIBE __keyevent@0__:evicted")
			return err
		}
		key, err := r.line()
		if strings.HasPrefix(key, "idem:") {
			lost.Add(1)
		}
		return err
	})
	stopFilling := harass(t, redis.Addr, func(r *redisConn) error {
		_, err := r.say(fmt.Sprintf("SETRANGE filler:%d 65535 x", filled.Add(1)))
		return err
	})
	c.contestsUntil(func() bool { return lost.Load() > 0 })
	stopFilling()
	stopWatching()
	t.Logf("%d fillers pushed %d claims out while %d bills were ordered", filled.Load(), lost.Load(), c.bills)
	c.nothingTwice()
}

// A Redis that hangs or is gone costs time and nothing else. That the time is bounded shows in the answers: a request
// that waited for Redis until its own deadline could not place its order any more. How much it is shows in the log; the
// bound itself is tested in internal/redisx.
func TestRedisAwayAndBack(t *testing.T) {
	for _, row := range []struct {
		name       string
		away, back func(*testkit.Server) error
	}{
		{"hangs", (*testkit.Server).Pause, (*testkit.Server).Resume},
		{"is gone", func(s *testkit.Server) error { s.Stop(); return nil }, (*testkit.Server).Start},
	} {
		t.Run(row.name, func(t *testing.T) {
			redis := testkit.RedisServer(t)
			c := openCore(t, "sqlite:"+filepath.Join(t.TempDir(), "gateway.db"), "redis://"+redis.Addr)
			c.contests(4)
			usual := c.timed(10)
			c.untilRedisWorks()

			if err := row.away(redis); err != nil {
				t.Fatal(err)
			}
			without := c.timed(10)
			c.contests(4)
			if got := c.figure(`gateway_degraded{part="redis"}`); got != "1" {
				t.Errorf("degraded %s while Redis is away", got)
			}

			if err := row.back(redis); err != nil {
				t.Fatal(err)
			}
			c.contests(4)
			c.untilRedisWorks()
			t.Logf("ten orders, median and slowest: %v and %v with Redis, %v and %v without", usual[5], usual[9], without[5], without[9])
			c.nothingTwice()
		})
	}
}

// While the SQL store is away nobody is told anything that is not on disk, and everybody is asked to come again.
func TestSQLAwayAndBack(t *testing.T) {
	for name, away := range map[string]func(*testkit.PG){"shut down": (*testkit.PG).Stop, "killed": (*testkit.PG).Kill} {
		t.Run(name, func(t *testing.T) {
			sql := testkit.PostgresServer(t)
			c := openCore(t, sql.DSN(), "embedded")
			c.outages = true
			const early, late = "order-before-the-outage", "order-during-the-outage"
			answered := c.place(early, 1)
			order := c.document(answered)
			first, second := order.notice(t, "bravo-delivery-nr-1"), order.notice(t, "bravo-delivery-nr-2")

			away(sql)
			c.wantStatus("/healthz", c.get(c.ops+"/healthz"), http.StatusOK)
			c.wantStatus("/readyz", c.get(c.ops+"/readyz"), http.StatusServiceUnavailable)
			c.wantStoreUnavailable("a new order", c.post(late, 2))
			c.wantStoreUnavailable("a repeated order", c.post(early, 1))
			for _, path := range []string{"/v1/orders/" + order.OrderNo, "/v1/orders/" + order.OrderNo + "/timeline", "/v1/orders?client_reference=" + early, "/v1/events"} {
				c.wantStoreUnavailable(path, c.get(c.api+path))
			}
			c.wantAck("a genuine notice", c.deliver(first), http.StatusServiceUnavailable, `{"result":"retry"}`)
			c.wantAck("a forged notice", c.deliver(first.forged()), http.StatusBadRequest, `{"result":"refused"}`)
			c.wantReloadingPage("a click on the checkout page", c.get(c.edge+pathOf(t, order.CheckoutURL)), "這次點選沒有扣款")
			c.wantReloadingPage("a browser that comes back", c.get(c.edge+pathOf(t, order.signed(t).ReturnURL)), "請不要重複付款")
			if got := c.figure(`gateway_degraded{part="sql"}`); got != "1" {
				t.Errorf("degraded %s while the store is away", got)
			}

			if err := sql.Start(); err != nil {
				t.Fatal(err)
			}
			c.until("it is ready again", func() bool { return c.get(c.ops+"/readyz").status == http.StatusOK })
			c.until("its figures are read again", func() bool { return c.figure(`gateway_degraded{part="sql"}`) == "0" })
			placed := c.place(late, 2)
			c.wantStatus("the key of the outage", placed, http.StatusCreated)
			c.wantReplay(early, 1, answered)
			c.wantReplay(late, 2, placed)
			var ack answer
			c.until("the bank is heard", func() bool { ack = c.deliver(first); return ack.status != http.StatusServiceUnavailable })
			c.wantAck("the same notice", ack, http.StatusOK, `{"result":"ok"}`)
			c.wantAck("the same notice, delivered twice", c.deliver(first), http.StatusOK, `{"result":"ok"}`)
			c.wantAck("the same notice, signed anew", c.deliver(second), http.StatusOK, `{"result":"ok"}`)
			now := c.document(c.get(c.api + "/v1/orders/" + order.OrderNo))
			if now.Status != "paid" || now.Late || len(now.Surplus) != 0 || len(now.Attempts) != 1 || now.Attempts[0].Status != "paid" {
				t.Errorf("order %+v", now)
			}
			other := c.document(placed)
			c.wantFeed("order.created "+order.OrderNo, "order.paid "+order.OrderNo, "order.created "+other.OrderNo)
			c.wantStatus("a click on the checkout page", c.get(c.edge+pathOf(t, other.CheckoutURL)), http.StatusOK)
		})
	}
}

// A store that dies between a commit and its answer: nobody knows what it holds, and the same key finds out.
func TestSQLKilledBetweenCommitAndAnswer(t *testing.T) {
	// Who asks this server for a synchronous commit gets one, and is never told: it waits for a replica that does not exist.
	sql := testkit.PostgresServer(t, "synchronous_standby_names=nobody", "synchronous_commit=local")
	c := openCore(t, sql.DSN(), "embedded")
	c.outages = true
	db, err := sqldb.Open(t.Context(), sql.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }() // its connections died with the server
	muteTenthBill(t, db)

	var restarted atomic.Bool
	var placing sync.WaitGroup
	placing.Go(func() { c.contestsUntil(restarted.Load) })
	defer placing.Wait()
	defer restarted.Store(true)
	c.until("a commit has no answer", func() bool {
		var waiting int
		err := db.Read(t.Context(), func(tx *sqldb.Tx) error {
			return tx.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`).Scan(&waiting)
		})
		if err != nil {
			t.Error(err)
		}
		return waiting > 0 || c.unavailable.Load() > 0 // the second only on a machine so busy that the gateway gave up first
	})
	sql.Kill()
	c.until("somebody has noticed", func() bool { return c.unavailable.Load() > 0 })
	if err := sql.Start(); err != nil {
		t.Fatal(err)
	}
	restarted.Store(true)
	placing.Wait()
	t.Logf("%d requests found no store while %d bills were ordered, and the first answers of %d orders were lost", c.unavailable.Load(), c.bills, c.unheard.Load())
	if c.unheard.Load() == 0 {
		t.Error("no commit lost its answer")
	}
	c.nothingTwice()
}

// muteTenthBill makes the order of the tenth bill commit synchronously.
func muteTenthBill(t *testing.T, db *sqldb.DB) {
	t.Helper()
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		for _, statement := range []string{
			`CREATE SEQUENCE bills_seen`, // a crash does not set it back
			`CREATE FUNCTION mute() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF nextval('bills_seen') = 10 THEN PERFORM set_config('synchronous_commit', 'on', true); END IF;
				RETURN NULL;
			END $$`,
			`CREATE TRIGGER mute AFTER INSERT ON bills FOR EACH ROW EXECUTE FUNCTION mute()`,
		} {
			if _, err := tx.Exec(t.Context(), statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// core orders at one gateway, and keeps what it was answered.
type core struct {
	*gateway
	t    *testing.T
	http *http.Client

	outages     bool         // the store may be away: a request that finds it so is sent again
	bills       int          // that were asked for
	unheard     atomic.Int64 // orders of which nobody got the first answer
	unavailable atomic.Int64 // answers that the store is away
	gaveUp      atomic.Bool
	mu          sync.Mutex
	orders      map[string]ordered // by idempotency key
}

type ordered struct {
	bill   int
	answer answer
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

// openCore starts a gateway that believes the bank's receipts, as the bank's documentation allows.
func openCore(t *testing.T, store, redis string) *core {
	t.Helper()
	config := configFile(t, store, redis)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, strings.Replace(string(text), "network: loopback", "network: loopback\n    query_before_paid: never", 1))
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &core{
		gateway: start(t, config), t: t, orders: map[string]ordered{},
		http: &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// contestsUntil has enough contests, and more until done.
func (c *core) contestsUntil(done func() bool) {
	limit := time.Now().Add(patience)
	for (c.bills < enough || !done()) && !c.t.Failed() {
		if time.Now().After(limit) {
			c.t.Errorf("the fault did not happen while %d bills were ordered", c.bills)
		}
		c.contests(8)
	}
}

// contests has n contests, four at a time.
func (c *core) contests(n int) {
	next := make(chan int)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for bill := range next {
				c.contest(bill)
			}
		})
	}
	for range n {
		c.bills++
		next <- c.bills
	}
	close(next)
	workers.Wait()
}

// contest sends two orders for one bill, each three times at once. One of them gets the bill, and all who asked for
// that order get the same bytes; the other one is refused, all three times.
func (c *core) contest(bill int) {
	keys := [2]string{fmt.Sprintf("first-order-of-bill-%d", bill), fmt.Sprintf("rival-order-of-bill-%d", bill)}
	var answers [2][3]answer
	var sent sync.WaitGroup
	for k, key := range keys {
		for i := range answers[k] {
			sent.Go(func() { answers[k][i] = c.place(key, bill) })
		}
	}
	sent.Wait()
	won := slices.IndexFunc(answers[:], func(a [3]answer) bool { return a[0].status < http.StatusBadRequest })
	if won < 0 {
		c.t.Errorf("bill %d: nobody got it: %s", bill, answers[0][0].body)
		return
	}
	first, fresh := answers[won][0], 0
	for _, a := range answers[won] {
		if a.status == http.StatusCreated {
			fresh++
		} else if a.status != http.StatusOK || a.header.Get("Idempotency-Replayed") != "true" {
			c.t.Errorf("bill %d: repeated request: %d %s", bill, a.status, a.body)
		}
		if !bytes.Equal(a.body, first.body) {
			c.t.Errorf("bill %d: one key, two answers:\n%s\n%s", bill, a.body, first.body)
		}
	}
	switch {
	case fresh > 1:
		c.t.Errorf("bill %d: %d requests say that they made the order", bill, fresh)
	case fresh == 0:
		c.unheard.Add(1)
	}
	holder := c.document(first).OrderNo
	for _, a := range answers[1-won] {
		if d := c.document(a); a.status != http.StatusConflict || d.Code != "bill_in_progress" || d.OrderNo != holder {
			c.t.Errorf("bill %d is in order %s, and its rival is answered %d %s", bill, holder, a.status, a.body)
		}
	}
	c.keep(keys[won], bill, first)
}

func (c *core) keep(key string, bill int, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.orders[key] = ordered{bill, a}
}

// timed places n orders one after the other and returns how long they took, sorted.
func (c *core) timed(n int) []time.Duration {
	took := make([]time.Duration, n)
	for i := range took {
		c.bills++
		key, began := fmt.Sprintf("only-order-of-bill-%d", c.bills), time.Now()
		a := c.place(key, c.bills)
		took[i] = time.Since(began).Round(time.Millisecond)
		if a.status != http.StatusCreated {
			c.t.Fatalf("%s: %d %s", key, a.status, a.body)
		}
		c.keep(key, c.bills, a)
	}
	slices.Sort(took)
	return took
}

// nothingTwice compares what the gateway has with what it answered: one order of each bill, and the same bytes again.
func (c *core) nothingTwice() {
	c.t.Helper()
	if len(c.orders) != c.bills {
		c.t.Errorf("%d orders of %d bills", len(c.orders), c.bills)
	}
	var created []string
	for key, o := range c.orders {
		c.wantReplay(key, o.bill, o.answer)
		created = append(created, "order.created "+c.document(o.answer).OrderNo)
	}
	c.wantFeed(created...)
}

func (c *core) wantReplay(key string, bill int, first answer) {
	c.t.Helper()
	if a := c.place(key, bill); a.status != http.StatusOK || !bytes.Equal(a.body, first.body) {
		c.t.Errorf("%s again: %d\n%s\nfirst:\n%s", key, a.status, a.body, first.body)
	}
}

// place sends an order as a client must: again when it is in flight, or the store is away.
func (c *core) place(key string, bill int) (a answer) {
	c.until(key+" is answered", func() bool {
		a = c.post(key, bill)
		if a.status == http.StatusServiceUnavailable && c.outages {
			c.wantStoreUnavailable(key, a)
			c.unavailable.Add(1)
			return false
		}
		inFlight := a.status == http.StatusConflict && c.document(a).Code == "in_flight"
		if inFlight && a.header.Get("Retry-After") == "" {
			c.t.Errorf("%s: no Retry-After: %s", key, a.body)
		}
		return !inFlight
	})
	return a
}

func (c *core) post(key string, bill int) answer {
	return c.call(http.MethodPost, c.api+"/v1/orders", http.Header{"Idempotency-Key": {key}, "Content-Type": {"application/json"}}, fmt.Sprintf(
		`{"client_reference":%q,"merchant":"pma","payer":{"member_id":"1361049"},"provider":"bravobank","amount":{"value":"20","currency":"TWD"},
"lines":[{"bill_no":"BILL-%05d","name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"}],"return_url":"https://core.example/result"}`, key, bill))
}

func (c *core) get(address string) answer { return c.call(http.MethodGet, address, http.Header{}, "") }

// call makes one request, and makes it again when it came too fast for the rate limit. After a failure, which it
// reports, the answer is empty.
func (c *core) call(method, address string, header http.Header, body string) (a answer) {
	if strings.HasPrefix(address, c.api+"/") {
		header.Set("Authorization", "Bearer gk_test_"+apiSecret)
	}
	c.until(address+" takes a request", func() bool {
		req, err := http.NewRequestWithContext(c.t.Context(), method, address, strings.NewReader(body))
		if err != nil {
			c.t.Error(err)
			return true
		}
		req.Header = header
		resp, err := c.http.Do(req)
		if err != nil {
			c.t.Error(err)
			return true
		}
		a = answer{status: resp.StatusCode, header: resp.Header}
		if a.body, err = io.ReadAll(resp.Body); err != nil {
			c.t.Error(err)
		}
		_ = resp.Body.Close() // it is read
		return a.status != http.StatusTooManyRequests
	})
	return a
}

// until asks again and again until the answer is yes, but after it waited in vain once it asks only once. Any goroutine
// may call it.
func (c *core) until(what string, yes func() bool) {
	c.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(patience); !yes(); <-tick.C {
		if c.gaveUp.Load() || time.Now().After(limit) {
			c.gaveUp.Store(true)
			c.t.Errorf("waited in vain until %s", what)
			return
		}
	}
}

// untilRedisWorks looks until the figure says so, though no order comes in.
func (c *core) untilRedisWorks() {
	c.t.Helper()
	c.until("Redis works", func() bool {
		return c.figure(`gateway_degraded{part="redis"}`) == "0"
	})
}

// figure is one figure of the operators' listener; empty when there is none.
func (c *core) figure(name string) string {
	for line := range strings.Lines(string(c.get(c.ops + "/metrics").body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (c *core) wantStatus(what string, a answer, status int) {
	c.t.Helper()
	if a.status != status {
		c.t.Errorf("%s: %d %s, want %d", what, a.status, a.body, status)
	}
}

func (c *core) wantStoreUnavailable(what string, a answer) {
	c.t.Helper()
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != http.StatusServiceUnavailable || a.header.Get("Content-Type") != "application/problem+json" || c.document(a).Code != "store_unavailable" || err != nil || seconds < 1 {
		c.t.Errorf("%s: %d %v %s", what, a.status, a.header, a.body)
	}
}

func (c *core) wantReloadingPage(what string, a answer, text string) {
	c.t.Helper()
	if a.status != http.StatusServiceUnavailable || !bytes.Contains(a.body, []byte(text)) || !bytes.Contains(a.body, []byte(`http-equiv="refresh"`)) {
		c.t.Errorf("%s: %d %s", what, a.status, a.body)
	}
}

func (c *core) wantAck(what string, a answer, status int, body string) {
	c.t.Helper()
	if a.status != status || string(a.body) != body {
		c.t.Errorf("%s: %d %s, want %d %s", what, a.status, a.body, status, body)
	}
}

// wantFeed compares the whole feed with the events wanted, in any order.
func (c *core) wantFeed(want ...string) {
	c.t.Helper()
	var got []string
	c.until("the feed has all events", func() bool { got = c.feed(); return len(got) >= len(want) })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Errorf("%d events %v\nwant %d %v", len(got), got, len(want), want)
	}
}

// feed reads the client's feed: type and order number of each event.
func (c *core) feed() (events []string) {
	for {
		var page struct{ Events []struct{ Body string } }
		c.unmarshal(c.get(fmt.Sprintf("%s/v1/events?after=%d", c.api, len(events))).body, &page)
		for _, e := range page.Events {
			var event struct {
				Type string
				Data struct{ Order document }
			}
			c.unmarshal([]byte(e.Body), &event)
			events = append(events, event.Type+" "+event.Data.Order.OrderNo)
		}
		if len(page.Events) == 0 {
			return events
		}
	}
}

// document is what these tests read of an order, or of a problem.
type document struct {
	Code        string
	OrderNo     string `json:"order_no"`
	AttemptNo   string `json:"attempt_no"`
	CheckoutURL string `json:"checkout_url"`
	Status      any    // of an order a word, of a problem a number
	Late        bool
	Redirect    struct{ Fields map[string]string }
	Surplus     []json.RawMessage
	Attempts    []struct{ Status string }
}

func (c *core) document(a answer) (d document) {
	c.t.Helper()
	c.unmarshal(a.body, &d)
	return d
}

func (c *core) unmarshal(text []byte, v any) {
	c.t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		c.t.Errorf("%v: %s", err, text)
	}
}

// signedOrder is what these tests read of the order that the gateway signed for the bank.
type signedOrder struct {
	ReturnURL   string `json:"return_url"`
	CallbackURL string `json:"callback_url"`
}

func (d *document) signed(t *testing.T) (o signedOrder) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(d.Redirect.Fields["order"])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func pathOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.EscapedPath()
}

// notice is one delivery of a message from the bank.
type notice struct {
	path, body string
	header     http.Header
}

// notice is the bank's notice that the order is paid, as docs/providers/bravobank.md section 6 has it, signed with the
// published test key.
func (d *document) notice(t *testing.T, nonce string) notice {
	t.Helper()
	n := notice{path: pathOf(t, d.signed(t).CallbackURL), body: fmt.Sprintf(`{"order_no":%q,"attempt_no":%q,"environment":"sandbox",`+
		`"payee_member_id":"1136549","payer_member_id":"1361049","status":"paid","total":"20","currency":"TWD","method":"credit_card",`+
		`"paid_at":"2017-06-13T09:04:30+08:00","trade_no":"BB2017061300000014"}`, d.OrderNo, d.AttemptNo)}
	timestamp := strconv.FormatInt(time.Now().Unix(), 10)
	key := ed25519.NewKeyFromSeed([]byte("bravo bank published test key 01"))
	text := "bravo-notice-v1\nbravo-test-1\n" + timestamp + "\n" + nonce + "\n" + n.path + "\n" + n.body
	n.header = http.Header{
		"Content-Type": {"application/json"}, "Bravo-Kid": {"bravo-test-1"}, "Bravo-Timestamp": {timestamp}, "Bravo-Nonce": {nonce},
		"Bravo-Signature": {base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(text)))},
	}
	return n
}

// forged is the delivery with another amount.
func (n notice) forged() notice {
	n.body = strings.Replace(n.body, `"20"`, `"21"`, 1)
	return n
}

func (c *core) deliver(n notice) answer {
	return c.call(http.MethodPost, c.edge+n.path, n.header, n.body)
}

// redisConn speaks to Redis in its own words: the gateway's client must not be the one that does harm.
type redisConn struct {
	net.Conn
	lines *bufio.Reader
}

// say sends one command and returns the first line of its answer.
func (r *redisConn) say(command string) (string, error) {
	if _, err := io.WriteString(r, command+"\r\n"); err != nil {
		return "", err
	}
	return r.line()
}

func (r *redisConn) line() (string, error) {
	line, err := r.lines.ReadString('\n')
	return strings.TrimSpace(line), err
}

// harass does something to Redis again and again until the returned function is called, or the test ends.
func harass(t *testing.T, addr string, do func(*redisConn) error) (stop func()) {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &redisConn{conn, bufio.NewReader(conn)}
	var stopped atomic.Bool
	var working sync.WaitGroup
	working.Go(func() {
		for !stopped.Load() {
			if err := do(r); err != nil && !stopped.Load() {
				t.Error(err)
				return
			}
		}
	})
	stop = sync.OnceFunc(func() {
		stopped.Store(true)
		_ = conn.Close() // ends a read
		working.Wait()
	})
	t.Cleanup(stop)
	return stop
}
