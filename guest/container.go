package main

import (
	"context"
	"syscall"
	"time"
)

// cannotStart is the exit code of a container that crun could not start.
const cannotStart = 128

// A run is one life of a container.
type run interface {
	exited() <-chan int
	signal(sig syscall.Signal)
	// close waits for the last output and removes what the run has left.
	close()
}

// An engine starts containers.
type engine interface {
	start(name string) (run, error)
}

// A supervisor keeps one container running, as the Pod's restart policy and the container's probes say.
type supervisor struct {
	spec    *containerSpec
	policy  string
	grace   time.Duration
	engine  engine
	board   *board
	events  eventLog
	checker func(kind string, spec *probeSpec) check

	backoff backoff
}

// supervise returns when the container has ended for good. When keep ends, the container is neither probed nor started
// again; when stay ends, it is stopped. The result tells whether its last run succeeded.
func (s *supervisor) supervise(keep, stay context.Context) bool {
	for {
		begin := time.Now()
		failed := s.live(keep, stay)
		if keep.Err() != nil || !s.again(failed) {
			s.board.begin(s.spec.Name, condition{ended: true})
			return !failed
		}
		if pause := s.backoff.next(time.Since(begin)); pause > 0 {
			s.events.emit("container", "name", s.spec.Name, "state", "waiting", "seconds", int(pause.Seconds()))
			if !sleep(keep, pause) {
				return !failed
			}
		}
	}
}

func (s *supervisor) again(failed bool) bool {
	return s.policy == restartAlways || s.policy == restartOnFailure && failed
}

// live starts the container once and stays until it has exited.
func (s *supervisor) live(keep, stay context.Context) (failed bool) {
	current, err := s.engine.start(s.spec.Name)
	if err != nil {
		s.exited(cannotStart, err.Error())
		return true
	}
	s.events.emit("container", "name", s.spec.Name, "state", "started")
	now := s.board.begin(s.spec.Name, condition{running: true})

	probing, stopProbing := context.WithCancel(keep)
	defer stopProbing()
	failing := make(chan string, 2)
	go guarded(func() { s.probe(probing, now, failing) })

	code, reason := 0, ""
	select {
	case code = <-current.exited():
	case reason = <-failing:
		stopProbing()
		s.board.begin(s.spec.Name, condition{})
		code = s.stop(current)
	case <-stay.Done():
		code = s.stop(current)
	}
	stopProbing()
	s.board.begin(s.spec.Name, condition{})
	current.close()
	s.exited(code, reason)
	return code != 0 || reason != ""
}

func (s *supervisor) exited(code int, reason string) {
	s.events.emit("container", "name", s.spec.Name, "state", "exited", "code", code, "reason", reason)
}

// stop asks the container to end, and kills it when its grace period is over.
func (s *supervisor) stop(current run) (code int) {
	current.signal(syscall.SIGTERM)
	select {
	case code = <-current.exited():
		return code
	case <-time.After(s.grace):
	}
	current.signal(syscall.SIGKILL)
	return <-current.exited()
}

// probe runs the startup probe, then the others beside each other; it sends why the container must be restarted.
func (s *supervisor) probe(ctx context.Context, now *condition, failing chan<- string) {
	begin := time.Now()
	if s.spec.StartupProbe != nil && !s.startUp(ctx, begin, failing) {
		return
	}
	s.board.change(func() { now.started = true })
	if s.spec.LivenessProbe != nil {
		go guarded(func() {
			s.prober(liveness, s.spec.LivenessProbe, begin).run(ctx, func(ok bool, reason string) (more bool) {
				if !ok {
					failing <- "liveness probe: " + reason
				}
				return ok
			})
		})
	}
	if s.spec.ReadinessProbe == nil {
		s.board.change(func() { now.ready = true })
		return
	}
	s.prober(readiness, s.spec.ReadinessProbe, begin).run(ctx, func(ok bool, _ string) (more bool) {
		s.board.change(func() { now.ready = ok })
		return true
	})
}

func (s *supervisor) startUp(ctx context.Context, begin time.Time, failing chan<- string) (started bool) {
	s.prober(startup, s.spec.StartupProbe, begin).run(ctx, func(ok bool, reason string) (more bool) {
		if started = ok; !ok {
			failing <- "startup probe: " + reason
		}
		return false
	})
	return started
}

func (s *supervisor) prober(kind string, spec *probeSpec, begin time.Time) *prober {
	return &prober{kind: kind, spec: spec, begin: begin, check: s.checker(kind, spec), complain: func(reason string) {
		s.events.emit("probe", "container", s.spec.Name, "kind", kind, "reason", reason)
	}}
}
