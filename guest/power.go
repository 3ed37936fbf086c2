package main

import (
	"encoding/binary"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
)

// watchSignals asks for a shutdown on TERM, on Ctrl-Alt-Del (the kernel's INT) and on PWR.
func watchSignals(ask func(reason string)) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGPWR)
	go guarded(func() {
		for received := range signals {
			ask("signal: " + received.String())
		}
	})
}

// A powerButton is the ACPI button, an input device of evdev. It may appear at any time after its modules are loaded,
// so the kernel's announcements of devices are followed.
type powerButton struct {
	ask     func(reason string)
	news    *os.File
	devices map[string]bool
	gone    chan string
}

func newPowerButton(ask func(reason string)) (*powerButton, error) {
	news, err := openUevents()
	if err != nil {
		return nil, err
	}
	return &powerButton{ask: ask, news: news, devices: map[string]bool{}, gone: make(chan string, 4)}, nil
}

// openUevents opens the kernel's announcements.
func openUevents() (*os.File, error) {
	const kernelGroup = 1
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, syscall.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := syscall.Bind(socket, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: kernelGroup}); err != nil {
		syscall.Close(socket)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(socket), "uevents"), nil
}

// run looks for input devices now and whenever the kernel has news.
func (p *powerButton) run() {
	buffer := make([]byte, 4<<10)
	for {
		p.look()
		if _, err := p.news.Read(buffer); err != nil && !errors.Is(err, syscall.ENOBUFS) {
			return
		}
	}
}

func (p *powerButton) look() {
	for len(p.gone) > 0 {
		delete(p.devices, <-p.gone)
	}
	paths, _ := filepath.Glob("/dev/input/event*")
	for _, path := range paths {
		if p.devices[path] {
			continue
		}
		if device, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil {
			p.devices[path] = true
			go guarded(func() {
				p.listen(device)
				device.Close()
				p.gone <- path
			})
		}
	}
}

// listen reads struct input_event of 64-bit Linux until the device is gone.
func (p *powerButton) listen(device *os.File) {
	const size, evKey, keyPower, pressed = 24, 1, 116, 1
	buffer := make([]byte, 16*size)
	for {
		n, err := device.Read(buffer)
		if err != nil {
			return
		}
		for event := range slices.Chunk(buffer[:n], size) {
			kind := binary.NativeEndian.Uint16(event[16:])
			code := binary.NativeEndian.Uint16(event[18:])
			value := binary.NativeEndian.Uint32(event[20:])
			if kind == evKey && code == keyPower && value == pressed {
				p.ask("power button")
			}
		}
	}
}

// drainTerminal waits until the serial line has sent everything, which is tcdrain(3).
func drainTerminal(file *os.File) {
	const tcsbrk = 0x5409
	syscall.Syscall(syscall.SYS_IOCTL, file.Fd(), tcsbrk, 1)
}

// powerOff does not come back; should the kernel refuse, PID 1 ends and with it the VM.
func powerOff() {
	syscall.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	os.Exit(1)
}
