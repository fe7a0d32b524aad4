package newebpay

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"pay.taipei/gateway/sandbox/internal/desk"
	"pay.taipei/gateway/signing"
)

// notice is one delivery. Nothing is said of a payer who left.
func (b *double) notice(ctx context.Context, p desk.Payment) (*http.Request, error) {
	if p.State != desk.Paid && p.State != desk.Failed {
		return nil, nil
	}
	var fields []signing.Field
	for _, f := range b.envelope(&p, p.Deliveries) {
		fields = append(fields, signing.Field(f))
	}
	body := signing.Recipe{Encode: signing.FormEncode}.Text(fields)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Extra["notify"], strings.NewReader(string(body)))
	if err != nil {
		return nil, fmt.Errorf("newebpay: notice: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, nil
}

// back carries what the first notice says. A payer who did not get as far leaves by the shop's own address, without fields.
func (b *double) back(p desk.Payment) desk.Form {
	switch p.State {
	case desk.Voided:
		p.State = desk.Paid // the browser was sent back before it was taken back
	case desk.Open, desk.Authorised, desk.Cancelled, desk.Expired:
		for _, address := range []string{p.Extra["leave"], b.shopURL} {
			if address != "" {
				return desk.Form{URL: address}
			}
		}
		return desk.Form{URL: p.Extra["return"]}
	case desk.Paid, desk.Failed:
	}
	return desk.Form{URL: p.Extra["return"], Fields: b.envelope(&p, 1)}
}

// envelope is what a shop is told: sealed, with a digest over what is sealed. No two deliveries of a payment have the same
// bytes: the result's members move on by one each time, and the padding alternates.
func (b *double) envelope(p *desk.Payment, delivery int) []desk.Field {
	status, message := "SUCCESS", "授權成功"
	switch {
	case p.State != desk.Paid:
		status, message = "MPG03009", "授權失敗"
	case p.Method == webATM:
		message = "付款成功"
	}
	members := result(p)
	first := (delivery - 1) % len(members)
	members = slices.Concat(members[first:], members[:first])
	var told any = members
	if strings.HasSuffix(p.Number, "9") { // as shops of the first days get it
		told = members.text()
	}
	block := b.keys.narrow
	if delivery%2 == 0 {
		block = b.keys.wide
	}
	sealed := hex.EncodeToString(block.Seal([]byte(object{{"Status", status}, {"Message", message}, {"Result", told}}.text())))
	sha := b.keys.tradeSha(sealed)
	if p.Faults.ForgedSignature {
		sha = b.keys.tradeSha(sealed + "0")
	}
	return []desk.Field{{Name: "Status", Value: status}, {Name: "MerchantID", Value: p.SaidPayee()}, {Name: "Version", Value: version}, {Name: "TradeInfo", Value: sealed}, {Name: "TradeSha", Value: sha}}
}

// result is what is told of a payment, in the manual's order.
func result(p *desk.Payment) object {
	told := object{
		{"MerchantID", p.SaidPayee()}, {"Amt", p.Said()}, {"TradeNo", tradeNo(p)}, {"MerchantOrderNo", p.Number}, {"RespondType", "JSON"},
		{"IP", "203.0.113.7"}, {"EscrowBank", "HNCB"}, {"PaymentType", paymentType(p)},
	}
	paid := p.State == desk.Paid
	if paid {
		told = append(told, member{"PayTime", clock(p.PaidAt)})
	}
	switch {
	case p.Method == card:
		respond, auth := cardAnswer(p, paid)
		told = append(told, object{
			{"RespondCode", respond}, {"Auth", auth}, {"Card6No", "400022"}, {"Card4No", "1111"}, {"Exp", "4012"}, {"AuthBank", "KGI"}, {"TokenUseStatus", 0},
			{"InstFirst", 0}, {"InstEach", 0}, {"Inst", 0}, {"ECI", ""}, {"PaymentMethod", "CREDIT"},
		}...)
	case paid:
		told = append(told, object{{"PayBankCode", "008"}, {"PayerAccount5Code", "12345"}}...)
	}
	return told
}

// cardAnswer is the bank's code and its authorisation number, of which a declined card has none.
func cardAnswer(p *desk.Payment, paid bool) (respond, auth string) {
	if !paid {
		return "54", ""
	}
	return "00", p.Trade[len(p.Trade)-6:]
}
