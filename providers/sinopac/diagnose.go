package sinopac

import (
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
)

// Diagnose says what a message is that is no pointer.
func (a *Adapter) Diagnose(raw providers.RawCallback) []providers.Cause {
	members, err := wire.Object(raw.Body)
	if err != nil {
		return nil
	}
	f := wire.Scalars(members)
	if f.Optional("Message") != "" && f.Optional("APIService") != "" {
		return []providers.Cause{{Code: providers.CauseOurOwn, Why: "it is an envelope, as we send them to the bank: a call of ours comes back to us"}}
	}
	for _, name := range []string{"ShopNo", "PayToken"} {
		if f.Optional(name) == "" {
			return []providers.Cause{{Code: providers.CauseMissingField, Why: "the field " + name + " is missing"}}
		}
	}
	return nil
}
