package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestBackoffIsTheContracts(t *testing.T) {
	var b backoff
	var got []int
	for range 10 {
		got = append(got, int(b.next(time.Minute).Seconds()))
	}
	if want := []int{0, 10, 20, 40, 80, 160, 300, 300, 300, 300}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if pause := b.next(10 * time.Minute); pause != 0 {
		t.Errorf("after a run of 10 minutes: %v", pause)
	}
	if pause := b.next(time.Second); pause != 10*time.Second {
		t.Errorf("and then: %v", pause)
	}
}

// A fakeEngine has containers that live as long as it says, in the fake time of a synctest bubble.
type fakeEngine struct {
	lives    func(n int) (life time.Duration, code int, err error) // life < 0: until it gets a signal
	stubborn bool                                                  // ignores TERM

	mu     sync.Mutex
	begin  time.Time
	starts []int // seconds since the beginning
	events []string
}

type fakeRun struct {
	engine *fakeEngine
	done   chan int
	once   sync.Once
}

func (e *fakeEngine) start(string) (run, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.starts = append(e.starts, int(time.Since(e.begin).Seconds()))
	life, code, err := e.lives(len(e.starts))
	if err != nil {
		return nil, err
	}
	r := &fakeRun{engine: e, done: make(chan int, 1)}
	if life >= 0 {
		time.AfterFunc(life, func() { r.end(code) })
	}
	return r, nil
}

func (r *fakeRun) end(code int)       { r.once.Do(func() { r.done <- code }) }
func (r *fakeRun) exited() <-chan int { return r.done }
func (r *fakeRun) close()             {}
func (r *fakeRun) signal(sig syscall.Signal) {
	r.engine.mu.Lock()
	defer r.engine.mu.Unlock()
	r.engine.events = append(r.engine.events, fmt.Sprintf("%d %v", int(time.Since(r.engine.begin).Seconds()), sig))
	switch {
	case sig == syscall.SIGKILL:
		r.end(137)
	case !r.engine.stubborn:
		r.end(0)
	}
}

// A stage is a supervisor with everything around it faked.
type stage struct {
	*supervisor
	engine *fakeEngine
	lines  []map[string]any
	mu     sync.Mutex
}

func newStage(spec containerSpec, policy string, lives func(n int) (time.Duration, int, error)) *stage {
	spec.Name = "web"
	for _, probe := range spec.probes() {
		probe.spec.setDefaults()
	}
	s := &stage{engine: &fakeEngine{lives: lives, begin: time.Now()}}
	events := eventLog{now: time.Now, write: func(line []byte) {
		event := map[string]any{}
		if json.Unmarshal(bytes.TrimPrefix(line, []byte("i2kit ")), &event) != nil {
			panic(string(line))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		event["at"] = int(time.Since(s.engine.begin).Seconds())
		s.lines = append(s.lines, event)
	}}
	board := newBoard(func(ready bool, reason string) { events.emit("readiness", "ready", ready, "reason", reason) })
	board.open([]string{"web"})
	s.supervisor = &supervisor{spec: &spec, policy: policy, grace: 30 * time.Second, engine: s.engine, board: board, events: events}
	return s
}

// texts gives the events of one kind in short.
func (s *stage) texts(event string, fields ...string) (texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		if line["event"] != event {
			continue
		}
		text := fmt.Sprint(line["at"])
		for _, field := range fields {
			if value, ok := line[field]; ok {
				text += fmt.Sprint(" ", value)
			}
		}
		texts = append(texts, text)
	}
	return texts
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestACrashingContainerIsStartedAgainWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(containerSpec{}, restartAlways, func(n int) (time.Duration, int, error) {
			if n == 4 {
				return 11 * time.Minute, 1, nil
			}
			return time.Second, 1, nil
		})
		ctx, stop := context.WithCancel(t.Context())
		go s.supervise(ctx, ctx)
		time.Sleep(20 * time.Minute)
		stop()
		synctest.Wait()
		// 1 s of life and pauses of 0, 10 and 20 s; then 11 minutes, after which the pauses begin anew.
		expect(t, "starts", s.engine.starts[:7], []int{0, 1, 12, 33, 693, 704, 725})
		expect(t, "events", s.texts("container", "state", "code", "seconds")[:6],
			[]string{"0 started", "1 exited 1", "1 started", "2 exited 1", "2 waiting 10", "12 started"})
	})
}

func TestAContainerThatCannotStartIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(containerSpec{}, restartOnFailure, func(n int) (time.Duration, int, error) {
			return 0, 0, errors.New("no such file")
		})
		ctx, stop := context.WithCancel(t.Context())
		go s.supervise(ctx, ctx)
		time.Sleep(11 * time.Second)
		stop()
		synctest.Wait()
		expect(t, "starts", s.engine.starts, []int{0, 0, 10})
		expect(t, "first event", s.texts("container", "state", "code", "reason")[0], "0 exited 128 no such file")
	})
}

func TestRestartPolicies(t *testing.T) {
	for _, c := range []struct {
		policy    string
		code      int
		starts    int
		succeeded bool
	}{
		{restartNever, 0, 1, true}, {restartNever, 3, 1, false}, {restartOnFailure, 0, 1, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(containerSpec{}, c.policy, func(int) (time.Duration, int, error) { return time.Second, c.code, nil })
			succeeded := s.supervise(t.Context(), t.Context())
			expect(t, c.policy+" starts", len(s.engine.starts), c.starts)
			expect(t, c.policy+" succeeded", succeeded, c.succeeded)
			_, reason := s.board.verdict()
			expect(t, "verdict", reason, "container web has ended")
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStage(containerSpec{}, restartOnFailure, func(n int) (time.Duration, int, error) {
			return time.Second, map[bool]int{true: 0, false: 7}[n == 3], nil
		})
		expect(t, "succeeded", s.supervise(t.Context(), t.Context()), true)
		expect(t, "OnFailure starts", s.engine.starts, []int{0, 1, 12})
	})
}

func TestTheEndIsTermThenKillAfterTheGracePeriod(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(containerSpec{}, restartAlways, func(int) (time.Duration, int, error) { return -1, 0, nil })
			s.engine.stubborn = stubborn
			keep, stopKeeping := context.WithCancel(t.Context())
			stay, stopStaying := context.WithCancel(t.Context())
			go s.supervise(keep, stay)
			time.Sleep(5 * time.Second)
			stopKeeping()
			time.Sleep(3 * time.Second)
			synctest.Wait()
			expect(t, "signals while draining", s.engine.events, []string{})
			stopStaying()
			time.Sleep(time.Minute)
			synctest.Wait()
			if stubborn {
				expect(t, "signals", s.engine.events, []string{"8 terminated", "38 killed"})
			} else {
				expect(t, "signals", s.engine.events, []string{"8 terminated"})
			}
			expect(t, "starts", len(s.engine.starts), 1)
		})
	}
}

func TestNothingIsStartedAgainDuringTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(containerSpec{}, restartAlways, func(int) (time.Duration, int, error) { return 10 * time.Second, 1, nil })
		keep, stopKeeping := context.WithCancel(t.Context())
		go func() {
			time.Sleep(5 * time.Second)
			stopKeeping()
		}()
		s.supervise(keep, t.Context())
		expect(t, "starts", s.engine.starts, []int{0})
	})
	synctest.Test(t, func(t *testing.T) { // nor out of a back-off
		s := newStage(containerSpec{}, restartAlways, func(int) (time.Duration, int, error) { return 0, 1, nil })
		keep, stopKeeping := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, stopKeeping)
		s.supervise(keep, t.Context())
		expect(t, "starts", s.engine.starts, []int{0, 0})
	})
}

// healthyBetween is a check that answers by the clock of the bubble.
func healthyBetween(begin time.Time, from, to int) check {
	return func(context.Context) error {
		if at := int(time.Since(begin).Seconds()); at < from || at >= to {
			return errors.New("unwell")
		}
		return nil
	}
}

func TestAFailingLivenessProbeRestartsTheContainerWhateverItsExitCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := containerSpec{LivenessProbe: &probeSpec{TCP: &tcpSpec{Port: 1}, InitialDelaySeconds: 5}}
		s := newStage(spec, restartOnFailure, func(int) (time.Duration, int, error) { return -1, 0, nil })
		s.checker = func(string, *probeSpec) check { return healthyBetween(s.engine.begin, 0, 30) }
		ctx, stop := context.WithCancel(t.Context())
		go s.supervise(ctx, ctx)
		time.Sleep(59 * time.Second)
		stop()
		synctest.Wait()
		// Asked at 5, 15, 25 (well), 35, 45, 55 (unwell).
		expect(t, "starts", s.engine.starts, []int{0, 55})
		expect(t, "exit", s.texts("container", "state", "code", "reason")[1], "55 exited 0 liveness probe: unwell")
		expect(t, "complaints", s.texts("probe", "container", "kind", "reason"), []string{"35 web liveness unwell"})
	})
}

func TestNeverMeansThatAFailingLivenessProbeEndsTheContainer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := containerSpec{LivenessProbe: &probeSpec{TCP: &tcpSpec{Port: 1}}}
		s := newStage(spec, restartNever, func(int) (time.Duration, int, error) { return -1, 0, nil })
		s.checker = func(string, *probeSpec) check { return healthyBetween(s.engine.begin, 0, 0) }
		expect(t, "succeeded", s.supervise(t.Context(), t.Context()), false)
		expect(t, "starts", s.engine.starts, []int{0})
	})
}

func TestAStartupProbeHoldsTheOthersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		probe := func() *probeSpec { return &probeSpec{Exec: &execSpec{}, PeriodSeconds: 2} }
		spec := containerSpec{StartupProbe: probe(), LivenessProbe: probe(), ReadinessProbe: probe()}
		spec.StartupProbe.FailureThreshold = 10
		s := newStage(spec, restartAlways, func(int) (time.Duration, int, error) { return -1, 0, nil })
		var mu sync.Mutex
		asked := map[string]int{}
		s.checker = func(kind string, _ *probeSpec) check {
			answer := healthyBetween(s.engine.begin, 8, 1000)
			return func(ctx context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				if _, ok := asked[kind]; !ok {
					asked[kind] = int(time.Since(s.engine.begin).Seconds())
				}
				return answer(ctx)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		go s.supervise(ctx, ctx)
		time.Sleep(19 * time.Second)
		stop()
		synctest.Wait()
		expect(t, "first asked", asked, map[string]int{startup: 0, liveness: 8, readiness: 8})
		expect(t, "starts", s.engine.starts, []int{0})
		expect(t, "readiness", s.texts("readiness", "ready"), []string{"8 true", "19 false"})
	})
}

func TestAStartupProbeThatNeverSucceedsRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := containerSpec{StartupProbe: &probeSpec{HTTP: &httpSpec{Port: 1}, PeriodSeconds: 5, FailureThreshold: 2}}
		s := newStage(spec, restartAlways, func(int) (time.Duration, int, error) { return -1, 0, nil })
		s.checker = func(string, *probeSpec) check { return healthyBetween(s.engine.begin, 0, 0) }
		ctx, stop := context.WithCancel(t.Context())
		go s.supervise(ctx, ctx)
		time.Sleep(22 * time.Second)
		stop()
		synctest.Wait()
		expect(t, "starts", s.engine.starts, []int{0, 5, 20}) // the second restart waits 10 s
	})
}

func TestReadinessFollowsItsThresholds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := containerSpec{ReadinessProbe: &probeSpec{Exec: &execSpec{}, SuccessThreshold: 2, FailureThreshold: 3}}
		s := newStage(spec, restartAlways, func(int) (time.Duration, int, error) { return -1, 0, nil })
		s.checker = func(string, *probeSpec) check {
			return func(context.Context) error {
				switch at := int(time.Since(s.engine.begin).Seconds()); {
				case at < 20, at >= 50 && at < 70, at >= 100 && at < 130: // unwell: 0 10, 50 60, 100 110 120
					return errors.New("unwell")
				}
				return nil
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		go s.supervise(ctx, ctx)
		time.Sleep(145 * time.Second)
		expect(t, "readiness", s.texts("readiness", "ready"), []string{"30 true", "120 false", "140 true"})
		expect(t, "starts", s.engine.starts, []int{0})
		stop()
		synctest.Wait()
	})
}

func TestAnApplicationThatComesUpIsFoundBeforeItsPeriodIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := containerSpec{ReadinessProbe: &probeSpec{HTTP: &httpSpec{Port: 1}, PeriodSeconds: 10}}
		s := newStage(spec, restartAlways, func(int) (time.Duration, int, error) { return -1, 0, nil })
		s.checker = func(string, *probeSpec) check { return healthyBetween(s.engine.begin, 2, 1000) }
		ctx, stop := context.WithCancel(t.Context())
		go s.supervise(ctx, ctx)
		time.Sleep(9 * time.Second)
		expect(t, "readiness", s.texts("readiness", "ready"), []string{"3 true"}) // 0.1 0.3 0.7 1.5 3.1
		expect(t, "complaints", len(s.texts("probe")), 1)
		stop()
		synctest.Wait()
	})
}

func TestAnAnswerThatDoesNotComeIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := prober{kind: liveness, spec: &probeSpec{Exec: &execSpec{}}, begin: time.Now(), complain: func(string) {}}
		p.spec.setDefaults()
		p.check = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		var verdicts []string
		p.run(t.Context(), func(ok bool, reason string) bool {
			verdicts = append(verdicts, fmt.Sprint(ok, " ", reason))
			return false
		})
		expect(t, "verdicts", verdicts, []string{"false timed out"})
	})
}

func TestTheBoardSaysWhy(t *testing.T) {
	var announced []string
	b := newBoard(func(ready bool, reason string) { announced = append(announced, fmt.Sprint(ready, " ", reason)) })
	b.open([]string{"a", "b"})
	b.begin("a", condition{running: true, started: true, ready: true})
	if _, reason := b.verdict(); reason != "container b is not running" {
		t.Error(reason)
	}
	old := b.begin("b", condition{running: true})
	if _, reason := b.verdict(); !strings.HasPrefix(reason, "container b has not started up") {
		t.Error(reason)
	}
	b.change(func() { old.started = true })
	if _, reason := b.verdict(); !strings.HasPrefix(reason, "container b is not ready") {
		t.Error(reason)
	}
	b.change(func() { old.ready = true })
	b.begin("b", condition{})
	b.change(func() { old.ready = true }) // a late answer of the run before counts for nothing
	b.begin("b", condition{running: true, started: true, ready: true})
	b.shut("the end")
	expect(t, "announced", announced, []string{"true ", "false container b is not running", "true ", "false the end"})
}
