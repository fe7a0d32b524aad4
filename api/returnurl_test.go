package api

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func prefixes(t testing.TB, texts ...string) []returnPrefix {
	t.Helper()
	var all []returnPrefix
	for _, s := range texts {
		p, err := newReturnPrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestBadInputReturnURL(t *testing.T) {
	registered := prefixes(t, "https://pay.taipei/result", "https://slash.taipei/r/", "https://port.taipei:8443", "http://127.0.0.1:8000", "http://[::1]:8000/x")
	for _, good := range []string{
		"https://pay.taipei/result", "https://pay.taipei/result/", "https://pay.taipei/result/a/b", "https://pay.taipei/result?order=1&x=%E5%81%9C",
		"https://pay.taipei/result/%E5%81%9C", "https://pay.taipei/result/a.b", "https://pay.taipei/result/.a", "https://pay.taipei/result/a;b=..", "https://pay.taipei/result/%EF%BC%A1%E0%A4%95%E0%A4%BE",
		"https://slash.taipei/r/", "https://slash.taipei/r/x", "https://port.taipei:8443", "https://port.taipei:8443/", "https://port.taipei:8443?x",
		"http://127.0.0.1:8000", "http://127.0.0.1:8000/any", "http://[::1]:8000/x/y", "https://pay.taipei/result?next=https://evil.example/",
		"https://pay.taipei/result?x=%C0%AE", "https://pay.taipei/result?my_order_no=1",
	} {
		if err := checkReturnURL(good, registered); err != nil {
			t.Errorf("%s is refused", good)
		}
	}
	for name, bad := range map[string]string{
		"empty": "", "relative": "/result", "scheme-relative": "//pay.taipei/result", "//evil": "https://pay.taipei//evil.example", "double slash under the prefix": "https://pay.taipei/result//evil.example",
		`/\evil`: `https://pay.taipei/\evil.example`, `backslash under the prefix`: `https://pay.taipei/result\..\x`, `backslash for the authority`: `https:\\pay.taipei/result`,
		"userinfo": "https://pay.taipei@evil.example/result", "userinfo before ours": "https://evil@pay.taipei/result", "user and password": "https://pay.taipei:x@evil.example/result",
		"other port": "https://pay.taipei:8443/result", "default port": "https://pay.taipei:443/result", "port missing": "https://port.taipei/", "empty port": "https://pay.taipei:/result",
		"look-alike suffix": "https://pay.taipei.evil.example/result", "look-alike prefix": "https://evilpay.taipei/result", "homograph": "https://pаy.taipei/result", "punycode": "https://xn--py-7kc.taipei/result",
		"trailing dot": "https://pay.taipei./result", "full-width": "https://ｐay.taipei/result", "upper case host": "https://PAY.taipei/result", "upper case scheme": "HTTPS://pay.taipei/result",
		"CR LF": "https://pay.taipei/result\r\nSet-Cookie: a=b", "LF at the end": "https://pay.taipei/result\n", "tab": "https://pay.tai\tpei/result", "blank": "https://pay.taipei/result x", "leading blank": " https://pay.taipei/result",
		"encoded CR LF": "https://pay.taipei/result/%0d%0aX", "encoded LF in the query": "https://pay.taipei/result?a=%0A", "encoded NUL": "https://pay.taipei/result/%00", "DEL": "https://pay.taipei/result/\x7f",
		"%2e%2e": "https://pay.taipei/result/%2e%2e/x", "%2E": "https://pay.taipei/result/%2E%2E", "half encoded": "https://pay.taipei/result/.%2e/x", "%2f": "https://pay.taipei/result%2fx", "%5c": "https://pay.taipei/result/%5c",
		"doubly encoded": "https://pay.taipei/result/%252e%252e/x", "dot segment": "https://pay.taipei/result/./x", "dot segments": "https://pay.taipei/result/../admin", "dots at the end": "https://pay.taipei/result/..",
		"dots with a parameter": "https://pay.taipei/result/..;/admin", "dots with a value": "https://pay.taipei/result/..;a=b/admin", "dot with a parameter": "https://pay.taipei/result/.;/x",
		"dots and a blank": "https://pay.taipei/result/..%20/admin", "three dots": "https://pay.taipei/result/.../x", "dots and a letter": "https://pay.taipei/result/..a",
		"overlong dot": "https://pay.taipei/result/%c0%ae%c0%ae/x", "overlong slash": "https://pay.taipei/result/%c0%af", "overlong in three bytes": "https://pay.taipei/result/%e0%80%ae", "lone byte": "https://pay.taipei/result/%ff", "encoded surrogate": "https://pay.taipei/result/%ed%a0%80",
		"full-width slash": "https://pay.taipei/result/%EF%BC%8F", "full-width dots": "https://pay.taipei/result/%EF%BC%8E%EF%BC%8E/x", "full-width backslash": "https://pay.taipei/result/%EF%BC%BC", "full-width percent": "https://pay.taipei/result/%EF%BC%852e",
		"two dot leader": "https://pay.taipei/result/%E2%80%A5/x", "division slash": "https://pay.taipei/result/%E2%88%95", "fraction slash": "https://pay.taipei/result/%E2%81%84", "ideographic full stop": "https://pay.taipei/result/%E3%80%82",
		"order_no in the query": "https://pay.taipei/result?order_no=2017061300000001", "order_no later in the query": "https://pay.taipei/result?a=b&order_no", "order_no by encoding": "https://pay.taipei/result?%6frder%5Fno=1",
		"broken encoding": "https://pay.taipei/result/%zz", "cut encoding": "https://pay.taipei/result/%2", "fragment": "https://pay.taipei/result#x", "empty fragment": "https://pay.taipei/result#",
		"other path": "https://pay.taipei/", "path that only begins alike": "https://pay.taipei/results", "other case of the path": "https://pay.taipei/Result", "without the final slash": "https://slash.taipei/r",
		"http": "http://pay.taipei/result", "https on the loopback": "https://127.0.0.1:8000/", "other loopback": "http://localhost:8000/", "decimal loopback": "http://2130706433:8000/",
		"opaque": "https:pay.taipei/result", "one slash": "https:/pay.taipei/result", "three slashes": "https:///pay.taipei/result", "javascript": "javascript:alert(1)//https://pay.taipei/result", "data": "data:text/html,x",
		"semicolon in the query": "https://pay.taipei/result?a=1;b=2", "quotes": `https://pay.taipei/result/"x`, "angle": "https://pay.taipei/result/<x>", "not ASCII": "https://pay.taipei/result/停",
		"too long": "https://pay.taipei/result/" + strings.Repeat("a", maxReturnURL),
	} {
		t.Run(name, func(t *testing.T) {
			if err := checkReturnURL(bad, registered); err == nil {
				t.Errorf("%q is accepted", bad)
			}
		})
	}
	if checkReturnURL("https://pay.taipei/result", nil) == nil {
		t.Error("a client without prefixes may return anywhere")
	}
}

// FuzzReturnURL: whatever is accepted stays under the prefix however a browser reads it: backslashes as slashes, blanks
// dropped, encodings undone twice, dots resolved.
func FuzzReturnURL(f *testing.F) {
	for _, seed := range []string{
		"https://pay.taipei/result", "https://pay.taipei/result/a?b=c", "https://pay.taipei/result/../x", "https://pay.taipei@evil/result", `https://pay.taipei/result\x`,
		"https://pay.taipei/result/%2e%2e", "https://pay.taipei:443/result", "https://pay.taipei/result%00", "https:pay.taipei/result", "https://pay.taipei/result#",
	} {
		f.Add(seed)
	}
	registered := prefixes(f, "https://pay.taipei/result")
	f.Fuzz(func(t *testing.T, s string) {
		if checkReturnURL(s, registered) != nil {
			return
		}
		read := strings.ReplaceAll(strings.Map(func(r rune) rune {
			if r <= ' ' {
				return -1
			}
			return r
		}, s), `\`, "/")
		u, err := url.Parse(read)
		if err != nil || u.Scheme != "https" || u.Host != "pay.taipei" || u.User != nil || u.Fragment != "" {
			t.Fatalf("%q reads as %v, %v", s, u, err)
		}
		twice, err := url.PathUnescape(u.Path)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if at := path.Clean(twice); at != "/result" && !strings.HasPrefix(at, "/result/") {
			t.Fatalf("%q leads to %s", s, at)
		}
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Fatalf("%q holds a control character", s)
		}
	})
}
