package providertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/providers"
)

func TestScripted(t *testing.T) {
	for name, formPost := range map[string]bool{"form post": true, "server create": false} {
		t.Run(name, func(t *testing.T) { Run(t, scriptedHarness(t, formPost)) })
	}
}

// broken is a Scripted with one method done wrong.
type broken struct {
	*Scripted
	http     *httpx.Client
	describe func(*broken) providers.Descriptor
	create   func(*broken, context.Context, providers.CreateRequest) (providers.Created, error)
	query    func(*broken, context.Context, providers.AttemptRef) (providers.Snapshot, error)
	confirm  func(*broken, context.Context, providers.ConfirmRequest) (providers.Snapshot, error)
	refund   func(*broken, context.Context, providers.RefundRequest) (providers.RefundResult, error)
	decode   func(*broken, providers.RawCallback) (providers.Notice, error)
	ack      func(*broken, providers.Verdict) providers.Ack
	key      string
	n        atomic.Int64
}

func (b *broken) Describe() providers.Descriptor {
	if b.describe != nil {
		return b.describe(b)
	}
	return b.Scripted.Describe()
}

func (b *broken) Create(ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
	if b.create != nil {
		return b.create(b, ctx, req)
	}
	return b.Scripted.Create(ctx, req)
}

func (b *broken) Query(ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
	if b.query != nil {
		return b.query(b, ctx, ref)
	}
	return b.Scripted.Query(ctx, ref)
}

func (b *broken) Confirm(ctx context.Context, req providers.ConfirmRequest) (providers.Snapshot, error) {
	if b.confirm != nil {
		return b.confirm(b, ctx, req)
	}
	return b.Scripted.Confirm(ctx, req)
}

func (b *broken) Refund(ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
	if b.refund != nil {
		return b.refund(b, ctx, req)
	}
	return b.Scripted.Refund(ctx, req)
}

func (b *broken) DecodeCallback(raw providers.RawCallback) (providers.Notice, error) {
	if b.decode != nil {
		return b.decode(b, raw)
	}
	return b.Scripted.DecodeCallback(raw)
}

func (b *broken) Ack(v providers.Verdict) providers.Ack {
	if b.ack != nil {
		return b.ack(b, v)
	}
	return b.Scripted.Ack(v)
}

// changed decodes and then changes the notice.
func changed(change func(*providers.Notice)) func(*broken) {
	return func(b *broken) {
		b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
			n, err := b.Scripted.DecodeCallback(raw)
			if err == nil && n.Snapshot != nil {
				change(&n)
			}
			return n, err
		}
	}
}

// before changes a callback before it is verified.
func before(change func(*providers.RawCallback)) func(*broken) {
	return func(b *broken) {
		b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
			raw.Header = raw.Header.Clone()
			change(&raw)
			return b.Scripted.DecodeCallback(raw)
		}
	}
}

// believe reads a body without looking at any signature.
func believe(body []byte) (providers.Notice, error) {
	var m Message
	if err := json.Unmarshal(body, &m); err != nil {
		return providers.Notice{}, err
	}
	snap, err := m.snapshot()
	return providers.Notice{AttemptNo: m.AttemptNo, Snapshot: &snap}, err
}

// asked changes what a query says.
func asked(change func(*broken, context.Context, providers.AttemptRef, *providers.Snapshot, *error)) func(*broken) {
	return func(b *broken) {
		b.query = func(b *broken, ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
			snap, err := b.Scripted.Query(ctx, ref)
			change(b, ctx, ref, &snap, &err)
			return snap, err
		}
	}
}

// confirmed changes what a confirm says, or does more than that.
func confirmed(change func(*broken, context.Context, providers.ConfirmRequest, *providers.Snapshot, *error)) func(*broken) {
	return func(b *broken) {
		b.confirm = func(b *broken, ctx context.Context, req providers.ConfirmRequest) (providers.Snapshot, error) {
			snap, err := b.Scripted.Confirm(ctx, req)
			change(b, ctx, req, &snap, &err)
			return snap, err
		}
	}
}

// refunded changes what a refund says, or does more than that.
func refunded(change func(*broken, context.Context, providers.RefundRequest, *providers.RefundResult, *error)) func(*broken) {
	return func(b *broken) {
		b.refund = func(b *broken, ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
			result, err := b.Scripted.Refund(ctx, req)
			change(b, ctx, req, &result, &err)
			return result, err
		}
	}
}

// coded tells an error that the provider signed from a lost call.
func coded(err error) bool {
	e, ok := errors.AsType[*providers.Error](err)
	return ok && e.Code != ""
}

func rekind(err *error, from, to providers.Kind) {
	var e *providers.Error
	if errors.As(*err, &e) && e.Kind == from {
		*err = &providers.Error{Provider: e.Provider, Op: e.Op, Kind: to, Code: e.Code, Err: e.Err}
	}
}

func TestBrokenAdaptersFail(t *testing.T) {
	c, thief := testCodec(t, testSecret), testCodec(t, "another secret")
	shown := map[string]bool{"vectors/verify": true} // by TestHarnessMustBeComplete
	for name, bad := range map[string]struct {
		spoil      func(*broken)
		fails      []string
		serverSide bool // of a provider whose create is a call
		fields     bool // of a provider that signs fields
	}{
		"descriptor without documents": {spoil: func(b *broken) {
			b.describe = func(b *broken) providers.Descriptor {
				d := b.Scripted.Describe()
				d.Docs = nil
				return d
			}
		}, fails: []string{"descriptor/complete"}},
		"shares its descriptor": {spoil: func(b *broken) {
			d := b.Scripted.Describe()
			b.describe = func(*broken) providers.Descriptor { return d }
		}, fails: []string{"descriptor/complete"}},
		"form origin not told": {spoil: func(b *broken) {
			b.describe = func(b *broken) providers.Descriptor {
				d := b.Scripted.Describe()
				d.FormOrigins = []string{"https://elsewhere.example"}
				return d
			}
		}, fails: []string{"create/carries-who-and-how-much"}},
		"payer left out": {spoil: func(b *broken) {
			b.create = func(b *broken, ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
				req.PayerMemberID = ""
				return b.Scripted.Create(ctx, req)
			}
		}, fails: []string{"create/carries-who-and-how-much"}},
		"always the same payee": {spoil: func(b *broken) {
			b.create = func(b *broken, ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
				req.Merchant.PayeeMemberID = "1136549"
				return b.Scripted.Create(ctx, req)
			}
		}, fails: []string{"create/carries-who-and-how-much"}},
		"another form each time": {spoil: func(b *broken) {
			b.create = func(b *broken, ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
				created, err := b.Scripted.Create(ctx, req)
				if err != nil {
					return created, err
				}
				created.Redirect.Fields["no"] = strconv.FormatInt(b.n.Add(1), 10)
				return created, err
			}
		}, fails: []string{"create/one-answer"}},
		"two creates": {serverSide: true, spoil: func(b *broken) {
			b.create = func(b *broken, ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
				_, _ = b.Scripted.Create(ctx, req)
				return b.Scripted.Create(ctx, req)
			}
		}, fails: []string{"create/codes", "create/lost-call", "create/one-answer"}},
		"create that may exist is not there": {serverSide: true, spoil: func(b *broken) {
			b.create = func(b *broken, ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
				created, err := b.Scripted.Create(ctx, req)
				if !coded(err) {
					rekind(&err, providers.OutcomeUnknown, providers.Unavailable)
				}
				return created, err
			}
		}, fails: []string{"create/lost-call"}},
		"accepts unsigned": {spoil: func(b *broken) {
			b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
				if raw.Channel == providers.ChannelServer && raw.Header != nil && raw.Header.Get(headerSignature) == "" {
					return believe(raw.Body)
				}
				return b.Scripted.DecodeCallback(raw)
			}
		}, fails: []string{"callback/signature-missing-or-twice"}},
		"first of two signatures": {spoil: before(func(raw *providers.RawCallback) {
			if values := raw.Header.Values(headerSignature); len(values) > 1 {
				raw.Header.Set(headerSignature, values[0])
			}
		}), fails: []string{"callback/signature-missing-or-twice"}},
		"signature in any case": {spoil: before(func(raw *providers.RawCallback) {
			if s := raw.Header.Get(headerSignature); len(raw.Header.Values(headerSignature)) == 1 {
				raw.Header.Set(headerSignature, strings.ToLower(s))
			}
		}), fails: []string{"callback/changed-byte"}},
		"trims the body": {spoil: before(func(raw *providers.RawCallback) {
			raw.Body = []byte(strings.TrimSpace(string(raw.Body)))
		}), fails: []string{"callback/changed-byte"}},
		"ignores the path": {spoil: before(func(raw *providers.RawCallback) {
			if raw.Path != "/api/query" && raw.Path != "/api/confirm" && raw.Path != "/api/refund" {
				raw.Path = testPath
			}
		}), fails: []string{"callback/path"}},
		"any key": {spoil: func(b *broken) {
			b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
				if _, _, err := thief.open("notice", raw.Path, raw.Header, raw.Body, raw.ReceivedAt); err == nil {
					return believe(raw.Body)
				}
				return b.Scripted.DecodeCallback(raw)
			}
		}, fails: []string{"callback/forged"}},
		"query string beside the signature": {spoil: before(func(raw *providers.RawCallback) { raw.RawQuery = "" }), fails: []string{"callback/forged"}},
		"no look at the clock": {spoil: before(func(raw *providers.RawCallback) {
			if seconds, err := strconv.ParseInt(raw.Header.Get(headerTime), 10, 64); err == nil {
				raw.ReceivedAt = time.Unix(seconds, 0)
			}
		}), fails: []string{"callback/stamp"}},
		"believes the future": {spoil: before(func(raw *providers.RawCallback) {
			if raw.ReceivedAt.Before(testNow()) {
				raw.ReceivedAt = testNow()
			}
		}), fails: []string{"callback/stamp"}},
		"order read as a receipt": {spoil: func(b *broken) {
			b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
				if c.verify(orderText(string(raw.Body)), raw.Header.Get(headerSignature), testNow()) == nil {
					return providers.Notice{AttemptNo: "201706130000001601", Snapshot: &providers.Snapshot{State: providers.Paid}}, nil
				}
				return b.Scripted.DecodeCallback(raw)
			}
		}, fails: []string{"callback/direction"}},
		"own query read as a receipt": {spoil: func(b *broken) {
			b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
				if _, _, err := c.open("query", raw.Path, raw.Header, raw.Body, raw.ReceivedAt); err == nil {
					return providers.Notice{AttemptNo: "201706130000001601"}, nil
				}
				return b.Scripted.DecodeCallback(raw)
			}
		}, fails: []string{"callback/direction"}},
		"nonce dropped":        {spoil: changed(func(n *providers.Notice) { n.Nonce = "" }), fails: []string{"callback/nonce"}},
		"no merchant":          {spoil: changed(func(n *providers.Notice) { n.Snapshot.MerchantRef = "" }), fails: []string{"callback/genuine-is-bindable"}},
		"no amount":            {spoil: changed(func(n *providers.Notice) { n.Snapshot.Amount = nil }), fails: []string{"callback/genuine-is-bindable"}},
		"no environment":       {spoil: changed(func(n *providers.Notice) { n.Snapshot.Environment = "" }), fails: []string{"callback/genuine-is-bindable"}},
		"unknown becomes paid": {spoil: changed(func(n *providers.Notice) { n.Snapshot.State = providers.Paid }), fails: []string{"callback/unknown-state"}},
		"unknown not counted":  {spoil: changed(func(n *providers.Notice) { n.Snapshot.Unmapped = "" }), fails: []string{"callback/unknown-state"}},
		"scribbles in the body": {spoil: func(b *broken) {
			b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
				n, err := b.Scripted.DecodeCallback(raw)
				if err == nil && len(raw.Body) > 0 {
					raw.Body[0] = ' '
				}
				return n, err
			}
		}, fails: []string{"callback/genuine-is-bindable"}},
		"browser believed": {spoil: before(func(raw *providers.RawCallback) { raw.Channel = providers.ChannelServer }), fails: []string{"callback/hint"}},
		"wrong acknowledgement": {spoil: func(b *broken) {
			b.ack = func(b *broken, v providers.Verdict) providers.Ack {
				a := b.Scripted.Ack(v)
				a.Body = append(a.Body, '\n')
				return a
			}
		}, fails: []string{"ack/exact-bytes"}},
		"acknowledges by omission": {spoil: func(b *broken) {
			b.ack = func(b *broken, v providers.Verdict) providers.Ack {
				if v > providers.Refused {
					v = providers.Accepted
				}
				return b.Scripted.Ack(v)
			}
		}, fails: []string{"ack/exact-bytes"}},
		"query without merchant": {spoil: asked(func(_ *broken, _ context.Context, _ providers.AttemptRef, s *providers.Snapshot, _ *error) {
			s.MerchantRef = ""
		}), fails: []string{"query/paid-is-bindable", "race/two-callers"}},
		"answer not kept": {spoil: asked(func(_ *broken, _ context.Context, _ providers.AttemptRef, s *providers.Snapshot, _ *error) {
			s.Raw = nil
		}), fails: []string{"query/paid-is-bindable"}},
		"query's unknown becomes failed": {spoil: asked(func(_ *broken, _ context.Context, _ providers.AttemptRef, s *providers.Snapshot, _ *error) {
			if s.Unmapped != "" {
				s.State = providers.Failed
			}
		}), fails: []string{"query/unknown-state"}},
		"declined read as not found": {spoil: asked(func(_ *broken, _ context.Context, _ providers.AttemptRef, _ *providers.Snapshot, err *error) {
			rekind(err, providers.Declined, providers.NotFound)
		}), fails: []string{"query/codes"}},
		"failed dial is unknown": {spoil: asked(func(_ *broken, ctx context.Context, _ providers.AttemptRef, _ *providers.Snapshot, err *error) {
			if ctx.Err() == nil {
				rekind(err, providers.Unavailable, providers.OutcomeUnknown)
			}
		}), fails: []string{"query/codes", "query/nothing-sent"}},
		"error page read as not found": {spoil: asked(func(_ *broken, _ context.Context, _ providers.AttemptRef, _ *providers.Snapshot, err *error) {
			if *err != nil && strings.Contains((*err).Error(), "unsigned answer with status 404") {
				rekind(err, providers.OutcomeUnknown, providers.NotFound)
			}
		}), fails: []string{"query/lost-or-unreadable"}},
		"bare error": {spoil: asked(func(_ *broken, _ context.Context, _ providers.AttemptRef, _ *providers.Snapshot, err *error) {
			if *err != nil && strings.Contains((*err).Error(), "status 302") {
				*err = errors.New("it went wrong")
			}
		}), fails: []string{"query/lost-or-unreadable"}},
		"unsigned answer believed": {spoil: asked(func(b *broken, ctx context.Context, ref providers.AttemptRef, s *providers.Snapshot, err *error) {
			if *err == nil || !strings.Contains((*err).Error(), "unsigned answer with status 200") {
				return
			}
			body := []byte(`{"attempt_no":"` + ref.AttemptNo + `"}`)
			resp, sent := b.http.Send(ctx, httpx.Request{Method: http.MethodPost, Path: "/api/query", Header: c.seal("query", "n", "/api/query", body, testNow()), Body: body})
			if sent != nil {
				return
			}
			if n, unread := believe(resp.Body); unread == nil {
				*s, *err = *n.Snapshot, nil
			}
		}), fails: []string{"query/unproven-answer"}},
		"refund sent again": {spoil: refunded(func(b *broken, ctx context.Context, req providers.RefundRequest, r *providers.RefundResult, err *error) {
			if *err != nil && providers.KindOf(*err) == providers.OutcomeUnknown && ctx.Err() == nil {
				*r, *err = b.Scripted.Refund(ctx, req)
			}
		}), fails: []string{"refund/codes", "refund/one-send"}},
		"a confirm that is there already was refused": {spoil: confirmed(func(_ *broken, _ context.Context, _ providers.ConfirmRequest, _ *providers.Snapshot, err *error) {
			rekind(err, providers.Duplicate, providers.Declined)
		}), fails: []string{"confirm/codes"}},
		"unknown code of a confirm was not accepted": {spoil: confirmed(func(_ *broken, _ context.Context, _ providers.ConfirmRequest, _ *providers.Snapshot, err *error) {
			if coded(*err) {
				rekind(err, providers.OutcomeUnknown, providers.Unavailable)
			}
		}), fails: []string{"confirm/codes"}},
		"confirm sent again after a code": {spoil: confirmed(func(b *broken, ctx context.Context, req providers.ConfirmRequest, s *providers.Snapshot, err *error) {
			if coded(*err) && providers.KindOf(*err) == providers.RateLimited {
				*s, *err = b.Scripted.Confirm(ctx, req)
			}
		}), fails: []string{"confirm/codes"}},
		"refused confirm says paid": {spoil: confirmed(func(_ *broken, _ context.Context, _ providers.ConfirmRequest, s *providers.Snapshot, err *error) {
			if providers.KindOf(*err) == providers.Declined {
				s.State = providers.Paid
			}
		}), fails: []string{"confirm/codes"}},
		"unknown code of a refund is a no": {spoil: refunded(func(_ *broken, _ context.Context, _ providers.RefundRequest, _ *providers.RefundResult, err *error) {
			if coded(*err) {
				rekind(err, providers.OutcomeUnknown, providers.Declined)
			}
		}), fails: []string{"refund/codes"}},
		"refund sent again after an unknown code": {spoil: refunded(func(b *broken, ctx context.Context, req providers.RefundRequest, r *providers.RefundResult, err *error) {
			if coded(*err) && providers.KindOf(*err) == providers.OutcomeUnknown {
				*r, *err = b.Scripted.Refund(ctx, req)
			}
		}), fails: []string{"refund/codes"}},
		"refund's code not told": {spoil: refunded(func(b *broken, _ context.Context, _ providers.RefundRequest, _ *providers.RefundResult, err *error) {
			if coded(*err) {
				*err = b.failed(providers.OpRefund, providers.KindOf(*err), nil)
			}
		}), fails: []string{"refund/codes"}},
		"create that exists may be made elsewhere": {serverSide: true, spoil: func(b *broken) {
			b.create = func(b *broken, ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
				created, err := b.Scripted.Create(ctx, req)
				rekind(&err, providers.Duplicate, providers.Unavailable)
				return created, err
			}
		}, fails: []string{"create/codes"}},
		"lost refund is declined": {spoil: refunded(func(_ *broken, ctx context.Context, _ providers.RefundRequest, _ *providers.RefundResult, err *error) {
			if ctx.Err() == nil && !coded(*err) {
				rekind(err, providers.OutcomeUnknown, providers.Declined)
			}
		}), fails: []string{"refund/one-send"}},
		"refund done before it is": {spoil: refunded(func(_ *broken, _ context.Context, _ providers.RefundRequest, r *providers.RefundResult, _ *error) {
			r.State = providers.RefundPending
		}), fails: []string{"refund/done"}},
		"refund beyond its context": {spoil: func(b *broken) {
			b.refund = func(b *broken, ctx context.Context, req providers.RefundRequest) (providers.RefundResult, error) {
				if ctx.Err() != nil {
					own, cancel := within()
					defer cancel()
					ctx = own
				}
				return b.Scripted.Refund(ctx, req)
			}
		}, fails: []string{"refund/cancelled"}},
		"confirm sent again": {spoil: confirmed(func(b *broken, ctx context.Context, req providers.ConfirmRequest, s *providers.Snapshot, err *error) {
			if *err != nil && !coded(*err) && !errors.Is(*err, providers.Unavailable) && ctx.Err() == nil {
				*s, *err = b.Scripted.Confirm(ctx, req)
			}
		}), fails: []string{"confirm/one-send"}},
		"confirmed, and yet pending": {spoil: confirmed(func(_ *broken, _ context.Context, _ providers.ConfirmRequest, s *providers.Snapshot, _ *error) {
			s.State = providers.Pending
		}), fails: []string{"confirm/paid-is-bindable"}},
		"confirm beyond its context": {spoil: func(b *broken) {
			b.confirm = func(b *broken, ctx context.Context, req providers.ConfirmRequest) (providers.Snapshot, error) {
				if ctx.Err() != nil {
					own, cancel := within()
					defer cancel()
					ctx = own
				}
				return b.Scripted.Confirm(ctx, req)
			}
		}, fails: []string{"confirm/cancelled"}},
		"query beyond its context": {spoil: asked(func(b *broken, ctx context.Context, ref providers.AttemptRef, s *providers.Snapshot, err *error) {
			if ctx.Err() != nil {
				own, cancel := within()
				defer cancel()
				*s, *err = b.Scripted.Query(own, ref)
			}
		}), fails: []string{"query/cancelled"}},
		"forged answer to a confirm is a no": {spoil: confirmed(func(_ *broken, _ context.Context, _ providers.ConfirmRequest, _ *providers.Snapshot, err *error) {
			if *err != nil && strings.Contains((*err).Error(), "does not match") {
				rekind(err, providers.OutcomeUnknown, providers.Untrusted)
			}
		}), fails: []string{"confirm/one-send"}},
		"key in an error": {spoil: asked(func(b *broken, _ context.Context, _ providers.AttemptRef, _ *providers.Snapshot, err *error) {
			var e *providers.Error
			if errors.As(*err, &e) && e.Kind == providers.OutcomeUnknown {
				*err = &providers.Error{Provider: e.Provider, Op: e.Op, Code: e.Code, Err: fmt.Errorf("signed with %x", b.config.Secret.Reveal())}
			}
		}), fails: []string{"secrets/not-shown"}},
		"key in the adapter":  {spoil: func(b *broken) { b.key = testSecret }, fails: []string{"secrets/not-shown"}},
		"first of two fields": {fields: true, spoil: func(b *broken) { b.decode = fielded(false) }, fails: []string{"callback/fields"}},
		"believes what is not signed": {fields: true, spoil: func(b *broken) {
			b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
				n, err := fielded(true)(b, raw)
				if f, bad := url.ParseQuery(string(raw.Body)); err == nil && bad == nil && n.Snapshot != nil {
					n.Snapshot.ProviderTradeNo = f.Get("memo")
				}
				return n, err
			}
		}, fails: []string{"callback/changed-byte", "callback/fields"}},
		"pointer dropped": {fields: true, spoil: func(b *broken) {
			b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
				n, err := fielded(true)(b, raw)
				n.Pointer = ""
				return n, err
			}
		}, fails: []string{"callback/pointer"}},
		"number cut short": {spoil: func(b *broken) {
			b.create = func(b *broken, ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
				req.AttemptNo = req.AttemptNo[:min(len(req.AttemptNo), longestNumber)]
				return b.Scripted.Create(ctx, req)
			}
		}, fails: []string{"create/limits"}},
		"a bill names its price": {spoil: func(b *broken) {
			b.create = func(b *broken, ctx context.Context, req providers.CreateRequest) (providers.Created, error) {
				if strings.Contains(req.Lines[0].Name, "&Amt=1") {
					req.Total = req.Total.Nothing()
				}
				return b.Scripted.Create(ctx, req)
			}
		}, fails: []string{"create/hostile-text"}},
		"amount of our own": {spoil: asked(func(_ *broken, _ context.Context, ref providers.AttemptRef, s *providers.Snapshot, _ *error) {
			if s.Amount != nil {
				s.Amount = &ref.Amount
			}
		}), fails: []string{"query/reads-the-answer"}},
		"payee of our own": {spoil: asked(func(_ *broken, _ context.Context, ref providers.AttemptRef, s *providers.Snapshot, _ *error) {
			if s.MerchantRef != "" {
				s.MerchantRef = ref.PayeeMemberID
			}
		}), fails: []string{"query/reads-the-answer"}},
		"confirmed amount of our own": {spoil: confirmed(func(_ *broken, _ context.Context, req providers.ConfirmRequest, s *providers.Snapshot, _ *error) {
			if s.Amount != nil {
				s.Amount = &req.Attempt.Amount
			}
		}), fails: []string{"confirm/reads-the-answer"}},
		"whichever attempt": {spoil: func(b *broken) {
			b.query = func(b *broken, ctx context.Context, ref providers.AttemptRef) (providers.Snapshot, error) {
				ref.AttemptNo = "201706130000001601"
				return b.Scripted.Query(ctx, ref)
			}
		}, fails: []string{"query/another-attempt"}},
		"remembers callbacks": {spoil: func(b *broken) {
			b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
				n, err := b.Scripted.DecodeCallback(raw)
				if n.Snapshot != nil {
					n.IssuedAt = n.IssuedAt.Add(time.Duration(b.n.Add(1)))
				}
				return n, err
			}
		}, fails: []string{"callback/pure"}},
		"nothing said to payers": {spoil: func(b *broken) {
			b.describe = func(b *broken) providers.Descriptor {
				d := b.Scripted.Describe()
				d.Outcomes.Expired.EN = ""
				return d
			}
		}, fails: []string{"descriptor/complete"}},
		"panics": {spoil: changed(func(n *providers.Notice) {
			if n.Snapshot.Unmapped != "" {
				panic("index out of range")
			}
		}), fails: []string{"callback/unknown-state"}},
	} {
		for _, name := range bad.fails {
			shown[name] = true
		}
		t.Run(name, func(t *testing.T) {
			h := scriptedHarness(t, !bad.serverSide)
			good := h.New
			if bad.fields {
				h = fieldHarness(t)
			}
			h.New = func(target Target) (providers.Provider, error) {
				p, err := good(target)
				if err != nil {
					return nil, err
				}
				scripted, ok := p.(*Scripted)
				if !ok {
					return nil, errors.New("not a Scripted")
				}
				b := &broken{Scripted: scripted, http: target.HTTP}
				bad.spoil(b)
				return b, nil
			}
			failed := make(map[string]error)
			for _, c := range checks() {
				err := c.against(h)
				var skip skipped
				if err != nil && !errors.As(err, &skip) {
					failed[c.name] = err
				}
			}
			if got := slices.Sorted(maps.Keys(failed)); !slices.Equal(got, bad.fails) {
				t.Errorf("fails %q, want %q: %v", got, bad.fails, failed)
			}
		})
	}
	for _, c := range checks() {
		if !shown[c.name] {
			t.Errorf("no broken adapter fails %s", c.name)
		}
	}
}

// A harness that leaves out a proof is itself a failure, not a pass.
func TestHarnessMustBeComplete(t *testing.T) {
	for name, c := range map[string]struct {
		forget func(*Harness)
		check  string
	}{
		"no clock":            {func(h *Harness) { h.Now = time.Time{} }, "ack/exact-bytes"},
		"no vectors":          {func(h *Harness) { h.Vectors = nil }, "vectors/verify"},
		"no secrets":          {func(h *Harness) { h.Secrets = nil }, "secrets/not-shown"},
		"no wrong key":        {func(h *Harness) { delete(h.Callbacks.Forged, "wrong key") }, "callback/forged"},
		"no echo":             {func(h *Harness) { h.Callbacks.Echo = nil }, "callback/direction"},
		"no unknown state":    {func(h *Harness) { h.Callbacks.Unknown = nil }, "callback/unknown-state"},
		"no signature names":  {func(h *Harness) { h.Answers.Signature = nil }, "query/unproven-answer"},
		"no codes of refunds": {func(h *Harness) { delete(h.Answers.Codes, providers.OpRefund) }, "refund/codes"},
		"an ack forgotten":    {func(h *Harness) { delete(h.Callbacks.Acks, providers.Refused) }, "ack/exact-bytes"},
		"header not there":    {func(h *Harness) { h.Callbacks.Headers = append(h.Callbacks.Headers, "X-Other") }, "callback/signature-missing-or-twice"},
	} {
		t.Run(name, func(t *testing.T) {
			h := scriptedHarness(t, true)
			c.forget(&h)
			for _, one := range checks() {
				if err := one.against(h); one.name == c.check && err == nil {
					t.Errorf("%s passes", c.check)
				}
			}
		})
	}
}

// bare has none of the optional powers.
type bare struct{ providers.Provider }

func TestAbsentPowersAreSkippedByName(t *testing.T) {
	h := scriptedHarness(t, true)
	good := h.New
	h.New = func(target Target) (providers.Provider, error) {
		p, err := good(target)
		return bare{p}, err
	}
	h.Vectors = map[string]func(providers.Provider) error{"none": func(providers.Provider) error { return nil }}
	for _, c := range checks() {
		err := c.against(h)
		var skip skipped
		needsPower := strings.HasPrefix(c.name, "callback/") || strings.HasPrefix(c.name, "ack/") || strings.HasPrefix(c.name, "confirm/") || strings.HasPrefix(c.name, "refund/") || c.name == "create/lost-call" || c.name == "create/codes"
		if errors.As(err, &skip) != needsPower || err != nil && !needsPower {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
