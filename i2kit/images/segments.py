"""Segments: compressed cpio archives, one per layer and place, cached by what is in them. An initramfs is a row of segments."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import zstandard
from attrs import astuple, evolve, frozen

from i2kit.images import cpio
from i2kit.images.folders import written_aside
from i2kit.images.layers import contents
from i2kit.images.locked import Layer
from i2kit.images.rootfs import Item, ancestors, made_folder
from i2kit.images.tree import as_bytes

SCHEMA = 1
COMPRESSION = "zstd-19-w17"
"""What segments are compressed with; why is in docs/explanation/images.md."""

_WINDOW = 17
"""Of 128 KiB, as a power of two: the kernel needs that much memory more while it unpacks; 8 MiB would cost a VM 4 MB."""

_SMALL = 16 << 20
_BEST, _FAST = 19, 6


@frozen(kw_only=True)
class Segment:
    """What goes into one segment: items, and the layer that has the content of those that do not carry their own."""

    items: tuple[Item, ...]
    layer: Layer | None = None

    def key(self) -> str:
        """Return a name that says everything that is in the segment."""
        digest = hashlib.sha256(f"{SCHEMA} {COMPRESSION} {self.layer.diff_id if self.layer else ''}\n".encode())
        for item in self.items:
            content = hashlib.sha256(item.content).hexdigest() if item.content is not None else ""
            # Which layer of an image it is does not matter, what the layer is stands above.
            inode = astuple(evolve(item.inode, layer=-1))
            digest.update(json.dumps([item.path, inode, content]).encode() + b"\n")
        return digest.hexdigest()


def split(items: Sequence[Item], layers: Sequence[Layer]) -> tuple[Segment, ...]:
    """Divide the items of a tree into a segment per layer, and one for what no layer has.

    Every segment brings the folders its items need, so that each can be written without looking at the others.
    """
    folders = {item.path: item for item in items if item.inode.type == "directory"}
    segments = []
    for number in (*range(len(layers)), -1):
        own = [item for item in items if item.inode.layer == number]
        if not own:
            continue
        paths = {item.path for item in own}
        above = {path for item in own for path in ancestors(item.path)} - paths
        whole = [*own, *(folders.get(path) or made_folder(path) for path in above)]
        ordered = tuple(sorted(whole, key=lambda item: as_bytes(item.path)))
        segments.append(Segment(items=ordered, layer=layers[number] if number >= 0 else None))
    return tuple(segments)


def write(segment: Segment, blob: Callable[[str], Path], target: Path) -> None:
    """Write a segment to `target`; `blob` finds layers. Raises `BuildError` when the layer is missing or damaged."""
    with target.open("wb") as stream:
        compressor = compressor_for(sum(item.inode.size for item in segment.items))
        writer = cpio.Writer(lambda data: stream.write(compressor.compress(data)))
        # The kernel drops what comes before its folder, and tries to open no file twice.
        for item in segment.items:
            if item.inode.type == "directory":
                writer.add(_header(item, links=2))
        _write_layer_files(segment, blob, writer)
        for item in segment.items:
            if item.content is not None:
                writer.add(_header(item, size=len(item.content)), item.content)
            elif item.inode.type == "symlink":
                link = as_bytes(item.inode.target)
                writer.add(_header(item, size=len(link)), link)
            elif item.inode.type not in ("directory", "file"):
                writer.add(_header(item))
        writer.close()
        stream.write(compressor.flush())


def compressor_for(size: int) -> zstandard.ZstdCompressionObj:
    """Compress as well as can be what is small (`size` in bytes), and in a bearable time what is not, so that the content alone decides."""
    level = _BEST if size <= _SMALL else _FAST
    # The tables of so high a level are made for a far larger window; they would take most of the time and find nothing more.
    parameters = zstandard.ZstdCompressionParameters.from_level(level, window_log=_WINDOW, chain_log=_WINDOW + 1, hash_log=_WINDOW + 1)
    return zstandard.ZstdCompressor(compression_params=parameters).compressobj()


def _write_layer_files(segment: Segment, blob: Callable[[str], Path], writer: cpio.Writer) -> None:
    """Write what the layer has the content of, in the order in which it lies there, so that the layer is read once."""
    names: dict[int, list[Item]] = {}
    for item in segment.items:
        if item.inode.type == "file" and item.content is None:
            names.setdefault(item.inode.member, []).append(item)
    if not names or segment.layer is None:
        return
    digest = segment.layer.digest
    for number, size, pieces in contents(digest, blob(digest), names):
        first, *others = names[number]
        links = {"inode": number + 1, "links": len(others) + 1}
        writer.begin(_header(first, size=size, **links))
        for piece in pieces:
            writer.feed(piece)
        writer.end()
        for other in others:
            writer.add(_header(other, **links))


def _header(item: Item, *, size: int = 0, inode: int = 0, links: int = 1) -> cpio.Header:
    node = item.inode
    return cpio.Header(
        path=item.path,
        type=node.type,
        mode=node.mode,
        uid=node.uid,
        gid=node.gid,
        mtime=node.mtime,
        size=size,
        major=node.major,
        minor=node.minor,
        inode=inode,
        links=links,
    )


@frozen
class SegmentCache:
    """Finished segments at `folder`; with `fresh` they are made again, the same bytes over the old."""

    folder: Path
    fresh: bool = False

    def get(self, segment: Segment, blob: Callable[[str], Path]) -> Path:
        """Return the file of a segment, written if need be."""
        path = self.folder / f"{segment.key()}.cpio.zst"
        if self.fresh or not path.exists():
            with written_aside(path) as aside:
                write(segment, blob, aside)
        return path

    def row(self, key: str, plan: Callable[[], Iterable[Segment]], blob: Callable[[str], Path]) -> tuple[Path, ...]:
        """Return the files of several segments; `plan` is asked only when nobody has made what `key` stands for."""
        listing = self.folder / f"{key}.json"
        if not self.fresh:
            try:
                paths = tuple(self.folder / name for name in json.loads(listing.read_bytes()))
                if all(path.exists() for path in paths):
                    return paths
            except (OSError, ValueError, TypeError):
                pass
        paths = tuple(self.get(segment, blob) for segment in plan())
        with written_aside(listing) as aside:
            aside.write_text(json.dumps([path.name for path in paths]))
        return paths
