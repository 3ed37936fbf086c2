"""A real application of more than a gigabyte, of Debian's packages, in a VM of 256 MiB of the local region: `examples/scribe`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote

import pytest
from attrs import frozen

from i2kit.images.store import ImageStore

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "scribe"
LAYOUT = ROOT / "out" / "images" / "scribe"
GIGABYTE = 1_000_000_000
# A page of Tesseract's takes its time where instructions are translated one by one.
SECONDS = 240


@frozen
class Deployed:
    """The example, while it runs."""

    url: str
    environment: dict[str, str]

    def ask(self, path: str, body: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", data=body, timeout=SECONDS) as answer:
            content: bytes = answer.read()
            return content


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    """The image is the one that `make images` has made; the region, its store and its caches are the test's own."""
    if os.geteuid() != 0:
        pytest.skip("the local region needs root")
    subprocess.run([sys.executable, str(EXAMPLE / "image" / "build.py")], check=True, stdout=subprocess.DEVNULL)
    # Short, since sockets lie below it; pytest would keep gigabytes for the next runs.
    with tempfile.TemporaryDirectory(prefix="i2kit-", dir="/tmp") as folder:
        folders = {f"XDG_{name}_HOME": f"{folder}/{name.lower()}" for name in ("DATA", "CACHE", "STATE", "CONFIG")}
        environment = {**os.environ, **folders, "XDG_RUNTIME_DIR": f"{folder}/run", "NO_COLOR": "1"}
        Path(folder, "run").mkdir(mode=0o700)
        run(environment, "images", "import", str(LAYOUT))
        try:
            run(environment, "deploy", "-f", str(EXAMPLE))
            (workload,) = json.loads(run(environment, "status", "-f", str(EXAMPLE), "-o", "json"))["workloads"]
            yield Deployed(workload["endpoints"][0], environment)
        finally:
            run(environment, "destroy", "--all")


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "i2kit.cli", *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_a_gigabyte_and_its_vm_has_a_quarter_of_that(deployed: Deployed) -> None:
    store = ImageStore(LAYOUT)
    (image,) = store.images()
    assert sum(entry.inode.size for entry in store.entries(store.manifest(image.digest))) > GIGABYTE
    planned = json.loads(run(deployed.environment, "plan", "-f", str(EXAMPLE), "-o", "json"))["resources"]
    assert [one["memory_mib"] for one in planned if one["kind"] == "InstanceGroup"] == [256]
    lines = subprocess.run(["ps", "-ww", "-eo", "args"], check=True, capture_output=True, text=True).stdout.splitlines()
    ours = [line for line in lines if "qemu-system" in line.split()[0] and deployed.environment["XDG_STATE_HOME"] in line]
    assert [re.findall(r"-m (\d+)M", line) for line in ours] == [["256"]]


@pytest.mark.parametrize(
    ("language", "text"),
    [("eng", "The quick brown fox"), ("deu", "Größe und Maß über alles"), ("ell", "Καλημέρα κόσμε"), ("jpn", "日本語の文字")],
)
def test_what_it_has_drawn_it_reads_again(deployed: Deployed, language: str, text: str) -> None:
    picture = deployed.ask(f"/draw?text={quote(text)}")
    assert picture.startswith(b"\x89PNG")
    assert json.loads(deployed.ask(f"/read?language={language}", picture))["text"].replace(" ", "") == text.replace(" ", "")


def test_it_has_every_language_of_debian(deployed: Deployed) -> None:
    languages = json.loads(deployed.ask("/languages"))
    assert len(languages) > 150
    assert {"deu", "jpn", "Latin"} <= set(languages)


def test_it_is_alive_after_many_languages(deployed: Deployed) -> None:
    """The files of a disk push each other out of the memory that there is, and nothing else."""
    picture = deployed.ask("/draw?text=42")
    for language in ("fra", "rus", "Cyrillic", "ara", "chi_sim"):
        deployed.ask(f"/read?language={language}", picture)
    with pytest.raises(HTTPError, match="507"):
        deployed.ask("/read?language=Latin", picture)
    (workload,) = json.loads(run(deployed.environment, "status", "-f", str(EXAMPLE), "-o", "json"))["workloads"]
    assert workload["ready"] == 1
    assert deployed.ask("/healthz") == b"ok\n"
