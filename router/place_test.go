package router_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router"
)

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	for name, change := range map[string]func(*router.Config, *router.Deps){
		"no store":             func(_ *router.Config, d *router.Deps) { d.Store = nil },
		"no randomness":        func(_ *router.Config, d *router.Deps) { d.Rand = nil },
		"no wake":              func(_ *router.Config, d *router.Deps) { d.Wake = nil },
		"account twice":        func(c *router.Config, _ *router.Deps) { c.Accounts = append(c.Accounts, c.Accounts[0]) },
		"account of nobody":    func(c *router.Config, _ *router.Deps) { c.Accounts = []router.Account{{Name: "x"}} },
		"bad prefix":           func(c *router.Config, _ *router.Deps) { c.Accounts[0].NumberPrefix = "abc" },
		"numbers too long":     func(c *router.Config, _ *router.Deps) { c.Accounts[0].Provider = &fake{} },
		"merchant twice":       func(c *router.Config, _ *router.Deps) { c.Merchants = append(c.Merchants, c.Merchants[0]) },
		"merchant of no name":  func(c *router.Config, _ *router.Deps) { c.Merchants = []router.Merchant{{}} },
		"account without name": func(c *router.Config, _ *router.Deps) { c.Accounts[0].Name = "" },
	} {
		config, deps := w.config, w.deps
		config.Accounts = slices.Clone(config.Accounts)
		change(&config, &deps)
		if _, err := router.New(config, deps); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for account, want := range map[string]bool{"form-a": true, "nobody": false} {
		if _, ok := w.Decoder(account); ok != want {
			t.Errorf("Decoder(%s) = %v", account, ok)
		}
	}
}

func TestPlaceFormPost(t *testing.T) {
	w := newWorld(t)
	cmd := w.command("form")
	first, err := w.place(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.store.since(); !slices.Equal(got, []string{"Place"}) {
		t.Errorf("commits: %v, want one Place", got)
	}
	o := w.order(first)
	if want := string(o.Current().No) + " open pending v1"; first.Status != 201 || string(first.Body) != want || first.Replayed {
		t.Errorf("answer %d %q, want 201 %q", first.Status, first.Body, want)
	}
	a := o.Current()
	if a.HandedAt != morning.UTC() || a.QueryAt != morning.Add(life+grace).UTC() || a.Account != "form-a" || a.PayeeMemberID != "77" ||
		a.Environment != "sandbox" || a.Redirect.Fields["no"] != string(a.No) || a.Refs["token"] != "T"+string(a.No) {
		t.Errorf("attempt: %+v", a)
	}
	if len(a.Token) != 22 || len(o.PayToken) != 22 || a.Token == o.PayToken {
		t.Errorf("tokens %q and %q", a.Token, o.PayToken)
	}
	want := providers.CreateRequest{
		OrderNo: string(o.No), AttemptNo: string(a.No), Merchant: providers.Merchant{Code: "pma", Name: "停車管理工程處", PayeeMemberID: "77"},
		PayerMemberID: "1361049", Total: twd(40), Methods: []string{"credit_card", "stored_value"}, Settlement: providers.Immediate,
		CreatedAt: morning, ExpiresAt: morning.Add(life),
		ReturnURL: "https://gw.example/r/" + a.Token, CallbackURL: "https://gw.example/callbacks/form-a/" + a.Token,
	}
	for _, l := range cmd.Lines {
		want.Lines = append(want.Lines, providers.BillLine(l))
	}
	if !reflect.DeepEqual(w.form.creates, []providers.CreateRequest{want}) {
		t.Errorf("asked the adapter for\n%+v, want\n%+v", w.form.creates, want)
	}
	if w.wakes.Load() == 0 || w.meter.of("to open") != 1 {
		t.Errorf("wakes %d, moves %d", w.wakes.Load(), w.meter.of("to open"))
	}

	// The answer is repeated as it was, whatever has become of order and configuration.
	w.paidNotice(&o, "n1")
	w.restart(without("form-a"))
	w.store.since()
	again, err := w.place(cmd)
	if err != nil || !again.Replayed || again.Status != first.Status || string(again.Body) != string(first.Body) {
		t.Errorf("replay: %+v, %v", again, err)
	}
	if len(w.form.creates) != 1 || len(w.store.since()) != 0 || w.meter.of("hit sql") != 1 {
		t.Error("a replay did something")
	}
	other := cmd
	other.ReturnURL += "&x=1"
	_, err = w.place(other)
	wantErr(t, err, orders.ErrKeyReused)
}

func TestPlaceRefuses(t *testing.T) {
	w := newWorld(t)
	busy := w.command("form")
	holder, err := w.place(busy)
	if err != nil {
		t.Fatal(err)
	}
	settled := w.command("form")
	if _, err := w.place(settled); err != nil {
		t.Fatal(err)
	}
	payer := w.read(orders.OrderNo("20170613" + "32400001"))
	w.paidNotice(&payer, "n1")
	for name, test := range map[string]struct {
		change func(*orders.Command)
		want   error
	}{
		"reference used":   {func(c *orders.Command) { c.ClientReference = busy.ClientReference }, orders.ErrReferenceUsed},
		"bill in progress": {func(c *orders.Command) { c.Lines[1] = busy.Lines[0] }, &orders.BillError{BillNo: busy.Lines[0].BillNo, Holder: w.order(holder).No, Client: "core"}},
		"bill paid":        {func(c *orders.Command) { c.Lines[0] = settled.Lines[1] }, &orders.BillError{BillNo: settled.Lines[1].BillNo, Paid: true, Holder: payer.No, Client: "core"}},
		"unknown provider": {func(c *orders.Command) { c.Providers = []string{"nobody"} }, &orders.FieldError{Field: "/provider", Code: "unknown", Detail: "no such provider is configured"}},
		"unknown merchant": {func(c *orders.Command) { c.Merchant = "xxx" }, &orders.FieldError{Field: "/merchant", Code: "unknown", Detail: "no such merchant is configured"}},
		"unknown method": {func(c *orders.Command) { c.Methods = []string{"credit_card", "cheque"} },
			&orders.FieldError{Field: "/methods", Code: "not_offered", Detail: "form does not offer every method asked for"}},
		"too little": {func(c *orders.Command) { c.Amount = twd(9) }, &orders.FieldError{Field: "/amount/value", Code: "below_limit", Detail: "form does not take this amount"}},
		"too much":   {func(c *orders.Command) { c.Amount = twd(1001) }, &orders.FieldError{Field: "/amount/value", Code: "above_limit", Detail: "form does not take this amount"}},
		"other currency": {func(c *orders.Command) { c.Amount = money.Amount{} },
			&orders.FieldError{Field: "/amount/value", Code: "other_currency", Detail: "form does not take this amount"}},
		"merchant without payee": {func(c *orders.Command) { c.Merchant = "new" },
			&orders.NoAccountError{Why: "no account is configured for this merchant", RetryAfter: time.Minute}},
		"payee elsewhere": {func(c *orders.Command) { c.Merchant, c.Providers = "lib", []string{"click"} },
			&orders.NoAccountError{Why: "no account is configured for this merchant", RetryAfter: time.Minute}},
	} {
		cmd := w.command("form")
		test.change(&cmd)
		t.Run(name, func(t *testing.T) {
			a, err := w.place(cmd)
			wantErr(t, err, test.want)
			if a.Status != 0 || a.Body != nil {
				t.Errorf("an error with an answer: %+v", a)
			}
			if n := w.number("SELECT COUNT(*) FROM keys WHERE idem_key = $1", cmd.Key.Key); n != 0 {
				t.Error("the key was burnt")
			}
		})
	}
	for name, verb := range map[string]string{"key not read": "LookKey", "no number": "DrawOrderNo", "no commit": "Place"} {
		t.Run(name, func(t *testing.T) {
			w.store.failing(verb)
			defer w.store.healed()
			_, err := w.place(w.command("form"))
			wantErr(t, err, orders.ErrUnavailable)
		})
	}
	t.Run("no randomness", func(t *testing.T) {
		w.restart(func(_ *router.Config, d *router.Deps) { d.Rand = strings.NewReader("") })
		_, err := w.place(w.command("form"))
		wantErr(t, err, io.EOF)
	})
}

func TestPlaceChoosesByWish(t *testing.T) {
	for name, test := range map[string]struct {
		merchant string
		amount   int64
		wish     []string
		methods  []string
		want     string
	}{
		"no wish: order of display":       {"pma", 40, nil, nil, "form-a"},
		"wish before display":             {"pma", 40, []string{"click", "form"}, nil, "click-a"},
		"next wish when out of limits":    {"pma", 2000, []string{"form", "click"}, nil, "click-a"},
		"next display when out of limits": {"pma", 2000, nil, []string{"stored_value"}, "server-a"},
		"account by payee":                {"lib", 40, []string{"form"}, []string{"credit_card"}, "form-b"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cmd := w.command(test.wish...)
			cmd.Merchant, cmd.Amount, cmd.Methods = test.merchant, twd(test.amount), test.methods
			a, err := w.place(cmd)
			if err != nil {
				t.Fatal(err)
			}
			o := w.order(a)
			if o.Current().Account != test.want || o.Provider != strings.TrimRight(test.want, "-ab") {
				t.Errorf("%s of %s, want %s", o.Current().Account, o.Provider, test.want)
			}
			if len(test.methods) > 0 && !slices.Equal(o.Methods, test.methods) {
				t.Errorf("methods %v, want %v", o.Methods, test.methods)
			}
		})
	}
}

// Many requests under one key make one order, and all get its answer.
func TestPlaceConcurrently(t *testing.T) {
	const n = 8
	w := newWorld(t)
	cmd := w.command("form")
	answers, errs := make([]orders.Answer, n), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { answers[i], errs[i] = w.place(cmd) })
	}
	all.Wait()
	first := 0
	for i, a := range answers {
		if errs[i] != nil || a.Status != 201 || string(a.Body) != string(answers[0].Body) {
			t.Errorf("answer %+v, %v", a, errs[i])
		}
		if !a.Replayed {
			first++
		}
	}
	if got := w.number("SELECT COUNT(*) FROM orders"); first != 1 || got != 1 {
		t.Errorf("%d first answers and %d orders, want one", first, got)
	}
}

// claims is a fast lock as a test wants it.
type claims struct {
	taken    bool
	err      error
	held     []string
	released []string
}

func (c *claims) Claim(_ context.Context, key, token string, ttl time.Duration) (bool, error) {
	if ttl != lease {
		return false, errors.New("a ttl that does not match the lease")
	}
	c.held = append(c.held, key+" "+token)
	return c.taken, c.err
}

func (c *claims) Release(ctx context.Context, key, token string) error {
	c.released = append(c.released, key+" "+token)
	if c.err != nil {
		return c.err
	}
	return ctx.Err()
}

func TestPlaceWithClaims(t *testing.T) {
	for name, test := range map[string]struct {
		claims     claims
		known      bool // the key has a row
		want       error
		hits       string
		wantNoFree bool
	}{
		"free":                     {},
		"free, but known":          {known: true, hits: "hit sql"},
		"taken, no row":            {claims: claims{taken: true}, want: orders.ErrInFlight, hits: "hit redis", wantNoFree: true},
		"taken, known":             {claims: claims{taken: true}, known: true, hits: "hit sql", wantNoFree: true},
		"not known whether taken":  {claims: claims{err: errors.New("down")}, wantNoFree: true},
		"an error is never taken":  {claims: claims{taken: true, err: errors.New("down")}, wantNoFree: true},
		"not known whether, known": {claims: claims{err: errors.New("down")}, known: true, hits: "hit sql", wantNoFree: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cmd := w.command("form")
			if test.known {
				if _, err := w.place(cmd); err != nil {
					t.Fatal(err)
				}
			}
			c := test.claims
			w.restart(func(_ *router.Config, d *router.Deps) { d.Claims = &c })
			a, err := w.place(cmd)
			wantErr(t, err, test.want)
			if a.Replayed != test.known || (err == nil) != (a.Status == 201) {
				t.Errorf("answer %+v", a)
			}
			if test.hits != "" && w.meter.of(test.hits) != 1 {
				t.Errorf("no %s", test.hits)
			}
			if len(c.held) != 1 || !strings.HasPrefix(c.held[0], "idem:core:POST /v1/orders:"+cmd.Key.Key+" ") {
				t.Errorf("claimed %v", c.held)
			}
			if test.wantNoFree != (len(c.released) == 0) || (!test.wantNoFree && c.released[0] != c.held[0]) {
				t.Errorf("claimed %v, released %v", c.held, c.released)
			}
		})
	}
}

func TestProviders(t *testing.T) {
	w := newWorld(t)
	amount := func(n int64) *money.Amount { a := twd(n); return &a }
	foreign := money.Amount{}
	for name, test := range map[string]struct {
		merchant string
		amount   *money.Amount
		want     string
	}{
		"all":             {"", nil, "form server click"},
		"by amount":       {"", amount(5), "form:below_limit server click"},
		"by currency":     {"", &foreign, "form:other_currency server:other_currency click:other_currency"},
		"by merchant":     {"lib", nil, "form server:merchant_not_configured click:merchant_not_configured"},
		"by both":         {"pma", amount(1001), "form:above_limit server click"},
		"nobody's":        {"xxx", nil, "form:merchant_not_configured server:merchant_not_configured click:merchant_not_configured"},
		"by the boundary": {"pma", amount(1000), "form server click"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, l := range w.Providers(test.merchant, test.amount, morning) {
				word := l.Descriptor.Name
				if l.Why != "" {
					word += ":" + l.Why
				}
				if l.Available != (l.Why == "") || !l.Fee.IsZero() {
					t.Errorf("listing %+v", l)
				}
				got = append(got, word)
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("%v, want %s", got, test.want)
			}
		})
	}
}
