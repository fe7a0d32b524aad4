package mpg

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

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

var (
	sealedForm = regexp.MustCompile(`^[0-9a-fA-F]{32,}$`)
	shaForm    = regexp.MustCompile(`^[0-9A-F]{64}$`)
	anything   = regexp.MustCompile(`^[ -~]{0,40}$`)
)

// Notice opens a posted notice: exactly its documented fields, each once. What is not under the digest (Status, MerchantID and
// Version beside the sealed text) is not given. EncryptType 1 is AES-GCM, whose layout is published nowhere. Only JSON is
// taken: forms are what we seal ourselves.
func (e *Envelope) Notice(body []byte) (Result, error) {
	form, err := wire.Form(string(body))
	if err != nil {
		return Result{}, err
	}
	f := wire.NewFields(form)
	if f.Optional("EncryptType") == "1" {
		return Result{}, ErrEncryptType
	}
	sealed, sum := f.Need("TradeInfo", sealedForm), f.Need("TradeSha", shaForm)
	for _, beside := range []string{"Status", "MerchantID", "Version"} {
		f.Need(beside, anything)
	}
	if err := f.End(); err != nil {
		return Result{}, err
	}
	plain, err := e.Open(sealed, sum)
	if err != nil {
		return Result{}, err
	}
	if len(plain) == 0 || plain[0] != '{' {
		return Result{}, errors.New("what is sealed is no JSON, as was asked for")
	}
	return ParseResult(plain)
}

// ErrEncryptType refuses AES-GCM.
var ErrEncryptType = errors.New("EncryptType 1 (AES-GCM) is not supported: set the shop to AES-CBC")

// Moment is a time as the brands write it, also as old manuals print it, without a space.
func Moment(text string) time.Time { return wire.Moment(text, time.DateTime, "2006-01-0215:04:05") }
