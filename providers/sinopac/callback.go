package sinopac

import (
	"encoding/json"
	"errors"
	"net/http"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

// DecodeCallback reads a pointer: ShopNo and PayToken, in JSON from the bank's server and as a form from a browser. Nothing is
// signed, so that it is a hint at most, and the token goes into the query as it came.
//
// Source: BackendURL, ReturnURL.
func (a *Adapter) DecodeCallback(raw providers.RawCallback) (providers.Notice, error) {
	var fields *wire.Fields
	if raw.Channel == providers.ChannelBrowser {
		form, err := wire.Form(string(raw.Body))
		if err != nil || raw.Method != http.MethodPost {
			return providers.Notice{}, failed(providers.OpCallback, providers.Untrusted, errors.New("a return is a form with ShopNo and PayToken"))
		}
		fields = wire.NewFields(form)
	} else {
		members, err := wire.Object(raw.Body)
		if err != nil || raw.Method != http.MethodPost {
			return providers.Notice{}, failed(providers.OpCallback, providers.Untrusted, errors.New("a notice is JSON with ShopNo and PayToken"))
		}
		fields = wire.Scalars(members)
	}
	fields.Need("ShopNo", shopForm)
	token := fields.Need("PayToken", tokenForm)
	if err := fields.End(); err != nil {
		return providers.Notice{}, failed(providers.OpCallback, providers.Untrusted, err)
	}
	return providers.Notice{Pointer: token}, nil
}

// Ack is the answer to a notice: Status S with HTTP 200. What another answer causes is not documented.
func (a *Adapter) Ack(v providers.Verdict) providers.Ack {
	status, word := http.StatusServiceUnavailable, "F"
	switch v {
	case providers.Accepted:
		status, word = http.StatusOK, "S"
	case providers.Refused:
		status = http.StatusBadRequest
	case providers.RetryLater:
	}
	body, err := json.Marshal(struct{ Status string }{word})
	if err != nil {
		status = http.StatusServiceUnavailable // cannot be
	}
	return providers.Ack{Status: status, ContentType: "application/json", Body: body}
}
