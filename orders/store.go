package orders

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Store keeps orders. Each verb is one transaction, or none at all when it returns an
// error; a verb that returned nil is durable. Verbs are safe for concurrent use by
// many processes on one database. Times come from the caller and are kept to the
// millisecond. ErrUnavailable (wrapped) means that the database could not be reached
// or that the outcome of a commit is not known: ask again, every verb may be repeated.
type Store interface {
	Placer
	Folder
	Refunder
	Reader
	Sweep
	Outbox
	Controller
}

// Placer is the part of the Store that makes orders.
type Placer interface {
	// DrawOrderNo takes the next order number of a moment's day. Numbers are unique
	// across processes, restarts and a lost database (FirstSerial); they have gaps.
	DrawOrderNo(ctx context.Context, at time.Time) (OrderNo, error)

	// LookKey reads an idempotency key's row; ErrNotFound when there is none.
	LookKey(ctx context.Context, ref KeyRef) (KeyRow, error)

	// Place commits a new order: key row, order, lines, attempt, holds on its bills,
	// order.created, and the call row if there is one. Errors: ErrKeyTaken (look it up
	// and decide), ErrReferenceUsed, *BillError.
	Place(ctx context.Context, p Placement) (Order, error)

	// Resume takes over the order of a request that died: only while its key is running, its lease dead and its fingerprint
	// the same, else ErrKeyTaken. The bills are held again. A create of which it is proven that no byte left us is opened
	// again; else nothing is added: the caller goes on with AddAttempt. When another order has taken or paid a bill
	// meanwhile, the order is cancelled, conflict's bytes become the key's stored answer, and the *BillError is returned.
	Resume(ctx context.Context, r Resumption) (Resumed, error)

	// AddAttempt commits the next attempt of an order that may be paid, under the locks of order and bills, and with it
	// what led there: the outcome of the create call before, the lease renewed under its fence, a key of its own. Earlier
	// attempts that have not ended are abandoned but watched. Errors: ErrNotPayable, ErrTooManyAttempts, ErrKeyTaken,
	// ErrFenced, ErrInFlight when another request is making an attempt of the order, and what Next returns.
	AddAttempt(ctx context.Context, a Addition) (Order, error)

	// Cancel is the rule of the function Cancel under the locks of order and bills, with the answer stored under a key.
	// Errors: ErrNotPayable, ErrKeyTaken, ErrNotFound.
	Cancel(ctx context.Context, c Cancellation) (Order, error)

	// FinishCreate commits the outcome of a create call, and the answer when there is
	// one; without an answer the key's lease ends at once, so that the same request may
	// be sent again. An order that is not payable any more, because a bill was paid meanwhile, gets
	// no redirect: its attempt is abandoned. ErrFenced when another took over: then nothing is written.
	FinishCreate(ctx context.Context, f CreateFinish) (Order, error)
}

// KeyRef names an idempotency key.
type KeyRef struct{ ClientID, Route, Key string }

// KeyRow is what is stored under an idempotency key.
type KeyRow struct {
	Fingerprint [32]byte
	Done        bool
	Status      int    // of the stored answer
	Answer      []byte // exactly as first sent
	OrderNo     OrderNo
	Fence       int64     // 0 for the request that placed the order, one more per take-over
	LeaseUntil  time.Time // while running
}

// Placement is a new order with its first attempt.
type Placement struct {
	Key         KeyRef
	Fingerprint [32]byte // of the canonical command
	Order       Order    // what follows from its life, from State to CancelAsked and all lists but Lines and Attempts, is the store's to set
	// Answer renders the stored answer from the order as committed. Nil: the answer
	// is not known yet, because a create call must be made first; the key stays running
	// under LeaseUntil and the attempt's create call row is written.
	Answer     Render
	LeaseUntil time.Time
}

// Resumption takes over a dead request's order.
type Resumption struct {
	Key         KeyRef
	Fingerprint [32]byte
	Now         time.Time
	LeaseUntil  time.Time
	Conflict    func(*Order, *BillError) (status int, body []byte, err error) // the answer when the bills are gone
}

// Resumed is an order taken over.
type Resumed struct {
	Order  Order
	Fence  int64
	Opened bool // the newest attempt's create call was opened again: send it
}

// Render makes the answer that is stored under a key from the order as committed. Nil: there is no answer yet.
type Render func(*Order) (status int, body []byte, err error)

// NewKey is an idempotency key's row that a verb adds.
type NewKey struct {
	Fence       int64 // of its request: no two takers of one key have the same
	Ref         KeyRef
	Fingerprint [32]byte
	LeaseUntil  time.Time // while there is no answer
}

// Addition is a further attempt of an order. What is zero is left out.
type Addition struct {
	Order OrderNo
	Now   time.Time
	// Ended is the outcome of the create call of the newest attempt, which came to nothing.
	Ended Outcome
	// Lease renews the running key under which the order is made.
	Lease *Lease
	// Key is the key of a request for just this attempt. While its lease lives, no other request adds one.
	Key *NewKey
	// Next makes the attempt from the locked order. One whose HandedAt is set leaves us with this commit.
	Next func(*Order) (Attempt, error)
	// Create says that a create call follows; its row is written.
	Create bool
	Answer Render
}

// Lease is a running key.
type Lease struct {
	Key   KeyRef
	Fence int64
	Until time.Time
}

// Cancellation asks to cancel an order. Without a key nothing is stored.
type Cancellation struct {
	Order  OrderNo
	Now    time.Time
	Key    *NewKey
	Answer Render
}

// CreateFinish is the outcome of a create call.
type CreateFinish struct {
	Key     *KeyRef // nil: the create call of a click, which has none
	Fence   int64
	Attempt AttemptNo
	Now     time.Time
	Outcome Outcome
	// With OutcomeDone: what the provider gave. The redirect goes out with the
	// answer, so the attempt counts as handed out now and becomes pending.
	Redirect *Redirect
	Refs     map[string]string
	QueryAt  time.Time // when the provider is asked first, from then on
	// Answer renders the stored answer from the order as committed; nil: none.
	Answer Render
}

// Folder is the part of the Store by which evidence and time move orders.
type Folder interface {
	// Apply commits one piece of evidence and its effect: the evidence row (once per
	// digest; repeats count up), Fold under the order's lock, events. A duplicate whose
	// effect was never applied is folded again. ErrNonceReused when the account's nonce
	// was seen with another digest; a nonce seen with the same digest is a repeat.
	// Evidence of an unknown attempt is kept as an orphan.
	//
	// In the same transaction the provider's query becomes due when it has to be asked about an attempt
	// that is not paid: at once for a fact (Ask, VerdictNeedsQuery), and for a hint or a repeat no sooner than HintSpacing
	// after the last query. A query that is due earlier stays so. What answers a query causes none.
	Apply(ctx context.Context, e Evidence) (Applied, error)

	// Refuse keeps an inauthentic callback for audit. It moves nothing. The full body is
	// kept for KeptRefusals per account and minute; above that they are only counted.
	Refuse(ctx context.Context, r Refusal) error

	// Hand commits that the newest attempt's redirect is about to leave: only while it is
	// openable, rechecked under the locks of order and bills, else ErrNotPayable. An
	// intent attempt becomes pending. A repeat changes nothing.
	Hand(ctx context.Context, h Handing) (Order, error)

	// ClaimConfirm commits that a confirm is about to be sent. ErrCallExists unless every earlier
	// confirm of the attempt is proven not sent; ErrNotPayable when the attempt has ended or the order is
	// not payable, also because another attempt's confirm is in doubt.
	ClaimConfirm(ctx context.Context, attempt AttemptNo, now time.Time) (Call, error)

	// FinishCall commits the outcome of a claimed call. An outcome once known stays; unknown
	// may still become done or refused, never not sent.
	FinishCall(ctx context.Context, c Call) error
}

// Handing is a redirect that is about to leave.
type Handing struct {
	Order   OrderNo
	Attempt AttemptNo
	Again   bool // the provider takes the same number again, so that a redirect that has left may leave again
	Now     time.Time
	QueryAt time.Time // when the provider is asked first
}

// Refunder is the part of the Store that keeps refunds. The database itself holds the invariant that all refunds of an
// attempt, undecided ones included, are no more than what it was paid.
type Refunder interface {
	// AskRefund commits a refund that NewRefund allows, due at once, with the answer under its key. make sees the locked
	// order. Errors: those of NewRefund and of Ask, ErrKeyTaken, ErrNotFound.
	AskRefund(ctx context.Context, r RefundRequest) (Order, error)
	// ClaimRefund commits that the refund of an account that is due first is about to be sent: its call row. It is handed
	// out again only when FinishRefund says that it was not sent. ErrNothing when none is due.
	ClaimRefund(ctx context.Context, account string, now time.Time) (RefundWork, error)
	// FinishRefund commits the answer to a claimed refund, by the rule of EndRefund.
	FinishRefund(ctx context.Context, f RefundFinish) (Applied, error)
	// NextRefund is when the next refund of an account is due to be sent; the zero time: none.
	NextRefund(ctx context.Context, account string) (time.Time, error)
}

// RefundRequest asks for a refund.
type RefundRequest struct {
	Order  OrderNo
	Now    time.Time
	Key    NewKey
	Ask    func(*Order) (RefundAsk, error) // from the locked order
	Answer func(*Order, *Refund) (status int, body []byte, err error)
}

// RefundWork is a refund that is to be sent, or is on its way.
type RefundWork struct {
	Order  Order
	Refund Refund
	Sent   int       // how often before, each time proven not to have arrived
	Last   string    // what came of the send before
	Due    time.Time // while it waits
}

// RefundFinish is the answer to one send of a refund.
type RefundFinish struct {
	Attempt AttemptNo
	Ordinal int
	Outcome Outcome
	State   RefundState // with OutcomeDone: what the provider says; with OutcomeRefused and OutcomeNotSent: failed
	No      string      // the provider's
	Why     string
	Now     time.Time
	QueryAt time.Time // when the provider is asked about one that stays undecided
	SendAt  time.Time // with OutcomeNotSent: when it is sent again; zero: it has failed
}

// Applied tells what Apply did.
type Applied struct {
	Verdict Verdict
	Repeat  bool  // the evidence was known
	Moved   bool  // a state rose, or the attempt learnt something
	Order   Order // as committed; the zero value for an orphan
	Events  []EventType
	Why     string // for VerdictReview: which fields differ
}

// KeptRefusals is how many refusals of an account and minute are kept whole.
const KeptRefusals = 20

// Refusal is an inauthentic callback.
type Refusal struct {
	More       int64 // so many others of that minute came beside it, and are counted only
	Account    string
	Reason     string
	ReceivedAt time.Time
	Raw        Raw
}

// Reader is the part of the Store that tells the truth as committed.
type Reader interface {
	Order(ctx context.Context, no OrderNo) (Order, error)
	// Book is an order together with its bills: what Payable needs.
	Book(ctx context.Context, no OrderNo) (Book, error)
	OrderByReference(ctx context.Context, clientID, reference string) (Order, error)
	OrderByPayToken(ctx context.Context, token string) (OrderNo, error)
	AttemptByToken(ctx context.Context, token string) (AttemptNo, error)
	Timeline(ctx context.Context, no OrderNo) ([]TimelineRow, error)
	// Waiting is what of an order is tried again by itself, now or later. It claims nothing.
	Waiting(ctx context.Context, no OrderNo) (Waiting, error)
	// Feed is a client's events after a sequence number, at most limit.
	Feed(ctx context.Context, clientID string, after int64, limit int) ([]FeedEvent, error)
	// Cases are open cases, the oldest first, at most limit.
	Cases(ctx context.Context, limit int) ([]CaseRow, error)
	// LastHanded is the attempt at an account that was handed out last: one that the provider knows. ErrNotFound.
	// It was handed out and asked about before a moment.
	LastHanded(ctx context.Context, account string, before time.Time) (Order, AttemptNo, error)
	// ToldPaid says whether evidence that may not stand alone says that an attempt is paid.
	ToldPaid(ctx context.Context, attempt AttemptNo) (bool, error)
	// Gauges counts; the outbox figures are of the given clients, those with a webhook.
	Gauges(ctx context.Context, clients []string) (Gauges, error)
}

// CaseRow is a case with its order.
type CaseRow struct {
	OrderNo OrderNo
	Account string
	Case    Case
}

// Waiting is the work on an order that waits for its time.
type Waiting struct {
	Queries []QueryWork
	Refunds []RefundWork
}

// TimelineRow is one thing that happened to an order, or will.
type TimelineRow struct {
	At        time.Time
	What      string // an event's type, or routing, evidence, call, refund, cancel, case, delivery; waiting for what is tried at At
	AttemptNo AttemptNo
	Detail    string // for people, no secrets
	Evidence  string // id of the evidence row; empty where there is none
}

// FeedEvent is an event in its client's feed.
type FeedEvent struct {
	Seq  int64
	Hash [32]byte // SHA-256 of the previous hash and the body; the first follows 32 zero bytes
	Body []byte
}

// Gauges are the figures to watch.
type Gauges struct {
	OutboxOldest time.Time // of events to be delivered, not counting those behind a held one; zero: none
	OutboxDepth  map[DeliveryState]int64
	Doubts       int64
	SurplusOpen  int64
	ReviewsOpen  int64
	Orphans      int64 // that are still matched again
	Unproven     int64 // paid evidence that may not stand alone and that no query has proven yet

	RefundsUndecided int64
	Cases            map[CaseKind]int64 // open
	OldestDoubt      time.Time          // sent; zero: none
	OldestRefund     time.Time          // asked for, of undecided ones; zero: none
	OldestUnproven   time.Time          // received; zero: none
	OldestSurplus    time.Time          // paid; zero: none open
}

// Sweep is the part of the Store that hands out background work, one claimed unit at a
// time: a claim holds for a lease, and work whose lease has passed is handed out again.
type Sweep interface {
	// ClaimQuery claims the attempt at an account whose query is due first, what has to be known now before what is only
	// looked after, but for one of four; ErrNothing when none is due, or while the provider has to be left alone: for gap after each claim, and
	// while a control of kind quiet is in force.
	ClaimQuery(ctx context.Context, account string, now time.Time, lease, gap time.Duration) (QueryWork, error)
	// FinishQuery ends a claim and says when to ask next; the zero time: never again.
	FinishQuery(ctx context.Context, w QueryWork, now, next time.Time) error

	// ClaimAttempt is ClaimQuery for one attempt, though its query is not due, for somebody who wants to know now;
	// ErrNothing when it may not be asked about, is being asked about, or was within spacing.
	ClaimAttempt(ctx context.Context, attempt AttemptNo, now time.Time, lease, gap, spacing time.Duration) (QueryWork, error)
	// TakeTurn takes an account's turn as ClaimQuery does, for a question about no attempt's fate.
	// It counts as a query of the attempt that is asked about.
	TakeTurn(ctx context.Context, account string, attempt AttemptNo, now time.Time, gap time.Duration) error
	// AskNow makes the query of an attempt due now and starts its plan anew: a person wants to know.
	AskNow(ctx context.Context, attempt AttemptNo, now time.Time) error
	// OpenUnresolved opens a case by the rule of Unresolved.
	OpenUnresolved(ctx context.Context, attempt AttemptNo, detail string, now time.Time) (Applied, error)
	// CloseCase writes down what a person decided. ErrNotFound when there is no such open case.
	CloseCase(ctx context.Context, no OrderNo, number int, by, note string, now time.Time) error

	// SettleNext settles one order that time alone may end; ErrNothing when none is due. An order
	// that waits for evidence is returned as it is and looked at again in a minute.
	SettleNext(ctx context.Context, now time.Time) (Order, error)

	// ClaimOrphan claims one piece of unapplied orphan evidence received after since, at most once a minute
	// each; ErrNothing when none is due. Apply it again.
	ClaimOrphan(ctx context.Context, now, since time.Time) (Evidence, error)

	// NextQuery is when the next query at an account becomes due; the zero time: none waits.
	NextQuery(ctx context.Context, account string) (time.Time, error)
	// QueryAccounts are the accounts at which a query will become due.
	QueryAccounts(ctx context.Context) ([]string, error)
	// NextDue is when the next settlement or orphan becomes due; the zero time: nothing waits.
	NextDue(ctx context.Context) (time.Time, error)
}

// QueryWork is a claimed query.
type QueryWork struct {
	Order   Order
	Attempt AttemptNo
	Asked   int       // how often since somebody last wanted to know
	Since   time.Time // when the plan began anew because a person wanted to know; zero: never
	Fence   int64
	// Unproven is the id of paid evidence on the attempt that may not stand alone; empty: there is none.
	Unproven string
	// UnprovenAt is when it came.
	UnprovenAt time.Time
	// Urgent is set by who asked, when the next query has to come before those that only look after an attempt.
	Urgent bool
	// NotBefore is set by who asked, when the provider wants to be left alone: no evidence makes a query due before it.
	NotBefore time.Time
	// Last is what came of the query before; it is set by who asked.
	Last string
	// Due is when the query is due while it waits; zero: it was handed out.
	Due time.Time
}

// Controller is the part of the Store that keeps what operators and providers impose on accounts: data beside the orders.
// Every change is kept in a log.
type Controller interface {
	// Controls are those in force at a moment, or later.
	Controls(ctx context.Context, now time.Time) ([]Control, error)
	// SetControl puts a control in force, in place of the one of its kind and name.
	SetControl(ctx context.Context, c Control) error
	// DropControl takes a control back. ErrNotFound when it is not in force.
	DropControl(ctx context.Context, kind ControlKind, name, by, reason string, now time.Time) error
	// ControlLog is what was changed, newest first, at most limit.
	ControlLog(ctx context.Context, limit int) ([]ControlChange, error)
}

// ControlKind says what a control does.
type ControlKind string

// The kinds of controls.
const (
	ControlForce  ControlKind = "force"  // an operator opens or closes a breaker: name is account or account/operation, Spec open or closed
	ControlQuiet  ControlKind = "quiet"  // a provider wants to be left alone: name is the account
	ControlWindow ControlKind = "window" // maintenance: name is the window's id, Spec its JSON
)

// Control is one thing imposed.
type Control struct {
	Kind   ControlKind
	Name   string
	Spec   string
	Reason string
	By     string
	SetAt  time.Time
	Until  time.Time // zero: until it is taken back
}

// ControlChange is one edit.
type ControlChange struct {
	At      time.Time
	Dropped bool // else set
	Control Control
	By      string
	Reason  string
}

// DeliveryState is how far an event is on its way to the client.
type DeliveryState string

// The states of a delivery.
const (
	DeliveryReady DeliveryState = "ready" // to be sent, now or later
	DeliveryDone  DeliveryState = "done"
	DeliveryHeld  DeliveryState = "held" // refused by the client for good: a person decides
)

// Outbox is the part of the Store that hands events to clients.
type Outbox interface {
	// ClaimDelivery claims the event that is due first among the oldest undelivered ones
	// of each order, for the given clients (those with a webhook; the others read their
	// feed); ErrNothing when none is due. A held event holds back its order, no other.
	ClaimDelivery(ctx context.Context, clients []string, now time.Time, lease time.Duration) (Delivery, error)
	// FinishDelivery ends a claim: done, held, or ready again at due. ErrFenced when the claim was lost.
	FinishDelivery(ctx context.Context, d Delivery, state DeliveryState, now, due time.Time, lastError string) error
	// NextDelivery is when the next event becomes due; the zero time: none waits.
	NextDelivery(ctx context.Context, clients []string) (time.Time, error)
	// Sequence gives committed events their place in their client's feed, at most limit
	// of one client, and tells how many. Sequence numbers are gap-free per client.
	Sequence(ctx context.Context, limit int) (int, error)
}

// Delivery is a claimed event.
type Delivery struct {
	Event    Event
	Attempts int // before this one
	Fence    int64
}

// Errors of the Store; match them with errors.Is.
var (
	ErrNotFound      = errors.New("orders: not found")
	ErrNothing       = errors.New("orders: nothing to do")
	ErrKeyTaken      = errors.New("orders: idempotency key taken")
	ErrReferenceUsed = errors.New("orders: client reference used")
	ErrFenced        = errors.New("orders: taken over by another")
	ErrNotPayable    = errors.New("orders: not payable")
	ErrCallExists    = errors.New("orders: such a call is undecided or carried out")
	ErrNonceReused   = errors.New("orders: nonce reused with another meaning")
	ErrUnavailable   = errors.New("orders: store unavailable")

	ErrTooManyAttempts = errors.New("orders: no further attempt: their numbers end at 99")
)

// BillError says that a bill cannot be ordered.
type BillError struct {
	BillNo string
	Paid   bool    // else: held by an order in progress
	Holder OrderNo // for its own client's eyes only
	Client string  // the holder's
	// RetryAfter is when a client that wants to supersede the holder may ask again; zero: not known.
	RetryAfter time.Duration
}

// Error names the bill, not its holder.
func (e *BillError) Error() string {
	if e.Paid {
		return fmt.Sprintf("orders: bill %s is paid", e.BillNo)
	}
	return fmt.Sprintf("orders: bill %s is in progress", e.BillNo)
}
