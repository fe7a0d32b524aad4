package policy

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Receipt says why an order went where it went: every account that was looked at, kept or kept out, and by which rule. It is
// stored with the attempt.
type Receipt struct {
	At         time.Time    `json:"at"`
	OrderNo    string       `json:"order_no,omitempty"`
	Wishes     []string     `json:"wishes,omitempty"` // providers
	Route      string       `json:"route,omitempty"`
	Considered []Considered `json:"considered"`
}

// Considered is one account that was looked at.
type Considered struct {
	Account  string    `json:"account"`
	Provider string    `json:"provider"`
	Kept     bool      `json:"kept"`
	Rank     int       `json:"rank,omitempty"` // of a kept one, from 1
	Rule     string    `json:"rule,omitempty"` // by which it was kept out
	Detail   string    `json:"detail,omitempty"`
	Until    time.Time `json:"until,omitzero"`
}

// ParseReceipt reads a receipt strictly, as json.Marshal wrote it: no unknown names, none twice or in another case, nothing
// after it; a rule for those that were kept out and a rank for the others, from 1 without a gap. A receipt of a newer
// program may have names that are unknown here: show its text as it is.
func ParseReceipt(text []byte) (Receipt, error) {
	var r Receipt
	if err := decode(text, &r); err != nil {
		return Receipt{}, fmt.Errorf("policy: receipt: %w", err)
	}
	if r.At.IsZero() {
		return Receipt{}, errors.New("policy: receipt: at: is missing")
	}
	ranks := map[int]bool{}
	for i, c := range r.Considered {
		what := ""
		switch {
		case c.Account == "" || c.Provider == "":
			what = "account and provider are required"
		case c.Kept != (c.Rule == ""):
			what = "rule: want one for an account that was kept out, and only then"
		case c.Kept != (c.Rank > 0) || c.Rank < 0:
			what = "rank: want one for an account that was kept, and only then"
		case ranks[c.Rank]:
			what = "rank: stands here twice"
		}
		if what != "" {
			return Receipt{}, fmt.Errorf("policy: receipt: considered[%d].%s", i, what)
		}
		if c.Kept {
			ranks[c.Rank] = true
		}
	}
	for rank := range ranks {
		if rank > len(ranks) {
			return Receipt{}, fmt.Errorf("policy: receipt: considered: rank %d of %d", rank, len(ranks))
		}
	}
	return r, nil
}

// String is the receipt in one line for a timeline.
func (r *Receipt) String() string {
	parts := make([]string, 0, len(r.Considered))
	for rank := 1; rank <= len(r.Considered); rank++ {
		for _, c := range r.Considered {
			if c.Kept && c.Rank == rank {
				parts = append(parts, strings.TrimSuffix(fmt.Sprintf("%d. %s, %s", rank, c.Account, c.Detail), ", "))
			}
		}
	}
	for _, c := range r.Considered {
		if !c.Kept {
			parts = append(parts, "not "+c.Account+" ("+c.why()+")")
		}
	}
	return r.by() + ": " + strings.Join(parts, "; ")
}

// Text is the receipt for people, one account a line.
func (r *Receipt) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n", r.At.In(taipei).Format(time.RFC3339), r.by())
	for _, c := range r.Considered {
		switch {
		case c.Kept:
			fmt.Fprintf(&b, "  %2d  %-24s %-16s %s\n", c.Rank, c.Account, c.Provider, c.Detail)
		default:
			fmt.Fprintf(&b, "   -  %-24s %-16s %s\n", c.Account, c.Provider, c.why())
		}
	}
	return b.String()
}

func (r *Receipt) by() string {
	by := "by display order"
	if r.Route != "" {
		by = "by route " + r.Route
	}
	if len(r.Wishes) > 0 {
		by = "wished " + strings.Join(r.Wishes, ", ") + ", " + by
	}
	return by
}

func (c *Considered) why() string {
	why := c.Rule
	if c.Detail != "" {
		why += " " + c.Detail
	}
	if !c.Until.IsZero() {
		why += " until " + c.Until.In(taipei).Format(time.RFC3339)
	}
	return why
}
