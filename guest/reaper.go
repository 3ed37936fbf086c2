package main

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// A reaper is the only caller of wait4 in the guest. PID 1 inherits every orphan of the VM, so it has to wait for any
// child, and would steal exit codes from anyone who waits for a certain one; hence all exits are handed out here.
type reaper struct {
	mu        sync.Mutex
	waiting   map[int]chan int
	expecting int
	strays    map[int]int
}

func newReaper() *reaper {
	return &reaper{waiting: map[int]chan int{}, strays: map[int]int{}}
}

// run reaps until the process ends. It must be started before the first spawn.
func (r *reaper) run() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for range children {
		r.reap()
	}
}

func (r *reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		r.dispatch(pid, exitCode(status))
	}
}

func (r *reaper) dispatch(pid, code int) {
	if exited, ok := r.waiting[pid]; ok {
		delete(r.waiting, pid)
		exited <- code
	} else if r.expecting > 0 {
		r.strays[pid] = code
	}
}

// exitCode is the shell's: 128 and the signal for a process that was killed.
func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// A child is a process whose exit code will be sent once.
type child struct {
	pid    int
	exited <-chan int
}

// spawn starts a program. The lock is held over the fork, so that no exit can come before its waiter.
func (r *reaper) spawn(argv []string, attr *syscall.ProcAttr) (child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		return child{}, fmt.Errorf("cannot run %s: %w", argv[0], err)
	}
	return r.watch(pid), nil
}

func (r *reaper) watch(pid int) child {
	exited := make(chan int, 1)
	r.waiting[pid] = exited
	return child{pid, exited}
}

// expect keeps the exit codes of unknown children until the returned function is called: a process may be
// inherited, and even end, before its pid is known.
func (r *reaper) expect() (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expecting++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.expecting--; r.expecting == 0 {
			clear(r.strays)
		}
	}
}

// adopt waits for an inherited process. It must be called between expect and its done.
func (r *reaper) adopt(pid int) child {
	r.mu.Lock()
	defer r.mu.Unlock()
	inherited := r.watch(pid)
	if code, ok := r.strays[pid]; ok {
		delete(r.strays, pid)
		r.dispatch(pid, code)
	}
	return inherited
}

// signal reaches a child, and never a stranger that got the pid after it.
func (r *reaper) signal(c child, sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.waiting[c.pid]; ok {
		syscall.Kill(c.pid, sig)
	}
}

// killGroup kills a child and what it has started: crun and udhcpc run in a session of their own, and what crun starts
// in another.
func (r *reaper) killGroup(c child) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.waiting[c.pid]; !ok {
		return
	}
	if group, err := syscall.Getpgid(c.pid); err == nil && group > 1 && group != syscall.Getpgrp() {
		syscall.Kill(-group, syscall.SIGKILL)
	}
	syscall.Kill(c.pid, syscall.SIGKILL)
}
