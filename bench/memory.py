"""The smallest memory in which hello serves in every one of N boots, beside the paper's 78 MB (aim: 66 MB by direct boot).

    python bench/memory.py [boots] [folder with kernel, initrd and cmdline]

"Serves" is HTTP 200 without a word on the console about memory. Direct boot (PVH) is what the local region does; a bzImage unpacks
itself first.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from vm import Files, Vm, hello, prepared

PAPER = 78
AIM = 66
LOW, HIGH = 48, 256
SECONDS = 60.0


def main() -> None:
    boots = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        files = prepared(Path(sys.argv[2])) if len(sys.argv) > 2 else hello(scratch)
        print(f"image: {files.bytes:,} bytes, of which the initramfs has {files.initrd.stat().st_size:,}")
        for name, direct in (("direct boot (PVH)", True), ("bzImage", False)):
            least = smallest(files, boots, direct=direct, scratch=scratch)
            print(f"{name}: serves {boots} out of {boots} at {least} MB; the paper's VM has {PAPER}: {PAPER / least:.2f} times as much")
            if direct:
                print(f"the aim is {AIM} MB: {'met' if least <= AIM else 'missed'}")


def smallest(files: Files, boots: int, *, direct: bool, scratch: Path) -> int:
    """Return the least memory in MiB with which every boot serves: found with single boots, then held to all of them."""
    low, high = LOW, HIGH
    while high - low > 1:
        middle = (low + high) // 2
        if serves(files, middle, direct=direct, scratch=scratch):
            high = middle
        else:
            low = middle
    while high <= HIGH:
        if all(serves(files, high, direct=direct, scratch=scratch) for _ in range(boots)):
            return high
        high += 1
    raise SystemExit(f"it does not serve reliably in {HIGH} MB either")


def serves(files: Files, memory_mib: int, *, direct: bool, scratch: Path) -> bool:
    """Whether one boot ends in an answer, and nothing was lost on the way."""
    with Vm(files, memory_mib, direct=direct, scratch=scratch) as vm:
        return vm.seconds_to_serve(SECONDS) is not None and not vm.losses()


if __name__ == "__main__":
    main()
