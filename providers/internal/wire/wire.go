// Package wire reads what providers send, strictly, and tells what a call without an answer means. It is what adapters have in
// common; which members a message has, and what they mean, is each adapter's.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
)

// Lost is the error of a call that got no answer: nothing was sent, or nobody knows what became of it.
func Lost(provider string, op providers.Op, err error) *providers.Error {
	kind := providers.OutcomeUnknown
	if httpx.NotSent(err) {
		kind = providers.Unavailable
	}
	return &providers.Error{Provider: provider, Op: op, Kind: kind, Err: err}
}

// Object reads one JSON object: one document in UTF-8 and no name repeated.
func Object(raw []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(raw) || !utf8.Valid(raw) {
		return nil, errors.New("not a JSON document in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		var value json.RawMessage
		t, err := d.Token()
		name, isName := t.(string)
		if err != nil || !isName || d.Decode(&value) != nil {
			return nil, errors.New("not a JSON object")
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("member %.40q is repeated", name)
		}
		members[name] = value
	}
	return members, nil
}

// Scalar is the text of a JSON string, number or truth value; false: it is none of these.
func Scalar(raw json.RawMessage) (text string, ok bool) {
	switch s := string(raw); {
	case s == "" || s == "null" || strings.HasPrefix(s, "{") || strings.HasPrefix(s, "["):
		return "", false
	case strings.HasPrefix(s, `"`):
		return text, json.Unmarshal(raw, &text) == nil
	default:
		return s, true
	}
}

// Form reads form-encoded fields: in UTF-8 and none repeated.
func Form(encoded string) (map[string]string, error) {
	values, err := url.ParseQuery(encoded)
	if err != nil { // the error quotes what came
		return nil, errors.New("the form cannot be read")
	}
	form := make(map[string]string, len(values))
	for name, list := range values {
		switch {
		case len(list) != 1:
			return nil, fmt.Errorf("field %.40q is repeated", name)
		case !utf8.ValidString(name) || !utf8.ValidString(list[0]):
			return nil, errors.New("the form is not UTF-8")
		}
		form[name] = list[0]
	}
	return form, nil
}

// Fields are the fields of a message that are taken out one by one. The first error sticks.
type Fields struct {
	left map[string]string
	err  error
}

// NewFields takes fields as Form gives them.
func NewFields(form map[string]string) *Fields {
	left := make(map[string]string, len(form))
	for name, value := range form {
		left[name] = value
	}
	return &Fields{left: left}
}

// Scalars takes the scalar members of a JSON object; the others are not there.
func Scalars(members map[string]json.RawMessage) *Fields {
	f := &Fields{left: make(map[string]string, len(members))}
	for name, raw := range members {
		if text, ok := Scalar(raw); ok {
			f.left[name] = text
		}
	}
	return f
}

// Peek is a field's value, which stays.
func (f *Fields) Peek(name string) string { return f.left[name] }

// Optional is a field's value; empty when it is not there.
func (f *Fields) Optional(name string) string {
	value := f.left[name]
	delete(f.left, name)
	return value
}

// Need is the value of a field that must be there and fit.
func (f *Fields) Need(name string, form *regexp.Regexp) string {
	value, there := f.left[name]
	switch {
	case !there:
		f.Fail(fmt.Errorf("field %s is missing", name))
	case !form.MatchString(value):
		f.Fail(fmt.Errorf("field %s is not as documented", name))
	}
	delete(f.left, name)
	return value
}

// Dollars is a field that holds whole New Taiwan dollars.
func (f *Fields) Dollars(name string) money.Amount {
	amount, err := money.Parse(f.Need(name, whole), money.TWD)
	if err != nil {
		f.Fail(fmt.Errorf("field %s: %w", name, err))
	}
	return amount
}

var whole = regexp.MustCompile(`^(0|[1-9][0-9]{0,11})$`)

// Fail keeps an error, unless there is one.
func (f *Fields) Fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// Err is the first error.
func (f *Fields) Err() error { return f.err }

// End is the first error; a field that nobody took is one.
func (f *Fields) End() error {
	for name := range f.left {
		f.Fail(fmt.Errorf("field %.40q is not known", name))
	}
	return f.err
}

// Title is what a provider's page calls an order: the first line's name and how many there are, in at most so many characters
// and without those that the provider refuses.
func Title(lines []providers.BillLine, longest int, without string) string {
	var name []rune
	for _, c := range lines[0].Name {
		if !strings.ContainsRune(without, c) {
			name = append(name, c)
		}
	}
	more := ""
	if len(lines) > 1 {
		more = fmt.Sprintf(" 等 %d 筆", len(lines))
	}
	return string(name[:min(len(name), longest-len([]rune(more)))]) + more
}

// Page checks the address of a provider's page, to which the payer's browser is sent, that came in a field of an answer: https,
// or http too where no real money moves.
func Page(field, address string, play bool) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !play) {
		return fmt.Errorf("%s is no https address", field)
	}
	return nil
}

// Moment is a time in one of some layouts, in Taipei unless it says its offset; the zero time when it is in none of them.
// Times only describe: what was paid is paid, whenever.
func Moment(text string, layouts ...string) time.Time {
	for _, layout := range layouts {
		if at, err := time.ParseInLocation(layout, text, time.FixedZone("", 8*60*60)); err == nil {
			return at
		}
	}
	return time.Time{}
}

// PostForm is a request that posts a form.
func PostForm(path string, form url.Values) httpx.Request {
	return httpx.Request{
		Method: http.MethodPost, Path: path, Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, Body: []byte(form.Encode()),
	}
}

// PlainAck answers a provider that reads the status alone: 200 for what is accepted, else 400 or 503.
func PlainAck(v providers.Verdict) providers.Ack {
	switch v {
	case providers.Accepted:
		return providers.Ack{Status: http.StatusOK, ContentType: "text/plain", Body: []byte("OK")}
	case providers.Refused:
		return providers.Ack{Status: http.StatusBadRequest, ContentType: "text/plain", Body: []byte("refused")}
	case providers.RetryLater:
	}
	return providers.Ack{Status: http.StatusServiceUnavailable, ContentType: "text/plain", Body: []byte("later")}
}
