// Package sqlstore keeps orders in SQL: SQLite in one file, or Postgres.
//
// Every verb of orders.Store is one transaction at READ COMMITTED, repeated as a whole
// when the database asks for it. Locks are taken by updates and always in this order:
// idempotency key, nonce, evidence, order, then bills by number, then rows beside them. The
// exceptions are a take-over, which fences the key of the order that loses its bills, and a
// further attempt, which drops the key of a dead request for one; there the database may
// have to break a deadlock. Rules are decided by
// the pure functions of package orders on rows that were read after the lock, in new
// statements.
//
// There is one SQL text for both engines. Two fragments are spliced in: the skipping of
// locked rows, which SQLite does not need, and the length of a list of clients.
package sqlstore
