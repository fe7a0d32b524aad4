package bravobank

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
)

// order is the JSON of section 3, in the order of its table.
type order struct {
	OrderNo       string   `json:"order_no"`
	AttemptNo     string   `json:"attempt_no"`
	MerchantName  string   `json:"merchant_name"`
	PayeeMemberID string   `json:"payee_member_id"`
	PayerMemberID string   `json:"payer_member_id"`
	Settlement    string   `json:"settlement"`
	Lines         []line   `json:"lines"`
	Total         string   `json:"total"`
	Currency      string   `json:"currency"`
	Methods       []string `json:"methods"`
	ExpiresAt     string   `json:"expires_at"`
	ReturnURL     string   `json:"return_url"`
	CallbackURL   string   `json:"callback_url"`
}

type line struct {
	BillNo    string `json:"bill_no"`
	Name      string `json:"name"`
	Quantity  int64  `json:"quantity"`
	UnitPrice string `json:"unit_price"`
	Subtotal  string `json:"subtotal"`
}

// Create signs an order form for the citizen's browser to post. It sends nothing;
// the same request gives the same bytes, until the signing key changes. The error is
// Invalid and names the field that the bank would refuse.
//
// Source: section 3. The redirect is good as long as the order.
func (a *Adapter) Create(_ context.Context, req providers.CreateRequest) (providers.Created, error) {
	if err := a.checkOrder(req); err != nil {
		return providers.Created{}, failed(providers.OpCreate, providers.Invalid, err)
	}
	body, err := json.Marshal(newOrder(req))
	if err != nil {
		return providers.Created{}, failed(providers.OpCreate, providers.Invalid, err)
	}
	text := encode(body)
	return providers.Created{Redirect: providers.Redirect{Method: "POST", URL: a.orderURL, Fields: map[string]string{
		"order": text, "kid": a.signer.KeyID(), "sig": encode(a.signer.Sign(orderText(text))),
	}}}, nil
}

func newOrder(req providers.CreateRequest) order {
	lines := make([]line, len(req.Lines))
	for i, l := range req.Lines {
		lines[i] = line{BillNo: l.BillNo, Name: l.Name, Quantity: l.Quantity, UnitPrice: l.UnitPrice.Value(), Subtotal: l.Subtotal.Value()}
	}
	taipei := time.FixedZone("", 8*60*60)
	return order{
		OrderNo: req.OrderNo, AttemptNo: req.AttemptNo, MerchantName: req.Merchant.Name,
		PayeeMemberID: req.Merchant.PayeeMemberID, PayerMemberID: req.PayerMemberID, Settlement: string(req.Settlement),
		Lines: lines, Total: req.Total.Value(), Currency: string(req.Total.Currency()), Methods: req.Methods,
		ExpiresAt: req.ExpiresAt.In(taipei).Format(time.RFC3339), ReturnURL: req.ReturnURL, CallbackURL: req.CallbackURL,
	}
}

var (
	numberForm = regexp.MustCompile(`^[A-Z0-9]{1,20}$`)
	memberForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// checkOrder refuses what the bank would refuse only after the citizen has got there.
// That bills, sums and methods are in order is the contract of CreateRequest.
func (a *Adapter) checkOrder(req providers.CreateRequest) error {
	callback, errCallback := parseURL(req.CallbackURL, a.play)
	_, errReturn := parseURL(req.ReturnURL, a.play)
	switch {
	case !numberForm.MatchString(req.OrderNo) || !numberForm.MatchString(req.AttemptNo):
		return errors.New("order_no and attempt_no must be 1 to 20 of A-Z, 0-9")
	case !memberForm.MatchString(req.Merchant.PayeeMemberID) || len(req.Merchant.PayeeMemberID) > 32:
		return errors.New("payee_member_id must be 1 to 32 of A-Z, a-z, 0-9, _ and -; configure the merchant's id at this account")
	case !memberForm.MatchString(req.PayerMemberID):
		return errors.New("payer_member_id must be 1 to 64 of A-Z, a-z, 0-9, _ and -")
	case req.Merchant.Name == "" || utf8.RuneCountInString(req.Merchant.Name) > 60:
		return errors.New("merchant_name must have 1 to 60 characters")
	case req.Settlement != providers.Immediate:
		return fmt.Errorf("settlement %.20q: the bank knows only immediate", string(req.Settlement))
	case req.Total.Currency() != money.TWD || req.Total.IsZero():
		return errors.New("total must be TWD and at least 1")
	case len(req.Lines) == 0 || len(req.Lines) > 100 || len(req.Methods) == 0 || req.ExpiresAt.IsZero():
		return errors.New("an order needs 1 to 100 lines, a method and an end")
	case errReturn != nil || errCallback != nil || callback.RawQuery != "":
		return errors.New("return_url and callback_url must be absolute https URLs of at most 200 characters, callback_url without a query")
	}
	return nil
}
