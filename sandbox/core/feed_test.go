package core_test

import (
	"fmt"
	"strings"
	"testing"
)

func TestFeedRebuildsTheBooks(t *testing.T) {
	c := newCity(t)
	c.gateway.pageSize = 40 // the API cuts a page of large events short
	for i := range 103 {
		c.gateway.publish(twoBills(fmt.Sprintf("20170613%08d", i), "r").event("order.created", 1))
	}
	d := twoBills(orderA, "r")
	c.gateway.publish(d.paid().event("order.paid", 2))
	for page := range 3 { // the last one was cut short
		if next, err := c.core.Step(t.Context()); err != nil || !next.Equal(c.Now()) {
			t.Fatalf("page %d is followed at once: %v, %v", page, next, err)
		}
	}
	if next, err := c.core.Step(t.Context()); err != nil || !next.After(c.Now()) {
		t.Fatalf("the end is waited at: %v, %v", next, err)
	}
	if b := c.books(); b.LastSeq != 104 || b.EventsSeen != 104 || b.DuplicatesSeen != 0 || c.settled(bill1) != orderA+"×1" {
		t.Errorf("books %+v", b)
	}
	// What the feed brought comes by webhook too.
	c.webhook(d.paid().event("order.paid", 2))
	if b := c.books(); b.EventsSeen != 104 || b.DuplicatesSeen != 1 || c.settled(bill1) != orderA+"×1" {
		t.Errorf("books %+v", b)
	}
}

func TestBrokenFeedIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(*gateway)
	}{
		{"a body changed", func(g *gateway) { g.feed[1].Body = strings.Replace(g.feed[1].Body, "order.paid", "order.late", 1) }},
		{"a hash changed", func(g *gateway) { g.feed[1].Hash = strings.Repeat("0", 64) }},
		{"an event left out", func(g *gateway) { g.feed = append(g.feed[:1], g.feed[2:]...) }},
		{"an event left out and renumbered", func(g *gateway) {
			g.feed = append(g.feed[:1], g.feed[2:]...)
			g.feed[1].Seq = 2
		}},
		{"an event numbered ahead", func(g *gateway) { g.feed = g.feed[:2]; g.feed[1].Seq = 7 }},
		{"another next_after", func(g *gateway) { g.feed = g.feed[:1]; g.nextAfter = func(n int64) int64 { return n + 1 } }},
		{"not an event", func(g *gateway) { g.feed = g.feed[:1]; g.publish([]byte(`{}`)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCity(t)
			d := twoBills(orderA, "r")
			c.gateway.publish(d.event("order.created", 1), d.paid().event("order.paid", 2), twoBills(orderB, "s").event("order.created", 1))
			tt.spoil(c.gateway)
			for range 2 {
				if err := c.step(); err == nil {
					t.Fatal("it was believed")
				}
			}
			b := c.books()
			if b.LastSeq != 1 || b.EventsSeen != 1 || b.FeedError == "" || c.settled(bill1) != "" {
				t.Errorf("books %+v", b)
			}
			if n := strings.Count(c.log.String(), "feed not read"); n != 1 {
				t.Errorf("logged %d times, want once", n)
			}
		})
	}
}

func TestFeedDownIsTriedAgain(t *testing.T) {
	c := newCity(t)
	c.gateway.publish(twoBills(orderA, "r").paid().event("order.paid", 1))
	c.gateway.down = true
	if next, err := c.core.Step(t.Context()); err == nil || !next.After(c.Now()) {
		t.Fatalf("next %v, err %v", next, err)
	}
	c.gateway.mu.Lock()
	c.gateway.down = false
	c.gateway.mu.Unlock()
	if err := c.step(); err != nil {
		t.Fatal(err)
	}
	if b := c.books(); b.FeedError != "" || c.settled(bill1) != orderA+"×1" {
		t.Errorf("books %+v", b)
	}
}
