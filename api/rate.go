package api

import (
	"cmp"
	"context"
	"time"

	"golang.org/x/time/rate"
)

// defaultRate is how many requests a second one client may make.
const defaultRate = 100

// limiterWait is the longest that a request waits for the shared count. The limiter is expected to give up sooner and to
// know by itself when it is no use asking.
const limiterWait = 2 * time.Second

// allowance is how many requests a client may make.
type allowance struct {
	perSecond, burst int
	local            *rate.Limiter // counts where the shared count is not known
}

func newAllowance(perSecond, burst int) allowance {
	perSecond = cmp.Or(perSecond, defaultRate)
	burst = cmp.Or(burst, 2*perSecond)
	return allowance{perSecond, burst, rate.NewLimiter(rate.Limit(perSecond), burst)}
}

func (a allowance) same(b allowance) bool { return a.perSecond == b.perSecond && a.burst == b.burst }

// allow takes one request from the caller's allowance; the problem says when there is one again.
func (s *Server) allow(ctx context.Context, c *caller, now time.Time) error {
	p := newProblem(problemRate)
	if s.deps.Limiter != nil {
		ctx, cancel := context.WithTimeout(ctx, limiterWait)
		defer cancel()
		ok, after, err := s.deps.Limiter.Allow(ctx, "api:"+c.id, c.rate.perSecond, c.rate.burst)
		switch {
		case err != nil: // counted here instead
		case ok:
			return nil
		default:
			p.retryAfter = max(wholeSeconds(after), p.retryAfter)
			return p
		}
	}
	if c.rate.local.AllowN(now, 1) {
		return nil
	}
	return p
}
