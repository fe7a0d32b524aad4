// Package orders holds the rules of an order and its attempts, and the Store that
// keeps them.
//
// An order is one checkout: bill lines of one merchant. An attempt is one try to
// pay it at one account. Both have a state that only rises in a fixed order of
// ranks, so that whatever the order or repetition of the evidence, the end is the
// same. Evidence is everything that was ever said of an attempt; Fold is the one
// pure function by which evidence moves an order. Money that a bill did not need
// becomes a surplus row, never a state. Doubt (a money call without an outcome) is
// derived from calls and attempts, and is not a state either.
//
// Nothing here reads a clock, sends a byte or knows a provider's words.
package orders
