package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"pay.taipei/gateway/money"
)

const maxAnswer = 8 << 20

var orderNoForm = regexp.MustCompile(`^20[0-9]{14}$`)

type amount struct {
	Value    string `json:"value"`
	Currency string `json:"currency"`
}

func (a amount) parse() (money.Amount, error) {
	return money.Parse(a.Value, money.Currency(a.Currency))
}

type line struct {
	BillNo    string `json:"bill_no"`
	Name      string `json:"name"`
	Quantity  int    `json:"quantity"`
	UnitPrice string `json:"unit_price"`
	Subtotal  string `json:"subtotal"`
}

type surplus struct {
	AttemptNo string `json:"attempt_no"`
	BillNo    string `json:"bill_no"`
	Amount    string `json:"amount"`
}

type attempt struct {
	AttemptNo       string  `json:"attempt_no"`
	Status          string  `json:"status"`
	ProviderTradeNo *string `json:"provider_trade_no"`
	Method          *string `json:"method"`
	PaidAt          *string `json:"paid_at"`
}

// order is what the API and its events tell of an order, as far as the core reads it.
type order struct {
	OrderNo         string    `json:"order_no"`
	ClientReference string    `json:"client_reference"`
	Status          string    `json:"status"`
	Version         int64     `json:"version"`
	Review          bool      `json:"review"`
	Doubt           bool      `json:"doubt"`
	Merchant        string    `json:"merchant"`
	Amount          amount    `json:"amount"`
	Fee             amount    `json:"fee"`
	Total           amount    `json:"total"`
	Provider        string    `json:"provider"`
	AttemptNo       string    `json:"attempt_no"`
	CheckoutURL     *string   `json:"checkout_url"`
	Lines           []line    `json:"lines"`
	Surplus         []surplus `json:"surplus"`
	Attempts        []attempt `json:"attempts"`
	ExpiresAt       time.Time `json:"expires_at"`
}

// parseOrder reads an order and refuses one that could not be shown or booked.
func parseOrder(body []byte) (order, error) {
	var o order
	if err := json.Unmarshal(body, &o); err != nil {
		return order{}, fmt.Errorf("core: order: %w", err)
	}
	return o, o.check()
}

func (o *order) check() error {
	if !orderNoForm.MatchString(o.OrderNo) || o.Version < 1 || o.Merchant == "" || len(o.Lines) == 0 {
		return fmt.Errorf("core: order %.20q lacks number, version, merchant or lines", o.OrderNo)
	}
	for _, a := range []amount{o.Amount, o.Fee, o.Total} {
		if _, err := a.parse(); err != nil {
			return fmt.Errorf("core: order %s: %w", o.OrderNo, err)
		}
	}
	return nil
}

// settles says whether an attempt's money pays a line: it is paid and no surplus row says
// that the bill did not need it.
func (o *order) settles(a attempt, l line) bool {
	return a.Status == "paid" && !slices.ContainsFunc(o.Surplus, func(s surplus) bool {
		return s.AttemptNo == a.AttemptNo && s.BillNo == l.BillNo
	})
}

// settled is the lines that a paid order settles.
func (o *order) settled() []line {
	var lines []line
	for _, l := range o.Lines {
		if o.Status == "paid" && slices.ContainsFunc(o.Attempts, func(a attempt) bool { return o.settles(a, l) }) {
			lines = append(lines, l)
		}
	}
	return lines
}

// paying is the attempt to show on the result page: the one that settles a line, else any
// paid one; nil when none is.
func (o *order) paying() *attempt {
	var paid *attempt
	for i, a := range o.Attempts {
		if slices.ContainsFunc(o.Lines, func(l line) bool { return o.settles(a, l) }) {
			return &o.Attempts[i]
		}
		if a.Status == "paid" && paid == nil {
			paid = &o.Attempts[i]
		}
	}
	return paid
}

// event is a numbered fact about an order.
type event struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	OrderNo string `json:"order_no"`
	Version int64  `json:"version"`
	Data    struct {
		Order order `json:"order"`
	} `json:"data"`
}

func parseEvent(body []byte) (event, error) {
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		return event{}, fmt.Errorf("core: event: %w", err)
	}
	o := &e.Data.Order
	if err := o.check(); err != nil {
		return event{}, err
	}
	if e.Version < 1 || e.OrderNo != o.OrderNo || e.Version > o.Version || e.ID != fmt.Sprintf("evt_%s_%d", e.OrderNo, e.Version) {
		return event{}, fmt.Errorf("core: event %.40q: id, order number and versions do not agree", e.ID)
	}
	return e, nil
}

// problem is an RFC 9457 answer.
type problem struct {
	Code     string `json:"code"`
	Detail   string `json:"detail"`
	DetailZH string `json:"detail_zh"`
}

// listing is a provider of the directory.
type listing struct {
	Provider string    `json:"provider"`
	Name     bilingual `json:"name"`
	Methods  []method  `json:"methods"`
	// Outcomes are what payers are told, by the status of an attempt.
	Outcomes  map[string]bilingual `json:"outcomes"`
	Fee       amount               `json:"fee"`
	Available bool                 `json:"available"`
	Why       string               `json:"why"`
	Until     *time.Time           `json:"until"`
}

type method struct {
	Code string    `json:"code"`
	Name bilingual `json:"name"`
}

type bilingual struct {
	ZH string `json:"zh-Hant"`
	EN string `json:"en"`
}

// answer is what the API said. A zero status means that nothing readable came back.
type answer struct {
	status int
	body   []byte
}

// call makes one request to the order API within a deadline. An error means that the
// outcome is not known.
func (c *Core) call(ctx context.Context, deadline time.Duration, method, path string, query url.Values, key string, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	target := c.api.JoinPath(path)
	target.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), strings.NewReader(string(body)))
	if err != nil {
		return answer{}, fmt.Errorf("core: %s %s: %w", method, path, err)
	}
	req.Header.Set("Authorization", "Bearer "+string(c.apiKey.Reveal()))
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.client.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("core: %s %s: %w", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("core: %s %s: read answer: %w", method, path, err)
	case len(got) > maxAnswer:
		return answer{}, fmt.Errorf("core: %s %s: the answer is over 8 MiB", method, path)
	}
	return answer{res.StatusCode, got}, nil
}

// directory asks which providers can take an amount for a merchant; with neither it
// asks for their names.
func (c *Core) directory(ctx context.Context, merchant, amount string) ([]listing, error) {
	query := url.Values{}
	if merchant != "" {
		query = url.Values{"merchant": {merchant}, "amount": {amount}}
	}
	a, err := c.call(ctx, 5*time.Second, http.MethodGet, "/v1/providers", query, "", nil)
	if err != nil {
		return nil, err
	}
	var list struct {
		Providers []listing `json:"providers"`
	}
	if a.status != http.StatusOK {
		return nil, fmt.Errorf("core: the directory answered %d", a.status)
	}
	if err := json.Unmarshal(a.body, &list); err != nil {
		return nil, fmt.Errorf("core: directory: %w", err)
	}
	return list.Providers, nil
}

var errNoSuchOrder = errors.New("core: no such order")

// fetchOrder asks for an order's current truth.
func (c *Core) fetchOrder(ctx context.Context, no string) (order, error) {
	if !orderNoForm.MatchString(no) {
		return order{}, errNoSuchOrder
	}
	o, err := c.readOrder(ctx, "/v1/orders/"+no, nil)
	if err == nil && o.OrderNo != no {
		err = fmt.Errorf("core: asked for order %s, got %s", no, o.OrderNo)
	}
	return o, err
}

// findOrder asks for the order with a reference of ours.
func (c *Core) findOrder(ctx context.Context, reference string) (order, error) {
	o, err := c.readOrder(ctx, "/v1/orders", url.Values{"client_reference": {reference}})
	if err == nil && o.ClientReference != reference {
		err = fmt.Errorf("core: asked for reference %s, got %s", reference, o.ClientReference)
	}
	return o, err
}

func (c *Core) readOrder(ctx context.Context, path string, query url.Values) (order, error) {
	a, err := c.call(ctx, 5*time.Second, http.MethodGet, path, query, "", nil)
	switch {
	case err != nil:
		return order{}, err
	case a.status == http.StatusNotFound:
		return order{}, errNoSuchOrder
	case a.status != http.StatusOK:
		return order{}, fmt.Errorf("core: %s: the API answered %d", path, a.status)
	}
	return parseOrder(a.body)
}
