package webhooks

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

var errTooLarge = errors.New("body over 64 KiB")

// callback takes a message from a provider's server. An account that is not configured is not found; everything
// else is answered by its adapter, and a refusal alike for known and unknown orders.
func (e *edge) callback(c *gin.Context, l *line) {
	account := c.Param("account")
	decoder, ok := e.deps.Accounts.Decoder(account)
	if !ok {
		c.Status(http.StatusNotFound)
		return
	}
	l.account, l.verdict = account, verdictWord(providers.RetryLater)
	raw, err := e.read(c, providers.ChannelServer)
	ctx, cancel := detached(c.Request.Context())
	defer cancel()
	verdict := e.judge(ctx, decoder, raw, err, l)
	ack := decoder.Ack(verdict)
	l.verdict = verdictWord(verdict)
	acknowledge(c, ack)
}

// judge decides on a callback. It accepts nothing that is not committed.
func (e *edge) judge(ctx context.Context, decoder providers.CallbackDecoder, raw providers.RawCallback, readErr error, l *line) providers.Verdict {
	switch {
	case errors.Is(readErr, errTooLarge):
		return e.refuse(ctx, raw, readErr, l)
	case readErr != nil: // nothing whole arrived, so there is nothing to judge or to keep
		l.reason = "body not read"
		return providers.RetryLater
	case raw.Token != "" && !isToken(raw.Token):
		return e.refuse(ctx, raw, errors.New("token is not one of ours"), l)
	}

	var notice providers.Notice
	var err error
	if !e.verifying.run(ctx, func() {
		err = e.guarded(func() (err error) { notice, err = decoder.DecodeCallback(raw); return err })
	}) {
		l.reason = "too many callbacks being verified"
		return providers.RetryLater
	}
	if err != nil {
		l.failed = errors.Is(err, errPanicked)
		return e.refuse(ctx, raw, err, l)
	}
	if no, ok := orders.AttemptNo(notice.AttemptNo).Order(); ok {
		l.orderNo = string(no)
	}

	verdict := providers.RetryLater
	if !e.committing.run(ctx, func() {
		err = e.guarded(func() (err error) { verdict, err = e.deps.Notices.Notice(ctx, l.account, notice, raw); return err })
	}) {
		l.reason = "too many callbacks being committed"
		return providers.RetryLater
	}
	if err != nil {
		l.failed, l.reason = true, err.Error()
		return providers.RetryLater
	}
	return verdict
}

// refuse keeps a callback for audit. Whether that worked changes nothing about the answer.
func (e *edge) refuse(ctx context.Context, raw providers.RawCallback, reason error, l *line) providers.Verdict {
	l.reason = reason.Error()
	var err error
	kept := e.auditing.run(ctx, func() {
		err = e.guarded(func() error { return e.deps.Notices.Refuse(ctx, l.account, l.reason, raw) })
	})
	switch {
	case err != nil:
		l.failed = true
		l.reason += "; not kept for audit: " + err.Error()
	case !kept:
		l.reason += "; not kept for audit: too many at a time"
	}
	return providers.Refused
}

// read takes the body once, raw, before anybody parses it. Together with errTooLarge it returns what it kept of the body.
func (e *edge) read(c *gin.Context, channel providers.Channel) (providers.RawCallback, error) {
	r := c.Request
	raw := providers.RawCallback{
		Channel: channel, Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Header: r.Header,
		Token: c.Param("token"), ReceivedAt: e.deps.Now(),
	}
	// A deadline that has passed wakes a read that hangs. Where the writer cannot set one, the server's own must do.
	control := http.NewResponseController(c.Writer)
	late := time.AfterFunc(e.reading, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	defer late.Stop()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return raw, err
	}
	if len(body) > maxBody {
		raw.Body = body[:maxBody]
		if n, err := io.CopyN(io.Discard, r.Body, maxDrain); err == nil && n == maxDrain {
			c.Header("Connection", "close")
		}
		return raw, errTooLarge
	}
	raw.Body = body
	return raw, nil
}

// acknowledge answers in the provider's bytes. An adapter that has no answer must not cause an acknowledgement.
func acknowledge(c *gin.Context, ack providers.Ack) {
	if ack.Status < http.StatusOK {
		ack = providers.Ack{Status: http.StatusInternalServerError}
	}
	if ack.ContentType != "" {
		c.Header("Content-Type", ack.ContentType)
	}
	c.Status(ack.Status)
	if len(ack.Body) > 0 {
		_, _ = c.Writer.Write(ack.Body) // who hung up asks again
	}
}

func verdictWord(v providers.Verdict) string {
	switch v {
	case providers.Accepted:
		return "accepted"
	case providers.Refused:
		return "refused"
	case providers.RetryLater:
		return "retry_later"
	}
	return "retry_later"
}
