package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// beTheGuest makes the test binary the guest: so the guest under test has the race detector too.
const beTheGuest = "I2KIT_TEST_IS_THE_GUEST"

func TestMain(m *testing.M) {
	if os.Getenv(beTheGuest) != "" {
		os.Unsetenv(beTheGuest)
		main()
		return
	}
	os.Exit(m.Run())
}

const (
	busybox = "/bin/busybox"
	crunBin = "/usr/bin/crun"
	patient = 30 * time.Second // until something that must happen has not
)

// A host is a Pod that runs on this host, in namespaces of its own, with the real crun.
type host struct {
	t       *testing.T
	root    string
	process *exec.Cmd
	ended   chan struct{}

	mu    sync.Mutex
	lines []string
	grown chan struct{} // closed and replaced with every line
}

// podOn describes a Pod for the host tests; scripts are run by busybox's shell.
type podOn struct {
	pod
	scripts  map[string]string
	boot     string
	damage   func(root string) // what happens to the tree after the inventory was taken
	readonly bool
	user     int
}

func needHost(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("host tests are skipped: -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("host tests are skipped: they need root for namespaces and mounts")
	}
	for _, program := range []string{busybox, crunBin} {
		if _, err := os.Stat(program); err != nil {
			t.Skipf("host tests are skipped: %v (Debian: apt-get install crun busybox-static)", err)
		}
	}
	t.Parallel()
}

var hosts struct {
	sync.Mutex
	count int
}

func startHost(t *testing.T, p podOn) *host {
	t.Helper()
	hosts.Lock()
	hosts.count++
	instance := fmt.Sprintf("test-%d-%d", os.Getpid(), hosts.count)
	hosts.Unlock()
	h := &host{t: t, root: t.TempDir(), grown: make(chan struct{}), ended: make(chan struct{})}
	p.writeTree(t, h.root)
	if p.boot == "" {
		p.boot = `{"schema": 1, "instance": "INSTANCE"}`
	}
	writeTree(t, h.root, map[string]string{"boot.json": strings.ReplaceAll(p.boot, "INSTANCE", instance)})
	if p.damage != nil {
		p.damage(h.root)
	}
	output, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	h.process = exec.Command("/proc/self/exe", "--root", h.root, "--boot", filepath.Join(h.root, "boot.json"), "--no-network", "--crun", crunBin)
	h.process.Env = append(os.Environ(), beTheGuest+"=1")
	h.process.Stdout, h.process.Stderr = input, input
	h.process.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	started := make(chan error)
	go func() { // the parent-death signal belongs to the thread: it must live as long as the guest
		runtime.LockOSThread()
		err := h.process.Start()
		input.Close()
		started <- err
		if err == nil {
			h.read(output)
			h.process.Wait()
			close(h.ended)
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.process.Process.Kill() // and with it everything in its namespace
		<-h.ended
		for _, container := range p.Containers {
			removeCgroups("/i2kit/" + instance + "/" + container.Name)
		}
		removeCgroups("/i2kit/" + instance)
		if t.Failed() {
			t.Log("console:\n" + strings.Join(h.lines, "\n"))
		}
		for _, text := range h.lines {
			if strings.Contains(text, "DATA RACE") {
				t.Error("the guest has a data race")
			}
		}
		if left, _ := filepath.Glob("/sys/fs/cgroup/*/i2kit/" + instance); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	})
	return h
}

func (p *podOn) writeTree(t *testing.T, root string) {
	t.Helper()
	p.Schema, p.HealthPort, p.Inventory = 1, 10256, map[string]inventorySpec{}
	if p.RestartPolicy == "" {
		p.RestartPolicy = restartAlways
	}
	shell, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Containers {
		name := p.Containers[i].Name
		service := filepath.Join(root, "containers/services", name)
		folder := map[bool]string{true: "rootfs", false: "lower"}[p.readonly]
		writeTree(t, service, map[string]string{folder + "/bin/busybox": string(shell), folder + "/etc/passwd": "root:x:0:0::/:/bin/sh\n", folder + "/tmp/x": ""})
		os.Chmod(filepath.Join(service, folder, "bin/busybox"), 0o755)
		os.Chmod(filepath.Join(service, folder, "tmp"), 0o1777)
		for _, applet := range []string{"sh", "cat", "echo", "sleep", "kill", "ls", "stat", "id", "test", "touch", "rm", "hostname", "httpd", "nc", "head", "dd", "env", "wc", "mount", "mknod", "grep", "true", "false"} {
			os.Symlink("busybox", filepath.Join(service, folder, "bin", applet))
		}
		caps := []string{"CAP_KILL", "CAP_MKNOD", "CAP_CHOWN"}
		spec := document{
			"ociVersion": "1.2.1", "root": document{"path": "rootfs", "readonly": p.readonly},
			"process": document{
				"user": document{"uid": p.user, "gid": p.user}, "args": []string{"/bin/sh", "-c", p.scripts[name]},
				"env": []string{"PATH=/bin", "IMAGE=image"}, "cwd": "/",
				"capabilities": document{"bounding": caps, "effective": caps, "permitted": caps},
			},
			"mounts": []any{}, "linux": document{"resources": document{}, "namespaces": []document{{"type": "mount"}}},
		}
		if err := writeJSON(filepath.Join(service, "config.json"), spec); err != nil {
			t.Fatal(err)
		}
		entry, err := takeInventory(filepath.Join(service, folder))
		if err != nil {
			t.Fatal(err)
		}
		p.Inventory["containers/services/"+name] = inventorySpec{inventoryEntry: entry}
		for _, probe := range p.Containers[i].probes() {
			probe.spec.setDefaults()
		}
	}
	os.MkdirAll(filepath.Join(root, "etc/i2kit"), 0o755)
	if err := writeJSON(filepath.Join(root, "etc/i2kit/pod.json"), p.pod); err != nil {
		t.Fatal(err)
	}
}

func (h *host) read(output io.Reader) {
	reader := bufio.NewReader(output)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return
		}
		h.mu.Lock()
		h.lines = append(h.lines, strings.TrimSuffix(line, "\n"))
		close(h.grown)
		h.grown = make(chan struct{})
		h.mu.Unlock()
	}
}

// wait returns the n-th line that fits.
func (h *host) wait(what string, n int, fits func(line string) bool) string {
	h.t.Helper()
	timeout := time.After(patient)
	for {
		h.mu.Lock()
		grown, seen := h.grown, 0
		for _, line := range h.lines {
			if fits(line) {
				if seen++; seen == n {
					h.mu.Unlock()
					return line
				}
			}
		}
		h.mu.Unlock()
		select {
		case <-grown:
		case <-timeout:
			h.t.Fatalf("within %v there was no %s", patient, what)
		}
	}
}

func (h *host) waitLine(text string) string {
	h.t.Helper()
	return h.wait("line "+text, 1, func(line string) bool { return strings.HasPrefix(line, text) })
}

// waitEvent waits for the n-th event with the fields given as name, value, name, value ...
func (h *host) waitEvent(n int, event string, pairs ...any) map[string]any {
	h.t.Helper()
	line := h.wait(fmt.Sprint(event, " event number ", n, " with ", pairs), n, func(line string) bool {
		fields := parseEvent(line)
		for i := 0; i < len(pairs); i += 2 {
			if fmt.Sprint(fields[pairs[i].(string)]) != fmt.Sprint(pairs[i+1]) {
				return false
			}
		}
		return fields["event"] == event
	})
	return parseEvent(line)
}

func parseEvent(line string) map[string]any {
	fields := map[string]any{}
	if text, ok := strings.CutPrefix(line, "i2kit "); ok {
		json.Unmarshal([]byte(text), &fields)
	}
	return fields
}

func (h *host) terminate() {
	h.t.Helper()
	if err := h.process.Process.Signal(syscall.SIGTERM); err != nil {
		h.t.Fatal(err)
	}
}

// waitEnd gives the guest's exit code, when all of its console has been read.
func (h *host) waitEnd() int {
	h.t.Helper()
	select {
	case <-h.ended:
		return h.process.ProcessState.ExitCode()
	case <-time.After(patient):
		h.t.Fatal("the guest did not end")
		return -1
	}
}

// inNetwork runs the work in the Pod's network namespace.
func (h *host) inNetwork(work func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.process.Process.Pid))
		if err == nil {
			defer namespace.Close()
			setns := map[string]uintptr{"amd64": 308, "arm64": 268}[runtime.GOARCH]
			if _, _, errno := syscall.Syscall(setns, namespace.Fd(), syscall.CLONE_NEWNET, 0); errno != 0 {
				err = errno
			} else {
				err = work()
			}
		}
		result <- err
	}()
	return <-result
}

// get asks the Pod on a port; the answer starts with the status.
func (h *host) get(port int, path string) string {
	h.t.Helper()
	return h.ask("GET", port, path)
}

func (h *host) ask(method string, port int, path string) string {
	h.t.Helper()
	var answer []byte
	err := h.inNetwork(func() error {
		connection, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			return err
		}
		defer connection.Close()
		connection.SetDeadline(time.Now().Add(patient))
		fmt.Fprintf(connection, "%s %s HTTP/1.0\r\n\r\n", method, path)
		answer, err = io.ReadAll(connection)
		return err
	})
	if err != nil {
		return err.Error()
	}
	status, _, _ := bytes.Cut(answer, []byte("\r\n"))
	_, body, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	return strings.TrimPrefix(string(status), "HTTP/1.1 ") + ": " + strings.TrimSpace(string(body))
}

func (h *host) texts(prefix string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var texts []string
	for _, line := range h.lines {
		if text, ok := strings.CutPrefix(line, prefix); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

func (h *host) expectLines(prefix string, want ...string) {
	h.t.Helper()
	if got := h.texts(prefix); !slices.Equal(got, want) {
		h.t.Errorf("lines of %s\n got %q\nwant %q", prefix, got, want)
	}
}
