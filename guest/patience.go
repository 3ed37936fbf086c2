package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"time"
)

const usualPause = 4 * time.Second

// A patience says how long a service is asked that may not be up to answering yet, and who hears of it.
type patience struct {
	whole    time.Duration // for everything that is asked for
	once     time.Duration // for one request
	pause    time.Duration // between two of them at most
	complain func(reason string)
}

// refusal is an answer that will be the same next time.
type refusal struct{ error }

// insist repeats a try until it succeeds, is refused, or the context ends. The waits grow, and differ between VMs: a
// group's members boot at the same time. Only the first failure is told.
func (p patience) insist(ctx context.Context, try func(ctx context.Context) error) error {
	var last error
	for pause := min(100*time.Millisecond, p.pause); ; pause = min(2*pause, p.pause) {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if final := (refusal{}); errors.As(err, &final) {
			return err
		}
		if last == nil && !isOver(ctx) {
			p.complain(err.Error())
		}
		if last == nil || !isOver(ctx) { // the try that the end cut short has nothing to tell
			last = err
		}
		if !sleep(ctx, pause/2+rand.N(pause/2)) {
			return fmt.Errorf("%w; no better answer within %v", last, p.whole)
		}
	}
}

// exchange sends a request, and has the answer read while the time for one request lasts.
func (p patience) exchange(ctx context.Context, request string, target *url.URL, trust *trust, read func(answer io.Reader) error) error {
	limited, cancel := context.WithTimeout(ctx, p.once)
	defer cancel()
	err := exchange(limited, request, target, trust, read)
	if err != nil && isOver(limited) {
		return fmt.Errorf("no answer within %v", p.once)
	}
	return err
}

// isOver tells whether a context has ended. Connections know its deadline, and may fail before it says so itself.
func isOver(ctx context.Context) bool {
	deadline, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && time.Until(deadline) <= 0
}
