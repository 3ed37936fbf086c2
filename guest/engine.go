package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A crunEngine starts the Pod's containers by crun.
type crunEngine struct {
	layout  layout
	crun    *crun
	console *console
	volumes map[string]string // folder of each volume
	cgroup  string            // parent of the containers' cgroups
	pod     *pod
}

// prepare writes a container's specification; nothing of it changes between two starts.
func (e *crunEngine) prepare(spec *containerSpec, document document, env *environment) error {
	bundle := e.layout.bundle(spec.Name)
	if err := os.MkdirAll(bundle.path, 0o700); err != nil {
		return err
	}
	settings := runtimeSpec{
		rootfs: bundle.rootfs(), cgroup: filepath.Join(e.cgroup, spec.Name), unified: hasUnifiedCgroups(), env: env,
		resources: spec.Resources,
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		settings.mounts = append(settings.mounts, bindMount{e.layout.etc(name), "/etc/" + name, true})
	}
	for i, mount := range spec.Mounts {
		source := e.volumes[mount.Volume]
		if mount.SubPath != "" {
			source = pinnedPath(bundle, i)
		}
		settings.mounts = append(settings.mounts, bindMount{source, mount.Path, mount.ReadOnly || e.isReadOnly(mount.Volume)})
	}
	if err := settings.apply(document); err != nil {
		return err
	}
	return writeJSON(bundle.spec(), document)
}

// isReadOnly tells the volumes whose content is the image's or the boot configuration's.
func (e *crunEngine) isReadOnly(volume string) bool {
	for _, v := range e.pod.Volumes {
		if v.Name == volume {
			return v.EmptyDir == nil
		}
	}
	return true
}

func pinnedPath(b bundle, mount int) string {
	return filepath.Join(b.mounts(), fmt.Sprint(mount))
}

// start gives a container a fresh layer and runs it.
func (e *crunEngine) start(name string) (run, error) {
	bundle := e.layout.bundle(name)
	life := &crunRun{engine: e, name: name}
	if err := e.mount(name, bundle); err != nil {
		life.clean()
		return nil, err
	}
	stdout, err := e.stream(name, &life.output)
	if err != nil {
		life.clean()
		return nil, err
	}
	stderr, err := e.stream(name, &life.output)
	if err != nil {
		stdout.Close()
		life.clean()
		return nil, err
	}
	life.process, err = e.crun.create(name, stdout, stderr)
	stdout.Close()
	stderr.Close()
	if err == nil {
		err = e.crun.run(name)
	}
	if err != nil {
		life.clean()
		return nil, err
	}
	return life, nil
}

func (e *crunEngine) mount(name string, bundle bundle) error {
	service := e.container(name).Root
	if service == "" {
		service = filepath.Join(servicesFolder, name)
	}
	if err := bundle.mountRootfs(e.layout.tree(service)); err != nil {
		return err
	}
	if err := bundle.replaceLinks("hosts", "hostname", "resolv.conf"); err != nil {
		return err
	}
	for i, mount := range e.container(name).Mounts {
		if mount.SubPath == "" {
			continue
		}
		if err := pinSubPath(e.volumes[mount.Volume], mount.SubPath, pinnedPath(bundle, i)); err != nil {
			return err
		}
	}
	return nil
}

func (e *crunEngine) container(name string) *containerSpec {
	for i := range e.pod.Containers {
		if e.pod.Containers[i].Name == name {
			return &e.pod.Containers[i]
		}
	}
	return nil
}

// stream is one standard stream of a container; what is written to it goes to the console.
func (e *crunEngine) stream(name string, output *sync.WaitGroup) (*os.File, error) {
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("pipe2", err)
	}
	syscall.SetNonblock(ends[0], true) // the runtime then waits for it without a thread
	reading, writing := os.NewFile(uintptr(ends[0]), "output"), os.NewFile(uintptr(ends[1]), "output")
	output.Add(1)
	go guarded(func() {
		defer output.Done()
		defer reading.Close()
		e.console.copyLines(reading, "["+name+"] ")
	})
	return writing, nil
}

// A crunRun is one life of a container under crun.
type crunRun struct {
	engine  *crunEngine
	name    string
	process child
	output  sync.WaitGroup
}

func (r *crunRun) exited() <-chan int        { return r.process.exited }
func (r *crunRun) signal(sig syscall.Signal) { r.engine.crun.reaper.signal(r.process, sig) }

// close waits for the last lines, unless someone outside holds the streams open.
func (r *crunRun) close() {
	silent := make(chan struct{})
	go guarded(func() {
		r.output.Wait()
		close(silent)
	})
	select {
	case <-silent:
	case <-time.After(time.Second):
	}
	r.clean()
}

func (r *crunRun) clean() {
	r.engine.crun.delete(r.name)
	r.engine.layout.bundle(r.name).unmount()
}

func hasUnifiedCgroups() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}
