package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// windowJSON is a window as it is stored. Times are RFC 3339.
type windowJSON struct {
	ID     string     `json:"id"`
	Scope  Scope      `json:"scope"`
	Name   string     `json:"name"`
	Daily  *dailyJSON `json:"daily,omitempty"`
	Start  string     `json:"start,omitempty"`
	End    string     `json:"end,omitempty"`
	Ramp   string     `json:"ramp,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

type dailyJSON struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Weekdays []string `json:"weekdays,omitempty"`
}

// Marshal is the window as JSON, which ParseWindow reads.
func (w *Window) Marshal() ([]byte, error) {
	j := windowJSON{ID: w.ID, Scope: w.Scope, Name: w.Name, Reason: w.Reason}
	start, errStart := instantText(w.Start)
	end, errEnd := instantText(w.End)
	if err := errors.Join(errStart, errEnd); err != nil {
		return nil, fmt.Errorf("policy: window %s: %w", w.ID, err)
	}
	j.Start, j.End = start, end
	if w.Ramp > 0 {
		j.Ramp = w.Ramp.String()
	}
	if d := w.Daily; d != nil {
		j.Daily = &dailyJSON{From: d.From.String(), To: d.To.String()}
		for _, day := range d.Weekdays {
			j.Daily.Weekdays = append(j.Daily.Weekdays, weekdays()[day])
		}
	}
	text, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("policy: window %s: %w", w.ID, err)
	}
	return text, nil
}

// ParseWindow reads a window strictly: no unknown names, none twice or in another case, nothing after it. The error names
// the field. Whether what it names is configured, Validate says.
func ParseWindow(text []byte) (Window, error) {
	var j windowJSON
	err := decode(text, &j)
	if err != nil {
		return Window{}, fmt.Errorf("policy: window: %w", err)
	}
	w := Window{ID: j.ID, Scope: j.Scope, Name: j.Name, Reason: j.Reason}
	if w.Start, err = instant(j.Start); err != nil {
		return Window{}, fmt.Errorf("policy: window: start: %w", err)
	}
	if w.End, err = instant(j.End); err != nil {
		return Window{}, fmt.Errorf("policy: window: end: %w", err)
	}
	if j.Ramp != "" {
		if w.Ramp, err = time.ParseDuration(j.Ramp); err != nil {
			return Window{}, errors.New("policy: window: ramp: want a time such as 10m")
		}
	}
	if j.Daily != nil {
		if w.Daily, err = NewDaily(j.Daily.From, j.Daily.To, j.Daily.Weekdays); err != nil {
			return Window{}, fmt.Errorf("policy: window: daily.%w", err)
		}
	}
	switch w.Scope {
	case ScopeAccount, ScopeProvider, ScopeMerchant:
	default:
		return Window{}, errors.New("policy: window: scope: want account, provider or merchant")
	}
	if w.ID == "" || w.Name == "" {
		return Window{}, errors.New("policy: window: id and name are required")
	}
	if err := w.Check(); err != nil {
		return Window{}, fmt.Errorf("policy: window: %w", err)
	}
	return w, nil
}

func instant(text string) (t time.Time, err error) {
	if text == "" {
		return t, nil
	}
	if t.UnmarshalText([]byte(text)) != nil { // its text is about layouts
		return t, errors.New("want a time such as 2027-01-01T00:00:00+08:00")
	}
	return t, nil
}

func instantText(t time.Time) (string, error) {
	if t.IsZero() {
		return "", nil
	}
	text, err := t.MarshalText()
	return string(text), err
}

// decode reads one JSON value whose names are all known, and refuses what encoding/json lets pass.
func decode(text []byte, to any) error {
	look := json.NewDecoder(bytes.NewReader(text))
	if err := plain(look, "", 0); err != nil {
		return err
	}
	if _, err := look.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(to)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: want another kind of value than %s", cmp.Or(wrong.Field, "all of it"), wrong.Value)
	}
	return err
}

// ourName is what every name of ours looks like. Only they equal no other name when case does not count, as it does not for
// encoding/json.
var ourName = regexp.MustCompile(`^[a-z_]{1,32}$`)

// maxDepth is deeper than anything of ours goes.
const maxDepth = 8

// plain reads a value and refuses names that stand twice or cannot be ours.
func plain(dec *json.Decoder, at string, depth int) error {
	if depth > maxDepth {
		return errors.New("too deep")
	}
	token, err := within(dec)
	if err != nil {
		return err
	}
	if delim, ok := token.(json.Delim); !ok || delim != '{' && delim != '[' {
		return nil
	}
	seen := map[string]bool{}
	for dec.More() {
		field := at
		if token == json.Delim('{') {
			key, err := within(dec)
			if err != nil {
				return err
			}
			text, _ := key.(string)
			if !ourName.MatchString(text) {
				return fmt.Errorf("%.40q: no such name", text)
			}
			field = strings.TrimPrefix(at+"."+text, ".")
			if seen[text] {
				return fmt.Errorf("%s: stands here twice", field)
			}
			seen[text] = true
		}
		if err := plain(dec, field, depth+1); err != nil {
			return err
		}
	}
	_, err = within(dec) // the end of it
	return err
}

// within is the next token where the text must not end yet.
func within(dec *json.Decoder) (json.Token, error) {
	token, err := dec.Token()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return token, err
}
