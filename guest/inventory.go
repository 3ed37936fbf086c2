package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// checkInventory compares the folders with what the planner put into the image: an initramfs that does not fit its
// memory loses files without an error.
func checkInventory(places layout, expected map[string]inventorySpec) error {
	var wrong []error
	for _, folder := range slices.Sorted(maps.Keys(expected)) {
		want := expected[folder]
		found, err := takeInventory(places.tree(folder), want.Links...)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", folder, err))
		} else if found != want.inventoryEntry {
			wrong = append(wrong, fmt.Errorf("%s: expected %s, found %s", folder, want.inventoryEntry, found))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	hint := " (too little memory to unpack it?)"
	if places.trees != "" {
		hint = ""
	}
	return fmt.Errorf("the file tree is not what was built%s: %w", hint, errors.Join(wrong...))
}

func (e inventoryEntry) String() string {
	return fmt.Sprintf("%d files of %d bytes (%.12s)", e.Files, e.Bytes, e.SHA256)
}

// rootFolder is where LinuxKit lays a container's root file system: `lower` when it is writable, else `rootfs`.
func rootFolder(service string) string {
	if lower := filepath.Join(service, "lower"); isFolder(lower) {
		return lower
	}
	return filepath.Join(service, "rootfs")
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func takeInventory(root string, leftOut ...string) (inventoryEntry, error) {
	entry := inventoryEntry{}
	links := map[string]bool{}
	for _, name := range leftOut {
		links[name] = true
	}
	sizes := map[string]int64{}
	err := filepath.WalkDir(root, func(path string, item fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		if item.IsDir() && runtimeFolders[name] {
			return filepath.SkipDir
		}
		if !item.Type().IsRegular() || runtimeFiles[name] || links[name] {
			return nil
		}
		info, err := item.Info()
		if err != nil {
			return err
		}
		sizes[name] = info.Size()
		return nil
	})
	digest := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		entry.Files++
		entry.Bytes += sizes[name]
		fmt.Fprintf(digest, "%s\t%d\n", name, sizes[name])
	}
	entry.SHA256 = hex.EncodeToString(digest.Sum(nil))
	return entry, err
}

// What LinuxKit or the runtime writes itself.
var (
	runtimeFolders = map[string]bool{"dev": true, "proc": true, "sys": true, "run": true}
	runtimeFiles   = map[string]bool{
		"etc/hosts": true, "etc/hostname": true, "etc/resolv.conf": true, "etc/mtab": true, ".dockerenv": true,
	}
)
