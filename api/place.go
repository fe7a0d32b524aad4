package api

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"pay.taipei/gateway/money"
	"pay.taipei/gateway/orders"
)

// Limits of a command; openapi.yaml states them to clients.
const (
	maxLines       = 100
	minExpiry      = time.Minute
	maxExpiry      = 30 * time.Minute
	defaultExpiry  = "10m"
	settlementOnly = "immediate"

	// placeLimit ends a request that the router did not end itself, before the 30 s lease of its key does.
	placeLimit = 25 * time.Second
)

var (
	referenceForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	memberForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	wordForm      = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)
	billNoForm    = regexp.MustCompile(`^[0-9A-Z-]{9,20}$`)
	quantityForm  = regexp.MustCompile(`^[1-9][0-9]{0,2}$`)
	expiryForm    = regexp.MustCompile(`^([1-9][0-9]?m)?([1-9][0-9]{0,3}s)?$`)
)

func (s *Server) placeOrder(r *request) (response, error) {
	tree, err := r.tree(false)
	if err != nil {
		return response{}, err
	}
	found := &report{}
	cmd := s.readCommand(tree, r.caller, found)
	if len(found.malformed) > 0 {
		return response{}, newProblem(problemMalformed, found.malformed...)
	}
	if cmd.Merchant != "" && !r.caller.mayOrderFor(cmd.Merchant) {
		return response{}, newProblem(problemMerchant, fieldError{"/merchant", codeNotAllowed})
	}
	key, err := idempotencyKey(r.http.Header)
	if err != nil {
		return response{}, err
	}
	if len(found.invalid) > 0 {
		return response{}, newProblem(problemField, found.invalid...)
	}
	cmd.Key = r.keyRef("", key)
	return s.place(r, cmd)
}

func (s *Server) place(r *request, cmd orders.Command) (response, error) {
	ctx, cancel := context.WithTimeout(r.http.Context(), placeLimit)
	defer cancel()
	answer, err := s.deps.Orders.Place(ctx, cmd, answers{s.deps.CheckoutURL})
	if err != nil {
		return response{}, problemOf(err, r.caller.id, cmd.Lines)
	}
	r.orderNo = textIn(answer.Body, "order_no")
	return replyWith(answer), nil
}

// replyWith sends what is stored under the key, as it is. What was made before is not made again: a replay says 200.
func replyWith(a orders.Answer) response {
	reply := response{status: a.Status, body: a.Body, mediaType: mediaJSON, replayed: a.Replayed}
	if a.Status >= http.StatusBadRequest {
		reply.mediaType = mediaProblem
	}
	if a.Replayed && a.Status == http.StatusCreated {
		reply.status = http.StatusOK
	}
	return reply
}

// readCommand reads the whole command and reports everything that is wrong with it. A command of which anything was
// reported is incomplete.
func (s *Server) readCommand(tree node, by *caller, found *report) orders.Command {
	o, ok := found.object(tree, "", "client_reference", "merchant", "payer", "provider", "methods", "amount", "settlement", "lines", "return_url", "expires_in", "supersede")
	if !ok {
		return orders.Command{}
	}
	cmd := orders.Command{
		ClientReference: o.text("client_reference", codeFormat, referenceForm.MatchString),
		Merchant:        o.text("merchant", codeFormat, func(s string) bool { return s != "" }),
		Providers:       readProviders(o),
		Methods:         o.words("methods", wordForm.MatchString),
		Settlement:      o.optional("settlement", settlementOnly),
		ReturnURL:       o.text("return_url", codeNotAllowed, func(s string) bool { return checkReturnURL(s, by.prefixes) == nil }),
		ExpiresIn:       readExpiry(o),
		Supersede:       o.flag("supersede"),
	}
	if payer, ok := o.child("payer", "member_id"); ok {
		cmd.PayerMemberID = payer.text("member_id", codeFormat, memberForm.MatchString)
	}
	if cmd.Settlement != settlementOnly {
		found.field("/settlement", codeUnsupported)
	}
	var known bool
	cmd.Amount, known = s.readTotal(o)
	cmd.Lines = s.readLines(o, cmd.Amount, known)
	return cmd
}

// readProviders reads a provider, a list in order of wish, or none: then routes decide.
func readProviders(o object) []string {
	n, ok := o.find("provider")
	if !ok || n.kind == kindArray {
		return o.words("provider", wordForm.MatchString)
	}
	return []string{o.text("provider", codeFormat, wordForm.MatchString)}
}

// readExpiry reads whole minutes and seconds, such as 10m, 90s or 1m30s.
func readExpiry(o object) time.Duration {
	text := o.optional("expires_in", defaultExpiry)
	d, err := time.ParseDuration(text)
	switch {
	case err != nil || !expiryForm.MatchString(text):
		o.r.field("/expires_in", codeFormat)
	case d < minExpiry || d > maxExpiry:
		o.r.field("/expires_in", codeRange)
	}
	return d
}

// readTotal reads the amount of an order, or a part of it to pay back: something, and no more than an order may have.
func (s *Server) readTotal(o object) (money.Amount, bool) {
	child, ok := o.child("amount", "value", "currency")
	if !ok {
		return money.Amount{}, false
	}
	currency := child.text("currency", codeUnsupported, func(c string) bool { return c == string(s.config.Currency) })
	amount, ok := s.readAmount(child, "value")
	max := s.config.MaxOrder
	if ok && (amount.IsZero() || (!max.IsZero() && amount.Units() > max.Units())) {
		o.r.field("/amount/value", codeRange)
		ok = false
	}
	return amount, ok && currency != ""
}

// readAmount reads an amount in major units from a JSON string.
func (s *Server) readAmount(o object, name string) (money.Amount, bool) {
	n, ok := o.required(name, kindString)
	if !ok {
		return money.Amount{}, false
	}
	amount, err := money.Parse(n.text, s.config.Currency)
	if err != nil {
		o.r.field(o.at+"/"+name, codeFormat)
	}
	return amount, err == nil
}

// readLines reads the bill lines. known says whether total can be compared with their sum.
func (s *Server) readLines(o object, total money.Amount, known bool) []orders.BillLine {
	n, ok := o.required("lines", kindArray)
	switch {
	case !ok:
		return nil
	case len(n.items) == 0:
		o.r.field("/lines", codeTooFew)
		return nil
	case len(n.items) > maxLines:
		o.r.field("/lines", codeTooMany)
		return nil
	}
	lines := make([]orders.BillLine, 0, len(n.items))
	sum, exact := money.Zero(s.config.Currency), true
	for i, item := range n.items {
		at := "/lines/" + strconv.Itoa(i)
		line, ok := s.readLine(o.r, item, at)
		if line.BillNo != "" && slices.ContainsFunc(lines, func(l orders.BillLine) bool { return l.BillNo == line.BillNo }) {
			o.r.field(at+"/bill_no", codeDuplicate)
		}
		lines = append(lines, line)
		if exact = exact && ok; exact {
			var err error
			if sum, err = sum.Add(line.Subtotal); err != nil {
				exact = false
				o.r.field("/amount/value", codeMismatch)
			}
		}
	}
	if known && exact && sum != total {
		o.r.field("/amount/value", codeMismatch)
	}
	return lines
}

// readLine reads one bill line; ok says whether its subtotal is good to add up.
func (s *Server) readLine(r *report, n node, at string) (line orders.BillLine, ok bool) {
	o, ok := r.object(n, at, "bill_no", "name", "quantity", "unit_price", "subtotal")
	if !ok {
		return line, false
	}
	line.BillNo = o.text("bill_no", codeFormat, billNoForm.MatchString)
	if name, ok := o.required("name", kindString); ok {
		if code := textProblem(name.text, maxName); code != "" {
			r.field(at+"/name", code)
		}
		line.Name = name.text
	}
	quantity, counted := o.required("quantity", kindNumber)
	if counted && !quantityForm.MatchString(quantity.text) {
		r.field(at+"/quantity", codeRange)
		counted = false
	}
	var priced, totalled bool
	line.UnitPrice, priced = s.readAmount(o, "unit_price")
	line.Subtotal, totalled = s.readAmount(o, "subtotal")
	if !counted || !priced || !totalled {
		return line, false
	}
	line.Quantity, _ = strconv.ParseInt(quantity.text, 10, 64) // at most three digits
	if product, err := line.UnitPrice.Times(line.Quantity); err != nil || product != line.Subtotal {
		r.field(at+"/subtotal", codeMismatch)
		return line, false
	}
	return line, true
}
