package mpg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"
)

// ParseForm reads a posted form strictly: UTF-8, every name once, no stray separators. Values may be empty.
func ParseForm(body []byte) (map[string]string, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
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

// Result is the opened content of a notice: its status and message, and the fields of its result, numbers as they are written.
type Result struct {
	Status, Message string
	Fields          map[string]string
}

// ParseResult reads an opened notice: JSON with Status, Message and Result, where Result is an object or a text that holds
// one (some shops get that); or, at shops set to it, one form of all fields.
func ParseResult(plain []byte) (Result, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(plain), []byte("{")) {
		form, err := ParseForm(plain)
		if err != nil {
			return Result{}, err
		}
		return Result{Status: form["Status"], Message: form["Message"], Fields: form}, nil
	}
	outer, err := object(plain)
	if err != nil {
		return Result{}, err
	}
	var r Result
	if json.Unmarshal(outer["Status"], &r.Status) != nil || json.Unmarshal(outer["Message"], &r.Message) != nil {
		return Result{}, errors.New("member Status or Message is not a text")
	}
	inner := []byte(outer["Result"])
	var quoted string
	if json.Unmarshal(inner, &quoted) == nil {
		inner = []byte(quoted)
	}
	members, err := object(inner)
	if err != nil {
		return Result{}, fmt.Errorf("member Result: %w", err)
	}
	r.Fields = make(map[string]string, len(members))
	for name, value := range members {
		text := strings.TrimSpace(string(value))
		switch {
		case strings.HasPrefix(text, `"`):
			var s string
			if err := json.Unmarshal(value, &s); err != nil {
				return Result{}, fmt.Errorf("member %.40q of Result: %w", name, err)
			}
			r.Fields[name] = s
		case text != "null" && !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "["):
			r.Fields[name] = text
		}
	}
	return r, nil
}

// object reads one JSON object without repeated names.
func object(raw []byte) (map[string]json.RawMessage, error) {
	if !json.Valid(raw) || !utf8.Valid(raw) {
		return nil, errors.New("not a JSON document in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	members := make(map[string]json.RawMessage)
	for d.More() {
		t, err := d.Token()
		name, isName := t.(string)
		var value json.RawMessage
		if err != nil || !isName || d.Decode(&value) != nil {
			return nil, errors.New("not a JSON object")
		}
		if _, twice := members[name]; twice {
			return nil, fmt.Errorf("member %.40q is repeated", name)
		}
		members[name] = value
	}
	if _, err := d.Token(); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New("not a JSON object")
	}
	return members, nil
}
