package bravobank

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"pay.taipei/gateway/signing"
)

// deliveryTimeout and giveUpAfter are section 6.
const (
	deliveryTimeout = 10 * time.Second
	giveUpAfter     = 24 * time.Hour
)

// notice is one that is to be delivered, with those that follow it.
type notice struct {
	payment *payment
	status  string
	then    []string // statuses to send after this one was acknowledged
	since   time.Time
	tries   int
}

// pause is how long to wait after a number of failures (section 6).
func pause(failures int) time.Duration {
	return []time.Duration{5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute}[min(failures, 4)-1]
}

// announce queues the notice of a payment that has ended. The caller holds the lock.
func (b *Bank) announce(p *payment, now time.Time) {
	if p.faults.Lost {
		return
	}
	n := &notice{payment: p, status: p.state, since: now}
	n.then = slices.Repeat([]string{p.state}, p.faults.Duplicated)
	if p.faults.Reordered {
		n.then = append(n.then, "failed", "authorising")
	}
	b.notices.Add(n, now.Add(time.Duration(p.faults.Late)))
	b.d.Wake()
}

// Step delivers at most one notice that is due and says when the next one is; the zero
// time when none waits. What a delivery comes to is logged, never an error: the
// notice stays due. The error is the bank's own.
func (b *Bank) Step(ctx context.Context) (next time.Time, err error) {
	return b.notices.Step(b.d.Now(), func(n *notice) (again time.Time, err error) {
		done, err := b.deliver(ctx, n)
		return b.settle(n, done), err
	})
}

// deliver sends a notice once and says whether that settles it.
func (b *Bank) deliver(ctx context.Context, n *notice) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	req, err := b.request(ctx, n)
	if err != nil {
		return false, err
	}
	log := b.d.Log.With("attempt_no", n.payment.AttemptNo, "status", n.status)
	resp, err := b.client.Do(req)
	if err != nil {
		log.Warn("notice not delivered", "try", n.tries+1, "err", err)
		return false, nil
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is wanted
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	var answer struct {
		Result string `json:"result"`
	}
	if err != nil || json.Unmarshal(body, &answer) != nil {
		answer.Result = "unreadable"
	}
	switch {
	case resp.StatusCode == http.StatusOK && answer.Result == "ok":
		return true, nil
	case resp.StatusCode == http.StatusBadRequest && answer.Result == "refused":
		log.Error("notice refused by the gateway")
		n.then = nil
		return true, nil
	}
	log.Warn("notice not acknowledged", "try", n.tries+1, "http_status", resp.StatusCode)
	return false, nil
}

// request signs a delivery of its own: fresh timestamp and nonce, the same body.
func (b *Bank) request(ctx context.Context, n *notice) (*http.Request, error) {
	b.mu.Lock()
	statement, forge := b.state(n.payment, n.status), n.payment.faults.ForgedSignature
	n.payment.deliveries++
	nonce, errNonce := b.random(18)
	b.mu.Unlock()
	body, err := json.Marshal(statement)
	if err := errors.Join(err, errNonce); err != nil {
		return nil, fmt.Errorf("bravobank: notice: %w", err)
	}
	callback := n.payment.callback
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, callback.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("bravobank: notice: %w", err)
	}
	kid, timestamp := b.c.Key.KeyID(), strconv.FormatInt(b.d.Now().Unix(), 10)
	head := "bravo-notice-v1\n" + kid + "\n" + timestamp + "\n" + nonce + "\n" + callback.EscapedPath() + "\n"
	sig := b.c.Key.Sign(append(signing.Text(head), body...))
	if forge {
		sig[0] ^= 1
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Bravo-Kid", kid)
	req.Header.Set("Bravo-Timestamp", timestamp)
	req.Header.Set("Bravo-Nonce", nonce)
	req.Header.Set("Bravo-Signature", base64.RawURLEncoding.EncodeToString(sig))
	return req, nil
}

// settle files a delivery's outcome and says when there is another one: of the next notice, or of the same again.
func (b *Bank) settle(n *notice, done bool) (again time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.d.Now()
	if !done {
		if now.Sub(n.since) > giveUpAfter {
			return time.Time{}
		}
		n.tries++
		return now.Add(pause(n.tries))
	}
	n.payment.acks++
	n.tries, n.since = 0, now
	if len(n.then) == 0 {
		return time.Time{}
	}
	n.status, n.then = n.then[0], n.then[1:]
	return now
}
