package bravobank_test

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/bravobank"
	"pay.taipei/gateway/signing"
)

func wantKind(t *testing.T, what string, err error, want providers.Kind) {
	t.Helper()
	var e *providers.Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Errorf("%s: got %v, want kind %s", what, err, want)
	}
}

func refuses(t *testing.T, what string, raw providers.RawCallback) {
	t.Helper()
	n, err := adapter(t).DecodeCallback(raw)
	wantKind(t, what, err, providers.Untrusted)
	if n.Snapshot != nil || n.AttemptNo != "" {
		t.Errorf("%s: something was believed: %+v", what, n)
	}
}

func TestNoticeEveryChangedByteIsRefused(t *testing.T) {
	a := adapter(t)
	refused := func(t *testing.T, raw providers.RawCallback, what string, at int) {
		t.Helper()
		if _, err := a.DecodeCallback(raw); providers.KindOf(err) != providers.Untrusted {
			t.Errorf("%s, byte %d changed: %v", what, at, err)
		}
	}
	for i := range callbackOf(t, "notice-paid").Body {
		for bit := range 8 {
			raw := callbackOf(t, "notice-paid")
			raw.Body[i] ^= 1 << bit
			refused(t, raw, "body", i)
		}
	}
	for _, name := range []string{"Bravo-Kid", "Bravo-Timestamp", "Bravo-Nonce", "Bravo-Signature"} {
		good := callbackOf(t, "notice-paid").Header.Get(name)
		for i := range good {
			for bit := range 8 {
				raw, changed := callbackOf(t, "notice-paid"), []byte(good)
				changed[i] ^= 1 << bit
				raw.Header[name] = []string{string(changed)}
				refused(t, raw, name, i)
			}
		}
		for _, other := range []string{"", good + " ", " " + good, good + "=", good + "\n", good[1:], good + ", " + good} {
			raw := callbackOf(t, "notice-paid")
			raw.Header[name] = []string{other}
			refused(t, raw, name+" "+other, -1)
		}
	}
	path := callbackOf(t, "notice-paid").Path
	for i := range path {
		raw := callbackOf(t, "notice-paid")
		raw.Path = path[:i] + string(path[i]^1) + path[i+1:]
		refused(t, raw, "path", i)
	}
}

func TestNoticeRefused(t *testing.T) {
	for name, spoil := range map[string]func(*providers.RawCallback){
		"kid missing":        func(r *providers.RawCallback) { r.Header.Del("Bravo-Kid") },
		"timestamp missing":  func(r *providers.RawCallback) { r.Header.Del("Bravo-Timestamp") },
		"nonce missing":      func(r *providers.RawCallback) { r.Header.Del("Bravo-Nonce") },
		"signature missing":  func(r *providers.RawCallback) { r.Header.Del("Bravo-Signature") },
		"kid twice":          func(r *providers.RawCallback) { r.Header.Add("Bravo-Kid", r.Header.Get("Bravo-Kid")) },
		"timestamp twice":    func(r *providers.RawCallback) { r.Header.Add("Bravo-Timestamp", r.Header.Get("Bravo-Timestamp")) },
		"nonce twice":        func(r *providers.RawCallback) { r.Header.Add("Bravo-Nonce", r.Header.Get("Bravo-Nonce")) },
		"signature twice":    func(r *providers.RawCallback) { r.Header.Add("Bravo-Signature", r.Header.Get("Bravo-Signature")) },
		"too old":            func(r *providers.RawCallback) { r.ReceivedAt = r.ReceivedAt.Add(300*time.Second + 1) },
		"too far ahead":      func(r *providers.RawCallback) { r.ReceivedAt = r.ReceivedAt.Add(-300*time.Second - 1) },
		"a query string":     func(r *providers.RawCallback) { r.RawQuery = "status=paid" },
		"GET":                func(r *providers.RawCallback) { r.Method = http.MethodGet },
		"empty body":         func(r *providers.RawCallback) { r.Body = nil },
		"1 MB body":          func(r *providers.RawCallback) { r.Body = make([]byte, 1<<20) },
		"no headers at all":  func(r *providers.RawCallback) { r.Header = nil },
		"path escaped anew":  func(r *providers.RawCallback) { r.Path = strings.Replace(r.Path, "7", "%37", 1) },
		"other callback URL": func(r *providers.RawCallback) { r.Path = "/callbacks/bravobank-other/7Zk2" },
	} {
		t.Run(name, func(t *testing.T) {
			raw := callbackOf(t, "notice-paid")
			spoil(&raw)
			refuses(t, name, raw)
		})
	}
}

func TestNoticeAtTheEdgeOfTheTolerance(t *testing.T) {
	for _, off := range []time.Duration{-300 * time.Second, 0, 300 * time.Second} {
		raw := callbackOf(t, "notice-paid")
		raw.ReceivedAt = raw.ReceivedAt.Add(off)
		if _, err := adapter(t).DecodeCallback(raw); err != nil {
			t.Errorf("%v: %v", off, err)
		}
	}
}

func keyed(t *testing.T, keys ...signing.Ed25519Key) *bravobank.Adapter {
	t.Helper()
	a, err := bravobank.New(
		bravobank.Config{Environment: providers.Demo, OrderURL: "http://127.0.0.1:8090/order", Signer: signer(t, "g", gatewaySeed), BankKeys: keys},
		bravobank.Deps{Now: stampTime, Rand: &counter{}, HTTP: client(t, "http://127.0.0.1:1")})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestNoticeKeys(t *testing.T) {
	other := ed25519.NewKeyFromSeed([]byte("another key that is 32 bytes xxx")).Public().(ed25519.PublicKey)
	for _, c := range []struct {
		name string
		keys []signing.Ed25519Key
		want error
	}{
		{"current and next", []signing.Ed25519Key{{ID: "bravo-test-2", Public: other}, {ID: bankKid, Public: bankPublic()}}, nil},
		{"last instant", []signing.Ed25519Key{{ID: bankKid, Public: bankPublic(), NotAfter: stampTime()}}, nil},
		{"ended", []signing.Ed25519Key{{ID: bankKid, Public: bankPublic(), NotAfter: stampTime().Add(-1)}}, signing.ErrKeyExpired},
		{"wrong key", []signing.Ed25519Key{{ID: bankKid, Public: other}}, signing.ErrMismatch},
		{"unknown key id", []signing.Ed25519Key{{ID: "bravo-test-2", Public: bankPublic()}}, signing.ErrUnknownKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := keyed(t, c.keys...).DecodeCallback(callbackOf(t, "notice-paid"))
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// A gateway and a bank that, by mistake, share one key: still nothing that the
// gateway signs verifies as a notice, because each text names its direction.
func TestWhatWeSignIsNeverANotice(t *testing.T) {
	us := signer(t, "pay-taipei-test-1", gatewaySeed)
	shared := keyed(t, signing.Ed25519Key{ID: "pay-taipei-test-1", Public: us.PublicKey()})
	fields := vectorOf(t, "order-two-bills").Expected
	timestamp := strconv.FormatInt(stampTime().Unix(), 10)
	const path, nonce = "/callbacks/bravobank-main/7Zk2", "n0tice-EEEEEEEEEEEEEEEE1"
	notices := map[string]providers.RawCallback{
		"order as body":      rawNotice(fields["kid"], timestamp, nonce, fields["sig"], path, fields["order"]),
		"order JSON as body": rawNotice(fields["kid"], timestamp, nonce, fields["sig"], path, vectorOf(t, "order-two-bills").Inputs["json"]),
	}
	body := vectorOf(t, "notice-paid").Inputs["body"]
	for _, label := range []string{"bravo-query-v1", "bravo-refund-v1", "bravo-query-answer-v1", "bravo-order-v1.", ""} {
		text := signing.Text(label + "\n" + fields["kid"] + "\n" + timestamp + "\n" + nonce + "\n" + path + "\n" + body)
		notices["label "+label] = rawNotice(fields["kid"], timestamp, nonce, b64(us.Sign(text)), path, body)
	}
	for name, raw := range notices {
		_, err := shared.DecodeCallback(raw)
		wantKind(t, name, err, providers.Untrusted)
	}
	text := signing.Text("bravo-notice-v1\n" + fields["kid"] + "\n" + timestamp + "\n" + nonce + "\n" + path + "\n" + body)
	if _, err := shared.DecodeCallback(rawNotice(fields["kid"], timestamp, nonce, b64(us.Sign(text)), path, body)); err != nil {
		t.Errorf("the right label: %v", err)
	}
}

func TestNoticeUnreadable(t *testing.T) {
	good := vectorOf(t, "notice-paid").Inputs["body"]
	for name, body := range map[string]string{
		"empty":                   "",
		"not JSON":                "paid",
		"array":                   "[" + good + "]",
		"two documents":           good + good,
		"byte order mark":         "\ufeff" + good,
		"repeated field":          replace(t, good, `"status":"paid"`, `"status":"failed","status":"paid"`),
		"repeated, escaped name":  replace(t, good, `"status":"paid"`, `"status":"failed","st\u0061tus":"paid"`),
		"other case":              replace(t, good, `"status"`, `"Status"`),
		"both cases":              replace(t, good, `"status":"paid"`, `"status":"paid","STATUS":"failed"`),
		"long s":                  replace(t, good, `"status"`, `"ſtatus"`),
		"unknown field":           replace(t, good, `"status"`, `"extra":"x","status"`),
		"missing field":           replace(t, good, `"method":"deposit_account",`, ""),
		"null status":             replace(t, good, `"status":"paid"`, `"status":null`),
		"status as number":        replace(t, good, `"status":"paid"`, `"status":1`),
		"escaped value":           replace(t, good, `"status":"paid"`, `"status":"p\u0061id"`),
		"control character":       replace(t, good, `"deposit_account"`, `"deposit\u0000"`),
		"not ASCII":               replace(t, good, `"deposit_account"`, `"信用卡"`),
		"invalid UTF-8":           replace(t, good, `"deposit_account"`, "\"\xff\""),
		"amount as number":        replace(t, good, `"total":"40"`, `"total":40`),
		"amount 1e2":              replace(t, good, `"total":"40"`, `"total":"1e2"`),
		"amount 40.0":             replace(t, good, `"total":"40"`, `"total":"40.0"`),
		"amount -1":               replace(t, good, `"total":"40"`, `"total":"-1"`),
		"amount +40":              replace(t, good, `"total":"40"`, `"total":"+40"`),
		"amount 040":              replace(t, good, `"total":"40"`, `"total":"040"`),
		"amount empty":            replace(t, good, `"total":"40"`, `"total":""`),
		"amount of 13 digits":     replace(t, good, `"total":"40"`, `"total":"1000000000000"`),
		"currency lower case":     replace(t, good, `"currency":"TWD"`, `"currency":"twd"`),
		"currency empty":          replace(t, good, `"currency":"TWD"`, `"currency":""`),
		"payee empty":             replace(t, good, `"payee_member_id":"1136549"`, `"payee_member_id":""`),
		"environment empty":       replace(t, good, `"environment":"demo"`, `"environment":""`),
		"attempt empty":           replace(t, good, `"attempt_no":"201706130000001601"`, `"attempt_no":""`),
		"paid without method":     replace(t, good, `"method":"deposit_account"`, `"method":""`),
		"paid without time":       replace(t, good, `"paid_at":"2017-06-13T09:04:30+08:00"`, `"paid_at":""`),
		"paid without offset":     replace(t, good, `"paid_at":"2017-06-13T09:04:30+08:00"`, `"paid_at":"2017-06-13T09:04:30"`),
		"paid without trade no":   replace(t, good, `"trade_no":"BB2017061300000014"`, `"trade_no":""`),
		"value of 65 characters":  replace(t, good, `"deposit_account"`, `"`+strings.Repeat("x", 65)+`"`),
		"nested 20,000 deep":      replace(t, good, `"paid"`, strings.Repeat("[", 20000)+strings.Repeat("]", 20000)),
		"an object for a string":  replace(t, good, `"paid"`, `{"paid":"paid"}`),
		"trailing comma":          replace(t, good, `14"}`, `14",}`),
		"an answer with refunds":  replace(t, good, `14"}`, `14","refunds":[]}`),
		"text behind the closing": good + " x",
	} {
		t.Run(name, func(t *testing.T) {
			n, err := adapter(t).DecodeCallback(signNotice(body))
			wantKind(t, name, err, providers.OutcomeUnknown)
			if n.Snapshot != nil {
				t.Errorf("believed %+v", n.Snapshot)
			}
		})
	}
}

func TestNoticeReadsAnyOrderAndSpacing(t *testing.T) {
	body := "\n{ \"trade_no\" : \"BB1\",\"paid_at\":\"2017-06-13T01:04:30Z\",\"method\":\"credit_card\",\"currency\":\"TWD\",\"total\":\"999999999999\",\"status\":\"paid\"," +
		"\"payer_member_id\":\"1\",\"payee_member_id\":\"2\",\"environment\":\"production\",\"attempt_no\":\"A\",\"order_no\":\"O\"}\n"
	n, err := adapter(t).DecodeCallback(signNotice(body))
	if err != nil {
		t.Fatal(err)
	}
	if n.AttemptNo != "A" || *n.Snapshot.Amount != twd(t, "999999999999") || n.Snapshot.Environment != providers.Production {
		t.Errorf("%+v %+v", n, n.Snapshot)
	}
}

// A receipt over foreign money must reach the caller as a fact that fits no order,
// rather than as one without an amount or not at all.
func TestNoticeInAnotherCurrencyEqualsNoAmount(t *testing.T) {
	body := replace(t, vectorOf(t, "notice-paid").Inputs["body"], `"currency":"TWD"`, `"currency":"JPY"`)
	n, err := adapter(t).DecodeCallback(signNotice(body))
	if err != nil {
		t.Fatal(err)
	}
	if n.Snapshot.State != providers.Paid || n.Snapshot.Amount == nil || n.Snapshot.Amount.Currency() == money.TWD {
		t.Errorf("%+v", n.Snapshot)
	}
}

func TestEveryStatus(t *testing.T) {
	states := map[string]providers.State{
		"created": providers.Pending, "authorising": providers.Pending, "paid": providers.Paid,
		"failed": providers.Failed, "cancelled": providers.Cancelled, "expired": providers.Expired,
	}
	listed := documentTable(t, "## 4. States")
	if len(listed) != len(states) {
		t.Errorf("the document lists %q", listed)
	}
	for _, status := range append(listed, "PAID", "paid ", "settled", "") {
		body := replace(t, vectorOf(t, "notice-paid").Inputs["body"], `"status":"paid"`, `"status":"`+status+`"`)
		n, err := adapter(t).DecodeCallback(signNotice(body))
		if err != nil {
			t.Fatal(err)
		}
		want, known := states[status]
		unmapped := status
		if known {
			unmapped = ""
		}
		if status == "" {
			unmapped = "(empty)"
		}
		if n.Snapshot.State != want || n.Snapshot.Unmapped != unmapped {
			t.Errorf("status %q: state %s, unmapped %q", status, n.Snapshot.State, n.Snapshot.Unmapped)
		}
		if paid := status == "paid"; paid == n.Snapshot.PaidAt.IsZero() || paid == (n.Snapshot.ProviderTradeNo == "") {
			t.Errorf("status %q: paid facts %+v", status, n.Snapshot)
		}
	}
}

func TestBrowserIsOnlyAHint(t *testing.T) {
	plain := providers.RawCallback{Channel: providers.ChannelBrowser, Method: "GET", Path: "/r/7Zk2", ReceivedAt: stampTime()}
	genuine := callbackOf(t, "notice-paid")
	genuine.Channel = providers.ChannelBrowser
	for name, raw := range map[string]providers.RawCallback{"plain return": plain, "a genuine notice by browser": genuine} {
		n, err := adapter(t).DecodeCallback(raw)
		if err != nil || n.Snapshot != nil || n.AttemptNo != "" {
			t.Errorf("%s: %+v, %v", name, n, err)
		}
	}
}

func TestAck(t *testing.T) {
	for v, want := range map[providers.Verdict]struct {
		status int
		body   string
	}{
		providers.Accepted: {200, `{"result":"ok"}`}, providers.Refused: {400, `{"result":"refused"}`},
		providers.RetryLater: {503, `{"result":"retry"}`}, providers.Verdict(99): {503, `{"result":"retry"}`},
	} {
		got := adapter(t).Ack(v)
		if got.Status != want.status || string(got.Body) != want.body || got.ContentType != "application/json" {
			t.Errorf("verdict %d: %+v %s", v, got, got.Body)
		}
	}
}

func FuzzDecodeCallback(f *testing.F) {
	for _, id := range []string{"notice-paid", "notice-failed"} {
		f.Add(callbackOf(f, id).Body, true)
		f.Add(callbackOf(f, id).Body, false)
	}
	f.Add([]byte(`{"a":1}`), true)
	f.Add([]byte(`{"a":1]`), true)
	a := adapter(f)
	genuine := slices.Clone(callbackOf(f, "notice-paid").Body)
	f.Fuzz(func(t *testing.T, body []byte, sign bool) {
		raw := callbackOf(t, "notice-paid")
		raw.Body = body
		if sign {
			raw = signNotice(string(body))
		}
		n, err := a.DecodeCallback(raw)
		if err == nil && !sign && string(body) != string(genuine) {
			t.Fatalf("believed without a signature: %q", body)
		}
		if err == nil && (n.Snapshot == nil || n.Snapshot.Amount == nil || n.Snapshot.MerchantRef == "" || n.AttemptNo == "") {
			t.Fatalf("a fact with holes: %+v", n)
		}
		if err != nil && n.Snapshot != nil {
			t.Fatal("an error and a fact")
		}
	})
}
