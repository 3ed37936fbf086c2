package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	configDriveLabel = "config-2"
	bootDiskLabel    = "i2kit"
	bootDiskFile     = "boot.json"

	// Loading a driver's module waits for the devices it finds; these are for those that answer later.
	deviceQuiet    = 500 * time.Millisecond // nothing new for so long: all are there
	devicePatience = 3 * time.Second
	diskPatience   = 10 * time.Second // for a disk without which there is no boot
)

// A volumeFinder looks for file systems by their labels.
type volumeFinder struct {
	sys        string // the folder of the kernel's list of block devices
	dev        string // the folder of their device files
	mountPoint string
}

// A volume is a block device and the kind of its file system.
type volume struct{ device, kind string }

// readConfigDrive reads what Nova writes on a server's config drive (OpenStack: "Config drives"); without one it finds nil.
func (f volumeFinder) readConfigDrive() (*bootConfig, error) {
	drive, found := f.find(configDriveLabel, deviceQuiet, devicePatience)
	if !found {
		return nil, nil
	}
	files, err := f.read(drive, openStackMetadata, openStackUserData)
	if errors.Is(err, fs.ErrNotExist) && files[openStackMetadata] != nil {
		err = fmt.Errorf("%w: %s", err, noUserData)
	}
	if err != nil {
		return nil, fmt.Errorf("boot configuration: config drive %s (%s): %w", drive.device, drive.kind, err)
	}
	return openStackBootConfig(files[openStackMetadata], files[openStackUserData])
}

// readBootDisk reads the boot configuration from a disk of ours.
func (f volumeFinder) readBootDisk() (*bootConfig, error) {
	disk, found := f.find(bootDiskLabel, diskPatience, diskPatience)
	if !found {
		return nil, fmt.Errorf("no boot configuration: within %v there was no disk labelled %s", diskPatience, bootDiskLabel)
	}
	files, err := f.read(disk, bootDiskFile)
	if err != nil {
		return nil, fmt.Errorf("boot configuration: disk %s (%s): %w", disk.device, disk.kind, err)
	}
	return parseBootConfig(files[bootDiskFile], "")
}

// find looks at every block device once, until no new one has come for a while.
func (f volumeFinder) find(label string, quiet, patience time.Duration) (volume, bool) {
	seen := map[string]bool{}
	for begin, last := time.Now(), time.Now(); time.Since(last) < quiet && time.Since(begin) < patience; time.Sleep(20 * time.Millisecond) {
		devices, _ := os.ReadDir(f.sys)
		for _, device := range devices {
			name := device.Name()
			if seen[name] || !f.hasMedium(name) {
				continue
			}
			seen[name], last = true, time.Now()
			path := filepath.Join(f.dev, name)
			if found, kind := labelOf(path); kind != "" && strings.EqualFold(found, label) {
				return volume{path, kind}, true
			}
		}
	}
	return volume{}, false
}

func (f volumeFinder) hasMedium(name string) bool {
	size, err := os.ReadFile(filepath.Join(f.sys, name, "size"))
	return err == nil && strings.TrimSpace(string(size)) != "0"
}

// labelOf recognises the two file systems that config drives have.
func labelOf(path string) (label, kind string) {
	device, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", ""
	}
	defer device.Close()
	const isoVolume, sector = 32 << 10, 512
	block := make([]byte, 2<<10)
	if _, err := device.ReadAt(block, isoVolume); err == nil && bytes.HasPrefix(block, []byte("\x01CD001")) {
		return labelText(block[40:72]), "iso9660"
	}
	if _, err := device.ReadAt(block[:sector], 0); err != nil || block[510] != 0x55 || block[511] != 0xaa {
		return "", ""
	}
	switch {
	case bytes.HasPrefix(block[54:], []byte("FAT")): // FAT12 and FAT16
		return labelText(block[43:54]), "vfat"
	case bytes.HasPrefix(block[82:], []byte("FAT32")):
		return labelText(block[71:82]), "vfat"
	}
	return "", ""
}

func labelText(field []byte) string { return strings.TrimRight(string(field), " \x00") }

// read mounts a volume for as long as it takes to read its files; what it has read before an error is given too.
func (f volumeFinder) read(v volume, names ...string) (map[string][]byte, error) {
	if err := os.MkdirAll(f.mountPoint, 0o700); err != nil {
		return nil, err
	}
	defer os.Remove(f.mountPoint)
	const flags = syscall.MS_RDONLY | syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	if err := syscall.Mount(v.device, f.mountPoint, v.kind, flags, ""); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	defer syscall.Unmount(f.mountPoint, syscall.MNT_DETACH)
	return readFiles(f.mountPoint, names)
}

func readFiles(folder string, names []string) (map[string][]byte, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files := map[string][]byte{}
	for _, name := range names {
		file, err := root.Open(name)
		if err != nil {
			return files, err
		}
		data, err := io.ReadAll(io.LimitReader(file, bootConfigLimit+1))
		file.Close()
		if err == nil && len(data) > bootConfigLimit {
			err = fmt.Errorf("%s is longer than %d bytes", name, bootConfigLimit)
		}
		if err != nil {
			return files, err
		}
		files[name] = data
	}
	return files, nil
}
