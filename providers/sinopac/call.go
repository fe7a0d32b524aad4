package sinopac

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

// envelope is a message on the wire, in both directions. Sign covers the top-level scalars of what Message holds.
type envelope struct {
	Version, ShopNo, APIService, Sign, Nonce, Message string
}

// call makes one call: a nonce first, which is good once, then the service. An answer is believed when its Sign matches.
func (a *Adapter) call(ctx context.Context, op providers.Op, shop, service string, message any) (members map[string]json.RawMessage, raw []byte, failure *providers.Error) {
	unsent := func(err error) *providers.Error { return failed(op, providers.Unavailable, err) }
	nonce, err := a.nonce(ctx, shop)
	if err != nil {
		return nil, nil, unsent(fmt.Errorf("no nonce: %w", err))
	}
	body, err := a.enclose(shop, service, nonce, message)
	if err != nil {
		return nil, nil, unsent(err)
	}
	resp, err := a.client.Send(ctx, a.request("/Order", body))
	if err != nil {
		return nil, nil, wire.Lost(Name, op, err)
	}
	members, valid, err := a.read(resp, shop)
	switch {
	case err != nil:
		return nil, nil, failed(op, providers.OutcomeUnknown, err)
	case !valid && op == providers.OpQuery:
		return nil, nil, failed(op, providers.Untrusted, errors.New("the answer's Sign does not match"))
	case !valid: // it may have been carried out all the same
		return nil, nil, failed(op, providers.OutcomeUnknown, errors.New("the answer's Sign does not match"))
	}
	return members, resp.Body, nil
}

func (a *Adapter) request(service string, body []byte) httpx.Request {
	h := make(http.Header)
	h.Set("Content-Type", "application/json")
	h.Set("X-KeyID", string(a.keyID.Reveal()))
	return httpx.Request{Method: http.MethodPost, Path: a.path + service, Header: h, Body: body}
}

func (a *Adapter) nonce(ctx context.Context, shop string) (string, error) {
	body, err := json.Marshal(struct{ ShopNo string }{shop})
	if err != nil {
		return "", err
	}
	resp, err := a.client.Send(ctx, a.request("/Nonce", body))
	if err != nil {
		return "", err
	}
	members, err := wire.Object(resp.Body)
	if err != nil || resp.Status != http.StatusOK {
		return "", fmt.Errorf("an answer with status %d that is none", resp.Status)
	}
	f := wire.Scalars(members)
	return f.Need("Nonce", tokenForm), f.Err()
}

// enclose signs and encrypts a message.
func (a *Adapter) enclose(shop, service, nonce string, message any) ([]byte, error) {
	plain, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	text, errText := signedText(plain)
	sum, errSign := sign(text, nonce, a.hashID)
	sealed, errSeal := seal(plain, nonce, a.hashID)
	if err := errors.Join(errText, errSign, errSeal); err != nil {
		return nil, err
	}
	return json.Marshal(envelope{"1.0.0", shop, service, sum, nonce, sealed})
}

// read opens an answer. What is not the bank's envelope is an error; valid says whether its Sign matches.
func (a *Adapter) read(resp *httpx.Response, shop string) (members map[string]json.RawMessage, valid bool, err error) {
	outer, err := wire.Object(resp.Body)
	if err != nil || resp.Status != http.StatusOK {
		return nil, false, fmt.Errorf("an answer with status %d that is none of the bank's", resp.Status)
	}
	f := wire.Scalars(outer)
	nonce, sum, message := f.Optional("Nonce"), f.Optional("Sign"), f.Optional("Message")
	if nonce == "" || message == "" || f.Optional("ShopNo") != shop {
		return nil, false, errors.New("the answer lacks Nonce or Message, or is another shop's")
	}
	plain, valid, err := verified(message, sum, nonce, a.hashID)
	if err != nil || !valid {
		return nil, false, err
	}
	if members, err = wire.Object(plain); err != nil {
		return nil, true, err
	}
	if inner, ok := wire.Scalar(members["ShopNo"]); ok && inner != shop {
		return nil, false, nil
	}
	return members, true, nil
}
