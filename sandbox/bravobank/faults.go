package bravobank

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Faults is how the bank misbehaves. The zero value is an honest bank. A payment takes
// what is on when the payer confirms it and keeps it: its notices and its statements in
// answers lie alike. Hang, Closed, and AnswerDropped for refunds, hold for API calls while on.
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

// SetFaults replaces the faults; the zero value clears them.
func (b *Bank) SetFaults(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = f
}

// takeFaults is what the payment that is being confirmed suffers. The caller holds the lock.
func (b *Bank) takeFaults() Faults {
	f := b.faults
	if b.faults.Next == 1 {
		b.faults = Faults{}
	} else if b.faults.Next > 1 {
		b.faults.Next--
	}
	return f
}

func (b *Bank) current() Faults {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.faults
}

func (b *Bank) getFaults(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, b.current())
}

func (b *Bank) putFaults(w http.ResponseWriter, r *http.Request) {
	var f Faults
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err == nil {
		err = decode(raw, &f)
	}
	for _, r := range f.rows() {
		if err == nil && !r.inRange() {
			err = fmt.Errorf("%s must be 0 to %d", r.Name, maxCount)
		}
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	b.SetFaults(f)
	writeJSON(w, http.StatusOK, f)
}

// writeJSON answers with a value of ours, which always can be encoded.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}

// drop closes the connection without an answer.
func drop(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // HTTP/2, which has no connection to give away; an empty answer then
	}
	_ = conn.Close()
}
