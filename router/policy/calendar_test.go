package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// oracle says by the clock on the wall, minute by minute, whether a window is on: it shares nothing with the calendar.
func oracle(w *Window, at time.Time) bool {
	if w.Daily == nil {
		return !at.Before(w.Start) && (w.End.IsZero() || at.Before(w.End))
	}
	local := at.In(taipei)
	minute := TimeOfDay(local.Hour()*60 + local.Minute())
	starts := func(day time.Weekday) bool {
		return len(w.Daily.Weekdays) == 0 || slices.Contains(w.Daily.Weekdays, day)
	}
	yesterday := time.Weekday((int(local.Weekday()) + 6) % 7)
	if w.Daily.From < w.Daily.To {
		return starts(local.Weekday()) && minute >= w.Daily.From && minute < w.Daily.To
	}
	return starts(local.Weekday()) && minute >= w.Daily.From || starts(yesterday) && minute < w.Daily.To
}

func mustDaily(t *testing.T, from, to string, days ...string) *Daily {
	t.Helper()
	d, err := NewDaily(from, to, days)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A year of virtual time, every seven minutes, with daily, weekly, one-off and open-ended windows and edits while one is on:
// no redirect is issued into a window, and none is refused outside.
func TestYear(t *testing.T) {
	start := time.Date(2026, time.January, 1, 0, 0, 0, 0, taipei)
	at := func(day, hour, minute int) time.Time {
		return start.AddDate(0, 0, day).Add(time.Duration(hour)*time.Hour + time.Duration(minute)*time.Minute)
	}
	night := Window{ID: "night", Scope: ScopeMerchant, Name: "pma", Daily: mustDaily(t, "05:15", "06:15"), Ramp: 20 * time.Minute}
	weekly := Window{ID: "weekly", Scope: ScopeAccount, Name: "bank-a", Daily: mustDaily(t, "23:30", "02:00", "sat", "wed")}
	once := Window{ID: "once", Scope: ScopeProvider, Name: "bank", Start: at(40, 1, 3), End: at(40, 5, 17)}
	open := Window{ID: "open", Scope: ScopeAccount, Name: "bank-a", Start: at(100, 12, 0)}
	closed := open
	closed.End = at(103, 9, 30)
	longer := night
	longer.Daily = mustDaily(t, "05:00", "07:00")
	edits := []struct {
		at       time.Time
		calendar Calendar
	}{
		{start, Calendar{night, weekly, once}},
		{at(100, 12, 30), Calendar{night, weekly, once, open}}, // begun half an hour ago
		{at(103, 9, 0), Calendar{night, weekly, once, closed}}, // an end is set while it is on
		{at(200, 5, 40), Calendar{longer, weekly, once}},       // lengthened while it is on
		{at(220, 5, 50), Calendar{weekly, once}},               // taken back while it is on
		{at(300, 23, 45), Calendar{night, once}},               // taken back while it is on
	}
	c, asked, refused := city()[:1], 0, 0
	for now := start; now.Before(start.AddDate(1, 0, 0)); now = now.Add(7 * time.Minute) {
		var calendar Calendar
		for _, e := range edits {
			if !now.Before(e.at) {
				calendar = e.calendar
			}
		}
		for _, page := range []time.Duration{0, 3 * time.Minute} {
			c[0].PageLife = page
			a := ask("bank")
			a.At, a.ExpiresAt = now, now.Add(10*time.Minute)
			life := 10 * time.Minute
			if page > 0 {
				life = page
			}
			want := true
			for m := time.Duration(0); m < life; m += time.Minute {
				for i := range calendar {
					if oracle(&calendar[i], now.Add(m)) {
						want = false
					}
				}
			}
			d := Choose(Rules{Calendar: calendar}, c, a)
			asked++
			if !want {
				refused++
			}
			if (len(d.Ranked) == 1) != want {
				t.Fatalf("%v, page %v: %s", now, page, d.Receipt.String())
			}
		}
	}
	if refused < asked/100 || refused > asked/4 {
		t.Errorf("%d of %d refused: the test tests nothing", refused, asked)
	}
}

func TestUntil(t *testing.T) {
	night := Window{ID: "n", Scope: ScopeAccount, Name: "bank-a", Daily: mustDaily(t, "05:15", "06:15")}
	o, on := Calendar{night}.Now(Subject{Account: "bank-a"}, time.Date(2026, 5, 5, 5, 15, 0, 0, taipei))
	if want := time.Date(2026, 5, 5, 6, 15, 0, 0, taipei); !on || !o.End.Equal(want) {
		t.Errorf("%+v, %v", o, on)
	}
	if _, on := (Calendar{night}).Now(Subject{Account: "bank-a"}, o.End); on {
		t.Error("on at its end")
	}
	if _, on := (Calendar{night}).Now(Subject{Account: "bank-b"}, o.Start); on {
		t.Error("on for another account")
	}
	longer := Window{ID: "l", Scope: ScopeAccount, Name: "bank-a", Start: o.Start, End: o.End.Add(time.Hour)}
	for _, c := range []Calendar{{night, longer}, {longer, night}} {
		if last, on := c.Now(Subject{Account: "bank-a"}, o.Start); !on || !last.End.Equal(longer.End) {
			t.Errorf("of two windows: %+v", last)
		}
	}
	longer.End = time.Time{}
	for _, c := range []Calendar{{night, longer}, {longer, night}} {
		if last, on := c.Now(Subject{Account: "bank-a"}, o.Start); !on || !last.End.IsZero() {
			t.Errorf("of two windows, one without an end: %+v", last)
		}
	}
}

func TestValidate(t *testing.T) {
	known := []Account{{"bank-a", "bank"}, {"bank-b", "bank"}}
	merchants := []Merchant{{"pma", []string{"bank-a"}}, {"twd", []string{"bank-b"}}}
	daily := func(from, to string, days ...string) *Daily { return mustDaily(t, from, to, days...) }
	w := func(id string, d *Daily) Window { return Window{ID: id, Scope: ScopeAccount, Name: "bank-a", Daily: d} }
	for name, test := range map[string]struct {
		rules Rules
		want  string // paths, and a word of each problem
	}{
		"good": {Rules{
			Routes:   []Route{{Name: "a", Merchants: []string{"pma"}, Accounts: []string{"bank-a"}}, {Name: "b", Split: []Share{{"bank-a", 40}, {"bank-b", 60}}}},
			Calendar: Calendar{w("1", daily("05:15", "06:15")), w("2", daily("06:15", "07:00")), {ID: "3", Scope: ScopeProvider, Name: "bank", Start: morning}},
		}, ""},
		"unknown account":    {Rules{Routes: []Route{{Name: "a", Accounts: []string{"bank-a", "bank-b", "bank-c"}}}}, "routes[0].accounts[2] no such account"},
		"twice":              {Rules{Routes: []Route{{Name: "a", Accounts: []string{"bank-a", "bank-b", "bank-a"}}}}, "routes[0].accounts[2] twice"},
		"unknown merchant":   {Rules{Routes: []Route{{Name: "a", Merchants: []string{"x"}, Accounts: []string{"bank-a"}}}}, "routes[0].merchants[0] no such merchant"},
		"unknown in a split": {Rules{Routes: []Route{{Name: "a", Split: []Share{{"bank-a", 50}, {"bank-b", 20}, {"x", 30}}}}}, "routes[0].split[2].account no such account"},
		"ninety-nine":        {Rules{Routes: []Route{{Name: "a", Split: []Share{{"bank-a", 50}, {"bank-b", 49}}}}}, "routes[0].split add up to 99"},
		"below nothing":      {Rules{Routes: []Route{{Name: "a", Split: []Share{{"bank-a", 101}, {"bank-b", -1}}}}}, "routes[0].split[0].percent 0 to 100|routes[0].split[1].percent 0 to 100"},
		"nothing":            {Rules{Routes: []Route{{Name: "a", Merchants: []string{"pma"}}}}, "routes[0] exactly one|routes[0] leaves merchant pma"},
		"both": {Rules{Routes: []Route{{Name: "a", Accounts: []string{"bank-a", "bank-b"}, Split: []Share{{"bank-a", 100}}}}},
			"routes[0] exactly one|routes[0].split[0].account twice"},
		"a merchant without an account": {Rules{Routes: []Route{{Name: "a", Accounts: []string{"bank-a"}}}}, "routes[0] leaves merchant twd"},
		"no name, one name": {Rules{Routes: []Route{{Accounts: []string{"bank-a", "bank-b"}}, {Name: "", Accounts: []string{"bank-a", "bank-b"}}}},
			"routes[0].name a name|routes[1].name a name"},
		"windows overlap":         {Rules{Calendar: Calendar{w("1", daily("05:15", "06:15")), w("2", daily("06:14", "07:00"))}}, "calendar[1] overlaps 1"},
		"over midnight":           {Rules{Calendar: Calendar{w("1", daily("23:00", "01:00")), w("2", daily("00:59", "02:00"))}}, "calendar[1] overlaps 1"},
		"over Sunday's midnight":  {Rules{Calendar: Calendar{w("1", daily("23:00", "01:00", "sun")), w("2", daily("00:30", "02:00", "mon"))}}, "calendar[1] overlaps 1"},
		"on other days":           {Rules{Calendar: Calendar{w("1", daily("23:00", "01:00", "sun")), w("2", daily("00:30", "02:00", "tue", "sun"))}}, ""},
		"once over once":          {Rules{Calendar: Calendar{{ID: "1", Scope: ScopeAccount, Name: "bank-a", Start: morning}, {ID: "2", Scope: ScopeAccount, Name: "bank-a", Start: morning.Add(time.Hour), End: morning.Add(2 * time.Hour)}}}, "calendar[1] overlaps 1"},
		"once after once":         {Rules{Calendar: Calendar{{ID: "1", Scope: ScopeAccount, Name: "bank-a", Start: morning, End: morning.Add(time.Hour)}, {ID: "2", Scope: ScopeAccount, Name: "bank-a", Start: morning.Add(time.Hour)}}}, ""},
		"once over daily":         {Rules{Calendar: Calendar{w("1", daily("05:15", "06:15")), {ID: "2", Scope: ScopeAccount, Name: "bank-a", Start: morning}}}, ""},
		"of nobody":               {Rules{Calendar: Calendar{{ID: "1", Scope: ScopeProvider, Name: "wallet", Start: morning}, {ID: "2", Scope: ScopeMerchant, Name: "x", Start: morning}}}, "calendar[0].name no such provider|calendar[1].name no such merchant"},
		"of nothing":              {Rules{Calendar: Calendar{{ID: "1", Scope: "city", Name: "x", Start: morning}}}, "calendar[0].scope account"},
		"the same id":             {Rules{Calendar: Calendar{w("1", daily("05:15", "06:15")), w("1", daily("07:15", "08:15"))}}, "calendar[1].id an id"},
		"a daily one with an end": {Rules{Calendar: Calendar{{ID: "1", Scope: ScopeAccount, Name: "bank-a", Daily: daily("05:15", "06:15"), End: morning}}}, "calendar[0].end no end"},
		"a long ramp":             {Rules{Calendar: Calendar{{ID: "1", Scope: ScopeAccount, Name: "bank-a", Start: morning, Ramp: 25 * time.Hour}}}, "calendar[0].ramp 24h"},
		"a long reason":           {Rules{Calendar: Calendar{{ID: "1", Scope: ScopeAccount, Name: "bank-a", Start: morning, Reason: strings.Repeat("x", 201)}}}, "calendar[0].reason 200"},
		"a long id":               {Rules{Calendar: Calendar{{ID: strings.Repeat("x", 65), Scope: ScopeAccount, Name: "bank-a", Start: morning}}}, "calendar[0].id 64"},
		"a merchant twice":        {Rules{Routes: []Route{{Name: "a", Merchants: []string{"pma", "pma"}, Accounts: []string{"bank-a"}}}}, "routes[0].merchants[1] twice"},
		"neither":                 {Rules{Calendar: Calendar{w("1", nil)}}, "calendar[0] either daily or start"},
		"ends first":              {Rules{Calendar: Calendar{{ID: "1", Scope: ScopeAccount, Name: "bank-a", Start: morning, End: morning}}}, "calendar[0].end ends before"},
		"the whole day":           {Rules{Calendar: Calendar{w("1", daily("05:15", "05:15"))}}, "calendar[0].daily.to whole day"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := Validate(test.rules, known, merchants)
			var wants []string
			if test.want != "" {
				wants = strings.Split(test.want, "|")
			}
			if len(problems) != len(wants) {
				t.Fatalf("%+v", problems)
			}
			for i, want := range wants {
				path, word, _ := strings.Cut(want, " ")
				if problems[i].Path != path || !strings.Contains(problems[i].What, word) {
					t.Errorf("%+v, want %s", problems[i], want)
				}
			}
		})
	}
}

func TestWindowCodec(t *testing.T) {
	for _, w := range []Window{
		{ID: "1", Scope: ScopeAccount, Name: "bank-a", Daily: mustDaily(t, "05:15", "06:15", "mon", "sun"), Ramp: 10 * time.Minute, Reason: "data"},
		{ID: "2", Scope: ScopeMerchant, Name: "pma", Start: morning.UTC(), End: morning.Add(time.Hour).UTC()},
		{ID: "3", Scope: ScopeProvider, Name: "bank", Start: morning.UTC()},
	} {
		text, err := w.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseWindow(text)
		if err != nil || !reflect.DeepEqual(back, w) {
			t.Fatalf("%s: %+v, %v", text, back, err)
		}
		if again, err := back.Marshal(); err != nil || string(again) != string(text) {
			t.Errorf("%s became %s, %v", text, again, err)
		}
	}
	for bad, word := range map[string]string{
		``:  "EOF",
		`{`: "unexpected",
		`{"id":"1","scope":"account","name":"a","start":"2026-01-01T00:00:00Z","x":1}`:                           "x",
		`{"id":"1","scope":"account","name":"a","start":"2026-01-01T00:00:00Z"} {}`:                              "follows",
		`{"id":"1","scope":"city","name":"a","start":"2026-01-01T00:00:00Z"}`:                                    "scope",
		`{"id":"","scope":"account","name":"a","start":"2026-01-01T00:00:00Z"}`:                                  "id",
		`{"id":"1","scope":"account","name":"a","daily":{"from":"5:15","to":"06:15"}}`:                           "daily.from",
		`{"id":"1","scope":"account","name":"a","daily":{"from":"05:15","to":"24:00"}}`:                          "daily.to",
		`{"id":"1","scope":"account","name":"a","daily":{"from":"05:15","to":"06:15","weekdays":["mon","mon"]}}`: "daily.weekdays",
		`{"id":"1","scope":"account","name":"a","daily":{"from":"05:15","to":"06:15","weekdays":["Monday"]}}`:    "daily.weekdays",
		`{"id":"1","scope":"account","name":"a","start":"2026-01-01T00:00:00Z","ramp":"soon"}`:                   "ramp",
		`{"id":"1","scope":"account","name":"a","start":"2026-01-01T00:00:00Z","ramp":"25h"}`:                    "ramp",
		`{"id":"1","scope":"account","name":"a"}`:                                                                "either",
		`{"id":"1","scope":"account","name":"a","start":"2026-01-01"}`:                                           "start",
		`{"id":"1","scope":"account","name":"a","start":"2026-01-01T00:00:00Z","end":"2025-01-01T00:00:00Z"}`:    "end",
		`{"id":1,"scope":"account","name":"a","start":"2026-01-01T00:00:00Z"}`:                                   "id: want another kind",
		`{"id":"1","id":"2","scope":"account","name":"a","start":"2026-01-01T00:00:00Z"}`:                        "id: stands here twice",
		`{"ID":"1","scope":"account","name":"a","start":"2026-01-01T00:00:00Z"}`:                                 `"ID"`,
		`{"id":"1","ſcope":"account","name":"a","start":"2026-01-01T00:00:00Z"}`:                                 `"ſcope"`,
		`{"id":"1","scope":"account","name":"a","daily":{"from":"05:15","from":"04:00","to":"06:15"}}`:           "daily.from: stands here twice",
		`[]`:                             "all of it",
		strings.Repeat("[", 1<<20):       "too deep",
		`{"id":"1","scope":"account"} x`: "follows",
	} {
		if _, err := ParseWindow([]byte(bad)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %s", bad, err, word)
		}
	}
}

func FuzzParseWindow(f *testing.F) {
	f.Add([]byte(`{"id":"1","scope":"account","name":"a","daily":{"from":"05:15","to":"06:15","weekdays":["mon"]},"ramp":"10m"}`))
	f.Add([]byte(`{"id":"1","scope":"merchant","name":"a","start":"2026-01-01T00:00:00Z","end":"2026-01-02T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, err := ParseWindow(text)
		if err != nil {
			return
		}
		first, err := w.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseWindow(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second, err := again.Marshal(); err != nil || string(second) != string(first) {
			t.Fatalf("%s became %s", first, second)
		}
		_, _ = Calendar{w}.Closed(Subject{Account: w.Name}, morning, morning.Add(time.Hour)) // whatever was read can be asked
	})
}
