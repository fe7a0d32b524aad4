package sqlstore_test

import (
	"reflect"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
)

func TestHand(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		p := placement(1, "AAAAAAAAA")
		p.Order.Attempts[0].State, p.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
		o := placed(t, s, p)
		no := o.Attempts[0].No
		_, err := s.Hand(t.Context(), orders.Handing{Order: o.No, Attempt: "201706130000000199", Again: true, Now: morning})
		wantErr(t, err, orders.ErrNotFound)
		first := must[orders.Order](t)(s.Hand(t.Context(), orders.Handing{Order: o.No, Attempt: no, Again: true, Now: after(time.Minute)}))
		if a := first.Attempts[0]; a.State != orders.AttemptPending || !a.HandedAt.Equal(after(time.Minute)) || first.Version != 2 {
			t.Errorf("handed %+v, version %d", a, first.Version)
		}
		second := must[orders.Order](t)(s.Hand(t.Context(), orders.Handing{Order: o.No, Attempt: no, Again: true, Now: after(2 * time.Minute)}))
		if !reflect.DeepEqual(second, first) || !reflect.DeepEqual(must[orders.Order](t)(s.Order(t.Context(), o.No)), first) {
			t.Errorf("a repeat changed %+v\nto %+v", first, second)
		}
		_, err = s.Hand(t.Context(), orders.Handing{Order: o.No, Attempt: no, Again: true, Now: o.ExpiresAt})
		wantErr(t, err, orders.ErrNotPayable)
		applied(t, s, said(&o, 1, orders.AttemptFailed, after(3*time.Minute)))
		_, err = s.Hand(t.Context(), orders.Handing{Order: o.No, Attempt: no, Again: true, Now: after(4 * time.Minute)})
		wantErr(t, err, orders.ErrNotPayable)
	})
}

func TestCalls(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "AAAAAAAAA"))
		no := o.Attempts[0].No
		claim := func(at time.Time) (orders.Call, error) { return s.ClaimConfirm(t.Context(), no, at) }
		finish := func(c orders.Call, outcome orders.Outcome) orders.Order {
			c.Outcome, c.EndedAt = outcome, after(time.Minute)
			if err := s.FinishCall(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			return must[orders.Order](t)(s.Order(t.Context(), o.No))
		}
		_, err := claim(o.ExpiresAt)
		wantErr(t, err, orders.ErrNotPayable)
		first := must[orders.Call](t)(claim(morning))
		_, err = claim(morning)
		wantErr(t, err, orders.ErrCallExists)
		if g := must[orders.Gauges](t)(s.Gauges(t.Context(), nil)); g.Doubts != 1 {
			t.Errorf("gauges %+v", g)
		}
		if got := finish(first, orders.OutcomeNotSent); got.Doubt() || got.Calls[0].EndedAt.IsZero() {
			t.Errorf("calls %+v", got.Calls)
		}
		if got := finish(first, orders.OutcomeDone); got.Calls[0].Outcome != orders.OutcomeNotSent {
			t.Errorf("a known outcome became %s", got.Calls[0].Outcome)
		}
		second := must[orders.Call](t)(claim(morning))
		if second.Ordinal != 2 {
			t.Errorf("claimed %+v", second)
		}
		if got := finish(second, orders.OutcomeUnknown); !got.Doubt() {
			t.Errorf("no doubt with %+v", got.Calls)
		}
		_, err = claim(morning)
		wantErr(t, err, orders.ErrCallExists)
		if got := finish(second, orders.OutcomeNotSent); got.Calls[1].Outcome != orders.OutcomeUnknown {
			t.Errorf("doubt became %s without proof", got.Calls[1].Outcome)
		}
		if got := finish(second, orders.OutcomeDone); got.Doubt() {
			t.Errorf("doubt with %+v", got.Calls)
		}
		_, err = claim(morning)
		wantErr(t, err, orders.ErrCallExists)
		third := second
		third.Ordinal = 3
		wantErr(t, s.FinishCall(t.Context(), third), orders.ErrNotFound)
		if _, err := d.raw(t).Exec("INSERT INTO calls (attempt_no, op, ordinal, sent_ms, outcome) VALUES ($1, 'confirm', 3, 1, '')", string(no)); err == nil {
			t.Error("the database takes a second call beside one that was carried out")
		}
	})
}

func TestQueries(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "AAAAAAAAA"))
		no := o.Attempts[0].No
		claim := func(at time.Time) (orders.QueryWork, error) {
			return s.ClaimQuery(t.Context(), account, at, time.Minute, 0)
		}
		due := func(at time.Time) {
			t.Helper()
			applied(t, s, orders.Evidence{Source: orders.SourceReturn, Account: account, AttemptNo: no, ReceivedAt: at})
		}
		wantDue := func(want time.Time) {
			t.Helper()
			if got := must[time.Time](t)(s.NextQuery(t.Context(), account)); !got.Equal(want) {
				t.Fatalf("next due at %v, want %v", got, want)
			}
		}
		wantDue(o.Attempts[0].QueryAt)
		_, err := claim(after(time.Minute))
		wantErr(t, err, orders.ErrNothing)
		due(after(20 * time.Minute)) // delays nothing
		wantDue(o.Attempts[0].QueryAt)
		due(after(2 * time.Minute))
		wantDue(after(2 * time.Minute))
		w := must[orders.QueryWork](t)(claim(after(2 * time.Minute)))
		if w.Attempt != no || w.Asked != 0 || w.Order.No != o.No {
			t.Errorf("claimed %+v", w)
		}
		_, err = claim(after(3*time.Minute - time.Millisecond))
		wantErr(t, err, orders.ErrNothing)
		due(after(2 * time.Minute)) // a hint while the query is under way: once more, spaced
		wantDue(after(3 * time.Minute))
		if err := s.FinishQuery(t.Context(), w, after(2*time.Minute), after(9*time.Minute)); err != nil {
			t.Fatal(err)
		}
		wantDue(after(3 * time.Minute))
		wantErr(t, s.FinishQuery(t.Context(), w, after(2*time.Minute), time.Time{}), orders.ErrFenced)

		w = must[orders.QueryWork](t)(claim(after(3 * time.Minute)))
		again := must[orders.QueryWork](t)(claim(after(4 * time.Minute))) // its lease has passed
		if again.Asked != 2 || again.Fence == w.Fence {
			t.Errorf("claimed %+v", again)
		}
		wantErr(t, s.FinishQuery(t.Context(), w, after(4*time.Minute), after(5*time.Minute)), orders.ErrFenced)
		if err := s.FinishQuery(t.Context(), again, after(4*time.Minute), time.Time{}); err != nil {
			t.Fatal(err)
		}
		wantDue(time.Time{})
		due(after(4 * time.Minute))
		wantDue(after(5 * time.Minute))
		applied(t, s, said(&o, 1, orders.AttemptPaid, after(4*time.Minute)))
		wantDue(time.Time{})
		_, err = claim(after(time.Hour))
		wantErr(t, err, orders.ErrNothing)
	})
}

// A provider must not be asked about an attempt that never left us, whatever hint comes.
func TestQueriesOfWhatNeverLeft(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		clicked := placement(1, "AAAAAAAAA")
		clicked.Order.Attempts[0].State, clicked.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
		o := placed(t, s, clicked)
		created := serverCreate(placement(2, "BBBBBBBBB"))
		sent := placed(t, s, created)
		applied(t, s, orders.Evidence{Source: orders.SourceReturn, Account: account, AttemptNo: o.Attempts[0].No, ReceivedAt: morning})
		_, err := s.ClaimQuery(t.Context(), account, after(time.Minute), time.Minute, 0)
		wantErr(t, err, orders.ErrNothing)
		if next := must[time.Time](t)(s.NextDue(t.Context())); !next.Equal(o.ExpiresAt) {
			t.Errorf("next due at %v", next)
		}
		must[orders.Order](t)(s.SettleNext(t.Context(), o.ExpiresAt))
		if n := count(t, d, "SELECT COUNT(*) FROM attempts WHERE query_ms IS NOT NULL"); n != 1 {
			t.Errorf("%d queries are due", n)
		}
		if w := must[orders.QueryWork](t)(s.ClaimQuery(t.Context(), account, after(time.Hour), time.Minute, 0)); w.Attempt != sent.Attempts[0].No {
			t.Errorf("claimed %+v", w)
		}
		f := orders.CreateFinish{Key: &created.Key, Attempt: sent.Attempts[0].No, Now: morning, Outcome: orders.OutcomeNotSent}
		if _, err := s.FinishCreate(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		_, err = s.ClaimQuery(t.Context(), account, after(2*time.Hour), time.Minute, 0)
		wantErr(t, err, orders.ErrNothing)
	})
}

func TestSettle(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		left := placed(t, s, placement(1, "AAAAAAAAA"))
		p := placement(2, "BBBBBBBBB")
		p.Order.Attempts[0].State, p.Order.Attempts[0].HandedAt = orders.AttemptIntent, time.Time{}
		stayed := placed(t, s, p)
		end := left.ExpiresAt
		_, err := s.SettleNext(t.Context(), end.Add(-time.Millisecond))
		wantErr(t, err, orders.ErrNothing)
		if got := must[orders.Order](t)(s.SettleNext(t.Context(), end)); got.No != left.No || got.State != orders.OrderOpen {
			t.Errorf("settled %+v, which may have been paid: evidence ends it", got)
		}
		got := must[orders.Order](t)(s.SettleNext(t.Context(), end))
		if got.No != stayed.No || got.State != orders.OrderExpired || got.Attempts[0].State != orders.AttemptExpired {
			t.Errorf("settled %+v", got)
		}
		if stored := must[orders.Book](t)(s.Book(t.Context(), stayed.No)); !reflect.DeepEqual(stored.Order, got) || stored.Bills["BBBBBBBBB"].Holder != "" {
			t.Errorf("stored %+v", stored)
		}
		_, err = s.SettleNext(t.Context(), end)
		wantErr(t, err, orders.ErrNothing)
		if got := count(t, d, "SELECT settle_ms FROM orders WHERE order_no = $1", string(left.No)); got != end.Add(time.Minute).UnixMilli() {
			t.Errorf("looked at again at %v", time.UnixMilli(got))
		}
		expired := applied(t, s, said(&left, 1, orders.AttemptExpired, after(12*time.Minute)))
		if expired.Order.State != orders.OrderExpired {
			t.Errorf("applied %+v", expired)
		}
		_, err = s.SettleNext(t.Context(), after(24*time.Hour))
		wantErr(t, err, orders.ErrNothing)
	})
}

// A frozen order waits for a person; one in doubt for evidence.
func TestSettleLeavesFrozenOrders(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		p := placement(1, "AAAAAAAAA")
		frozen(t, s, p)
		_, err := s.SettleNext(t.Context(), after(time.Hour))
		wantErr(t, err, orders.ErrNothing)
		if b := must[orders.Book](t)(s.Book(t.Context(), p.Order.No)); b.Order.State != orders.OrderOpen || b.Bills["AAAAAAAAA"].Holder != p.Order.No {
			t.Errorf("stored %+v", b)
		}
	})
}
