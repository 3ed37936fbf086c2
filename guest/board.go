package main

import (
	"fmt"
	"sync"
)

// A condition is what is known of one container.
type condition struct {
	running bool
	started bool // its startup probe has succeeded, or it has none
	ready   bool // its readiness probe succeeds, or it has none
	ended   bool // for good
}

// A board gathers the containers' conditions into the Pod's readiness, and announces every change of it.
type board struct {
	names    []string
	announce func(ready bool, reason string)

	mu         sync.Mutex
	conditions map[string]*condition
	phase      string // why the Pod is not ready whatever its containers say
	ready      bool
}

func newBoard(announce func(ready bool, reason string)) *board {
	return &board{announce: announce, conditions: map[string]*condition{}, phase: "the VM is starting"}
}

// open begins to look at the containers.
func (b *board) open(names []string) {
	b.change(func() {
		b.names, b.phase = names, ""
		for _, name := range names {
			b.conditions[name] = &condition{}
		}
	})
}

// begin forgets what was known of a container. What a probe of an earlier run still finds out goes into that run's
// condition, which nobody reads any more.
func (b *board) begin(name string, now condition) *condition {
	b.change(func() { b.conditions[name] = &now })
	return &now
}

// shut makes the Pod unready for good.
func (b *board) shut(reason string) { b.change(func() { b.phase = reason }) }

// change is the only way to write a condition.
func (b *board) change(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	ready, reason := b.judge()
	if ready != b.ready {
		b.ready = ready
		b.announce(ready, reason)
	}
}

// verdict tells whether the Pod is ready, and if not, why.
func (b *board) verdict() (ready bool, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.judge()
}

func (b *board) judge() (ready bool, reason string) {
	if b.phase != "" {
		return false, b.phase
	}
	for _, name := range b.names {
		switch c := b.conditions[name]; {
		case c.ended:
			return false, fmt.Sprintf("container %s has ended", name)
		case !c.running:
			return false, fmt.Sprintf("container %s is not running", name)
		case !c.started:
			return false, fmt.Sprintf("container %s has not started up: its startup probe has not succeeded", name)
		case !c.ready:
			return false, fmt.Sprintf("container %s is not ready: its readiness probe does not succeed", name)
		}
	}
	return true, ""
}
