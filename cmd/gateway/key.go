package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"

	"pay.taipei/gateway/configs"
)

// keyCmd makes keys. It prints them, and that is the only time: nothing is kept.
type keyCmd struct {
	Client  keyClientCmd  `cmd:"" help:"Make the key with which a client calls the order API."`
	Webhook keyWebhookCmd `cmd:"" help:"Make the pair with which events to a client are signed and verified."`
	Seed    keySeedCmd    `cmd:"" help:"Make the pair with which orders are signed, for adapters that use Ed25519."`
}

type keyClientCmd struct {
	ID string `arg:"" placeholder:"ID" help:"Name of the key, such as core2026: up to 32 of A-Z, a-z, 0-9 and -."`
}

// Run prints the key and its digest.
func (c *keyClientCmd) Run() error {
	if !configs.IsKeyID(c.ID) {
		return fmt.Errorf("%q is no name of a key: want up to 32 of A-Z, a-z, 0-9 and -", c.ID)
	}
	secret := base64.RawURLEncoding.EncodeToString(random())
	digest := sha256.Sum256([]byte(secret))
	_, err := fmt.Printf("for the client, secret:  gk_%s_%s\nunder clients[].keys:    {id: %s, sha256: %s}\n", c.ID, secret, c.ID, hex.EncodeToString(digest[:]))
	return err
}

type keyWebhookCmd struct{}

// Run prints both halves as Standard Webhooks writes them.
func (keyWebhookCmd) Run() error {
	key := ed25519.NewKeyFromSeed(random())
	_, err := fmt.Printf("for keys_file, secret:     whsk_%s\nfor the client, to verify: whpk_%s\n",
		base64.StdEncoding.EncodeToString(key), base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
	return err
}

type keySeedCmd struct{}

// Run prints the seed and the public key, both base64url.
func (keySeedCmd) Run() error {
	seed := random()
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	_, err := fmt.Printf("for seed_file, secret:      %s\nfor the provider, to verify: %s\n",
		base64.RawURLEncoding.EncodeToString(seed), base64.RawURLEncoding.EncodeToString(public))
	return err
}

func random() []byte {
	b := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(b) // never fails, or ends the program
	return b
}
