package outbox_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/signing"
	"pay.taipei/gateway/webhooks/outbox"
)

// Keys published with the Standard Webhooks specification and its libraries.
const (
	hmacKey    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	privateKey = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	publicKey  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
)

var start = time.Date(2017, 6, 13, 9, 0, 0, 0, orders.Taipei)

// finish is how a claim ended.
type finish struct {
	id    string
	state orders.DeliveryState
	due   time.Time
	why   string
}

// fakeStore hands out its queue in turn.
type fakeStore struct {
	queue    []orders.Delivery
	claims   int
	clients  []string
	lease    time.Duration
	finishes []finish
	next     time.Time
	err      error // of ClaimDelivery and NextDelivery
	finish   func(ctx context.Context) error
}

func (s *fakeStore) ClaimDelivery(_ context.Context, clients []string, _ time.Time, lease time.Duration) (orders.Delivery, error) {
	s.claims++
	s.clients, s.lease = clients, lease
	if s.err != nil {
		return orders.Delivery{}, s.err
	}
	if len(s.queue) == 0 {
		return orders.Delivery{}, orders.ErrNothing
	}
	d := s.queue[0]
	s.queue = s.queue[1:]
	return d, nil
}

func (s *fakeStore) FinishDelivery(ctx context.Context, d orders.Delivery, state orders.DeliveryState, _, due time.Time, why string) error {
	if s.finish != nil {
		if err := s.finish(ctx); err != nil {
			return err
		}
	}
	s.finishes = append(s.finishes, finish{d.Event.ID(), state, due, why})
	return nil
}

func (s *fakeStore) NextDelivery(context.Context, []string) (time.Time, error) { return s.next, s.err }

func event(version int64, attempts int) orders.Delivery {
	return orders.Delivery{Attempts: attempts, Fence: 7, Event: orders.Event{
		OrderNo: "2017061300000016", Version: version, ClientID: "core", Type: orders.EventPaid, OccurredAt: start, Body: []byte(`{"type":"order.paid","熊":"讚"}`),
	}}
}

// setting is a deliverer with a real client of its own.
type setting struct {
	store    *fakeStore
	clock    *testkit.Clock
	log      *bytes.Buffer
	observed []outbox.Observation
	rand     uint64
	*outbox.Deliverer
}

func signers(t *testing.T) []*signing.WebhookSigner {
	t.Helper()
	var list []*signing.WebhookSigner
	for _, key := range []string{privateKey, hmacKey} {
		s, err := signing.ParseWebhookSigner(key)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

func deliverer(t *testing.T, client http.Handler, timeout time.Duration) *setting {
	t.Helper()
	server := httptest.NewServer(client)
	t.Cleanup(server.Close)
	s := &setting{store: &fakeStore{}, clock: testkit.NewClock(start), log: &bytes.Buffer{}}
	rand := func() uint64 { return s.rand }
	sender, err := httpx.New(httpx.Config{Name: "core", BaseURL: server.URL, Network: httpx.Loopback}, httpx.Deps{Now: s.clock.Now, Rand: rand})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sender.Close)
	s.Deliverer, err = outbox.New(
		outbox.Config{Timeout: timeout, Targets: []outbox.Target{{Client: "core", HTTP: sender, Path: "/hooks/pay", RawQuery: "v=1", Signers: signers(t)}}},
		outbox.Deps{
			Store: s.store, Now: s.clock.Now, Rand: rand, Log: slog.New(slog.NewJSONHandler(s.log, nil)),
			Observe: func(o outbox.Observation) { s.observed = append(s.observed, o) },
		})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// only steps once over one event and returns how its claim ended.
func (s *setting) only(t *testing.T, d orders.Delivery) finish {
	t.Helper()
	s.store.queue = []orders.Delivery{d}
	next, err := s.Step(t.Context())
	if err != nil || !next.Equal(s.clock.Now()) {
		t.Fatalf("step: next %s, error %v; want now and none", next, err)
	}
	if len(s.store.finishes) != 1 || len(s.observed) != 1 {
		t.Fatalf("%d claims ended, %d observed, want 1", len(s.store.finishes), len(s.observed))
	}
	return s.store.finishes[0]
}

func status(code int, header ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if len(header) == 2 {
			w.Header().Set(header[0], header[1])
		}
		w.WriteHeader(code)
	})
}

func TestDeliveryIsAStandardWebhook(t *testing.T) {
	requests := make(chan *http.Request, 1)
	bodies := make(chan []byte, 1)
	s := deliverer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- body
		requests <- r
	}), 0)
	d := event(3, 0)
	if got := s.only(t, d); got.state != orders.DeliveryDone || got.why != "" {
		t.Errorf("ended %+v", got)
	}
	r, body := <-requests, <-bodies
	if r.Method != "POST" || r.RequestURI != "/hooks/pay?v=1" || r.Header.Get("Content-Type") != "application/json" || !bytes.Equal(body, d.Event.Body) {
		t.Errorf("sent %s %s %s %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"), body)
	}
	id, stamp, signature := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), r.Header.Get("Webhook-Signature")
	if id != "evt_2017061300000016_3" || stamp != strconv.FormatInt(start.Unix(), 10) {
		t.Errorf("id %q, timestamp %q", id, stamp)
	}
	for _, key := range []string{publicKey, hmacKey} {
		v, err := signing.ParseWebhookVerifier(key)
		if err != nil {
			t.Fatal(err)
		}
		if err := signing.VerifyWebhook([]*signing.WebhookVerifier{v}, id, stamp, signature, body, start); err != nil {
			t.Errorf("%s…: %v", key[:6], err)
		}
	}
	// Source: derived here with openssl dgst -sha256 -mac HMAC over "id.timestamp.body".
	const golden = "v1,eLqnrO73xc1AFEVENH9Jm5xekkAhrm4nXfGQ9WhcXXI="
	if !strings.Contains(signature, golden) {
		t.Errorf("signature %q lacks %q", signature, golden)
	}
	if len(s.store.clients) != 1 || s.store.clients[0] != "core" || s.store.lease != 30*time.Second {
		t.Errorf("claimed for %q under a lease of %s", s.store.clients, s.store.lease)
	}
	if o := s.observed[0]; o.Client != "core" || o.Status != 200 || o.State != orders.DeliveryDone || o.Stuck {
		t.Errorf("observed %+v", o)
	}
	if strings.Contains(s.log.String(), "v1") || strings.Contains(s.log.String(), "order.paid") {
		t.Errorf("log %s", s.log)
	}
}

func TestAnswers(t *testing.T) {
	tests := map[orders.DeliveryState][]int{
		orders.DeliveryDone:  {200, 201, 202, 204, 299},
		orders.DeliveryHeld:  {400, 409, 410, 422},
		orders.DeliveryReady: {300, 301, 302, 303, 307, 308, 401, 402, 403, 404, 405, 406, 408, 413, 415, 425, 429, 500, 501, 502, 503, 504, 599},
	}
	for want, codes := range tests {
		for _, code := range codes {
			t.Run(strconv.Itoa(code), func(t *testing.T) {
				s := deliverer(t, status(code, "Location", "/elsewhere"), 0)
				got := s.only(t, event(1, 0))
				if got.state != want || s.observed[0].Status != code || s.observed[0].State != want {
					t.Errorf("ended %+v, observed %+v, want %s", got, s.observed[0], want)
				}
				if want != orders.DeliveryDone && got.why != "status "+strconv.Itoa(code) {
					t.Errorf("why %q", got.why)
				}
				if want == orders.DeliveryReady && !got.due.After(start) {
					t.Errorf("due %s, want later", got.due)
				}
				if held := strings.Contains(s.log.String(), `"level":"ERROR"`); held != (want == orders.DeliveryHeld) {
					t.Errorf("log %s", s.log)
				}
			})
		}
	}
}

func TestNoAnswer(t *testing.T) {
	tests := map[string]http.Handler{
		"hangs up": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
		"never ends": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			_ = http.NewResponseController(w).Flush() // the headers alone are no answer
			<-r.Context().Done()
		}),
	}
	for name, client := range tests {
		t.Run(name, func(t *testing.T) {
			s := deliverer(t, client, 50*time.Millisecond)
			got := s.only(t, event(1, 2))
			if got.state != orders.DeliveryReady || got.why == "" || !got.due.After(start) || s.observed[0].Status != 0 {
				t.Errorf("ended %+v, observed %+v", got, s.observed[0])
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	tests := []struct {
		name     string
		attempts int
		rand     uint64
		answer   http.Handler
		want     time.Duration
	}{
		{"first, shortest", 0, 0, status(500), time.Second},
		{"first, longest", 0, 1e9 - 1, status(500), 2*time.Second - 1},
		{"fourth, longest", 3, 15e9 - 1, status(500), 16*time.Second - 1},
		{"shortest after many", 60, 0, status(500), time.Second},
		{"longest after many", 1 << 40, 299e9 - 1, status(500), 5*time.Minute - 1},
		{"never longer", 1 << 40, 299e9, status(500), time.Second},
		{"asked for 2 min", 0, 0, status(429, "Retry-After", "120"), 2 * time.Minute},
		{"asked for less than planned", 3, 15e9 - 1, status(503, "Retry-After", "1"), 16*time.Second - 1},
		{"asked for an hour", 0, 0, status(503, "Retry-After", "3600"), 5 * time.Minute},
		{"asked for ages", 0, 0, status(503, "Retry-After", "99999999999999999999999"), 5 * time.Minute},
		{"asked for a date", 0, 0, status(503, "Retry-After", start.Add(time.Minute).UTC().Format(http.TimeFormat)), time.Minute},
		{"asked for a past date", 0, 0, status(503, "Retry-After", start.Add(-time.Hour).UTC().Format(http.TimeFormat)), time.Second},
		{"asked for nonsense", 0, 0, status(503, "Retry-After", "-5"), time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := deliverer(t, tt.answer, 0)
			s.rand = tt.rand
			if got := s.only(t, event(1, tt.attempts)); got.due.Sub(start) != tt.want {
				t.Errorf("again after %s, want %s", got.due.Sub(start), tt.want)
			}
		})
	}
}

func TestStuckIsReportedAndNotDropped(t *testing.T) {
	tests := []struct {
		name     string
		code     int
		after    time.Duration
		attempts int
		stuck    bool
	}{
		{"an hour of trying", 500, time.Hour, 20, true},
		{"not yet an hour", 500, time.Hour - time.Second, 20, false},
		{"first try of an old event", 500, 2 * time.Hour, 0, false},
		{"delivered at last", 200, 2 * time.Hour, 20, false},
		{"held", 410, 2 * time.Hour, 20, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := deliverer(t, status(tt.code), 0)
			s.clock.Advance(tt.after)
			got := s.only(t, event(1, tt.attempts))
			if s.observed[0].Stuck != tt.stuck || strings.Contains(s.log.String(), "stuck") != tt.stuck {
				t.Errorf("observed %+v, log %s", s.observed[0], s.log)
			}
			if tt.stuck && (got.state != orders.DeliveryReady || !strings.Contains(s.log.String(), `"level":"ERROR"`)) {
				t.Errorf("ended %+v, log %s", got, s.log)
			}
		})
	}
}

func TestOneClaimAStep(t *testing.T) {
	s := deliverer(t, status(200), 0)
	s.store.queue = []orders.Delivery{event(1, 0), event(2, 0)}
	for i := 1; i <= 2; i++ {
		if _, err := s.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.store.claims != i || len(s.store.finishes) != i || s.store.finishes[i-1].id != "evt_2017061300000016_"+strconv.Itoa(i) {
			t.Fatalf("after step %d: %d claims, ended %+v", i, s.store.claims, s.store.finishes)
		}
	}
}

// A process that stops gives its event back, with the store told under a context that still lives.
func TestShutdownReleasesTheClaim(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := deliverer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		cancel()
		<-r.Context().Done()
	}), 0)
	s.store.finish = func(ctx context.Context) error {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("telling the store has no deadline")
		}
		return ctx.Err()
	}
	s.store.queue = []orders.Delivery{event(1, 5)}
	if _, err := s.Step(ctx); err != nil {
		t.Fatal(err)
	}
	if got := s.store.finishes[0]; got.state != orders.DeliveryReady || !got.due.Equal(start) {
		t.Errorf("ended %+v, want ready at once", got)
	}
}

func TestStoreFails(t *testing.T) {
	t.Run("claim", func(t *testing.T) {
		s := deliverer(t, status(200), 0)
		s.store.err = orders.ErrUnavailable
		if next, err := s.Step(t.Context()); !errors.Is(err, orders.ErrUnavailable) || !next.After(start) {
			t.Errorf("next %s, error %v", next, err)
		}
	})
	t.Run("finish", func(t *testing.T) {
		s := deliverer(t, status(200), 0)
		s.store.queue = []orders.Delivery{event(1, 0)}
		s.store.finish = func(context.Context) error { return orders.ErrFenced }
		if next, err := s.Step(t.Context()); !errors.Is(err, orders.ErrFenced) || !next.After(start) {
			t.Errorf("next %s, error %v", next, err)
		}
	})
	t.Run("a client without a webhook", func(t *testing.T) {
		s := deliverer(t, status(200), 0)
		d := event(1, 0)
		d.Event.ClientID = "other"
		s.store.queue = []orders.Delivery{d}
		if _, err := s.Step(t.Context()); err == nil || len(s.store.finishes) != 0 {
			t.Errorf("error %v, ended %+v", err, s.store.finishes)
		}
	})
}

func TestIdle(t *testing.T) {
	tests := map[string]struct{ due, want time.Time }{
		"nothing waits":       {time.Time{}, start.Add(time.Minute)},
		"due soon":            {start.Add(7 * time.Second), start.Add(7 * time.Second)},
		"due in an hour":      {start.Add(time.Hour), start.Add(time.Minute)},
		"due, but just taken": {start.Add(-time.Second), start.Add(50 * time.Millisecond)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := deliverer(t, status(200), 0)
			s.store.next = tt.due
			if next, err := s.Step(t.Context()); err != nil || !next.Equal(tt.want) {
				t.Errorf("next %s, error %v, want %s", next, err, tt.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	clock := testkit.NewClock(start)
	deps := outbox.Deps{Store: &fakeStore{}, Now: clock.Now, Rand: func() uint64 { return 0 }, Log: slog.New(slog.DiscardHandler)}
	sender, err := httpx.New(httpx.Config{Name: "core", BaseURL: "https://core.example"}, httpx.Deps{Now: clock.Now, Rand: deps.Rand})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	good := outbox.Target{Client: "core", HTTP: sender, Path: "/hooks", Signers: signers(t)}
	change := func(f func(*outbox.Target)) []outbox.Target { c := good; f(&c); return []outbox.Target{c} }
	for name, config := range map[string]outbox.Config{
		"no client":       {Targets: change(func(t *outbox.Target) { t.Client = "" })},
		"no sender":       {Targets: change(func(t *outbox.Target) { t.HTTP = nil })},
		"no path":         {Targets: change(func(t *outbox.Target) { t.Path = "" })},
		"no signing key":  {Targets: change(func(t *outbox.Target) { t.Signers = nil })},
		"a client twice":  {Targets: []outbox.Target{good, good}},
		"lease too short": {Timeout: 15 * time.Second, Lease: 20 * time.Second},
		"negative":        {Timeout: -time.Second, Lease: time.Minute},
	} {
		if _, err := outbox.New(config, deps); err == nil {
			t.Errorf("%s: passed", name)
		}
	}
	if _, err := outbox.New(outbox.Config{}, outbox.Deps{}); err == nil {
		t.Error("missing collaborators passed")
	}
	nobody, err := outbox.New(outbox.Config{}, deps)
	if err != nil {
		t.Fatal(err)
	}
	if next, err := nobody.Step(t.Context()); err != nil || !next.Equal(start.Add(time.Minute)) {
		t.Errorf("without a webhook: next %s, error %v", next, err)
	}
}

type fakeFeeds struct {
	n     int
	err   error
	limit int
}

func (f *fakeFeeds) Sequence(_ context.Context, limit int) (int, error) {
	f.limit = limit
	return f.n, f.err
}

func TestSequencer(t *testing.T) {
	tests := map[string]struct {
		feeds fakeFeeds
		after time.Duration
	}{
		"work":    {fakeFeeds{n: 3}, 0},
		"nothing": {fakeFeeds{}, time.Second},
		"failure": {fakeFeeds{err: orders.ErrUnavailable}, time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, err := outbox.NewSequencer(&tt.feeds, testkit.NewClock(start).Now)
			if err != nil {
				t.Fatal(err)
			}
			next, err := s.Step(t.Context())
			if !errors.Is(err, tt.feeds.err) || !next.Equal(start.Add(tt.after)) || tt.feeds.limit < 1 {
				t.Errorf("next %s, error %v, limit %d", next, err, tt.feeds.limit)
			}
		})
	}
	if _, err := outbox.NewSequencer(nil, nil); err == nil {
		t.Error("missing collaborators passed")
	}
}
