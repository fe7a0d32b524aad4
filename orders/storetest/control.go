package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pay.taipei/gateway/orders"
)

func quiet(until time.Time) orders.Control {
	return orders.Control{Kind: orders.ControlQuiet, Name: account, Reason: "too fast", By: "router", SetAt: inTime, Until: until}
}

func (w *world) set(c orders.Control) {
	w.Helper()
	w.ok(w.stores[0].SetControl(w.ctx, c))
}

// controls ends the case unless these are in force, as another process sees it.
func (w *world) controls(now time.Time, want ...orders.Control) {
	w.Helper()
	got, err := w.stores[1].Controls(w.ctx, now)
	w.ok(err)
	for i := range got {
		got[i].SetAt, got[i].Until = got[i].SetAt.UTC(), got[i].Until.UTC()
	}
	if !slices.Equal(got, want) {
		w.Fatalf("controls %+v, want %+v", got, want)
	}
}

var controlling = map[string]func(*world){
	"in force until its end": func(w *world) {
		w.controls(inTime)
		c := quiet(inTime.Add(time.Hour))
		w.set(c)
		w.controls(inTime, c)
		w.controls(c.Until.Add(-time.Millisecond), c)
		w.controls(c.Until)
	},
	"in force until it is taken back": func(w *world) {
		c := orders.Control{Kind: orders.ControlForce, Name: account + "/create", Spec: "open", Reason: "trial", By: "ops", SetAt: inTime}
		w.set(c)
		w.controls(inTime.Add(10000*time.Hour), c)
		w.ok(w.stores[1].DropControl(w.ctx, c.Kind, c.Name, "night shift", "trial is over", tooLate))
		w.controls(inTime)
		w.is(w.stores[1].DropControl(w.ctx, c.Kind, c.Name, "night shift", "again", tooLate), orders.ErrNotFound)
	},
	"one of each kind and name": func(w *world) {
		force := orders.Control{Kind: orders.ControlForce, Name: account, Spec: "open", Reason: "trial", By: "ops", SetAt: inTime}
		window := orders.Control{Kind: orders.ControlWindow, Name: "w2", Spec: `{"daily":"05:15-06:15"}`, Reason: "announced", By: "ops", SetAt: inTime, Until: tooLate}
		first := window
		first.Name = "w1"
		for _, c := range []orders.Control{window, quiet(tooLate), first, force} {
			w.set(c)
		}
		w.controls(inTime, force, quiet(tooLate), first, window)
		window.Spec, window.Until = `{"daily":"05:15-07:15"}`, time.Time{}
		w.set(window)
		w.controls(inTime, force, quiet(tooLate), first, window)
	},
	"every edit is kept": func(w *world) {
		c := quiet(tooLate)
		w.set(c)
		c.SetAt, c.Until, c.By, c.Reason = inTime.Add(time.Second), tooLate.Add(time.Hour), "ops", "they asked by phone"
		w.set(c)
		w.ok(w.stores[0].DropControl(w.ctx, c.Kind, c.Name, "night shift", "over", inTime.Add(2*time.Second)))
		c.SetAt = inTime.Add(3 * time.Second)
		w.set(c)
		log, err := w.stores[1].ControlLog(w.ctx, 10)
		w.ok(err)
		var told []string
		for _, e := range log {
			if e.Control.Kind != c.Kind || e.Control.Name != c.Name {
				w.Errorf("change %+v", e)
			}
			told = append(told, fmt.Sprint(e.At.Sub(inTime), e.Dropped, e.Control.Until.Sub(tooLate), " ", e.By, ": ", e.Reason))
		}
		want := []string{
			"3s false 1h0m0s ops: they asked by phone", "2s true 1h0m0s night shift: over",
			"1s false 1h0m0s ops: they asked by phone", "0s false 0s router: too fast",
		}
		if !slices.Equal(told, want) {
			w.Errorf("log %q, want %q", told, want)
		}
		if log, err = w.stores[1].ControlLog(w.ctx, 1); err != nil || len(log) != 1 || log[0].At.Sub(inTime) != 3*time.Second {
			w.Errorf("the newest is %+v, %v", log, err)
		}
	},
	"what has passed cannot be taken back": func(w *world) {
		w.set(quiet(tooLate))
		w.is(w.stores[0].DropControl(w.ctx, orders.ControlQuiet, account, "ops", "", tooLate), orders.ErrNotFound)
		w.is(w.stores[0].DropControl(w.ctx, orders.ControlForce, account, "ops", "", inTime), orders.ErrNotFound)
	},
	"many at once": func(w *world) {
		for _, err := range parallel(8, func(i int) error {
			c := quiet(tooLate)
			c.By = fmt.Sprint(i)
			return w.store(i).SetControl(w.ctx, c)
		}) {
			w.ok(err)
		}
		if log, err := w.stores[0].ControlLog(w.ctx, 100); err != nil || len(log) != 8 {
			w.Errorf("%d edits, %v", len(log), err)
		}
	},
}

// due places n orders whose queries are due, and returns their attempts in the order in which they are asked about.
func (w *world) due(n int) []orders.AttemptNo {
	w.Helper()
	var all []orders.AttemptNo
	for i := range n {
		p := w.placement(fmt.Sprintf("H2323232%04d", w.drawn.Load()))
		p.Order.Attempts[0].QueryAt = inTime.Add(time.Duration(i) * time.Millisecond)
		all = append(all, w.place(p).Attempts[0].No)
	}
	return all
}

var pacing = map[string]func(*world){
	"no faster than its gap, over all processes": func(w *world) {
		attempts := w.due(3)
		at := inTime.Add(time.Minute)
		for i, no := range attempts {
			work, err := w.store(i).ClaimQuery(w.ctx, account, at, time.Hour, 10*time.Second)
			if w.ok(err); work.Attempt != no {
				w.Fatalf("claimed %s, want %s", work.Attempt, no)
			}
			_, err = w.store(i+1).ClaimQuery(w.ctx, account, at.Add(10*time.Second-time.Millisecond), time.Hour, 10*time.Second)
			w.is(err, orders.ErrNothing)
			at = at.Add(10 * time.Second)
			if next, err := w.store(i+1).NextQuery(w.ctx, account); err != nil || i < 2 && !next.Equal(at) {
				w.Errorf("due at %v, %v, want %v", next, err, at)
			}
		}
	},
	"one of many": func(w *world) {
		w.due(8)
		won := 0
		for _, err := range parallel(8, func(i int) error {
			_, err := w.store(i).ClaimQuery(w.ctx, account, tooLate, time.Hour, time.Second)
			return err
		}) {
			if err == nil {
				won++
				continue
			}
			w.is(err, orders.ErrNothing)
		}
		if won != 1 {
			w.Errorf("%d questions at once", won)
		}
	},
	"a turn that nobody needed is not lost": func(w *world) {
		_, err := w.stores[0].ClaimQuery(w.ctx, account, inTime, lease, time.Hour)
		w.is(err, orders.ErrNothing)
		no := w.due(1)[0]
		if work, err := w.stores[1].ClaimQuery(w.ctx, account, inTime, lease, time.Hour); err != nil || work.Attempt != no {
			w.Errorf("work %+v, %v", work, err)
		}
	},
	"other accounts are not slowed": func(w *world) {
		w.ok(w.stores[0].TakeTurn(w.ctx, "another", "", inTime, time.Hour))
		w.due(1)
		_, err := w.stores[0].ClaimQuery(w.ctx, account, inTime, lease, time.Hour)
		w.ok(err)
	},
	"a question of another kind takes a turn": func(w *world) {
		attempts := w.due(2)
		w.ok(w.stores[0].TakeTurn(w.ctx, account, "", inTime, time.Minute))
		w.is(w.stores[1].TakeTurn(w.ctx, account, "", inTime.Add(time.Minute-time.Millisecond), time.Minute), orders.ErrNothing)
		_, err := w.stores[1].ClaimQuery(w.ctx, account, inTime.Add(time.Second), lease, time.Minute)
		w.is(err, orders.ErrNothing)
		_, err = w.stores[1].ClaimAttempt(w.ctx, attempts[1], inTime.Add(time.Second), lease, time.Minute, 0)
		w.is(err, orders.ErrNothing)
		work, err := w.stores[1].ClaimAttempt(w.ctx, attempts[1], inTime.Add(time.Minute), lease, time.Minute, 0)
		if w.ok(err); work.Attempt != attempts[1] || work.Order.Attempt(work.Attempt) == nil {
			w.Errorf("work %+v", work)
		}
		w.is(w.stores[0].TakeTurn(w.ctx, account, "", inTime.Add(time.Minute), time.Minute), orders.ErrNothing)
	},
	"quiet": func(w *world) {
		attempts := w.due(1)
		until := inTime.Add(30 * time.Minute)
		w.set(quiet(until))
		for _, gap := range []time.Duration{0, time.Second} {
			at := until.Add(-time.Millisecond)
			_, err := w.stores[1].ClaimQuery(w.ctx, account, at, lease, gap)
			w.is(err, orders.ErrNothing)
			_, err = w.stores[1].ClaimAttempt(w.ctx, attempts[0], at, lease, gap, 0)
			w.is(err, orders.ErrNothing)
			w.is(w.stores[1].TakeTurn(w.ctx, account, "", at, gap), orders.ErrNothing)
			w.ok(w.stores[1].TakeTurn(w.ctx, "another", "", at, gap))
		}
		if next, err := w.stores[0].NextQuery(w.ctx, account); err != nil || !next.Equal(until) {
			w.Errorf("due at %v, %v", next, err)
		}
		w.ask(until)
	},
	"quiet until it is taken back": func(w *world) {
		w.due(1)
		w.set(quiet(time.Time{}))
		w.idle(tooLate.Add(1000 * time.Hour))
		w.ok(w.stores[1].DropControl(w.ctx, orders.ControlQuiet, account, "ops", "they called back", inTime))
		w.ask(inTime)
	},
	"quiet is shortened only by taking it back": func(w *world) {
		w.due(1)
		for _, first := range []time.Time{tooLate.Add(time.Hour), {}} { // the zero time: for good
			w.set(quiet(first))
			w.set(quiet(inTime.Add(time.Minute)))
			w.idle(tooLate)
			w.ok(w.stores[0].DropControl(w.ctx, orders.ControlQuiet, account, "ops", "", inTime))
		}
		w.set(quiet(inTime.Add(time.Minute)))
		w.set(quiet(inTime.Add(time.Hour)))
		w.idle(inTime.Add(time.Hour - time.Millisecond))
		w.ask(inTime.Add(time.Hour))
	},
	"quiet is only what says so": func(w *world) {
		w.due(1)
		w.set(orders.Control{Kind: orders.ControlForce, Name: account, Spec: "open", SetAt: inTime})
		w.ask(inTime)
	},
}

var judging = map[string]func(*world){
	"opened once, seen, closed by a person": func(w *world) {
		o := w.place(w.placement(bill1))
		no := o.Attempts[0].No
		a, err := w.stores[0].OpenUnresolved(w.ctx, no, "asked for three days", tooLate)
		w.ok(err)
		w.same(w.order(o.No), a.Order)
		want := orders.Case{Number: 1, Attempt: no, Kind: orders.CaseUnresolved, Detail: "asked for three days", OpenedAt: tooLate}
		if len(a.Order.Cases) != 1 || a.Order.Cases[0] != want || !slices.Equal(a.Events, []orders.EventType{orders.EventCase}) {
			w.Errorf("applied %+v", a)
		}
		if a, err = w.stores[1].OpenUnresolved(w.ctx, no, "asked again", tooLate); err != nil || len(a.Events) > 0 {
			w.Errorf("applied %+v, %v", a, err)
		}
		w.told(o.No, orders.EventCreated, orders.EventCase)
		w.cases(orders.CaseRow{OrderNo: o.No, Account: account, Case: want})
		if g, err := w.stores[1].Gauges(w.ctx, nil); err != nil || g.Cases[orders.CaseUnresolved] != 1 {
			w.Errorf("gauges %+v, %v", g, err)
		}
		w.is(w.stores[0].CloseCase(w.ctx, o.No, 2, "ops", "no such", tooLate), orders.ErrNotFound)
		w.is(w.stores[0].CloseCase(w.ctx, "2017061399999999", 1, "ops", "no such", tooLate), orders.ErrNotFound)
		w.ok(w.stores[0].CloseCase(w.ctx, o.No, 1, "ops", "the bank says: not paid", tooLate.Add(time.Hour)))
		w.is(w.stores[0].CloseCase(w.ctx, o.No, 1, "ops", "again", tooLate.Add(time.Hour)), orders.ErrNotFound)
		w.cases()
		want.ClosedAt, want.ClosedBy, want.Note = tooLate.Add(time.Hour), "ops", "the bank says: not paid"
		if got := plain(w.order(o.No)); got.Cases[0] != want || got.Version != 2 {
			w.Errorf("cases %+v", got.Cases)
		}
		if g, err := w.stores[1].Gauges(w.ctx, nil); err != nil || g.Cases[orders.CaseUnresolved] != 0 {
			w.Errorf("gauges %+v, %v", g, err)
		}
		rows, err := w.stores[1].Timeline(w.ctx, o.No)
		w.ok(err)
		var told []string
		for _, r := range rows {
			if r.What == "case" {
				told = append(told, r.Detail)
			}
		}
		id := want.ID(o.No)
		if !slices.Equal(told, []string{id + " opened (unresolved): asked for three days", id + " closed by ops: the bank says: not paid"}) {
			w.Errorf("timeline %q", told)
		}
	},
	"closed by evidence": func(w *world) {
		o := w.place(w.placement(bill1))
		_, err := w.stores[0].OpenUnresolved(w.ctx, o.Attempts[0].No, "asked", tooLate)
		w.ok(err)
		a := w.apply(said(&o, 1, orders.AttemptPaid, tooLate.Add(time.Hour)))
		w.same(w.order(o.No), a.Order)
		if c := a.Order.Cases[0]; c.ClosedBy != orders.ByEvidence || !c.ClosedAt.Equal(tooLate.Add(time.Hour)) {
			w.Errorf("case %+v", c)
		}
		w.cases()
		w.told(o.No, orders.EventCreated, orders.EventCase, orders.EventPaid)
	},
	"closed by the outcome of a call": func(w *world) {
		o := w.place(w.placement(bill1))
		call, err := w.stores[0].ClaimConfirm(w.ctx, o.Attempts[0].No, inTime)
		w.ok(err)
		w.apply(said(&o, 1, orders.AttemptCancelled, inTime))
		_, err = w.stores[0].OpenUnresolved(w.ctx, o.Attempts[0].No, "asked", tooLate)
		w.ok(err)
		call.Outcome, call.EndedAt = orders.OutcomeRefused, tooLate
		w.ok(w.stores[0].FinishCall(w.ctx, call))
		w.cases()
		w.told(o.No, orders.EventCreated, orders.EventFailed, orders.EventCase, orders.EventExpired)
	},
	"not about what is known": func(w *world) {
		o := w.paid(1, bill1)
		a, err := w.stores[0].OpenUnresolved(w.ctx, o.Attempts[0].No, "asked", tooLate)
		if w.ok(err); len(a.Events) > 0 || a.Order.No != o.No {
			w.Errorf("applied %+v", a)
		}
		w.cases()
		_, err = w.stores[0].OpenUnresolved(w.ctx, "201706139999999901", "asked", tooLate)
		w.is(err, orders.ErrNotFound)
	},
	"the oldest first": func(w *world) {
		var want []orders.CaseRow
		for i, minutes := range []time.Duration{3, 1, 2} {
			o := w.place(w.placement(fmt.Sprintf("H7878787%04d", i)))
			at := tooLate.Add(minutes * time.Minute)
			_, err := w.stores[0].OpenUnresolved(w.ctx, o.Attempts[0].No, "asked", at)
			w.ok(err)
			want = append(want, orders.CaseRow{OrderNo: o.No, Account: account, Case: orders.Case{
				Number: 1, Attempt: o.Attempts[0].No, Kind: orders.CaseUnresolved, Detail: "asked", OpenedAt: at,
			}})
		}
		w.cases(want[1], want[2], want[0])
		if rows, err := w.stores[1].Cases(w.ctx, 1); err != nil || len(rows) != 1 || rows[0].OrderNo != want[1].OrderNo {
			w.Errorf("the oldest is %+v, %v", rows, err)
		}
	},
	"more was paid back than we asked for": func(w *world) {
		o := w.paid(1, bill1)
		e := said(&o, 1, orders.AttemptPaid, tooLate)
		e.Fact.Refunds = []orders.RefundFact{{ProviderRefundNo: "by hand", Amount: twd(20), State: orders.RefundDone}}
		a := w.apply(e)
		w.same(w.order(o.No), a.Order)
		if len(a.Order.Cases) != 1 || a.Order.Cases[0].Kind != orders.CaseRefundMismatch || a.Order.State != orders.OrderPaid {
			w.Errorf("applied %+v", a)
		}
		w.told(o.No, orders.EventCreated, orders.EventPaid, orders.EventCase)
		if g, err := w.stores[1].Gauges(w.ctx, nil); err != nil || g.Cases[orders.CaseRefundMismatch] != 1 {
			w.Errorf("gauges %+v, %v", g, err)
		}
	},
	"a person wants to know": func(w *world) {
		o := w.place(w.placement(bill1))
		no := o.Attempts[0].No
		w.ok(w.stores[0].FinishQuery(w.ctx, w.ask(tooLate), tooLate, time.Time{})) // its plan has ended
		w.idle(tooLate.Add(1000 * time.Hour))
		at := tooLate.Add(24 * time.Hour)
		w.ok(w.stores[1].AskNow(w.ctx, no, at))
		w.idle(at.Add(-time.Millisecond))
		if work := w.ask(at); work.Attempt != no || work.Asked != 0 || !work.Since.Equal(at) {
			w.Errorf("work %+v", work)
		}
		if err := w.stores[1].AskNow(w.ctx, "201706139999999901", at); !errors.Is(err, orders.ErrNotFound) {
			w.Errorf("error %v", err)
		}
	},
}

// cases ends the case unless these are open, as another process sees it.
func (w *world) cases(want ...orders.CaseRow) {
	w.Helper()
	got, err := w.stores[1].Cases(w.ctx, 100)
	w.ok(err)
	for i := range got {
		got[i].Case.OpenedAt = got[i].Case.OpenedAt.UTC()
	}
	if !slices.Equal(got, want) {
		w.Fatalf("cases %+v, want %+v", got, want)
	}
}
