package desk

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"time"
)

// Double is one provider's other side, for a city on one machine.
type Double struct {
	Name string // the adapter's
	Open func(Place, Deps) (*Running, error)
}

// Place is where a double runs and for whom.
type Place struct {
	URL       string            // its own origin
	ShopURL   string            // where payers start
	Merchants map[string]string // names by the city's code, such as "pma"
	Seed      []byte            // of its keys: the same seed gives the same keys
}

// Secret is a key of the double's, of so many characters of an alphabet.
func (p Place) Secret(label string, length int, alphabet string) string {
	secret := make([]byte, length)
	for i := range secret {
		mac := hmac.New(sha256.New, p.Seed)
		_ = binary.Write(mac, binary.BigEndian, uint32(i))
		mac.Write([]byte(label))
		secret[i] = alphabet[int(binary.BigEndian.Uint32(mac.Sum(nil)))%len(alphabet)]
	}
	return string(secret)
}

// Running is a double that was opened.
type Running struct {
	Handler  http.Handler
	Step     func(context.Context) (next time.Time, err error) // as Desk.Step
	Desk     *Desk
	Payees   map[string]string // the merchants' ids at this provider, by the city's code
	Settings string            // the block "settings" of the account that leads here, in YAML's flow style
}
