package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// prepareVolumes makes every volume of the Pod and returns their folders. Secrets and emptyDirs are tmpfs: nothing of
// them reaches a disk.
func prepareVolumes(p *pod, boot *bootConfig, root, run string) (map[string]string, error) {
	folders := map[string]string{}
	var wrong []error
	for _, volume := range p.Volumes {
		folder := filepath.Join(run, "volumes", volume.Name)
		var err error
		switch {
		case volume.Files != "":
			folder = filepath.Join(root, volume.Files)
			if !isFolder(folder) {
				err = fmt.Errorf("%s is no folder", volume.Files)
			}
		case volume.EmptyDir != nil:
			err = mountTmpfs(folder, syscall.MS_NOSUID|syscall.MS_NODEV, emptyDirOptions(volume.EmptyDir))
		case volume.Secret != nil:
			err = prepareSecret(folder, volume.Secret, boot)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("volume %s: %w", volume.Name, err))
		}
		folders[volume.Name] = folder
	}
	return folders, errors.Join(wrong...)
}

func emptyDirOptions(spec *emptyDirSpec) string {
	if spec.SizeBytes > 0 {
		return fmt.Sprintf("mode=0777,size=%d", spec.SizeBytes)
	}
	return "mode=0777"
}

func mountTmpfs(folder string, flags uintptr, options string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.NewSyscallError("mount tmpfs", syscall.Mount("tmpfs", folder, "tmpfs", flags, options))
}

func prepareSecret(folder string, spec *secretSpec, boot *bootConfig) error {
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	if err := mountTmpfs(folder, flags, "mode=0755"); err != nil {
		return err
	}
	var wrong []error
	for _, item := range spec.Items {
		value, ok := boot.secret(item.Secret, item.Key)
		if !ok {
			if !item.Optional {
				wrong = append(wrong, boot.noSecret(item.Secret, item.Key))
			}
			continue
		}
		mode := os.FileMode(0o644)
		if item.Mode != nil {
			mode = os.FileMode(*item.Mode)
		}
		wrong = append(wrong, writeSecret(filepath.Join(folder, item.Path), value, mode))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	return os.NewSyscallError("remount", syscall.Mount("", folder, "", flags|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
}

func writeSecret(path, value string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// pinSubPath binds what lies at subPath of a volume to a path of the guest's own. Containers may write into the volume
// and plant links in it; neither they nor a race can lead out of it, since the bind goes by the opened file.
func pinSubPath(volume, subPath, target string) error {
	root, err := os.OpenRoot(volume)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := makeSubPath(root, subPath); err != nil {
		return fmt.Errorf("subPath %s: %w", subPath, err)
	}
	source, err := root.OpenFile(subPath, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("subPath %s: %w", subPath, err)
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	if err := makeMountPoint(target, info.IsDir()); err != nil {
		return err
	}
	pinned := fmt.Sprintf("/proc/self/fd/%d", source.Fd())
	return os.NewSyscallError("bind "+subPath, syscall.Mount(pinned, target, "", syscall.MS_BIND|syscall.MS_REC, ""))
}

// makeSubPath makes the folders that are missing, open to everyone like the emptyDir they are in.
func makeSubPath(root *os.Root, subPath string) error {
	const everyone = 0o777
	parts := strings.Split(filepath.Clean(subPath), "/")
	for i := range parts {
		folder := filepath.Join(parts[:i+1]...)
		if _, err := root.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			continue // what is wrong with it is told when it is opened
		}
		if err := errors.Join(root.Mkdir(folder, everyone), root.Chmod(folder, everyone)); err != nil {
			return err
		}
	}
	return nil
}

func makeMountPoint(path string, folder bool) error {
	if folder {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644) // never truncate: it may be mounted on still
	if err != nil {
		return err
	}
	return file.Close()
}
