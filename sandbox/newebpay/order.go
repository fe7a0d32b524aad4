package newebpay

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

const (
	version     = "2.3"
	maxForm     = 64 << 10
	pageLife    = 30 * time.Minute // of a page without TradeLimit
	webATMLimit = 49_999
)

// closed answers with status 503 whatever page is shown.
type closed struct{ http.ResponseWriter }

// WriteHeader does not care which status the page has.
func (c closed) WriteHeader(int) { c.ResponseWriter.WriteHeader(http.StatusServiceUnavailable) }

// checkout takes an order from the payer's browser and leads it to the payer's page.
func (b *double) checkout(w http.ResponseWriter, r *http.Request) {
	if b.desk.Panel.Current().Closed {
		b.desk.Refuse(closed{w}, r, "503", "closed for maintenance")
		return
	}
	p, no := b.read(w, r)
	if no != nil {
		b.desk.Refuse(w, r, no.code, no.why)
		return
	}
	p, err := b.desk.Open(p)
	switch {
	case errors.Is(err, desk.ErrExists):
		b.desk.Refuse(w, r, "MPG03008", err.Error())
	case err != nil:
		b.desk.Refuse(w, r, "MPG02006", err.Error())
	case p.Extra["lang"] == "en":
		http.Redirect(w, r, b.desk.Page(p)+"?lang=en", http.StatusSeeOther)
	default:
		b.desk.GoTo(w, r, p)
	}
}

// read reads an order. Its digest is checked before anything is opened.
func (b *double) read(w http.ResponseWriter, r *http.Request) (desk.Payment, *refusal) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if err != nil {
		return desk.Payment{}, &refusal{"MPG02005", "the form is too long"}
	}
	f, err := formOf(r, body)
	if err != nil {
		return desk.Payment{}, &refusal{"MPG02005", err.Error()}
	}
	if _, sent := f["EncryptType"]; sent {
		return desk.Payment{}, &refusal{"MPG02004", "EncryptType is not taken: only AES-CBC is played here"}
	}
	for _, field := range [][2]string{{"MerchantID", "MPG01009"}, {"TradeInfo", "MPG01023"}, {"TradeSha", "MPG01024"}, {"Version", "MPG02010"}} {
		if f[field[0]] == "" {
			return desk.Payment{}, &refusal{field[1], field[0] + " is missing"}
		}
	}
	plain, opens := "", same(f["TradeSha"], b.keys.tradeSha(f["TradeInfo"]))
	if opens {
		plain, opens = b.keys.open(f["TradeInfo"])
	}
	switch {
	case len(f) != 4:
		return desk.Payment{}, &refusal{"MPG02005", "the form holds more than MerchantID, TradeInfo, TradeSha and Version"}
	case f["Version"] != version:
		return desk.Payment{}, &refusal{"MPG02010", "Version is not " + version}
	case !b.payees[f["MerchantID"]]:
		return desk.Payment{}, &refusal{"MPG03007", "there is no such shop"}
	case !opens:
		return desk.Payment{}, &refusal{"MPG03008", "TradeSha or TradeInfo is not what the shop's keys make"}
	}
	return b.order(f["MerchantID"], plain)
}

// order reads the opened part of an order.
func (b *double) order(payee, plain string) (p desk.Payment, no *refusal) {
	f, err := sealedForm(plain)
	if err != nil {
		return p, &refusal{"MPG02004", err.Error()}
	}
	if no := check(f); no != nil {
		return p, no
	}
	now := b.desk.Now()
	amount, errAmount := strconv.ParseInt(f["Amt"], 10, 64)
	limit, errLimit := strconv.ParseInt("0"+f["TradeLimit"], 10, 64)
	if err := errors.Join(errAmount, errLimit); err != nil {
		return p, &refusal{"MPG01015", err.Error()}
	}
	life := time.Duration(limit) * time.Second
	if life == 0 {
		life = pageLife
	}
	p = desk.Payment{
		Number: f["MerchantOrderNo"], Payee: payee, Title: f["ItemDesc"], Amount: amount, Methods: offered(f, amount), Expires: now.Add(life),
		Extra: map[string]string{"return": f["ReturnURL"], "notify": f["NotifyURL"], "leave": f["ClientBackURL"], "lang": f["LangType"], "trade": b.newTrade(now)},
	}
	switch {
	case f["MerchantID"] != payee:
		return p, &refusal{"MPG03007", "MerchantID inside TradeInfo is not the one outside"}
	case !fresh(f["TimeStamp"], now):
		return p, &refusal{"MPG02004", "TimeStamp is more than 120 seconds from now: make the form when the payer is sent"}
	case len(p.Methods) == 0:
		return p, &refusal{"MPG02003", "no method that this shop has is asked for, or the amount is too large for it"}
	}
	return p, checkDetail(f["OrderDetail"], amount)
}

// offered are the methods that the payer may choose from. An order that switches nothing on leaves it to the shop, which has
// both; a method for which the amount is too large is hidden without a word.
func offered(f map[string]string, amount int64) (methods []string) {
	chosen := slices.ContainsFunc(switches, func(name string) bool { return f[name] == "1" }) || strings.Trim(f["InstFlag"]+f["CVSCOM"], "0") != ""
	if !chosen || f["CREDIT"] == "1" {
		methods = append(methods, card)
	}
	if (!chosen || f["WEBATM"] == "1") && amount <= webATMLimit {
		methods = append(methods, webATM)
	}
	return methods
}

// newTrade is a number for an order of which no money has moved yet.
func (b *double) newTrade(now time.Time) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orders++
	return now.In(desk.Taipei()).Format("060102150405") + fmt.Sprintf("%05d", b.orders%100_000)
}

func fresh(timestamp string, now time.Time) bool {
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	return err == nil && strconv.FormatInt(seconds, 10) == timestamp && now.Sub(time.Unix(seconds, 0)).Abs() <= tolerance
}
