package sinopac

import (
	"fmt"
	"strings"

	"pay.taipei/gateway/providers/internal/wire"
	"pay.taipei/gateway/signing"
)

// signedText is what is signed of a message: its top-level members that are scalars and not empty, sorted by name without
// regard to case. Objects and arrays are only encrypted: whoever can forge ciphertext can change them.
func signedText(message []byte) (signing.Text, error) {
	members, err := wire.Object(message)
	if err != nil {
		return nil, fmt.Errorf("the message is %w", err)
	}
	var fields []signing.Field
	seen := make(map[string]bool)
	for name, raw := range members {
		if folded := strings.ToUpper(name); seen[folded] {
			return nil, fmt.Errorf("member %.40q is repeated", name)
		} else {
			seen[folded] = true
		}
		if value, scalar := wire.Scalar(raw); scalar {
			fields = append(fields, signing.Field{Name: name, Value: value})
		}
	}
	return signing.Recipe{SortBy: strings.ToUpper, SkipEmpty: true}.Text(fields), nil
}
