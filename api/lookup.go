package api

import (
	"context"
	"encoding/hex"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pay.taipei/gateway/orders"
)

// readLimit is the deadline of a look-up in the store.
const readLimit = 10 * time.Second

// Limits of one page of the event feed.
const (
	defaultEvents = 100
	maxEvents     = 500
	maxEventBytes = 1 << 20 // of bodies; a page holds at least one event
	// eventsPerRead bounds what one read may bring beyond the page: some 50 KiB an event, for an order of 100 lines.
	eventsPerRead = 25
)

func ok(v any) (response, error) {
	body, err := encode(v)
	return response{status: http.StatusOK, mediaType: mediaJSON, body: body}, err
}

func (s *Server) getOrder(r *request) (response, error) {
	return s.tell(r, func(_ context.Context, b *orders.Book) (any, error) { return s.document(b), nil })
}

// tell answers what say tells of the order in the path.
func (s *Server) tell(r *request, say func(context.Context, *orders.Book) (any, error)) (response, error) {
	if _, err := r.query(); err != nil {
		return response{}, err
	}
	ctx, cancel := context.WithTimeout(r.http.Context(), readLimit)
	defer cancel()
	book, err := s.own(ctx, r, r.param("no"))
	if err != nil {
		return response{}, err
	}
	said, err := say(ctx, &book)
	if err != nil {
		return response{}, err
	}
	return ok(said)
}

func (s *Server) findOrder(r *request) (response, error) {
	query, err := r.query()
	if err != nil {
		return response{}, err
	}
	reference := query.Get("client_reference")
	if reference == "" {
		return response{}, newProblem(problemField, fieldError{"client_reference", codeRequired})
	}
	if !referenceForm.MatchString(reference) {
		return response{}, newProblem(problemNotFound)
	}
	ctx, cancel := context.WithTimeout(r.http.Context(), readLimit)
	defer cancel()
	order, err := s.deps.Store.OrderByReference(ctx, r.caller.id, reference)
	if err != nil {
		return response{}, err
	}
	book, err := s.own(ctx, r, string(order.No))
	if err != nil {
		return response{}, err
	}
	return ok(s.document(&book))
}

// own finds an order of the caller. An order of somebody else, one that does not exist and a number that none can have
// are answered alike.
func (s *Server) own(ctx context.Context, r *request, number string) (orders.Book, error) {
	no, wellFormed := orders.ParseOrderNo(number)
	if !wellFormed {
		return orders.Book{}, newProblem(problemNotFound)
	}
	book, err := s.deps.Store.Book(ctx, no)
	if err != nil {
		return orders.Book{}, err
	}
	if book.Order.ClientID != r.caller.id {
		return orders.Book{}, newProblem(problemNotFound)
	}
	r.orderNo = string(no)
	return book, nil
}

// document offers redirect and checkout page only while they lead to a provider.
func (s *Server) document(b *orders.Book) orders.Document {
	checkout := ""
	if b.Openable(s.deps.Now()) {
		checkout = s.deps.CheckoutURL(b.Order.PayToken)
	}
	return b.Order.Document(checkout)
}

type timelineDocument struct {
	OrderNo  orders.OrderNo        `json:"order_no"`
	Timeline []timelineRowDocument `json:"timeline"`
}

type timelineRowDocument struct {
	At        string            `json:"at"`
	What      string            `json:"what"`
	AttemptNo *orders.AttemptNo `json:"attempt_no"`
	Detail    string            `json:"detail"`
	Evidence  *string           `json:"evidence"`
}

func (s *Server) getTimeline(r *request) (response, error) {
	return s.tell(r, func(ctx context.Context, b *orders.Book) (any, error) {
		rows, err := s.deps.Store.Timeline(ctx, b.Order.No)
		d := timelineDocument{b.Order.No, make([]timelineRowDocument, 0, len(rows))}
		for _, row := range rows {
			d.Timeline = append(d.Timeline, timelineRowDocument{stamp(row.At), row.What, some(row.AttemptNo), row.Detail, some(row.Evidence)})
		}
		return d, err
	})
}

type eventsDocument struct {
	Events    []eventDocument `json:"events"`
	NextAfter int64           `json:"next_after"`
}

type eventDocument struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"` // of the previous hash and the body's bytes
	Body string `json:"body"` // the stored bytes
}

func (s *Server) listEvents(r *request) (response, error) {
	query, err := r.query()
	if err != nil {
		return response{}, err
	}
	found := &report{}
	after := found.number(query, "after", 0, 0, math.MaxInt64)
	limit := found.number(query, "limit", defaultEvents, 1, maxEvents)
	if len(found.invalid) > 0 {
		return response{}, newProblem(problemField, found.invalid...)
	}
	ctx, cancel := context.WithTimeout(r.http.Context(), readLimit)
	defer cancel()
	d, err := s.events(ctx, r.caller.id, after, int(limit))
	if err != nil {
		return response{}, err
	}
	return ok(d)
}

// events reads a page in small portions, so that a page of large events is never whole in memory.
func (s *Server) events(ctx context.Context, clientID string, after int64, limit int) (eventsDocument, error) {
	d := eventsDocument{[]eventDocument{}, after}
	size := 0
	for len(d.Events) < limit {
		want := min(limit-len(d.Events), eventsPerRead)
		feed, err := s.deps.Store.Feed(ctx, clientID, d.NextAfter, want)
		if err != nil {
			return d, err
		}
		for _, e := range feed {
			if size += len(e.Body); size > maxEventBytes && len(d.Events) > 0 {
				return d, nil
			}
			d.Events = append(d.Events, eventDocument{e.Seq, hex.EncodeToString(e.Hash[:]), string(e.Body)})
			d.NextAfter = e.Seq
		}
		if len(feed) < want {
			break
		}
	}
	return d, nil
}

// number reads an optional whole number from the query.
func (r *report) number(query url.Values, name string, missing, from, to int64) int64 {
	if !query.Has(name) {
		return missing
	}
	n, err := strconv.ParseInt(query.Get(name), 10, 64)
	switch {
	case err != nil || strconv.FormatInt(n, 10) != query.Get(name):
		r.field(name, codeFormat)
	case n < from || n > to:
		r.field(name, codeRange)
	}
	return n
}

// stamp is a moment as clients see it.
func stamp(t time.Time) string { return t.In(orders.Taipei).Format(time.RFC3339) }

// some is null for the empty text.
func some[S ~string](s S) *S {
	if s == "" {
		return nil
	}
	return &s
}
