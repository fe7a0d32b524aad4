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
	Reader
	Sweep
	Outbox
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

	// Resume takes over the order of a request that died: only while its key is running,
	// its lease dead and its fingerprint the same, else ErrKeyTaken. The
	// attempts that may have left us are abandoned but watched, the bills are held again
	// and next's attempt is added with an open create call; an attempt of which it is proven that
	// no byte left us is tried again instead. When another order has
	// taken or paid a bill meanwhile, the order is cancelled, conflict's bytes become the key's
	// stored answer, and the *BillError is returned.
	Resume(ctx context.Context, r Resumption) (Order, int64, error)

	// RenewLease keeps a running key ours before a further send; ErrFenced when it is
	// not ours any more.
	RenewLease(ctx context.Context, ref KeyRef, fence int64, until time.Time) error

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
	Order       Order    // State, Version, Calls and Surplus are the store's to set
	// Answer renders the stored answer from the order as committed. Nil: the answer
	// is not known yet, because a create call must be made first; the key stays running
	// under LeaseUntil and the attempt's create call row is written.
	Answer     func(*Order) (status int, body []byte, err error)
	LeaseUntil time.Time
}

// Resumption takes over a dead request's order.
type Resumption struct {
	Key         KeyRef
	Fingerprint [32]byte
	Now         time.Time
	LeaseUntil  time.Time
	Next        func(*Order) (Attempt, error)                                 // the attempt to go on with
	Conflict    func(*Order, *BillError) (status int, body []byte, err error) // the answer when the bills are gone
}

// CreateFinish is the outcome of a create call.
type CreateFinish struct {
	Key     KeyRef
	Fence   int64
	Attempt AttemptNo
	Now     time.Time
	Outcome Outcome
	// With OutcomeDone: what the provider gave. The redirect goes out with the
	// answer, so the attempt counts as handed out now and becomes pending.
	Redirect *Redirect
	Refs     map[string]string
	// Answer renders the stored answer from the order as committed; nil: none.
	Answer func(*Order) (status int, body []byte, err error)
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
	// kept for keepPerMinute refusals per account and minute; above that they are only counted.
	Refuse(ctx context.Context, r Refusal) error

	// Hand commits that the newest attempt's redirect is about to leave: only while it is
	// openable, rechecked under the locks of order and bills, else ErrNotPayable. An
	// intent attempt becomes pending. A redirect that has left may leave again only when the
	// provider takes the same number again, which again says; a repeat changes nothing.
	Hand(ctx context.Context, no OrderNo, attempt AttemptNo, again bool, now time.Time) (Order, error)

	// ClaimConfirm commits that a confirm is about to be sent. ErrCallExists unless every earlier
	// confirm of the attempt is proven not sent; ErrNotPayable when the attempt has ended or the order is
	// not payable, also because another attempt's confirm is in doubt.
	ClaimConfirm(ctx context.Context, attempt AttemptNo, now time.Time) (Call, error)

	// FinishCall commits the outcome of a claimed call. An outcome once known stays; unknown
	// may still become done or refused, never not sent.
	FinishCall(ctx context.Context, c Call) error
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

// Refusal is an inauthentic callback.
type Refusal struct {
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
	// Feed is a client's events after a sequence number, at most limit.
	Feed(ctx context.Context, clientID string, after int64, limit int) ([]FeedEvent, error)
	// Gauges counts; the outbox figures are of the given clients, those with a webhook.
	Gauges(ctx context.Context, clients []string) (Gauges, error)
}

// TimelineRow is one thing that happened to an order.
type TimelineRow struct {
	At        time.Time
	What      string // an event's type, or evidence, call, delivery
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
	OutboxOldest time.Time // of events not yet delivered; zero: none
	OutboxDepth  map[DeliveryState]int64
	Doubts       int64
	SurplusOpen  int64
	ReviewsOpen  int64
	Orphans      int64
	Unproven     int64 // paid evidence that may not stand alone and that no query has proven yet
}

// Sweep is the part of the Store that hands out background work, one claimed unit at a
// time: a claim holds for a lease, and work whose lease has passed is handed out again.
type Sweep interface {
	// ClaimQuery claims the attempt at an account whose query is due first; ErrNothing when none is.
	ClaimQuery(ctx context.Context, account string, now time.Time, lease time.Duration) (QueryWork, error)
	// FinishQuery ends a claim and says when to ask next; the zero time: never again.
	FinishQuery(ctx context.Context, w QueryWork, now, next time.Time) error

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
	Asked   int // how often since somebody last wanted to know
	Fence   int64
	// Unproven is the id of paid evidence on the attempt that may not stand alone; empty: there is none.
	Unproven string
	// NotBefore is set by who asked, when the provider wants to be left alone: no evidence makes a query due before it.
	NotBefore time.Time
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
)

// BillError says that a bill cannot be ordered.
type BillError struct {
	BillNo string
	Paid   bool    // else: held by an order in progress
	Holder OrderNo // for its own client's eyes only
	Client string  // the holder's
}

// Error names the bill, not its holder.
func (e *BillError) Error() string {
	if e.Paid {
		return fmt.Sprintf("orders: bill %s is paid", e.BillNo)
	}
	return fmt.Sprintf("orders: bill %s is in progress", e.BillNo)
}
