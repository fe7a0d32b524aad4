package bravobank

import (
	"net/http"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// Faults is how the bank misbehaves; the zero value is an honest bank.
type Faults = desk.Faults

// Duration is written as text in Faults, such as "30s".
type Duration = desk.Duration

// SetFaults replaces the faults; the zero value clears them.
func (b *Bank) SetFaults(f Faults) { b.faults.Set(f) }

func (b *Bank) current() Faults { return b.faults.Current() }

func (b *Bank) showPanel(v *visit) {
	v.Faults = b.faults.Rows()
	b.show(v, http.StatusOK, "faults.html")
}

// setFaults takes the panel's form, or "off" alone, which ends everything.
func (b *Bank) setFaults(v *visit) {
	status, problem, rows := b.faults.Post(v.r)
	if status == http.StatusSeeOther {
		http.Redirect(v.w, v.r, v.r.URL.RequestURI(), status)
		return
	}
	v.Problem, v.Faults = problem, rows
	b.show(v, status, "faults.html")
}
