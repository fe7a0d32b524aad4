// Package redisx is the gateway's only way to Redis: short-lived claims that make a repeated request cheap to refuse,
// allowances that replicas share, and a board on which they tell each other what they find.
//
// Redis is never the truth here. A claim may vanish at any time (restart, eviction, failover, FLUSHALL), so "free" only
// means that SQL has to decide, and "taken" has to be confirmed in SQL. Every error means unknown, never free and never
// taken. A Redis that hangs costs a request at most 200 ms, and the whole process one such wait a second.
package redisx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	limit = 200 * time.Millisecond // of one operation, connecting included
	tick  = 250 * time.Millisecond // of the embedded server's clock
)

// ErrUnavailable means that Redis failed less than a second ago and was not asked again.
var ErrUnavailable = errors.New("redis does not answer; not asked again yet")

// Config says where Redis is. Redis 7.0 is the oldest that works.
type Config struct {
	Addrs      []string      // host:port, of one server, of the sentinels or of some cluster nodes
	MasterName string        // not empty: Addrs are sentinels that know this master
	Cluster    bool          // Addrs are nodes of a cluster
	Username   string        // empty: the default user
	Password   func() []byte // asked for each new connection; nil: none
	TLS        bool          // server certificates are verified by host name
	Embedded   bool          // a server inside this process instead, without a port; forgets everything, for demos
}

// Deps are what a Redis needs from outside.
type Deps struct {
	Now func() time.Time // the clock
}

// Redis is an open client, safe for concurrent use. There is no useful zero value.
type Redis struct {
	client   redis.UniversalClient
	guard    guard
	now      func() time.Time
	limit    time.Duration        // of one operation, connecting included
	embedded *miniredis.Miniredis // nil: a real server
	stepped  time.Time            // how far the embedded server's clock has come
}

// Open prepares a client and does not connect: the gateway runs without Redis, only slower.
func Open(c Config, d Deps) (*Redis, error) { return open(c, d, limit) }

func open(c Config, d Deps, limit time.Duration) (*Redis, error) {
	logging.Disable() // it prints to stderr, for the whole process, what every caller gets as an error
	r := &Redis{now: d.Now, limit: limit, stepped: d.Now()}
	options := c.options(limit)
	switch {
	case c.Embedded && (len(c.Addrs) > 0 || c.MasterName != "" || c.Cluster):
		return nil, errors.New("redis is embedded and has an address: choose one")
	case c.Embedded:
		r.embedded = miniredis.NewMiniRedis()
		options.Addrs = []string{"embedded"}
		options.Dialer = func(context.Context, string, string) (net.Conn, error) { return r.embedded.Dial() }
		r.client = redis.NewClient(options.Simple())
	case len(c.Addrs) == 0:
		return nil, errors.New("redis has no address: give host:port, or embed it")
	case c.MasterName != "" && c.Cluster:
		return nil, errors.New("redis is a cluster and has a sentinel master: choose one")
	case c.MasterName != "":
		r.client = redis.NewFailoverClient(options.Failover())
	case c.Cluster:
		cluster := options.Cluster()
		cluster.DisableRoutingPolicies = true // they ask every node for its commands, whatever our deadline
		r.client = redis.NewClusterClient(cluster)
	case len(c.Addrs) > 1:
		return nil, errors.New("redis has several addresses: say whether they are a cluster or the sentinels of a master")
	default:
		r.client = redis.NewClient(options.Simple())
	}
	return r, nil
}

// options turns off what go-redis does by default: ignoring deadlines, retrying, and asking for server pushes that
// proxies and Valkey answer with an error.
func (c Config) options(limit time.Duration) *redis.UniversalOptions {
	o := &redis.UniversalOptions{
		Addrs: c.Addrs, MasterName: c.MasterName, IsClusterMode: c.Cluster,
		ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: limit, ReadTimeout: limit, WriteTimeout: limit, PoolTimeout: limit,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if c.Password != nil {
		o.CredentialsProvider = func() (string, string) { return c.Username, string(c.Password()) }
	}
	if c.TLS {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o
}

// Claim takes key for ttl in the name of token, which the caller made up for this request alone. taken means that
// somebody else holds the key. A claim that is ours already, because our own first send got through and its answer
// was lost, is ours: it is not taken, and its time is not renewed. ttl is at least a millisecond.
func (r *Redis) Claim(ctx context.Context, key, token string, ttl time.Duration) (taken bool, err error) {
	if ttl < time.Millisecond {
		return false, fmt.Errorf("claim: a ttl of %v would never end", ttl)
	}
	err = r.do(ctx, func(ctx context.Context) error {
		holder, err := r.client.SetArgs(ctx, key, token, redis.SetArgs{Mode: "NX", Get: true, TTL: ttl}).Result()
		if errors.Is(err, redis.Nil) {
			return nil // nobody held it
		}
		taken = err == nil && holder != token
		return err
	})
	if err != nil {
		return false, fmt.Errorf("claim: %w", err)
	}
	return taken, nil
}

// release deletes the key only while it holds our token: our claim may have expired and be another's by now.
const release = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`

// Release gives key up if token still holds it, and does nothing otherwise. After an error the claim ends by its ttl.
func (r *Redis) Release(ctx context.Context, key, token string) error {
	err := r.do(ctx, func(ctx context.Context) error {
		return r.client.Eval(ctx, release, []string{key}, token).Err()
	})
	if err != nil {
		return fmt.Errorf("release: %w", err)
	}
	return nil
}

// Ping says whether Redis answers; it also ends Degraded when nothing else is asked.
func (r *Redis) Ping(ctx context.Context) error {
	return r.do(ctx, func(ctx context.Context) error { return r.client.Ping(ctx).Err() })
}

// Degraded says whether the last operation failed.
func (r *Redis) Degraded() bool { return r.guard.failed() }

// Close closes the connections and ends the embedded server.
func (r *Redis) Close() error {
	err := r.client.Close()
	if r.embedded != nil {
		r.embedded.Close()
	}
	return err
}

// Step moves the embedded server's clock to now, so that claims expire there, and returns when to do it again. It
// returns the zero time for a real server, which needs no help. One goroutine at a time calls it.
func (r *Redis) Step(context.Context) (time.Time, error) {
	if r.embedded == nil {
		return time.Time{}, nil
	}
	now := r.now()
	if passed := now.Sub(r.stepped); passed > 0 {
		r.embedded.FastForward(passed)
		r.stepped = now
	}
	return now.Add(tick), nil
}

// Run calls Step every 250 ms until ctx ends. For a real server it returns at once.
func (r *Redis) Run(ctx context.Context) {
	if r.embedded == nil {
		return
	}
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			_, _ = r.Step(ctx) // fails never
		}
	}
}

// do runs f under the time limit, unless the guard says that Redis would only cost time.
func (r *Redis) do(ctx context.Context, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	probe, ok := r.guard.enter(r.now())
	if !ok {
		return ErrUnavailable
	}
	limited, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	err := f(limited)
	switch {
	case err == nil:
		r.guard.leave(probe, good, r.now())
	case callerLeft(ctx, limited, err): // that says nothing about Redis
		r.guard.leave(probe, unknown, r.now())
	default:
		r.guard.leave(probe, bad, r.now())
	}
	return err
}

// callerLeft says whether f ended because the caller's context did. A socket may notice the caller's deadline a moment
// before the context does.
func callerLeft(caller, limited context.Context, err error) bool {
	if caller.Err() != nil {
		return true
	}
	theirs, has := caller.Deadline()
	ours, _ := limited.Deadline()
	timeout, ok := errors.AsType[net.Error](err)
	return has && !theirs.After(ours) && ok && timeout.Timeout()
}
