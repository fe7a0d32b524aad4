package bravobank

import (
	"errors"
	"net/http"

	"pay.taipei/gateway/providers"
)

// DecodeCallback verifies and reads a notice. What a browser brings is never more
// than an empty hint, whatever it carries: the bank signs nothing for browsers
// (section 5).
//
// The error is Untrusted when the message is not proven to be the bank's, and
// OutcomeUnknown when it is but cannot be read. Not checked: replay of the nonce,
// amount, payee, environment.
//
// Source: section 6.
func (a *Adapter) DecodeCallback(raw providers.RawCallback) (providers.Notice, error) {
	if raw.Channel != providers.ChannelServer {
		return providers.Notice{}, nil
	}
	n, err := a.verifyNotice(raw)
	if err != nil {
		return providers.Notice{}, failed(providers.OpCallback, providers.Untrusted, err)
	}
	f := readObject(raw.Body)
	attemptNo, _, snapshot := f.payment()
	if err := f.end(); err != nil {
		return providers.Notice{}, failed(providers.OpCallback, providers.OutcomeUnknown, err)
	}
	n.AttemptNo, n.Snapshot = attemptNo, &snapshot
	return n, nil
}

func (a *Adapter) verifyNotice(raw providers.RawCallback) (providers.Notice, error) {
	if raw.Method != http.MethodPost || raw.RawQuery != "" {
		return providers.Notice{}, errors.New("a notice is a POST without a query string, which the signature would not cover")
	}
	s, err := readSeal(raw.Header, raw.ReceivedAt)
	if err != nil {
		return providers.Notice{}, err
	}
	nonce, err := header(raw.Header, "Bravo-Nonce", nonceForm)
	if err != nil {
		return providers.Notice{}, err
	}
	text := messageText(labelNotice, s.kid, s.timestamp, nonce, raw.Path, raw.Body)
	if err := a.bank.Verify(s.kid, text, s.signature, raw.ReceivedAt); err != nil {
		return providers.Notice{}, err
	}
	return providers.Notice{Nonce: nonce, IssuedAt: s.at, KeyID: s.kid}, nil
}

// Ack is the answer to a notice (section 6).
func (a *Adapter) Ack(v providers.Verdict) providers.Ack {
	ack := providers.Ack{Status: http.StatusServiceUnavailable, ContentType: "application/json", Body: []byte(`{"result":"retry"}`)}
	switch v {
	case providers.Accepted:
		ack.Status, ack.Body = http.StatusOK, []byte(`{"result":"ok"}`)
	case providers.Refused:
		ack.Status, ack.Body = http.StatusBadRequest, []byte(`{"result":"refused"}`)
	case providers.RetryLater:
	}
	return ack
}
