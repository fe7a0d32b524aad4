package router

import (
	"context"
	"sync"
	"time"

	"pay.taipei/gateway/orders"
)

// flood keeps what anybody can send away from the store, which genuine messages need: of each name (an account, an attempt) so
// many messages of a minute are written down as they come, and the rest is counted here and told by and by. A crash loses the
// count of some seconds, and nothing that was ever believed.
type flood struct {
	sync.Mutex
	of map[string]*share // by name
}

// share is a name's share of its minute.
type share struct {
	minute time.Time
	taken  int
	more   int64 // counted, not told yet
}

// many says whether a name had its share of this minute; then the message is counted.
func (f *flood) many(name string, at time.Time, most int) bool {
	f.Lock()
	defer f.Unlock()
	s := f.of[name]
	if s == nil {
		if f.of == nil {
			f.of = map[string]*share{}
		}
		s = &share{}
		f.of[name] = s
	}
	if minute := at.Truncate(time.Minute); minute.After(s.minute) {
		s.minute, s.taken = minute, 0
	}
	if s.taken < most {
		s.taken++
		return false
	}
	s.more++
	return true
}

// take takes the counts that are to be told, and forgets names of which nothing came of late.
func (f *flood) take(now time.Time) map[string]share {
	f.Lock()
	defer f.Unlock()
	taken := map[string]share{}
	for name, s := range f.of {
		if s.more > 0 {
			taken[name] = *s
			s.more = 0
		} else if now.Sub(s.minute) > 2*time.Minute {
			delete(f.of, name)
		}
	}
	return taken
}

const (
	floodEvery = time.Second
	// hintShare is how many hints of an attempt and minute are applied as they come: each makes the same query due.
	hintShare = 3
)

// FloodStep tells what came beside what was written down: how many forged callbacks, and that there were more hints.
func (r *Router) FloodStep(ctx context.Context) (time.Time, error) {
	now := r.d.Now()
	next := now.Add(floodEvery)
	for account, s := range r.refusals.take(now) {
		refusal := orders.Refusal{More: s.more - 1, Account: account, Reason: "one of many", ReceivedAt: s.minute}
		if err := r.d.Store.Refuse(ctx, refusal); err != nil {
			return next, err
		}
	}
	for attempt := range r.hints.take(now) {
		no := orders.AttemptNo(attempt)
		o, err := r.attemptOf(ctx, no)
		if err != nil {
			return next, err
		}
		e := orders.Evidence{Source: orders.SourceCallback, Account: o.Attempt(no).Account, AttemptNo: no, ReceivedAt: now, Raw: orders.Raw{Line: "one of many"}}
		if _, err := r.apply(ctx, e); err != nil {
			return next, err
		}
	}
	return next, nil
}
