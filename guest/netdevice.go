package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

// A netDevice is a network card, set up by the ioctls of netdevice(7).
type netDevice string

// firstCard finds the first network card that is a device of its own (not loopback, not a virtual one).
func firstCard() (netDevice, bool) {
	cards, _ := filepath.Glob("/sys/class/net/*/device")
	for _, card := range cards { // sorted
		folder := filepath.Dir(card)
		kind, err := os.ReadFile(filepath.Join(folder, "type"))
		_, slave := os.Stat(filepath.Join(folder, "master"))
		if err == nil && strings.TrimSpace(string(kind)) == "1" && slave != nil {
			return netDevice(filepath.Base(folder)), true
		}
	}
	return "", false
}

// request is struct ifreq: a name and 24 bytes of a union.
type request struct {
	name [syscall.IFNAMSIZ]byte
	data [24]byte
}

func (d netDevice) ioctl(call uintptr, fill func(r *request)) error {
	r := request{}
	copy(r.name[:syscall.IFNAMSIZ-1], d)
	fill(&r)
	return socketIoctl(call, unsafe.Pointer(&r), string(d))
}

func socketIoctl(call uintptr, argument unsafe.Pointer, what string) error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), call, uintptr(argument)); errno != 0 {
		return fmt.Errorf("%s: ioctl %#x: %w", what, call, errno)
	}
	return nil
}

func (d netDevice) up() error {
	return d.ioctl(syscall.SIOCSIFFLAGS, func(r *request) {
		*(*uint16)(unsafe.Pointer(&r.data)) = syscall.IFF_UP | syscall.IFF_RUNNING
	})
}

func (d netDevice) setMTU(mtu int) error {
	return d.ioctl(syscall.SIOCSIFMTU, func(r *request) { *(*int32)(unsafe.Pointer(&r.data)) = int32(mtu) })
}

func (d netDevice) setAddress(address netip.Prefix) error {
	err := d.ioctl(syscall.SIOCSIFADDR, func(r *request) { putAddress(&r.data, address.Addr()) })
	if err != nil {
		return err
	}
	return d.ioctl(syscall.SIOCSIFNETMASK, func(r *request) { putAddress(&r.data, netmask(address.Bits())) })
}

// clearAddress takes the address, and the routes with it.
func (d netDevice) clearAddress() error {
	return d.ioctl(syscall.SIOCSIFADDR, func(r *request) { putAddress(&r.data, netip.IPv4Unspecified()) })
}

// putAddress writes struct sockaddr_in.
func putAddress(data *[24]byte, address netip.Addr) {
	*(*uint16)(unsafe.Pointer(data)) = syscall.AF_INET
	octets := address.As4()
	copy(data[4:8], octets[:])
}

// rtentry is struct rtentry of 64-bit Linux.
type rtentry struct {
	_      uint64
	to     [16]byte
	via    [16]byte
	mask   [16]byte
	flags  uint16
	_      int16
	_      [4]byte
	_      uint64
	_      [8]byte
	metric int16
	_      [6]byte
	device *byte
	mtu    uint64
	window uint64
	irtt   uint16
	_      [6]byte
}

// addRoute adds one route; a gateway outside the subnet, as some clouds have it, is first made reachable on the link.
func (d netDevice) addRoute(r route, subnet netip.Prefix) error {
	onLink := r.via.IsUnspecified()
	if !onLink && !subnet.Masked().Contains(r.via) {
		if err := d.addEntry(netip.PrefixFrom(r.via, 32), netip.Addr{}); err != nil {
			return err
		}
	}
	if onLink {
		return d.addEntry(r.to, netip.Addr{})
	}
	return d.addEntry(r.to, r.via)
}

func (d netDevice) addEntry(to netip.Prefix, via netip.Addr) error {
	name := append([]byte(d), 0)
	entry := rtentry{flags: syscall.RTF_UP, device: &name[0]}
	putRouteAddress(&entry.to, to.Addr())
	putRouteAddress(&entry.mask, netmask(to.Bits()))
	if via.IsValid() {
		entry.flags |= syscall.RTF_GATEWAY
		putRouteAddress(&entry.via, via)
	}
	err := socketIoctl(syscall.SIOCADDRT, unsafe.Pointer(&entry), string(d)+": route to "+to.String())
	if errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

func putRouteAddress(data *[16]byte, address netip.Addr) {
	*(*uint16)(unsafe.Pointer(data)) = syscall.AF_INET
	octets := address.As4()
	copy(data[4:8], octets[:])
}
