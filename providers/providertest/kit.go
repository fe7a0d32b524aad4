// Package providertest proves adapters, and stands in for one.
//
// Run is the conformance kit: named checks of what the contract in package providers
// promises. An adapter's test gives a Harness, which speaks the provider's side with
// code of its own. A power that an adapter does not have is skipped by name.
//
// Scripted is an adapter of a provider that does not exist and Twin is that provider,
// over real HTTP: for tests of the router, the store and crashes. The two share their
// wire code, so together they prove nothing about signing.
package providertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/signing"
)

// Target is what an adapter under test is made with. The kit owns HTTP.
type Target struct {
	URL  string        // of the provider's API: scheme://host:port
	HTTP *httpx.Client // leads there; its pauses between questions are zero
	Now  func() time.Time
}

// Reply answers one request of the adapter as the provider would. body is the request's.
type Reply func(w http.ResponseWriter, r *http.Request, body []byte)

// Request is one request of the adapter, as it arrived.
type Request struct {
	Method, Path, RawQuery string
	Header                 http.Header
	Body                   []byte
}

// Harness is everything the kit cannot know about a provider.
type Harness struct {
	// New makes the adapter. It is called often; each value must be a new one.
	New         func(Target) (providers.Provider, error)
	Now         time.Time // when callbacks and answers below are genuine
	Environment providers.Environment
	Order       providers.CreateRequest // one that the adapter accepts
	Pointer     string                  // of the provider's own, with which Order's attempt is asked about; empty: without
	Secrets     []string                // that must never be shown

	// Signed gives the bytes of a create that lie under its signature, decoded. sent is
	// the request of a server create and nil for a form post.
	Signed func(r providers.Redirect, sent *Request) ([]byte, error)
	// Vectors are golden vectors by name, each checked against the adapter.
	Vectors map[string]func(providers.Provider) error
	// Unbound lists what the provider's messages do not carry, of "amount", "merchant"
	// and "environment".
	Unbound []string
	// Before tells what an operation sends first, by operation: requests that change nothing, such as one for a nonce. They
	// do not count as the operation's one send.
	Before map[providers.Op]Before

	Callbacks Callbacks
	Answers   Answers
}

// Before is a request that comes before the one that counts, and its answer.
type Before struct {
	Is    func(Request) bool
	Reply Reply
}

// Callbacks describes what the provider sends. It is needed for a CallbackDecoder.
// Every func makes a new value.
type Callbacks struct {
	// Paid is genuine and says that Order was paid; nil when the provider signs nothing.
	Paid func() providers.RawCallback
	// Unknown is genuine, with a state that no document lists.
	Unknown func() providers.RawCallback
	// Forged must be refused. "wrong key" must be among them.
	Forged map[string]func() providers.RawCallback
	// Hints are unsigned and must not carry a snapshot. An error is fine.
	Hints map[string]func() providers.RawCallback
	// Echo makes callbacks out of the bytes of an order that we signed.
	Echo func(providers.Redirect, *Request) []providers.RawCallback

	// Unbound is as Harness.Unbound, for what callbacks alone do not carry.
	Unbound []string
	// FieldSigned says that the signature covers fields of a form, in the body or in the query string, and not its bytes:
	// another spelling of the same fields, or a change of one that is not under the signature, gives the same notice.
	FieldSigned bool
	// Pointers are unsigned messages that name a payment by the provider's own token, with that token.
	Pointers map[string]func() (providers.RawCallback, string)

	Headers    []string                           // those that carry the signature or lie under it
	PathSigned bool                               // the path lies under the signature
	Tolerance  time.Duration                      // of the stamp; zero: the scheme has none
	Nonce      func(providers.RawCallback) string // nil: the scheme has none
	Acks       map[providers.Verdict]providers.Ack
}

// Answers describes how the provider answers calls.
type Answers struct {
	Create  Reply // of a server create; nil for a form post
	Paid    Reply // to a query: Order was paid
	Unknown Reply // to a query, genuine, with a state that no document lists
	Confirm Reply // Order is paid now; nil without that power
	Refund  Reply // done; nil without that power
	// RefundQueued says that Refund means accepted: a query tells when it is done.
	RefundQueued bool

	// Code answers a call with an error code of the provider, as the provider sends it. Nil:
	// the provider has none.
	Code func(code string) Reply
	// Codes is what each documented code means, for every operation that calls the provider:
	// a code that says "certainly not carried out" to a query may not say so to a refund.
	Codes map[providers.Op]map[string]providers.Kind

	Signature []string // headers of an answer that carry its signature, with AnswerMAC
}

// Run runs every check as a subtest.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			err := c.against(h)
			var skip skipped
			if errors.As(err, &skip) {
				t.Skip(err)
			}
			name := h.name()
			list, errList := parseExceptions(exceptionsFile)
			if err = errors.Join(errList, excused(list, name, c.name, err)); errors.As(err, &skip) {
				t.Skip(err)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// check is one promise of the contract. It does not know testing, so that broken
// adapters can be shown to fail it.
type check struct {
	name    string
	promise string
	run     func(*subject) error
}

// Check is a check of the kit, for those who show what it found.
type Check struct{ Name, Promise string }

// Checks are all checks, in the order in which they run.
func Checks() []Check {
	var all []Check
	for _, c := range checks() {
		all = append(all, Check{c.name, c.promise})
	}
	return all
}

// skipped says why a check does not apply.
type skipped string

func (s skipped) Error() string { return string(s) }

func checks() []check {
	return slices.Concat(createChecks(), callbackChecks(), answerChecks(), moneyChecks(), wholeChecks())
}

// against runs the check on its own provider side.
func (c check) against(h Harness) (err error) {
	if err := h.complete(); err != nil {
		return err
	}
	s, err := newSubject(h)
	if err != nil {
		return err
	}
	defer s.close()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the adapter panics: %v", r)
		}
	}()
	return c.run(s)
}

func (h Harness) complete() error {
	if h.New == nil || h.Now.IsZero() || h.Environment == "" || h.Signed == nil || h.Answers.Paid == nil || h.Answers.Unknown == nil {
		return errors.New("harness: New, Now, Environment, Signed, Answers.Paid and Answers.Unknown are required")
	}
	return nil
}

// subject is one adapter under test and the provider's server, which answers with the
// current reply and keeps what arrived.
type subject struct {
	h       Harness
	url     string
	client  *httpx.Client
	adapter providers.Provider

	server *http.Server
	served chan struct{}

	mu     sync.Mutex
	reply  Reply
	before Before
	seen   []Request // without those that came before
}

func newSubject(h Harness) (*subject, error) {
	s := &subject{h: h, served: make(chan struct{})}
	var err error
	if s.server, s.url, err = serve(nil, http.HandlerFunc(s.answer), s.served); err != nil {
		return nil, err
	}
	if s.adapter, s.client, err = s.adapterAt(s.url); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *subject) adapterAt(url string) (providers.Provider, *httpx.Client, error) {
	now := func() time.Time { return s.h.Now }
	client, err := httpx.New(httpx.Config{Name: "provider", BaseURL: url, Network: httpx.Loopback}, httpx.Deps{Now: now, Rand: func() uint64 { return 0 }})
	if err != nil {
		return nil, nil, err
	}
	adapter, err := s.h.New(Target{URL: url, HTTP: client, Now: now})
	return adapter, client, err
}

func (s *subject) close() {
	_ = s.server.Close()
	<-s.served
	if s.client != nil {
		s.client.Close()
	}
}

func (s *subject) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	arrived := Request{Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Header: r.Header.Clone(), Body: body}
	s.mu.Lock()
	reply := s.reply
	if s.before.Is != nil && s.before.Is(arrived) {
		reply = s.before.Reply
	} else {
		s.seen = append(s.seen, arrived)
	}
	s.mu.Unlock()
	if reply == nil {
		html(w, http.StatusNotFound)
		return
	}
	reply(w, r, body)
}

// with sets the reply to come to an operation and forgets what arrived.
func (s *subject) with(op providers.Op, r Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply, s.before, s.seen = r, s.h.Before[op], nil
}

func (s *subject) arrived() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// limit bounds every call of a check; nothing waits for it unless an adapter hangs.
const limit = 30 * time.Second

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}

// create runs a create and gives what it sent, nil when nothing.
func (s *subject) create(req providers.CreateRequest) (providers.Created, *Request, error) {
	ctx, cancel := within()
	defer cancel()
	s.with(providers.OpCreate, s.h.Answers.Create)
	created, err := s.adapter.Create(ctx, req)
	seen := s.arrived()
	if err != nil || len(seen) == 0 {
		return created, nil, err
	}
	return created, &seen[0], nil
}

// attempt is Order's attempt, with the refs that a create gave.
func (s *subject) attempt() (providers.AttemptRef, error) {
	o := s.h.Order
	created, _, err := s.create(o)
	if err != nil {
		return providers.AttemptRef{}, fmt.Errorf("create: %w", err)
	}
	return providers.AttemptRef{
		AttemptNo: o.AttemptNo, Account: "kit", Amount: o.Total, PayeeMemberID: o.Merchant.PayeeMemberID,
		Refs: created.Refs, CreatedAt: o.CreatedAt, HandedAt: o.CreatedAt, Pointer: s.h.Pointer,
	}, nil
}

// operation is a call of the contract with its arguments, so that checks can be shared.
type operation struct {
	op   providers.Op
	good Reply
	call func(context.Context, providers.Provider) error
}

// alone is err, unless a decided result came with it.
func alone(err error, decided bool) error {
	if err != nil && decided {
		return errors.New("a result came with an error")
	}
	return err
}

func (s *subject) serverCreate(providers.AttemptRef) (operation, bool) {
	return operation{providers.OpCreate, s.h.Answers.Create, func(ctx context.Context, p providers.Provider) error {
		created, err := p.Create(ctx, s.h.Order)
		return alone(err, created.Redirect.URL != "")
	}}, s.h.Answers.Create != nil
}

func (s *subject) query(ref providers.AttemptRef) (operation, bool) {
	return operation{providers.OpQuery, s.h.Answers.Paid, func(ctx context.Context, p providers.Provider) error {
		snap, err := p.Query(ctx, ref)
		return alone(err, snap.State != providers.Pending)
	}}, true
}

func (s *subject) confirm(ref providers.AttemptRef) (operation, bool) {
	_, able := s.adapter.(providers.Confirmer)
	return operation{providers.OpConfirm, s.h.Answers.Confirm, func(ctx context.Context, p providers.Provider) error {
		c, ok := p.(providers.Confirmer)
		if !ok {
			return errors.New("no confirmer")
		}
		snap, err := c.Confirm(ctx, providers.ConfirmRequest{Attempt: ref})
		return alone(err, snap.State != providers.Pending)
	}}, able
}

func (s *subject) refund(ref providers.AttemptRef) (operation, bool) {
	_, able := s.adapter.(providers.Refunder)
	return operation{providers.OpRefund, s.h.Answers.Refund, func(ctx context.Context, p providers.Provider) error {
		r, ok := p.(providers.Refunder)
		if !ok {
			return errors.New("no refunder")
		}
		result, err := r.Refund(ctx, refundOf(ref))
		return alone(err, result.State != providers.RefundPending)
	}}, able
}

// refundOf is a full refund of an attempt.
func refundOf(ref providers.AttemptRef) providers.RefundRequest {
	return providers.RefundRequest{Attempt: ref, RefundID: "R-1", Amount: ref.Amount, Reason: "kit"}
}

// power is one operation, and whether the adapter has it.
type power func(*subject, providers.AttemptRef) (operation, bool)

// operations are the calls with which the adapter turns to the provider.
func (s *subject) operations() ([]operation, error) {
	ref, err := s.attempt()
	if err != nil {
		return nil, err
	}
	var all []operation
	for _, one := range []power{(*subject).serverCreate, (*subject).query, (*subject).confirm, (*subject).refund} {
		if o, able := one(s, ref); able {
			all = append(all, o)
		}
	}
	return all, nil
}

// typed asserts that err is the adapter's own error of op, and of one of the kinds
// when any is given.
func (s *subject) typed(err error, op providers.Op, kinds ...providers.Kind) error {
	var e *providers.Error
	switch {
	case err == nil:
		return fmt.Errorf("%s: no error", op)
	case !errors.As(err, &e):
		return fmt.Errorf("%s: not a *providers.Error: %w", op, err)
	case e.Provider != s.adapter.Describe().Name || e.Op != op:
		return fmt.Errorf("%s: the error names provider %q and operation %q", op, e.Provider, e.Op)
	case len(kinds) > 0 && !slices.Contains(kinds, e.Kind):
		return fmt.Errorf("%s: kind %s, want %v: %w", op, e.Kind.String(), kinds, err)
	}
	return nil
}

// bound asserts that a snapshot carries what the router binds to its own record.
func (s *subject) bound(snap providers.Snapshot, unbound ...string) error {
	var wrong []string
	carries := func(what string, right bool) {
		if !right && !slices.Contains(s.h.Unbound, what) && !slices.Contains(unbound, what) {
			wrong = append(wrong, what)
		}
	}
	carries("state paid", snap.State == providers.Paid)
	carries("amount", snap.Amount != nil && *snap.Amount == s.h.Order.Total)
	carries("merchant", snap.MerchantRef == s.h.Order.Merchant.PayeeMemberID)
	carries("environment", snap.Environment == s.h.Environment)
	carries("time of payment", !snap.PaidAt.IsZero())
	carries("trade number", snap.ProviderTradeNo != "")
	carries("no unmapped code", snap.Unmapped == "")
	if len(wrong) > 0 {
		return fmt.Errorf("the snapshot lacks %s: %+v", strings.Join(wrong, ", "), snap)
	}
	return nil
}

// undecided asserts that a state outside the documents decides nothing and is counted.
func undecided(snap providers.Snapshot) error {
	if snap.State != providers.Pending || snap.Next != providers.NextNothing || snap.Unmapped == "" {
		return fmt.Errorf("an unknown state must be pending and unmapped, got %s, unmapped %q", snap.State, snap.Unmapped)
	}
	return nil
}

// nobody is the URL of a port at which nobody listens.
func nobody() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return "http://" + l.Addr().String(), l.Close()
}

// other is Order with another payee, payer, number and total, all easy to find.
func (h Harness) other() (providers.CreateRequest, error) {
	o := h.Order
	total, err := money.FromUnits(98765, o.Total.Currency())
	if err != nil {
		return o, err
	}
	line := o.Lines[0]
	line.Quantity, line.UnitPrice, line.Subtotal = 1, total, total
	o.Lines, o.Total = []providers.BillLine{line}, total
	o.Merchant.PayeeMemberID, o.PayerMemberID = "7790001", "8800042"
	o.AttemptNo = o.AttemptNo[:len(o.AttemptNo)-2] + "87"
	return o, nil
}

func fileVectors(file []byte, schemes []signing.Scheme) (map[string]func(providers.Provider) error, error) {
	results, err := providers.CheckVectors(file, schemes)
	if err != nil {
		return nil, err
	}
	checks := make(map[string]func(providers.Provider) error, len(results))
	for _, r := range results {
		checks[r.ID] = func(providers.Provider) error {
			if !r.Pass {
				return fmt.Errorf("expected %v, got %v: %s", r.Expected, r.Got, r.Err)
			}
			return nil
		}
	}
	return checks, nil
}

// Order is an order of the kit's, with a payee as the provider knows it.
func Order(t testing.TB, payee string, at time.Time) providers.CreateRequest {
	t.Helper()
	twenty, errOne := money.FromUnits(20, money.TWD)
	forty, errAll := money.FromUnits(40, money.TWD)
	if err := errors.Join(errOne, errAll); err != nil {
		t.Fatal(err)
	}
	line := func(bill string) providers.BillLine {
		return providers.BillLine{BillNo: bill, Name: "停車費", Quantity: 1, UnitPrice: twenty, Subtotal: twenty}
	}
	return providers.CreateRequest{
		OrderNo: "2017061300000016", AttemptNo: "201706130000001601",
		Merchant:      providers.Merchant{Code: "pma", Name: "臺北市停車管理工程處", PayeeMemberID: payee},
		PayerMemberID: "1361049", Total: forty, Methods: []string{"credit_card"}, Settlement: providers.Immediate,
		Lines:     []providers.BillLine{line("H60983881309263"), line("H61283631217536")},
		CreatedAt: at, ExpiresAt: at.Add(10 * time.Minute),
		ReturnURL: "https://gw.pay.taipei/r/7Zk2", CallbackURL: "https://gw.pay.taipei/callbacks/main/7Zk2",
	}
}

// Ask makes the query that a harness makes, with another answer: for what an adapter's own tests want to know of its reading.
func Ask(h Harness, answer Reply) (providers.Snapshot, error) {
	s, err := newSubject(h)
	if err != nil {
		return providers.Snapshot{}, err
	}
	defer s.close()
	return s.ask(answer)
}

// Start makes a harness's adapter and the provider's side that answers every request alike, until done. ctx is for its calls.
func Start(h Harness, answer Reply) (ctx context.Context, p providers.Provider, done func(), err error) {
	s, err := newSubject(h)
	if err != nil {
		return nil, nil, nil, err
	}
	s.with("", answer)
	ctx, cancel := within()
	return ctx, s.adapter, func() { cancel(); s.close() }, nil
}
