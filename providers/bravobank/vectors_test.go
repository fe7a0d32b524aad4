package bravobank_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"testing"
	"time"

	"pay.taipei/gateway/providers"
)

func orderRequest(t testing.TB) providers.CreateRequest {
	t.Helper()
	bill := func(no string) providers.BillLine {
		return providers.BillLine{BillNo: no, Name: "停車費", Quantity: 1, UnitPrice: twd(t, "20"), Subtotal: twd(t, "20")}
	}
	return providers.CreateRequest{
		OrderNo: "2017061300000016", AttemptNo: "201706130000001601",
		Merchant:      providers.Merchant{Code: "pma", Name: "臺北市停車管理工程處", PayeeMemberID: "1136549"},
		PayerMemberID: "1361049", Lines: []providers.BillLine{bill("H60983881309263"), bill("H61283631217536")},
		Total: twd(t, "40"), Methods: []string{"credit_card", "stored_value", "deposit_account"}, Settlement: providers.Immediate,
		CreatedAt: time.Unix(1497315600, 0), ExpiresAt: time.Unix(1497316200, 999), // 09:10 in Taipei
		ReturnURL: "https://gw.pay.taipei/r/7Zk2", CallbackURL: "https://gw.pay.taipei/callbacks/bravobank-main/7Zk2",
	}
}

func TestVectorsOfTheDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/providers/bravobank.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown []vector
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)\n```").FindAllSubmatch(doc, -1) {
		var v vector
		if err := json.Unmarshal(block[1], &v); err != nil {
			t.Fatal(err)
		}
		shown = append(shown, v)
	}
	if want := vectors(t); len(want) != 8 || !reflect.DeepEqual(shown, want) {
		t.Error("docs/providers/bravobank.md and testdata/vectors.json do not show the same vectors")
	}
}

func TestVectorOrder(t *testing.T) {
	v := vectorOf(t, "order-two-bills")
	created, err := adapter(t).Create(t.Context(), orderRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	want := providers.Created{Redirect: providers.Redirect{Method: "POST", URL: "http://127.0.0.1:8090/order", Fields: v.Expected}}
	if !reflect.DeepEqual(created, want) {
		t.Errorf("got %+v\nJSON %s\nwant JSON %s", created, unb64(t, created.Redirect.Fields["order"]), v.Inputs["json"])
	}
}

func TestVectorNotices(t *testing.T) {
	total := twd(t, "40")
	for id, want := range map[string]providers.Snapshot{
		"notice-paid": {
			State: providers.Paid, Amount: &total, MerchantRef: "1136549", Environment: providers.Demo,
			Method: "deposit_account", PaidAt: time.Unix(1497315870, 0), ProviderTradeNo: "BB2017061300000014",
		},
		"notice-failed": {State: providers.Failed, Amount: &total, MerchantRef: "1136549", Environment: providers.Demo},
	} {
		t.Run(id, func(t *testing.T) {
			raw := callbackOf(t, id)
			n, err := adapter(t).DecodeCallback(raw)
			if err != nil {
				t.Fatal(err)
			}
			if n.AttemptNo != "201706130000001601" || n.KeyID != bankKid || n.Nonce != raw.Header.Get("Bravo-Nonce") || !n.IssuedAt.Equal(stampTime()) {
				t.Errorf("notice %+v", n)
			}
			if !n.Snapshot.PaidAt.Equal(want.PaidAt) {
				t.Errorf("paid at %v", n.Snapshot.PaidAt)
			}
			n.Snapshot.PaidAt = want.PaidAt
			if !reflect.DeepEqual(*n.Snapshot, want) {
				t.Errorf("got %+v, want %+v", *n.Snapshot, want)
			}
		})
	}
}

// vectorBank answers with a vector's bytes.
func vectorBank(t *testing.T, v vector) *fakeBank {
	status, err := strconv.Atoi(v.Inputs["status"])
	if err != nil {
		t.Fatal(err)
	}
	return newFakeBank(t, time.Time{}, func(w http.ResponseWriter, _ seenRequest) {
		w.Header().Set("Bravo-Kid", v.Inputs["kid"])
		w.Header().Set("Bravo-Timestamp", v.Inputs["timestamp"])
		w.Header().Set("Bravo-Signature", v.Expected["signature"])
		w.WriteHeader(status)
		_, _ = w.Write([]byte(v.Inputs["body"]))
	})
}

func vectorTime(t *testing.T, v vector) time.Time {
	t.Helper()
	seconds, err := strconv.ParseInt(v.Inputs["timestamp"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(seconds, 0)
}

func checkSent(t *testing.T, bank *fakeBank, v vector) {
	t.Helper()
	seen := bank.requests()
	if len(seen) != 1 {
		t.Fatalf("%d requests", len(seen))
	}
	if seen[0].path != v.Inputs["path"] || string(seen[0].body) != v.Inputs["body"] {
		t.Errorf("sent %s %s", seen[0].path, seen[0].body)
	}
	for header, want := range map[string]string{
		"Bravo-Kid": v.Inputs["kid"], "Bravo-Timestamp": v.Inputs["timestamp"], "Bravo-Nonce": v.Inputs["nonce"], "Bravo-Signature": v.Expected["signature"],
	} {
		if got := seen[0].header.Values(header); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

func attempt(t testing.TB) providers.AttemptRef {
	t.Helper()
	return providers.AttemptRef{AttemptNo: "201706130000001601", Account: "bravobank-main", Amount: twd(t, "40"), PayeeMemberID: "1136549"}
}

func TestVectorQuery(t *testing.T) {
	q := vectorOf(t, "query")
	bank := vectorBank(t, vectorOf(t, "query-answer-paid"))
	a := adapterAt(t, bank.url, vectorTime(t, q), bytes.NewReader(unb64(t, q.Inputs["nonce"])))
	s, err := a.Query(deadline(t, time.Minute), attempt(t))
	if err != nil {
		t.Fatal(err)
	}
	checkSent(t, bank, q)
	want := []providers.RefundFact{{RefundID: "R-1", ProviderRefundNo: "RF2017061300000001", Amount: twd(t, "20"), State: providers.RefundDone}}
	if s.State != providers.Paid || *s.Amount != twd(t, "40") || !s.RefundsComplete || !reflect.DeepEqual(s.Refunds, want) {
		t.Errorf("snapshot %+v", s)
	}
}

func TestVectorQueryNotFound(t *testing.T) {
	q := vectorOf(t, "query")
	bank := vectorBank(t, vectorOf(t, "query-answer-not-found"))
	a := adapterAt(t, bank.url, vectorTime(t, q), bytes.NewReader(unb64(t, q.Inputs["nonce"])))
	_, err := a.Query(deadline(t, time.Minute), attempt(t))
	if providers.KindOf(err) != providers.NotFound {
		t.Error(err)
	}
}

func refundOf(t testing.TB) providers.RefundRequest {
	t.Helper()
	return providers.RefundRequest{Attempt: attempt(t), RefundID: "R-1", Amount: twd(t, "20"), Reason: "重複繳費"}
}

func TestVectorRefund(t *testing.T) {
	v := vectorOf(t, "refund")
	bank := vectorBank(t, vectorOf(t, "refund-answer-done"))
	a := adapterAt(t, bank.url, vectorTime(t, v), bytes.NewReader(unb64(t, v.Inputs["nonce"])))
	got, err := a.Refund(deadline(t, time.Minute), refundOf(t))
	if err != nil {
		t.Fatal(err)
	}
	checkSent(t, bank, v)
	if got != (providers.RefundResult{ProviderRefundNo: "RF2017061300000001", State: providers.RefundDone}) {
		t.Errorf("%+v", got)
	}
}
