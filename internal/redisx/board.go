package redisx

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Board is a place in Redis where replicas say things that the others count. One key holds it, so it works on a cluster;
// its times are the server's. What a replica said is gone after its ttl, or at any time before: nothing may rest on it.
type Board struct {
	redis *Redis
	key   string
}

// Board returns the board at key.
func (r *Redis) Board(key string) Board { return Board{r, key} }

// publish keeps a line per replica: until when, in milliseconds, then what it says. The key itself lives as long as the
// longest line.
const publish = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], (now + ARGV[2]) .. '\n' .. ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1`

// Publish replaces what replica says by says, for ttl, which is at least a millisecond. None of it may contain a line
// break. An empty list tells that the replica lives. An error means that the others may or may not see it.
func (b Board) Publish(ctx context.Context, replica string, says []string, ttl time.Duration) error {
	if ttl < time.Millisecond {
		return fmt.Errorf("publish: a ttl of %v would be over at once", ttl)
	}
	for _, s := range says {
		if s == "" || strings.Contains(s, "\n") {
			return fmt.Errorf("publish: %q is empty or more than one line", s)
		}
	}
	err := b.redis.do(ctx, func(ctx context.Context) error {
		return b.redis.client.Eval(ctx, publish, []string{b.key}, replica, ttl.Milliseconds(), strings.Join(says, "\n")).Err()
	})
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// read gives what the replicas say that were heard of lately, and forgets the others.
const read = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local lines, said = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #lines, 2 do
  local till, says = string.match(lines[i + 1], '^(%d+)\n(.*)$')
  if till and tonumber(till) > now then said[#said + 1] = says else redis.call('HDEL', KEYS[1], lines[i]) end
end
return said`

// Read counts the replicas that published and whose time is not over, and for each thing said those that say it.
func (b Board) Read(ctx context.Context) (live int, votes map[string]int, err error) {
	var said []string
	err = b.redis.do(ctx, func(ctx context.Context) error {
		said, err = b.redis.client.Eval(ctx, read, []string{b.key}).StringSlice()
		return err
	})
	if err != nil {
		return 0, nil, fmt.Errorf("read: %w", err)
	}
	votes = map[string]int{}
	for _, lines := range said {
		heard := map[string]bool{} // a replica has one vote
		for line := range strings.SplitSeq(lines, "\n") {
			if line != "" && !heard[line] {
				heard[line] = true
				votes[line]++
			}
		}
	}
	return len(said), votes, nil
}
