//go:build nohttps

package main

import (
	"context"
	"errors"
	"net"
)

const knowsHTTPS = false

func secure(_ context.Context, connection net.Conn, _ string, _ *trust) (net.Conn, error) {
	connection.Close()
	return nil, errors.New("this guest was built without HTTPS")
}

func hasCertificates(string) bool { return false }
