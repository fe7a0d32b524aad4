package newebpay

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// cancel takes a card payment back whole, before the bank fetches it.
func (b *double) cancel(w http.ResponseWriter, r *http.Request, body []byte) {
	p, f, no := b.instructed(r, body, "1.0", []string{"RespondType", "Version", "Amt", "IndexType", "TimeStamp"})
	if no == nil {
		switch {
		case p.State != desk.Paid || closeStatus(&p, b.desk.Now()) != 0:
			no = errState
		case f["Amt"] != strconv.FormatInt(p.Amount, 10):
			no = &refusal{"TRA10050", "金額不符"}
		}
	}
	if no == nil {
		var err error
		if p, err = b.desk.Void(p.Number); err != nil {
			no = errState
		}
	}
	if no != nil {
		refuse(w, no)
		return
	}
	succeed(w, "放棄授權成功", object{{"MerchantID", p.SaidPayee()}, {"Amt", p.Said()}, {"TradeNo", tradeNo(&p)}, {"MerchantOrderNo", p.Number}, {"CheckCode", b.checkCode(&p)}})
}

// close queues a refund of a card payment that the bank has captured.
func (b *double) close(w http.ResponseWriter, r *http.Request, body []byte) {
	p, amount, no := b.refund(r, body)
	if no != nil {
		refuse(w, no)
		return
	}
	succeed(w, "退款資料新增成功", object{{"MerchantID", p.SaidPayee()}, {"Amt", amount}, {"TradeNo", tradeNo(&p)}, {"MerchantOrderNo", p.Number}})
}

// refund holds the lock so that of two refunds at once the second finds the first running.
func (b *double) refund(r *http.Request, body []byte) (p desk.Payment, amount int64, no *refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, f, no := b.instructed(r, body, "1.1", []string{"RespondType", "Version", "Amt", "IndexType", "TimeStamp", "CloseType"}, "Cancel")
	if no != nil {
		return p, 0, no
	}
	amount, err := strconv.ParseInt(f["Amt"], 10, 64)
	if err != nil {
		return p, 0, errAmount
	}
	if no := closable(&p, f, amount, b.desk.Now()); no != nil {
		return p, 0, no
	}
	switch p, err = b.desk.Refund(p.Number, amount); {
	case errors.Is(err, desk.ErrAmount):
		return p, 0, &refusal{"TRA20028", "可退款金額不足"}
	case err != nil:
		return p, 0, errState
	}
	return p, amount, nil
}

// closable says why a payment cannot be refunded now. One refund must have ended before the next begins.
func closable(p *desk.Payment, f map[string]string, amount int64, now time.Time) *refusal {
	captured := closeStatus(p, now)
	switch {
	case f["CloseType"] == "1" && f["Cancel"] == "" && captured > 0:
		return &refusal{"TRA10027", "此訂單已申請過請款，不可重覆請款"}
	case f["CloseType"] != "2" || f["Cancel"] != "" || captured != 3:
		return errState
	case backStatus(p, now) == 1:
		return &refusal{"TRA10045", "該筆交易正在退款中或退款失敗"}
	case amount > p.Amount:
		return &refusal{"TRA10039", "退款金額已超過請款金額，請確認"}
	}
	return nil
}

// instructed opens PostData_ and finds the card payment that it names. Nothing but the keys proves who sent it.
func (b *double) instructed(r *http.Request, body []byte, version string, names []string, optional ...string) (p desk.Payment, f map[string]string, no *refusal) {
	outer, err := formOf(r, body)
	if err != nil {
		return p, nil, incomplete(err.Error())
	}
	if no := exactly(outer, []string{"MerchantID_", "PostData_"}); no != nil {
		return p, nil, no
	}
	plain, opens := b.keys.open(outer["PostData_"])
	switch {
	case !b.payees[outer["MerchantID_"]]:
		return p, nil, errShop
	case !opens:
		return p, nil, &refusal{"TRA10008", "資料加密錯誤"}
	}
	if f, err = sealedForm(plain); err != nil {
		return p, nil, incomplete(err.Error())
	}
	if no := exactly(f, names, append(optional, "MerchantOrderNo", "TradeNo")...); no != nil {
		return p, nil, no
	}
	if no := b.common(f, version); no != nil {
		return p, nil, no
	}
	return b.named(outer["MerchantID_"], f)
}

// named finds a card payment by the number that IndexType points at. The other number may come along, and must not lie.
func (b *double) named(payee string, f map[string]string) (desk.Payment, map[string]string, *refusal) {
	number, trade := f["MerchantOrderNo"], f["TradeNo"]
	switch {
	case f["IndexType"] != "1" && f["IndexType"] != "2":
		return desk.Payment{}, nil, &refusal{"TRA10032", "單號類型只能為數字 1 或 2"}
	case f["IndexType"] == "1" && number == "":
		return desk.Payment{}, nil, &refusal{"TRA10033", "選擇使用商店自訂單號不可空白"}
	case number != "" && !numberForm.MatchString(number):
		return desk.Payment{}, nil, &refusal{"TRA10037", "商家自訂單號錯誤，只允許英數字及_符號"}
	case f["IndexType"] == "2" && trade == "", trade != "" && !tradeForm.MatchString(trade):
		return desk.Payment{}, nil, &refusal{"TRA10038", "選擇使用系統單號格式錯誤"}
	}
	p, found := b.desk.FindWhere(func(p *desk.Payment) bool {
		return p.Payee == payee && p.Method == card && (number == "" || p.Number == number) && (trade == "" || p.Trade == trade)
	})
	if !found {
		return p, nil, errUnknown
	}
	return p, f, nil
}
