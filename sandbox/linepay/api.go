package linepay

import (
	"encoding/base64"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"pay.taipei/gateway/sandbox/internal/desk"
	"pay.taipei/gateway/signing"
)

// maxNonces bounds what "never seen before" remembers.
const maxNonces = 200_000

// nonceForm is a UUID of version 1 or 4, or a timestamp.
var nonceForm = regexp.MustCompile(`^(?:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[14][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}|[0-9]{10,19})$`)

var jsonForm = regexp.MustCompile(`(?i)^application/json(?:; ?charset=utf-8)?$`)

// transactionForm is that of every id issued here.
var transactionForm = regexp.MustCompile(`^[1-9][0-9]{18}$`)

// answer is what every call gets, with HTTP status 200.
type answer struct {
	Code    string `json:"returnCode"`
	Message string `json:"returnMessage"`
	Info    any    `json:"info,omitempty"`

	drop bool // the connection closes instead
}

func say(code, message string) answer { return answer{Code: code, Message: message} }

func success(info any) answer { return answer{Code: "0000", Message: "Success.", Info: info} }

// call serves one kind of API call.
func (l *line) call(moves bool, do func(r *http.Request, body []byte) answer) http.HandlerFunc {
	return l.desk.API(moves, busy, func(w http.ResponseWriter, r *http.Request, body []byte) {
		a, ok := l.verify(r, body)
		if ok {
			a = do(r, body)
		}
		if a.drop {
			desk.Drop(w)
			return
		}
		desk.WriteJSON(w, http.StatusOK, a)
	})
}

// busy answers outside the API's form, as whatever stands before the API does.
func busy(w http.ResponseWriter, throttled bool) {
	if throttled {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte("<!doctype html><title>LINE Pay</title><h1>Service is under maintenance.</h1>\n")) // the client may have gone
}

// signed is what a signature covers. It has no separators, so what may stand in each part is checked as strictly as can be.
func signed(secret, path, payload, nonce string) signing.Text {
	return signing.Text(secret + path + payload + nonce)
}

// verify holds a call to its headers and to what they sign, and uses up its nonce.
func (l *line) verify(r *http.Request, body []byte) (refusal answer, ok bool) {
	header := func(why string) (answer, bool) { return say("1106", why), false }
	required := []string{"Content-Type", "X-LINE-ChannelId", "X-LINE-Authorization-Nonce", "X-LINE-Authorization"}
	for _, name := range required {
		if len(r.Header.Values(name)) != 1 {
			return header(name + " must be there once")
		}
	}
	for name := range r.Header {
		known := slices.ContainsFunc(append(required, "X-LINE-MerchantDeviceProfileId", "X-LINE-MerchantDeviceType"), func(k string) bool { return strings.EqualFold(k, name) })
		if strings.HasPrefix(name, "X-Line-") && !known {
			return header(name + " is not known")
		}
	}
	if !jsonForm.MatchString(r.Header.Get("Content-Type")) {
		return header("Content-Type must be application/json")
	}
	nonce, payload := r.Header.Get("X-LINE-Authorization-Nonce"), string(body)
	if !nonceForm.MatchString(nonce) {
		return header("X-LINE-Authorization-Nonce must be a UUID of version 1 or 4, or a timestamp")
	}
	if r.Method != http.MethodPost {
		payload = r.URL.RawQuery
	}
	tag, err := base64.StdEncoding.Strict().DecodeString(r.Header.Get("X-LINE-Authorization"))
	if err != nil {
		return header("X-LINE-Authorization must be in base64")
	}
	switch err := l.keys.Verify(r.Header.Get("X-LINE-ChannelId"), signed(l.secret, r.URL.EscapedPath(), payload, nonce), tag, l.desk.Now()); {
	case errors.Is(err, signing.ErrUnknownKey):
		return say("1104", "no such channel"), false
	case err != nil:
		return header("X-LINE-Authorization does not match")
	case !l.first(nonce):
		return header("X-LINE-Authorization-Nonce was used before")
	}
	// What is not signed must not be there.
	if r.Method == http.MethodPost && r.URL.RawQuery != "" || r.Method != http.MethodPost && len(body) > 0 {
		return say("2101", "a POST has no query, a GET has no body: neither is signed"), false
	}
	return answer{}, true
}

// first says whether a nonce is new, and remembers it.
func (l *line) first(nonce string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.nonces[nonce] {
		return false
	}
	if len(l.used) >= maxNonces {
		delete(l.nonces, l.used[0])
		l.used = l.used[1:]
	}
	l.nonces[nonce] = true
	l.used = append(l.used, nonce)
	return true
}

// find is the payment that the path names. When there is none, the answer is the code that the caller has for it.
func (l *line) find(r *http.Request, unknown string) (desk.Payment, answer) {
	id := r.PathValue("transactionId")
	if !transactionForm.MatchString(id) {
		return desk.Payment{}, say("2101", "transactionId must have 19 digits")
	}
	p, ok := l.desk.FindWhere(func(p *desk.Payment) bool { return p.Extra[transactionKey] == id })
	if !ok {
		return desk.Payment{}, say(unknown, "no payment has this transactionId")
	}
	return p, answer{}
}
