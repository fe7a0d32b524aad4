package providertest

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pay.taipei/gateway/providers"
)

// fieldHarness is the harness of a Scripted whose notices are forms: the field notice, signed by sig whatever its spelling,
// and memo, which is not signed. A browser brings a token.
func fieldHarness(t testing.TB) Harness {
	t.Helper()
	h := scriptedHarness(t, true)
	c, thief := testCodec(t, testSecret), testCodec(t, "another secret")
	good := h.New
	h.New = func(target Target) (providers.Provider, error) {
		p, err := good(target)
		if err != nil {
			return nil, err
		}
		s, ok := p.(*Scripted)
		if !ok {
			return nil, errors.New("not a Scripted")
		}
		return &broken{Scripted: s, decode: fielded(true)}, nil
	}
	h.Vectors = map[string]func(providers.Provider) error{"none": func(providers.Provider) error { return nil }}
	form := func(c codec, body string) func() providers.RawCallback {
		return func() providers.RawCallback {
			f := url.Values{"notice": {body}, "sig": {c.tag([]byte("form\n" + body))}, "memo": {"thanks"}}
			return providers.RawCallback{Method: http.MethodPost, Body: []byte(f.Encode()), ReceivedAt: testNow()}
		}
	}
	unknown := strings.Replace(testBody, `"paid"`, `"reversed"`, 1)
	h.Callbacks = Callbacks{
		Paid: form(c, testBody), Unknown: form(c, unknown), FieldSigned: true,
		Forged: map[string]func() providers.RawCallback{"wrong key": form(thief, testBody)},
		Pointers: map[string]func() (providers.RawCallback, string){"browser": func() (providers.RawCallback, string) {
			return providers.RawCallback{Channel: providers.ChannelBrowser, RawQuery: "token=T+1&state=paid"}, "T 1"
		}},
		Echo: func(r providers.Redirect, _ *Request) []providers.RawCallback {
			f := url.Values{"notice": {r.Fields["order"]}, "sig": {r.Fields["sig"]}}
			return []providers.RawCallback{{Method: http.MethodPost, Body: []byte(f.Encode()), ReceivedAt: testNow()}}
		},
		Acks: h.Callbacks.Acks,
	}
	return h
}

// fielded decodes notices that are forms. once refuses a field that is repeated.
func fielded(once bool) func(*broken, providers.RawCallback) (providers.Notice, error) {
	return func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
		no := func(err error) (providers.Notice, error) {
			return providers.Notice{}, b.failed(providers.OpCallback, providers.Untrusted, err)
		}
		if raw.Channel == providers.ChannelBrowser {
			q, err := url.ParseQuery(raw.RawQuery)
			if err != nil {
				return no(err)
			}
			return providers.Notice{Pointer: q.Get("token")}, nil
		}
		form, err := url.ParseQuery(string(raw.Body))
		if err != nil {
			return no(errors.New("no form"))
		}
		for _, values := range form {
			if len(values) != 1 && once {
				return no(errors.New("a field is repeated"))
			}
		}
		body := form.Get("notice")
		if err := b.codec.verify([]byte("form\n"+body), form.Get("sig"), testNow()); err != nil {
			return no(err)
		}
		n, err := believe([]byte(body))
		if err != nil {
			return no(err)
		}
		return n, nil
	}
}

func TestFieldSigned(t *testing.T) { Run(t, fieldHarness(t)) }
