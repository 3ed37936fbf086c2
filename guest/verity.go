package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

const (
	verityBlock = 4096 // bytes of a block, of data and of hashes
	sectorSize  = 512
)

// What the kernel's <linux/dm-ioctl.h> says of version 4.
const (
	dmControl      = "/dev/mapper/control"
	dmMagic        = 0xfd
	dmDevCreate    = 3
	dmDevSuspend   = 6 // and resume
	dmTableLoad    = 9
	dmReadOnly     = 1 << 0
	dmHeaderSize   = 312
	dmDeviceOffset = 40
	dmNameOffset   = 48
	dmTargetSize   = 40
	verityName     = "i2kit-root"
)

// mapVerity has the kernel check every block that is read from the disk, and returns the device to read from instead.
func mapVerity(disk *rootDisk, device string) (verified string, err error) {
	control, err := os.OpenFile(dmControl, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	created, err := deviceMapper(control, dmDevCreate, 0, nil)
	if err != nil {
		return "", err
	}
	if _, err := deviceMapper(control, dmTableLoad, dmReadOnly, verityTarget(disk, device)); err != nil {
		return "", err
	}
	if _, err := deviceMapper(control, dmDevSuspend, 0, nil); err != nil {
		return "", err
	}
	number := binary.NativeEndian.Uint64(created[dmDeviceOffset:])
	return fmt.Sprintf("/dev/dm-%d", number&0xff|number>>12&^0xff), nil
}

// verityTarget is the one line of the device's table (Linux: "dm-verity"), behind its dm_target_spec.
func verityTarget(disk *rootDisk, device string) []byte {
	table := fmt.Sprintf("1 %s %s %d %d %d %d sha256 %s -", device, device, verityBlock, verityBlock, disk.blocks, disk.blocks, disk.rootHash)
	target := make([]byte, dmTargetSize, dmTargetSize+len(table)+8)
	binary.NativeEndian.PutUint64(target[8:], uint64(disk.blocks*verityBlock/sectorSize))
	copy(target[24:], "verity")
	target = append(target, table...)
	return append(target, make([]byte, 8-len(table)%8)...) // ends with a zero, on a multiple of 8
}

// deviceMapper does one ioctl for our device, and returns the kernel's answer.
func deviceMapper(control *os.File, command, flags uint32, target []byte) ([]byte, error) {
	request := make([]byte, dmHeaderSize, dmHeaderSize+len(target))
	copy(request[dmNameOffset:], verityName)
	request = append(request, target...)
	targets := uint32(0)
	if target != nil {
		targets = 1
	}
	for i, number := range []uint32{4, 0, 0, uint32(len(request)), dmHeaderSize, targets, 0, flags} {
		binary.NativeEndian.PutUint32(request[4*i:], number)
	}
	const readWrite = 3
	number := uintptr(readWrite<<30 | dmHeaderSize<<16 | dmMagic<<8 | command)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, control.Fd(), number, uintptr(unsafe.Pointer(&request[0])))
	if errno != 0 {
		return nil, fmt.Errorf("device mapper command %d: %w", command, errno)
	}
	return request, nil
}

// watchVerity ends the VM when dm-verity finds a block that is not what was built: nothing that was read may be trusted.
func watchVerity(device string) error {
	news, err := openUevents()
	if err != nil {
		return err
	}
	go guarded(func() {
		buffer := make([]byte, 4<<10)
		for {
			length, err := news.Read(buffer)
			if err != nil && !errors.Is(err, syscall.ENOBUFS) {
				return
			}
			if fault := verityFault(string(buffer[:max(length, 0)])); fault != "" {
				crash(fmt.Sprintf("root disk %s is damaged: %s is not what was built", device, fault))
			}
		}
	})
	return nil
}

// verityFault names the block of which an announcement of the kernel complains.
func verityFault(announcement string) string {
	for variable := range strings.SplitSeq(announcement, "\x00") {
		value, ok := strings.CutPrefix(variable, "DM_VERITY_ERR_BLOCK_NR=")
		if !ok {
			continue
		}
		kind, block, _ := strings.Cut(value, ",")
		if kind == "1" {
			return "hash block " + block
		}
		return "data block " + block
	}
	return ""
}
