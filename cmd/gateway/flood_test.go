package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
)

// Forged callbacks as fast as eight senders can make them do not keep genuine ones out: each is accepted at its first
// delivery, and its order is paid.
func TestForgedFloodStarvesNobody(t *testing.T) {
	const genuine = 20
	b := openDesk(t, deskSettings{})
	var payments []*bravoPayment
	for i := range genuine {
		payments = append(payments, b.place(t, fmt.Sprintf("H609838813%05d", i)))
	}
	forged := sealTo(payments[0].path)
	forged.seed = strayKey
	bad := forged.seal(payments[0].notice("paid").json(t))
	ctx, stop := context.WithCancel(t.Context())
	var sent atomic.Int64
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for ctx.Err() == nil {
				if got := b.send(ctx, bad); got == ackOK {
					t.Error("a forged callback was accepted")
					return
				}
				sent.Add(1)
			}
		})
	}
	begun, slowest := time.Now(), time.Duration(0)
	for _, p := range payments {
		at := time.Now()
		if ack := b.post(t, p.seal().seal(p.notice("paid").json(t))); ack != ackOK {
			t.Errorf("a genuine callback is answered %s", ack)
		}
		slowest = max(slowest, time.Since(at))
	}
	took := time.Since(begun)
	stop()
	senders.Wait()
	for _, p := range payments {
		b.until(t, p.no, func(o orders.Document) bool { return o.Status == "paid" })
	}
	t.Logf("%d forged in %v beside %d genuine, the slowest of which took %v", sent.Load(), took.Round(time.Millisecond), genuine, slowest.Round(time.Millisecond))
}
