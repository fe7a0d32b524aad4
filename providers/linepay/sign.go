package linepay

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/signing"
)

// requestText is what is signed of a request: the secret once more, the path without host and query, what is sent (the body
// of a POST, the query string of a GET, byte for byte) and the nonce. The method is not under the signature. LINE signs
// nothing itself, so nothing that we sign can come back as its word.
func requestText(secret signing.Secret, path, payload, nonce string) signing.Text {
	return append(secret.Reveal(), path+payload+nonce...)
}

// signed makes a request with a nonce of its own: a POST of body, or a GET of query when body is nil.
func (a *Adapter) signed(path, query string, body []byte) (httpx.Request, error) {
	nonce, err := a.nonce()
	if err != nil {
		return httpx.Request{}, err
	}
	r := httpx.Request{Method: http.MethodPost, Path: path, Body: body}
	payload := string(body)
	if body == nil {
		r.Method, r.RawQuery, payload = http.MethodGet, query, query
	}
	_, tag := a.keys.Sign(requestText(a.secret, path, payload, nonce))
	r.Header = make(http.Header)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-LINE-ChannelId", a.channel)
	r.Header.Set("X-LINE-Authorization-Nonce", nonce)
	r.Header.Set("X-LINE-Authorization", base64.StdEncoding.EncodeToString(tag))
	return r, nil
}

// nonce is a UUID of version 4.
func (a *Adapter) nonce() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(a.rand, b[:]); err != nil {
		return "", fmt.Errorf("no randomness for a nonce: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}

// VectorSchemes is LINE Pay's one signature.
func VectorSchemes() []signing.Scheme {
	return []signing.Scheme{{Name: "linepay", Inputs: []string{"secret", "path", "payload", "nonce"}, Make: func(in *signing.Inputs) (any, error) {
		secret := in.Secret("secret")
		key, err := signing.NewHMACKeys([]signing.HMACKey{{ID: "channel", Secret: secret}})
		if err != nil {
			return nil, err
		}
		_, tag := key.Sign(requestText(secret, in.Text("path"), in.Text("payload"), in.Text("nonce")))
		return base64.StdEncoding.EncodeToString(tag), nil
	}}}
}
