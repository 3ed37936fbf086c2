package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A guest runs one Pod, from reading its description to its end.
type guest struct {
	layout   layout
	crunPath string
	reaper   *reaper
	console  *console
	events   eventLog
	board    *board

	etc *podEtc

	// faultPatience is how long the cause of an error may take to be heard; 0 where none is to come.
	faultPatience time.Duration

	// network starts to look for the address, which it sends. The host name may be unknown yet, and empty.
	network func(ctx context.Context, hostname string) (address <-chan string)
	// watch ends the VM when the guest no longer answers on its health port.
	watch func(healthPort int)
	// hideMetadata keeps what runs from now on from the cloud's metadata service.
	hideMetadata func() error

	asked     chan struct{} // closed when someone asked for a shutdown
	askOnce   sync.Once
	askReason string

	drained   chan struct{} // closed when the VM is known to have no connections any more
	drainOnce sync.Once
}

func newGuest(layout layout, crunPath string, output *console) *guest {
	g := &guest{
		layout: layout, crunPath: crunPath, reaper: newReaper(), console: output, etc: &podEtc{layout: layout},
		watch: func(int) {}, hideMetadata: func() error { return nil }, asked: make(chan struct{}), drained: make(chan struct{}),
	}
	g.events = eventLog{write: output.event, now: time.Now}
	output.onDrop = func(lines int) []byte {
		var text []byte
		eventLog{write: func(line []byte) { text = line }, now: time.Now}.emit("dropped", "lines", lines)
		return text
	}
	g.board = newBoard(func(ready bool, reason string) {
		g.events.emit("readiness", "ready", ready, "reason", reason)
	})
	go guarded(output.run)
	go guarded(g.reaper.run)
	watchSignals(g.ask)
	return g
}

// ask asks for a shutdown; only the first to ask is heard.
func (g *guest) ask(reason string) {
	g.askOnce.Do(func() {
		g.askReason = reason
		close(g.asked)
	})
}

// endDrain cuts the drain time short; before a shutdown there is none, and it does nothing.
func (g *guest) endDrain() bool {
	select {
	case <-g.asked:
		g.drainOnce.Do(func() { close(g.drained) })
		return true
	default:
		return false
	}
}

// unlessAsked does what may take long, and ends it with errAsked when someone asks for a shutdown.
func (g *guest) unlessAsked(parent context.Context, work func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	go guarded(func() {
		select {
		case <-g.asked:
			cancel()
		case <-ctx.Done():
		}
	})
	err := work(ctx)
	if ctx.Err() != nil {
		return errAsked
	}
	return err
}

// run returns when the Pod has ended: nil after a shutdown, or when every container ended well.
func (g *guest) run(source bootSource) error {
	data, err := os.ReadFile(g.layout.podFile())
	if err != nil {
		return err
	}
	p, err := parsePod(data)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	boot, address, err := g.begin(ctx, p, source)
	if err == nil && boot.ParameterStore != nil {
		err = g.readSecrets(ctx, boot)
	}
	if err == errAsked {
		return g.shutDown(p, func() {}, nil)
	}
	if err != nil {
		return err
	}
	if !p.MetadataAccess {
		if err := g.hideMetadata(); err != nil {
			return fmt.Errorf("cannot keep the containers from the metadata service: %w", err)
		}
	}
	engine, err := g.prepare(p, boot, address)
	if err != nil {
		return err
	}
	return g.supervise(p, engine)
}

var errAsked = errors.New("a shutdown was asked for")

// begin finds out who this VM is: its boot configuration and its address.
func (g *guest) begin(ctx context.Context, p *pod, source bootSource) (boot *bootConfig, address string, err error) {
	var addresses <-chan string
	if source.remote != nil { // an address takes longer to come than a disk, so it is asked for first
		addresses = g.network(ctx, "")
	}
	health := &healthServer{verdict: g.board.verdict, endDrain: g.endDrain}
	if source.local != nil {
		if boot, err = source.local(); err != nil {
			return nil, "", err
		}
	}
	if boot != nil {
		if err := g.become(boot, health); err != nil {
			return nil, "", err
		}
	}
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(p.HealthPort))
	if err != nil {
		return nil, "", fmt.Errorf("health port: %w", err)
	}
	go guarded(func() { health.serve(listener) })
	g.watch(p.HealthPort)
	if addresses == nil {
		addresses = g.network(ctx, boot.Hostname)
	}
	if err := checkInventory(g.layout, p.Inventory); err != nil {
		return nil, "", err
	}
	debug.FreeOSMemory() // the list of files may have been long
	select {
	case address = <-addresses:
	case <-g.asked:
		return nil, "", errAsked
	}
	if boot == nil {
		boot, err = g.readRemote(ctx, source, health)
	}
	return boot, address, err
}

func (g *guest) readRemote(ctx context.Context, source bootSource, health *healthServer) (boot *bootConfig, err error) {
	err = g.unlessAsked(ctx, func(ctx context.Context) error {
		boot, err = source.remote(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return boot, g.become(boot, health)
}

// readSecrets gets the values that the boot configuration only refers to.
func (g *guest) readSecrets(ctx context.Context, boot *bootConfig) error {
	roots, err := os.ReadFile(g.layout.authorities()) // not every platform's images have some
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	reader, err := newParameterReader(boot.ParameterStore, string(roots), g.complain)
	if err != nil {
		return err
	}
	defer debug.FreeOSMemory() // TLS takes more than the guest does afterwards
	return g.unlessAsked(ctx, func(ctx context.Context) error {
		secrets, err := reader.read(ctx)
		if err != nil {
			return err
		}
		if boot.Secrets == nil {
			boot.Secrets = map[string]map[string]string{}
		}
		maps.Copy(boot.Secrets, secrets)
		return nil
	})
}

// complain says what keeps the VM from booting further.
func (g *guest) complain(reason string) { g.events.emit("boot", "reason", reason) }

// become takes over what the boot configuration says of this VM.
func (g *guest) become(boot *bootConfig, health *healthServer) error {
	health.admitOnly(boot.healthFrom)
	if err := syscall.Sethostname([]byte(boot.Hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	return g.etc.setHost(boot.Hostname, boot.Search)
}

// prepare makes the volumes and the containers' specifications; everything that is wrong with them is one error.
func (g *guest) prepare(p *pod, boot *bootConfig, address string) (*crunEngine, error) {
	volumes, err := prepareVolumes(p, boot, g.layout.root, g.layout.run)
	wrong := []error{err}
	engine := &crunEngine{
		layout: g.layout, console: g.console, volumes: volumes, cgroup: "/i2kit/" + boot.Instance, pod: p,
		crun: &crun{program: g.crunPath, layout: g.layout, reaper: g.reaper},
	}
	for i := range p.Containers {
		spec := &p.Containers[i]
		image, err := readSpec(filepath.Join(g.layout.service(spec.Name), "config.json"))
		if err != nil {
			wrong = append(wrong, fmt.Errorf("container %s: %w", spec.Name, err))
			continue
		}
		env, err := containerEnvironment(image.object("process").texts("env"), spec.Env, boot, address)
		if err == nil {
			err = engine.prepare(spec, image, env)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("container %s: %w", spec.Name, err))
		}
	}
	return engine, errors.Join(wrong...)
}

// supervise runs the containers until they have ended for good, or until the end was asked for.
func (g *guest) supervise(p *pod, engine *crunEngine) error {
	keep, stopKeeping := context.WithCancel(context.Background())
	stay, stopStaying := context.WithCancel(context.Background())
	defer stopKeeping()
	defer stopStaying()
	var names []string
	for _, spec := range p.Containers {
		names = append(names, spec.Name)
	}
	g.board.open(names)
	var failed atomic.Int32
	var running sync.WaitGroup
	for i := range p.Containers {
		s := &supervisor{
			spec: &p.Containers[i], policy: p.RestartPolicy, engine: engine, board: g.board, events: g.events,
			grace: time.Duration(p.TerminationGracePeriodSeconds) * time.Second,
			checker: func(kind string, spec *probeSpec) check {
				return newCheck(p.Containers[i].Name, kind, spec, engine.crun)
			},
		}
		running.Add(1)
		go guarded(func() {
			defer running.Done()
			if !s.supervise(keep, stay) {
				failed.Add(1)
			}
		})
	}
	ended := make(chan struct{})
	go guarded(func() {
		running.Wait()
		close(ended)
	})
	defer removeCgroups(engine.cgroup)
	select {
	case <-ended:
		reason := "every container has ended"
		if n := failed.Load(); n > 0 {
			reason = fmt.Sprintf("every container has ended, %d of %d failed", n, len(names))
		}
		g.board.shut(reason)
		g.events.emit("shutdown", "reason", reason)
		return nil
	case <-g.asked:
		stopKeeping()
		return g.shutDown(p, stopStaying, ended)
	}
}

// shutDown is the orderly end: unready first, then time for balancers to notice, then the containers.
func (g *guest) shutDown(p *pod, stopContainers func(), ended <-chan struct{}) error {
	g.board.shut("the VM is shutting down")
	g.events.emit("shutdown", "reason", g.askReason)
	if ended == nil {
		return nil
	}
	select {
	case <-time.After(time.Duration(p.DrainSeconds) * time.Second):
	case <-g.drained:
		g.events.emit("drained")
	case <-ended:
	}
	stopContainers()
	<-ended
	return nil
}

// removeCgroups leaves nothing behind on a host; crun has removed the containers' own.
func removeCgroups(parent string) {
	hierarchies, _ := filepath.Glob("/sys/fs/cgroup/*")
	for _, hierarchy := range append(hierarchies, "/sys/fs/cgroup") {
		syscall.Rmdir(filepath.Join(hierarchy, parent))
		syscall.Rmdir(filepath.Join(hierarchy, filepath.Dir(parent)))
	}
}
