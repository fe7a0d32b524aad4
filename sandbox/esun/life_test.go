package esun_test

import (
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/esun"
	"pay.taipei/gateway/sandbox/internal/desk"
)

var approval = regexp.MustCompile(`^RC=00,MID=8089000001,ONO=([0-9A-Z]+),LTD=20170614,LTT=070405,RRN=507165000001,AIR=([0-9]{6}),AN=552199\*{6}1856$`)

func TestPaid(t *testing.T) {
	for _, entry := range []string{pagePC, pageMobile} {
		c := newCity(t)
		p := c.post(entry, c.form(c.order("A2")))
		if p.status != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", entry, p.status, p.body)
		}
		at := p.location
		if shown := c.get(at).body; !strings.Contains(shown, "NT$1302") || !strings.Contains(shown, `id="pay-credit_card"`) || !strings.Contains(shown, "玉山銀行") {
			t.Error(shown)
		}
		if q := c.query("A2"); q.code != "GD" || len(q.txn) != 3 || q.txn["ONO"] != "A2" || q.txn["MID"] != c.mid {
			t.Errorf("before the card was entered: %+v", q)
		}
		c.pay(at, "credit_card")
		data, signed := c.result(at)
		found := approval.FindStringSubmatch(data)
		if found == nil || signed != "signed" {
			t.Fatalf("%s, %s", data, signed)
		}
		want := map[string]string{"RC": "00", "MID": c.mid, "ONO": "A2", "LTD": "20170614", "LTT": "070405", "RRN": "507165000001", "AIR": found[2], "TXNAMOUNT": "1302.00"}
		if q := c.query("A2"); !maps.Equal(q.txn, want) || q.quoted {
			t.Errorf("%+v", q)
		}
		if b := c.book("A2"); b.State != desk.Paid || b.Charges != 1 || b.Amount != 1302 || b.Payee != c.mid {
			t.Errorf("%+v", b)
		}
	}
}

func TestNothingIsSentToTheMerchant(t *testing.T) {
	c := newCity(t)
	c.pay(c.visit(c.order("A2")), "credit_card")
	if next, err := c.bank.Step(t.Context()); err != nil || !next.IsZero() || c.book("A2").Deliveries != 0 {
		t.Errorf("%v, %v", next, err)
	}
}

func TestTxnDataIsTextForOddNumbers(t *testing.T) {
	c := newCity(t)
	for ono, quoted := range map[string]bool{"A1": true, "A2": false, "9B": false, "7": true, "90": false} {
		if q := c.query(ono); q.quoted != quoted || q.code != "GD" {
			t.Errorf("unknown %s: %+v", ono, q)
		}
		c.pay(c.visit(c.order(ono)), "credit_card")
		if q := c.query(ono); q.quoted != quoted || q.txn["TXNAMOUNT"] != "1302.00" {
			t.Errorf("%s: %+v", ono, q)
		}
		if s := c.cancel(ono); s.quoted || s.code != "00" {
			t.Errorf("cancel %s: %+v", ono, s)
		}
	}
}

func TestOutcomesWithoutMoney(t *testing.T) {
	for _, r := range []struct {
		name, faults, method string
		wait                 time.Duration
		state                desk.State
		result, signed, told string
	}{
		{"declined", `{"fail":true}`, "credit_card", 0, desk.Failed, "54", "signed", "54"},
		{"left", `{}`, "", 0, desk.Cancelled, "GR", "unsigned", "GR"},
		{"timed out", `{}`, "credit_card", 20 * time.Minute, desk.Expired, "GT", "unsigned", "GD"},
	} {
		c := newCity(t)
		at := c.visit(c.order("A3"))
		c.faults(r.faults)
		c.clock.Advance(r.wait)
		c.pay(at, r.method)
		if data, signed := c.result(at); data != "RC="+r.result+",MID="+c.mid+",ONO=A3" || signed != r.signed {
			t.Errorf("%s: %s, %s", r.name, data, signed)
		}
		if q := c.query("A3"); q.code != r.told || len(q.txn) != 3 || !q.quoted {
			t.Errorf("%s: %+v", r.name, q)
		}
		if s := c.cancel("A3"); s.code != "GF" || len(s.txn) != 3 {
			t.Errorf("%s: cancel %+v", r.name, s)
		}
		if b := c.book("A3"); b.State != r.state || b.Charges != 0 {
			t.Errorf("%s: %+v", r.name, b)
		}
		if p := c.post(pagePC, c.form(c.order("A3"))); p.status != http.StatusBadRequest || !strings.Contains(p.body, "（G6）") {
			t.Errorf("%s: the number again: %d %s", r.name, p.status, p.body)
		}
	}
}

func TestThePageLives20Minutes(t *testing.T) {
	c := newCity(t)
	at := c.visit(c.order("A2"))
	c.clock.Advance(20*time.Minute - time.Second)
	c.pay(at, "credit_card")
	if s := c.book("A2").State; s != desk.Paid {
		t.Error(s)
	}
}

func TestCancelTakesBackOnce(t *testing.T) {
	c := newCity(t)
	at := c.visit(c.order("A2"))
	if s := c.cancel("A2"); s.code != "GF" {
		t.Errorf("while open: %+v", s)
	}
	if s := c.cancel("B2"); s.code != "GD" {
		t.Errorf("unknown: %+v", s)
	}
	c.pay(at, "credit_card")
	before, paid := c.query("A2"), c.book("A2")
	data, _ := c.result(at)
	want := maps.Clone(before.txn)
	delete(want, "TXNAMOUNT")
	if s := c.cancel("A2"); !maps.Equal(s.txn, want) {
		t.Errorf("%+v, want %v", s, want)
	}
	if s := c.cancel("A2"); s.code != "GF" {
		t.Errorf("again: %+v", s)
	}
	if b := c.book("A2"); b.State != desk.Voided || b.Trade != paid.Trade {
		t.Errorf("%+v", b)
	}
	if after := c.query("A2"); !maps.Equal(after.txn, before.txn) {
		t.Errorf("%+v", after)
	}
	if again, signed := c.result(at); again != data || signed != "signed" {
		t.Errorf("%s, %s", again, signed)
	}
}

func TestAMerchantSeesOnlyItsOwn(t *testing.T) {
	c := newCity(t)
	c.pay(c.visit(c.order("A2")), "credit_card")
	pma := c.mid
	c.mid = c.bank.Payees["water"]
	if c.mid == "" || c.mid == pma || len(c.bank.Payees) != 2 {
		t.Fatal(c.bank.Payees)
	}
	if q, s := c.query("A2"), c.cancel("A2"); q.code != "GD" || s.code != "GD" {
		t.Errorf("%+v, %+v", q, s)
	}
	if s := c.book("A2").State; s != desk.Paid {
		t.Error(s)
	}
}

func TestInstalmentsAndPoints(t *testing.T) {
	c := newCity(t)
	data := strings.NewReplacer(`"EC000001"`, `"EC000002","IC":"0100103"`, `"1302"`, `"1000"`).Replace(c.order("A2"))
	at := c.visit(data)
	c.pay(at, "credit_card")
	if said, signed := c.result(at); !strings.HasSuffix(said, ",AN=552199******1856,ITA=1000.00,IP=3,IFPA=334.00,IPA=333.00") || signed != "signed" {
		t.Errorf("%s, %s", said, signed)
	}
	if q := c.query("A2"); q.txn["ITA"]+q.txn["IP"]+q.txn["IFPA"]+q.txn["IPA"]+q.txn["TXNAMOUNT"] != "1000.003334.00333.001000.00" || len(q.txn) != 12 {
		t.Errorf("%+v", q)
	}
	at = c.visit(strings.Replace(c.order("B2"), `"TA"`, `"BPF":"Y","TA"`, 1))
	c.pay(at, "credit_card")
	if said, _ := c.result(at); !strings.HasSuffix(said, ",AN=552199******1856,BRP=0,BB=0,BRA=0.00") {
		t.Error(said)
	}
	at = c.visit(strings.Replace(c.order("C2"), `"TA"`, `"BPF":"N","TA"`, 1))
	c.pay(at, "credit_card")
	if said, _ := c.result(at); !strings.HasSuffix(said, ",AN=552199******1856") {
		t.Error(said)
	}
}

func TestKeysAndMerchantsComeFromThePlace(t *testing.T) {
	deps := desk.Deps{Now: (&testkit.Clock{}).Now, Rand: &testkit.Counter{}, HTTP: http.DefaultClient}
	open := func(seed string) *desk.Running {
		t.Helper()
		r, err := esun.Double().Open(desk.Place{URL: "http://b.example", Merchants: map[string]string{"b": "B", "a": "A"}, Seed: []byte(seed)}, deps)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if one, again, other := open("1"), open("1"), open("2"); one.Settings != again.Settings || one.Settings == other.Settings || !maps.Equal(one.Payees, again.Payees) {
		t.Error(one.Settings, again.Settings, other.Settings)
	}
	deps.Now = nil
	if _, err := esun.Double().Open(desk.Place{}, deps); err == nil {
		t.Error("opened without a clock")
	}
}
