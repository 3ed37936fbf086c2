package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	rootParameter  = "i2kit.root="
	rootFileSystem = "squashfs"
	// faultPatience is how long the end of a VM waits for what dm-verity has to say: it says more than the error that follows.
	faultPatience = 500 * time.Millisecond
)

// A rootDisk is the disk or partition with the containers' root file systems, as the kernel command line describes it:
// so many blocks of file system, then dm-verity's hash tree, whose top block hashes to rootHash.
type rootDisk struct {
	blocks   int64
	rootHash string
}

// diskModules is what /etc/i2kit/disk.json says: the modules that root disks need, in an order in which they load.
type diskModules struct {
	Schema  int      `json:"schema"`
	Modules []string `json:"modules"`
}

// openRootDisk makes the containers' root file systems available where they lie on a disk.
func (g *guest) openRootDisk(release string) error {
	commandLine, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	disk, err := parseRootDisk(string(commandLine))
	if disk == nil || err != nil {
		return err
	}
	modules, err := readDiskModules(g.layout.diskFile())
	if err != nil {
		return err
	}
	if err := loadModules(filepath.Join(g.layout.kernelModules(), release), modules); err != nil {
		return err
	}
	device, err := disk.find("/sys/class/block", "/dev", diskPatience)
	if err != nil {
		return err
	}
	if err := watchVerity(device); err != nil {
		return err
	}
	g.faultPatience = faultPatience
	verified, err := mapVerity(disk, device)
	if err != nil {
		return fmt.Errorf("root disk %s: %w", device, err)
	}
	place := g.layout.rootDisk()
	if err := os.MkdirAll(place, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(verified, place, rootFileSystem, syscall.MS_RDONLY|syscall.MS_NODEV, ""); err != nil {
		return fmt.Errorf("root disk %s: cannot mount it: %w", device, err)
	}
	g.layout.trees = place
	return nil
}

// parseRootDisk finds the disk on the kernel command line; nil where there is none.
func parseRootDisk(commandLine string) (*rootDisk, error) {
	for word := range strings.FieldsSeq(commandLine) {
		value, ok := strings.CutPrefix(word, rootParameter)
		if !ok {
			continue
		}
		blocks, hash, _ := strings.Cut(value, ":")
		count, err := strconv.ParseInt(blocks, 10, 64)
		digest, wrong := hex.DecodeString(hash)
		if err != nil || wrong != nil || count < 2 || count > 1<<40 || len(digest) != sha256.Size {
			return nil, fmt.Errorf("kernel command line: %s: expected %s<data blocks>:<root hash>", word, rootParameter)
		}
		return &rootDisk{blocks: count, rootHash: hash}, nil
	}
	return nil, nil
}

func readDiskModules(path string) ([]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("the image has a root disk, but not what reads one: %w", err)
	}
	described := diskModules{}
	if err := decodeStrict(data, &described); err != nil {
		return nil, fmt.Errorf("disk.json: %w", err)
	}
	if described.Schema != 1 {
		return nil, fmt.Errorf("disk.json: schema %d is unknown, this guest reads schema 1", described.Schema)
	}
	return described.Modules, nil
}

// find looks at disks and partitions as they appear, until one has the right hash tree. Its name does not matter.
func (d *rootDisk) find(sys, dev string, patience time.Duration) (device string, err error) {
	seen := map[string]string{} // why each is not the disk
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		devices, _ := os.ReadDir(sys)
		for _, entry := range devices {
			name := entry.Name()
			size := deviceSize(filepath.Join(sys, name))
			if seen[name] != "" || size == 0 {
				continue
			}
			device := filepath.Join(dev, name)
			if err := d.recognise(device, size); err == nil {
				return device, nil
			} else if !errors.Is(err, os.ErrNotExist) {
				seen[name] = fmt.Sprintf("%s of %d bytes (%v)", name, size, err)
			}
		}
		if time.Since(begin) >= patience {
			break
		}
	}
	reasons := make([]string, 0, len(seen))
	for _, reason := range seen {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	found := strings.Join(reasons, ", ")
	if found == "" {
		found = "no disk at all"
	}
	return "", fmt.Errorf("no disk has the root file systems (root hash %.12s...): within %v there was %s", d.rootHash, patience, found)
}

// deviceSize is a block device's size in bytes; 0 for a drive without a medium.
func deviceSize(folder string) int64 {
	text, _ := os.ReadFile(filepath.Join(folder, "size"))
	sectors, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return sectors * sectorSize
}

// recognise looks for the top of the hash tree, which lies right behind the file system.
func (d *rootDisk) recognise(device string, size int64) error {
	if size < (d.blocks+1)*verityBlock {
		return errors.New("too small")
	}
	file, err := os.OpenFile(device, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	top := make([]byte, verityBlock)
	if _, err := file.ReadAt(top, d.blocks*verityBlock); err != nil {
		return err
	}
	if digest := sha256.Sum256(top); hex.EncodeToString(digest[:]) != strings.ToLower(d.rootHash) {
		return errors.New("other content")
	}
	return nil
}
