"""The smallest memory in which hello serves in every one of N boots, beside the paper's 78 MB (aims: 66 MB by direct boot, 76 from disk).

    python bench/memory.py [boots] [ways, separated by commas: direct,bzimage,disk]

"Serves" is HTTP 200 without a word on the console about memory. Direct boot (PVH) is what the local region does; a bzImage unpacks
itself first; from disk it is SeaBIOS and Syslinux that load it (`raw-bios`).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from vm import HELLO, Disk, Files, Vm, build, hello

PAPER = 78
AIMS = {"direct": 66, "disk": 76}
NAMES = {"direct": "direct boot (PVH)", "bzimage": "bzImage", "disk": "from disk (raw-bios)"}
LOW, HIGH = 48, 256
# A machine that is busy takes longer over a boot, and needs no more memory for it.
SECONDS = 60.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 2)


def main() -> None:
    boots = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    ways = sys.argv[2].split(",") if len(sys.argv) > 2 else list(NAMES)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        files = hello(scratch)
        build(HELLO / "hello.yaml", scratch / "disk", "raw-bios")
        print(f"image: {files.bytes:,} bytes, of which the initramfs has {files.initrd.stat().st_size:,}")
        for way in ways:
            disk = Disk(scratch / "disk", "raw", efi=False) if way == "disk" else None
            least = smallest(files, boots, direct=way == "direct", disk=disk, scratch=scratch)
            print(
                f"{NAMES[way]}: serves {boots} out of {boots} at {least} MB; the paper's VM has {PAPER}: {PAPER / least:.2f} times as much"
            )
            if aim := AIMS.get(way):
                print(f"the aim is {aim} MB: {'met' if least <= aim else 'missed'}")


def smallest(files: Files, boots: int, *, direct: bool, disk: Disk | None, scratch: Path) -> int:
    """Return the least memory in MiB with which every boot serves: found with single boots, then held to all of them."""
    low, high = LOW, HIGH
    while high - low > 1:
        middle = (low + high) // 2
        if serves(files, middle, direct=direct, disk=disk, scratch=scratch):
            high = middle
        else:
            low = middle
    while high <= HIGH:
        if all(serves(files, high, direct=direct, disk=disk, scratch=scratch) for _ in range(boots)):
            return high
        high += 1
    raise SystemExit(f"it does not serve reliably in {HIGH} MB either")


def serves(files: Files, memory_mib: int, *, direct: bool, disk: Disk | None, scratch: Path) -> bool:
    """Whether one boot ends in an answer, and nothing was lost on the way."""
    with Vm(files, memory_mib, direct=direct, disk=disk, scratch=scratch) as vm:
        return vm.seconds_to_serve(SECONDS) is not None and not vm.losses()


if __name__ == "__main__":
    main()
