package sqlstore_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
)

func TestApplyPaid(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "AAAAAAAAA"))
		e := said(&o, 1, orders.AttemptPaid, after(time.Minute))
		e.Fact.Refs = map[string]string{"gwsr": "1"}
		a := applied(t, s, e)
		if !a.Moved || a.Repeat || a.Verdict != orders.VerdictApplied || !reflect.DeepEqual(a.Events, []orders.EventType{orders.EventPaid}) {
			t.Errorf("applied %+v", a)
		}
		stored := must[orders.Order](t)(s.Order(t.Context(), o.No))
		if !reflect.DeepEqual(stored, a.Order) {
			t.Errorf("returned %+v\nstored   %+v", a.Order, stored)
		}
		if p := stored.Attempts[0]; stored.State != orders.OrderPaid || p.ProviderTradeNo == "" || !p.PaidAt.Equal(after(time.Minute)) || p.Refs["gwsr"] != "1" {
			t.Errorf("stored %+v", stored)
		}
		if b := must[orders.Book](t)(s.Book(t.Context(), o.No)); b.Bills["AAAAAAAAA"].Paid != o.No {
			t.Errorf("bills %+v", b.Bills)
		}
		again := applied(t, s, e)
		if again.Moved || !again.Repeat || again.Verdict != orders.VerdictApplied || len(again.Events) > 0 || !reflect.DeepEqual(again.Order, stored) {
			t.Errorf("a repeat gave %+v", again)
		}
		failed := applied(t, s, said(&o, 1, orders.AttemptFailed, after(2*time.Minute)))
		if failed.Verdict != orders.VerdictNoChange || failed.Moved || failed.Order.State != orders.OrderPaid || failed.Order.Version != 2 {
			t.Errorf("failed after paid gave %+v", failed)
		}
	})
}

// Money for a bill that another order has paid becomes a surplus row.
func TestApplySurplus(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		first := placed(t, s, placement(1, "CCCCCCCCC", "AAAAAAAAA", "BBBBBBBBB"))
		p := placement(2, "BBBBBBBBB", "CCCCCCCCC")
		p.Order.CreatedAt = after(11 * time.Minute)
		second := placed(t, s, p)
		applied(t, s, said(&second, 1, orders.AttemptPaid, after(12*time.Minute)))
		a := applied(t, s, said(&first, 1, orders.AttemptPaid, after(13*time.Minute)))
		want := []orders.Surplus{
			{Attempt: first.Attempts[0].No, BillNo: "BBBBBBBBB", Amount: dollars(20), Refunded: dollars(0)},
			{Attempt: first.Attempts[0].No, BillNo: "CCCCCCCCC", Amount: dollars(20), Refunded: dollars(0)},
		}
		if !a.Order.Late || !reflect.DeepEqual(a.Order.Surplus, want) || a.Order.Version != 3 {
			t.Errorf("applied %+v", a)
		}
		stored := must[orders.Order](t)(s.Order(t.Context(), first.No))
		if !reflect.DeepEqual(stored, a.Order) {
			t.Errorf("returned %+v\nstored   %+v", a.Order, stored)
		}
		if g := must[orders.Gauges](t)(s.Gauges(t.Context(), nil)); g.SurplusOpen != 2 {
			t.Errorf("gauges %+v", g)
		}
	})
}

func TestApplyNonce(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "AAAAAAAAA"))
		deliver := func(nonce, account string, state orders.AttemptState) (orders.Applied, error) {
			e := said(&o, 1, state, after(time.Minute))
			e.Nonce, e.Account = nonce, account
			return s.Apply(t.Context(), e)
		}
		const own = account
		must[orders.Applied](t)(deliver("n1", own, orders.AttemptFailed))
		if a, err := deliver("n1", own, orders.AttemptFailed); err != nil || !a.Repeat {
			t.Errorf("the same nonce and meaning: %+v, %v", a, err)
		}
		if a, err := deliver("n2", own, orders.AttemptFailed); err != nil || !a.Repeat {
			t.Errorf("a new nonce for the same meaning: %+v, %v", a, err)
		}
		for _, nonce := range []string{"n1", "n2"} {
			_, err := deliver(nonce, own, orders.AttemptPaid)
			wantErr(t, err, orders.ErrNonceReused)
		}
		if got := must[orders.Order](t)(s.Order(t.Context(), o.No)); got.State != orders.OrderOpen {
			t.Errorf("order is %s", got.State)
		}
		if _, err := deliver("n1", "another", orders.AttemptPaid); err != nil {
			t.Errorf("another account's nonce: %v", err)
		}
	})
}

func TestOrphanIsMatchedLater(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		p := placement(1, "AAAAAAAAA")
		e := said(&p.Order, 1, orders.AttemptPaid, after(9*time.Minute))
		e.Nonce, e.Fact.Refs = "n1", map[string]string{"a": "b"}
		if a := applied(t, s, e); a.Verdict != orders.VerdictOrphan || a.Repeat || a.Order.No != "" {
			t.Fatalf("applied %+v", a)
		}
		now, since := after(20*time.Minute), after(-time.Hour)
		got := must[orders.Evidence](t)(s.ClaimOrphan(t.Context(), now, since))
		if got.Digest() != e.Digest() || got.Raw.Line != e.Raw.Line || string(got.Raw.Body) != string(e.Raw.Body) || !got.ReceivedAt.Equal(e.ReceivedAt) || got.Nonce != "n1" {
			t.Errorf("claimed %+v, want %+v", got, e)
		}
		_, err := s.ClaimOrphan(t.Context(), now.Add(time.Minute-time.Millisecond), since)
		wantErr(t, err, orders.ErrNothing)
		if next := must[time.Time](t)(s.NextDue(t.Context())); !next.Equal(now.Add(time.Minute)) {
			t.Errorf("next due at %v", next)
		}
		if a := applied(t, s, got); a.Verdict != orders.VerdictOrphan || !a.Repeat {
			t.Errorf("applied %+v", a)
		}
		if seen := count(t, d, "SELECT seen FROM evidence"); seen != 1 {
			t.Errorf("the sweep counted as a delivery: seen %d", seen)
		}
		o := placed(t, s, p)
		got = must[orders.Evidence](t)(s.ClaimOrphan(t.Context(), now.Add(time.Minute), since))
		got.ReceivedAt = got.ReceivedAt.Add(30 * time.Minute) // as if it were sent again: the first receipt counts
		a := applied(t, s, got)
		if !a.Moved || a.Order.State != orders.OrderPaid || a.Order.Late {
			t.Errorf("applied %+v", a)
		}
		_, err = s.ClaimOrphan(t.Context(), now.Add(time.Hour), since)
		wantErr(t, err, orders.ErrNothing)
		if rows := must[[]orders.TimelineRow](t)(s.Timeline(t.Context(), o.No)); len(rows) != 3 || rows[1].What != "evidence" || rows[1].Evidence == "" {
			t.Errorf("timeline %+v", rows)
		}
	})
}

// An orphan that nobody claims any more must not keep the sweeper awake.
func TestOldOrphanRetires(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		p := placement(1, "AAAAAAAAA")
		applied(t, s, said(&p.Order, 1, orders.AttemptPaid, morning))
		_, err := s.ClaimOrphan(t.Context(), after(8*24*time.Hour), after(24*time.Hour))
		wantErr(t, err, orders.ErrNothing)
		if next := must[time.Time](t)(s.NextDue(t.Context())); !next.IsZero() {
			t.Errorf("next due at %v", next)
		}
		if g := must[orders.Gauges](t)(s.Gauges(t.Context(), nil)); g.Orphans != 0 {
			t.Errorf("gauges %+v", g)
		}
	})
}

func TestEvidenceThatWaitsIsFoldedAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "AAAAAAAAA"))
		notice := said(&o, 1, orders.AttemptPaid, after(time.Minute))
		notice.NeedsQuery = true
		if a := applied(t, s, notice); a.Verdict != orders.VerdictNeedsQuery || a.Moved || a.Order.No != o.No {
			t.Fatalf("applied %+v", a)
		}
		if n := count(t, d, "SELECT COUNT(*) FROM evidence WHERE applied_ms IS NULL"); n != 1 {
			t.Errorf("%d pieces wait", n)
		}
		query := said(&o, 1, orders.AttemptPaid, after(2*time.Minute))
		query.Source, query.Purpose = orders.SourceQuery, orders.PurposeBeforePaid("1")
		if a := applied(t, s, query); !a.Moved {
			t.Fatalf("applied %+v", a)
		}
		if a := applied(t, s, notice); a.Verdict != orders.VerdictNoChange || !a.Repeat || a.Moved {
			t.Errorf("applied %+v", a)
		}
		if n := count(t, d, "SELECT COUNT(*) FROM evidence WHERE applied_ms IS NULL"); n != 0 {
			t.Errorf("%d pieces wait", n)
		}
	})
}

// What outsiders send is kept, whatever bytes it has, and under one digest.
func TestTextThatNoDatabaseHolds(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		long := make([]byte, 0, 60000) // that no index can compress
		for sum := [32]byte{}; len(long) < cap(long); sum = sha256.Sum256(sum[:]) {
			long = hex.AppendEncode(long, sum[:])
		}
		for _, no := range []string{"2017\x0061300000001", "\xff\xfe", string(long)} {
			e := orders.Evidence{Source: orders.SourceCallback, Account: "a\x00", AttemptNo: orders.AttemptNo(no), Nonce: no, ReceivedAt: morning,
				Raw: orders.Raw{Line: "POST /\x00", Header: "\xff", Body: []byte{0, 255}}}
			if a := applied(t, s, e); a.Verdict != orders.VerdictOrphan {
				t.Errorf("applied %+v", a)
			}
			if a := applied(t, s, e); !a.Repeat {
				t.Errorf("%.20q again: %+v", no, a)
			}
			_, err := s.AttemptByToken(t.Context(), no)
			wantErr(t, err, orders.ErrNotFound)
			_, err = s.OrderByPayToken(t.Context(), no)
			wantErr(t, err, orders.ErrNotFound)
		}
		o := placed(t, s, placement(1, "AAAAAAAAA"))
		e := said(&o, 1, orders.AttemptPaid, after(time.Minute))
		e.Fact.ProviderTradeNo, e.Fact.Method, e.Fact.Refs = "\xa4\xa4\x00", "\xff", map[string]string{"\x00": "\xff\x00"}
		if a := applied(t, s, e); a.Order.State != orders.OrderPaid {
			t.Errorf("applied %+v", a)
		}
		if err := s.Refuse(t.Context(), orders.Refusal{Account: "\x00", Reason: "\xff", ReceivedAt: morning}); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusalsAreKeptUpToALimit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		parallel(30, func(i int) {
			r := orders.Refusal{Account: account, Reason: "signature", ReceivedAt: after(time.Duration(i) * time.Second), Raw: orders.Raw{Body: fmt.Append(nil, i)}}
			if err := s.Refuse(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
		if kept, all := count(t, d, "SELECT COUNT(*) FROM refusals"), count(t, d, "SELECT SUM(count) FROM refusal_counts"); kept != 20 || all != 30 {
			t.Errorf("kept %d of %d", kept, all)
		}
		if err := s.Refuse(t.Context(), orders.Refusal{Account: account, ReceivedAt: after(time.Minute)}); err != nil {
			t.Fatal(err)
		}
		if kept := count(t, d, "SELECT COUNT(*) FROM refusals"); kept != 21 {
			t.Errorf("kept %d after a minute", kept)
		}
	})
}
