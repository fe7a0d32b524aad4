package sinopac

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"

	"pay.taipei/gateway/signing"
)

// hashID is the shop's key: each two of its four keys of 16 hex digits xored, in upper-case hex.
func hashID(a1, a2, b1, b2 signing.Secret) (signing.Secret, error) {
	a, errA := xor(a1, a2)
	b, errB := xor(b1, b2)
	if err := errors.Join(errA, errB); err != nil {
		return signing.Secret{}, err
	}
	return signing.NewSecret([]byte(upper(a) + upper(b))), nil
}

func xor(x, y signing.Secret) ([]byte, error) {
	a, errA := hex.DecodeString(strings.ReplaceAll(string(x.Reveal()), "-", ""))
	b, errB := hex.DecodeString(strings.ReplaceAll(string(y.Reveal()), "-", ""))
	if errA != nil || errB != nil || len(a) != 8 || len(b) != 8 { // the decoder's error quotes the key
		return nil, errors.New("a key is 16 hex digits, dashes aside")
	}
	for i := range a {
		a[i] ^= b[i]
	}
	return a, nil
}

// ivOf is the initialisation vector under a nonce: sixteen characters of text, not the bytes they spell.
func ivOf(nonce string) string {
	sum := sha256.Sum256([]byte(nonce))
	text := upper(sum[:])
	return text[len(text)-16:]
}

// sign is the signature of a text under a nonce, in upper-case hex.
func sign(text signing.Text, nonce string, hashID signing.Secret) (string, error) {
	d, err := signing.NewDigest(signing.Secret{}, signing.NewSecret(append([]byte(nonce), hashID.Reveal()...)))
	if err != nil {
		return "", err
	}
	return upper(d.Sum(text)), nil
}

var errSealed = errors.New("the message cannot be opened with this key and nonce")

// open decrypts a message. It proves nothing.
func open(message, nonce string, hashID signing.Secret) ([]byte, error) {
	cbc, err := signing.NewCBC(hashID, signing.NewSecret([]byte(ivOf(nonce))), 16)
	if err != nil {
		return nil, err
	}
	sealed, err := hex.DecodeString(message)
	if err != nil {
		return nil, errSealed
	}
	plain, err := cbc.Open(sealed)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// seal encrypts a message, in upper-case hex.
func seal(message []byte, nonce string, hashID signing.Secret) (string, error) {
	cbc, err := signing.NewCBC(hashID, signing.NewSecret([]byte(ivOf(nonce))), 16)
	if err != nil {
		return "", err
	}
	return upper(cbc.Seal(message)), nil
}

// verified opens an answer and holds its Sign against its scalar members; nested ones lie under no signature. valid is false
// when it does not match.
func verified(message, sum, nonce string, hashID signing.Secret) (plain []byte, valid bool, err error) {
	if plain, err = open(message, nonce, hashID); err != nil {
		return nil, false, err
	}
	text, err := signedText(plain)
	if err != nil {
		return nil, false, err
	}
	want, err := sign(text, nonce, hashID)
	if err != nil {
		return nil, false, err
	}
	return plain, subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToUpper(sum))) == 1, nil
}

func upper(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }
