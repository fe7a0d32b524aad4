package bravobank

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/providers/internal/wire"
	"pay.taipei/gateway/signing"
)

// noticeFields are the fields of section 6, in its order.
func noticeFields() []string {
	return []string{"order_no", "attempt_no", "environment", "payee_member_id", "payer_member_id", "status", "total", "currency", "method", "paid_at", "trade_no"}
}

// Diagnose says with what else than it should a notice verifies.
func (a *Adapter) Diagnose(raw providers.RawCallback) []providers.Cause {
	kid, timestamp, nonce := raw.Header.Get("Bravo-Kid"), raw.Header.Get("Bravo-Timestamp"), raw.Header.Get("Bravo-Nonce")
	sig, err := base64.RawURLEncoding.DecodeString(raw.Header.Get("Bravo-Signature"))
	if len(sig) == 0 || err != nil {
		return []providers.Cause{{Code: providers.CauseMissingSignature, Why: "the header Bravo-Signature is missing or is no base64url: a proxy drops headers that it does not know"}}
	}
	text := func(label, path string, body []byte) signing.Text {
		return messageText(label, kid, timestamp, nonce, path, body)
	}
	for _, label := range []string{labelNotice, labelQuery, labelRefund} {
		for _, path := range []string{raw.Path, "/api/v1/query", "/api/v1/refund"} {
			if a.signedByUs(text(label, path, raw.Body), sig) {
				return []providers.Cause{{Code: providers.CauseOurOwn, Why: "it is signed with our own key: a message that we sent comes back to us"}}
			}
		}
	}
	notice := text(labelNotice, raw.Path, raw.Body)
	id, err := a.bank.VerifyAny(notice, sig)
	if err == nil && id == kid {
		return nil
	}
	if err == nil {
		return []providers.Cause{{Code: providers.CauseKeyID, Why: "it is signed with the key " + id + " and names another"}}
	}
	if test, err := testKeys(); err == nil {
		if _, err := test.VerifyAny(notice, sig); err == nil {
			return []providers.Cause{{Code: providers.CauseTestKey, Why: "it is signed with a published test key: the other side runs with the key of the documentation"}}
		}
	}
	members, err := wire.Object(raw.Body)
	if err != nil {
		return nil
	}
	body, missing := inOrder(members)
	var compact bytes.Buffer
	if json.Compact(&compact, raw.Body) != nil || bytes.Equal(compact.Bytes(), body) {
		return nil // their order is right
	}
	if _, err := a.bank.VerifyAny(text(labelNotice, raw.Path, body), sig); err != nil {
		return nil
	}
	if missing {
		return []providers.Cause{{Code: providers.CauseMissingField, Why: "fields that were empty when it was signed are missing: a relay leaves out what is empty"}}
	}
	return []providers.Cause{{Code: providers.CauseReordered, Why: "its fields stand in another order than when they were signed: a relay reads and writes the JSON"}}
}

func (a *Adapter) signedByUs(t signing.Text, sig []byte) bool {
	ours, err := signing.NewEd25519Keys([]signing.Ed25519Key{{ID: "ours", Public: a.signer.PublicKey()}})
	if err != nil {
		return false
	}
	_, err = ours.VerifyAny(t, sig)
	return err == nil
}

func testKeys() (*signing.Ed25519Keys, error) {
	var keys []signing.Ed25519Key
	for _, text := range published {
		public, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, signing.Ed25519Key{ID: text, Public: public})
	}
	return signing.NewEd25519Keys(keys)
}

// inOrder writes a notice as the bank does, with nothing for what is missing.
func inOrder(members map[string]json.RawMessage) (body []byte, missing bool) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, name := range noticeFields() {
		value, there := members[name]
		if !there {
			value, missing = []byte(`""`), true
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + name + `":`)
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), missing
}
