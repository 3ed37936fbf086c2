"""A disk's blocks: those that hold data, whatever the file system makes of the rest."""

from __future__ import annotations

import base64
import doctest
import hashlib
from pathlib import Path

import pytest

from i2kit_aws import blocks
from i2kit_aws.blocks import BLOCK_BYTES, Disk

GIB = 1 << 30


def disk(folder: Path, size: int, **pieces: bytes) -> Disk:
    """A disk with pieces of data, by where they begin (``at_512=b"..."``)."""
    path = folder / "disk"
    with path.open("wb") as stream:
        stream.truncate(size)
        for place, data in pieces.items():
            stream.seek(int(place.removeprefix("at_")))
            stream.write(data)
    return Disk.of(path)


def test_only_blocks_with_data_count(tmp_path: Path) -> None:
    made = disk(tmp_path, GIB, at_0=b"boot", **{f"at_{5 * BLOCK_BYTES - 1}": b"both", f"at_{GIB - 1}": b"z"})
    assert list(made.checksums) == [0, 4, 5, 2047]
    assert made.gib == 1
    assert made.size == 4 * BLOCK_BYTES


def test_zeros_that_were_written_are_no_data(tmp_path: Path) -> None:
    assert list(disk(tmp_path, GIB, at_0=bytes(3 * BLOCK_BYTES)).checksums) == []


def test_data_that_lies_apart_in_one_block_is_one_block(tmp_path: Path) -> None:
    assert list(disk(tmp_path, GIB, at_0=b"a", at_100000=b"b", at_500000=b"c").checksums) == [0]


@pytest.mark.parametrize(("size", "gib"), [(512, 1), (GIB, 1), (GIB + 1, 2), (3 * GIB, 3)])
def test_volumes_are_whole_gib(tmp_path: Path, size: int, gib: int) -> None:
    assert disk(tmp_path, size).gib == gib


def test_the_last_block_of_a_short_disk_is_filled_up(tmp_path: Path) -> None:
    made = disk(tmp_path, BLOCK_BYTES + 5, at_524288=b"short")
    assert made.read(1) == b"short".ljust(BLOCK_BYTES, b"\0")
    assert made.checksums == {1: hashlib.sha256(made.read(1)).digest()}


def test_the_checksum_of_all_is_that_of_the_checksums_in_order(tmp_path: Path) -> None:
    made = disk(tmp_path, GIB, at_0=b"first", at_1048576=b"second")
    sums = [hashlib.sha256(made.read(index)).digest() for index in (0, 2)]
    assert made.checksum == hashlib.sha256(sums[0] + sums[1]).digest()
    assert base64.b64decode(blocks.text(made.checksum)) == made.checksum


def test_the_examples_are_true() -> None:
    assert doctest.testmod(blocks).failed == 0
