package providertest

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// An exception excuses one adapter at one check, with a reason, for as long as it says and no longer than it is needed.
func TestExceptions(t *testing.T) {
	tomorrow, yesterday := time.Now().AddDate(0, 0, 1).Format(time.DateOnly), time.Now().AddDate(0, 0, -1).Format(time.DateOnly)
	fails := errors.New("it fails")
	one := func(until string) []Exception {
		return []Exception{{Adapter: "a", Check: "refund/done", Reason: "the provider is slow", Until: until}}
	}
	for name, c := range map[string]struct {
		list           []Exception
		adapter, check string
		failure        error
		says           string
		skips          bool
	}{
		"none":            {nil, "a", "refund/done", fails, "it fails", false},
		"holds":           {one(tomorrow), "a", "refund/done", fails, "excepted until " + tomorrow + ": the provider is slow", true},
		"is over":         {one(yesterday), "a", "refund/done", fails, "the exception ended on " + yesterday, false},
		"another adapter": {one(tomorrow), "b", "refund/done", fails, "it fails", false},
		"another check":   {one(tomorrow), "a", "refund/codes", fails, "it fails", false},
		"needless":        {one(tomorrow), "a", "refund/done", nil, "take the exception out", false},
	} {
		err := excused(c.list, c.adapter, c.check, c.failure)
		var skip skipped
		if err == nil || !strings.Contains(err.Error(), c.says) || errors.As(err, &skip) != c.skips {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := excused(nil, "a", "refund/done", nil); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{
		``, `{}`, `[{}]`, `[{"adapter":"a","check":"refund/done","reason":"r"}]`, `[{"adapter":"a","check":"refund/done","reason":"r","until":"soon"}]`,
		`[{"adapter":"a","check":"refund/done","reason":"","until":"2027-01-01"}]`, `[{"adapter":"a","check":"nothing","reason":"r","until":"2027-01-01"}]`,
		`[{"adapter":"a","check":"refund/done","reason":"r","until":"2027-01-01","why":"x"}]`,
	} {
		if list, err := parseExceptions([]byte(bad)); err == nil {
			t.Errorf("%s: %v", bad, list)
		}
	}
	if _, err := parseExceptions(exceptionsFile); err != nil {
		t.Error(err)
	}
}
