package orders

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sort"
	"strconv"
	"time"

	"pay.taipei/gateway/money"
)

// Source says where a piece of evidence came from.
type Source string

// The sources of evidence.
const (
	SourceCallback Source = "callback" // server to server, authenticated
	SourceReturn   Source = "return"   // brought by the citizen's browser
	SourceQuery    Source = "query"    // the provider's answer to our question
	SourceCall     Source = "call"     // the provider's answer to a confirm
)

// Purpose says why a query was asked. The same answer given to another question is
// another piece of evidence.
type Purpose string

// The purposes of a query. PurposeNone is for messages nobody asked for.
const (
	PurposeNone          Purpose = ""
	PurposeLife          Purpose = "life"           // while the order may be paid
	PurposeAfterDeadline Purpose = "after_deadline" // to end an attempt
)

// PurposeBeforePaid asks about a notice that may not stand alone, evidence by its id.
func PurposeBeforePaid(evidence string) Purpose { return Purpose("before_paid " + evidence) }

// PurposeDoubt asks what became of a call.
func PurposeDoubt(c *Call) Purpose { return Purpose(fmt.Sprintf("doubt %s %d", c.Op, c.Ordinal)) }

// PurposeRefund asks how far a refund is that the provider has taken.
func PurposeRefund(r *Refund) Purpose { return Purpose(fmt.Sprintf("refund %d", r.Ordinal)) }

// HintSpacing is how often messages that prove nothing may cause a query of one attempt, and how often of one account those
// that anybody could send who guesses attempt numbers.
const HintSpacing = time.Minute

// LastAsk is how long before the end of an order a payer who came back is asked about in any case: who has agreed in time is
// confirmed in time.
const LastAsk = 15 * time.Second

// Evidence is one thing that was said of an attempt, with the bytes it was said in.
type Evidence struct {
	Source     Source
	Purpose    Purpose
	Account    string // at which it arrived or was asked
	AttemptNo  AttemptNo
	Nonce      string    // of the delivery, unique per account; empty where there is none
	Fact       *Fact     // nil: a hint, which carries no state and no amount
	Pointer    string    // of a hint: the provider's own name for the payment, with which it is to be asked; nobody vouches for it
	Guessable  bool      // a hint that came without the attempt's token: anybody may have named the attempt
	NeedsQuery bool      // a paid fact that may not stand alone
	Ask        bool      // the provider is to be asked, whatever the fact makes of the attempt
	Settled    time.Time // when the undecided refund was sent, if asked so long after it that it is not on its way any more; zero: not so long
	ReceivedAt time.Time
	Raw        Raw
}

// Raw is a message as it arrived, for audit.
type Raw struct {
	Line   string // method and path, or the operation asked
	Header string // the headers that a verdict rests on, one per line
	Body   []byte
}

// Fact is what an authenticated message says.
type Fact struct {
	State           AttemptState
	Amount          *money.Amount // nil: not carried; such a fact cannot make anything paid
	PayeeMemberID   string        // empty: not carried
	Environment     string        // empty: not carried
	Method          string
	PaidAt          time.Time
	ProviderTradeNo string
	Refunds         []RefundFact
	RefundsComplete bool // Refunds are all of this attempt
	Refs            map[string]string
}

// Digest identifies the meaning of the evidence: two deliveries of the same message
// have one digest, though their nonce, stamp and bytes differ. It is the key under
// which evidence is stored once.
func (e *Evidence) Digest() [sha256.Size]byte {
	h := sha256.New()
	put := func(parts ...string) {
		for _, p := range parts {
			var n [8]byte
			binary.BigEndian.PutUint64(n[:], uint64(len(p)))
			h.Write(n[:])
			h.Write([]byte(p))
		}
	}
	put("evidence-1", string(e.Source), string(e.Purpose), e.Account, string(e.AttemptNo))
	if e.Pointer != "" {
		put("pointer", e.Pointer)
	}
	if f := e.Fact; f != nil {
		amount := ""
		if f.Amount != nil {
			amount = f.Amount.String()
		}
		put(f.State.String(), amount, f.PayeeMemberID, f.Environment, f.Method, f.ProviderTradeNo)
		if !f.PaidAt.IsZero() {
			put(f.PaidAt.UTC().Format(time.RFC3339))
		}
		settled := "false"
		if !e.Settled.IsZero() {
			settled = e.Settled.UTC().Format(time.RFC3339Nano)
		}
		if len(f.Refunds) > 0 || f.RefundsComplete || !e.Settled.IsZero() {
			h.Write([]byte{255, 255, 255, 255, 255, 255, 255, 255}) // no text is that long: what follows is no name of a reference
			put(strconv.Itoa(len(f.Refunds)), strconv.FormatBool(f.RefundsComplete), settled)
			for _, r := range f.Refunds {
				put(r.ID, r.ProviderRefundNo, r.Amount.String(), string(r.State))
			}
		}
		names := make([]string, 0, len(f.Refs))
		for name := range f.Refs {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			put(name, f.Refs[name])
		}
	}
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}

// Verdict is what became of a piece of evidence.
type Verdict string

// The verdicts on evidence. Evidence with VerdictNeedsQuery, VerdictReview or
// VerdictOrphan is not applied: it waits for a query, a person or its attempt.
const (
	VerdictApplied    Verdict = "applied"     // it moved the attempt
	VerdictNoChange   Verdict = "no_change"   // true and already known, or overtaken
	VerdictHint       Verdict = "hint"        // worth a query, nothing to believe
	VerdictNeedsQuery Verdict = "needs_query" // not enough on its own
	VerdictReview     Verdict = "review"      // authentic, but it contradicts our record
	VerdictOrphan     Verdict = "orphan"      // authentic, but of no attempt we know
)

// Applied says whether nothing is left to do for evidence with this verdict.
func (v Verdict) Applied() bool {
	switch v {
	case VerdictApplied, VerdictNoChange, VerdictHint:
		return true
	case VerdictNeedsQuery, VerdictReview, VerdictOrphan:
		return false
	}
	return false
}
