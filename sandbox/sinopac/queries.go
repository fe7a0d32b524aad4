package sinopac

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

const maxRows = 300

// token points at the result of a payment, for ever. Each delivery has one of its own, and the browser has number 0.
func (b *bank) token(p desk.Payment, delivery int) string {
	verdict := "F"
	if p.State == desk.Paid || p.State == desk.Voided {
		verdict = "S"
	}
	body := fmt.Sprintf("%s%s%08d", p.ID, verdict, delivery)
	return upperHex(append([]byte(body), b.seal(body)...))
}

func (b *bank) seal(body string) []byte {
	mac := hmac.New(sha256.New, b.secret)
	mac.Write([]byte(body))
	return mac.Sum(nil)
}

// resolve finds what a token points at.
func (b *bank) resolve(token string) (p desk.Payment, verdict string, ok bool) {
	raw, err := hex.DecodeString(token)
	at := len(raw) - sha256.Size
	if err != nil || token != strings.ToUpper(token) || at < 10 || !hmac.Equal(raw[at:], b.seal(string(raw[:at]))) {
		return p, "", false
	}
	p, ok = b.byID(string(raw[:at-9]))
	return p, string(raw[at-9]), ok
}

// back is the browser's way to the merchant, with a pointer that nobody signed.
func (b *bank) back(p desk.Payment) desk.Form {
	return desk.Form{URL: p.Extra["return"], Fields: []desk.Field{{Name: "ShopNo", Value: p.SaidPayee()}, {Name: "PayToken", Value: b.token(p, 0)}}}
}

// notice is the same pointer for the merchant's server. It goes out as soon as the payer has decided, which is before the
// capture: a guess, as an article has the bank call after it.
func (b *bank) notice(ctx context.Context, p desk.Payment) (*http.Request, error) {
	body, err := json.Marshal(map[string]string{"ShopNo": p.SaidPayee(), "PayToken": b.token(p, p.Deliveries)})
	if err != nil {
		return nil, fmt.Errorf("sinopac: notice: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Extra["backend"], bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("sinopac: notice: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req, nil
}

func settles(status int, body []byte) bool {
	in, err := newReader(body)
	if err != nil {
		return false
	}
	in.choice("Status", "S")
	return status == http.StatusOK && in.end() == ""
}

// payQuery serves OrderPayQuery. The result is nested, so the signature does not cover it.
func (b *bank) payQuery(shop string, in *reader) answer {
	token := in.text("PayToken", 1, 255)
	if wrong := in.end(); wrong != "" {
		return malformed(shop, wrong)
	}
	head := map[string]any{"ShopNo": shop, "PayToken": token, "Date": stamp(b.desk.Now()), "Status": "S", "Description": succeeded}
	p, verdict, ok := b.resolve(token)
	if !ok || p.Payee != shop {
		head["Status"], head["Description"], head["TSResultContent"] = "F", "S0021 – 查無交易", nil
		return answer{body: head}
	}
	result := map[string]any{
		"APType": "PayOut", "TSNo": p.Extra["ts_no"], "OrderNo": orderNo(p), "ShopNo": p.SaidPayee(), "PayType": "C", "Amount": resultAmount(p),
		"Status": verdict, "Description": said(p, verdict), "PayDate": "", "Param1": p.Extra["Param1"], "Param2": p.Extra["Param2"], "Param3": p.Extra["Param3"],
		"LeftCCNo": "", "RightCCNo": "", "CCExpDate": "", "CCToken": "",
	}
	if verdict == "S" {
		result["PayDate"], result["LeftCCNo"], result["RightCCNo"], result["CCExpDate"] = stamp(p.PaidAt), "418230", "4321", "3012"
	}
	head["TSResultContent"] = result
	return answer{head, p.Faults.ForgedSignature}
}

// resultAmount is a text when the last digit of the order number is odd, and a number otherwise.
func resultAmount(p desk.Payment) any {
	number, cents := orderNo(p), p.Said()*100
	if i := strings.LastIndexAny(number, "0123456789"); i >= 0 && number[i]%2 == 1 {
		return strconv.FormatInt(cents, 10)
	}
	return cents
}

// orderNo is the merchant's number: see elsewhere.
func orderNo(p desk.Payment) string {
	no, _, _ := strings.Cut(p.Number, "%")
	return no
}

func said(p desk.Payment, verdict string) string {
	switch {
	case verdict == "S":
		return succeeded
	case p.State == desk.Cancelled:
		return "S0102 – 付款人取消"
	case p.State == desk.Expired:
		return "S0103 – 逾時未付款"
	}
	return "S0101 – 授權失敗"
}

// orderQuery serves OrderQuery: one order, or those of some time.
func (b *bank) orderQuery(shop string, in *reader) answer {
	wanted := func(known) bool { return true }
	if !in.has("OrderNo") {
		wanted = filter(in)
	}
	return b.list(shop, in, wanted, known.row)
}

// unCapturedQuery serves OrderUnCapturedQuery: what is authorised and waits for its capture, of one order or of all.
func (b *bank) unCapturedQuery(shop string, in *reader) answer {
	return b.list(shop, in, func(k known) bool { return k.State == desk.Paid && k.captured.IsZero() }, known.order)
}

// list answers with the rows of what is wanted, of one order when the message names one.
func (b *bank) list(shop string, in *reader, wanted func(known) bool, row func(known) map[string]any) answer {
	one, number := in.has("OrderNo"), ""
	if one {
		number = in.orderNo()
	}
	if wrong := in.end(); wrong != "" {
		return malformed(shop, wrong)
	}
	rows, payee := []map[string]any{}, shop
	for _, p := range b.desk.Books() {
		k, ok := b.past(p)
		if !ok || p.Payee != shop || (one && orderNo(p) != number) || !wanted(k) || len(rows) == maxRows {
			continue
		}
		rows = append(rows, row(k))
		if one {
			payee = k.SaidPayee()
		}
	}
	return answer{body: map[string]any{"ShopNo": payee, "Date": stamp(b.desk.Now()), "Status": "S", "Description": succeeded, "OrderList": rows}}
}

// filter reads which orders are asked for.
func filter(in *reader) (wanted func(known) bool) {
	in.choice("PayType", "C")
	flag, kind := in.choice("PayFlag", "Y", "N", "O"), "OrderDateTime"
	if in.has("PayDateTimeS") {
		kind = "PayDateTime"
	}
	from, until := in.moment(kind+"S"), in.moment(kind+"E")
	if from > until {
		in.fail("%sS is after %sE", kind, kind)
	}
	return func(k known) bool {
		at := stamp(k.OpenedAt)
		if kind == "PayDateTime" {
			at = stamp(k.captured)
		}
		captured := !k.captured.IsZero()
		// O stands in the notes only. Y and N of the toolkit leave nothing to it.
		return ((flag == "Y" && captured) || (flag == "N" && !captured)) && from <= at && at <= until
	}
}

// known is a payment as the queries know it: as it was five minutes ago.
type known struct {
	desk.Payment
	captured time.Time // zero: not
}

// past looks a payment up among what the queries know; not ok: it was not there.
func (b *bank) past(p desk.Payment) (then known, ok bool) {
	b.mu.Lock()
	ended := b.ended[p.ID]
	b.mu.Unlock()
	moment := b.desk.Now().Add(-behind)
	if p.State == desk.Voided && ended.After(moment) {
		p.State = desk.Paid
	}
	if p.State == desk.Expired {
		ended = p.Expires
	}
	if p.PaidAt.After(moment) || (p.State != desk.Paid && ended.After(moment)) {
		p.State, p.PaidAt, p.Faults = desk.Open, time.Time{}, desk.Faults{}
	}
	p.Refunds = slices.DeleteFunc(p.Refunds, func(r desk.Refund) bool { return r.At.After(moment) })
	return known{p, capturedAt(p, moment)}, !p.OpenedAt.After(moment)
}

// payStatus is guessed: only a virtual account's codes are published, and these are like them.
func (k known) payStatus() string {
	switch {
	case !k.captured.IsZero():
		return "1C400"
	case k.State == desk.Paid:
		return "1C300"
	case k.State == desk.Open:
		return "1C100"
	}
	return "1C900"
}

// order is a row of OrderUnCapturedQuery, all of which OrderQuery has too.
func (k known) order() map[string]any {
	return map[string]any{
		"OrderNo": orderNo(k.Payment), "TSNo": k.Extra["ts_no"], "TSDate": stamp(k.OpenedAt), "ApprovedDate": stamp(k.PaidAt), "ExpireDate": stamp(k.Expires),
		"Amount": k.Said() * 100, "PayType": "C", "PrdtName": k.Title, "Memo": k.Extra["memo"], "PayStatus": k.payStatus(),
	}
}

// row is one of OrderQuery. The toolkit knows of no RefundStatus and RefundAmount; the notes do.
func (k known) row() map[string]any {
	r := k.order()
	r["PayDate"], r["RefundFlag"], r["RefundStatus"], r["RefundAmount"] = stamp(k.captured), "N", "", k.Refunded()*100
	if k.State == desk.Voided {
		r["RefundAmount"] = k.Said() * 100
	}
	if k.State == desk.Voided || k.Refunded() > 0 {
		r["RefundFlag"], r["RefundStatus"] = "Y", "S"
	}
	return r
}
