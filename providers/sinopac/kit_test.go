package sinopac_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/providertest"
	"pay.taipei/gateway/providers/sinopac"
)

const (
	shop    = "NA0001_001"
	number  = "201706130000001601"
	keyA1   = "4D9709D699CA40EE" // published in an example
	hashID  = "17D8E6558DC60E702A6B57E1B9B7060D"
	keyPart = "a1: " + keyA1 + ", a2: 5A4FEF83140C4E9E, b1: BC74301945134CB4, b2: 961F67F8FCA44AB9"
	theirs  = "a nonce of the bank's answer"
)

func now() time.Time { return time.Date(2017, 6, 13, 1, 5, 0, 0, time.UTC) }

func settings(url string) string {
	return "{url: '" + url + "/api', key_id: a-key-id-of-the-bank, " + keyPart + "}"
}

func open(target providertest.Target, env providers.Environment, settings string) (providers.Provider, error) {
	return target.Open(sinopac.Open, sinopac.Name, env, yaml.NewDecoder(strings.NewReader(settings), yaml.Strict()).Decode)
}

// The bank's side of the cipher and the signature, written for these tests alone.

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

func block(nonce string) (cipher.Block, []byte) {
	b, err := aes.NewCipher([]byte(hashID))
	if err != nil {
		panic(err)
	}
	return b, []byte(digest(nonce)[48:])
}

func encrypt(plain, nonce string) string {
	b, iv := block(nonce)
	n := 16 - len(plain)%16
	text := append([]byte(plain), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(b, iv).CryptBlocks(text, text)
	return strings.ToUpper(hex.EncodeToString(text))
}

func decrypt(sealed, nonce string) (string, error) {
	b, iv := block(nonce)
	text, err := hex.DecodeString(sealed)
	if err != nil || len(text) == 0 || len(text)%16 != 0 {
		return "", errors.New("not sealed")
	}
	cipher.NewCBCDecrypter(b, iv).CryptBlocks(text, text)
	return string(text[:len(text)-int(text[len(text)-1])]), nil
}

// signature signs the top-level scalars of a message.
func signature(message, nonce string) string {
	var members map[string]any
	d := json.NewDecoder(strings.NewReader(message))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		panic(err)
	}
	names := slices.SortedFunc(maps.Keys(members), func(a, b string) int { return strings.Compare(strings.ToUpper(a), strings.ToUpper(b)) })
	var pairs []string
	for _, name := range names {
		switch v := members[name].(type) {
		case string:
			if v != "" {
				pairs = append(pairs, name+"="+v)
			}
		case json.Number, bool:
			pairs = append(pairs, fmt.Sprintf("%s=%v", name, v))
		}
	}
	return digest(strings.Join(pairs, "&") + nonce + hashID)
}

func enclosed(message string) string { return enclosedFor(shop, message) }

func enclosedFor(shop, message string) string {
	return `{"Version":"1.0.0","ShopNo":"` + shop + `","APIService":"-","Sign":"` + signature(message, theirs) + `","Nonce":"` + theirs + `","Message":"` + encrypt(message, theirs) + `"}`
}

func says(body string) providertest.Reply {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = w.Write([]byte(body)) }
}

// asked is the message of a request of ours, whose signature holds.
func asked(body []byte) (string, error) {
	var e struct{ ShopNo, Sign, Nonce, Message string }
	if err := json.Unmarshal(body, &e); err != nil {
		return "", err
	}
	message, err := decrypt(e.Message, e.Nonce)
	if err == nil && signature(message, e.Nonce) != e.Sign {
		err = errors.New("the Sign does not match")
	}
	return message, err
}

// answering answers each service with its message.
func answering(messages map[string]string) providertest.Reply {
	return func(w http.ResponseWriter, _ *http.Request, body []byte) {
		var e struct{ APIService string }
		message, ok := "", false
		if json.Unmarshal(body, &e) == nil {
			message, ok = messages[e.APIService]
		}
		if !ok {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		_, _ = w.Write([]byte(enclosed(message)))
	}
}

// created answers OrderCreate for whichever order was asked.
func created(w http.ResponseWriter, _ *http.Request, body []byte) {
	message, err := asked(body)
	var o struct {
		ShopNo, OrderNo string
		Amount          json.Number
	}
	if err != nil || json.Unmarshal([]byte(message), &o) != nil {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	_, _ = w.Write([]byte(enclosedFor(o.ShopNo, `{"ShopNo":"`+o.ShopNo+`","OrderNo":"`+o.OrderNo+`","Amount":`+string(o.Amount)+
		`,"TSNo":"NA0001000000123","Status":"S","Description":"S0000 – 處理成功","CardParam":{"CardPayURL":"https://sandbox.sinopac.com/QPay.WebPaySite/Bridge/PayCard?TD=x"}}`)))
}

const (
	result = `{"APType":"PayOut","TSNo":"NA0001000000123","OrderNo":"` + number + `","ShopNo":"` + shop + `","PayType":"C","Amount":4000,"Status":"S",` +
		`"Description":"","PayDate":"201706130904","Param1":"1361049","Param2":"","Param3":""}`
	row = `{"OrderNo":"` + number + `","TSNo":"NA0001000000123","TSDate":"201706130905","Amount":4000,"PayType":"C","PayStatus":"1C400","ApprovedDate":"201706130904",` +
		`"PayDate":"201706130914","ExpireDate":"201706130915","RefundFlag":"N","RefundStatus":"","RefundAmount":0}`
	unpaid = `{"OrderNo":"` + number + `","TSNo":"NA0001000000123","TSDate":"201706130905","Amount":4000,"PayType":"C","PayStatus":"1C100","ApprovedDate":"",` +
		`"PayDate":"","ExpireDate":"201706130915","RefundFlag":"N","RefundStatus":""}`
)

// useless answers a token that the bank does not know.
const useless = `{"ShopNo":"` + shop + `","PayToken":"T","Status":"F","Description":"S0010 – 查無資料"}`

func pointed(result string) string {
	return `{"ShopNo":"` + shop + `","PayToken":"T","Date":"201706130905","Status":"S","Description":"S0000 – 處理成功","TSResultContent":` + result + `}`
}

func rows(rows ...string) string {
	return `{"ShopNo":"` + shop + `","Date":"201706130905","Status":"S","Description":"S0000 – 處理成功","OrderList":[` + strings.Join(rows, ",") + `]}`
}

func maintained(command, status string) string {
	return `{"ShopNo":"` + shop + `","OrderNo":"` + number + `","TSNo":"NA0001000000123","Command":"` + command + `","Amount":4000,"Status":"` + status + `","Description":"S0000 – 處理成功"}`
}

// before answers what comes before a call: a nonce, and before a refund the list of the order and of those that wait for their
// capture.
func before(one string, waiting ...string) providertest.Before {
	service := func(body []byte) string {
		var e struct{ APIService string }
		if json.Unmarshal(body, &e) != nil {
			return ""
		}
		return e.APIService
	}
	nonce := func(path string) bool { return strings.HasSuffix(path, "/Nonce") }
	return providertest.Before{
		Is: func(r providertest.Request) bool { return nonce(r.Path) || strings.HasSuffix(service(r.Body), "Query") },
		Reply: func(w http.ResponseWriter, r *http.Request, body []byte) {
			switch {
			case nonce(r.URL.Path):
				says(`{"Nonce":"a-nonce-for-us"}`)(w, r, body)
			case service(body) == "OrderQuery":
				says(enclosed(one))(w, r, body)
			default:
				says(enclosed(rows(waiting...)))(w, r, body)
			}
		},
	}
}

func harness(t testing.TB) providertest.Harness {
	t.Helper()
	nonce := before("")
	nonce.Is = func(r providertest.Request) bool { return strings.HasSuffix(r.Path, "/Nonce") }
	ack := func(status int, word string) providers.Ack {
		return providers.Ack{Status: status, ContentType: "application/json", Body: []byte(`{"Status":"` + word + `"}`)}
	}
	return providertest.Harness{
		New: func(target providertest.Target) (providers.Provider, error) {
			return open(target, providers.Demo, settings(target.URL))
		},
		Now: now(), Environment: providers.Demo, Order: providertest.Order(t, shop, now()), Pointer: "T", Vectors: providertest.Vectors(t, sinopac.VectorSchemes()), Unbound: []string{"environment"},
		Secrets: []string{"a-key-id-of-the-bank", keyA1, "5A4FEF83140C4E9E", "BC74301945134CB4", "961F67F8FCA44AB9", hashID},
		Before:  map[providers.Op]providertest.Before{providers.OpCreate: nonce, providers.OpQuery: nonce, providers.OpRefund: before(rows(row))},
		Signed: func(_ providers.Redirect, sent *providertest.Request) ([]byte, error) {
			if sent.Header.Get("X-KeyID") != "a-key-id-of-the-bank" {
				return nil, errors.New("no X-KeyID")
			}
			message, err := asked(sent.Body)
			return []byte(message), err
		},
		Callbacks: providertest.Callbacks{
			Pointers: map[string]func() (providers.RawCallback, string){
				"the bank's server": func() (providers.RawCallback, string) {
					return providers.RawCallback{Method: http.MethodPost, Body: []byte(`{"ShopNo":"` + shop + `","PayToken":"T+1/="}`), ReceivedAt: now()}, "T+1/="
				},
				"a browser": func() (providers.RawCallback, string) {
					body := url.Values{"ShopNo": {shop}, "PayToken": {"T+1/="}}.Encode()
					return providers.RawCallback{Channel: providers.ChannelBrowser, Method: http.MethodPost, Body: []byte(body), ReceivedAt: now()}, "T+1/="
				},
			},
			Hints: map[string]func() providers.RawCallback{"a result in the clear": func() providers.RawCallback {
				return providers.RawCallback{Method: http.MethodPost, Body: []byte(result), ReceivedAt: now()}
			}},
			Acks: map[providers.Verdict]providers.Ack{providers.Accepted: ack(200, "S"), providers.Refused: ack(400, "F"), providers.RetryLater: ack(503, "F")},
		},
		Answers: providertest.Answers{
			Create: created, Paid: answering(map[string]string{"OrderPayQuery": pointed(result)}),
			Unknown:      answering(map[string]string{"OrderPayQuery": pointed(strings.Replace(result, `"S"`, `"Q"`, 1))}),
			Refund:       answering(map[string]string{"OrderMaintain": maintained("R", "S")}),
			RefundQueued: true,
		},
	}
}

func TestConformance(t *testing.T) { providertest.Run(t, harness(t)) }

// When a token says nothing the lists must do.
func TestConformanceByLists(t *testing.T) {
	h := harness(t)
	h.Answers.Paid = answering(map[string]string{"OrderPayQuery": useless, "OrderQuery": rows(row)})
	providertest.Run(t, h)
}
