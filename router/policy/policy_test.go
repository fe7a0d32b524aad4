package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pay.taipei/gateway/money"
)

// morning is when the tests ask; orders live ten minutes.
var morning = time.Date(2017, time.June, 13, 9, 0, 0, 0, taipei)

func twd(units int64) money.Amount {
	a, err := money.FromUnits(units, money.TWD)
	if err != nil {
		panic(err)
	}
	return a
}

// candidate is an account that can serve.
func candidate(account, provider string) Candidate {
	return Candidate{Account: account, Provider: provider, Payee: true, Currency: money.TWD, Methods: []string{"card", "cash"}}
}

// city is three accounts of two providers.
func city() []Candidate {
	return []Candidate{candidate("bank-a", "bank"), candidate("bank-b", "bank"), candidate("wallet-a", "wallet")}
}

func ask(wishes ...string) Ask {
	return Ask{OrderNo: "2017061300000016", Merchant: "pma", Amount: twd(40), Wishes: wishes, At: morning, ExpiresAt: morning.Add(10 * time.Minute)}
}

func accounts(d Decision) string {
	var names []string
	for _, c := range d.Ranked {
		names = append(names, c.Account)
	}
	return strings.Join(names, " ")
}

func TestChoose(t *testing.T) {
	list := func(accounts ...string) Rules { return Rules{Routes: []Route{{Name: "r", Accounts: accounts}}} }
	type change func(*Rules, []Candidate, *Ask)
	down := func(i int, why string, until time.Time) change {
		return func(_ *Rules, c []Candidate, _ *Ask) { c[i].Health = Health{Down: true, Why: why, Until: until} }
	}
	for name, test := range map[string]struct {
		rules  Rules
		wishes []string
		change change
		want   string
	}{
		"no wish, no route":        {Rules{}, nil, nil, "bank-a bank-b wallet-a"},
		"a wish":                   {Rules{}, []string{"wallet"}, nil, "wallet-a"},
		"two wishes":               {Rules{}, []string{"wallet", "bank"}, nil, "wallet-a bank-a bank-b"},
		"a wish nobody serves":     {Rules{}, []string{"cash"}, nil, ""},
		"a route":                  {list("wallet-a", "bank-b"), nil, nil, "wallet-a bank-b"},
		"a wish above the route":   {list("wallet-a", "bank-b"), []string{"bank"}, nil, "bank-b bank-a"},
		"a wish outside the route": {list("bank-a"), []string{"wallet"}, nil, "wallet-a"},
		"another merchant's route": {Rules{Routes: []Route{{Name: "r", Merchants: []string{"twd"}, Accounts: []string{"wallet-a"}}}}, nil, nil, "bank-a bank-b wallet-a"},
		"the first route that fits": {
			Rules{Routes: []Route{{Name: "w", Merchants: []string{"twd"}, Accounts: []string{"bank-a"}}, {Name: "p", Merchants: []string{"pma"}, Accounts: []string{"bank-b"}}, {Name: "all", Accounts: []string{"wallet-a"}}}},
			nil, nil, "bank-b",
		},
		"down":             {Rules{}, nil, down(0, BreakerOpen, time.Time{}), "bank-b wallet-a"},
		"tried":            {Rules{}, nil, func(_ *Rules, _ []Candidate, a *Ask) { a.Tried = []string{"bank-a", "wallet-a"} }, "bank-b"},
		"not paid there":   {Rules{}, nil, func(_ *Rules, c []Candidate, _ *Ask) { c[1].Payee = false }, "bank-a wallet-a"},
		"too little":       {Rules{}, nil, func(_ *Rules, c []Candidate, _ *Ask) { c[0].Min = twd(41) }, "bank-b wallet-a"},
		"just enough":      {Rules{}, nil, func(_ *Rules, c []Candidate, _ *Ask) { c[0].Min, c[0].Max = twd(40), twd(40) }, "bank-a bank-b wallet-a"},
		"too much":         {Rules{}, nil, func(_ *Rules, c []Candidate, _ *Ask) { c[0].Max = twd(39) }, "bank-b wallet-a"},
		"another currency": {Rules{}, nil, func(_ *Rules, c []Candidate, _ *Ask) { c[0].Currency = "XXX" }, "bank-b wallet-a"},
		"a method it has":  {Rules{}, nil, func(_ *Rules, c []Candidate, a *Ask) { a.Methods = []string{"cash"}; c[0].Methods = []string{"card"} }, "bank-b wallet-a"},
		"all of two methods": {Rules{}, nil, func(_ *Rules, c []Candidate, a *Ask) {
			a.Methods = []string{"card", "cash"}
			c[0].Methods = []string{"card"}
		}, "bank-b wallet-a"},
		"the split's first": {Rules{Routes: []Route{{Name: "s", Split: []Share{{"bank-b", 100}, {"bank-a", 0}}}}}, nil, nil, "bank-b bank-a"},
		"the split's first is down": {
			Rules{Routes: []Route{{Name: "s", Split: []Share{{"bank-b", 100}, {"bank-a", 0}, {"wallet-a", 0}}}}}, nil, down(1, ForcedOpen, time.Time{}), "bank-a wallet-a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, a := city(), ask(test.wishes...)
			if test.change != nil {
				test.change(&test.rules, c, &a)
			}
			d := Choose(test.rules, c, a)
			if got := accounts(d); got != test.want {
				t.Errorf("%q, want %q; %s", got, test.want, d.Receipt.String())
			}
			for i, k := range d.Ranked {
				if want := a.Methods; len(want) > 0 && !slices.Equal(k.Methods, want) {
					t.Errorf("methods %v", k.Methods)
				}
				j := slices.IndexFunc(d.Receipt.Considered, func(c Considered) bool { return c.Account == k.Account })
				if v := d.Receipt.Considered[j]; !v.Kept || v.Rank != i+1 || v.Rule != "" {
					t.Errorf("receipt of %s: %+v", k.Account, v)
				}
			}
		})
	}
}

// Every account that is looked at stands in the receipt, with the rule that kept it out.
func TestReceiptNamesTheRule(t *testing.T) {
	c := city()
	c = append(c, candidate("bank-c", "bank"), candidate("bank-d", "bank"), candidate("bank-e", "bank"))
	c[0].Payee, c[1].Max, c[3].Health = false, twd(39), Health{Down: true, Why: Penalty, Until: morning.Add(30 * time.Minute)}
	c[5].Health = Health{Down: true, Why: BreakerOpen}
	a := ask("bank")
	a.Tried = []string{"bank-d"}
	d := Choose(Rules{}, c, a)
	want := "wished bank, by display order: not bank-a (merchant_not_configured); not bank-b (above_limit TWD 39); " +
		"not bank-c (penalty until 2017-06-13T09:30:00+08:00); not bank-d (tried); not bank-e (breaker_open)"
	if got := d.Receipt.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !d.RetryAt.Equal(morning.Add(30 * time.Minute)) {
		t.Errorf("retry at %v", d.RetryAt)
	}
	text, err := json.Marshal(d.Receipt)
	if err != nil {
		t.Fatal(err)
	}
	var back Receipt
	if err := json.Unmarshal(text, &back); err != nil || back.String() != want {
		t.Errorf("%s, %v", text, err)
	}
	if lines := strings.Count(d.Receipt.Text(), "\n"); lines != 6 {
		t.Errorf("%d lines:\n%s", lines, d.Receipt.Text())
	}
}

// draws counts where many orders go.
func draws(rules Rules, c []Candidate, n int) map[string]int {
	count := map[string]int{}
	for i := range n {
		a := ask()
		a.OrderNo = fmt.Sprintf("20170613%08d", i)
		count[accounts(Choose(rules, c, a))[:6]]++
	}
	return count
}

// Shares come out near their percents; an account that cannot serve leaves its share to the others by theirs.
func TestSplit(t *testing.T) {
	rules := Rules{Routes: []Route{{Name: "s", Split: []Share{{"bank-a", 50}, {"bank-b", 30}, {"wallet-a", 20}}}}}
	const n = 20_000
	near := func(got int, percent int) bool { return got > n*(percent-2)/100 && got < n*(percent+2)/100 }
	if got := draws(rules, city(), n); !near(got["bank-a"], 50) || !near(got["bank-b"], 30) || !near(got["wallet"], 20) {
		t.Errorf("shares %v", got)
	}
	c := city()
	c[0].Health.Down = true
	if got := draws(rules, c, n); got["bank-a"] != 0 || !near(got["bank-b"], 60) || !near(got["wallet"], 40) {
		t.Errorf("shares without bank-a %v", got)
	}
}

// With wishes the split draws among each provider's accounts alone, by their percents.
func TestSplitWithinAWish(t *testing.T) {
	rules := Rules{Routes: []Route{{Name: "s", Split: []Share{{"bank-a", 20}, {"bank-b", 60}, {"wallet-a", 20}}}}}
	const n = 20_000
	first := 0
	for i := range n {
		a := ask("bank", "wallet")
		a.OrderNo = fmt.Sprintf("20170613%08d", i)
		d := Choose(rules, city(), a)
		if d.Ranked[2].Account != "wallet-a" {
			t.Fatalf("the first wish comes first: %s", d.Receipt.String())
		}
		if d.Ranked[0].Account == "bank-a" {
			first++
		}
	}
	if first < n*23/100 || first > n*27/100 {
		t.Errorf("bank-a has %d of %d, want a quarter", first, n)
	}
}

// An account that goes takes no other's orders along, and those of it that had it first are shared by the others' percents;
// one that comes back from maintenance leaves its orders to the others in the same way.
func TestSplitStays(t *testing.T) {
	rules := Rules{Routes: []Route{{Name: "s", Split: []Share{{"bank-a", 50}, {"bank-b", 30}, {"wallet-a", 20}}}}}
	ramping := rules
	ramping.Calendar = Calendar{{ID: "w", Scope: ScopeAccount, Name: "bank-a", Start: morning.Add(-time.Hour), End: morning, Ramp: time.Hour}}
	const n = 20_000
	whole := city()
	without := city()
	without[0].Payee = false
	shared := map[string]int{}
	for i := range n {
		a := ask()
		a.OrderNo = fmt.Sprintf("20170613%08d", i)
		before := Choose(rules, whole, a).Ranked[0].Account
		after := Choose(rules, without, a).Ranked[0].Account
		if before != "bank-a" && after != before {
			t.Fatalf("%s moves from %s to %s", a.OrderNo, before, after)
		}
		if spared := Choose(ramping, whole, a).Ranked; spared[0].Account != after || spared[2].Account != "bank-a" {
			t.Fatalf("%s: at the start of the ramp %v, without it %s", a.OrderNo, spared, after)
		}
		if before == "bank-a" {
			shared[after]++
		}
	}
	all := shared["bank-b"] + shared["wallet-a"]
	if part := shared["bank-b"] * 100 / all; part < 57 || part > 62 || all < n*48/100 {
		t.Errorf("bank-a's orders went to %v", shared)
	}
}

// The way an order's number draws is written down in the package's documentation, for whoever does it again by hand.
func TestDrawByHand(t *testing.T) {
	for no, want := range map[string]string{ // with Python's hashlib; first: printf split/0:2017061300000016 | sha256sum, 16 digits modulo 100
		"2017061300000016": "c a b",
		"2017061300000017": "b a c",
		"2017061300000018": "a b c",
		"2017061300000019": "a c b",
		"2017061300000020": "b c a",
	} {
		if got := draw([]Share{{"a", 50}, {"b", 30}, {"c", 20}}, no); strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", no, got, want)
		}
	}
}

// After maintenance traffic comes back by and by, and an account alone serves all the same.
func TestRamp(t *testing.T) {
	window := Window{ID: "w", Scope: ScopeAccount, Name: "bank-a", Start: morning.Add(-time.Hour), End: morning, Ramp: 10 * time.Minute}
	rules := Rules{Calendar: Calendar{window}}
	c := city()[:2]
	const n = 4000
	before := -1
	for _, minutes := range []int{0, 1, 5, 9, 10} {
		first := 0
		for i := range n {
			a := ask()
			a.OrderNo, a.At = fmt.Sprintf("20170613%08d", i), morning.Add(time.Duration(minutes)*time.Minute)
			a.ExpiresAt = a.At.Add(10 * time.Minute)
			if d := Choose(rules, c, a); d.Ranked[0].Account == "bank-a" {
				first++
			}
			if d := Choose(rules, c[:1], a); accounts(d) != "bank-a" {
				t.Fatalf("refused outside its window: %s", d.Receipt.String())
			}
		}
		if want := n * minutes / 10; first < want-n/25 || first > want+n/25 || first <= before {
			t.Errorf("after %d minutes %d of %d orders", minutes, first, n)
		}
		before = first
	}
}

func anyTime(t *rapid.T, label string) time.Time {
	return morning.Add(time.Duration(rapid.IntRange(-3000, 3000).Draw(t, label)) * time.Minute)
}

// anyWindow draws a window of bank-a, of the bank or of pma.
func anyWindow(t *rapid.T) Window {
	w := Window{ID: "w", Ramp: time.Duration(rapid.IntRange(0, 60).Draw(t, "ramp")) * time.Minute}
	w.Scope = rapid.SampledFrom([]Scope{ScopeAccount, ScopeProvider, ScopeMerchant}).Draw(t, "scope")
	w.Name = map[Scope]string{ScopeAccount: "bank-a", ScopeProvider: "bank", ScopeMerchant: "pma"}[w.Scope]
	if rapid.Bool().Draw(t, "daily") {
		from := rapid.IntRange(0, 1439).Draw(t, "from")
		lasts := rapid.IntRange(1, 1439).Draw(t, "lasts") // a whole day is refused
		days := rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 0, 3, rapid.ID).Draw(t, "weekdays")
		w.Daily = &Daily{From: TimeOfDay(from), To: TimeOfDay((from + lasts) % 1440)}
		for _, day := range days {
			w.Daily.Weekdays = append(w.Daily.Weekdays, time.Weekday(day))
		}
		return w
	}
	w.Start = anyTime(t, "start")
	if rapid.Bool().Draw(t, "ends") {
		w.End = w.Start.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "lasts")) * time.Minute)
	}
	return w
}

// anyRules draws rules, candidates and an ask over few names, so that they meet.
func anyRules(t *rapid.T) (Rules, []Candidate, Ask) {
	names := []string{"bank-a", "bank-b", "wallet-a"}
	name := rapid.SampledFrom(names)
	var r Rules
	for i := range rapid.IntRange(0, 2).Draw(t, "routes") {
		route := Route{Name: fmt.Sprint(i), Merchants: rapid.SampledFrom([][]string{nil, {"pma"}, {"twd"}}).Draw(t, "merchants")}
		if rapid.Bool().Draw(t, "split") {
			share := rapid.IntRange(0, 100).Draw(t, "share")
			route.Split = []Share{{"bank-a", share}, {"wallet-a", 100 - share}}
		} else {
			route.Accounts = rapid.SliceOfNDistinct(name, 1, 3, rapid.ID).Draw(t, "accounts")
		}
		r.Routes = append(r.Routes, route)
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "windows") {
		w := anyWindow(t)
		w.ID = fmt.Sprint(i)
		if w.Scope == ScopeAccount {
			w.Name = name.Draw(t, "account")
		}
		r.Calendar = append(r.Calendar, w)
	}
	c := city()
	for i := range c {
		c[i].Payee = rapid.IntRange(0, 4).Draw(t, "payee") > 0
		if rapid.IntRange(0, 4).Draw(t, "down") == 0 {
			c[i].Health = Health{Down: true, Why: BreakerOpen}
		}
		c[i].PageLife = time.Duration(rapid.IntRange(0, 20).Draw(t, "page")) * time.Minute
	}
	a := ask(rapid.SampledFrom([][]string{nil, {"bank"}, {"wallet"}, {"wallet", "bank"}}).Draw(t, "wishes")...)
	a.OrderNo, a.At = fmt.Sprintf("20170613%08d", rapid.IntRange(0, 1<<20).Draw(t, "no")), anyTime(t, "at")
	a.ExpiresAt = a.At.Add(time.Duration(rapid.IntRange(1, 30).Draw(t, "life")) * time.Minute)
	a.Tried = rapid.SliceOfNDistinct(name, 0, 2, rapid.ID).Draw(t, "tried")
	return r, c, a
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, c, a := anyRules(t)
		d := Choose(rules, c, a)
		if again := Choose(rules, c, a); !reflect.DeepEqual(d, again) {
			t.Fatal("the same input, another answer")
		}
		kept := 0
		for _, v := range d.Receipt.Considered {
			if v.Kept {
				kept++
			}
			x := c[slices.IndexFunc(c, func(c Candidate) bool { return c.Account == v.Account })]
			closed := wouldClose(&rules, &x, &a)
			switch {
			case v.Kept && closed != "":
				t.Fatalf("%s is sent into window %s", v.Account, closed)
			case v.Rule == Maintenance && closed == "":
				t.Fatalf("%s is kept out for window %s, which is not on", v.Account, v.Detail)
			case v.Rule == Maintenance && !v.Until.IsZero() && oracle(windowOf(&rules, v.Detail), v.Until):
				t.Fatalf("%s: window %s is not over at %v", v.Account, v.Detail, v.Until)
			}
		}
		if kept != len(d.Ranked) {
			t.Fatalf("%d kept, %d ranked", kept, len(d.Ranked))
		}
		for _, k := range d.Ranked {
			x := c[slices.IndexFunc(c, func(c Candidate) bool { return c.Account == k.Account })]
			if len(a.Wishes) > 0 && !slices.Contains(a.Wishes, x.Provider) {
				t.Fatalf("%s was not wished", k.Account)
			}
			if !x.Payee || x.Health.Down || slices.Contains(a.Tried, x.Account) {
				t.Fatalf("%s cannot serve", k.Account)
			}
		}
		text, err := json.Marshal(d.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseReceipt(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if again, err := json.Marshal(back); err != nil || string(again) != string(text) {
			t.Fatalf("%s became %s, %v", text, again, err)
		}
		// What a directory says, asking with each provider as the only wish, and what an order with these wishes gets, is the
		// same; what routes choose without a wish is never outside of it.
		for _, provider := range []string{"bank", "wallet"} {
			only := a
			only.Wishes, only.OrderNo = []string{provider}, ""
			available := len(Choose(rules, c, only).Ranked) > 0
			ranked := slices.ContainsFunc(d.Ranked, func(k Choice) bool { return strings.HasPrefix(k.Account, provider) })
			if wished := slices.Contains(a.Wishes, provider); ranked && !available || wished && ranked != available {
				t.Fatalf("%s: available %v, ranked %v", provider, available, ranked)
			}
		}
		// One account less leaves who is first where it was, unless it was that one itself, and never brings one in.
		if len(d.Ranked) > 0 {
			gone := rapid.SampledFrom(d.Ranked).Draw(t, "gone").Account
			fewer := a
			fewer.Tried = append(slices.Clone(a.Tried), gone)
			rest := Choose(rules, c, fewer).Ranked
			for _, k := range rest {
				if !slices.ContainsFunc(d.Ranked, func(r Choice) bool { return r.Account == k.Account }) {
					t.Fatalf("%s comes in when another is tried", k.Account)
				}
			}
			if first := d.Ranked[0].Account; first != gone && rest[0].Account != first {
				t.Fatalf("%s was first, and without %s it is %s", first, gone, rest[0].Account)
			}
		}
	})
}

// wouldClose is a window that is on at any minute of a redirect's validity, by the clock on the wall.
func wouldClose(r *Rules, c *Candidate, a *Ask) string {
	life := a.ExpiresAt.Sub(a.At)
	if c.PageLife > 0 {
		life = min(life, c.PageLife)
	}
	for m := time.Duration(0); m < life; m += time.Minute {
		for i := range r.Calendar {
			w := &r.Calendar[i]
			mine := map[Scope]string{ScopeAccount: c.Account, ScopeProvider: c.Provider, ScopeMerchant: a.Merchant}[w.Scope] == w.Name
			if mine && oracle(w, a.At.Add(m)) {
				return w.ID
			}
		}
	}
	return ""
}

func windowOf(r *Rules, id string) *Window {
	return &r.Calendar[slices.IndexFunc(r.Calendar, func(w Window) bool { return w.ID == id })]
}

func TestParseReceipt(t *testing.T) {
	const good = `{"at":"2017-06-13T09:00:00+08:00","considered":[{"account":"a","provider":"p","kept":true,"rank":1},{"account":"b","provider":"p","kept":false,"rule":"tried"}]}`
	if r, err := ParseReceipt([]byte(good)); err != nil || r.String() != "by display order: 1. a; not b (tried)" {
		t.Fatalf("%+v, %v", r, err)
	}
	for name, test := range map[string]struct{ old, new, word string }{
		"nothing":                      {good, "", "EOF"},
		"cut off":                      {`"}]}`, ``, "EOF"},
		"more after it":                {`]}`, `]}{}`, "follows"},
		"an unknown name":              {`"rank"`, `"rang"`, "rang"},
		"a name twice":                 {`"rank":1`, `"rank":1,"rank":1`, "considered.rank: stands here twice"},
		"a name in another case":       {`"rank"`, `"Rank"`, `"Rank"`},
		"another kind of value":        {`"rank":1`, `"rank":"1"`, "considered.rank"},
		"no time":                      {`"at":"2017-06-13T09:00:00+08:00",`, ``, "at: is missing"},
		"nobody":                       {`"account":"b"`, `"account":""`, "considered[1].account"},
		"kept with a rule":             {`"rank":1`, `"rank":1,"rule":"tried"`, "considered[0].rule"},
		"kept without a rank":          {`,"rank":1`, ``, "considered[0].rank"},
		"kept out with a rank":         {`"rule"`, `"rank":2,"rule"`, "considered[1].rank"},
		"kept out without a rule":      {`,"rule":"tried"`, ``, "considered[1].rule"},
		"a rank below the first":       {`"rank":1`, `"rank":-1`, "considered[0].rank"},
		"two of a rank":                {`"kept":false,"rule":"tried"`, `"kept":true,"rank":1`, "considered[1].rank: stands here twice"},
		"a rank that is never reached": {`"rank":1`, `"rank":2`, "rank 2 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, test.old, test.new, 1)
			if _, err := ParseReceipt([]byte(text)); err == nil || !strings.Contains(err.Error(), test.word) {
				t.Errorf("%s: %v, want %s", text, err, test.word)
			}
		})
	}
}

func FuzzParseReceipt(f *testing.F) {
	f.Add([]byte(`{"at":"2017-06-13T09:00:00+08:00","order_no":"2017061300000016","wishes":["p"],"route":"r","considered":[{"account":"a","provider":"p","kept":true,"rank":1}]}`))
	f.Add([]byte(`{"at":"2017-06-13T01:00:00Z","considered":[{"account":"a","provider":"p","kept":false,"rule":"maintenance","detail":"w","until":"2017-06-13T01:10:00Z"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseReceipt(text)
		if err != nil {
			return
		}
		first, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseReceipt(first)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if second, err := json.Marshal(again); err != nil || string(second) != string(first) || again.String() != r.String() {
			t.Fatalf("%s became %s", first, second)
		}
		_ = r.Text()
	})
}

func BenchmarkChoose(b *testing.B) {
	var c []Candidate
	var rules Rules
	for i := range 20 {
		c = append(c, candidate(fmt.Sprintf("a%02d", i), fmt.Sprintf("p%d", i%5)))
		rules.Calendar = append(rules.Calendar, Window{ID: fmt.Sprint(i), Scope: ScopeAccount, Name: c[i].Account, Daily: &Daily{From: 315, To: 375}, Ramp: time.Minute})
	}
	rules.Routes = []Route{{Name: "s", Split: []Share{{"a00", 50}, {"a01", 50}}}}
	a := ask()
	for b.Loop() {
		Choose(rules, c, a)
	}
}
