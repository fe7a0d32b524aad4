package core

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"pay.taipei/gateway/money"
)

// payerMemberID is the one citizen who uses this core.
const payerMemberID = "1361049"

// bill is what an agency asks for. Owner is its vehicle ("C AB-2468") or water number
// ("F-09-069668-0"), the key of a look-up; it never leaves the core.
type bill struct {
	No, Merchant, Name, Due, Owner string
	Amount                         money.Amount
}

// agencyOf names a merchant as citizens know it.
func agencyOf(merchant string) bilingual {
	switch merchant {
	case "pma":
		return bilingual{"臺北市停車管理工程處", "Taipei City Parking Management and Development Office"}
	case "twd":
		return bilingual{"臺北自來水事業處", "Taipei Water Department"}
	}
	return bilingual{merchant, merchant}
}

func seedBills() ([]bill, error) {
	bills := []bill{
		{No: "H60983881309263", Merchant: "pma", Name: "停車費", Due: "2017/06/26", Owner: "C AB-2468"},
		{No: "H61283631217536", Merchant: "pma", Name: "停車費", Due: "2017/06/27", Owner: "C AB-2468"},
		{No: "L61081551523145", Merchant: "pma", Name: "停車費", Due: "2017/06/26", Owner: "M 135-AB"},
		{No: "H61383880915402", Merchant: "pma", Name: "停車費", Due: "2017/06/28", Owner: "C ABC-5688"},
		{No: "F090696680-10605", Merchant: "twd", Name: "水費", Due: "2017/06/30", Owner: "F-09-069668-0"},
		{No: "F090696680-10603", Merchant: "twd", Name: "水費", Due: "2017/05/02", Owner: "F-09-069668-0"},
	}
	for i, dollars := range []int64{20, 20, 20, 60, 312, 286} {
		var err error
		if bills[i].Amount, err = money.FromUnits(dollars, money.TWD); err != nil {
			return nil, fmt.Errorf("core: bill %s: %w", bills[i].No, err)
		}
	}
	return bills, nil
}

// Shapes are strict enough to stop typing mistakes and never refuse a real number: check
// digits are not published, and the guide's own plate holds a digit that newer plates avoid.
var (
	billForm  = regexp.MustCompile(`^[0-9A-Z-]{9,20}$`)
	plateForm = regexp.MustCompile(`^(?:[0-9A-Z]{2,4}-[0-9A-Z]{2,4}|[軍使臨外試][0-9A-Z]{0,2}-?[0-9]{2,6})$`)
	waterForm = regexp.MustCompile(`^([0-9A-Z])-([0-9]{2})-([0-9]{6})-([0-9])$`)
)

// canonical is what a person meant: full-width letters, lower case and the many dashes of
// input methods become plain ones.
func canonical(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '\u2010' && r <= '\u2015', r == '\u2212', r == '\u30fc':
			return '-'
		case r == ' ':
			return -1
		}
		return r
	}, strings.ToUpper(norm.NFKC.String(strings.TrimSpace(s))))
}

// The ways to look bills up.
const (
	byNumber = "number"
	byPlate  = "plate"
	byWater  = "water"
	byNone   = "" // the bills are named one by one
)

// find is the bills that a look-up means, and whether its fields have the right shape.
func (c *Core) find(q url.Values) (bills []bill, ok bool) {
	var owner string
	switch q.Get("by") {
	case byNumber:
		no := canonical(q.Get("bill_no"))
		if !billForm.MatchString(no) {
			return nil, false
		}
		if i := slices.IndexFunc(c.seeds, func(b bill) bool { return b.No == no }); i >= 0 {
			owner = c.seeds[i].Owner
		}
	case byPlate:
		plate, class := canonical(q.Get("plate")), q.Get("vehicle")
		if !plateForm.MatchString(plate) || (class != "C" && class != "M") {
			return nil, false
		}
		owner = class + " " + plate
	case byWater:
		parts := []string{q.Get("water_1"), q.Get("water_2"), q.Get("water_3"), q.Get("water_4")}
		owner = canonical(strings.Join(parts, "-"))
		if !waterForm.MatchString(owner) {
			return nil, false
		}
	case byNone:
		return c.named(q["bill"]), true
	default:
		return nil, false
	}
	for _, b := range c.seeds {
		if b.Owner == owner {
			bills = append(bills, b)
		}
	}
	return bills, true
}

// named is our bills with these numbers, each once.
func (c *Core) named(numbers []string) (bills []bill) {
	for _, b := range c.seeds {
		if slices.Contains(numbers, b.No) {
			bills = append(bills, b)
		}
	}
	return bills
}

// homeView is the look-up page: what was typed, and in which form it was wrong.
type homeView struct {
	Typed    url.Values
	Wrong    string
	NoHyphen bool   // the plate lacks its hyphen
	Last     string // address of the citizen's newest order; empty: none
}

func (c *Core) home(w http.ResponseWriter, r *http.Request) {
	c.render(w, r, http.StatusOK, page{Name: "home", Body: homeView{Last: lastOrder(r)}})
}

type billRow struct {
	bill
	Agency       bilingual
	Paid, Ticked bool
}

type billsView struct {
	Query []field // of the look-up, carried along
	Rows  []billRow
	Count int
	Total money.Amount
	Wrong string // why the bills cannot be paid like this; empty: nothing is wrong

	Settled    bool   // there are bills, and all are paid
	Receipt    string // then the address of the result page, if this browser paid one of them
	Other      string // when there are none: the same plate as the other kind of vehicle
	Motorcycle bool   // the kind looked for
}

type field struct{ Name, Value string }

func (c *Core) showBills(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	bills, ok := c.find(q)
	if !ok {
		plate := canonical(q.Get("plate"))
		v := homeView{Typed: q, Wrong: q.Get("by"), NoHyphen: plate != "" && !strings.Contains(plate, "-"), Last: lastOrder(r)}
		c.render(w, r, http.StatusUnprocessableEntity, page{Name: "home", Body: v})
		return
	}
	c.listBills(w, r, http.StatusOK, bills, "")
}

func (c *Core) listBills(w http.ResponseWriter, r *http.Request, status int, bills []bill, wrong string) {
	q := r.URL.Query()
	v := billsView{Total: money.Zero(money.TWD), Wrong: wrong, Motorcycle: q.Get("vehicle") == "M"}
	newest, _ := newestOrder(r)
	for _, name := range []string{"by", "bill_no", "plate", "vehicle", "water_1", "water_2", "water_3", "water_4"} {
		if q.Has(name) {
			v.Query = append(v.Query, field{name, q.Get(name)})
		}
	}
	for _, b := range bills {
		paidBy := c.books.paidBy(b)
		row := billRow{bill: b, Agency: agencyOf(b.Merchant), Paid: paidBy != ""}
		if row.Paid && paidBy == newest {
			v.Receipt = lastOrder(r)
		}
		row.Ticked = !row.Paid && slices.Contains(q["bill"], b.No)
		if row.Ticked {
			v.Count++
			v.Total, _ = v.Total.Add(b.Amount) // our own few bills cannot overflow
		}
		v.Rows = append(v.Rows, row)
	}
	v.Settled = len(v.Rows) > 0 && !slices.ContainsFunc(v.Rows, func(row billRow) bool { return !row.Paid })
	if len(v.Rows) == 0 && q.Get("by") == byPlate {
		other := "M"
		if v.Motorcycle {
			other = "C"
		}
		v.Other = "/bills?" + url.Values{"by": {byPlate}, "plate": {q.Get("plate")}, "vehicle": {other}}.Encode()
	}
	c.render(w, r, status, page{Name: "bills", Body: v})
}

// basket is bills that can be paid in one order.
type basket struct {
	Merchant string
	Agency   bilingual
	Bills    []bill
	Total    money.Amount
}

// gather makes a basket of ticked bills, or says why it cannot.
func (c *Core) gather(numbers []string) (k basket, wrong string) {
	k = basket{Bills: c.named(numbers), Total: money.Zero(money.TWD)}
	if len(k.Bills) == 0 {
		return basket{}, "none"
	}
	k.Merchant = k.Bills[0].Merchant
	k.Agency = agencyOf(k.Merchant)
	for _, b := range k.Bills {
		switch {
		case b.Merchant != k.Merchant:
			return basket{}, "mixed"
		case c.books.paidBy(b) != "":
			return basket{}, "paid"
		}
		var err error
		if k.Total, err = k.Total.Add(b.Amount); err != nil {
			return basket{}, "total"
		}
	}
	return k, ""
}
