package main

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAGuestThatAnswersKeepsTheWatchdogQuiet(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	answers := []error{nil, errors.New("busy"), errors.New("busy"), errors.New("busy"), nil, errors.New("busy"), nil}
	pets := 0
	w := &watchdog{once: patient, giveUp: func(reason string) { t.Error(reason) }, pet: func() { pets++ }, ask: func(context.Context) error {
		answer := answers[0]
		if answers = answers[1:]; len(answers) == 0 {
			cancel()
		}
		return answer
	}}
	w.run(ctx)
	if pets != 3 {
		t.Errorf("told the kernel %d times", pets)
	}
}

func TestAGuestThatNoLongerAnswersGivesUp(t *testing.T) {
	for want, ask := range map[string]func(ctx context.Context) error{
		"connection refused":    func(context.Context) error { return errors.New("connection refused") },
		"no answer within 20ms": func(ctx context.Context) error { <-ctx.Done(); return errors.New("cut off") },
	} {
		tries, given := 0, ""
		w := &watchdog{once: 20 * time.Millisecond, giveUp: func(reason string) { given = reason }, ask: func(ctx context.Context) error {
			tries++
			return ask(ctx)
		}, pet: func() { t.Error("the kernel was told that all is well") }}
		w.run(context.Background())
		if tries != 4 || given != "the guest no longer answers on its health port: "+want {
			t.Errorf("%d tries: %q", tries, given)
		}
	}
}

func TestTheWatchdogAsksTheHealthPort(t *testing.T) {
	address := startHealth(t, &healthServer{verdict: func() (bool, string) { return false, "" }})
	if err := askLivez(context.Background(), &url.URL{Scheme: "http", Host: address, Path: "/livez"}); err != nil {
		t.Error(err)
	}
	err := askLivez(context.Background(), &url.URL{Scheme: "http", Host: address, Path: "/readyz"})
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Error(err)
	}
}
