package money_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"pay.taipei/gateway/money"
)

func twd(t testing.TB, units int64) money.Amount {
	t.Helper()
	a, err := money.FromUnits(units, money.TWD)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParseAccepts(t *testing.T) {
	for text, units := range map[string]int64{
		"0": 0, "1": 1, "20": 20, "40": 40, "100": 100, "123456789012": 123456789012, "999999999999": 999999999999,
	} {
		a, err := money.Parse(text, money.TWD)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		if a.Units() != units || a.Currency() != money.TWD {
			t.Errorf("Parse(%q) = %v, want %d units of TWD", text, a, units)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":              "",
		"exponent":           "1e2",
		"capital exponent":   "1E2",
		"decimals":           "20.0",
		"fraction":           "20.5",
		"point at the end":   "20.",
		"point at the start": ".5",
		"minus":              "-1",
		"minus zero":         "-0",
		"plus":               "+1",
		"leading zero":       "01",
		"double zero":        "00",
		"blank before":       " 1",
		"blank after":        "1 ",
		"tab":                "\t1",
		"line end":           "1\n",
		"CR LF":              "1\r\n",
		"NUL":                "\x00",
		"NUL after":          "1\x00",
		"thirteen digits":    "1000000000000",
		"more than int64":    "99999999999999999999",
		"megabyte":           strings.Repeat("9", 1<<20),
		"thousands comma":    "1,000",
		"underscore":         "1_000",
		"hex":                "0x10",
		"full-width digits":  "４０",
		"Arabic digits":      "٤٠",
		"Chinese digits":     "四十",
		"not a number":       "NaN",
		"infinity":           "Infinity",
		"null":               "null",
		"quoted":             `"40"`,
		"currency inside":    "TWD 40",
		"byte order mark":    "\ufeff40",
		"invalid UTF-8":      "4\xff",
		"bidi":               "\u202e04",
	} {
		t.Run(name, func(t *testing.T) {
			a, err := money.Parse(text, money.TWD)
			if !errors.Is(err, money.ErrMalformed) {
				t.Fatalf("Parse = %v, %v; want ErrMalformed", a, err)
			}
			if a != (money.Amount{}) {
				t.Errorf("a refused amount is %v, want the zero value", a)
			}
			if len(err.Error()) > 200 {
				t.Errorf("the error repeats %d bytes of foreign input", len(err.Error()))
			}
		})
	}
}

func TestCurrencies(t *testing.T) {
	if c, err := money.ParseCurrency("TWD"); err != nil || c != money.TWD {
		t.Fatalf("ParseCurrency(TWD) = %q, %v", c, err)
	}
	for _, s := range []string{"", "twd", "Twd", "USD", "NTD", " TWD", "TWD ", "TWD\x00", "ＴＷＤ"} {
		if c, err := money.ParseCurrency(s); !errors.Is(err, money.ErrCurrency) || c != "" {
			t.Errorf("ParseCurrency(%q) = %q, %v; want ErrCurrency", s, c, err)
		}
		if _, err := money.Parse("40", money.Currency(s)); !errors.Is(err, money.ErrCurrency) {
			t.Errorf("Parse in %q: %v; want ErrCurrency", s, err)
		}
		if _, err := money.FromUnits(40, money.Currency(s)); !errors.Is(err, money.ErrCurrency) {
			t.Errorf("FromUnits in %q: %v; want ErrCurrency", s, err)
		}
		if _, err := money.FromDecimal(decimal.NewFromInt(40), money.Currency(s)); !errors.Is(err, money.ErrCurrency) {
			t.Errorf("FromDecimal in %q: %v; want ErrCurrency", s, err)
		}
	}
}

func TestFromUnitsRange(t *testing.T) {
	for units, ok := range map[int64]bool{
		0: true, 1: true, 999_999_999_999: true,
		-1: false, 1_000_000_000_000: false, math.MaxInt64: false, math.MinInt64: false,
	} {
		_, err := money.FromUnits(units, money.TWD)
		if ok != (err == nil) || (!ok && !errors.Is(err, money.ErrRange)) {
			t.Errorf("FromUnits(%d): %v, want ok %v", units, err, ok)
		}
	}
}

func TestFromDecimalNeverRounds(t *testing.T) {
	for text, want := range map[string]error{
		"40": nil, "40.00": nil, "4e1": nil, "0": nil, "999999999999": nil,
		"0.5": money.ErrMalformed, "39.999999999999999999": money.ErrMalformed, "1e-30": money.ErrMalformed,
		"-1": money.ErrRange, "1000000000000": money.ErrRange, "1e30": money.ErrRange, "1e10000": money.ErrRange, "1e-10000": money.ErrMalformed, "9223372036854775848": money.ErrRange,
	} {
		a, err := money.FromDecimal(decimal.RequireFromString(text), money.TWD)
		if want == nil && err != nil || want != nil && !errors.Is(err, want) {
			t.Errorf("FromDecimal(%s) = %v, %v; want %v", text, a, err, want)
		}
	}
}

func TestArithmetic(t *testing.T) {
	most := twd(t, 999_999_999_999)
	for _, c := range []struct {
		name string
		do   func() (money.Amount, error)
		want int64
		err  error
	}{
		{"20 + 20", func() (money.Amount, error) { return twd(t, 20).Add(twd(t, 20)) }, 40, nil},
		{"most + 0", func() (money.Amount, error) { return most.Add(twd(t, 0)) }, 999_999_999_999, nil},
		{"most + 1", func() (money.Amount, error) { return most.Add(twd(t, 1)) }, 0, money.ErrRange},
		{"most + most", func() (money.Amount, error) { return most.Add(most) }, 0, money.ErrRange},
		{"40 - 40", func() (money.Amount, error) { return twd(t, 40).Sub(twd(t, 40)) }, 0, nil},
		{"40 - 41", func() (money.Amount, error) { return twd(t, 40).Sub(twd(t, 41)) }, 0, money.ErrRange},
		{"20 x 2", func() (money.Amount, error) { return twd(t, 20).Times(2) }, 40, nil},
		{"20 x 0", func() (money.Amount, error) { return twd(t, 20).Times(0) }, 0, nil},
		{"20 x -1", func() (money.Amount, error) { return twd(t, 20).Times(-1) }, 0, money.ErrRange},
		{"most x 2", func() (money.Amount, error) { return most.Times(2) }, 0, money.ErrRange},
		{"wraps to a small sum", func() (money.Amount, error) { return twd(t, 1<<32).Times(1 << 32) }, 0, money.ErrRange},
		{"most x MaxInt64", func() (money.Amount, error) { return most.Times(math.MaxInt64) }, 0, money.ErrRange},
		{"other currency added", func() (money.Amount, error) { return twd(t, 1).Add(money.Zero("USD")) }, 0, money.ErrCurrency},
		{"other currency taken", func() (money.Amount, error) { return twd(t, 1).Sub(money.Zero("USD")) }, 0, money.ErrCurrency},
		{"the zero value added", func() (money.Amount, error) { return twd(t, 1).Add(money.Amount{}) }, 0, money.ErrCurrency},
		{"to the zero value", func() (money.Amount, error) { return money.Amount{}.Add(money.Amount{}) }, 0, money.ErrCurrency},
		{"the zero value times", func() (money.Amount, error) { return money.Amount{}.Times(2) }, 0, money.ErrCurrency},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.do()
			if c.err != nil {
				if !errors.Is(err, c.err) || got != (money.Amount{}) {
					t.Fatalf("got %v, %v; want %v", got, err, c.err)
				}
				return
			}
			if err != nil || got != twd(t, c.want) {
				t.Fatalf("got %v, %v; want %d", got, err, c.want)
			}
		})
	}
}

func TestTexts(t *testing.T) {
	if got := twd(t, 40).String(); got != "TWD 40" {
		t.Errorf("String = %q", got)
	}
	if got := twd(t, 999_999_999_999).Value(); got != "999999999999" {
		t.Errorf("Value = %q: not the form that Parse accepts", got)
	}
	if !money.Zero(money.TWD).IsZero() || twd(t, 1).IsZero() || !(money.Amount{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	if twd(t, 40).Nothing() != money.Zero(money.TWD) {
		t.Error("Nothing lost the currency")
	}
	if money.Zero(money.TWD) == (money.Amount{}) {
		t.Error("no dollars and no currency are the same amount")
	}
}

func amounts() *rapid.Generator[int64] { return rapid.Int64Range(0, 999_999_999_999) }

func TestRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, err := money.FromUnits(amounts().Draw(t, "units"), money.TWD)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := money.Parse(a.Value(), a.Currency()); err != nil || b != a {
			t.Fatalf("Parse(Value) = %v, %v", b, err)
		}
		if b, err := money.FromUnits(a.Units(), a.Currency()); err != nil || b != a {
			t.Fatalf("FromUnits(Units) = %v, %v", b, err)
		}
		if b, err := money.FromDecimal(a.Decimal(), a.Currency()); err != nil || b != a {
			t.Fatalf("FromDecimal(Decimal) = %v, %v", b, err)
		}
	})
}

// One amount has one text: whatever Parse accepts, Value writes back.
func TestParseIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[-+ ]?[0-9]{0,14}([.][0-9]{0,2})?(e[0-9])?`).Draw(t, "text")
		a, err := money.Parse(text, money.TWD)
		if err == nil && a.Value() != text {
			t.Fatalf("Parse accepted %q as %q", text, a.Value())
		}
	})
}

func TestAddAndSubAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, _ := money.FromUnits(amounts().Draw(t, "a"), money.TWD)
		b, _ := money.FromUnits(amounts().Draw(t, "b"), money.TWD)
		sum, err := a.Add(b)
		if err != nil {
			if a.Units()+b.Units() <= 999_999_999_999 || !errors.Is(err, money.ErrRange) {
				t.Fatalf("%v + %v: %v", a, b, err)
			}
			return
		}
		if back, err := sum.Sub(b); err != nil || back != a {
			t.Fatalf("(%v + %v) - %v = %v, %v", a, b, b, back, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0", "40", "1e2", "-1", "01", "", "999999999999", "1000000000000"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if a, err := money.Parse(s, money.TWD); err == nil && a.Value() != s {
			t.Fatalf("Parse accepted %q as %q", s, a.Value())
		}
	})
}
