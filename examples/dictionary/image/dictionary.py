"""What words mean, as JSON: a small web application over WordNet's own files, which stay on disk until somebody asks.

Their format is in WordNet's manual, wndb(5).
"""

import mmap
import socket
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, abort

FOLDER = Path("/usr/share/wordnet")
KINDS = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}

app = Flask(__name__)


def mapped(name: str) -> mmap.mmap:
    with (FOLDER / name).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


FILES = {kind: (mapped(f"index.{kind}"), mapped(f"data.{kind}")) for kind in KINDS}


def line_of(index: mmap.mmap, word: bytes) -> bytes:
    """Return the word's line of a sorted index; empty when it has none."""
    low, high = 0, len(index)
    while low < high:
        middle = index.rfind(b"\n", 0, (low + high) // 2) + 1
        end = index.find(b"\n", middle)
        key = index[middle:end].split(b" ", 1)[0]
        if key == word:
            return index[middle:end]
        if key < word:
            low = end + 1
        else:
            high = middle
    return b""


def meanings(kind: str, word: bytes) -> Iterator[str]:
    index, data = FILES[kind]
    fields = line_of(index, word).split()
    count = int(fields[2]) if fields else 0
    for offset in fields[len(fields) - count :]:
        start = int(offset)
        yield data[start : data.find(b"\n", start)].partition(b"| ")[2].decode().strip()


@app.get("/define/<word>")
def define(word: str) -> dict[str, object]:
    key = word.strip().lower().replace(" ", "_").encode()
    found = {name: list(meanings(kind, key)) for kind, name in KINDS.items()}
    if not any(found.values()):
        abort(404, f"WordNet does not know {word!r}")
    return {"word": word, "from": socket.gethostname(), "meanings": {kind: texts for kind, texts in found.items() if texts}}


@app.get("/healthz")
def healthz() -> str:
    return "ok\n"
