//go:build !linux

package testkit

import "syscall"

// dieWithParent does nothing: only Linux has a parent-death signal. A server of a test binary that was killed has to
// be ended by hand here.
func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}
