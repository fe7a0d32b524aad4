package providertest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"pay.taipei/gateway/providers"
)

func createChecks() []check {
	return []check{
		{"descriptor/complete", "the descriptor tells everything that the router, the pay page and payers need, and is constant", descriptorComplete},
		{"vectors/verify", "every golden vector of the provider's document holds", vectorsVerify},
		{"create/carries-who-and-how-much", "payee, payer, number and total lie under the signature, and the browser may follow the redirect", createCarries},
		{"create/one-answer", "a form is made without a call and twice alike; a server create is one call", createOnce},
		{"create/limits", "a number longer than the provider takes is refused as our mistake, and nothing is sent", createLimits},
		{"create/hostile-text", "no text of a bill can change number or total: it is escaped, or refused as our mistake", createHostile},
		{"create/lost-call", "a create that got no readable answer is unknown, sent once, and unavailable only where nothing was sent", powered((*subject).serverCreate, (*subject).oneSend)},
		{"create/codes", "every documented code says what may be done next; another one leaves the outcome unknown", powered((*subject).serverCreate, (*subject).codes)},
	}
}

func descriptorComplete(s *subject) error {
	d := s.adapter.Describe()
	var missing []string
	need := func(what string, there bool) {
		if !there {
			missing = append(missing, what)
		}
	}
	need("Name", d.Name != "")
	need("NameZH and NameEN", d.NameZH != "" && d.NameEN != "")
	need("Methods", len(d.Methods) > 0)
	for _, m := range d.Methods {
		need("code and names of method "+m.Code, m.Code != "" && m.NameZH != "" && m.NameEN != "")
	}
	need("Currency", d.Currency != "")
	need("Number", d.Number.MaxLength > 0 && d.Number.Alphabet != "")
	need("AmountUnit", d.AmountUnit != "")
	need("PayeeField and PayerField, or that they are not carried", d.PayeeField != "" && d.PayerField != "")
	need("Patience", d.Patience.FirstQuery > 0 && d.Patience.Spacing > 0 && d.Patience.Grace > 0)
	for what, text := range map[string]providers.Text{
		"paid": d.Outcomes.Paid, "failed": d.Outcomes.Failed, "cancelled": d.Outcomes.Cancelled, "expired": d.Outcomes.Expired,
	} {
		need("what payers are told of an attempt that is "+what, text.ZH != "" && text.EN != "")
	}
	need("Docs", len(d.Docs) > 0)
	for _, doc := range d.Docs {
		need("title and address of a document", doc.Title != "" && doc.URL != "")
	}
	need("ServerCreate that fits the harness", d.ServerCreate == (s.h.Answers.Create != nil))
	if len(missing) > 0 {
		return fmt.Errorf("the descriptor lacks %s", strings.Join(missing, "; "))
	}
	clear(d.Methods) // a caller that changes its copy must not change the provider
	again := s.adapter.Describe()
	if again.Methods[0].Code == "" || !reflect.DeepEqual(again, s.adapter.Describe()) {
		return errors.New("the descriptor is not constant")
	}
	return nil
}

func vectorsVerify(s *subject) error {
	if len(s.h.Vectors) == 0 {
		return errors.New("harness: no golden vectors; their source is the provider's document")
	}
	var failures []error
	for _, name := range slices.Sorted(maps.Keys(s.h.Vectors)) {
		if err := s.h.Vectors[name](s.adapter); err != nil {
			failures = append(failures, fmt.Errorf("vector %s: %w", name, err))
		}
	}
	return errors.Join(failures...)
}

func createCarries(s *subject) error {
	other, err := s.h.other()
	if err != nil {
		return err
	}
	d := s.adapter.Describe()
	for _, req := range []providers.CreateRequest{s.h.Order, other} {
		created, sent, err := s.create(req)
		if err != nil {
			return err
		}
		if err := leads(created.Redirect, d.FormOrigins); err != nil {
			return err
		}
		signed, err := s.h.Signed(created.Redirect, sent)
		if err != nil {
			return fmt.Errorf("signed bytes: %w", err)
		}
		for what, value := range map[string]string{
			"attempt number": req.AttemptNo, "total": req.Total.Value(),
			"payee": carried(d.PayeeField, req.Merchant.PayeeMemberID), "payer": carried(d.PayerField, req.PayerMemberID),
		} {
			if !bytes.Contains(signed, []byte(value)) {
				return fmt.Errorf("the %s %s is not in the signed bytes %q", what, value, signed)
			}
		}
	}
	return nil
}

func carried(field, value string) string {
	if field == "not carried" {
		return ""
	}
	return value
}

// leads asserts that a browser can follow the redirect, and may under the pay page's CSP.
func leads(r providers.Redirect, origins []string) error {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Host == "":
		return fmt.Errorf("redirect %q is not absolute", r.URL)
	case r.Method == "GET" && len(r.Fields) == 0:
		return nil
	case r.Method != "POST":
		return fmt.Errorf("redirect is a %q with %d fields", r.Method, len(r.Fields))
	case !slices.Contains(origins, u.Scheme+"://"+u.Host):
		return fmt.Errorf("the form posts to %s, FormOrigins are %v", u.Host, origins)
	}
	return nil
}

// createOnce: a form post sends nothing and can be made again; a server create is one call.
func createOnce(s *subject) error {
	first, _, err := s.create(s.h.Order)
	if err != nil {
		return err
	}
	sent := len(s.arrived())
	if s.h.Answers.Create != nil {
		if sent != 1 {
			return fmt.Errorf("a create made %d calls", sent)
		}
		return nil
	}
	again, _, err := s.create(s.h.Order)
	if err != nil {
		return err
	}
	if sent += len(s.arrived()); sent != 0 {
		return errors.New("creating a form called the provider")
	}
	if !reflect.DeepEqual(first, again) {
		return fmt.Errorf("the same order gave two forms: %+v and %+v", first, again)
	}
	return nil
}

// createLimits: what is longer than the provider takes must not be cut short or sent.
func createLimits(s *subject) error {
	req := s.h.Order
	for len(req.AttemptNo) <= s.adapter.Describe().Number.MaxLength {
		req.AttemptNo += "0"
	}
	return s.refusedCreate("a number that is too long", req)
}

// refusedCreate asserts that an order is our mistake and goes nowhere.
func (s *subject) refusedCreate(what string, req providers.CreateRequest) error {
	created, sent, err := s.create(req)
	if err := s.typed(err, providers.OpCreate, providers.Invalid); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if created.Redirect.URL != "" || sent != nil || len(s.arrived()) > 0 {
		return fmt.Errorf("%s: signed or sent all the same", what)
	}
	return nil
}

// createHostile: whoever names a bill must not be able to name its price, its number or its payee.
func createHostile(s *subject) error {
	for _, name := range []string{
		"x&Amt=1&TotalAmount=1&amount=1", "x=1", "x%26Amt%3D1", "x+1 %20", `x","amount":1,"y":"`, `x\`, "x\r\nAmt: 1", "<script>alert(1)</script>", "x#1#2", "x,RC=00", "停車費 🅿️", "x\u202e1",
	} {
		req := s.h.Order
		req.Lines = slices.Clone(req.Lines)
		req.Lines[0].Name = name
		created, sent, err := s.create(req)
		if err != nil {
			if err := s.typed(err, providers.OpCreate, providers.Invalid); err != nil {
				return fmt.Errorf("bill %q: %w", name, err)
			}
			continue
		}
		plain, err := s.h.Signed(created.Redirect, sent)
		if err != nil {
			return fmt.Errorf("bill %q: %w", name, err)
		}
		harmless, _, err := s.create(s.h.Order)
		if err != nil {
			return err
		}
		if !bytes.Contains(plain, []byte(req.Total.Value())) || !bytes.Contains(plain, []byte(req.AttemptNo)) ||
			!bytes.Contains(plain, []byte(carried(s.adapter.Describe().PayeeField, req.Merchant.PayeeMemberID))) || len(created.Redirect.Fields) != len(harmless.Redirect.Fields) {
			return fmt.Errorf("bill %q changes what is signed: %q", name, plain)
		}
	}
	return nil
}

func callbackChecks() []check {
	return []check{
		{"callback/genuine-is-bindable", "a genuine message tells attempt, amount, payee, time and trade number, and its bytes stay as they are", signedCallback(callbackGenuine)},
		{"callback/pure", "the same bytes are read alike every time", signedCallback(callbackPure)},
		{"callback/changed-byte", "no byte can be changed: the message is refused, or says the same where fields are signed", signedCallback(callbackChanged)},
		{"callback/path", "another path is refused where it is signed", signedCallback(callbackPath)},
		{"callback/signature-missing-or-twice", "a header of the signature that is missing, empty or repeated is refused", signedCallback(callbackHeaders)},
		{"callback/forged", "another key and other forgeries are refused, and nothing of them is told", signedCallback(callbackForged)},
		{"callback/fields", "fields dropped, repeated, renamed or added are refused, or change nothing", signedCallback(callbackFields)},
		{"callback/stamp", "a stamp outside the tolerance is refused, on either side", signedCallback(callbackStamp)},
		{"callback/direction", "nothing that we signed reads as the provider's word", signedCallback(callbackDirection)},
		{"callback/nonce", "the nonce is told, so that a replay is seen", signedCallback(callbackNonce)},
		{"callback/unknown-state", "a state that no document lists decides nothing and is counted", signedCallback(callbackUnknown)},
		{"callback/hint", "an unsigned message carries no state", callbackHint},
		{"callback/pointer", "an unsigned token goes into the query as it came, and nothing else is believed", callbackPointer},
		{"ack/exact-bytes", "each verdict is answered in the provider's exact bytes, and nothing is acknowledged by omission", ackBytes},
	}
}

func signedCallback(run func(*subject, providers.CallbackDecoder) error) func(*subject) error {
	return func(s *subject) error {
		d, ok := s.adapter.(providers.CallbackDecoder)
		if !ok {
			return skipped("no CallbackDecoder")
		}
		if s.h.Callbacks.Paid == nil {
			return skipped("the provider signs no callbacks")
		}
		return run(s, d)
	}
}

func callbackGenuine(s *subject, d providers.CallbackDecoder) error {
	raw := s.h.Callbacks.Paid()
	before := bytes.Clone(raw.Body)
	n, err := d.DecodeCallback(raw)
	if err != nil {
		return err
	}
	if !bytes.Equal(raw.Body, before) {
		return errors.New("decoding changed the body that is kept as evidence")
	}
	if n.AttemptNo != s.h.Order.AttemptNo || n.Snapshot == nil {
		return fmt.Errorf("the notice names attempt %q and has snapshot %v", n.AttemptNo, n.Snapshot)
	}
	return s.bound(*n.Snapshot, s.h.Callbacks.Unbound...)
}

// callbackPure: a decoder that remembers would read a repeat in another way than the first delivery.
func callbackPure(s *subject, d providers.CallbackDecoder) error {
	first, err := d.DecodeCallback(s.h.Callbacks.Paid())
	if err != nil {
		return err
	}
	again, err := d.DecodeCallback(s.h.Callbacks.Paid())
	if err != nil || !reflect.DeepEqual(first, again) {
		return fmt.Errorf("the same bytes were read as %+v and as %+v, %w", first, again, err)
	}
	return nil
}

// refused asserts that nothing of a callback is believed. What a browser brings may be a hint.
func (s *subject) refused(d providers.CallbackDecoder, what string, raw providers.RawCallback) error {
	n, err := d.DecodeCallback(raw)
	if err == nil && n.Snapshot == nil && raw.Channel == providers.ChannelBrowser {
		return nil
	}
	if err == nil {
		return fmt.Errorf("%s: accepted as %+v", what, n)
	}
	if !reflect.DeepEqual(n, providers.Notice{}) {
		return fmt.Errorf("%s: refused, and yet the notice says %+v", what, n)
	}
	if err := s.typed(err, providers.OpCallback); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// harmless asserts that a changed callback is refused, or, where fields are signed and not bytes, that it says the same.
func (s *subject) harmless(d providers.CallbackDecoder, what string, raw providers.RawCallback) error {
	if s.h.Callbacks.FieldSigned {
		genuine, err := d.DecodeCallback(s.h.Callbacks.Paid())
		if err != nil {
			return err
		}
		if n, err := d.DecodeCallback(raw); err == nil && reflect.DeepEqual(n, genuine) {
			return nil
		}
	}
	return s.refused(d, what, raw)
}

// signedPart gives the bytes of a callback that carry its fields, and puts changed ones in their place.
func signedPart(raw providers.RawCallback) (part []byte, put func(*providers.RawCallback, []byte)) {
	if raw.RawQuery != "" {
		return []byte(raw.RawQuery), func(r *providers.RawCallback, b []byte) { r.RawQuery = string(b) }
	}
	return bytes.Clone(raw.Body), func(r *providers.RawCallback, b []byte) { r.Body = b }
}

func callbackChanged(s *subject, d providers.CallbackDecoder) error {
	whole, put := signedPart(s.h.Callbacks.Paid())
	for i := range whole {
		for _, bit := range []byte{0x01, 0x20} { // another character, and the other case
			raw, changed := s.h.Callbacks.Paid(), bytes.Clone(whole)
			changed[i] ^= bit
			put(&raw, changed)
			if err := s.harmless(d, fmt.Sprintf("byte %d ^ %#x", i, bit), raw); err != nil {
				return err
			}
		}
	}
	for what, change := range map[string]func([]byte) []byte{
		"nothing left": func([]byte) []byte { return nil },
		"a byte less":  func(b []byte) []byte { return b[:len(b)-1] },
		"a byte more":  func(b []byte) []byte { return append(b, ' ') },
		"twice":        func(b []byte) []byte { return append(b, b...) },
	} {
		raw := s.h.Callbacks.Paid()
		put(&raw, change(bytes.Clone(whole)))
		if err := s.harmless(d, what, raw); err != nil {
			return err
		}
	}
	for _, name := range s.h.Callbacks.Headers {
		for i := range s.h.Callbacks.Paid().Header.Get(name) {
			for _, bit := range []byte{0x01, 0x20} {
				raw := s.h.Callbacks.Paid()
				value := []byte(raw.Header.Get(name))
				value[i] ^= bit
				raw.Header.Set(name, string(value))
				if err := s.refused(d, fmt.Sprintf("header %s, byte %d ^ %#x", name, i, bit), raw); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func callbackPath(s *subject, d providers.CallbackDecoder) error {
	if !s.h.Callbacks.PathSigned {
		return skipped("the path is not signed")
	}
	for i := range s.h.Callbacks.Paid().Path {
		raw := s.h.Callbacks.Paid()
		path := []byte(raw.Path)
		path[i] ^= 1
		raw.Path = string(path)
		if err := s.refused(d, "path "+raw.Path, raw); err != nil {
			return err
		}
	}
	return nil
}

func callbackHeaders(s *subject, d providers.CallbackDecoder) error {
	if len(s.h.Callbacks.Headers) == 0 {
		return skipped("the signature rides in no header: see callback/forged")
	}
	for _, name := range s.h.Callbacks.Headers {
		good := s.h.Callbacks.Paid().Header.Get(name)
		if good == "" {
			return fmt.Errorf("harness: the genuine callback has no header %s", name)
		}
		for what, values := range map[string][]string{
			"missing": nil, "empty": {""}, "twice": {good, good}, "a wrong one behind": {good, "x" + good}, "a wrong one before": {"x" + good, good},
		} {
			raw := s.h.Callbacks.Paid()
			raw.Header.Del(name)
			for _, v := range values {
				raw.Header.Add(name, v)
			}
			if err := s.refused(d, "header "+name+" "+what, raw); err != nil {
				return err
			}
		}
	}
	raw := s.h.Callbacks.Paid()
	raw.Header = nil
	return s.refused(d, "no headers at all", raw)
}

func callbackForged(s *subject, d providers.CallbackDecoder) error {
	if s.h.Callbacks.Forged["wrong key"] == nil {
		return errors.New(`harness: Forged needs a "wrong key"`)
	}
	for _, name := range slices.Sorted(maps.Keys(s.h.Callbacks.Forged)) {
		if err := s.refused(d, name, s.h.Callbacks.Forged[name]()); err != nil {
			return err
		}
	}
	return nil
}

// callbackFields drops, repeats and renames the fields of a form, and adds one. Whoever reads the first of two while another
// reads the last, or a name in any case, can be told two things with one signature.
func callbackFields(s *subject, d providers.CallbackDecoder) error {
	if !s.h.Callbacks.FieldSigned {
		return skipped("the signature covers bytes, not fields: see callback/changed-byte")
	}
	whole, put := signedPart(s.h.Callbacks.Paid())
	pairs := strings.Split(string(whole), "&")
	change := func(what string, changed []string, check func(*subject, providers.CallbackDecoder, string, providers.RawCallback) error) error {
		raw := s.h.Callbacks.Paid()
		put(&raw, []byte(strings.Join(changed, "&")))
		return check(s, d, what, raw)
	}
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		for _, one := range []struct {
			what    string
			changed []string
			check   func(*subject, providers.CallbackDecoder, string, providers.RawCallback) error
		}{
			{"without " + name, slices.Delete(slices.Clone(pairs), i, i+1), (*subject).harmless},
			{name + " twice", append(slices.Clone(pairs), pair), (*subject).refused},
			{"another " + name + " first", append([]string{name + "=1"}, pairs...), (*subject).refused},
			{"another " + name + " last", append(slices.Clone(pairs), name+"=1"), (*subject).refused},
			{name + " in the other case", slices.Replace(slices.Clone(pairs), i, i+1, otherCase(name)+"="+value), (*subject).harmless},
			{name + " also in the other case", append(slices.Clone(pairs), otherCase(name)+"=1"), (*subject).harmless},
			{name + " is empty", slices.Replace(slices.Clone(pairs), i, i+1, name+"="), (*subject).harmless},
		} {
			if err := change(one.what, one.changed, one.check); err != nil {
				return err
			}
		}
	}
	return nil
}

func otherCase(name string) string {
	if lower := strings.ToLower(name); lower != name {
		return lower
	}
	return strings.ToUpper(name)
}

func callbackStamp(s *subject, d providers.CallbackDecoder) error {
	far := s.h.Callbacks.Tolerance
	if far == 0 {
		return skipped("the scheme has no stamp")
	}
	for _, sign := range []time.Duration{-1, 1} {
		raw := s.h.Callbacks.Paid()
		raw.ReceivedAt = raw.ReceivedAt.Add(far * 9 / 10 * sign)
		if _, err := d.DecodeCallback(raw); err != nil {
			return fmt.Errorf("within the tolerance: %w", err)
		}
		raw = s.h.Callbacks.Paid()
		raw.ReceivedAt = raw.ReceivedAt.Add((far + time.Second) * sign)
		if err := s.refused(d, "received at "+raw.ReceivedAt.String(), raw); err != nil {
			return err
		}
	}
	return nil
}

// callbackDirection: nothing that we signed may come back as the provider's word.
func callbackDirection(s *subject, d providers.CallbackDecoder) error {
	if s.h.Callbacks.Echo == nil {
		return errors.New("harness: Callbacks.Echo is required: what we sign must not verify as a callback")
	}
	created, sent, err := s.create(s.h.Order)
	if err != nil {
		return err
	}
	for i, raw := range s.h.Callbacks.Echo(created.Redirect, sent) {
		if err := s.refused(d, fmt.Sprintf("our own order, echo %d", i), raw); err != nil {
			return err
		}
	}
	ops, err := s.operations()
	if err != nil {
		return err
	}
	for _, o := range ops {
		ctx, cancel := within()
		s.with(o.op, o.good)
		err := o.call(ctx, s.adapter)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", o.op, err)
		}
		for _, r := range s.arrived() {
			for what, raw := range map[string]providers.RawCallback{
				"as it is": {Method: r.Method, Path: r.Path, RawQuery: r.RawQuery, Header: r.Header, Body: r.Body, ReceivedAt: s.h.Now},
				"with the browser": {
					Channel: providers.ChannelBrowser, Method: http.MethodGet, Path: r.Path, RawQuery: string(r.Body), Header: r.Header, ReceivedAt: s.h.Now,
				},
			} {
				if err := s.refused(d, "our own "+string(o.op)+", "+what, raw); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func callbackNonce(s *subject, d providers.CallbackDecoder) error {
	if s.h.Callbacks.Nonce == nil {
		return skipped("the scheme has no nonce")
	}
	raw := s.h.Callbacks.Paid()
	n, err := d.DecodeCallback(raw)
	if err != nil {
		return err
	}
	if want := s.h.Callbacks.Nonce(raw); n.Nonce != want || want == "" {
		return fmt.Errorf("nonce %q, want %q: without it a replay is not seen", n.Nonce, want)
	}
	return nil
}

func callbackUnknown(s *subject, d providers.CallbackDecoder) error {
	if s.h.Callbacks.Unknown == nil {
		return errors.New("harness: Callbacks.Unknown is required")
	}
	n, err := d.DecodeCallback(s.h.Callbacks.Unknown())
	if err != nil {
		return err
	}
	if n.Snapshot == nil {
		return errors.New("no snapshot")
	}
	return undecided(*n.Snapshot)
}

func callbackHint(s *subject) error {
	d, ok := s.adapter.(providers.CallbackDecoder)
	if !ok || len(s.h.Callbacks.Hints) == 0 {
		return skipped("the provider gives no hints")
	}
	for name, hint := range s.h.Callbacks.Hints {
		if n, err := d.DecodeCallback(hint()); n.Snapshot != nil {
			return fmt.Errorf("%s: an unsigned message became a fact: %+v, %w", name, n, err)
		}
	}
	return nil
}

// callbackPointer: the provider's token goes back into the query as it came, and nothing else of the message is believed.
func callbackPointer(s *subject) error {
	d, ok := s.adapter.(providers.CallbackDecoder)
	if !ok || len(s.h.Callbacks.Pointers) == 0 {
		return skipped("the provider sends no pointers")
	}
	for name, pointer := range s.h.Callbacks.Pointers {
		raw, want := pointer()
		if n, err := d.DecodeCallback(raw); err != nil || n.Snapshot != nil || n.Pointer != want {
			return fmt.Errorf("%s: pointer %q, snapshot %v, %w; want %q and nothing else", name, n.Pointer, n.Snapshot, err, want)
		}
	}
	return nil
}

func ackBytes(s *subject) error {
	d, ok := s.adapter.(providers.CallbackDecoder)
	if !ok {
		return skipped("no CallbackDecoder")
	}
	for _, v := range []providers.Verdict{providers.RetryLater, providers.Accepted, providers.Refused} {
		want, given := s.h.Callbacks.Acks[v]
		if got := d.Ack(v); !given || !reflect.DeepEqual(got, want) {
			return fmt.Errorf("verdict %d: %d %s %q, want %d %s %q", v, got.Status, got.ContentType, got.Body, want.Status, want.ContentType, want.Body)
		}
	}
	if !reflect.DeepEqual(d.Ack(99), s.h.Callbacks.Acks[providers.RetryLater]) {
		return errors.New("a verdict that does not exist must not acknowledge")
	}
	return nil
}

func wholeChecks() []check {
	return []check{
		{"secrets/not-shown", "no secret shows in the adapter, its descriptor or its errors, in any spelling", secretsNotShown},
		{"race/two-callers", "two callers at a time do not disturb each other", twoCallers},
	}
}

// secretsNotShown collects what an adapter can say and looks for secrets in it.
func secretsNotShown(s *subject) error {
	if len(s.h.Secrets) == 0 || slices.Contains(s.h.Secrets, "") {
		return errors.New("harness: Secrets is empty or has an empty one")
	}
	said := []any{s.adapter, s.adapter.Describe()}
	if d, ok := s.adapter.(providers.CallbackDecoder); ok {
		for _, raw := range s.spoiltCallbacks() {
			_, err := d.DecodeCallback(raw)
			said = append(said, err)
		}
	}
	ops, err := s.operations()
	if err != nil {
		return err
	}
	for _, o := range ops {
		for _, bad := range append(badAnswers(), badAnswer{"good", o.good}, badAnswer{"echo", body(strings.Join(s.h.Secrets, " "))}) {
			ctx, cancel := within()
			s.with(o.op, bad.reply)
			said = append(said, o.call(ctx, s.adapter))
			cancel()
		}
	}
	for _, one := range said {
		if err := s.silent(one); err != nil {
			return err
		}
	}
	return nil
}

func (s *subject) spoiltCallbacks() []providers.RawCallback {
	secrets := strings.Join(s.h.Secrets, " ")
	all := []providers.RawCallback{{}, {Method: "POST", ReceivedAt: s.h.Now, Body: []byte(secrets)}}
	for _, forged := range s.h.Callbacks.Forged {
		all = append(all, forged())
	}
	if s.h.Callbacks.Paid == nil {
		return all
	}
	spoilt := s.h.Callbacks.Paid()
	spoilt.Body = []byte(secrets)
	stale := s.h.Callbacks.Paid()
	stale.ReceivedAt = stale.ReceivedAt.Add(24 * time.Hour)
	all = append(all, spoilt, stale)
	for _, name := range s.h.Callbacks.Headers {
		raw := s.h.Callbacks.Paid()
		raw.Header.Set(name, secrets)
		all = append(all, raw)
	}
	return all
}

// silent looks for every secret, in several spellings, in every way to print a value.
func (s *subject) silent(v any) error {
	var texts []string
	show := func(v any) { texts = append(texts, fmt.Sprintf("%v %+v %#v", v, v, v)) }
	show(v)
	if text, err := json.Marshal(v); err == nil {
		texts = append(texts, string(text))
	}
	if err, ok := v.(error); ok {
		for ; err != nil; err = errors.Unwrap(err) {
			show(err)
		}
	}
	for _, text := range texts {
		for i, secret := range s.h.Secrets {
			raw := []byte(secret)
			for _, spelling := range []string{
				secret, hex.EncodeToString(raw), strings.Trim(fmt.Sprintf("%d", raw), "[]"), strings.TrimRight(base64.StdEncoding.EncodeToString(raw), "="),
				base64.RawURLEncoding.EncodeToString(raw),
			} {
				if strings.Contains(text, spelling) {
					return fmt.Errorf("%T shows secret %d", v, i)
				}
			}
		}
	}
	return nil
}

// twoCallers uses one adapter from two goroutines; the race detector does the rest.
func twoCallers(s *subject) error {
	ref, err := s.attempt()
	if err != nil {
		return err
	}
	s.with(providers.OpQuery, s.h.Answers.Paid)
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = s.everything(ref) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *subject) everything(ref providers.AttemptRef) error {
	ctx, cancel := within()
	defer cancel()
	for range 5 {
		snap, err := s.adapter.Query(ctx, ref)
		if err != nil {
			return err
		}
		if err := s.bound(snap); err != nil {
			return err
		}
		if s.h.Answers.Create == nil {
			if _, err := s.adapter.Create(ctx, s.h.Order); err != nil {
				return err
			}
		}
		if d, ok := s.adapter.(providers.CallbackDecoder); ok && s.h.Callbacks.Paid != nil {
			if _, err := d.DecodeCallback(s.h.Callbacks.Paid()); err != nil {
				return err
			}
			d.Ack(providers.Accepted)
		}
		_ = s.adapter.Describe()
	}
	return nil
}
