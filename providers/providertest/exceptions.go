package providertest

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pay.taipei/gateway/internal/httpx"
)

// Exception lets an adapter fail a check for a while: only with a reason, and only until a day.
type Exception struct {
	Adapter string `json:"adapter"`
	Check   string `json:"check"`
	Reason  string `json:"reason"`
	Until   string `json:"until"` // 2006-01-02; the whole day
}

//go:embed exceptions.json
var exceptionsFile []byte

// parseExceptions reads the file strictly: every exception has all four members, about a check that exists.
func parseExceptions(file []byte) ([]Exception, error) {
	var list []Exception
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("exceptions.json: %w", err)
	}
	known := make(map[string]bool)
	for _, c := range checks() {
		known[c.name] = true
	}
	for i, e := range list {
		if _, err := time.Parse(time.DateOnly, e.Until); err != nil || e.Adapter == "" || e.Reason == "" || !known[e.Check] {
			return nil, fmt.Errorf("exceptions.json: exception %d needs an adapter, a check of the kit, a reason and a day such as 2027-06-30", i+1)
		}
	}
	return list, nil
}

// excused is what an adapter's result at a check comes to: a failure under an exception is skipped with its reason while the
// exception holds, and an exception that nothing needs is itself a failure.
func excused(list []Exception, adapter, check string, failure error) error {
	for _, e := range list {
		if e.Adapter != adapter || e.Check != check {
			continue
		}
		until, err := time.Parse(time.DateOnly, e.Until)
		switch {
		case err != nil:
			return err
		case failure == nil:
			return errors.New("exceptions.json excuses this check, which passes: take the exception out")
		case !time.Now().Before(until.AddDate(0, 0, 1)): //nolint:forbidigo // exceptions end by the calendar
			return fmt.Errorf("the exception ended on %s (%s): %w", e.Until, e.Reason, failure)
		}
		return skipped("excepted until " + e.Until + ": " + e.Reason)
	}
	return failure
}

// name is the adapter's name.
func (h Harness) name() string {
	p, err := h.New(Target{URL: "http://127.0.0.1:1", HTTP: new(httpx.Client), Now: func() time.Time { return h.Now }})
	if err != nil {
		return ""
	}
	return p.Describe().Name
}
