package sinopac

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// minute is how the bank writes times.
const minute = "200601021504"

// stamp writes a time; empty for the zero time, of what has not happened.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(desk.Taipei()).Format(minute)
}

// member is one of a JSON object, with its value as it was written.
type member struct {
	name  string
	value []byte
}

// scalar is the value as it is signed; empty for null and for what is nested.
func (m member) scalar() string {
	switch m.value[0] {
	case '{', '[', 'n':
		return ""
	case '"':
		var text string
		_ = json.Unmarshal(m.value, &text) // the decoder has accepted it
		return text
	}
	return string(m.value)
}

// membersOf reads one object. encoding/json would take names in any case, and the last of those that are repeated.
func membersOf(raw []byte) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if start, err := d.Token(); err != nil || start != json.Delim('{') || !utf8.Valid(raw) {
		return nil, errors.New("not a JSON object in UTF-8")
	}
	var all []member
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, errors.New("not JSON")
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, errors.New("not JSON")
		}
		m := member{fmt.Sprint(name), bytes.TrimSpace(value)}
		if slices.ContainsFunc(all, func(other member) bool { return other.name == m.name }) {
			return nil, fmt.Errorf("%.40q stands twice", m.name)
		}
		all = append(all, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, errors.New("not JSON")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind the JSON object")
	}
	return all, nil
}

// reader takes the members of an object one by one. It and those of what is nested keep the first thing that is wrong.
type reader struct {
	members []member
	taken   []string
	wrong   *string
}

func newReader(raw []byte) (*reader, error) {
	members, err := membersOf(raw)
	return &reader{members: members, wrong: new(string)}, err
}

func (r *reader) fail(format string, args ...any) {
	if *r.wrong == "" {
		*r.wrong = fmt.Sprintf(format, args...)
	}
}

func (r *reader) has(name string) bool {
	return slices.ContainsFunc(r.members, func(m member) bool { return m.name == name })
}

func (r *reader) take(name string) (member, bool) {
	r.taken = append(r.taken, name)
	i := slices.IndexFunc(r.members, func(m member) bool { return m.name == name })
	if i < 0 {
		return member{}, false
	}
	return r.members[i], true
}

// text is a string of so many characters. With least 0 it may be missing.
func (r *reader) text(name string, least, most int) string {
	m, ok := r.take(name)
	switch {
	case !ok && least == 0:
		return ""
	case !ok:
		r.fail("%s is missing", name)
		return ""
	case m.value[0] != '"':
		r.fail("%s must be a string", name)
		return ""
	}
	text := m.scalar()
	if n := utf8.RuneCountInString(text); n < least || n > most {
		r.fail("%s must have %d to %d characters, not %d", name, least, most, n)
	}
	return text
}

func (r *reader) choice(name string, among ...string) string {
	text := r.text(name, 1, 255)
	if !slices.Contains(among, text) {
		r.fail("%s %.40q cannot be", name, text)
	}
	return text
}

var wholeForm = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)

// whole is a number from 1 to most, which has at most nine digits.
func (r *reader) whole(name string, most int64) int64 {
	m, ok := r.take(name)
	if !ok {
		r.fail("%s is missing", name)
		return 0
	}
	n, err := strconv.ParseInt(string(m.value), 10, 64)
	if err != nil || n > most || !wholeForm.Match(m.value) {
		r.fail("%s must be a whole number from 1 to %d", name, most)
	}
	return n
}

// dollars is an amount, which comes in hundredths.
func (r *reader) dollars() int64 {
	n := r.whole("Amount", 999_999_999)
	if n%100 != 0 {
		r.fail("Amount must be a multiple of 100")
	}
	return n / 100
}

func (r *reader) orderNo() string {
	no := r.text("OrderNo", 1, 50)
	if strings.ContainsAny(no, `'"%`) {
		r.fail(`OrderNo must not have ' " or %%`)
	}
	return no
}

// address is an absolute URL.
func (r *reader) address(name string) string {
	text := r.text(name, 1, 255)
	if u, err := url.Parse(text); err != nil || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		r.fail("%s must be an absolute URL", name)
	}
	return text
}

// moment is a time as it is written, to the minute.
func (r *reader) moment(name string) string {
	text := r.text(name, 12, 12)
	if at, err := time.ParseInLocation(minute, text, desk.Taipei()); err != nil || stamp(at) != text {
		r.fail("%s must be yyyyMMddHHmm", name)
	}
	return text
}

// object is a nested one; an empty one where there is none that can be read.
func (r *reader) object(name string) *reader {
	nested := &reader{wrong: r.wrong}
	m, ok := r.take(name)
	if !ok {
		r.fail("%s is missing", name)
		return nested
	}
	var err error
	if nested.members, err = membersOf(m.value); err != nil {
		r.fail("%s: %v", name, err)
	}
	return nested
}

// end is what is wrong, a member that nobody took included; empty: nothing.
func (r *reader) end() string {
	for _, m := range r.members {
		if !slices.Contains(r.taken, m.name) {
			r.fail("%.40q is not known here", m.name)
		}
	}
	return *r.wrong
}
