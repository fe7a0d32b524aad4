package esun

import (
	"context"
	"encoding/json"
	"errors"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
)

// Paths of the bank's services.
const (
	pagePath   = "/ACQTrans/esuncard/txnf014s"
	queryPath  = "/ACQQuery/esuncard/txnf0180"
	cancelPath = "/ACQTrans/esuncard/txnf0150"
)

// terminal is a payment at once, without instalments.
const terminal = "EC000001"

// Create signs an order form for the payer's browser. It sends nothing, and the same request gives the same bytes. The error
// is Invalid and names what the bank would refuse.
//
// Source: Type 4, data members. The form carries no stamp.
func (a *Adapter) Create(_ context.Context, req providers.CreateRequest) (providers.Created, error) {
	var problem error
	switch {
	case !numberForm.MatchString(req.AttemptNo):
		problem = errors.New("attempt number: want 1 to 20 of 0-9 and A-Z")
	case !payeeForm.MatchString(req.Merchant.PayeeMemberID):
		problem = errors.New("payee member id: want the bank's merchant number, 1 to 15 letters and digits")
	case req.Total.Currency() != money.TWD || req.Total.Units() < 1 || len(req.Total.Value()) > 10:
		problem = errors.New("total: want 1 to 9999999999 New Taiwan dollars")
	case len(req.ReturnURL) > 60 || !returnForm.MatchString(req.ReturnURL):
		problem = errors.New("return URL: want at most 60 characters without #, ? and &")
	}
	if problem != nil {
		return providers.Created{}, failed(providers.OpCreate, providers.Invalid, problem)
	}
	data, err := json.Marshal(struct {
		ONO, U, MID, TA, TID string // in this order, as the manual's samples
	}{req.AttemptNo, req.ReturnURL, req.Merchant.PayeeMemberID, req.Total.Value(), terminal})
	if err != nil {
		return providers.Created{}, failed(providers.OpCreate, providers.Invalid, err)
	}
	return providers.Created{Redirect: providers.Redirect{Method: "POST", URL: a.origin + pagePath, Fields: a.form(data)}}, nil
}
