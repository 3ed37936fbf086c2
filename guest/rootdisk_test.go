package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTheCommandLineNamesTheRootDisk(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	disk, err := parseRootDisk("console=ttyS0 i2kit.root=8192:" + hash + " quiet\n")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "disk", *disk, rootDisk{8192, hash})
	if disk, err := parseRootDisk("console=ttyS0 quiet"); disk != nil || err != nil {
		t.Errorf("no disk: got %v, %v", disk, err)
	}
	for _, value := range []string{"", "8192", ":" + hash, "1:" + hash, "-8:" + hash, "x:" + hash, "8192:" + hash[2:], "8192:" + hash + "00", "8192:" + strings.Repeat("xy", 32)} {
		if _, err := parseRootDisk("i2kit.root=" + value); err == nil || !strings.Contains(err.Error(), "i2kit.root="+value) {
			t.Errorf("%q: got %v", value, err)
		}
	}
}

func TestDiskModulesComeFromTheDiskImage(t *testing.T) {
	folder := t.TempDir()
	writeTree(t, folder, map[string]string{
		"good":   `{"schema": 1, "modules": ["dm-mod", "dm-verity"]}`,
		"newer":  `{"schema": 2, "modules": []}`,
		"other":  `{"schema": 1, "modules": [], "more": 1}`,
		"broken": `{`,
	})
	modules, err := readDiskModules(filepath.Join(folder, "good"))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "modules", modules, []string{"dm-mod", "dm-verity"})
	for _, name := range []string{"newer", "other", "broken"} {
		if _, err := readDiskModules(filepath.Join(folder, name)); err == nil || !strings.Contains(err.Error(), "disk.json") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := readDiskModules(filepath.Join(folder, "absent")); err == nil || !strings.Contains(err.Error(), "not what reads one") {
		t.Errorf("absent: got %v", err)
	}
}

// fakeDisk writes a device of a few blocks, and what the kernel says of its size.
func fakeDisk(t *testing.T, sys, dev, name string, blocks ...string) {
	t.Helper()
	content := ""
	for _, block := range blocks {
		content += block + strings.Repeat("\x00", verityBlock-len(block))
	}
	writeTree(t, dev, map[string]string{name: content})
	writeTree(t, sys, map[string]string{name + "/size": fmt.Sprintln(len(content) / sectorSize)})
}

func topHash(text string) string {
	digest := sha256.Sum256([]byte(text + strings.Repeat("\x00", verityBlock-len(text))))
	return hex.EncodeToString(digest[:])
}

func TestTheRootDiskIsKnownByTheTopOfItsHashTree(t *testing.T) {
	sys, dev := t.TempDir(), t.TempDir()
	disk := &rootDisk{2, topHash("top")}
	fakeDisk(t, sys, dev, "vda", "boot", "and", "more", "of it")
	fakeDisk(t, sys, dev, "vda1", "data", "data", "toq")
	fakeDisk(t, sys, dev, "vdb", "data", "data")
	fakeDisk(t, sys, dev, "sr0")
	_, err := disk.find(sys, dev, 0)
	for _, part := range []string{"vda of 16384 bytes (other content), vda1 of 12288 bytes (other content), vdb of 8192 bytes (too small)", disk.rootHash[:12]} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("expected %q in %v", part, err)
		}
	}
	if strings.Contains(err.Error(), "sr0") {
		t.Errorf("a drive without a medium is named: %v", err)
	}
	fakeDisk(t, sys, dev, "nvme0n1p2", "data", "data", "top", "and what follows")
	device, err := disk.find(sys, dev, 0)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "device", device, filepath.Join(dev, "nvme0n1p2"))
	if _, err := disk.find(t.TempDir(), dev, 0); err == nil || !strings.Contains(err.Error(), "no disk at all") {
		t.Errorf("got %v", err)
	}
}

func TestADiskThatAppearsLaterIsFound(t *testing.T) {
	sys, dev := t.TempDir(), t.TempDir()
	disk := &rootDisk{2, topHash("top")}
	found := make(chan string)
	go func() {
		device, _ := disk.find(sys, dev, time.Minute)
		found <- device
	}()
	// The kernel knows a device before its file is there.
	writeTree(t, sys, map[string]string{"vda/size": "24\n"})
	fakeDisk(t, sys, dev, "aside", "data", "data", "top")
	os.Rename(filepath.Join(dev, "aside"), filepath.Join(dev, "vda"))
	expect(t, "device", <-found, filepath.Join(dev, "vda"))
}

func TestTheVerityTableIsWhatTheKernelReads(t *testing.T) {
	target := verityTarget(&rootDisk{8192, "abcd"}, "/dev/vda")
	expect(t, "sectors", binary.NativeEndian.Uint64(target[8:]), 65536)
	expect(t, "type", string(target[24:31]), "verity\x00")
	expect(t, "table", strings.TrimRight(string(target[40:]), "\x00"), "1 /dev/vda /dev/vda 4096 4096 8192 8192 sha256 abcd -")
	expect(t, "alignment", len(target)%8, 0)
	expect(t, "end", target[len(target)-1], 0)
}

func TestTheKernelsComplaintNamesTheBlock(t *testing.T) {
	expect(t, "data", verityFault("change@/devices/virtual/block/dm-0\x00ACTION=change\x00DM_VERITY_ERR_BLOCK_NR=0,17\x00SEQNUM=5\x00"), "data block 17")
	expect(t, "hash", verityFault("change@/x\x00DM_VERITY_ERR_BLOCK_NR=1,8192\x00"), "hash block 8192")
	expect(t, "other news", verityFault("add@/devices/pci0000:00\x00ACTION=add\x00"), "")
}

func TestTheTreesMayLieElsewhere(t *testing.T) {
	root, disk := t.TempDir(), t.TempDir()
	writeTree(t, root, map[string]string{"containers/services/web/rootfs/keep": "", "containers/services/web/config.json": "{}"})
	writeTree(t, disk, map[string]string{"containers/services/web/lower/a": "12345"})
	places := layout{root: root, trees: disk}
	expect(t, "tree", places.tree("containers/services/web"), filepath.Join(disk, "containers/services/web/lower"))
	entry, _ := takeInventory(filepath.Join(disk, "containers/services/web/lower"))
	if err := checkInventory(places, map[string]inventorySpec{"containers/services/web": {inventoryEntry: entry}}); err != nil {
		t.Error(err)
	}
	os.RemoveAll(filepath.Join(disk, "containers"))
	if err := checkInventory(places, map[string]inventorySpec{"containers/services/web": {inventoryEntry: entry}}); err == nil || strings.Contains(err.Error(), "memory") {
		t.Errorf("got %v", err)
	}
}

func TestModulesThatOnlyAnotherImageBringsAreFound(t *testing.T) {
	folder := t.TempDir()
	writeTree(t, folder, map[string]string{"modules.dep": "", "kernel/drivers/md/dm-verity.ko.xz": "", "kernel/fs/other.ko": ""})
	index := &moduleIndex{folder: folder}
	path, found := index.search("dm_verity")
	expect(t, "path", path, "kernel/drivers/md/dm-verity.ko.xz")
	expect(t, "found", found, true)
	if _, found := index.search("verity"); found {
		t.Error("found what is not there")
	}
}
