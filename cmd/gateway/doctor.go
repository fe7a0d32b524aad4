package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"pay.taipei/gateway/cmd/internal/app"
	"pay.taipei/gateway/providers"
)

type doctorCmd struct {
	Callback doctorCallbackCmd `cmd:"" help:"Say in a sentence why a callback is not believed."`
}

type doctorCallbackCmd struct {
	configFlag
	Account string    `placeholder:"NAME" help:"The account it is meant for; without it the one in its path."`
	At      time.Time `placeholder:"TIME" help:"When it arrived, such as 2017-06-13T09:04:31+08:00; without it, what its Date header says, or now."`
	JSON    bool      `name:"json" help:"For programs."`
	File    string    `arg:"" placeholder:"FILE" help:"The HTTP request as a log or a trace shows it: request line, headers, empty line, body. - is standard input."`
}

// Run names the cause. It reads keys from the configuration and shows none.
func (c *doctorCallbackCmd) Run() error {
	config, err := app.Load(c.Config)
	if err != nil {
		return err
	}
	text, err := readAll(c.File)
	if err != nil {
		return err
	}
	raw, err := providers.ParseRequest(text, c.At)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	if raw.ReceivedAt.IsZero() {
		raw.ReceivedAt = time.Now()
		if sent, err := time.Parse(time.RFC1123, raw.Header.Get("Date")); err == nil {
			raw.ReceivedAt = sent
		}
	}
	suspects, err := app.Suspects(config)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(suspects, func(s providers.Suspect) bool {
		return s.Name == c.Account || c.Account == "" && strings.Contains(raw.Path+"/", "/callbacks/"+s.Name+"/")
	})
	if i < 0 {
		var names []string
		for _, s := range suspects {
			names = append(names, s.Name)
		}
		return errors.New("which account is it meant for? Its path names none: give --account, one of " + strings.Join(names, ", "))
	}
	at := suspects[i]
	cause := providers.Diagnose(raw, at, slices.Delete(slices.Clone(suspects), i, i+1))
	if c.JSON {
		return printJSON(struct {
			Account string `json:"account"`
			providers.Cause
		}{at.Name, cause})
	}
	fmt.Printf("%s: %s: %s\n", at.Name, cause.Code, cause.Why)
	return nil
}

// maxRequest is more than the edge takes.
const maxRequest = 1 << 20

func readAll(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(io.LimitReader(os.Stdin, maxRequest))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return io.ReadAll(io.LimitReader(f, maxRequest))
}
