package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
)

// The addresses at which clouds answer everything about a VM, its role's credentials included. AWS and Google have IPv6
// ones that are off by default, Nova's is link-local.
var metadataAddresses = []string{metadataAddress, "fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe"}

// A routingRule sends what goes to one address, and of that perhaps only one protocol or port, to a routing table or
// nowhere.
type routingRule struct {
	priority uint32
	to       netip.Addr
	protocol byte // 0: all
	port     uint16
	action   byte
}

// Values of linux/fib_rules.h.
const (
	rtmNewRule    = 32
	ruleToTable   = 1
	ruleNoNetwork = 7 // FR_ACT_UNREACHABLE: "Network is unreachable"

	attributeTo       = 1
	attributePriority = 6
	attributeProtocol = 22
	attributePorts    = 24
)

// hideMetadata lets nobody ask the metadata service any more: the guest has asked, and containers have no business with
// the VM's credentials. At the same address Google answers DNS and NTP, and renews leases. Those go on: UDP, and DNS by
// TCP; all else is refused, so that a raw socket with headers of its own finds no way either. A container would need
// NET_ADMIN to undo it.
func hideMetadata() error {
	for _, text := range metadataAddresses {
		address := netip.MustParseAddr(text)
		for _, rule := range []routingRule{
			{priority: 1, to: address, protocol: syscall.IPPROTO_UDP, action: ruleToTable},
			{priority: 2, to: address, protocol: syscall.IPPROTO_TCP, port: 53, action: ruleToTable},
			{priority: 3, to: address, action: ruleNoNetwork},
		} {
			err := rule.add()
			if address.Is6() && errors.Is(err, syscall.EAFNOSUPPORT) {
				continue // a kernel without IPv6
			}
			if err != nil {
				return fmt.Errorf("routing rule for %s: %w", address, err)
			}
		}
	}
	return nil
}

func (r *routingRule) add() error {
	const flags = syscall.NLM_F_REQUEST | syscall.NLM_F_ACK | syscall.NLM_F_CREATE | syscall.NLM_F_EXCL
	return netlinkRequest(rtmNewRule, flags, r.message())
}

// message is struct fib_rule_hdr and its attributes.
func (r *routingRule) message() []byte {
	family, table := byte(syscall.AF_INET), byte(0)
	if r.to.Is6() {
		family = syscall.AF_INET6
	}
	if r.action == ruleToTable {
		table = syscall.RT_TABLE_MAIN
	}
	message := []byte{family, byte(r.to.BitLen()), 0, 0, table, 0, 0, r.action, 0, 0, 0, 0}
	message = appendAttribute(message, attributeTo, r.to.AsSlice())
	message = appendAttribute(message, attributePriority, binary.NativeEndian.AppendUint32(nil, r.priority))
	if r.protocol != 0 {
		message = appendAttribute(message, attributeProtocol, []byte{r.protocol})
	}
	if r.port != 0 {
		ports := binary.NativeEndian.AppendUint16(nil, r.port)
		message = appendAttribute(message, attributePorts, append(ports, ports...)) // from and to
	}
	return message
}

func appendAttribute(message []byte, kind uint16, value []byte) []byte {
	message = binary.NativeEndian.AppendUint16(message, uint16(syscall.SizeofRtAttr+len(value)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = append(message, value...)
	for len(message)%syscall.RTA_ALIGNTO != 0 {
		message = append(message, 0)
	}
	return message
}

// netlinkRequest asks the kernel's routing for a change and waits until it is made.
func netlinkRequest(kind, flags uint16, payload []byte) error {
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("netlink socket", err)
	}
	defer syscall.Close(socket)
	message := binary.NativeEndian.AppendUint32(nil, uint32(syscall.SizeofNlMsghdr+len(payload)))
	message = binary.NativeEndian.AppendUint16(message, kind)
	message = binary.NativeEndian.AppendUint16(message, flags)
	message = append(message, make([]byte, 8)...) // sequence number and port: there is one question and one answer
	if err := syscall.Sendto(socket, append(message, payload...), 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return os.NewSyscallError("netlink send", err)
	}
	answer := make([]byte, 4<<10)
	size, _, err := syscall.Recvfrom(socket, answer, 0)
	if err != nil {
		return os.NewSyscallError("netlink receive", err)
	}
	replies, err := syscall.ParseNetlinkMessage(answer[:size])
	if err != nil || len(replies) != 1 || replies[0].Header.Type != syscall.NLMSG_ERROR || len(replies[0].Data) < 4 {
		return errors.New("netlink: the kernel's answer is not understood")
	}
	if code := int32(binary.NativeEndian.Uint32(replies[0].Data)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}
