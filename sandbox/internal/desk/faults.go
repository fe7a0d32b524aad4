package desk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Faults is how a provider misbehaves. The zero value is an honest one. A payment takes what is on when the payer decides
// about it and keeps it: its notices and what answers say of it lie alike. Hang, Closed, Throttled, and AnswerDropped for
// refunds, hold for API calls while on.
type Faults struct {
	// Next is for how many payments the faults hold before all end, up to 1000; zero: until cleared.
	Next int `json:"next"`

	Late            Duration `json:"late"`             // the notice comes so much later, such as "30s"
	Lost            bool     `json:"lost"`             // the notice never comes
	Duplicated      int      `json:"duplicated"`       // the notice comes so many times more, up to 1000
	Reordered       bool     `json:"reordered"`        // "failed" and "authorising" come after the end
	ForgedSignature bool     `json:"forged_signature"` // the notice's signature is wrong
	WrongAmount     bool     `json:"wrong_amount"`     // one dollar more
	WrongMerchant   bool     `json:"wrong_merchant"`   // payee 9999999
	WrongCurrency   bool     `json:"wrong_currency"`   // JPY
	Hang            bool     `json:"hang"`             // the API never answers
	Throttled       bool     `json:"throttled"`        // the API says that it is asked too much
	AnswerDropped   bool     `json:"answer_dropped"`   // carries out a payment or refund, then closes the connection
	Fail            bool     `json:"fail"`             // the payment is declined
	Closed          bool     `json:"closed"`           // maintenance: nothing is accepted while on
}

// maxCount bounds the faults that are numbers.
const maxCount = 1000

// Duration is written as text, such as "30s".
type Duration time.Duration

// MarshalText writes it as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads it as Go does; negative ones are refused.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%.20q is not a duration like 30s", text)
	}
	*d = Duration(v)
	return nil
}

// Row is one row of a panel: a field of Faults.
type Row struct {
	Name, ZH, EN string // its name in JSON and in the form; what it does
	Sent         string // what its control holds
	Wrong        bool   // what was sent cannot be read

	field any // *bool, *int or *Duration
}

// rows are all fields of f, in its order.
func (f *Faults) rows() []Row {
	return []Row{
		{Name: "next", field: &f.Next, ZH: "接下來幾筆付款之後，異常全部自動關閉；0 表示一直有效。", EN: "For how many payments the faults hold before all end; 0 is until they are switched off."},
		{Name: "late", field: &f.Late, ZH: "通知延後多久才送出，例如 30s 或 5m；0s 表示立刻送出。", EN: "The notice comes so much later, such as 30s or 5m; 0s is at once."},
		{Name: "lost", field: &f.Lost, ZH: "通知永遠不送出，只有主動查詢才會知道結果。", EN: "The notice never comes; only a query tells the outcome."},
		{Name: "duplicated", field: &f.Duplicated, ZH: "同一則通知重複多送幾次。", EN: "The notice comes so many times more."},
		{Name: "reordered", field: &f.Reordered, ZH: "結果通知之後，又送來「失敗」和「處理中」的通知。", EN: "Notices that say failed and authorising come after the end."},
		{Name: "forged_signature", field: &f.ForgedSignature, ZH: "通知的簽章是錯的。", EN: "The notice's signature is wrong."},
		{Name: "wrong_amount", field: &f.WrongAmount, ZH: "對方回報的金額多一元。", EN: "It reports one dollar more."},
		{Name: "wrong_merchant", field: &f.WrongMerchant, ZH: "對方回報的收款方是別人（9999999）。", EN: "It reports another payee (9999999)."},
		{Name: "wrong_currency", field: &f.WrongCurrency, ZH: "對方回報的幣別是日圓。", EN: "It reports Japanese yen."},
		{Name: "hang", field: &f.Hang, ZH: "開啟期間，API 永遠不回應。", EN: "While it is on, the API never answers."},
		{Name: "throttled", field: &f.Throttled, ZH: "開啟期間，API 回應查詢次數過多。", EN: "While it is on, the API says that it is asked too much."},
		{Name: "answer_dropped", field: &f.AnswerDropped, ZH: "付款或退款已經完成，但沒有回應就斷線。", EN: "A payment or refund is carried out, then the connection closes without an answer."},
		{Name: "fail", field: &f.Fail, ZH: "付款被拒絕，不扣款。", EN: "The payment is declined and nothing is charged."},
		{Name: "closed", field: &f.Closed, ZH: "開啟期間系統維護中：API 回應 503，訂單也不受理。", EN: "While it is on, it is closed for maintenance: its API answers 503, and it takes no order."},
	}
}

// Kind is the type of its control.
func (r Row) Kind() string {
	switch r.field.(type) {
	case *bool:
		return "checkbox"
	case *int:
		return "number"
	}
	return "text"
}

// Value is the field as the form sends it; empty for a switch that is off.
func (r Row) Value() string {
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
func (r Row) On() bool { return !slices.Contains([]string{"", "0", "0s"}, r.Value()) }

// set reads the field as the form sent it and says whether it could: a switch comes only
// while it is on, anything else exactly once.
func (r Row) set(sent []string) bool {
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
func (r Row) inRange() bool {
	n, isNumber := r.field.(*int)
	return !isNumber || (*n >= 0 && *n <= maxCount)
}

// Panel is a fault panel: what is on, a page's form for people and JSON for programs. The zero value has every fault and
// all off. It is safe for concurrent use.
type Panel struct {
	Without []string // names of faults that this provider cannot have; set before use

	mu  sync.Mutex
	now Faults
}

// Set replaces the faults; the zero value clears them.
func (p *Panel) Set(f Faults) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = f
}

// Current is what is on.
func (p *Panel) Current() Faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// Take is what the payment that is being decided suffers.
func (p *Panel) Take() Faults {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.now
	if p.now.Next == 1 {
		p.now = Faults{}
	} else if p.now.Next > 1 {
		p.now.Next--
	}
	return f
}

// rows are the rows of f that the panel has.
func (p *Panel) rows(f *Faults) []Row {
	return slices.DeleteFunc(f.rows(), func(r Row) bool { return slices.Contains(p.Without, r.Name) })
}

// Rows are the rows that show what is on.
func (p *Panel) Rows() []Row {
	f := p.Current()
	rows := p.rows(&f)
	for i := range rows {
		rows[i].Sent = rows[i].Value()
	}
	return rows
}

// Post takes the panel's form, or "off" alone, which ends everything. No other site may send it. The problem, in zh-Hant
// and English, is empty when it was carried out; rows hold what was sent when it was not.
func (p *Panel) Post(r *http.Request) (status int, problem [2]string, rows []Row) {
	if new(http.CrossOriginProtection).Check(r) != nil {
		return http.StatusForbidden, [2]string{"這個請求來自其他網站，沒有改變任何設定。請使用本頁的表單。", "This came from another site, so nothing was changed. Use the form on this page."}, p.Rows()
	}
	var f Faults
	form := r.PostForm
	if off := len(form) == 1 && form.Get("off") == "true"; !off {
		var wrong []string
		if f, wrong = p.read(form); len(wrong) > 0 {
			rows = p.Rows()
			for i := range rows {
				rows[i].Sent, rows[i].Wrong = form.Get(rows[i].Name), slices.Contains(wrong, rows[i].Name)
			}
			names := strings.Join(wrong, ", ")
			return http.StatusUnprocessableEntity, [2]string{"沒有改變任何設定，請修正：" + names, "Nothing was changed. Please correct: " + names}, rows
		}
	}
	p.Set(f)
	return http.StatusSeeOther, [2]string{}, nil
}

// read reads the panel's form. wrong names the fields that are missing, repeated, malformed or not known.
func (p *Panel) read(form url.Values) (f Faults, wrong []string) {
	unknown := maps.Clone(form)
	for _, r := range p.rows(&f) {
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

// GetJSON tells what is on.
func (p *Panel) GetJSON(w http.ResponseWriter, _ *http.Request) {
	WriteJSON(w, http.StatusOK, p.Current())
}

// PutJSON replaces the faults.
func (p *Panel) PutJSON(w http.ResponseWriter, r *http.Request) {
	var f Faults
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err == nil {
		err = strict(raw, &f)
	}
	for _, row := range f.rows() {
		switch {
		case err != nil:
		case !row.inRange():
			err = fmt.Errorf("%s must be 0 to %d", row.Name, maxCount)
		case row.On() && slices.Contains(p.Without, row.Name):
			err = fmt.Errorf("%s is no fault of this provider", row.Name)
		}
	}
	if err != nil {
		WriteJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	p.Set(f)
	WriteJSON(w, http.StatusOK, f)
}

// strict reads one JSON document without unknown members and with nothing behind it.
func strict(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something stands after the JSON document")
	}
	return nil
}

// WriteJSON answers with a value of ours, which always can be encoded.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// Drop closes the connection without an answer.
func Drop(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // HTTP/2, which has no connection to give away; an empty answer then
	}
	_ = conn.Close()
}
