package providers_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"pay.taipei/gateway/providers"
)

var kinds = map[providers.Kind]string{
	providers.OutcomeUnknown: "outcome_unknown",
	providers.Unavailable:    "unavailable",
	providers.RateLimited:    "rate_limited",
	providers.Auth:           "auth",
	providers.Invalid:        "invalid",
	providers.Declined:       "declined",
	providers.Duplicate:      "duplicate",
	providers.NotFound:       "not_found",
	providers.Untrusted:      "untrusted",
}

func TestKindOf(t *testing.T) {
	for kind, word := range kinds {
		t.Run(word, func(t *testing.T) {
			if kind.String() != word {
				t.Errorf("String = %q", kind.String())
			}
			bare := &providers.Error{Provider: "bravobank", Op: providers.OpQuery, Kind: kind}
			caused := &providers.Error{Provider: "bravobank", Op: providers.OpQuery, Kind: kind, Err: io.ErrUnexpectedEOF}
			for name, err := range map[string]error{
				"bare":    bare,
				"caused":  caused,
				"wrapped": fmt.Errorf("router: %w", fmt.Errorf("query: %w", caused)),
				"joined":  errors.Join(context.DeadlineExceeded, caused),
			} {
				if got := providers.KindOf(err); got != kind {
					t.Errorf("%s: KindOf = %v", name, got)
				}
				for other := range kinds {
					if errors.Is(err, other) != (other == kind) {
						t.Errorf("%s: errors.Is(%v) = %v", name, other, errors.Is(err, other))
					}
				}
			}
		})
	}
}

// A cause never speaks for the error that wraps it: else a confirm whose outcome is
// unknown could be sent twice.
func TestKindOfOutermost(t *testing.T) {
	for _, kind := range []providers.Kind{providers.OutcomeUnknown, providers.Declined, providers.Untrusted} {
		err := fmt.Errorf("confirm: %w", &providers.Error{Kind: kind, Err: &providers.Error{Kind: providers.Unavailable}})
		if got := providers.KindOf(err); got != kind {
			t.Errorf("%s around unavailable reads as %s", kind, got)
		}
	}
	if got := providers.KindOf(fmt.Errorf("bare: %w", providers.RateLimited)); got != providers.RateLimited {
		t.Errorf("a bare kind reads as %s", got)
	}
}

// What nobody classified may have been carried out.
func TestKindOfIsCautious(t *testing.T) {
	var zero providers.Kind
	if zero != providers.OutcomeUnknown {
		t.Fatalf("the zero value is %v", zero)
	}
	for name, err := range map[string]error{
		"zero error":   &providers.Error{},
		"foreign":      errors.New("boom"),
		"deadline":     context.DeadlineExceeded,
		"nil":          nil,
		"unknown kind": &providers.Error{Kind: providers.Kind(99)},
	} {
		if got := providers.KindOf(err); got != providers.OutcomeUnknown {
			t.Errorf("%s: KindOf = %v, want outcome_unknown", name, got)
		}
	}
	if got := providers.Kind(99).String(); got != "outcome_unknown" {
		t.Errorf("an unknown kind reads %q", got)
	}
}

func TestErrorText(t *testing.T) {
	for want, err := range map[string]*providers.Error{
		"bravobank: create: declined": {Provider: "bravobank", Op: providers.OpCreate, Kind: providers.Declined},
		`bravobank: query: not_found (code "E404")`: {
			Provider: "bravobank", Op: providers.OpQuery, Kind: providers.NotFound, Code: "E404",
		},
		`linepay: confirm: outcome_unknown (code "1\n2"): unexpected EOF`: {
			Provider: "linepay", Op: providers.OpConfirm, Code: "1\n2", Err: io.ErrUnexpectedEOF,
		},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestErrorGivesItsCause(t *testing.T) {
	err := fmt.Errorf("place: %w", &providers.Error{Provider: "bravobank", Code: "X1", Err: io.ErrUnexpectedEOF})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is hidden")
	}
	var e *providers.Error
	if !errors.As(err, &e) || e.Code != "X1" {
		t.Error("the error itself is hidden")
	}
}

func TestZeroValuesAreCautious(t *testing.T) {
	if (providers.Snapshot{}).State != providers.Pending {
		t.Error("an empty snapshot is not pending")
	}
	if providers.State(99).String() != "pending" {
		t.Error("an unknown state is not pending")
	}
	var v providers.Verdict
	if v != providers.RetryLater {
		t.Error("an empty verdict acknowledges")
	}
	var a providers.AnswerAuth
	if a != providers.AnswerUnauthenticated {
		t.Error("an empty answer authentication is believed")
	}
	var r providers.Reopen
	if r != providers.ReopenNewAttempt {
		t.Error("an undeclared provider's number is used twice")
	}
	var s providers.RefundState
	if s != providers.RefundPending {
		t.Error("an empty refund state is decided")
	}
}
