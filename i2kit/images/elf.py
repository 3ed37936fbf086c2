"""The little that the base needs to know of ELF files: what a program needs, what a module depends on, and a library's stand-in."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection, GNUVerSymSection
from elftools.elf.sections import SymbolTableSection

from i2kit.errors import BuildError

_PAGE = 0x1000
# The number of the machine, and the code of a function that answers -ENOSYS: `mov $-38, %eax; ret` and `mov w0, #-38; ret`.
_MACHINES = {
    "x86_64": (62, b"\xb8\xda\xff\xff\xff\xc3\x90\x90"),
    "aarch64": (183, b"\xa0\x04\x80\x12\xc0\x03\x5f\xd6"),
}


def needed(name: str, data: bytes) -> tuple[str, ...]:
    """Return the names of the shared libraries that an ELF file is linked against. Raises `BuildError` when it is none."""
    dynamic = _open(name, data).get_section_by_name(".dynamic")
    if not isinstance(dynamic, DynamicSection):
        return ()
    return tuple(str(vars(tag)["needed"]) for tag in dynamic.iter_tags("DT_NEEDED"))


def imports(name: str, data: bytes, library: str) -> dict[str, str]:
    """Return the symbols that an ELF file takes from `library`, each with the version it asks for."""
    file = _open(name, data)
    wanted, numbers, symbols = (file.get_section_by_name(section) for section in (".gnu.version_r", ".gnu.version", ".dynsym"))
    if not (isinstance(wanted, GNUVerNeedSection) and isinstance(numbers, GNUVerSymSection) and isinstance(symbols, SymbolTableSection)):
        return {}
    versions = {}
    for version, auxiliaries in wanted.iter_versions():
        if version.name == library:
            versions.update({auxiliary["vna_other"]: auxiliary.name for auxiliary in auxiliaries})
    return {
        symbol.name: versions[number]
        for index, symbol in enumerate(symbols.iter_symbols())
        if (number := numbers.get_symbol(index)["ndx"]) in versions
    }


def module_dependencies(name: str, data: bytes) -> tuple[str, ...]:
    """Return the names of the kernel modules that a module depends on directly."""
    return tuple(other for line in modinfo(name, data, "depends") for other in line.split(",") if other)


def modinfo(name: str, data: bytes, field: str) -> tuple[str, ...]:
    """Return what a kernel module says of itself under `field` (``alias``, ``vermagic`` and so on). Raises `BuildError` when it is none."""
    section = _open(name, data).get_section_by_name(".modinfo")
    lines = section.data().decode(errors="replace").split("\0") if section is not None else []
    return tuple(line.removeprefix(f"{field}=") for line in lines if line.startswith(f"{field}="))


def _open(name: str, data: bytes) -> ELFFile:
    try:
        return ELFFile(io.BytesIO(data))
    except ELFError as error:
        raise BuildError.of("base-damaged", f"{name} is no ELF file ({error})") from error


def stand_in(soname: str, symbols: Mapping[str, str], architecture: str = "x86_64") -> bytes:
    """Make a library whose functions (name -> version) all answer ``-ENOSYS``.

    crun is linked against libsystemd, for a cgroup manager that no VM of ours has; the library and the five that it brings along would take
    3.4 MB of every VM's memory. The layout is the least that the dynamic linker accepts: one segment of tables and code, one for
    the dynamic section (System V gABI, "Dynamic Linking"; LSB, "Symbol Versioning").
    """
    machine, code = _MACHINES[architecture]
    names = sorted(symbols)
    versions = sorted(set(symbols.values()))
    strings = _Strings()
    header_size, program_size = 64, 56
    start = header_size + 4 * program_size
    soname_at = strings.add(soname)
    symbol_names = [strings.add(name) for name in names]
    version_names = [strings.add(version) for version in versions]
    hash_at = start
    hash_table = struct.pack("<II", 1, len(names) + 1) + struct.pack("<I", 1) + _chain(len(names))
    symtab_at = _align(hash_at + len(hash_table))
    versym_at = symtab_at + 24 * (len(names) + 1)
    verdef_at = _align(versym_at + 2 * (len(names) + 1))
    verdef = _version_definitions([soname, *versions], [soname_at, *version_names])
    strtab_at = _align(verdef_at + len(verdef))
    code_at = _align(strtab_at + len(strings.data))
    end = code_at + len(code)
    symtab = bytes(24) + b"".join(struct.pack("<IBBHQQ", at, 0x12, 0, 1, code_at, len(code)) for at in symbol_names)
    versym = struct.pack("<H", 0) + b"".join(struct.pack("<H", versions.index(symbols[name]) + 2) for name in names)
    dynamic_at = -(-end // _PAGE) * _PAGE
    dynamic = b"".join(
        struct.pack("<QQ", tag, value)
        for tag, value in (
            (14, soname_at),  # DT_SONAME
            (4, hash_at),  # DT_HASH
            (5, strtab_at),  # DT_STRTAB
            (10, len(strings.data)),  # DT_STRSZ
            (6, symtab_at),  # DT_SYMTAB
            (11, 24),  # DT_SYMENT
            (0x6FFFFFF0, versym_at),  # DT_VERSYM
            (0x6FFFFFFC, verdef_at),  # DT_VERDEF
            (0x6FFFFFFD, len(versions) + 1),  # DT_VERDEFNUM
            (0, 0),
        )
    )
    programs = (
        struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, end, end, _PAGE)  # PT_LOAD, readable and executable
        + struct.pack("<IIQQQQQQ", 1, 6, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), _PAGE)
        + struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8)  # PT_DYNAMIC
        + struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # PT_GNU_STACK: not executable
    )
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = identity + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, header_size, 0, 0, header_size, program_size, 4, 64, 0, 0)
    image = bytearray(dynamic_at) + dynamic
    for at, part in (
        (0, header + programs),
        (hash_at, hash_table),
        (symtab_at, symtab),
        (versym_at, versym),
        (verdef_at, verdef),
        (strtab_at, bytes(strings.data)),
        (code_at, code),
    ):
        image[at : at + len(part)] = part
    return bytes(image)


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")

    def add(self, text: str) -> int:
        at = len(self.data)
        self.data += text.encode() + b"\0"
        return at


def _chain(count: int) -> bytes:
    """One bucket that holds every symbol: number n leads to n+1, the last to nothing."""
    following = [0, *range(2, count + 1), 0]
    return struct.pack(f"<{count + 1}I", *following[: count + 1])


def _version_definitions(names: list[str], offsets: list[int]) -> bytes:
    entries = []
    for number, (name, at) in enumerate(zip(names, offsets, strict=True), start=1):
        following = 28 if number < len(names) else 0
        entries.append(struct.pack("<HHHHIII", 1, int(number == 1), number, 1, _elf_hash(name), 20, following))
        entries.append(struct.pack("<II", at, 0))
    return b"".join(entries)


def _elf_hash(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        high = value & 0xF0000000
        value = (value ^ (high >> 24)) & ~high & 0xFFFFFFFF
    return value


def _align(offset: int) -> int:
    return -(-offset // 8) * 8
