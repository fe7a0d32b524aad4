package api

import (
	"encoding/json"
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

func keyOf(command string) orders.KeyRef {
	return orders.KeyRef{ClientID: "core", Route: "POST /v1/orders/2017061300000016/" + command, Key: "3f0c2a86-6c1d-4c59"}
}

func TestAddAttempt(t *testing.T) {
	for body, want := range map[string]orders.AttemptCommand{
		`{}`:                       {},
		`{"provider":"bravobank"}`: {Providers: []string{"bravobank"}},
		`{"provider":["linepay","bravobank"],"methods":["credit_card"]}`: {Providers: []string{"linepay", "bravobank"}, Methods: []string{"credit_card"}},
	} {
		k := newKit(t)
		k.keep("core")
		w := k.command(orderPath+"/attempts", body)
		if w.Code != http.StatusCreated || w.Body.String() != golden {
			t.Fatalf("%s: %d %s", body, w.Code, w.Body)
		}
		got := k.attempts[0]
		if got.Key != keyOf("attempts") || got.Order != "2017061300000016" || !slices.Equal(got.Providers, want.Providers) || !slices.Equal(got.Methods, want.Methods) {
			t.Errorf("%s: %+v", body, got)
		}
	}
}

func TestCancel(t *testing.T) {
	tests := []struct {
		name, body, media string
		unsized           bool // sent in chunks
		status            int
	}{
		{"no body", "", "", false, 200},
		{"no body, of a type", "", mediaJSON, false, 200},
		{"no body, in chunks", "", "", true, 200},
		{"empty object", "{}", mediaJSON, false, 200},
		{"empty object in chunks", " {} ", mediaJSON, true, 200},
		{"body without a type", "{}", "", false, 415},
		{"body without a type, in chunks", "{}", "", true, 415},
		{"blank", " ", mediaJSON, false, 400},
		{"null", "null", mediaJSON, false, 400},
		{"a field", `{"reason":"x"}`, mediaJSON, false, 400},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			k.keep("core")
			r := httptest.NewRequest(http.MethodPost, orderPath+"/cancel", strings.NewReader(test.body))
			if test.unsized {
				r.ContentLength = -1
			}
			r.Header = http.Header{"Authorization": {keyA}, "Idempotency-Key": {"3f0c2a86-6c1d-4c59"}}
			if test.media != "" {
				r.Header.Set("Content-Type", test.media)
			}
			w := k.send(r)
			if w.Code != test.status || (len(k.cancels) == 1) != (test.status == 200) {
				t.Fatalf("%d %s, %d commands", w.Code, w.Body, len(k.cancels))
			}
			if test.status != 200 {
				return
			}
			if want := (orders.CancelCommand{Key: keyOf("cancel"), Order: "2017061300000016"}); k.cancels[0] != want {
				t.Errorf("%+v", k.cancels[0])
			}
			if !strings.Contains(w.Body.String(), `"status":"cancelled"`) || !strings.Contains(w.Body.String(), `"redirect":null,"checkout_url":null`) {
				t.Errorf("%s", w.Body)
			}
		})
	}
}

// TestCancelWaitsForADoubt: the order of the answer is open and says why.
func TestCancelWaitsForADoubt(t *testing.T) {
	k := newKit(t)
	k.keep("core")
	k.change = func(o *orders.Order, a orders.Answers) (orders.Answer, error) {
		o.CancelAsked = start
		o.Calls = []orders.Call{{Attempt: "201706130000001601", Op: orders.OpConfirm, Ordinal: 1, SentAt: start}}
		return answering(false, orders.Answers.Cancelled)(o, a)
	}
	w := k.command(orderPath+"/cancel", "")
	for _, want := range []string{`"status":"open"`, `"doubt":true`, `"cancel_asked":true`, `"checkout_url":null`} {
		if w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%d, no %s in %s", w.Code, want, w.Body)
		}
	}
}

func TestAskRefund(t *testing.T) {
	for body, want := range map[string]orders.RefundCommand{
		`{"reason":"重複開單"}`: {Reason: "重複開單"},
		`{"amount":{"value":"20","currency":"TWD"},"reason":"` + strings.Repeat("退", 200) + `"}`: {Amount: twd(t, "20"), Reason: strings.Repeat("退", 200)},
		`{"surplus_id":"201706130000001601-H60983881309263","reason":"r"}`:                       {SurplusID: "201706130000001601-H60983881309263", Reason: "r"},
		`{"surplus_id":"AB201706130000001601-1-2-3-4-5","reason":"r"}`:                           {SurplusID: "AB201706130000001601-1-2-3-4-5", Reason: "r"},
	} {
		k := newKit(t)
		k.keep("core")
		w := k.command(orderPath+"/refunds", body)
		refund := `{"id":"201706130000001601R01","attempt_no":"201706130000001601","surplus_id":null,"amount":"20","status":"undecided","why":null,` +
			`"reason":"重複開單","provider_refund_no":null,"created_at":"2017-06-13T09:00:00+08:00","decided_at":null}` + "\n"
		if w.Code != http.StatusAccepted || w.Body.String() != refund || w.Header().Get("Location") != orderPath+"/refunds/201706130000001601R01" {
			t.Fatalf("%s: %d %v %s", body, w.Code, w.Header(), w.Body)
		}
		want.Key, want.Order = keyOf("refunds"), "2017061300000016"
		if k.refunds[0] != want {
			t.Errorf("%+v, want %+v", k.refunds[0], want)
		}
		if !strings.Contains(k.log.String(), `"order_no":"2017061300000016"`) {
			t.Errorf("no order number in %s", &k.log)
		}
	}
}

// TestChangesAreReplayed: whatever was stored comes back byte for byte, and where it was made is told again.
func TestChangesAreReplayed(t *testing.T) {
	tests := []struct {
		command, body string
		word          func(orders.Answers, *orders.Order) (int, []byte, error)
		first, again  int
	}{
		{"attempts", "{}", orders.Answers.Created, 201, 200},
		{"attempts", "{}", orders.Answers.Unknown, 202, 202},
		{"attempts", "{}", orders.Answers.Declined, 422, 422},
		{"cancel", "", orders.Answers.Cancelled, 202, 202},
		{"cancel", "", func(a orders.Answers, o *orders.Order) (int, []byte, error) {
			o.State = orders.OrderCancelled
			return a.Cancelled(o)
		}, 200, 200},
		{"refunds", `{"reason":"r"}`, refunding, 202, 202},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s %d", test.command, test.first), func(t *testing.T) {
			k := newKit(t)
			k.keep("core")
			var kept orders.Answer
			k.change = func(o *orders.Order, a orders.Answers) (answer orders.Answer, err error) {
				if kept.Body == nil {
					kept, err = answering(false, test.word)(o, a)
					return kept, err
				}
				kept.Replayed = true
				return kept, nil
			}
			one := k.command(orderPath+"/"+test.command, test.body)
			b := k.books["2017061300000016"]
			b.Order.State = orders.OrderPaid // what happened since does not show
			k.books["2017061300000016"] = b
			two := k.command(orderPath+"/"+test.command, test.body)
			if one.Code != test.first || two.Code != test.again || one.Body.String() != two.Body.String() || one.Header().Get("Location") != two.Header().Get("Location") {
				t.Errorf("%d %s\n%d %s", one.Code, one.Body, two.Code, two.Body)
			}
			if one.Header().Get("Idempotency-Replayed") != "" || two.Header().Get("Idempotency-Replayed") != "true" || one.Header().Get("Content-Type") != two.Header().Get("Content-Type") {
				t.Errorf("%v\n%v", one.Header(), two.Header())
			}
			if (one.Header().Get("Location") != "") != (test.command == "refunds") {
				t.Errorf("Location %q", one.Header().Get("Location"))
			}
		})
	}
}

// TestKeysOfDifferentAddressesDoNotMeet: the same key at another order or address is another key.
func TestKeysOfDifferentAddressesDoNotMeet(t *testing.T) {
	k := newKit(t)
	other := *k.keep("core")
	other.No = "2017061300000017"
	k.books[other.No] = orders.Book{Order: other}
	k.post(scenario)
	for _, no := range []string{"2017061300000016", "2017061300000017"} {
		k.command("/v1/orders/"+no+"/attempts", "{}")
		k.command("/v1/orders/"+no+"/cancel", "")
		k.command("/v1/orders/"+no+"/refunds", `{"reason":"r"}`)
	}
	seen := map[string]bool{k.commands[0].Key.Route: true}
	for i := range 2 {
		seen[k.attempts[i].Key.Route], seen[k.cancels[i].Key.Route], seen[k.refunds[i].Key.Route] = true, true, true
	}
	if len(seen) != 7 || !seen["POST /v1/orders"] || !seen["POST /v1/orders/2017061300000017/refunds"] {
		t.Errorf("%v", seen)
	}
}

func TestBadInputChanges(t *testing.T) {
	reason := func(text string) string { return `{"reason":"` + text + `"}` }
	amount := func(text string) string { return `{"amount":` + text + `,"reason":"r"}` }
	tests := []struct {
		command, body string
		status        int
		want          []string
	}{
		{"attempts", `{"provider":"a","provider":"b"}`, 400, []string{"/provider duplicate_name"}},
		{"attempts", `{"Provider":"a"}`, 400, []string{"/Provider wrong_case"}},
		{"attempts", `{"amount":"1"}`, 400, []string{"/amount unknown_field"}},
		{"attempts", `{"provider":null,"methods":"x"}`, 400, []string{"/provider null", "/methods wrong_type"}},
		{"attempts", `[]`, 400, []string{" wrong_type"}},
		{"attempts", ``, 400, []string{" syntax"}},
		{"attempts", `{}{}`, 400, []string{" trailing_data"}},
		{"attempts", `{"provider":"A/B","methods":[]}`, 422, []string{"/provider format", "/methods too_few"}},
		{"attempts", `{"provider":[],"methods":["x","x"]}`, 422, []string{"/provider too_few", "/methods/1 duplicate"}},
		{"cancel", `{"a":1,"b":2}`, 400, []string{"/a unknown_field", "/b unknown_field"}},
		{"cancel", `[]`, 400, []string{" wrong_type"}},
		{"refunds", `{"reason":"a","reason":"a"}`, 400, []string{"/reason duplicate_name"}},
		{"refunds", `{"REASON":"a","surplus_id":7}`, 400, []string{"/REASON wrong_case", "/surplus_id wrong_type"}},
		{"refunds", `{"reason":null}`, 400, []string{"/reason null"}},
		{"refunds", amount(`"20"`), 400, []string{"/amount wrong_type"}},
		{"refunds", amount(`{"value":20,"currency":"TWD"}`), 400, []string{"/amount/value wrong_type"}},
		{"refunds", amount(`null`), 400, []string{"/amount null"}},
		{"refunds", `{}`, 422, []string{"/reason required"}},
		{"refunds", reason(" "), 422, []string{"/reason required"}},
		{"refunds", reason(strings.Repeat("退", 201)), 422, []string{"/reason too_long"}},
		{"refunds", reason(`a\u202eb`), 422, []string{"/reason character"}},
		{"refunds", reason(`a\nb`), 422, []string{"/reason character"}},
		{"refunds", reason(`a&b=c`), 422, []string{"/reason character"}},
		{"refunds", reason("卡 4111 1111 1111 1111"), 422, []string{"/reason card_number"}},
		{"refunds", amount(`{"value":"0","currency":"TWD"}`), 422, []string{"/amount/value range"}},
		{"refunds", amount(`{"value":"-1","currency":"TWD"}`), 422, []string{"/amount/value format"}},
		{"refunds", amount(`{"value":"1.0","currency":"USD"}`), 422, []string{"/amount/currency unsupported", "/amount/value format"}},
		{"refunds", amount(`{}`), 422, []string{"/amount/currency required", "/amount/value required"}},
		{"refunds", `{"surplus_id":"1","reason":"r"}`, 422, []string{"/surplus_id format"}},
		{"refunds", `{"surplus_id":"","reason":"r"}`, 422, []string{"/surplus_id format"}},
	}
	for _, test := range tests {
		t.Run(test.command+" "+test.body, func(t *testing.T) {
			k := newKit(t)
			k.keep("core")
			p := wantProblem(t, k.command(orderPath+"/"+test.command, test.body), test.status, map[int]string{400: problemMalformed, 422: problemField}[test.status])
			var got []string
			for _, e := range p.Errors {
				got = append(got, e.Field+" "+e.Code)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("errors %q, want %q", got, test.want)
			}
			if len(k.attempts)+len(k.cancels)+len(k.refunds) > 0 {
				t.Error("the command went through")
			}
		})
	}
}

// TestOrderOfChecksOfAChange mends one fault after the other: each time the next stage answers.
func TestOrderOfChecksOfAChange(t *testing.T) {
	k := newKit(t)
	body := `{"reason":"","x":1}` + strings.Repeat(" ", maxBody)
	target := "/v1/orders/2017061300000099/refunds"
	headers := []string{"Authorization", "", "Content-Type", "", "Idempotency-Key", "short"}
	step := func(want string) {
		t.Helper()
		w := k.command(target, body, headers...)
		wantProblem(t, w, w.Code, want)
	}
	step(problemUnauthenticated)
	headers[1] = keyA
	step(problemMediaType)
	headers[3] = mediaJSON
	step(problemTooLarge)
	body = `{"reason":"","x":1}`
	step(problemMalformed)
	body = `{"reason":""}`
	step(problemNotFound)
	k.keep("core")
	target = orderPath + "/refunds"
	step(problemKeyMalformed)
	headers[5] = ""
	step(problemKeyMissing)
	headers[5] = strings.Repeat("k", 16)
	step(problemField)
	body = `{"reason":"r"}`
	k.change = func(*orders.Order, orders.Answers) (orders.Answer, error) {
		return orders.Answer{}, orders.ErrNotRefundable
	}
	step(problemNotRefundable)
	k.change = nil
	if w := k.command(target, body, headers...); w.Code != http.StatusAccepted {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestBadInputFaultsOfChanges words what the router may answer to each command.
func TestBadInputFaultsOfChanges(t *testing.T) {
	all := []string{"attempts", "cancel", "refunds"}
	field := func(field, code string) *orders.FieldError {
		return &orders.FieldError{Field: field, Code: code, Detail: "secret text"}
	}
	tests := []struct {
		commands   []string
		err        error
		status     int
		code       string
		retryAfter string
		want       []fieldError
	}{
		{all, orders.ErrInFlight, 409, problemInFlight, "1", nil},
		{all, orders.ErrKeyReused, 422, problemKeyReused, "", nil},
		{all, orders.ErrNotFound, 404, problemNotFound, "", nil},
		{all, fmt.Errorf("sql: %w", orders.ErrUnavailable), 503, problemStore, "2", nil},
		{all, errors.New("secret text"), 500, problemInternal, "", nil},
		{all[:2], fmt.Errorf("rule: %w", orders.ErrNotPayable), 409, problemNotPayable, "", nil},
		{all[:1], orders.ErrTooManyAttempts, 409, problemTooManyAttempts, "", nil},
		{all[:1], &orders.NoAccountError{Why: "secret text", RetryAfter: 30 * time.Second}, 503, problemNoAccount, "30", nil},
		{all[:1], field("/provider", "unknown"), 422, problemField, "", []fieldError{{"/provider", "unknown"}}},
		{all[:1], field("/methods", "not_offered"), 422, problemField, "", []fieldError{{"/methods", "not_offered"}}},
		{all[:1], fmt.Errorf("rule: %w", field("/amount/value", "above_limit")), 422, problemField, "", []fieldError{{"/provider", "above_limit"}}},
		{all[2:], orders.ErrNotRefundable, 409, problemNotRefundable, "", nil},
		{all[2:], orders.ErrRefundUndecided, 409, problemUndecided, "5", nil},
		{all[2:], orders.ErrRefundExceeds, 422, problemRefundExceeds, "", []fieldError{{"/amount/value", "refund_exceeds"}}},
		{all[2:], field("/surplus_id", "unknown"), 422, problemField, "", []fieldError{{"/surplus_id", "unknown"}}},
		{all[2:], &orders.RefusedError{Code: "refund_window_over"}, 422, problemRefundRefused, "", []fieldError{{"", "refund_window_over"}}},
		{all[2:], &orders.RefusedError{Code: "partial_after_cut_off", RetryAfter: 90 * time.Second}, 422, problemRefundRefused, "90", []fieldError{{"", "partial_after_cut_off"}}},
	}
	bodies := map[string]string{"attempts": "{}", "cancel": "", "refunds": `{"reason":"r"}`}
	for _, test := range tests {
		for _, command := range test.commands {
			t.Run(command+" "+test.code, func(t *testing.T) {
				k := newKit(t)
				k.keep("core")
				k.change = func(*orders.Order, orders.Answers) (orders.Answer, error) { return orders.Answer{}, test.err }
				w := k.command(orderPath+"/"+command, bodies[command])
				p := wantProblem(t, w, test.status, test.code)
				if got := w.Header().Get("Retry-After"); got != test.retryAfter {
					t.Errorf("Retry-After %q, want %q", got, test.retryAfter)
				}
				if !slices.Equal(p.Errors, test.want) {
					t.Errorf("errors %+v, want %+v", p.Errors, test.want)
				}
				if p.Instance != "request-0000001" || strings.Contains(w.Body.String(), "secret") || w.Header().Get("Location") != "" {
					t.Errorf("%v %s", w.Header(), w.Body)
				}
			})
		}
	}
}

// TestAttemptWhileInDoubt: an order that waits for an outcome is told from one that has ended, and a stored answer is
// given whatever the order waits for.
func TestAttemptWhileInDoubt(t *testing.T) {
	doubt := orders.Call{Attempt: "201706130000001601", Op: orders.OpConfirm, Ordinal: 1, SentAt: start, Outcome: orders.OutcomeUnknown}
	tests := []struct {
		name   string
		change func(*orders.Order)
		code   string
	}{
		{"a confirm in doubt", func(o *orders.Order) { o.Calls = []orders.Call{doubt} }, problemOutcomeUnknown},
		{"no doubt", func(o *orders.Order) { o.Review = true }, problemNotPayable},
		{"a create without an answer moves no money", func(o *orders.Order) {
			o.Calls = []orders.Call{{Attempt: "201706130000001601", Op: orders.OpCreate, Ordinal: 1, Outcome: orders.OutcomeUnknown}}
		}, problemNotPayable},
		{"paid, and a refund in doubt", func(o *orders.Order) {
			o.State = orders.OrderPaid
			o.Refunds = []orders.Refund{{Attempt: "201706130000001601", Ordinal: 1, Amount: o.Total, State: orders.RefundUndecided}}
			o.Calls = []orders.Call{{Attempt: "201706130000001601", Op: orders.OpRefund, Ordinal: 1, SentAt: start}}
		}, problemNotPayable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := newKit(t)
			o := k.keep("core")
			test.change(o)
			k.books[o.No] = orders.Book{Order: *o}
			k.change = func(*orders.Order, orders.Answers) (orders.Answer, error) {
				return orders.Answer{}, orders.ErrNotPayable
			}
			w := k.command(orderPath+"/attempts", "{}")
			wantProblem(t, w, http.StatusConflict, test.code)
			if (w.Header().Get("Retry-After") == "5") != (test.code == problemOutcomeUnknown) {
				t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
			}
			k.change = answering(true, orders.Answers.Created)
			if w := k.command(orderPath+"/attempts", "{}"); w.Code != http.StatusOK {
				t.Errorf("replay: %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestGetRefund(t *testing.T) {
	k := newKit(t)
	o := k.keep("core")
	o.Refunds = []orders.Refund{
		{Attempt: "201706130000001601", Ordinal: 1, Amount: twd(t, "20"), Reason: "r", State: orders.RefundFailed, Why: "below_minimum", AskedAt: start, DecidedAt: start},
		{
			Attempt: "201706130000001601", Ordinal: 2, BillNo: "H60983881309263", Amount: twd(t, "20"), Reason: "重複開單", State: orders.RefundDone,
			ProviderRefundNo: "B-7", AskedAt: start, DecidedAt: start.Add(2 * time.Second),
		},
	}
	k.books[o.No] = orders.Book{Order: *o}
	want := `{"id":"201706130000001601R02","attempt_no":"201706130000001601","surplus_id":"201706130000001601-H60983881309263","amount":"20","status":"done","why":null,` +
		`"reason":"重複開單","provider_refund_no":"B-7","created_at":"2017-06-13T09:00:00+08:00","decided_at":"2017-06-13T09:00:02+08:00"}` + "\n"
	if w := k.get(orderPath + "/refunds/201706130000001601R02"); w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
	}
	var unknown string
	for _, id := range []string{"201706130000001601R03", "1", "..", "201706130000001601R02x", "%00"} {
		w := k.get(orderPath + "/refunds/" + id)
		wantProblem(t, w, http.StatusNotFound, problemNotFound)
		if unknown == "" {
			unknown = w.Body.String()
		}
		if w.Body.String() != unknown {
			t.Errorf("%s: %s", id, w.Body)
		}
	}
}

func TestListActions(t *testing.T) {
	k := newKit(t)
	k.keep("core")
	k.actions = []orders.Action{
		{Name: "attempt", Why: "maintenance", Until: start.Add(time.Hour).UTC()},
		{Name: "cancel", Possible: true, Until: start.Add(10 * time.Minute)},
		{Name: "refund", Why: "nothing_left", AttemptNo: "201706130000001601", Max: twd(t, "0"), Min: twd(t, "1")},
		{Name: "refund", Possible: true, AttemptNo: "201706130000001601", SurplusID: "201706130000001601-H60983881309263", Max: twd(t, "20")},
	}
	row := func(action, possible, why, until, attempt, surplus, most, least string) string {
		return `{"action":"` + action + `","possible":` + possible + `,"why":` + why + `,"until":` + until + `,"attempt_no":` + attempt +
			`,"surplus_id":` + surplus + `,"max":` + most + `,"min":` + least + `}`
	}
	want := `{"actions":[` + strings.Join([]string{
		row("attempt", "false", `"maintenance"`, `"2017-06-13T10:00:00+08:00"`, "null", "null", "null", "null"),
		row("cancel", "true", "null", `"2017-06-13T09:10:00+08:00"`, "null", "null", "null", "null"),
		row("refund", "false", `"nothing_left"`, "null", `"201706130000001601"`, "null", `{"value":"0","currency":"TWD"}`, `{"value":"1","currency":"TWD"}`),
		row("refund", "true", "null", "null", `"201706130000001601"`, `"201706130000001601-H60983881309263"`, `{"value":"20","currency":"TWD"}`, "null"),
	}, ",") + `]}` + "\n"
	if w := k.get(orderPath + "/actions"); w.Code != 200 || w.Body.String() != want {
		t.Errorf("%d %s\nwant %s", w.Code, w.Body, want)
	}
	k.actions = nil
	if w := k.get(orderPath + "/actions"); w.Body.String() != `{"actions":[]}`+"\n" {
		t.Errorf("%s", w.Body)
	}
}

// TestSupersede hands the wish to the router; missing it is false.
func TestSupersede(t *testing.T) {
	for text, want := range map[string]bool{`"supersede":true,`: true, `"supersede":false,`: false, ``: false} {
		k := newKit(t)
		w := k.post(with(t, `"settlement"`, text+`"settlement"`))
		if w.Code != http.StatusCreated || k.commands[0].Supersede != want {
			t.Errorf("%q: %d, supersede %v", text, w.Code, k.commands[0].Supersede)
		}
	}
}

// TestDeclinedTellsTheWayOn: after a clear no the citizen need not wait.
func TestDeclinedTellsTheWayOn(t *testing.T) {
	k := newKit(t)
	_, body, err := answers{k.deps.CheckoutURL}.Declined(k.keep("core"))
	var p problem
	if err := errors.Join(err, json.Unmarshal(body, &p)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.Detail, "/attempts") || !strings.Contains(p.DetailZH, "/attempts") || strings.Contains(p.Detail+p.DetailZH, "expires_at") {
		t.Errorf("%s\n%s", p.Detail, p.DetailZH)
	}
}
