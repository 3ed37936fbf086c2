from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from i2kit.errors import BuildError
from i2kit.images.cpio import Header, Writer

from . import initramfs

NUMBER = st.integers(0, 0xFFFFFFFF)
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=30)
HEADERS = st.builds(
    Header,
    path=PATHS,
    type=st.sampled_from(["file", "directory", "symlink", "char", "block", "fifo"]),
    mode=st.integers(0, 0o7777),
    uid=NUMBER,
    gid=NUMBER,
    mtime=NUMBER,
    major=st.integers(0, 4095),
    minor=st.integers(0, 4095),
    inode=NUMBER,
    links=st.integers(1, 9),
)
BITS = {"fifo": 1, "char": 2, "directory": 4, "block": 6, "file": 8, "symlink": 10}


@given(st.lists(st.tuples(HEADERS, st.binary(max_size=50))))
def test_what_is_written_is_read_again(files: list[tuple[Header, bytes]]) -> None:
    written: list[bytes] = []
    writer = Writer(written.append)
    for header, content in files:
        described = Header(**{**{name: getattr(header, name) for name in Header.__annotations__}, "size": len(content)})
        writer.add(described, content)
    writer.close()
    data = b"".join(written)
    assert len(data) % 4 == 0
    *entries, trailer = initramfs.entries(data)
    assert trailer.path == "TRAILER!!!"
    for (header, content), entry in zip(files, entries, strict=True):
        node = (header.major, header.minor) if header.type in ("char", "block") else (0, 0)
        assert entry == (
            header.path,
            BITS[header.type] << 12 | header.mode,
            header.uid,
            header.gid,
            header.mtime,
            header.links,
            header.inode,
            node,
            content,
        )


@pytest.mark.parametrize("header", [Header(path="x" * 5000, type="file", mode=0), Header(path="x", type="file", mode=0, size=1 << 32)])
def test_what_the_format_cannot_hold_is_refused(header: Header) -> None:
    with pytest.raises(BuildError, match="does not fit into an initramfs"):
        Writer(lambda _data: None).begin(header)
