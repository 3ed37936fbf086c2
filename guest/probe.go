package main

import (
	"context"
	"errors"
	"time"
)

const (
	startup   = "startup"
	liveness  = "liveness"
	readiness = "readiness"
)

var errTimeout = errors.New("timed out")

// A check asks once; an error says why the answer was no.
type check func(ctx context.Context) error

// A tally turns single answers into verdicts: so many of a kind in a row make one.
type tally struct {
	successThreshold, failureThreshold int

	last bool
	row  int
}

func (t *tally) count(ok bool) (reached bool) {
	if ok != t.last {
		t.last, t.row = ok, 0
	}
	t.row++
	if ok {
		return t.row == t.successThreshold
	}
	return t.row == t.failureThreshold
}

// A prober repeats a check for one run of a container.
type prober struct {
	kind     string
	spec     *probeSpec
	check    check
	begin    time.Time // of the run: the initial delay counts from here
	complain func(reason string)
}

// firstLook is the pause after which an application that is not up yet is asked again.
const firstLook = 100 * time.Millisecond

// run calls verdict whenever the thresholds say that the container's state has changed, until it wants no more.
func (p *prober) run(ctx context.Context, verdict func(ok bool, reason string) (more bool)) {
	if !sleep(ctx, time.Until(p.begin.Add(time.Duration(p.spec.InitialDelaySeconds)*time.Second))) {
		return
	}
	period := time.Duration(p.spec.PeriodSeconds) * time.Second
	firstPeriod := time.Now().Add(period)
	tick := time.NewTicker(period)
	defer tick.Stop()
	counts := tally{successThreshold: p.spec.SuccessThreshold, failureThreshold: p.spec.FailureThreshold}
	complaint := ""
	ask := func(counted bool) (more bool) {
		err := p.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			complaint = ""
			return !counts.count(true) || verdict(true, "")
		case !counted:
			return true
		case err.Error() != complaint:
			complaint = err.Error()
			p.complain(complaint)
		}
		return !counts.count(false) || verdict(false, complaint)
	}
	if !ask(true) {
		return
	}
	for pause := firstLook; p.eager() && !counts.last && time.Until(firstPeriod) > pause; pause *= 2 {
		if !sleep(ctx, pause) || !ask(false) {
			return
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !ask(true) {
				return
			}
		}
	}
}

// eager tells whether an application that starts is asked more often than the period says. Only its success counts
// then, so that it is found ready when it is, not up to a period later.
func (p *prober) eager() bool { return p.kind != liveness && p.spec.Exec == nil }

func (p *prober) ask(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, time.Duration(p.spec.TimeoutSeconds)*time.Second)
	defer cancel()
	err := p.check(limited)
	if err != nil && limited.Err() != nil {
		return errTimeout
	}
	return err
}

// sleep tells whether the time has passed before the context ended.
func sleep(ctx context.Context, pause time.Duration) bool {
	if pause <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}
