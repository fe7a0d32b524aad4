package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"pay.taipei/gateway/signing"
)

// VectorResult is what came of one test vector.
type VectorResult struct {
	ID       string `json:"id"`
	Scheme   string `json:"scheme"`
	Source   string `json:"source,omitempty"` // document, recorded or derived, as the file says
	Pass     bool   `json:"pass"`
	Expected any    `json:"expected"`
	Got      any    `json:"got,omitempty"`
	Err      string `json:"error,omitempty"` // why nothing was made: the vector is wrong, or its scheme is not known
}

// CheckVectors makes every vector of a file again: an object with the member "vectors", or the bare list of them. Each has
// id, scheme, inputs and expected, and should name its source; further members are for people. An error means that the file
// could not be read, and nothing was checked.
func CheckVectors(file []byte, schemes []signing.Scheme) ([]VectorResult, error) {
	type vector struct {
		ID       string         `json:"id"`
		Scheme   string         `json:"scheme"`
		Source   any            `json:"source"`
		Inputs   map[string]any `json:"inputs"`
		Expected any            `json:"expected"`
	}
	var list []vector
	d := json.NewDecoder(bytes.NewReader(file))
	d.UseNumber()
	var err error
	if strings.HasPrefix(strings.TrimSpace(string(file)), "[") {
		err = d.Decode(&list)
	} else {
		var whole struct {
			Vectors []vector `json:"vectors"`
		}
		err = d.Decode(&whole)
		list = whole.Vectors
	}
	if err == nil && !errors.Is(d.Decode(&struct{}{}), io.EOF) {
		err = errors.New("something stands after the vectors")
	}
	if err == nil && len(list) == 0 {
		err = errors.New("there are no vectors: want {\"vectors\": [{\"id\", \"scheme\", \"inputs\", \"expected\"}]}")
	}
	if err != nil {
		return nil, fmt.Errorf("vectors: %w", err)
	}
	known := map[string]signing.Scheme{}
	for _, s := range schemes {
		known[s.Name] = s
	}
	results := make([]VectorResult, len(list))
	for i, v := range list {
		r := VectorResult{ID: v.ID, Scheme: v.Scheme, Expected: v.Expected}
		r.Source, _ = v.Source.(string)
		scheme, ok := known[v.Scheme]
		switch {
		case v.ID == "":
			r.Err = fmt.Sprintf("vectors[%d].id: is missing", i)
		case !ok:
			r.Err = fmt.Sprintf("scheme %q is not known", v.Scheme)
		case v.Expected == nil:
			r.Err = "expected: is missing"
		default:
			if r.Got, err = remake(scheme, v.Inputs); err != nil {
				r.Err = err.Error()
			}
			r.Pass = err == nil && matches(v.Expected, r.Got)
		}
		results[i] = r
	}
	return results, nil
}

// remake runs a scheme; what it makes comes back as decoded JSON.
func remake(s signing.Scheme, values map[string]any) (any, error) {
	in, err := signing.NewInputs(s, values)
	if err != nil {
		return nil, err
	}
	made, err := s.Make(in)
	if err = errors.Join(in.Err(), err); err != nil {
		if in.Err() != nil {
			err = in.Err()
		}
		return nil, err
	}
	text, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var got any
	return got, d.Decode(&got)
}

// matches says whether what was made is what was expected: all of a text or number, of an object each member that is expected.
func matches(expected, got any) bool {
	want, ok := expected.(map[string]any)
	made, isObject := got.(map[string]any)
	if !ok || !isObject {
		return reflect.DeepEqual(expected, got)
	}
	for name, value := range want {
		if member, ok := made[name]; !ok || !matches(value, member) {
			return false
		}
	}
	return len(want) > 0
}
