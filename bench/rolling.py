"""Ten rolling updates under load on the local region: requests that failed (aim: 0), and the seconds from deploy to the last old VM gone.

The peer is the same load without an update: how many requests a second each gets.

python bench/rolling.py [updates]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import load
from load import Load

import i2kit

QUIET_SECONDS = 10.0


def main() -> None:
    updates = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory(prefix="i2kit-", dir="/tmp") as home:
        for name in ("DATA", "CACHE", "STATE", "CONFIG"):
            os.environ[f"XDG_{name}_HOME"] = f"{home}/{name.lower()}"
        os.environ["XDG_RUNTIME_DIR"] = f"{home}/run"
        Path(home, "run").mkdir(mode=0o700)
        environment = i2kit.Environment()
        try:
            measure(Path(home), environment, updates)
        finally:
            i2kit.destroy(environment=environment, application="load")


def measure(home: Path, environment: Any, updates: int) -> None:
    load.image(home / "image")
    subprocess.run([sys.executable, "-m", "i2kit.cli", "images", "import", str(home / "image")], check=True, capture_output=True)
    manifest = home / "load.yaml"
    manifest.write_text(load.manifest("0"))
    assert i2kit.deploy([manifest], environment=environment, application="load").ok
    url = i2kit.status(environment, "load").workloads[0].endpoints[0]
    with Load(url=url) as quiet:
        time.sleep(QUIET_SECONDS)
    seconds = []
    start = time.monotonic()
    with Load(url=url) as loaded:
        for number in range(1, updates + 1):
            manifest.write_text(load.manifest(str(number)))
            begin = time.monotonic()
            assert i2kit.deploy([manifest], environment=environment, application="load").ok
            seconds.append(time.monotonic() - begin)
        whole = time.monotonic() - start
    requests = sum(loaded.counts.values())
    print(f"{updates} rolling updates of 2 replicas under load: {len(loaded.failures)} of {requests} requests failed {loaded.failures[:5]}")
    print(f"deploy to the last old VM gone: {statistics.median(seconds):.1f} s (median; most {max(seconds):.1f} s)")
    rate, quiet_rate = requests / whole, sum(quiet.counts.values()) / QUIET_SECONDS
    print(f"{rate:.0f} requests a second while updating, {quiet_rate:.0f} without: {rate / quiet_rate:.2f}")


main()
