package bravobank

import (
	"fmt"
	"net/http"
	"strings"
)

// What the templates ask of a visit.

// T is one of two texts.
func (v *visit) T(zh, en string) string {
	if v.EN {
		return en
	}
	return zh
}

// Lang is the page's language tag.
func (v *visit) Lang() string { return v.T("zh-Hant-TW", "en") }

// Other is the address of this page in the other language; empty where a GET would
// lead elsewhere.
func (v *visit) Other() string {
	here := v.r.URL.Path + "?lang=" + v.T("en", "zh")
	switch {
	case v.session != nil:
		return here + "&s=" + v.id
	case v.r.Method != http.MethodGet:
		return ""
	}
	return here
}

// Session is the token that forms carry.
func (v *visit) Session() string { return v.id }

// Order is the order as it was signed.
func (v *visit) Order() *order { return v.payment.order }

// Trade is the transaction number.
func (v *visit) Trade() string { return v.payment.trade }

// PaidAt is the time of payment in Taipei.
func (v *visit) PaidAt() string { return v.payment.paidAt.In(taipei()).Format("2006/01/02 15:04:05") }

// Expires is the end of the order in Taipei.
func (v *visit) Expires() string { return v.payment.expires.In(taipei()).Format("15:04") }

// Fee is what the total is above the lines; empty for none.
func (v *visit) Fee() string {
	if v.payment.fee.IsZero() {
		return ""
	}
	return v.Money(v.payment.fee.Value())
}

// PaidBy names the method of a paid payment.
func (v *visit) PaidBy() string { return v.Method(v.payment.method) }

// Problems is what went wrong, in the page's language.
func (v *visit) Problems() string { return v.T(v.Problem[0], v.Problem[1]) }

// Captcha is the text of the picture.
func (v *visit) Captcha() string { return v.captcha }

// Method is the name of a method.
func (v *visit) Method(code string) string {
	switch code {
	case "credit_card":
		return v.T("信用卡", "Credit card")
	case "stored_value":
		return v.T("儲值餘額", "Stored value")
	case "deposit_account":
		return v.T("活期帳戶", "Deposit account")
	}
	return code
}

// Money writes whole dollars with thousands marks, on one line.
func (v *visit) Money(value string) string {
	for i := len(value) - 3; i > 0; i -= 3 {
		value = value[:i] + "," + value[i:]
	}
	return "NT$\u00a0" + value
}

// captchaLetters leaves out what looks alike.
const captchaLetters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

func (b *Bank) newCaptcha() (string, error) {
	random, err := b.random(8)
	if err != nil {
		return "", err
	}
	letters := make([]byte, 5)
	for i := range letters {
		letters[i] = captchaLetters[int(random[i])%len(captchaLetters)]
	}
	return string(letters), nil
}

// newLetters gives a visit whose login failed another captcha.
func (b *Bank) newLetters(v *visit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.sessions[v.id]
	letters, err := b.newCaptcha()
	if ok && err == nil {
		s.captcha, v.captcha = letters, letters
	}
}

func (b *Bank) captchaOf(v *visit) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.sessions[v.r.PathValue("id")]
	if !ok {
		http.NotFound(v.w, v.r)
		return "", false
	}
	return s.captcha, true
}

// captchaText gives the letters away: a demonstration must not lock anybody out.
func (b *Bank) captchaText(v *visit) {
	if letters, ok := b.captchaOf(v); ok {
		v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = v.w.Write([]byte(letters)) // the browser may have gone
	}
}

func (b *Bank) captchaImage(v *visit) {
	letters, ok := b.captchaOf(v)
	if !ok {
		return
	}
	var svg strings.Builder
	svg.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 150 48" width="150" height="48"><rect width="150" height="48" rx="6" fill="#eef2f6"/>` +
		`<path d="M4 34Q40 6 76 28T146 14M6 12Q50 44 92 18T148 38" fill="none" stroke="#9fb3c8" stroke-width="2"/>`)
	for i, c := range letters {
		fmt.Fprintf(&svg, `<text x="%d" y="34" transform="rotate(%d %d 28)" font-family="ui-monospace,monospace" font-size="27" font-weight="700" fill="#243b53">%c</text>`,
			12+i*27, int(c)*7%31-15, 20+i*27, c)
	}
	svg.WriteString(`</svg>`)
	v.w.Header().Set("Content-Type", "image/svg+xml")
	_, _ = v.w.Write([]byte(svg.String())) // the browser may have gone
}
