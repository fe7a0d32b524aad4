package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	feedPage     = 100
	feedInterval = 2 * time.Second
	feedPatience = 15 * time.Second // after a failure
)

var errChain = errors.New("core: the feed's hash chain is broken; nothing after the last good event is believed")

type feed struct {
	Events []struct {
		Seq  int64  `json:"seq"`
		Hash string `json:"hash"`
		Body string `json:"body"`
	} `json:"events"`
	NextAfter int64 `json:"next_after"`
}

// Step reads one page of the order API's feed after the last event read, verifies its hash
// chain and applies what webhooks have missed. next is when to call it again. A
// page whose chain does not hold is applied up to its last good event; then Step returns
// an error each time and goes no further until the feed is whole.
func (c *Core) Step(ctx context.Context) (next time.Time, err error) {
	c.stepping.Lock()
	defer c.stepping.Unlock()
	more, err := c.readFeed(ctx)
	changed := c.books.noteFeed(err)
	switch {
	case err != nil:
		if changed { // else the log would fill with one complaint
			c.log.ErrorContext(ctx, "feed not read", "err", err)
		}
		return c.now().Add(feedPatience), err
	case more:
		return c.now(), nil
	}
	return c.now().Add(feedInterval), nil
}

// readFeed reads one page. Only an empty one is the end: the API cuts a page of large events short.
func (c *Core) readFeed(ctx context.Context) (more bool, err error) {
	after := c.books.lastSeq()
	query := url.Values{"after": {strconv.FormatInt(after, 10)}, "limit": {strconv.Itoa(feedPage)}}
	a, err := c.call(ctx, 10*time.Second, http.MethodGet, "/v1/events", query, "", nil)
	if err != nil {
		return false, err
	}
	if a.status != http.StatusOK {
		return false, fmt.Errorf("core: the feed answered %d", a.status)
	}
	var page feed
	if err := json.Unmarshal(a.body, &page); err != nil {
		return false, fmt.Errorf("core: feed: %w", err)
	}
	for _, e := range page.Events {
		if err := c.books.applyFeed(e.Seq, e.Hash, []byte(e.Body)); err != nil {
			return false, err
		}
	}
	if last := c.books.lastSeq(); page.NextAfter != last {
		return false, fmt.Errorf("%w: next_after is %d after event %d", errChain, page.NextAfter, last)
	}
	return len(page.Events) > 0, nil
}

func (b *books) lastSeq() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seq
}

// noteFeed keeps what is wrong with the feed, and says whether that is new.
func (b *books) noteFeed(err error) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	changed = text != b.feedError
	b.feedError = text
	return changed
}

// applyFeed books the next event of the feed: its number must follow the last, and its hash
// must be SHA-256 of the last hash and its bytes.
func (b *books) applyFeed(seq int64, hash string, body []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	sum := sha256.Sum256(append(b.head[:], body...))
	if seq != b.seq+1 || hash != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%w: event %d after %d", errChain, seq, b.seq)
	}
	e, err := parseEvent(body)
	if err != nil {
		return err
	}
	if _, _, err := b.applyLocked(&e, body); err != nil {
		return err
	}
	b.seq, b.head = seq, sum
	return nil
}
