package linepay_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestRequestRefused(t *testing.T) {
	s := newShop(t)
	for name, c := range map[string]struct{ from, to, want string }{
		"sum of packages":         {`"amount":40`, `"amount":41`, "1124"},
		"user fee":                {`"userFee":2`, `"userFee":3`, "1124"},
		"sum of products":         {`"quantity":2`, `"quantity":3`, "1124"},
		"overflow":                {`"quantity":2,"price":9`, `"quantity":999999999,"price":999999999`, "1124"},
		"ten digits":              {`"amount":40`, `"amount":4000000000`, "1124"},
		"decimals":                {`"amount":40`, `"amount":40.00`, "1124"},
		"exponent":                {`"amount":40`, `"amount":4e1`, "1124"},
		"nothing to pay":          {`"amount":40`, `"amount":0`, "1124"},
		"below zero":              {`"price":20`, `"price":-20`, "1124"},
		"no quantity":             {`"quantity":1`, `"quantity":0`, "1124"},
		"amount as text":          {`"amount":40`, `"amount":"40"`, "2101"},
		"yen":                     {`"TWD"`, `"JPY"`, "1178"},
		"small letters":           {`"TWD"`, `"twd"`, "1178"},
		"no currency":             {`"currency":"TWD",`, ``, "2101"},
		"no order":                {`"orderId":"PMA-1",`, ``, "2101"},
		"empty order":             {`"PMA-1"`, `""`, "2101"},
		"long order":              {`"PMA-1"`, `"` + strings.Repeat("費", 101) + `"`, "2101"},
		"control character":       {`"PMA-1"`, `"PMA\n1"`, "2101"},
		"order as number":         {`"PMA-1"`, `1`, "2101"},
		"mis-cased":               {`"orderId"`, `"orderID"`, "2101"},
		"unknown":                 {`{"amount":40`, `{"x":1,"amount":40`, "2101"},
		"unknown inside":          {`{"id":"H1"`, `{"x":1,"id":"H1"`, "2101"},
		"repeated":                {`{"amount":40`, `{"amount":40,"amount":40`, "2101"},
		"repeated inside":         {`{"id":"H1"`, `{"id":"H1","id":"H1"`, "2101"},
		"null":                    {`"name":"停車費"`, `"name":null`, "2101"},
		"empty optional":          {`"name":"停車管理工程處"`, `"name":""`, "2101"},
		"no package id":           {`"id":"1",`, ``, "2101"},
		"packages as an object":   {`"packages":[`, `"packages":{},"x":[`, "2101"},
		"no product":              {`"products":[`, `"products":[],"x":[`, "2101"},
		"a product that is none":  {`"products":[`, `"products":[1,`, "2101"},
		"no confirmUrl":           {`"confirmUrl":"https://gateway.example/r/7Zk2?a=%31&b=2",`, ``, "2101"},
		"relative cancelUrl":      {`"https://gateway.example/c/7Zk2"`, `"/c/7Zk2"`, "2101"},
		"script as cancelUrl":     {`"https://gateway.example/c/7Zk2"`, `"javascript:alert(1)"`, "2101"},
		"no host":                 {`"https://gateway.example/c/7Zk2"`, `"https:///c"`, "2101"},
		"transactionId of theirs": {`?a=%31`, `?transactionId=1`, "2101"},
		"SERVER":                  {`"CLIENT"`, `"SERVER"`, "2101"},
		"NONE":                    {`"CLIENT"`, `"NONE"`, "2101"},
		"authorizing only":        {`"capture":true`, `"capture":false`, "2101"},
		"capture as text":         {`"capture":true`, `"capture":"true"`, "2101"},
		"preapproved":             {`"NORMAL"`, `"PREAPPROVED"`, "2101"},
		"locale":                  {`"zh_TW"`, `"zh-TW"`, "2101"},
		"shipping not in the sum": {`"options":{`, `"options":{"shipping":{"feeAmount":1},`, "1124"},
		"no object":               {wish, `[]`, "2101"},
		"nothing":                 {wish, ``, "2101"},
		"text behind":             {wish, wish + `x`, "2102"},
		"not UTF-8":               {`"PMA-1"`, "\"PMA\xff\"", "2102"},
	} {
		body := strings.Replace(wish, c.from, c.to, 1)
		if body == wish {
			t.Fatalf("%s: nothing was spoiled", name)
		}
		if a := s.call("POST", "/v3/payments/request", body); a.Code != c.want || len(a.Info) != 0 {
			t.Errorf("%s: %s, want %s", name, a.raw, c.want)
		}
	}
	if books := s.line.Desk.Books(); len(books) != 0 {
		t.Errorf("a refused request is in the books: %+v", books)
	}
	s.open(wish)
	s.want("1172", s.call("POST", "/v3/payments/request", wish))
	s.open(`{"amount":3,"currency":"TWD","orderId":"` + strings.Repeat("費", 100) + `","packages":[{"id":"1","amount":1,"products":[{"name":"a","quantity":1,"price":1}]},{"id":"2","amount":0,"products":[{"name":"b","quantity":1,"price":0}]}],"redirectUrls":{"confirmUrl":"http://a/","cancelUrl":"http://a/"},"options":{"shipping":{"feeAmount":2}}}`)
}

func TestHeadersRefused(t *testing.T) {
	s := newShop(t)
	const path, auth, nonce = "/v3/payments/request", "X-LINE-Authorization", "X-LINE-Authorization-Nonce"
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	used := s.prepare("POST", path, wish)
	if a, err := s.send(used); err != nil || a.Code != "0000" {
		t.Fatal(err, a.raw)
	}
	for name, c := range map[string]struct {
		want  string
		spoil func(*http.Request)
	}{
		"no signature":       {"1106", func(r *http.Request) { r.Header.Del(auth) }},
		"signature twice":    {"1106", func(r *http.Request) { r.Header.Add(auth, r.Header.Get(auth)) }},
		"empty signature":    {"1106", set(auth, "")},
		"short signature":    {"1106", func(r *http.Request) { r.Header.Set(auth, r.Header.Get(auth)[:40]) }},
		"not base64":         {"1106", set(auth, strings.Repeat("-", 44))},
		"another's":          {"1106", func(r *http.Request) { r.Header.Set(auth, s.sign("/v3/payments", wish, r.Header.Get(nonce))) }},
		"another body":       {"1106", func(r *http.Request) { r.Header.Set(auth, s.sign(path, wish+" ", r.Header.Get(nonce))) }},
		"another nonce":      {"1106", set(nonce, "11111111-0000-4000-8000-000000000001")},
		"no nonce":           {"1106", func(r *http.Request) { r.Header.Del(nonce) }},
		"nonce of no form":   {"1106", func(r *http.Request) { r.Header.Set(nonce, "a"); r.Header.Set(auth, s.sign(path, wish, "a")) }},
		"nonce used before":  {"1106", func(r *http.Request) { r.Header = used.Header }},
		"no channel":         {"1106", func(r *http.Request) { r.Header.Del("X-LINE-ChannelId") }},
		"unknown channel":    {"1104", set("X-LINE-ChannelId", "1234567890")},
		"channel secret":     {"1106", set("X-LINE-ChannelSecret", "of the old API")},
		"no content type":    {"1106", func(r *http.Request) { r.Header.Del("Content-Type") }},
		"form":               {"1106", set("Content-Type", "application/x-www-form-urlencoded")},
		"another charset":    {"1106", set("Content-Type", "application/json; charset=big5")},
		"query, not signed":  {"2101", func(r *http.Request) { r.URL.RawQuery = "a=1" }},
		"signature as query": {"1106", func(r *http.Request) { r.Header.Set(auth, s.sign(path, "", r.Header.Get(nonce))) }},
	} {
		req := s.prepare("POST", path, wish)
		c.spoil(req)
		if a, err := s.send(req); err != nil || a.Code != c.want {
			t.Errorf("%s: %v %s, want %s", name, err, a.raw, c.want)
		}
	}
	get := s.prepare("GET", "/v3/payments?orderId=PMA-1", "")
	get.URL.RawQuery = "orderId=PMA-2"
	if a, err := s.send(get); err != nil || a.Code != "1106" {
		t.Errorf("another query: %v %s", err, a.raw)
	}
	if a := s.call("GET", "/v3/payments?orderId=PMA-1", "{}"); a.Code != "2101" {
		t.Errorf("a GET with a body: %s", a.raw)
	}
	ok := s.prepare("GET", "/v3/payments?orderId=PMA-1", "")
	ok.Header.Set("Content-Type", "application/json; charset=UTF-8")
	ok.Header.Set("X-LINE-MerchantDeviceType", "POS")
	ok.Header.Set(nonce, "1764032640000")
	ok.Header.Set(auth, s.sign("/v3/payments", "orderId=PMA-1", "1764032640000"))
	if a, err := s.send(ok); err != nil || a.Code != "1150" {
		t.Errorf("optional headers, and a timestamp as nonce: %v %s", err, a.raw)
	}
	if a, err := s.send(s.prepare("POST", path, strings.Repeat(" ", 70_000))); err != nil || a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("large body: %v %d", err, a.status)
	}
	if len(s.line.Desk.Books()) != 1 {
		t.Error("a refused request is in the books")
	}
}
