package core

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"

	"pay.taipei/gateway/signing"
)

const maxWebhook = 64 << 10

// webhook takes one delivery: 204 once it is booked or when it was, 401 when it is not
// authentic, 400 when it is authentic and cannot be an event, 503 when there is no room.
func (c *Core) webhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	if err != nil {
		http.Error(w, "the body is over 64 KiB or was cut off", http.StatusBadRequest)
		return
	}
	f := c.faults.current()
	if !f.After && f.strike(w, r) {
		return
	}
	status := c.receive(r, body)
	if f.After && f.strike(w, r) {
		return
	}
	w.WriteHeader(status)
}

func (c *Core) receive(r *http.Request, body []byte) int {
	id, ok1 := sole(r.Header, "Webhook-Id")
	stamp, ok2 := sole(r.Header, "Webhook-Timestamp")
	signature, ok3 := sole(r.Header, "Webhook-Signature")
	if !ok1 || !ok2 || !ok3 {
		c.log.WarnContext(r.Context(), "webhook refused", "err", "each of its three headers must be there once")
		return http.StatusUnauthorized
	}
	if err := signing.VerifyWebhook(c.verifiers, id, stamp, signature, body, c.now()); err != nil {
		c.log.WarnContext(r.Context(), "webhook refused", "id", id, "err", err)
		return http.StatusUnauthorized
	}
	e, err := parseEvent(body)
	if err == nil && e.ID != id {
		err = errors.New("core: webhook-id is not the event's id")
	}
	if err != nil {
		c.log.ErrorContext(r.Context(), "webhook not readable", "id", id, "err", err)
		return http.StatusBadRequest
	}
	_, gap, err := c.books.apply(&e, body)
	switch {
	case errors.Is(err, errFull):
		c.log.ErrorContext(r.Context(), "webhook put off", "id", id, "err", err)
		return http.StatusServiceUnavailable
	case err != nil:
		c.log.ErrorContext(r.Context(), "webhook contradicts an earlier one", "id", id, "err", err)
		return http.StatusBadRequest
	case gap:
		c.log.WarnContext(r.Context(), "webhook skipped versions, the feed will bring them", "id", id, "order_no", e.OrderNo)
	}
	return http.StatusNoContent
}

// sole is the value of a header that may stand only once.
func sole(h http.Header, name string) (string, bool) {
	if v := h.Values(name); len(v) == 1 {
		return v[0], true
	}
	return "", false
}

// fault is how webhooks misbehave on purpose. The zero value is not at all.
type fault struct {
	Status int  `json:"status"` // answered instead; 0: no
	Hang   bool `json:"hang"`   // no answer until the caller leaves or the fault is changed
	After  bool `json:"after"`  // only once the work is done
	over   chan struct{}
}

// strike misbehaves and says whether it answered.
func (f fault) strike(w http.ResponseWriter, r *http.Request) bool {
	if f.Hang {
		select {
		case <-r.Context().Done():
		case <-f.over:
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	return f.Status != 0
}

type faults struct {
	mu  sync.Mutex
	now fault
}

func (f *faults) current() fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *faults) show(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(f.current())
}

func (f *faults) put(w http.ResponseWriter, r *http.Request) {
	next := fault{over: make(chan struct{})}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&next); err != nil || (next.Status != 0 && (next.Status < 200 || next.Status > 599)) {
		http.Error(w, `want {"status":200-599 or 0,"hang":bool,"after":bool}`, http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	if f.now.over != nil {
		close(f.now.over)
	}
	f.now = next
	f.mu.Unlock()
	f.show(w, r)
}
