package esun

import (
	"encoding/json"
	"net/http"
	"strings"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// reference is the table of txnf0180 and txnf0150.
var reference = []member{merchantNo, orderNo}

// busy is a guess: the manuals do not say how a bank that is closed answers.
func busy(w http.ResponseWriter, throttled bool) {
	if throttled {
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return
	}
	http.Error(w, "closed for maintenance", http.StatusServiceUnavailable)
}

// find is the payment that a call means. A merchant does not see what is another's.
func (b *bank) find(r *http.Request, body []byte) (data map[string]string, p desk.Payment, code string) {
	data, no := b.read(r, body, reference)
	if no != nil {
		return data, desk.Payment{}, no.code
	}
	p, known := b.desk.Find(data["ONO"])
	if !known || p.Payee != data["MID"] {
		return data, desk.Payment{}, unknown
	}
	return data, p, ""
}

// query tells what became of a payment, and nothing of one for which no card was entered.
func (b *bank) query(w http.ResponseWriter, r *http.Request, body []byte) {
	data, p, code := b.find(r, body)
	if code == "" && (p.State == desk.Open || p.State == desk.Expired) {
		code = unknown
	}
	said := refused(code, data)
	if code == "" {
		said = facts(p)
		if outcome(p) == approved {
			said = append(said, fact{"TXNAMOUNT", dollars(p.Said())})
			said = append(said, terms(p)...)
		}
	}
	ono := data["ONO"]
	answer(w, said, ono != "" && strings.Contains("13579", ono[len(ono)-1:]))
}

// cancel takes back an approval, whole and once. The samples of its answer, unlike those of the query, are sound JSON.
func (b *bank) cancel(w http.ResponseWriter, r *http.Request, body []byte) {
	data, p, code := b.find(r, body)
	if code == "" {
		var err error
		if p, err = b.desk.Void(p.Number); err != nil {
			code = wrongState
		}
	}
	said := refused(code, data)
	if code == "" {
		said = facts(p)
	}
	answer(w, said, false)
}

// refused is what is said of a call that was not carried out. MID and ONO are empty when they could not be read.
func refused(code string, data map[string]string) []fact {
	return []fact{{"RC", code}, {"MID", data["MID"]}, {"ONO", data["ONO"]}}
}

// answer writes DATA=, without a MACD: the manuals' tables have none. The return code is that of the transaction. The type
// is what a page of that time has; the manuals name none.
func answer(w http.ResponseWriter, said []fact, quoted bool) {
	txn := make(map[string]string, len(said))
	for _, f := range said {
		txn[f.name] = f.value
	}
	body := struct {
		Code    string `json:"returnCode"`
		Txn     any    `json:"txnData"`
		Version string `json:"version"`
	}{txn["RC"], txn, "2"}
	if quoted {
		text, err := json.Marshal(txn)
		if err != nil {
			http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
			return
		}
		body.Txn = string(text)
	}
	text, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(append([]byte("DATA="), text...)) // the client may have gone
}
