package orders

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// OrderNo is an order's number: its day in Taipei, YYYYMMDD, and eight digits.
type OrderNo string

// AttemptNo is an attempt's number, the merchant order number at the provider: the
// account's prefix, the order number and a two-digit ordinal. It is committed
// before anything is sent and never regenerated.
type AttemptNo string

// ErrNumbersExhausted means that a day's order numbers, or an order's attempts, are used up.
var ErrNumbersExhausted = errors.New("orders: numbers exhausted")

// Taipei is the zone of order numbers and of times shown to people. It has had no
// daylight saving since 1979, so a fixed zone needs no time zone database.
var Taipei = time.FixedZone("Asia/Taipei", 8*60*60)

// MaxOrdinal is the last attempt an order may have.
const MaxOrdinal = 99

var (
	orderNoForm   = regexp.MustCompile(`^20[0-9]{14}$`)
	prefixForm    = regexp.MustCompile(`^[A-Z0-9]{0,2}$`)
	attemptNoForm = regexp.MustCompile(`^[A-Z0-9]{0,2}(20[0-9]{14})(?:0[1-9]|[1-9][0-9])$`)
)

// Day is the YYYYMMDD of a moment in Taipei.
func Day(at time.Time) string { return at.In(Taipei).Format("20060102") }

// FirstSerial is the lowest serial that a block drawn at a moment may start with:
// a thousand for each second of the day gone by. A store that lost its memory thus
// never draws a number that it drew before, as long as it draws fewer than a
// thousand a second.
func FirstSerial(at time.Time) int64 {
	t := at.In(Taipei)
	return int64(t.Hour()*3600+t.Minute()*60+t.Second()) * 1000
}

// NewOrderNo makes the number of a day's serial, 0 to 99,999,999.
func NewOrderNo(day string, serial int64) (OrderNo, error) {
	if serial < 0 || serial > 99_999_999 {
		return "", fmt.Errorf("%w: serial %d of %s", ErrNumbersExhausted, serial, day)
	}
	return OrderNo(fmt.Sprintf("%s%08d", day, serial)), nil
}

// ParseOrderNo accepts the form of an order number, whether or not such an order exists.
func ParseOrderNo(s string) (OrderNo, bool) {
	return OrderNo(s), orderNoForm.MatchString(s)
}

// NewAttemptNo makes the number of an order's attempt. prefix is the account's, zero to
// two of A-Z and 0-9.
func NewAttemptNo(prefix string, no OrderNo, ordinal int) (AttemptNo, error) {
	if !prefixForm.MatchString(prefix) {
		return "", fmt.Errorf("orders: attempt number prefix %q: want at most two of A-Z, 0-9", prefix)
	}
	if ordinal < 1 || ordinal > MaxOrdinal {
		return "", fmt.Errorf("%w: attempt %d of order %s", ErrNumbersExhausted, ordinal, no)
	}
	return AttemptNo(fmt.Sprintf("%s%s%02d", prefix, no, ordinal)), nil
}

// Order is the number of the order that an attempt number belongs to, or false when
// the text has not the form of one.
func (a AttemptNo) Order() (OrderNo, bool) {
	m := attemptNoForm.FindStringSubmatch(string(a))
	if m == nil {
		return "", false
	}
	return OrderNo(m[1]), true
}
