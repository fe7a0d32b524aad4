package orders_test

import (
	"maps"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// paidNotice is a full notice, every field of its meaning set.
func paidNotice() orders.Evidence {
	e := said(orderNo, 1, orders.AttemptPaid, inTime)
	e.Nonce = "n-1"
	e.Purpose = orders.PurposeLife
	e.Fact.Refs = map[string]string{"transactionId": "1", "TradeNo": "2"}
	e.Raw = orders.Raw{Line: "POST /callbacks/bravobank-main", Header: "Bravo-Nonce: n-1", Body: []byte(`{"a":1}`)}
	return e
}

func TestDigestIsOfTheMeaning(t *testing.T) {
	want := paidNotice()
	for name, change := range map[string]func(*orders.Evidence){
		"another nonce":        func(e *orders.Evidence) { e.Nonce = "n-2" },
		"another time":         func(e *orders.Evidence) { e.ReceivedAt = tooLate },
		"other bytes":          func(e *orders.Evidence) { e.Raw.Body = []byte(`{ "a": 1 }`) },
		"other headers":        func(e *orders.Evidence) { e.Raw.Header = "Bravo-Nonce: n-2" },
		"another path":         func(e *orders.Evidence) { e.Raw.Line = "POST /callbacks/bravobank-main/token" },
		"another policy":       func(e *orders.Evidence) { e.NeedsQuery = true },
		"the same payment UTC": func(e *orders.Evidence) { e.Fact.PaidAt = e.Fact.PaidAt.UTC() },
		"refs in a new map":    func(e *orders.Evidence) { e.Fact.Refs = maps.Clone(e.Fact.Refs) },
		"an equal amount": func(e *orders.Evidence) {
			total := twd(40)
			e.Fact.Amount = &total
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := paidNotice()
			change(&got)
			if got.Digest() != want.Digest() {
				t.Error("the same message has another digest")
			}
		})
	}
	hint, empty := paidNotice(), paidNotice()
	hint.Fact.Refs, empty.Fact.Refs = nil, map[string]string{}
	if hint.Digest() != empty.Digest() {
		t.Error("no refs and empty refs differ")
	}
}

// meaning changes each field that belongs to the digest; a field of Evidence or Fact
// that is neither here nor in beside makes the test fail.
var meaning = map[string]func(*orders.Evidence){
	"Source":               func(e *orders.Evidence) { e.Source = orders.SourceReturn },
	"Purpose":              func(e *orders.Evidence) { e.Purpose = orders.PurposeAfterDeadline },
	"Account":              func(e *orders.Evidence) { e.Account = "bravobank-spare" },
	"AttemptNo":            func(e *orders.Evidence) { e.AttemptNo = number(orderNo, 2) },
	"Pointer":              func(e *orders.Evidence) { e.Pointer = "T1" },
	"Fact":                 func(e *orders.Evidence) { e.Fact = nil },
	"Fact.State":           func(e *orders.Evidence) { e.Fact.State = orders.AttemptFailed },
	"Fact.Amount":          func(e *orders.Evidence) { e.Fact.Amount = nil },
	"Fact.PayeeMemberID":   func(e *orders.Evidence) { e.Fact.PayeeMemberID = "" },
	"Fact.Environment":     func(e *orders.Evidence) { e.Fact.Environment = "production" },
	"Fact.Method":          func(e *orders.Evidence) { e.Fact.Method = "credit_card" },
	"Fact.PaidAt":          func(e *orders.Evidence) { e.Fact.PaidAt = e.Fact.PaidAt.Add(time.Second) },
	"Fact.ProviderTradeNo": func(e *orders.Evidence) { e.Fact.ProviderTradeNo = "T2" },
	"Settled":              func(e *orders.Evidence) { e.Settled = tooLate },
	"Fact.Refunds": func(e *orders.Evidence) {
		e.Fact.Refunds = []orders.RefundFact{{ID: "1", ProviderRefundNo: "2", Amount: twd(3), State: orders.RefundDone}}
	},
	"Fact.Refunds, none":   func(e *orders.Evidence) { e.Fact.RefundsComplete, e.Settled = true, tooLate },
	"Fact.RefundsComplete": func(e *orders.Evidence) { e.Fact.RefundsComplete = true },
	"Fact.Refs":            func(e *orders.Evidence) { e.Fact.Refs = map[string]string{"transactionId": "1"} },
}

var beside = map[string]bool{"Nonce": true, "Guessable": true, "NeedsQuery": true, "Ask": true, "ReceivedAt": true, "Raw": true}

func TestDigestOfEachField(t *testing.T) {
	want := paidNotice()
	seen := map[[32]byte]string{want.Digest(): "unchanged"}
	for field, change := range meaning {
		got := paidNotice()
		change(&got)
		if twin, taken := seen[got.Digest()]; taken {
			t.Errorf("%s changed has the digest of %s", field, twin)
		}
		seen[got.Digest()] = field
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[orders.Evidence]()) {
		if meaning[f.Name] == nil && !beside[f.Name] {
			t.Errorf("Evidence.%s: part of the meaning or not?", f.Name)
		}
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[orders.Fact]()) {
		if meaning["Fact."+f.Name] == nil {
			t.Errorf("Fact.%s: part of the meaning or not?", f.Name)
		}
	}
}

func TestDigestKeepsFieldsApart(t *testing.T) {
	zero := money.Amount{}
	nothing := twd(0)
	fact := func(f orders.Fact) orders.Evidence {
		return orders.Evidence{Source: orders.SourceCallback, Account: account, AttemptNo: number(orderNo, 1), Fact: &f}
	}
	noon := time.Date(2017, 6, 13, 12, 0, 0, 0, time.UTC)
	for name, pair := range map[string][2]orders.Evidence{
		"source and purpose":    {{Source: "ab", Purpose: "c"}, {Source: "a", Purpose: "bc"}},
		"account and attempt":   {{Account: "ab", AttemptNo: "c"}, {Account: "a", AttemptNo: "bc"}},
		"purpose and account":   {{Purpose: "a"}, {Account: "a"}},
		"hint and empty fact":   {{}, {Fact: &orders.Fact{}}},
		"payee and environment": {fact(orders.Fact{PayeeMemberID: "ab", Environment: "c"}), fact(orders.Fact{PayeeMemberID: "a", Environment: "bc"})},
		"method and trade no":   {fact(orders.Fact{Method: "x"}), fact(orders.Fact{ProviderTradeNo: "x"})},
		"name and value":        {fact(orders.Fact{Refs: map[string]string{"ab": "c"}}), fact(orders.Fact{Refs: map[string]string{"a": "bc"}})},
		"one ref and two": {
			fact(orders.Fact{Refs: map[string]string{"a": "bcd"}}), fact(orders.Fact{Refs: map[string]string{"a": "b", "c": "d"}}),
		},
		"values swapped": {
			fact(orders.Fact{Refs: map[string]string{"a": "1", "b": "2"}}), fact(orders.Fact{Refs: map[string]string{"a": "2", "b": "1"}}),
		},
		"paid time and ref": {
			fact(orders.Fact{PaidAt: noon}), fact(orders.Fact{Refs: map[string]string{noon.Format(time.RFC3339): ""}}),
		},
		"trade no and ref":          {fact(orders.Fact{ProviderTradeNo: "a"}), fact(orders.Fact{Refs: map[string]string{"a": ""}})},
		"no amount and no currency": {fact(orders.Fact{}), fact(orders.Fact{Amount: &zero})},
		"a refund's fields": {
			fact(orders.Fact{Refunds: []orders.RefundFact{{ID: "ab", ProviderRefundNo: "c"}}}), fact(orders.Fact{Refunds: []orders.RefundFact{{ID: "a", ProviderRefundNo: "bc"}}}),
		},
		"refunds and refs": {
			fact(orders.Fact{RefundsComplete: true}), fact(orders.Fact{Refs: map[string]string{"0": "true", "false": ""}}),
		},
		"no currency and no dollars": {fact(orders.Fact{Amount: &zero}), fact(orders.Fact{Amount: &nothing})},
	} {
		if pair[0].Digest() == pair[1].Digest() {
			t.Errorf("%s: one digest for two meanings", name)
		}
	}
}

func drawEvidence(t *rapid.T, name string) orders.Evidence {
	short := rapid.StringMatching(`[ab]{0,2}`)
	e := orders.Evidence{
		Source: orders.Source(short.Draw(t, name+"source")), Purpose: orders.Purpose(short.Draw(t, name+"purpose")),
		Account: short.Draw(t, name+"account"), AttemptNo: orders.AttemptNo(short.Draw(t, name+"attempt")),
	}
	if rapid.Bool().Draw(t, name+"fact") {
		e.Fact = &orders.Fact{
			State:         rapid.SampledFrom([]orders.AttemptState{orders.AttemptPending, orders.AttemptPaid}).Draw(t, name+"state"),
			PayeeMemberID: short.Draw(t, name+"payee"), Environment: short.Draw(t, name+"environment"),
			Method: short.Draw(t, name+"method"), ProviderTradeNo: short.Draw(t, name+"trade"),
			Refs: rapid.MapOfN(short, short, 0, 2).Draw(t, name+"refs"), RefundsComplete: rapid.Bool().Draw(t, name+"complete"),
		}
		if rapid.Bool().Draw(t, name+"settled") {
			e.Settled = tooLate
		}
		for range rapid.IntRange(0, 2).Draw(t, name+"refunds") {
			e.Fact.Refunds = append(e.Fact.Refunds, orders.RefundFact{
				ID: short.Draw(t, name+"refund"), ProviderRefundNo: short.Draw(t, name+"number"), Amount: twd(int64(rapid.IntRange(0, 1).Draw(t, name+"amount"))),
				State: orders.RefundState(short.Draw(t, name+"refund state")),
			})
		}
	}
	return e
}

func TestDigestIsInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawEvidence(t, "a "), drawEvidence(t, "b ")
		if same := reflect.DeepEqual(a, b); same != (a.Digest() == b.Digest()) {
			t.Fatalf("same meaning %v, same digest %v:\n%+v %+v\n%+v %+v", same, !same, a, a.Fact, b, b.Fact)
		}
	})
}

func TestVerdictApplied(t *testing.T) {
	for verdict, want := range map[orders.Verdict]bool{
		orders.VerdictApplied: true, orders.VerdictNoChange: true, orders.VerdictHint: true,
		orders.VerdictNeedsQuery: false, orders.VerdictReview: false, orders.VerdictOrphan: false,
		"": false, "unheard of": false,
	} {
		if verdict.Applied() != want {
			t.Errorf("%q: applied %v", verdict, verdict.Applied())
		}
	}
}
