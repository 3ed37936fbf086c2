package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A document is a JSON object of which the guest changes a few members and keeps the rest as LinuxKit wrote it.
type document map[string]any

func (d document) object(name string) document {
	if inner, ok := d[name].(map[string]any); ok {
		return inner
	}
	inner := document{}
	d[name] = map[string]any(inner)
	return inner
}

func (d document) texts(name string) []string {
	list, _ := d[name].([]any)
	texts := make([]string, 0, len(list))
	for _, item := range list {
		if text, ok := item.(string); ok {
			texts = append(texts, text)
		}
	}
	return texts
}

func readSpec(path string) (document, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	spec := document{}
	if err := json.Unmarshal(data, &spec); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}

// A bindMount shows a file or folder of the guest in a container.
type bindMount struct {
	source   string
	target   string
	readOnly bool
}

// A runtimeSpec is what the guest decides of a container's OCI specification.
type runtimeSpec struct {
	rootfs    string
	cgroup    string
	unified   bool // cgroup v2
	env       *environment
	resources resourcesSpec
	mounts    []bindMount
}

// apply turns the specification that LinuxKit wrote into the one crun runs.
func (r *runtimeSpec) apply(spec document) error {
	process := spec.object("process")
	args := process.texts("args")
	if len(args) == 0 {
		return errors.New("config.json: process.args is empty, there is nothing to run")
	}
	for i := range args {
		args[i] = expand(args[i], r.env.values)
	}
	process["args"] = args
	process["env"] = r.env.assignments()
	process["terminal"] = false
	spec["ociVersion"] = "1.0.0"
	spec.object("root")["path"] = r.rootfs
	delete(spec, "hostname") // the UTS namespace is the VM's
	spec["mounts"] = r.allMounts(spec)

	linux := spec.object("linux")
	linux["cgroupsPath"] = r.cgroup
	linux["namespaces"] = []document{{"type": "pid"}, {"type": "ipc"}, {"type": "mount"}, {"type": "cgroup"}}
	linux["resources"] = r.allResources(linux)
	setDefault(linux, "maskedPaths", maskedPaths)
	setDefault(linux, "readonlyPaths", readonlyPaths)
	return nil
}

func setDefault(d document, name string, value any) {
	if d[name] == nil {
		d[name] = value
	}
}

// allMounts gives the container Kubernetes' usual file systems, then what else LinuxKit was asked for, then the Pod's.
func (r *runtimeSpec) allMounts(spec document) []any {
	var mounts []any
	usual := map[string]bool{}
	for _, mount := range usualMounts {
		mounts = append(mounts, mount)
		usual[mount["destination"].(string)] = true
	}
	old, _ := spec["mounts"].([]any)
	for _, mount := range old {
		fields, _ := mount.(map[string]any)
		if target, _ := fields["destination"].(string); !usual[filepath.Clean(target)] {
			mounts = append(mounts, mount)
		}
	}
	for _, mount := range r.mounts {
		access := "rw"
		if mount.readOnly {
			access = "ro"
		}
		mounts = append(mounts, document{
			"destination": mount.target, "type": "bind", "source": mount.source,
			"options": []string{"rbind", "rprivate", "nosuid", "nodev", access},
		})
	}
	return mounts
}

// allResources denies every device but crun's own defaults and those LinuxKit was asked for, and sets the limits.
func (r *runtimeSpec) allResources(linux document) document {
	resources := linux.object("resources")
	asked, _ := resources["devices"].([]any)
	resources["devices"] = append([]any{document{"allow": false, "access": "rwm"}}, asked...)
	if r.resources.MemoryBytes > 0 {
		resources.object("memory")["limit"] = r.resources.MemoryBytes
		if r.unified {
			resources.object("unified")["memory.oom.group"] = "1"
		}
	}
	if r.resources.CPUMillis > 0 {
		const period, leastQuota = 100_000, 1_000
		cpu := resources.object("cpu")
		cpu["period"] = period
		cpu["quota"] = max(r.resources.CPUMillis*period/1000, leastQuota)
	}
	return resources
}

func usualMount(target, kind string, options ...string) document {
	return document{"destination": target, "type": kind, "source": kind, "options": options}
}

var usualMounts = []document{
	usualMount("/proc", "proc", "nosuid", "noexec", "nodev"),
	usualMount("/dev", "tmpfs", "nosuid", "noexec", "strictatime", "mode=755", "size=65536k"),
	usualMount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
	usualMount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
	usualMount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
	usualMount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
	usualMount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
}

// Kubernetes' default masks (procMount: Default).
var (
	maskedPaths = []string{
		"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
		"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
	}
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
)

func writeJSON(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}
