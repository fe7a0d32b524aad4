package bravobank

import "pay.taipei/gateway/providers"

// stateOf is section 4. A status that the document does not list is pending and not
// known: never paid, never failed.
func stateOf(status string) (s providers.State, known bool) {
	switch status {
	case "created", "authorising":
		return providers.Pending, true
	case "paid":
		return providers.Paid, true
	case "failed":
		return providers.Failed, true
	case "cancelled":
		return providers.Cancelled, true
	case "expired":
		return providers.Expired, true
	}
	return providers.Pending, false
}

// refundStateOf is section 8.
func refundStateOf(status string) (s providers.RefundState, known bool) {
	switch status {
	case "done":
		return providers.RefundDone, true
	case "pending":
		return providers.RefundPending, true
	case "failed":
		return providers.RefundFailed, true
	}
	return providers.RefundPending, false
}

// kindOf is section 9. A code that the document does not list may mean anything.
func kindOf(code string) providers.Kind {
	switch code {
	case "malformed":
		return providers.Invalid
	case "unknown_key", "bad_signature", "stale", "merchant_not_allowed":
		return providers.Auth
	case "not_found":
		return providers.NotFound
	case "refund_id_reused":
		return providers.Duplicate
	case "not_refundable", "refund_exceeds_paid", "refund_window_over":
		return providers.Declined
	case "rate_limited":
		return providers.RateLimited
	case "unavailable":
		return providers.Unavailable
	case "nonce_reused", "internal":
		return providers.OutcomeUnknown
	}
	return providers.OutcomeUnknown
}
