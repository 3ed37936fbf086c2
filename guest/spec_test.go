package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const linuxkitSpec = `{"ociVersion": "1.2.1", "hostname": "x",
	"process": {"user": {"uid": 7, "gid": 8}, "args": ["/bin/app", "$(A)", "$$(A)"], "env": ["A=image"], "cwd": "/srv", "capabilities": {"bounding": ["CAP_KILL"]}},
	"root": {"path": "rootfs", "readonly": true},
	"mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["rw"]},
		{"destination": "/scratch", "type": "tmpfs", "source": "tmpfs"}],
	"linux": {"resources": {"devices": [{"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm"}]},
		"namespaces": [{"type": "network", "path": "/x"}, {"type": "user"}, {"type": "mount"}], "sysctl": {"net.x": "1"}}}`

func applied(t *testing.T, settings runtimeSpec) (document, string) {
	t.Helper()
	spec := document{}
	if err := json.Unmarshal([]byte(linuxkitSpec), &spec); err != nil {
		t.Fatal(err)
	}
	if err := settings.apply(spec); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	result := document{}
	json.Unmarshal(text, &result)
	return result, string(text)
}

func TestTheSpecificationKeepsWhatLinuxKitWroteAndSetsWhatItMust(t *testing.T) {
	spec, text := applied(t, runtimeSpec{
		rootfs: "/run/x/rootfs", cgroup: "/i2kit/i/web", unified: true, env: newEnvironment([]string{"A=pod"}),
		resources: resourcesSpec{MemoryBytes: 1 << 20, CPUMillis: 250},
		mounts:    []bindMount{{"/run/v", "/etc/app", true}, {"/run/w", "/data", false}},
	})
	for _, part := range []string{
		`"ociVersion":"1.0.0"`, `"args":["/bin/app","pod","$(A)"]`, `"env":["A=pod"]`, `"cwd":"/srv"`, `"user":{"gid":8,"uid":7}`,
		`"root":{"path":"/run/x/rootfs","readonly":true}`, `"cgroupsPath":"/i2kit/i/web"`, `"net.x":"1"`, `"CAP_KILL"`,
		`"namespaces":[{"type":"pid"},{"type":"ipc"},{"type":"mount"},{"type":"cgroup"}]`,
		`"cpu":{"period":100000,"quota":25000}`, `"memory":{"limit":1048576}`, `"unified":{"memory.oom.group":"1"}`,
		`"devices":[{"access":"rwm","allow":false},{"access":"rwm","allow":true,"major":10,"minor":200,"type":"c"}]`,
		`"/proc/kcore"`, `"/proc/sysrq-trigger"`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%s is missing in %s", part, text)
		}
	}
	if _, ok := spec["hostname"]; ok {
		t.Error("a host name needs a UTS namespace")
	}
	var mounts []string
	for _, mount := range spec["mounts"].([]any) {
		fields := mount.(map[string]any)
		text, _ := json.Marshal(fields["options"])
		access := ""
		if slices.Contains(strings.Split(strings.Trim(string(text), "[]"), ","), `"ro"`) {
			access = " ro"
		}
		mounts = append(mounts, fields["destination"].(string)+access)
	}
	want := "/proc /dev /dev/pts /dev/shm /dev/mqueue /sys ro /sys/fs/cgroup ro /scratch /etc/app ro /data"
	expect(t, "mounts", strings.Join(mounts, " "), want)
}

func TestNoLimitsMeansNoLimits(t *testing.T) {
	_, text := applied(t, runtimeSpec{env: newEnvironment(nil)})
	for _, part := range []string{`"memory"`, `"cpu"`, `"unified"`} {
		if strings.Contains(text, part) {
			t.Errorf("%s is in %s", part, text)
		}
	}
}

func TestNothingToRunIsAnError(t *testing.T) {
	settings := runtimeSpec{env: newEnvironment(nil)}
	if err := settings.apply(document{"process": map[string]any{"args": []any{}}}); err == nil {
		t.Error("no error")
	}
}

func TestModulesAreFoundByTheKernelsNames(t *testing.T) {
	folder := t.TempDir()
	writeTree(t, folder, map[string]string{
		"modules.dep":     "kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko\nkernel/fs/overlay.ko.xz:\n",
		"modules.builtin": "kernel/drivers/base/fancy-bus.ko\n",
	})
	index, err := readModuleIndex(folder)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "files", index.files, map[string]string{"virtio_rng": "kernel/drivers/char/hw_random/virtio-rng.ko", "overlay": "kernel/fs/overlay.ko.xz"})
	if err := loadModules(folder, []string{"fancy_bus"}); err != nil {
		t.Errorf("a built-in module: %v", err)
	}
	err = loadModules(folder, []string{"nothing", "fancy-bus", "neither"})
	if err == nil || !strings.Contains(err.Error(), "module nothing") || !strings.Contains(err.Error(), "module neither") {
		t.Errorf("got %v", err)
	}
	if err := loadModules(filepath.Join(folder, "absent"), nil); err != nil {
		t.Errorf("a kernel without modules: %v", err)
	}
}

func TestExitsComeToWhoeverWaitsForThem(t *testing.T) {
	r := newReaper()
	done := r.expect()
	r.dispatch(7, 3) // ends before its pid is known
	expect(t, "early exit", <-r.adopt(7).exited, 3)
	late := r.adopt(8)
	r.dispatch(8, 4)
	expect(t, "late exit", <-late.exited, 4)
	r.dispatch(9, 5)
	done()
	expect(t, "strays", len(r.strays), 0)
	r.dispatch(10, 6) // an orphan nobody waits for
	expect(t, "strays", len(r.strays), 0)
}

func TestHostOptions(t *testing.T) {
	o, err := parseHostOptions([]string{"--root", "/t", "--boot=/b", "--no-network", "--console", "/c"})
	if err != nil || o.root != "/t" || o.boot != "/b" || !o.noNetwork || o.console != "/c" || o.run != "/t/run" || o.crun != "/usr/bin/crun" {
		t.Errorf("%+v %v", o, err)
	}
	for _, args := range [][]string{{"--root", "/t"}, {"--what"}, {"--root"}, {"--root", "/a:b", "--boot", "/b"}, {"--no-network=1"}} {
		if _, err := parseHostOptions(args); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

func TestLinksInEtcAreReplacedButNotFollowed(t *testing.T) {
	b := bundle{t.TempDir()}
	outside := filepath.Join(t.TempDir(), "outside")
	writeTree(t, b.rootfs(), map[string]string{"etc/hosts": "kept"})
	os.Symlink(outside, filepath.Join(b.rootfs(), "etc/resolv.conf"))
	if err := b.replaceLinks("hosts", "resolv.conf", "hostname"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hosts", "resolv.conf", "hostname"} {
		if info, err := os.Lstat(filepath.Join(b.rootfs(), "etc", name)); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a link was followed")
	}
	linked := bundle{t.TempDir()}
	os.MkdirAll(linked.rootfs(), 0o755)
	os.Symlink(filepath.Dir(outside), filepath.Join(linked.rootfs(), "etc"))
	if err := linked.replaceLinks("outside"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(outside); err == nil {
		t.Error("a linked folder was followed")
	}
}
