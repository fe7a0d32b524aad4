package providertest

import (
	"crypto/rand"
	"errors"
	"net/http"
	"os"
	"strconv"
	"testing"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/account"
	"pay.taipei/gateway/signing"
)

// Open makes an adapter as the program does, with a client that leads to the target alone. decode reads its settings.
func (t Target) Open(open func(account.Account, account.Deps) (providers.Provider, error), name string, env providers.Environment, decode func(any) error) (providers.Provider, error) {
	return open(account.Account{Name: name + "-main", Environment: env, Decode: decode}, account.Deps{Now: t.Now, Rand: rand.Reader, HTTP: func(origin string) (*httpx.Client, error) {
		if origin != t.URL {
			return nil, errors.New("elsewhere")
		}
		return t.HTTP, nil
	}})
}

// Vectors are those of the adapter's testdata/vectors.json as a harness takes them: each must be what its scheme makes of its
// inputs.
func Vectors(t testing.TB, schemes []signing.Scheme) map[string]func(providers.Provider) error {
	t.Helper()
	file, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	vectors, err := fileVectors(file, schemes)
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// PlainAcks are the answers for a provider that reads the status alone.
func PlainAcks() map[providers.Verdict]providers.Ack {
	ack := func(status int, body string) providers.Ack {
		return providers.Ack{Status: status, ContentType: "text/plain", Body: []byte(body)}
	}
	return map[providers.Verdict]providers.Ack{
		providers.Accepted: ack(http.StatusOK, "OK"), providers.Refused: ack(http.StatusBadRequest, "refused"),
		providers.RetryLater: ack(http.StatusServiceUnavailable, "later"),
	}
}

// CreateRefuses holds that each way to spoil the harness's order makes Create say Invalid, and that nothing is sent.
func CreateRefuses(t *testing.T, h Harness, spoils map[string]func(*providers.CreateRequest)) {
	t.Helper()
	called := false
	ctx, p, done, err := Start(h, func(http.ResponseWriter, *http.Request, []byte) { called = true })
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	for name, spoil := range spoils {
		order := h.Order
		spoil(&order)
		if created, err := p.Create(ctx, order); providers.KindOf(err) != providers.Invalid || created.Redirect.URL != "" || called {
			t.Errorf("%s: %+v, %v", name, created, err)
		}
		called = false
	}
}

// RunMutated is Mutated as a test: 3,000 changes, or as many as the environment variable MUTATIONS says.
func RunMutated(t *testing.T, h Harness) {
	t.Helper()
	n := 3000
	if text := os.Getenv("MUTATIONS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatalf("MUTATIONS: want a number: %v", err)
		}
	}
	if err := Mutated(h, n, uint64(n)); err != nil {
		t.Error(err)
	}
}
