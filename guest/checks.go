package main

import (
	"context"
	"net"
	"strconv"
)

const ownAddress = "127.0.0.1"

// newCheck makes the check of a probe. Commands run in the container, by crun.
func newCheck(container, kind string, spec *probeSpec, runtime *crun) check {
	switch {
	case spec.HTTP != nil:
		return func(ctx context.Context) error { return probeHTTP(ctx, spec.HTTP) }
	case spec.TCP != nil:
		return func(ctx context.Context) error { return probeTCP(ctx, spec.TCP) }
	default:
		return func(ctx context.Context) error { return runtime.exec(ctx, container, kind, spec.Exec.Command) }
	}
}

func probeTCP(ctx context.Context, spec *tcpSpec) error {
	connection, err := dial(ctx, spec.Host, spec.Port)
	if err != nil {
		return err
	}
	return connection.Close()
}

func dial(ctx context.Context, host string, port int) (net.Conn, error) {
	if host == "" {
		host = ownAddress
	}
	return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
}
