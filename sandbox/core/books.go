package core

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// maxOrders bounds the memory. When it is reached new orders are refused for now, so that
// nothing is lost silently.
const maxOrders = 100_000

var (
	errFull     = errors.New("core: the books are full")
	errConflict = errors.New("core: two different events have the same order and version")
)

// billKey names a bill: numbers are unique per merchant.
type billKey struct{ merchant, no string }

// books is what the core has learnt from events, and nothing else.
type books struct {
	mu         sync.Mutex
	orders     map[string]*known
	settled    map[billKey][]string // by which orders; one, if the gateway keeps its word
	seen       int64
	duplicates int64
	seq        int64    // last of the feed
	head       [32]byte // hash at seq
	feedError  string
}

// known is what is known of one order.
type known struct {
	version int64
	status  string
	seen    map[int64][32]byte // digest per version
}

func newBooks() *books {
	return &books{orders: map[string]*known{}, settled: map[billKey][]string{}}
}

// learnt is what an event was to the books.
type learnt int

const (
	learntNew learnt = iota // moved the order
	learntOld               // not seen before, but a newer one was
	learntAgain
)

// apply books an event once. Every event carries its order whole, so a newer one makes up
// for those before it; what was missed still comes with the feed. gap says that it is
// missing now.
func (b *books) apply(e *event, body []byte) (what learnt, gap bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	what, gap, err = b.applyLocked(e, body)
	if what == learntAgain {
		b.duplicates++
	}
	return what, gap, err
}

func (b *books) applyLocked(e *event, body []byte) (learnt, bool, error) {
	k := b.orders[e.OrderNo]
	if k == nil {
		if len(b.orders) >= maxOrders {
			return learntOld, false, errFull
		}
		k = &known{seen: map[int64][32]byte{}}
		b.orders[e.OrderNo] = k
	}
	digest := sha256.Sum256(body)
	if before, ok := k.seen[e.Version]; ok {
		if before != digest {
			return learntOld, false, fmt.Errorf("%w: %s", errConflict, e.ID)
		}
		return learntAgain, false, nil
	}
	k.seen[e.Version] = digest
	b.seen++
	if e.Version <= k.version {
		return learntOld, false, nil
	}
	gap := e.Version > k.version+1
	k.version, k.status = e.Version, e.Data.Order.Status
	b.settle(&e.Data.Order)
	return learntNew, gap, nil
}

// settle marks the bills that a paid order settles, by each order once.
func (b *books) settle(o *order) {
	for _, l := range o.settled() {
		key := billKey{o.Merchant, l.BillNo}
		if !slices.Contains(b.settled[key], o.OrderNo) {
			b.settled[key] = append(b.settled[key], o.OrderNo)
		}
	}
}

// paidBy is the order that settled a bill first; empty while none has.
func (b *books) paidBy(bill bill) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if by := b.settled[billKey{bill.Merchant, bill.No}]; len(by) > 0 {
		return by[0]
	}
	return ""
}

// The answer of GET /books.
type booksAnswer struct {
	Bills          []bookedBill `json:"bills"` // ours first, then those known from orders only
	EventsSeen     int64        `json:"events_seen"`
	DuplicatesSeen int64        `json:"duplicates_seen"` // webhooks of events already seen
	Missing        int64        `json:"missing"`         // versions below a known one
	Orders         int          `json:"orders"`
	LastSeq        int64        `json:"last_seq"`
	Head           string       `json:"head"` // hash of the feed at last_seq, hex
	FeedError      string       `json:"feed_error"`
}

type bookedBill struct {
	BillNo   string   `json:"bill_no"`
	Merchant string   `json:"merchant"`
	PaidBy   string   `json:"paid_by"`    // order number; empty while unpaid
	Settled  int      `json:"settled"`    // how often: more than 1 is the gateway's mistake
	By       []string `json:"settled_by"` // every order that did
}

func (c *Core) showBooks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(c.books.report(c.seeds))
}

func (b *books) report(seeds []bill) booksAnswer {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := booksAnswer{EventsSeen: b.seen, DuplicatesSeen: b.duplicates, Orders: len(b.orders), LastSeq: b.seq, Head: hex.EncodeToString(b.head[:]), FeedError: b.feedError}
	add := func(key billKey) {
		row := bookedBill{BillNo: key.no, Merchant: key.merchant, By: slices.Concat([]string{}, b.settled[key])}
		if row.Settled = len(row.By); row.Settled > 0 {
			row.PaidBy = row.By[0]
		}
		a.Bills = append(a.Bills, row)
	}
	ours := map[billKey]bool{}
	for _, s := range seeds {
		ours[billKey{s.Merchant, s.No}] = true
		add(billKey{s.Merchant, s.No})
	}
	var others []billKey
	for key := range b.settled {
		if !ours[key] {
			others = append(others, key)
		}
	}
	slices.SortFunc(others, func(x, y billKey) int {
		return cmp.Or(cmp.Compare(x.merchant, y.merchant), cmp.Compare(x.no, y.no))
	})
	for _, key := range others {
		add(key)
	}
	for _, k := range b.orders {
		a.Missing += k.version - int64(len(k.seen))
	}
	return a
}
