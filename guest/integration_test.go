package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func one(spec containerSpec) []containerSpec {
	spec.Name = "web"
	return []containerSpec{spec}
}

const untilTerm = "trap 'echo bye; exit 0' TERM; while :; do sleep 0.1; done"

func TestAContainerFindsItsEnvironmentAndItsPod(t *testing.T) {
	needHost(t)
	secret := base64.StdEncoding.EncodeToString([]byte("s3cr3t $(IMAGE)"))
	h := startHost(t, podOn{
		pod: pod{Containers: one(containerSpec{Env: []envSpec{
			{Name: "GREETING", Value: "hello"}, {Name: "LONG", Value: "$(GREETING) $(IMAGE)"}, {Name: "PASSWORD", Secret: "db", Key: "password"},
			{Name: "IP", Field: "status.podIP"}, {Name: "APP", Field: "metadata.labels['app']"},
		}})},
		boot: `{"schema": 1, "instance": "INSTANCE", "hostname": "web-7", "search": ["shop.svc.cluster.local"], "fields": {"metadata.labels['app']": "shop"}, "secrets": {"db": {"password": "` + secret + `"}}}`,
		scripts: map[string]string{"web": `
			echo 'args $(LONG) $$(LONG)'
			echo "env $GREETING $LONG $PASSWORD $IP $APP $IMAGE"
			echo "host $HOSTNAME` + " `hostname` `cat /etc/hostname`" + `"
			cat /etc/hosts /etc/resolv.conf; echo "pid $$$$"
			test -w /etc/hosts || echo no; touch /written && echo wrote
			echo error >&2
			mknod /dev/mem2 c 1 1 && cat /dev/mem2 || echo "no device"
			ls /dev; ` + untilTerm},
	})
	h.waitLine("[web] zero")
	for _, line := range []string{
		"[web] args hello $(IMAGE) $(LONG)",
		"[web] env hello hello $(IMAGE) s3cr3t $(IMAGE) 127.0.0.1 shop image",
		"[web] host web-7 web-7 web-7", "[web] 127.0.0.1\tweb-7", "[web] search shop.svc.cluster.local", "[web] pid 1", "[web] wrote", "[web] error", "[web] no device",
	} {
		h.waitLine(line)
	}
	h.waitEvent(1, "readiness", "ready", true)
	if got := h.get(10256, "/readyz"); got != "200 OK: every container is ready" {
		t.Error(got)
	}
	h.terminate()
	if code := h.waitEnd(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestARestartedContainerStartsAfresh(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod: pod{
			Containers: one(containerSpec{Mounts: []mountSpec{{Volume: "cache", Path: "/cache"}}}),
			Volumes:    []volumeSpec{{Name: "cache", EmptyDir: &emptyDirSpec{}}},
		},
		scripts: map[string]string{"web": "test -e /dirty && echo layer-survived; test -e /cache/kept && echo volume-survived; touch /dirty /cache/kept; exit 3"},
	})
	h.waitEvent(1, "container", "name", "web", "state", "waiting", "seconds", 10)
	h.expectLines("[web] ", "volume-survived")
	h.waitEvent(2, "container", "name", "web", "state", "exited", "code", 3)
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", h.process.Process.Pid))
	if err != nil || strings.Contains(string(mounts), "containers/web/") || !strings.Contains(string(mounts), "volumes/cache") {
		t.Errorf("%v, mounted after two runs:\n%s", err, mounts)
	}
	if got := h.get(10256, "/readyz"); got != "503 Service Unavailable: container web is not running" {
		t.Error(got)
	}
	if got := h.get(10256, "/livez"); !strings.HasPrefix(got, "200 OK") {
		t.Error(got)
	}
	h.terminate() // out of the back-off
	if code := h.waitEnd(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestVolumesAreMountedAsAsked(t *testing.T) {
	needHost(t)
	mode := 0o400
	h := startHost(t, podOn{
		pod: pod{
			Containers: one(containerSpec{Mounts: []mountSpec{
				{Volume: "conf", Path: "/etc/app", ReadOnly: true},
				{Volume: "conf", Path: "/etc/deep/app.conf", SubPath: "sub/app.conf"},
				{Volume: "cache", Path: "/cache"},
				{Volume: "cache", Path: "/part", SubPath: "made/here"},
				{Volume: "cache", Path: "/ro", ReadOnly: true},
				{Volume: "small", Path: "/small"},
				{Volume: "credentials", Path: "/secret"},
			}}),
			Volumes: []volumeSpec{
				{Name: "conf", Files: "/etc/i2kit/volumes/conf"},
				{Name: "cache", EmptyDir: &emptyDirSpec{}},
				{Name: "small", EmptyDir: &emptyDirSpec{SizeBytes: 1 << 20}},
				{Name: "credentials", Secret: &secretSpec{Items: []secretItem{
					{Secret: "db", Key: "password", Path: "a/password", Mode: &mode}, {Secret: "db", Key: "none", Path: "none", Optional: true},
				}}},
			},
		},
		boot: `{"schema": 1, "instance": "INSTANCE", "secrets": {"db": {"password": "czNjcjN0"}}}`,
		scripts: map[string]string{"web": `
			cat /etc/app/top; cat /etc/deep/app.conf
			for f in /etc/app/new /etc/deep/app.conf /ro/new /secret/new; do echo x 2>/dev/null > $f && echo "$f is writable"; done
			echo x > /part/file; cat /cache/made/here/file; stat -c '%a %n' /cache /part/. /cache/made /secret/a/password /etc/app/top
			cat /secret/a/password; echo; ls /secret
			dd if=/dev/zero of=/small/big bs=1M count=3 2>/dev/null || echo full
			grep -c ' /secret tmpfs ' /proc/mounts; echo done; ` + untilTerm},
		damage: func(root string) {
			writeTree(t, filepath.Join(root, "etc/i2kit/volumes/conf"), map[string]string{"top": "top\n", "sub/app.conf": "conf\n"})
			os.Chmod(filepath.Join(root, "etc/i2kit/volumes/conf/top"), 0o640)
		},
	})
	h.waitLine("[web] done")
	want := []string{"top", "conf", "x", "777 /cache", "777 /part/.", "777 /cache/made", "400 /secret/a/password", "640 /etc/app/top", "s3cr3t", "a", "full", "1", "done"}
	got := slices.DeleteFunc(h.texts("[web] "), func(line string) bool {
		return strings.Contains(line, "Read-only") || strings.Contains(line, "can't create")
	})
	if !slices.Equal(got, want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestASubPathDoesNotLeadOutOfItsVolume(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod: pod{
			Containers: one(containerSpec{Mounts: []mountSpec{{Volume: "cache", Path: "/cache"}, {Volume: "cache", Path: "/part", SubPath: "part"}}}),
			Volumes:    []volumeSpec{{Name: "cache", EmptyDir: &emptyDirSpec{}}},
		},
		scripts: map[string]string{"web": "cd /cache; busybox mv part was; busybox ln -s /etc part; echo planted; exit 1"},
	})
	exited := h.waitEvent(2, "container", "name", "web", "state", "exited")
	if reason := exited["reason"].(string); exited["code"] != 128.0 || !strings.Contains(reason, "subPath part") || !strings.Contains(reason, "escapes") {
		t.Errorf("got %v", exited)
	}
	h.expectLines("[web] ", "planted")
}

func TestAReadOnlyContainerIsReadOnly(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod: pod{Containers: one(containerSpec{Mounts: []mountSpec{{Volume: "cache", Path: "/new/place"}}}),
			Volumes: []volumeSpec{{Name: "cache", EmptyDir: &emptyDirSpec{}}}},
		readonly: true, user: 1000,
		scripts: map[string]string{"web": "touch /bin/x 2>/dev/null || echo refused; touch /new/place/x && id -u; echo out > /dev/stdout; cat; stat -c %u /dev/null; echo done; " + untilTerm},
	})
	h.waitLine("[web] done")
	h.expectLines("[web] ", "refused", "1000", "out", "0", "done")
}

func TestMemoryBeyondTheLimitKillsTheContainer(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod:     pod{Containers: one(containerSpec{Resources: resourcesSpec{MemoryBytes: 24 << 20, CPUMillis: 900}}), RestartPolicy: restartNever},
		scripts: map[string]string{"web": "head -c 8000000 /dev/zero | busybox tr '\\0' x | wc -c; x=`head -c 60000000 /dev/zero | busybox tr '\\0' x`; echo survived"},
	})
	exited := h.waitEvent(1, "container", "name", "web", "state", "exited")
	if exited["code"] == 0.0 || len(h.texts("[web] survived")) > 0 {
		t.Errorf("60 MB fit into 24: %v", exited)
	}
	h.expectLines("[web] 8", "000000")
	if code := h.waitEnd(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestProbesMakeThePodReadyAndUnready(t *testing.T) {
	needHost(t)
	fast := func(p probeSpec) *probeSpec {
		p.PeriodSeconds, p.FailureThreshold = 1, max(p.FailureThreshold, 1)
		return &p
	}
	h := startHost(t, podOn{
		pod: pod{Containers: []containerSpec{
			{Name: "http", StartupProbe: fast(probeSpec{Exec: &execSpec{[]string{"/bin/test", "-e", "/www/up"}}, FailureThreshold: 30}),
				ReadinessProbe: fast(probeSpec{HTTP: &httpSpec{Port: 8080, Path: "/ok"}})},
			{Name: "tcp", ReadinessProbe: fast(probeSpec{TCP: &tcpSpec{Port: 8081}})},
			{Name: "exec", ReadinessProbe: fast(probeSpec{Exec: &execSpec{[]string{"/bin/sh", "-c", "test $GREETING = hello && test ! -e /cache/unready"}}}),
				Env: []envSpec{{Name: "GREETING", Value: "hello"}}, Mounts: []mountSpec{{Volume: "cache", Path: "/cache"}}},
			{Name: "switch", Mounts: []mountSpec{{Volume: "cache", Path: "/cache"}}},
		}, Volumes: []volumeSpec{{Name: "cache", EmptyDir: &emptyDirSpec{}}}},
		scripts: map[string]string{
			"http": "busybox mkdir /www; echo ok > /www/ok; touch /www/up; exec httpd -f -p 8080 -h /www",
			"tcp":  "exec nc -ll -p 8081 -e /bin/true",
			"exec": untilTerm,
			// A tiny server of switches: what it is sent becomes a command.
			"switch": "exec nc -ll -p 9000 -e /bin/sh -c 'read get path rest; case $path in /off) touch /cache/unready;; /on) rm /cache/unready;; esac; echo switched'",
		},
	})
	h.waitEvent(1, "readiness", "ready", true)
	if got := h.get(10256, "/readyz"); got != "200 OK: every container is ready" {
		t.Error(got)
	}
	h.get(9000, "/off")
	h.waitEvent(1, "readiness", "ready", false, "reason", "container exec is not ready: its readiness probe does not succeed")
	if got := h.get(10256, "/readyz"); got != "503 Service Unavailable: container exec is not ready: its readiness probe does not succeed" {
		t.Error(got)
	}
	h.waitEvent(1, "probe", "container", "exec", "kind", "readiness", "reason", "exit code 1")
	h.get(9000, "/on")
	h.waitEvent(2, "readiness", "ready", true)
}

func TestAFailingLivenessProbeRestartsTheRealContainer(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod: pod{TerminationGracePeriodSeconds: 20, Containers: one(containerSpec{
			Mounts:        []mountSpec{{Volume: "cache", Path: "/cache"}},
			LivenessProbe: &probeSpec{Exec: &execSpec{[]string{"/bin/sh", "-c", "test -e /cache/second || exit 9"}}, PeriodSeconds: 1, FailureThreshold: 2},
		}), Volumes: []volumeSpec{{Name: "cache", EmptyDir: &emptyDirSpec{}}}},
		scripts: map[string]string{"web": "trap 'echo got-term; touch /cache/second; exit 0' TERM; echo up; while :; do sleep 0.1; done"},
	})
	h.waitEvent(1, "container", "name", "web", "state", "exited", "code", 0, "reason", "liveness probe: exit code 9")
	h.waitEvent(2, "container", "name", "web", "state", "started")
	h.wait("second start", 2, func(line string) bool { return line == "[web] up" })
	h.expectLines("[web] ", "up", "got-term", "up")
}

func TestAnExecProbeThatHangsIsKilled(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod: pod{Containers: one(containerSpec{
			ReadinessProbe: &probeSpec{Exec: &execSpec{[]string{"/bin/sh", "-c", "sleep 1000; true"}}, PeriodSeconds: 1},
		})},
		scripts: map[string]string{"web": "while sleep 0.2; do grep -lx 'Name:.sleep' /proc/[0-9]*/status 2>/dev/null | wc -l; done"},
	})
	h.waitEvent(1, "probe", "container", "web", "kind", "readiness", "reason", "timed out")
	before := len(h.texts("[web] "))
	h.wait("more looks", before+15, func(line string) bool { return strings.HasPrefix(line, "[web] ") })
	if got := h.texts("[web] "); slices.Contains(got, "3") {
		t.Errorf("probes pile up: %q", got)
	}
}

func TestTheEndIsInOrder(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod: pod{DrainSeconds: 1, TerminationGracePeriodSeconds: 2, Containers: []containerSpec{{Name: "good"}, {Name: "stubborn"}}},
		scripts: map[string]string{
			"good":     "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.1; done",
			"stubborn": "trap 'echo ignored' TERM; echo up; while :; do sleep 0.1; done",
		},
	})
	h.waitLine("[good] up")
	h.waitLine("[stubborn] up")
	h.waitEvent(1, "readiness", "ready", true)
	begin := time.Now()
	h.terminate()
	h.waitEvent(1, "readiness", "ready", false)
	if got := h.get(10256, "/readyz"); got != "503 Service Unavailable: the VM is shutting down" {
		t.Error(got)
	}
	if len(h.texts("[good] bye")) > 0 {
		t.Error("TERM came before the drain time was over")
	}
	if code := h.waitEnd(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(begin); took < 3*time.Second || took > 10*time.Second {
		t.Errorf("drain of 1 s and grace of 2 s took %v", took)
	}
	var order []string
	for _, line := range h.texts("") {
		for text, short := range map[string]string{
			`"ready": false`: "unready", `"event": "shutdown"`: "shutdown", "[good] bye": "bye",
			`"name": "good", "state": "exited", "code": 5`: "good 5", `"name": "stubborn", "state": "exited", "code": 137`: "stubborn 137",
		} {
			if strings.Contains(line, text) {
				order = append(order, short)
			}
		}
	}
	if want := []string{"unready", "shutdown", "bye", "good 5", "stubborn 137"}; !slices.Equal(order, want) {
		t.Errorf("got %q, want %q", order, want)
	}
}

func TestTheDrainTimeEndsWhenNothingIsLeftToDrain(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod:     pod{DrainSeconds: 3600, TerminationGracePeriodSeconds: 10, Containers: one(containerSpec{})},
		scripts: map[string]string{"web": "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done"},
	})
	h.waitLine("[web] up")
	h.waitEvent(1, "readiness", "ready", true)
	if got := h.ask("POST", 10256, "/drained"); got != "409 Conflict: the VM is not shutting down" {
		t.Error(got)
	}
	if got := h.get(10256, "/readyz"); got != "200 OK: every container is ready" {
		t.Error(got)
	}
	h.terminate()
	h.waitEvent(1, "readiness", "ready", false)
	if got := h.get(10256, "/drained"); got != "404 Not Found: there is /livez and /readyz" {
		t.Error(got)
	}
	if len(h.texts("[web] bye")) > 0 {
		t.Error("TERM came before the drain time was over")
	}
	if got := h.ask("POST", 10256, "/drained"); got != "200 OK: the drain time is over" {
		t.Error(got)
	}
	if code := h.waitEnd(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	h.waitEvent(1, "drained")
	h.expectLines("[web] ", "up", "bye")
}

func TestAMismatchOfTheInventoryStartsNothing(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod:     pod{Containers: one(containerSpec{})},
		scripts: map[string]string{"web": "echo started"},
		damage: func(root string) {
			os.Remove(filepath.Join(root, "containers/services/web/lower/tmp/x"))
		},
	})
	if code := h.waitEnd(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	fatal := h.waitEvent(1, "fatal")
	if reason := fatal["reason"].(string); !strings.Contains(reason, "containers/services/web: expected 3 files") || !strings.Contains(reason, "found 2 files") {
		t.Error(reason)
	}
	h.expectLines("[web] ")
}

func TestMissingSecretsAreFatalAndAllNamed(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod: pod{
			Containers: one(containerSpec{Env: []envSpec{{Name: "A", Secret: "one", Key: "k"}}}),
			Volumes:    []volumeSpec{{Name: "v", Secret: &secretSpec{[]secretItem{{Secret: "two", Key: "k", Path: "x"}}}}},
		},
		scripts: map[string]string{"web": "echo started"},
	})
	if code := h.waitEnd(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	reason := h.waitEvent(1, "fatal")["reason"].(string)
	if !strings.Contains(reason, "secret one") || !strings.Contains(reason, "secret two") {
		t.Error(reason)
	}
	h.expectLines("[web] ")
}

func TestWhenEveryContainerHasEndedTheVMEnds(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod: pod{RestartPolicy: restartOnFailure, Containers: []containerSpec{
			{Name: "once"}, {Name: "twice", Mounts: []mountSpec{{Volume: "cache", Path: "/cache"}}},
		}, Volumes: []volumeSpec{{Name: "cache", EmptyDir: &emptyDirSpec{}}}},
		scripts: map[string]string{"once": "exit 0", "twice": "test -e /cache/x && exit 0; touch /cache/x; exit 1"},
	})
	if code := h.waitEnd(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	h.waitEvent(1, "shutdown", "reason", "every container has ended")
	h.waitEvent(2, "container", "name", "twice", "state", "started")
}

func TestNeverStartsAContainerOnce(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{pod: pod{RestartPolicy: restartNever, Containers: one(containerSpec{})}, scripts: map[string]string{"web": "exit 4"}})
	if code := h.waitEnd(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	h.waitEvent(1, "shutdown", "reason", "every container has ended, 1 of 1 failed")
	if n := strings.Count(strings.Join(h.texts(""), "\n"), `"state": "started"`); n != 1 {
		t.Errorf("started %d times", n)
	}
}

func TestOrphansAreReapedAndTheirExitCodesAreNobodys(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod:     pod{RestartPolicy: restartNever, Containers: one(containerSpec{})},
		scripts: map[string]string{"web": "for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.0$i; exit 99) & done; (sleep 1000 &) ; sleep 0.3; exit 42"},
	})
	h.waitEvent(1, "container", "name", "web", "state", "exited", "code", 42)
	h.waitEnd()
}

func TestAFloodOfOutputDoesNotStopAContainer(t *testing.T) {
	needHost(t)
	h := startHost(t, podOn{
		pod:     pod{RestartPolicy: restartNever, Containers: one(containerSpec{})},
		scripts: map[string]string{"web": "head -c 3000000 /dev/zero | busybox tr '\\0' x | busybox fold -w 100; head -c 40000 /dev/zero | busybox tr '\\0' y; exit 0"},
	})
	h.waitEvent(1, "container", "name", "web", "state", "exited", "code", 0)
	h.waitEnd()
	lines := 0
	for _, line := range h.texts("[web] ") {
		if len(line) > lineLimit {
			t.Errorf("a line of %d bytes", len(line))
		}
		lines++
	}
	for _, line := range h.texts("i2kit ") {
		if event := parseEvent("i2kit " + line); event["event"] == "dropped" {
			lines += int(event["lines"].(float64))
		}
	}
	if lines != 29_999+3 { // the last x stand before the first y
		t.Errorf("%d lines were written or counted as dropped", lines)
	}
}
