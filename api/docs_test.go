package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The page names every field of a new order in the order of the description, with what limits it.
func TestDocsPageNamesTheFieldsOfAnOrder(t *testing.T) {
	d, err := parseDescription()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range d.page().Operations {
		if op.Method != http.MethodPost || op.Path != "/v1/orders" {
			if len(op.Fields) > 0 {
				t.Errorf("%s %s has no body, and fields %v", op.Method, op.Path, op.Fields)
			}
			continue
		}
		for _, f := range op.Fields {
			line := f.Name + ": " + f.Limits
			if f.Required {
				line = "*" + line
			}
			got = append(got, strings.Join(append([]string{line}, f.Patterns...), " "))
		}
	}
	want := []string{
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
	}
	if !slices.Equal(got, want) {
		t.Errorf("fields\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
