package newebpay

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// The bounds of asking for numbers that the shop does not have.
const (
	maxUnknown   = 20
	unknownSpan  = time.Hour
	unknownClose = 4 * time.Hour
)

func (b *double) query(w http.ResponseWriter, r *http.Request, body []byte) {
	p, no := b.asked(r, body)
	if no != nil {
		refuse(w, no)
		return
	}
	succeed(w, "查詢成功", b.state(&p, b.desk.Now()))
}

// asked is the payment that a query is about. Its amount is part of its name.
func (b *double) asked(r *http.Request, body []byte) (p desk.Payment, no *refusal) {
	f, err := formOf(r, body)
	if err != nil {
		return p, incomplete(err.Error())
	}
	if no := exactly(f, []string{"MerchantID", "Version", "RespondType", "CheckValue", "TimeStamp", "MerchantOrderNo", "Amt"}); no != nil {
		return p, no
	}
	payee, number := f["MerchantID"], f["MerchantOrderNo"]
	if no := b.common(f, "1.3"); no != nil {
		return p, no
	}
	switch {
	case !b.payees[payee]:
		return p, errShop
	case !numberForm.MatchString(number):
		return p, &refusal{"TRA10037", "商家自訂單號錯誤，只允許英數字及_符號"}
	case !same(f["CheckValue"], b.keys.checkValue(f["Amt"], payee, number)):
		return p, &refusal{"TRA10054", "檢查碼 CheckValue 有錯誤"}
	}
	p, found := b.desk.Find(number)
	found = found && p.Payee == payee && strconv.FormatInt(p.Amount, 10) == f["Amt"]
	return p, b.count(payee, found)
}

// lookups are a shop's questions about numbers that it does not have.
type lookups struct {
	unknown []time.Time // not older than the span
	until   time.Time   // when the query opens again
}

// count refuses questions about unknown numbers, and every question after too many of them.
func (b *double) count(payee string, found bool) *refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.desk.Now()
	l := b.lookups[payee]
	if l == nil {
		l = new(lookups)
		b.lookups[payee] = l
	}
	switch {
	case now.Before(l.until):
		return errLocked
	case found:
		return nil
	}
	l.unknown = slices.DeleteFunc(l.unknown, func(at time.Time) bool { return now.Sub(at) >= unknownSpan })
	if len(l.unknown) == maxUnknown {
		l.unknown, l.until = nil, now.Add(unknownClose)
		return errLocked
	}
	l.unknown = append(l.unknown, now)
	return errUnknown
}

// state is what a query answers of a payment.
func (b *double) state(p *desk.Payment, now time.Time) object {
	status, trade, payTime := tradeStatus(p, now), tradeNo(p), "0000-00-00 00:00:00"
	paid := p.Charges > 0
	if paid {
		payTime = clock(p.PaidAt)
	}
	told := object{
		{"MerchantID", p.SaidPayee()}, {"Amt", p.Said()}, {"TradeNo", trade}, {"MerchantOrderNo", p.Number}, {"TradeStatus", strconv.Itoa(status)},
		{"PaymentType", paymentType(p)}, {"CreateTime", clock(p.OpenedAt)}, {"PayTime", payTime}, {"CheckCode", b.checkCode(p)}, {"FundTime", "0000-00-00"},
	}
	switch p.Method {
	case card:
		respond, auth := cardAnswer(p, paid)
		message := "授權成功"
		if !paid {
			message = "授權失敗"
		}
		told = append(told, object{
			{"RespondCode", respond}, {"Auth", auth}, {"ECI", ""}, {"CloseAmt", strconv.FormatInt(p.Said(), 10)}, {"CloseStatus", strconv.Itoa(closeStatus(p, now))},
			{"BackBalance", strconv.FormatInt(p.Said()-p.Refunded(), 10)}, {"BackStatus", strconv.Itoa(backStatus(p, now))}, {"RespondMsg", message},
			{"Inst", "0"}, {"InstFirst", "0"}, {"InstEach", "0"}, {"PaymentMethod", "CREDIT"}, {"Card6No", "400022"}, {"Card4No", "1111"}, {"AuthBank", "KGI"},
		}...)
	case webATM:
		told = append(told, member{"OrderStatus", status})
	}
	return told
}

// checkCode goes with what is said of a payment, true or not.
func (b *double) checkCode(p *desk.Payment) string {
	return b.keys.checkCode(strconv.FormatInt(p.Said(), 10), p.SaidPayee(), p.Number, tradeNo(p))
}
