package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"os/exec"
	"regexp"
	"testing"

	"pay.taipei/gateway/signing"
)

// What a key command prints for one side fits what it prints for the other.
func TestKeys(t *testing.T) {
	says := func(form string, args ...string) []string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), binary, append([]string{"key"}, args...)...).Output()
		m := regexp.MustCompile(form).FindStringSubmatch(string(out))
		if err != nil || m == nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return m[1:]
	}
	client := says(`gk_core2027_([A-Za-z0-9_-]{43})\n.*\{id: core2027, sha256: ([0-9a-f]{64})\}`, "client", "core2027")
	if sum := sha256.Sum256([]byte(client[0])); hex.EncodeToString(sum[:]) != client[1] {
		t.Errorf("client key %s is not of digest %s", client[0], client[1])
	}
	hook := says(`(whsk_\S+)\n.*(whpk_\S+)`, "webhook")
	if signer, err := signing.ParseWebhookSigner(hook[0]); err != nil || signer.PublicKey() != hook[1] {
		t.Errorf("%v: the halves %v do not fit", err, hook)
	}
	pair := says(`secret: +(\S{43})\n.*verify: +(\S{43})`, "seed")
	seed, err := base64.RawURLEncoding.DecodeString(pair[0])
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signing.NewEd25519Signer("k", signing.NewSecret(seed))
	if err != nil || base64.RawURLEncoding.EncodeToString(signer.PublicKey()) != pair[1] {
		t.Errorf("%v: the halves %v do not fit", err, pair)
	}
	if again := says(`(\S{43})`, "seed"); again[0] == pair[0] {
		t.Error("the same key twice")
	}
	if out, err := exec.CommandContext(t.Context(), binary, "key", "client", "no_name").CombinedOutput(); err == nil {
		t.Errorf("a key of any name: %s", out)
	}
}
