package api

import (
	"slices"
	"strings"
	"testing"
)

// The page names every field of every body in the order of the description, with what limits it.
func TestDocsPageNamesTheFieldsOfBodies(t *testing.T) {
	d, err := parseDescription()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, op := range d.page().Operations {
		name := op.Method + " " + op.Path
		for _, f := range op.Fields {
			line := f.Name + ": " + f.Limits
			if f.Required {
				line = "*" + line
			}
			got[name] = append(got[name], strings.Join(append([]string{line}, f.Patterns...), " "))
		}
		for _, p := range op.Parameters {
			if p.Name == "" || p.Description == "" {
				t.Errorf("%s: a parameter is not told: %+v", name, p)
			}
		}
	}
	attempt := []string{
		"provider: string, or array, 1 to 16 entries ^[a-z][a-z0-9_]{0,31}$",
		"methods: array, 1 to 16 entries ^[a-z][a-z0-9_]{0,31}$",
	}
	refund := []string{
		"amount: object",
		"*amount.value: string ^(0|[1-9][0-9]{0,11})$",
		"*amount.currency: string, only TWD",
		"surplus_id: string ^[A-Z0-9]{0,2}20[0-9]{16}-[0-9A-Z-]{9,20}$",
		"*reason: string, 1 to 200 characters",
	}
	order := []string{
		"*client_reference: string ^[A-Za-z0-9_-]{1,64}$",
		"*merchant: string, 1 or more characters",
		"*payer.member_id: string ^[A-Za-z0-9_-]{1,64}$",
		"provider: string, or array, 1 to 16 entries ^[a-z][a-z0-9_]{0,31}$",
		"methods: array, 1 to 16 entries ^[a-z][a-z0-9_]{0,31}$",
		"*amount.value: string ^(0|[1-9][0-9]{0,11})$",
		"*amount.currency: string, only TWD",
		"settlement: string, only immediate, default immediate",
		"*lines: array, 1 to 100 entries",
		"*lines[].bill_no: string ^[0-9A-Z-]{9,20}$",
		"*lines[].name: string, 1 to 60 characters",
		"*lines[].quantity: integer, 1 to 999",
		"*lines[].unit_price: string ^(0|[1-9][0-9]{0,11})$",
		"*lines[].subtotal: string ^(0|[1-9][0-9]{0,11})$",
		"*return_url: string, at most 1024 characters",
		"expires_in: string, default 10m ^([1-9][0-9]?m)?([1-9][0-9]{0,3}s)?$",
		"supersede: boolean, default false",
	}
	want := map[string][]string{"POST /v1/orders": order, "POST /v1/orders/{no}/attempts": attempt, "POST /v1/orders/{no}/refunds": refund}
	for _, r := range Routes() {
		if name := r.Method + " " + r.Path; !slices.Equal(got[name], want[name]) {
			t.Errorf("%s: fields\n%s\nwant\n%s", name, strings.Join(got[name], "\n"), strings.Join(want[name], "\n"))
		}
	}
}
