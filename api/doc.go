// Package api is the order API: what a client, such as the pay.taipei core, may ask of the gateway over HTTP.
//
// It authenticates the client, limits and strictly decodes what it sent, hands a checked command to the router, and
// words every answer: documents of orders, and problems (RFC 9457) with a code, English and Chinese. It knows no provider,
// no signature and no SQL. openapi.yaml is the contract; Routes is the table that serves it, and a test compares the two
// and every documented answer.
//
// A request is checked in a fixed order, and the first stage that objects answers alone: route 404 and method 405, key of
// the client 401, rate 429, media type 415, size 413, form 400, merchant 403 or order 404, idempotency key 400, fields 422,
// and then what the order allows. Form and fields report everything that is wrong at once.
package api
