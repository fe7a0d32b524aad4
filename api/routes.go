package api

import "net/http"

// Auth says who may use a route.
type Auth string

// The classes of routes.
const (
	AuthClient Auth = "client" // with an API key of a client
	AuthPublic Auth = "public" // anybody who reaches the listener
)

// Route is one row of the route table. HEAD is answered wherever GET is.
type Route struct {
	Method string
	Path   string // as in openapi.yaml, such as /v1/orders/{no}
	Auth   Auth
	Query  []string // the query parameters it takes, each at most once

	handle func(*Server, *request) (response, error)
}

// Routes is the table of everything that is served.
func Routes() []Route {
	return []Route{
		{http.MethodPost, "/v1/orders", AuthClient, nil, (*Server).placeOrder},
		{http.MethodGet, "/v1/orders", AuthClient, []string{"client_reference"}, (*Server).findOrder},
		{http.MethodGet, "/v1/orders/{no}", AuthClient, nil, (*Server).getOrder},
		{http.MethodGet, "/v1/orders/{no}/timeline", AuthClient, nil, (*Server).getTimeline},
		{http.MethodPost, "/v1/orders/{no}/attempts", AuthClient, nil, (*Server).addAttempt},
		{http.MethodPost, "/v1/orders/{no}/cancel", AuthClient, nil, (*Server).cancelOrder},
		{http.MethodPost, "/v1/orders/{no}/refunds", AuthClient, nil, (*Server).askRefund},
		{http.MethodGet, "/v1/orders/{no}/refunds/{id}", AuthClient, nil, (*Server).getRefund},
		{http.MethodGet, "/v1/orders/{no}/actions", AuthClient, nil, (*Server).listActions},
		{http.MethodGet, "/v1/providers", AuthClient, []string{"amount", "merchant"}, (*Server).listProviders},
		{http.MethodGet, "/v1/events", AuthClient, []string{"after", "limit"}, (*Server).listEvents},
		{http.MethodGet, "/v1/openapi.yaml", AuthPublic, nil, (*Server).getDescription},
		{http.MethodGet, "/docs", AuthPublic, nil, (*Server).getDocs},
	}
}
