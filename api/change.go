package api

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"

	"pay.taipei/gateway/orders"
)

// maxReason is the length of a refund's reason in characters.
const maxReason = 200

// surplusForm is how orders.Surplus writes its id: the attempt's number and the bill's.
var surplusForm = regexp.MustCompile(`^[A-Z0-9]{0,2}20[0-9]{16}-[0-9A-Z-]{9,20}$`)

// keyRef names an idempotency key. A key is good for one address, so the keys of different orders do not meet.
func (r *request) keyRef(no orders.OrderNo, key string) orders.KeyRef {
	return orders.KeyRef{ClientID: r.caller.id, Route: r.route.Method + " " + strings.Replace(r.route.Path, "{no}", string(no), 1), Key: key}
}

// change is the way of a command about an order of the caller, once its body was read: what is wrong with the form, the
// order, the key, the fields; then ask hands it to the router.
func (s *Server) change(r *request, found *report, ask func(context.Context, orders.KeyRef, orders.OrderNo) (orders.Answer, error)) (response, error) {
	if len(found.malformed) > 0 {
		return response{}, newProblem(problemMalformed, found.malformed...)
	}
	ctx, cancel := context.WithTimeout(r.http.Context(), placeLimit)
	defer cancel()
	book, err := s.own(ctx, r, r.param("no"))
	if err != nil {
		return response{}, err
	}
	key, err := idempotencyKey(r.http.Header)
	if err != nil {
		return response{}, err
	}
	if len(found.invalid) > 0 {
		return response{}, newProblem(problemField, found.invalid...)
	}
	answer, err := ask(ctx, r.keyRef(book.Order.No, key), book.Order.No)
	if err != nil {
		return response{}, err
	}
	return replyWith(answer), nil
}

func (s *Server) addAttempt(r *request) (response, error) {
	tree, err := r.tree(false)
	if err != nil {
		return response{}, err
	}
	found, cmd := &report{}, orders.AttemptCommand{}
	if o, ok := found.object(tree, "", "provider", "methods"); ok {
		cmd.Providers, cmd.Methods = readProviders(o), o.words("methods", wordForm.MatchString)
	}
	return s.change(r, found, func(ctx context.Context, key orders.KeyRef, no orders.OrderNo) (orders.Answer, error) {
		cmd.Key, cmd.Order = key, no
		answer, err := s.deps.Orders.Attempt(ctx, cmd, answers{s.deps.CheckoutURL})
		if errors.Is(err, orders.ErrNotPayable) && s.doubtful(ctx, no) {
			err = newProblem(problemOutcomeUnknown)
		}
		return answer, forAttempt(err)
	})
}

// doubtful says whether an order may become payable again, or turn out to be paid: it waits for the outcome of a call.
func (s *Server) doubtful(ctx context.Context, no orders.OrderNo) bool {
	book, err := s.deps.Store.Book(ctx, no)
	return err == nil && book.Order.State == orders.OrderOpen && book.Order.Doubt()
}

// forAttempt names the provider where the order's amount is not for it: the amount is not in the body of this request.
func forAttempt(err error) error {
	var field *orders.FieldError
	if errors.As(err, &field) && strings.HasPrefix(field.Field, "/amount") {
		return &orders.FieldError{Field: "/provider", Code: field.Code, Detail: field.Detail}
	}
	return err
}

func (s *Server) cancelOrder(r *request) (response, error) {
	tree, err := r.tree(true)
	if err != nil {
		return response{}, err
	}
	found := &report{}
	found.object(tree, "")
	return s.change(r, found, func(ctx context.Context, key orders.KeyRef, no orders.OrderNo) (orders.Answer, error) {
		return s.deps.Orders.Cancel(ctx, orders.CancelCommand{Key: key, Order: no}, answers{s.deps.CheckoutURL})
	})
}

func (s *Server) askRefund(r *request) (response, error) {
	tree, err := r.tree(false)
	if err != nil {
		return response{}, err
	}
	found := &report{}
	cmd := s.readRefund(tree, found)
	reply, err := s.change(r, found, func(ctx context.Context, key orders.KeyRef, no orders.OrderNo) (orders.Answer, error) {
		cmd.Key, cmd.Order = key, no
		return s.deps.Orders.Refund(ctx, cmd, answers{s.deps.CheckoutURL})
	})
	if err == nil && reply.status == http.StatusAccepted {
		reply.location = "/v1/orders/" + r.orderNo + "/refunds/" + textIn(reply.body, "id")
	}
	return reply, err
}

// readRefund reads the whole command, as readCommand does. No amount is all that is left.
func (s *Server) readRefund(tree node, found *report) (cmd orders.RefundCommand) {
	o, ok := found.object(tree, "", "amount", "surplus_id", "reason")
	if !ok {
		return cmd
	}
	if _, given := o.find("amount"); given {
		cmd.Amount, _ = s.readTotal(o)
	}
	if _, given := o.find("surplus_id"); given {
		cmd.SurplusID = o.text("surplus_id", codeFormat, surplusForm.MatchString)
	}
	if reason, ok := o.required("reason", kindString); ok {
		if code := textProblem(reason.text, maxReason); code != "" {
			found.field("/reason", code)
		}
		cmd.Reason = reason.text
	}
	return cmd
}

func (s *Server) getRefund(r *request) (response, error) {
	return s.tell(r, func(_ context.Context, b *orders.Book) (any, error) {
		refund := b.Order.RefundByID(r.param("id"))
		if refund == nil {
			return nil, newProblem(problemNotFound)
		}
		return refund.Document(), nil
	})
}

type actionsDocument struct {
	Actions []actionDocument `json:"actions"`
}

type actionDocument struct {
	Action    string                 `json:"action"`
	Possible  bool                   `json:"possible"`
	Why       *string                `json:"why"`
	Until     *string                `json:"until"`
	AttemptNo *orders.AttemptNo      `json:"attempt_no"`
	SurplusID *string                `json:"surplus_id"`
	Max       *orders.AmountDocument `json:"max"`
	Min       *orders.AmountDocument `json:"min"`
}

func (s *Server) listActions(r *request) (response, error) {
	return s.tell(r, func(ctx context.Context, b *orders.Book) (any, error) {
		list, err := s.deps.Orders.Actions(ctx, b.Order.No)
		d := actionsDocument{make([]actionDocument, 0, len(list))}
		for _, a := range list {
			row := actionDocument{
				Action: a.Name, Possible: a.Possible, Why: some(a.Why), AttemptNo: some(a.AttemptNo), SurplusID: some(a.SurplusID),
				Max: someAmount(a.Max), Min: someAmount(a.Min),
			}
			if !a.Until.IsZero() {
				row.Until = some(stamp(a.Until))
			}
			d.Actions = append(d.Actions, row)
		}
		return d, err
	})
}
