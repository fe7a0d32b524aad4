package sinopac

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"pay.taipei/gateway/signing"
)

// signedText is what is signed of a message: its top-level members that are scalars and not empty, sorted by name without
// regard to case. Objects and arrays are only encrypted: whoever can forge ciphertext can change them.
func signedText(message []byte) (signing.Text, error) {
	if !json.Valid(message) || !utf8.Valid(message) {
		return nil, errors.New("the message is not a JSON document in UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(message))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("the message is not a JSON object")
	}
	var fields []signing.Field
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		name, isName := t.(string)
		var raw json.RawMessage
		if err != nil || !isName || d.Decode(&raw) != nil {
			return nil, errors.New("the message is not a JSON object")
		}
		if folded := strings.ToUpper(name); seen[folded] {
			return nil, fmt.Errorf("member %.40q is repeated", name)
		} else {
			seen[folded] = true
		}
		value, scalar, err := scalarOf(raw)
		if err != nil {
			return nil, err
		}
		if scalar {
			fields = append(fields, signing.Field{Name: name, Value: value})
		}
	}
	return signing.Recipe{SortBy: strings.ToUpper, SkipEmpty: true}.Text(fields), nil
}

// scalarOf is a value as it is signed: a text without its quotes, a number as it is written.
func scalarOf(raw json.RawMessage) (value string, scalar bool, err error) {
	switch text := string(raw); {
	case strings.HasPrefix(text, `"`):
		err = json.Unmarshal(raw, &value)
		return value, true, err
	case text == "null" || strings.HasPrefix(text, "{") || strings.HasPrefix(text, "["):
		return "", false, nil
	default:
		return text, true, nil
	}
}
