package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/signing"
)

func scriptedPair(t *testing.T, c Config) (*Twin, *Scripted) {
	t.Helper()
	twin := StartTwin(t, TwinConfig{Now: testNow})
	adapter, err := twin.Adapter(c, 0)
	if err != nil {
		t.Fatal(err)
	}
	return twin, adapter
}

func refOf(o providers.CreateRequest) providers.AttemptRef {
	return providers.AttemptRef{AttemptNo: o.AttemptNo, Amount: o.Total, PayeeMemberID: o.Merchant.PayeeMemberID}
}

func callTime(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestTwinBehavesWithoutAScript(t *testing.T) {
	twin, adapter := scriptedPair(t, Config{})
	ctx, o := callTime(t), testOrder(t)
	if _, err := adapter.Query(ctx, refOf(o)); !errors.Is(err, providers.NotFound) {
		t.Errorf("before create: %v", err)
	}
	created, err := adapter.Create(ctx, o)
	if err != nil || created.Refs["trade_no"] != "T"+o.AttemptNo {
		t.Fatal(created, err)
	}
	snap, err := adapter.Query(ctx, refOf(o))
	if err != nil || snap.State != providers.Pending || snap.Next != providers.NextNothing {
		t.Errorf("created: %+v %v", snap, err)
	}
	if err := twin.Visit(created.Redirect, StateAuthorised); err != nil {
		t.Fatal(err)
	}
	snap, err = adapter.Query(ctx, refOf(o))
	if err != nil || snap.State != providers.Pending || snap.Next != providers.NextConfirm {
		t.Errorf("authorised: %+v %v", snap, err)
	}
	snap, err = adapter.Confirm(ctx, providers.ConfirmRequest{Attempt: refOf(o)})
	if err != nil || snap.State != providers.Paid || *snap.Amount != o.Total || !snap.PaidAt.Equal(testNow()) {
		t.Errorf("confirmed: %+v %v", snap, err)
	}
	raw, err := twin.Callback(o.AttemptNo)
	if err != nil {
		t.Fatal(err)
	}
	notice, err := adapter.DecodeCallback(raw)
	if err != nil || notice.Snapshot.State != providers.Paid || raw.Path != testPath {
		t.Errorf("notice: %+v %v", notice, err)
	}
	refunded, err := adapter.Refund(ctx, refundOf(refOf(o)))
	if err != nil || refunded.State != providers.RefundDone {
		t.Errorf("refund: %+v %v", refunded, err)
	}
	snap, err = adapter.Query(ctx, refOf(o))
	if err != nil || len(snap.Refunds) != 1 || snap.Refunds[0].RefundID != "R-1" || snap.State != providers.Paid || !snap.RefundsComplete {
		t.Errorf("after the refund: %+v %v", snap, err)
	}
	if twin.Calls(providers.OpQuery, o.AttemptNo) != 4 || twin.Effects(providers.OpConfirm, o.AttemptNo) != 1 {
		t.Errorf("%d queries, %d confirms", twin.Calls(providers.OpQuery, o.AttemptNo), twin.Effects(providers.OpConfirm, o.AttemptNo))
	}
}

func TestTwinFollowsItsScript(t *testing.T) {
	for name, c := range map[string]struct {
		step   Step
		kind   providers.Kind // of the confirm's error; below zero: none
		effect int
	}{
		"carried out, answer dropped":     {Step{Do: true, Answer: Drop}, providers.OutcomeUnknown, 1},
		"not carried out, answer dropped": {Step{Answer: Drop}, providers.OutcomeUnknown, 0},
		"carried out, 500":                {Step{Do: true, Answer: Status500}, providers.OutcomeUnknown, 1},
		"garbage":                         {Step{Do: true, Answer: Garbage}, providers.OutcomeUnknown, 1},
		"forged":                          {Step{Answer: Forged}, providers.OutcomeUnknown, 0},
		"declined":                        {Step{Answer: Decline}, providers.Declined, 0},
		"missing":                         {Step{Answer: Missing}, providers.NotFound, 0},
		"limited":                         {Step{Answer: Limited}, providers.RateLimited, 0},
		"answered, not carried out":       {Step{}, -1, 0},
		"another attempt":                 {Step{Do: true, Change: func(m *Message) { m.AttemptNo = "X" }}, providers.OutcomeUnknown, 1},
		"fine":                            {Step{Do: true}, -1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			twin, adapter := scriptedPair(t, Config{})
			ctx, o := callTime(t), testOrder(t)
			if _, err := adapter.Create(ctx, o); err != nil {
				t.Fatal(err)
			}
			twin.Script(providers.OpConfirm, c.step)
			snap, err := adapter.Confirm(ctx, providers.ConfirmRequest{Attempt: refOf(o)})
			if (err != nil) != (c.kind >= 0) || err != nil && providers.KindOf(err) != c.kind {
				t.Errorf("got %+v, %v", snap, err)
			}
			if got := twin.Effects(providers.OpConfirm, o.AttemptNo); got != c.effect {
				t.Errorf("%d effects", got)
			}
			if paid := twin.Books()[o.AttemptNo].State == StatePaid; paid != (c.effect == 1) {
				t.Errorf("books say paid = %v", paid)
			}
			if got := twin.Calls(providers.OpConfirm, o.AttemptNo); got != 1 {
				t.Errorf("%d calls", got)
			}
		})
	}
}

// A callback may overtake the answer to the call that caused it.
func TestTwinRunsTheHookBeforeTheAnswer(t *testing.T) {
	twin, adapter := scriptedPair(t, Config{})
	ctx, o := callTime(t), testOrder(t)
	if _, err := adapter.Create(ctx, o); err != nil {
		t.Fatal(err)
	}
	early := make(chan providers.State, 1)
	twin.Script(providers.OpConfirm, Step{Do: true, Answer: Drop, Before: func(no string) {
		raw, err := twin.Callback(no)
		n, errDecode := adapter.DecodeCallback(raw)
		if err != nil || errDecode != nil {
			early <- providers.Pending
			return
		}
		early <- n.Snapshot.State
	}})
	if _, err := adapter.Confirm(ctx, providers.ConfirmRequest{Attempt: refOf(o)}); !errors.Is(err, providers.OutcomeUnknown) {
		t.Error(err)
	}
	select {
	case state := <-early:
		if state != providers.Paid {
			t.Errorf("the callback said %s", state)
		}
	default:
		t.Error("no callback came before the answer")
	}
}

func TestTwinHangs(t *testing.T) {
	twin, adapter := scriptedPair(t, Config{})
	ctx, cancel := context.WithCancel(callTime(t))
	o := testOrder(t)
	twin.Script(providers.OpCreate, Step{Do: true, Answer: Hang, Before: func(string) { cancel() }})
	if _, err := adapter.Create(ctx, o); !errors.Is(err, providers.OutcomeUnknown) || twin.Books()[o.AttemptNo].State != StateCreated {
		t.Errorf("%v %+v", err, twin.Books())
	}
}

func TestTwinClosesWhileItHangs(t *testing.T) {
	twin, err := NewTwin(TwinConfig{Secret: signing.NewSecret([]byte(testSecret)), Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	c, arrived := testCodec(t, testSecret), make(chan struct{})
	twin.Script(providers.OpQuery, Step{Answer: Hang, Before: func(string) { close(arrived) }})
	body := `{"attempt_no":"1"}`
	req, err := http.NewRequestWithContext(callTime(t), http.MethodPost, twin.URL()+"/api/query", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = c.seal("query", "n", "/api/query", []byte(body), testNow())
	back := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
		back <- err
	}()
	<-arrived
	twin.Close()
	if err := <-back; err == nil {
		t.Error("a hanging call was answered")
	}
}

func TestFormPost(t *testing.T) {
	twin, adapter := scriptedPair(t, Config{FormPost: true, RedirectLife: time.Minute, Reopen: providers.ReopenReuse})
	ctx, o := callTime(t), testOrder(t)
	created, err := adapter.Create(ctx, o)
	if err != nil || !created.ValidUntil.Equal(testNow().Add(time.Minute)) || len(twin.Books()) != 0 || adapter.Describe().Reopen != providers.ReopenReuse {
		t.Fatal(created, err)
	}
	form := url.Values{}
	for k, v := range created.Redirect.Fields {
		form.Set(k, v)
	}
	resp, err := http.PostForm(created.Redirect.URL, form)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if err := twin.Visit(created.Redirect, StatePaid); err != nil {
		t.Fatal(err)
	}
	p := twin.Books()[o.AttemptNo]
	if p.State != StatePaid || p.Payee != "1136549" || p.Payer != "1361049" || p.Amount != "40" || p.ReturnURL != o.ReturnURL {
		t.Errorf("%+v", p)
	}
	created.Redirect.Fields["sig"] = strings.Repeat("0", 64)
	if twin.Visit(created.Redirect, StatePaid) == nil {
		t.Error("a forged order was accepted")
	}
	if twin.Visit(providers.Redirect{Method: "GET", URL: "https://elsewhere.example"}, "") == nil {
		t.Error("a redirect to elsewhere was followed")
	}
}

func TestCallbackChanges(t *testing.T) {
	twin, adapter := scriptedPair(t, Config{})
	o := testOrder(t)
	if _, err := adapter.Create(callTime(t), o); err != nil {
		t.Fatal(err)
	}
	raw, err := twin.Callback(o.AttemptNo, func(m *Message) { m.State, m.Payee, m.Amount, m.Currency = StateFailed, "9999999", "41", "USD" })
	if err != nil {
		t.Fatal(err)
	}
	n, err := adapter.DecodeCallback(raw)
	if err != nil || n.Snapshot.State != providers.Failed || n.Snapshot.MerchantRef != "9999999" || *n.Snapshot.Amount != (money.Amount{}) {
		t.Errorf("%+v %v", n.Snapshot, err)
	}
	again, err := twin.Callback(o.AttemptNo)
	if err != nil || again.Header.Get(headerNonce) == raw.Header.Get(headerNonce) {
		t.Error("two callbacks share a nonce")
	}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, err := adapter.DecodeCallback(providers.RawCallback{Method: r.Method, Path: r.URL.EscapedPath(), Header: r.Header, Body: body, ReceivedAt: testNow()})
		_, _ = fmt.Fprint(w, err == nil)
	}))
	defer gateway.Close()
	status, body, err := twin.Deliver(callTime(t), gateway.Client(), gateway.URL, again)
	if err != nil || status != 200 || string(body) != "true" {
		t.Errorf("%d %q %v", status, body, err)
	}
}

func TestTwinDoesNotCountForgedCalls(t *testing.T) {
	twin, _ := scriptedPair(t, Config{})
	resp, err := http.Post(twin.URL()+"/api/confirm", "application/json", strings.NewReader(`{"attempt_no":"1"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || twin.Calls(providers.OpConfirm, "1") != 0 {
		t.Error(resp.Status)
	}
}

func TestTwinOnAGivenListener(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	twin := StartTwin(t, TwinConfig{Secret: signing.NewSecret([]byte(testSecret)), Now: testNow, Listener: l})
	if twin.URL() != "http://"+l.Addr().String() {
		t.Error(twin.URL())
	}
}

func TestOpen(t *testing.T) {
	text := `{"URL":"http://127.0.0.1:1","Secret":"` + testSecret + `","FormPost":true}`
	client, err := httpx.New(httpx.Config{Name: "twin", BaseURL: "http://127.0.0.1:1", Network: httpx.Loopback}, httpx.Deps{Now: testNow, Rand: func() uint64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	a, err := Open(func(v any) error { return json.Unmarshal([]byte(text), v) }, Deps{HTTP: client, Now: testNow})
	if err != nil || a.Describe().ServerCreate || a.Describe().Name != ScriptedName {
		t.Fatal(err)
	}
	for name, decode := range map[string]func(any) error{
		"unreadable": func(any) error { return errors.New("line 3") },
		"no url":     func(v any) error { return json.Unmarshal([]byte(`{"Secret":"x"}`), v) },
		"no secret":  func(v any) error { return json.Unmarshal([]byte(`{"URL":"http://127.0.0.1:1"}`), v) },
	} {
		if _, err := Open(decode, Deps{HTTP: client, Now: testNow}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
