package policy

import (
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
