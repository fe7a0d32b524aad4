package signing

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Scheme makes again what a published test vector shows: a tag, a ciphertext, a decoded message. With it an integration
// engineer checks a provider's example before any code meets the provider.
type Scheme struct {
	Name   string   // in the vector's member "scheme"
	Inputs []string // the names that Make asks for
	// Make returns what the vector's member "expected" is compared with: a text, or a map whose members are compared one by one.
	Make func(*Inputs) (any, error)
}

// Inputs are the inputs of one vector. The first that is missing or of another kind is kept as the error; what is read
// after it is zero. The zero value has none.
type Inputs struct {
	values map[string]any
	err    error
}

// NewInputs takes decoded JSON, with json.Number for numbers, and refuses names that the scheme does not ask for: an input
// that is misspelt would be left out in silence.
func NewInputs(s Scheme, values map[string]any) (*Inputs, error) {
	for name := range values {
		if !slices.Contains(s.Inputs, name) {
			return nil, fmt.Errorf("inputs.%s: %s has no such input, only %v", name, s.Name, s.Inputs)
		}
	}
	for _, name := range s.Inputs {
		if _, ok := values[name]; !ok {
			return nil, fmt.Errorf("inputs.%s: is missing", name)
		}
	}
	return &Inputs{values: values}, nil
}

// Text is an input that is a string.
func (in *Inputs) Text(name string) string {
	text, ok := in.values[name].(string)
	if !ok {
		in.fail(name, "a string")
	}
	return text
}

// Secret is an input that is the text of a key.
func (in *Inputs) Secret(name string) Secret { return NewSecret([]byte(in.Text(name))) }

// Number is an input that is a whole number.
func (in *Inputs) Number(name string) int64 {
	number, _ := in.values[name].(json.Number)
	n, err := number.Int64()
	if err != nil {
		in.fail(name, "a whole number")
	}
	return n
}

// Object is an input that is an object of texts. A number in it is taken as it is written, null as the empty text.
func (in *Inputs) Object(name string) map[string]string {
	values, ok := in.values[name].(map[string]any)
	if !ok {
		in.fail(name, "an object")
	}
	texts := make(map[string]string, len(values))
	for member, value := range values {
		switch v := value.(type) {
		case nil:
			texts[member] = ""
		case string:
			texts[member] = v
		case json.Number:
			texts[member] = v.String()
		default:
			in.fail(name+"."+member, "a string")
		}
	}
	return texts
}

// Err is the first fault.
func (in *Inputs) Err() error { return in.err }

func (in *Inputs) fail(name, want string) {
	if in.err == nil {
		in.err = fmt.Errorf("inputs.%s: want %s", name, want)
	}
}

// WebhookSchemes are those of the Standard Webhooks 1.0.0 envelope, one for each version of signature: expected is one entry
// of webhook-signature.
func WebhookSchemes() []Scheme {
	of := func(version string) Scheme {
		return Scheme{
			Name: "standard-webhooks-" + version, Inputs: []string{"secret", "msg_id", "timestamp", "body"},
			Make: func(in *Inputs) (any, error) {
				secret, id, at, body := in.Text("secret"), in.Text("msg_id"), in.Number("timestamp"), in.Text("body")
				if in.Err() != nil {
					return nil, in.Err()
				}
				signer, err := ParseWebhookSigner(secret)
				if err != nil {
					return nil, err
				}
				if signer.version != version {
					return nil, fmt.Errorf("inputs.secret: this key signs %s", signer.version)
				}
				return SignWebhook([]*WebhookSigner{signer}, id, time.Unix(at, 0), []byte(body))
			},
		}
	}
	return []Scheme{of(versionHMAC), of(versionEd25519)}
}
