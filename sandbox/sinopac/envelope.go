package sinopac

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"pay.taipei/gateway/sandbox/internal/desk"
)

// envelope is every message on /Order, in both directions.
type envelope struct {
	Version    string
	ShopNo     string
	APIService string
	Sign       string
	Nonce      string
	Message    string
}

// keys are what one key id stands for.
type keys struct {
	hashID string
	block  cipher.Block
}

var keyForm = regexp.MustCompile(`^[0-9A-F]{16}$`)

func newKeys(a1, a2, b1, b2 string) (*keys, error) {
	var quarters [4][]byte
	for i, key := range []string{a1, a2, b1, b2} {
		var err error
		if quarters[i], err = hex.DecodeString(key); err != nil || !keyForm.MatchString(key) {
			return nil, errors.New("sinopac: a key is not 16 upper-case hex digits")
		}
	}
	hashID := make([]byte, 16)
	subtle.XORBytes(hashID[:8], quarters[0], quarters[1])
	subtle.XORBytes(hashID[8:], quarters[2], quarters[3])
	k := &keys{hashID: upperHex(hashID)}
	var err error
	if k.block, err = aes.NewCipher([]byte(k.hashID)); err != nil {
		return nil, fmt.Errorf("sinopac: %w", err)
	}
	return k, nil
}

func upperHex(b []byte) string { return strings.ToUpper(hex.EncodeToString(b)) }

// vector is the initialisation vector: 16 digits as text, not the 8 bytes that they stand for.
func (k *keys) vector(nonce string) []byte {
	sum := sha256.Sum256([]byte(nonce))
	return []byte(upperHex(sum[24:]))
}

func (k *keys) seal(nonce string, plain []byte) string {
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	sealed := slices.Concat(plain, slices.Repeat([]byte{byte(pad)}, pad))
	cipher.NewCBCEncrypter(k.block, k.vector(nonce)).CryptBlocks(sealed, sealed)
	return upperHex(sealed)
}

var errSealed = errors.New("the Message cannot be deciphered")

func (k *keys) open(nonce, message string) ([]byte, error) {
	plain, err := hex.DecodeString(message)
	if err != nil || message != strings.ToUpper(message) || len(plain) == 0 || len(plain)%aes.BlockSize != 0 {
		return nil, errSealed
	}
	cipher.NewCBCDecrypter(k.block, k.vector(nonce)).CryptBlocks(plain, plain)
	pad := int(plain[len(plain)-1])
	if pad < 1 || pad > aes.BlockSize {
		return nil, errSealed
	}
	rest, padding := plain[:len(plain)-pad], plain[len(plain)-pad:]
	if slices.ContainsFunc(padding, func(b byte) bool { return int(b) != pad }) {
		return nil, errSealed
	}
	return rest, nil
}

// sign covers the scalars of a message that are not empty. What is nested is only encrypted.
func (k *keys) sign(nonce string, members []member) string {
	sorted := slices.SortedFunc(slices.Values(members), func(a, b member) int {
		return strings.Compare(strings.ToUpper(a.name), strings.ToUpper(b.name))
	})
	var pairs []string
	for _, m := range sorted {
		if value := m.scalar(); value != "" {
			pairs = append(pairs, m.name+"="+value)
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(pairs, "&") + nonce + k.hashID))
	return upperHex(sum[:])
}

// answer is what a call comes to: a message, under a signature that is right unless it is to be forged.
type answer struct {
	body   map[string]any
	forged bool
}

// order serves POST /Order.
func (b *bank) order(w http.ResponseWriter, r *http.Request, body []byte) {
	if !b.admit(w, r) {
		return
	}
	e, err := b.unwrap(body)
	if err != nil {
		complain(w, http.StatusBadRequest, "E0004 - "+err.Error())
		return
	}
	if err := b.redeem(e.Nonce, e.ShopNo); err != nil {
		complain(w, http.StatusBadRequest, "E0001 - "+err.Error())
		return
	}
	plain, err := b.keys.open(e.Nonce, e.Message)
	if err != nil {
		complain(w, http.StatusBadRequest, "E0003 - "+err.Error())
		return
	}
	in, err := newReader(plain)
	if err != nil {
		complain(w, http.StatusBadRequest, "E0003 - "+err.Error())
		return
	}
	if subtle.ConstantTimeCompare([]byte(b.keys.sign(e.Nonce, in.members)), []byte(e.Sign)) != 1 {
		complain(w, http.StatusBadRequest, "E0002 - the Sign is wrong")
		return
	}
	a := b.serve(e, in)
	if e.APIService == "OrderMaintain" && b.desk.Panel.Current().AnswerDropped {
		desk.Drop(w)
		return
	}
	b.wrap(w, e, a)
}

func (b *bank) unwrap(body []byte) (envelope, error) {
	in, err := newReader(body)
	if err != nil {
		return envelope{}, err
	}
	e := envelope{
		Version: in.choice("Version", "1.0.0"), ShopNo: in.choice("ShopNo", b.shops...), APIService: in.text("APIService", 1, 50),
		Sign: in.text("Sign", 64, 64), Nonce: in.text("Nonce", 108, 108), Message: in.text("Message", 1, 64<<10),
	}
	if wrong := in.end(); wrong != "" {
		return envelope{}, errors.New(wrong)
	}
	return e, nil
}

func (b *bank) serve(e envelope, in *reader) answer {
	in.choice("ShopNo", e.ShopNo)
	switch e.APIService {
	case "OrderCreate":
		return b.create(e.ShopNo, in)
	case "OrderPayQuery":
		return b.payQuery(e.ShopNo, in)
	case "OrderQuery":
		return b.orderQuery(e.ShopNo, in)
	case "OrderUnCapturedQuery":
		return b.unCapturedQuery(e.ShopNo, in)
	case "OrderMaintain":
		return b.maintain(e.ShopNo, in)
	}
	return refuse(e.ShopNo, "S0002 – 不支援此服務: "+e.APIService)
}

func refuse(shop, description string) answer {
	return answer{body: map[string]any{"ShopNo": shop, "Status": "F", "Description": description}}
}

// wrap answers under a nonce of the answer's own.
func (b *bank) wrap(w http.ResponseWriter, e envelope, a answer) {
	nonce, errNonce := b.newNonce()
	plain, errJSON := json.Marshal(a.body)
	members, errMembers := membersOf(plain)
	if err := errors.Join(errNonce, errJSON, errMembers); err != nil {
		complain(w, http.StatusInternalServerError, "E0500 - the answer cannot be written")
		return
	}
	e.Sign, e.Nonce, e.Message = b.keys.sign(nonce, members), nonce, b.keys.seal(nonce, plain)
	if a.forged {
		e.Sign = e.Sign[1:] + e.Sign[:1] // of the right form still
	}
	desk.WriteJSON(w, http.StatusOK, e)
}
