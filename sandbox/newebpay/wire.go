package newebpay

import (
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"pay.taipei/gateway/signing"
)

// keys are HashKey and HashIV in every use that the manual has for them.
type keys struct {
	narrow, wide *signing.CBC // which pad to 16 bytes and to 32
	digests
}

type digests struct{ sha, value, code *signing.Digest }

func newKeys(key, iv string) (k keys, err error) {
	var errNarrow, errWide, errDigests error
	k.narrow, errNarrow = signing.NewCBC(signing.NewSecret([]byte(key)), signing.NewSecret([]byte(iv)), 16)
	k.wide, errWide = signing.NewCBC(signing.NewSecret([]byte(key)), signing.NewSecret([]byte(iv)), 32)
	k.digests, errDigests = newDigests(key, iv)
	return k, errors.Join(errNarrow, errWide, errDigests)
}

// newDigests has the labels as the manual has them, swapped between the question and the answer of a query.
func newDigests(key, iv string) (d digests, err error) {
	digest := func(before, after string) *signing.Digest {
		made, errDigest := signing.NewDigest(signing.NewSecret([]byte(before)), signing.NewSecret([]byte(after)))
		err = errors.Join(err, errDigest)
		return made
	}
	d.sha = digest("HashKey="+key+"&", "&HashIV="+iv)
	d.value = digest("IV="+iv+"&", "&Key="+key)
	d.code = digest("HashIV="+iv+"&", "&HashKey="+key)
	return d, err
}

func written(d *signing.Digest, t signing.Text) string {
	return strings.ToUpper(hex.EncodeToString(d.Sum(t)))
}

// tradeSha goes with a TradeInfo. It is over the hexadecimal text.
func (d digests) tradeSha(sealed string) string { return written(d.sha, signing.Text(sealed)) }

// checkValue proves a query.
func (d digests) checkValue(amount, payee, number string) string {
	return written(d.value, sorted(signing.Field{Name: "Amt", Value: amount}, signing.Field{Name: "MerchantID", Value: payee},
		signing.Field{Name: "MerchantOrderNo", Value: number}))
}

// checkCode proves an answer, but not the states in it.
func (d digests) checkCode(amount, payee, number, trade string) string {
	return written(d.code, sorted(signing.Field{Name: "Amt", Value: amount}, signing.Field{Name: "MerchantID", Value: payee},
		signing.Field{Name: "MerchantOrderNo", Value: number}, signing.Field{Name: "TradeNo", Value: trade}))
}

func sorted(fields ...signing.Field) signing.Text {
	return signing.Recipe{SortBy: signing.Exact, Encode: signing.FormEncode}.Text(fields)
}

// same compares in constant time. A digest is written in upper case, so another case is another digest.
func same(sent, ours string) bool { return subtle.ConstantTimeCompare([]byte(sent), []byte(ours)) == 1 }

// open reads what a shop sealed. Shops pad to 16 bytes and write small hexadecimal digits, so a text has one sealed form, and
// what opens by other rules is refused like what does not open at all.
func (k keys) open(text string) (plain string, ok bool) {
	sealed, err := hex.DecodeString(text)
	if err != nil {
		return "", false
	}
	opened, err := k.narrow.Open(sealed)
	if err != nil || hex.EncodeToString(k.narrow.Seal(opened)) != text {
		return "", false
	}
	return string(opened), true
}

// formOf reads a posted form in which every field comes once.
func formOf(r *http.Request, body []byte) (map[string]string, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		return nil, errors.New("not a posted form, or with a query in its address")
	}
	return once(string(body))
}

// sealedForm reads the fields of a sealed text, which PHP's http_build_query would write in no other way.
func sealedForm(plain string) (map[string]string, error) {
	for pair := range strings.SplitSeq(plain, "&") {
		name, value, whole := strings.Cut(pair, "=")
		for _, text := range []string{name, value} {
			raw, err := url.QueryUnescape(text)
			if err != nil || !whole || signing.FormEncode(raw) != text || !utf8.ValidString(raw) {
				return nil, fmt.Errorf("%.40q is not encoded as http_build_query does", pair)
			}
		}
	}
	return once(plain)
}

func once(text string) (map[string]string, error) {
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, errors.New("the form cannot be read")
	}
	fields := make(map[string]string)
	for name, sent := range values {
		if len(sent) != 1 {
			return nil, fmt.Errorf("%.40q comes %d times", name, len(sent))
		}
		fields[name] = sent[0]
	}
	return fields, nil
}

// object is a JSON object whose members keep their order, in ASCII as PHP's json_encode writes it.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members.
func (o object) MarshalJSON() ([]byte, error) {
	parts := make([]string, len(o))
	for i, m := range o {
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		parts[i] = fmt.Sprintf("%q:%s", m.name, value)
	}
	var text []byte
	for _, r := range "{" + strings.Join(parts, ",") + "}" {
		if r < utf8.RuneSelf {
			text = append(text, byte(r))
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			text = fmt.Appendf(text, `\u%04x`, unit)
		}
	}
	return text, nil
}

func (o object) text() string {
	text, _ := json.Marshal(o) // of texts and numbers, which always can be encoded
	return string(text)
}
