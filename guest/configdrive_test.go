package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func isoVolume(label string) []byte {
	volume := make([]byte, 34<<10)
	copy(volume[32<<10:], "\x01CD001\x01")
	copy(volume[32<<10+40:], label+strings.Repeat(" ", 32-len(label)))
	return volume
}

func fatVolume(kind, label string) []byte {
	volume := make([]byte, 34<<10)
	labelAt, kindAt := 43, 54
	if kind == "FAT32" {
		labelAt, kindAt = 71, 82
	}
	copy(volume[labelAt:], label+strings.Repeat(" ", 11-len(label)))
	copy(volume[kindAt:], kind+"   ")
	copy(volume[510:], "\x55\xaa")
	return volume
}

func TestVolumesAreKnownByTheirLabels(t *testing.T) {
	folder := t.TempDir()
	damaged := fatVolume("FAT16", "config-2")
	damaged[510] = 0
	for _, one := range []struct {
		content     []byte
		label, kind string
	}{
		{isoVolume("config-2"), "config-2", "iso9660"}, {fatVolume("FAT16", "CONFIG-2"), "CONFIG-2", "vfat"}, {fatVolume("FAT12", "config-2"), "config-2", "vfat"},
		{fatVolume("FAT32", "i2kit"), "i2kit", "vfat"}, {fatVolume("FAT16", "config-2")[:512], "config-2", "vfat"}, {isoVolume("x")[:33<<10], "", ""},
		{damaged, "", ""}, {make([]byte, 64<<10), "", ""}, {nil, "", ""},
	} {
		path := filepath.Join(folder, "device")
		if err := os.WriteFile(path, one.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if label, kind := labelOf(path); label != one.label || kind != one.kind {
			t.Errorf("got %q %q, want %q %q", label, kind, one.label, one.kind)
		}
	}
	if label, kind := labelOf(filepath.Join(folder, "none")); label+kind != "" {
		t.Error(label, kind)
	}
}

// machineWith makes a kernel's view of block devices; a nil volume is a drive without a medium.
func machineWith(t *testing.T, devices map[string][]byte) volumeFinder {
	t.Helper()
	f := volumeFinder{sys: t.TempDir(), dev: t.TempDir(), mountPoint: filepath.Join(t.TempDir(), "mount")}
	for name, content := range devices {
		size := "68\n"
		if content == nil {
			size = "0\n"
		}
		writeTree(t, f.sys, map[string]string{name + "/size": size})
		writeTree(t, f.dev, map[string]string{name: string(content)})
	}
	return f
}

func TestTheConfigDriveIsFoundAmongOtherDisks(t *testing.T) {
	for kind, drive := range map[string][]byte{"iso9660": isoVolume("config-2"), "vfat": fatVolume("FAT16", "CONFIG-2")} {
		f := machineWith(t, map[string][]byte{"vda": fatVolume("FAT16", "EFI"), "vdc": drive, "sr1": nil, "vdb": make([]byte, 100)})
		found, ok := f.find(configDriveLabel, patient, patient) // it does not wait once it has found it
		if !ok || found.device != filepath.Join(f.dev, "vdc") || found.kind != kind {
			t.Errorf("%+v %v", found, ok)
		}
	}
}

func TestAConfigDriveThatShowsLateIsWaitedFor(t *testing.T) {
	f := machineWith(t, map[string][]byte{"sr0": nil})
	go func() {
		os.WriteFile(filepath.Join(f.dev, "sr0"), isoVolume("config-2"), 0o600)
		os.WriteFile(filepath.Join(f.sys, "sr0/size"), []byte("68\n"), 0o600)
	}()
	if _, ok := f.find(configDriveLabel, patient, patient); !ok {
		t.Error("not found")
	}
}

func TestAMachineWithoutConfigDriveAsksTheNetwork(t *testing.T) {
	f := machineWith(t, map[string][]byte{"vda": fatVolume("FAT16", "EFI")})
	if _, ok := f.find(configDriveLabel, 50*time.Millisecond, patient); ok {
		t.Error("found one")
	}
	boot, err := f.readConfigDrive()
	if boot != nil || err != nil {
		t.Errorf("%+v %v", boot, err)
	}
}

func TestAVolumesFilesAreReadWithinBounds(t *testing.T) {
	folder := t.TempDir()
	writeTree(t, folder, map[string]string{"a/b": "text", "big": strings.Repeat("x", bootConfigLimit+1), "most": strings.Repeat("x", bootConfigLimit)})
	os.Symlink("/etc/passwd", filepath.Join(folder, "out"))
	files, err := readFiles(folder, []string{"a/b", "most"})
	if err != nil || string(files["a/b"]) != "text" || len(files["most"]) != bootConfigLimit {
		t.Error(err)
	}
	if _, err := readFiles(folder, []string{"big"}); err == nil || !strings.Contains(err.Error(), "big is longer than 524288 bytes") {
		t.Error(err)
	}
	if _, err := readFiles(folder, []string{"out"}); err == nil {
		t.Error("a link led out of the volume")
	}
	if files, err := readFiles(folder, []string{"a/b", "none"}); !errors.Is(err, fs.ErrNotExist) || files["a/b"] == nil {
		t.Error(files, err)
	}
}
