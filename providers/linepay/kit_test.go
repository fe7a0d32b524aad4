package linepay_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/linepay"
	"pay.taipei/gateway/providers/providertest"
)

const (
	channel     = "1500000001"
	secret      = "a channel secret of these tests"
	number      = "201706130000001601"
	transaction = "2017061300000000019" // beyond 2^53
)

func now() time.Time { return time.Date(2017, 6, 13, 1, 5, 0, 0, time.UTC) }

func open(target providertest.Target, env providers.Environment, settings string) (providers.Provider, error) {
	return target.Open(linepay.Open, linepay.Name, env, yaml.NewDecoder(strings.NewReader(settings), yaml.Strict()).Decode)
}

// answer is an answer with a code and an info.
func answer(code, info string) string {
	return `{"returnCode":"` + code + `","returnMessage":"-","info":` + info + `}`
}

func says(body string) providertest.Reply {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = w.Write([]byte(body)) }
}

// paidQuery answers a check and the details after it.
func paidQuery(check, details string) providertest.Reply {
	return func(w http.ResponseWriter, r *http.Request, body []byte) {
		if strings.HasSuffix(r.URL.Path, "/check") {
			says(`{"returnCode":"`+check+`","returnMessage":"-"}`)(w, r, body)
			return
		}
		says(details)(w, r, body)
	}
}

const paid = `[{"transactionId":` + transaction + `,"transactionDate":"2017-06-13T01:04:30Z","transactionType":"PAYMENT","payStatus":"CAPTURE",` +
	`"productName":"停車費","merchantName":"x","currency":"TWD","payInfo":[{"method":"DISCOUNT","amount":5},{"method":"CREDIT_CARD","amount":35}],` +
	`"refundList":[],"orderId":"` + number + `","packages":[{"id":"1136549","amount":40}]}]`

// documentedCodes is the table of return codes for each operation, written again from the document.
func documentedCodes() map[providers.Op]map[string]providers.Kind {
	const payment = "1101 1102 1110 1141 1142 1154 1170 1180 1281 1282 1283 1284 1285 1286 1287 1288 1289 1290 1291 1292 1293 1294 1295 1296 1297 1298"
	all := make(map[providers.Op]map[string]providers.Kind)
	for op, tables := range map[providers.Op]map[providers.Kind]string{
		providers.OpCreate:  {providers.Declined: payment + " 1280"},
		providers.OpConfirm: {providers.Declined: payment, providers.Unavailable: "1169"},
		providers.OpRefund:  {providers.Declined: "1101 1102 1163 1164", providers.Unavailable: "2042"},
		providers.OpQuery:   {},
	} {
		codes := make(map[string]providers.Kind)
		for code := range strings.FieldsSeq(payment + " 1280 1163 1164 1169 2042 1145 1152 1165 1179 1197 1198 1199 1900 1901 1902 1903 1904 1905 1906 1907 1908 1909 1999 9000") {
			codes[code] = providers.OutcomeUnknown
		}
		for kind, list := range map[providers.Kind]string{
			providers.Auth: "1104 1105 1106", providers.NotFound: "1150", providers.Duplicate: "1172",
			providers.Invalid: "1124 1153 1155 1159 1177 1178 1183 1184 1190 1193 1194 2101 2102",
		} {
			for code := range strings.FieldsSeq(list) {
				codes[code] = kind
			}
		}
		for kind, list := range tables {
			for code := range strings.FieldsSeq(list) {
				codes[code] = kind
			}
		}
		all[op] = codes
	}
	return all
}

func harness(t testing.TB) providertest.Harness {
	t.Helper()
	return providertest.Harness{
		New: func(target providertest.Target) (providers.Provider, error) {
			return open(target, providers.Demo, "{url: '"+target.URL+"', channel_id: '"+channel+"', channel_secret: "+secret+"}")
		},
		Now: now(), Environment: providers.Demo, Order: providertest.Order(t, "1136549", now()), Secrets: []string{secret}, Vectors: providertest.Vectors(t, linepay.VectorSchemes()), Unbound: []string{"environment", "merchant"},
		Signed: func(_ providers.Redirect, sent *providertest.Request) ([]byte, error) {
			mac := hmac.New(sha256.New, []byte(secret))
			payload := string(sent.Body)
			if sent.Method == http.MethodGet {
				payload = sent.RawQuery
			}
			mac.Write([]byte(secret + sent.Path + payload + sent.Header.Get("X-LINE-Authorization-Nonce")))
			if sent.Header.Get("X-LINE-ChannelId") != channel || sent.Header.Get("X-LINE-Authorization") != base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
				return nil, errors.New("the signature does not match")
			}
			return sent.Body, nil
		},
		Answers: providertest.Answers{
			Create:  says(answer("0000", `{"transactionId":`+transaction+`,"paymentAccessToken":"187568751124","paymentUrl":{"web":"https://sandbox-web-pay.line.me/web/payment/wait?t=x","app":"line://pay/payment/x"}}`)),
			Paid:    paidQuery("0123", answer("0000", paid)),
			Unknown: paidQuery("0123", answer("0000", strings.Replace(paid, "CAPTURE", "REVERSED", 1))),
			Confirm: says(answer("0000", `{"orderId":"`+number+`","transactionId":`+transaction+`,"payInfo":[{"method":"BALANCE","amount":40}]}`)),
			Refund:  says(answer("0000", `{"refundTransactionId":2017061300000000020,"refundTransactionDate":"2017-06-13T02:00:00Z"}`)),
			Code:    func(code string) providertest.Reply { return says(`{"returnCode":"` + code + `","returnMessage":"-"}`) },
			Codes:   documentedCodes(),
		},
	}
}

func TestConformance(t *testing.T) { providertest.Run(t, harness(t)) }
