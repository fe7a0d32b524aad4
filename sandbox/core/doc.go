// Package core is a small pay.taipei, the city's payment core: the client of the
// gateway's order API that tests and the demo run against. It has its own wire code,
// written from the API's description, so that a mistake of the gateway is not made
// twice. Everything is kept in memory: after a restart it reads its feed from the
// beginning and knows again which bills are paid. It holds no real bills.
//
// # What it promises
//
// A bill is settled by a signed event (POST /webhooks) or by the hash-chained feed
// (Step), never by a browser's return; by each order once; and only when the paying
// attempt has no surplus row for it. Pages say "paid" for the API's status alone.
//
// # Pages and their names
//
// Browser tests click these ids, and programs without a browser send these fields; they stay.
// lang=en switches to English on every page and stays in the address.
//
//	GET /            look-up. Each form is a GET to /bills
//	                 #bill_no (bill_no) #search-bill            by=number
//	                 #vehicle-car, #vehicle-motorcycle (vehicle=C|M), #plate (plate) #search-plate   by=plate
//	                 #water_1 … #water_4 (water_1 … water_4) #search-water   by=water
//	GET /bills       #bills, a GET to /checkout; checkboxes name bill, value and id tail the bill number
//	                 (#bill-H60983881309263); #total, #update, #pay, #cancel; #error when something is wrong;
//	                 #all-paid without a form when nothing is left to pay, with #receipt when this browser
//	                 paid; #no-bills when none is found, with #other-vehicle after a plate
//	GET /checkout    ?bill=…&bill=… answers 303 to itself with &n=<nonce>: reloading, going back and
//	                 switching language keep it. #choose, a POST to /checkout with nonce, bill…, provider, lang;
//	                 radios name provider, id provider-<name>; #go, #cancel
//	POST /checkout   303 to the order's checkout_url, else #outcome with data-status
//	                 unknown, in_flight, unavailable (#retry repeats the same request under the same
//	                 key), in_progress, bill_paid, declined, refused or misconfigured (#choose-again)
//	GET /result      ?order_no=… #outcome with data-status paid, confirming, unpaid, review, refunded,
//	                 unknown or not_found; #continue (to checkout_url), #again (a new order)
//
// A result page shows details only with the receipt parameter that the core put into its
// return_url; with the number alone it tells the status and nothing else. Details are in
// #paid_at, #agency, #item, #trade_no, #order_no, #method, #subtotal, #fee, #sum and #lines.
//
// # For tests
//
// GET /books tells which bills are settled, by which orders, and what was seen of the
// events. PUT /faults {"status":500,"hang":false,"after":false} makes webhooks answer that
// status (or nothing until the caller leaves or the fault is changed), before the work or,
// with after, once it is done; {} ends it. Neither is protected: listen on loopback only.
//
// The directory (GET /v1/providers) is read as {"providers":[{"provider","name":{"zh-Hant","en"},
// "methods":[{"code","name"}],"outcomes":{"failed":name},"fee":{"value","currency"},"available","why","until"}]}.
package core
