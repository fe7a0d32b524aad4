package providertest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/signing"
)

// Answer is how a twin answers a call.
type Answer int

// The answers. All but Ok leave it to Step.Do whether the call was carried out.
const (
	Ok        Answer = iota // signed, and true: it tells the books
	Decline                 // signed error "declined"
	Missing                 // signed error "not_found"
	Limited                 // signed error "rate_limited"
	Drop                    // the connection is closed without an answer
	Hang                    // nothing, until the client gives up or the twin closes
	Status500               // unsigned, with a page of HTML
	Garbage                 // unsigned, 200, not JSON
	Forged                  // what Ok says, with a wrong signature
)

// Step is what happens to one call. The zero value answers without carrying anything out.
type Step struct {
	Do     bool                   // carries the call out in the books before it answers
	Answer Answer                 // how it answers then
	Change func(*Message)         // spoils a signed answer before it is signed; may be nil
	Before func(attemptNo string) // runs after Do and before the answer, such as a callback that overtakes it; may be nil
}

// Payment is one payment in a twin's books.
type Payment struct {
	AttemptNo, Payee, Payer string
	Amount, Currency        string // as asked for
	State                   string
	TradeNo                 string
	CallbackURL, ReturnURL  string
	PaidAt                  time.Time
	Refunds                 []RefundEntry
}

// TwinConfig makes a Twin. Now is required.
type TwinConfig struct {
	Secret      signing.Secret // shared with the adapter; empty: one that everybody may know
	Now         func() time.Time
	Environment providers.Environment // told in messages; empty: demo
	Listener    net.Listener          // closed by the twin; nil: a free port on 127.0.0.1
	Ban         Ban                   // the zero value: nobody asks too often
}

// Ban is how a twin punishes whoever asks too often, as some providers do: more than Most queries within In are refused as
// rate limited, and so is every query for For afterwards.
type Ban struct {
	Most    int
	In, For time.Duration
}

// Twin is the provider that a Scripted talks to: a real HTTP server with books, which
// behaves unless a script says otherwise. It counts every call, and apart from that
// every call that had an effect. It is safe for concurrent use.
type Twin struct {
	config TwinConfig
	codec  codec
	url    string
	server *http.Server
	served chan struct{}

	mu      sync.Mutex
	scripts map[providers.Op][]Step
	calls   map[count]int
	effects map[count]int
	books   map[string]Payment
	nonces  int
	asked   []time.Time // the queries of late
	silent  time.Time   // until then every query is refused
	bans    int
	clients []*httpx.Client // closed by Close
}

type count struct {
	op        providers.Op
	attemptNo string
}

// StartTwin is NewTwin for a test, which it fails or closes the twin after.
func StartTwin(t testing.TB, c TwinConfig) *Twin {
	t.Helper()
	twin, err := NewTwin(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(twin.Close)
	return twin
}

// NewTwin listens and serves until Close.
func NewTwin(c TwinConfig) (*Twin, error) {
	if c.Now == nil {
		return nil, errors.New("providertest: a twin needs a clock")
	}
	if c.Environment == "" {
		c.Environment = providers.Demo
	}
	if c.Secret.IsZero() {
		c.Secret = signing.NewSecret([]byte("published: for tests only"))
	}
	codec, err := newCodec(c.Secret)
	if err != nil {
		return nil, fmt.Errorf("providertest: secret: %w", err)
	}
	t := &Twin{
		config: c, codec: codec, scripts: make(map[providers.Op][]Step), calls: make(map[count]int),
		effects: make(map[count]int), books: make(map[string]Payment), served: make(chan struct{}),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/{op}", t.api)
	mux.HandleFunc("POST /order", t.order)
	mux.HandleFunc("GET /checkout/{attempt}", t.checkout)
	if t.server, t.url, err = serve(c.Listener, mux, t.served); err != nil {
		return nil, err
	}
	return t, nil
}

// serve serves on l, or on a free port of loopback when l is nil, and closes done at the end.
func serve(l net.Listener, h http.Handler, done chan<- struct{}) (*http.Server, string, error) {
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, "", fmt.Errorf("providertest: %w", err)
		}
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with ErrServerClosed
	}()
	return server, "http://" + l.Addr().String(), nil
}

// URL is the twin's origin.
func (t *Twin) URL() string { return t.url }

// Adapter makes an adapter that talks to this twin, with the twin's secret and clock; it gives up on a call that is not
// answered within wait (zero: 15 s). c needs no more than what is to differ from the defaults.
func (t *Twin) Adapter(c Config, wait time.Duration) (*Scripted, error) {
	client, err := httpx.New(httpx.Config{Name: ScriptedName, BaseURL: t.url, Network: httpx.Loopback, HeaderTimeout: wait},
		httpx.Deps{Now: t.config.Now, Rand: func() uint64 { return 0 }})
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.clients = append(t.clients, client)
	t.mu.Unlock()
	c.URL, c.Secret = t.url, t.config.Secret
	return NewScripted(c, Deps{HTTP: client, Now: t.config.Now})
}

// Close ends the server and every hanging call.
func (t *Twin) Close() {
	_ = t.server.Close()
	<-t.served
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.clients {
		c.Close()
	}
}

// Script appends steps for the next calls of op. After the last one the twin behaves.
func (t *Twin) Script(op providers.Op, steps ...Step) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.scripts[op] = append(t.scripts[op], steps...)
}

// Calls is how many genuine calls of op for an attempt have arrived.
func (t *Twin) Calls(op providers.Op, attemptNo string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls[count{op, attemptNo}]
}

// Effects is how many of them were carried out: two confirms of one attempt are a double charge.
func (t *Twin) Effects(op providers.Op, attemptNo string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.effects[count{op, attemptNo}]
}

// Books is a copy of all payments, by attempt number.
func (t *Twin) Books() map[string]Payment {
	t.mu.Lock()
	defer t.mu.Unlock()
	books := maps.Clone(t.books)
	for no, p := range books {
		p.Refunds = slices.Clone(p.Refunds)
		books[no] = p
	}
	return books
}

// Set puts a payment into a state: what the payer, or time, does at the provider. It
// reports whether the twin knows the payment.
func (t *Twin) Set(attemptNo, state string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.books[attemptNo]
	if ok {
		t.books[attemptNo] = t.moved(p, state)
	}
	return ok
}

func (t *Twin) moved(p Payment, state string) Payment {
	p.State = state
	if state == StatePaid && p.PaidAt.IsZero() {
		p.PaidAt = t.config.Now()
	}
	return p
}

// Visit follows a redirect as a browser would, without HTTP, and leaves the payment in
// state; an empty state changes nothing. A signature that is wrong is an error.
func (t *Twin) Visit(r providers.Redirect, state string) error {
	attemptNo, ok := strings.CutPrefix(r.URL, t.url+"/checkout/")
	if r.URL == t.url+"/order" && r.Method == http.MethodPost {
		var err error
		if attemptNo, err = t.accept(r.Fields["order"], r.Fields["sig"]); err != nil {
			return err
		}
	} else if !ok || r.Method != http.MethodGet {
		return fmt.Errorf("providertest: %s %s does not lead to this twin", r.Method, r.URL)
	}
	if state != "" && !t.Set(attemptNo, state) {
		return fmt.Errorf("providertest: no payment %s", attemptNo)
	}
	return nil
}

// accept books a signed form. The same order again is the same payment.
func (t *Twin) accept(text, sig string) (attemptNo string, err error) {
	if err := t.codec.verify(orderText(text), sig, t.config.Now()); err != nil {
		return "", fmt.Errorf("providertest: order refused: %w", err)
	}
	body, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", errors.New("providertest: order is not base64url")
	}
	var o order
	if err := unmarshal(body, &o); err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.book(o)
	return o.AttemptNo, nil
}

func (t *Twin) book(o order) {
	if _, ok := t.books[o.AttemptNo]; ok {
		return
	}
	t.books[o.AttemptNo] = Payment{
		AttemptNo: o.AttemptNo, Payee: o.Payee, Payer: o.Payer, Amount: o.Amount, Currency: o.Currency, State: StateCreated,
		TradeNo: "T" + o.AttemptNo, CallbackURL: o.CallbackURL, ReturnURL: o.ReturnURL,
	}
}

func (t *Twin) order(w http.ResponseWriter, r *http.Request) {
	if _, err := t.accept(r.PostFormValue("order"), r.PostFormValue("sig")); err != nil {
		http.Error(w, "refused", http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, "order")
}

func (t *Twin) checkout(w http.ResponseWriter, r *http.Request) {
	if _, ok := t.Books()[r.PathValue("attempt")]; !ok {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, "checkout")
}

// api answers one call.
func (t *Twin) api(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	op := providers.Op(r.PathValue("op"))
	nonce, _, err := t.codec.open(string(op), r.URL.EscapedPath(), r.Header, body, t.config.Now())
	if err != nil {
		t.reply(w, op, r.Header.Get(headerNonce), Message{Code: providers.Auth.String()}, http.StatusUnauthorized)
		return
	}
	var asked request
	_ = json.Unmarshal(body, &asked) // every body has the attempt number; a signed one is ours
	step := t.next(op, asked.AttemptNo)
	if op == providers.OpQuery && t.banned(t.config.Now()) {
		step = Step{Answer: Limited}
	}
	known := true
	if step.Do {
		known = t.do(op, body, asked)
	}
	if step.Before != nil {
		step.Before(asked.AttemptNo)
	}
	t.answer(w, r, op, nonce, asked.AttemptNo, step, known)
}

// banned counts a query and says whether it is one too many.
func (t *Twin) banned(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.config.Ban
	if b.Most == 0 {
		return false
	}
	t.asked = append(slices.DeleteFunc(t.asked, func(at time.Time) bool { return now.Sub(at) >= b.In }), now)
	if !now.Before(t.silent) && len(t.asked) <= b.Most {
		return false
	}
	if !now.Before(t.silent) {
		t.bans++
		t.silent = now.Add(b.For)
	}
	return true
}

// Bans is how often somebody asked too often.
func (t *Twin) Bans() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bans
}

func (t *Twin) next(op providers.Op, attemptNo string) Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls[count{op, attemptNo}]++
	script := t.scripts[op]
	if len(script) == 0 {
		return Step{Do: true}
	}
	t.scripts[op] = script[1:]
	return script[0]
}

// do carries a call out and reports whether there was something to do it to.
func (t *Twin) do(op providers.Op, body []byte, asked request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if op == providers.OpCreate {
		var o order
		if unmarshal(body, &o) != nil {
			return false
		}
		t.book(o)
	}
	p, ok := t.books[asked.AttemptNo]
	if !ok {
		return false
	}
	t.effects[count{op, asked.AttemptNo}]++
	switch op {
	case providers.OpConfirm:
		p = t.moved(p, StatePaid)
	case providers.OpRefund:
		no := "R" + p.AttemptNo + "-" + strconv.Itoa(len(p.Refunds)+1)
		p.Refunds = append(slices.Clone(p.Refunds), RefundEntry{RefundID: asked.RefundID, No: no, Amount: asked.Amount, State: "done"})
	case providers.OpCreate, providers.OpQuery, providers.OpCallback:
	}
	t.books[p.AttemptNo] = p
	return true
}

func (t *Twin) answer(w http.ResponseWriter, r *http.Request, op providers.Op, nonce, attemptNo string, step Step, known bool) {
	m, status := t.message(attemptNo), http.StatusOK
	if _, booked := t.Books()[attemptNo]; !known || !booked && op != providers.OpCreate {
		m, status = Message{Code: providers.NotFound.String()}, http.StatusNotFound
	}
	switch step.Answer {
	case Ok:
	case Decline:
		m, status = Message{Code: providers.Declined.String()}, http.StatusUnprocessableEntity
	case Missing:
		m, status = Message{Code: providers.NotFound.String()}, http.StatusNotFound
	case Limited:
		m, status = Message{Code: providers.RateLimited.String()}, http.StatusTooManyRequests
	case Drop:
		drop(w)
		return
	case Hang:
		<-r.Context().Done() // also when the server closes
		drop(w)
		return
	case Status500:
		html(w, http.StatusInternalServerError)
		return
	case Garbage:
		_, _ = io.WriteString(w, "}{ not what was agreed on")
		return
	case Forged:
		nonce += "-another"
	}
	if step.Change != nil {
		step.Change(&m)
	}
	t.reply(w, op, nonce, m, status)
}

func drop(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func html(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<html><body>something of a proxy</body></html>")
}

func (t *Twin) reply(w http.ResponseWriter, op providers.Op, nonce string, m Message, status int) {
	body, err := json.Marshal(m)
	if err != nil {
		drop(w)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(headerSignature, t.codec.tag(answerText(op, nonce, status, body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// message is the truth about a payment.
func (t *Twin) message(attemptNo string) Message {
	p, ok := t.Books()[attemptNo]
	if !ok {
		p = Payment{AttemptNo: attemptNo, State: StateCreated, TradeNo: "T" + attemptNo}
	}
	m := Message{
		AttemptNo: p.AttemptNo, Environment: string(t.config.Environment), Payee: p.Payee, State: p.State,
		Amount: p.Amount, Currency: p.Currency, TradeNo: p.TradeNo, Refunds: p.Refunds,
	}
	if p.State == StatePaid {
		m.PaidAt = p.PaidAt.Format(time.RFC3339)
	}
	return m
}

// Callback is a signed notice of what the books say, after the changes: to hand to the
// adapter. Each has a new nonce, and the path of the payment's callback URL.
func (t *Twin) Callback(attemptNo string, changes ...func(*Message)) (providers.RawCallback, error) {
	m, path := t.message(attemptNo), "/callbacks/scripted"
	if p := t.Books()[attemptNo]; p.CallbackURL != "" {
		u, err := url.Parse(p.CallbackURL)
		if err != nil {
			return providers.RawCallback{}, fmt.Errorf("providertest: callback URL: %w", err)
		}
		path = u.EscapedPath()
	}
	for _, change := range changes {
		change(&m)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return providers.RawCallback{}, fmt.Errorf("providertest: notice: %w", err)
	}
	t.mu.Lock()
	t.nonces++
	nonce := "notice-" + strconv.Itoa(t.nonces)
	t.mu.Unlock()
	now := t.config.Now()
	return providers.RawCallback{
		Channel: providers.ChannelServer, Method: http.MethodPost, Path: path,
		Header: t.codec.seal("notice", nonce, path, body, now), Body: body, ReceivedAt: now,
	}, nil
}

// Deliver posts a callback to the gateway whose edge is at origin, scheme://host:port,
// and returns its answer. It sends the same bytes each time it is called.
func (t *Twin) Deliver(ctx context.Context, client *http.Client, origin string, raw providers.RawCallback) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, raw.Method, origin+raw.Path, bytes.NewReader(raw.Body))
	if err != nil {
		return 0, nil, fmt.Errorf("providertest: deliver: %w", err)
	}
	req.Header = raw.Header.Clone()
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("providertest: deliver: %w", err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, body, err
}
