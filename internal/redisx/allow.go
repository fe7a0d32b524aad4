package redisx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redis/redis_rate/v10"
)

// Allow takes one from key's allowance, which all replicas share: burst at once, and perSecond more each second; both
// are at least 1. Refused, retryAfter is when there is one again. An error means not known: judge locally then.
func (r *Redis) Allow(ctx context.Context, key string, perSecond, burst int) (ok bool, retryAfter time.Duration, err error) {
	if perSecond < 1 || burst < 1 {
		return false, 0, errors.New("allow: rate and burst are at least 1")
	}
	limit := redis_rate.Limit{Rate: perSecond, Burst: burst, Period: time.Second}
	var result *redis_rate.Result
	err = r.do(ctx, func(ctx context.Context) error {
		result, err = redis_rate.NewLimiter(r.client).Allow(ctx, key, limit)
		return err
	})
	switch {
	case err != nil:
		return false, 0, fmt.Errorf("allow: %w", err)
	case result.Allowed > 0:
		return true, 0, nil
	}
	return false, max(result.RetryAfter, 0), nil
}
