package api

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReturnURL is the length of a return URL in bytes.
const maxReturnURL = 1024

// errReturnURL says that a URL is not one to send a browser to. The reasons are not told apart: a client compares with
// what it registered.
var errReturnURL = errors.New("api: return URL is not under a registered prefix")

// returnPrefix is where a client may have the citizen's browser sent back to: an origin and everything under a path.
type returnPrefix struct{ origin, path string }

// newReturnPrefix reads a registered prefix: https, or http on loopback; origin and path in plain form, nothing else.
func newReturnPrefix(s string) (returnPrefix, error) {
	u, err := url.Parse(s)
	if err != nil {
		return returnPrefix{}, fmt.Errorf("api: return prefix: %w", err)
	}
	p := returnPrefix{origin: u.Scheme + "://" + u.Host, path: u.EscapedPath()}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return returnPrefix{}, fmt.Errorf("api: return prefix %q: want https, or http on loopback", s)
	}
	if u.Host == "" || u.Host != strings.ToLower(u.Host) || p.origin+p.path != s || strings.Contains(p.path, "%") || !plainPath(p.path) {
		return returnPrefix{}, fmt.Errorf("api: return prefix %q: want an origin in lower case and a plain path, such as https://pay.taipei/result", s)
	}
	return p, nil
}

// checkReturnURL accepts a URL that lies under one of the prefixes. It compares the text as written, before and not after
// a parse, because a browser reads a URL by other rules than net/url; then the parse must agree.
func checkReturnURL(s string, prefixes []returnPrefix) error {
	if len(s) > maxReturnURL || !plainURL(s) {
		return errReturnURL
	}
	u, err := url.Parse(s)
	if err != nil {
		return errReturnURL
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || query.Has("order_no") { // the gateway adds it: only its own may be there
		return errReturnURL
	}
	for _, p := range prefixes {
		if u.Scheme+"://"+u.Host == p.origin && p.covers(s) {
			return nil
		}
	}
	return errReturnURL
}

// covers says whether s is written as the origin, then a plain path at or under p's, then perhaps a query.
func (p returnPrefix) covers(s string) bool {
	rest, ok := strings.CutPrefix(s, p.origin)
	path, _, _ := strings.Cut(rest, "?")
	if !ok || !plainPath(path) {
		return false
	}
	under, ok := strings.CutPrefix(path, strings.TrimSuffix(p.path, "/"))
	if !ok {
		return false
	}
	return strings.HasPrefix(under, "/") || (under == "" && !strings.HasSuffix(p.path, "/")) || (under == "" && p.path == "/")
}

// plainURL allows the characters that RFC 3986 allows in a URL, without a fragment, and no encoded control character.
func plainURL(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\\\"<>^`{|}#", c) >= 0 {
			return false
		}
		if c != '%' {
			continue
		}
		if b, ok := unescape(s[i:]); !ok || b < ' ' || b == 0x7f {
			return false
		}
	}
	return true
}

// plainPath refuses what could make a path mean another one: empty and dot segments, also with a parameter or a tail that
// some servers cut off ("..;x"), and encodings of / \ . %, plain, overlong or by characters that some servers read as them.
func plainPath(path string) bool {
	if path != "" && path[0] != '/' {
		return false
	}
	if strings.Contains(path, "//") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		name, _, _ := strings.Cut(segment, ";")
		if name == "." || strings.HasPrefix(name, "..") {
			return false
		}
	}
	for i := range len(path) {
		if path[i] != '%' {
			continue
		}
		if b, ok := unescape(path[i:]); !ok || strings.IndexByte(`/\.%`, b) >= 0 {
			return false
		}
	}
	meant, err := url.PathUnescape(path)
	return err == nil && !strings.ContainsFunc(meant, oddInPath)
}

// oddInPath finds what is beyond ASCII and no letter, mark or digit: among the rest are the look-alikes of / \ . and %, and
// U+FFFD, as which a byte outside of UTF-8 is read.
func oddInPath(r rune) bool {
	return r >= utf8.RuneSelf && !unicode.In(r, unicode.L, unicode.M, unicode.Nd)
}

// unescape reads one percent encoding.
func unescape(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	b, err := url.PathUnescape(s[:3])
	if err != nil || len(b) != 1 {
		return 0, false
	}
	return b[0], true
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback())
}
