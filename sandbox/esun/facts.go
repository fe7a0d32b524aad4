package esun

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// fact is one thing that the bank says of a payment.
type fact struct{ name, value string }

// outcome is the payment's return code.
func outcome(p desk.Payment) string {
	switch p.State {
	case desk.Paid, desk.Voided:
		return approved
	case desk.Failed:
		return declined
	case desk.Cancelled:
		return left
	case desk.Expired:
		return timedOut
	case desk.Open, desk.Authorised: // a card that was entered is charged at once
	}
	return unknown
}

// facts are what the result, a query and a cancellation say alike: only the first three unless the payment was approved.
func facts(p desk.Payment) []fact {
	said := []fact{{"RC", outcome(p)}, {"MID", p.SaidPayee()}, {"ONO", p.Number}}
	if outcome(p) != approved {
		return said
	}
	at := p.PaidAt.In(desk.Taipei())
	// As in the manuals' samples: the last digit of the year, the day of the year, and a number of that day.
	reference := "50" + at.Format("06")[1:] + at.Format("002") + "00" + p.Trade[len(p.Trade)-4:]
	sum := sha256.Sum256([]byte(p.Number + " " + p.Trade))
	return append(said,
		fact{"LTD", at.Format("20060102")}, fact{"LTT", at.Format("150405")}, fact{"RRN", reference},
		fact{"AIR", fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[:])%1_000_000)})
}

// terms are what is said besides of instalments and bonus points. The payer of the double has no points.
func terms(p desk.Payment) (said []fact) {
	if n := instalments[p.Extra["IC"]]; n > 0 {
		each := p.Said() / n
		said = append(said, fact{"ITA", dollars(p.Said())}, fact{"IP", strconv.FormatInt(n, 10)},
			fact{"IFPA", dollars(p.Said() - each*(n-1))}, fact{"IPA", dollars(each)})
	}
	if p.Extra["BPF"] == "Y" {
		said = append(said, fact{"BRP", "0"}, fact{"BB", "0"}, fact{"BRA", "0.00"})
	}
	return said
}

// dollars is an amount as answers write it, 9(10)v99.
func dollars(amount int64) string { return strconv.FormatInt(amount, 10) + ".00" }
