package esun_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/esun"
	"pay.taipei/gateway/providers/providertest"
)

const (
	macKey = "WEGSC0Q7BAJGTQYL8BV8KRQRZXH6VK0B" // published in the bank's manuals
	number = "201706130000001601"
	paid   = "RC=00,MID=8089000016,ONO=" + number + ",LTD=20170613,LTT=090430,RRN=506055000001,AIR=702715,AN=552199******1856"
	txn    = `{"RC":"00","MID":"8089000016","ONO":"` + number + `","LTD":"20170613","LTT":"090430","RRN":"506055000001","AIR":"702715","TXNAMOUNT":"40.00"}`
)

func now() time.Time { return time.Date(2017, 6, 13, 1, 5, 0, 0, time.UTC) }

func open(target providertest.Target, env providers.Environment, settings string) (providers.Provider, error) {
	return target.Open(esun.Open, esun.Name, env, yaml.NewDecoder(strings.NewReader(settings), yaml.Strict()).Decode)
}

// sum is the bank's digest.
func sum(text, key string) string {
	digest := sha256.Sum256([]byte(text + key))
	return hex.EncodeToString(digest[:])
}

// returned is a browser that comes back with DATA, signed with a key.
func returned(data, key string) providers.RawCallback {
	query := url.Values{"DATA": {data}, "MACD": {sum(data+",", key)}}
	return providers.RawCallback{Channel: providers.ChannelBrowser, Method: http.MethodGet, Path: "/r/7Zk2", RawQuery: query.Encode(), ReceivedAt: now()}
}

func answer(body string) providertest.Reply {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = w.Write([]byte("DATA=" + body)) }
}

func adapter(t testing.TB) *esun.Adapter {
	t.Helper()
	p, err := open(providertest.Target{URL: "https://acqtest.esunbank.com.tw", Now: now}, providers.Sandbox, "{url: 'https://acqtest.esunbank.com.tw', mac_key: "+macKey+"}")
	if err != nil {
		t.Fatal(err)
	}
	a, ok := p.(*esun.Adapter)
	if !ok {
		t.Fatalf("%T", p)
	}
	return a
}

func harness(t testing.TB) providertest.Harness {
	t.Helper()
	refund := documentedRefusals()
	for code := range documentedCodes() {
		if _, refused := refund[code]; !refused && code != "00" {
			refund[code] = providers.OutcomeUnknown
		}
	}
	for code := range strings.FieldsSeq("GF NR NV VA VD VT RA RD RP GB GC") {
		refund[code] = providers.Declined
	}
	return providertest.Harness{
		New: func(target providertest.Target) (providers.Provider, error) {
			return open(target, providers.Demo, "{url: '"+target.URL+"', mac_key: "+macKey+"}")
		},
		Now: now(), Environment: providers.Demo, Order: providertest.Order(t, "8089000016", now()), Secrets: []string{macKey}, Vectors: providertest.Vectors(t, esun.VectorSchemes()), Unbound: []string{"environment"},
		Signed: func(r providers.Redirect, _ *providertest.Request) ([]byte, error) {
			if r.Fields["mac"] != sum(r.Fields["data"], macKey) || r.Fields["ksn"] != "1" {
				return nil, errors.New("the order's MAC does not match")
			}
			return []byte(r.Fields["data"]), nil
		},
		Callbacks: providertest.Callbacks{
			Paid:        func() providers.RawCallback { return returned(paid, macKey) },
			Unknown:     func() providers.RawCallback { return returned(strings.Replace(paid, "RC=00", "RC=Q7", 1), macKey) },
			FieldSigned: true, Unbound: []string{"amount"},
			Forged: map[string]func() providers.RawCallback{
				"wrong key": func() providers.RawCallback { return returned(paid, "another key") },
				"without comma": func() providers.RawCallback {
					r := returned(paid, macKey)
					r.RawQuery = url.Values{"DATA": {paid}, "MACD": {sum(paid, macKey)}}.Encode()
					return r
				},
				"unknown field": func() providers.RawCallback { return returned(paid+",XX=1", macKey) },
				"field twice":   func() providers.RawCallback { return returned(paid+",RC=00", macKey) },
				"to the server": func() providers.RawCallback {
					r := returned(paid, macKey)
					r.Channel = providers.ChannelServer
					return r
				},
				"by POST": func() providers.RawCallback { r := returned(paid, macKey); r.Method = http.MethodPost; return r },
			},
			Hints: map[string]func() providers.RawCallback{
				"without MACD": func() providers.RawCallback {
					r := returned(paid, macKey)
					r.RawQuery = url.Values{"DATA": {paid}}.Encode()
					return r
				},
			},
			Echo: func(r providers.Redirect, _ *providertest.Request) []providers.RawCallback {
				data, mac := r.Fields["data"], r.Fields["mac"]
				echo := func(data string) providers.RawCallback {
					raw := returned(data, macKey)
					raw.RawQuery = url.Values{"DATA": {data}, "MACD": {mac}}.Encode()
					return raw
				}
				return []providers.RawCallback{echo(data), echo(strings.TrimSuffix(data, ",")), echo(strings.TrimSuffix(data, "}"))}
			},
			Acks: providertest.PlainAcks(),
		},
		Answers: providertest.Answers{
			Paid:    answer(`{"returnCode":"00","txnData":` + txn + `,"version":"2"}`),
			Unknown: answer(`{"returnCode":"Q7","txnData":` + strings.Replace(txn, `"RC":"00"`, `"RC":"Q7"`, 1) + `,"version":"2"}`),
			Refund:  answer(`{"returnCode":"00","txnData":` + txn + `,"version":"2"}`),
			Code: func(code string) providertest.Reply {
				if _, listed := refund[code]; !listed {
					return answer(`{"returnCode":"` + code + `","txnData":{},"version":"2"}`)
				}
				return answer(`{"returnCode":"` + code + `","txnData":{"RC":"` + code + `","ONO":"` + number + `","MID":"8089000016"},"version":"2"}`)
			},
			Codes: map[providers.Op]map[string]providers.Kind{providers.OpQuery: documentedRefusals(), providers.OpRefund: refund},
		},
	}
}

func TestConformance(t *testing.T) { providertest.Run(t, harness(t)) }
