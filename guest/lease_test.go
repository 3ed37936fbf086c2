package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

func routeTo(to, via string) route { return route{netip.MustParsePrefix(to), netip.MustParseAddr(via)} }

func TestALeaseIsUnderstood(t *testing.T) {
	l, err := parseLease(map[string]string{
		"ip": "10.88.0.7", "subnet": "255.255.255.0", "router": "10.88.0.1 10.88.0.2", "dns": "10.88.0.1 1.1.1.1 nonsense",
		"search": "default.svc.cluster.local svc.cluster.local. b@d", "domain": "unused", "mtu": "1400",
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "address", l.address, "10.88.0.7/24")
	expect(t, "routes", l.routes, []route{routeTo("0.0.0.0/0", "10.88.0.1")})
	expect(t, "mtu", l.mtu, 1400)
	expect(t, "resolv.conf", l.resolvConf(), "search default.svc.cluster.local svc.cluster.local\nnameserver 10.88.0.1\nnameserver 1.1.1.1\n")
}

func TestClasslessRoutesReplaceTheRouter(t *testing.T) {
	l, err := parseLease(map[string]string{
		"ip": "10.0.0.2", "subnet": "255.255.255.255", "router": "10.9.9.9", "domain": "example.com",
		"staticroutes": "10.0.0.1/32 0.0.0.0 0.0.0.0/0 10.0.0.1 x y", "mtu": "12",
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "routes", l.routes, []route{routeTo("10.0.0.1/32", "0.0.0.0"), routeTo("0.0.0.0/0", "10.0.0.1")})
	expect(t, "mtu", l.mtu, 0)
	expect(t, "resolv.conf", l.resolvConf(), "search example.com\n")
}

func TestBrokenLeasesAreRefused(t *testing.T) {
	for _, vars := range []map[string]string{
		{}, {"ip": "10.0.0.2"}, {"ip": "::1", "subnet": "255.0.0.0"}, {"ip": "10.0.0.2", "subnet": "255.0.255.0"}, {"ip": "10.0.0.2", "subnet": "0.255.0.0"},
	} {
		if l, err := parseLease(vars); err == nil {
			t.Errorf("%v gave %+v", vars, l)
		}
	}
	for mask, want := range map[string]int{"255.255.255.255": 32, "255.255.240.0": 20, "0.0.0.0": 0, "128.0.0.0": 1} {
		if got, err := maskBits(mask); err != nil || got != want {
			t.Errorf("%s: %d %v", mask, got, err)
		}
	}
}

func TestHostsHasTheShortNameToo(t *testing.T) {
	expect(t, "hosts", fmt.Sprintf("%q", hostsText("web.example.com", "10.0.0.2")),
		`"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.2\tweb.example.com web\n"`)
}

func TestTheBootConfigurationsSearchDomainsReplaceTheNetworks(t *testing.T) {
	const given = "search eu-west-1.compute.internal\ndomain old.example\nnameserver 10.0.0.2\noptions edns0\nsearchlight x\n"
	domains := []string{"shop.svc.cluster.local", "svc.cluster.local"}
	want := "search shop.svc.cluster.local svc.cluster.local\nnameserver 10.0.0.2\noptions edns0\nsearchlight x\n"
	if got := withSearch(given, domains); got != want {
		t.Errorf("got %q", got)
	}
	if got := withSearch(given, nil); got != given {
		t.Errorf("got %q", got)
	}
}

func TestSearchDomainsHoldWhateverComesFirst(t *testing.T) {
	domains := []string{"shop.svc.cluster.local"}
	for name, steps := range map[string][]func(etc *podEtc) error{
		"lease first": {
			func(etc *podEtc) error { return etc.setNetwork("10.0.0.9", "search a.example\nnameserver 10.0.0.2\n") },
			func(etc *podEtc) error { return etc.setHost("web-0", domains) },
		},
		"lease last": {
			func(etc *podEtc) error { return etc.setHost("web-0", domains) },
			func(etc *podEtc) error { return etc.setNetwork("10.0.0.9", "search a.example\nnameserver 10.0.0.2\n") },
		},
	} {
		etc := &podEtc{layout: layout{run: t.TempDir()}}
		for _, step := range steps {
			if err := step(etc); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(etc.layout.etc("resolv.conf"))
		if want := "search shop.svc.cluster.local\nnameserver 10.0.0.2\n"; err != nil || string(text) != want {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
}

func TestSearchDomainsAreDomains(t *testing.T) {
	for search, want := range map[string]string{
		`"svc.cluster.local", "a_b.example"`:       "",
		`"svc.cluster.local\\nnameserver 1.1.1.1"`: "search[0]:",
		`"a.example", ""`:                          "search[1]:",
		`"."`:                                      "search[0]:",
		strings.Repeat(`"a.example", `, 32) + `"a.example"`: "search: has more than 32 domains",
	} {
		_, err := parseBootConfig([]byte(`{"schema": 1, "instance": "web-0", "search": [`+search+`]}`), "")
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", search, err)
		}
	}
}
