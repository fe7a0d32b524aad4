package esun_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"pay.taipei/gateway/internal/testkit"
	"pay.taipei/gateway/sandbox/esun"
	"pay.taipei/gateway/sandbox/internal/desk"
)

const (
	pagePC     = "/ACQTrans/esuncard/txnf014s"
	pageMobile = "/ACQTrans/esuncard/txnf014m"
	queryPath  = "/ACQQuery/esuncard/txnf0180"
	cancelPath = "/ACQTrans/esuncard/txnf0150"
	returnURL  = "https://pay.example/r/20170613000016"
)

// city is the bank with a merchant on the other side that knows only the manuals.
type city struct {
	t        *testing.T
	clock    *testkit.Clock
	url, key string
	mid      string // of pma
	bank     *desk.Running
	browser  *http.Client
}

func newCity(t *testing.T) *city {
	t.Helper()
	c := &city{t: t, clock: testkit.NewClock(time.Date(2017, 6, 13, 23, 4, 5, 0, time.UTC))} // the 14th in Taipei, day 165
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.bank.Handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	c.url, c.browser = server.URL, server.Client()
	c.browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	double := esun.Double()
	if double.Name != "esun" {
		t.Fatal(double.Name)
	}
	var err error
	c.bank, err = double.Open(
		desk.Place{URL: c.url, ShopURL: "http://shop.example/", Merchants: map[string]string{"pma": "臺北市停車管理工程處", "water": "臺北自來水事業處"}, Seed: []byte("seed")},
		desk.Deps{Now: c.clock.Now, Rand: &testkit.Counter{}, HTTP: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	settings := regexp.MustCompile(`^\{url: "([^"]+)", mac_key: "([A-Z0-9]{32})"\}$`).FindStringSubmatch(c.bank.Settings)
	if settings == nil || settings[1] != c.url {
		t.Fatalf("settings %s", c.bank.Settings)
	}
	c.key, c.mid = settings[2], c.bank.Payees["pma"]
	return c
}

// digest is the test's own, so that the bank's is held against something.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

type page struct {
	status   int
	header   http.Header
	body     string
	location string
}

func (c *city) do(req *http.Request) (page, error) {
	resp, err := c.browser.Do(req)
	if err != nil {
		return page{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return page{resp.StatusCode, resp.Header, string(body), resp.Header.Get("Location")}, err
}

func (c *city) send(method, path, kind, body string) page {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	p, err := c.do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func (c *city) get(path string) page {
	c.t.Helper()
	return c.send(http.MethodGet, path, "", "")
}

func (c *city) post(path string, form url.Values) page {
	c.t.Helper()
	return c.send(http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode())
}

func (c *city) form(data string) url.Values {
	return url.Values{"data": {data}, "mac": {digest(data + c.key)}, "ksn": {"1"}}
}

// order is data as a merchant writes it.
func (c *city) order(ono string) string {
	return `{"ONO":"` + ono + `","U":"` + returnURL + `","MID":"` + c.mid + `","TA":"1302","TID":"EC000001"}`
}

func (c *city) reference(ono string) string { return `{"MID":"` + c.mid + `","ONO":"` + ono + `"}` }

// visit posts an order and returns the path of its page.
func (c *city) visit(data string) string {
	c.t.Helper()
	p := c.post(pagePC, c.form(data))
	if p.status != http.StatusSeeOther || !strings.HasPrefix(p.location, "/pay/") {
		c.t.Fatalf("%d to %q: %s", p.status, p.location, p.body)
	}
	return p.location
}

// pay decides: an empty method leaves.
func (c *city) pay(at, method string) {
	c.t.Helper()
	form := url.Values{}
	if method != "" {
		form.Set("method", method)
	}
	if p := c.post(at, form); p.status != http.StatusSeeOther || p.location != at+"/result" {
		c.t.Fatalf("%d to %q: %s", p.status, p.location, p.body)
	}
}

var wayBack = regexp.MustCompile(`id="return" href="([^"]+)"`)

// result is where the payer is sent from the page at: DATA and, when it is there, whether MACD is right.
func (c *city) result(at string) (data, signed string) {
	c.t.Helper()
	p := c.get(at + "/result")
	found := wayBack.FindStringSubmatch(p.body)
	if found == nil {
		c.t.Fatalf("no way back: %d %s", p.status, p.body)
	}
	base, raw, _ := strings.Cut(html.UnescapeString(found[1]), "?")
	query, err := url.ParseQuery(raw)
	if err != nil || base != returnURL || len(query["DATA"]) != 1 || strings.ContainsAny(strings.SplitN(raw, "&", 2)[0][len("DATA="):], "=,*") {
		c.t.Fatalf("%s?%s: %v", base, raw, err)
	}
	data = query.Get("DATA")
	switch macd, sent := query["MACD"]; {
	case !sent && len(query) == 1:
		return data, "unsigned"
	case len(query) == 2 && len(macd) == 1 && macd[0] == digest(data+","+c.key):
		return data, "signed"
	}
	return data, "forged"
}

// told is an answer of the bank's server.
type told struct {
	status int
	code   string
	txn    map[string]string
	quoted bool
}

func (c *city) read(p page) told {
	c.t.Helper()
	answer := told{status: p.status}
	if p.status != http.StatusOK {
		return answer
	}
	text, ok := strings.CutPrefix(p.body, "DATA=")
	var body map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &body); !ok || err != nil || len(body) != 3 || string(body["version"]) != `"2"` {
		c.t.Fatalf("%s: %v", p.body, err)
	}
	txn := body["txnData"]
	var inner string
	if answer.quoted = json.Unmarshal(txn, &inner) == nil; answer.quoted {
		txn = []byte(inner)
	}
	if err := json.Unmarshal(txn, &answer.txn); err != nil {
		c.t.Fatalf("%s: %v", p.body, err)
	}
	if err := json.Unmarshal(body["returnCode"], &answer.code); err != nil || answer.code != answer.txn["RC"] {
		c.t.Fatalf("%s: %v", p.body, err)
	}
	return answer
}

func (c *city) query(ono string) told {
	c.t.Helper()
	return c.read(c.post(queryPath, c.form(c.reference(ono))))
}

func (c *city) cancel(ono string) told {
	c.t.Helper()
	return c.read(c.post(cancelPath, c.form(c.reference(ono))))
}

// faults sets what goes wrong, and returns the status of the answer.
func (c *city) faults(json string) int {
	c.t.Helper()
	return c.send(http.MethodPut, "/faults", "application/json", json).status
}

// lost says that a post closed the connection without an answer.
func (c *city) lost(path string, form url.Values, limit time.Duration) bool {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, err = c.do(req)
	return err != nil
}

func (c *city) book(ono string) desk.Payment {
	c.t.Helper()
	p, ok := c.bank.Desk.Find(ono)
	if !ok {
		c.t.Fatalf("%s is not in the books", ono)
	}
	return p
}
