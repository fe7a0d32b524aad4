package bravobank_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pay.taipei/gateway/internal/httpx"
	"pay.taipei/gateway/money"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/bravobank"
	"pay.taipei/gateway/signing"
)

const (
	gatewaySeed = "pay.taipei published test key 01"
	bankSeed    = "bravo bank published test key 01"
	bankKid     = "bravo-test-1"
)

type vector struct {
	ID       string            `json:"id"`
	Scheme   string            `json:"scheme"`
	Inputs   map[string]string `json:"inputs"`
	Expected map[string]string `json:"expected"`
	Source   string            `json:"source"`
}

func vectors(t testing.TB) []vector {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []vector }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file.Vectors
}

func vectorOf(t testing.TB, id string) vector {
	t.Helper()
	for _, v := range vectors(t) {
		if v.ID == id {
			return v
		}
	}
	t.Fatalf("no vector %s", id)
	return vector{}
}

func signer(t testing.TB, kid, seed string) *signing.Ed25519Signer {
	t.Helper()
	s, err := signing.NewEd25519Signer(kid, signing.NewSecret([]byte(seed)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func bankPublic() []byte {
	return ed25519.NewKeyFromSeed([]byte(bankSeed)).Public().(ed25519.PublicKey)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func twd(t testing.TB, s string) money.Amount {
	t.Helper()
	a, err := money.Parse(s, money.TWD)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// stampTime is the timestamp of the notice vectors.
func stampTime() time.Time { return time.Unix(1497315871, 0) }

type counter struct{ n byte }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

func client(t testing.TB, base string) *httpx.Client {
	t.Helper()
	c, err := httpx.New(httpx.Config{Name: "bank", BaseURL: base, Network: httpx.Loopback}, httpx.Deps{Now: time.Now, Rand: func() uint64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// adapterAt is an adapter whose API is at base, whose clock stands at now, and whose nonces come from rand.
func adapterAt(t testing.TB, base string, now time.Time, rand io.Reader) *bravobank.Adapter {
	t.Helper()
	a, err := bravobank.New(
		bravobank.Config{
			Environment: providers.Demo, OrderURL: "http://127.0.0.1:8090/order", Signer: signer(t, "pay-taipei-test-1", gatewaySeed),
			BankKeys: []signing.Ed25519Key{{ID: bankKid, Public: bankPublic()}},
		},
		bravobank.Deps{Now: func() time.Time { return now }, Rand: rand, HTTP: client(t, base)})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func adapter(t testing.TB) *bravobank.Adapter {
	t.Helper()
	return adapterAt(t, "http://127.0.0.1:1", stampTime(), &counter{})
}

func deadline(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// fakeBank answers API calls from a script; the last step repeats.
type fakeBank struct {
	t     testing.TB
	url   string
	now   time.Time
	mu    sync.Mutex
	seen  []seenRequest
	steps []func(http.ResponseWriter, seenRequest)
}

type seenRequest struct {
	path   string
	header http.Header
	body   []byte
	gone   <-chan struct{} // the client hung up
}

func newFakeBank(t testing.TB, now time.Time, steps ...func(http.ResponseWriter, seenRequest)) *fakeBank {
	t.Helper()
	f := &fakeBank{t: t, now: now, steps: steps}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *fakeBank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	seen := seenRequest{r.URL.EscapedPath(), r.Header.Clone(), body, r.Context().Done()}
	f.mu.Lock()
	step := f.steps[min(len(f.seen), len(f.steps)-1)]
	f.seen = append(f.seen, seen)
	f.mu.Unlock()
	step(w, seen)
}

func (f *fakeBank) requests() []seenRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.seen)
}

// answer is a signed answer as section 7 has it; change may spoil it before it is sent.
type answer struct {
	label, kid, timestamp, nonce, path string
	status                             int
	body                               []byte
	key                                ed25519.PrivateKey
	headers                            http.Header
}

func signed(label string, now time.Time, status int, body string, change ...func(*answer)) func(http.ResponseWriter, seenRequest) {
	return func(w http.ResponseWriter, r seenRequest) {
		a := answer{label, bankKid, strconv.FormatInt(now.Unix(), 10), r.header.Get("Bravo-Nonce"), r.path, status, []byte(body), ed25519.NewKeyFromSeed([]byte(bankSeed)), http.Header{}}
		for _, c := range change {
			c(&a)
		}
		text := label + "\n" + a.kid + "\n" + a.timestamp + "\n" + a.nonce + "\n" + a.path + "\n" + strconv.Itoa(a.status) + "\n" + string(a.body)
		w.Header().Set("Bravo-Kid", a.kid)
		w.Header().Set("Bravo-Timestamp", a.timestamp)
		w.Header().Set("Bravo-Signature", b64(ed25519.Sign(a.key, []byte(text))))
		for name, values := range a.headers {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func cut(w http.ResponseWriter, _ seenRequest) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// callbackOf is the callback of a notice vector.
func callbackOf(t testing.TB, id string) providers.RawCallback {
	t.Helper()
	v := vectorOf(t, id)
	return rawNotice(v.Inputs["kid"], v.Inputs["timestamp"], v.Inputs["nonce"], v.Expected["signature"], v.Inputs["path"], v.Inputs["body"])
}

func rawNotice(kid, timestamp, nonce, signature, path, body string) providers.RawCallback {
	h := http.Header{}
	h.Set("Bravo-Kid", kid)
	h.Set("Bravo-Timestamp", timestamp)
	h.Set("Bravo-Nonce", nonce)
	h.Set("Bravo-Signature", signature)
	return providers.RawCallback{Channel: providers.ChannelServer, Method: "POST", Path: path, Header: h, Body: []byte(body), ReceivedAt: stampTime()}
}

// signNotice makes a genuine notice around any body.
func signNotice(body string) providers.RawCallback {
	const path, nonce = "/callbacks/bravobank-main/7Zk2", "n0tice-DDDDDDDDDDDDDDDD1"
	timestamp := strconv.FormatInt(stampTime().Unix(), 10)
	text := "bravo-notice-v1\n" + bankKid + "\n" + timestamp + "\n" + nonce + "\n" + path + "\n" + body
	return rawNotice(bankKid, timestamp, nonce, b64(ed25519.Sign(ed25519.NewKeyFromSeed([]byte(bankSeed)), []byte(text))), path, body)
}

func replace(t testing.TB, body, from, to string) string {
	t.Helper()
	if !bytes.Contains([]byte(body), []byte(from)) {
		t.Fatalf("the body has no %s", from)
	}
	return string(bytes.Replace([]byte(body), []byte(from), []byte(to), 1))
}
