package sinopac

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

// order is the message of OrderCreate.
type order struct {
	ShopNo, OrderNo     string
	Amount              json.Number
	CurrencyID, PayType string
	CardParam           struct {
		AutoBilling string
		ExpMinutes  int
	}
	PrdtName, Param1, ReturnURL, BackendURL string
}

// Create opens an order at the bank, with one call after that for a nonce, and leads to the bank's card page. No money moves
// before the payer agrees there.
//
// Source: OrderCreate. Status F is the bank's word that it was not accepted.
func (a *Adapter) Create(ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
	o, err := newOrder(req, a.now())
	if err != nil {
		return providers.Created{}, failed(providers.OpCreate, providers.Invalid, err)
	}
	members, _, failure := a.call(ctx, providers.OpCreate, o.ShopNo, "OrderCreate", o)
	if failure != nil {
		return providers.Created{}, failure
	}
	f := wire.Scalars(members)
	if status := f.Optional("Status"); status == "F" {
		return providers.Created{}, refused(providers.OpCreate, providers.Unavailable, f)
	} else if status != "S" {
		f.Fail(errors.New("field Status is not as documented"))
	}
	if f.Optional("OrderNo") != o.OrderNo || f.Optional("ShopNo") != o.ShopNo || f.Optional("Amount") != string(o.Amount) {
		f.Fail(errors.New("the answer is about another order"))
	}
	var card struct{ CardPayURL string }
	if err := json.Unmarshal(members["CardParam"], &card); err != nil {
		f.Fail(errors.New("field CardParam is not as documented"))
	}
	trade := f.Need("TSNo", tradeForm)
	if err := errors.Join(f.Err(), wire.Page("CardPayURL", card.CardPayURL, a.play)); err != nil {
		return providers.Created{}, failed(providers.OpCreate, providers.OutcomeUnknown, err)
	}
	return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: card.CardPayURL}, Refs: map[string]string{"ts_no": trade}}, nil
}

func newOrder(req providers.CreateRequest, now time.Time) (order, error) {
	switch {
	case !numberForm.MatchString(req.AttemptNo):
		return order{}, errors.New("attempt number: want 1 to 50 letters, digits, _ and -")
	case !shopForm.MatchString(req.Merchant.PayeeMemberID):
		return order{}, errors.New("payee member id: want the bank's ShopNo, 1 to 20 letters, digits and _")
	case req.PayerMemberID == "" || len(req.PayerMemberID) > 255:
		return order{}, errors.New("payer member id: want 1 to 255 characters")
	case req.Total.Currency() != money.TWD || req.Total.Units() < 1 || req.Total.Units() > most().Units():
		return order{}, errors.New("total: want 1 to 9999999 New Taiwan dollars")
	case len(req.Lines) == 0 || req.ReturnURL == "" || len(req.ReturnURL) > 255 || req.CallbackURL == "" || len(req.CallbackURL) > 255:
		return order{}, errors.New("bill lines, and a return and a callback URL of at most 255 characters, are needed")
	}
	o := order{
		ShopNo: req.Merchant.PayeeMemberID, OrderNo: req.AttemptNo, Amount: hundredths(req.Total), CurrencyID: "TWD", PayType: "C",
		PrdtName: wire.Title(req.Lines, 60, `'"%`), Param1: req.PayerMemberID, ReturnURL: req.ReturnURL, BackendURL: req.CallbackURL,
	}
	o.CardParam.AutoBilling = "Y"
	o.CardParam.ExpMinutes = min(max(int(req.ExpiresAt.Sub(now)/time.Minute), 1), 30)
	return o, nil
}

// hundredths writes an amount as the wire has it, and dollars reads one. Cents that are not zero are nothing that anyone
// asked for.
func hundredths(a money.Amount) json.Number { return json.Number(a.Value() + "00") }

func dollars(f *wire.Fields, name string) money.Amount {
	text := f.Optional(name)
	n, err := strconv.ParseUint(text, 10, 48)
	if err != nil || text != strconv.FormatUint(n, 10) {
		f.Fail(fmt.Errorf("field %s is not as documented", name))
		return money.Amount{}
	}
	amount, err := money.FromUnits(int64(n/100), money.TWD)
	if err != nil || n%100 != 0 {
		return money.Amount{}
	}
	return amount
}

// refused is the bank's Status F, with the code that its description begins with.
func refused(op providers.Op, kind providers.Kind, f *wire.Fields) *providers.Error {
	code, _, _ := strings.Cut(f.Optional("Description"), " ")
	if len(code) > 40 {
		code = code[:40]
	}
	return &providers.Error{Provider: Name, Op: op, Kind: kind, Code: code, Err: errors.New("the bank answered Status F")}
}
