package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Client is a system that may call the order API.
type Client struct {
	ID             string
	Keys           []Key    // any live one is accepted
	Merchants      []string // codes it may order for
	ReturnPrefixes []string // origin and path under which its return_url must lie
	// RatePerSecond and Burst limit its requests; zero: 100, and twice the rate.
	RatePerSecond, Burst int
}

// Key is an API key, "gk_<ID>_<secret>", of which only a digest is known. The zero NotAfter is no end.
type Key struct {
	ID       string
	SHA256   [32]byte // of the secret's 43 characters of base64url, as text
	NotAfter time.Time
}

// secretLength is 32 random bytes in base64url without padding.
const secretLength = 43

var (
	keyIDForm  = regexp.MustCompile(`^[A-Za-z0-9-]{1,32}$`)
	secretForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
)

// caller is an authenticated client.
type caller struct {
	id       string
	allowed  []string
	prefixes []returnPrefix
	rate     allowance
}

func (c *caller) mayOrderFor(merchant string) bool { return slices.Contains(c.allowed, merchant) }

type credential struct {
	caller *caller
	key    Key
}

// keyring finds the client of a key.
type keyring map[string]credential

// newKeyring checks the clients. What those before have used of their rates stays used; nil: there were none before.
func newKeyring(clients []Client, before *keyring) (keyring, error) {
	ring := keyring{}
	var errs []error
	for _, client := range clients {
		if client.RatePerSecond < 0 || client.Burst < 0 {
			errs = append(errs, fmt.Errorf("api: client %q: rate per second and burst: want zero or more", client.ID))
		}
		who := &caller{id: client.ID, allowed: client.Merchants, rate: newAllowance(client.RatePerSecond, client.Burst)}
		if was := before.client(client.ID); was != nil && was.rate.same(who.rate) {
			who.rate = was.rate
		}
		for _, s := range client.ReturnPrefixes {
			p, err := newReturnPrefix(s)
			errs = append(errs, err)
			who.prefixes = append(who.prefixes, p)
		}
		for _, k := range client.Keys {
			if _, used := ring[k.ID]; used || !keyIDForm.MatchString(k.ID) {
				errs = append(errs, fmt.Errorf("api: client %q: key id %q is not unique, or not 1 to 32 of A-Z a-z 0-9 -", client.ID, k.ID))
			}
			ring[k.ID] = credential{who, k}
		}
	}
	return ring, errors.Join(errs...)
}

// client finds a client by its id, or nil. One without keys is not found.
func (k *keyring) client(id string) *caller {
	if k == nil {
		return nil
	}
	for _, c := range *k {
		if c.caller.id == id {
			return c.caller
		}
	}
	return nil
}

// authenticate finds the client whose live key the request carries, or nil. It does the same work for an unknown key
// as for a wrong secret.
func (k keyring) authenticate(h http.Header, now time.Time) *caller {
	id, secret, ok := bearer(h)
	if !ok {
		return nil
	}
	found, known := k[id] // the zero digest stands for an unknown key; no text is known to have it
	sum := sha256.Sum256([]byte(secret))
	same := subtle.ConstantTimeCompare(sum[:], found.key.SHA256[:]) == 1
	expired := !found.key.NotAfter.IsZero() && now.After(found.key.NotAfter)
	if !known || !same || expired {
		return nil
	}
	return found.caller
}

// bearer splits "Bearer gk_<key id>_<secret>". A secret may hold the separator, so it is cut by length.
func bearer(h http.Header) (id, secret string, ok bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	rest, prefixed := strings.CutPrefix(token, "gk_")
	at := len(rest) - secretLength - 1
	if !strings.EqualFold(scheme, "Bearer") || !prefixed || at < 1 || rest[at] != '_' {
		return "", "", false
	}
	id, secret = rest[:at], rest[at+1:]
	return id, secret, keyIDForm.MatchString(id) && secretForm.MatchString(secret)
}

// idempotencyKey reads the header of that name, 16 to 255 visible ASCII characters, bare or as the quoted string of the
// IETF draft (draft-ietf-httpapi-idempotency-key-header-07). Quotes and backslashes inside are refused, so that one key has one meaning.
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 || (len(values) == 1 && values[0] == "") {
		return "", newProblem(problemKeyMissing)
	}
	key := values[0]
	if inner, ok := strings.CutPrefix(key, `"`); ok {
		if key, ok = strings.CutSuffix(inner, `"`); !ok {
			return "", newProblem(problemKeyMalformed)
		}
	}
	odd := func(r rune) bool { return r < '!' || r > '~' || r == '"' || r == '\\' }
	if len(values) > 1 || len(key) < 16 || len(key) > 255 || strings.ContainsFunc(key, odd) {
		return "", newProblem(problemKeyMalformed)
	}
	return key, nil
}
