package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// Choose takes one of n things. What it is for is said, so that a failing run can be read.
type Choose func(what string, n int) int

// Machine opens a world and returns one random life of a few orders that compete for the same bills: attempts paid, failed,
// expired and confirmed, cancels, take-overs, refunds whose answers are done, refused, lost or never sent, and what a bank
// says of all this, in time, late and repeatedly. The bank of the model knows what really happened. After each step the
// store must agree with it as far as it was told, and in the end wholly.
func Machine(t testing.TB, fresh Harness) func(t testing.TB, choose Choose) {
	base := newWorld(t, fresh)
	lives := 0
	return func(t testing.TB, choose Choose) {
		lives++
		w := &world{TB: t, ctx: base.ctx, open: base.open, stores: base.stores}
		w.drawn.Store(int64(lives) * 1000)
		m := machine{
			world: w, choose: choose, bank: newBank(choose("refunds have our numbers", 2) == 0), account: fmt.Sprintf("account-%d", lives),
			now: placedAt, versions: map[orders.OrderNo]int64{}, ranks: map[string]int{}, refunds: map[string]orders.RefundState{},
		}
		for i := range 3 {
			m.bills = append(m.bills, fmt.Sprintf("M%08d%d", lives, i))
		}
		m.live()
	}
}

// bank is the provider of the model, and knows the truth.
type bank struct {
	numbered bool // its list of refunds carries our numbers
	charged  map[orders.AttemptNo]bool
	refunds  []*bankRefund
}

type bankRefund struct {
	orders.Refund
	state orders.RefundState // undecided: at work
}

func newBank(numbered bool) *bank {
	return &bank{numbered: numbered, charged: map[orders.AttemptNo]bool{}}
}

// take is a refund that arrives at the bank; twice would pay twice.
func (b *bank) take(w *world, r orders.Refund, s orders.RefundState) {
	w.Helper()
	for _, known := range b.refunds {
		if known.ID() == r.ID() {
			w.Fatalf("refund %s arrives a second time", r.ID())
		}
	}
	b.refunds = append(b.refunds, &bankRefund{r, s})
}

// back is what of an attempt was paid back, or may still be.
func (b *bank) back(attempt orders.AttemptNo) (units int64) {
	for _, r := range b.refunds {
		if r.Attempt == attempt && r.state != orders.RefundFailed {
			units += r.Amount.Units()
		}
	}
	return units
}

// list is what the bank says of its refunds of an attempt.
func (b *bank) list(attempt orders.AttemptNo) []orders.RefundFact {
	var list []orders.RefundFact
	for _, r := range b.refunds {
		if r.Attempt != attempt || (r.state == orders.RefundFailed && !b.numbered) {
			continue
		}
		f := orders.RefundFact{ProviderRefundNo: "P" + r.ID(), Amount: r.Amount, State: r.state}
		if b.numbered {
			f.ID = r.ID()
		}
		list = append(list, f)
	}
	return list
}

// became is what really became of a refund: one that the bank does not know was not carried out.
func (b *bank) became(id string) orders.RefundState {
	for _, r := range b.refunds {
		if r.ID() == id {
			return r.state
		}
	}
	return orders.RefundFailed
}

// machine is one life.
type machine struct {
	*world
	choose  Choose
	bank    *bank
	account string // its own, so that nothing of other lives is due at it
	bills   []string
	now     time.Time
	orders  []orders.OrderNo
	said    []orders.Evidence // on its way, or arrived before
	steps   int

	versions map[orders.OrderNo]int64
	ranks    map[string]int                // of orders and attempts, as last seen
	refunds  map[string]orders.RefundState // as last seen
}

// step is one thing that may happen.
type step struct {
	name string
	do   func()
}

// live lives a life of one of two kinds: orders that compete for bills, or payments that are paid back.
func (m *machine) live() {
	m.Helper()
	m.order()
	race := []step{
		{"another order", m.order}, {"another attempt", m.attempt}, {"charge", m.charge}, {"notice", m.notice}, {"notice", m.notice}, {"question", m.question},
		{"arrival", m.arrival}, {"cancel", m.cancels}, {"cancel", m.cancels}, {"confirm", m.confirm}, {"confirm", m.confirm}, {"time", m.time},
		{"ask for a refund", m.refund}, {"send a refund", m.sendRefund},
	}
	back := []step{
		{"ask for a refund", m.refund}, {"ask for a refund", m.refund}, {"ask for a refund", m.refund}, {"send a refund", m.sendRefund}, {"send a refund", m.sendRefund},
		{"question", m.question}, {"question", m.question}, {"arrival", m.arrival}, {"arrival", m.arrival}, {"the bank decides", m.decide}, {"notice", m.notice}, {"charge", m.charge},
	}
	steps := race
	if m.choose("kind", 2) == 0 {
		steps = back
		m.attempt()
		o := m.world.order(m.orders[0])
		for i := range 1 + m.choose("payments", 2) {
			m.bank.charged[o.Attempts[i].No] = true
			m.tell(said(&o, i+1, orders.AttemptPaid, m.now))
		}
	}
	for range 10 + m.choose("steps", 50) {
		m.steps++
		s := steps[m.choose("step", len(steps))]
		s.do()
		m.check(s.name)
	}
	m.settleUp()
}

// may ends the life unless an error is nil or one of those that the contract allows here. It says whether it was nil.
func (m *machine) may(err error, allowed ...error) bool {
	m.Helper()
	if err == nil || slices.ContainsFunc(allowed, func(a error) bool { return errors.Is(err, a) }) {
		return err == nil
	}
	m.Fatalf("error %v", err)
	return false
}

// any takes one of the orders.
func (m *machine) any() orders.Order {
	m.Helper()
	return m.world.order(m.orders[m.choose("order", len(m.orders))])
}

// anyAttempt takes an attempt, most often one that is of interest if there is one.
func (m *machine) anyAttempt(interest func(*orders.Order, *orders.Attempt) bool) (orders.Order, *orders.Attempt) {
	m.Helper()
	type known struct {
		order   orders.Order
		attempt int
	}
	var all, some []known
	for _, no := range m.orders {
		o := m.world.order(no)
		for i := range o.Attempts {
			all = append(all, known{o, i})
			if interest(&o, &o.Attempts[i]) {
				some = append(some, known{o, i})
			}
		}
	}
	if len(some) > 0 && m.choose("of interest", 5) > 0 {
		all = some
	}
	k := all[m.choose("attempt", len(all))]
	return k.order, &k.order.Attempts[k.attempt]
}

func isOpen(o *orders.Order, a *orders.Attempt) bool {
	return o.State == orders.OrderOpen && !a.State.Ended()
}

func isPaid(_ *orders.Order, a *orders.Attempt) bool { return a.State == orders.AttemptPaid }

func isUndecided(o *orders.Order, a *orders.Attempt) bool {
	return o.DoubtAbout(a.No) != nil || o.UndecidedRefund(a.No) != nil
}

func (m *machine) order() {
	m.Helper()
	var bills []string
	for i, subset := 0, 1+m.choose("bills", 7); i < 3; i++ {
		if subset&(1<<i) != 0 {
			bills = append(bills, m.bills[i])
		}
	}
	p := shift(m.placement(bills...), m.now.Sub(placedAt))
	p.Order.Attempts[0].Account, p.Order.ClientID, p.Key.ClientID = m.account, m.account, m.account // a feed of its own, too
	o, err := m.store(m.steps).Place(m.ctx, p)
	var b *orders.BillError
	if errors.As(err, &b) {
		return
	}
	m.ok(err)
	m.orders = append(m.orders, o.No)
}

func (m *machine) attempt() {
	m.Helper()
	a := m.addition(m.any().No, m.now)
	a.Answer = nil
	next := a.Next
	a.Next = func(o *orders.Order) (orders.Attempt, error) {
		n, err := next(o)
		n.Account = m.account
		return n, err
	}
	_, err := m.store(m.steps).AddAttempt(m.ctx, a)
	m.may(err, orders.ErrNotPayable)
}

// charge takes the payer's money. The bank does so though it said before that it would not.
func (m *machine) charge() {
	m.Helper()
	if _, a := m.anyAttempt(isOpen); !a.HandedAt.IsZero() {
		m.bank.charged[a.No] = true
	}
}

// fact is what the bank truthfully says of an attempt.
func (m *machine) fact(o *orders.Order, a *orders.Attempt) orders.Evidence {
	m.Helper()
	state := orders.AttemptPaid
	if !m.bank.charged[a.No] {
		state = []orders.AttemptState{orders.AttemptPending, orders.AttemptCancelled, orders.AttemptExpired, orders.AttemptFailed}[m.choose("state", 4)]
	}
	return said(o, a.Ordinal, state, m.now)
}

func (m *machine) notice() {
	m.Helper()
	o, a := m.anyAttempt(func(_ *orders.Order, a *orders.Attempt) bool { return !a.State.Ended() })
	e := m.fact(&o, a)
	e.Fact.Refunds = m.bank.list(a.No)
	m.tell(e)
}

// tell says something now, and keeps it to be said again.
func (m *machine) tell(e orders.Evidence) {
	m.Helper()
	m.said = append(m.said, e)
	_, err := m.store(m.steps).Apply(m.ctx, e)
	m.ok(err)
}

// question asks the bank. Its answer arrives some time.
func (m *machine) question() {
	m.Helper()
	o, a := m.anyAttempt(isUndecided)
	m.said = append(m.said, m.answer(&o, a, m.choose("complete", 4) > 0, m.choose("settled", 2) > 0))
}

// answer is what the bank says when it is asked.
func (m *machine) answer(o *orders.Order, a *orders.Attempt, complete, settled bool) orders.Evidence {
	m.Helper()
	e := m.fact(o, a)
	e.Source, e.Purpose = orders.SourceQuery, orders.PurposeLife
	e.Fact.Refunds, e.Fact.RefundsComplete = m.bank.list(a.No), complete
	r, doubt := o.UndecidedRefund(a.No), o.DoubtAbout(a.No)
	switch {
	case doubt != nil:
		e.Purpose = orders.PurposeDoubt(doubt)
	case r != nil:
		e.Purpose = orders.PurposeRefund(r)
	}
	if r != nil && settled {
		e.Settled = sentAt(o, r)
	}
	return e
}

// arrival is of something that was said before, perhaps not for the first time.
func (m *machine) arrival() {
	m.Helper()
	if len(m.said) == 0 {
		return
	}
	newest := len(m.said) - 1
	e := m.said[newest-m.choose("message", len(m.said))]
	e.ReceivedAt = m.now
	_, err := m.store(m.steps).Apply(m.ctx, e)
	m.ok(err)
}

func (m *machine) cancels() {
	m.Helper()
	_, err := m.store(m.steps).Cancel(m.ctx, orders.Cancellation{Order: m.any().No, Now: m.now})
	m.may(err, orders.ErrNotPayable)
}

func (m *machine) confirm() {
	m.Helper()
	o, a := m.anyAttempt(isOpen)
	call, err := m.store(m.steps).ClaimConfirm(m.ctx, a.No, m.now)
	if !m.may(err, orders.ErrNotPayable, orders.ErrCallExists) {
		return
	}
	call.EndedAt = m.now
	switch m.choose("confirm", 5) {
	case 0: // done
		m.bank.charged[a.No] = true
		m.tell(said(&o, a.Ordinal, orders.AttemptPaid, m.now))
		call.Outcome = orders.OutcomeDone
	case 1: // done, and nobody knows
		m.bank.charged[a.No] = true
		call.Outcome = orders.OutcomeUnknown
	case 2: // not done, and nobody knows
		call.Outcome = orders.OutcomeUnknown
	case 3:
		call.Outcome = orders.OutcomeNotSent
	case 4: // its sender died
		return
	}
	m.ok(m.store(m.steps).FinishCall(m.ctx, call))
}

func (m *machine) time() {
	m.Helper()
	m.now = m.now.Add([]time.Duration{time.Second, time.Minute, 11 * time.Minute}[m.choose("wait", 3)])
	m.settle(m.now)
}

func (m *machine) refund() {
	m.Helper()
	o, a := m.anyAttempt(isPaid)
	bill := ""
	if i := m.choose("of", 1+len(o.Lines)); i > 0 {
		bill = o.Lines[i-1].BillNo
	}
	amount := twd([]int64{1, 7, 20, 33, 100}[m.choose("amount", 5)])
	if m.choose("all", 4) == 0 {
		amount = money.Amount{}
	}
	r := m.request(&o, a.Ordinal, bill, amount, fmt.Sprintf("%s-%d", m.account, m.steps))
	r.Now = m.now
	_, err := m.store(m.steps).AskRefund(m.ctx, r)
	if left := o.Refundable(a.No, bill); !m.may(err, orders.ErrNotRefundable, orders.ErrRefundExceeds, orders.ErrRefundUndecided) &&
		!left.IsZero() && amount.Units() <= left.Units() && o.UndecidedRefund(a.No) == nil {
		m.Fatalf("%v, and %s are left", err, left)
	}
}

// sendRefund sends a refund, once at a time: the bank takes it or not, and the answer arrives or not.
func (m *machine) sendRefund() {
	m.Helper()
	work, err := m.store(m.steps).ClaimRefund(m.ctx, m.account, m.now)
	if !m.may(err, orders.ErrNothing) {
		return
	}
	r := work.Refund
	f := ends(r, orders.OutcomeUnknown, "")
	f.Now, f.QueryAt = m.now, m.now.Add(time.Second)
	switch m.choose("refund", 9) {
	case 0:
		m.bank.take(m.world, r, orders.RefundDone)
		f.Outcome, f.State = orders.OutcomeDone, orders.RefundDone
	case 1:
		m.bank.take(m.world, r, orders.RefundFailed)
		f.Outcome = orders.OutcomeRefused
	case 2:
		f.Outcome = orders.OutcomeNotSent
	case 3:
		m.bank.take(m.world, r, orders.RefundUndecided)
		f.Outcome, f.State = orders.OutcomeDone, orders.RefundUndecided
	case 4:
		m.bank.take(m.world, r, orders.RefundDone)
	case 5:
		m.bank.take(m.world, r, orders.RefundFailed)
	case 6: // it never arrives
	case 7: // done, and its sender died
		m.bank.take(m.world, r, orders.RefundDone)
		return
	case 8: // proven not to have left: it is sent again
		f.Outcome, f.SendAt = orders.OutcomeNotSent, m.now.Add(time.Second)
	}
	_, err = m.store(m.steps).FinishRefund(m.ctx, f)
	m.ok(err)
}

// decide lets the bank decide what is at work. Without our numbers its list cannot say that what it took has failed: a person
// would have to ask.
func (m *machine) decide() {
	m.Helper()
	for _, r := range m.bank.refunds {
		if r.state == orders.RefundUndecided {
			r.state = orders.RefundDone
			if m.choose("decision", 2) == 0 && m.bank.numbered {
				r.state = orders.RefundFailed
			}
			return
		}
	}
}

// check compares the store with the bank as far as the store was told.
func (m *machine) check(step string) {
	m.Helper()
	paid := map[string]orders.OrderNo{}
	need, have := map[string]int64{}, map[string]int64{} // per bill: what was paid for it, and where that went
	for _, no := range m.orders {
		b := m.book(no)
		o := &b.Order
		m.sound(o)
		if o.Doubt() && o.State != orders.OrderOpen && o.State < orders.OrderPaid {
			m.Fatalf("%s: order %s is %s, and money may have moved", step, no, o.State)
		}
		m.rises(step, string(no), int(o.State))
		if o.Version < m.versions[no] {
			m.Fatalf("%s: version %d after %d", step, o.Version, m.versions[no])
		}
		m.versions[no] = o.Version
		for i := range o.Attempts {
			a := &o.Attempts[i]
			m.rises(step, string(a.No), int(a.State))
			if a.State != orders.AttemptPaid {
				continue
			}
			if !m.bank.charged[a.No] {
				m.Fatalf("%s: attempt %s is paid, and the bank took no money", step, a.No)
			}
			for _, l := range o.Lines {
				need[l.BillNo] += l.Subtotal.Units()
			}
		}
		for _, l := range o.Lines {
			payer := b.Bills[l.BillNo].Paid
			if first, ok := paid[l.BillNo]; ok && first != payer {
				m.Fatalf("%s: bill %s was paid by %q and by %q", step, l.BillNo, first, payer)
			}
			if paid[l.BillNo] = payer; payer == no {
				have[l.BillNo] += l.Subtotal.Units()
			}
		}
		for _, s := range o.Surplus {
			have[s.BillNo] += s.Amount.Units()
		}
		for i := range o.Refunds {
			m.told(step, &o.Refunds[i])
		}
	}
	for _, bill := range m.bills {
		if need[bill] != have[bill] || (need[bill] > 0) != (paid[bill] != "") {
			m.Fatalf("%s: %d were paid for bill %s, %d are accounted for, it is paid by %q", step, need[bill], bill, have[bill], paid[bill])
		}
	}
}

func (m *machine) rises(step, what string, rank int) {
	m.Helper()
	if rank < m.ranks[what] {
		m.Fatalf("%s: %s fell from %d to %d", step, what, m.ranks[what], rank)
	}
	m.ranks[what] = rank
}

// told compares a refund with what became of it.
func (m *machine) told(step string, r *orders.Refund) {
	m.Helper()
	before, truth := m.refunds[r.ID()], m.bank.became(r.ID())
	if before != "" && before != orders.RefundUndecided && before != r.State {
		m.Fatalf("%s: refund %s was %s and is %s", step, r.ID(), before, r.State)
	}
	if r.State != orders.RefundUndecided && r.State != truth {
		m.Fatalf("%s: refund %s is %s, and at the bank %s", step, r.ID(), r.State, truth)
	}
	m.refunds[r.ID()] = r.State
}

// sound ends the case unless an order's refunds and surplus agree with each other and with its state.
func (w *world) sound(o *orders.Order) {
	w.Helper()
	paying, needed, back := 0, int64(0), int64(0) // what the order needed of its payment, and what of that was paid back
	for i := range o.Attempts {
		a := &o.Attempts[i]
		var all, surplus, own int64
		for _, s := range o.Surplus {
			if s.Attempt != a.No {
				continue
			}
			surplus += s.Amount.Units()
			var done int64
			for _, r := range o.Refunds {
				if r.Attempt == a.No && r.BillNo == s.BillNo && r.State == orders.RefundDone {
					done += r.Amount.Units()
				}
			}
			if done != s.Refunded.Units() || done > s.Amount.Units() {
				w.Fatalf("of surplus %s %d were paid back, it says %s of %s", s.ID(), done, s.Refunded, s.Amount)
			}
		}
		undecided := 0
		for _, r := range o.Refunds {
			if r.Attempt != a.No || r.State == orders.RefundFailed {
				continue
			}
			all += r.Amount.Units()
			if r.BillNo == "" {
				own += r.Amount.Units()
			}
			if r.State == orders.RefundUndecided {
				undecided++
			} else if r.BillNo == "" {
				back += r.Amount.Units()
			}
		}
		most := int64(0)
		if a.State == orders.AttemptPaid {
			most = o.Total.Units()
		}
		if all > most || own > most-surplus || undecided > 1 {
			w.Fatalf("attempt %s: paid %d, of it surplus %d; paid back %d, of it of the order %d; undecided %d", a.No, most, surplus, all, own, undecided)
		}
		if a.State == orders.AttemptPaid && surplus < o.Total.Units() {
			needed = most - surplus
			if paying++; paying > 1 {
				w.Fatalf("order %s is paid by two attempts", o.No)
			}
		}
	}
	want := min(o.State, orders.OrderPaid)
	switch {
	case back > 0 && back == needed:
		want = orders.OrderRefunded
	case back > 0:
		want = orders.OrderPartiallyRefunded
	}
	if o.State != want {
		w.Fatalf("order %s is %s, and %d of %d were paid back", o.No, o.State, back, needed)
	}
}

// settleUp lets the bank say everything, and compares the books.
func (m *machine) settleUp() {
	m.Helper()
	for _, r := range m.bank.refunds {
		if r.state == orders.RefundUndecided {
			r.state = orders.RefundDone
		}
	}
	m.now = m.now.Add(time.Hour)
	for {
		work, err := m.stores[0].ClaimRefund(m.ctx, m.account, m.now)
		if errors.Is(err, orders.ErrNothing) {
			break
		}
		m.ok(err)
		m.bank.take(m.world, work.Refund, orders.RefundDone)
	}
	for _, no := range m.orders {
		o := m.world.order(no)
		for i := range o.Attempts {
			a := &o.Attempts[i]
			last := orders.AttemptFailed
			if m.bank.charged[a.No] {
				last = orders.AttemptPaid
			}
			m.tell(said(&o, a.Ordinal, last, m.now))
			o = m.world.order(no)
			if o.UndecidedRefund(a.No) != nil {
				m.tell(m.answer(&o, &o.Attempts[i], true, true))
			}
		}
	}
	m.settle(m.now)
	m.check("the end")
	var kept, parts int64
	for _, no := range m.orders {
		o := m.world.order(no)
		if o.State == orders.OrderOpen || o.Doubt() {
			m.Fatalf("order %s is %s, doubt %v", no, o.State, o.Doubt())
		}
		for i := range o.Attempts {
			a := &o.Attempts[i]
			if m.bank.charged[a.No] != (a.State == orders.AttemptPaid) || o.UndecidedRefund(a.No) != nil {
				m.Fatalf("attempt %s is %s, undecided %+v", a.No, a.State, o.UndecidedRefund(a.No))
			}
			if a.State != orders.AttemptPaid {
				continue
			}
			back := m.bank.back(a.No)
			if back > o.Total.Units() {
				m.Fatalf("the bank paid back %d of %s", back, o.Total)
			}
			kept += o.Total.Units() - back
			parts += o.Refundable(a.No, "").Units()
		}
		for _, s := range o.Surplus {
			parts += s.Amount.Units() - s.Refunded.Units()
		}
		if len(o.Cases) > 0 {
			m.Fatalf("cases %+v, and everything was said", o.Cases)
		}
		payments := 0
		for _, t := range m.events(&o) { // gap-free, or it ends the case
			if t == orders.EventPaid {
				payments++
			}
		}
		if (payments == 1) != (o.State >= orders.OrderPaid) || payments > 1 {
			m.Fatalf("order %s is %s and was paid %d times", no, o.State, payments)
		}
	}
	if kept != parts {
		m.Fatalf("the bank kept %d, our books say %d", kept, parts)
	}
}
