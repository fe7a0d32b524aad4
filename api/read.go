package api

import (
	"slices"
	"strconv"
	"strings"
)

// Codes of what is wrong with a field (problem "invalid_field"). The router adds some of its own.
const (
	codeRequired    = "required"
	codeFormat      = "format"
	codeTooFew      = "too_few"
	codeTooMany     = "too_many"
	codeTooLong     = "too_long"
	codeRange       = "range"
	codeMismatch    = "mismatch"
	codeDuplicate   = "duplicate"
	codeUnsupported = "unsupported"
	codeCharacter   = "character"
	codeCardNumber  = "card_number"
	codeNotAllowed  = "not_allowed"
)

// fieldError is one thing wrong with one field: a JSON pointer into the body, or the name of a query parameter.
type fieldError struct {
	Field string `json:"field"`
	Code  string `json:"code"`
}

// report collects what is wrong: malformed is answered 400, invalid 422.
type report struct{ malformed, invalid []fieldError }

func (r *report) form(at, code string)  { r.malformed = append(r.malformed, fieldError{at, code}) }
func (r *report) field(at, code string) { r.invalid = append(r.invalid, fieldError{at, code}) }

// object is a JSON object whose members are read by name.
type object struct {
	r       *report
	at      string
	members []member
}

// object accepts an object with the given names and no other.
func (r *report) object(n node, at string, names ...string) (object, bool) {
	if !r.is(n, at, kindObject) {
		return object{}, false
	}
	for _, m := range n.members {
		switch {
		case slices.Contains(names, m.name):
		case slices.ContainsFunc(names, func(s string) bool { return strings.EqualFold(s, m.name) }):
			r.form(at+"/"+escapePointer(m.name), codeWrongCase)
		default:
			r.form(at+"/"+escapePointer(m.name), codeUnknownField)
		}
	}
	return object{r, at, n.members}, true
}

func (r *report) is(n node, at string, k kind) bool {
	if n.kind == k {
		return true
	}
	code := codeWrongType
	if n.kind == kindNull {
		code = codeNull
	}
	r.form(at, code)
	return false
}

func (o object) find(name string) (node, bool) {
	for _, m := range o.members {
		if m.name == name {
			return m.value, true
		}
	}
	return node{}, false
}

// required finds a member of a kind; what is missing is invalid, what is of another kind malformed.
func (o object) required(name string, k kind) (node, bool) {
	n, ok := o.find(name)
	if !ok {
		o.r.field(o.at+"/"+name, codeRequired)
		return node{}, false
	}
	return n, o.r.is(n, o.at+"/"+name, k)
}

// text is a required string that matches, else it is reported with code; the empty string stands for one that was reported.
func (o object) text(name, code string, matches func(string) bool) string {
	n, ok := o.required(name, kindString)
	if !ok {
		return ""
	}
	if !matches(n.text) {
		o.r.field(o.at+"/"+name, code)
		return ""
	}
	return n.text
}

// child is a required object.
func (o object) child(name string, names ...string) (object, bool) {
	n, ok := o.required(name, kindObject)
	if !ok {
		return object{}, false
	}
	return o.r.object(n, o.at+"/"+name, names...)
}

// optional is a string that may be missing.
func (o object) optional(name, missing string) string {
	n, ok := o.find(name)
	if !ok {
		return missing
	}
	o.r.is(n, o.at+"/"+name, kindString)
	return n.text
}

// flag is an optional boolean; missing it is false.
func (o object) flag(name string) bool {
	n, ok := o.find(name)
	return ok && o.r.is(n, o.at+"/"+name, kindBool) && n.text == "true"
}

// words is an optional list of distinct strings that match.
func (o object) words(name string, matches func(string) bool) []string {
	n, ok := o.find(name)
	if !ok {
		return nil
	}
	return o.r.words(n, o.at+"/"+name, matches)
}

// maxWords is how many methods or providers one command may list.
const maxWords = 16

func (r *report) words(n node, at string, matches func(string) bool) []string {
	if !r.is(n, at, kindArray) {
		return nil
	}
	switch {
	case len(n.items) == 0:
		r.field(at, codeTooFew)
	case len(n.items) > maxWords:
		r.field(at, codeTooMany)
		return nil
	}
	var words []string
	for i, item := range n.items {
		itemAt := at + "/" + strconv.Itoa(i)
		switch {
		case !r.is(item, itemAt, kindString):
		case !matches(item.text):
			r.field(itemAt, codeFormat)
		case slices.Contains(words, item.text):
			r.field(itemAt, codeDuplicate)
		default:
			words = append(words, item.text)
		}
	}
	return words
}
