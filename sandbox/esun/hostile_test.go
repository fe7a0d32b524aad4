package esun_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pay.taipei/gateway/sandbox/internal/desk"
)

const formKind = "application/x-www-form-urlencoded"

// spoiled are forms that are wrong whatever data is for.
func spoiled(c *city, data string) map[string][2]string {
	good := c.form(data)
	edit := func(how func(url.Values)) string {
		f := url.Values{}
		for name, values := range good {
			f[name] = append([]string(nil), values...)
		}
		how(f)
		return f.Encode()
	}
	signed := func(data string) string { return c.form(data).Encode() }
	end := func(more string) string { return signed(strings.TrimSuffix(data, "}") + more) }
	mac := good.Get("mac")
	return map[string][2]string{
		"no mac":                 {"G2", edit(func(f url.Values) { f.Del("mac") })},
		"no ksn":                 {"G2", edit(func(f url.Values) { f.Del("ksn") })},
		"no data":                {"G2", edit(func(f url.Values) { f.Del("data") })},
		"data twice":             {"G2", edit(func(f url.Values) { f.Add("data", data) })},
		"mac twice":              {"G2", edit(func(f url.Values) { f.Add("mac", mac) })},
		"another field":          {"G2", edit(func(f url.Values) { f.Set("x", "1") })},
		"DATA in capitals":       {"G2", strings.Replace(good.Encode(), "data=", "DATA=", 1)},
		"a broken escape":        {"G2", good.Encode() + "%zz"},
		"ksn 2":                  {"G8", edit(func(f url.Values) { f.Set("ksn", "2") })},
		"mac of other data":      {"G8", edit(func(f url.Values) { f.Set("mac", digest("x"+c.key)) })},
		"mac with a comma":       {"G8", edit(func(f url.Values) { f.Set("mac", digest(data+","+c.key)) })},
		"mac without the key":    {"G8", edit(func(f url.Values) { f.Set("mac", digest(data)) })},
		"mac cut short":          {"G8", edit(func(f url.Values) { f.Set("mac", mac[:62]) })},
		"mac too long":           {"G8", edit(func(f url.Values) { f.Set("mac", mac+"00") })},
		"mac no hex":             {"G8", edit(func(f url.Values) { f.Set("mac", strings.Repeat("z", 64)) })},
		"mac empty":              {"G8", edit(func(f url.Values) { f.Set("mac", "") })},
		"data changed":           {"G8", edit(func(f url.Values) { f.Set("data", data+" ") })},
		"data no JSON":           {"G2", signed("ONO=1")},
		"data empty":             {"G2", signed("")},
		"data a list":            {"G2", signed("[" + data + "]")},
		"data a text":            {"G2", signed(`"x"`)},
		"something behind":       {"G2", signed(data + data)},
		"no members":             {"G2", signed("{}")},
		"an unknown member":      {"G2", end(`,"X":"1"}`)},
		"a mis-cased member":     {"G2", signed(strings.Replace(data, `"ONO"`, `"Ono"`, 1))},
		"a member twice":         {"G2", end(`,"MID":"` + c.mid + `"}`)},
		"a member twice, hidden": {"G2", end(`,"M\u0049D":"` + c.mid + `"}`)},
		"a number":               {"G2", signed(strings.Replace(data, `"MID":"`+c.mid+`"`, `"MID":`+c.mid, 1))},
		"null":                   {"G2", signed(strings.Replace(data, `"MID":"`+c.mid+`"`, `"MID":null`, 1))},
		"an object":              {"G2", signed(strings.Replace(data, `"MID":"`+c.mid+`"`, `"MID":{"a":"b"}`, 1))},
		"no MID":                 {"G2", signed(strings.Replace(data, `"MID":"`+c.mid+`",`, "", 1))},
		"MID too long":           {"G2", signed(strings.Replace(data, c.mid, "8089000000000001", 1))},
		"MID empty":              {"G2", signed(strings.Replace(data, c.mid, "", 1))},
		"MID of nobody":          {"GS", signed(strings.Replace(data, c.mid, "8089000016", 1))},
		"ONO empty":              {"G2", signed(strings.Replace(data, `"A2"`, `""`, 1))},
		"ONO of 21":              {"G2", signed(strings.Replace(data, `"A2"`, `"`+strings.Repeat("1", 21)+`"`, 1))},
		"ONO in small letters":   {"G2", signed(strings.Replace(data, `"A2"`, `"a2"`, 1))},
		"ONO with _":             {"G2", signed(strings.Replace(data, `"A2"`, `"A_2"`, 1))},
		"ONO with a line break":  {"G2", signed(strings.Replace(data, `"A2"`, `"A2\n"`, 1))},
		"ONO with a comma":       {"G2", signed(strings.Replace(data, `"A2"`, `"A2,RC=00"`, 1))},
	}
}

// refusedOrder says with which code an order was refused, and that the payer is told why.
func (c *city) refusedOrder(name string, p page, want string) {
	c.t.Helper()
	if p.status != http.StatusBadRequest || !strings.Contains(p.body, "（"+want+"）") || p.location != "" {
		c.t.Errorf("%s: %d %q, want %s: %s", name, p.status, p.location, want, problem(p.body))
	}
}

func problem(body string) string {
	_, body, _ = strings.Cut(body, `id="problem">`)
	body, _, _ = strings.Cut(body, "<")
	return body
}

func TestSpoiledOrders(t *testing.T) {
	c := newCity(t)
	data := c.order("A2")
	for name, r := range spoiled(c, data) {
		c.refusedOrder(name, c.send(http.MethodPost, pagePC, formKind, r[1]), r[0])
	}
	with := func(old, new string) string {
		t.Helper()
		if !strings.Contains(data, old) {
			t.Fatal(old)
		}
		return strings.Replace(data, old, new, 1)
	}
	const parts = `"EC000002","IC":`
	for name, r := range map[string][2]string{
		"TID unknown":             {"G2", with("EC000001", "EC000003")},
		"TID missing":             {"G2", with(`,"TID":"EC000001"`, "")},
		"TA missing":              {"G2", with(`"TA":"1302",`, "")},
		"TA zero":                 {"G2", with(`"1302"`, `"0"`)},
		"TA with zeros in front":  {"G2", with(`"1302"`, `"01302"`)},
		"TA with decimals":        {"G2", with(`"1302"`, `"1302.00"`)},
		"TA negative":             {"G2", with(`"1302"`, `"-1302"`)},
		"TA signed":               {"G2", with(`"1302"`, `"+1302"`)},
		"TA of 11 digits":         {"G2", with(`"1302"`, `"13020000000"`)},
		"TA in other digits":      {"G2", with(`"1302"`, `"１３０２"`)},
		"TA a number":             {"G2", with(`"1302"`, `1302`)},
		"U missing":               {"G2", with(`"U":"`+returnURL+`",`, "")},
		"U of 61":                 {"G2", with(returnURL, returnURL+strings.Repeat("a", 61-len(returnURL)))},
		"U with ?":                {"G2", with(returnURL, returnURL+"?a=1")},
		"U with &":                {"G2", with(returnURL, returnURL+"&a=1")},
		"U with #":                {"G2", with(returnURL, returnURL+"#a")},
		"U with a space":          {"G2", with(returnURL, returnURL+" ")},
		"U of a script":           {"G2", with(returnURL, "javascript:alert(1)")},
		"U without a host":        {"G2", with(returnURL, "https:///r/1")},
		"U with a name":           {"G2", with(returnURL, "https://a@pay.example/")},
		"U with a broken escape":  {"G2", with(returnURL, "https://pay.example/%zz")},
		"BPF small":               {"G2", with(`"TA"`, `"BPF":"y","TA"`)},
		"BPF empty":               {"G2", with(`"TA"`, `"BPF":"","TA"`)},
		"IC without TID":          {"G2", with(`"TA"`, `"IC":"0100103","TA"`)},
		"TID without IC":          {"G2", with("EC000001", "EC000002")},
		"IC short":                {"G2", with(`"EC000001"`, parts+`"010010"`)},
		"IC unknown":              {"L1", with(`"EC000001"`, parts+`"0100112"`)},
		"instalments with points": {"GP", with(`"EC000001"`, parts+`"0100103","BPF":"Y"`)},
	} {
		c.refusedOrder(name, c.post(pagePC, c.form(r[1])), r[0])
	}
	good := c.form(data).Encode()
	c.refusedOrder("query string", c.send(http.MethodPost, pagePC+"?a=1", formKind, good), "G2")
	c.refusedOrder("other type", c.send(http.MethodPost, pagePC, "text/plain", good), "G2")
	c.refusedOrder("no type", c.send(http.MethodPost, pagePC, "", good), "G2")
	c.refusedOrder("large", c.send(http.MethodPost, pagePC, formKind, good+strings.Repeat("&", 9000)), "G2")
	if p := c.get(pagePC + "?" + good); p.status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", p.status)
	}
	if n := len(c.bank.Desk.Books()); n != 0 {
		t.Errorf("%d payments were opened", n)
	}
	// What is unusual but allowed: the number is as good as new after all those refusals.
	f := c.form(with(returnURL, returnURL+strings.Repeat("a", 60-len(returnURL))))
	f.Set("mac", strings.ToUpper(f.Get("mac")))
	if p := c.send(http.MethodPost, pagePC, formKind+"; charset=UTF-8", f.Encode()); p.status != http.StatusSeeOther {
		t.Errorf("%d %s", p.status, problem(p.body))
	}
	for name, data := range map[string]string{
		"escaped slashes": strings.ReplaceAll(c.order("A4"), "/", `\/`),
		"another order":   `{"MID":"` + c.mid + `","TID":"EC000001","ONO":"A6","TA":"1","U":"http://127.0.0.1:8080/r/1"}`,
		"the most":        strings.Replace(c.order(strings.Repeat("Z", 20)), "1302", "9999999999", 1),
	} {
		if p := c.post(pageMobile, c.form(data)); p.status != http.StatusSeeOther {
			t.Errorf("%s: %d %s", name, p.status, problem(p.body))
		}
	}
}

func TestSpoiledCalls(t *testing.T) {
	c := newCity(t)
	c.pay(c.visit(c.order("A2")), "credit_card")
	for _, path := range []string{queryPath, cancelPath} {
		for name, r := range spoiled(c, c.reference("A2")) {
			got := c.read(c.send(http.MethodPost, path, formKind, r[1]))
			if got.code != r[0] || len(got.txn) != 3 || (got.txn["MID"] != "") != (r[0] == "GS") {
				t.Errorf("%s %s: %+v, want %s", path, name, got, r[0])
			}
		}
		good := c.form(c.reference("A2")).Encode()
		for name, p := range map[string]page{
			"query string":      c.send(http.MethodPost, path+"?a=1", formKind, good),
			"other type":        c.send(http.MethodPost, path, "application/json", good),
			"members of orders": c.post(path, c.form(c.order("A2"))),
		} {
			if got := c.read(p); got.code != "G2" {
				t.Errorf("%s %s: %+v", path, name, got)
			}
		}
		if p := c.send(http.MethodPost, path, formKind, strings.Repeat("a", 70_000)); p.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: large: %d", path, p.status)
		}
		if p := c.get(path + "?" + good); p.status != http.StatusMethodNotAllowed {
			t.Errorf("%s: GET: %d", path, p.status)
		}
	}
	if s := c.book("A2").State; s != desk.Paid {
		t.Errorf("a spoiled call made it %s", s)
	}
}
