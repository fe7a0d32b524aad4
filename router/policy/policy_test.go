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

// anyRules draws rules, candidates and an ask over few names, so that they meet.
func anyRules(t *rapid.T) (Rules, []Candidate, Ask) {
	names := []string{"bank-a", "bank-b", "wallet-a"}
	name := rapid.SampledFrom(names)
	when := rapid.Custom(func(t *rapid.T) time.Time {
		return morning.Add(time.Duration(rapid.IntRange(-3000, 3000).Draw(t, "minutes")) * time.Minute)
	})
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
		w := Window{ID: fmt.Sprint(i), Ramp: time.Duration(rapid.IntRange(0, 60).Draw(t, "ramp")) * time.Minute}
		w.Scope = rapid.SampledFrom([]Scope{ScopeAccount, ScopeProvider, ScopeMerchant}).Draw(t, "scope")
		w.Name = map[Scope]string{ScopeAccount: name.Draw(t, "account"), ScopeProvider: "bank", ScopeMerchant: "pma"}[w.Scope]
		if rapid.Bool().Draw(t, "daily") {
			w.Daily = &Daily{From: TimeOfDay(rapid.IntRange(0, 1439).Draw(t, "from")), To: TimeOfDay(rapid.IntRange(0, 1439).Draw(t, "to"))}
		} else {
			w.Start = when.Draw(t, "start")
			if rapid.Bool().Draw(t, "ends") {
				w.End = w.Start.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "lasts")) * time.Minute)
			}
		}
		r.Calendar = append(r.Calendar, w)
	}
	c := city()
	for i := range c {
		c[i].Payee = rapid.IntRange(0, 4).Draw(t, "payee") > 0
		c[i].Health.Down = rapid.IntRange(0, 4).Draw(t, "down") == 0
		c[i].PageLife = time.Duration(rapid.IntRange(0, 20).Draw(t, "page")) * time.Minute
	}
	a := ask(rapid.SampledFrom([][]string{nil, {"bank"}, {"wallet"}, {"wallet", "bank"}}).Draw(t, "wishes")...)
	a.OrderNo, a.At = fmt.Sprintf("20170613%08d", rapid.IntRange(0, 1<<20).Draw(t, "no")), when.Draw(t, "at")
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
			} else if v.Rule == "" && v.Account != "" && !c[slices.IndexFunc(c, func(c Candidate) bool { return c.Account == v.Account })].Health.Down {
				t.Fatalf("%s kept out without a rule", v.Account)
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
			life := a.ExpiresAt.Sub(a.At)
			if x.PageLife > 0 {
				life = min(life, x.PageLife)
			}
			for m := time.Duration(0); m < life; m += time.Minute {
				if _, on := rules.Calendar.Now(Subject{x.Account, x.Provider, a.Merchant}, a.At.Add(m)); on {
					t.Fatalf("%s is sent into a window at %v", k.Account, a.At.Add(m))
				}
			}
		}
		// One account less changes nothing about the order of the others' wishes, and never brings in one that was kept out.
		if len(d.Ranked) > 0 {
			fewer := a
			fewer.Tried = append(slices.Clone(a.Tried), d.Ranked[0].Account)
			for _, k := range Choose(rules, c, fewer).Ranked {
				if !slices.ContainsFunc(d.Ranked, func(r Choice) bool { return r.Account == k.Account }) {
					t.Fatalf("%s comes in when another is tried", k.Account)
				}
			}
		}
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
