"""Power-on to the first HTTP 200 of hello in every format that QEMU starts, and the bytes of each, in turns in one run.

    python bench/formats.py [rounds]

On the clock, and in processor time, which says more on a machine that is busy.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from vm import HELLO, OVMF, Disk, Files, Vm, build, built, hello

MEMORY_MIB = 256
SECONDS = 120.0
DISKS = {"raw-bios": ("raw", False), "qcow2-bios": ("qcow2", False), "raw-efi": ("raw", True), "qcow2-efi": ("qcow2", True)}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        files = hello(scratch)
        ways: dict[str, tuple[Files, Disk | None]] = {
            "kernel+initrd": (files, None),
            "kernel+squashfs": (built(HELLO / "hello.yaml", scratch / "squashfs", "kernel+squashfs"), None),
        }
        for name, (kind, efi) in DISKS.items():
            if efi and not OVMF.is_dir():
                print(f"{name}: not measured, OVMF is not installed")
                continue
            build(HELLO / "hello.yaml", scratch / name, name)
            ways[name] = (files, Disk(scratch / name, kind, efi))
        sizes = {name: disk.path.stat().st_blocks * 512 if disk else parts.bytes for name, (parts, disk) in ways.items()}
        times: dict[str, list[float]] = {}
        worked: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, (parts, disk) in ways.items():
                with Vm(parts, MEMORY_MIB, disk=disk, scratch=scratch) as vm:
                    seconds = vm.seconds_to_serve(SECONDS)
                    if seconds is None:
                        raise SystemExit(f"{name}: no answer within {SECONDS:.0f} s\n{vm.console()}")
                    worked.setdefault(name, []).append(vm.processor_seconds())
                times.setdefault(name, []).append(seconds)
    direct, direct_worked = (statistics.median(found["kernel+initrd"]) for found in (times, worked))
    for name, values in times.items():
        median, processor = statistics.median(values), statistics.median(worked[name])
        clock = f"{median:.2f} s to HTTP 200 ({median / direct:.2f} times kernel+initrd)"
        print(f"{name}: {sizes[name]:,} bytes, {clock}, {processor:.2f} s of processor time ({processor / direct_worked:.2f} times)")
    print(f"medians of {rounds}")


if __name__ == "__main__":
    main()
