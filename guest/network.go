package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"
	"time"
)

const leasePatience = 60 * time.Second

// A network gets the VM its address by DHCP and keeps it.
type network struct {
	etc      *podEtc
	hostname string // what the DHCP server is told, if anything
	reaper   *reaper
	events   eventLog

	card    netDevice
	current lease
	address chan string // gets the first address
}

func newNetwork(etc *podEtc, hostname string, reaper *reaper, events eventLog) *network {
	return &network{etc: etc, hostname: hostname, reaper: reaper, events: events, address: make(chan string, 1)}
}

// run keeps a DHCP client at work. One that finds no lease in time, or ends, is replaced.
func (n *network) run(ctx context.Context) {
	if !n.findCard(ctx) {
		return
	}
	for ctx.Err() == nil {
		if err := n.client(ctx); err != nil {
			n.complain(err.Error())
			sleep(ctx, time.Second)
		}
	}
}

func (n *network) findCard(ctx context.Context) bool {
	for begin, said := time.Now(), false; ; {
		card, ok := firstCard()
		if ok {
			n.card = card
			return true
		}
		if !said && time.Since(begin) > leasePatience {
			n.complain("there is no network card")
			said = true
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return false
		}
	}
}

// client runs udhcpc until it ends, or until no lease has come in time.
func (n *network) client(ctx context.Context) error {
	if err := n.card.up(); err != nil {
		return err
	}
	reports, pipe, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reports.Close()
	process, err := n.startClient(pipe)
	pipe.Close()
	if err != nil {
		return err
	}
	leased, silent := make(chan bool, 1), make(chan struct{})
	go guarded(func() {
		defer close(silent)
		n.listen(reports, leased)
	})
	err = n.stay(ctx, process, leased)
	n.reaper.killGroup(process)
	<-silent
	return err
}

func (n *network) stay(ctx context.Context, process child, leased <-chan bool) error {
	patience := time.After(leasePatience)
	for {
		select {
		case <-leased:
			patience = nil
		case <-patience:
			return fmt.Errorf("no lease within %v", leasePatience)
		case <-process.exited:
			return errors.New("the DHCP client ended")
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *network) startClient(pipe *os.File) (child, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return child{}, err
	}
	defer null.Close()
	argv := []string{
		"/bin/busybox", "udhcpc", "-f", "-i", string(n.card), "-s", leaseScript,
		"-t", "8", "-T", "1", "-A", "2", "-O", "search", "-O", "mtu", "-O", "staticroutes",
	}
	if n.hostname != "" {
		argv = append(argv, "-x", "hostname:"+n.hostname)
	}
	const closed = ^uintptr(0)
	files := []uintptr{null.Fd(), null.Fd(), null.Fd()}
	for len(files) < leasePipe {
		files = append(files, closed)
	}
	return n.reaper.spawn(argv, &syscall.ProcAttr{
		Dir: "/", Env: []string{"PATH=" + usualPath}, Files: append(files, pipe.Fd()), Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// listen applies what the client's script reports, until the client is gone. The first thing a client reports is that
// it has no lease yet; that is no reason to take the address that an earlier client got.
func (n *network) listen(reports io.Reader, leased chan<- bool) {
	lines := bufio.NewScanner(reports)
	for hadLease := false; lines.Scan(); {
		report := leaseReport{}
		if json.Unmarshal(lines.Bytes(), &report) != nil {
			continue
		}
		switch {
		case report.Event == "bound" || report.Event == "renew":
			if err := n.apply(report.Vars); err != nil {
				n.complain(err.Error())
				continue
			}
			hadLease = true
			select {
			case leased <- true:
			default:
			}
		case report.Event == "deconfig" && hadLease:
			hadLease = false
			n.card.clearAddress()
			n.current = lease{}
			n.complain("the lease is lost")
		}
	}
}

func (n *network) complain(reason string) { n.events.emit("network", "address", "", "reason", reason) }

func (n *network) apply(vars map[string]string) error {
	fresh, err := parseLease(vars)
	if err != nil {
		return err
	}
	if reflect.DeepEqual(fresh, n.current) {
		return nil
	}
	if fresh.mtu > 0 {
		if err := n.card.setMTU(fresh.mtu); err != nil {
			return err
		}
	}
	if err := n.card.setAddress(fresh.address); err != nil {
		return err
	}
	for _, route := range fresh.routes {
		if err := n.card.addRoute(route, fresh.address); err != nil {
			return err
		}
	}
	address := fresh.address.Addr().String()
	if err := n.etc.setNetwork(address, fresh.resolvConf()); err != nil {
		return err
	}
	if err := useResolver(n.etc.layout.etc("resolv.conf")); err != nil {
		return err
	}
	n.current = fresh
	n.events.emit("network", "address", address)
	select {
	case n.address <- address:
	default: // the first address is the one that counts
	}
	return nil
}

// useResolver has the guest's own look-ups (of a probe's host) ask whom the containers ask: LinuxKit makes the VM's
// /etc/resolv.conf a link to this place.
func useResolver(path string) error {
	const place = "/run/resolvconf/resolv.conf"
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(path, place); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// A podEtc is the files of /etc that every container sees.
type podEtc struct {
	layout layout

	mu                            sync.Mutex
	hostname, address, resolvConf string
	search                        []string // in place of the network's, if there are any
}

func (e *podEtc) setHost(hostname string, search []string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hostname, e.search = hostname, search
	return e.write()
}

func (e *podEtc) setNetwork(address, resolvConf string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.address, e.resolvConf = address, resolvConf
	return e.write()
}

// write rewrites the files in place: containers have them mounted. The guest's own look-ups need resolv.conf before
// the host name is known.
func (e *podEtc) write() error {
	if err := os.MkdirAll(e.layout.etc(""), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"hosts": hostsText(e.hostname, e.address), "hostname": e.hostname + "\n", "resolv.conf": withSearch(e.resolvConf, e.search),
	} {
		if err := os.WriteFile(e.layout.etc(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
