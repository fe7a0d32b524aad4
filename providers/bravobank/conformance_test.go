package bravobank_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/bravobank"
	"pay.taipei/gateway/providers/providertest"
	"pay.taipei/gateway/signing"
)

// bankReply signs an answer for whichever of query and refund was asked.
func bankReply(status int, body string) providertest.Reply {
	return func(w http.ResponseWriter, r *http.Request, asked []byte) {
		label := queryAnswer
		if strings.HasSuffix(r.URL.Path, "/refund") {
			label = refundAnswer
		}
		signed(label, stampTime(), status, body)(w, seenRequest{path: r.URL.EscapedPath(), header: r.Header, body: asked})
	}
}

// signedOrder is the JSON of a form whose signature verifies under the gateway's published key.
func signedOrder(r providers.Redirect, _ *providertest.Request) ([]byte, error) {
	sig, err := base64.RawURLEncoding.DecodeString(r.Fields["sig"])
	key := ed25519.NewKeyFromSeed([]byte(gatewaySeed))
	if err != nil || !bytes.Equal(sig, ed25519.Sign(key, []byte("bravo-order-v1."+r.Fields["order"]))) {
		return nil, errors.New("the order's signature does not match")
	}
	return base64.RawURLEncoding.DecodeString(r.Fields["order"])
}

// conformanceVectors are the document's order and notices.
func conformanceVectors(t testing.TB) map[string]func(providers.Provider) error {
	checks := map[string]func(providers.Provider) error{"order-two-bills": func(p providers.Provider) error {
		created, err := p.Create(t.Context(), orderRequest(t))
		if want := vectorOf(t, "order-two-bills").Expected; err == nil && !maps.Equal(created.Redirect.Fields, want) {
			err = fmt.Errorf("got %v, want %v", created.Redirect.Fields, want)
		}
		return err
	}}
	for _, v := range vectors(t) {
		if v.Scheme != "bravobank-notice" {
			continue
		}
		checks[v.ID] = func(p providers.Provider) error {
			d, ok := p.(providers.CallbackDecoder)
			if !ok {
				return errors.New("no decoder")
			}
			_, err := d.DecodeCallback(callbackOf(t, v.ID))
			return err
		}
	}
	return checks
}

func TestConformance(t *testing.T) { providertest.Run(t, harness(t)) }

func harness(t testing.TB) providertest.Harness {
	t.Helper()
	paid := vectorOf(t, "notice-paid").Inputs["body"]
	paidAnswer := vectorOf(t, "query-answer-paid").Inputs["body"]
	thief := ed25519.NewKeyFromSeed([]byte("another key that is 32 bytes xxx"))
	notice := func(change func(*providers.RawCallback)) func() providers.RawCallback {
		return func() providers.RawCallback {
			raw := callbackOf(t, "notice-paid")
			change(&raw)
			return raw
		}
	}
	ack := func(status int, body string) providers.Ack {
		return providers.Ack{Status: status, ContentType: "application/json", Body: []byte(body)}
	}
	return providertest.Harness{
		New: func(target providertest.Target) (providers.Provider, error) {
			return bravobank.New(bravobank.Config{
				Environment: providers.Demo, OrderURL: "http://127.0.0.1:8090/order", Signer: signer(t, "pay-taipei-test-1", gatewaySeed),
				BankKeys: []signing.Ed25519Key{{ID: bankKid, Public: bankPublic()}},
			}, bravobank.Deps{Now: target.Now, Rand: rand.Reader, HTTP: target.HTTP})
		},
		Now: stampTime(), Environment: providers.Demo, Order: orderRequest(t),
		Secrets: []string{gatewaySeed},
		Signed:  signedOrder,
		Vectors: conformanceVectors(t),
		Callbacks: providertest.Callbacks{
			Paid: func() providers.RawCallback { return callbackOf(t, "notice-paid") },
			Unknown: func() providers.RawCallback {
				return signNotice(replace(t, paid, `"status":"paid"`, `"status":"reversed"`))
			},
			Forged: map[string]func() providers.RawCallback{
				"wrong key": notice(func(r *providers.RawCallback) {
					v := vectorOf(t, "notice-paid")
					r.Header.Set("Bravo-Signature", b64(ed25519.Sign(thief, []byte(v.Expected["text"]))))
				}),
				"unknown key":  notice(func(r *providers.RawCallback) { r.Header.Set("Bravo-Kid", "bravo-9") }),
				"our key":      notice(func(r *providers.RawCallback) { r.Header.Set("Bravo-Kid", "pay-taipei-test-1") }),
				"query string": notice(func(r *providers.RawCallback) { r.RawQuery = "status=paid" }),
				"GET":          notice(func(r *providers.RawCallback) { r.Method = http.MethodGet }),
			},
			Hints: map[string]func() providers.RawCallback{
				"bare return": func() providers.RawCallback {
					return providers.RawCallback{Channel: providers.ChannelBrowser, Method: http.MethodGet}
				},
				"notice by the browser": notice(func(r *providers.RawCallback) { r.Channel = providers.ChannelBrowser }),
				"return that says paid": func() providers.RawCallback {
					return providers.RawCallback{Channel: providers.ChannelBrowser, RawQuery: "status=paid"}
				},
			},
			Echo: func(r providers.Redirect, _ *providertest.Request) []providers.RawCallback {
				stamp := strconv.FormatInt(stampTime().Unix(), 10)
				echo := func(kid, body string) providers.RawCallback {
					return rawNotice(kid, stamp, "n0tice-EEEEEEEEEEEEEEEE1", r.Fields["sig"], "/callbacks/bravobank-main/7Zk2", body)
				}
				return []providers.RawCallback{
					echo(r.Fields["kid"], r.Fields["order"]), echo(bankKid, r.Fields["order"]), echo(bankKid, "bravo-order-v1."+r.Fields["order"]), echo(bankKid, paid),
				}
			},
			Headers:    []string{"Bravo-Kid", "Bravo-Timestamp", "Bravo-Nonce", "Bravo-Signature"},
			PathSigned: true, Tolerance: 300 * time.Second,
			Nonce: func(r providers.RawCallback) string { return r.Header.Get("Bravo-Nonce") },
			Acks: map[providers.Verdict]providers.Ack{
				providers.Accepted:   ack(200, `{"result":"ok"}`),
				providers.Refused:    ack(400, `{"result":"refused"}`),
				providers.RetryLater: ack(503, `{"result":"retry"}`),
			},
		},
		Answers: providertest.Answers{
			Paid:      bankReply(200, paidAnswer),
			Unknown:   bankReply(200, replace(t, paidAnswer, `"status":"paid"`, `"status":"reversed"`)),
			Refund:    bankReply(200, `{"attempt_no":"201706130000001601","refund_id":"R-1","refund_no":"RF2017061300000001","amount":"40","currency":"TWD","status":"done"}`),
			Code:      func(code string) providertest.Reply { return bankReply(400, `{"error":"`+code+`"}`) },
			Codes:     map[providers.Op]map[string]providers.Kind{providers.OpQuery: documentedCodes(), providers.OpRefund: documentedCodes()},
			Signature: []string{"Bravo-Kid", "Bravo-Timestamp", "Bravo-Signature"},
		},
	}
}
