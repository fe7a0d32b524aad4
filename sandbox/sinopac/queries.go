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

// notice is the same pointer for the merchant's server.
func (b *bank) notice(p desk.Payment) (*http.Request, error) {
	body, err := json.Marshal(map[string]string{"ShopNo": p.SaidPayee(), "PayToken": b.token(p, p.Deliveries)})
	if err != nil {
		return nil, fmt.Errorf("sinopac: notice: %w", err)
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, p.Extra["backend"], bytes.NewReader(body))
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
		"APType": "PayOut", "TSNo": p.Extra["ts_no"], "OrderNo": orderNo(p), "ShopNo": p.SaidPayee(), "PayType": "C", "Amount": p.Said() * 100,
		"Status": verdict, "Description": said(p, verdict), "PayDate": "", "Param1": p.Extra["Param1"], "Param2": p.Extra["Param2"], "Param3": p.Extra["Param3"],
		"LeftCCNo": "", "RightCCNo": "", "CCExpDate": "", "CCToken": "",
	}
	if verdict == "S" {
		result["PayDate"], result["LeftCCNo"], result["RightCCNo"], result["CCExpDate"] = stamp(p.PaidAt), "418230", "4321", "3012"
	}
	head["TSResultContent"] = result
	return answer{head, p.Faults.ForgedSignature}
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
	list := []map[string]any{}
	payee := shop
	if in.has("OrderNo") {
		number := in.orderNo()
		if wrong := in.end(); wrong != "" {
			return malformed(shop, wrong)
		}
		if p, ok := b.find(shop, number); ok {
			if p, ok = b.past(p); ok {
				list, payee = append(list, row(p)), p.SaidPayee()
			}
		}
	} else {
		wanted, wrong := filter(in)
		if wrong != "" {
			return malformed(shop, wrong)
		}
		for _, p := range b.desk.Books() {
			if p, ok := b.past(p); ok && p.Payee == shop && wanted(p) && len(list) < maxRows {
				list = append(list, row(p))
			}
		}
	}
	return answer{body: map[string]any{"ShopNo": payee, "Date": stamp(b.desk.Now()), "Status": "S", "Description": succeeded, "OrderList": list}}
}

// filter reads which orders are asked for.
func filter(in *reader) (wanted func(desk.Payment) bool, wrong string) {
	in.choice("PayType", "C")
	flag, kind := in.choice("PayFlag", "Y", "N", "O"), "OrderDateTime"
	if in.has("PayDateTimeS") {
		kind = "PayDateTime"
	}
	from, until := in.moment(kind+"S"), in.moment(kind+"E")
	if from > until {
		in.fail("%sS is after %sE", kind, kind)
	}
	return func(p desk.Payment) bool {
		at := p.OpenedAt
		if kind == "PayDateTime" {
			at = p.PaidAt
		}
		_, its := standing(p)
		return its == flag && !at.IsZero() && from <= stamp(at) && stamp(at) <= until
	}, in.end()
}

// past is a payment as OrderQuery knows it: as it was five minutes ago; not ok: it was not there.
func (b *bank) past(p desk.Payment) (then desk.Payment, ok bool) {
	b.mu.Lock()
	ended := b.ended[p.ID]
	b.mu.Unlock()
	known := b.desk.Now().Add(-behind)
	if p.State == desk.Voided && ended.After(known) {
		p.State = desk.Paid
	}
	if p.State == desk.Expired {
		ended = p.Expires
	}
	if p.PaidAt.After(known) || (p.State != desk.Paid && ended.After(known)) {
		p.State, p.PaidAt, p.Faults = desk.Open, time.Time{}, desk.Faults{}
	}
	p.Refunds = slices.DeleteFunc(p.Refunds, func(r desk.Refund) bool { return r.At.After(known) })
	return p, !p.OpenedAt.After(known)
}

// standing is how the bank writes a payment's state. Only a virtual account's codes are published; these are like them.
func standing(p desk.Payment) (payStatus, payFlag string) {
	switch p.State {
	case desk.Paid:
		return "1C400", "Y"
	case desk.Open, desk.Authorised:
		return "1C100", "N"
	case desk.Failed, desk.Cancelled, desk.Expired, desk.Voided:
	}
	return "1C900", "O"
}

func row(p desk.Payment) map[string]any {
	status, _ := standing(p)
	r := map[string]any{
		"OrderNo": orderNo(p), "TSNo": p.Extra["ts_no"], "Amount": p.Said() * 100, "PayStatus": status, "PayDate": "", "ExpireDate": stamp(p.Expires),
		"RefundFlag": "N", "RefundStatus": "", "RefundAmount": p.Refunded() * 100, "TSDate": stamp(p.OpenedAt),
	}
	if p.State == desk.Paid || p.State == desk.Voided {
		r["PayDate"] = stamp(p.PaidAt)
	}
	if p.State == desk.Voided {
		r["RefundAmount"] = p.Said() * 100
	}
	if p.State == desk.Voided || p.Refunded() > 0 {
		r["RefundFlag"], r["RefundStatus"] = "Y", "S"
	}
	return r
}
