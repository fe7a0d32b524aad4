package desk

import (
	"context"
	"io"
	"slices"
	"time"
)

// deliveryTimeout bounds one delivery of a notice.
const deliveryTimeout = 10 * time.Second

// notice is one that is to be delivered, with those that follow it.
type notice struct {
	payment *Payment
	state   State
	then    []State // what to say after this one was settled
	tries   int
	sent    bool // something left
}

// announce queues the notice of a decision. The caller holds the lock.
func (d *Desk) announce(p *Payment) {
	if d.rules.Notice == nil || p.Faults.Lost {
		return
	}
	n := &notice{payment: p, state: p.State}
	n.then = slices.Repeat([]State{p.State}, p.Faults.Duplicated)
	if p.Faults.Reordered {
		n.then = append(n.then, Failed)
	}
	d.notices.Add(n, d.deps.Now().Add(time.Duration(p.Faults.Late)))
	d.deps.Wake()
}

// Step delivers at most one notice that is due and says when the next one is; the zero time when none waits. What a
// delivery comes to is logged, never an error. The error is the double's own.
func (d *Desk) Step(ctx context.Context) (next time.Time, err error) {
	return d.notices.Step(d.deps.Now(), func(n *notice) (again time.Time, err error) {
		done, err := d.deliver(ctx, n)
		return d.settle(n, done), err
	})
}

// deliver sends a notice once and says whether that settles it.
func (d *Desk) deliver(ctx context.Context, n *notice) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	d.mu.Lock()
	said := d.seen(n.payment)
	d.mu.Unlock()
	said.State = n.state
	said.Deliveries++
	req, err := d.rules.Notice(ctx, said)
	if err != nil || req == nil { // it says nothing of that
		return true, err
	}
	d.mu.Lock()
	n.payment.Deliveries++
	d.mu.Unlock()
	n.sent = true
	log := d.deps.Log.With("number", said.Number, "state", string(n.state), "try", n.tries+1)
	resp, err := d.client.Do(req)
	if err != nil {
		log.Warn("notice not delivered", "err", err)
		return false, nil
	}
	defer func() { _ = resp.Body.Close() }() // read as far as it is wanted
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err == nil && d.rules.Settles(resp.StatusCode, body) {
		return true, nil
	}
	log.Warn("notice not acknowledged", "http_status", resp.StatusCode)
	return false, nil
}

// settle files a delivery's outcome and says when there is another one: of the next notice, or of the same again.
func (d *Desk) settle(n *notice, done bool) (again time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.deps.Now()
	if !done {
		if n.tries == len(d.rules.Pauses) {
			return time.Time{}
		}
		n.tries++
		return now.Add(d.rules.Pauses[n.tries-1])
	}
	if n.sent {
		n.payment.Settled++
	}
	n.sent, n.tries = false, 0
	if len(n.then) == 0 {
		return time.Time{}
	}
	n.state, n.then = n.then[0], n.then[1:]
	return now
}
