package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"strings"
)

// A bootConfig is what differs between two VMs of one image, and everything secret.
type bootConfig struct {
	Schema         int                          `json:"schema"`
	Instance       string                       `json:"instance"`
	Hostname       string                       `json:"hostname"`
	Search         []string                     `json:"search"`
	HealthFrom     []string                     `json:"healthFrom"`
	Fields         map[string]string            `json:"fields"`
	Secrets        map[string]map[string]string `json:"secrets"`
	ParameterStore *parameterStore              `json:"parameterStore"`

	healthFrom []netip.Prefix
}

// A bootSource reads the boot configuration where a provider's driver leaves it.
type bootSource struct {
	// local needs no network; it is nil, or finds nil, where the boot configuration is only to be had over the network.
	local func() (*bootConfig, error)
	// remote is nil where the boot configuration never comes over the network.
	remote func(ctx context.Context) (*bootConfig, error)
}

// bootSource is the source that the base names. None is found out by trying.
func (g *guest) bootSource(kind string) (bootSource, error) {
	service := newMetadataService("boot configuration", g.complain)
	volumes := volumeFinder{sys: "/sys/class/block", dev: "/dev", mountPoint: g.layout.bootVolume()}
	switch kind {
	case "fw_cfg":
		return fileSource("/sys/firmware/qemu_fw_cfg/by_name/opt/i2kit/boot/raw"), nil
	case "disk":
		return bootSource{local: volumes.readBootDisk}, nil
	case "aws":
		return bootSource{remote: service.readAWS}, nil
	case "gcp":
		return bootSource{remote: service.readGCP}, nil
	case "openstack":
		return bootSource{local: volumes.readConfigDrive, remote: service.readOpenStack}, nil
	}
	return bootSource{}, fmt.Errorf("base.json: bootConfig: %q is unknown, this guest reads aws, disk, fw_cfg, gcp and openstack", kind)
}

// bootConfigLimit is the most bytes of a boot configuration; Google's metadata values end at 256 KiB, the others' before.
const bootConfigLimit = 512 << 10

func fileSource(path string) bootSource {
	return bootSource{local: func() (*bootConfig, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("no boot configuration: %w", err)
		}
		return parseBootConfig(data, "")
	}}
}

// parseBootConfig never quotes a secret in its errors. The identity is what the cloud calls this VM: it fills in what
// the boot configuration cannot say where all members of a group have the same.
func parseBootConfig(data []byte, identity string) (*bootConfig, error) {
	b := &bootConfig{}
	if err := decodeStrict(data, b); err != nil {
		return nil, fmt.Errorf("boot configuration: %w", err)
	}
	if b.Schema != 1 {
		return nil, fmt.Errorf("boot configuration: schema %d is unknown, this guest reads schema 1", b.Schema)
	}
	b.fillIn(identity)
	var found complaints
	b.check(&found)
	return b, found.error("boot configuration")
}

// check understands the parts that are texts, and says what is wrong with them.
func (b *bootConfig) check(c *complaints) {
	c.addUnless(isName(b.Instance), "instance: %q is no DNS label", b.Instance)
	c.addUnless(isHostname(b.Hostname), "hostname: %q is no host name of at most 64 characters", b.Hostname)
	for i, domain := range b.Search {
		c.addUnless(isDomain(domain), "search[%d]: %q is no domain", i, domain)
	}
	c.addUnless(len(b.Search) <= searchLimit, "search: has more than %d domains", searchLimit)
	for i, text := range b.HealthFrom {
		network, err := netip.ParsePrefix(text)
		c.addUnless(err == nil, "healthFrom[%d]: %q is no network such as 10.0.0.0/8", i, text)
		b.healthFrom = append(b.healthFrom, network.Masked())
	}
	if b.ParameterStore != nil {
		b.ParameterStore.check(c, b.Secrets)
	}
	for secret, keys := range b.Secrets {
		for key, text := range keys {
			value, err := base64.StdEncoding.DecodeString(text)
			c.addUnless(err == nil, "secrets.%s.%s: is not base64", secret, key)
			keys[key] = string(value)
		}
	}
}

// searchLimit is Kubernetes' own.
const searchLimit = 32

// fillIn names what has no name. As in Kubernetes, a Pod's host name is its name.
func (b *bootConfig) fillIn(identity string) {
	if b.Instance == "" {
		b.Instance = identity
	}
	if b.Hostname == "" {
		b.Hostname = b.Instance
	}
	if _, named := b.Fields["metadata.name"]; !named {
		if b.Fields == nil {
			b.Fields = map[string]string{}
		}
		b.Fields["metadata.name"] = b.Instance
	}
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

// noSecret says which value is missing, and where it was looked for.
func (b *bootConfig) noSecret(name, key string) error {
	if b.ParameterStore != nil && b.ParameterStore.Secrets[name] != "" {
		return fmt.Errorf("secret %s has no key %s: there is no parameter below %s/%s", name, key, b.ParameterStore.Secrets[name], key)
	}
	return fmt.Errorf("the boot configuration has no secret %s with key %s", name, key)
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
