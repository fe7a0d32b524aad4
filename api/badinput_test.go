package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/orders"
)

// with is the scenario with one part written otherwise.
func with(t *testing.T, old, changed string) string {
	t.Helper()
	if !strings.Contains(scenario, old) {
		t.Fatalf("the scenario has no %s", old)
	}
	return strings.Replace(scenario, old, changed, 1)
}

func manyLines(n int) string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"bill_no":"H%013d","name":"x","quantity":1,"unit_price":"20","subtotal":"20"}`, i)
	}
	return strings.Join(lines, ",")
}

func linesOf(t *testing.T, total int, lines string) string {
	t.Helper()
	from, to := strings.Index(scenario, `"lines":[`), strings.Index(scenario, `],
 "return_url"`)
	return strings.Replace(scenario[:from]+`"lines":[`+lines+scenario[to:], `"value":"40"`, fmt.Sprintf(`"value":"%d"`, total), 1)
}

// TestBadInput holds every way in which the body of an order may be wrong: what is answered, and which field is named.
func TestBadInput(t *testing.T) {
	amount, quantity, name := `"value":"40"`, `"quantity":1,`, `"name":"停車費"`
	line0 := `{"bill_no":"H60983881309263","name":"停車費","quantity":1,"unit_price":"20","subtotal":"20"}`
	tests := []struct {
		name, body string
		status     int
		want       []string // field and code
	}{
		{"duplicate key", with(t, `"merchant":"pma"`, `"merchant":"pma","merchant":"pma"`), 400, []string{"/merchant duplicate_name"}},
		{"duplicate key written by escape", with(t, `"merchant":"pma"`, `"merchant":"pma","mer\u0063hant":"twd"`), 400, []string{"/merchant duplicate_name"}},
		{"duplicate key within a line", with(t, `"unit_price":"20"`, `"unit_price":"20","unit_price":"1"`), 400, []string{"/lines/0/unit_price duplicate_name"}},
		{"other-case key", with(t, `"merchant"`, `"Merchant"`), 400, []string{"/Merchant wrong_case"}},
		{"other-case key beside the right one", with(t, `"value":"40"`, `"value":"40","VALUE":"1"`), 400, []string{"/amount/VALUE wrong_case"}},
		{"key that only folds to ours", with(t, `"settlement"`, `"ſettlement"`), 400, []string{"/ſettlement wrong_case"}},
		{"unknown field", with(t, `"merchant"`, `"status":"paid","merchant"`), 400, []string{"/status unknown_field"}},
		{"unknown field in a line", with(t, `"bill_no"`, `"plate":"ABC-123","bill_no"`), 400, []string{"/lines/0/plate unknown_field"}},
		{"trailing document", scenario + scenario, 400, []string{" trailing_data"}},
		{"trailing bracket", scenario + "}", 400, []string{" trailing_data"}},
		{"NUL by escape", with(t, "停車費", `停\u0000車`), 400, []string{"/lines/0/name nul"}},
		{"NUL raw", with(t, "停車費", "停\x00車"), 400, []string{"/lines/0/name nul"}},
		{"NUL after the document", scenario + "\x00", 400, []string{" trailing_data"}},
		{"invalid UTF-8", with(t, "停車費", "\xff"), 400, []string{"/lines/0/name invalid_utf8"}},
		{"UTF-8 surrogate", with(t, "停車費", "\xed\xa0\x80"), 400, []string{"/lines/0/name invalid_utf8"}},
		{"lone surrogate high", with(t, "停車費", `\ud83d`), 400, []string{"/lines/0/name lone_surrogate"}},
		{"lone surrogate low", with(t, "停車費", `\ude00\ud83d`), 400, []string{"/lines/0/name lone_surrogate"}},
		{"depth", with(t, `"merchant"`, `"deep":`+strings.Repeat("[", 16)+strings.Repeat("]", 16)+`,"merchant"`), 400, []string{"/deep" + strings.Repeat("/0", 15) + " too_deep"}},
		{"byte order mark", "\ufeff" + scenario, 400, []string{" syntax"}},
		{"empty", "", 400, []string{" syntax"}},
		{"cut off", scenario[:200], 400, nil},
		{"single quotes", `{'merchant':'pma'}`, 400, []string{" syntax"}},
		{"comment", "// order\n" + scenario, 400, []string{" syntax"}},
		{"trailing comma", strings.TrimSuffix(scenario, "}") + ",}", 400, []string{" syntax"}},
		{"a list", "[" + scenario + "]", 400, []string{" wrong_type"}},
		{"null", "null", 400, []string{" null"}},

		{"amount 1e2", with(t, amount, `"value":"1e2"`), 422, []string{"/amount/value format"}},
		{"amount 20.0", with(t, amount, `"value":"20.0"`), 422, []string{"/amount/value format"}},
		{"amount -1", with(t, amount, `"value":"-1"`), 422, []string{"/amount/value format"}},
		{"amount +40", with(t, amount, `"value":"+40"`), 422, []string{"/amount/value format"}},
		{"amount 040", with(t, amount, `"value":"040"`), 422, []string{"/amount/value format"}},
		{"amount in full-width digits", with(t, amount, `"value":"４０"`), 422, []string{"/amount/value format"}},
		{"amount with a blank", with(t, amount, `"value":" 40"`), 422, []string{"/amount/value format"}},
		{"amount empty", with(t, amount, `"value":""`), 422, []string{"/amount/value format"}},
		{"amount of 13 digits", with(t, amount, `"value":"1000000000000"`), 422, []string{"/amount/value format"}},
		{"amount above the largest order", with(t, amount, `"value":"500001"`), 422, []string{"/amount/value range"}},
		{"amount missing", with(t, `"amount":{"value":"40","currency":"TWD"},`, ``), 422, []string{"/amount required"}},
		{"amount value missing", with(t, amount+",", ``), 422, []string{"/amount/value required"}},
		{"amount null", with(t, amount, `"value":null`), 400, []string{"/amount/value null"}},
		{"amount a JSON number", with(t, amount, `"value":40`), 400, []string{"/amount/value wrong_type"}},
		{"amount a JSON number 1e2", with(t, amount, `"value":1e2`), 400, []string{"/amount/value wrong_type"}},
		{"amount not an object", with(t, `{"value":"40","currency":"TWD"}`, `"40"`), 400, []string{"/amount wrong_type"}},
		{"unit price a JSON number", with(t, `"unit_price":"20"`, `"unit_price":20`), 400, []string{"/lines/0/unit_price wrong_type"}},
		{"subtotal missing", with(t, `,"subtotal":"20"`, ``), 422, []string{"/lines/0/subtotal required"}},
		{"other currency", with(t, "TWD", "USD"), 422, []string{"/amount/currency unsupported"}},
		{"currency in lower case", with(t, "TWD", "twd"), 422, []string{"/amount/currency unsupported"}},
		{"currency null", with(t, `"TWD"`, `null`), 400, []string{"/amount/currency null"}},
		{"zero order", linesOf(t, 0, `{"bill_no":"H60983881309263","name":"x","quantity":1,"unit_price":"0","subtotal":"0"}`), 422, []string{"/amount/value range"}},

		{"sum wrong", with(t, amount, `"value":"41"`), 422, []string{"/amount/value mismatch"}},
		{"product wrong", with(t, quantity, `"quantity":2,`), 422, []string{"/lines/0/subtotal mismatch"}},
		{"product too large", with(t, `"quantity":1,"unit_price":"20"`, `"quantity":999,"unit_price":"999999999999"`), 422, []string{"/lines/0/subtotal mismatch"}},
		{"sum too large", linesOf(t, 40, strings.ReplaceAll(manyLines(2), `"20"`, `"999999999999"`)), 422, []string{"/amount/value mismatch"}},
		{"no lines", linesOf(t, 40, ""), 422, []string{"/lines too_few"}},
		{"lines missing", strings.Replace(linesOf(t, 40, ""), `"lines":[],`, "", 1), 422, []string{"/lines required"}},
		{"lines null", strings.Replace(linesOf(t, 40, ""), `[]`, "null", 1), 400, []string{"/lines null"}},
		{"101 lines", linesOf(t, 2020, manyLines(101)), 422, []string{"/lines too_many"}},
		{"the same bill twice", linesOf(t, 40, line0+","+line0), 422, []string{"/lines/1/bill_no duplicate"}},
		{"a line that is no object", linesOf(t, 40, `"H60983881309263"`), 400, []string{"/lines/0 wrong_type"}},
		{"bill number in lower case", with(t, "H60983881309263", "h60983881309263"), 422, []string{"/lines/0/bill_no format"}},
		{"bill number too short", with(t, "H60983881309263", "H6098388"), 422, []string{"/lines/0/bill_no format"}},
		{"bill number too long", with(t, "H60983881309263", "H60983881309263000000"+"0"), 422, []string{"/lines/0/bill_no format"}},
		{"quantity zero", with(t, quantity, `"quantity":0,`), 422, []string{"/lines/0/quantity range"}},
		{"quantity 1000", with(t, quantity, `"quantity":1000,`), 422, []string{"/lines/0/quantity range"}},
		{"quantity 1.0", with(t, quantity, `"quantity":1.0,`), 422, []string{"/lines/0/quantity range"}},
		{"quantity a string", with(t, quantity, `"quantity":"1",`), 400, []string{"/lines/0/quantity wrong_type"}},

		{"name with &", with(t, name, `"name":"a&b"`), 422, []string{"/lines/0/name character"}},
		{"name with =", with(t, name, `"name":"a=b"`), 422, []string{"/lines/0/name character"}},
		{"name with <", with(t, name, `"name":"<b"`), 422, []string{"/lines/0/name character"}},
		{"name with >", with(t, name, `"name":"b>"`), 422, []string{"/lines/0/name character"}},
		{"name with %", with(t, name, `"name":"5%"`), 422, []string{"/lines/0/name character"}},
		{"name with control", with(t, name, `"name":"a\nb"`), 422, []string{"/lines/0/name character"}},
		{"name with C1 control", with(t, name, `"name":"a\u0085b"`), 422, []string{"/lines/0/name character"}},
		{"name with bidi", with(t, name, `"name":"a\u202eb"`), 422, []string{"/lines/0/name character"}},
		{"name with zero width", with(t, name, `"name":"a\u200bb"`), 422, []string{"/lines/0/name character"}},
		{"name with line separator", with(t, name, `"name":"a\u2028b"`), 422, []string{"/lines/0/name character"}},
		{"name with replacement character", with(t, name, `"name":"a\ufffd"`), 422, []string{"/lines/0/name character"}},
		{"name empty", with(t, name, `"name":" "`), 422, []string{"/lines/0/name required"}},
		{"name of 61 characters", with(t, name, `"name":"`+strings.Repeat("停", 61)+`"`), 422, []string{"/lines/0/name too_long"}},
		{"name with a card number", with(t, name, `"name":"卡 4111 1111 1111 1111"`), 422, []string{"/lines/0/name card_number"}},

		{"reference with a blank", with(t, "2017061300000014", "2017 14"), 422, []string{"/client_reference format"}},
		{"reference of 65 characters", with(t, "2017061300000014", strings.Repeat("a", 65)), 422, []string{"/client_reference format"}},
		{"reference missing", with(t, `"client_reference":"2017061300000014",`, ""), 422, []string{"/client_reference required"}},
		{"merchant missing", with(t, `"merchant":"pma",`, ""), 422, []string{"/merchant required"}},
		{"merchant empty", with(t, `"pma"`, `""`), 422, []string{"/merchant format"}},
		{"merchant a number", with(t, `"pma"`, `1`), 400, []string{"/merchant wrong_type"}},
		{"merchant not allowed", with(t, `"pma"`, `"police"`), 403, []string{"/merchant not_allowed"}},
		{"payer missing", with(t, `"payer":{"member_id":"1361049"},`, ""), 422, []string{"/payer required"}},
		{"payer with a name", with(t, `{"member_id"`, `{"name":"王小明","member_id"`), 400, []string{"/payer/name unknown_field"}},
		{"payer in odd characters", with(t, "1361049", "1361049@x"), 422, []string{"/payer/member_id format"}},
		{"provider in odd characters", with(t, `"bravobank"`, `"Bravo/Bank"`), 422, []string{"/provider format"}},
		{"provider list empty", with(t, `"bravobank"`, `[]`), 422, []string{"/provider too_few"}},
		{"provider twice", with(t, `"bravobank"`, `["bravobank","bravobank"]`), 422, []string{"/provider/1 duplicate"}},
		{"provider a number", with(t, `"bravobank"`, `7`), 400, []string{"/provider wrong_type"}},
		{"provider null", with(t, `"bravobank"`, `null`), 400, []string{"/provider null"}},
		{"method list empty", with(t, `["credit_card","stored_value","deposit_account"]`, `[]`), 422, []string{"/methods too_few"}},
		{"17 methods", with(t, `["credit_card","stored_value","deposit_account"]`, `["a"`+strings.Repeat(`,"a"`, 16)+`]`), 422, []string{"/methods too_many"}},
		{"method twice", with(t, `"stored_value"`, `"credit_card"`), 422, []string{"/methods/1 duplicate"}},
		{"method null", with(t, `"stored_value"`, `null`), 400, []string{"/methods/1 null"}},
		{"settlement delayed", with(t, "immediate", "delayed"), 422, []string{"/settlement unsupported"}},
		{"supersede a string", with(t, `"settlement"`, `"supersede":"true","settlement"`), 400, []string{"/supersede wrong_type"}},
		{"supersede null", with(t, `"settlement"`, `"supersede":null,"settlement"`), 400, []string{"/supersede null"}},
		{"supersede in another case", with(t, `"settlement"`, `"Supersede":true,"settlement"`), 400, []string{"/Supersede wrong_case"}},
		{"expiry 59s", with(t, `"10m"`, `"59s"`), 422, []string{"/expires_in range"}},
		{"expiry 30m1s", with(t, `"10m"`, `"30m1s"`), 422, []string{"/expires_in range"}},
		{"expiry in hours", with(t, `"10m"`, `"0.1h"`), 422, []string{"/expires_in format"}},
		{"expiry with a fraction", with(t, `"10m"`, `"1.5m"`), 422, []string{"/expires_in format"}},
		{"expiry negative", with(t, `"10m"`, `"-10m"`), 422, []string{"/expires_in format"}},
		{"expiry empty", with(t, `"10m"`, `""`), 422, []string{"/expires_in format"}},
		{"expiry a number", with(t, `"10m"`, `600`), 400, []string{"/expires_in wrong_type"}},
		{"return URL missing", with(t, `"return_url":"https://pay.taipei/result",`, ""), 422, []string{"/return_url required"}},
		{"return URL outside", with(t, "https://pay.taipei/result", "https://evil.example/result"), 422, []string{"/return_url not_allowed"}},

		{"everything malformed at once", `{"client_reference":7,"merchant":null,"payer":[],"x":1,"amount":{"value":40,"currency":"TWD"},"lines":[null],"return_url":true}`, 400, []string{
			"/x unknown_field", "/client_reference wrong_type", "/merchant null", "/return_url wrong_type", "/payer wrong_type", "/amount/value wrong_type", "/lines/0 null",
		}},
		{"everything invalid at once", `{"merchant":"pma"}`, 422, []string{
			"/client_reference required", "/return_url required", "/payer required", "/amount required", "/lines required",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			w := k.post(test.body)
			code := map[int]string{400: problemMalformed, 403: problemMerchant, 422: problemField}[test.status]
			p := wantProblem(t, w, test.status, code)
			var got []string
			for _, e := range p.Errors {
				got = append(got, e.Field+" "+e.Code)
			}
			if test.want != nil && !slices.Equal(got, test.want) {
				t.Errorf("errors %q, want %q", got, test.want)
			}
			if len(k.commands) > 0 {
				t.Error("the command went through")
			}
		})
	}
}

func TestBadInputBodyOver64KiB(t *testing.T) {
	padded := scenario + strings.Repeat(" ", 65536-len(scenario))
	k := newKit(t)
	if w := k.post(padded); w.Code != http.StatusCreated {
		t.Errorf("a body of exactly 64 KiB: %d", w.Code)
	}
	wantProblem(t, k.post(padded+" "), http.StatusRequestEntityTooLarge, problemTooLarge)
}

func TestManyFaultsAreCut(t *testing.T) {
	fields := make([]string, 300)
	for i := range fields {
		fields[i] = fmt.Sprintf(`"%s%d":1`, strings.Repeat("長", 40), i)
	}
	w := newKit(t).post("{" + strings.Join(fields, ",") + "}")
	p := wantProblem(t, w, http.StatusBadRequest, problemMalformed)
	if len(p.Errors) != 100 || len(p.Errors[0].Field) > maxNameEcho+1 {
		t.Errorf("%d errors, the first %d bytes", len(p.Errors), len(p.Errors[0].Field))
	}
}

func TestBadInputIdempotencyKey(t *testing.T) {
	tests := []struct{ name, value, code string }{
		{"missing", "", problemKeyMissing},
		{"15 characters", strings.Repeat("k", 15), problemKeyMalformed},
		{"256 characters", strings.Repeat("k", 256), problemKeyMalformed},
		{"blank inside", "aaaaaaaa aaaaaaaa", problemKeyMalformed},
		{"not ASCII", "aaaaaaaaaaaaaaaa鍵", problemKeyMalformed},
		{"control", "aaaaaaaaaaaaaaaa\x7f", problemKeyMalformed},
		{"quote not closed", `"aaaaaaaaaaaaaaaaa`, problemKeyMalformed},
		{"quote not opened", `aaaaaaaaaaaaaaaaa"`, problemKeyMalformed},
		{"quoted with parameter", `"aaaaaaaaaaaaaaaaa";p=1`, problemKeyMalformed},
		{"quoted and too short", `"aaaaaaaaaaaaaaa"`, problemKeyMalformed},
		{"one quote", `"`, problemKeyMalformed},
		{"escape inside quotes", `"aaaaaaaaaaaaaaaa\""`, problemKeyMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			wantProblem(t, k.post(scenario, "Idempotency-Key", test.value), http.StatusBadRequest, test.code)
			if len(k.commands) > 0 {
				t.Error("the command went through")
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		k := newKit(t)
		r := httptest.NewRequest(http.MethodPost, "/v1/orders", strings.NewReader(scenario))
		r.Header.Set("Authorization", keyA)
		r.Header.Set("Content-Type", "application/json")
		r.Header["Idempotency-Key"] = []string{strings.Repeat("k", 16), strings.Repeat("k", 16)}
		wantProblem(t, k.send(r), http.StatusBadRequest, problemKeyMalformed)
	})
	t.Run("bare and quoted are one key", func(t *testing.T) {
		k := newKit(t)
		k.post(scenario, "Idempotency-Key", `abcdefghijklmnop`)
		k.post(scenario, "Idempotency-Key", `"abcdefghijklmnop"`)
		want := orders.KeyRef{ClientID: "core", Route: "POST /v1/orders", Key: "abcdefghijklmnop"}
		if len(k.commands) != 2 || k.commands[0].Key != want || k.commands[1].Key != want {
			t.Errorf("%+v", k.commands)
		}
	})
}

// TestBadInputQuery: parameters that nobody reads, or that two readers read differently, are refused.
func TestBadInputQuery(t *testing.T) {
	tests := []struct {
		target string
		status int
		want   fieldError
	}{
		{"/v1/events?after=1&after=2", 400, fieldError{"after", codeRepeated}},
		{"/v1/events?after=1;limit=2", 400, fieldError{"", codeSyntax}},
		{"/v1/events?after=%zz", 400, fieldError{"", codeSyntax}},
		{"/v1/events?After=1", 400, fieldError{"After", codeUnknownField}},
		{"/v1/events?after=-1", 422, fieldError{"after", codeRange}},
		{"/v1/events?after=01", 422, fieldError{"after", codeFormat}},
		{"/v1/events?after=9223372036854775808", 422, fieldError{"after", codeFormat}},
		{"/v1/events?limit=0", 422, fieldError{"limit", codeRange}},
		{"/v1/events?limit=501", 422, fieldError{"limit", codeRange}},
		{"/v1/events?limit=", 422, fieldError{"limit", codeFormat}},
		{"/v1/orders", 422, fieldError{"client_reference", codeRequired}},
		{"/v1/providers?amount=1e2", 422, fieldError{"amount", codeFormat}},
		{"/v1/providers?merchant=police", 403, fieldError{"merchant", codeNotAllowed}},
		{orderPath + "/actions?action=refund", 400, fieldError{"action", codeUnknownField}},
		{"/v1/providers?merchant=", 403, fieldError{"merchant", codeNotAllowed}},
	}
	for _, test := range tests {
		t.Run(test.target, func(t *testing.T) {
			code := map[int]string{400: problemMalformed, 403: problemMerchant, 422: problemField}[test.status]
			p := wantProblem(t, newKit(t).get(test.target), test.status, code)
			if !slices.Equal(p.Errors, []fieldError{test.want}) {
				t.Errorf("%+v, want %+v", p.Errors, test.want)
			}
		})
	}
	t.Run("query on an order", func(t *testing.T) {
		k := newKit(t)
		w := k.do(http.MethodPost, "/v1/orders?amount=1", scenario, "Authorization", keyA, "Content-Type", "application/json", "Idempotency-Key", strings.Repeat("k", 16))
		wantProblem(t, w, http.StatusBadRequest, problemMalformed)
	})
}

// TestBadInputFaultsOfPlacing words what the router may answer.
func TestBadInputFaultsOfPlacing(t *testing.T) {
	tests := []struct {
		name       string
		err        error
		status     int
		code       string
		retryAfter string
		orderNo    orders.OrderNo
		want       []fieldError
	}{
		{"in flight", orders.ErrInFlight, 409, problemInFlight, "1", "", nil},
		{"resumed after its end", orders.ErrNotPayable, 409, problemNotPayable, "", "", nil},
		{"same key, other command", orders.ErrKeyReused, 422, problemKeyReused, "", "", nil},
		{"reference used", orders.ErrReferenceUsed, 409, problemReferenceUsed, "", "", []fieldError{{"/client_reference", "reference_used"}}},
		{
			"bill in our own order", &orders.BillError{BillNo: "H61283631217536", Holder: "2017061300000001", Client: "core"},
			409, problemBillInProgress, "", "2017061300000001", []fieldError{{"/lines/1/bill_no", "bill_in_progress"}},
		},
		{
			"bill in a foreign order", &orders.BillError{BillNo: "H61283631217536", Holder: "2017061300000001", Client: "other"},
			409, problemBillInProgress, "", "", []fieldError{{"/lines/1/bill_no", "bill_in_progress"}},
		},
		{
			"bill not to be superseded yet", &orders.BillError{BillNo: "H61283631217536", Holder: "2017061300000001", Client: "core", RetryAfter: 4100 * time.Millisecond},
			409, problemBillInProgress, "5", "2017061300000001", []fieldError{{"/lines/1/bill_no", "bill_in_progress"}},
		},
		{
			"bill paid by a foreign order", &orders.BillError{BillNo: "H60983881309263", Paid: true, Holder: "2017061300000001", Client: "other"},
			409, problemBillPaid, "", "", []fieldError{{"/lines/0/bill_no", "bill_paid"}},
		},
		{"no account, 90.5 s", &orders.NoAccountError{Why: "breaker open", RetryAfter: 90*time.Second + 500*time.Millisecond}, 503, problemNoAccount, "91", "", nil},
		{"no account, unknown how long", &orders.NoAccountError{Why: "breaker open"}, 503, problemNoAccount, "5", "", nil},
		{"field", &orders.FieldError{Field: "/provider", Code: "unknown"}, 422, problemField, "", "", []fieldError{{"/provider", "unknown"}}},
		{"SQL gone", fmt.Errorf("place: %w", orders.ErrUnavailable), 503, problemStore, "2", "", nil},
		{"deadline passed", fmt.Errorf("place: %w", context.DeadlineExceeded), 503, problemStore, "2", "", nil},
		{"anything else", errors.New("sql: secret text"), 500, problemInternal, "", "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			k.place = func(context.Context, orders.Command, orders.Answers) (orders.Answer, error) {
				return orders.Answer{}, test.err
			}
			w := k.post(scenario)
			p := wantProblem(t, w, test.status, test.code)
			if got := w.Header().Get("Retry-After"); got != test.retryAfter {
				t.Errorf("Retry-After %q, want %q", got, test.retryAfter)
			}
			if p.OrderNo != test.orderNo || !slices.Equal(p.Errors, test.want) {
				t.Errorf("order_no %q, errors %+v", p.OrderNo, p.Errors)
			}
			if p.Instance != "request-0000001" {
				t.Errorf("instance %q", p.Instance)
			}
			if strings.Contains(w.Body.String(), "secret text") || strings.Contains(w.Body.String(), "breaker") {
				t.Errorf("an internal text came out: %s", w.Body)
			}
		})
	}
}
