package newebpay_test

import (
	"os"
	"strconv"
	"testing"

	"pay.taipei/gateway/providers/providertest"
)

// No changed callback tells anything but what a genuine one does, and nothing that we signed reads as one. MUTATIONS says how
// many are tried.
func TestMutatedCallbacks(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("MUTATIONS"))
	if err != nil {
		n = 3000
	}
	if err := providertest.Mutated(harness(t), n, uint64(n)); err != nil {
		t.Error(err)
	}
}
