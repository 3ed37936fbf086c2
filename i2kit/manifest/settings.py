"""Reads environment.yml with the same tables and errors as manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node

from i2kit.environment import Architecture, BaseSettings, Environment
from i2kit.errors import InvalidInput, Problem
from i2kit.manifest import syntax
from i2kit.manifest.anyvalue import AnyValue
from i2kit.manifest.documents import documents
from i2kit.manifest.fieldtypes import Choice, FieldType, Text
from i2kit.manifest.page import INVALID, Page, TooLarge
from i2kit.manifest.table import Struct, Tree, supported

_WORD = Text("string", syntax.not_empty)
_LATER = "not yet supported"
# The kernel's names, and those of container images.
_ARCHITECTURES: dict[str, Architecture] = {"x86_64": "x86_64", "aarch64": "aarch64", "amd64": "x86_64", "arm64": "aarch64"}


class _ShortOr:
    """A string, which stands for a mapping with that one field; or the mapping."""

    def __init__(self, name: str, field: str, short: FieldType, mapping: FieldType) -> None:
        self.name = name
        self._field = field
        self._short = short
        self.long_form = mapping

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return a mapping."""
        if node.__class__ is MappingNode:
            return self.long_form(node, path, page)
        value = self._short(node, path, page)
        return value if value is INVALID else {self._field: value}


class _ProviderMapping:
    """`type`, and settings that only the provider knows."""

    name = "mapping with type"
    _any = AnyValue()

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the settings, `type` among them."""
        values = self._any(node, path, page)
        if not isinstance(values, dict):
            return INVALID
        kind = values.get("type")
        if isinstance(kind, str) and kind:
            return values
        line = next((value.start_mark.line for key, value in node.value if key.value == "type"), node.start_mark.line)
        code, message = ("missing-field", "provider needs the field 'type'") if kind is None else ("wrong-type", "is no string")
        return page.problem(code, message, line, f"{path}.type", expected="the name of a provider", hint="`i2kit providers` lists them")


class _FreeMapping:
    """What only the provider knows."""

    name = "mapping"
    _any = AnyValue()

    def __call__(self, node: Node, path: str, page: Page) -> Any:
        """Return the mapping."""
        return self._any(node, path, page) if node.__class__ is MappingNode else page.wrong_type(node, path, "a mapping")


_BASE_NAME = Choice("debian", refused={"linuxkit": _LATER})
_BASE = Struct(
    "base",
    (
        supported("name", _BASE_NAME, "`debian` when absent"),
        supported("lock", _WORD, "a file that pins the base's packages, relative to environment.yml"),
        supported("mirror", _WORD, "a Debian mirror to use instead of the machine's own"),
    ),
)
ENVIRONMENT = Struct(
    "environment",
    (
        supported(
            "name", Text("name", syntax.environment_name, "invalid-name"), "`local` when absent; every resource bears it in its mark"
        ),
        supported("application", _WORD, "the application's name; that of the folder or file given with `-f` when absent"),
        supported(
            "provider",
            _ShortOr("name, or mapping with `type`", "type", _WORD, _ProviderMapping()),
            "`local` when absent; what stands beside `type` is the provider's own",
        ),
        supported(
            "dns",
            Struct("dns", (supported("zone", Text("DNS subdomain", syntax.subdomain, "invalid-name"), "`i2kit.internal` when absent"),)),
        ),
        supported("builder", _WORD, "the image builder; `assembler` when absent"),
        supported("architecture", Choice(*_ARCHITECTURES), "that of the VMs; `x86_64` when absent. `amd64` and `arm64` are other names"),
        supported("base", _ShortOr("name, or mapping", "name", _BASE_NAME, _BASE)),
        supported(
            "secrets",
            Struct(
                "secrets",
                (
                    supported(
                        "keyFile",
                        _WORD,
                        "a file with the key of the digests by which Secrets are versioned, relative to environment.yml",
                    ),
                ),
            ),
        ),
        supported(
            "network",
            _FreeMapping(),
            "what the provider is told about the network; absent, it is the environment's own, as the provider makes it",
        ),
    ),
)


def read_environment(path: Path, text: str) -> Environment:
    """Make an Environment of the text of environment.yml. Raises `InvalidInput` with every problem."""
    problems: list[Problem] = []
    trees: list[Tree] = []
    page = Page(str(path), len(text), problems, [])
    for document in documents(text, str(path), problems):
        page.offset = document.offset
        if trees:
            page.problem("wrong-type", "is a second document", document.root.start_mark.line, "", expected="one document")
        elif not page.is_null(document.root):
            try:
                tree = ENVIRONMENT(document.root, "", page)
            except TooLarge:
                tree = page.problem("too-large", "aliases make this document too large", document.root.start_mark.line, "")
            trees += [tree] if tree is not INVALID else []
    if problems:
        raise InvalidInput(problems)
    return _environment(path, trees[0]) if trees else Environment(source=str(path))


def _environment(path: Path, tree: Tree) -> Environment:
    provider: dict[str, Any] = dict(tree.get("provider") or {"type": "local"})
    base: dict[str, Any] = tree.get("base") or {}
    given: dict[str, Any] = {
        "name": tree.get("name"),
        "application": tree.get("application"),
        "network": tree.get("network"),
        "dns_zone": tree.sub("dns").get("zone"),
        "builder": tree.get("builder"),
        "secret_key_file": _beside(path, tree.sub("secrets").get("keyFile")),
    }
    return Environment(
        provider=provider.pop("type"),
        settings=provider,
        architecture=_ARCHITECTURES[tree.get("architecture") or "x86_64"],
        base=BaseSettings(name=base.get("name", "debian"), lock=_beside(path, base.get("lock")), mirror=base.get("mirror")),
        source=str(path),
        **{name: value for name, value in given.items() if value is not None},
    )


def _beside(path: Path, name: str | None) -> str | None:
    """Return the path of a file that environment.yml names relative to itself."""
    return None if name is None else str(path.parent / Path(name).expanduser())
