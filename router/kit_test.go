package router_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/orders/sqlstore"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router"
	"pay.taipei/gateway/router/policy"
)

// morning is when every test begins; orders end ten minutes after they are placed.
var morning = time.Date(2017, 6, 13, 9, 0, 0, 0, orders.Taipei)

const (
	life    = 10 * time.Minute
	grace   = 2 * time.Minute
	spacing = 30 * time.Second
	slowest = 10 * time.Minute
	lease   = 30 * time.Second // of a request without an answer
)

func twd(units int64) money.Amount {
	a, err := money.FromUnits(units, money.TWD)
	if err != nil {
		panic(err)
	}
	return a
}

func kindError(k providers.Kind) error {
	return &providers.Error{Provider: "fake", Op: "fake", Kind: k}
}

// fake is an adapter of which a test scripts what it answers. Unscripted it signs orders,
// and says pending to every query.
type fake struct {
	d       providers.Descriptor
	create  func(n int, req providers.CreateRequest) (providers.Created, error)
	query   func(n int, ref providers.AttemptRef) (providers.Snapshot, error)
	confirm func(n int, ref providers.AttemptRef) (providers.Snapshot, error)
	refund  func(n int, req providers.RefundRequest) (providers.RefundResult, error)
	decode  func(raw providers.RawCallback) (providers.Notice, error)

	mu       sync.Mutex
	creates  []providers.CreateRequest
	queries  []providers.AttemptRef
	confirms []providers.AttemptRef
	refunds  []providers.RefundRequest
	undated  bool // a call came without a deadline
}

func (f *fake) Describe() providers.Descriptor { return f.d }

func (f *fake) Create(ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
	sent := ctx
	if !f.d.ServerCreate {
		var cancel context.CancelFunc
		sent, cancel = context.WithTimeout(ctx, time.Minute) // signing waits for nobody
		defer cancel()
	}
	n := note(sent, f, &f.creates, req)
	if f.create != nil {
		c, err := f.create(n, req)
		return c, errors.Join(err, ctx.Err())
	}
	return providers.Created{Redirect: providers.Redirect{
		Method: "POST", URL: "https://pay.example/" + f.d.Name, Fields: map[string]string{"no": req.AttemptNo, "n": fmt.Sprint(n)},
	}, Refs: map[string]string{"token": "T" + req.AttemptNo}}, nil
}

func (f *fake) Query(ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
	n := note(ctx, f, &f.queries, ref)
	if f.query != nil {
		return f.query(n, ref)
	}
	return providers.Snapshot{}, nil
}

func (f *fake) DecodeCallback(raw providers.RawCallback) (providers.Notice, error) {
	if f.decode == nil {
		return providers.Notice{}, kindError(providers.Untrusted)
	}
	return f.decode(raw)
}

func (f *fake) Ack(providers.Verdict) providers.Ack { return providers.Ack{Status: 200} }

// confirming is a fake at which money moves when we confirm.
type confirming struct{ *fake }

func (f confirming) Confirm(ctx context.Context, req providers.ConfirmRequest) (providers.Snapshot, error) {
	return f.confirm(note(ctx, f.fake, &f.confirms, req.Attempt), req.Attempt)
}

// Refund makes every fake pay back as its test scripts.
func (f *fake) Refund(ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
	n := note(ctx, f, &f.refunds, req)
	if f.refund != nil {
		return f.refund(n, req)
	}
	return providers.RefundResult{ProviderRefundNo: "R" + req.RefundID, State: providers.RefundDone}, nil
}

// note keeps a call and tells the how manieth it is, from 1.
func note[T any](ctx context.Context, f *fake, calls *[]T, call T) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := ctx.Deadline(); !ok {
		f.undated = true
	}
	*calls = append(*calls, call)
	return len(*calls)
}

// always scripts one answer for every query or confirm.
func always(s providers.Snapshot, err error) func(int, providers.AttemptRef) (providers.Snapshot, error) {
	return func(int, providers.AttemptRef) (providers.Snapshot, error) { return s, err }
}

// paid answers that the attempt is paid in full.
func paid(_ int, ref providers.AttemptRef) (providers.Snapshot, error) {
	return paidSnapshot(ref.Amount), nil
}

func paidSnapshot(a money.Amount) providers.Snapshot {
	return providers.Snapshot{State: providers.Paid, Amount: &a, ProviderTradeNo: "trade-1", Method: "credit_card", PaidAt: morning}
}

// listsRefunds answers queries as paid, with the complete list of refunds; nil: there are none.
func listsRefunds(list func(providers.AttemptRef) []providers.RefundFact) func(int, providers.AttemptRef) (providers.Snapshot, error) {
	return func(_ int, ref providers.AttemptRef) (providers.Snapshot, error) {
		s := paidSnapshot(ref.Amount)
		s.RefundsComplete = true
		if list != nil {
			s.Refunds = list(ref)
		}
		return s, nil
	}
}

// meter remembers what was counted.
type meter struct {
	mu    sync.Mutex
	count map[string]int
}

func (m *meter) add(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.count[name]++
}

func (m *meter) of(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count[name]
}

func (m *meter) ProviderCall(account, op, kind string, _ time.Duration) {
	m.add(account + " " + op + " " + kind)
}
func (m *meter) OrderMoved(to string)           { m.add("to " + to) }
func (m *meter) IdempotencyHit(layer string)    { m.add("hit " + layer) }
func (m *meter) UnmappedCode(account string)    { m.add("unmapped " + account) }
func (m *meter) Attempt(account string)         { m.add("attempt " + account) }
func (m *meter) Paid(account, by string)        { m.add("paid " + account + " " + by) }
func (m *meter) CallbackMissing(account string) { m.add("missing " + account) }

// gates are open but where a test shuts them.
type gates struct {
	mu      sync.Mutex
	shut    map[string]time.Time // account/op
	results []string
	forced  []router.Force
}

func (g *gates) Enter(_ context.Context, account, op string) (func(router.CallResult), error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, shut := g.shut[account+"/"+op]; shut {
		return nil, errors.New("the breaker is open")
	}
	return func(r router.CallResult) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.results = append(g.results, fmt.Sprintf("%s/%s %d", account, op, r))
	}, nil
}

func (g *gates) Shut(account, op string) (string, time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, shut := g.shut[account+"/"+op]
	if !shut {
		return "", until
	}
	return policy.BreakerOpen, until
}

// close shuts the gates of an account's operations until a moment.
func (g *gates) close(until time.Time, names ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = map[string]time.Time{}
	for _, name := range names {
		g.shut[name] = until
	}
}

type links struct{}

func (links) Return(token string) string { return "https://gw.example/r/" + token }
func (links) Callback(account, token string) string {
	return "https://gw.example/callbacks/" + account + "/" + token
}

// wording answers in the least bytes that tell what was rendered.
type wording struct{}

func (wording) Created(o *orders.Order) (int, []byte, error)  { return word(201, o) }
func (wording) Unknown(o *orders.Order) (int, []byte, error)  { return word(202, o) }
func (wording) Declined(o *orders.Order) (int, []byte, error) { return word(422, o) }
func (wording) Conflict(o *orders.Order, b *orders.BillError) (int, []byte, error) {
	return 409, []byte(string(o.No) + " " + b.Error()), nil
}
func (wording) Cancelled(o *orders.Order) (int, []byte, error) {
	if o.State == orders.OrderOpen {
		return word(202, o)
	}
	return word(200, o)
}
func (wording) Refunding(_ *orders.Order, r *orders.Refund) (int, []byte, error) {
	return 202, []byte(r.ID() + " " + r.Amount.String()), nil
}

func word(status int, o *orders.Order) (int, []byte, error) {
	return status, fmt.Appendf(nil, "%s %s %s v%d", o.Current().No, o.State, o.Current().State, o.Version), nil
}

// watched is the real store; it lists the verbs that write and can fail any verb, before it
// ran or after it committed.
type watched struct {
	router.Store
	mu     sync.Mutex
	writes []string
	before func(verb string) error
	after  func(verb string) error
}

func run[T any](w *watched, verb string, writes bool, do func() (T, error)) (T, error) {
	var none T
	w.mu.Lock()
	before, after := w.before, w.after
	if writes {
		w.writes = append(w.writes, verb)
	}
	w.mu.Unlock()
	if before != nil {
		if err := before(verb); err != nil {
			return none, err
		}
	}
	v, err := do()
	if after != nil && err == nil {
		if err := after(verb); err != nil {
			return none, err
		}
	}
	return v, err
}

func nothing(err error) (struct{}, error) { return struct{}{}, err }

func (w *watched) DrawOrderNo(ctx context.Context, at time.Time) (orders.OrderNo, error) {
	return run(w, "DrawOrderNo", false, func() (orders.OrderNo, error) { return w.Store.DrawOrderNo(ctx, at) })
}

func (w *watched) LookKey(ctx context.Context, ref orders.KeyRef) (orders.KeyRow, error) {
	return run(w, "LookKey", false, func() (orders.KeyRow, error) { return w.Store.LookKey(ctx, ref) })
}

func (w *watched) Place(ctx context.Context, p orders.Placement) (orders.Order, error) {
	return run(w, "Place", true, func() (orders.Order, error) { return w.Store.Place(ctx, p) })
}

func (w *watched) FinishCreate(ctx context.Context, f orders.CreateFinish) (orders.Order, error) {
	return run(w, "FinishCreate", true, func() (orders.Order, error) { return w.Store.FinishCreate(ctx, f) })
}

func (w *watched) Apply(ctx context.Context, e orders.Evidence) (orders.Applied, error) {
	return run(w, "Apply", true, func() (orders.Applied, error) { return w.Store.Apply(ctx, e) })
}

func (w *watched) Refuse(ctx context.Context, r orders.Refusal) error {
	_, err := run(w, "Refuse", true, func() (struct{}, error) { return nothing(w.Store.Refuse(ctx, r)) })
	return err
}

func (w *watched) Hand(ctx context.Context, h orders.Handing) (orders.Order, error) {
	return run(w, "Hand", true, func() (orders.Order, error) { return w.Store.Hand(ctx, h) })
}

func (w *watched) AddAttempt(ctx context.Context, a orders.Addition) (orders.Order, error) {
	return run(w, "AddAttempt", true, func() (orders.Order, error) { return w.Store.AddAttempt(ctx, a) })
}

func (w *watched) Cancel(ctx context.Context, c orders.Cancellation) (orders.Order, error) {
	return run(w, "Cancel", true, func() (orders.Order, error) { return w.Store.Cancel(ctx, c) })
}

func (w *watched) FinishRefund(ctx context.Context, f orders.RefundFinish) (orders.Applied, error) {
	return run(w, "FinishRefund", true, func() (orders.Applied, error) { return w.Store.FinishRefund(ctx, f) })
}

func (w *watched) ClaimConfirm(ctx context.Context, a orders.AttemptNo, now time.Time) (orders.Call, error) {
	return run(w, "ClaimConfirm", true, func() (orders.Call, error) { return w.Store.ClaimConfirm(ctx, a, now) })
}

func (w *watched) FinishCall(ctx context.Context, c orders.Call) error {
	_, err := run(w, "FinishCall", true, func() (struct{}, error) { return nothing(w.Store.FinishCall(ctx, c)) })
	return err
}

func (w *watched) Order(ctx context.Context, no orders.OrderNo) (orders.Order, error) {
	return run(w, "Order", false, func() (orders.Order, error) { return w.Store.Order(ctx, no) })
}

func (w *watched) Book(ctx context.Context, no orders.OrderNo) (orders.Book, error) {
	return run(w, "Book", false, func() (orders.Book, error) { return w.Store.Book(ctx, no) })
}

func (w *watched) ClaimQuery(ctx context.Context, account string, now time.Time, lease, gap time.Duration) (orders.QueryWork, error) {
	return run(w, "ClaimQuery", true, func() (orders.QueryWork, error) { return w.Store.ClaimQuery(ctx, account, now, lease, gap) })
}

func (w *watched) NextQuery(ctx context.Context, account string) (time.Time, error) {
	return run(w, "NextQuery", false, func() (time.Time, error) { return w.Store.NextQuery(ctx, account) })
}

func (w *watched) FinishQuery(ctx context.Context, q orders.QueryWork, now, next time.Time) error {
	_, err := run(w, "FinishQuery", true, func() (struct{}, error) { return nothing(w.Store.FinishQuery(ctx, q, now, next)) })
	return err
}

func (w *watched) SettleNext(ctx context.Context, now time.Time) (orders.Order, error) {
	return run(w, "SettleNext", true, func() (orders.Order, error) { return w.Store.SettleNext(ctx, now) })
}

func (w *watched) ClaimOrphan(ctx context.Context, now, since time.Time) (orders.Evidence, error) {
	return run(w, "ClaimOrphan", true, func() (orders.Evidence, error) { return w.Store.ClaimOrphan(ctx, now, since) })
}

func (w *watched) NextDue(ctx context.Context) (time.Time, error) {
	return run(w, "NextDue", false, func() (time.Time, error) { return w.Store.NextDue(ctx) })
}

// failing makes one verb fail, before it runs.
func (w *watched) failing(verb string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = func(v string) error {
		if v == verb {
			return fmt.Errorf("%w: %s", orders.ErrUnavailable, verb)
		}
		return nil
	}
}

func (w *watched) healed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before, w.after = nil, nil
}

// since lists the verbs that wrote since it was called last.
func (w *watched) since() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	writes := w.writes
	w.writes = nil
	return writes
}

// world is a router on a real store, with three providers: form signs orders, server is
// called for each and confirmed, click signs at the click.
type world struct {
	*router.Router
	t                   *testing.T
	clock               *testkit.Clock
	db                  *sqldb.DB
	store               *watched
	form, server, click *fake
	meter               *meter
	gates               *gates
	wakes               atomic.Int64
	config              router.Config
	deps                router.Deps
	serial              int
}

func newWorld(t *testing.T, change ...func(*router.Config, *router.Deps)) *world {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "orders.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	files, err := sqlstore.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	store, err := sqlstore.Open(db, sqlstore.Deps{Timeout: time.Minute}) // a busy machine must not fail a test
	if err != nil {
		t.Fatal(err)
	}
	describe := func(name string) providers.Descriptor {
		return providers.Descriptor{
			Name: name, NameEN: name, Methods: []providers.Method{{Code: "credit_card"}, {Code: "stored_value"}}, Currency: money.TWD,
			Number: providers.NumberRule{MaxLength: 20}, AnswerAuth: providers.AnswerMAC,
			Patience: providers.Patience{Spacing: spacing, Grace: grace},
		}
	}
	w := &world{
		t: t, clock: testkit.NewClock(morning), db: db, store: &watched{Store: store}, meter: &meter{count: map[string]int{}}, gates: &gates{},
		form: &fake{d: describe("form")}, server: &fake{d: describe("server")}, click: &fake{d: describe("click")},
	}
	w.form.d.Min, w.form.d.Max, w.form.d.Reopen = twd(10), twd(1000), providers.ReopenReuse
	w.form.d.FormOrigins, w.form.d.Patience.NotFoundFinal = []string{"https://pay.example"}, true
	w.server.d.ServerCreate, w.server.d.AnswerAuth = true, providers.AnswerTLS
	w.click.d.RedirectLife = 2 * time.Minute
	account := func(name string, p providers.Provider, prefix string) router.Account {
		return router.Account{Name: name, Provider: p, Environment: providers.Sandbox, NumberPrefix: prefix, QueryBeforePaid: router.QueryRule{Never: true}}
	}
	w.config = router.Config{
		Accounts: []router.Account{
			account("form-a", w.form, ""), account("form-b", w.form, "B"), account("server-a", confirming{w.server}, "S1"), account("click-a", w.click, ""),
		},
		Merchants: []router.Merchant{
			{Code: "pma", Name: "停車管理工程處", Payees: map[string]string{"form-a": "77", "server-a": "78", "click-a": "79"}},
			{Code: "lib", Name: "圖書館", Payees: map[string]string{"form-b": "81"}},
			{Code: "new", Name: "新機關"},
		},
	}
	w.deps = router.Deps{
		Store: w.store, Links: links{}, Now: w.clock.Now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler), Meter: w.meter,
		Wake: func() { w.wakes.Add(1) }, Gates: w.gates, SetForced: func(f []router.Force) { w.gates.forced = f },
	}
	w.restart(change...)
	t.Cleanup(func() {
		for _, f := range []*fake{w.form, w.server, w.click} {
			if f.undated {
				t.Errorf("%s was called without a deadline", f.d.Name)
			}
		}
	})
	return w
}

// restart makes another router on the same store, as another process would.
func (w *world) restart(change ...func(*router.Config, *router.Deps)) {
	w.t.Helper()
	for _, c := range change {
		c(&w.config, &w.deps)
	}
	r, err := router.New(w.config, w.deps)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Router = r
}

// without is a configuration that lost an account.
func without(name string) func(*router.Config, *router.Deps) {
	return func(c *router.Config, _ *router.Deps) {
		c.Accounts = slices.DeleteFunc(slices.Clone(c.Accounts), func(a router.Account) bool { return a.Name == name })
	}
}

func rule(q router.QueryRule) func(*router.Config, *router.Deps) {
	return func(c *router.Config, _ *router.Deps) {
		c.Accounts = slices.Clone(c.Accounts)
		for i := range c.Accounts {
			c.Accounts[i].QueryBeforePaid = q
		}
	}
}

// command asks for a new order of two bills, 20 dollars each, at the wished providers.
func (w *world) command(wish ...string) orders.Command {
	w.serial++
	line := func(i int) orders.BillLine {
		return orders.BillLine{BillNo: fmt.Sprintf("H%08d%d", w.serial, i), Name: "停車費", Quantity: 1, UnitPrice: twd(20), Subtotal: twd(20)}
	}
	return orders.Command{
		Key:             orders.KeyRef{ClientID: "core", Route: "POST /v1/orders", Key: fmt.Sprintf("key-%d", w.serial)},
		ClientReference: fmt.Sprintf("ref-%d", w.serial), Merchant: "pma", PayerMemberID: "1361049", Providers: wish, Settlement: "immediate",
		Amount: twd(40), Lines: []orders.BillLine{line(1), line(2)}, ReturnURL: "https://core.example/result?lang=zh", ExpiresIn: life,
	}
}

func (w *world) place(cmd orders.Command) (orders.Answer, error) {
	return w.Place(w.t.Context(), cmd, wording{})
}

// placed places an order at a provider and reads it.
func (w *world) placed(wish string) orders.Order {
	w.t.Helper()
	a, err := w.place(w.command(wish))
	if err != nil {
		w.t.Fatal(err)
	}
	return w.order(a)
}

// order reads the order that an answer is about.
func (w *world) order(a orders.Answer) orders.Order {
	w.t.Helper()
	first, _, _ := strings.Cut(string(a.Body), " ")
	no, ok := orders.AttemptNo(first).Order()
	if !ok {
		w.t.Fatalf("answer %q names no attempt", a.Body)
	}
	return w.read(no)
}

func (w *world) read(no orders.OrderNo) orders.Order {
	w.t.Helper()
	o, err := w.store.Store.Order(w.t.Context(), no)
	if err != nil {
		w.t.Fatal(err)
	}
	return o
}

// states are an order's state and those of its attempts, with what else a test may care for.
func (w *world) states(no orders.OrderNo) string {
	w.t.Helper()
	o := w.read(no)
	s := o.State.String()
	for _, a := range o.Attempts {
		s += " " + a.State.String()
		if a.Abandoned {
			s += "(abandoned)"
		}
	}
	for flag, set := range map[string]bool{" late": o.Late, " review": o.Review, " doubt": o.Doubt()} {
		if set {
			s += flag // at most one of them at a time in these tests
		}
	}
	return s
}

func (w *world) wantStates(no orders.OrderNo, want string) {
	w.t.Helper()
	if got := w.states(no); got != want {
		w.t.Errorf("states: %s, want %s", got, want)
	}
}

// events are the types of an order's events, without the prefix they share.
func (w *world) events(no orders.OrderNo) string {
	w.t.Helper()
	rows, err := w.store.Timeline(w.t.Context(), no)
	if err != nil {
		w.t.Fatal(err)
	}
	var types []string
	for _, r := range rows {
		if short, ok := strings.CutPrefix(r.What, "order."); ok {
			types = append(types, short)
		}
	}
	return strings.Join(types, " ")
}

// number reads one number from the database.
func (w *world) number(query string, args ...any) (n int64) {
	w.t.Helper()
	if err := w.db.Read(w.t.Context(), func(tx *sqldb.Tx) error { return tx.QueryRow(w.t.Context(), query, args...).Scan(&n) }); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// notice is an authenticated message about an attempt; raw is the delivery that brought it.
func (w *world) notice(a *orders.Attempt, nonce string, s *providers.Snapshot) (providers.Verdict, error) {
	raw := w.raw("cb")
	raw.Token = a.Token
	return w.Notice(w.t.Context(), a.Account, providers.Notice{AttemptNo: string(a.No), Nonce: nonce, Snapshot: s}, raw)
}

func (w *world) raw(body string) providers.RawCallback {
	return providers.RawCallback{
		Method: "POST", Path: "/callbacks/x", RawQuery: "a=1", Header: http.Header{"Sig": {"s"}, "Cookie": {"secret"}, "Authorization": {"secret"}},
		Body: []byte(body), ReceivedAt: w.clock.Now(),
	}
}

// paidNotice tells that an order was paid in full.
func (w *world) paidNotice(o *orders.Order, nonce string) {
	w.t.Helper()
	s := paidSnapshot(o.Total)
	if v, err := w.notice(o.Current(), nonce, &s); v != providers.Accepted || err != nil {
		w.t.Fatalf("notice: verdict %d, %v", v, err)
	}
}

// QueryStep is the step of the first account that has something to do, or the first that comes again.
func (w *world) QueryStep(ctx context.Context) (time.Time, error) {
	var first time.Time
	for _, a := range w.config.Accounts {
		next, err := w.Router.QueryStep(ctx, a.Name)
		if err != nil || !next.After(w.clock.Now()) {
			return next, err
		}
		if first.IsZero() || next.Before(first) {
			first = next
		}
	}
	return first, nil
}

// work runs a step until it finds nothing more to do now, and returns when to come again.
func (w *world) work(step func(context.Context) (time.Time, error)) time.Time {
	w.t.Helper()
	for range 50 {
		next, err := step(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		now := w.clock.Now()
		if next.After(now.Add(time.Minute)) {
			w.t.Fatalf("idle for %v: longer than a minute", next.Sub(now))
		}
		if next.After(now) {
			return next
		}
	}
	w.t.Fatal("a step that never rests")
	return time.Time{}
}

// at moves the clock to a time after morning.
func (w *world) at(d time.Duration) {
	w.t.Helper()
	w.clock.Advance(morning.Add(d).Sub(w.clock.Now()))
}

// dies runs something that a fake ends like the crash of its process.
func (w *world) dies(do func()) {
	w.t.Helper()
	defer func() {
		p := recover()
		if err, ok := p.(error); !ok || !errors.Is(err, errCrash) {
			w.t.Fatalf("did not crash: %v", p)
		}
	}()
	do()
}

var errCrash = errors.New("the process ends here")

// wantErr checks a whole error by its type and text, or by errors.Is.
func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) && (err == nil || fmt.Sprintf("%#v", err) != fmt.Sprintf("%#v", want)) {
		t.Errorf("error %#v, want %#v", err, want)
	}
}
