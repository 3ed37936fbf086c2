package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeTree(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInventoryIsWhatTheContractSays(t *testing.T) {
	root := t.TempDir()
	writeTree(t, root, map[string]string{
		"a": "12345", "a.b/c": "1", "a/../A": "", "etc/passwd": "123", // sorted as bytes: A, a, a.b/c, etc/passwd
		"etc/hosts": "left out", "etc/hostname": "x", "etc/resolv.conf": "x", "etc/mtab": "x", ".dockerenv": "x",
		"dev/null": "x", "proc/x/y": "x", "sys/x": "x", "run/x": "x", "home/run/kept": "1234567890",
	})
	os.Link(filepath.Join(root, "a"), filepath.Join(root, "hard"))
	os.Symlink("a", filepath.Join(root, "soft"))
	lines := "A\t0\na\t5\na.b/c\t1\netc/passwd\t3\nhard\t5\nhome/run/kept\t10\n"
	digest := sha256.Sum256([]byte(lines))
	want := inventoryEntry{6, 24, hex.EncodeToString(digest[:])}
	if got, err := takeInventory(root); err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
}

func TestFilesWithSeveralNamesCountNeitherAsFilesNorAsLinks(t *testing.T) {
	hard, soft := t.TempDir(), t.TempDir()
	for _, root := range []string{hard, soft} {
		writeTree(t, root, map[string]string{"containers/services/web/lower/a": "12345", "containers/services/web/lower/b": "1"})
	}
	os.Link(filepath.Join(hard, "containers/services/web/lower/a"), filepath.Join(hard, "containers/services/web/lower/z"))
	os.Symlink("a", filepath.Join(soft, "containers/services/web/lower/z"))
	digest := sha256.Sum256([]byte("b\t1\n"))
	inventory := map[string]inventorySpec{
		"containers/services/web": {inventoryEntry{1, 1, hex.EncodeToString(digest[:])}, []string{"a", "z"}},
	}
	for _, root := range []string{hard, soft} {
		if err := checkInventory(layout{root: root}, inventory); err != nil {
			t.Error(err)
		}
	}
}

func TestAMismatchNamesExpectedAndFound(t *testing.T) {
	root := t.TempDir()
	writeTree(t, root, map[string]string{"containers/services/web/lower/a": "1", "containers/services/ro/rootfs/b": "22"})
	web, _ := takeInventory(filepath.Join(root, "containers/services/web/lower"))
	ro, _ := takeInventory(filepath.Join(root, "containers/services/ro/rootfs"))
	inventory := map[string]inventorySpec{
		"containers/services/web": {inventoryEntry: web},
		"containers/services/ro":  {inventoryEntry: ro},
	}
	if err := checkInventory(layout{root: root}, inventory); err != nil {
		t.Errorf("a complete tree: %v", err)
	}
	os.Remove(filepath.Join(root, "containers/services/ro/rootfs/b"))
	err := checkInventory(layout{root: root}, inventory)
	if err == nil || !strings.Contains(err.Error(), "containers/services/ro: expected 1 files of 2 bytes") || !strings.Contains(err.Error(), "found 0 files") {
		t.Errorf("a missing file: %v", err)
	}
	os.RemoveAll(filepath.Join(root, "containers/services/web"))
	if err := checkInventory(layout{root: root}, inventory); err == nil || !strings.Contains(err.Error(), "web") {
		t.Errorf("a missing folder: %v", err)
	}
}
