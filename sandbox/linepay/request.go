package linepay

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// requestForm is the document's table of a request, without what the double does not serve.
func requestForm() rule {
	product := object(map[string]rule{
		"id?": text, "name": text, "imageUrl?": text, "quantity": positive, "price": whole, "originalPrice?": whole,
	})
	return object(map[string]rule{
		"amount": positive, "currency": dollars, "orderId": like(orderForm),
		"packages": some(object(map[string]rule{
			"id": text, "amount": whole, "name?": text, "userFee?": whole, "products": some(product),
		})),
		"redirectUrls": object(map[string]rule{
			"confirmUrl": link, "cancelUrl": link, "confirmUrlType?": like(clientForm),
		}),
		"options?": object(map[string]rule{
			"payment?": object(map[string]rule{"capture?": flag, "payType?": like(normalForm)}),
			"display?": object(map[string]rule{"locale?": like(localeForm), "checkConfirmUrlBrowser?": flag}),
			"extra?": object(map[string]rule{
				"branchName?": text, "branchId?": text,
				"promotionRestriction?": func(string, any) answer { return answer{} }, // the document does not tell what is in it
			}),
			"shipping?": object(map[string]rule{"feeAmount": whole}),
		}),
	})
}

// wish is a request for a payment, as far as it matters here. Packages are kept as they were sent.
type wish struct {
	Amount       int64           `json:"amount"`
	OrderID      string          `json:"orderId"`
	Packages     json.RawMessage `json:"packages"`
	RedirectURLs struct {
		Confirm string `json:"confirmUrl"`
		Cancel  string `json:"cancelUrl"`
	} `json:"redirectUrls"`
	Options struct {
		Payment struct {
			Capture *bool `json:"capture"`
		} `json:"payment"`
		Shipping struct {
			Fee int64 `json:"feeAmount"`
		} `json:"shipping"`
	} `json:"options"`
}

type parcel struct {
	Amount   int64 `json:"amount"`
	UserFee  int64 `json:"userFee"`
	Products []struct {
		Name     string `json:"name"`
		Quantity int64  `json:"quantity"`
		Price    int64  `json:"price"`
	} `json:"products"`
}

// check holds the sums to each other and says what is bought.
func (sent wish) check() (title string, a answer) {
	var parcels []parcel
	if err := json.Unmarshal(sent.Packages, &parcels); err != nil {
		return "", say("2101", "packages "+err.Error())
	}
	total := sent.Options.Shipping.Fee
	for _, p := range parcels {
		var sum int64
		for _, q := range p.Products {
			sum += min(q.Quantity*q.Price, maxAmount+1) // which is not the amount of any package
		}
		if sum != p.Amount {
			return "", say("1124", "packages have an amount that is not the sum of their products")
		}
		total += p.Amount + p.UserFee
	}
	if total != sent.Amount {
		return "", say("1124", "amount must be the sum of packages, user fees and shipping")
	}
	if capture := sent.Options.Payment.Capture; capture != nil && !*capture {
		return "", say("2101", "options.payment.capture must be true: authorizing only was not activated")
	}
	return parcels[0].Products[0].Name, answer{}
}

// request opens a payment. The money moves in confirm.
func (l *line) request(_ *http.Request, body []byte) answer {
	var sent wish
	if a := read(body, requestForm(), &sent); a.Code != "" {
		return a
	}
	title, a := sent.check()
	if a.Code != "" {
		return a
	}
	var token [8]byte
	_, errToken := io.ReadFull(l.rand, token[:])
	reserve, errReserve := l.desk.Random(45)
	if err := errors.Join(errToken, errReserve); err != nil {
		return say("9000", "internal: "+err.Error())
	}
	p, err := l.desk.Open(desk.Payment{
		Number: sent.OrderID, Payee: l.channel, Title: title, Amount: sent.Amount, Expires: l.desk.Now().Add(confirmWithin),
		Extra: map[string]string{
			transactionKey: l.issue(), confirmKey: sent.RedirectURLs.Confirm, cancelKey: sent.RedirectURLs.Cancel, packagesKey: string(sent.Packages),
		},
	})
	switch {
	case errors.Is(err, desk.ErrExists):
		return say("1172", "orderId was used before")
	case err != nil:
		return say("9000", "internal: "+err.Error())
	}
	type paymentURL struct {
		Web string `json:"web"`
		App string `json:"app"`
	}
	return success(struct {
		PaymentURL         paymentURL  `json:"paymentUrl"`
		TransactionID      json.Number `json:"transactionId"`
		PaymentAccessToken string      `json:"paymentAccessToken"`
	}{
		paymentURL{l.url + l.desk.Page(p), "line://pay/payment/" + reserve},
		json.Number(p.Extra[transactionKey]),
		fmt.Sprintf("%012d", binary.BigEndian.Uint64(token[:])%1_000_000_000_000),
	})
}
