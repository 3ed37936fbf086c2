package main

import (
	"fmt"
	"os"
)

// crash ends the guest when its own code fails; main replaces it as soon as there is a console.
var crash = func(reason string) {
	fmt.Fprintln(os.Stderr, reason)
	os.Exit(1)
}

// guarded runs the work of a goroutine, so that a bug in it is told on the console before the VM goes down.
func guarded(work func()) {
	defer func() {
		if cause := recover(); cause != nil {
			crash(fmt.Sprintf("panic: %v", cause))
		}
	}()
	work()
}
