package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// folderLock keeps a second demo away from a data folder. The system gives it back when the
// process ends, however it ends; the file stays, for a file that is locked must not be replaced.
type folderLock struct{ file *os.File }

// lockFolder takes the lock of a data folder, or says who has it.
func lockFolder(dir string) (*folderLock, error) {
	file, err := os.OpenFile(filepath.Join(dir, "demo.lock"), os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the folder that the caller chose
	if err != nil {
		return nil, fmt.Errorf("demo: lock: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return &folderLock{file}, nil
	}
	where, _ := io.ReadAll(io.LimitReader(file, 200)) // only told to a person
	_ = file.Close()                                  // nothing was written
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("demo: lock %s: %w", dir, err)
	}
	return nil, fmt.Errorf("demo: a demo is running on this folder: stop it, or give -data another folder (%s; %s)",
		dir, strings.TrimSpace(string(where)))
}

// tell writes into the file where the demo is, for whoever is refused.
func (l *folderLock) tell(address string) error {
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("demo: lock: %w", err)
	}
	if _, err := l.file.WriteAt(fmt.Appendf(nil, "the city is at %s, process %d\n", address, os.Getpid()), 0); err != nil {
		return fmt.Errorf("demo: lock: %w", err)
	}
	return nil
}

// release lets the next demo in.
func (l *folderLock) release() error {
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("demo: lock: %w", err)
	}
	return nil
}
