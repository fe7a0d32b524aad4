package sinopac

// Envelope is the outer form of a message.
type Envelope = envelope

// Keys are the double's own cryptography, for the published vectors and for a gateway that talks to it.
type Keys struct{ k *keys }

// NewKeys makes them of the four parts.
func NewKeys(a1, a2, b1, b2 string) (Keys, error) {
	k, err := newKeys(a1, a2, b1, b2)
	return Keys{k}, err
}

// HashID is the AES key and what signatures end with.
func (k Keys) HashID() string { return k.k.hashID }

// Vector is the initialisation vector of a nonce.
func (k Keys) Vector(nonce string) string { return string(k.k.vector(nonce)) }

// Seal encrypts a message.
func (k Keys) Seal(nonce, plain string) string { return k.k.seal(nonce, []byte(plain)) }

// Open decrypts one.
func (k Keys) Open(nonce, message string) (string, error) {
	plain, err := k.k.open(nonce, message)
	return string(plain), err
}

// Sign signs a JSON object.
func (k Keys) Sign(nonce, plain string) (string, error) {
	members, err := membersOf([]byte(plain))
	if err != nil {
		return "", err
	}
	return k.k.sign(nonce, members), nil
}
