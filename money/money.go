// Package money holds exact amounts of money.
//
// An Amount is an integer count of a currency's smallest circulating unit,
// together with that currency. There is no floating point anywhere: text is
// parsed by a strict grammar, arithmetic is checked for overflow, and amounts of
// different currencies never mix. Rates and percentages are computed on
// decimal.Decimal through Amount.Decimal and come back through FromDecimal, which
// refuses to round.
package money

import (
	"errors"
	"fmt"
	"math"
	"regexp"

	"github.com/shopspring/decimal"
)

// Errors that Parse, FromDecimal and the arithmetic return; match them with errors.Is.
var (
	ErrMalformed = errors.New("money: malformed amount")
	ErrRange     = errors.New("money: amount out of range")
	ErrCurrency  = errors.New("money: unknown or different currency")
)

// Currency is an ISO 4217 code that the gateway knows. The zero value is no
// currency; amounts of it cannot be parsed.
type Currency string

// TWD is the New Taiwan dollar. ISO 4217 lists two decimals for it, but nothing
// below one dollar circulates and no wallet or bank here takes a fraction, so our
// unit is the whole dollar.
const TWD Currency = "TWD"

// digits says how many decimals the smallest circulating unit of a currency has.
func (c Currency) digits() (int32, bool) {
	switch c {
	case TWD:
		return 0, true
	default:
		return 0, false
	}
}

// ParseCurrency accepts the exact code of a known currency, in upper case.
func ParseCurrency(s string) (Currency, error) {
	c := Currency(s)
	if _, ok := c.digits(); !ok {
		return "", fmt.Errorf("%w: %q", ErrCurrency, s)
	}
	return c, nil
}

// Amount is an amount of money that is zero or more. The zero value is nothing of
// no currency: it can be compared, but not added to. Amounts are comparable
// with ==.
type Amount struct {
	units    int64
	currency Currency
}

// maxUnits is the largest amount: twelve digits, what the order API and every
// known provider can carry without loss.
const maxUnits = 999_999_999_999

// whole is the grammar of an amount without decimals: no sign, no exponent, no
// leading zero, no blank, ASCII digits only.
var whole = regexp.MustCompile(`^(0|[1-9][0-9]{0,11})$`)

// Parse reads an amount in major units ("40") as the order API writes it. It
// returns ErrMalformed for anything but the canonical form, so that one amount has
// one text, and ErrCurrency for an unknown currency.
func Parse(value string, c Currency) (Amount, error) {
	digits, ok := c.digits()
	if !ok {
		return Amount{}, fmt.Errorf("%w: %q", ErrCurrency, string(c))
	}
	if digits != 0 || !whole.MatchString(value) {
		return Amount{}, fmt.Errorf("%w: %.20q", ErrMalformed, value)
	}
	d, err := decimal.NewFromString(value)
	if err != nil {
		return Amount{}, fmt.Errorf("%w: %.20q", ErrMalformed, value)
	}
	return FromDecimal(d, c)
}

// FromUnits makes an amount from a count of smallest units, as it is stored.
func FromUnits(units int64, c Currency) (Amount, error) {
	if _, ok := c.digits(); !ok {
		return Amount{}, fmt.Errorf("%w: %q", ErrCurrency, string(c))
	}
	if units < 0 || units > maxUnits {
		return Amount{}, fmt.Errorf("%w: %d units", ErrRange, units)
	}
	return Amount{units: units, currency: c}, nil
}

// FromDecimal makes an amount from major units. A value that is not a whole number
// of smallest units is ErrMalformed: the caller decides how to round, never this
// package. A negative or too large one is ErrRange.
func FromDecimal(d decimal.Decimal, c Currency) (Amount, error) {
	digits, ok := c.digits()
	if !ok {
		return Amount{}, fmt.Errorf("%w: %q", ErrCurrency, string(c))
	}
	units := d.Shift(digits)
	if !units.IsInteger() {
		return Amount{}, fmt.Errorf("%w: %s has a fraction of a unit", ErrMalformed, d)
	}
	if units.IsNegative() || units.GreaterThan(decimal.NewFromInt(maxUnits)) {
		return Amount{}, fmt.Errorf("%w: %s", ErrRange, d)
	}
	return Amount{units: units.IntPart(), currency: c}, nil
}

// Zero is nothing in a currency.
func Zero(c Currency) Amount { return Amount{currency: c} }

// Nothing is zero in the amount's currency.
func (a Amount) Nothing() Amount { return Zero(a.currency) }

// Units is the count of smallest units, for storage.
func (a Amount) Units() int64 { return a.units }

// Currency is the currency of the amount; empty for the zero value.
func (a Amount) Currency() Currency { return a.currency }

// Decimal is the amount in major units, for rates and fees.
func (a Amount) Decimal() decimal.Decimal {
	digits, _ := a.currency.digits()
	return decimal.New(a.units, -digits)
}

// Value is the canonical text in major units without the currency: the form that
// Parse accepts.
func (a Amount) Value() string {
	digits, _ := a.currency.digits()
	return a.Decimal().StringFixed(digits)
}

// String is the amount for people and logs, such as "TWD 40".
func (a Amount) String() string { return string(a.currency) + " " + a.Value() }

// IsZero says whether the amount is nothing.
func (a Amount) IsZero() bool { return a.units == 0 }

// Add is a + b. It returns ErrCurrency when the currencies differ and ErrRange
// when the sum is too large.
func (a Amount) Add(b Amount) (Amount, error) {
	if a.currency != b.currency {
		return Amount{}, fmt.Errorf("%w: %s + %s", ErrCurrency, a, b)
	}
	return FromUnits(a.units+b.units, a.currency)
}

// Sub is a - b. It returns ErrRange when b is larger than a.
func (a Amount) Sub(b Amount) (Amount, error) {
	if a.currency != b.currency {
		return Amount{}, fmt.Errorf("%w: %s - %s", ErrCurrency, a, b)
	}
	return FromUnits(a.units-b.units, a.currency)
}

// Times is the amount n times, n being zero or more.
func (a Amount) Times(n int64) (Amount, error) {
	if n < 0 || (n > 0 && a.units > math.MaxInt64/n) {
		return Amount{}, fmt.Errorf("%w: %s times %d", ErrRange, a, n)
	}
	return FromUnits(a.units*n, a.currency)
}
