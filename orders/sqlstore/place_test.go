package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/orders/sqlstore"
)

func TestPlaceIsReadBackAsItWas(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		p := placement(1, "H61283631217536", "H60983881309263")
		p.Order.CreatedAt = p.Order.CreatedAt.Add(123456789 * time.Nanosecond)
		o := placed(t, s, p)
		if got := must[orders.Order](t)(s.Order(t.Context(), o.No)); !reflect.DeepEqual(got, o) {
			t.Errorf("placed %+v\nread   %+v", o, got)
		}
		if o.Version != 1 || o.Lines[0].BillNo != "H61283631217536" || o.CreatedAt.Nanosecond() != 123e6 {
			t.Errorf("placed %+v", o)
		}
		k := must[orders.KeyRow](t)(s.LookKey(t.Context(), p.Key))
		want := orders.KeyRow{
			Fingerprint: p.Fingerprint, Done: true, Status: 201, Answer: []byte(string(o.No) + " open v1"), OrderNo: o.No, LeaseUntil: o.CreatedAt,
		}
		if !reflect.DeepEqual(k, want) {
			t.Errorf("key %+v\nwant %+v", k, want)
		}
		p = serverCreate(placement(2, "BBBBBBBBB"))
		o = placed(t, s, p)
		if got := must[orders.Order](t)(s.Order(t.Context(), o.No)); !reflect.DeepEqual(got, o) || len(got.Calls) != 1 || got.Calls[0].Op != orders.OpCreate {
			t.Errorf("placed %+v\nread   %+v", o, got)
		}
		if k := must[orders.KeyRow](t)(s.LookKey(t.Context(), p.Key)); k.Done || !k.LeaseUntil.Equal(p.LeaseUntil) {
			t.Errorf("key %+v", k)
		}
	})
}

func TestPlaceConflicts(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		o := placed(t, s, placement(1, "AAAAAAAAA"))
		same := placement(2, "BBBBBBBBB")
		same.Key = placement(1).Key
		_, err := s.Place(t.Context(), same)
		wantErr(t, err, orders.ErrKeyTaken)
		same = placement(2, "BBBBBBBBB")
		same.Order.ClientReference = "ref-1"
		_, err = s.Place(t.Context(), same)
		wantErr(t, err, orders.ErrReferenceUsed)
		var b *orders.BillError
		_, err = s.Place(t.Context(), placement(2, "BBBBBBBBB", "AAAAAAAAA"))
		if !errors.As(err, &b) || *b != (orders.BillError{BillNo: "AAAAAAAAA", Holder: o.No, Client: "core"}) || errors.Is(err, orders.ErrUnavailable) {
			t.Errorf("error is %+v", err)
		}
		applied(t, s, said(&o, 1, orders.AttemptPaid, after(time.Minute)))
		_, err = s.Place(t.Context(), placement(2, "AAAAAAAAA"))
		if !errors.As(err, &b) || *b != (orders.BillError{BillNo: "AAAAAAAAA", Paid: true, Holder: o.No, Client: "core"}) {
			t.Errorf("error is %+v", err)
		}
		placed(t, s, placement(2, "BBBBBBBBB")) // nothing was left of the failures
	})
}

func TestTakeOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		holder  func(*testing.T, *sqlstore.Store, orders.Placement) orders.Placement
		at      time.Duration
		allowed bool
	}{
		{"in progress", nil, 10*time.Minute - time.Millisecond, false},
		{"past its end", nil, 10 * time.Minute, true},
		{"unanswered, lease dead for a minute", running, 90 * time.Second, false},
		{"unanswered for longer", running, 90*time.Second + time.Millisecond, true},
		{"in doubt", inDoubt, 11 * time.Minute, false},
		{"frozen", frozen, 11 * time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, d database) {
				s := d.open(t)
				p := placement(1, "AAAAAAAAA", "CCCCCCCCC")
				if c.holder == nil {
					placed(t, s, p)
				} else {
					p = c.holder(t, s, p)
				}
				next := placement(2, "CCCCCCCCC", "BBBBBBBBB")
				next.Order.CreatedAt, next.Order.ExpiresAt = after(c.at), after(c.at+10*time.Minute)
				_, err := s.Place(t.Context(), next)
				if !c.allowed {
					var b *orders.BillError
					if !errors.As(err, &b) || b.BillNo != "CCCCCCCCC" {
						t.Errorf("error is %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				book := must[orders.Book](t)(s.Book(t.Context(), p.Order.No))
				if book.Bills["AAAAAAAAA"].Holder != p.Order.No || book.Bills["CCCCCCCCC"].Holder != next.Order.No {
					t.Errorf("bills %+v", book.Bills)
				}
				if p.Answer == nil { // whoever still works on the first must not hand out a page
					_, err := s.AddAttempt(t.Context(), leased(p, 0, after(time.Minute)))
					wantErr(t, err, orders.ErrFenced)
				}
			})
		})
	}
}

func running(t *testing.T, s *sqlstore.Store, p orders.Placement) orders.Placement {
	p = serverCreate(p)
	placed(t, s, p)
	return p
}

func inDoubt(t *testing.T, s *sqlstore.Store, p orders.Placement) orders.Placement {
	o := placed(t, s, p)
	must[orders.Call](t)(s.ClaimConfirm(t.Context(), o.Attempts[0].No, morning))
	return p
}

func frozen(t *testing.T, s *sqlstore.Store, p orders.Placement) orders.Placement {
	o := placed(t, s, p)
	e := said(&o, 1, orders.AttemptPaid, morning)
	e.Account = "another"
	if a := applied(t, s, e); a.Verdict != orders.VerdictReview || a.Why != "account" {
		t.Fatalf("applied %+v", a)
	}
	return p
}

func TestFinishCreate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		outcome orders.Outcome
		said    orders.AttemptState // by a callback before; intent: none
		want    orders.AttemptState
		events  int64
	}{
		{"done", orders.OutcomeDone, orders.AttemptIntent, orders.AttemptPending, 2},
		{"done after paid", orders.OutcomeDone, orders.AttemptPaid, orders.AttemptPaid, 2},
		{"unknown", orders.OutcomeUnknown, orders.AttemptIntent, orders.AttemptIntent, 1},
		{"refused", orders.OutcomeRefused, orders.AttemptIntent, orders.AttemptFailed, 2},
		{"refused after paid", orders.OutcomeRefused, orders.AttemptPaid, orders.AttemptPaid, 2},
		{"not sent", orders.OutcomeNotSent, orders.AttemptIntent, orders.AttemptIntent, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, d database) {
				s := d.open(t)
				p := serverCreate(placement(1, "AAAAAAAAA"))
				o := placed(t, s, p)
				now := after(time.Second)
				e := said(&o, 1, c.said, now)
				e.Fact.Refs = map[string]string{"transactionId": "8", "said": "yes"}
				if c.said != orders.AttemptIntent {
					applied(t, s, e)
				}
				f := orders.CreateFinish{Key: &p.Key, Attempt: o.Attempts[0].No, Now: now, Outcome: c.outcome}
				if c.outcome == orders.OutcomeDone {
					f.Redirect, f.Refs = &orders.Redirect{Method: "GET", URL: "https://wallet.example/"}, map[string]string{"transactionId": "7"}
					f.Answer = answer(201)
				}
				got, err := s.FinishCreate(t.Context(), f)
				if err != nil {
					t.Fatal(err)
				}
				a := got.Attempts[0]
				if a.State != c.want || a.Abandoned != (c.outcome == orders.OutcomeUnknown) || got.Version != c.events || got.Calls[0].Outcome != c.outcome {
					t.Errorf("got %+v, version %d, calls %+v", a, got.Version, got.Calls)
				}
				if c.outcome == orders.OutcomeDone && a.Refs["transactionId"] == "" {
					t.Errorf("got %+v", a)
				}
				if leaves := c.outcome == orders.OutcomeDone && c.said != orders.AttemptPaid; leaves != (a.Redirect != nil) || leaves != a.HandedAt.Equal(now) {
					t.Errorf("got %+v", a)
				}
				if c.said == orders.AttemptPaid && (a.Refs["transactionId"] != "8" || a.Refs["said"] != "yes") {
					t.Errorf("what evidence said is gone: %v", a.Refs)
				}
				if stored := must[orders.Order](t)(s.Order(t.Context(), o.No)); !reflect.DeepEqual(stored, got) {
					t.Errorf("returned %+v\nstored   %+v", got, stored)
				}
				k := must[orders.KeyRow](t)(s.LookKey(t.Context(), p.Key))
				if k.Done != (f.Answer != nil) || k.LeaseUntil.After(now) {
					t.Errorf("key %+v", k)
				}
				if k.Done {
					_, err = s.FinishCreate(t.Context(), f)
					wantErr(t, err, orders.ErrFenced)
				}
			})
		})
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		p := serverCreate(placement(1, "AAAAAAAAA"))
		o := placed(t, s, p)
		_, err := s.Resume(t.Context(), resumption(p, p.LeaseUntil.Add(-time.Millisecond)))
		wantErr(t, err, orders.ErrKeyTaken)
		at := p.LeaseUntil.Add(time.Second)
		other := resumption(p, at)
		other.Fingerprint[5]++
		_, err = s.Resume(t.Context(), other)
		wantErr(t, err, orders.ErrKeyTaken)

		resumed := must[orders.Resumed](t)(s.Resume(t.Context(), resumption(p, at)))
		if resumed.Fence != 1 || resumed.Opened || len(resumed.Order.Attempts) != 1 || len(resumed.Order.Calls) != 1 {
			t.Errorf("resumed %+v", resumed)
		}
		got := must[orders.Order](t)(s.AddAttempt(t.Context(), leased(p, resumed.Fence, at)))
		if len(got.Attempts) != 2 || !got.Attempts[0].Abandoned || got.Attempts[1].Abandoned || len(got.Calls) != 2 {
			t.Errorf("order %+v", got)
		}
		if stored := must[orders.Order](t)(s.Order(t.Context(), o.No)); !reflect.DeepEqual(stored, got) {
			t.Errorf("returned %+v\nstored   %+v", got, stored)
		}
		finish := orders.CreateFinish{Key: &p.Key, Attempt: o.Attempts[0].No, Now: at, Outcome: orders.OutcomeDone, Answer: answer(201)}
		_, err = s.FinishCreate(t.Context(), finish) // the dead request wakes up
		wantErr(t, err, orders.ErrFenced)
		_, err = s.AddAttempt(t.Context(), leased(p, 0, at))
		wantErr(t, err, orders.ErrFenced)
		if stored := must[orders.Order](t)(s.Order(t.Context(), o.No)); stored.Calls[0].Outcome != orders.OutcomeOpen {
			t.Errorf("a fenced request wrote %+v", stored.Calls[0])
		}
		finish.Fence, finish.Attempt = resumed.Fence, got.Attempts[1].No
		if _, err = s.FinishCreate(t.Context(), finish); err != nil {
			t.Error(err)
		}
		_, err = s.Resume(t.Context(), resumption(p, at.Add(time.Hour)))
		wantErr(t, err, orders.ErrKeyTaken)
	})
}

func TestResumeWithoutTheBills(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		paid bool
	}{{"held by another", false}, {"paid by another", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, d database) {
				s := d.open(t)
				p := serverCreate(placement(1, "AAAAAAAAA", "BBBBBBBBB"))
				o := placed(t, s, p)
				next := placement(2, "BBBBBBBBB")
				next.Order.CreatedAt = after(2 * time.Minute)
				taker := placed(t, s, next)
				if c.paid {
					applied(t, s, said(&taker, 1, orders.AttemptPaid, after(2*time.Minute)))
				}
				got, err := s.Resume(t.Context(), resumption(p, after(3*time.Minute)))
				var b *orders.BillError
				if !errors.As(err, &b) || b.BillNo != "BBBBBBBBB" || b.Paid != c.paid || b.Holder != taker.No {
					t.Fatalf("error is %+v, order %+v", err, got)
				}
				stored := must[orders.Book](t)(s.Book(t.Context(), o.No))
				if stored.Order.State != orders.OrderCancelled || stored.Order.Version != 2 || stored.Bills["AAAAAAAAA"].Holder != "" ||
					stored.Bills["BBBBBBBBB"].Holder != taker.No {
					t.Errorf("stored %+v", stored)
				}
				k := must[orders.KeyRow](t)(s.LookKey(t.Context(), p.Key))
				if !k.Done || k.Status != 409 || string(k.Answer) != "cancelled lost BBBBBBBBB" {
					t.Errorf("key %+v", k)
				}
				late := applied(t, s, said(&o, 1, orders.AttemptPaid, after(4*time.Minute)))
				if late.Order.State != orders.OrderPaid || !late.Order.Late || (len(late.Order.Surplus) == 1) != c.paid {
					t.Errorf("a paid fact after the end gave %+v", late.Order)
				}
			})
		})
	}
}

func TestResumeOfAnOrderThatCannotGoOn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		s := d.open(t)
		for serial, c := range map[int]struct {
			at  time.Duration
			why func(*orders.Order)
		}{
			1: {10 * time.Minute, func(*orders.Order) {}}, // its time is over
			2: {2 * time.Minute, func(o *orders.Order) { applied(t, s, said(o, 1, orders.AttemptPaid, after(time.Minute))) }},
			3: {2 * time.Minute, func(o *orders.Order) {
				e := said(o, 1, orders.AttemptPaid, after(time.Minute))
				e.Account = "another" // frozen
				applied(t, s, e)
			}},
		} {
			p := serverCreate(placement(serial, fmt.Sprintf("AAAAAAAA%d", serial)))
			o := placed(t, s, p)
			c.why(&o)
			_, err := s.Resume(t.Context(), resumption(p, after(c.at)))
			wantErr(t, err, orders.ErrNotPayable)
			if k := must[orders.KeyRow](t)(s.LookKey(t.Context(), p.Key)); k.Fence != 0 {
				t.Errorf("order %d: key %+v", serial, k)
			}
		}
	})
}

func TestDrawEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := newDatabase(t, "sqlite", "sqlite:"+filepath.Join(t.TempDir(), "orders.db"))
	s := d.open(t)
	release := s.HoldNumbers()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.DrawOrderNo(ctx, morning)
		ended <- err
	}()
	cancel()
	wantErr(t, <-ended, orders.ErrUnavailable)
	release()
	must[orders.OrderNo](t)(s.DrawOrderNo(t.Context(), morning))
}

func TestDrawOrderNo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d database) {
		one, two := d.open(t), d.open(t)
		draw := func(s *sqlstore.Store, at time.Time) orders.OrderNo {
			return must[orders.OrderNo](t)(s.DrawOrderNo(t.Context(), at))
		}
		if no := draw(one, morning); no != "2017061332400000" {
			t.Errorf("the first number at nine is %s", no)
		}
		if no := draw(two, morning); no != "2017061332400100" {
			t.Errorf("another process draws %s", no)
		}
		if no := draw(one, after(time.Hour)); no != "2017061332400001" {
			t.Errorf("the block goes on with %s", no)
		}
		midnight := time.Date(2017, 6, 14, 0, 0, 0, 0, orders.Taipei)
		for at, want := range map[time.Time]orders.OrderNo{midnight: "2017061400000000", midnight.Add(-time.Second): "2017061332400002"} {
			if no := draw(one, at); no != want {
				t.Errorf("at %v: %s, want %s", at, no, want)
			}
		}
		seen := map[orders.OrderNo]bool{}
		results := make([]orders.OrderNo, 600)
		parallel(len(results), func(i int) {
			s := []*sqlstore.Store{one, two}[i%2]
			at := midnight.Add(time.Duration(i%3-1) * time.Second) // two days, clock going back and forth
			results[i], _ = s.DrawOrderNo(t.Context(), at)
		})
		for _, no := range results {
			if _, ok := orders.ParseOrderNo(string(no)); !ok || seen[no] {
				t.Errorf("%q was drawn twice or is none", no)
			}
			seen[no] = true
		}
		lastBlock := time.Date(2017, 6, 15, 23, 59, 59, 0, orders.Taipei)
		if _, err := d.raw(t).Exec("INSERT INTO number_blocks VALUES ('20170615', 99999999)"); err != nil {
			t.Fatal(err)
		}
		if no := draw(one, lastBlock); no != "2017061599999999" {
			t.Errorf("the day's last number is %s", no)
		}
		_, err := one.DrawOrderNo(t.Context(), lastBlock)
		wantErr(t, err, orders.ErrNumbersExhausted)
	})
}
