package httpx

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// script answers the n-th request with the n-th text, and the last one from then on; "" hangs up.
func script(texts ...string) func(net.Conn, *http.Request) bool {
	var n atomic.Int64
	return func(c net.Conn, r *http.Request) bool {
		text := texts[min(int(n.Add(1)), len(texts))-1]
		return text != "" && say(text)(c, r) && !strings.Contains(text, "Connection: close")
	}
}

func status(code int, headers ...string) string {
	return fmt.Sprintf("HTTP/1.1 %d X\r\n%s\r\n", code, strings.Join(append(headers, "Content-Length: 4", ""), "\r\n")) + "text"
}

func TestQueryRepeats(t *testing.T) {
	const now = "Retry-After: 0"
	for name, c := range map[string]struct {
		answers []string
		sends   int
		status  int // 0: an error that was sent
	}{
		"answer":                           {[]string{status(200)}, 1, 200},
		"502, then answer":                 {[]string{status(502), status(200)}, 2, 200},
		"503, 504, then answer":            {[]string{status(503), status(504), status(200)}, 3, 200},
		"503 for ever: the last is given":  {[]string{status(503)}, 3, 503},
		"503 with Retry-After":             {[]string{status(503, now), status(200)}, 2, 200},
		"503 with unreadable Retry-After":  {[]string{status(503, "Retry-After: soon"), status(200)}, 2, 200},
		"429 with Retry-After":             {[]string{status(429, now), status(200)}, 2, 200},
		"429 with a date that is over":     {[]string{status(429, "Retry-After: Mon, 02 Jan 2006 15:04:05 GMT"), status(200)}, 2, 200},
		"429 without Retry-After":          {[]string{status(429), status(200)}, 1, 429},
		"429 with unreadable Retry-After":  {[]string{status(429, "Retry-After: -1"), status(200)}, 1, 429},
		"500 is an answer":                 {[]string{status(500), status(200)}, 1, 500},
		"403 is an answer":                 {[]string{status(403, now), status(200)}, 1, 403},
		"lost, then answer":                {[]string{"", status(200)}, 2, 200},
		"half body, then answer":           {[]string{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n", status(200)}, 2, 200},
		"lost for ever":                    {[]string{""}, 3, 0},
		"503, then lost":                   {[]string{status(503), ""}, 3, 0},
		"lost, then 503":                   {[]string{"", status(503)}, 3, 503},
		"too large is not asked for again": {[]string{"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + strings.Repeat("x", maxAnswer+1), status(200)}, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for _, body := range []string{"q", ""} {
				p := newPeer(t, script(c.answers...))
				built := 0
				answer, err := newClient(t, p.url()).Query(within30s(t), func() (Request, error) {
					built++
					return Request{Method: "POST", Path: "/query", Header: http.Header{"X-Nonce": {fmt.Sprint(built)}}, Body: []byte(body)}, nil
				})
				requests, _ := p.arrived()
				if len(requests) != c.sends || built != c.sends {
					t.Errorf("%d requests arrived and %d were built, want %d", len(requests), built, c.sends)
				}
				for i, r := range requests {
					if r.Header.Get("X-Nonce") != fmt.Sprint(i+1) || r.ContentLength != int64(len(body)) {
						t.Errorf("send %d: nonce %s, %d bytes", i+1, r.Header.Get("X-Nonce"), r.ContentLength)
					}
				}
				if c.status == 0 {
					if answer != nil || err == nil || NotSent(err) {
						t.Errorf("got %v, %v; want a sent error", answer, err)
					}
				} else if err != nil || answer.Status != c.status || string(answer.Body) != "text" {
					t.Errorf("got %+v, %v; want %d with its body", answer, err, c.status)
				}
			}
		})
	}
}

// On a used connection net/http would add sends of its own.
func TestQueryCountsEverySend(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		p := newPeer(t, dropOnDrop)
		client := newClient(t, p.url())
		if _, err := client.Send(within30s(t), post("/warm")); err != nil {
			t.Fatal(err)
		}
		_, err := client.Query(within30s(t), repeat(Request{Method: method, Path: "/drop", Header: http.Header{"Idempotency-Key": {"k"}}}))
		requests, _ := p.arrived()
		if err == nil || len(requests) != 1+3 {
			t.Errorf("%s: %d requests, %v", method, len(requests)-1, err)
		}
	}
}

func TestQueryThatCannotBeSent(t *testing.T) {
	secure := newTLS(t, http.NotFound)
	for name, c := range map[string]struct {
		url     string
		options []option
		sends   int
	}{
		"dial refused: repeated":     {"http://127.0.0.1:1", nil, 3},
		"address refused: final":     {"https://bank.test", []option{public, resolving("169.254.169.254")}, 1},
		"certificate refused: final": {secure.URL, nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var traces []Trace
			client := newClient(t, c.url, append(c.options, tracing(&traces))...)
			_, err := client.Query(within30s(t), repeat(post("/")))
			if !NotSent(err) || len(traces) != c.sends {
				t.Errorf("%d sends, %v; want %d", len(traces), err, c.sends)
			}
		})
	}
	_, err := newClient(t, "http://127.0.0.1:1").Query(context.Background(), repeat(post("/")))
	if !NotSent(err) || !errors.Is(err, errNoDeadline) {
		t.Errorf("without a deadline: %v", err)
	}
}

func TestQueryWhoseBuildFails(t *testing.T) {
	broken := errors.New("key expired")
	for _, good := range []int{0, 1} {
		p := newPeer(t, script("", status(200)))
		_, err := newClient(t, p.url()).Query(within30s(t), func() (Request, error) {
			good--
			if good < 0 {
				return Request{}, broken
			}
			return post("/"), nil
		})
		requests, _ := p.arrived()
		if !errors.Is(err, broken) || NotSent(err) != (len(requests) == 0) {
			t.Errorf("after %d sends: %v", len(requests), err)
		}
	}
}

func TestPauses(t *testing.T) {
	now := time.Date(2017, 6, 13, 1, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, c := range map[string]struct {
		sends  int
		random uint64
		after  string
		left   time.Duration
		again  bool
		pause  time.Duration
	}{
		"no jitter":                  {1, 0, "", time.Minute, true, 0},
		"first ceiling":              {1, 500_000_000, "", time.Minute, true, 500 * time.Millisecond},
		"first ceiling wraps":        {1, 500_000_001, "", time.Minute, true, 0},
		"second ceiling":             {2, 1_000_000_000, "", time.Minute, true, time.Second},
		"Retry-After":                {1, 0, "3", time.Minute, true, 3 * time.Second},
		"jitter above Retry-After":   {1, 400_000_000, "0", time.Minute, true, 400 * time.Millisecond},
		"Retry-After is long":        {1, 0, "3600", time.Minute, false, 0},
		"Retry-After that overflows": {1, 0, "18446744073709551615", time.Minute, false, 0},
		"a number beyond counting":   {1, 7, "99999999999999999999", time.Minute, true, 7},
		"date":                       {1, 0, date(2 * time.Second), time.Minute, true, 2 * time.Second},
		"far date":                   {1, 0, date(1000 * time.Hour), time.Minute, false, 0},
		"the longest":                {1, 0, "5", time.Minute, true, 5 * time.Second},
		"date that is over":          {1, 0, date(-time.Hour), time.Minute, true, 0},
		"longer than what is left":   {1, 0, "5", 4 * time.Second, false, 5 * time.Second},
		"just what is left":          {1, 0, "5", 5 * time.Second, false, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			client := &Client{deps: Deps{Now: func() time.Time { return now }, Rand: func() uint64 { return c.random }}}
			q := &query{client: client, sends: c.sends, answer: &Response{Status: 503, Header: http.Header{"Retry-After": {c.after}}}}
			ctx, cancel := context.WithDeadline(t.Context(), now.Add(c.left))
			defer cancel()
			again, err := q.check(notDone{ctx}, nil, nil)
			if again != c.again || err != nil || q.pause != c.pause {
				t.Errorf("got %v after %v, %v; want %v after %v", again, q.pause, err, c.again, c.pause)
			}
		})
	}
}

// notDone has a deadline on the test's clock.
type notDone struct{ context.Context }

func (notDone) Err() error { return nil }

// A pause that cannot end before the deadline is not begun: the query gives what it has.
func TestQueryGivesTheLastAnswerWhenThereIsNoTimeToRepeat(t *testing.T) {
	p := newPeer(t, script(status(429, "Retry-After: 3600"), status(200)))
	base := time.Now()
	client := newClient(t, p.url(), func(_ *Config, d *Deps) { d.Now = func() time.Time { return base.Add(596 * time.Second) } })
	ctx, cancel := context.WithDeadline(t.Context(), base.Add(600*time.Second))
	defer cancel()
	answer, err := client.Query(ctx, repeat(post("/")))
	if err != nil || answer.Status != 429 {
		t.Errorf("got %+v, %v", answer, err)
	}
}

func TestQueryEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(within30s(t))
	p := newPeer(t, func(c net.Conn, r *http.Request) bool { return say(status(503, "Retry-After: 5"))(c, r) })
	// The pause is the client's last act that a test can see: jitter is drawn just before it.
	client := newClient(t, p.url(), func(_ *Config, d *Deps) { d.Rand = func() uint64 { cancel(); return 0 } })
	answer, err := client.Query(ctx, repeat(post("/")))
	requests, _ := p.arrived()
	if err != nil || answer.Status != 503 || len(requests) != 1 {
		t.Errorf("got %+v, %v after %d sends", answer, err, len(requests))
	}
}

// The second send never left, but the first did: the query as a whole may have reached the other side.
func TestQuerySentCoversEarlierSends(t *testing.T) {
	var p *peer
	p = newPeer(t, func(net.Conn, *http.Request) bool { _ = p.listener.Close(); return false })
	var traces []Trace
	_, err := newClient(t, p.url(), tracing(&traces)).Query(within30s(t), repeat(post("/")))
	if len(traces) != 3 || !traces[0].Sent || traces[2].Sent {
		t.Fatalf("not the wanted course: %+v", traces)
	}
	if err == nil || NotSent(err) {
		t.Errorf("got %v", err)
	}
}

func TestQueryBuildsNothingAfterItsContext(t *testing.T) {
	for range 20 {
		ctx, cancel := context.WithCancel(within30s(t))
		p := newPeer(t, func(net.Conn, *http.Request) bool { cancel(); return true })
		built := 0
		_, err := newClient(t, p.url()).Query(ctx, func() (Request, error) { built++; return post("/"), nil })
		if built != 1 || !errors.Is(err, context.Canceled) || NotSent(err) {
			t.Fatalf("%d built, %v", built, err)
		}
	}
}
