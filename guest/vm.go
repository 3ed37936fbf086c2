package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// flushPatience bounds how long a slow serial line may keep the VM from powering off.
const flushPatience = 10 * time.Second

// A base is what /etc/i2kit/base.json says of the kernel below.
type base struct {
	Schema     int      `json:"schema"`
	Modules    []string `json:"modules"`
	BootConfig string   `json:"bootConfig"`
}

func vmMain() {
	mounted := mountSystem()
	device := openConsole()
	g := newGuest(layout{root: "/", run: "/run/i2kit"}, "/usr/bin/crun", newConsole(device))
	end := func() {
		g.console.flush(flushPatience)
		drainTerminal(device)
		powerOff()
	}
	var first sync.Once
	crash = func(reason string) {
		first.Do(func() {
			g.events.emit("fatal", "reason", reason)
			end()
		})
		powerOff()
	}
	g.events.emit("start", "version", version)
	guarded(func() {
		if mounted != nil {
			crash(mounted.Error())
		}
		source, err := g.bootVM()
		if err == nil {
			err = g.run(source)
		}
		if err != nil {
			time.Sleep(g.faultPatience)
			crash(err.Error())
		}
	})
	end()
}

// bootVM makes the hardware usable and returns where the boot configuration lies.
func (g *guest) bootVM() (bootSource, error) {
	button, err := newPowerButton(g.ask)
	if err != nil {
		return bootSource{}, fmt.Errorf("power button: %w", err)
	}
	data, err := os.ReadFile(g.layout.baseFile())
	if err != nil {
		return bootSource{}, err
	}
	base, err := parseBase(data)
	if err != nil {
		return bootSource{}, err
	}
	release, err := kernelRelease()
	if err != nil {
		return bootSource{}, err
	}
	if err := loadModules(filepath.Join(g.layout.kernelModules(), release), base.Modules); err != nil {
		return bootSource{}, err
	}
	if err := g.openRootDisk(release); err != nil {
		return bootSource{}, err
	}
	go guarded(button.run)
	if err := netDevice("lo").up(); err != nil {
		return bootSource{}, err
	}
	g.network = g.dhcp
	g.watch = g.keepWatchdog
	g.hideMetadata = hideMetadata
	return g.bootSource(base.BootConfig)
}

// dhcp starts to look for an address on the network card.
func (g *guest) dhcp(ctx context.Context, hostname string) <-chan string {
	network := newNetwork(g.etc, hostname, g.reaper, g.events)
	go guarded(func() { network.run(ctx) })
	return network.address
}

func parseBase(data []byte) (*base, error) {
	b := &base{}
	if err := decodeStrict(data, b); err != nil {
		return nil, fmt.Errorf("base.json: %w", err)
	}
	if b.Schema != 1 {
		return nil, fmt.Errorf("base.json: schema %d is unknown, this guest reads schema 1", b.Schema)
	}
	return b, nil
}

func kernelRelease() (string, error) {
	var names syscall.Utsname
	if err := syscall.Uname(&names); err != nil {
		return "", os.NewSyscallError("uname", err)
	}
	var release strings.Builder
	for _, char := range names.Release {
		if char == 0 {
			break
		}
		release.WriteByte(byte(char))
	}
	return release.String(), nil
}

// mountSystem mounts the kernel's file systems.
func mountSystem() error {
	const safe = syscall.MS_NOSUID | syscall.MS_NOEXEC | syscall.MS_NODEV
	wrong := []error{coverRootfs()}
	for _, mount := range []struct {
		kind, target string
		flags        uintptr
		options      string
	}{
		{"proc", "/proc", safe, ""},
		{"sysfs", "/sys", safe, ""},
		{"devtmpfs", "/dev", syscall.MS_NOSUID | syscall.MS_NOEXEC, "mode=0755"},
		{"tmpfs", "/run", syscall.MS_NOSUID | syscall.MS_NODEV, "mode=0755"},
		{"cgroup2", "/sys/fs/cgroup", safe, ""},
	} {
		os.MkdirAll(mount.target, 0o755)
		if err := syscall.Mount(mount.kind, mount.target, mount.kind, mount.flags, mount.options); err != nil {
			wrong = append(wrong, fmt.Errorf("cannot mount %s on %s: %w", mount.kind, mount.target, err))
		}
	}
	for _, controller := range []string{"+cpu", "+memory", "+pids"} {
		// A kernel without a controller cannot limit; crun says so where a container asks for a limit.
		os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte(controller), 0)
	}
	return errors.Join(wrong...)
}

// coverRootfs binds an initramfs over itself. pivot_root refuses to move the kernel's first file system, and without
// pivot_root a container would keep a way back into the guest's.
func coverRootfs() error {
	const ramfs, tmpfs, place = 0x858458f6, 0x01021994, "/mnt"
	var status syscall.Statfs_t
	if err := syscall.Statfs("/", &status); err != nil {
		return os.NewSyscallError("statfs", err)
	}
	if status.Type != ramfs && status.Type != tmpfs {
		return nil
	}
	return errors.Join(
		os.MkdirAll(place, 0o755),
		os.NewSyscallError("bind /", syscall.Mount("/", place, "", syscall.MS_BIND, "")),
		os.Chdir(place),
		os.NewSyscallError("move /", syscall.Mount(".", "/", "", syscall.MS_MOVE, "")),
		os.NewSyscallError("chroot", syscall.Chroot(".")),
		os.Chdir("/"),
	)
}

// openConsole makes the console the guest's standard streams, where a crash of the Go runtime is heard too.
func openConsole() *os.File {
	fd, err := syscall.Open("/dev/console", syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return os.Stderr
	}
	for stream := range 3 {
		syscall.Dup3(fd, stream, 0)
	}
	quietenKernel()
	return os.NewFile(uintptr(fd), "/dev/console")
}

// quietenKernel keeps all but the kernel's errors off the console, where they could break a line of the guest in two.
// Whoever gives the kernel a log level has decided otherwise.
func quietenKernel() {
	const setConsoleLevel, errorsAndWorse = 8, 4
	commandLine, _ := os.ReadFile("/proc/cmdline")
	if !strings.Contains(string(commandLine), "loglevel") {
		syscall.Syscall(syscall.SYS_SYSLOG, setConsoleLevel, 0, errorsAndWorse)
	}
}
