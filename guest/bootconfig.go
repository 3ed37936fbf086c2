package main

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// A bootConfig is what differs between two VMs of one image, and everything secret.
type bootConfig struct {
	Schema     int                          `json:"schema"`
	Instance   string                       `json:"instance"`
	Hostname   string                       `json:"hostname"`
	HealthFrom []string                     `json:"healthFrom"`
	Fields     map[string]string            `json:"fields"`
	Secrets    map[string]map[string]string `json:"secrets"`

	healthFrom []netip.Prefix
}

// bootConfigPath says where a provider's driver leaves the boot configuration.
func bootConfigPath(kind string) (string, error) {
	if kind == "fw_cfg" {
		return "/sys/firmware/qemu_fw_cfg/by_name/opt/i2kit/boot/raw", nil
	}
	return "", fmt.Errorf("base.json: bootConfig: %q is unknown, this guest reads fw_cfg", kind)
}

func readBootConfig(path string) (*bootConfig, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("no boot configuration: %w", err)
	}
	return parseBootConfig(data)
}

// parseBootConfig never quotes a secret in its errors.
func parseBootConfig(data []byte) (*bootConfig, error) {
	b := &bootConfig{}
	if err := decodeStrict(data, b); err != nil {
		return nil, fmt.Errorf("boot configuration: %w", err)
	}
	if b.Schema != 1 {
		return nil, fmt.Errorf("boot configuration: schema %d is unknown, this guest reads schema 1", b.Schema)
	}
	if b.Hostname == "" {
		b.Hostname = b.Instance
	}
	var found complaints
	found.addUnless(isName(b.Instance), "instance: %q is no DNS label", b.Instance)
	found.addUnless(isHostname(b.Hostname), "hostname: %q is no host name of at most 64 characters", b.Hostname)
	for i, text := range b.HealthFrom {
		network, err := netip.ParsePrefix(text)
		found.addUnless(err == nil, "healthFrom[%d]: %q is no network such as 10.0.0.0/8", i, text)
		b.healthFrom = append(b.healthFrom, network.Masked())
	}
	for secret, keys := range b.Secrets {
		for key, text := range keys {
			value, err := base64.StdEncoding.DecodeString(text)
			found.addUnless(err == nil, "secrets.%s.%s: is not base64", secret, key)
			keys[key] = string(value)
		}
	}
	return b, found.error("boot configuration")
}

func isHostname(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if !isName(strings.ToLower(label)) {
			return false
		}
	}
	return len(name) <= 64
}

func (b *bootConfig) secret(name, key string) (value string, ok bool) {
	value, ok = b.Secrets[name][key]
	return value, ok
}

var plainFields = map[string]bool{
	"metadata.name": true, "metadata.namespace": true, "metadata.uid": true, "spec.nodeName": true,
	"spec.serviceAccountName": true, "status.hostIP": true, "status.podIP": true, "status.podIPs": true,
}

func isField(name string) bool { return plainFields[name] || isMapField(name) }

func isMapField(name string) bool {
	return (strings.HasPrefix(name, "metadata.labels['") || strings.HasPrefix(name, "metadata.annotations['")) && strings.HasSuffix(name, "']")
}

// field gives the value of a Kubernetes fieldPath. A label that is not there is empty, as in Kubernetes.
func (b *bootConfig) field(name, address string) (string, error) {
	switch name {
	case "status.hostIP", "status.podIP", "status.podIPs":
		return address, nil
	}
	value, ok := b.Fields[name]
	if !ok && !isMapField(name) {
		return "", fmt.Errorf("the boot configuration has no field %s", name)
	}
	return value, nil
}
