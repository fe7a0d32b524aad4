package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
)

const (
	maxBody = 64 << 10

	mediaJSON    = "application/json"
	mediaProblem = "application/problem+json"

	unmatched = "unmatched"
)

var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9-]{8,64}$`)

// request is one request on its way through the API, with what its log line will say.
type request struct {
	http    *http.Request
	writer  http.ResponseWriter
	route   Route
	param   func(name string) string // of the path
	id      string
	caller  *caller // nil on public routes
	orderNo string
}

// response is an answer before it is written.
type response struct {
	status    int
	mediaType string
	policy    string // Content-Security-Policy; empty: nothing at all may load
	body      []byte
	location  string // of what was made; empty: nothing has an address of its own
	replayed  bool
}

// serve is the way of every request: id, caller, rate, handler, answer, one log line.
func (s *Server) serve(route Route) gin.HandlerFunc {
	return func(c *gin.Context) {
		start := s.deps.Now()
		r := &request{http: c.Request, writer: c.Writer, route: route, param: c.Param, id: c.GetHeader("X-Request-Id")}
		if !requestIDForm.MatchString(r.id) {
			r.id = s.deps.NewID()
		}
		reply, p := s.answer(r)
		s.write(r, reply, p)
		s.report(r, reply.status, p, start)
	}
}

// answer runs the handler; a problem comes back both as itself and as the response that says it.
func (s *Server) answer(r *request) (reply response, p *problem) {
	defer func() {
		if v := recover(); v != nil {
			p = newProblem(problemInternal)
			p.cause = panicked(v)
			reply = s.problemResponse(r, p)
		}
	}()
	reply, err := s.handle(r)
	if err == nil {
		return reply, nil
	}
	clientID := ""
	if r.caller != nil {
		clientID = r.caller.id
	}
	p = problemOf(err, clientID, nil)
	return s.problemResponse(r, p), p
}

// panicked describes a panic without printing its value, unless it is the runtime's own.
func panicked(v any) error {
	if err, ok := v.(runtime.Error); ok {
		return fmt.Errorf("panic: %w\n%s", err, debug.Stack())
	}
	return fmt.Errorf("panic: %T\n%s", v, debug.Stack())
}

func (s *Server) handle(r *request) (response, error) {
	if r.route.Auth != AuthPublic {
		now := s.deps.Now()
		if r.caller = s.keys.Load().authenticate(r.http.Header, now); r.caller == nil {
			return response{}, newProblem(problemUnauthenticated)
		}
		if err := s.allow(r.http.Context(), r.caller, now); err != nil {
			return response{}, err
		}
	}
	return r.route.handle(s, r)
}

// problemResponse finishes a problem with the request's id.
func (s *Server) problemResponse(r *request, p *problem) response {
	p.Instance = r.id
	body, err := encode(p)
	if err != nil { // a problem holds strings and numbers only
		s.deps.Log.Error("problem not encoded", "err", err)
	}
	return response{status: p.Status, mediaType: mediaProblem, body: body}
}

func (s *Server) write(r *request, reply response, p *problem) {
	h := r.writer.Header()
	h.Set("X-Request-Id", r.id)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", reply.mediaType)
	h.Set("Content-Length", strconv.Itoa(len(reply.body)))
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if reply.policy != "" {
		h.Set("Content-Security-Policy", reply.policy)
	}
	if reply.location != "" {
		h.Set("Location", reply.location)
	}
	if reply.replayed {
		h.Set("Idempotency-Replayed", "true")
	}
	if p != nil && p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	if p != nil && p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="order api"`)
	}
	r.writer.WriteHeader(reply.status)
	if r.http.Method == http.MethodHead {
		return
	}
	if _, err := r.writer.Write(reply.body); err != nil {
		s.deps.Log.Info("answer not delivered", "request_id", r.id, "err", err)
	}
}

// report writes the one log line of a request. It holds no body, no query and no header but the checked request id.
func (s *Server) report(r *request, status int, p *problem, start time.Time) {
	took := s.deps.Now().Sub(start)
	method := r.http.Method
	if !slices.ContainsFunc(Routes(), func(x Route) bool { return x.Method == method }) && method != http.MethodHead {
		method = "other"
	}
	line := []slog.Attr{
		slog.String("method", method), slog.String("route", r.route.Path), slog.Int("status", status),
		slog.Int64("ms", took.Milliseconds()), slog.String("request_id", r.id),
	}
	if r.caller != nil {
		line = append(line, slog.String("client", r.caller.id))
	}
	if r.orderNo != "" {
		line = append(line, slog.String("order_no", r.orderNo))
	}
	if p != nil {
		line = append(line, slog.String("code", p.Code))
		if p.cause != nil {
			line = append(line, slog.String("err", p.cause.Error()))
		}
	}
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	s.deps.Log.LogAttrs(r.http.Context(), level, "request", line...)
	if s.deps.Observe != nil {
		s.deps.Observe(Observation{Method: method, Route: r.route.Path, Status: status, Duration: took})
	}
}

// tree reads the JSON of the body, and no query. A body that may be missing needs no media type then, and an empty object
// stands for it.
func (r *request) tree(mayBeMissing bool) (node, error) {
	untyped := mayBeMissing && len(r.http.Header.Values("Content-Type")) == 0
	if !untyped {
		if err := r.mediaType(); err != nil {
			return node{}, err
		}
	}
	body, err := r.body()
	if err != nil {
		return node{}, err
	}
	missing := mayBeMissing && len(body) == 0
	if untyped && !missing {
		return node{}, newProblem(problemMediaType)
	}
	if _, err := r.query(); err != nil {
		return node{}, err
	}
	if missing {
		return node{kind: kindObject}, nil
	}
	tree, err := parseJSON(body)
	if err != nil {
		e := asFormError(err)
		return node{}, newProblem(problemMalformed, fieldError{e.at, e.code})
	}
	return tree, nil
}

// mediaType accepts JSON in UTF-8, not compressed, said once.
func (r *request) mediaType() error {
	types := r.http.Header.Values("Content-Type")
	if len(types) != 1 || len(r.http.Header.Values("Content-Encoding")) > 0 {
		return newProblem(problemMediaType)
	}
	media, params, err := mime.ParseMediaType(types[0])
	charset, named := params["charset"]
	if err != nil || media != mediaJSON || (named && !strings.EqualFold(charset, "utf-8")) {
		return newProblem(problemMediaType)
	}
	return nil
}

// body reads the whole body, at most maxBody bytes.
func (r *request) body() ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(r.writer, r.http.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, newProblem(problemTooLarge)
	case err != nil: // cut off on its way: the sender will not read the answer
		return nil, newProblem(problemMalformed, fieldError{"", codeSyntax})
	}
	return body, nil
}

// query reads the query parameters of the route: no other one, none twice, and nothing that parsers read differently.
func (r *request) query() (url.Values, error) {
	values, err := url.ParseQuery(r.http.URL.RawQuery)
	if err != nil {
		return nil, newProblem(problemMalformed, fieldError{"", codeSyntax})
	}
	var errs []fieldError
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch {
		case !slices.Contains(r.route.Query, name):
			errs = append(errs, fieldError{escapePointer(name), codeUnknownField})
		case len(values[name]) > 1:
			errs = append(errs, fieldError{name, codeRepeated})
		}
	}
	if errs != nil {
		return nil, newProblem(problemMalformed, errs...)
	}
	return values, nil
}
