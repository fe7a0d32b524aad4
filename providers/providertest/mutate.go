package providertest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"
	"strings"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
)

// Mutated changes genuine callbacks n times, each in one to three ways, and makes callbacks out of random orders that we signed.
// None may tell anything but what a genuine one tells. The same seed gives the same changes. An adapter whose provider signs
// no callbacks has nothing to change.
func Mutated(h Harness, n int, seed uint64) error {
	s, err := newSubject(h)
	if err != nil {
		return err
	}
	defer s.close()
	d, ok := s.adapter.(providers.CallbackDecoder)
	if !ok || h.Callbacks.Paid == nil {
		return nil
	}
	m := mutator{s: s, d: d, r: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // changes that can be made again
	for _, make := range []func() providers.RawCallback{h.Callbacks.Paid, h.Callbacks.Unknown} {
		raw := make()
		notice, err := d.DecodeCallback(raw)
		if err != nil {
			return err
		}
		m.whole, m.genuine = append(m.whole, raw), append(m.genuine, notice)
	}
	for i := range n {
		if i%ordersEach == 0 {
			if err := m.order(); err != nil {
				return fmt.Errorf("change %d of seed %d: %w", i, seed, err)
			}
		}
		if err := m.change(); err != nil {
			return fmt.Errorf("change %d of seed %d: %w", i, seed, err)
		}
	}
	return nil
}

// ordersEach is after how many changes another order of ours is tried.
const ordersEach = 100

type mutator struct {
	s       *subject
	d       providers.CallbackDecoder
	r       *rand.Rand
	whole   []providers.RawCallback // genuine ones
	genuine []providers.Notice      // what they say
	ours    []providers.RawCallback // made of what we signed
}

// order signs a random order and shows it as a callback, as it is and changed.
func (m *mutator) order() error {
	req := m.s.h.Order
	units := int64(1 + m.r.IntN(40_000))
	total, err := money.FromUnits(units, money.TWD)
	if err != nil {
		return err
	}
	line := req.Lines[0]
	line.Name, line.Quantity, line.UnitPrice, line.Subtotal = m.text(), 1, total, total
	req.Lines, req.Total = []providers.BillLine{line}, total
	req.AttemptNo = fmt.Sprintf("%s%02d", req.AttemptNo[:len(req.AttemptNo)-2], m.r.IntN(100))
	created, sent, err := m.s.create(req)
	if err != nil {
		if providers.KindOf(err) == providers.Invalid {
			return nil
		}
		return err
	}
	m.ours = m.s.h.Callbacks.Echo(created.Redirect, sent)
	for _, raw := range m.ours {
		if n, err := m.d.DecodeCallback(raw); err == nil && (n.Snapshot != nil || n.Pointer != "") {
			return fmt.Errorf("our own order %q reads as a notice: %+v", line.Name, n)
		}
	}
	return nil
}

// text is a name of a bill, with what separates fields in it.
func (m *mutator) text() string {
	parts := []string{"停車費", "&", "=", "%26", "+", " ", `"`, "{", "}", ",", "Status=SUCCESS", `","Status":"SUCCESS`, "RC=00", "A", "1", "\u202e", "\\", "#"}
	var b strings.Builder
	for range 1 + m.r.IntN(6) {
		b.WriteString(parts[m.r.IntN(len(parts))])
	}
	return b.String()
}

// change takes a genuine callback, or one of ours, and changes it.
func (m *mutator) change() error {
	from := m.whole
	own := len(m.ours) > 0 && m.r.IntN(4) == 0
	if own { // of nothing but what we signed
		from = m.ours
	}
	before := from[m.r.IntN(len(from))]
	raw := before
	raw.Header, raw.Body = before.Header.Clone(), bytes.Clone(before.Body)
	for range 1 + m.r.IntN(3) {
		m.one(&raw, from[m.r.IntN(len(from))])
	}
	n, err := m.d.DecodeCallback(raw)
	if err != nil || n.Snapshot == nil && n.Pointer == "" {
		return nil //nolint:nilerr // refused, as it must be
	}
	if own {
		return fmt.Errorf("something that we signed reads as a notice: %+v", n)
	}
	same := bytes.Equal(raw.Body, before.Body) && raw.RawQuery == before.RawQuery && raw.Path == before.Path && reflect.DeepEqual(raw.Header, before.Header)
	for _, g := range m.genuine {
		if reflect.DeepEqual(n, g) && (same || m.s.h.Callbacks.FieldSigned || m.unsigned(&raw)) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("a changed callback was believed: %+v", n), fmt.Errorf("from %s?%s %q %v", raw.Path, raw.RawQuery, raw.Body, raw.Header))
}

// unsigned says whether only what the signature does not cover differs: headers of others, and a path that is not signed. Two
// genuine messages with their headers exchanged are a genuine one.
func (m *mutator) unsigned(raw *providers.RawCallback) bool {
	for _, whole := range m.whole {
		fits := bytes.Equal(raw.Body, whole.Body) && raw.RawQuery == whole.RawQuery && (raw.Path == whole.Path || !m.s.h.Callbacks.PathSigned)
		for _, name := range m.s.h.Callbacks.Headers {
			fits = fits && reflect.DeepEqual(raw.Header.Values(name), whole.Header.Values(name))
		}
		if fits {
			return true
		}
	}
	return false
}

// one makes one change. other is a genuine callback to take parts from.
func (m *mutator) one(raw *providers.RawCallback, other providers.RawCallback) {
	part, put := signedPart(*raw)
	theirs, _ := signedPart(other)
	switch m.r.IntN(12) {
	case 0, 1, 2: // a bit
		if len(part) > 0 {
			part[m.r.IntN(len(part))] ^= 1 << m.r.IntN(8)
		}
	case 3: // a byte more, a byte less
		i := m.r.IntN(len(part) + 1)
		if m.r.IntN(2) == 0 && i < len(part) {
			part = append(part[:i], part[i+1:]...)
		} else {
			part = append(part[:i], append([]byte{byte(m.r.IntN(256))}, part[i:]...)...)
		}
	case 4, 5, 6, 7: // fields
		part = m.fields(part, theirs)
	case 8: // spelling
		part = m.spelling(part)
	case 9: // a header
		m.header(raw, &other)
		return
	case 10: // the path, the query string, the method
		switch m.r.IntN(3) {
		case 0:
			raw.Path += "/"
		case 1:
			raw.RawQuery += "&x=1"
		case 2:
			raw.Method = map[string]string{"GET": "POST", "POST": "GET"}[raw.Method]
		}
		return
	case 11: // a piece of another one
		if len(part) > 1 && len(theirs) > 1 {
			i := m.r.IntN(min(len(part), len(theirs)))
			part = append(part[:i:i], theirs[i:]...)
		}
	}
	put(raw, part)
}

// fields swaps, drops, repeats, renames or exchanges fields: pairs of a form, or members of a JSON object.
func (m *mutator) fields(part, theirs []byte) []byte {
	separator := []byte("&")
	if bytes.HasPrefix(part, []byte("{")) {
		separator = []byte(",")
	}
	list, others := bytes.Split(part, separator), bytes.Split(theirs, separator)
	i, j := m.r.IntN(len(list)), m.r.IntN(len(list))
	switch m.r.IntN(6) {
	case 0:
		list[i], list[j] = list[j], list[i]
	case 1:
		list = append(list[:i], list[i+1:]...)
	case 2:
		list = append(list, list[i])
	case 3:
		list[i] = bytes.ToLower(list[i])
	case 4:
		list[i] = bytes.ToUpper(list[i])
	case 5:
		list[i] = others[m.r.IntN(len(others))]
	}
	return bytes.Join(list, separator)
}

// spelling writes the same in another way: escapes, spaces, line ends.
func (m *mutator) spelling(part []byte) []byte {
	text := string(part)
	switch m.r.IntN(7) {
	case 0:
		text = strings.ReplaceAll(text, "+", "%20")
	case 1:
		text = strings.ReplaceAll(text, "%20", "+")
	case 2:
		text = strings.ReplaceAll(text, "%", "%25")
	case 3:
		if plain, err := url.QueryUnescape(text); err == nil {
			text = plain
		}
	case 4:
		text = strings.ReplaceAll(text, ",", ", ")
	case 5:
		text += "\n"
	case 6:
		text = strings.ReplaceAll(text, "=", "%3D")
	}
	return []byte(text)
}

// header changes, drops, repeats or exchanges one of the headers that carry the signature.
func (m *mutator) header(raw, other *providers.RawCallback) {
	if len(m.s.h.Callbacks.Headers) == 0 || raw.Header == nil {
		return
	}
	name := m.s.h.Callbacks.Headers[m.r.IntN(len(m.s.h.Callbacks.Headers))]
	value := []byte(raw.Header.Get(name))
	switch m.r.IntN(4) {
	case 0:
		if len(value) > 0 {
			value[m.r.IntN(len(value))] ^= 1 << m.r.IntN(7)
			raw.Header.Set(name, string(value))
		}
	case 1:
		raw.Header.Del(name)
	case 2:
		raw.Header.Add(name, string(value))
	case 3:
		raw.Header.Set(name, other.Header.Get(name))
	}
}
