package main

import (
	"context"
	"log/slog"
	"net/http"
)

// withoutPolls is a log that leaves out the core's answered questions to the feed: one a second
// would bury what a reader looks for. A question that fails is logged.
type withoutPolls struct{ slog.Handler }

// Handle leaves out or passes on.
func (h withoutPolls) Handle(ctx context.Context, line slog.Record) error {
	var feed, answered bool
	line.Attrs(func(a slog.Attr) bool {
		feed = feed || (a.Key == "route" && a.Value.String() == "/v1/events")
		answered = answered || (a.Key == "status" && a.Value.Kind() == slog.KindInt64 && a.Value.Int64() == http.StatusOK)
		return true
	})
	if feed && answered {
		return nil
	}
	return h.Handler.Handle(ctx, line)
}

// WithAttrs keeps leaving out.
func (h withoutPolls) WithAttrs(attrs []slog.Attr) slog.Handler {
	return withoutPolls{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps leaving out.
func (h withoutPolls) WithGroup(name string) slog.Handler {
	return withoutPolls{h.Handler.WithGroup(name)}
}
