package esun

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// maxForm bounds an order's form.
const maxForm = 8 << 10

// orderMembers is the table of txnf014s and txnf014m.
var orderMembers = []member{
	merchantNo, orderNo,
	{name: "TID", form: regexp.MustCompile(`^EC00000[12]$`)},
	{name: "TA", form: regexp.MustCompile(`^[1-9][0-9]{0,9}$`)},
	{name: "U", form: regexp.MustCompile(`^https?://[!-~]+$`)},
	{name: "IC", form: regexp.MustCompile(`^[0-9]{7}$`), optional: true},
	{name: "BPF", form: regexp.MustCompile(`^[YN]$`), optional: true},
}

// instalments are the codes of the test environment; those of production are each merchant's own.
var instalments = map[string]int64{"0100103": 3, "0100106": 6}

// order takes what the payer's browser brings from the merchant, and leads it to the page of the new payment.
func (b *bank) order(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		b.desk.Refuse(w, r, malformed, "the form is cut short or too long")
		return
	}
	p, no := b.enter(r, body)
	if no != nil {
		b.desk.Refuse(w, r, no.code, no.why)
		return
	}
	b.desk.GoTo(w, r, p)
}

func (b *bank) enter(r *http.Request, body []byte) (desk.Payment, *refusal) {
	if b.desk.Panel.Current().Closed {
		return desk.Payment{}, &refusal{suspended, "closed for maintenance"}
	}
	data, no := b.read(r, body, orderMembers)
	if no == nil {
		no = consistent(data)
	}
	if no != nil {
		return desk.Payment{}, no
	}
	amount, err := strconv.ParseInt(data["TA"], 10, 64)
	if err != nil {
		return desk.Payment{}, &refusal{malformed, "TA is not a number"}
	}
	p, err := b.desk.Open(desk.Payment{
		Number: data["ONO"], Payee: data["MID"], Amount: amount, Expires: b.desk.Now().Add(pageLife),
		Extra: map[string]string{"U": data["U"], "IC": data["IC"], "BPF": data["BPF"]},
	})
	switch {
	case errors.Is(err, desk.ErrExists):
		return desk.Payment{}, &refusal{used, "ONO was used before, and is good only once, whatever became of it"}
	case err != nil:
		return desk.Payment{}, &refusal{broken, err.Error()}
	}
	return p, nil
}

// consistent refuses what the table allows member by member but not together.
func consistent(data map[string]string) *refusal {
	u, err := url.Parse(data["U"])
	if err != nil || u.Host == "" || u.User != nil || len(data["U"]) > 60 || strings.ContainsAny(data["U"], "#?&") {
		return &refusal{malformed, "U is not an address of at most 60 characters without #, ? and &"}
	}
	code, byParts := data["IC"]
	switch {
	case byParts != (data["TID"] == "EC000002"):
		return &refusal{malformed, "IC goes with TID EC000002, and only with it"}
	case byParts && data["BPF"] == "Y":
		return &refusal{eitherOr, "bonus points and instalments exclude each other"}
	case byParts && instalments[code] == 0:
		return &refusal{noSuchTerms, "IC is 0100103 or 0100106"}
	}
	return nil
}

// back leads the browser to U with the result, which is signed unless the payer let it come to nothing.
func (b *bank) back(p desk.Payment) desk.Form {
	said := facts(p)
	if outcome(p) == approved {
		said = append(said, fact{"AN", "552199******1856"})
		said = append(said, terms(p)...)
	}
	texts := make([]string, 0, len(said))
	for _, f := range said {
		texts = append(texts, f.name+"="+f.value)
	}
	data := strings.Join(texts, ",")
	query := "DATA=" + url.QueryEscape(data)
	if p.State != desk.Cancelled && p.State != desk.Expired {
		mac := resultMAC(data, b.key)
		if p.Faults.ForgedSignature {
			mac[0] ^= 1
		}
		query += fmt.Sprintf("&MACD=%x", mac)
	}
	return desk.Form{URL: p.Extra["U"] + "?" + query}
}
