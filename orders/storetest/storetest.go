// Package storetest is the suite that every orders.Store passes.
//
// It knows the Store only by its contract: each case opens a fresh database, calls verbs
// and judges what they return and what another process then reads. Cases that race use
// two stores on one database, as two replicas do.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// Harness makes a fresh, empty, migrated database and returns a function that opens a
// store on it. Each call of that function is another process: what it opens shares
// nothing with the others but the database. The harness closes what it opened when the
// test ends.
type Harness func(t testing.TB) (open func() orders.Store)

// Run runs every case of the suite but Converge, each as a named subtest.
func Run(t *testing.T, fresh Harness) {
	t.Helper()
	for _, group := range []struct {
		name  string
		cases map[string]func(*world)
	}{
		{"numbers", numbers}, {"place", placing}, {"bills", bills}, {"create", creating}, {"resume", resuming},
		{"attempt", adding}, {"cancel", cancelling}, {"apply", applying}, {"orphan", orphans}, {"hand", handing}, {"call", calling},
		{"refund", refunding}, {"settle", settling}, {"query", querying}, {"pace", pacing}, {"case", judging}, {"control", controlling},
		{"delivery", delivering}, {"feed", feeding}, {"read", reading},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, name := range slices.Sorted(maps.Keys(group.cases)) {
				t.Run(name, func(t *testing.T) { group.cases[name](newWorld(t, fresh)) })
			}
		})
	}
}

const (
	client  = "core"
	route   = "POST /v1/orders"
	account = "bravobank-main"
	payee   = "1136549"
)

// The order of the platform's own guide: two parking bills of NT$20.
const (
	bill1 = "H60983881309263"
	bill2 = "H61283631217536"
	bill3 = "H61283631217537"
)

var (
	placedAt  = time.Date(2017, 6, 13, 1, 0, 0, 0, time.UTC) // 09:00 in Taipei
	expiresAt = placedAt.Add(10 * time.Minute)
	inTime    = placedAt.Add(time.Minute)
	tooLate   = expiresAt.Add(time.Hour)
	lease     = 30 * time.Second
)

// world is one database with two processes on it, and everything a case says and asks.
type world struct {
	testing.TB
	ctx    context.Context
	open   func() orders.Store
	stores [2]orders.Store
	drawn  atomic.Int64
}

func newWorld(t testing.TB, fresh Harness) *world {
	open := fresh(t)
	return &world{TB: t, ctx: t.Context(), open: open, stores: [2]orders.Store{open(), open()}}
}

// store is the process that the i-th of several workers uses.
func (w *world) store(i int) orders.Store { return w.stores[i%len(w.stores)] }

// again repeats a verb while the store says that it cannot tell what came of it.
func again(verb func() error) error {
	var err error
	for range 20 {
		if err = verb(); !errors.Is(err, orders.ErrUnavailable) {
			return err
		}
	}
	return err
}

// parallel runs do n times at once and returns the errors in the order of i.
func parallel(n int, do func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			<-start
			errs[i] = again(func() error { return do(i) })
		})
	}
	close(start)
	done.Wait()
	return errs
}

// ok ends the case when an error is not nil.
func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// is ends the case when an error is not the one that the contract names.
func (w *world) is(err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Fatalf("error %v, want %v", err, want)
	}
}

// billError ends the case when an error is not about the bill in the way expected.
func (w *world) billError(err error, bill string, paid bool) orders.BillError {
	w.Helper()
	var b *orders.BillError
	if !errors.As(err, &b) || b.BillNo != bill || b.Paid != paid {
		w.Fatalf("error %v (%+v), want a bill error of %s, paid %v", err, b, bill, paid)
	}
	return *b
}

func twd(units int64) money.Amount {
	a, err := money.FromUnits(units, money.TWD)
	if err != nil {
		return money.Amount{} // of no currency: no order can be placed with it
	}
	return a
}

// placement is an order of a form-post provider for the given bills, not yet placed.
// Its redirect goes out with the answer.
func (w *world) placement(billNos ...string) orders.Placement {
	w.Helper()
	no, err := w.stores[0].DrawOrderNo(w.ctx, placedAt)
	w.ok(err)
	n := w.drawn.Add(1)
	total := twd(20 * int64(len(billNos)))
	o := orders.Order{
		No: no, ClientID: client, ClientReference: fmt.Sprintf("reference-%d", n), Merchant: "pma", PayerMemberID: "1361049",
		Provider: "bravobank", Methods: []string{"credit_card", "deposit_account"}, Settlement: "immediate",
		Amount: total, Fee: twd(0), Total: total, ReturnURL: "https://pay.taipei/result", PayToken: fmt.Sprintf("pay-%d", n),
		CreatedAt: placedAt, ExpiresAt: expiresAt,
	}
	for _, b := range billNos {
		o.Lines = append(o.Lines, orders.BillLine{BillNo: b, Name: "停車費", Quantity: 1, UnitPrice: twd(20), Subtotal: twd(20)})
	}
	a := w.attempt(&o, 1)
	a.State, a.HandedAt = orders.AttemptPending, placedAt
	a.Redirect = &orders.Redirect{Method: "POST", URL: "https://bank.example/pay", Fields: map[string]string{"order": "a&b=<c>", "sig": "停"}}
	a.Refs = map[string]string{"k": "v"}
	o.Attempts = []orders.Attempt{a}
	return orders.Placement{
		Key:         orders.KeyRef{ClientID: client, Route: route, Key: fmt.Sprintf("key-%013d", n)},
		Fingerprint: [32]byte{byte(n), byte(n >> 8), 0xff},
		Order:       o,
		Answer:      answer,
	}
}

// attempt is an attempt that has not left us.
func (w *world) attempt(o *orders.Order, ordinal int) orders.Attempt {
	w.Helper()
	no, err := orders.NewAttemptNo("", o.No, ordinal)
	w.ok(err)
	return orders.Attempt{
		No: no, Ordinal: ordinal, Account: account, Provider: "bravobank", Environment: "sandbox", PayeeMemberID: payee,
		Token: "t" + string(no), State: orders.AttemptIntent, CreatedAt: placedAt, QueryAt: expiresAt.Add(time.Minute),
	}
}

// answer is bytes from which one can tell the order as it was committed.
func answer(o *orders.Order) (int, []byte, error) {
	return 201, fmt.Appendf(nil, "%s %s version %d\x00\xff", o.No, o.State, o.Version), nil
}

// key is the idempotency key of a request about an order, whose lease is dead after a while.
func (w *world) key(name string) *orders.NewKey {
	return &orders.NewKey{
		Ref:         orders.KeyRef{ClientID: client, Route: route + "/{no}/requests", Key: name},
		Fingerprint: [32]byte{1, 2, 3}, LeaseUntil: inTime.Add(lease),
	}
}

// answered ends the case unless the answer to a request is stored under its key as it was rendered from an order.
func (w *world) answered(k *orders.NewKey, o *orders.Order) {
	w.Helper()
	row, err := w.stores[1].LookKey(w.ctx, k.Ref)
	w.ok(err)
	_, body, _ := answer(o)
	if !row.Done || row.Status != 201 || string(row.Answer) != string(body) || row.OrderNo != o.No || row.Fingerprint != k.Fingerprint {
		w.Fatalf("key %+v, want the answer %q", row, body)
	}
}

// unused ends the case when anything is stored under a key.
func (w *world) unused(k *orders.NewKey) {
	w.Helper()
	_, err := w.stores[1].LookKey(w.ctx, k.Ref)
	w.is(err, orders.ErrNotFound)
}

// clicked makes a placement one whose redirect is signed at the click.
func clicked(p orders.Placement) orders.Placement {
	a := &p.Order.Attempts[0]
	a.State, a.HandedAt, a.Redirect, a.Refs = orders.AttemptIntent, time.Time{}, nil, nil
	return p
}

// created makes a placement one of a provider at which the order must be made by a call first.
func created(p orders.Placement) orders.Placement {
	p = clicked(p)
	p.Answer, p.LeaseUntil = nil, placedAt.Add(lease)
	return p
}

// shift moves a placement in time.
func shift(p orders.Placement, by time.Duration) orders.Placement {
	o := &p.Order
	o.CreatedAt, o.ExpiresAt = o.CreatedAt.Add(by), o.ExpiresAt.Add(by)
	if !p.LeaseUntil.IsZero() {
		p.LeaseUntil = p.LeaseUntil.Add(by)
	}
	a := &o.Attempts[0]
	a.CreatedAt, a.QueryAt = a.CreatedAt.Add(by), a.QueryAt.Add(by)
	if !a.HandedAt.IsZero() {
		a.HandedAt = a.HandedAt.Add(by)
	}
	return p
}

// place commits a placement.
func (w *world) place(p orders.Placement) orders.Order {
	w.Helper()
	o, err := w.stores[0].Place(w.ctx, p)
	w.ok(err)
	return o
}

// said is authentic evidence about an attempt that agrees with our record.
func said(o *orders.Order, ordinal int, s orders.AttemptState, at time.Time) orders.Evidence {
	a := o.Attempts[ordinal-1]
	e := orders.Evidence{
		Source: orders.SourceCallback, Account: a.Account, AttemptNo: a.No, ReceivedAt: at,
		Fact: &orders.Fact{State: s, PayeeMemberID: a.PayeeMemberID, Environment: a.Environment, Refs: map[string]string{"s": s.String()}},
		Raw:  orders.Raw{Line: "POST /callbacks/" + a.Account, Header: "Bravo-Kid: 1\n", Body: []byte("{\"raw\":\"\x00\xff\"}")},
	}
	if s == orders.AttemptPaid {
		total := o.Total
		e.Fact.Amount, e.Fact.Method, e.Fact.PaidAt, e.Fact.ProviderTradeNo = &total, "deposit_account", inTime, "T"+string(a.No)
	}
	return e
}

// wrong is a payment of one dollar too much.
func wrong(o *orders.Order, at time.Time) orders.Evidence {
	e := said(o, 1, orders.AttemptPaid, at)
	more := twd(o.Total.Units() + 1)
	e.Fact.Amount = &more
	return e
}

// apply commits evidence.
func (w *world) apply(e orders.Evidence) orders.Applied {
	w.Helper()
	applied, err := w.stores[0].Apply(w.ctx, e)
	w.ok(err)
	return applied
}

// order reads an order in another process.
func (w *world) order(no orders.OrderNo) orders.Order {
	w.Helper()
	o, err := w.stores[1].Order(w.ctx, no)
	w.ok(err)
	return o
}

// book reads an order with its bills in another process.
func (w *world) book(no orders.OrderNo) orders.Book {
	w.Helper()
	b, err := w.stores[1].Book(w.ctx, no)
	w.ok(err)
	return b
}

// same compares two orders by what they mean: zones and empty or missing lists aside.
func (w *world) same(got, want orders.Order) {
	w.Helper()
	got, want = plain(got), plain(want)
	if reflect.DeepEqual(got, want) {
		return
	}
	g, v := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range g.NumField() {
		if name := g.Type().Field(i).Name; !reflect.DeepEqual(g.Field(i).Interface(), v.Field(i).Interface()) {
			w.Errorf("%s\ngot  %+v\nwant %+v", name, g.Field(i), v.Field(i))
		}
	}
	w.FailNow()
}

func plain(o orders.Order) orders.Order {
	o.CreatedAt, o.ExpiresAt, o.CancelAsked = o.CreatedAt.UTC(), o.ExpiresAt.UTC(), o.CancelAsked.UTC()
	o.Refunds, o.Cases = orNil(slices.Clone(o.Refunds)), orNil(slices.Clone(o.Cases))
	for i := range o.Refunds {
		r := &o.Refunds[i]
		r.AskedAt, r.DecidedAt = r.AskedAt.UTC(), r.DecidedAt.UTC()
	}
	for i := range o.Cases {
		c := &o.Cases[i]
		c.OpenedAt, c.ClosedAt = c.OpenedAt.UTC(), c.ClosedAt.UTC()
	}
	o.Lines, o.Methods = orNil(o.Lines), orNil(o.Methods)
	o.Attempts, o.Surplus, o.Calls = orNil(slices.Clone(o.Attempts)), orNil(o.Surplus), orNil(slices.Clone(o.Calls))
	for i := range o.Attempts {
		a := &o.Attempts[i]
		a.CreatedAt, a.HandedAt, a.PaidAt, a.QueryAt = a.CreatedAt.UTC(), a.HandedAt.UTC(), a.PaidAt.UTC(), a.QueryAt.UTC()
		if len(a.Refs) == 0 {
			a.Refs = nil
		}
	}
	for i := range o.Calls {
		c := &o.Calls[i]
		c.SentAt, c.EndedAt = c.SentAt.UTC(), c.EndedAt.UTC()
	}
	return o
}

func orNil[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return list
}

// events are the types of an order's events in the order of their versions, read from
// the client's feed; versions with gaps end the case.
func (w *world) events(o *orders.Order) []orders.EventType {
	w.Helper()
	var types []orders.EventType
	for _, e := range w.feed(o.ClientID) {
		body := w.body(e.Body)
		if body.OrderNo != o.No {
			continue
		}
		types = append(types, body.Type)
		if body.Version != int64(len(types)) {
			w.Fatalf("event %d of order %s has version %d", len(types), o.No, body.Version)
		}
	}
	return types
}

// told ends the case when an order's events are not these.
func (w *world) told(no orders.OrderNo, want ...orders.EventType) {
	w.Helper()
	o := w.order(no)
	if got := w.events(&o); !slices.Equal(got, want) {
		w.Fatalf("events %v, want %v", got, want)
	}
	if o.Version != int64(len(want)) {
		w.Fatalf("version %d after %d events", o.Version, len(want))
	}
}
