package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// startLimit bounds the start of a server and every helper program, generously: a busy machine must not fail a test.
const startLimit = 60 * time.Second

// process is a running child. The goroutine that started it owns it and waits for it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has ended
}

// launch starts cmd, which gets the signal death when this test binary is gone. The child's owner goroutine keeps its
// OS thread: the parent-death signal is bound to the thread that forked, see prctl(2).
func launch(cmd *exec.Cmd, death syscall.Signal) (*process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	dieWithParent(cmd.SysProcAttr, death)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.own(started)
	return p, <-started
}

func (p *process) own(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // the end of a killed server is no news
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop sends s and waits for the end. Stopping twice, or what never started, is harmless.
func (p *process) stop(s syscall.Signal) {
	if p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(s) // fails only when the child has ended already
	}
	<-p.done
}

// awaitReady polls ready until it holds, and fails when the child ends or the time is up.
func (p *process) awaitReady(ready func() bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	for !ready() {
		select {
		case <-p.done:
			return fmt.Errorf("%s ended while starting", filepath.Base(p.cmd.Path))
		case <-limit.C:
			return fmt.Errorf("%s not ready after %v", filepath.Base(p.cmd.Path), startLimit)
		case <-tick.C:
		}
	}
	return nil
}

// run runs a helper program to its end and returns its output in the error.
func run(as *syscall.Credential, dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	out, err := command(ctx, as, dir, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, out)
	}
	return nil
}

// command prepares a program with a bare environment: a PGHOST or a locale of the caller must not reach it.
func command(ctx context.Context, as *syscall.Credential, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	return cmd
}

// removeAtEnd removes dir when the returned pipe is closed: by its holder, or by the kernel when this test binary is
// gone, however it ended. The second leaves a server time to end.
func removeAtEnd(dir string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("sh", "-c", `trap "" INT TERM; cat; sleep 1; rm -rf "$0"`, dir)
	cmd.Stdin = r
	return w, errors.Join(cmd.Start(), r.Close())
}
