package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// keys are the demo's secrets: made at the first start, kept beside its data, worth nothing
// elsewhere.
type keys struct {
	APISecret   string `json:"api_secret"`   // 43 characters of base64url
	GatewaySeed []byte `json:"gateway_seed"` // signs orders
	BankSeed    []byte `json:"bank_seed"`    // signs notices
	EventSeed   []byte `json:"event_seed"`   // signs events

	SecondGatewaySeed []byte `json:"second_gateway_seed"` // of the second account at the bank
	SecondBankSeed    []byte `json:"second_bank_seed"`

	DoublesSeed []byte `json:"doubles_seed"` // of all keys of the providers' doubles
}

// seeds are the keys that are made of a seed.
func (k *keys) seeds() []*[]byte {
	return []*[]byte{&k.GatewaySeed, &k.BankSeed, &k.EventSeed, &k.SecondGatewaySeed, &k.SecondBankSeed, &k.DoublesSeed}
}

// loadKeys reads the keys of a data folder, or makes them.
func loadKeys(dir string) (keys, error) {
	path := filepath.Join(dir, "keys.json")
	var k keys
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return keys{}, fmt.Errorf("demo: %s: %w; to make a new city: %s", path, err, resetCommand(dir))
	}
	if !k.complete() {
		return k, nil
	}
	if b, err = json.Marshal(k); err != nil { //nolint:gosec // this is the file of keys
		return keys{}, fmt.Errorf("demo: keys: %w", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return keys{}, fmt.Errorf("demo: keys: %w", err)
	}
	return k, nil
}

// complete makes what is missing, and says whether anything was.
func (k *keys) complete() (changed bool) {
	if k.APISecret == "" {
		k.APISecret, changed = base64.RawURLEncoding.EncodeToString(seed()), true
	}
	for _, s := range k.seeds() {
		if len(*s) != ed25519.SeedSize {
			*s, changed = seed(), true
		}
	}
	return changed
}

func seed() []byte {
	b := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(b); err != nil {
		panic(err) // crypto/rand never fails on the systems Go supports
	}
	return b
}

const apiKeyID = "demo"

func (k *keys) apiKey() string { return "gk_" + apiKeyID + "_" + k.APISecret }

func (k *keys) apiDigest() string {
	sum := sha256.Sum256([]byte(k.APISecret))
	return hex.EncodeToString(sum[:])
}

func public(seed []byte) ed25519.PublicKey {
	return ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
}

// eventSigner and eventVerifier are the two halves of the key that signs events, as Standard Webhooks writes them.
func (k *keys) eventSigner() string {
	return "whsk_" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(k.EventSeed))
}

func (k *keys) eventVerifier() string {
	return "whpk_" + base64.StdEncoding.EncodeToString(public(k.EventSeed))
}
