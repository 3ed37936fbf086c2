"""Wall time of `i2kit --help` (aim: 150 ms), beside the interpreter alone and a peer's help, in turns in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "i2kit --help": [sys.executable, "-m", "i2kit", "--help"],
    "i2kit deploy --help": [sys.executable, "-m", "i2kit", "deploy", "--help"],
    "pip --help": [sys.executable, "-m", "pip", "--help"],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        seconds(command)  # compiled files and the page cache are as they are for the second command of a day
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            times[name].append(seconds(command))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        ratio = median / medians["python -c pass"]
        print(f"{name}: {median * 1000:.0f} ms (median of {ROUNDS}), {ratio:.1f} times the interpreter alone")


main()
