package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pay.taipei/gateway/internal/sqldb"
	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/sandbox/bravobank"
	"pay.taipei/gateway/signing"
)

// The tests of this file stand in the bank's place: they send notices, honest and not, to the real binary on SQLite.
// They sign with code of their own, written from docs/providers/bravobank.md.

// The published test keys (chapter 1).
const (
	ownSeed  = "cGF5LnRhaXBlaSBwdWJsaXNoZWQgdGVzdCBrZXkgMDE"
	ownKid   = "pay-taipei-test-1"
	bankSeed = "YnJhdm8gYmFuayBwdWJsaXNoZWQgdGVzdCBrZXkgMDE"
	bankKid  = "bravo-test-1"
	strayKey = "c29tZWJvZHkgZWxzZSdzIHRlc3Qga2V5LCBub3QgMDE" // a seed that nobody has registered
)

// The bank's words for what became of a notice (section 6).
const (
	ackOK      = `200 application/json {"result":"ok"}`
	ackRefused = `400 application/json {"result":"refused"}`
	ackRetry   = `503 application/json {"result":"retry"}`
)

const largestBody = 64 << 10 // docs/callbacks.md

// What is not proven to be the bank's is refused in the bank's words, counted, kept for audit, and moves nothing. The
// honest notice with the same nonce is taken afterwards: it was the tampering that was refused, and it spoilt nothing.
func TestCallbackRefused(t *testing.T) {
	type row struct {
		name     string
		trustOwn bool   // our own key is registered as the bank's: only the direction in the signed text is left to protect us
		why      string // in the reason that is kept: no row may be refused for another's reason
		tamper   func(p *bravoPayment, s bravoSeal, d *bravoDelivery)
	}
	rows := []row{
		{name: "no header at all", why: "Bravo-Kid", tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) { d.header = http.Header{} }},
		{name: "wrong key", why: "does not match", tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) {
			s.seed = strayKey
			*d = s.seal(d.body)
		}},
		{name: "unknown key id", why: "not known", tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) {
			s.kid = "bravo-test-2"
			*d = s.seal(d.body)
		}},
		{name: "one byte of the body changed", why: "does not match", tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			d.body = bytes.Replace(d.body, []byte(`"total":"2`), []byte(`"total":"1`), 1)
		}},
		{name: "one byte of the signature changed", why: "does not match", tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) { d.swap("Bravo-Signature", 10) }},
		{name: "the same signature written with other spare bits", why: "not base64url", tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			sig := d.header.Get("Bravo-Signature")
			last := strings.IndexByte(base64url, sig[85])
			d.header.Set("Bravo-Signature", sig[:85]+base64url[last+1:last+2])
		}},
		{name: "one byte of the timestamp changed", why: "does not match", tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) { d.swap("Bravo-Timestamp", 9) }},
		{name: "one byte of the nonce changed", why: "does not match", tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) { d.swap("Bravo-Nonce", 0) }},
		{name: "one byte of the path changed", why: "does not match", tamper: func(p *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			d.target = p.path[:len(p.path)-1] + other(p.path[len(p.path)-1])
		}},
		{name: "one byte of the path escaped", why: "does not match", tamper: func(p *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			last := len(p.path) - 1
			d.target = fmt.Sprintf("%s%%%02X", p.path[:last], p.path[last])
		}},
		{name: "token taken from the path", why: "does not match", tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) { d.target = "/callbacks/bravobank-main" }},
		{name: "another account's path", why: "does not match", tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			d.target = strings.Replace(d.target, "bravobank-main", "bravobank-two", 1)
		}},
		{name: "six minutes old", why: "outside the tolerance", tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) {
			s.at = s.at.Add(-6 * time.Minute)
			*d = s.seal(d.body)
		}},
		{name: "six minutes in the future", why: "outside the tolerance", tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) {
			s.at = s.at.Add(6 * time.Minute)
			*d = s.seal(d.body)
		}},
		{name: "body of 1 MB", why: "over 64 KiB", tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) { *d = s.seal(padded(d.body, 1<<20)) }},
		{name: "body one byte over the limit", why: "over 64 KiB", tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) {
			*d = s.seal(padded(d.body, largestBody+1))
		}},
		{name: "query string added", why: "query string", tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) { d.target += "?status=paid" }},
		{name: "query string signed as part of the path", why: "query string", tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) {
			s.path += "?status=paid"
			*d = s.seal(d.body)
		}},
		{name: "signed by the bank but a field comes twice", why: "repeated", tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) {
			*d = s.seal(bytes.Replace(d.body, []byte(`{`), []byte(`{"status":"failed",`), 1))
		}},

		{name: "our order posted as its form", why: "Bravo-Kid", trustOwn: true, tamper: func(p *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			form := url.Values{}
			for name, value := range p.form {
				form.Set(name, value)
			}
			d.header, d.body = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form.Encode())
		}},
		{name: "our order as the body under its own signature", why: "does not match", trustOwn: true, tamper: func(p *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			d.body = []byte(p.form["order"])
			d.claim(p.form["kid"], p.form["sig"])
		}},
		{name: "our order's JSON under its own signature", why: "does not match", trustOwn: true, tamper: func(p *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			d.body = p.signed
			d.claim(p.form["kid"], p.form["sig"])
		}},
		{name: "a paid notice under our order's signature", why: "does not match", trustOwn: true, tamper: func(p *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			d.claim(p.form["kid"], p.form["sig"])
		}},
		{name: "a paid notice under our order's signature and the bank's key id", why: "does not match", tamper: func(p *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			d.claim(bankKid, p.form["sig"])
		}},
		{name: "a paid notice signed by us as an order", why: "does not match", trustOwn: true, tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) {
			d.claim(ownKid, sign(ownSeed, "bravo-order-v1."+base64.RawURLEncoding.EncodeToString(d.body)))
		}},
		{name: "a paid notice signed by us as a query", why: "does not match", trustOwn: true, tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) {
			s.seed, s.kid, s.label = ownSeed, ownKid, "bravo-query-v1"
			*d = s.seal(d.body)
		}},
		{name: "a paid notice signed by the bank as an answer", why: "does not match", tamper: func(_ *bravoPayment, s bravoSeal, d *bravoDelivery) {
			s.label, s.path = "bravo-query-answer-v1", s.path+"\n200"
			d.claim(bankKid, s.seal(d.body).header.Get("Bravo-Signature"))
		}},
	}
	for _, name := range []string{"Bravo-Kid", "Bravo-Timestamp", "Bravo-Nonce", "Bravo-Signature"} {
		rows = append(rows,
			row{name: "no " + name, why: name, tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) { d.header.Del(name) }},
			row{name: name + " twice", why: name, tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) {
				d.header.Add(name, d.header.Get(name))
			}},
			row{name: name + " and another behind it", why: name, tamper: func(_ *bravoPayment, _ bravoSeal, d *bravoDelivery) {
				genuine := d.header.Get(name)
				d.header.Add(name, other(genuine[0])+genuine[1:])
			}})
	}
	for _, c := range rows {
		t.Run(c.name, func(t *testing.T) {
			b := openDesk(t, deskSettings{trustOwn: c.trustOwn})
			p := b.place(t, "H60983881309263")
			s := p.seal()
			genuine := s.seal(p.notice("paid").json(t))
			forged := genuine.clone()
			c.tamper(p, s, &forged)

			before := b.get(t, "/v1/orders/"+p.no)
			if ack := b.post(t, forged); ack != ackRefused {
				t.Errorf("answered %s, want %s", ack, ackRefused)
			}
			if after := b.get(t, "/v1/orders/"+p.no); !bytes.Equal(before, after) {
				t.Errorf("the order changed:\n%s\nbefore:\n%s", after, before)
			}
			b.counted(t, `callbacks_total{account="`+forged.account()+`",verdict="refused"}`, 1)
			b.counted(t, `callbacks_total{account="bravobank-main",verdict="accepted"}`, 0)
			b.counted(t, `order_moves_total{to="paid"}`, 0)
			b.counted(t, "reviews_open", 0)
			b.counted(t, "orphans", 0)

			if ack := b.post(t, genuine); ack != ackOK {
				t.Errorf("the genuine notice was answered %s", ack)
			}
			b.happened(t, p, "order.created", "order.paid")
			b.stop(t)
			b.audited(t, forged, c.why)
		})
	}
}

// The other side of the limits: what is just within them is believed.
func TestCallbackAccepted(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(s bravoSeal, body []byte) bravoDelivery
	}{
		{"plain", func(s bravoSeal, body []byte) bravoDelivery { return s.seal(body) }},
		{"four minutes old", func(s bravoSeal, body []byte) bravoDelivery {
			s.at = s.at.Add(-4 * time.Minute)
			return s.seal(body)
		}},
		{"four minutes in the future", func(s bravoSeal, body []byte) bravoDelivery {
			s.at = s.at.Add(4 * time.Minute)
			return s.seal(body)
		}},
		{"largest body", func(s bravoSeal, body []byte) bravoDelivery { return s.seal(padded(body, largestBody)) }},
		{"to the account as a whole", func(s bravoSeal, body []byte) bravoDelivery {
			s.path = "/callbacks/bravobank-main"
			return s.seal(body)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openDesk(t, deskSettings{})
			p := b.place(t, "H60983881309263")
			if ack := b.post(t, c.make(p.seal(), p.notice("paid").json(t))); ack != ackOK {
				t.Errorf("answered %s", ack)
			}
			o := b.happened(t, p, "order.created", "order.paid")
			if o.Status != "paid" || o.Late || o.Review || o.Attempts[0].Status != "paid" || *o.Attempts[0].ProviderTradeNo != p.tradeNo() {
				t.Errorf("order %+v", o)
			}
			b.counted(t, `callbacks_total{account="bravobank-main",verdict="accepted"}`, 1)
		})
	}
}

// A callback is a POST. Anything else never reaches the adapter, so there is nothing to audit; to the bank it is no
// acknowledgement.
func TestCallbackWrongMethod(t *testing.T) {
	b := openDesk(t, deskSettings{})
	p := b.place(t, "H60983881309263")
	genuine := p.seal().seal(p.notice("paid").json(t))
	before := b.get(t, "/v1/orders/"+p.no)
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		t.Run(method, func(t *testing.T) {
			wrong := genuine.clone()
			wrong.method = method
			if ack := b.post(t, wrong); ack != "405  " {
				t.Errorf("answered %q", ack)
			}
			if after := b.get(t, "/v1/orders/"+p.no); !bytes.Equal(before, after) {
				t.Errorf("the order changed:\n%s", after)
			}
		})
	}
	if ack := b.post(t, genuine); ack != ackOK {
		t.Errorf("the genuine notice was answered %s", ack)
	}
	b.happened(t, p, "order.created", "order.paid")
}

// A nonce stands for one message. One that comes again with another body is refused though the bank signed it.
func TestCallbackNonceReused(t *testing.T) {
	for _, c := range []struct {
		name  string
		first string // status told of the first order
		other bool   // the nonce comes again in a notice of another order
		want  []string
	}{
		{"for another order", "paid", true, []string{"order.created", "order.paid"}},
		{"for the same order", "failed", false, []string{"order.created", "order.failed", "order.paid"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openDesk(t, deskSettings{})
			p := b.place(t, "H60983881309263")
			s := p.seal()
			if ack := b.post(t, s.seal(p.notice(c.first).json(t))); ack != ackOK {
				t.Fatalf("the first notice was answered %s", ack)
			}
			victim := p
			if c.other {
				victim = b.place(t, "H61283631217536")
			}
			again := victim.seal()
			again.nonce = s.nonce
			body := victim.notice("paid").json(t)
			before := b.get(t, "/v1/orders/"+victim.no)
			if ack := b.post(t, again.seal(body)); ack != ackRefused {
				t.Errorf("answered %s, want %s", ack, ackRefused)
			}
			if after := b.get(t, "/v1/orders/"+victim.no); !bytes.Equal(before, after) {
				t.Errorf("the order changed:\n%s\nbefore:\n%s", after, before)
			}
			b.counted(t, `callbacks_total{account="bravobank-main",verdict="refused"}`, 1)

			if ack := b.post(t, victim.seal().seal(body)); ack != ackOK {
				t.Errorf("under a nonce of its own it was answered %s", ack)
			}
			b.happened(t, victim, c.want...)
			b.stop(t)
			b.audited(t, again.seal(body), "nonce reused")
		})
	}
}

// An acknowledgement that the bank never saw makes it send again: the same bytes, or the same message under a new
// nonce. It is acknowledged again, and nothing else happens.
func TestCallbackResent(t *testing.T) {
	b := openDesk(t, deskSettings{})
	p := b.place(t, "H60983881309263")
	body := p.notice("paid").json(t)
	first := p.seal().seal(body)
	b.postAndHangUp(t, first)
	b.until(t, p.no, func(o orders.Document) bool { return o.Status == "paid" })
	for _, c := range []struct {
		name  string
		again bravoDelivery
	}{
		{"same bytes", first},
		{"same bytes once more", first},
		{"new nonce", p.seal().seal(body)},
		{"to the account as a whole", sealTo("/callbacks/bravobank-main").seal(body)},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := b.get(t, "/v1/orders/"+p.no)
			if ack := b.post(t, c.again); ack != ackOK {
				t.Errorf("answered %s, want %s", ack, ackOK)
			}
			if after := b.get(t, "/v1/orders/"+p.no); !bytes.Equal(before, after) {
				t.Errorf("the order changed:\n%s\nbefore:\n%s", after, before)
			}
			b.counted(t, `order_moves_total{to="paid"}`, 1)
		})
	}
	b.happened(t, p, "order.created", "order.paid")
}

// Two hundred copies at a time are one message: all acknowledged, one move, one event.
func TestCallbackManyCopies(t *testing.T) {
	const copies = 200
	for _, c := range []struct {
		name string
		own  bool // each delivery has a nonce of its own
	}{{"same bytes", false}, {"nonces of their own", true}} {
		t.Run(c.name, func(t *testing.T) {
			b := openDesk(t, deskSettings{})
			p := b.place(t, "H60983881309263")
			body := p.notice("paid").json(t)
			s := p.seal()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var senders sync.WaitGroup
			begin := make(chan struct{})
			for range copies {
				senders.Go(func() {
					<-begin
					for ack := ackRetry; ack == ackRetry; {
						again := s
						if c.own {
							again.nonce = rand.Text()
						}
						if ack = b.send(ctx, again.seal(body)); ack != ackRetry && ack != ackOK {
							t.Errorf("answered %s", ack)
						}
					}
				})
			}
			close(begin)
			senders.Wait()
			b.counted(t, `callbacks_total{account="bravobank-main",verdict="accepted"}`, copies)
			b.counted(t, `callbacks_total{account="bravobank-main",verdict="refused"}`, 0)
			b.counted(t, `order_moves_total{to="paid"}`, 1)
			b.happened(t, p, "order.created", "order.paid")
			if kept := b.evidence(t, p.no); len(kept) != 1 || !strings.HasPrefix(kept[0], "callback: paid, applied") {
				t.Errorf("evidence %v, want one row", kept)
			}
		})
	}
}

// A genuine notice that contradicts our record never pays. It is acknowledged and kept, and the order is frozen until a
// person decides: not payable, its bills held. Paid as ordered, when the bank says so too, is a fact that no lock
// refuses; the contradiction stays open beside it.
func TestCallbackContradictsOurRecord(t *testing.T) {
	for _, c := range []struct {
		name   string
		differ func(n *bravoNotice, s *bravoSeal)
		why    string
	}{
		{"one dollar more", func(n *bravoNotice, _ *bravoSeal) { n.Total = "21" }, "amount"},
		{"one dollar less", func(n *bravoNotice, _ *bravoSeal) { n.Total = "19" }, "amount"},
		{"another currency", func(n *bravoNotice, _ *bravoSeal) { n.Currency = "USD" }, "currency"},
		{"another merchant", func(n *bravoNotice, _ *bravoSeal) { n.Payee = "1136550" }, "merchant"},
		{"another environment", func(n *bravoNotice, _ *bravoSeal) { n.Environment = "production" }, "environment"},
		{"another account", func(_ *bravoNotice, s *bravoSeal) {
			s.path = strings.Replace(s.path, "bravobank-main", "bravobank-two", 1)
		}, "account"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openDesk(t, deskSettings{})
			p := b.place(t, "H60983881309263")
			if status := b.click(t, p); status != http.StatusOK {
				t.Fatalf("the checkout page answered %d before", status)
			}
			wrong := p.notice("paid")
			for range 2 { // the second is the bank's repetition
				s := p.seal()
				c.differ(&wrong, &s)
				if ack := b.post(t, s.seal(wrong.json(t))); ack != ackOK {
					t.Errorf("answered %s, want %s", ack, ackOK)
				}
			}
			o := b.happened(t, p, "order.created", "order.review")
			if o.Status != "open" || !o.Review || o.Redirect != nil || o.CheckoutURL != nil || o.Attempts[0].Status != "pending" || o.Attempts[0].PaidAt != nil {
				t.Errorf("the order is not frozen: %+v", o)
			}
			if kept, want := b.evidence(t, p.no), []string{"callback: paid, review, differs in " + c.why + ", received 2 times"}; !slices.Equal(kept, want) {
				t.Errorf("evidence %q, want %q", kept, want)
			}
			if status := b.click(t, p); status != http.StatusSeeOther {
				t.Errorf("the checkout page answered %d: it still sends the payer to the bank", status)
			}
			if status, _, body := b.order(t, rand.Text(), "ref-other", p.bills[0]); status != http.StatusConflict || !bytes.Contains(body, []byte(`"bill_in_progress"`)) {
				t.Errorf("the bill is not held: %d %s", status, body)
			}
			b.counted(t, "reviews_open", 1)
			b.counted(t, `order_moves_total{to="review"}`, 1)
			b.counted(t, `order_moves_total{to="paid"}`, 0)

			if ack := b.post(t, p.seal().seal(p.notice("paid").json(t))); ack != ackOK {
				t.Errorf("the right notice was answered %s", ack)
			}
			if o = b.happened(t, p, "order.created", "order.review", "order.paid"); o.Status != "paid" || !o.Review || o.Total.Value != "20" {
				t.Errorf("after the right notice: %+v", o)
			}
			b.counted(t, "reviews_open", 1)
		})
	}
}

// A frozen order outlives its end: it does not expire and its bills are not for another order to take.
func TestCallbackFrozenPastTheEnd(t *testing.T) {
	b := openDesk(t, deskSettings{bank: serveBank(t)})
	p := b.place(t, "H60983881309263")
	wrong := p.notice("paid")
	wrong.Total = "21"
	if ack := b.post(t, p.seal().seal(wrong.json(t))); ack != ackOK {
		t.Fatalf("answered %s", ack)
	}
	b.putBack(t)
	b.until(t, p.no, func(o orders.Document) bool { return o.Attempts[0].Status == "expired" }) // the bank knows no such payment
	if o := b.happened(t, p, "order.created", "order.review"); o.Status != "open" || !o.Review {
		t.Errorf("order %+v", o)
	}
	if status, _, body := b.order(t, rand.Text(), "ref-other", p.bills[0]); status != http.StatusConflict || !bytes.Contains(body, []byte(`"bill_in_progress"`)) {
		t.Errorf("the bill is not held: %d %s", status, body)
	}
}

// Notices may come in any order: paid wins, and what came before it makes it late.
func TestCallbackOrder(t *testing.T) {
	for _, c := range []struct {
		name string
		said []string
		late bool
		want []string
	}{
		{"failed after paid", []string{"paid", "failed"}, false, []string{"order.created", "order.paid"}},
		{"cancelled after paid", []string{"paid", "cancelled"}, false, []string{"order.created", "order.paid"}},
		{"expired after paid", []string{"paid", "expired"}, false, []string{"order.created", "order.paid"}},
		{"authorising after paid", []string{"paid", "authorising"}, false, []string{"order.created", "order.paid"}},
		{"unknown status after paid", []string{"paid", "reversed"}, false, []string{"order.created", "order.paid"}},
		{"paid after authorising", []string{"authorising", "paid"}, false, []string{"order.created", "order.paid"}},
		{"paid after failed", []string{"failed", "paid"}, true, []string{"order.created", "order.failed", "order.paid"}},
		{"paid after cancelled", []string{"cancelled", "paid"}, true, []string{"order.created", "order.failed", "order.paid"}},
		{"paid after expired at the bank", []string{"expired", "paid"}, true, []string{"order.created", "order.paid"}},
		{"paid after failed and failed again", []string{"failed", "paid", "failed"}, true, []string{"order.created", "order.failed", "order.paid"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openDesk(t, deskSettings{})
			p := b.place(t, "H60983881309263")
			for _, status := range c.said {
				if ack := b.post(t, p.seal().seal(p.notice(status).json(t))); ack != ackOK {
					t.Errorf("%s was answered %s", status, ack)
				}
			}
			o := b.happened(t, p, c.want...)
			if o.Status != "paid" || o.Late != c.late || o.Review || len(o.Surplus) != 0 || o.Attempts[0].Status != "paid" {
				t.Errorf("order %+v", o)
			}
			b.counted(t, `order_moves_total{to="paid"}`, 1)
		})
	}
}

// The money that comes when the order is over lands all the same, marked late; a bill that another order has paid by
// then becomes a surplus. Nobody waits: the order is made older while the gateway is stopped.
func TestCallbackPaidAfterTheEnd(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers bool // the bank answers queries: it knows no such payment, so the order expires
		taken   bool // another order takes and pays the second bill
		want    []string
	}{
		{"past its end", false, false, []string{"order.created", "order.paid"}},
		{"expired", true, false, []string{"order.created", "order.expired", "order.paid"}},
		{"past its end and one bill paid by another order", false, true, []string{"order.created", "order.paid", "order.surplus"}},
		{"expired and one bill paid by another order", true, true, []string{"order.created", "order.expired", "order.paid", "order.surplus"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			settings := deskSettings{}
			if c.answers {
				settings.bank = serveBank(t)
			}
			b := openDesk(t, settings)
			p := b.place(t, "H60983881309263", "H61283631217536")
			b.putBack(t)
			if c.answers {
				b.until(t, p.no, func(o orders.Document) bool { return o.Status == "expired" })
			}
			var surplus []orders.SurplusDocument
			if c.taken {
				q := b.place(t, "H61283631217536")
				if ack := b.post(t, q.seal().seal(q.notice("paid").json(t))); ack != ackOK {
					t.Fatalf("the other order's notice was answered %s", ack)
				}
				if o := b.happened(t, q, "order.created", "order.paid"); o.Late || len(o.Surplus) != 0 {
					t.Fatalf("the other order: %+v", o)
				}
				surplus = []orders.SurplusDocument{{
					ID: p.attempt + "-H61283631217536", AttemptNo: orders.AttemptNo(p.attempt), BillNo: "H61283631217536", Amount: "20", Refunded: "0",
				}}
			}
			if ack := b.post(t, p.seal().seal(p.notice("paid").json(t))); ack != ackOK {
				t.Errorf("answered %s, want %s", ack, ackOK)
			}
			o := b.happened(t, p, c.want...)
			if o.Status != "paid" || !o.Late || o.Review || !slices.Equal(o.Surplus, surplus) {
				t.Errorf("order %+v", o)
			}
			b.counted(t, "surplus_open", len(surplus))
		})
	}
}

// A genuine notice of an attempt that is not in our store is acknowledged and kept, and does nothing else: once,
// however often it is sent, and after a restart too.
func TestCallbackOrphan(t *testing.T) {
	for _, c := range []struct {
		name      string
		attemptNo func(p *bravoPayment) string
	}{
		{"an order that does not exist", func(*bravoPayment) string { return "201706130000001601" }},
		{"an attempt that an order does not have", func(p *bravoPayment) string { return p.no + "02" }},
		{"no number of ours", func(*bravoPayment) string { return "SOMEBODYELSES1" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openDesk(t, deskSettings{})
			p := b.place(t, "H60983881309263")
			before := b.get(t, "/v1/orders/"+p.no)
			n := p.notice("paid")
			n.AttemptNo = c.attemptNo(p)
			for range 2 {
				if ack := b.post(t, p.seal().seal(n.json(t))); ack != ackOK {
					t.Errorf("answered %s, want %s", ack, ackOK)
				}
			}
			b.counted(t, "orphans", 1)
			b.counted(t, `callbacks_total{account="bravobank-main",verdict="accepted"}`, 2)
			b.counted(t, `order_moves_total{to="paid"}`, 0)
			b.counted(t, "reviews_open", 0)
			b.stop(t)
			b.restart(t)
			b.counted(t, "orphans", 1)
			if after := b.get(t, "/v1/orders/"+p.no); !bytes.Equal(before, after) {
				t.Errorf("the order changed:\n%s\nbefore:\n%s", after, before)
			}
			b.happened(t, p, "order.created")
		})
	}
}

// A notice that overtakes the commit of its attempt waits for it and ends as paid: when the bank sends again, or
// when the gateway looks again. The next order number is known beforehand, for numbers of one process follow each other.
func TestCallbackBeforeTheCommit(t *testing.T) {
	for _, c := range []struct {
		name string
		then func(t *testing.T, b *desk, p *bravoPayment)
	}{
		{"sent again", func(t *testing.T, b *desk, p *bravoPayment) {
			if ack := b.post(t, p.seal().seal(p.notice("paid").json(t))); ack != ackOK {
				t.Errorf("answered %s", ack)
			}
		}},
		{"looked at again", func(t *testing.T, b *desk, _ *bravoPayment) {
			b.stop(t)
			b.change(t, `UPDATE evidence SET next_ms = next_ms - $1`, int64(time.Hour/time.Millisecond))
			b.restart(t)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openDesk(t, deskSettings{})
			p := b.place(t, "H60983881309263")
			serial, err := strconv.ParseInt(p.no[8:], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			next := *p
			next.no = fmt.Sprintf("%s%08d", p.no[:8], serial+1)
			next.attempt = next.no + "01"
			early := next.notice("paid").json(t)
			if ack := b.post(t, p.seal().seal(early)); ack != ackOK {
				t.Fatalf("the early notice was answered %s", ack)
			}
			b.counted(t, "orphans", 1)
			q := b.place(t, "H61283631217536")
			if q.no != next.no {
				t.Fatalf("the next order is %s, not %s", q.no, next.no)
			}
			c.then(t, b, q)
			b.until(t, q.no, func(o orders.Document) bool { return o.Status == "paid" })
			if o := b.happened(t, q, "order.created", "order.paid"); o.Late || o.Review {
				t.Errorf("order %+v", o)
			}
			b.counted(t, "orphans", 0)
			b.happened(t, p, "order.created")
		})
	}
}

// desk is the real binary on SQLite, seen from the bank and from the client.
type desk struct {
	*gateway
	config, store string
}

type deskSettings struct {
	bank     string // origin of a bank that answers queries; empty: nobody answers
	trustOwn bool   // our own key counts as one of the bank's
}

// openDesk starts a gateway with two accounts at the bank.
func openDesk(t *testing.T, s deskSettings) *desk {
	t.Helper()
	if s.bank == "" {
		s.bank = "http://127.0.0.1:9" // the discard port
	}
	keys := fmt.Sprintf("{id: %s, key: %s}", bankKid, publicKey(bankSeed))
	if s.trustOwn {
		keys += fmt.Sprintf(", {id: %s, key: %s}", ownKid, publicKey(ownSeed))
	}
	var accounts strings.Builder
	for _, name := range []string{"bravobank-main", "bravobank-two"} {
		fmt.Fprintf(&accounts, `
  - name: %s
    adapter: bravobank
    network: loopback
    query_before_paid: never
    settings: {order_url: "%s/order", api_url: "%s", signing_key: {id: %s, seed: %s}, bank_keys: [%s]}`,
			name, s.bank, s.bank, ownKid, ownSeed, keys)
	}
	digest := sha256.Sum256([]byte(apiSecret))
	b := &desk{store: "sqlite:" + filepath.Join(t.TempDir(), "gateway.db")}
	b.config = write(t, filepath.Join(t.TempDir(), "gateway.yaml"), fmt.Sprintf(`environment: sandbox
listen: {api: "127.0.0.1:0", edge: "127.0.0.1:0", ops: "127.0.0.1:0"}
public_url: https://gw.example
store: %q
redis: embedded
clients:
  - {id: core, keys: [{id: test, sha256: "%s"}], merchants: [pma], return_prefixes: ["https://core.example/result"]}
merchants: [{code: pma, name: 臺北市停車管理工程處, payees: {bravobank-main: "1136549", bravobank-two: "1136549"}}]
accounts:%s
`, b.store, hex.EncodeToString(digest[:]), accounts.String()))
	b.restart(t)
	return b
}

func (b *desk) restart(t *testing.T) {
	t.Helper()
	b.gateway = start(t, b.config)
}

func (b *desk) stop(t *testing.T) {
	t.Helper()
	if err := b.end(t, syscall.SIGTERM); err != nil {
		t.Fatalf("SIGTERM ended it with %v", err)
	}
}

// putBack stops the gateway, makes everything an hour older, and starts it again.
func (b *desk) putBack(t *testing.T) {
	t.Helper()
	const hour = int64(time.Hour / time.Millisecond)
	b.stop(t)
	b.change(t, `UPDATE orders SET created_ms = created_ms - $1, expires_ms = expires_ms - $1, settle_ms = settle_ms - $1`, hour)
	b.change(t, `UPDATE attempts SET created_ms = created_ms - $1, handed_ms = handed_ms - $1, query_ms = query_ms - $1`, hour)
	b.restart(t)
}

// serveBank is a bank that has never heard of any payment.
func serveBank(t *testing.T) (origin string) {
	t.Helper()
	signer, err := signing.NewEd25519Signer(bankKid, signing.NewSecret(decoded(bankSeed)))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := signing.NewEd25519Keys([]signing.Ed25519Key{{ID: ownKid, Public: decoded(publicKey(ownSeed))}})
	if err != nil {
		t.Fatal(err)
	}
	bank, err := bravobank.New(bravobank.Config{
		Environment: "sandbox", Key: signer, OrderKeys: keys, Merchants: map[string]string{"1136549": "臺北市停車管理工程處"},
	}, bravobank.Deps{Now: time.Now, Rand: rand.Reader, HTTP: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(bank.Handler())
	t.Cleanup(server.Close)
	return server.URL
}

// place orders bills of NT$20 and reads what the payer's browser would carry to the bank.
func (b *desk) place(t *testing.T, bills ...string) *bravoPayment {
	t.Helper()
	type line map[string]any
	var lines []line
	for _, no := range bills {
		lines = append(lines, line{"bill_no": no, "name": "停車費", "quantity": 1, "unit_price": "20", "subtotal": "20"})
	}
	p := &bravoPayment{bills: bills, total: strconv.Itoa(20 * len(bills))}
	command, err := json.Marshal(map[string]any{
		"client_reference": "ref-" + strings.Join(bills, "-"), "merchant": "pma", "payer": line{"member_id": "1361049"}, "provider": "bravobank",
		"amount": line{"value": p.total, "currency": "TWD"}, "lines": lines, "return_url": "https://core.example/result",
	})
	if err != nil {
		t.Fatal(err)
	}
	var o orders.Document
	decode(t, b.call(t, http.MethodPost, "/v1/orders", command), &o)
	if o.Account != "bravobank-main" || o.Redirect == nil || o.CheckoutURL == nil {
		t.Fatalf("not payable at the first account: %+v", o)
	}
	p.no, p.attempt, p.form = string(o.OrderNo), string(o.AttemptNo), o.Redirect.Fields
	p.page = strings.TrimPrefix(*o.CheckoutURL, "https://gw.example")
	p.signed = decoded(p.form["order"])
	var signed struct {
		CallbackURL string `json:"callback_url"`
	}
	decode(t, p.signed, &signed)
	p.path = strings.TrimPrefix(signed.CallbackURL, "https://gw.example")
	return p
}

// call asks the order API and returns the body of its good answer.
func (b *desk) call(t *testing.T, method, path string, command []byte) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.api+path, bytes.NewReader(command))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer gk_test_"+apiSecret)
	req.Header.Set("Idempotency-Key", rand.Text())
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s, %v", method, path, resp.Status, body, err)
	}
	return body
}

func (b *desk) get(t *testing.T, path string) []byte {
	t.Helper()
	return b.call(t, http.MethodGet, path, nil)
}

// happened waits until the client's feed holds the wanted events of an order, in this order, and checks that the
// order's version leaves room for no other. It returns the order.
func (b *desk) happened(t *testing.T, p *bravoPayment, want ...string) orders.Document {
	t.Helper()
	var have []string
	testkit.Until(t, fmt.Sprintf("the feed tells %d events of order %s", len(want), p.no), func() bool {
		var feed struct {
			Events []struct{ Body string }
		}
		decode(t, b.get(t, "/v1/events"), &feed)
		have = nil
		for _, e := range feed.Events {
			var event struct {
				Type    string
				OrderNo string `json:"order_no"`
			}
			if decode(t, []byte(e.Body), &event); event.OrderNo == p.no {
				have = append(have, event.Type)
			}
		}
		return len(have) >= len(want)
	})
	var o orders.Document
	decode(t, b.get(t, "/v1/orders/"+p.no), &o)
	if !slices.Equal(have, want) || o.Version != int64(len(want)) {
		t.Errorf("events %v and version %d, want %v", have, o.Version, want)
	}
	return o
}

// until waits for what the background does.
func (b *desk) until(t *testing.T, no string, good func(orders.Document) bool) {
	t.Helper()
	var o orders.Document
	testkit.Until(t, "order "+no+" gets there", func() bool {
		o = orders.Document{}
		decode(t, b.get(t, "/v1/orders/"+no), &o)
		return good(o)
	})
}

// evidence is what the order's timeline tells of its evidence.
func (b *desk) evidence(t *testing.T, no string) []string {
	t.Helper()
	var timeline struct {
		Timeline []struct{ What, Detail string }
	}
	decode(t, b.get(t, "/v1/orders/"+no+"/timeline"), &timeline)
	var details []string
	for _, row := range timeline.Timeline {
		if row.What == "evidence" {
			details = append(details, row.Detail)
		}
	}
	return details
}

// counted checks one of the gateway's figures.
func (b *desk) counted(t *testing.T, name string, want int) {
	t.Helper()
	if value := b.figure(t, "gateway_"+name); value != strconv.Itoa(want) {
		t.Errorf("gateway_%s is %q, want %d", name, value, want)
	}
}

// click opens the checkout page.
func (b *desk) click(t *testing.T, p *bravoPayment) (status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.edge+p.page, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if to := resp.Header.Get("Location"); resp.StatusCode == http.StatusSeeOther && to != "https://core.example/result?order_no="+p.no {
		t.Errorf("the checkout page sends the payer to %s", to)
	}
	return resp.StatusCode
}

// post sends a delivery and returns the answer as status, content type and body.
func (b *desk) post(t *testing.T, d bravoDelivery) string {
	t.Helper()
	return b.send(t.Context(), d)
}

// send is post for goroutines: a failure to get an answer is the answer.
func (b *desk) send(ctx context.Context, d bravoDelivery) string {
	req, err := d.request(ctx, b.edge)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("Content-Type"), body)
}

// postAndHangUp sends a delivery whole and is gone before any answer.
func (b *desk) postAndHangUp(t *testing.T, d bravoDelivery) {
	t.Helper()
	req, err := d.request(t.Context(), b.edge)
	if err != nil {
		t.Fatal(err)
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", req.URL.Host)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(req.Write(conn), conn.Close()); err != nil {
		t.Fatal(err)
	}
}

// change changes the store of a stopped gateway behind its back.
func (b *desk) change(t *testing.T, statement string, args ...any) {
	t.Helper()
	b.inStore(t, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, statement, args...)
		return err
	})
}

// audited checks that the one refusal of a stopped gateway's life was counted and kept as it came.
func (b *desk) audited(t *testing.T, d bravoDelivery, why string) {
	t.Helper()
	b.inStore(t, func(ctx context.Context, tx *sqldb.Tx) error {
		var count, kept int
		if err := tx.QueryRow(ctx, `SELECT (SELECT SUM(count) FROM refusal_counts), (SELECT COUNT(*) FROM refusals)`).Scan(&count, &kept); err != nil {
			return err
		}
		if count != 1 || kept != 1 {
			return fmt.Errorf("%d refusals counted and %d kept, want 1", count, kept)
		}
		var account, reason string
		var line, header, body []byte
		err := tx.QueryRow(ctx, `SELECT account, reason, raw_line, raw_header, raw_body FROM refusals`).Scan(&account, &reason, &line, &header, &body)
		if err != nil {
			return err
		}
		if account != d.account() || !strings.Contains(reason, why) || string(line) != "POST "+d.target {
			t.Errorf("kept as account %s, reason %q, line %q", account, reason, line)
		}
		if want := d.body[:min(len(d.body), largestBody)]; !bytes.Equal(body, want) {
			t.Errorf("%d bytes of the body are kept, want the %d that came: %.200q", len(body), len(want), body)
		}
		for name, values := range d.header {
			for _, value := range values {
				if n := strings.Count(string(header), name+": "+value+"\n"); n < 1 {
					t.Errorf("header %s: %s is not kept in:\n%s", name, value, header)
				}
			}
		}
		return nil
	})
}

func (b *desk) inStore(t *testing.T, do func(context.Context, *sqldb.Tx) error) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), b.store)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *sqldb.Tx) error { return do(t.Context(), tx) })
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// bravoPayment is an attempt as the bank knows it from its signed order.
type bravoPayment struct {
	no, attempt, total string
	bills              []string
	form               map[string]string // of the redirect: order, kid, sig
	signed             []byte            // the order's JSON
	path               string            // of its callback address
	page               string            // path of its checkout page
}

func (p *bravoPayment) tradeNo() string { return "BB" + p.attempt }

// notice is what the bank truly says of the payment in a status.
func (p *bravoPayment) notice(status string) bravoNotice {
	n := bravoNotice{
		OrderNo: p.no, AttemptNo: p.attempt, Environment: "sandbox", Payee: "1136549", Payer: "1361049",
		Status: status, Total: p.total, Currency: "TWD",
	}
	if status == "paid" {
		n.Method, n.PaidAt, n.TradeNo = "deposit_account", "2017-06-13T09:04:30+08:00", p.tradeNo()
	}
	return n
}

// seal is how the bank would sign a delivery about the payment now.
func (p *bravoPayment) seal() bravoSeal { return sealTo(p.path) }

func sealTo(path string) bravoSeal {
	return bravoSeal{label: "bravo-notice-v1", seed: bankSeed, kid: bankKid, at: time.Now(), nonce: rand.Text(), path: path}
}

// bravoNotice is the body of a notice (section 6).
type bravoNotice struct {
	OrderNo     string `json:"order_no"`
	AttemptNo   string `json:"attempt_no"`
	Environment string `json:"environment"`
	Payee       string `json:"payee_member_id"`
	Payer       string `json:"payer_member_id"`
	Status      string `json:"status"`
	Total       string `json:"total"`
	Currency    string `json:"currency"`
	Method      string `json:"method"`
	PaidAt      string `json:"paid_at"`
	TradeNo     string `json:"trade_no"`
}

func (n bravoNotice) json(t *testing.T) []byte {
	t.Helper()
	body, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// bravoSeal is what a delivery's signature is made with, and what it covers beside the body.
type bravoSeal struct {
	label, seed, kid, nonce, path string
	at                            time.Time
}

func (s bravoSeal) seal(body []byte) bravoDelivery {
	timestamp := strconv.FormatInt(s.at.Unix(), 10)
	text := s.label + "\n" + s.kid + "\n" + timestamp + "\n" + s.nonce + "\n" + s.path + "\n" + string(body)
	return bravoDelivery{
		method: http.MethodPost, target: s.path, body: body,
		header: http.Header{
			"Content-Type": {"application/json"}, "Bravo-Kid": {s.kid}, "Bravo-Timestamp": {timestamp},
			"Bravo-Nonce": {s.nonce}, "Bravo-Signature": {sign(s.seed, text)},
		},
	}
}

// bravoDelivery is a message on its way to the gateway.
type bravoDelivery struct {
	method, target string
	header         http.Header
	body           []byte
}

func (d bravoDelivery) clone() bravoDelivery {
	d.header, d.body = maps.Clone(d.header), bytes.Clone(d.body)
	return d
}

func (d bravoDelivery) request(ctx context.Context, origin string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, d.method, origin+d.target, bytes.NewReader(d.body))
	if err == nil {
		req.Header = d.header.Clone()
	}
	return req, err
}

// account is whose address it is sent to.
func (d bravoDelivery) account() string { return strings.Split(d.target, "/")[2] }

// swap changes one character of a header.
func (d *bravoDelivery) swap(name string, at int) {
	value := d.header.Get(name)
	d.header.Set(name, value[:at]+other(value[at])+value[at+1:])
}

// claim puts another signature under the delivery.
func (d *bravoDelivery) claim(kid, sig string) {
	d.header.Set("Bravo-Kid", kid)
	d.header.Set("Bravo-Signature", sig)
}

const base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// other is another character of the same kind: the neighbour of a base64url character, or of a digit.
func other(c byte) string { return string(base64url[strings.IndexByte(base64url, c)^1]) }

// padded is the same JSON with room in front of it.
func padded(body []byte, size int) []byte {
	return append(bytes.Repeat([]byte(" "), size-len(body)), body...)
}

func privateKey(seed string) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(decoded(seed)) }

func publicKey(seed string) string {
	private := privateKey(seed)
	return base64.RawURLEncoding.EncodeToString(private[ed25519.SeedSize:])
}

func sign(seed, text string) string {
	return base64.RawURLEncoding.EncodeToString(ed25519.Sign(privateKey(seed), []byte(text)))
}

// decoded reads base64url that this file or the gateway wrote.
func decoded(text string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil // no key, order or signature has that length
	}
	return b
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}
