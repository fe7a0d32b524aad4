package esun

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

var codeForm = regexp.MustCompile(`^[0-9A-Za-z_-]{1,40}$`)

// snapshotOf reads what a transaction says of a payment: RC and MID, and when it is approved LTD, LTT and RRN. Errors stick
// to the fields. Time and number only describe: the manual's first sample has a time without a year, and what was paid is
// paid all the same.
func snapshotOf(txn *wire.Fields) providers.Snapshot {
	code := txn.Need("RC", codeForm)
	state, known := stateOf(code)
	s := providers.Snapshot{State: state, MerchantRef: txn.Need("MID", payeeForm)}
	if !known {
		s.Unmapped = cmp.Or(code, "(empty)")
	}
	if state != providers.Paid {
		return s
	}
	s.Method, s.ProviderTradeNo = "credit_card", txn.Optional("RRN")
	s.PaidAt = wire.Moment(txn.Optional("LTD")+txn.Optional("LTT"), "20060102150405")
	return s
}

// returned are the names of a return's DATA, which are all that it may hold.
//
// Source: Type 4, "return".
func returned() []string {
	return []string{"RC", "MID", "ONO", "LTD", "LTT", "RRN", "AIR", "AN", "ITA", "IP", "IPA", "IFPA", "BB", "BRP", "BRA"}
}

// DecodeCallback reads the return of a payer's browser, which is the bank's only message. Without MACD, as after some
// failures, it is a hint. It carries no amount, so that one that says paid makes the router ask.
//
// Under the signature lies all of DATA. A return has neither stamp nor nonce: it can be sent again, and says the same.
func (a *Adapter) DecodeCallback(raw providers.RawCallback) (providers.Notice, error) {
	refuse := func(kind providers.Kind, err error) (providers.Notice, error) {
		return providers.Notice{}, failed(providers.OpCallback, kind, err)
	}
	if raw.Channel != providers.ChannelBrowser || raw.Method != http.MethodGet || len(raw.Body) > 0 {
		return refuse(providers.Untrusted, errors.New("the bank sends results only with the payer's browser, by GET"))
	}
	query, err := wire.Form(raw.RawQuery)
	if err != nil {
		return refuse(providers.Untrusted, err)
	}
	data, macd := query["DATA"], query["MACD"]
	if macd == "" {
		return providers.Notice{}, nil
	}
	if err := a.verify(data, macd); err != nil {
		return refuse(providers.Untrusted, err)
	}
	fields := make(map[string]string)
	for _, pair := range strings.Split(data, ",") {
		name, value, found := strings.Cut(pair, "=")
		if _, twice := fields[name]; !found || twice {
			return refuse(providers.OutcomeUnknown, fmt.Errorf("DATA: %.20q is repeated or has no value", name))
		}
		fields[name] = value
	}
	txn := wire.NewFields(fields)
	snapshot := snapshotOf(txn)
	number := txn.Need("ONO", numberForm)
	for _, name := range returned() {
		txn.Optional(name)
	}
	if err := txn.End(); err != nil {
		return refuse(providers.OutcomeUnknown, err)
	}
	return providers.Notice{AttemptNo: number, Snapshot: &snapshot}, nil
}

// Ack answers a browser that comes to the wrong door: the bank waits for no answer.
func (a *Adapter) Ack(v providers.Verdict) providers.Ack { return wire.PlainAck(v) }
