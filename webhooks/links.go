package webhooks

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
)

const (
	tokenLength  = 22 // Base64 of 16 random bytes
	maxReturnURL = 50 // characters: the shortest limit that a provider sets on the addresses it is given
)

// Links writes the addresses under which the edge listener is reached. Make it with ParseLinks.
type Links struct {
	Base string // scheme://host[:port]
}

// ParseLinks checks the public address of the edge listener: http or https, a host, nothing after it, and short enough that
// a return address fits what providers take. Whether http is acceptable is for the configuration to say.
func ParseLinks(base string) (Links, error) {
	if !isOrigin(base) {
		return Links{}, errors.New("webhooks: public_url must be scheme://host[:port] with nothing after it, such as https://gw.pay.taipei")
	}
	l := Links{base}
	if n := len(l.Return("")) + tokenLength; n > maxReturnURL {
		return Links{}, fmt.Errorf("webhooks: public_url makes return addresses of %d characters and providers take %d; choose a base of at most %d characters",
			n, maxReturnURL, len(base)-(n-maxReturnURL))
	}
	return l, nil
}

// Checkout is the address of an order's checkout page.
func (l Links) Checkout(token string) string { return l.Base + "/pay/" + token }

// Return is where a provider sends the browser of an attempt back to.
func (l Links) Return(token string) string { return l.Base + "/r/" + token }

// Callback is where a provider's server reports; without a token, for an account as a whole.
func (l Links) Callback(account, token string) string {
	base := l.Base + "/callbacks/" + url.PathEscape(account)
	if token == "" {
		return base
	}
	return base + "/" + token
}

var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{22}$`)

// isToken keeps strings that cannot be tokens from costing a lookup.
func isToken(s string) bool { return tokenForm.MatchString(s) }
