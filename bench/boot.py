"""Power-on to the first HTTP 200 of hello: direct boot (PVH, as the local region does it) and bzImage, in turns in one run.

python bench/boot.py [rounds] [folder with kernel, initrd and cmdline]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path

from vm import Vm, hello, prepared

MEMORY_MIB = 128
SECONDS = 120.0
WAYS = {"direct boot (PVH)": True, "bzImage": False}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        files = prepared(Path(sys.argv[2])) if len(sys.argv) > 2 else hello(scratch)
        for _ in range(rounds):
            for way, direct in WAYS.items():
                with Vm(files, MEMORY_MIB, direct=direct, scratch=scratch) as vm:
                    seconds = vm.seconds_to_serve(SECONDS)
                if seconds is None:
                    raise SystemExit(f"{way}: no answer within {SECONDS:.0f} s\n{vm.console()}")
                times[way].append(seconds)
    direct_median, packed_median = (statistics.median(values) for values in times.values())
    for way, values in times.items():
        print(f"{way}: {statistics.median(values):.2f} s to HTTP 200 (median of {rounds}, least {min(values):.2f} s)")
    print(f"bzImage takes {packed_median / direct_median:.2f} times as long")


if __name__ == "__main__":
    main()
