package providers

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pay.taipei/gateway/signing"
)

// Cause is why a callback is not believed.
type Cause struct {
	Code string `json:"cause"`
	Why  string `json:"why"` // one sentence; never a key, a signature or a body
}

// The causes that more than one place names.
const (
	CauseGenuine          = "genuine"
	CauseMissingSignature = "missing_signature"
	CauseMissingField     = "missing_field"
	CauseExtraField       = "extra_field"
	CauseReordered        = "reordered"
	CauseLetterCase       = "letter_case"
	CauseMD5              = "md5"
	CauseTruncated        = "truncated"
	CauseOurOwn           = "our_own"
	CauseTestKey          = "test_key"
	CauseKeyID            = "unknown_key_id"
	CauseWrongEnvironment = "wrong_environment"
	CauseEncryptType      = "encrypt_type"
	CauseUnreadable       = "unreadable"
	CauseDoor             = "door"
)

// Diagnoser is offered by adapters that can tell with what else than it should a message verifies: a published key, another
// algorithm, fields in another order. It does no I/O. It may be asked about genuine messages too.
type Diagnoser interface {
	Diagnose(raw RawCallback) []Cause
}

// Suspect is an account that a callback may be meant for.
type Suspect struct {
	Name        string
	Environment Environment
	Provider    Provider
}

// Diagnose says why the account at which a callback arrived does not believe it. It looks for the one change that makes it
// verify, or for another key that does: what it names is proven, but for "wrong_key", which is what remains.
func Diagnose(raw RawCallback, at Suspect, others []Suspect) Cause {
	decoder, ok := at.Provider.(CallbackDecoder)
	if !ok {
		return Cause{CauseDoor, "this provider sends no callbacks: what comes here is not from it"}
	}
	own := causes(at.Provider, raw)
	n, refusal := decoder.DecodeCallback(raw)
	if refusal == nil && told(n) {
		return genuine(n, at, own)
	}
	for _, find := range []func() (Cause, bool){
		func() (Cause, bool) { return shapeless(raw) },
		func() (Cause, bool) { return first(own, CauseKeyID) },
		func() (Cause, bool) { return keyOver(refusal) },
		func() (Cause, bool) { return repaired(decoder, raw) },
		func() (Cause, bool) { return elsewhere(raw, others) },
		func() (Cause, bool) { return first(own, "") },
		func() (Cause, bool) { return unknownKey(refusal) },
	} {
		if cause, found := find(); found {
			return cause
		}
	}
	if refusal == nil {
		return Cause{CauseGenuine, "there is nothing in it to believe: it only makes us ask the provider"}
	}
	return Cause{"wrong_key", "no key that is known here fits, and no small change makes it fit: it was signed with another key, or what it says was changed on the way; compare the key at the provider with the account's"}
}

// told says whether a decoded callback tells something.
func told(n Notice) bool { return n.Snapshot != nil || n.Pointer != "" }

func causes(p Provider, raw RawCallback) []Cause {
	if d, ok := p.(Diagnoser); ok {
		return d.Diagnose(raw)
	}
	return nil
}

// first is the first cause that is not the one left for later.
func first(list []Cause, later string) (Cause, bool) {
	for _, c := range list {
		if c.Code != later {
			return c, true
		}
	}
	return Cause{}, false
}

// genuine is a callback that verifies: it may still speak of another environment.
func genuine(n Notice, at Suspect, own []Cause) Cause {
	if s := n.Snapshot; s != nil && s.Environment != "" && s.Environment != at.Environment {
		return Cause{CauseWrongEnvironment, fmt.Sprintf("the signature is right, but it is about environment %q and account %s is %q: the provider has this account's address in another environment", s.Environment, at.Name, at.Environment)}
	}
	if cause, found := first(own, CauseKeyID); found {
		return cause
	}
	return Cause{CauseGenuine, "nothing is wrong with it: the signature is right and it can be read"}
}

// shapeless is what holds no message at all.
func shapeless(raw RawCallback) (Cause, bool) {
	body := bytes.TrimSpace(raw.Body)
	switch {
	case len(body) == 0 && raw.RawQuery == "":
		return Cause{CauseUnreadable, "it is empty: a health check, or something on the way has dropped the body"}, true
	case bytes.HasPrefix(body, []byte("<")):
		return Cause{CauseUnreadable, "it is a page of HTML: something on the way has answered in the provider's place"}, true
	case bytes.HasPrefix(body, []byte("{")) && !json.Valid(body) && !bytes.HasSuffix(body, []byte("}")):
		return Cause{CauseTruncated, "the JSON ends before its end: the body was cut on the way or when it was copied"}, true
	}
	return Cause{}, false
}

func keyOver(refusal error) (Cause, bool) {
	return Cause{"old_key", "the signature is right, but its key was over when it arrived: the provider still signs with the old key, or the account's not_after is too early"}, errors.Is(refusal, signing.ErrKeyExpired)
}

func unknownKey(refusal error) (Cause, bool) {
	return Cause{CauseKeyID, "it names a key that is not configured for this account: add the provider's new public key"}, errors.Is(refusal, signing.ErrUnknownKey)
}

// elsewhere looks for another account whose keys made it, under whichever name.
func elsewhere(raw RawCallback, others []Suspect) (Cause, bool) {
	for _, o := range others {
		d, ok := o.Provider.(CallbackDecoder)
		if !ok {
			continue
		}
		n, err := d.DecodeCallback(raw)
		misnamed := slices.ContainsFunc(causes(o.Provider, raw), func(c Cause) bool { return c.Code == CauseKeyID })
		if err == nil && n.Snapshot != nil || misnamed {
			return Cause{"other_account", "it is signed with the key of account " + o.Name + ": the provider has this account's address for that account, or the keys were mixed up"}, true
		}
	}
	return Cause{}, false
}

// repair is a change that may undo what happened on the way.
type repair struct {
	Cause
	undo func(RawCallback) []RawCallback
}

// repaired looks for the repair that makes a callback verify.
func repaired(d CallbackDecoder, raw RawCallback) (Cause, bool) {
	for _, r := range repairs() {
		for _, changed := range r.undo(raw) {
			if n, err := d.DecodeCallback(changed); err == nil && told(n) {
				return r.Cause, true
			}
		}
	}
	return Cause{}, false
}

func repairs() []repair {
	return []repair{
		{Cause{"clock", "the signature is right, but its time is too far from ours: one of the two clocks is wrong, or it was sent again much later"}, atItsTime},
		{Cause{"repeated", "a header or a field comes twice, so that nobody can say which of the two is meant; something on the way adds its own copy"}, once},
		{Cause{"trailing_slash", "the path has a slash at its end that the signed path has not, or lacks one: something on the way rewrites addresses"}, slash},
		{Cause{"path", "it was signed for another path: a proxy adds or cuts a prefix"}, prefix},
		{Cause{"query_string", "a query string was added to an address that is signed without one"}, bare},
		{Cause{CauseDoor, "it came through the wrong door: by GET where it is posted, or with a browser where the provider's server sends it"}, otherDoor},
		{Cause{"encoding", "it was encoded or decoded once too often on the way: + and %20, & and &amp;, or escapes of escapes"}, decoded},
		{Cause{"re_encoded", "the JSON was read and written again on the way: spaces, escapes or a line end differ, and the signature covers the bytes"}, rewritten},
		{Cause{CauseExtraField, "a field was added that the signature does not cover"}, without},
	}
}

var seconds = regexp.MustCompile(`\b1[0-9]{9}\b`)

// atItsTime supposes that it arrived at one of the times in its headers.
func atItsTime(raw RawCallback) (all []RawCallback) {
	for _, values := range raw.Header {
		for _, value := range values {
			for _, text := range seconds.FindAllString(value, 3) {
				if n, err := strconv.ParseInt(text, 10, 64); err == nil {
					changed := raw
					changed.ReceivedAt = time.Unix(n, 0)
					all = append(all, changed)
				}
			}
		}
	}
	return all
}

// once leaves one of each header and each field.
func once(raw RawCallback) []RawCallback {
	changed := raw
	changed.Header = make(http.Header)
	for name, values := range raw.Header {
		changed.Header.Set(name, values[0])
	}
	single := func(text string) string {
		var kept []string
		seen := make(map[string]bool)
		for _, pair := range strings.Split(text, "&") {
			if name, _, _ := strings.Cut(pair, "="); !seen[name] {
				seen[name] = true
				kept = append(kept, pair)
			}
		}
		return strings.Join(kept, "&")
	}
	forms := changed
	forms.RawQuery, forms.Body = single(raw.RawQuery), []byte(single(string(raw.Body)))
	return []RawCallback{changed, forms}
}

func slash(raw RawCallback) []RawCallback {
	cut, added := raw, raw
	cut.Path, added.Path = strings.TrimRight(raw.Path, "/"), raw.Path+"/"
	return []RawCallback{cut, added}
}

// prefix cuts the path's first elements one by one, and puts back what a proxy says it has cut.
func prefix(raw RawCallback) (all []RawCallback) {
	for rest := raw.Path; ; {
		_, after, found := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		if !found {
			break
		}
		rest = "/" + after
		changed := raw
		changed.Path = rest
		all = append(all, changed)
	}
	for _, name := range []string{"X-Forwarded-Prefix", "X-Script-Name", "X-Original-Uri", "X-Rewrite-Url"} {
		if cut := raw.Header.Get(name); cut != "" {
			whole, put := raw, raw
			whole.Path, put.Path = cut, strings.TrimRight(cut, "/")+raw.Path
			all = append(all, whole, put)
		}
	}
	return all
}

// bare leaves out the query string, or what stands before a second question mark in it.
func bare(raw RawCallback) []RawCallback {
	if raw.RawQuery == "" {
		return nil
	}
	none, last := raw, raw
	none.RawQuery = ""
	if i := strings.LastIndexByte(raw.RawQuery, '?'); i >= 0 {
		last.RawQuery = raw.RawQuery[i+1:]
	}
	return []RawCallback{none, last}
}

// otherDoor lets it come with the other method, with whoever else brings messages, and both.
func otherDoor(raw RawCallback) []RawCallback {
	other := func(r RawCallback) RawCallback {
		r.Channel = ChannelServer + ChannelBrowser - r.Channel
		return r
	}
	method := raw
	if raw.Method == http.MethodGet {
		method.Method, method.Body, method.RawQuery = http.MethodPost, []byte(raw.RawQuery), ""
	} else {
		method.Method, method.RawQuery, method.Body = http.MethodGet, string(raw.Body), nil
	}
	all := []RawCallback{method, other(method)}
	if raw.Channel == ChannelServer { // a server's message with a browser is only a hint, which is as it should be
		all = append(all, other(raw))
	}
	return all
}

// decoded undoes one more or one less step of encoding.
func decoded(raw RawCallback) (all []RawCallback) {
	for _, change := range []func(string) string{
		func(s string) string { return strings.ReplaceAll(s, "&amp;", "&") },
		func(s string) string { return strings.ReplaceAll(s, " ", "+") },
		func(s string) string { return strings.ReplaceAll(s, "+", " ") },
		func(s string) string { return strings.ReplaceAll(s, "+", "%20") },
		func(s string) string { return strings.ReplaceAll(s, "%20", "+") },
		func(s string) string { return strings.ReplaceAll(s, "+", "%2B") },
		func(s string) string { return strings.ReplaceAll(s, "%25", "%") },
		func(s string) string {
			if once, err := url.QueryUnescape(s); err == nil {
				return once
			}
			return s
		},
		url.QueryEscape,
	} {
		body, query := raw, raw
		body.Body, query.RawQuery = []byte(change(string(raw.Body))), change(raw.RawQuery)
		all = append(all, body, query)
	}
	return all
}

var escape = regexp.MustCompile(`\\u[0-9a-fA-F]{4}`)

// rewritten writes JSON as most do: without spaces, and without escapes that nothing needs.
func rewritten(raw RawCallback) []RawCallback {
	var compact bytes.Buffer
	if json.Compact(&compact, bytes.TrimPrefix(raw.Body, []byte("\xef\xbb\xbf"))) != nil {
		return nil
	}
	tight, plain := raw, raw
	tight.Body = bytes.TrimSpace(compact.Bytes())
	plain.Body = escape.ReplaceAllFunc(tight.Body, func(e []byte) []byte {
		n, err := strconv.ParseUint(string(e[2:]), 16, 16)
		if err != nil || n < ' ' || n == '"' || n == '\\' || n >= 0xd800 && n < 0xe000 {
			return e
		}
		return []byte(string(rune(n)))
	})
	return []RawCallback{tight, plain}
}

// without leaves out one field: of a form or of a JSON object, whose other bytes stay as they are.
func without(raw RawCallback) (all []RawCallback) {
	for _, part := range []struct {
		text string
		put  func(*RawCallback, string)
	}{
		{raw.RawQuery, func(r *RawCallback, s string) { r.RawQuery = s }},
		{string(raw.Body), func(r *RawCallback, s string) { r.Body = []byte(s) }},
	} {
		separator, open, end, inner := "&", "", "", part.text
		if strings.HasPrefix(inner, "{") && strings.HasSuffix(inner, "}") {
			separator, open, end, inner = ",", "{", "}", inner[1:len(inner)-1]
		}
		pieces := strings.Split(inner, separator)
		if len(pieces) > 100 {
			continue
		}
		for i := range pieces {
			changed := raw
			part.put(&changed, open+strings.Join(slices.Delete(slices.Clone(pieces), i, i+1), separator)+end)
			all = append(all, changed)
		}
	}
	return all
}

// ParseRequest reads a callback from the text of an HTTP request, as a log, a proxy or a packet trace shows it. The body is all
// that follows the first empty line. A path with /r/ in it was a browser's, any other a server's.
func ParseRequest(text []byte, receivedAt time.Time) (RawCallback, error) {
	head, body, found := bytes.Cut(text, []byte("\r\n\r\n"))
	if !found {
		if head, body, found = bytes.Cut(text, []byte("\n\n")); !found {
			head = bytes.TrimRight(text, "\r\n")
		}
	}
	r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(bytes.NewReader(head), strings.NewReader("\r\n\r\n"))))
	if err != nil {
		return RawCallback{}, fmt.Errorf("the callback is no HTTP request: want a line such as \"POST /callbacks/ACCOUNT/TOKEN HTTP/1.1\", headers, an empty line and the body: %w", err)
	}
	raw := RawCallback{
		Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Header: r.Header, Body: body, ReceivedAt: receivedAt,
	}
	parts := strings.Split(strings.Trim(raw.Path, "/"), "/")
	raw.Token = parts[len(parts)-1]
	if slices.Contains(parts, "r") {
		raw.Channel = ChannelBrowser
	}
	return raw, nil
}
