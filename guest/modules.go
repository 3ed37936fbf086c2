package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

// A moduleIndex knows the kernel's modules: their files, and which are built in.
type moduleIndex struct {
	folder  string
	files   map[string]string
	builtin map[string]bool
}

func readModuleIndex(folder string) (*moduleIndex, error) {
	index := &moduleIndex{folder: folder, files: map[string]string{}, builtin: map[string]bool{}}
	dependencies, err := os.ReadFile(filepath.Join(folder, "modules.dep"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(dependencies)) {
		if path, _, ok := strings.Cut(line, ":"); ok {
			index.files[moduleName(path)] = path
		}
	}
	builtin, _ := os.ReadFile(filepath.Join(folder, "modules.builtin")) // not every kernel comes with one
	for line := range strings.Lines(string(builtin)) {
		index.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	return index, nil
}

// moduleName is the name the kernel uses: file names have dashes where it has underscores.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// loadModules loads the modules in their order. What is built in or there already is no error.
func loadModules(folder string, names []string) error {
	if len(names) == 0 {
		return nil
	}
	index, err := readModuleIndex(folder)
	if err != nil {
		return err
	}
	var wrong []error
	for _, name := range names {
		if err := index.load(moduleName(name)); err != nil {
			wrong = append(wrong, fmt.Errorf("module %s: %w", name, err))
		}
	}
	return errors.Join(wrong...)
}

// search finds a module that the kernel image's modules.dep does not know, because another image has brought it.
func (m *moduleIndex) search(name string) (path string, found bool) {
	filepath.WalkDir(m.folder, func(file string, item fs.DirEntry, err error) error {
		if err == nil && item.Type().IsRegular() && strings.Contains(file, ".ko") && moduleName(file) == name {
			path, found = strings.TrimPrefix(file, m.folder+"/"), true
			return filepath.SkipAll
		}
		return nil
	})
	return path, found
}

func (m *moduleIndex) load(name string) error {
	path, ok := m.files[name]
	if !ok && m.builtin[name] {
		return nil
	}
	if !ok {
		path, ok = m.search(name)
	}
	if !ok {
		return fmt.Errorf("is not in %s", m.folder)
	}
	file, err := os.Open(filepath.Join(m.folder, path))
	if err != nil {
		return err
	}
	defer file.Close()
	const compressedFile = 4 // MODULE_INIT_COMPRESSED_FILE: the kernel unpacks it
	flags := uintptr(0)
	if filepath.Ext(path) != ".ko" {
		flags = compressedFile
	}
	_, _, errno := syscall.Syscall(sysFinitModule, file.Fd(), uintptr(unsafe.Pointer(&[]byte{0}[0])), flags)
	if errno != 0 && errno != syscall.EEXIST {
		return errno
	}
	return nil
}
