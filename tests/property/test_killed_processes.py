"""What SIGKILL leaves of a real process, with its claim, its threads and its half-written file, is finished by the next one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import i2kit_memory
import runs

from i2kit.testing.kill_points import PHASES


def test_a_process_killed_at_any_call_of_any_command_is_finished_by_another(tmp_path: Path) -> None:
    folders = [Path(str(runs.__file__)).parent, Path(str(i2kit_memory.__file__)).parent.parent]
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed_processes.py"), tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert [end for end in ends if end["status"] != 0] == [], done.stderr
    killed = Counter(end["operation"] for end in ends if end["killed"])
    assert set(killed) == {"create", "update", "undo", "rollback", "take-over", "destroy"}
    assert min(killed.values()) > 15, f"a run was not killed at each of its calls: {killed}"
    assert {end["phase"] for end in ends if end["operation"] == "create" and end["killed"]} == set(PHASES)
