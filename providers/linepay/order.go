package linepay

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

// order is the body of a request. Amounts are dollars, as JSON numbers.
type order struct {
	Amount    json.Number `json:"amount"`
	Currency  string      `json:"currency"`
	OrderID   string      `json:"orderId"`
	Packages  []bundle    `json:"packages"`
	Redirects struct {
		Confirm string `json:"confirmUrl"`
		Cancel  string `json:"cancelUrl"`
	} `json:"redirectUrls"`
	Options struct {
		Display struct {
			Locale string `json:"locale"`
		} `json:"display"`
	} `json:"options"`
}

type bundle struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	Amount   json.Number `json:"amount"`
	UserFee  json.Number `json:"userFee,omitempty"`
	Products []product   `json:"products"`
}

type product struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	Quantity int64       `json:"quantity"`
	Price    json.Number `json:"price"`
}

// transactionRef is the name of LINE's transaction id in an attempt's refs.
const transactionRef = "transaction_id"

var transactionForm = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// Create reserves a payment, with one call, and leads to LINE's page. No money moves before Confirm.
//
// Source: "request payment". LINE appends orderId and transactionId to both return addresses; neither is believed.
func (a *Adapter) Create(ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
	invalid := func(err error) (providers.Created, error) {
		return providers.Created{}, failed(providers.OpCreate, providers.Invalid, err)
	}
	o, err := newOrder(req)
	if err != nil {
		return invalid(err)
	}
	body, err := json.Marshal(o)
	if err != nil {
		return invalid(err)
	}
	members, _, failure := a.post(ctx, providers.OpCreate, "/v3/payments/request", body)
	if failure != nil {
		return providers.Created{}, failure
	}
	f := wire.Scalars(members)
	transaction := f.Need("transactionId", transactionForm)
	var pages struct {
		Web string `json:"web"`
	}
	if err := json.Unmarshal(members["paymentUrl"], &pages); err != nil {
		f.Fail(errors.New("field paymentUrl is not as documented"))
	}
	if err := errors.Join(f.Err(), wire.Page("paymentUrl.web", pages.Web, a.play)); err != nil {
		return providers.Created{}, failed(providers.OpCreate, providers.OutcomeUnknown, err)
	}
	return providers.Created{Redirect: providers.Redirect{Method: "GET", URL: pages.Web}, Refs: map[string]string{transactionRef: transaction}}, nil
}

func newOrder(req providers.CreateRequest) (order, error) {
	switch {
	case req.AttemptNo == "" || len(req.AttemptNo) > 100:
		return order{}, errors.New("attempt number: want 1 to 100 characters")
	case req.Merchant.PayeeMemberID == "" || req.Merchant.Name == "":
		return order{}, errors.New("merchant: name and payee member id must not be empty")
	case req.Total.Currency() != money.TWD || req.Total.Units() < 1:
		return order{}, errors.New("total: want at least 1 New Taiwan dollar")
	case req.ReturnURL == "" || len(req.Lines) == 0:
		return order{}, errors.New("return URL and bill lines must not be empty")
	}
	o := order{Amount: number(req.Total), Currency: string(money.TWD), OrderID: req.AttemptNo}
	o.Redirects.Confirm, o.Redirects.Cancel, o.Options.Display.Locale = req.ReturnURL, req.ReturnURL, "zh_TW"
	sum := money.Zero(money.TWD)
	b := bundle{ID: req.Merchant.PayeeMemberID, Name: req.Merchant.Name}
	for _, l := range req.Lines {
		b.Products = append(b.Products, product{ID: l.BillNo, Name: l.Name, Quantity: l.Quantity, Price: number(l.UnitPrice)})
		var err error
		if sum, err = sum.Add(l.Subtotal); err != nil {
			return order{}, err
		}
	}
	fee, err := req.Total.Sub(sum)
	if err != nil {
		return order{}, err
	}
	b.Amount = number(sum)
	if !fee.IsZero() {
		b.UserFee = number(fee)
	}
	o.Packages = []bundle{b}
	return o, nil
}

func number(a money.Amount) json.Number { return json.Number(a.Value()) }
