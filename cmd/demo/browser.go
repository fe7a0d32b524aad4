package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"golang.org/x/net/html"
)

// browser walks pages over HTTP as a citizen's browser does: it keeps cookies, follows
// redirects and submits forms with what they hold. It runs no scripts.
type browser struct {
	client http.Client
	page   *html.Node
	at     *url.URL
}

func newBrowser() (*browser, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("demo: cookies: %w", err)
	}
	return &browser{client: http.Client{Jar: jar}}, nil
}

// visit goes to an address.
func (b *browser) visit(ctx context.Context, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return b.load(req)
}

// follow clicks a link by the id of its element.
func (b *browser) follow(ctx context.Context, id string) error {
	a := find(b.page, byID(id))
	if a == nil {
		return b.missing("link #" + id)
	}
	to, err := b.at.Parse(attr(a, "href"))
	if err != nil {
		return fmt.Errorf("demo: link #%s: %w", id, err)
	}
	return b.visit(ctx, to.String())
}

// submit sends the form that holds the button with an id, with the fields filled in over what the
// form holds. An empty id means the only form of the page.
func (b *browser) submit(ctx context.Context, button string, fields url.Values) error {
	form, clicked := find(b.page, isTag("form")), (*html.Node)(nil)
	if button != "" {
		if clicked = find(b.page, byID(button)); clicked == nil {
			return b.missing("button #" + button)
		}
		for form = clicked; form != nil && !isTag("form")(form); form = form.Parent {
		}
	}
	if form == nil {
		return b.missing("form")
	}
	values := formValues(form)
	if clicked != nil && attr(clicked, "name") != "" {
		values.Set(attr(clicked, "name"), attr(clicked, "value"))
	}
	for name, v := range fields {
		values[name] = v
	}
	action, err := b.at.Parse(attr(form, "action"))
	if err != nil {
		return fmt.Errorf("demo: form action: %w", err)
	}
	if strings.EqualFold(attr(form, "method"), "post") {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, action.String(), strings.NewReader(values.Encode()))
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return b.load(req)
	}
	action.RawQuery = values.Encode()
	return b.visit(ctx, action.String())
}

func (b *browser) load(req *http.Request) error {
	resp, err := b.client.Do(req)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return fmt.Errorf("demo: %s: %w", resp.Request.URL.Path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("demo: %s answered %s: %.300s", resp.Request.URL.Path, resp.Status, body)
	}
	b.at = resp.Request.URL
	if b.page, err = html.Parse(strings.NewReader(string(body))); err != nil {
		return fmt.Errorf("demo: %s: %w", b.at.Path, err)
	}
	return nil
}

// get reads an address that is no page, such as the text of a captcha.
func (b *browser) get(ctx context.Context, address string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err != nil {
		return "", fmt.Errorf("demo: %s: %w", req.URL.Path, err)
	}
	return string(body), nil
}

func (b *browser) missing(what string) error {
	return fmt.Errorf("demo: the page %s has no %s; it says: %.300s", b.at.Path, what, strings.Join(strings.Fields(text(b.page)), " "))
}

// attr of the element with an id.
func (b *browser) attr(id, name string) string {
	if n := find(b.page, byID(id)); n != nil {
		return attr(n, name)
	}
	return ""
}

func formValues(form *html.Node) url.Values {
	values := url.Values{}
	each(form, func(n *html.Node) {
		name, kind := attr(n, "name"), attr(n, "type")
		if !isTag("input")(n) || name == "" || kind == "submit" || kind == "button" {
			return
		}
		if (kind == "checkbox" || kind == "radio") && !has(n, "checked") {
			return
		}
		values.Add(name, attr(n, "value"))
	})
	return values
}

func each(n *html.Node, visit func(*html.Node)) {
	visit(n)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		each(c, visit)
	}
}

func find(n *html.Node, want func(*html.Node) bool) *html.Node {
	if n == nil || want(n) {
		return n
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		if found := find(c, want); found != nil {
			return found
		}
	}
	return nil
}

func byID(id string) func(*html.Node) bool {
	return func(n *html.Node) bool { return n.Type == html.ElementNode && attr(n, "id") == id }
}

func isTag(tag string) func(*html.Node) bool {
	return func(n *html.Node) bool { return n.Type == html.ElementNode && n.Data == tag }
}

func has(n *html.Node, name string) bool {
	for _, a := range n.Attr {
		if a.Key == name {
			return true
		}
	}
	return false
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	each(n, func(n *html.Node) {
		if n.Type == html.TextNode && n.Parent != nil && n.Parent.Data != "style" && n.Parent.Data != "script" {
			b.WriteString(n.Data + " ")
		}
	})
	return b.String()
}
