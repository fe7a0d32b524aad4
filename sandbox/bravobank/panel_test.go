package bravobank_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pay.taipei/gateway/sandbox/bravobank"
)

// honest is the panel's form with everything off.
func honest() url.Values { return url.Values{"next": {"0"}, "late": {"0s"}, "duplicated": {"0"}} }

// Each fault that is set on the page is what PUT /faults sets, and the page then shows it.
func TestPanelSetsEachFault(t *testing.T) {
	zero, err := json.Marshal(bravobank.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	var names map[string]any
	if err := json.Unmarshal(zero, &names); err != nil {
		t.Fatal(err)
	}
	if len(names) != reflect.TypeFor[bravobank.Faults]().NumField() {
		t.Fatalf("faults in JSON: %v", names)
	}
	for name, off := range names {
		t.Run(name, func(t *testing.T) {
			sent, inJSON := "true", "true"
			switch off.(type) {
			case float64:
				sent, inJSON = "3", "3"
			case string:
				sent, inJSON = "1m30s", `"1m30s"`
			}
			form := honest()
			form.Set(name, sent)
			c := newCity(t)
			page := c.post("/faults/panel?lang=en", form)
			if page.status != http.StatusOK || page.path != "/faults/panel" || page.query.Get("lang") != "en" {
				t.Fatalf("%d %s", page.status, page.text())
			}
			on := sent
			if sent == "true" {
				on = "on"
			}
			if got := strings.Count(page.body, `<b class="bad">`); got != 1 || !strings.Contains(page.text(), name+" · now: "+on+" ") {
				t.Errorf("%d shown as on: %s", got, page.text())
			}
			byForm := c.get("/faults").body
			other := newCity(t)
			other.faults(`{"` + name + `":` + inJSON + `}`)
			if byPut := other.get("/faults").body; byForm != byPut || !strings.Contains(byForm, `"`+name+`":`+inJSON) {
				t.Errorf("the form set %s, PUT %s", byForm, byPut)
			}
			// What the page now holds, sent again, changes nothing.
			if again := other.post("/faults/panel", formOf(other.get("/faults/panel"))); again.status != http.StatusOK || other.get("/faults").body != byForm {
				t.Errorf("sent again: %d %s", again.status, other.get("/faults").body)
			}
			if c.post("/faults/panel", url.Values{"off": {"true"}}); c.get("/faults").body != string(zero)+"\n" {
				t.Errorf("everything off left %s", c.get("/faults").body)
			}
		})
	}
}

// formOf is the second form of the panel as a browser sends it.
func formOf(p page) url.Values {
	form := url.Values{}
	for _, input := range strings.Split(p.body, "<input ")[1:] {
		tag, _, _ := strings.Cut(input, ">")
		if !strings.Contains(tag, `type="checkbox"`) || strings.Contains(tag, " checked") {
			form.Add(between(tag, ` name="`), between(tag, ` value="`))
		}
	}
	return form
}

func between(s, open string) string {
	_, s, _ = strings.Cut(s, open)
	s, _, _ = strings.Cut(s, `"`)
	return s
}

func TestPanelRefuses(t *testing.T) {
	c := newCity(t)
	c.faults(`{"lost":true,"late":"7s"}`)
	before := c.get("/faults").body
	with := func(name string, values ...string) url.Values {
		f := honest()
		f[name] = values
		return f
	}
	for _, bad := range []struct {
		name, field string
		form        url.Values
	}{
		{"a bad duration", "late", with("late", "30 seconds")},
		{"a negative duration", "late", with("late", "-1s")},
		{"no number", "duplicated", with("duplicated", "1e2")},
		{"too many", "duplicated", with("duplicated", "1001")},
		{"negative", "next", with("next", "-1")},
		{"an empty number", "next", with("next", "")},
		{"missing", "late", with("late")},
		{"twice", "late", with("late", "1s", "2s")},
		{"a switch neither on nor off", "hang", with("hang", "maybe")},
		{"a switch twice", "hang", with("hang", "true", "true")},
		{"unknown", `"explode"`, with("explode", "true")},
		{"off and more", `"off"`, with("off", "true")},
		{"off by another word", "next, late, duplicated, \"off\"", url.Values{"off": {"yes"}}},
		{"nothing", "next, late, duplicated", url.Values{}},
	} {
		p := c.post("/faults/panel", bad.form)
		if p.status != http.StatusUnprocessableEntity || p.field("problem") != "沒有改變任何設定，請修正："+bad.field {
			t.Errorf("%s: %d %q", bad.name, p.status, p.field("problem"))
		}
		if now := c.get("/faults").body; now != before {
			t.Fatalf("%s: set %s", bad.name, now)
		}
	}
	p := c.post("/faults/panel?lang=en", with("late", "30 <b>"))
	if p.field("problem") != "Nothing was changed. Please correct: late" || p.field("late-problem") != "Give a time such as 30s or 5m; 0s is off." ||
		formOf(p).Get("late") != "30 &lt;b&gt;" || !strings.Contains(p.text(), "late · now: 7s ") || strings.Contains(p.body, `name="lost" value="true" checked`) {
		t.Errorf("the page does not keep what was typed beside what is on: %s", p.body)
	}
}

func TestPanelIsForItsOwnPagesOnly(t *testing.T) {
	c := newCity(t)
	for _, from := range []struct {
		header, value string
		want          int
	}{
		{"Origin", "http://evil.example", http.StatusForbidden},
		{"Origin", "null", http.StatusForbidden},
		{"Origin", "http://127.0.0.1:1", http.StatusForbidden},
		{"Sec-Fetch-Site", "cross-site", http.StatusForbidden},
		{"Sec-Fetch-Site", "same-site", http.StatusForbidden}, // another port of this machine
		{"Origin", c.bankURL, http.StatusOK},
		{"Sec-Fetch-Site", "same-origin", http.StatusOK},
	} {
		form := honest()
		form.Set("late", strconv.Itoa(from.want)+"s")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.bankURL+"/faults/panel", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set(from.header, from.value)
		p := c.do(req, nil)
		if p.status != from.want || strings.Contains(c.get("/faults").body, `"3m20s"`) != (from.want == http.StatusOK) || (p.field("problem") == "") != (from.want == http.StatusOK) {
			t.Errorf("%s %s: %d, faults %s", from.header, from.value, p.status, c.get("/faults").body)
		}
		c.faults(`{}`)
	}
}

func TestPanelLanguages(t *testing.T) {
	c := newCity(t)
	if p := c.get("/faults/panel"); !strings.Contains(p.body, `<html lang="zh-Hant-TW">`) || !strings.Contains(p.body, `href="/faults/panel?lang=en"`) {
		t.Error(p.text())
	}
	if p := c.get("/faults/panel?lang=en"); !strings.Contains(p.body, `<html lang="en">`) || !strings.Contains(p.body, `href="/faults/panel?lang=zh"`) || !strings.Contains(p.text(), "Everything off") {
		t.Error(p.text())
	}
	if p := c.get("/?lang=en"); !strings.Contains(p.body, `href="/faults/panel?lang=en"`) || !strings.Contains(p.body, `href="/?lang=zh"`) {
		t.Error("the bank's first page does not lead on: " + p.body)
	}
}
