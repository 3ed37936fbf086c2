package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
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

func TestContainersFindNoWayByIPv6Either(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); err != nil {
		t.Skip("this kernel has no IPv6")
	}
	inOwnNetwork(t, func() error {
		for _, arguments := range []string{"link add d0 type veth peer name d1", "link set d1 up", "addr add fd99::1/64 dev d0 nodad", "link set d0 up", "route add fd00::/8 dev d0"} {
			if output, err := exec.Command("ip", append([]string{"-6"}, strings.Fields(arguments)...)...).CombinedOutput(); err != nil {
				return fmt.Errorf("ip %s: %w: %s", arguments, err, output)
			}
		}
		device, err := net.InterfaceByName("d0")
		if err != nil {
			return err
		}
		reach := func(text string, protocol int) error {
			address := &syscall.SockaddrInet6{Port: 80, Addr: netip.MustParseAddr(text).As16(), ZoneId: uint32(device.Index)}
			return connectRaw(syscall.AF_INET6, protocol, 0, address)
		}
		services := []string{"fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe"}
		for _, service := range services {
			if err := reach(service, syscall.SOCK_STREAM); err != syscall.EINPROGRESS {
				t.Errorf("before, %s: %v", service, err)
			}
		}
		if err := hideMetadata(); err != nil {
			return err
		}
		for _, service := range services {
			if err := reach(service, syscall.SOCK_STREAM); err != syscall.ENETUNREACH {
				t.Errorf("%s: %v", service, err)
			}
			if err := reach(service, syscall.SOCK_DGRAM); err != nil {
				t.Errorf("%s by UDP: %v", service, err)
			}
		}
		return nil
	})
}
