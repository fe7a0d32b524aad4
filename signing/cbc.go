package signing

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
)

// CBC is an envelope of AES-256 in CBC mode with one initialisation vector for all messages, as some providers demand. It hides
// and proves nothing: whoever can change the ciphertext changes the content, and equal beginnings look equal. Verify the
// digest that comes with the envelope before Open. Make it with NewCBC; the zero value panics.
type CBC struct {
	block cipher.Block
	iv    Secret
	pad   int
}

// The widest padding that Open takes: providers pad to 16 bytes or to 32, and some to both.
const maxPadding = 32

// errSealed is all that Open tells, so that a caller cannot tell bad padding from bad length either.
var errSealed = errors.New("signing: the envelope cannot be opened")

// NewCBC takes a key of 32 bytes, a vector of 16, and the block to which Seal pads (PKCS #7): 16 or 32.
func NewCBC(key, iv Secret, pad int) (*CBC, error) {
	switch {
	case len(key.raw()) != 32:
		return nil, fmt.Errorf("signing: an AES-256 key has 32 bytes, this has %d", len(key.raw()))
	case len(iv.raw()) != aes.BlockSize:
		return nil, fmt.Errorf("signing: an initialisation vector has %d bytes, this has %d", aes.BlockSize, len(iv.raw()))
	case pad != aes.BlockSize && pad != maxPadding:
		return nil, fmt.Errorf("signing: padding is to 16 or 32 bytes, not to %d", pad)
	}
	block, err := aes.NewCipher(key.raw())
	if err != nil {
		return nil, fmt.Errorf("signing: AES: %w", err)
	}
	return &CBC{block: block, iv: iv, pad: pad}, nil
}

// Seal pads and encrypts. The same plain text gives the same bytes.
func (c *CBC) Seal(plain []byte) []byte {
	n := c.pad - len(plain)%c.pad
	sealed := slices.Concat(plain, slices.Repeat([]byte{byte(n)}, n))
	cipher.NewCBCEncrypter(c.block, c.iv.raw()).CryptBlocks(sealed, sealed) //nolint:gosec // the provider fixes the vector
	return sealed
}

// Open decrypts and takes padding of 1 to 32 bytes, whatever Seal pads to: one provider's answers come in both. The error
// is always the same. It does not tell who sealed.
func (c *CBC) Open(sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, errSealed
	}
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(c.block, c.iv.raw()).CryptBlocks(plain, sealed)
	n := int(plain[len(plain)-1])
	if n < 1 || n > maxPadding || n > len(plain) {
		return nil, errSealed
	}
	body, padding := plain[:len(plain)-n], plain[len(plain)-n:]
	for _, b := range padding {
		if int(b) != n {
			return nil, errSealed
		}
	}
	return body, nil
}
