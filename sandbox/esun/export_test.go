package esun

import "encoding/hex"

// RequestMAC is what the bank expects beside data.
func RequestMAC(data, key string) string {
	mac := requestMAC(data, key)
	return hex.EncodeToString(mac[:])
}

// ResultMAC is what the bank sends beside DATA.
func ResultMAC(data, key string) string {
	mac := resultMAC(data, key)
	return hex.EncodeToString(mac[:])
}
