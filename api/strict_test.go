package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// render writes a tree back as JSON, in order.
func render(b *bytes.Buffer, n node) {
	quoted := func(s string) []byte {
		text, _ := json.Marshal(s)
		return text
	}
	switch n.kind {
	case kindNull:
		b.WriteString("null")
	case kindBool, kindNumber:
		b.WriteString(n.text)
	case kindString:
		b.Write(quoted(n.text))
	case kindArray:
		b.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			render(b, item)
		}
		b.WriteByte(']')
	case kindObject:
		b.WriteByte('{')
		for i, m := range n.members {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(quoted(m.name))
			b.WriteByte(':')
			render(b, m.value)
		}
		b.WriteByte('}')
	}
}

func TestParseJSONReads(t *testing.T) {
	for in, want := range map[string]string{
		` { "a" : [ 1 , -0.5e+3 , true , false , null , "" ] , "b" : { } , "c" : [ ] } `: `{"a":[1,-0.5e+3,true,false,null,""],"b":{},"c":[]}`,
		`"\"\\\/\b\f\n\r\t\u505C\ud83d\ude00"`:                                           `"\"\\/\b\f\n\r\t停😀"`,
		`0`:                                                                              `0`,
		strings.Repeat("[", 16) + strings.Repeat("]", 16):                                strings.Repeat("[", 16) + strings.Repeat("]", 16),
		`{"a~/":{"":1}}`:                                                                 `{"a~/":{"":1}}`,
	} {
		n, err := parseJSON([]byte(in))
		var b bytes.Buffer
		if render(&b, n); err != nil || b.String() != want {
			t.Errorf("%s: %v %s", in, err, &b)
		}
	}
}

func TestParseJSONRefuses(t *testing.T) {
	for in, want := range map[string]formError{
		`{"a~/":{"b":1,"b":2}}`: {"/a~0~1/b", codeDuplicateName},
		`[0,[1,2,{"a":01}]]`:    {"/1/2/a", codeSyntax},
		`[1 2]`:                 {"", codeSyntax},
		`[1,]`:                  {"/1", codeSyntax},
		`{"a":}`:                {"/a", codeSyntax},
		`{"a"}`:                 {"/a", codeSyntax},
		`{,}`:                   {"", codeSyntax},
		`{a:1}`:                 {"", codeSyntax},
		`nul`:                   {"", codeSyntax},
		`NaN`:                   {"", codeSyntax},
		`+1`:                    {"", codeSyntax},
		`.5`:                    {"", codeSyntax},
		`1.`:                    {"", codeSyntax},
		`0x10`:                  {"", codeSyntax},
		`1e`:                    {"", codeSyntax},
		"\"a\tb\"":              {"", codeSyntax},
		`"\x41"`:                {"", codeSyntax},
		`"\u00g0"`:              {"", codeSyntax},
		`"\u+123"`:              {"", codeSyntax},
		`"\`:                    {"", codeSyntax},
		`"open`:                 {"", codeSyntax},
		`"\ud83d\u0041"`:        {"", codeSurrogate},
		`"\ud83dA"`:             {"", codeSurrogate},
		`{"\ud83d":1}`:          {"", codeSurrogate},
		`{"\u0000":1}`:          {"", codeNUL},
		strings.Repeat("[", 17) + strings.Repeat("]", 17): {strings.Repeat("/0", 16), codeTooDeep},
		strings.Repeat(`{"a":`, 40000):                    {strings.Repeat("/a", 16), codeTooDeep},
		`{} {}`:                                           {"", codeTrailing},
		`1,`:                                              {"", codeTrailing},
		"\u00a01":                                         {"", codeSyntax},
		`{"` + strings.Repeat("a", 80) + `":1,"b":[}`: {"/b/0", codeSyntax},
		`{"` + strings.Repeat("長", 80) + `":[nope]}`:  {"/" + strings.Repeat("長", 21) + "/0", codeSyntax},
		`{"x":{"y":[{"z":"\ud800"}]}}`:                {"/x/y/0/z", codeSurrogate},
		`{"x":1,"y":` + "\"\xc0\x80\"" + `}`:          {"/y", codeEncoding},
		`{"x":[1,"a` + "\xff" + `"]}`:                 {"/x/1", codeEncoding},
		`{"x":1,"` + "\xed\xa0\x80" + `":2}`:          {"", codeEncoding},
		`{"x":` + "\xff" + `}`:                        {"/x", codeEncoding},
		`{"x":1` + "\x00" + `}`:                       {"/x", codeSyntax},
	} {
		_, err := parseJSON([]byte(in))
		var e *formError
		if !errors.As(err, &e) || *e != want {
			t.Errorf("%.60s: %v, want %v", in, err, &want)
		}
	}
}

// FuzzStrictJSON compares with encoding/json: what it calls JSON is either read to the same value, or refused for a
// reason of ours; what it does not call JSON is refused.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{scenario, `{"a":[1,-0.5e+3,true,null,"\ud83d\ude00"]}`, `{"a":1,"a":2}`, `"\ud800"`, `[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]`, "\"\xff\"", `{} {}`, `"\u0000"`, `01`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := parseJSON(in)
		if err != nil {
			var e *formError
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if json.Valid(in) && utf8.Valid(in) && (e.code == codeSyntax || e.code == codeTrailing || e.code == codeEncoding) {
				t.Fatalf("%q is JSON, but refused: %v", in, err)
			}
			return
		}
		if !json.Valid(in) {
			t.Fatalf("%q is not JSON, but read", in)
		}
		var ours bytes.Buffer
		render(&ours, n)
		if a, b := standard(t, in), standard(t, ours.Bytes()); !bytes.Equal(a, b) {
			t.Fatalf("%q read as %s, not %s", in, b, a)
		}
	})
}

// standard is what encoding/json reads, written again.
func standard(t *testing.T, in []byte) []byte {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(in))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
