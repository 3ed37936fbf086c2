package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const (
	leaseScriptName = "udhcpc"
	leaseScript     = "/usr/share/i2kit/" + leaseScriptName
	leasePipe       = 9 // the descriptor on which the script reports to PID 1; udhcpc takes the lowest for itself
)

// A leaseReport is what udhcpc told its script: one line on the pipe.
type leaseReport struct {
	Event string            `json:"event"`
	Vars  map[string]string `json:"vars"`
}

// reportLease is the script side: it passes the news on to PID 1, which alone touches the network.
func reportLease(args, environ []string) int {
	if len(args) == 0 {
		return 64
	}
	report := leaseReport{Event: args[0], Vars: map[string]string{}}
	for _, assignment := range environ {
		if name, value, _ := strings.Cut(assignment, "="); leaseVars[name] {
			report.Vars[name] = value
		}
	}
	line, err := json.Marshal(report)
	if err != nil {
		return 1
	}
	if _, err := syscall.Write(leasePipe, append(line, '\n')); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

var leaseVars = map[string]bool{
	"ip": true, "subnet": true, "broadcast": true, "router": true, "dns": true, "search": true, "domain": true, "mtu": true,
	"staticroutes": true,
}

// A lease is a report understood. What a DHCP server sends is not trusted to be well-formed.
type lease struct {
	address netip.Prefix
	routes  []route
	servers []netip.Addr
	search  []string
	mtu     int
}

type route struct {
	to  netip.Prefix
	via netip.Addr
}

func parseLease(vars map[string]string) (lease, error) {
	l := lease{}
	address, err := netip.ParseAddr(vars["ip"])
	if err != nil || !address.Is4() {
		return l, fmt.Errorf("the lease has no IPv4 address: %q", vars["ip"])
	}
	bits, err := maskBits(vars["subnet"])
	if err != nil {
		return l, err
	}
	l.address = netip.PrefixFrom(address, bits)
	l.routes = parseRoutes(vars)
	for _, text := range strings.Fields(vars["dns"]) {
		if server, err := netip.ParseAddr(text); err == nil {
			l.servers = append(l.servers, server)
		}
	}
	search := vars["search"]
	if search == "" {
		search = vars["domain"]
	}
	for _, domain := range strings.Fields(search) {
		if domain = strings.TrimSuffix(domain, "."); isDomain(domain) {
			l.search = append(l.search, domain)
		}
	}
	if mtu, err := strconv.Atoi(vars["mtu"]); err == nil && mtu >= 576 && mtu <= 65535 {
		l.mtu = mtu
	}
	return l, nil
}

// parseRoutes prefers the classless routes (option 121), which replace the router option (RFC 3442).
func parseRoutes(vars map[string]string) (routes []route) {
	static := strings.Fields(vars["staticroutes"])
	for i := 0; i+1 < len(static); i += 2 {
		to, err := netip.ParsePrefix(static[i])
		via, err2 := netip.ParseAddr(static[i+1])
		if err == nil && err2 == nil && to.Addr().Is4() && via.Is4() {
			routes = append(routes, route{to.Masked(), via})
		}
	}
	if len(routes) > 0 {
		return routes
	}
	for _, text := range strings.Fields(vars["router"]) {
		if via, err := netip.ParseAddr(text); err == nil && via.Is4() {
			return []route{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), via}}
		}
	}
	return nil
}

func maskBits(mask string) (int, error) {
	address, err := netip.ParseAddr(mask)
	if err != nil || !address.Is4() {
		return 0, fmt.Errorf("the lease has no net mask: %q", mask)
	}
	bits := 0
	for _, octet := range address.As4() {
		for ; octet&0x80 != 0; octet <<= 1 {
			bits++
		}
	}
	if address != netmask(bits) {
		return 0, fmt.Errorf("the lease's net mask has holes: %q", mask)
	}
	return bits, nil
}

func netmask(bits int) netip.Addr {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), bits).Masked().Addr()
}

func isDomain(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if !isName(strings.ToLower(strings.ReplaceAll(label, "_", "-"))) {
			return false
		}
	}
	return len(name) <= 253
}

// resolvConf is the text of /etc/resolv.conf.
func (l lease) resolvConf() string {
	var text strings.Builder
	if len(l.search) > 0 {
		text.WriteString("search " + strings.Join(l.search, " ") + "\n")
	}
	for _, server := range l.servers {
		text.WriteString("nameserver " + server.String() + "\n")
	}
	return text.String()
}

// withSearch replaces the search domains of a resolv.conf, unless there are none to replace them.
func withSearch(resolvConf string, domains []string) string {
	if len(domains) == 0 {
		return resolvConf
	}
	text := "search " + strings.Join(domains, " ") + "\n"
	for line := range strings.Lines(resolvConf) {
		if word := append(strings.Fields(line), "")[0]; word != "search" && word != "domain" {
			text += line
		}
	}
	return text
}

// hostsText is the text of /etc/hosts.
func hostsText(hostname, address string) string {
	text := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	if address != "" {
		text += address + "\t" + hostname
		if short, _, long := strings.Cut(hostname, "."); long {
			text += " " + short
		}
		text += "\n"
	}
	return text
}
