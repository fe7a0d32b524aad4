package bravobank

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fault is one row of the panel: a field of Faults.
type fault struct {
	Name, ZH, EN string // its name in JSON and in the form; what it does
	Sent         string // what its control holds
	Wrong        bool   // what was sent cannot be read

	field any // *bool, *int or *Duration
}

// rows are all fields of f, in its order.
func (f *Faults) rows() []fault {
	return []fault{
		{Name: "next", field: &f.Next, ZH: "接下來幾筆付款之後，異常全部自動關閉；0 表示一直有效。", EN: "For how many payments the faults hold before all end; 0 is until they are switched off."},
		{Name: "late", field: &f.Late, ZH: "通知延後多久才送出，例如 30s 或 5m；0s 表示立刻送出。", EN: "The notice comes so much later, such as 30s or 5m; 0s is at once."},
		{Name: "lost", field: &f.Lost, ZH: "通知永遠不送出，只有主動查詢才會知道結果。", EN: "The notice never comes; only a query tells the outcome."},
		{Name: "duplicated", field: &f.Duplicated, ZH: "同一則通知重複多送幾次。", EN: "The notice comes so many times more."},
		{Name: "reordered", field: &f.Reordered, ZH: "結果通知之後，又送來「失敗」和「處理中」的通知。", EN: "Notices that say failed and authorising come after the end."},
		{Name: "forged_signature", field: &f.ForgedSignature, ZH: "通知的簽章是錯的。", EN: "The notice's signature is wrong."},
		{Name: "wrong_amount", field: &f.WrongAmount, ZH: "銀行回報的金額多一元。", EN: "The bank reports one dollar more."},
		{Name: "wrong_merchant", field: &f.WrongMerchant, ZH: "銀行回報的收款方是別人（9999999）。", EN: "The bank reports another payee (9999999)."},
		{Name: "wrong_currency", field: &f.WrongCurrency, ZH: "銀行回報的幣別是日圓。", EN: "The bank reports Japanese yen."},
		{Name: "hang", field: &f.Hang, ZH: "開啟期間，查詢與退款 API 永遠不回應。", EN: "While it is on, the query and refund API never answers."},
		{Name: "answer_dropped", field: &f.AnswerDropped, ZH: "付款或退款已經完成，但沒有回應就斷線。", EN: "A payment or refund is carried out, then the connection closes without an answer."},
		{Name: "fail", field: &f.Fail, ZH: "付款被拒絕，不扣款。", EN: "The payment is declined and nothing is charged."},
		{Name: "closed", field: &f.Closed, ZH: "開啟期間銀行維護中：API 回應 503，訂單也不受理。", EN: "While it is on, the bank is closed: its API answers 503, and it takes no order."},
	}
}

// Kind is the type of its control.
func (r fault) Kind() string {
	switch r.field.(type) {
	case *bool:
		return "checkbox"
	case *int:
		return "number"
	}
	return "text"
}

// Value is the field as the form sends it; empty for a switch that is off.
func (r fault) Value() string {
	switch v := r.field.(type) {
	case *int:
		return strconv.Itoa(*v)
	case *Duration:
		return time.Duration(*v).String()
	case *bool:
		if *v {
			return "true"
		}
	}
	return ""
}

// On says whether the fault is on.
func (r fault) On() bool { return !slices.Contains([]string{"", "0", "0s"}, r.Value()) }

// set reads the field as the form sent it and says whether it could: a switch comes only
// while it is on, anything else exactly once.
func (r fault) set(sent []string) bool {
	if v, isSwitch := r.field.(*bool); isSwitch {
		*v = len(sent) > 0
		return len(sent) == 0 || slices.Equal(sent, []string{"true"})
	}
	if len(sent) != 1 {
		return false
	}
	switch v := r.field.(type) {
	case *int:
		n, err := strconv.Atoi(sent[0])
		*v = n
		return err == nil && r.inRange()
	case *Duration:
		return v.UnmarshalText([]byte(sent[0])) == nil
	}
	return false
}

// inRange is false for a number out of bounds.
func (r fault) inRange() bool {
	n, isNumber := r.field.(*int)
	return !isNumber || (*n >= 0 && *n <= maxCount)
}

// readFaults reads the panel's form. wrong names the fields that are missing, repeated,
// malformed or not known.
func readFaults(form url.Values) (f Faults, wrong []string) {
	unknown := maps.Clone(form)
	for _, r := range f.rows() {
		if !r.set(form[r.Name]) {
			wrong = append(wrong, r.Name)
		}
		delete(unknown, r.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		wrong = append(wrong, fmt.Sprintf("%.40q", name))
	}
	return f, wrong
}

func (b *Bank) showPanel(v *visit) { b.panel(v, http.StatusOK, nil, nil) }

// setFaults takes the panel's form, or "off" alone, which ends everything. No other site
// may send it.
func (b *Bank) setFaults(v *visit) {
	if new(http.CrossOriginProtection).Check(v.r) != nil {
		v.Problem = [2]string{"這個請求來自其他網站，沒有改變任何設定。請使用本頁的表單。", "This came from another site, so nothing was changed. Use the form on this page."}
		b.panel(v, http.StatusForbidden, nil, nil)
		return
	}
	var f Faults
	form := v.r.PostForm
	if off := len(form) == 1 && form.Get("off") == "true"; !off {
		var wrong []string
		if f, wrong = readFaults(form); len(wrong) > 0 {
			names := strings.Join(wrong, ", ")
			v.Problem = [2]string{"沒有改變任何設定，請修正：" + names, "Nothing was changed. Please correct: " + names}
			b.panel(v, http.StatusUnprocessableEntity, form, wrong)
			return
		}
	}
	b.SetFaults(f)
	http.Redirect(v.w, v.r, v.r.URL.RequestURI(), http.StatusSeeOther)
}

// panel shows what is on, with controls that hold what was sent or, if nothing was, the same.
func (b *Bank) panel(v *visit, status int, sent url.Values, wrong []string) {
	now := b.current()
	v.Faults = now.rows()
	for i := range v.Faults {
		r := &v.Faults[i]
		if r.Sent, r.Wrong = r.Value(), slices.Contains(wrong, r.Name); sent != nil {
			r.Sent = sent.Get(r.Name)
		}
	}
	b.show(v, status, "faults.html")
}
