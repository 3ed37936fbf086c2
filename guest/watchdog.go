package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"syscall"
	"time"
	"unsafe"
)

const watchdogDevice = "/dev/watchdog"

// watchdogSeconds is how long the kernel waits for the guest before it restarts the VM: longer than the guest takes to
// find that it no longer answers, and to say so.
var watchdogSeconds int32 = 60

// petted is a test's way to know that the watchdog is at work.
var petted = func() {}

// A watchdog ends a VM whose guest is dead, where nobody outside looks at /livez. A guest that no longer answers finds it
// out by itself; one that does nothing at all any more is found out by the kernel.
type watchdog struct {
	ask    func(ctx context.Context) error // whether the guest answers
	pet    func()                          // tells the kernel that it does
	giveUp func(reason string)
	pause  time.Duration
	once   time.Duration // for one answer
}

// run asks until the end, and gives up after some failures in a row.
func (w *watchdog) run(ctx context.Context) {
	const limit = 4
	for failures := 0; ; {
		err := w.try(ctx)
		if err == nil {
			w.pet()
			failures = 0
		} else if failures++; failures == limit {
			w.giveUp(fmt.Sprintf("the guest no longer answers on its health port: %v", err))
			return
		}
		if !sleep(ctx, w.pause) {
			return
		}
	}
}

func (w *watchdog) try(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, w.once)
	defer cancel()
	err := w.ask(limited)
	if err != nil && isOver(limited) {
		return fmt.Errorf("no answer within %v", w.once)
	}
	return err
}

// keepWatchdog takes the kernel's watchdog, if the platform has one, and keeps it quiet while /livez answers.
func (g *guest) keepWatchdog(healthPort int) {
	device, err := os.OpenFile(watchdogDevice, os.O_WRONLY, 0)
	if err == nil {
		err = setWatchdog(device, watchdogSeconds)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		g.complain("watchdog: " + err.Error())
		return
	}
	livez := &url.URL{Scheme: "http", Host: fmt.Sprintf("%s:%d", ownAddress, healthPort), Path: "/livez"}
	w := &watchdog{pause: 5 * time.Second, once: 5 * time.Second, giveUp: crash, ask: func(ctx context.Context) error {
		return askLivez(ctx, livez)
	}, pet: func() {
		device.Write([]byte{0}) // a failure ends in a restart, as it should
		petted()
	}}
	go guarded(func() { w.run(context.Background()) })
}

func askLivez(ctx context.Context, livez *url.URL) error {
	head, err := fetchHead(ctx, livez, nil)
	if err == nil && head.status != 200 {
		err = fmt.Errorf("HTTP status %d", head.status)
	}
	return err
}

func setWatchdog(device *os.File, seconds int32) error {
	const setTimeout = 0xc0045706 // WDIOC_SETTIMEOUT
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, device.Fd(), setTimeout, uintptr(unsafe.Pointer(&seconds)))
	if errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}
