//go:build dead

package main

import (
	"bytes"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"unsafe"
)

// The guest of a test (tests/e2e/test_dead_guests.py) dies as soon as its watchdog is at work, in the manner that the
// kernel's command line names.
func init() {
	watchdogSeconds = 10
	petted = func() {
		commandLine, _ := os.ReadFile("/proc/cmdline")
		_, manner, _ := strings.Cut(strings.TrimSpace(string(commandLine)), "i2kit.death=")
		map[string]func(){"hang": hang, "crash": crashHard, "memory": takeMemory, "panic": panicSoftly}[manner]()
	}
}

func panicSoftly() { panic("a bug of the test's making") }

// hang does nothing any more, so thoroughly that nothing else of the guest does either.
func hang() {
	const setMask, setSize = 2, 8
	everySignal := ^uint64(0)
	// Raw calls, so that the runtime does not give the only processor to other goroutines.
	syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, setMask, uintptr(unsafe.Pointer(&everySignal)), 0, setSize, 0, 0)
	for {
		syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
	}
}

// crashHard runs out of stack, which no Go program survives, whatever it recovers from.
func crashHard() {
	debug.SetMaxStack(1 << 20)
	crashHard()
}

// takeMemory takes all there is; PID 1 is the one process that the kernel does not kill for it.
func takeMemory() {
	for {
		taken = append(taken, bytes.Repeat([]byte{1}, 1<<20))
	}
}

var taken [][]byte
