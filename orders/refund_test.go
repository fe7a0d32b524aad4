package orders_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// paidBook is an order of two bills whose attempts are paid in turn: what the first pays the second pays too much.
func paidBook(attempts int) orders.Book {
	b := newBook(orderNo, attempts)
	for i := range attempts {
		b = orders.Fold(b, said(orderNo, i+1, paid, inTime)).Book
	}
	return b
}

// with is a book with one more refund, which was sent.
func with(b orders.Book, r orders.Refund) orders.Book {
	b = deepCopy(b)
	o := &b.Order
	o.Refunds = append(o.Refunds, r)
	o.Calls = append(o.Calls, orders.Call{Attempt: r.Attempt, Op: orders.OpRefund, Ordinal: r.Ordinal, SentAt: r.AskedAt})
	return b
}

// refund is an undecided one of an attempt of the order: of the order itself, or of a surplus.
func refund(attempt, ordinal int, bill string, units int64) orders.Refund {
	return orders.Refund{
		Attempt: number(orderNo, attempt), Ordinal: ordinal, BillNo: bill, Amount: twd(units), Reason: "double payment",
		State: orders.RefundUndecided, AskedAt: inTime,
	}
}

func decided(r orders.Refund, s orders.RefundState) orders.Refund {
	r.State, r.DecidedAt = s, inTime
	return r
}

func TestRefundable(t *testing.T) {
	two := paidBook(2)
	for _, c := range []struct {
		name    string
		book    orders.Book
		attempt int
		bill    string
		want    int64
	}{
		{"not paid", newBook(orderNo, 1), 1, "", 0},
		{"an attempt of no one", paidBook(1), 2, "", 0},
		{"all that was paid", paidBook(1), 1, "", 40},
		{"no surplus", paidBook(1), 1, bill1, 0},
		{"the paying attempt beside a surplus", two, 1, "", 40},
		{"an attempt that is all surplus", two, 2, "", 0},
		{"the surplus of one bill", two, 2, bill2, 20},
		{"of a bill that is not in the order", two, 2, "H61283631217537", 0},
		{"what is undecided counts as paid back", with(paidBook(1), refund(1, 1, "", 15)), 1, "", 25},
		{"so does what was done", with(paidBook(1), decided(refund(1, 1, "", 15), orders.RefundDone)), 1, "", 25},
		{"what failed does not", with(paidBook(1), decided(refund(1, 1, "", 15), orders.RefundFailed)), 1, "", 40},
		{"a surplus refund leaves the other bill's alone", with(two, refund(2, 1, bill1, 20)), 2, bill2, 20},
		{"and the order's part", with(two, refund(2, 1, bill1, 20)), 1, "", 40},
		{"an order refund leaves the surplus alone", with(two, refund(1, 1, "", 40)), 2, bill1, 20},
		{"never less than nothing", with(with(paidBook(1), refund(1, 1, "", 30)), refund(1, 2, "", 30)), 1, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.book.Order.Refundable(number(orderNo, c.attempt), c.bill); got != twd(c.want) {
				t.Errorf("%s, want %d", got, c.want)
			}
		})
	}
}

func TestPaying(t *testing.T) {
	elsewhere := newBook(orderNo, 1)
	elsewhere.Bills = map[string]orders.Bill{bill1: {Holder: other, Paid: other}, bill2: {Holder: other, Paid: other}}
	half := newBook(orderNo, 1)
	half.Bills[bill1] = orders.Bill{Holder: orderNo, Paid: other}
	feed := newBook(orderNo, 2)
	feed.Order.Fee, feed.Order.Total = twd(5), twd(45)
	total := func(e *orders.Evidence) { a := twd(45); e.Fact.Amount = &a }
	second, first := said(orderNo, 2, paid, inTime), said(orderNo, 1, paid, inTime)
	total(&second)
	total(&first)
	for name, c := range map[string]struct {
		book orders.Book
		want orders.AttemptNo
	}{
		"nobody yet":                           {newBook(orderNo, 2), ""},
		"the only one":                         {paidBook(1), number(orderNo, 1)},
		"the first of two":                     {paidBook(2), number(orderNo, 1)},
		"the first to be known, not to begin":  {fold(newBook(orderNo, 2), said(orderNo, 2, paid, inTime), said(orderNo, 1, paid, inTime)).Book, number(orderNo, 2)},
		"another order paid every bill":        {fold(elsewhere, said(orderNo, 1, paid, inTime)).Book, ""},
		"another order paid one of the bills":  {fold(half, said(orderNo, 1, paid, inTime)).Book, number(orderNo, 1)},
		"a fee is no bill: the second paid it": {fold(feed, second, first).Book, number(orderNo, 2)},
	} {
		got := orders.AttemptNo("")
		if a := c.book.Order.Paying(); a != nil {
			got = a.No
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestNewRefund(t *testing.T) {
	two := paidBook(2)
	mismatched := orders.Fold(paidBook(1), told(refund(1, 1, "", 1), false, true, unnumbered(5, orders.RefundDone))).Book
	many := paidBook(1)
	for i := range 99 {
		many = with(many, decided(refund(1, i+1, "", 1), orders.RefundFailed))
	}
	for _, c := range []struct {
		name    string
		book    orders.Book
		attempt int
		bill    string
		amount  money.Amount
		want    int64 // 0: refused
		ordinal int
		err     error
	}{
		{"all that is left", paidBook(1), 1, "", money.Amount{}, 40, 1, nil},
		{"a part", paidBook(1), 1, "", twd(1), 1, 1, nil},
		{"the last dollar", with(paidBook(1), decided(refund(1, 1, "", 39), orders.RefundDone)), 1, "", twd(1), 1, 2, nil},
		{"one dollar more", with(paidBook(1), decided(refund(1, 1, "", 39), orders.RefundDone)), 1, "", twd(2), 0, 0, orders.ErrRefundExceeds},
		{"more than was paid", paidBook(1), 1, "", twd(41), 0, 0, orders.ErrRefundExceeds},
		{"nothing", paidBook(1), 1, "", twd(0), 0, 0, orders.ErrRefundExceeds},
		{"nothing of another currency", paidBook(1), 1, "", money.Zero("USD"), 0, 0, orders.ErrRefundExceeds},
		{"nothing is left", with(paidBook(1), decided(refund(1, 1, "", 40), orders.RefundDone)), 1, "", money.Amount{}, 0, 0, orders.ErrNotRefundable},
		{"not paid", newBook(orderNo, 1), 1, "", twd(1), 0, 0, orders.ErrNotRefundable},
		{"of no attempt", paidBook(1), 7, "", twd(1), 0, 0, orders.ErrNotRefundable},
		{"another is undecided", with(paidBook(1), refund(1, 1, "", 1)), 1, "", twd(1), 0, 0, orders.ErrRefundUndecided},
		{"another of the attempt, of its surplus, is undecided", with(two, refund(2, 1, bill1, 1)), 2, bill2, twd(1), 0, 0, orders.ErrRefundUndecided},
		{"another attempt's is undecided", with(two, refund(2, 1, bill1, 1)), 1, "", twd(1), 1, 1, nil},
		{"the last one failed", with(paidBook(1), decided(refund(1, 1, "", 40), orders.RefundFailed)), 1, "", money.Amount{}, 40, 2, nil},
		{"a surplus", two, 2, bill2, money.Amount{}, 20, 1, nil},
		{"more than the surplus", two, 2, bill2, twd(21), 0, 0, orders.ErrRefundExceeds},
		{"the order's part of an attempt that is all surplus", two, 2, "", twd(1), 0, 0, orders.ErrNotRefundable},
		{"a surplus that is not there", two, 1, bill2, twd(1), 0, 0, orders.ErrNotRefundable},
		{"a person finds out first what went back", mismatched, 1, "", twd(1), 0, 0, orders.ErrRefundUndecided},
		{"numbers end at 99", many, 1, "", twd(1), 0, 0, orders.ErrNotRefundable},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := deepCopy(c.book)
			ask := orders.RefundAsk{Attempt: number(orderNo, c.attempt), BillNo: c.bill, Amount: c.amount, Reason: "double payment"}
			got, err := c.book.Order.NewRefund(ask, tooLate)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			want := orders.Refund{}
			if c.want > 0 {
				want = refund(c.attempt, c.ordinal, c.bill, c.want)
				want.AskedAt = tooLate
			}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			if !reflect.DeepEqual(c.book, before) {
				t.Error("the book was changed")
			}
		})
	}
}

// told is what the provider says of its refunds when it is asked about one of them.
func told(asked orders.Refund, settled, complete bool, refunds ...orders.RefundFact) orders.Evidence {
	e := said(orderNo, 1, paid, tooLate)
	e.AttemptNo, e.Source, e.Purpose = asked.Attempt, orders.SourceQuery, orders.PurposeRefund(&asked)
	if settled {
		e.Settled = asked.AskedAt // when it was sent
	}
	e.Fact.ProviderTradeNo = ""
	e.Fact.Refunds, e.Fact.RefundsComplete = refunds, complete
	return e
}

func listed(r orders.Refund, units int64, s orders.RefundState) orders.RefundFact {
	return orders.RefundFact{ID: r.ID(), ProviderRefundNo: "P" + r.ID(), Amount: twd(units), State: s}
}

func unnumbered(units int64, s orders.RefundState) orders.RefundFact {
	return orders.RefundFact{ProviderRefundNo: "P", Amount: twd(units), State: s}
}

// Every rule by which what a provider tells of its refunds decides one of ours.
func TestRefundsAreDecidedByEvidence(t *testing.T) {
	const (
		undecided = orders.RefundUndecided
		done      = orders.RefundDone
		not       = orders.RefundFailed
	)
	first := refund(1, 1, "", 10)
	second := refund(1, 2, "", 10)
	plain := with(paidBook(1), first)
	after := with(with(paidBook(1), decided(first, done)), second)
	unsent := deepCopy(plain)
	unsent.Order.Calls = nil
	taken, notSent := deepCopy(plain), deepCopy(plain)
	taken.Order.Calls[0].Outcome, notSent.Order.Calls[0].Outcome = orders.OutcomeDone, orders.OutcomeNotSent
	since := func(e orders.Evidence, sent time.Time) orders.Evidence { e.Settled = sent; return e }
	about := func(e orders.Evidence, p orders.Purpose) orders.Evidence { e.Purpose = p; return e }
	for _, c := range []struct {
		name  string
		book  orders.Book
		of    orders.Refund
		e     orders.Evidence
		want  orders.RefundState
		why   string
		cases string // begins so; empty: none
	}{
		{"done, by its number", plain, first, told(first, false, false, listed(first, 10, done)), done, "", ""},
		{"refused, by its number", plain, first, told(first, false, false, listed(first, 10, not)), not, "refused_by_provider", ""},
		{"pending", plain, first, told(first, true, true, listed(first, 10, undecided)), undecided, "", ""},
		{"a word that is no state", plain, first, told(first, true, true, listed(first, 10, "")), undecided, "", ""},
		{"of another amount", plain, first, told(first, true, true, listed(first, 11, done)), undecided, "", "refund 201706130000001601R01 is of TWD 11"},
		{"of another amount, pending", plain, first, told(first, true, true, listed(first, 1, undecided)), undecided, "", "refund 201706130000001601R01 is of TWD 1 "},
		{"nothing is said of refunds", plain, first, told(first, true, false), undecided, "", ""},
		{"an incomplete list without it", plain, first, told(first, true, false, unnumbered(10, done)), undecided, "", ""},
		{"missing, but it may be on its way", plain, first, told(first, false, true), undecided, "", ""},
		{"missing, and nothing is on its way any more", plain, first, told(first, true, true), not, "not_carried_out", ""},
		{"missing in the answer about a send before", plain, first, since(told(first, true, true), first.AskedAt.Add(-time.Second)), undecided, "", ""},
		{"missing, but the provider has said that it took it", taken, first, told(first, true, true), undecided, "", ""},
		{"missing, but its last send was proven not to have been one", notSent, first, told(first, true, true), undecided, "", ""},
		{"missing in the answer to another question", plain, first, about(told(first, true, true), orders.PurposeAfterDeadline), undecided, "", ""},
		{"missing in the answer about its doubt", plain, first, about(told(first, true, true), orders.PurposeDoubt(&plain.Order.Calls[0])), not, "not_carried_out", ""},
		{"missing beside a numbered one", after, second, told(second, true, true, listed(first, 10, done)), not, "not_carried_out", ""},
		{"missing, asked about the one before", after, second, told(first, true, true, listed(first, 10, done)), undecided, "", ""},
		{"missing beside less than was done before", after, second, told(second, true, true, unnumbered(3, done)), undecided, "", ""},
		{"missing in a list of ours that lags", after, second, told(second, true, true, listed(first, 10, undecided)), undecided, "", ""},
		{"not sent yet, and so not missing", unsent, first, told(first, true, true), undecided, "", ""},
		{"not sent yet, whatever the total", unsent, first, told(first, true, true, unnumbered(10, done)), undecided, "", ""},

		{"done, by the total", plain, first, told(first, false, true, unnumbered(10, done)), done, "", ""},
		{"done, by the total of two", after, second, told(second, false, true, unnumbered(10, done), unnumbered(10, done)), done, "", ""},
		{"the total has not changed", after, second, told(second, false, true, unnumbered(10, done)), undecided, "", ""},
		{"the total has not changed and will not", after, second, told(second, true, true, unnumbered(10, done)), not, "not_carried_out", ""},
		{"the total will change", after, second, told(second, true, true, unnumbered(10, done), unnumbered(10, undecided)), undecided, "", ""},
		{"the total has changed by less", after, second, told(second, true, true, unnumbered(10, done), unnumbered(3, done)), undecided, "", ""},
		{"a total is not taken from numbered ones", after, second, told(second, false, true, listed(first, 10, done), unnumbered(10, done)), undecided, "", ""},
		{"the total is above ours", plain, first, told(first, false, true, unnumbered(10, done), unnumbered(5, done)), undecided, "", "the provider has paid back 5 units more"},
		{"done by its number, and more than that", plain, first, told(first, false, true, listed(first, 10, done), unnumbered(5, done)), done, "", "the provider has paid back 5 units more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := deepCopy(c.book)
			f := orders.Fold(c.book, c.e)
			o := &f.Book.Order
			got := o.RefundByID(c.of.ID())
			if got.State != c.want || got.Why != c.why || got.DecidedAt.IsZero() != (c.want == undecided) {
				t.Errorf("refund %+v, want it %s, %q", got, c.want, c.why)
			}
			var events []orders.EventType
			switch c.want {
			case done:
				events = append(events, orders.EventRefunded)
			case not:
				events = append(events, orders.EventRefundFailed)
			}
			if c.cases != "" {
				events = append(events, orders.EventCase)
				if len(o.Cases) != 1 || o.Cases[0].Kind != orders.CaseRefundMismatch || !strings.HasPrefix(o.Cases[0].Detail, c.cases) {
					t.Errorf("cases %+v", o.Cases)
				}
			} else if len(o.Cases) > 0 {
				t.Errorf("cases %+v", o.Cases)
			}
			if !slices.Equal(f.Events, events) || o.Version != c.book.Order.Version+int64(len(events)) {
				t.Errorf("events %v, version %d after %d", f.Events, o.Version, c.book.Order.Version)
			}
			if (f.Verdict == orders.VerdictApplied) != (len(events) > 0 || got.ProviderRefundNo != "") {
				t.Errorf("verdict %s", f.Verdict)
			}
			if !reflect.DeepEqual(c.book, before) {
				t.Error("the book that was given has changed")
			}
			if again := orders.Fold(f.Book, c.e); len(again.Events) > 0 || !reflect.DeepEqual(again.Book, f.Book) {
				t.Errorf("said again: %+v", again)
			}
		})
	}
}

// What a person has looked at is not brought before a person again, unless it is more.
func TestMismatchIsAskedOnce(t *testing.T) {
	r := refund(1, 1, "", 10)
	f := orders.Fold(with(paidBook(1), r), told(r, false, true, unnumbered(15, orders.RefundDone)))
	b := f.Book
	b.Order.Cases[0].ClosedAt, b.Order.Cases[0].ClosedBy = tooLate, "ops"
	b = with(b, decided(refund(1, 2, "", 10), orders.RefundDone))
	if f = orders.Fold(b, told(r, false, true, unnumbered(25, orders.RefundDone))); len(f.Book.Order.Cases) != 1 {
		t.Errorf("cases %+v", f.Book.Order.Cases)
	}
	if f = orders.Fold(b, told(r, false, true, unnumbered(26, orders.RefundDone))); len(f.Book.Order.Cases) != 2 || f.Book.Order.Cases[1].Number != 2 {
		t.Errorf("cases %+v", f.Book.Order.Cases)
	}
}

// Refunds that we know nothing of are told with the payment: a case, and the payment lands.
func TestForeignRefundBesideThePayment(t *testing.T) {
	e := said(orderNo, 1, paid, inTime)
	e.Fact.Refunds = []orders.RefundFact{unnumbered(40, orders.RefundDone)}
	f := orders.Fold(newBook(orderNo, 1), e)
	if f.Book.Order.State != orders.OrderPaid || !slices.Equal(f.Events, []orders.EventType{orders.EventPaid, orders.EventCase}) {
		t.Errorf("state %s, events %v", f.Book.Order.State, f.Events)
	}
	e.Fact.State, e.Fact.Amount = pending, nil
	if f = orders.Fold(newBook(orderNo, 1), e); len(f.Events) > 0 {
		t.Errorf("refunds of what is not paid: %v", f.Events)
	}
}

func TestEndRefund(t *testing.T) {
	half := refund(1, 1, "", 15)
	rest := refund(1, 2, "", 25)
	all := refund(1, 1, "", 40)
	spare := refund(2, 1, bill2, 20)
	part := refund(2, 1, bill2, 5)
	for _, c := range []struct {
		name     string
		book     orders.Book
		of       orders.Refund
		state    orders.RefundState
		want     orders.OrderState
		refunded string // of each surplus
		events   []orders.EventType
	}{
		{"a part of the order", with(paidBook(1), half), half, orders.RefundDone, orders.OrderPartiallyRefunded, "[]", []orders.EventType{orders.EventRefunded}},
		{"all of the order", with(paidBook(1), all), all, orders.RefundDone, orders.OrderRefunded, "[]", []orders.EventType{orders.EventRefunded}},
		{"the rest of the order", with(with(paidBook(1), decided(half, orders.RefundDone)), rest), rest, orders.RefundDone, orders.OrderRefunded, "[]", []orders.EventType{orders.EventRefunded}},
		{"all of a surplus", with(paidBook(2), spare), spare, orders.RefundDone, orders.OrderPaid, "[0 20]", []orders.EventType{orders.EventRefunded}},
		{"a part of a surplus", with(paidBook(2), part), part, orders.RefundDone, orders.OrderPaid, "[0 5]", []orders.EventType{orders.EventRefunded}},
		{"all of the order beside a surplus", with(paidBook(2), all), all, orders.RefundDone, orders.OrderRefunded, "[0 0]", []orders.EventType{orders.EventRefunded}},
		{"failed", with(paidBook(2), all), all, orders.RefundFailed, orders.OrderPaid, "[0 0]", []orders.EventType{orders.EventRefundFailed}},
		{"a surplus refund that failed", with(paidBook(2), spare), spare, orders.RefundFailed, orders.OrderPaid, "[0 0]", []orders.EventType{orders.EventRefundFailed}},
		{"pending", with(paidBook(1), all), all, orders.RefundUndecided, orders.OrderPaid, "[]", nil},
		{"no state", with(paidBook(1), all), all, "", orders.OrderPaid, "[]", nil},
		{"one that failed stays so, and is a case", with(paidBook(1), decided(all, orders.RefundFailed)), all, orders.RefundDone, orders.OrderPaid, "[]", []orders.EventType{orders.EventCase}},
		{"one of nobody", paidBook(1), all, orders.RefundDone, orders.OrderPaid, "[]", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := deepCopy(c.book)
			f := orders.EndRefund(c.book, c.of.Attempt, c.of.Ordinal, c.state, "P1", "code", tooLate)
			o := &f.Book.Order
			var refunded []int64
			for _, s := range o.Surplus {
				refunded = append(refunded, s.Refunded.Units())
			}
			if o.State != c.want || fmt.Sprint(refunded) != c.refunded || !slices.Equal(f.Events, c.events) {
				t.Errorf("state %s, surplus %v, events %v", o.State, refunded, f.Events)
			}
			if r := o.RefundByID(c.of.ID()); r != nil && (r.ProviderRefundNo != "P1" || (r.Why == "code") != (slices.Contains(c.events, orders.EventRefundFailed))) {
				t.Errorf("refund %+v", r)
			}
			if !reflect.DeepEqual(c.book, before) {
				t.Error("the book that was given has changed")
			}
		})
	}
}

// Which of the answers comes first, the call's or a query's, and how often, changes nothing.
func TestRefundAnswersConverge(t *testing.T) {
	r := refund(1, 1, "", 15)
	call := func(b orders.Book) orders.Book {
		return orders.EndRefund(b, r.Attempt, r.Ordinal, orders.RefundDone, "P"+r.ID(), "", tooLate).Book
	}
	query := func(e orders.Evidence) func(orders.Book) orders.Book {
		return func(b orders.Book) orders.Book { return orders.Fold(b, e).Book }
	}
	says := []func(orders.Book) orders.Book{
		call, query(told(r, false, true, listed(r, 15, orders.RefundDone))), query(told(r, false, true, listed(r, 15, orders.RefundUndecided))),
		query(said(orderNo, 1, failed, tooLate)), query(told(r, false, true)),
	}
	permute([]int{0, 1, 2, 3, 4, 0, 1}, func(sequence []int) {
		b := with(paidBook(1), r)
		for _, i := range sequence {
			b = says[i](b)
		}
		if got := b.Order.Refunds[0]; got.State != orders.RefundDone || got.ProviderRefundNo != "P"+r.ID() || b.Order.State != orders.OrderPartiallyRefunded || b.Order.Version != paidBook(1).Order.Version+1 || len(b.Order.Cases) > 0 {
			t.Fatalf("%v: %+v, order %+v", sequence, got, b.Order)
		}
	})
}

func TestRefundDocument(t *testing.T) {
	r := refund(2, 3, bill1, 5)
	d := r.Document()
	if d.ID != "201706130000001602R03" || d.SurplusID == nil || *d.SurplusID != "201706130000001602-"+bill1 || d.Amount != "5" || d.Status != "undecided" ||
		d.Why != nil || d.ProviderRefundNo != nil || d.DecidedAt != nil || d.CreatedAt != "2017-06-13T09:01:00+08:00" || d.Reason != "double payment" {
		t.Errorf("document %+v", d)
	}
	r = decided(refund(1, 1, "", 5), orders.RefundFailed)
	r.Why, r.ProviderRefundNo = "E1", "P1"
	if d = r.Document(); d.SurplusID != nil || *d.Why != "E1" || *d.ProviderRefundNo != "P1" || *d.DecidedAt != "2017-06-13T09:01:00+08:00" {
		t.Errorf("document %+v", d)
	}
	o := orders.Order{Surplus: []orders.Surplus{{Attempt: number(orderNo, 2), BillNo: bill1}}}
	if s := o.SurplusByID("201706130000001602-" + bill1); s == nil || s.Attempt != number(orderNo, 2) || s.BillNo != bill1 {
		t.Errorf("surplus by its id: %+v", s)
	}
	if o.SurplusByID("201706130000001602") != nil {
		t.Error("a number alone is taken for the id of a surplus")
	}
}
