package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// crunPatience bounds every call of crun; under emulation and in little memory a call may take seconds.
const crunPatience = 60 * time.Second

// A crun drives the container runtime. No crun process stays beside a container: `create` leaves the container's first
// process to the guest, which learns its exit code from the kernel.
type crun struct {
	program string
	layout  layout
	reaper  *reaper
}

func (c *crun) argv(log string, args ...string) []string {
	return append([]string{
		c.program, "--cgroup-manager=cgroupfs", "--root", c.layout.containerState(), "--log", log,
	}, args...)
}

// call runs crun to its end and gives what it logged as error. Standard streams are /dev/null where nil.
func (c *crun) call(log string, stdout, stderr *os.File, args ...string) error {
	os.Remove(log)
	process, err := c.start(stdout, stderr, c.argv(log, args...))
	if err != nil {
		return err
	}
	select {
	case code := <-process.exited:
		if code == 0 {
			return nil
		}
		return fmt.Errorf("crun %s: %s", args[0], crunReason(log, code))
	case <-time.After(crunPatience):
		c.reaper.killGroup(process)
		return fmt.Errorf("crun %s did not end within %v", args[0], crunPatience)
	}
}

// crunReason is the last line crun logged; it has the form `time: text`.
func crunReason(log string, code int) string {
	data, _ := os.ReadFile(log)
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	reason := lines[len(lines)-1]
	if _, text, ok := strings.Cut(reason, "Z: "); ok {
		reason = text
	}
	if reason == "" {
		reason = fmt.Sprintf("exit code %d", code)
	}
	return reason
}

func (c *crun) start(stdout, stderr *os.File, argv []string) (child, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return child{}, err
	}
	defer null.Close()
	// crun gives a container's user its standard streams, and would make it the owner of a device.
	stdin, nobody, err := os.Pipe()
	if err != nil {
		return child{}, err
	}
	defer stdin.Close()
	nobody.Close()
	files := []uintptr{stdin.Fd(), null.Fd(), null.Fd()}
	for i, file := range []*os.File{stdout, stderr} {
		if file != nil {
			files[i+1] = file.Fd()
		}
	}
	return c.reaper.spawn(argv, &syscall.ProcAttr{
		Dir: "/", Env: []string{"PATH=" + usualPath}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
}

// create makes the container, with its first process waiting for run.
func (c *crun) create(name string, stdout, stderr *os.File) (child, error) {
	bundle := c.layout.bundle(name)
	done := c.reaper.expect()
	defer done()
	os.Remove(bundle.pid())
	err := c.call(bundle.log(), stdout, stderr, "create", "--bundle", bundle.path, "--pid-file", bundle.pid(), name)
	if err != nil {
		return child{}, err
	}
	pid, err := readPid(bundle.pid())
	if err != nil {
		return child{}, err
	}
	return c.reaper.adopt(pid), nil
}

func (c *crun) run(name string) error {
	return c.call(c.layout.bundle(name).log(), nil, nil, "start", name)
}

func (c *crun) delete(name string) error {
	return c.call(c.layout.bundle(name).log(), nil, nil, "delete", "--force", name)
}

// exec runs a command in a container until it ends, and kills it when the context does.
func (c *crun) exec(ctx context.Context, name, purpose string, command []string) error {
	bundle := c.layout.bundle(name)
	log, pidFile := bundle.log()+"-"+purpose, bundle.pid()+"-"+purpose
	done := c.reaper.expect()
	defer done()
	os.Remove(pidFile)
	args := append([]string{"exec", "--detach", "--pid-file", pidFile, name}, command...)
	if err := c.call(log, nil, nil, args...); err != nil {
		return err
	}
	pid, err := readPid(pidFile)
	if err != nil {
		return err
	}
	probe := c.reaper.adopt(pid)
	select {
	case code := <-probe.exited:
		if code != 0 {
			return fmt.Errorf("exit code %d", code)
		}
		return nil
	case <-ctx.Done():
		c.reaper.killGroup(probe)
		return errTimeout
	}
}

func readPid(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return 0, errors.New("crun wrote no process id")
	}
	return pid, nil
}
