package router

import (
	"context"
	"errors"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router/policy"
)

// refundDeadline is of one refund call, refundLife after how long one that the provider does not list was not carried out:
// nothing of ours is on its way any more.
const (
	refundDeadline = 45 * time.Second
	refundLife     = 2 * time.Minute
	sendWithin     = 30 * time.Second // after its claim; with its deadline less than refundLife
	refundPlan     = 24 * time.Hour   // for how long one is sent again that was not sent
)

// Refund asks to pay back. The refund is committed and then sent by RefundStep, once; the answer does not wait for it.
// Errors: orders.ErrNotFound, ErrNotRefundable, ErrRefundUndecided, ErrRefundExceeds, ErrKeyReused, ErrUnavailable,
// *orders.FieldError for an unknown surplus, *orders.RefusedError by a rule of the provider's.
func (r *Router) Refund(ctx context.Context, cmd orders.RefundCommand, answers orders.Answers) (orders.Answer, error) {
	return r.once(ctx, cmd.Key, &cmd, func(ctx context.Context, key orders.NewKey) (answer orders.Answer, err error) {
		w, now := r.world(), r.d.Now()
		o, err := r.d.Store.AskRefund(ctx, orders.RefundRequest{
			Order: cmd.Order, Now: now, Key: key,
			Ask: func(o *orders.Order) (orders.RefundAsk, error) { return refundAsk(w, o, &cmd, now) },
			Answer: func(o *orders.Order, refund *orders.Refund) (int, []byte, error) {
				status, body, err := answers.Refunding(o, refund)
				answer = orders.Answer{Status: status, Body: body}
				return status, body, err
			},
		})
		if err != nil {
			return orders.Answer{}, err
		}
		r.d.Log.Info("refund asked for", "order_no", string(o.No))
		r.d.Wake()
		return answer, nil
	})
}

// refundAsk finds the money that is to go back, and asks the provider's rules.
func refundAsk(w *world, o *orders.Order, cmd *orders.RefundCommand, now time.Time) (orders.RefundAsk, error) {
	ask := orders.RefundAsk{Amount: cmd.Amount, Reason: cmd.Reason}
	if cmd.SurplusID != "" {
		s := o.SurplusByID(cmd.SurplusID)
		if s == nil {
			return ask, &orders.FieldError{Field: "/surplus_id", Code: "unknown", Detail: "the order has no such surplus"}
		}
		ask.Attempt, ask.BillNo = s.Attempt, s.BillNo
	} else {
		paying := o.Paying()
		if paying == nil {
			return ask, orders.ErrNotRefundable
		}
		ask.Attempt = paying.No
	}
	left := o.Refundable(ask.Attempt, ask.BillNo)
	amount := ask.Amount
	if amount == (money.Amount{}) {
		amount = left
	}
	if code, from := refundRule(w, o, o.Attempt(ask.Attempt), amount, now); code != "" && !left.IsZero() {
		refused := &orders.RefusedError{Code: code}
		if !from.IsZero() {
			refused.RetryAfter = from.Sub(now)
		}
		return ask, refused
	}
	return ask, nil
}

// refundRule is the rule of the provider's that forbids to pay an amount back now, and from when it may be; empty: none
// forbids it, until then. The zero time: not known, or for ever.
func refundRule(w *world, o *orders.Order, a *orders.Attempt, amount money.Amount, now time.Time) (code string, at time.Time) {
	account, ok := w.accounts[a.Account]
	if !ok {
		return "account_not_configured", at
	}
	if _, ok := account.Provider.(providers.Refunder); !ok {
		return "not_offered", at
	}
	rules := account.Provider.Describe().Refunds
	whole := amount == o.Total
	if rules.Window > 0 && !a.PaidAt.IsZero() {
		if at = a.PaidAt.Add(rules.Window); !now.Before(at) {
			return "refund_window_over", time.Time{}
		}
	}
	switch {
	case rules.Min.Currency() == amount.Currency() && amount.Units() < rules.Min.Units():
		return "below_minimum", time.Time{}
	case rules.Whole && !whole:
		return "partial_not_offered", time.Time{}
	case rules.CutOff > 0 && !whole && !a.PaidAt.IsZero():
		if closes := nextCutOff(a.PaidAt, rules.CutOff); now.Before(closes) {
			return "partial_after_cut_off", closes
		}
	}
	return "", at
}

// nextCutOff is when the provider's books of a payment close.
func nextCutOff(paid time.Time, cutOff time.Duration) time.Time {
	day := paid.In(orders.Taipei)
	midnight := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, orders.Taipei)
	if closes := midnight.Add(cutOff); paid.Before(closes) {
		return closes
	}
	return midnight.AddDate(0, 0, 1).Add(cutOff)
}

// Actions tells what may be asked for about an order now, and why the rest may not.
func (r *Router) Actions(ctx context.Context, no orders.OrderNo) ([]orders.Action, error) {
	book, err := r.d.Store.Book(ctx, no)
	if err != nil {
		return nil, err
	}
	w, now, o := r.world(), r.d.Now(), &book.Order
	attempt, cancel := orders.Action{Name: "attempt", Why: unpayable(&book, now)}, orders.Action{Name: "cancel"}
	switch {
	case attempt.Why == "" && o.Current().Ordinal >= orders.MaxAttempts:
		attempt.Why = "too_many_attempts"
	case attempt.Why == "":
		ask := askedFor(o, o.Current().Wishes)
		if d := r.choose(w, ask); len(d.Ranked) == 0 {
			c, ok := closest(d)
			if attempt.Why, attempt.Until = c.Rule, c.Until; !ok {
				attempt.Why = policy.NoPayee // the wished provider is not configured any more
			}
		}
	}
	if o.State != orders.OrderOpen || o.Review || !now.Before(o.ExpiresAt) || !o.CancelAsked.IsZero() {
		cancel.Why = unpayable(&book, now)
	}
	list := []orders.Action{attempt, cancel}
	if paying := o.Paying(); paying != nil {
		list = append(list, refundAction(w, o, paying, "", now))
	} else {
		list = append(list, orders.Action{Name: "refund", Why: "not_paid"})
	}
	for _, s := range o.Surplus {
		list = append(list, refundAction(w, o, o.Attempt(s.Attempt), s.BillNo, now))
	}
	for i := range list {
		list[i].Possible = list[i].Why == ""
		if list[i].Possible && list[i].Name != "refund" {
			list[i].Until = o.ExpiresAt
		}
	}
	return list, nil
}

// unpayable is why an order may not be paid with a new attempt; empty: it may.
func unpayable(b *orders.Book, now time.Time) string {
	o := &b.Order
	switch {
	case o.State != orders.OrderOpen:
		return o.State.String()
	case o.Review:
		return "review"
	case !o.CancelAsked.IsZero():
		return "cancel_asked"
	case o.Doubt():
		return "doubt"
	case !now.Before(o.ExpiresAt):
		return "expired"
	case !b.Payable(now):
		return "bill_taken"
	}
	return ""
}

func refundAction(w *world, o *orders.Order, a *orders.Attempt, billNo string, now time.Time) orders.Action {
	left := o.Refundable(a.No, billNo)
	action := orders.Action{Name: "refund", AttemptNo: a.No, Max: left}
	if account, ok := w.accounts[a.Account]; ok {
		action.Min = account.Provider.Describe().Refunds.Min
	}
	if billNo != "" {
		action.SurplusID = (&orders.Surplus{Attempt: a.No, BillNo: billNo}).ID()
	}
	switch {
	case o.UndecidedRefund(a.No) != nil:
		action.Why = "refund_undecided"
	case left.IsZero():
		action.Why = "nothing_left"
	default:
		action.Why, action.Until = refundRule(w, o, a, left, now)
	}
	return action
}

// RefundStep sends one refund of an account: its call row is committed first, it is sent once, and what its answer does not
// tell is for queries to find out. While the account cannot be called the refund waits; only one that is proven not to have
// been sent is sent again.
func (r *Router) RefundStep(ctx context.Context, name string) (time.Time, error) {
	now := r.d.Now()
	account, ok := r.world().accounts[name]
	refunder, can := account.Provider.(providers.Refunder)
	if !ok || !can {
		return now.Add(idleLook), nil
	}
	if why, _ := r.d.Gates.Shut(name, string(providers.OpRefund)); why != "" || !r.quietUntil(name).IsZero() {
		return now.Add(time.Second), nil
	}
	w, err := r.d.Store.ClaimRefund(ctx, name, now)
	if errors.Is(err, orders.ErrNothing) {
		next, err := r.d.Store.NextRefund(ctx, name)
		return idle(now, next, err)
	}
	if err != nil {
		return now.Add(time.Second), err
	}
	refund := &w.Refund
	s := sending{account, refund}
	if late := r.d.Now().Sub(now); late > sendWithin { // this process stood still: others may know by now that it was not sent
		return now, r.sent(ctx, &w, s, orders.RefundFinish{Outcome: orders.OutcomeNotSent, Why: "not_sent_in_time"}, nil)
	}
	result, sendErr := call(ctx, r, name, providers.OpRefund, refundDeadline, func(ctx context.Context) (providers.RefundResult, error) {
		return refunder.Refund(ctx, providers.RefundRequest{
			Attempt: ref(&w.Order, w.Order.Attempt(refund.Attempt)), RefundID: refund.ID(), Amount: refund.Amount, Reason: refund.Reason,
		})
	})
	believed := account.Provider.Describe().AnswerAuth != providers.AnswerUnauthenticated
	f := orders.RefundFinish{
		State: refundState(result.State), No: result.ProviderRefundNo, Outcome: callOutcome(sendErr, believed), Why: refundWhy(result, sendErr),
	}
	if f.Outcome == orders.OutcomeDone && !believed {
		f.Outcome = orders.OutcomeUnknown // anybody may have answered
	}
	return now, r.sent(ctx, &w, s, f, sendErr)
}

// sent commits what came of a claimed refund.
func (r *Router) sent(ctx context.Context, w *orders.RefundWork, s sending, f orders.RefundFinish, why error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	f.Attempt, f.Ordinal, f.Now = s.refund.Attempt, s.refund.Ordinal, r.d.Now()
	f.QueryAt = f.Now.Add(max(s.account.Provider.Describe().Patience.Spacing, time.Second))
	log := r.d.Log.With("order_no", string(w.Order.No), "refund", s.refund.ID(), "outcome", string(f.Outcome), "why", f.Why)
	if next := s.after(f.Now, w.Sent+1); f.Outcome == orders.OutcomeNotSent && f.Now.Before(s.end()) {
		if e, ok := errors.AsType[*providers.Error](why); ok {
			next = later(next, f.Now.Add(e.RetryAfter))
		}
		n, last := s.tries(w.Sent+1, next)
		f.SendAt, log = next, log.With("try", n, "of", last, "next", next)
	}
	applied, err := r.d.Store.FinishRefund(ctx, f)
	if err != nil {
		return err
	}
	r.tell(&orders.Evidence{Account: s.account.Name}, &applied)
	log.Info("refund call ended")
	r.d.Wake()
	return nil
}

// sending is a refund on its way to its account.
type sending struct {
	account Account
	refund  *orders.Refund
}

// end is until when it is sent again while it is proven that it was not.
func (s sending) end() time.Time { return s.refund.AskedAt.Add(refundPlan) }

// after is when it is sent again after so many tries.
func (s sending) after(at time.Time, tried int) time.Time {
	return at.Add(spaced(s.account.Provider.Describe().Patience.Spacing, tried-1))
}

// tries is the number of the next try, made at some moment after so many, and of the last one.
func (s sending) tries(sent int, at time.Time) (next, last int) {
	return sent + 1, lastTry(sent+1, at, s.end(), s.after)
}

// refundWhy is why a refund failed: the provider's code, or the kind of the failure.
func refundWhy(result providers.RefundResult, err error) string {
	e, ok := errors.AsType[*providers.Error](err)
	switch {
	case ok && e.Code != "":
		return e.Code
	case err != nil:
		return providers.KindOf(err).String()
	case result.State == providers.RefundFailed:
		return "refused_by_provider"
	}
	return ""
}
