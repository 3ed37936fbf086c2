package main

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
)

// inOwnNetwork runs the work in a new network namespace with a network in which every address seems to be near.
func inOwnNetwork(t *testing.T, work func() error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it needs root for a network namespace")
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		if err == nil {
			err = errors.Join(netDevice("lo").up(), work())
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// connectRaw tells what becomes of a connection that nobody would take.
func connectRaw(family, kind, protocol int, address syscall.Sockaddr) error {
	socket, err := syscall.Socket(family, kind|syscall.SOCK_NONBLOCK, protocol)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	return syscall.Connect(socket, address)
}

func TestContainersFindNoWayToTheMetadataService(t *testing.T) {
	service, neighbour := net.ParseIP("169.254.169.254").To4(), net.ParseIP("169.254.169.253").To4()
	at := func(ip net.IP, port int) syscall.Sockaddr {
		return &syscall.SockaddrInet4{Port: port, Addr: [4]byte(ip)}
	}
	inOwnNetwork(t, func() error {
		if err := netDevice("lo").addRoute(route{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParseAddr("0.0.0.0")}, netip.MustParsePrefix("127.0.0.0/8")); err != nil {
			return err
		}
		if err := connectRaw(syscall.AF_INET, syscall.SOCK_STREAM, 0, at(service, 80)); err != syscall.EINPROGRESS {
			t.Errorf("before: %v", err)
		}
		if err := hideMetadata(); err != nil {
			return err
		}
		for _, one := range []struct {
			what           string
			kind, protocol int
			to             net.IP
			port           int
			want           error
		}{
			{"HTTP", syscall.SOCK_STREAM, 0, service, 80, syscall.ENETUNREACH},
			{"another port", syscall.SOCK_STREAM, 0, service, 8775, syscall.ENETUNREACH},
			{"a raw socket", syscall.SOCK_RAW, syscall.IPPROTO_RAW, service, 0, syscall.ENETUNREACH},
			{"raw TCP", syscall.SOCK_RAW, syscall.IPPROTO_TCP, service, 0, syscall.ENETUNREACH},
			{"DNS", syscall.SOCK_DGRAM, 0, service, 53, nil},
			{"time", syscall.SOCK_DGRAM, 0, service, 123, nil},
			{"DNS by TCP", syscall.SOCK_STREAM, 0, service, 53, syscall.EINPROGRESS},
			{"a neighbour", syscall.SOCK_STREAM, 0, neighbour, 80, syscall.EINPROGRESS},
		} {
			if err := connectRaw(syscall.AF_INET, one.kind, one.protocol, at(one.to, one.port)); err != one.want {
				t.Errorf("%s: got %v, want %v", one.what, err, one.want)
			}
		}
		return nil
	})
}
