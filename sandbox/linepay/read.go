package linepay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxAmount bounds every number of a body: nine digits, whose products and sums fit an int64.
const maxAmount = 999_999_999

var (
	wholeForm    = regexp.MustCompile(`^(0|[1-9][0-9]{0,8})$`)
	positiveForm = regexp.MustCompile(`^[1-9][0-9]{0,8}$`)
	textForm     = regexp.MustCompile(`^\PC+$`) // no control characters
	orderForm    = regexp.MustCompile(`^\PC{1,100}$`)
	localeForm   = regexp.MustCompile(`^[a-z]{2}(_[A-Z]{2})?$`)
	clientForm   = regexp.MustCompile(`^CLIENT$`)
	normalForm   = regexp.MustCompile(`^NORMAL$`)
)

// rule says what is wrong with a value; at is where it stands, such as "packages[0].amount".
type rule func(at string, v any) answer

// read holds a body to a rule, and then reads it: encoding/json alone lets mis-cased and repeated members pass. An empty body
// counts as {}, since some clients send nothing where nothing is asked for.
func read(body []byte, fits rule, into any) answer {
	if len(body) == 0 {
		body = []byte("{}")
	}
	if !json.Valid(body) || !utf8.Valid(body) {
		return say("2102", "the body is not JSON in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := value(d)
	if err != nil {
		return say("2101", "the body "+err.Error())
	}
	if a := fits("the body", v); a.Code != "" {
		return a
	}
	if err := json.Unmarshal(body, into); err != nil {
		return say("2101", "the body "+err.Error())
	}
	return answer{}
}

// value is the next value of valid JSON, whose objects must not repeat a member.
func value(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil || t != json.Delim('{') && t != json.Delim('[') {
		return t, err
	}
	members, list := map[string]any{}, []any{}
	for d.More() {
		var name any
		if t == json.Delim('{') {
			if name, err = d.Token(); err != nil {
				return nil, err
			}
		}
		v, err := value(d)
		if err != nil {
			return nil, err
		}
		if text, ok := name.(string); !ok {
			list = append(list, v)
		} else if _, twice := members[text]; twice {
			return nil, fmt.Errorf("has %.40q twice", text)
		} else {
			members[text] = v
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if t == json.Delim('[') {
		return list, nil
	}
	return members, nil
}

// object has these members and no others. A name with a question mark may be missing; its value must not be null.
func object(members map[string]rule) rule {
	return func(at string, v any) answer {
		sent, ok := v.(map[string]any)
		if !ok {
			return say("2101", at+" must be an object")
		}
		left := maps.Clone(sent)
		for _, key := range slices.Sorted(maps.Keys(members)) {
			name, optional := strings.CutSuffix(key, "?")
			v, there := sent[name]
			if !there && !optional {
				return say("2101", at+" lacks "+name)
			}
			if there {
				if a := members[key](strings.TrimPrefix(at+"."+name, "the body."), v); a.Code != "" {
					return a
				}
			}
			delete(left, name)
		}
		for name := range left {
			return say("2101", fmt.Sprintf("%s has %.40q, which is not known", at, name))
		}
		return answer{}
	}
}

// some is an array of at least one.
func some(each rule) rule {
	return func(at string, v any) answer {
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return say("2101", at+" must be an array with something in it")
		}
		for i, v := range list {
			if a := each(fmt.Sprintf("%s[%d]", at, i), v); a.Code != "" {
				return a
			}
		}
		return answer{}
	}
}

// like is a text of one form. What the double does not serve is refused like what LINE Pay does not know.
func like(form *regexp.Regexp) rule {
	return func(at string, v any) answer {
		if s, ok := v.(string); !ok || !form.MatchString(s) {
			return say("2101", at+" must be text like "+form.String())
		}
		return answer{}
	}
}

// text has no limit that the document tells.
func text(at string, v any) answer { return like(textForm)(at, v) }

// whole is a number of dollars or things; positive is one above zero.
func whole(at string, v any) answer    { return number(at, v, wholeForm) }
func positive(at string, v any) answer { return number(at, v, positiveForm) }

func number(at string, v any, form *regexp.Regexp) answer {
	n, ok := v.(json.Number)
	switch {
	case !ok:
		return say("2101", at+" must be a number")
	case !form.MatchString(n.String()):
		return say("1124", at+" must be a number like "+form.String())
	}
	return answer{}
}

func flag(at string, v any) answer {
	if _, ok := v.(bool); !ok {
		return say("2101", at+" must be true or false")
	}
	return answer{}
}

// dollars is the one currency here.
func dollars(at string, v any) answer {
	switch s, ok := v.(string); {
	case !ok:
		return say("2101", at+" must be text")
	case s != "TWD":
		return say("1178", at+" must be TWD")
	}
	return answer{}
}

// link is an absolute address of the merchant's. The id that LINE Pay appends cannot be in it yet.
func link(at string, v any) answer {
	s, _ := v.(string)
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Query().Has("transactionId") {
		return say("2101", at+" must be an absolute http or https address without a transactionId")
	}
	return answer{}
}
