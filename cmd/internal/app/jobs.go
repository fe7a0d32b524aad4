package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// jobs runs background steps, each in goroutines of its own, until it is stopped.
type jobs struct {
	log   *slog.Logger
	now   func() time.Time
	mu    sync.Mutex // guards list and begun
	list  []job
	begun bool
	stop  chan struct{} // closed: start no further step
	hard  context.Context
	cut   context.CancelFunc // ends the steps that are still running
	done  sync.WaitGroup
	waker struct {
		sync.Mutex
		wake chan struct{} // closed and renewed by Wake
	}
}

type job struct {
	name    string
	workers int
	step    func(context.Context) (time.Time, error)
	busy    *atomic.Int32 // steps that are running
}

var errPanicked = errors.New("panicked; see the log")

func newJobs(log *slog.Logger, now func() time.Time) *jobs {
	j := &jobs{log: log, now: now, stop: make(chan struct{})}
	j.hard, j.cut = context.WithCancel(context.Background()) // ends by stopped, not by a request
	j.waker.wake = make(chan struct{})
	return j
}

// add adds a job, unless there is one of its name; it starts with the others, or at once when they run.
func (j *jobs) add(name string, workers int, step func(context.Context) (time.Time, error)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.list {
		if j.list[i].name == name {
			return
		}
	}
	added := job{name, workers, step, new(atomic.Int32)}
	j.list = append(j.list, added)
	if j.begun {
		j.run(added)
	}
}

// Wake makes every idle worker look for work now.
func (j *jobs) Wake() {
	j.waker.Lock()
	defer j.waker.Unlock()
	close(j.waker.wake)
	j.waker.wake = make(chan struct{})
}

func (j *jobs) woken() <-chan struct{} {
	j.waker.Lock()
	defer j.waker.Unlock()
	return j.waker.wake
}

func (j *jobs) start() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.begun = true
	for _, job := range j.list {
		j.run(job)
	}
}

// run starts a job's workers, unless everything stops. The caller holds the lock.
func (j *jobs) run(added job) {
	select {
	case <-j.stop:
		return
	default:
	}
	for range added.workers {
		j.done.Go(func() { j.loop(added) })
	}
}

// loop takes the wake-up channel before the step, so that a wake-up during the step is not missed.
func (j *jobs) loop(job job) {
	for {
		woken := j.woken()
		select {
		case <-j.stop:
			return
		default:
		}
		next, err := j.step(job)
		if err != nil && j.hard.Err() == nil {
			j.log.Error("background step failed, it will be tried again", "job", job.name, "err", err)
		}
		wait := next.Sub(j.now())
		if err != nil {
			wait, woken = max(wait, time.Second), nil
		}
		if wait <= 0 {
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-j.stop:
			timer.Stop()
			return
		case <-woken:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// step runs one step. A panic is an error of that step and no more; its value is logged only by type, for it may quote
// foreign bytes.
func (j *jobs) step(job job) (next time.Time, err error) {
	job.busy.Add(1)
	defer job.busy.Add(-1)
	defer func() {
		if v := recover(); v != nil {
			j.log.Error("panic", "job", job.name, "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	return job.step(j.hard)
}

// running are the jobs of which a step is running.
func (j *jobs) running() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var names []string
	for _, job := range j.list {
		if job.busy.Load() > 0 {
			names = append(names, job.name)
		}
	}
	return names
}

// stopped starts no further step, waits for the running ones until ctx ends, then cuts them and
// waits for them to return: they still tell the store what became of their work, which may take its time.
func (j *jobs) stopped(ctx context.Context) {
	j.mu.Lock() // nothing is added while it stops
	close(j.stop)
	j.mu.Unlock()
	uncut := context.AfterFunc(ctx, j.cut)
	j.done.Wait()
	uncut()
	j.cut()
}
