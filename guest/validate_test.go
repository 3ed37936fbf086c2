package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// contractExample takes the n-th JSON block from the contract.
func contractExample(t *testing.T, n int) []byte {
	t.Helper()
	page, err := os.ReadFile("../docs/reference/guest.md")
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1)[n][1]
}

func TestTheContractsPodIsUnderstood(t *testing.T) {
	p, err := parsePod(contractExample(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	web := p.Containers[0]
	if len(p.Volumes) != 3 || web.ReadinessProbe.HTTP.Port != 8080 || web.LivenessProbe.TCP == nil || web.StartupProbe.Exec.Command[0] != "/bin/check" {
		t.Errorf("got %+v", p)
	}
	if p.DrainSeconds != 3 || web.Env[1].Secret != "db" || *p.Volumes[2].Secret.Items[0].Mode != 0o644 {
		t.Errorf("got %+v", p)
	}
}

func TestDefaultsAreKubernetes(t *testing.T) {
	p, err := parsePod([]byte(`{"schema": 1, "containers": [{"name": "a", "livenessProbe": {"http": {"port": 80, "path": "live"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	probe := p.Containers[0].LivenessProbe
	if probe.PeriodSeconds != 10 || probe.TimeoutSeconds != 1 || probe.SuccessThreshold != 1 || probe.FailureThreshold != 3 || probe.HTTP.Path != "/live" {
		t.Errorf("probe %+v", probe)
	}
	if p.RestartPolicy != "Always" || p.TerminationGracePeriodSeconds != 30 || p.HealthPort != 10256 {
		t.Errorf("pod %+v", p)
	}
}

func TestZeroGraceIsZero(t *testing.T) {
	p, err := parsePod([]byte(`{"schema": 1, "terminationGracePeriodSeconds": 0, "containers": [{"name": "a"}]}`))
	if err != nil || p.TerminationGracePeriodSeconds != 0 {
		t.Errorf("%+v %v", p, err)
	}
}

func TestBrokenPodsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                                     "pod.json",
		`{"schema": 1} {}`:                      "more follows",
		`{"schema": 2, "containers": []}`:       "schema 2 is unknown",
		`{"schema": 1}`:                         "containers: is empty",
		`{"schema": 1, "containersss": []}`:     "unknown field",
		`{"schema": 1, "restartPolicy": "Now"}`: `"Now" is none of`,
		`{"schema": 1, "healthPort": 70000}`:    "70000 is no port",
		`{"schema": 1, "containers": [{"name": "a"}, {"name": "a"}]}`:                                                                                                 "stands twice",
		`{"schema": 1, "containers": [{"name": "../a"}]}`:                                                                                                             "no DNS label",
		`{"schema": 1, "containers": [{"name": "a", "livenessProbe": {}}]}`:                                                                                           "exactly one of http, tcp, exec",
		`{"schema": 1, "containers": [{"name": "a", "livenessProbe": {"tcp": {"port": 1}, "exec": {"command": ["x"]}}}]}`:                                             "exactly one of http, tcp, exec",
		`{"schema": 1, "containers": [{"name": "a", "livenessProbe": {"tcp": {"port": 0}}}]}`:                                                                         "0 is no port",
		`{"schema": 1, "containers": [{"name": "a", "livenessProbe": {"tcp": {"port": 1}, "periodSeconds": -1}}]}`:                                                    "negative",
		`{"schema": 1, "containers": [{"name": "a", "startupProbe": {"exec": {"command": []}}}]}`:                                                                     "command: is empty",
		`{"schema": 1, "containers": [{"name": "a", "startupProbe": {"http": {"port": 1, "scheme": "FTP"}}}]}`:                                                        "neither HTTP nor HTTPS",
		`{"schema": 1, "containers": [{"name": "a", "startupProbe": {"http": {"port": 1, "path": "/\r\nX: y"}}}]}`:                                                    "line break",
		`{"schema": 1, "containers": [{"name": "a", "env": [{"name": "A", "value": "x", "field": "metadata.name"}]}]}`:                                                "more than one of",
		`{"schema": 1, "containers": [{"name": "a", "env": [{"name": "A", "secret": "x"}]}]}`:                                                                         "secret and key together",
		`{"schema": 1, "containers": [{"name": "a", "env": [{"name": "A", "field": "spec.color"}]}]}`:                                                                 `"spec.color" is unknown`,
		`{"schema": 1, "containers": [{"name": "a", "env": [{"name": "A=B"}]}]}`:                                                                                      "no name of a variable",
		`{"schema": 1, "containers": [{"name": "a", "mounts": [{"volume": "v", "path": "/x"}]}]}`:                                                                     `no volume "v"`,
		`{"schema": 1, "volumes": [{"name": "v", "emptyDir": {}, "files": "/x"}]}`:                                                                                    "exactly one of files",
		`{"schema": 1, "volumes": [{"name": "v", "secret": {"items": [{"secret": "s", "key": "k", "path": "../../x"}]}}]}`:                                            "no path below",
		`{"schema": 1, "volumes": [{"name": "v", "secret": {"items": [{"secret": "s", "key": "k", "path": "x", "mode": 4095}]}}]}`:                                    "0777",
		`{"schema": 1, "volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "a", "mounts": [{"volume": "v", "path": "/x", "subPath": "a/../../b"}]}]}`: "subPath",
		`{"schema": 1, "volumes": [{"name": "v", "emptyDir": {}}], "containers": [{"name": "a", "mounts": [{"volume": "v", "path": "/x/.."}]}]}`:                      "cannot mount on",
	} {
		if _, err := parsePod([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n\tgives %v, want %q", text, err, want)
		}
	}
}

func TestAllComplaintsComeAtOnce(t *testing.T) {
	_, err := parsePod([]byte(`{"schema": 1, "restartPolicy": "x", "healthPort": -1, "drainSeconds": -1}`))
	if err == nil || strings.Count(err.Error(), ";") != 3 {
		t.Errorf("got %v", err)
	}
}

func TestTheContractsBootConfigurationIsUnderstood(t *testing.T) {
	text := strings.Replace(string(contractExample(t, 1)), "<base64>", "czNjcjN0", 1)
	boot, err := parseBootConfig([]byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	if value, ok := boot.secret("db", "password"); !ok || value != "s3cr3t" {
		t.Errorf("secret %q %v", value, ok)
	}
	if boot.healthFrom[0].String() != "10.88.0.1/32" || boot.Hostname != "web-3f2a91c0-0" {
		t.Errorf("got %+v", boot)
	}
}

func TestBrokenBootConfigurationsAreRefusedWithoutTellingSecrets(t *testing.T) {
	for text, want := range map[string]string{
		``:                                 "boot configuration",
		`{"schema": 9}`:                    "schema 9",
		`{"schema": 1, "instance": "a/b"}`: "no DNS label",
		`{"schema": 1, "instance": "a", "hostname": "a b"}`:                 "no host name",
		`{"schema": 1, "instance": "a", "healthFrom": ["10.0.0.1"]}`:        "no network",
		`{"schema": 1, "instance": "a", "secrets": {"s": {"k": "canary"}}}`: "secrets.s.k: is not base64",
		`{"schema": 1, "instance": "a", "extra": 1}`:                        "unknown field",
	} {
		_, err := parseBootConfig([]byte(text), "")
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s\n\tgives %v, want %q", text, err, want)
		}
	}
}

func TestBaseIsParsed(t *testing.T) {
	b, err := parseBase([]byte(`{"schema": 1, "modules": ["virtio_pci"], "bootConfig": "fw_cfg"}`))
	if err != nil || b.Modules[0] != "virtio_pci" {
		t.Errorf("%+v %v", b, err)
	}
	if _, err := new(guest).bootSource("carrier pigeon"); err == nil {
		t.Error("an unknown place of the boot configuration was accepted")
	}
}
