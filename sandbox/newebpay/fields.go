package newebpay

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const malformed = "MPG02005" // of fields for which the manual has no code

// rule is what a field of an order may hold, and the code of one that holds something else.
type rule struct {
	code string
	form *regexp.Regexp
}

func is(code, form string) rule { return rule{code, regexp.MustCompile("^(?:" + form + ")$")} }

// required are the fields without which there is no order. The addresses are among them because the shops of this double
// have no console in which to set them.
var required = []string{"MerchantID", "RespondType", "TimeStamp", "Version", "MerchantOrderNo", "Amt", "ItemDesc", "ReturnURL", "NotifyURL"}

// switches are the methods of payment that an order can ask for.
var switches = []string{
	"CREDIT", "APPLEPAY", "ANDROIDPAY", "SAMSUNGPAY", "LINEPAY", "CreditRed", "UNIONPAY", "CREDITAE", "WEBATM", "VACC", "CVS", "BARCODE",
	"ESUNWALLET", "TAIWANPAY", "BITOPAY", "TWQR", "EZPWECHAT", "EZPALIPAY",
}

var rules = orderRules()

func orderRules() map[string]rule {
	all := map[string]rule{
		"MerchantID": is("MPG01009", `[0-9A-Za-z]{1,15}`), "RespondType": is("MPG01011", `JSON`), "TimeStamp": is("MPG01002", `[1-9][0-9]{0,10}`),
		"Version": is("MPG02010", `2\.3`), "MerchantOrderNo": is("MPG01012", `[A-Za-z0-9_]{1,30}`), "Amt": is("MPG01015", `[1-9][0-9]{0,9}`),
		"ItemDesc": is("MPG01017", `[^\p{Cc}\p{Zl}\p{Zp}'"]{1,50}`), "LangType": is(malformed, `en|zh-tw|jp`),
		"TradeLimit": is(malformed, `0|[6-9][0-9]|[1-8][0-9]{2}|900`), "ExpireDate": is("MPG01018", `[0-9]{8}`), "ExpireTime": is("MPG01018", `[0-9]{6}`),
		"ReturnURL": is("MPG01014", `.{1,200}`), "NotifyURL": is("MPG01014", `.{1,200}`), "CustomerURL": is("MPG01014", `.{1,200}`), "ClientBackURL": is("MPG01014", `.{1,200}`),
		"Email": is("MPG01013", `[^\s@]+@[^\s@]+`), "EmailModify": is("MPG01013", `[01]`), "OrderComment": is(malformed, `(?s).{1,300}`),
		"InstFlag": is("MPG01008", `[01]|(?:3|6|8|12|18|24|30)(?:,(?:3|6|8|12|18|24|30)){0,6}`), "BankType": is("MPG01025", `(?:BOT|HNCB|KGI)(?:,(?:BOT|HNCB|KGI)){0,2}`),
		"CVSCOM": is(malformed, `[0-3]`), "LgsType": is("MPG05006", `B2C|C2C`), "TWQR_LifeTime": is(malformed, `[1-9][0-9]{0,6}`),
		"SourceType": is(malformed, `[0-4]`), "SourceBankId": is(malformed, `[0-9]{3}`), "SourceAccountNo": is(malformed, `[0-9]{1,16}`), "WalletDisplayMode": is(malformed, `[01]`),
		"TokenTerm": is("MPG01005", `[A-Za-z0-9._@-]{1,20}`), "TokenTermDemand": is("MPG01005", `[1-4]`), "OrderDetail": is("MPG01028", `(?s).+`),
	}
	for _, name := range switches {
		all[name] = is(malformed, `[01]`)
	}
	return all
}

// check holds the fields against the manual's table.
func check(f map[string]string) *refusal {
	for _, name := range required {
		if _, sent := f[name]; !sent {
			return &refusal{rules[name].code, name + " is missing"}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		switch r, known := rules[name]; {
		case !known:
			return &refusal{"MPG02005", fmt.Sprintf("%.40q is no field of an order", name)}
		case !r.form.MatchString(f[name]), name == "Email" && len(f[name]) > 50:
			return &refusal{r.code, name + " is malformed"}
		case strings.HasSuffix(name, "URL") && !webURL(f[name]):
			return &refusal{r.code, name + " is not an absolute web address on port 80 or 443"}
		}
	}
	if f["ReturnURL"] == f["NotifyURL"] {
		return &refusal{"MPG01014", "ReturnURL and NotifyURL are the same: the shop would take two messages for two payments"}
	}
	return nil
}

// checkDetail reads an order's lines, if it has any: they add up to its amount and have numbers of their own.
func checkDetail(text string, amount int64) *refusal {
	if text == "" {
		return nil
	}
	var lines []struct {
		ItemName, ItemOrderNo string
		ItemAmt               int64
		ItemType              int
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&lines); err != nil || d.More() {
		return &refusal{"MPG01028", "OrderDetail is not a list of items"}
	}
	var numbers []string
	for _, l := range lines {
		switch {
		case l.ItemAmt < 1 || l.ItemAmt > amount || l.ItemType < 1 || l.ItemType > 3 || l.ItemName == "" || utf8.RuneCountInString(l.ItemName) > 20 || l.ItemOrderNo == "" || len(l.ItemOrderNo) > 20:
			return &refusal{"MPG01028", "an item of OrderDetail is malformed"}
		case slices.Contains(numbers, l.ItemOrderNo):
			return &refusal{"MPG01030", "ItemOrderNo is repeated"}
		}
		numbers, amount = append(numbers, l.ItemOrderNo), amount-l.ItemAmt
	}
	if amount != 0 {
		return &refusal{"MPG01029", "the items of OrderDetail do not add up to Amt"}
	}
	return nil
}

// webURL takes any port on loopback, since that is where a double and a gateway meet.
func webURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	here := u.Hostname() == "localhost" || (err == nil && addr.IsLoopback())
	return here || slices.Contains([]string{"", "80", "443"}, u.Port())
}
