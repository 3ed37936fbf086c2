package main

import (
	"os"
	"path/filepath"
	"syscall"
)

// A layout says where things lie: the image's tree below root, what the guest makes below run (a tmpfs). trees is where
// the containers' root file systems lie, when not below root.
type layout struct {
	root  string
	run   string
	trees string
}

const servicesFolder = "containers/services"

func (l layout) podFile() string  { return filepath.Join(l.root, "etc/i2kit/pod.json") }
func (l layout) baseFile() string { return filepath.Join(l.root, "etc/i2kit/base.json") }
func (l layout) diskFile() string { return filepath.Join(l.root, "etc/i2kit/disk.json") }
func (l layout) authorities() string {
	return filepath.Join(l.root, "etc/ssl/certs/ca-certificates.crt")
}
func (l layout) service(name string) string {
	return filepath.Join(l.root, servicesFolder, name)
}

// tree is the root file system of a container, given by its service's folder.
func (l layout) tree(service string) string {
	return rootFolder(filepath.Join(l.treesFolder(), service))
}
func (l layout) treesFolder() string {
	if l.trees != "" {
		return l.trees
	}
	return l.root
}
func (l layout) rootDisk() string          { return filepath.Join(l.run, "disk") }
func (l layout) etc(name string) string    { return filepath.Join(l.run, "etc", name) }
func (l layout) bundle(name string) bundle { return bundle{filepath.Join(l.run, "containers", name)} }
func (l layout) bootVolume() string        { return filepath.Join(l.run, "boot") }
func (l layout) containerState() string    { return filepath.Join(l.run, "crun") }
func (l layout) kernelModules() string     { return filepath.Join(l.root, "lib/modules") }

// A bundle is the folder of one container: specification, layer and merged root file system.
type bundle struct{ path string }

func (b bundle) spec() string   { return filepath.Join(b.path, "config.json") }
func (b bundle) rootfs() string { return filepath.Join(b.path, "rootfs") }
func (b bundle) layer() string  { return filepath.Join(b.path, "layer") }
func (b bundle) pid() string    { return filepath.Join(b.path, "pid") }
func (b bundle) log() string    { return filepath.Join(b.path, "log") }
func (b bundle) mounts() string { return filepath.Join(b.path, "mounts") }

// mountRootfs lays a fresh, empty layer over the image's root file system. A read-only container gets one too (crun
// makes its view read-only), so that mount points can be made in it.
func (b bundle) mountRootfs(lower string) error {
	if err := mountTmpfs(b.layer(), syscall.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	upper, work := filepath.Join(b.layer(), "upper"), filepath.Join(b.layer(), "work")
	for _, folder := range []string{upper, work, b.rootfs()} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if err := copyOwner(lower, upper); err != nil {
		return err
	}
	options := "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work
	return os.NewSyscallError("mount overlay", syscall.Mount("overlay", b.rootfs(), "overlay", syscall.MS_NODEV, options))
}

// copyOwner makes the root folder of the layer look like the image's.
func copyOwner(from, to string) error {
	var status syscall.Stat_t
	if err := syscall.Stat(from, &status); err != nil {
		return &os.PathError{Op: "stat", Path: from, Err: err}
	}
	if err := os.Chown(to, int(status.Uid), int(status.Gid)); err != nil {
		return err
	}
	return syscall.Chmod(to, status.Mode&0o7777)
}

// replaceLinks makes plain empty files of what the Pod's own /etc files will cover, where the image has links or
// nothing. A folder on the way that is a link is left alone: it could lead anywhere.
func (b bundle) replaceLinks(names ...string) error {
	etc := filepath.Join(b.rootfs(), "etc")
	if info, err := os.Lstat(etc); err != nil || !info.IsDir() {
		return nil
	}
	for _, name := range names {
		path := filepath.Join(etc, name)
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			continue
		}
		os.Remove(path)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// unmount removes everything that was mounted for one run of the container.
func (b bundle) unmount() {
	pinned, _ := filepath.Glob(filepath.Join(b.mounts(), "*"))
	for _, path := range append(pinned, b.rootfs(), b.layer()) {
		syscall.Unmount(path, syscall.MNT_DETACH)
	}
	for _, path := range pinned {
		os.Remove(path) // and nothing below it: that would be the volume's
	}
}
