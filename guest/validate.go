package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// decodeStrict refuses fields that the guest does not know: a misspelt probe is no probe.
func decodeStrict(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return errors.New("more follows after the JSON object")
	}
	return nil
}

func parsePod(data []byte) (*pod, error) {
	p := &pod{RestartPolicy: restartAlways, TerminationGracePeriodSeconds: 30, HealthPort: 10256}
	if err := decodeStrict(data, p); err != nil {
		return nil, fmt.Errorf("pod.json: %w", err)
	}
	if p.Schema != 1 {
		return nil, fmt.Errorf("pod.json: schema %d is unknown, this guest reads schema 1", p.Schema)
	}
	for i := range p.Containers {
		for _, probe := range p.Containers[i].probes() {
			probe.spec.setDefaults()
		}
	}
	var found complaints
	p.check(&found)
	return p, found.error("pod.json")
}

// complaints collects everything that is wrong, each with its place.
type complaints []string

func (c *complaints) add(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

func (c *complaints) addUnless(ok bool, format string, args ...any) {
	if !ok {
		c.add(format, args...)
	}
}

func (c *complaints) error(document string) error {
	if len(*c) == 0 {
		return nil
	}
	return errors.New(document + ": " + strings.Join(*c, "; "))
}

func (p *pod) check(c *complaints) {
	switch p.RestartPolicy {
	case restartAlways, restartOnFailure, restartNever:
	default:
		c.add("restartPolicy: %q is none of Always, OnFailure, Never", p.RestartPolicy)
	}
	c.addUnless(p.TerminationGracePeriodSeconds >= 0, "terminationGracePeriodSeconds: is negative")
	c.addUnless(p.DrainSeconds >= 0, "drainSeconds: is negative")
	c.addUnless(isPort(p.HealthPort), "healthPort: %d is no port", p.HealthPort)
	c.addUnless(len(p.Containers) > 0, "containers: is empty")
	volumes := map[string]bool{}
	for _, volume := range p.Volumes {
		c.addUnless(!volumes[volume.Name], "volumes: %q stands twice", volume.Name)
		volumes[volume.Name] = true
		volume.check(c)
	}
	names := map[string]bool{}
	for _, container := range p.Containers {
		c.addUnless(!names[container.Name], "containers: %q stands twice", container.Name)
		names[container.Name] = true
		container.check(c, volumes)
		c.addUnless(container.Root == "" || isRelative(container.Root), "containers[%s].root: %q is no path below /", container.Name, container.Root)
	}
	for folder := range p.Inventory {
		c.addUnless(isRelative(folder), "inventory: %q is no path below /", folder)
	}
}

func (v *volumeSpec) check(c *complaints) {
	where := "volumes[" + v.Name + "]"
	c.addUnless(isName(v.Name), "%s: the name is no DNS label", where)
	c.addUnless(count(v.Files != "", v.EmptyDir != nil, v.Secret != nil) == 1, "%s: needs exactly one of files, emptyDir, secret", where)
	c.addUnless(v.Files == "" || path.IsAbs(v.Files), "%s.files: %q is not absolute", where, v.Files)
	if v.EmptyDir != nil {
		c.addUnless(v.EmptyDir.SizeBytes >= 0, "%s.emptyDir.sizeBytes: is negative", where)
	}
	if v.Secret == nil {
		return
	}
	for i, item := range v.Secret.Items {
		c.addUnless(isRelative(item.Path), "%s.secret.items[%d].path: %q is no path below the volume", where, i, item.Path)
		c.addUnless(item.Secret != "" && item.Key != "", "%s.secret.items[%d]: needs secret and key", where, i)
		c.addUnless(item.Mode == nil || *item.Mode&^0o777 == 0, "%s.secret.items[%d].mode: is not within 0..0777", where, i)
	}
}

func (s *containerSpec) check(c *complaints, volumes map[string]bool) {
	where := "containers[" + s.Name + "]"
	c.addUnless(isName(s.Name), "%s: the name is no DNS label", where)
	for i, env := range s.Env {
		place := fmt.Sprintf("%s.env[%d]", where, i)
		c.addUnless(env.Name != "" && !strings.ContainsAny(env.Name, "=\x00"), "%s: %q is no name of a variable", place, env.Name)
		c.addUnless(count(env.Value != "", env.Secret != "", env.Field != "") <= 1, "%s: has more than one of value, secret, field", place)
		c.addUnless((env.Secret == "") == (env.Key == ""), "%s: needs secret and key together", place)
		c.addUnless(env.Field == "" || isField(env.Field), "%s.field: %q is unknown", place, env.Field)
	}
	for i, mount := range s.Mounts {
		place := fmt.Sprintf("%s.mounts[%d]", where, i)
		c.addUnless(volumes[mount.Volume], "%s: there is no volume %q", place, mount.Volume)
		c.addUnless(path.IsAbs(mount.Path) && path.Clean(mount.Path) != "/", "%s: cannot mount on %q", place, mount.Path)
		c.addUnless(mount.SubPath == "" || isRelative(mount.SubPath), "%s: subPath %q is no path below the volume", place, mount.SubPath)
	}
	c.addUnless(s.Resources.MemoryBytes >= 0 && s.Resources.CPUMillis >= 0, "%s.resources: is negative", where)
	for _, probe := range s.probes() {
		probe.spec.check(c, where+"."+probe.kind+"Probe")
	}
}

type kindOfProbe struct {
	kind string
	spec *probeSpec
}

func (s *containerSpec) probes() []kindOfProbe {
	var present []kindOfProbe
	for _, probe := range []kindOfProbe{{startup, s.StartupProbe}, {liveness, s.LivenessProbe}, {readiness, s.ReadinessProbe}} {
		if probe.spec != nil {
			present = append(present, probe)
		}
	}
	return present
}

func (p *probeSpec) setDefaults() {
	for value, usual := range map[*int]int{&p.PeriodSeconds: 10, &p.TimeoutSeconds: 1, &p.SuccessThreshold: 1, &p.FailureThreshold: 3} {
		if *value == 0 {
			*value = usual
		}
	}
	if p.HTTP != nil && p.HTTP.Scheme == "" {
		p.HTTP.Scheme = "HTTP"
	}
	if p.HTTP != nil && !strings.HasPrefix(p.HTTP.Path, "/") {
		p.HTTP.Path = "/" + p.HTTP.Path
	}
}

func (p *probeSpec) check(c *complaints, where string) {
	c.addUnless(count(p.HTTP != nil, p.TCP != nil, p.Exec != nil) == 1, "%s: needs exactly one of http, tcp, exec", where)
	c.addUnless(min(p.PeriodSeconds, p.TimeoutSeconds, p.SuccessThreshold, p.FailureThreshold) > 0 && p.InitialDelaySeconds >= 0,
		"%s: a period, time-out, threshold or delay is negative", where)
	if p.HTTP != nil {
		c.addUnless(isPort(p.HTTP.Port), "%s.http.port: %d is no port", where, p.HTTP.Port)
		c.addUnless(p.HTTP.Scheme == "HTTP" || p.HTTP.Scheme == "HTTPS", "%s.http.scheme: %q is neither HTTP nor HTTPS", where, p.HTTP.Scheme)
		c.addUnless(p.HTTP.Scheme != "HTTPS" || knowsHTTPS, "%s.http.scheme: this guest was built without HTTPS", where)
		for _, text := range append(headerTexts(p.HTTP.Headers), p.HTTP.Path, p.HTTP.Host) {
			c.addUnless(!strings.ContainsAny(text, "\r\n\x00"), "%s.http: %q holds a line break", where, text)
		}
	}
	if p.TCP != nil {
		c.addUnless(isPort(p.TCP.Port), "%s.tcp.port: %d is no port", where, p.TCP.Port)
	}
	if p.Exec != nil {
		c.addUnless(len(p.Exec.Command) > 0, "%s.exec.command: is empty", where)
	}
}

func headerTexts(headers []headerSpec) (texts []string) {
	for _, header := range headers {
		texts = append(texts, header.Name, header.Value)
	}
	return texts
}

func count(conditions ...bool) (n int) {
	for _, condition := range conditions {
		if condition {
			n++
		}
	}
	return n
}

func isPort(number int) bool { return number > 0 && number < 1<<16 }

// isRelative tells whether a path stays below the folder it starts from.
func isRelative(name string) bool {
	if name == "" || path.IsAbs(name) || strings.ContainsRune(name, 0) {
		return false
	}
	clean := path.Clean(name)
	return clean != "." && clean != ".." && !strings.HasPrefix(clean, "../")
}

// isName tells a DNS label: such a name is safe in a path, in a mount option and on the console.
func isName(name string) bool {
	for _, char := range []byte(name) {
		if (char < 'a' || char > 'z') && (char < '0' || char > '9') && char != '-' {
			return false
		}
	}
	return name != "" && len(name) <= 63
}
