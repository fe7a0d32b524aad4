package esun

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// member is one of data's.
type member struct {
	name     string
	form     *regexp.Regexp
	optional bool
}

var (
	merchantNo = member{name: "MID", form: regexp.MustCompile(`^[0-9A-Za-z]{1,15}$`)}
	orderNo    = member{name: "ONO", form: regexp.MustCompile(`^[0-9A-Z]{1,20}$`)}
)

// refusal is a return code, with the reason that the bank keeps to itself.
type refusal struct{ code, why string }

// requestMAC is over the text of data as it was posted.
func requestMAC(data, key string) [sha256.Size]byte { return sha256.Sum256([]byte(data + key)) }

// resultMAC is over the decoded DATA. Unlike in requests a comma stands before the key.
func resultMAC(data, key string) [sha256.Size]byte { return sha256.Sum256([]byte(data + "," + key)) }

// read takes a request apart. With a refusal for what stands in data, what it says of MID and ONO is returned too once both
// are well-formed, to be answered with.
func (b *bank) read(r *http.Request, body []byte, members []member) (map[string]string, *refusal) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		return nil, &refusal{malformed, "want a form in the body and no query string"}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &refusal{malformed, "the form cannot be read"}
	}
	for _, name := range []string{"data", "mac", "ksn"} {
		if len(form[name]) != 1 {
			return nil, &refusal{malformed, "want " + name + " once"}
		}
	}
	if len(form) != 3 {
		return nil, &refusal{malformed, "want data, mac and ksn alone"}
	}
	if form.Get("ksn") != "1" {
		return nil, &refusal{badMAC, "the only key is ksn 1"}
	}
	want := requestMAC(form.Get("data"), b.key)
	mac, err := hex.DecodeString(form.Get("mac"))
	if err != nil || subtle.ConstantTimeCompare(mac, want[:]) != 1 {
		return nil, &refusal{badMAC, "mac is not hex SHA-256 of data and the key"}
	}
	data, err := object(form.Get("data"))
	if err == nil {
		err = check(data, members)
	}
	if err != nil {
		return nil, &refusal{malformed, err.Error()}
	}
	// Index A has G3 for a merchant out of use; the project's notes have no code for it, and GS leaves the order in doubt.
	if !slices.Contains(b.merchants, data["MID"]) {
		return data, &refusal{suspended, "MID is no merchant of ours"}
	}
	return data, nil
}

// object reads a JSON object that holds texts only, each name once.
func object(text string) (map[string]string, error) {
	if !json.Valid([]byte(text)) {
		return nil, errors.New("data is not JSON")
	}
	d := json.NewDecoder(strings.NewReader(text))
	if first, err := d.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.New("data is not a JSON object")
	}
	fields := make(map[string]string)
	for d.More() {
		name, errName := d.Token()
		value, errValue := d.Token()
		if err := errors.Join(errName, errValue); err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		key, _ := name.(string)
		if _, twice := fields[key]; twice {
			return nil, fmt.Errorf("data has %.20q twice", key)
		}
		text, isText := value.(string)
		if !isText {
			return nil, fmt.Errorf("data: %.20q is not a string", key)
		}
		fields[key] = text
	}
	return fields, nil
}

// check holds data against the manual's table.
func check(data map[string]string, members []member) error {
	known := 0
	for _, m := range members {
		value, sent := data[m.name]
		switch {
		case sent && !m.form.MatchString(value):
			return fmt.Errorf("%s is not of the form %s", m.name, m.form)
		case !sent && !m.optional:
			return fmt.Errorf("%s is missing", m.name)
		case sent:
			known++
		}
	}
	if known != len(data) {
		return errors.New("data has a member that the bank does not know")
	}
	return nil
}
