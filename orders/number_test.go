package orders_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pay.taipei/gateway/orders"
)

func TestDayTurnsAtTaipeiMidnight(t *testing.T) {
	for at, want := range map[string]struct {
		day    string
		serial int64
	}{
		"2017-06-12T15:59:59.999Z":  {"20170612", 86_399_000},
		"2017-06-12T16:00:00Z":      {"20170613", 0},
		"2017-06-12T16:00:00.999Z":  {"20170613", 0},
		"2017-06-12T16:00:01Z":      {"20170613", 1000},
		"2017-06-13T09:00:00+08:00": {"20170613", 32_400_000},
		"2017-06-12T23:00:00-05:00": {"20170613", 43_200_000},
		"2016-02-29T00:00:00+08:00": {"20160229", 0},
		"2016-12-31T16:00:00Z":      {"20170101", 0},
	} {
		moment, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			t.Fatal(err)
		}
		if day, serial := orders.Day(moment), orders.FirstSerial(moment); day != want.day || serial != want.serial {
			t.Errorf("%s: day %s from %d, want %s from %d", at, day, serial, want.day, want.serial)
		}
	}
}

func TestNewOrderNo(t *testing.T) {
	if no, err := orders.NewOrderNo("20170613", 16); err != nil || no != orderNo {
		t.Errorf("serial 16 = %q, %v", no, err)
	}
	if no, err := orders.NewOrderNo("20170613", 99_999_999); err != nil || no != "2017061399999999" {
		t.Errorf("the last serial = %q, %v", no, err)
	}
	for _, serial := range []int64{-1, 100_000_000} {
		if no, err := orders.NewOrderNo("20170613", serial); !errors.Is(err, orders.ErrNumbersExhausted) || no != "" {
			t.Errorf("serial %d = %q, %v; want ErrNumbersExhausted", serial, no, err)
		}
	}
}

func TestParseOrderNo(t *testing.T) {
	for text, want := range map[string]bool{
		"2017061300000016": true, "2099123199999999": true,
		"": false, "201706130000001": false, "20170613000000160": false, "1917061300000016": false,
		"2017061300000016\n": false, "2017061300 00016": false, "２017061300000016": false, "201706130000001x": false,
	} {
		if _, ok := orders.ParseOrderNo(text); ok != want {
			t.Errorf("ParseOrderNo(%q) = %v", text, ok)
		}
	}
}

func TestNewAttemptNo(t *testing.T) {
	for _, c := range []struct {
		name, prefix string
		ordinal      int
		want         orders.AttemptNo
		exhausted    bool
	}{
		{"first", "", 1, "201706130000001601", false},
		{"last", "", 99, "201706130000001699", false},
		{"one prefix", "A", 1, "A201706130000001601", false},
		{"two prefix", "7Z", 12, "7Z201706130000001612", false},
		{"hundredth", "", 100, "", true},
		{"zeroth", "", 0, "", true},
		{"negative", "", -1, "", true},
		{"long prefix", "ABC", 1, "", false},
		{"small letter", "a", 1, "", false},
		{"sign", "-", 1, "", false},
		{"line end", "A\n", 1, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := orders.NewAttemptNo(c.prefix, orderNo, c.ordinal)
			if got != c.want || (err == nil) != (c.want != "") || errors.Is(err, orders.ErrNumbersExhausted) != c.exhausted {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestAttemptNoOrder(t *testing.T) {
	for text, want := range map[orders.AttemptNo]orders.OrderNo{
		"201706130000001601":     orderNo,
		"A201706130000001699":    orderNo,
		"20201706130000001610":   orderNo, // the prefix is "20"
		"":                       "",
		"2017061300000016":       "", // an order's number
		"201706130000001600":     "", // ordinals begin at 1
		"20170613000000160x":     "",
		"ABC201706130000001601":  "",
		"a201706130000001601":    "",
		"-201706130000001601":    "",
		"201706130000001601\n":   "",
		"\n201706130000001601":   "",
		"191706130000001601":     "",
		"A 201706130000001601":   "",
		"２01706130000001601":     "",
		"2017061300000016012017": "",
	} {
		if no, ok := text.Order(); no != want || ok != (want != "") {
			t.Errorf("%q.Order() = %q, %v; want %q", text, no, ok, want)
		}
	}
}

func TestAttemptNoLeadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(946684800, 4102444800-86400).Draw(t, "second"), 0)
		no, err := orders.NewOrderNo(orders.Day(at), rapid.Int64Range(0, 99_999_999).Draw(t, "serial"))
		if err != nil {
			t.Fatal(err)
		}
		if parsed, ok := orders.ParseOrderNo(string(no)); !ok || parsed != no {
			t.Fatalf("ParseOrderNo(%q) = %q, %v", no, parsed, ok)
		}
		a, err := orders.NewAttemptNo(rapid.StringMatching(`[A-Z0-9]{0,2}`).Draw(t, "prefix"), no, rapid.IntRange(1, 99).Draw(t, "ordinal"))
		if err != nil {
			t.Fatal(err)
		}
		if back, ok := a.Order(); !ok || back != no || len(a) > 20 {
			t.Fatalf("%q leads to %q, %v; want %q", a, back, ok, no)
		}
	})
}

func FuzzAttemptNoOrder(f *testing.F) {
	f.Add("201706130000001601")
	f.Add("A2017061300000016")
	f.Fuzz(func(t *testing.T, s string) {
		no, ok := orders.AttemptNo(s).Order()
		if _, form := orders.ParseOrderNo(string(no)); ok != form {
			t.Fatalf("%q.Order() = %q, %v", s, no, ok)
		}
	})
}
