package orders

import "fmt"

// AttemptState is the state of an attempt. The numbers are ranks: they are stored,
// they only rise, and their order is the rule.
type AttemptState int

// The states of an attempt. Cancelled, expired and failed are soft: they may still
// rise to paid.
const (
	AttemptIntent    AttemptState = 0  // numbered; nothing has left us, or we do not know that it arrived
	AttemptPending   AttemptState = 10 // the citizen may be paying
	AttemptCancelled AttemptState = 20
	AttemptExpired   AttemptState = 21
	AttemptFailed    AttemptState = 22
	AttemptPaid      AttemptState = 30
)

// String is the state's word in the API.
func (s AttemptState) String() string {
	switch s {
	case AttemptIntent:
		return "intent"
	case AttemptPending:
		return "pending"
	case AttemptCancelled:
		return "cancelled"
	case AttemptExpired:
		return "expired"
	case AttemptFailed:
		return "failed"
	case AttemptPaid:
		return "paid"
	}
	return fmt.Sprintf("attempt state %d", int(s))
}

// Ended says that the attempt is not expected to move any more, though a soft end may.
func (s AttemptState) Ended() bool { return s >= AttemptCancelled }

// softEnd says that the attempt ended without money.
func (s AttemptState) softEnd() bool { return s.Ended() && s < AttemptPaid }

// OrderState is the state of an order, stored as its rank, which only rises.
type OrderState int

// The states of an order. Expired and cancelled are soft: they may still rise to paid.
const (
	OrderOpen              OrderState = 0
	OrderExpired           OrderState = 20
	OrderCancelled         OrderState = 21
	OrderPaid              OrderState = 30
	OrderPartiallyRefunded OrderState = 40
	OrderRefunded          OrderState = 50
)

// String is the state's word in the API.
func (s OrderState) String() string {
	switch s {
	case OrderOpen:
		return "open"
	case OrderExpired:
		return "expired"
	case OrderCancelled:
		return "cancelled"
	case OrderPaid:
		return "paid"
	case OrderPartiallyRefunded:
		return "partially_refunded"
	case OrderRefunded:
		return "refunded"
	}
	return fmt.Sprintf("order state %d", int(s))
}
