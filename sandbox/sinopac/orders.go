package sinopac

import (
	"errors"
	"fmt"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// malformed is the answer to a message with a member that cannot be.
func malformed(shop, wrong string) answer { return refuse(shop, "S0001 – 欄位錯誤: "+wrong) }

// create serves OrderCreate: it opens the payment that the card page is for.
func (b *bank) create(shop string, in *reader) answer {
	number, dollars := in.orderNo(), in.dollars()
	in.choice("CurrencyID", "TWD")
	in.choice("PayType", "C")
	if in.has("ATMParam") {
		in.object("ATMParam").end() // nothing can stand there for a card
	}
	billing, minutes := cardTerms(in.object("CardParam"))
	title := in.text("PrdtName", 1, 60)
	extra := map[string]string{
		"return": in.address("ReturnURL"), "backend": in.address("BackendURL"), "ts_no": b.tsNo(), "billing": billing, "memo": in.text("Memo", 0, 30),
	}
	for _, name := range []string{"Param1", "Param2", "Param3"} {
		extra[name] = in.text(name, 0, 255)
	}
	if wrong := in.end(); wrong != "" {
		return malformed(shop, wrong)
	}
	p := desk.Payment{
		Number: number, Payee: shop, Title: title, Amount: dollars, Methods: []string{"credit_card"},
		Expires: b.desk.Now().Add(minutes), Extra: extra,
	}
	opened, err := b.desk.Open(p)
	if errors.Is(err, desk.ErrExists) && opened.Payee != shop {
		p.Number = elsewhere(number, shop)
		opened, err = b.desk.Open(p)
	}
	switch {
	case errors.Is(err, desk.ErrExists):
		return refuse(shop, "S0010 – 訂單編號重複")
	case err != nil:
		return refuse(shop, "S0099 – 系統忙碌: "+err.Error())
	}
	return answer{body: map[string]any{
		"ShopNo": shop, "OrderNo": number, "TSNo": extra["ts_no"], "Amount": dollars * 100, "Status": "S", "Description": succeeded,
		"CardParam": map[string]string{"CardPayURL": b.origin + b.desk.Page(opened)},
	}}
}

// cardTerms reads CardParam: AutoBilling, and how long the card page is good for.
func cardTerms(card *reader) (billing string, page time.Duration) {
	billing, minutes := card.choice("AutoBilling", "Y", "N"), int64(10)
	if card.has("ExpMinutes") {
		minutes = card.whole("ExpMinutes", 30)
	}
	if card.has("ExpBillingDays") {
		card.whole("ExpBillingDays", 7)
		if billing == "Y" {
			card.fail("ExpBillingDays is for AutoBilling N")
		}
	}
	if card.has("PayTypeSub") {
		card.choice("PayTypeSub", "ONE")
	}
	card.text("Staging", 0, 0)
	card.text("CCToken", 0, 0)
	card.end()
	return billing, time.Duration(minutes) * time.Minute
}

// tsNo is the bank's number of an order, given before anybody pays.
func (b *bank) tsNo() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orders++
	return fmt.Sprintf("C%s%05d", b.desk.Now().In(desk.Taipei()).Format("20060102150405"), b.orders%100_000)
}

// elsewhere is the desk's number of an order whose number another shop has used first: numbers are unique per shop here, and
// in all of the desk there. No order number has a %.
func elsewhere(number, shop string) string { return number + "%" + shop }

func (b *bank) find(shop, number string) (desk.Payment, bool) {
	if p, ok := b.desk.Find(number); ok && p.Payee == shop {
		return p, true
	}
	return b.desk.Find(elsewhere(number, shop))
}

// capturedAt is when a payment was captured, as of some moment; the zero time: not yet.
func capturedAt(p desk.Payment, moment time.Time) time.Time {
	at := p.PaidAt.Add(captures)
	if p.State != desk.Paid || p.Extra["billing"] != "Y" || at.After(moment) {
		return time.Time{}
	}
	return at
}

// maintain serves OrderMaintain: C takes back whole before the capture, R pays back after it.
func (b *bank) maintain(shop string, in *reader) answer {
	number, command := in.orderNo(), in.choice("Command", "C", "R")
	in.text("Remark", 0, 255)
	dollars := int64(0)
	if in.has("Amount") {
		dollars = in.dollars()
	}
	if wrong := in.end(); wrong != "" {
		return malformed(shop, wrong)
	}
	p, known := b.find(shop, number)
	if !known {
		return refuse(shop, "S0020 – 查無訂單")
	}
	if dollars == 0 {
		dollars = p.Amount - p.Refunded()
	}
	body := map[string]any{
		"OrderNo": number, "ShopNo": shop, "TSNo": p.Extra["ts_no"], "Command": command, "Amount": dollars * 100,
		"Date": stamp(b.desk.Now()), "Status": "S", "Description": succeeded,
	}
	if err := b.change(p, command, dollars); err != nil {
		body["Status"], body["Description"] = "F", "S0030 – 無法處理: "+err.Error()
	}
	return answer{body: body}
}

// change carries out a command that can be read.
func (b *bank) change(p desk.Payment, command string, dollars int64) error {
	captured := !capturedAt(p, b.desk.Now()).IsZero()
	switch {
	case command == "R" && !captured:
		return errors.New("only what is captured is paid back")
	case command == "R":
		_, err := b.desk.Refund(p.Number, dollars)
		return err
	case captured:
		return errors.New("an authorisation is cancelled before the capture only")
	case dollars != p.Amount:
		return errors.New("an authorisation is cancelled whole")
	}
	_, err := b.desk.Void(p.Number)
	if err == nil {
		b.end(p.ID)
	}
	return err
}
