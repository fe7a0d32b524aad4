package router

import (
	"context"
	"sync"
	"time"

	"pay.taipei/gateway/orders"
)

// refusals keep a flood of forged callbacks away from the store, which genuine ones need: so many of an account and minute
// are kept whole, and the rest is counted here and written down by and by. A crash loses the count of some seconds, and
// nothing that was ever believed.
type refusals struct {
	sync.Mutex
	of map[string]*refusalCount // by account
}

type refusalCount struct {
	minute time.Time
	kept   int
	more   int64 // not written down yet
}

// many says whether an account had its share of this minute; then the refusal is counted.
func (r *refusals) many(account string, at time.Time) bool {
	r.Lock()
	defer r.Unlock()
	c := r.of[account]
	if c == nil {
		if r.of == nil {
			r.of = map[string]*refusalCount{}
		}
		c = &refusalCount{}
		r.of[account] = c
	}
	if minute := at.Truncate(time.Minute); minute.After(c.minute) {
		c.minute, c.kept = minute, 0
	}
	if c.kept < orders.KeptRefusals {
		c.kept++
		return false
	}
	c.more++
	return true
}

// take takes the counts that are to be written down.
func (r *refusals) take() map[string]orders.Refusal {
	r.Lock()
	defer r.Unlock()
	taken := map[string]orders.Refusal{}
	for account, c := range r.of {
		if c.more > 0 {
			taken[account] = orders.Refusal{More: c.more - 1, Account: account, Reason: "one of many", ReceivedAt: c.minute}
			c.more = 0
		}
	}
	return taken
}

const refusalsEvery = time.Second

// RefusalsStep writes down how many forged callbacks came beside those that are kept.
func (r *Router) RefusalsStep(ctx context.Context) (time.Time, error) {
	next := r.d.Now().Add(refusalsEvery)
	for _, refusal := range r.refusals.take() {
		if err := r.d.Store.Refuse(ctx, refusal); err != nil {
			return next, err
		}
	}
	return next, nil
}
