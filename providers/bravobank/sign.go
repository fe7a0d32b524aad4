package bravobank

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"pay.taipei/gateway/signing"
)

// The labels of the signed texts. Each names one message in one direction, so that
// nothing we sign can verify as something the bank says.
const (
	labelOrder        = "bravo-order-v1"
	labelNotice       = "bravo-notice-v1"
	labelQuery        = "bravo-query-v1"
	labelQueryAnswer  = "bravo-query-answer-v1"
	labelRefund       = "bravo-refund-v1"
	labelRefundAnswer = "bravo-refund-answer-v1"
)

// tolerance is how far a timestamp may be from our clock, on either side (section 2).
const tolerance = 300 * time.Second

// orderText is what is signed of an order (section 3).
func orderText(order string) signing.Text {
	return signing.Text(labelOrder + "." + order)
}

// messageText is what is signed of a notice, query or refund (sections 6 to 8). No
// part but the body can hold a line feed: kid, timestamp and nonce have forms, and a
// path comes from a request line.
func messageText(label, kid, timestamp, nonce, path string, body []byte) signing.Text {
	return append(signing.Text(label+"\n"+kid+"\n"+timestamp+"\n"+nonce+"\n"+path+"\n"), body...)
}

// answerText is what is signed of an answer; nonce and path are the request's (sections 7 and 8).
func answerText(label, kid, timestamp, nonce, path string, status int, body []byte) signing.Text {
	return append(signing.Text(label+"\n"+kid+"\n"+timestamp+"\n"+nonce+"\n"+path+"\n"+strconv.Itoa(status)+"\n"), body...)
}

var (
	kidForm       = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	timestampForm = regexp.MustCompile(`^[1-9][0-9]{0,10}$`)
	nonceForm     = regexp.MustCompile(`^[A-Za-z0-9_-]{16,64}$`)
)

// seal is the signature of a message of the bank and what it names.
type seal struct {
	kid, timestamp string
	at             time.Time
	signature      []byte
}

// readSeal reads the headers that notices and answers share and checks the time.
func readSeal(h http.Header, now time.Time) (seal, error) {
	kid, errKid := header(h, "Bravo-Kid", kidForm)
	timestamp, errTime := header(h, "Bravo-Timestamp", timestampForm)
	if err := errors.Join(errKid, errTime); err != nil {
		return seal{}, err
	}
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil {
		return seal{}, errors.New("header Bravo-Timestamp is not a number")
	}
	at := time.Unix(seconds, 0)
	if at.Before(now.Add(-tolerance)) || at.After(now.Add(tolerance)) {
		return seal{}, signing.ErrStale
	}
	values := h.Values("Bravo-Signature")
	if len(values) != 1 || len(values[0]) != base64.RawURLEncoding.EncodedLen(64) {
		return seal{}, errors.New("header Bravo-Signature must come once, with 86 characters")
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(values[0])
	if err != nil {
		return seal{}, errors.New("header Bravo-Signature is not base64url")
	}
	return seal{kid: kid, timestamp: timestamp, at: at, signature: signature}, nil
}

// header is the one value of a header. A second one is refused even when both are
// equal: proxies differ in which of two they believe.
func header(h http.Header, name string, form *regexp.Regexp) (string, error) {
	values := h.Values(name)
	if len(values) != 1 || !form.MatchString(values[0]) {
		return "", fmt.Errorf("header %s must come once, as %s", name, form)
	}
	return values[0], nil
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
