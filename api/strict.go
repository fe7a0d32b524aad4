package api

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Codes of what is wrong with the form of a request (problem "malformed").
const (
	codeSyntax        = "syntax"
	codeEncoding      = "invalid_utf8"
	codeSurrogate     = "lone_surrogate"
	codeNUL           = "nul"
	codeDuplicateName = "duplicate_name"
	codeTooDeep       = "too_deep"
	codeTrailing      = "trailing_data"
	codeUnknownField  = "unknown_field"
	codeWrongCase     = "wrong_case"
	codeWrongType     = "wrong_type"
	codeNull          = "null"
	codeRepeated      = "repeated"
)

// maxDepth is how deep arrays and objects may be nested.
const maxDepth = 16

// numberForm is the grammar of numbers in RFC 8259.
var numberForm = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// kind is the type of a JSON value.
type kind int

const (
	kindNull kind = iota
	kindBool
	kindNumber
	kindString
	kindArray
	kindObject
)

// node is a JSON value. Members keep their order; numbers keep their text.
type node struct {
	kind    kind
	text    string // of a string, decoded; of a number or boolean, as written
	members []member
	items   []node
}

type member struct {
	name  string
	value node
}

// parseJSON reads exactly one JSON document (RFC 8259) and refuses what lets two parsers read different things: repeated
// names, invalid UTF-8, lone surrogates, NUL, anything after the document, and nesting deeper than maxDepth. The error is
// a *formError. It does not limit the size: the caller does.
func parseJSON(body []byte) (node, error) {
	p := &jsonParser{in: string(body)}
	n := p.value(1)
	p.blank()
	if p.err == nil && p.pos < len(p.in) {
		p.fail(codeTrailing)
	}
	if p.err != nil {
		return node{}, p.err
	}
	return n, nil
}

// formError is the first thing wrong with a document, and where: a JSON pointer (RFC 6901), empty for the whole.
type formError struct{ at, code string }

// Error names the code and the place, never the content.
func (e *formError) Error() string { return "api: body: " + e.code + " at " + strconv.Quote(e.at) }

type jsonParser struct {
	in   string
	pos  int
	path []string
	err  error
}

func (p *jsonParser) fail(code string) node {
	if p.err == nil {
		p.err = &formError{at: strings.Join(p.path, ""), code: code}
	}
	return node{}
}

func (p *jsonParser) blank() {
	for p.pos < len(p.in) && strings.IndexByte(" \t\r\n", p.in[p.pos]) >= 0 {
		p.pos++
	}
}

// take consumes c after blanks.
func (p *jsonParser) take(c byte) bool {
	p.blank()
	if p.err != nil || p.pos >= len(p.in) || p.in[p.pos] != c {
		return false
	}
	p.pos++
	return true
}

func (p *jsonParser) value(depth int) node {
	p.blank()
	switch rest := p.in[p.pos:]; {
	case p.err != nil:
		return node{}
	case rest == "":
		return p.fail(codeSyntax)
	case rest[0] == '{' || rest[0] == '[':
		if depth > maxDepth {
			return p.fail(codeTooDeep)
		}
		p.pos++
		if rest[0] == '{' {
			return p.object(depth)
		}
		return p.array(depth)
	case rest[0] == '"':
		return node{kind: kindString, text: p.string()}
	default:
		return p.scalar(rest)
	}
}

// scalar reads a number or a literal name: all characters up to the next delimiter.
func (p *jsonParser) scalar(rest string) node {
	end := strings.IndexAny(rest, ",]} \t\r\n")
	if end < 0 {
		end = len(rest)
	}
	word := rest[:end]
	n := node{text: word}
	switch {
	case word == "null":
		n = node{kind: kindNull}
	case word == "true" || word == "false":
		n.kind = kindBool
	case numberForm.MatchString(word):
		n.kind = kindNumber
	case !utf8.ValidString(word):
		return p.fail(codeEncoding)
	default:
		return p.fail(codeSyntax)
	}
	p.pos += end
	return n
}

func (p *jsonParser) object(depth int) node {
	n := node{kind: kindObject}
	if p.take('}') {
		return n
	}
	seen := map[string]bool{}
	for p.err == nil {
		if p.blank(); p.pos >= len(p.in) || p.in[p.pos] != '"' {
			return p.fail(codeSyntax)
		}
		name := p.string()
		p.path = append(p.path, "/"+escapePointer(name))
		if seen[name] {
			return p.fail(codeDuplicateName)
		}
		seen[name] = true
		if !p.take(':') {
			return p.fail(codeSyntax)
		}
		n.members = append(n.members, member{name, p.value(depth + 1)})
		if !p.ends('}') {
			continue
		}
		break
	}
	return n
}

func (p *jsonParser) array(depth int) node {
	n := node{kind: kindArray}
	if p.take(']') {
		return n
	}
	for p.err == nil {
		p.path = append(p.path, "/"+strconv.Itoa(len(n.items)))
		n.items = append(n.items, p.value(depth+1))
		if p.ends(']') {
			break
		}
	}
	return n
}

// ends leaves a member or item and says whether it was the last one.
func (p *jsonParser) ends(closing byte) bool {
	if p.err != nil {
		return true
	}
	p.path = p.path[:len(p.path)-1]
	if p.take(closing) {
		return true
	}
	if !p.take(',') {
		p.fail(codeSyntax)
		return true
	}
	return false
}

// string reads a string; the opening quote is next.
func (p *jsonParser) string() string {
	p.pos++
	var b strings.Builder
	for p.err == nil && p.pos < len(p.in) {
		switch c := p.in[p.pos]; {
		case c == '"':
			p.pos++
			return b.String()
		case c == 0:
			p.fail(codeNUL)
		case c < 0x20:
			p.fail(codeSyntax)
		case c == '\\':
			p.escape(&b)
		default:
			r, size := utf8.DecodeRuneInString(p.in[p.pos:])
			if r == utf8.RuneError && size == 1 {
				p.fail(codeEncoding)
			}
			b.WriteString(p.in[p.pos : p.pos+size])
			p.pos += size
		}
	}
	p.fail(codeSyntax)
	return ""
}

// escape reads one escape; the backslash is next.
func (p *jsonParser) escape(b *strings.Builder) {
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	rest := p.in[p.pos+1:]
	if rest != "" {
		if i := strings.IndexByte(from, rest[0]); i >= 0 {
			b.WriteByte(to[i])
			p.pos += 2
			return
		}
	}
	r, ok := hex4(rest)
	switch {
	case !ok:
		p.fail(codeSyntax)
	case r == 0:
		p.fail(codeNUL)
	case utf16.IsSurrogate(r):
		low, ok := rune(0), false
		if len(rest) > 5 && rest[5] == '\\' {
			low, ok = hex4(rest[6:])
		}
		if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
			p.fail(codeSurrogate)
			return
		}
		b.WriteRune(r)
		p.pos += 12
	default:
		b.WriteRune(r)
		p.pos += 6
	}
}

// hex4 reads u and four hexadecimal digits.
func hex4(s string) (rune, bool) {
	if len(s) < 5 || s[0] != 'u' || strings.Trim(s[1:5], "0123456789abcdefABCDEF") != "" {
		return 0, false
	}
	v, err := strconv.ParseUint(s[1:5], 16, 32)
	return rune(v), err == nil
}

// maxNameEcho is how much of a foreign member name comes back in a pointer, in bytes. A longer name is cut: its beginning
// is enough to find it.
const maxNameEcho = 64

func escapePointer(name string) string {
	if len(name) > maxNameEcho {
		name = strings.ToValidUTF8(name[:maxNameEcho], "")
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// asFormError unwraps what parseJSON returned.
func asFormError(err error) *formError {
	var e *formError
	if errors.As(err, &e) {
		return e
	}
	return &formError{code: codeSyntax}
}
