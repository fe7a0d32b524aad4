package bravobank_test

import (
	"testing"

	"pay.taipei/gateway/providers/providertest"
)

// No changed callback tells anything but what a genuine one does, and nothing that we signed reads as one.
func TestMutatedCallbacks(t *testing.T) { providertest.RunMutated(t, harness(t)) }
