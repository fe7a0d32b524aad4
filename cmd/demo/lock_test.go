package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A second demo on the folder of a running one is refused, with -reset too, and takes nothing from it.
func TestOneDemoPerFolder(t *testing.T) {
	dir := t.TempDir()
	facts, stop := startJSON(t, "-data", dir)
	for _, args := range [][]string{{"-data", dir}, {"-data", dir, "-reset"}} {
		ctx, cancel := context.WithCancel(t.Context())
		err := run(ctx, args, onWrite(cancel)) // one that starts all the same ends with its first word
		cancel()
		if err == nil || !strings.Contains(err.Error(), "a demo is running on this folder: stop it, or give -data another folder") || !strings.Contains(err.Error(), facts["core"]) {
			t.Errorf("%v: %v", args, err)
		}
	}
	for _, name := range []string{"gateway.db", "keys.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	stop()
	if again, _ := startJSON(t, "-data", dir); again["api_key"] != facts["api_key"] {
		t.Error("the refused -reset changed the key")
	}
}

// onWrite is called instead of writing.
type onWrite func()

func (f onWrite) Write(p []byte) (int, error) { f(); return len(p), nil }

// A demo that was killed leaves its folder unlocked.
func TestKilledDemoUnlocks(t *testing.T) {
	const folder = "DEMO_TEST_LOCK"
	if dir := os.Getenv(folder); dir != "" { // the demo that will be killed
		if _, err := lockFolder(dir); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		_, _ = io.Copy(io.Discard, os.Stdin) // until then
		return
	}
	dir := t.TempDir()
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestKilledDemoUnlocks$")
	other.Env = append(os.Environ(), folder+"="+dir)
	if _, err := other.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || said != "locked\n" {
		t.Fatalf("the other says %q (%v)", said, err)
	}
	if _, err := lockFolder(dir); err == nil {
		t.Error("two processes have the lock")
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := other.Wait(); err == nil {
		t.Error("the other ended by itself")
	}
	lock, err := lockFolder(dir)
	if err != nil {
		t.Fatalf("after a kill: %v", err)
	}
	if err := lock.release(); err != nil {
		t.Error(err)
	}
}
