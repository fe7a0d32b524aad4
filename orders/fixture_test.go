package orders_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// The order of the platform's own guide: two parking bills of NT$20.
const (
	orderNo = orders.OrderNo("2017061300000016")
	other   = orders.OrderNo("2017061300000017")
	bill1   = "H60983881309263"
	bill2   = "H61283631217536"
	account = "bravobank-main"
)

var (
	placedAt  = time.Date(2017, 6, 13, 9, 0, 0, 0, orders.Taipei)
	expiresAt = placedAt.Add(10 * time.Minute)
	inTime    = placedAt.Add(time.Minute)
	tooLate   = expiresAt.Add(time.Hour)
)

func twd(units int64) money.Amount {
	a, err := money.FromUnits(units, money.TWD)
	if err != nil {
		panic(err)
	}
	return a
}

// number is the attempt number of an ordinal of an order.
func number(no orders.OrderNo, ordinal int) orders.AttemptNo {
	a, err := orders.NewAttemptNo("", no, ordinal)
	if err != nil {
		panic(err)
	}
	return a
}

// newBook is an order as placed, with n pending attempts whose redirects were handed out.
func newBook(no orders.OrderNo, n int) orders.Book {
	b := orders.Book{
		Order: orders.Order{
			No: no, ClientID: "core", ClientReference: "2017061300000014", Merchant: "pma", PayerMemberID: "1361049",
			Provider: "bravobank", Settlement: "immediate", Methods: []string{"deposit_account"},
			Amount: twd(40), Fee: twd(0), Total: twd(40),
			Lines: []orders.BillLine{
				{BillNo: bill1, Name: "停車費", Quantity: 1, UnitPrice: twd(20), Subtotal: twd(20)},
				{BillNo: bill2, Name: "停車費", Quantity: 1, UnitPrice: twd(20), Subtotal: twd(20)},
			},
			ReturnURL: "https://pay.taipei/result", PayToken: "pay-token", Version: 1,
			CreatedAt: placedAt, ExpiresAt: expiresAt,
		},
		Bills: map[string]orders.Bill{bill1: {Holder: no}, bill2: {Holder: no}},
	}
	for i := range n {
		b.Order.Attempts = append(b.Order.Attempts, orders.Attempt{
			No: number(no, i+1), Ordinal: i + 1, Account: account, Provider: "bravobank", Environment: "sandbox",
			PayeeMemberID: "1136549", Token: fmt.Sprintf("token-%d", i+1),
			State: orders.AttemptPending, CreatedAt: placedAt, HandedAt: placedAt,
		})
	}
	return b
}

// said is authentic evidence about an order's attempt that agrees with our record.
func said(no orders.OrderNo, ordinal int, s orders.AttemptState, at time.Time) orders.Evidence {
	e := orders.Evidence{
		Source: orders.SourceCallback, Account: account, AttemptNo: number(no, ordinal), ReceivedAt: at,
		Fact: &orders.Fact{State: s, PayeeMemberID: "1136549", Environment: "sandbox", Refs: map[string]string{"k": s.String()}},
	}
	if s == orders.AttemptPaid {
		total := twd(40)
		e.Fact.Amount, e.Fact.Method, e.Fact.PaidAt = &total, "deposit_account", inTime
		e.Fact.ProviderTradeNo = fmt.Sprintf("T%s", e.AttemptNo)
	}
	return e
}

// fold applies evidence piece by piece.
func fold(b orders.Book, evidence ...orders.Evidence) orders.Fate {
	f := orders.Fate{Book: b}
	for _, e := range evidence {
		f = orders.Fold(f.Book, e)
	}
	return f
}

// sums are the paid and surplus units per bill of some orders, as their lines,
// surplus rows and bills tell.
func sums(bills map[string]orders.Bill, of ...orders.Order) (paid, surplus map[string]int64) {
	paid, surplus = map[string]int64{}, map[string]int64{}
	for _, o := range of {
		for _, l := range o.Lines {
			if bills[l.BillNo].Paid == o.No {
				paid[l.BillNo] += l.Subtotal.Units()
			}
		}
		for _, s := range o.Surplus {
			surplus[s.BillNo] += s.Amount.Units()
		}
	}
	return paid, surplus
}

// deepCopy is a copy of a book that shares nothing that a fold could write to.
func deepCopy(b orders.Book) orders.Book {
	b.Bills = maps.Clone(b.Bills)
	b.Order.Lines = slices.Clone(b.Order.Lines)
	b.Order.Surplus = slices.Clone(b.Order.Surplus)
	b.Order.Calls = slices.Clone(b.Order.Calls)
	b.Order.Refunds = slices.Clone(b.Order.Refunds)
	b.Order.Cases = slices.Clone(b.Order.Cases)
	b.Order.Attempts = slices.Clone(b.Order.Attempts)
	for i := range b.Order.Attempts {
		b.Order.Attempts[i].Refs = maps.Clone(b.Order.Attempts[i].Refs)
	}
	return b
}
