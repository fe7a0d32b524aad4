package providers

import (
	"fmt"
	"testing"
)

// A cause never speaks for the error that wraps it: else a confirm whose outcome is unknown could be sent twice.
func TestKindOfOutermost(t *testing.T) {
	for _, kind := range []Kind{OutcomeUnknown, Declined, Untrusted} {
		err := fmt.Errorf("confirm: %w", &Error{Kind: kind, Err: &Error{Kind: Unavailable}})
		if got := KindOf(err); got != kind {
			t.Errorf("%s around unavailable reads as %s", kind, got)
		}
	}
	if got := KindOf(fmt.Errorf("bare: %w", RateLimited)); got != RateLimited {
		t.Errorf("a bare kind reads as %s", got)
	}
}
