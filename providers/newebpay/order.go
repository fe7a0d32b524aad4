package newebpay

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
	"pay.taipei/gateway/signing"
)

// webATMMost is the most that WebATM takes; above it the page would hide the method (chapter 4.1.2).
const webATMMost = 49_999

// Create seals an order form for the payer's browser. It sends nothing; the same request at the same moment gives the same
// bytes. The error is Invalid and names what NewebPay would refuse.
//
// Source: chapter 4.1.
func (a *Adapter) Create(_ context.Context, req providers.CreateRequest) (providers.Created, error) {
	methods, err := check(req)
	if err != nil {
		return providers.Created{}, failed(providers.OpCreate, providers.Invalid, err)
	}
	now := a.now()
	left := min(max(req.ExpiresAt.Sub(now), time.Minute), pageLife)
	fields := append([]signing.Field{
		{Name: "MerchantID", Value: req.Merchant.PayeeMemberID}, {Name: "RespondType", Value: "JSON"}, {Name: "TimeStamp", Value: stamp(now)}, {Name: "Version", Value: "2.3"},
		{Name: "MerchantOrderNo", Value: req.AttemptNo}, {Name: "Amt", Value: req.Total.Value()}, {Name: "ItemDesc", Value: wire.Title(req.Lines, 50, "'\"\r\n")},
		{Name: "TradeLimit", Value: strconv.Itoa(int(left / time.Second))},
		{Name: "ReturnURL", Value: req.ReturnURL}, {Name: "NotifyURL", Value: req.CallbackURL}, {Name: "ClientBackURL", Value: req.ReturnURL},
	}, methods...)
	sealed := a.seal(fields)
	return providers.Created{ValidUntil: now.Add(stampLife), Redirect: providers.Redirect{Method: "POST", URL: a.origin + "/MPG/mpg_gateway", Fields: map[string]string{
		"MerchantID": req.Merchant.PayeeMemberID, "TradeInfo": sealed, "TradeSha": a.envelope.Sum(sealed), "Version": "2.3",
	}}}, nil
}

// check refuses what NewebPay would, and gives the switches of the methods.
func check(req providers.CreateRequest) (methods []signing.Field, err error) {
	switch {
	case !numberForm.MatchString(req.AttemptNo):
		return nil, errors.New("attempt number: want 1 to 30 of A-Z, a-z, 0-9 and _")
	case !merchantForm.MatchString(req.Merchant.PayeeMemberID):
		return nil, errors.New("payee member id: want the shop's MerchantID, 1 to 15 letters and digits")
	case req.Total.Currency() != money.TWD || req.Total.Units() < 1 || len(req.Total.Value()) > 10:
		return nil, errors.New("total: want 1 to 9999999999 New Taiwan dollars")
	case len(req.Lines) == 0:
		return nil, errors.New("bill lines must not be empty")
	case !address(req.ReturnURL) || !address(req.CallbackURL) || req.ReturnURL == req.CallbackURL:
		return nil, errors.New("return and callback URL: want two addresses of at most 200 characters")
	}
	card, webATM := slices.Contains(req.Methods, "credit_card"), slices.Contains(req.Methods, "webatm") && req.Total.Units() <= webATMMost
	if !card { // chapter 4.2.1: a payer who may choose nothing else cannot choose WebATM
		return nil, errors.New("methods: WebATM is not offered alone; allow cards too")
	}
	return []signing.Field{{Name: "CREDIT", Value: onOff(card)}, {Name: "WEBATM", Value: onOff(webATM)}}, nil
}

func onOff(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func address(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= 200 && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}

// seal writes fields as one form, in their order, and encrypts it.
func (a *Adapter) seal(fields []signing.Field) string {
	return a.envelope.Seal(signing.Recipe{Encode: signing.FormEncode}.Text(fields))
}

func stamp(now time.Time) string { return strconv.FormatInt(now.Unix(), 10) }
