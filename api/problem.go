package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"pay.taipei/gateway/orders"
)

// The codes of problems.
const (
	problemMalformed       = "malformed"
	problemKeyMissing      = "key_missing"
	problemKeyMalformed    = "key_malformed"
	problemUnauthenticated = "unauthenticated"
	problemMerchant        = "merchant_not_allowed"
	problemNotFound        = "not_found"
	problemMethod          = "method_not_allowed"
	problemInFlight        = "in_flight"
	problemReferenceUsed   = "reference_used"
	problemBillInProgress  = "bill_in_progress"
	problemBillPaid        = "bill_paid"
	problemNotPayable      = "not_payable"
	problemTooManyAttempts = "too_many_attempts"
	problemOutcomeUnknown  = "outcome_unknown"
	problemNotRefundable   = "not_refundable"
	problemUndecided       = "refund_undecided"
	problemTooLarge        = "body_too_large"
	problemMediaType       = "unsupported_media_type"
	problemField           = "invalid_field"
	problemKeyReused       = "key_reused"
	problemDeclined        = "declined"
	problemRefundExceeds   = "refund_exceeds"
	problemRefundRefused   = "refund_refused"
	problemRate            = "rate_limited"
	problemInternal        = "internal"
	problemStore           = "store_unavailable"
	problemNoAccount       = "no_account_available"
)

// wording is what a problem says: what happened, why, and what to do next.
type wording struct {
	status         int
	detail, detZH  string
	retryAfterSecs int // 0: no Retry-After
}

// words is the wording of every problem there is.
func words(code string) wording {
	switch code {
	case problemMalformed:
		return wording{400, "The request cannot be read as this API writes it. Correct what errors names; nothing was done.", "請求格式不正確，未執行任何動作。請依 errors 所列修正後再送。", 0}
	case problemKeyMissing:
		return wording{400, "The header Idempotency-Key is required. Choose a new key per command and keep it for retries.", "缺少 Idempotency-Key 標頭。請為每個指令產生新的鍵值，重試時沿用。", 0}
	case problemKeyMalformed:
		return wording{400, "Idempotency-Key must appear once, with 16 to 255 visible ASCII characters, bare or in double quotes.", "Idempotency-Key 須只出現一次，為 16 至 255 個可見 ASCII 字元，可加雙引號。", 0}
	case problemUnauthenticated:
		return wording{401, "The API key is missing, wrong or expired. Send Authorization: Bearer gk_<key id>_<secret> with a live key.", "API 金鑰缺漏、錯誤或已過期。請以有效金鑰送出 Authorization: Bearer gk_<key id>_<secret>。", 0}
	case problemMerchant:
		return wording{403, "This client may not order for this merchant. Use one of its own merchants, or have it added to the configuration.", "此用戶端無權為該商家建立訂單。請改用所屬商家，或請管理者設定。", 0}
	case problemNotFound:
		return wording{404, "There is nothing here for this client. Check the address and the number.", "查無資料。請確認網址與編號。", 0}
	case problemMethod:
		return wording{405, "This address does not take this method. The header Allow lists those it takes.", "此網址不支援該方法，請參考 Allow 標頭。", 0}
	case problemInFlight:
		return wording{409, "The same request, or another one for this order, is being worked on. Send it again, unchanged, after Retry-After.", "相同請求或此訂單的另一請求處理中。請於 Retry-After 秒後以相同內容重送。", 1}
	case problemReferenceUsed:
		return wording{409, "This client_reference belongs to another order of this client. Look it up by client_reference, or use a new one.", "此 client_reference 已用於另一筆訂單。請以其查詢，或改用新的編號。", 0}
	case problemBillInProgress:
		return wording{409, "A bill is being paid in another order. Wait until that order has ended or leave the bill out; from an order of your own, supersede: true takes it if the provider says that it is unpaid. With Retry-After the provider could not tell now: send the same request again then.", "帳單正由另一筆訂單繳費中。請待該訂單結束，或移除該帳單；若為貴方訂單，可用 supersede: true 於業者確認未付款後取代。附有 Retry-After 時，表示業者目前無法確認，請於該秒數後以相同內容重送。", 0}
	case problemBillPaid:
		return wording{409, "A bill has been paid already. Leave it out; do not ask the citizen to pay again.", "帳單已繳費。請移除該帳單，勿讓民眾重複繳費。", 0}
	case problemNotPayable:
		return wording{409, "The order has ended, is frozen or is being cancelled, or a bill of it is in another order: nothing was done. Ask for the order first; place a new one, under a new key, only for bills that are not paid.", "訂單已結束、凍結或取消中，或其帳單已在另一筆訂單，未執行任何動作。請先查詢訂單，僅就未繳費的帳單以新的鍵值另建訂單。", 0}
	case problemTooManyAttempts:
		return wording{409, "The order has had its 99 attempts, and their numbers end there. Cancel it, then place a new order for its bills.", "此訂單的付款嘗試已達上限 99 次。請取消此訂單，再就其帳單另建訂單。", 0}
	case problemOutcomeUnknown:
		return wording{409, "Nobody knows yet whether money moved for this order, so the citizen must not be asked to pay again. Ask for the order until doubt is false; if it is still open then, send the same request again.", "此訂單是否已扣款尚未確定，勿讓民眾重複付款。請查詢訂單直到 doubt 為 false；屆時若仍為 open，再以相同內容重送。", 5}
	case problemNotRefundable:
		return wording{409, "There is nothing to pay back: the order is not paid, or all of it is paid back already or on its way. Look at the actions of the order for what is left.", "沒有可退的款項：訂單未付款，或已全數退款、退款中。請查詢訂單的 actions 確認餘額。", 0}
	case problemUndecided:
		return wording{409, "Another refund of the same payment is not decided yet, and only one may be. Ask for that refund; once it is decided, send the same request again.", "同一筆付款的另一退款尚未確定，同時只能有一筆。請查詢該退款，待其確定後以相同內容重送。", 5}
	case problemTooLarge:
		return wording{413, "The body is larger than 64 KiB. Send fewer lines.", "內容超過 64 KiB。請減少明細筆數。", 0}
	case problemMediaType:
		return wording{415, "The body must be application/json in UTF-8 without content encoding.", "內容須為未經壓縮的 UTF-8 application/json。", 0}
	case problemField:
		return wording{422, "Some fields cannot be accepted. errors names all of them; nothing was done.", "部分欄位不符規定，errors 列出全部欄位，未執行任何動作。", 0}
	case problemKeyReused:
		return wording{422, "This Idempotency-Key was used for another command. Use a new key for a new command.", "此 Idempotency-Key 已用於不同內容的請求。新的指令請使用新的鍵值。", 0}
	case problemDeclined:
		return wording{422, "The provider declined to take this order. No money has moved. The order is still open: choose another provider at once with POST /v1/orders/{no}/attempts, or cancel the order to free its bills.", "支付業者拒絕此訂單，未發生扣款。訂單仍可付款：請立即以 POST /v1/orders/{no}/attempts 改選其他業者，或取消訂單以釋出帳單。", 0}
	case problemRefundExceeds:
		return wording{422, "More is asked for than is left to pay back; nothing was done. Ask for at most the max that the actions of the order tell.", "退款金額超過可退餘額，未執行任何動作。請依訂單 actions 所列 max 以內的金額申請。", 0}
	case problemRefundRefused:
		return wording{422, "A rule of the provider forbids this refund; errors names the rule, and nothing was done. Look at the actions of the order for what is possible, and until or from when.", "依支付業者規則無法辦理此退款，errors 列出該規則，未執行任何動作。請查詢訂單的 actions，了解可辦理的項目與期限。", 0}
	case problemRate:
		return wording{429, "Too many requests from this client. Send again after Retry-After.", "請求過於頻繁。請於 Retry-After 秒後再試。", 1}
	case problemStore:
		return wording{503, "The gateway cannot reach its store, so the outcome is not known here. Send the same request with the same key after Retry-After.", "系統暫時無法存取資料，結果未明。請於 Retry-After 秒後以相同鍵值重送。", 2}
	case problemNoAccount:
		return wording{503, "No provider account can take this order now. No money has moved; send the same request with the same key after Retry-After.", "目前沒有可用的支付業者，未發生扣款。請於 Retry-After 秒後以相同鍵值重送。", 5}
	default:
		return wording{500, "Something went wrong on our side. Send the same request with the same key again; if it persists, report the instance.", "系統發生錯誤。請以相同鍵值重送；若持續發生，請回報 instance 編號。", 0}
	}
}

// problem is an answer of RFC 9457. Its type is always about:blank: the code tells problems apart.
type problem struct {
	Type     string         `json:"type"`
	Title    string         `json:"title"`
	Status   int            `json:"status"`
	Code     string         `json:"code"`
	Detail   string         `json:"detail"`
	DetailZH string         `json:"detail_zh"`
	Instance string         `json:"instance,omitempty"` // the request id; none in a stored answer
	OrderNo  orders.OrderNo `json:"order_no,omitempty"`
	Errors   []fieldError   `json:"errors,omitempty"`

	retryAfter int   // seconds; 0: none
	cause      error // for the log, never for the client
}

// maxErrors is how many faults one answer lists.
const maxErrors = 100

func newProblem(code string, errs ...fieldError) *problem {
	w := words(code)
	return &problem{
		Type: "about:blank", Title: http.StatusText(w.status), Status: w.status, Code: code,
		Detail: w.detail, DetailZH: w.detZH, Errors: errs[:min(len(errs), maxErrors)], retryAfter: w.retryAfterSecs,
	}
}

// Error makes a problem an error that handlers return.
func (p *problem) Error() string { return "api: " + p.Code }

// problemOf words an error for a client. lines are the bills it asked for, to name one. What is none of its business
// becomes "internal": a request id and no text.
func problemOf(err error, clientID string, lines []orders.BillLine) *problem {
	var p *problem
	var bill *orders.BillError
	var account *orders.NoAccountError
	var field *orders.FieldError
	var refused *orders.RefusedError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &bill):
		return billProblem(bill, clientID, lines)
	case errors.As(err, &account):
		p = newProblem(problemNoAccount)
		p.retryAfter = max(wholeSeconds(account.RetryAfter), p.retryAfter)
	case errors.As(err, &field):
		p = newProblem(problemField, fieldError{field.Field, field.Code})
	case errors.As(err, &refused):
		p = newProblem(problemRefundRefused, fieldError{"", refused.Code})
		p.retryAfter = wholeSeconds(refused.RetryAfter)
		return p
	case errors.Is(err, orders.ErrNotFound):
		return newProblem(problemNotFound)
	case errors.Is(err, orders.ErrInFlight):
		return newProblem(problemInFlight)
	case errors.Is(err, orders.ErrKeyReused):
		return newProblem(problemKeyReused)
	case errors.Is(err, orders.ErrReferenceUsed):
		return newProblem(problemReferenceUsed, fieldError{"/client_reference", problemReferenceUsed})
	case errors.Is(err, orders.ErrNotPayable):
		return newProblem(problemNotPayable)
	case errors.Is(err, orders.ErrTooManyAttempts):
		return newProblem(problemTooManyAttempts)
	case errors.Is(err, orders.ErrNotRefundable):
		return newProblem(problemNotRefundable)
	case errors.Is(err, orders.ErrRefundUndecided):
		return newProblem(problemUndecided)
	case errors.Is(err, orders.ErrRefundExceeds):
		return newProblem(problemRefundExceeds, fieldError{"/amount/value", problemRefundExceeds})
	case errors.Is(err, orders.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p = newProblem(problemStore)
	default:
		p = newProblem(problemInternal)
	}
	p.cause = err
	return p
}

// billProblem names the bill by its line, and its holder only to the holder's own client.
func billProblem(b *orders.BillError, clientID string, lines []orders.BillLine) *problem {
	code := problemBillInProgress
	if b.Paid {
		code = problemBillPaid
	}
	var errs []fieldError
	for i, l := range lines {
		if l.BillNo == b.BillNo {
			errs = append(errs, fieldError{"/lines/" + strconv.Itoa(i) + "/bill_no", code})
		}
	}
	p := newProblem(code, errs...)
	p.retryAfter = wholeSeconds(b.RetryAfter)
	if b.Client == clientID {
		p.OrderNo = b.Holder
	}
	return p
}

func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
