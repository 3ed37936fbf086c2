package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestEverySourceOfTheBootConfigurationIsKnown(t *testing.T) {
	for kind, want := range map[string][2]bool{
		"fw_cfg": {true, false}, "disk": {true, false}, "aws": {false, true}, "gcp": {false, true}, "openstack": {true, true},
	} {
		source, err := new(guest).bootSource(kind)
		if err != nil || source.local != nil != want[0] || source.remote != nil != want[1] {
			t.Errorf("%s: %+v %v", kind, source, err)
		}
	}
	path := filepath.Join(t.TempDir(), "boot")
	if _, err := fileSource(path).local(); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

func TestAShutdownEndsTheWaitingForABootConfiguration(t *testing.T) {
	g := &guest{asked: make(chan struct{})}
	source := bootSource{remote: func(ctx context.Context) (*bootConfig, error) {
		g.ask("the test wants it")
		<-ctx.Done()
		return nil, errors.New("no boot configuration")
	}}
	if _, err := g.readRemote(context.Background(), source, &healthServer{}); err != errAsked {
		t.Errorf("got %v", err)
	}
	g = &guest{asked: make(chan struct{})}
	source.remote = func(context.Context) (*bootConfig, error) { return nil, errors.New("no boot configuration") }
	if _, err := g.readRemote(context.Background(), source, &healthServer{}); err == nil || err == errAsked {
		t.Errorf("got %v", err)
	}
}
