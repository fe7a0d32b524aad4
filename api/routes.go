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

	handle func(*server, *request) (response, error)
}

// Routes is the table of everything that is served.
func Routes() []Route {
	return []Route{
		{http.MethodPost, "/v1/orders", AuthClient, nil, (*server).placeOrder},
		{http.MethodGet, "/v1/orders", AuthClient, []string{"client_reference"}, (*server).findOrder},
		{http.MethodGet, "/v1/orders/{no}", AuthClient, nil, (*server).getOrder},
		{http.MethodGet, "/v1/orders/{no}/timeline", AuthClient, nil, (*server).getTimeline},
		{http.MethodGet, "/v1/providers", AuthClient, []string{"amount", "merchant"}, (*server).listProviders},
		{http.MethodGet, "/v1/events", AuthClient, []string{"after", "limit"}, (*server).listEvents},
		{http.MethodGet, "/v1/openapi.yaml", AuthPublic, nil, (*server).getDescription},
		{http.MethodGet, "/docs", AuthPublic, nil, (*server).getDocs},
	}
}
