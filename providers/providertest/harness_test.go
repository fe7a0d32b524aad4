package providertest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/signing"
)

const (
	testSecret = "scripted secret of the kit's tests"
	testPath   = "/callbacks/scripted-main/7Zk2"
	// testBody and testTag are a golden vector; the tag was computed with Python's hmac.
	testBody = `{"attempt_no":"201706130000001601","environment":"demo","payee":"1136549","state":"paid","amount":"40","currency":"TWD",` +
		`"trade_no":"T201706130000001601","paid_at":"2017-06-13T09:04:30+08:00","refunds":null,"code":""}`
	testTag = "770d4872c93cd0044018c8193ca4df708ccbd72ab981950fd63d7fd7e0ec3188"
)

func testNow() time.Time { return time.Unix(1497315871, 0) }

func testOrder(t testing.TB) providers.CreateRequest {
	t.Helper()
	total, err := money.Parse("40", money.TWD)
	if err != nil {
		t.Fatal(err)
	}
	return providers.CreateRequest{
		OrderNo: "2017061300000016", AttemptNo: "201706130000001601",
		Merchant:      providers.Merchant{Code: "pma", Name: "臺北市停車管理工程處", PayeeMemberID: "1136549"},
		PayerMemberID: "1361049", Total: total, Methods: []string{method}, Settlement: providers.Immediate,
		Lines:     []providers.BillLine{{BillNo: "H60983881309263", Name: "停車費", Quantity: 1, UnitPrice: total, Subtotal: total}},
		CreatedAt: testNow(), ExpiresAt: testNow().Add(10 * time.Minute),
		ReturnURL: "https://gw.pay.taipei/r/7Zk2", CallbackURL: "https://gw.pay.taipei" + testPath,
	}
}

func testCodec(t testing.TB, secret string) codec {
	t.Helper()
	c, err := newCodec(signing.NewSecret([]byte(secret)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func noticeOf(c codec, body string) providers.RawCallback {
	return providers.RawCallback{
		Method: http.MethodPost, Path: testPath, Header: c.seal("notice", "notice-1", testPath, []byte(body), testNow()), Body: []byte(body), ReceivedAt: testNow(),
	}
}

func answering(c codec, status int, body string) Reply {
	return func(w http.ResponseWriter, r *http.Request, _ []byte) {
		op := providers.Op(strings.TrimPrefix(r.URL.Path, "/api/"))
		w.Header().Set(headerSignature, c.tag(answerText(op, r.Header.Get(headerNonce), status, []byte(body))))
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// scriptedHarness is the harness of Scripted itself.
func scriptedHarness(t testing.TB, formPost bool) Harness {
	t.Helper()
	c, thief := testCodec(t, testSecret), testCodec(t, "another secret")
	documented := map[string]providers.Kind{
		"unavailable": providers.Unavailable, "rate_limited": providers.RateLimited, "auth": providers.Auth, "invalid": providers.Invalid,
		"declined": providers.Declined, "duplicate": providers.Duplicate, "not_found": providers.NotFound,
	}
	paid, unknown := testBody, strings.Replace(testBody, `"paid"`, `"reversed"`, 1)
	h := Harness{
		New: func(target Target) (providers.Provider, error) {
			return NewScripted(Config{URL: target.URL, Secret: signing.NewSecret([]byte(testSecret)), FormPost: formPost}, Deps{HTTP: target.HTTP, Now: target.Now})
		},
		Now: testNow(), Environment: providers.Demo, Order: testOrder(t), Secrets: []string{testSecret},
		Signed: func(r providers.Redirect, sent *Request) ([]byte, error) {
			if sent != nil {
				_, _, err := c.open("create", sent.Path, sent.Header, sent.Body, testNow())
				return sent.Body, err
			}
			if err := c.verify(orderText(r.Fields["order"]), r.Fields["sig"], testNow()); err != nil {
				return nil, err
			}
			return base64.RawURLEncoding.DecodeString(r.Fields["order"])
		},
		Vectors: map[string]func(providers.Provider) error{"notice": func(p providers.Provider) error {
			d, ok := p.(providers.CallbackDecoder)
			if !ok {
				return errors.New("no decoder")
			}
			raw := noticeOf(c, testBody)
			raw.Header.Set(headerSignature, testTag)
			_, err := d.DecodeCallback(raw)
			return err
		}},
		Callbacks: Callbacks{
			Paid:    func() providers.RawCallback { return noticeOf(c, paid) },
			Unknown: func() providers.RawCallback { return noticeOf(c, unknown) },
			Forged: map[string]func() providers.RawCallback{
				"wrong key": func() providers.RawCallback { return noticeOf(thief, paid) },
				"query string": func() providers.RawCallback {
					raw := noticeOf(c, paid)
					raw.RawQuery = "state=paid"
					return raw
				},
			},
			Hints: map[string]func() providers.RawCallback{"browser": func() providers.RawCallback {
				raw := noticeOf(c, paid)
				raw.Channel = providers.ChannelBrowser
				return raw
			}},
			Echo: func(r providers.Redirect, _ *Request) []providers.RawCallback {
				raw := noticeOf(c, r.Fields["order"])
				raw.Header.Set(headerSignature, r.Fields["sig"])
				return []providers.RawCallback{raw}
			},
			Headers:    []string{headerTime, headerNonce, headerSignature},
			PathSigned: true, Tolerance: tolerance,
			Nonce: func(raw providers.RawCallback) string { return raw.Header.Get(headerNonce) },
			Acks: map[providers.Verdict]providers.Ack{
				providers.Accepted:   {Status: 200, ContentType: "text/plain", Body: []byte("ok")},
				providers.Refused:    {Status: 400, ContentType: "text/plain", Body: []byte("no")},
				providers.RetryLater: {Status: 503, ContentType: "text/plain", Body: []byte("later")},
			},
		},
		Answers: Answers{
			Paid: answering(c, 200, paid), Unknown: answering(c, 200, unknown), Confirm: answering(c, 200, paid),
			Refund: answering(c, 200, strings.Replace(paid, "null", `[{"refund_id":"R-1","no":"N-1","amount":"40","state":"done"}]`, 1)),
			Code:   func(code string) Reply { return answering(c, 400, `{"code":"`+code+`"}`) },
			Codes: map[providers.Op]map[string]providers.Kind{
				providers.OpCreate: documented, providers.OpQuery: documented, providers.OpConfirm: documented, providers.OpRefund: documented,
			},
			Signature: []string{headerSignature},
		},
	}
	if !formPost {
		h.Answers.Create = func(w http.ResponseWriter, r *http.Request, body []byte) {
			var o order
			if json.NewDecoder(bytes.NewReader(body)).Decode(&o) == nil {
				answering(c, 200, `{"attempt_no":"`+o.AttemptNo+`","trade_no":"T1"}`)(w, r, body)
			}
		}
	}
	return h
}
