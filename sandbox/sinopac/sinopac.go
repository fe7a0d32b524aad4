// Package sinopac is a double of Bank SinoPac's 豐收款 (funBIZ, QPay): written from the project's notes on it and from the
// bank's own C# toolkit (Version 1.0.0 of the envelope, with X-KeyID).
//
// Its quirks are there: amounts are hundredths of a dollar, every message is encrypted and bound to a nonce that is good for
// one call and one shop, the signature covers only what is not nested, notices are unsigned pointers to a result that must be
// fetched, and OrderQuery and OrderUnCapturedQuery are five minutes behind. The Amount of that result is a text in the toolkit,
// which may not be so on the wire: here it is one for order numbers whose last digit is odd, and otherwise a number.
//
// A card is authorised when the payer pays (Paid in the desk's books), and captured ten minutes later by the clock. OrderQuery
// files it under PayFlag Y only then, and OrderUnCapturedQuery tells of it until then. What is not captured is cancelled whole
// with C, what is captured is paid back with R.
//
// Guesses: those ten minutes, every PayStatus of a card, that BackendURL is told at the authorisation, and that PayFlag O,
// RefundStatus and RefundAmount, which only the notes name, are as they are here. Virtual accounts, instalments and the command
// P are not offered, so that nothing captures an order with AutoBilling N, nor does its authorisation lapse. It is not run by
// the bank; no money moves.
package sinopac

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"pay.taipei/gateway/sandbox/internal/desk"
)

const (
	base      = "/funBIZ/QPay.WebAPI/api"
	nonceLife = 60 * time.Second
	maxNonces = 10_000
	behind    = 5 * time.Minute  // the data of OrderQuery and OrderUnCapturedQuery
	captures  = 10 * time.Minute // from an authorisation to its capture
	succeeded = "S0000 – 處理成功"
)

type bank struct {
	desk   *desk.Desk
	origin string
	keyID  string
	keys   *keys
	shops  []string
	secret []byte // of pay tokens

	mu     sync.Mutex // guards all below
	orders int
	nonces map[string]ticket
	ended  map[string]time.Time // when payments failed, were left or taken back, while OrderQuery must not know; desk does not keep it
}

// ticket is what a nonce is good for.
type ticket struct {
	shop string
	ends time.Time
}

// Double is the bank for a city on one machine.
func Double() desk.Double { return desk.Double{Name: "sinopac", Open: open} }

func open(place desk.Place, deps desk.Deps) (*desk.Running, error) {
	const digits = "0123456789ABCDEF"
	b := &bank{
		origin: strings.TrimSuffix(place.URL, "/"), keyID: place.Secret("sinopac key id", 32, digits),
		secret: []byte(place.Secret("sinopac pay tokens", 32, digits)),
		nonces: make(map[string]ticket), ended: make(map[string]time.Time),
	}
	a1, a2 := place.Secret("sinopac a1", 16, digits), place.Secret("sinopac a2", 16, digits)
	b1, b2 := place.Secret("sinopac b1", 16, digits), place.Secret("sinopac b2", 16, digits)
	var err error
	if b.keys, err = newKeys(a1, a2, b1, b2); err != nil {
		return nil, err
	}
	payees := make(map[string]string)
	for i, code := range slices.Sorted(maps.Keys(place.Merchants)) {
		payees[code] = fmt.Sprintf("NA0001_%03d", i+1)
		b.shops = append(b.shops, payees[code])
	}
	b.desk, err = desk.New(desk.Rules{
		NameZH: "永豐銀行 豐收款", NameEN: "Bank SinoPac", Colour: "#c8102e", ShopURL: place.ShopURL, Trade: "C",
		Methods: []desk.Method{{Code: "credit_card", ZH: "信用卡", EN: "Credit card"}},
		Without: []string{"wrong_currency"}, // no answer names one
		Back:    b.back, Notice: b.notice, Settles: settles,
		Pauses: []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute},
	}, deps)
	if err != nil {
		return nil, fmt.Errorf("sinopac: %w", err)
	}
	mux := http.NewServeMux()
	b.desk.Pages(mux)
	// Which call moves money is said in the envelope, so order itself drops those answers.
	mux.HandleFunc("POST "+base+"/Nonce", b.desk.API(false, busy, b.nonce))
	mux.HandleFunc("POST "+base+"/Order", b.desk.API(false, busy, b.order))
	return &desk.Running{
		Handler: b.timed(mux), Step: b.desk.Step, Desk: b.desk, Payees: payees,
		Settings: fmt.Sprintf("{url: %q, key_id: %q, a1: %q, a2: %q, b1: %q, b2: %q}", b.origin+base, b.keyID, a1, a2, b1, b2),
	}, nil
}

// timed keeps when a payer's decision ended a payment unpaid.
func (b *bank) timed(pages http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, decides := strings.CutPrefix(r.URL.Path, "/pay/")
		if r.Method != http.MethodPost || !decides {
			pages.ServeHTTP(w, r)
			return
		}
		before, _ := b.byID(id)
		pages.ServeHTTP(w, r)
		if after, _ := b.byID(id); before.State == desk.Open && (after.State == desk.Failed || after.State == desk.Cancelled) {
			b.end(id)
		}
	})
}

func (b *bank) byID(id string) (desk.Payment, bool) {
	return b.desk.FindWhere(func(p *desk.Payment) bool { return p.ID == id })
}

// end keeps that a payment ended now. What OrderQuery may know by now is forgotten.
func (b *bank) end(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.desk.Now()
	maps.DeleteFunc(b.ended, func(_ string, at time.Time) bool { return now.Sub(at) >= behind })
	b.ended[id] = now
}

// complaint is an answer outside the envelope: it is neither encrypted nor signed.
type complaint struct {
	Status      string
	Description string
}

func complain(w http.ResponseWriter, status int, description string) {
	desk.WriteJSON(w, status, complaint{"F", description})
}

func busy(w http.ResponseWriter, throttled bool) {
	if throttled {
		complain(w, http.StatusTooManyRequests, "E0429 - too many requests")
		return
	}
	complain(w, http.StatusServiceUnavailable, "E0503 - closed for maintenance")
}

// admit says whether a call comes from the key's holder, as JSON. When it does not it answers itself.
func (b *bank) admit(w http.ResponseWriter, r *http.Request) bool {
	ids := r.Header.Values("X-KeyID")
	if len(ids) != 1 || subtle.ConstantTimeCompare([]byte(ids[0]), []byte(b.keyID)) != 1 {
		desk.WriteJSON(w, http.StatusUnauthorized, map[string]string{"Code": "401", "Message": "X-KeyID is missing or not known"})
		return false
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		complain(w, http.StatusUnsupportedMediaType, "E0415 - Content-Type must be application/json")
		return false
	}
	return true
}

// nonce serves POST /Nonce.
func (b *bank) nonce(w http.ResponseWriter, r *http.Request, body []byte) {
	if !b.admit(w, r) {
		return
	}
	in, err := newReader(body)
	if err != nil {
		complain(w, http.StatusBadRequest, "E0004 - "+err.Error())
		return
	}
	shop := in.choice("ShopNo", b.shops...)
	if wrong := in.end(); wrong != "" {
		complain(w, http.StatusBadRequest, "E0004 - "+wrong)
		return
	}
	nonce, err := b.newNonce()
	if err != nil {
		complain(w, http.StatusInternalServerError, "E0500 - no randomness")
		return
	}
	if !b.issue(nonce, shop) {
		busy(w, true)
		return
	}
	desk.WriteJSON(w, http.StatusOK, map[string]string{"Nonce": nonce})
}

// newNonce is one in the bank's form: the milliseconds since the year 1 and 64 hex digits, 108 characters of base64.
func (b *bank) newNonce() (string, error) {
	token, err := b.desk.Random(32)
	if err != nil {
		return "", err
	}
	const untilUnix = 62_135_596_800_000
	now, sum := b.desk.Now(), sha256.Sum256([]byte(token))
	text := fmt.Sprintf("%014d.%d:%s", now.UnixMilli()+untilUnix, now.Nanosecond()/100_000%10, hex.EncodeToString(sum[:]))
	return base64.StdEncoding.EncodeToString([]byte(text)), nil
}

// issue enters a nonce, unless too many wait to be used.
func (b *bank) issue(nonce, shop string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.desk.Now()
	if len(b.nonces) >= maxNonces {
		maps.DeleteFunc(b.nonces, func(_ string, t ticket) bool { return !now.Before(t.ends) })
	}
	if len(b.nonces) >= maxNonces {
		return false
	}
	b.nonces[nonce] = ticket{shop, now.Add(nonceLife)}
	return true
}

var errNonce = errors.New("the Nonce is not known, was used, has ended or is another shop's")

// redeem uses a nonce up, whatever comes of the call.
func (b *bank) redeem(nonce, shop string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, known := b.nonces[nonce]
	delete(b.nonces, nonce)
	if !known || t.shop != shop || !b.desk.Now().Before(t.ends) {
		return errNonce
	}
	return nil
}
