package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const hostUsage = `usage: guest --root DIR --boot FILE [--console FILE|-] [--run DIR] [--crun PROGRAM] [--no-network]

Runs a Pod on this host as it would run in its VM, as PID 1 of namespaces of its own:

    unshare --mount --pid --fork --kill-child --net --uts --ipc guest --root DIR --boot FILE --no-network

  --root DIR       the file tree of the image
  --boot FILE      the boot configuration
  --console FILE   where the console's lines go (default: -, standard output)
  --run DIR        an empty folder for what the guest makes (default: run below the root); a tmpfs is mounted on it
  --crun PROGRAM   the container runtime (default: /usr/bin/crun)
  --no-network     no DHCP: the Pod's address is 127.0.0.1

TERM is the power button. The exit code is 0 after an orderly end, 1 after a fatal error, 64 for wrong arguments.`

// hostOptions are the flags of the host mode.
type hostOptions struct {
	root, boot, console, run, crun string
	noNetwork                      bool
}

func parseHostOptions(args []string) (hostOptions, error) {
	o := hostOptions{console: "-", crun: "/usr/bin/crun"}
	texts := map[string]*string{"--root": &o.root, "--boot": &o.boot, "--console": &o.console, "--run": &o.run, "--crun": &o.crun}
	for len(args) > 0 {
		name, value, joined := strings.Cut(args[0], "=")
		args = args[1:]
		if name == "--no-network" && !joined {
			o.noNetwork = true
			continue
		}
		text, known := texts[name]
		if !known {
			return o, fmt.Errorf("unknown flag %s", name)
		}
		if !joined {
			if len(args) == 0 {
				return o, fmt.Errorf("flag %s needs a value", name)
			}
			value, args = args[0], args[1:]
		}
		*text = value
	}
	if o.root == "" || o.boot == "" {
		return o, errors.New("--root and --boot are needed")
	}
	if o.run == "" {
		o.run = filepath.Join(o.root, "run")
	}
	for _, path := range []*string{&o.root, &o.run} {
		absolute, err := filepath.Abs(*path)
		if err != nil || strings.ContainsAny(absolute, ":,\\") {
			return o, fmt.Errorf("%q cannot stand in a mount option", *path)
		}
		*path = absolute
	}
	return o, nil
}

func hostMain(args []string) int {
	options, err := parseHostOptions(args)
	if err == nil && os.Getpid() != 1 {
		err = errors.New("the guest must be PID 1 of its own namespaces")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "guest: %v\n\n%s\n", err, hostUsage)
		return 64
	}
	device := os.Stdout
	if options.console != "-" {
		if device, err = os.OpenFile(options.console, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return options.runPod(newGuest(layout{root: options.root, run: options.run}, options.crun, newConsole(device)))
}

func (o *hostOptions) runPod(g *guest) int {
	crash = func(reason string) {
		g.events.emit("fatal", "reason", reason)
		g.console.flush(flushPatience)
		os.Exit(1)
	}
	g.events.emit("start", "version", version)
	guarded(func() {
		if err := o.isolate(); err != nil {
			crash(err.Error())
		}
		g.network = func(ctx context.Context, hostname string) <-chan string {
			return o.network(ctx, g, hostname)
		}
		if err := g.run(fileSource(o.boot)); err != nil {
			crash(err.Error())
		}
	})
	g.console.flush(flushPatience)
	return 0
}

// isolate keeps every mount of the guest to its own namespace, and gives crun a /proc that shows its processes.
func (o *hostOptions) isolate() error {
	if err := os.MkdirAll(o.run, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("make / private", err)
	}
	// crun refuses hosts that have both versions of cgroups; without the second one it takes the first.
	syscall.Unmount("/sys/fs/cgroup/unified", syscall.MNT_DETACH)
	return errors.Join(
		os.NewSyscallError("mount /proc", syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NOEXEC|syscall.MS_NODEV, "")),
		mountTmpfs(o.run, syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0755"),
		netDevice("lo").up(),
	)
}

func (o *hostOptions) network(ctx context.Context, g *guest, hostname string) <-chan string {
	if !o.noNetwork {
		return g.dhcp(ctx, hostname)
	}
	address := make(chan string, 1)
	resolvConf, _ := os.ReadFile("/etc/resolv.conf")
	if err := g.etc.setNetwork(ownAddress, string(resolvConf)); err != nil {
		crash(err.Error())
	}
	g.events.emit("network", "address", ownAddress)
	address <- ownAddress
	return address
}
