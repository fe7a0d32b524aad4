package providertest

import (
	"net/url"
	"testing"

	"pay.taipei/gateway/providers"
)

// A decoder that reads more than was signed, or less strictly, is found by changes made at random.
func TestMutated(t *testing.T) {
	for name, h := range map[string]Harness{"bytes": scriptedHarness(t, true), "fields": fieldHarness(t)} {
		if err := Mutated(h, 3000, 1); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := fieldHarness(t)
	good := h.New
	h.New = func(target Target) (providers.Provider, error) {
		p, err := good(target)
		if b, ok := p.(*broken); ok {
			b.decode = func(b *broken, raw providers.RawCallback) (providers.Notice, error) {
				n, err := fielded(true)(b, raw)
				if f, bad := url.ParseQuery(string(raw.Body)); err == nil && bad == nil && n.Snapshot != nil {
					n.Snapshot.Method = f.Get("memo") // which nobody signed
				}
				return n, err
			}
		}
		return p, err
	}
	if err := Mutated(h, 3000, 1); err == nil {
		t.Error("a field that nobody signed is believed, and no change shows it")
	}
}
