package api

import (
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

type directoryDocument struct {
	Providers []listingDocument `json:"providers"`
}

type listingDocument struct {
	Provider  string                `json:"provider"`
	Name      nameDocument          `json:"name"`
	Methods   []methodDocument      `json:"methods"`
	Outcomes  outcomesDocument      `json:"outcomes"`
	Limits    limitsDocument        `json:"limits"`
	Fee       orders.AmountDocument `json:"fee"`
	Available bool                  `json:"available"`
	Why       *string               `json:"why"`
	Until     *string               `json:"until"`
}

type nameDocument struct {
	ZH string `json:"zh-Hant"`
	EN string `json:"en"`
}

type methodDocument struct {
	Code string       `json:"code"`
	Name nameDocument `json:"name"`
}

// outcomesDocument are what a payer is told of each end of a payment.
type outcomesDocument struct {
	Paid      *nameDocument `json:"paid,omitempty"`
	Failed    *nameDocument `json:"failed,omitempty"`
	Cancelled *nameDocument `json:"cancelled,omitempty"`
	Expired   *nameDocument `json:"expired,omitempty"`
}

type limitsDocument struct {
	Min *orders.AmountDocument `json:"min"`
	Max *orders.AmountDocument `json:"max"`
}

func (s *Server) listProviders(r *request) (response, error) {
	query, err := r.query()
	if err != nil {
		return response{}, err
	}
	merchant := query.Get("merchant")
	if query.Has("merchant") && !r.caller.mayOrderFor(merchant) {
		return response{}, newProblem(problemMerchant, fieldError{"merchant", codeNotAllowed})
	}
	var amount *money.Amount
	if query.Has("amount") {
		a, err := money.Parse(query.Get("amount"), s.config.Currency)
		if err != nil {
			return response{}, newProblem(problemField, fieldError{"amount", codeFormat})
		}
		amount = &a
	}
	d := directoryDocument{[]listingDocument{}}
	for _, l := range s.deps.Directory.Providers(merchant, amount, s.deps.Now()) {
		d.Providers = append(d.Providers, listing(l))
	}
	return ok(d)
}

func listing(l providers.Listing) listingDocument {
	d := l.Descriptor
	doc := listingDocument{
		Provider: d.Name, Name: nameDocument{d.NameZH, d.NameEN}, Methods: []methodDocument{},
		Outcomes: outcomesDocument{told(d.Outcomes.Paid), told(d.Outcomes.Failed), told(d.Outcomes.Cancelled), told(d.Outcomes.Expired)},
		Limits:   limitsDocument{someAmount(d.Min), someAmount(d.Max)}, Fee: amountDocument(l.Fee),
		Available: l.Available, Why: some(l.Why),
	}
	if l.Fee.Currency() == "" {
		doc.Fee = amountDocument(money.Zero(d.Currency))
	}
	if !l.Until.IsZero() {
		doc.Until = some(stamp(l.Until))
	}
	for _, m := range d.Methods {
		doc.Methods = append(doc.Methods, methodDocument{m.Code, nameDocument{m.NameZH, m.NameEN}})
	}
	return doc
}

func told(t providers.Text) *nameDocument {
	if t == (providers.Text{}) {
		return nil
	}
	return &nameDocument{t.ZH, t.EN}
}

// someAmount is null for the zero value, which is no limit. Nothing in a currency is an amount.
func someAmount(a money.Amount) *orders.AmountDocument {
	if a == (money.Amount{}) {
		return nil
	}
	d := amountDocument(a)
	return &d
}

func amountDocument(a money.Amount) orders.AmountDocument {
	return orders.AmountDocument{Value: a.Value(), Currency: string(a.Currency())}
}
