package mpg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"pay.taipei/gateway/providers/internal/wire"
)

// Result is the content of a notice or answer: its status and message, and the fields of its result, numbers as they are
// written.
type Result struct {
	Status, Message string
	Fields          map[string]string
}

// ParseResult reads an opened notice or an answer: JSON with Status, Message and Result, where Result is an object, a text
// that holds one (some shops get that), or an empty list for none; or, at shops set to it, one form of all fields.
func ParseResult(plain []byte) (Result, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(plain), []byte("{")) {
		form, err := wire.Form(string(plain))
		if err != nil {
			return Result{}, err
		}
		return Result{Status: form["Status"], Message: form["Message"], Fields: form}, nil
	}
	outer, err := wire.Object(plain)
	if err != nil {
		return Result{}, err
	}
	var r Result
	if json.Unmarshal(outer["Status"], &r.Status) != nil || json.Unmarshal(outer["Message"], &r.Message) != nil {
		return Result{}, errors.New("member Status or Message is not a text")
	}
	inner := bytes.TrimSpace(outer["Result"])
	if text, ok := wire.Scalar(inner); ok {
		inner = []byte(text)
	}
	r.Fields = make(map[string]string)
	if len(inner) == 0 || bytes.Equal(inner, []byte("[]")) {
		return r, nil
	}
	members, err := wire.Object(inner)
	if err != nil {
		return Result{}, fmt.Errorf("member Result: %w", err)
	}
	for name, value := range members {
		if text, ok := wire.Scalar(value); ok {
			r.Fields[name] = text
		}
	}
	return r, nil
}
