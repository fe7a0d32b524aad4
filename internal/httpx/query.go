package httpx

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	firstPause = 500 * time.Millisecond // ceiling of the first pause; it doubles
	longest    = 5 * time.Second        // pause that the other side may ask for; whoever wants more is not asked again
	maxSends   = 3                      // of one query
)

// Query sends a request that is safe to repeat, at most three times, and returns the last answer, whatever its status.
// Sent again are requests that were not sent or whose answer was lost, and answers 502, 503, 504, and 429 with
// Retry-After. Pauses are random (full jitter), and at least Retry-After, and where that is more than 5 s nothing is sent again; one that would outlive the context
// ends the query at once. So does a spent budget: in a minute a client repeats at most three sends and a tenth of its
// first ones, so that a target in trouble gets hardly more requests than before.
// build is called anew for each send, so that stamps and signatures are fresh.
// Every error is an [*Error], whose Sent covers all sends. A target that wants a set distance between questions: Send.
func (c *Client) Query(ctx context.Context, build func() (Request, error)) (*Response, error) {
	q := &query{client: c, build: build}
	req := new(http.Request).WithContext(ctx)
	if q.prepare(req) != nil {
		return nil, q.failure
	}
	again := retryablehttp.Client{
		HTTPClient:   &http.Client{Transport: q},
		RetryMax:     maxSends - 1,
		CheckRetry:   q.check,
		Backoff:      func(_, _ time.Duration, _ int, _ *http.Response) time.Duration { return q.pause },
		PrepareRetry: q.prepare,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}
	// Answer and error travel in q: net/http would put the URL into the error, and follow a redirect.
	resp, err := again.Do(&retryablehttp.Request{Request: req})
	if err == nil {
		_ = resp.Body.Close()
	}
	if q.failure != nil {
		return nil, q.failure
	}
	return q.answer, nil
}

// query is one Query under way: the outcome of the last send, and whether any so far was sent.
type query struct {
	client  *Client
	build   func() (Request, error)
	answer  *Response
	failure *Error
	sent    bool
	sends   int
	pause   time.Duration
}

// prepare makes r the next request.
func (q *query) prepare(r *http.Request) error {
	next, err := q.build()
	var req *http.Request
	if err == nil {
		req, err = q.client.request(r.Context(), next)
	}
	if err != nil {
		q.failure = &Error{Target: q.client.name, Sent: q.sent, Err: err}
		return err
	}
	*r = *req
	return nil
}

// RoundTrip makes one send and shows the libraries above a status only.
func (q *query) RoundTrip(r *http.Request) (*http.Response, error) {
	if q.sends == 0 {
		q.client.budget.first(q.client.deps.Now())
	}
	q.answer, q.failure = q.client.exchange(r)
	q.sends++
	if q.failure != nil {
		q.sent = q.sent || q.failure.Sent
		q.failure.Sent = q.sent
		return nil, q.failure
	}
	q.sent = true
	return &http.Response{StatusCode: q.answer.Status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func (q *query) check(ctx context.Context, _ *http.Response, _ error) (bool, error) {
	again, asked := q.worthRepeating()
	if !again || q.sends == maxSends || asked > longest {
		return false, nil
	}
	jitter := time.Duration(q.client.deps.Rand() % uint64(firstPause<<(q.sends-1)+1))
	q.pause = max(jitter, asked)
	now := q.client.deps.Now()
	deadline, _ := ctx.Deadline()
	return ctx.Err() == nil && q.pause < deadline.Sub(now) && q.client.budget.repeat(now), nil
}

func (q *query) worthRepeating() (again bool, asked time.Duration) {
	if q.failure != nil {
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](q.failure)
		hopeless := untrusted || errors.Is(q.failure, errRefused) || errors.Is(q.failure, errTooLarge) || errors.Is(q.failure, errMalformed)
		return !hopeless, 0
	}
	asked, set := retryAfter(q.answer.Header.Get("Retry-After"), q.client.deps.Now())
	switch q.answer.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true, asked
	}
	return q.answer.Status == http.StatusTooManyRequests && set, asked
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3).
func retryAfter(text string, now time.Time) (time.Duration, bool) {
	seconds, err := strconv.ParseUint(text, 10, 64)
	if err == nil {
		return time.Duration(min(seconds, 3600)) * time.Second, true
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return 0, false
	}
	return date.Sub(now), true
}
