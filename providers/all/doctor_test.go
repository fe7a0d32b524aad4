package all_test

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/all"
)

// corpus is the file of broken callbacks, each with its cause. It was written before there was a doctor.
type corpus struct {
	Accounts map[string]struct {
		Adapter     string
		Environment providers.Environment
		Settings    any
	}
	Callbacks []struct {
		ID, Account, Request, Cause, Note string
		ReceivedAt                        time.Time `json:"received_at"`
	}
}

func readCorpus(t testing.TB) (corpus, map[string]providers.Suspect) {
	t.Helper()
	file, err := os.ReadFile("../testdata/doctor/corpus.json")
	if err != nil {
		t.Fatal(err)
	}
	var c corpus
	if err := json.Unmarshal(file, &c); err != nil {
		t.Fatal(err)
	}
	suspects := make(map[string]providers.Suspect)
	for name, a := range c.Accounts {
		settings, err := yaml.Marshal(a.Settings)
		if err != nil {
			t.Fatal(err)
		}
		p, err := all.Open(a.Adapter, all.Account{Name: name, Environment: a.Environment, Decode: func(v any) error {
			return yaml.NewDecoder(strings.NewReader(string(settings)), yaml.Strict()).Decode(v)
		}}, all.Deps{Now: time.Now, Rand: rand.Reader, HTTP: func(origin string) (*httpx.Client, error) {
			return httpx.New(httpx.Config{Name: name, BaseURL: origin}, httpx.Deps{Now: time.Now, Rand: func() uint64 { return 0 }})
		}})
		if err != nil {
			t.Fatal(err)
		}
		suspects[name] = providers.Suspect{Name: name, Environment: a.Environment, Provider: p}
	}
	return c, suspects
}

// The doctor names the right cause for at least 38 of the 40.
func TestDoctor(t *testing.T) {
	c, suspects := readCorpus(t)
	right := 0
	for _, broken := range c.Callbacks {
		raw, err := providers.ParseRequest([]byte(broken.Request), broken.ReceivedAt)
		if err != nil {
			t.Fatalf("%s: %v", broken.ID, err)
		}
		var others []providers.Suspect
		for name, s := range suspects {
			if name != broken.Account {
				others = append(others, s)
			}
		}
		got := providers.Diagnose(raw, suspects[broken.Account], others)
		if got.Code == broken.Cause {
			right++
		} else {
			t.Logf("%s (%s): %s (%s), want %s", broken.ID, broken.Note, got.Code, got.Why, broken.Cause)
		}
		for name, a := range c.Accounts {
			settings, err := json.Marshal(a.Settings)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range strings.FieldsFunc(string(settings), func(r rune) bool { return strings.ContainsRune(`{}[]":,`, r) }) {
				if len(secret) >= 16 && !strings.Contains(secret, "/") && strings.Contains(got.Why, secret) {
					t.Errorf("%s shows a secret of %s: %s", broken.ID, name, got.Why)
				}
			}
		}
	}
	if len(c.Callbacks) != 40 || right < 38 {
		t.Errorf("%d of %d are right", right, len(c.Callbacks))
	}
	t.Logf("%d of %d", right, len(c.Callbacks))
}

// Whatever is saved as a callback is read or refused, and the doctor says one thing about it.
func FuzzDoctor(f *testing.F) {
	c, suspects := readCorpus(f)
	for _, broken := range c.Callbacks {
		f.Add([]byte(broken.Request), broken.Account)
	}
	f.Fuzz(func(t *testing.T, request []byte, account string) {
		raw, err := providers.ParseRequest(request, time.Unix(1_775_000_000, 0))
		s, ok := suspects[account]
		if err != nil || !ok {
			return
		}
		if cause := providers.Diagnose(raw, s, nil); cause.Code == "" || cause.Why == "" {
			t.Errorf("%q: %+v", request, cause)
		}
	})
}
