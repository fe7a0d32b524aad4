package signing

import (
	"net/url"
	"slices"
	"strings"
)

// Field is a name and a value of a message that is signed field by field.
type Field struct{ Name, Value string }

// Recipe is how a provider makes one text of fields: name=value, joined with &. The zero value joins them as they come.
//
// Where values are not encoded a value may hold & and =, and then two different messages have one text. Refuse such values
// before signing, and take only the exact fields that a message has, each once, when verifying.
type Recipe struct {
	SortBy    func(name string) string // fields are sorted by what it makes of their names, bytewise; nil: not sorted
	Encode    func(string) string      // of names and values; nil: as they are
	SkipEmpty bool                     // fields without a value are left out
}

// Exact sorts names as they are.
func Exact(name string) string { return name }

// Text is the text of the fields. It does not change them.
func (r Recipe) Text(fields []Field) Text {
	fields = slices.Clone(fields)
	if r.SkipEmpty {
		fields = slices.DeleteFunc(fields, func(f Field) bool { return f.Value == "" })
	}
	if r.SortBy != nil {
		slices.SortStableFunc(fields, func(a, b Field) int { return strings.Compare(r.SortBy(a.Name), r.SortBy(b.Name)) })
	}
	var text Text
	for i, f := range fields {
		if i > 0 {
			text = append(text, '&')
		}
		name, value := f.Name, f.Value
		if r.Encode != nil {
			name, value = r.Encode(name), r.Encode(value)
		}
		text = append(text, name+"="+value...)
	}
	return text
}

// FormEncode encodes as PHP's urlencode does: a space becomes +, and of ASCII only letters, digits, and - _ . stay. Go's
// url.QueryEscape leaves the tilde, too.
func FormEncode(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "~", "%7E") }
